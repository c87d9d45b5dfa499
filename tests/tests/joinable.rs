//! Workers on a joinable queue, killed and stopped at random: every job is done at least once, and whoever joins learns of it.
//!
//! `IPC_SOAK_SECONDS=600 cargo test --release -p ipc-tests --test joinable` runs longer.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_core::{Bytes, JoinableQueue, Namespace};
use ipc_tests::puppet::Puppet;
use ipc_tests::puppet::ordered::{self, Entry, Number};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const SECONDS: u64 = 3;
const WORKERS: usize = 3;
/// More than any run needs, unless somebody is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

fn seconds() -> u64 {
    let asked = std::env::var("IPC_SOAK_SECONDS");
    asked.map_or(SECONDS, |text| text.parse().expect("a number of seconds"))
}

fn start(directory: &Path, namespace: &Namespace, who: usize) -> Puppet {
    let mut puppet = Puppet::start(env!("CARGO_BIN_EXE_puppet"), namespace.path());
    let journal = directory.join(format!("journal-{who}"));
    puppet.tell(&format!("joinable q {}", journal.display()));
    puppet
}

/// Puts jobs while it kills and stops those who do them. How many it put, and how many workers there were.
fn storm(queue: &JoinableQueue<Bytes>, directory: &Path, namespace: &Namespace) -> (u64, usize) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut random = Random::new(seed.map_or(0, |time| time.as_nanos() as u64));
    let mut started = WORKERS;
    let mut workers: Vec<Puppet> = (0..WORKERS)
        .map(|who| start(directory, namespace, who))
        .collect();
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut put: Number = 0;
    while Instant::now() < end {
        for _ in 0..random.below(60) {
            let job = ordered::message(put);
            if queue.put_timeout(job, Duration::from_millis(20)).is_ok() {
                put += 1;
            }
        }
        let one = random.index(WORKERS);
        if random.one_in(3) {
            workers[one].signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(random.below(5)));
            workers[one].signal(Signal::SIGCONT);
        } else {
            workers[one].kill();
            workers[one] = start(directory, namespace, started);
            started += 1;
        }
    }
    // Those that live do the rest.
    let is_joined = queue.join_timeout(PATIENCE).expect("the queue is whole");
    assert!(is_joined, "{} jobs are left", queue.unfinished());
    queue.close();
    for worker in &mut workers {
        assert_eq!(worker.answer(), "ok over");
    }
    (put, started)
}

fn done_in(directory: &Path, workers: usize) -> Vec<Number> {
    let journals = (0..workers).map(|who| directory.join(format!("journal-{who}")));
    let entries = journals.filter_map(|journal| ordered::read(&journal).ok());
    let number = |entry| match entry {
        Entry::Got(number) => number,
        other => panic!("{other:?}"),
    };
    entries.flatten().map(number).collect()
}

fn every_job_is_done(lease_time: Duration) {
    let directory = TrialDirectory::create().expect("a directory");
    let namespace = Namespace::at(directory.path().join("namespace")).expect("a namespace");
    let queue = JoinableQueue::<Bytes>::options(16)
        .max_attempts(u32::MAX)
        .lease_time(lease_time)
        .memory(16 << 10)
        .namespace(&namespace)
        .create("q")
        .expect("a queue");
    let (put, workers) = storm(&queue, directory.path(), &namespace);
    let done = done_in(directory.path(), workers);
    let different: BTreeSet<Number> = done.iter().copied().collect();
    let expected: BTreeSet<Number> = (0..put).collect();
    assert_eq!(different, expected, "jobs are lost, or made up");
    let again = done.len() - different.len();
    println!("{put} jobs, {workers} workers, {again} jobs done again");
    assert_eq!((queue.unfinished(), queue.dead_len()), (0, 0));
    let stat = namespace.inspect("q").expect("it is whole").queue;
    assert_eq!(stat.expect("a queue has figures").memory_used, 0);
}

#[test]
fn every_job_is_done_whoever_is_killed() {
    every_job_is_done(Duration::ZERO);
}

#[test]
fn every_job_is_done_whoever_is_killed_or_late() {
    every_job_is_done(Duration::from_millis(2));
}
