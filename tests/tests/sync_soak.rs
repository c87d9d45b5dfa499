//! Some seconds of random SIGKILL over four synchronisation objects at once, and their books afterwards.
//!
//! `IPC_SOAK_SECONDS=600 cargo test --release -p ipc-tests --test sync_soak` runs longer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_core::{BoundedSemaphore, Condition, Lock, Namespace, RwLock};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;

const WORKERS: usize = 4;
const PERMITS: usize = 2;
const SECONDS: u64 = 5;

#[test]
fn counts_stay_exact_and_nobody_gets_stuck_while_workers_are_killed_at_random() {
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    let namespace = Namespace::at(directory.path()).expect("a namespace");
    let n = &namespace;
    let lock = Lock::options_with(0u64)
        .namespace(n)
        .create("lock")
        .unwrap();
    let rwlock = RwLock::options_with(0u64)
        .namespace(n)
        .create("rwlock")
        .unwrap();
    let bounded = BoundedSemaphore::options(PERMITS)
        .namespace(n)
        .create("bounded")
        .unwrap();
    let condition = Condition::options()
        .namespace(n)
        .create("condition")
        .unwrap();

    let seconds =
        std::env::var("IPC_SOAK_SECONDS").map_or(SECONDS, |s| s.parse().expect("seconds"));
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |d| d.as_nanos() as u64);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let start = || Puppet::start(env!("CARGO_BIN_EXE_puppet"), namespace.path());
    let mut workers: Vec<Puppet> = (0..WORKERS).map(|_| start()).collect();
    // What each was told and has not answered: what it may have added to the lock's value and to the read-write lock's.
    let mut told = [(0, 0); WORKERS];
    let (mut surely, mut perhaps) = ((0, 0), (0, 0));
    let (mut kills, mut answers) = (0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let i = random.index(WORKERS);
        if told[i] == (0, 0) {
            let (command, adds) = match random.below(4) {
                0 => ("sync lock add 50", (50, 0)),
                1 => ("sync rwlock add 50", (0, 50)),
                2 => ("sync condition wait", (0, 0)),
                _ => ("sync bounded pass 20", (0, 0)),
            };
            workers[i].tell(command);
            told[i] = adds;
            if adds == (0, 0) {
                told[i] = (u64::MAX, 0);
            }
        }
        condition.notify(1).unwrap();
        if random.one_in(4) {
            workers[i].kill();
            if told[i].0 != u64::MAX {
                perhaps = (perhaps.0 + told[i].0, perhaps.1 + told[i].1);
            }
            workers[i] = start();
            told[i] = (0, 0);
            kills += 1;
        } else if workers[i].has_answer(Duration::from_millis(random.below(4))) {
            let answer = workers[i].answer();
            assert!(answer.starts_with("ok"), "{answer}");
            if told[i].0 != u64::MAX {
                surely = (surely.0 + told[i].0, surely.1 + told[i].1);
            }
            told[i] = (0, 0);
            answers += 1;
        }
    }
    // Nobody is stuck: each that lives gets to its end.
    for (worker, told) in workers.iter_mut().zip(told) {
        if told == (0, 0) {
            continue;
        }
        wait_until("a worker that lives gets to its end", || {
            condition.notify_all().expect("it can be notified");
            worker.has_answer(Duration::from_millis(1))
        });
        let answer = worker.answer();
        assert!(answer.starts_with("ok"), "{answer}");
        if told.0 != u64::MAX {
            surely = (surely.0 + told.0, surely.1 + told.1);
        }
    }
    drop(workers);
    for name in namespace.list().unwrap() {
        namespace.sweep(&name).unwrap();
        let seen = namespace.inspect(&name).unwrap();
        assert!(
            seen.visits.is_empty() && seen.participants.len() == 1,
            "{seen:?}"
        );
    }
    println!("{kills} kills, {answers} answers");
    let (counted, counted_too) = (*lock.try_acquire().unwrap(), *rwlock.try_read().unwrap());
    assert!(
        (surely.0..=surely.0 + perhaps.0).contains(&counted),
        "{surely:?} {perhaps:?} {counted}"
    );
    assert!(
        (surely.1..=surely.1 + perhaps.1).contains(&counted_too),
        "{surely:?} {perhaps:?} {counted_too}"
    );
    assert_eq!((bounded.value(), condition.waiters()), (PERMITS, 0));
    assert!(
        kills > 10 && answers > 10,
        "{kills} kills, {answers} answers"
    );
}
