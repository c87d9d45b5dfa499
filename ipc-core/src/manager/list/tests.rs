//! Lists between threads of one process. What happens when processes die is in the `tests` package.

use std::{path::PathBuf, thread};

use proptest::prelude::*;

use super::*;
use crate::{Bytes, Event, Kind, Namespace, Plain, Value};

/// A namespace of its own for one test, which goes with it.
struct Place(Namespace, PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-list-{test}-{}", std::process::id()));
        Self(Namespace::at(&dir).unwrap(), dir)
    }

    fn list<T: Message>(&self) -> List<T> {
        List::options().namespace(&self.0).anonymous().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn numbers(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn a_list_does_what_pythons_does() {
    let place = Place::new("python");
    let list = place.list();
    assert_eq!((list.len().unwrap(), list.is_empty().unwrap()), (0, true));
    assert_eq!(list.pop().unwrap(), None);
    for word in ["b", "d", "a"] {
        list.push(word.to_owned()).unwrap();
    }
    list.insert(1, "c".to_owned()).unwrap();
    list.insert(4, "e".to_owned()).unwrap();
    list.insert(0, "f".to_owned()).unwrap();
    assert_eq!(list.to_vec().unwrap(), ["f", "b", "c", "d", "a", "e"]);
    assert_eq!(list.get(2).unwrap(), "c");
    list.set(2, "c".repeat(5000)).unwrap();
    assert_eq!(list.get(2).unwrap().len(), 5000);
    assert_eq!(list.remove(2).unwrap().len(), 5000);
    list.extend(["a", "g"].map(str::to_owned)).unwrap();
    assert_eq!(list.index(&"a".to_owned()).unwrap(), Some(3));
    assert!(!list.contains(&"c".to_owned()).unwrap());
    list.sort().unwrap();
    assert_eq!(list.slice(1..3).unwrap(), ["a", "b"]);
    assert_eq!(list.slice(5..50).unwrap(), ["f", "g"]);
    assert!(list.slice(7..).unwrap().is_empty());
    list.reverse().unwrap();
    assert_eq!(list.pop().unwrap().as_deref(), Some("a"));
    let all: Result<Vec<_>, _> = list.iter().collect();
    assert_eq!(all.unwrap(), ["g", "f", "e", "d", "b", "a"]);
    list.clear().unwrap();
    assert!(list.is_empty().unwrap() && (&list).into_iter().next().is_none());
}

#[test]
fn what_is_out_of_range_says_the_length_and_gives_the_value_back() {
    let place = Place::new("range");
    let list = place.list();
    list.extend([Plain(1u32), Plain(2)]).unwrap();
    let says = |e: &Error| {
        matches!(
            e,
            Error::OutOfRange {
                index: 3,
                len: 2,
                ..
            }
        )
    };
    for error in [list.get(3).unwrap_err(), list.remove(3).unwrap_err()] {
        assert!(matches!(&error, ListError::Failed(e) if says(e)), "{error}");
        assert!(
            error
                .to_string()
                .ends_with("has no index 3: its length is 2")
        );
    }
    for error in [
        list.insert(3, Plain(9)).unwrap_err(),
        list.set(3, Plain(9)).unwrap_err(),
    ] {
        assert!(matches!(&error, ListPutError::Failed { error, .. } if says(error)));
        assert_eq!(error.into_value(), Plain(9));
    }
    assert_eq!(list.to_vec().unwrap(), [Plain(1), Plain(2)]);
}

#[test]
fn sorting_is_stable_and_survives_a_comparison_that_panics() {
    let place = Place::new("sort");
    let list = place.list::<(u32, u32)>();
    list.extend((0..500).map(|n| (n * 7919 % 10, n))).unwrap();
    list.sort_by_key(|pair| std::cmp::Reverse(pair.0)).unwrap();
    let mut expected: Vec<_> = (0..500).map(|n| (n * 7919 % 10, n)).collect();
    expected.sort_by_key(|pair| std::cmp::Reverse(pair.0));
    assert_eq!(list.to_vec().unwrap(), expected);
    let panicked = thread::scope(|scope| {
        let panic = || list.sort_by_key(|_| -> u32 { panic!("on purpose") });
        scope.spawn(panic).join().is_err()
    });
    assert!(panicked);
    assert_eq!(list.to_vec().unwrap(), expected);
    list.push((11, 0)).unwrap();
}

#[test]
fn a_long_list_is_right_in_the_middle_too() {
    let place = Place::new("long");
    let list = place.list();
    list.extend(numbers(0..5000)).unwrap();
    for n in 5000..6000 {
        list.push(n).unwrap();
    }
    assert_eq!(list.len().unwrap(), 6000);
    for index in [0, 61, 62, 1921, 1922, 3000, 5999] {
        assert_eq!(list.get(index).unwrap(), index as u64);
    }
    let mut expected = numbers(0..6000);
    for n in 0..1000 {
        assert_eq!(list.remove(3000).unwrap(), expected.remove(3000));
        list.insert(1000, 10_000 + n).unwrap();
        expected.insert(1000, 10_000 + n);
    }
    assert_eq!(list.to_vec().unwrap(), expected);
    for _ in 0..6000 {
        list.pop().unwrap().unwrap();
    }
    assert!(list.is_empty().unwrap());
}

#[derive(Debug, Clone)]
enum Act {
    Push(u64),
    Insert(usize, u64),
    Remove(usize),
    Set(usize, u64),
    Pop,
    Extend(usize),
    Reverse,
    Sort,
    Clear,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<u64>().prop_map(Act::Push),
        8 => (any::<usize>(), any::<u64>()).prop_map(|(at, value)| Act::Insert(at, value)),
        8 => any::<usize>().prop_map(Act::Remove),
        4 => (any::<usize>(), any::<u64>()).prop_map(|(at, value)| Act::Set(at, value)),
        4 => Just(Act::Pop),
        2 => (0..300usize).prop_map(Act::Extend),
        1 => Just(Act::Reverse),
        1 => Just(Act::Sort),
        1 => Just(Act::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_what_a_vector_is(acts in prop::collection::vec(act(), 1..120)) {
        let place = Place::new("vector");
        let list = place.list::<u64>();
        let mut vector: Vec<u64> = Vec::new();
        for act in acts {
            let len = vector.len();
            match act {
                Act::Push(value) => {
                    list.push(value).unwrap();
                    vector.push(value);
                }
                Act::Insert(at, value) => {
                    list.insert(at % (len + 1), value).unwrap();
                    vector.insert(at % (len + 1), value);
                }
                Act::Remove(_) | Act::Set(..) if len == 0 => {}
                Act::Remove(at) => prop_assert_eq!(list.remove(at % len).unwrap(), vector.remove(at % len)),
                Act::Set(at, value) => {
                    list.set(at % len, value).unwrap();
                    vector[at % len] = value;
                }
                Act::Pop => prop_assert_eq!(list.pop().unwrap(), vector.pop()),
                Act::Extend(count) => {
                    let values = numbers(len as u64..(len + count) as u64);
                    list.extend(values.clone()).unwrap();
                    vector.extend(values);
                }
                Act::Reverse => {
                    list.reverse().unwrap();
                    vector.reverse();
                }
                Act::Sort => {
                    list.sort().unwrap();
                    vector.sort_unstable();
                }
                Act::Clear => {
                    list.clear().unwrap();
                    vector.clear();
                }
            }
            prop_assert_eq!(list.len().unwrap(), vector.len());
        }
        prop_assert_eq!(list.to_vec().unwrap(), vector);
    }
}

/// Bytes of blocks in use.
fn used(list: &List<impl Message>) -> usize {
    list.of.core.heap.usage().0
}

#[test]
fn what_goes_leaves_no_memory_behind() {
    let place = Place::new("memory");
    let list = place.list();
    let empty = used(&list);
    for round in 0..3 {
        list.extend((0..2000).map(|n| "x".repeat(n % 300))).unwrap();
        list.reverse().unwrap();
        list.sort().unwrap();
        for n in 0..500 {
            list.set(n * 3, round.to_string()).unwrap();
            list.remove(n).unwrap();
            list.insert(n * 2, "y".repeat(n * 20)).unwrap();
        }
        let Err(ListPutError::Failed { .. }) = list.insert(9999, "z".repeat(100_000)) else {
            panic!("there is no such place");
        };
        match round {
            0 => list.clear().unwrap(),
            _ => while list.pop().unwrap().is_some() {},
        }
        assert_eq!(used(&list), empty, "after round {round}");
    }
}

#[test]
fn a_full_list_stays_as_it_is_and_can_be_emptied() {
    let place = Place::new("full");
    let list = List::<Bytes>::options()
        .limit(128 << 10)
        .namespace(&place.0)
        .create("l")
        .unwrap();
    let mut pushed = 0u64;
    let error = loop {
        let size = 40 + pushed as usize % 7 * 100;
        match list.push(Bytes(vec![pushed as u8; size])) {
            Ok(()) => pushed += 1,
            Err(e) => break e,
        }
    };
    assert!(pushed > 100, "{pushed}");
    assert!(
        matches!(
            &error,
            ListPutError::Failed {
                error: Error::NoSpace { .. },
                ..
            }
        ),
        "{error}"
    );
    let large = list.push(Bytes(vec![0; 1 << 20])).unwrap_err();
    assert!(
        matches!(large, ListPutError::TooLarge { len: 1_048_576, .. }),
        "{large}"
    );
    let all = list
        .extend((0..1000).map(|_| Bytes(vec![1; 100])))
        .unwrap_err();
    assert_eq!(all.into_value().len(), 1000);
    assert_eq!(list.len().unwrap() as u64, pushed);
    for n in (0..pushed).rev() {
        let at = list.len().unwrap() / 2;
        let taken = list.remove(at);
        assert!(taken.is_ok(), "with {n} left: {taken:?}");
    }
    assert!(list.is_empty().unwrap());
    assert_eq!(used(&list), 0);
}

#[test]
fn readers_see_the_list_of_one_moment() {
    let place = Place::new("moment");
    let list = place.list::<u64>();
    list.extend(numbers(0..300)).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..150 {
                list.reverse().unwrap();
                list.push(300).unwrap();
                list.pop().unwrap();
                let first = list.remove(0).unwrap();
                list.insert(0, first).unwrap();
            }
        });
        while !writer.is_finished() {
            let all = list.to_vec().unwrap();
            assert!((299..=301).contains(&all.len()));
            let steps = all.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
            let odd = steps.filter(|step| *step != 1 && *step != u64::MAX).count();
            // A 300 behind a reversed list is no neighbour of its last one.
            assert!(odd <= 1, "{all:?}");
            let element = list.get(150);
            assert!(matches!(element, Ok(148..=151)), "{element:?}");
        }
    });
}

