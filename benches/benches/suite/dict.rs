//! A dictionary of 100,000 keys of 16 bytes with values of 64, against dashmap between threads.
//!
//! An item is one lookup or one replacement of a random key. Where two work, they do so on two cores: ours in two processes, dashmap's in
//! threads, as it lives in one process.

use crate::suite::Suite;
use criterion::Throughput;
use dashmap::DashMap;
use ipc_benches::crew::Workers::{Processes, Threads};
use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::harness::solo;
use ipc_benches::nth_core;
use ipc_benches::sync::Name;
use ipc_core::{Dict, Plain};
use std::hint::black_box;
use std::sync::Arc;

const PAIRS: u64 = 100_000;

type Key = [u64; 2];
type Value = [u64; 8];
type Ours = Dict<Plain<Key>, Plain<Value>>;

fn key(number: u64) -> Key {
    [number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
}

/// Random keys, the same for all.
struct Keys(u64);

impl Keys {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A dictionary of whoever made it.
trait Store {
    fn get(&self, key: &Key) -> Value;
    fn set(&self, key: Key, value: Value);
}

impl Store for Ours {
    fn get(&self, key: &Key) -> Value {
        let got = Dict::get(self, &Plain(*key)).expect("get");
        got.expect("it is there").0
    }

    fn set(&self, key: Key, value: Value) {
        Dict::set(self, &Plain(key), &Plain(value)).expect("set");
    }
}

impl Store for Arc<DashMap<Key, Value>> {
    fn get(&self, key: &Key) -> Value {
        *DashMap::get(self, key).expect("it is there")
    }

    fn set(&self, key: Key, value: Value) {
        self.insert(key, value);
    }
}

fn filled<S: Store>(store: S) -> S {
    for number in 0..PAIRS {
        store.set(key(number), [number; 8]);
    }
    store
}

fn peer() -> Arc<DashMap<Key, Value>> {
    filled(Arc::new(DashMap::new()))
}

fn ours() -> Name {
    Name::of(|place, name| {
        let dict: Ours = Dict::options().namespace(place).create(name)?;
        filled(dict);
        Ok(())
    })
}

/// One item: a lookup, in `gets` of 100 cases.
fn step(store: &impl Store, keys: &mut Keys, gets: u64) {
    let random = keys.random();
    let number = (random >> 32) % PAIRS;
    if random % 100 < gets {
        let value = black_box(store).get(&key(number));
        assert_eq!(value[0], number);
        black_box(value);
    } else {
        store.set(key(number), black_box([number; 8]));
    }
}

fn alone<S: Store>(open: impl FnOnce() -> S + Send + 'static, gets: u64) -> Crew {
    solo(move || {
        let (store, mut keys) = (open(), Keys::new(1));
        move |_| step(&store, &mut keys, gets)
    })
}

fn two<S: Store>(
    kind: Workers,
    open: impl FnOnce() -> S + Clone + Send + 'static,
    gets: u64,
) -> Crew {
    let role = |n| {
        let open = open.clone();
        Role::new("user", nth_core(n), move |rounds: &mut Rounds| {
            let (store, mut keys) = (open(), Keys::new(n as u64 + 1));
            rounds.each(|_| step(&store, &mut keys, gets));
        })
    };
    Crew::start(kind, vec![role(0), role(1)])
}

macro_rules! opener {
    ($name:expr) => {
        $name.opener(|place, name| Dict::options().namespace(place).open(name))
    };
}

/// One process.
pub(crate) fn alone_all(suite: &mut Suite) {
    for (group, gets) in [("dict_get", 100), ("dict_set", 0)] {
        let one = || Throughput::Elements(1);
        suite.figure((group, "peer_dashmap"), &[], one(), move || {
            alone(peer, gets)
        });
        suite.figure((group, "ipc_dict"), &["peer_dashmap"], one(), move || {
            let open = || {
                let name = ours(); // gone with its user
                let opened: Ours = opener!(name)();
                opened
            };
            alone(open, gets)
        });
    }
    // Each change is told of, and nobody reads that.
    let one = Throughput::Elements(1);
    suite.figure(("dict_set", "ipc_dict_watched"), &["ipc_dict"], one, || {
        let open = || {
            let name = ours();
            let opened: Ours = opener!(name)();
            drop(opened.watch());
            opened
        };
        alone(open, 0)
    });
}

/// Two at the same time.
pub(crate) fn two_all(suite: &mut Suite) {
    for (group, gets) in [("dict_two_95_get", 95), ("dict_two_50_get", 50)] {
        let both = || Throughput::Elements(2);
        suite.figure((group, "peer_dashmap"), &[], both(), move || {
            let map = peer();
            two(Threads, move || map, gets)
        });
        suite.figure((group, "ipc_dict"), &["peer_dashmap"], both(), move || {
            let name = ours();
            let open = opener!(name);
            two(Processes, open, gets)
        });
    }
}
