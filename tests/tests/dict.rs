//! Dictionaries between whole processes.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{Bytes, Dict, DictChange, DictError, Namespace};
use ipc_tests::dict_soak::{LASTING, Shelf, check, value};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;

const WORKERS: usize = 8;

/// How long the soak takes; the environment can say otherwise.
fn time() -> Duration {
    let seconds = std::env::var("IPC_DICT_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// A worker, and how often it was killed.
struct Worker {
    child: Child,
    kills: u64,
}

fn start(namespace: &Namespace, id: usize, seed: u64) -> Child {
    Command::new(env!("CARGO_BIN_EXE_dict_worker"))
        .arg(namespace.path())
        .args([id.to_string(), seed.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("a worker can be started")
}

/// Keeps a copy of the shelf by what a watch tells, until it is over and nothing more is told. Also how many changes were told of.
fn follow(shelf: &Shelf, is_over: &AtomicBool) -> (HashMap<u32, Bytes>, u64) {
    let mut watch = shelf.watch().expect("a watch");
    let mut copy: HashMap<u32, Bytes> = shelf.iter().collect();
    let mut told = 0;
    loop {
        // Asked before the look: what was done before it was over is told by then.
        let is_last = is_over.load(Ordering::Acquire);
        match watch.recv_timeout(Duration::from_millis(20)) {
            Ok(DictChange::Set { key, value }) => drop(copy.insert(key, value)),
            Ok(DictChange::Removed { key } | DictChange::Expired { key }) => {
                copy.remove(&key);
            }
            Ok(_) => {
                copy = shelf.iter().collect(); // it missed some
                continue;
            }
            Err(DictError::Timeout) if is_last => return (copy, told),
            Err(DictError::Timeout) => continue,
            Err(e) => panic!("a watch fails: {e}"),
        }
        told += 1;
    }
}

/// Eight processes hammer one dictionary and are killed at random. Nothing is lost or torn, all memory comes back, and what a
/// watcher was told gives what is there.
/// `IPC_DICT_SOAK_SECONDS=20` for longer.
#[test]
fn processes_that_are_killed_at_random_lose_nothing_and_leave_nothing() {
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    let namespace = Namespace::at(directory.path().join("namespace")).expect("a namespace");
    let options = Dict::options().limit(16 << 20).initial(1 << 20);
    let options = options.watch_capacity(1 << 14); // so that it often comes along
    let shelf: Shelf = options
        .namespace(&namespace)
        .create("shelf")
        .expect("a dictionary");
    let counts: Dict<String, u64> = Dict::options()
        .namespace(&namespace)
        .create("counts")
        .expect("a dictionary");
    for key in 0..LASTING {
        shelf.set(&key, &value(key, 0, 1)).expect("there is room");
    }
    let new = shelf.stat().allocated;
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (shelf, is_over) = (shelf.clone(), Arc::clone(&is_over));
        thread::spawn(move || follow(&shelf, &is_over))
    };
    let mut random = Random::new(7);
    let mut workers: Vec<Worker> = (0..WORKERS)
        .map(|id| Worker {
            child: start(&namespace, id, id as u64),
            kills: 0,
        })
        .collect();
    let begin = Instant::now();
    while begin.elapsed() < time() || counts.get("all").expect("get").unwrap_or(0) < 20 {
        assert!(
            begin.elapsed() < time() + Duration::from_secs(60),
            "nobody comes on"
        );
        thread::sleep(Duration::from_millis(5 + random.below(30)));
        let id = random.index(WORKERS);
        let worker = &mut workers[id];
        let ended = worker.child.try_wait().expect("it can be waited for");
        assert_eq!(ended, None, "a worker found something wrong");
        worker.child.kill().expect("it can be killed");
        worker.child.wait().expect("it can be waited for");
        worker.kills += 1;
        worker.child = start(&namespace, id, random.number());
    }
    counts.set("over", &1).expect("there is room");
    for worker in &mut workers {
        assert!(worker.child.wait().expect("it ends").success());
    }
    for (id, worker) in workers.iter().enumerate() {
        let count = |which: &str| {
            let found = counts.get(&format!("{which} {id}")).expect("get");
            found.unwrap_or(0)
        };
        let (first, second) = (count("first"), count("second"));
        assert!(
            first >= second && first - second <= worker.kills,
            "worker {id}: {first} and {second} after {} kills",
            worker.kills
        );
    }
    shelf.sweep().expect("sweep");
    is_over.store(true, Ordering::Release);
    let (copy, told) = watcher.join().expect("the watcher");
    let there: HashMap<u32, Bytes> = shelf.iter().collect();
    assert!(copy == there, "what was told is not what is there");
    assert!(told > 1000, "only {told} changes were told of");
    let mut pairs = shelf.iter();
    let mut lasting = 0;
    for (key, found) in pairs.by_ref() {
        check(key, &found).expect("whole");
        lasting += u32::from(key < LASTING);
    }
    assert!(pairs.error().is_none());
    assert_eq!(lasting, LASTING);
    assert_eq!(shelf.len(), shelf.keys().count());
    shelf.clear().expect("clear");
    let stat = shelf.stat();
    assert_eq!((stat.len, stat.used), (0, 0), "lost memory");
    assert!(stat.allocated <= new, "{stat:?}, at first {new}");
}
