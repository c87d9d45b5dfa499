use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::*;
use crate::{Bytes, DictOptions, Error, Namespace};

/// A namespace of this test's own, gone with it.
struct Place(PathBuf, Namespace);

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-watch-{}", crate::os::file::unique()));
        let namespace = Namespace::at(&dir).unwrap();
        Self(dir, namespace)
    }

    fn options<K: Message, V: Message>(&self) -> DictOptions<K, V> {
        Dict::options().namespace(&self.1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn drain<K: Message, V: Message>(watch: &mut DictWatch<K, V>) -> Vec<DictChange<K, V>> {
    std::iter::from_fn(|| watch.try_recv().unwrap()).collect()
}

fn set(key: &str, value: u64) -> DictChange<String, u64> {
    DictChange::Set {
        key: key.into(),
        value,
    }
}

fn removed(key: &str) -> DictChange<String, u64> {
    DictChange::Removed { key: key.into() }
}

#[test]
fn each_change_is_told_in_its_order() {
    let place = Place::new();
    let dict: Dict<String, u64> = place.options().create("d").unwrap();
    let (a, b) = ("a".to_string(), "b".to_string());
    dict.insert(&b, &0).unwrap(); // before anybody watches
    let mut watch = dict.watch().unwrap();
    assert_eq!(watch.try_recv().unwrap(), None);
    dict.insert(&a, &1).unwrap();
    dict.update(&a, |value| *value += 1).unwrap();
    dict.add(&a, 3).unwrap();
    assert!(
        dict.compare_and_swap(&a, Some(&1), Some(&9)).is_ok(),
        "and comes to nothing"
    );
    dict.remove(&a).unwrap();
    dict.remove(&a).unwrap(); // nothing
    dict.get(&b).unwrap();
    dict.pop_item().unwrap();
    dict.insert(&a, &7).unwrap();
    dict.clear().unwrap();
    let told = [
        set("a", 1),
        set("a", 2),
        set("a", 5),
        removed("a"),
        removed("b"),
        set("a", 7),
        removed("a"),
    ];
    assert_eq!(drain(&mut watch), told);
}

#[test]
fn a_pair_that_expires_is_told_of_when_its_memory_is_taken_back() {
    let place = Place::new();
    let dict: Dict<String, u64> = place.options().create("d").unwrap();
    let a = "a".to_string();
    let mut watch = dict.watch().unwrap();
    dict.insert_with_ttl(&a, &1, Duration::from_nanos(1))
        .unwrap();
    thread::sleep(Duration::from_millis(1));
    dict.remove_expired().unwrap(); // unless the insertion has
    let gone = DictChange::Expired { key: a.clone() };
    assert_eq!(drain(&mut watch), [set("a", 1), gone]);
}

#[test]
fn who_watches_a_key_or_a_prefix_is_told_of_that() {
    let place = Place::new();
    let dict: Dict<String, u64> = place.options().create("d").unwrap();
    let mut key = dict.watch_key(&"net.a".to_string()).unwrap();
    let mut prefix = dict.watch_prefix("net.").unwrap();
    let mut even = dict.watch_if(|key| key.len() % 2 == 0).unwrap();
    for (name, value) in [("net.a", 1), ("net.bc", 2), ("disk", 3)] {
        dict.insert(&name.to_string(), &value).unwrap();
    }
    assert_eq!(drain(&mut key), [set("net.a", 1)]);
    assert_eq!(drain(&mut prefix), [set("net.a", 1), set("net.bc", 2)]);
    assert_eq!(drain(&mut even), [set("net.bc", 2), set("disk", 3)]);
}

#[test]
fn who_is_too_far_behind_is_told_how_much_it_missed() {
    let place = Place::new();
    let dict: Dict<String, u64> = place.options().watch_capacity(4).create("d").unwrap();
    let mut watch = dict.watch().unwrap();
    for value in 0..10 {
        dict.insert(&"a".to_string(), &value).unwrap();
    }
    let told: Vec<_> = (6..10).map(|value| set("a", value)).collect();
    assert_eq!(watch.recv().unwrap(), DictChange::Missed(6));
    assert_eq!(drain(&mut watch), told);
}

#[test]
fn a_value_that_is_too_long_for_the_log_is_read_where_it_is() {
    let place = Place::new();
    let dict: Dict<u32, Bytes> = place.options().create("d").unwrap();
    let mut watch = dict.watch().unwrap();
    for len in [10, 1000, 1 << 20] {
        let value = Bytes(vec![len as u8; len]);
        dict.set(&1, &value).unwrap();
        let change = watch.recv().unwrap();
        assert_eq!(change, DictChange::Set { key: 1, value });
    }
    dict.set(&1, &Bytes(vec![0; 1 << 20])).unwrap();
    dict.remove(&1).unwrap();
    let told = [DictChange::Missed(1), DictChange::Removed { key: 1 }];
    assert_eq!(drain(&mut watch), told);
    // A key that is too long itself.
    let dict: Dict<Bytes, Bytes> = place.options().create("e").unwrap();
    let mut watch = dict.watch().unwrap();
    let key = Bytes(vec![3; 1 << 20]);
    dict.set(&key, &key).unwrap();
    assert_eq!(drain(&mut watch), [DictChange::Missed(1)]);
}

#[test]
fn a_wait_ends_with_a_change_or_its_time() {
    let place = Place::new();
    let dict: Dict<String, u64> = place.options().create("d").unwrap();
    let mut watch = dict.watch().unwrap();
    let waited = watch.recv_timeout(Duration::from_millis(5));
    assert!(matches!(waited, Err(DictError::Timeout)), "{waited:?}");
    let other = dict.clone();
    let setter = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        other.insert(&"a".to_string(), &1).unwrap();
    });
    assert_eq!(watch.iter().next().unwrap().unwrap(), set("a", 1));
    setter.join().unwrap();
}

