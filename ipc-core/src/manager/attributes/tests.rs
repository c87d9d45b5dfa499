use super::*;
use crate::{Manager, Namespace, Queue};

#[test]
fn attributes_of_any_types_are_set_read_and_removed() {
    let dir = std::env::temp_dir().join(format!("ipc-attributes-{}", crate::os::file::unique()));
    let place = Namespace::at(&dir).unwrap();
    let manager = Manager::options().namespace(&place).anonymous().unwrap();
    let these = manager.namespace().unwrap();
    these.set("x", &5u32).unwrap();
    these.set("who", &"me".to_string()).unwrap();
    // A handle sent elsewhere is the same, and an attribute may itself be an object.
    let jobs: Queue<u64> = manager.queue(4).unwrap();
    these.set("jobs", &jobs).unwrap();
    let sent = manager.queue::<Attributes>(1).unwrap();
    sent.put(these.clone()).unwrap();
    let others = sent.get().unwrap();
    assert_eq!(others.get::<u32>("x").unwrap(), Some(5));
    let found = others.get::<Queue<u64>>("jobs").unwrap().unwrap();
    found.put(7).unwrap();
    assert_eq!(jobs.get().unwrap(), 7);
    let wrong = others.get::<String>("x");
    assert!(
        matches!(&wrong, Err(AttributeError::WrongType { name, .. }) if name == "x"),
        "{wrong:?}"
    );
    others.set("x", &"text".to_string()).unwrap();
    assert_eq!(these.get::<String>("x").unwrap().unwrap(), "text");
    assert!(these.remove("x").unwrap());
    assert!(!these.remove("x").unwrap());
    assert_eq!(these.get::<u32>("x").unwrap(), None);
    assert_eq!(these.dict().len(), 2);
    drop((manager, these, others, jobs, found, sent));
    std::fs::remove_dir_all(dir).unwrap();
}
