use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::ErrorKind;

/// A name that nobody else uses, gone with it.
struct Name(String);

impl Name {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("ipc-test-{}-{number}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        place(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

#[test]
fn what_one_handle_writes_another_reads() {
    let name = Name::new();
    let block = SharedMemory::create(&name.0, 10_001).unwrap();
    assert_eq!((block.name(), block.size()), (name.0.as_str(), 10_001));
    assert_eq!(block.read_vec(0, 10_001).unwrap(), vec![0; 10_001]);
    let same = SharedMemory::open(&format!("/{}", name.0)).unwrap();
    let bytes: Vec<u8> = (0..5000).map(|i| i as u8).collect();
    block.write(5001, &bytes).unwrap();
    assert_eq!(same.read_vec(5001, 5000).unwrap(), bytes);
    assert_eq!(same.read_vec(5000, 1).unwrap(), [0]);
    same.set(3, -5i64).unwrap();
    assert_eq!(block.get::<i64>(3).unwrap(), -5);
    // SAFETY: nobody writes now.
    assert_eq!(unsafe { block.as_slice() }[5001..], bytes);
    // SAFETY: nobody else uses it now.
    unsafe { block.as_mut_slice()[0] = 9 };
    assert_eq!(same.get::<u8>(0).unwrap(), 9);
}

#[test]
fn what_is_outside_is_refused_and_untouched() {
    let name = Name::new();
    let block = SharedMemory::create(&name.0, 100).unwrap();
    for (offset, length) in [
        (0, 101),
        (100, 1),
        (101, 0),
        (usize::MAX, 1),
        (1, usize::MAX),
    ] {
        let refused = block.read_vec(offset, length).unwrap_err();
        assert!(
            matches!(refused, Error::OutOfBounds { size: 100, .. }),
            "{refused}"
        );
    }
    assert_eq!(
        block.write(95, &[1; 6]).unwrap_err().kind(),
        ErrorKind::Usage
    );
    assert!(block.get::<u64>(93).is_err() && block.set(97, 1u32).is_err());
    assert_eq!(block.read_vec(0, 100).unwrap(), vec![0; 100]);
    block.write(100, &[]).unwrap();
    block.set(96, u32::MAX).unwrap();
}

#[test]
fn bytes_that_are_no_value_are_an_error() {
    let name = Name::new();
    let block = SharedMemory::create(&name.0, 8).unwrap();
    assert!(!block.get::<bool>(0).unwrap());
    block.set(0, 2u8).unwrap();
    let refused = block.get::<bool>(0).unwrap_err();
    assert!(matches!(refused, Error::NotAValue { .. }), "{refused}");
}

#[test]
fn a_name_is_one_blocks_and_no_block_is_empty() {
    let name = Name::new();
    assert!(matches!(
        SharedMemory::open(&name.0),
        Err(Error::NotFound { .. })
    ));
    let refused = SharedMemory::create(&name.0, 0).unwrap_err();
    assert!(matches!(refused, Error::BadOption { option: "size", .. }));
    assert!(!name.path().exists());
    let block = SharedMemory::open_or_create(&name.0, 50).unwrap();
    block.set(0, 7u8).unwrap();
    let refused = SharedMemory::create(&name.0, 50).unwrap_err();
    assert!(matches!(refused, Error::Exists { .. }), "{refused}");
    let same = SharedMemory::open_or_create(&name.0, 60).unwrap();
    assert_eq!((same.size(), same.get::<u8>(0).unwrap()), (50, 7));
    for bad in ["", "/", "a/b", "..", "a\0", &"x".repeat(300)] {
        let refused = SharedMemory::create(bad, 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage, "{bad:?}");
    }
    let listed = SharedMemory::list().unwrap();
    let listed = listed.iter().find(|stat| stat.name == name.0).unwrap();
    assert_eq!((listed.size, listed.mode), (50, 0o600));
    assert!(listed.reserved_bytes >= 50);
}

#[test]
fn a_half_made_block_is_an_error_and_can_be_removed() {
    let name = Name::new();
    fs::write(name.path(), b"").unwrap();
    let refused = SharedMemory::open(&name.0).unwrap_err();
    assert!(
        matches!(refused, Error::Truncated { found: 0, .. }),
        "{refused}"
    );
    SharedMemory::remove(&name.0).unwrap();
    assert!(matches!(
        SharedMemory::remove(&name.0),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn a_drop_removes_nothing_and_an_unlink_removes_no_successor() {
    let name = Name::new();
    drop(SharedMemory::create(&name.0, 10).unwrap());
    let block = SharedMemory::open(&name.0).unwrap();
    let second = block.clone();
    second.unlink().unwrap();
    block.set(0, 1u8).unwrap(); // who has it keeps it
    let successor = SharedMemory::create(&name.0, 20).unwrap();
    assert!(matches!(block.unlink(), Err(Error::NotFound { .. })));
    drop((block, second));
    assert_eq!(SharedMemory::open(&name.0).unwrap().size(), 20);
    successor.unlink().unwrap();
    assert!(!name.path().exists());
}

#[test]
fn a_block_without_room_leaves_nothing() {
    let name = Name::new();
    let refused = SharedMemory::create(&name.0, 1 << 50).unwrap_err();
    match refused {
        Error::NoSpace {
            needed, available, ..
        } => {
            assert!(needed == 1 << 50 && available < needed);
        }
        other => panic!("{other}"),
    }
    assert!(!name.path().exists());
    // What another program has only given a length is reserved, or refused, when it is opened.
    fs::File::create(name.path())
        .unwrap()
        .set_len(1 << 45)
        .unwrap();
    let refused = SharedMemory::open(&name.0).unwrap_err();
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    fs::File::create(name.path())
        .unwrap()
        .set_len(100_000)
        .unwrap();
    let block = SharedMemory::open(&name.0).unwrap();
    let listed = SharedMemory::list().unwrap();
    let listed = listed.iter().find(|stat| stat.name == name.0).unwrap();
    assert!(listed.reserved_bytes >= 100_000 && block.size() == 100_000);
}

#[test]
fn a_block_that_is_cut_short_is_an_error_and_no_signal() {
    let name = Name::new();
    let block = SharedMemory::create(&name.0, 100_000).unwrap();
    let reader = SharedMemory::open_read_only(&name.0).unwrap();
    fs::File::options()
        .write(true)
        .open(name.path())
        .unwrap()
        .set_len(5000)
        .unwrap();
    let cut = block.write(50_000, &[1; 50_000]).unwrap_err();
    assert!(
        matches!(
            cut,
            Error::Truncated {
                found: 5000,
                expected: 100_000,
                ..
            }
        ),
        "{cut}"
    );
    assert!(
        matches!(block.get::<u8>(0), Err(Error::Truncated { .. })),
        "it stays so"
    );
    assert!(matches!(
        reader.read_vec(90_000, 10),
        Err(Error::Truncated { .. })
    ));
    assert_eq!(SharedMemory::open(&name.0).unwrap().size(), 5000);
}

#[test]
fn who_only_looks_cannot_write() {
    let name = Name::new();
    let block = SharedMemory::create(&name.0, 5000).unwrap();
    let reader = SharedMemory::open_read_only(&name.0).unwrap();
    block.set(4000, 1u64).unwrap();
    assert_eq!(reader.get::<u64>(4000).unwrap(), 1);
    assert!(matches!(
        reader.set(0, 1u8),
        Err(Error::PermissionDenied { .. })
    ));
}

#[test]
fn a_link_or_a_directory_is_refused() {
    let name = Name::new();
    std::os::unix::fs::symlink("/etc/hostname", name.path()).unwrap();
    let refused = SharedMemory::open(&name.0).unwrap_err();
    assert!(matches!(refused, Error::Symlink { .. }), "{refused}");
    fs::remove_file(name.path()).unwrap();
    fs::create_dir(name.path()).unwrap();
    let refused = SharedMemory::open(&name.0).unwrap_err();
    assert!(matches!(refused, Error::NotAnObject { .. }), "{refused}");
    assert!(SharedMemory::remove(&name.0).is_err());
    fs::remove_dir(name.path()).unwrap();
}

#[test]
fn a_handle_travels_also_when_the_name_is_gone() {
    let name = Name::new();
    let block = SharedMemory::options(64)
        .mode(0o640)
        .create(&name.0)
        .unwrap();
    let sent = postcard::to_stdvec(&block).unwrap();
    let come = |sent: &[u8]| postcard::from_bytes::<SharedMemory>(sent);
    come(&sent).unwrap().set(8, 3u32).unwrap();
    block.unlink().unwrap();
    assert_eq!(come(&sent).unwrap().get::<u32>(8).unwrap(), 3);
    let successor = SharedMemory::create(&name.0, 64).unwrap();
    assert_eq!(
        come(&sent).unwrap().get::<u32>(8).unwrap(),
        3,
        "and not the successor"
    );
    drop(block);
    assert!(come(&sent).is_err());
    successor.unlink().unwrap();
}

#[test]
fn two_who_make_a_block_get_the_same() {
    let name = Name::new();
    let made: Vec<bool> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    SharedMemory::open_or_create(&name.0, 4096).unwrap();
                    SharedMemory::create(&name.0, 4096).is_ok()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    assert_eq!(made, [false; 4]);
}