#[test]
fn nothing_that_threads_push_is_lost() {
    let place = Place::new("threads");
    let list = List::<(u64, u64)>::options()
        .namespace(&place.0)
        .create("l")
        .unwrap();
    thread::scope(|scope| {
        for who in 0..4 {
            let list = &list;
            scope.spawn(move || {
                for n in 0..500 {
                    list.push((who, n)).unwrap();
                    if n % 5 == 4 {
                        let _ = list.remove(0).unwrap();
                    }
                }
            });
        }
    });
    let all = list.to_vec().unwrap();
    assert_eq!(all.len(), 4 * 400);
    for who in 0..4 {
        let own: Vec<u64> = all
            .iter()
            .filter(|(by, _)| *by == who)
            .map(|(_, n)| *n)
            .collect();
        assert!(own.is_sorted());
    }
    let seen = place.0.inspect("l").unwrap();
    assert_eq!(seen.kind, Kind::List);
    assert!(seen.state.starts_with("1600 elements, "), "{}", seen.state);
    assert!(seen.state.ends_with(", free"), "{}", seen.state);
}

#[test]
fn a_list_is_opened_as_what_it_is_and_travels() {
    let place = Place::new("open");
    let list = List::<u64>::options()
        .namespace(&place.0)
        .create("l")
        .unwrap();
    let other = List::<u32>::options().namespace(&place.0).open("l");
    assert!(matches!(other, Err(Error::WrongType { .. })), "{other:?}");
    let event = Event::opener().namespace(&place.0).open("l");
    assert!(matches!(event, Err(Error::WrongKind { .. })), "{event:?}");
    let huge = List::<u64>::options().limit(usize::MAX).namespace(&place.0);
    assert!(matches!(huge.create("h"), Err(Error::BadOption { .. })));
    let again = List::<u64>::options()
        .namespace(&place.0)
        .open_or_create("l");
    again.unwrap().push(7).unwrap();
    let text = serde_json::to_string(&list).unwrap();
    let arrived: List<u64> = serde_json::from_str(&text).unwrap();
    assert_eq!(arrived.to_vec().unwrap(), [7]);
    assert_eq!(arrived.name(), Some("l"));
}

#[test]
fn what_is_nested_is_no_copy() {
    let place = Place::new("nested");
    let outer = place.list::<List<u64>>();
    let inner = place.list::<u64>();
    outer.push(inner.clone()).unwrap();
    let found = outer.get(0).unwrap();
    found.push(5).unwrap();
    assert_eq!(inner.to_vec().unwrap(), [5]);
    let count = Value::options(1u64)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let counts = place.list::<Value<u64>>();
    counts.push(count.clone()).unwrap();
    counts.get(0).unwrap().fetch_add(1).unwrap();
    assert_eq!(count.get().unwrap(), 2);
}
