use std::{
    collections::HashMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{Bytes, Error, Namespace, Plain};

/// A namespace of this test's own, gone with it.
struct Place(PathBuf, Namespace);

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-dict-{}", crate::os::file::unique()));
        let namespace = Namespace::at(&dir).unwrap();
        Self(dir, namespace)
    }

    fn dict<K: Message, V: Message>(&self) -> Dict<K, V> {
        Dict::options().namespace(&self.1).create("d").unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn pairs_are_found_replaced_and_removed() {
    let place = Place::new();
    let dict: Dict<String, u64> = place.dict();
    let (a, b) = ("a".to_string(), "b".to_string());
    assert_eq!(dict.get(&a).unwrap(), None);
    assert_eq!(dict.insert(&a, &1).unwrap(), None);
    assert_eq!(dict.insert(&a, &2).unwrap(), Some(1));
    dict.set(&b, &3).unwrap();
    assert_eq!(
        (dict.get(&a).unwrap(), dict.get(&b).unwrap()),
        (Some(2), Some(3))
    );
    assert!(dict.contains(&a).unwrap() && dict.len() == 2);
    assert_eq!(dict.remove(&a).unwrap(), Some(2));
    assert_eq!(dict.remove(&a).unwrap(), None);
    assert_eq!(dict.pop_item().unwrap(), Some((b, 3)));
    assert_eq!(dict.pop_item().unwrap(), None);
    assert!(dict.is_empty());
}

#[test]
fn what_is_borrowed_stands_for_what_is_owned() {
    let place = Place::new();
    let names: Dict<String, Vec<u16>> = place.dict();
    names.set("a", [1, 2].as_slice()).unwrap();
    assert_eq!(names.get(&"a".to_owned()).unwrap(), Some(vec![1, 2]));
    assert_eq!(names.insert("a", &vec![3]).unwrap(), Some(vec![1, 2]));
    let long = "ä".repeat(1000);
    names.set(&long, &vec![]).unwrap();
    assert!(names.contains(long.as_str()).unwrap() && !names.contains("ä").unwrap());
    assert_eq!(names.remove(long.as_str()).unwrap(), Some(vec![]));
    names.unlink().unwrap();

    let bytes: Dict<Bytes, Bytes> = place.dict();
    bytes.set(&b"k"[..], &b"v"[..]).unwrap();
    assert_eq!(bytes.get(&Bytes::from("k")).unwrap(), Some("v".into()));
}

#[test]
fn who_is_first_has_the_key_until_its_time_is_over() {
    let place = Place::new();
    let dict: Dict<u8, u8> = place.dict();
    let hour = Some(Duration::from_secs(3600));
    assert!(dict.insert_new(&1, &1, hour).unwrap());
    assert!(!dict.insert_new(&1, &2, None).unwrap());
    assert_eq!(dict.get(&1).unwrap(), Some(1));
    dict.set_ttl(&1, Some(Duration::ZERO)).unwrap();
    assert!(dict.insert_new(&1, &3, hour).unwrap(), "it was over");
    assert!(!dict.insert_new(&1, &4, hour).unwrap());
    assert_eq!((dict.get(&1).unwrap(), dict.len()), (Some(3), 1));
    let free = dict.stat().used;
    for value in 0..100 {
        assert!(!dict.insert_new(&1, &value, None).unwrap());
    }
    assert_eq!(dict.stat().used, free, "what was refused takes no memory");
}

#[test]
fn a_value_of_any_length_is_read_into_a_buffer() {
    let place = Place::new();
    let dict: Dict<u32, Bytes> = place.dict();
    let lengths = [0, 1, 8, 200, 5_000, 200_000];
    for (key, length) in (0..).zip(lengths) {
        dict.set(&key, &Bytes(vec![key as u8; length])).unwrap();
    }
    let mut buffer = b"before".to_vec();
    for (key, length) in (0..).zip(lengths) {
        assert!(dict.get_into(&key, &mut buffer).unwrap());
        assert_eq!(buffer, vec![key as u8; length]);
    }
    assert!(!dict.get_into(&99, &mut buffer).unwrap());
    assert!(buffer.is_empty());
}

#[test]
fn a_dictionary_of_any_size_holds_what_was_put_into_it() {
    let place = Place::new();
    let dict: Dict<u32, Bytes> = place.dict();
    let value = |key: u32| Bytes(vec![key as u8; (key % 90) as usize]);
    for key in 0..30_000 {
        assert_eq!(dict.insert(&key, &value(key)).unwrap(), None, "{key}");
    }
    for key in (0..30_000).step_by(3) {
        assert_eq!(dict.remove(&key).unwrap(), Some(value(key)));
    }
    for key in 0..30_000 {
        let expected = (key % 3 != 0).then(|| value(key));
        assert_eq!(dict.get(&key).unwrap(), expected, "{key}");
    }
    assert_eq!(dict.len(), 20_000);
    let all: HashMap<u32, Bytes> = dict.iter().collect();
    assert_eq!(all.len(), 20_000);
    assert!(all.iter().all(|(key, bytes)| *bytes == value(*key)));
    assert_eq!(dict.keys().count(), 20_000);
    let mut snapshot: Vec<u32> = dict
        .snapshot()
        .unwrap()
        .into_iter()
        .map(|(k, _)| k)
        .collect();
    snapshot.sort_unstable();
    assert!(snapshot.into_iter().eq((0..30_000).filter(|k| k % 3 != 0)));
    dict.clear().unwrap();
    let (stat, new) = (dict.stat(), 256 << 10);
    assert_eq!((stat.len, stat.used, stat.allocated), (0, 0, new));
}

#[test]
fn a_pair_takes_little_more_than_its_bytes() {
    let place = Place::new();
    let dict: Dict<Plain<[u64; 2]>, Plain<[u64; 8]>> = place.dict();
    for key in 0..20_000 {
        dict.set(&Plain([key, key]), &Plain([key; 8])).unwrap();
    }
    let stat = dict.stat();
    let a_pair = stat.allocated / 20_000;
    assert!(
        a_pair < 80 * 16 / 10 + 64,
        "{a_pair} bytes a pair: {stat:?}"
    );
}

#[test]
fn values_of_any_length_are_kept_and_too_long_ones_refused() {
    let place = Place::new();
    let dict: Dict<Bytes, Bytes> = Dict::options()
        .namespace(&place.1)
        .limit(4 << 20)
        .create("d")
        .unwrap();
    for length in [0, 1, 7, 8, 100, 5000, 40_000, 70_000, 1 << 20] {
        let (key, value) = (Bytes(vec![3; length / 2]), Bytes(vec![7; length]));
        dict.insert(&key, &value).unwrap();
        assert_eq!(dict.get(&key).unwrap(), Some(value), "{length}");
        assert_eq!(dict.remove(&key).unwrap().unwrap().0.len(), length);
    }
    let huge = Bytes(vec![0; 5 << 20]);
    let refused = dict.insert(&Bytes(vec![]), &huge);
    assert!(matches!(refused, Err(DictError::TooLarge { len, .. }) if len == 5 << 20));
    assert_eq!(dict.stat().len, 0);
}

#[test]
fn a_full_dictionary_says_so_and_stays_intact() {
    let place = Place::new();
    let dict: Dict<u32, Bytes> = Dict::options()
        .namespace(&place.1)
        .limit(1 << 20)
        .create("d")
        .unwrap();
    let value = |key: u32| Bytes(vec![key as u8; 1000]);
    let count = (0..).find(|key| match dict.insert(key, &value(*key)) {
        Ok(_) => false,
        Err(DictError::NoSpace { needed, .. }) => needed > 0,
        Err(e) => panic!("{e}"),
    });
    let count = count.unwrap();
    assert!(count > 700, "{count} pairs of 1000 bytes in 1 MiB");
    assert_eq!(dict.len(), count as usize);
    assert!(dict.iter().all(|(key, bytes)| bytes == value(key)));
    assert!(matches!(
        dict.set(&0, &value(1)),
        Err(DictError::NoSpace { .. })
    ));
    dict.remove(&5).unwrap();
    dict.set(&0, &value(1)).unwrap();
    assert_eq!(dict.get(&0).unwrap(), Some(value(1)));
}

#[test]
fn what_one_process_removes_another_has_room_for() {
    let place = Place::new();
    let options = || Dict::<u32, Bytes>::options().namespace(&place.1);
    // Each has a mapping of its own, and what it knows of free memory.
    let (one, other) = (
        options().limit(256 << 10).create("d").unwrap(),
        options().open("d").unwrap(),
    );
    let value = Bytes(vec![1; 100]);
    let mut next = 0;
    for key in 0..1000 {
        let (remover, setter) = match key % 3 {
            0 => (&one, &other),
            _ => (&other, &one),
        };
        while setter.set(&next, &value).is_ok() {
            next += 1;
        }
        remover.remove(&key).unwrap();
        setter.set(&key, &value).unwrap();
    }
}

#[test]
fn conditions_are_met_or_nothing_changes() {
    let place = Place::new();
    let dict: Dict<u8, u64> = place.dict();
    assert!(!dict.compare_and_swap(&1, Some(&5), Some(&6)).unwrap());
    assert!(dict.compare_and_swap(&1, None, Some(&5)).unwrap());
    assert!(!dict.compare_and_swap(&1, None, Some(&7)).unwrap());
    assert!(dict.compare_and_swap(&1, Some(&5), Some(&6)).unwrap());
    assert!(!dict.compare_and_swap(&1, Some(&5), None).unwrap());
    assert!(dict.compare_and_swap(&1, Some(&6), None).unwrap());
    assert!(dict.compare_and_swap(&1, None, None).unwrap());
    assert_eq!(dict.get_or_insert_with(&1, || 9).unwrap(), 9);
    assert_eq!(
        dict.get_or_insert_with(&1, || panic!("it is there"))
            .unwrap(),
        9
    );
    assert_eq!(dict.update(&1, |value| *value *= 2).unwrap(), Some(18));
    assert_eq!(
        dict.update(&2, |_| panic!("it is not there")).unwrap(),
        None
    );
    assert_eq!(
        dict.alter(&1, |value| value.filter(|v| *v > 20)).unwrap(),
        None
    );
    assert!(dict.is_empty());
    assert_eq!(dict.add(&3, 4).unwrap() + dict.add(&3, 4).unwrap(), 12);
}

#[test]
fn a_change_that_panics_leaves_the_old_value() {
    let place = Place::new();
    let dict: Dict<u8, u64> = place.dict();
    dict.set(&1, &5).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        dict.update(&1, |value| {
            *value = 6;
            panic!("on purpose");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(dict.get(&1).unwrap(), Some(5));
    dict.set(&1, &7).unwrap();
}

#[test]
fn what_has_expired_is_not_there_and_its_memory_comes_back() {
    let place = Place::new();
    let dict: Dict<u32, u64> = place.dict();
    for key in 0..1000 {
        dict.insert_with_ttl(&key, &1, Duration::from_nanos(1))
            .unwrap();
    }
    dict.insert_with_ttl(&1000, &2, Duration::from_secs(3600))
        .unwrap();
    dict.insert_with_ttl(&1001, &2, Duration::from_nanos(1))
        .unwrap();
    dict.insert(&1001, &3).unwrap();
    assert_eq!(dict.get(&5).unwrap(), None);
    assert_eq!(
        dict.insert(&5, &8).unwrap(),
        None,
        "the old one had expired"
    );
    assert_eq!(dict.iter().map(|(_, v)| v).sum::<u64>(), 8 + 2 + 3);
    assert!(dict.set_ttl(&5, Some(Duration::ZERO)).unwrap());
    assert!(!dict.contains(&5).unwrap());
    assert!(!dict.set_ttl(&5, None).unwrap());
    dict.remove_expired().unwrap();
    assert_eq!(dict.len(), 2);
    assert!(dict.set_ttl(&1000, None).unwrap());
    assert_eq!(dict.get(&1000).unwrap(), Some(2));
}

#[test]
fn threads_that_change_the_same_keys_lose_no_change() {
    let place = Place::new();
    let dict: Dict<u8, u64> = place.dict();
    let total: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|seed: u64| {
                let dict = dict.clone();
                scope.spawn(move || {
                    let mut sum = 0;
                    for i in 0..3000 {
                        dict.add(&((seed + i) as u8 % 5), i).unwrap();
                        sum += i;
                    }
                    sum
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    assert_eq!(dict.values().sum::<u64>(), total);
}

#[test]
fn readers_see_whole_values_that_were_written_while_the_table_changes() {
    let place = Place::new();
    let dict: Dict<u32, Bytes> = place.dict();
    let stop = AtomicBool::new(false);
    let value = |key: u32, turn: u32| {
        let length = (key * 7 + turn * 13) % 700;
        let mut bytes = vec![(key + turn) as u8; length as usize + 8];
        bytes[..8].copy_from_slice(&[key.to_ne_bytes(), turn.to_ne_bytes()].concat());
        Bytes(bytes)
    };
    let check = |key: u32, bytes: &Bytes| {
        let turn = u32::from_ne_bytes(bytes.0[4..8].try_into().unwrap());
        assert_eq!(*bytes, value(key, turn));
        turn
    };
    for key in 0..100 {
        dict.set(&key, &value(key, 0)).unwrap(); // these stay
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = [0; 100];
                while !stop.load(Ordering::Relaxed) {
                    for key in 0..100 {
                        let bytes = dict.get(&key).unwrap().expect("it was never removed");
                        let turn = check(key, &bytes);
                        assert!(turn >= last[key as usize], "back in time");
                        last[key as usize] = turn;
                    }
                    let seen = dict.iter().filter(|(key, bytes)| {
                        check(*key, bytes);
                        *key < 100
                    });
                    assert_eq!(seen.count(), 100, "each once");
                }
            });
        }
        for turn in 1..30 {
            for key in 0..100 {
                dict.set(&key, &value(key, turn)).unwrap();
            }
            for key in 100..2000 {
                dict.set(&key, &value(key, turn)).unwrap();
            }
            for key in 100..2000 {
                assert!(dict.remove(&key).unwrap().is_some());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    dict.clear().unwrap();
    assert_eq!(dict.stat().used, 0);
}

#[test]
fn no_call_pauses_while_the_dictionary_grows() {
    let place = Place::new();
    let dict: Dict<u32, u64> = place.dict();
    let mut times: Vec<Duration> = (0..50_000)
        .map(|key| {
            let start = Instant::now();
            dict.set(&key, &1).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    // The very longest may have lost their core.
    let long = times[times.len() - 20];
    assert!(long < Duration::from_millis(10), "{long:?}");
}

#[test]
fn a_handle_travels_and_a_dictionary_may_be_in_another() {
    let place = Place::new();
    let outer: Dict<String, Dict<u8, u8>> = place.dict();
    let inner: Dict<u8, u8> = Dict::options().namespace(&place.1).anonymous().unwrap();
    outer.set("inner", &inner).unwrap();
    let again = outer.get("inner").unwrap().unwrap();
    again.set(&1, &2).unwrap();
    assert_eq!(inner.get(&1).unwrap(), Some(2));
}

#[test]
fn another_type_or_an_impossible_limit_is_refused() {
    let place = Place::new();
    let _dict: Dict<u8, u64> = place.dict();
    let other = Dict::<u8, u32>::options().namespace(&place.1).open("d");
    assert!(matches!(other, Err(Error::WrongType { .. })));
    let options = Dict::<u8, u8>::options().namespace(&place.1);
    let refused = options.limit(1 << 40).create("huge");
    assert!(matches!(
        refused,
        Err(Error::BadOption {
            option: "limit",
            ..
        })
    ));
}

/// What a thread did to one key, and what it was told.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Get(Option<u64>),
    Insert(u64, Option<u64>),
    Remove(Option<u64>),
    Swap(Option<u64>, u64, bool),
    Add(u64, u64),
}

impl Deed {
    /// The value afterwards, if it could have been told that when the value was `before`.
    fn after(self, before: Option<u64>) -> Option<Option<u64>> {
        let (is_possible, after) = match self {
            Self::Get(told) => (told == before, before),
            Self::Insert(new, told) => (told == before, Some(new)),
            Self::Remove(told) => (told == before, None),
            Self::Swap(expected, new, true) => (expected == before, Some(new)),
            Self::Swap(expected, _, false) => (expected != before, before),
            Self::Add(amount, told) => {
                let sum = before.unwrap_or(0) + amount;
                (told == sum, Some(sum))
            }
        };
        is_possible.then_some(after)
    }
}

/// A deed, between two ticks.
type Event = (u64, Deed, u64);

/// Whether the events could have happened one after the other (Wing and Gong, "Testing and verifying concurrent objects", 1993):
/// each between its ticks. `seen` are the sets of events, and values, after which the rest was found impossible.
fn is_linearizable(
    events: &[Event],
    done: u64,
    value: Option<u64>,
    seen: &mut std::collections::HashSet<(u64, Option<u64>)>,
) -> bool {
    if done.count_ones() as usize == events.len() {
        return true;
    }
    if !seen.insert((done, value)) {
        return false;
    }
    let left = || (0..events.len()).filter(|at| done & 1 << at == 0);
    let first_end = left().map(|at| events[at].2).min().unwrap();
    left()
        .filter(|at| events[*at].0 < first_end)
        .any(|at| match events[at].1.after(value) {
            Some(after) => is_linearizable(events, done | 1 << at, after, seen),
            None => false,
        })
}

#[test]
fn short_histories_are_linearizable() {
    const KEYS: usize = 2;
    let place = Place::new();
    let dict: Dict<u8, u64> = place.dict();
    let tick = std::sync::atomic::AtomicU64::new(0);
    for round in 0..150u64 {
        let gate = std::sync::Barrier::new(3);
        let histories: Vec<Vec<(usize, Event)>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..3u64)
                .map(|worker| {
                    let (dict, tick, gate) = (&dict, &tick, &gate);
                    scope.spawn(move || {
                        gate.wait();
                        let mut events = Vec::new();
                        for i in 0..8u64 {
                            let n = random_of(round * 100 + worker * 10 + i);
                            let key = (n % KEYS as u64) as u8;
                            let (new, amount) = (n >> 8 & 7, n >> 16 & 3);
                            let start = tick.fetch_add(1, Ordering::SeqCst);
                            let deed = match n >> 32 & 7 {
                                0..=2 => Deed::Get(dict.get(&key).unwrap()),
                                3 => Deed::Insert(new, dict.insert(&key, &new).unwrap()),
                                4 => Deed::Remove(dict.remove(&key).unwrap()),
                                5 | 6 => {
                                    let expected = (amount > 0).then_some(amount);
                                    let is_done =
                                        dict.compare_and_swap(&key, expected.as_ref(), Some(&new));
                                    Deed::Swap(expected, new, is_done.unwrap())
                                }
                                _ => Deed::Add(amount, dict.add(&key, amount).unwrap()),
                            };
                            let end = tick.fetch_add(1, Ordering::SeqCst);
                            events.push((usize::from(key), (start, deed, end)));
                        }
                        events
                    })
                })
                .collect();
            workers.into_iter().map(|w| w.join().unwrap()).collect()
        });
        for key in 0..KEYS {
            let all = histories.iter().flatten();
            let events: Vec<Event> = all.filter(|(k, _)| *k == key).map(|(_, e)| *e).collect();
            assert!(
                is_linearizable(&events, 0, None, &mut std::collections::HashSet::new()),
                "round {round}: {events:#?}"
            );
        }
        dict.clear().unwrap();
    }
}

/// A number that looks random.
fn random_of(seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&seed.to_ne_bytes())
}

#[test]
fn the_checker_refuses_what_cannot_have_happened() {
    let check =
        |events: &[Event]| is_linearizable(events, 0, None, &mut std::collections::HashSet::new());
    let insert = (1, Deed::Insert(5, None), 2);
    assert!(check(&[insert, (3, Deed::Get(Some(5)), 4)]));
    assert!(!check(&[insert, (3, Deed::Get(None), 4)]));
    assert!(check(&[
        (1, Deed::Insert(5, None), 4),
        (2, Deed::Get(None), 3)
    ]));
    assert!(!check(&[
        insert,
        (3, Deed::Remove(Some(5)), 4),
        (5, Deed::Get(Some(5)), 6)
    ]));
}

#[test]
fn who_holds_a_stripe_keeps_writers_waiting_until_their_timeout_and_readers_not_at_all() {
    let place = Place::new();
    let mut dict: Dict<u8, u64> = place.dict();
    dict.set(&1, &5).unwrap();
    dict.set_timeout(Some(Duration::from_millis(2)));
    let (inner, me) = (&dict.inner, dict.inner.member.ready().unwrap());
    let stripes = 0..inner.table.stripes();
    let held: Vec<_> = stripes
        .map(|s| inner.table.lock(me, s, false).unwrap())
        .collect();
    assert!(matches!(dict.set(&1, &6), Err(DictError::Timeout)));
    assert!(matches!(dict.snapshot(), Err(DictError::Timeout)));
    assert_eq!(dict.get(&1).unwrap(), Some(5));
    assert_eq!(dict.iter().count(), 1);
    drop(held);
    dict.set(&1, &6).unwrap();
    assert_eq!(dict.stat().len, 1);
}