#[test]
fn a_copy_that_is_kept_by_watching_is_as_the_dictionary() {
    let place = Place::new();
    let dict: Dict<u8, u64> = place.options().watch_capacity(64).create("d").unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers = [1u64, 2, 3].map(|seed| {
            let (dict, is_over) = (&dict, &is_over);
            scope.spawn(move || {
                let mut random = seed;
                while !is_over.load(Ordering::Relaxed) {
                    random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
                    let key = (random >> 60) as u8;
                    match random >> 40 & 3 {
                        0 => dict.remove(&key).map(|_| ()),
                        _ => dict.set(&key, &random),
                    }
                    .unwrap();
                }
            })
        });
        // Each begins to watch while others write.
        for _ in 0..20 {
            let mut watch = dict.watch().unwrap();
            let mut copy: BTreeMap<u8, u64> = dict.iter().collect();
            for _ in 0..2000 {
                follow(&mut copy, watch.recv().unwrap(), &dict);
            }
        }
        let mut watch = dict.watch().unwrap();
        let mut copy: BTreeMap<u8, u64> = dict.iter().collect();
        thread::sleep(Duration::from_millis(5));
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        for change in drain(&mut watch) {
            follow(&mut copy, change, &dict);
        }
        assert_eq!(copy, dict.snapshot().unwrap().into_iter().collect());
    });
}

fn follow(copy: &mut BTreeMap<u8, u64>, change: DictChange<u8, u64>, dict: &Dict<u8, u64>) {
    match change {
        DictChange::Set { key, value } => {
            copy.insert(key, value);
        }
        DictChange::Removed { key } | DictChange::Expired { key } => {
            copy.remove(&key);
        }
        DictChange::Missed(_) => *copy = dict.iter().collect(),
    }
}

#[test]
fn a_dictionary_keeps_some_changes() {
    let place = Place::new();
    for bad in [0, (1 << 20) + 1] {
        let made = place.options::<u8, u8>().watch_capacity(bad).create("d");
        assert!(
            matches!(made, Err(Error::BadOption { option, .. }) if option == "watch_capacity"),
            "{made:?}"
        );
    }
}

#[test]
fn a_watch_is_waited_for_beside_other_things() {
    let place = Place::new();
    let dict: Dict<u8, u8> = place.options().watch_capacity(4).create("d").unwrap();
    let mut watch = dict.watch_key(&1).unwrap();
    let is_ready = |watch: &DictWatch<u8, u8>| {
        let ready = crate::wait(&[watch], Duration::from_millis(5)).unwrap();
        !ready.is_empty()
    };
    assert!(!is_ready(&watch));
    dict.set(&2, &2).unwrap();
    assert!(is_ready(&watch), "of any key");
    assert_eq!(watch.try_recv().unwrap(), None);
    assert!(!is_ready(&watch), "that was passed over");
    for value in 0..10 {
        dict.set(&1, &value).unwrap();
    }
    assert!(is_ready(&watch));
    let told = drain(&mut watch);
    assert!(matches!(told[0], DictChange::Missed(_)), "{told:?}");
    assert!(!is_ready(&watch));
    dict.inner.table.leave_untold();
    assert!(is_ready(&watch), "something was left untold");
    assert_eq!(drain(&mut watch), [DictChange::Missed(1)]);
    assert!(!is_ready(&watch));
    let mut set = crate::WaitSet::new();
    set.add("watch", &watch).unwrap();
    drop(watch);
    assert_eq!(set.try_wait().unwrap(), ["watch"], "it has gone");
}
