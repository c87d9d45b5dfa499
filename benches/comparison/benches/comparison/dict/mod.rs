//! Our dictionary against other systems: 100,000 keys of 16 bytes with values of 64.
//!
//! An item is one lookup or one replacement of a random key, and what is looked up is checked. Where two work, they do so on two cores, in
//! two processes; dashmap's in threads, as it lives in one process. Servers may run wherever the kernel likes.

mod lmdb;
mod manager;
mod redis;
mod server;

use crate::suite::Suite;
use criterion::Throughput;
use dashmap::DashMap;
use ipc_benches::crew::Workers::{Processes, Threads};
use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::nth_core;
use ipc_benches::queue::fresh_name;
use ipc_benches::sync::Name;
use ipc_core::{Dict, Plain};
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const PAIRS: u64 = 100_000;
/// What starting one more peer may take of the warm-up: a server, or an interpreter.
const START: Duration = Duration::from_millis(1500);
/// Until a server answers, however busy the machine is.
const SERVED: Duration = Duration::from_secs(20);

type Key = [u64; 2];
type Value = [u64; 8];
type Ours = Dict<Plain<Key>, Plain<Value>>;

/// Who does what.
#[derive(Clone, Copy)]
struct Mix {
    workers: usize,
    /// Lookups, of 100 items.
    gets: u64,
}

const MIXES: [(&str, Mix); 4] = [
    ("dict_get", Mix::new(1, 100)),
    ("dict_set", Mix::new(1, 0)),
    ("dict_two_95_get", Mix::new(2, 95)),
    ("dict_two_50_get", Mix::new(2, 50)),
];

impl Mix {
    const fn new(workers: usize, gets: u64) -> Self {
        Self { workers, gets }
    }

    /// Runs `open` in each worker, with its number; a step of the crew is one of what that returns in each.
    fn crew<S: FnMut(u64)>(
        self,
        kind: Workers,
        open: impl FnOnce(usize) -> S + Clone + Send + 'static,
    ) -> Crew {
        let role = |worker| {
            let open = open.clone();
            Role::new("user", nth_core(worker), move |rounds: &mut Rounds| {
                rounds.each(open(worker));
            })
        };
        Crew::start(kind, (0..self.workers).map(role).collect())
    }

    /// The same for a store: a step is an item.
    fn crew_of<S: Store>(
        self,
        kind: Workers,
        open: impl FnOnce(usize) -> S + Clone + Send + 'static,
    ) -> Crew {
        self.crew(kind, move |worker| {
            let (mut store, mut keys) = (open(worker), Keys::new(worker as u64 + 1));
            move |_| self.item(&mut store, &mut keys)
        })
    }

    #[inline]
    fn item(self, store: &mut impl Store, keys: &mut Keys) {
        let random = keys.random();
        let number = (random >> 32) % PAIRS;
        if random % 100 < self.gets {
            let value = black_box(store).get(&key(number));
            assert_eq!(value[0], number);
            black_box(value);
        } else {
            store.set(&key(number), black_box(&[number; 8]));
        }
    }
}

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

/// A dictionary of whoever made it, as one worker has it open.
trait Store {
    fn get(&mut self, key: &Key) -> Value;
    fn set(&mut self, key: &Key, value: &Value);
}

impl Store for Ours {
    fn get(&mut self, key: &Key) -> Value {
        let got = Dict::get(self, &Plain(*key)).expect("get");
        got.expect("it is there").0
    }

    fn set(&mut self, key: &Key, value: &Value) {
        Dict::set(self, &Plain(*key), &Plain(*value)).expect("set");
    }
}

impl Store for Arc<DashMap<Key, Value>> {
    fn get(&mut self, key: &Key) -> Value {
        *DashMap::get(self, key).expect("it is there")
    }

    fn set(&mut self, key: &Key, value: &Value) {
        self.insert(*key, *value);
    }
}

fn filled<S: Store>(mut store: S) -> S {
    for number in 0..PAIRS {
        store.set(&key(number), &[number; 8]);
    }
    store
}

fn ours(mix: Mix) -> Crew {
    let name = Name::of(|place, name| {
        let dict: Ours = Dict::options().namespace(place).create(name)?;
        filled(dict);
        Ok(())
    });
    let open = name.opener(|place, name| Dict::options().namespace(place).open(name));
    mix.crew_of(Processes, move |_| -> Ours { open() })
}

fn dashmap(mix: Mix) -> Crew {
    let map = filled(Arc::new(DashMap::new()));
    mix.crew_of(Threads, move |_| map)
}

/// A path in memory that nothing has yet.
fn fresh_path() -> PathBuf {
    format!("/dev/shm/ipc-comparison-{}", fresh_name()).into()
}

/// Whether the program can be started. If not, says what to do about that.
fn is_there(program: &str, argument: &str, advice: &str) -> bool {
    let tried = Command::new(program).arg(argument).output();
    let is_there = tried.is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("no `{program}` found: its figures are left out ({advice})");
    }
    is_there
}

/// A peer, the items of one of its steps, and how to start it.
type Peer = (&'static str, u64, fn(Mix) -> Crew);

fn peers() -> Vec<Peer> {
    let mut peers: Vec<Peer> = vec![
        ("peer_dashmap", 1, dashmap),
        ("peer_lmdb", 1, lmdb::crew),
        ("peer_lmdb_write_map", 1, lmdb::crew_of_write_map),
    ];
    let advice = "install Redis, for example Debian's package redis-server";
    if is_there("redis-server", "--version", advice) {
        peers.push(("peer_redis", 1, redis::crew));
        peers.push(("peer_redis_one_core", 1, redis::crew_on_one_core));
    }
    if is_there("python3", "--version", "install Python 3") {
        let items = manager::ITEMS;
        peers.push(("peer_python_manager", items, manager::crew));
        let on_one_core = manager::crew_on_one_core;
        peers.push(("peer_python_manager_one_core", items, on_one_core));
    }
    peers
}

pub(crate) fn all(suite: &mut Suite) {
    suite.start_bases_within(START);
    let all = peers();
    for (group, mix) in MIXES {
        // With two clients, every core is a client's.
        let has_sense = |(name, ..): &&Peer| mix.workers == 1 || !name.ends_with("_one_core");
        let peers: Vec<Peer> = all.iter().filter(has_sense).copied().collect();
        let names: Vec<&str> = peers.iter().map(|(name, ..)| *name).collect();
        let moved = |items| Throughput::Elements(items * mix.workers as u64);
        for (name, items, start) in peers.iter().copied() {
            suite.figure((group, name), &[], moved(items), move || start(mix));
        }
        suite.figure((group, "ipc_dict"), &names, moved(1), move || ours(mix));
    }
}
