//! Values between threads of one process. What happens when processes die is in the `tests` package.

use std::{path::PathBuf, thread, time::Duration};

use super::*;
use crate::{Error, Event, Namespace};

/// A namespace of its own for one test, which goes with it.
struct Place(Namespace, PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-value-{test}-{}", std::process::id()));
        Self(Namespace::at(&dir).unwrap(), dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// Words that are all alike.
type Large = [u64; 32];

#[test]
fn what_is_set_is_got_of_every_size() {
    fn round<T: NoUninit + CheckedBitPattern + PartialEq + fmt::Debug>(
        place: &Place,
        first: T,
        second: T,
    ) {
        let value = Value::options(first)
            .namespace(&place.0)
            .anonymous()
            .unwrap();
        assert_eq!(value.get().unwrap(), first);
        value.set(second).unwrap();
        assert_eq!(value.get().unwrap(), second);
        assert_eq!(value.swap(first).unwrap(), second);
        assert_eq!(value.compare_exchange(first, second).unwrap(), first);
        match value.compare_exchange(first, first) {
            Err(CompareExchangeError::Different(found)) => assert_eq!(found, second),
            other => panic!("{other:?}"),
        }
        assert_eq!(value.get().unwrap(), second);
    }
    let place = Place::new("sizes");
    round(&place, false, true);
    round(&place, -7i8, 7);
    round(&place, [1u8, 2, 3], [4, 5, 6]);
    round(&place, 0xfffeu16, 1);
    round(&place, 'a', '\u{10ffff}');
    round(&place, -1.5f32, f32::MAX);
    round(&place, [1u16; 4], [2; 4]);
    round(&place, f64::MIN, 0.1);
    round(&place, u128::MAX, 7);
    round(&place, [1u64; 32], [2; 32]);
    let nothing = Value::options(()).namespace(&place.0).anonymous().unwrap();
    nothing.set(()).unwrap();
    nothing.get().unwrap();
}

#[test]
fn numbers_are_added_to_where_they_are() {
    let place = Place::new("numbers");
    let counter = Value::options(250u8)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert_eq!(counter.fetch_add(10).unwrap(), 250);
    assert_eq!(counter.fetch_sub(5).unwrap(), 4, "it wrapped around");
    assert_eq!(counter.fetch_or(1).unwrap(), 255);
    assert_eq!(counter.fetch_and(0x3c).unwrap(), 255);
    assert_eq!(counter.fetch_xor(0x0f).unwrap(), 0x3c);
    assert_eq!(counter.fetch_min(0x10).unwrap(), 0x33);
    assert_eq!(counter.fetch_max(0x08).unwrap(), 0x10);
    assert_eq!(counter.get().unwrap(), 0x10);
    let signed = Value::options(-5i16)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert_eq!(signed.fetch_max(3).unwrap(), -5);
    assert_eq!(signed.fetch_min(-9).unwrap(), 3);
    assert_eq!(signed.fetch_sub(-4).unwrap(), -9);
    assert_eq!(signed.get().unwrap(), -5);
    let float = Value::options(0.5f32)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert_eq!(float.fetch_add(1.25).unwrap(), 0.5);
    assert_eq!(float.fetch_sub(0.75).unwrap(), 1.75);
    assert_eq!(float.get().unwrap(), 1.0);
    let wide = Value::options(u128::MAX)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert_eq!(wide.fetch_add(3).unwrap(), u128::MAX);
    assert_eq!(wide.fetch_or(8).unwrap(), 2);
    assert_eq!(wide.fetch_xor(2).unwrap(), 10);
    assert_eq!(wide.fetch_and(12).unwrap(), 8);
    assert_eq!(wide.fetch_min(9).unwrap(), 8);
    assert_eq!(wide.fetch_max(9).unwrap(), 8);
    assert_eq!(wide.get().unwrap(), 9);
}

#[test]
fn a_nan_is_itself_to_an_exchange_and_zeros_of_two_signs_differ() {
    let place = Place::new("nan");
    let float = Value::options(f64::NAN)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert!(float.compare_exchange(f64::NAN, -0.0).unwrap().is_nan());
    let exchanged = float.compare_exchange(0.0, 1.0);
    assert!(
        matches!(exchanged, Err(CompareExchangeError::Different(found)) if found == 0.0),
        "{exchanged:?}"
    );
}

#[test]
fn nothing_that_threads_add_is_lost() {
    let place = Place::new("adds");
    let narrow = Value::options(0.0f64)
        .namespace(&place.0)
        .create("narrow")
        .unwrap();
    let wide = Value::options(0u128)
        .namespace(&place.0)
        .create("wide")
        .unwrap();
    let locked = Value::options(0u64)
        .namespace(&place.0)
        .create("locked")
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    narrow.fetch_add(1.0).unwrap();
                    wide.fetch_add(1 << 64 | 1).unwrap();
                    let section = locked.lock().unwrap();
                    section.set(section.get().unwrap() + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(narrow.get().unwrap(), 8000.0);
    assert_eq!(wide.get().unwrap(), 8000 << 64 | 8000);
    assert_eq!(locked.get().unwrap(), 8000);
}

#[test]
fn a_large_value_is_never_torn() {
    let place = Place::new("torn");
    let value = Value::options([0u64; 32])
        .namespace(&place.0)
        .create("v")
        .unwrap();
    let whole = |value: Large| {
        assert_eq!(value, [value[0]; 32], "torn");
        value[0]
    };
    thread::scope(|scope| {
        let writers = [1u64, 2].map(|first| {
            let value = &value;
            scope.spawn(move || {
                for number in 0..5000 {
                    value.set([first + 2 * number; 32]).unwrap();
                }
            })
        });
        let mut last = [0; 2];
        while !writers.iter().all(|writer| writer.is_finished()) {
            let seen = whole(value.get().unwrap());
            let of_writer = &mut last[(seen % 2) as usize];
            assert!(seen >= *of_writer, "{seen} after {of_writer}");
            *of_writer = seen;
        }
    });
    assert!(whole(value.get().unwrap()) >= 9999);
}

#[test]
fn a_lock_keeps_out_who_locks_and_nobody_else() {
    let place = Place::new("lock");
    let value = Value::options([1u8; 3])
        .namespace(&place.0)
        .create("v")
        .unwrap();
    let mut section = value.lock().unwrap();
    assert!(!section.owner_died());
    assert!(matches!(value.try_lock(), Err(TryAcquireError::WouldBlock)));
    let in_time = value.lock_timeout(Duration::from_millis(1));
    assert!(matches!(in_time, Err(AcquireTimeoutError::Timeout)));
    value.set([2; 3]).unwrap();
    assert_eq!(section.get().unwrap(), [2; 3]);
    let seen = place.0.inspect("v").unwrap();
    assert_eq!(seen.kind, Kind::Value);
    assert_eq!(seen.visits.len(), 1);
    assert_eq!(seen.state, "1 × 3 bytes, held");
    section.mark_inconsistent();
    drop(section);
    let mut section = value.try_lock().unwrap();
    assert!(section.owner_died());
    section.mark_consistent();
    drop(section);
    assert!(!value.lock().unwrap().owner_died());
}

#[test]
fn a_value_is_opened_as_what_it_is() {
    let place = Place::new("open");
    let value = Value::options(7u32)
        .namespace(&place.0)
        .create("v")
        .unwrap();
    let again = Value::options(8u32).namespace(&place.0).create("v");
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    let other = Value::<i32>::opener().namespace(&place.0).open("v");
    assert!(matches!(other, Err(Error::WrongType { .. })), "{other:?}");
    let event = Event::opener().namespace(&place.0).open("v");
    assert!(matches!(event, Err(Error::WrongKind { .. })), "{event:?}");
    let none = Value::<u32>::opener().namespace(&place.0).create("w");
    assert!(matches!(none, Err(Error::BadOption { .. })), "{none:?}");
    let none = Value::<u32>::opener().namespace(&place.0).open("w");
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    let same = Value::options(9u32)
        .namespace(&place.0)
        .open_or_create("v")
        .unwrap();
    assert_eq!(same.get().unwrap(), 7);
    same.set(10).unwrap();
    assert_eq!(value.get().unwrap(), 10);
    assert_eq!(value.name(), Some("v"));
    value.unlink().unwrap();
    let gone = Value::<u32>::opener().namespace(&place.0).open("v");
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    assert_eq!(same.get().unwrap(), 10, "who has it keeps it");
}

#[test]
fn a_handle_travels() {
    let place = Place::new("travel");
    let value = Value::options([1u64, 2, 3])
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let text = serde_json::to_string(&value).unwrap();
    let arrived: Value<[u64; 3]> = serde_json::from_str(&text).unwrap();
    arrived.set([4, 5, 6]).unwrap();
    assert_eq!(value.get().unwrap(), [4, 5, 6]);
    assert_eq!(arrived.name(), None);
    let other = serde_json::from_str::<Value<[u64; 4]>>(&text);
    assert!(other.unwrap_err().to_string().contains("[u64; 3]"));
}
