//! Shared values and lists by one thread, against what a process has for the same: an atomic, a mutex, a vector in one.
//!
//! A `wide` value has 64 bytes. `list_push_pop` puts a number at the end of a list of 1000 and takes it out again; `list_get` reads one in the
//! middle; `list_insert_remove` puts one into the middle and takes it out again.

use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::harness::solo;
use ipc_benches::queue::namespace;
use ipc_core::{Array, List, Plain, Value};
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

type Wide = [u64; 8];

/// Elements of the lists.
const LENGTH: u64 = 1000;

fn value() -> Value<u64> {
    let options = Value::options(0).namespace(&namespace());
    options.anonymous().expect("make a value")
}

fn wide_value() -> Value<Wide> {
    let options = Value::options([0; 8]).namespace(&namespace());
    options.anonymous().expect("make a value")
}

/// Add, get and set.
pub(crate) fn values(suite: &mut Suite) {
    suite.figure(
        ("value_add", "floor_atomic"),
        &[],
        Throughput::Elements(1),
        || {
            solo(|| {
                let number = AtomicU64::new(0);
                move |_| {
                    black_box(&number).fetch_add(1, Ordering::AcqRel);
                }
            })
        },
    );
    let floor = &["floor_atomic"];
    suite.figure(
        ("value_add", "peer_std_mutex"),
        floor,
        Throughput::Elements(1),
        || {
            solo(|| {
                let number = Mutex::new(0u64);
                move |_| *black_box(&number).lock().expect("nobody panics") += 1
            })
        },
    );
    let against = &["floor_atomic", "peer_std_mutex"];
    suite.figure(
        ("value_add", "ipc_value"),
        against,
        Throughput::Elements(1),
        || {
            solo(|| {
                let number = value();
                move |_| {
                    black_box(&number).fetch_add(1).expect("add");
                }
            })
        },
    );
    suite.figure(
        ("value_add", "ipc_array"),
        against,
        Throughput::Elements(1),
        || {
            solo(|| {
                let options = Array::filled(0u64, 64).namespace(&namespace());
                let numbers = options.anonymous().expect("make an array");
                move |index| {
                    let at = index as usize % 64;
                    black_box(&numbers).fetch_add(at, 1).expect("add");
                }
            })
        },
    );
    gets_and_sets(suite);
}

fn gets_and_sets(suite: &mut Suite) {
    let figures = [("value_get", true), ("value_set", false)];
    for (group, is_get) in figures {
        suite.figure(
            (group, "floor_atomic"),
            &[],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let number = AtomicU64::new(0);
                    move |index: u64| match is_get {
                        true => _ = black_box(black_box(&number).load(Ordering::Acquire)),
                        false => black_box(&number).store(index, Ordering::Release),
                    }
                })
            },
        );
        suite.figure(
            (group, "ipc_value"),
            &["floor_atomic"],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let number = value();
                    move |index: u64| match is_get {
                        true => _ = black_box(black_box(&number).get().expect("get")),
                        false => black_box(&number).set(index).expect("set"),
                    }
                })
            },
        );
        let wide = match is_get {
            true => "value_get_wide",
            false => "value_set_wide",
        };
        suite.figure(
            (wide, "peer_std_mutex"),
            &[],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let words = Mutex::new([0u64; 8]);
                    move |index: u64| {
                        let mut words = black_box(&words).lock().expect("nobody panics");
                        match is_get {
                            true => _ = black_box(*words),
                            false => *words = black_box([index; 8]),
                        }
                    }
                })
            },
        );
        suite.figure(
            (wide, "ipc_value"),
            &["peer_std_mutex"],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let words = wide_value();
                    move |index: u64| match is_get {
                        true => _ = black_box(black_box(&words).get().expect("get")),
                        false => black_box(&words).set(black_box([index; 8])).expect("set"),
                    }
                })
            },
        );
    }
}

fn list() -> List<Plain<u64>> {
    let options = List::options().namespace(&namespace());
    let list = options.anonymous().expect("make a list");
    list.extend((0..LENGTH).map(Plain)).expect("it has room");
    list
}

/// What one does with a list.
#[derive(Debug, Clone, Copy)]
enum Act {
    PushPop,
    InsertRemove,
    Get,
}

/// Push and pop, insert and remove, get.
pub(crate) fn lists(suite: &mut Suite) {
    let figures = [
        ("list_push_pop", Act::PushPop),
        ("list_insert_remove", Act::InsertRemove),
        ("list_get", Act::Get),
    ];
    let middle = LENGTH as usize / 2;
    for (group, act) in figures {
        suite.figure(
            (group, "peer_mutex_vec"),
            &[],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let list = Mutex::new(Vec::from_iter(0..LENGTH));
                    move |index: u64| {
                        let mut list = black_box(&list).lock().expect("nobody panics");
                        match act {
                            Act::PushPop => {
                                list.push(index);
                                black_box(list.pop());
                            }
                            Act::InsertRemove => {
                                list.insert(middle, index);
                                black_box(list.remove(middle));
                            }
                            Act::Get => _ = black_box(list[middle]),
                        }
                    }
                })
            },
        );
        suite.figure(
            (group, "ipc_list"),
            &["peer_mutex_vec"],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let list = list();
                    move |index: u64| match act {
                        Act::PushPop => {
                            list.push(Plain(index)).expect("push");
                            black_box(list.pop().expect("pop"));
                        }
                        Act::InsertRemove => {
                            list.insert(middle, Plain(index)).expect("insert");
                            black_box(list.remove(middle).expect("remove"));
                        }
                        Act::Get => _ = black_box(list.get(middle).expect("get")),
                    }
                })
            },
        );
    }
}
