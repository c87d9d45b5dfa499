//! Values, arrays and lists between processes that are killed and stopped at random.
//!
//! `IPC_SOAK_SECONDS=600 cargo test --release -p ipc-tests --test shared` runs longer.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_core::{Array, List, Namespace, Value};
use ipc_tests::puppet::Puppet;
use ipc_tests::puppet::shared::{Element, Wide, element};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const SECONDS: u64 = 2;
const WORKERS: usize = 4;

struct Place {
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Place {
    fn new() -> Self {
        let directory = TrialDirectory::create().expect("a directory");
        let namespace = Namespace::at(directory.path().join("namespace")).expect("a namespace");
        Self {
            namespace,
            _directory: directory,
        }
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(env!("CARGO_BIN_EXE_puppet"), self.namespace.path())
    }

    /// Workers come and go, killed and stopped at random, while `look` is called again and again. In the end there are none.
    fn storm(&self, what: &str, mut look: impl FnMut()) {
        let seconds = std::env::var("IPC_SOAK_SECONDS").ok();
        let seconds = seconds.and_then(|s| s.parse().ok()).unwrap_or(SECONDS);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = now.expect("it is after 1970").as_nanos() as u64;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut started = 0;
        let mut start = || {
            started += 1;
            let mut puppet = self.puppet();
            puppet.tell(&format!("shared hammer {what} it {started}"));
            puppet
        };
        let mut workers: Vec<Puppet> = (0..WORKERS).map(|_| start()).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let which = random.index(WORKERS);
            std::thread::sleep(Duration::from_millis(random.below(8)));
            look();
            if workers[which].has_answer(Duration::ZERO) {
                panic!("{what}: {}", workers[which].answer());
            }
            if random.one_in(3) {
                workers[which].signal(Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(random.below(8)));
                workers[which].signal(Signal::SIGCONT);
            } else {
                workers[which].kill();
                workers[which] = start();
            }
        }
        drop(workers);
        look();
    }
}

#[test]
fn a_value_is_whole_whoever_is_killed() {
    let place = Place::new();
    let value = Value::<Wide>::options([0; 32])
        .namespace(&place.namespace)
        .create("it")
        .expect("a value");
    let mut seen = HashSet::new();
    place.storm("value", || {
        let found = value.get().expect("it is sound");
        assert_eq!(found, [found[0]; 32], "torn");
        seen.insert(found[0]);
    });
    assert!(seen.len() > 10, "only {} values were seen", seen.len());
    value.set([1; 32]).expect("nobody is in the way");
    value.sweep().expect("it is sound");
    let left = place.namespace.inspect("it").expect("it can be seen");
    assert!(left.visits.is_empty() && left.participants.len() == 1);
}

#[test]
fn elements_of_an_array_are_whole_whoever_is_killed() {
    let place = Place::new();
    let array = Array::filled(0u128, 3)
        .namespace(&place.namespace)
        .create("it")
        .expect("an array");
    let mut before = vec![0; 3];
    place.storm("array", || {
        let found = array.to_vec().expect("it is sound");
        for (now, before) in found.iter().zip(&before) {
            assert_eq!(now >> 64, now & u128::from(u64::MAX), "torn");
            assert!(now >= before, "an addition was lost");
        }
        before = found;
    });
    assert!(before.iter().all(|count| *count > 0));
}

#[test]
fn a_list_holds_what_somebody_put_there_and_no_memory_is_lost() {
    let place = Place::new();
    let list = List::<Element>::options()
        .limit(16 << 20)
        .namespace(&place.namespace)
        .create("it")
        .expect("a list");
    place.storm("list", || {
        let found = list.to_vec().expect("it is sound");
        let mut names = HashSet::new();
        for (who, number, words) in found {
            assert_eq!((who, number, words), element(who, number), "torn");
            assert!(names.insert((who, number)), "{who} {number} is there twice");
        }
    });
    list.sweep().expect("it is sound");
    assert_eq!(list.iter().count(), list.len().expect("it is sound"));
    list.clear().expect("nobody is in the way");
    let left = place.namespace.inspect("it").expect("it can be seen");
    assert!(
        left.state.starts_with("0 elements, 0 of "),
        "{}",
        left.state
    );
    assert!(left.visits.is_empty() && left.participants.len() == 1);
}

#[test]
fn who_locks_next_is_told_that_the_last_one_died() {
    let place = Place::new();
    let value = Value::options(0u64)
        .namespace(&place.namespace)
        .create("it")
        .expect("a value");
    let mut puppet = place.puppet();
    puppet.must("shared hold it");
    assert!(value.try_lock().is_err(), "it is held");
    assert_eq!(value.fetch_add(1).expect("who does not lock goes on"), 1);
    puppet.kill();
    let mut section = value.lock().expect("it comes free");
    assert!(section.owner_died());
    assert_eq!(section.get().expect("it is sound"), 2);
    section.mark_consistent();
}

#[test]
fn a_handle_arrives_in_another_process() {
    let place = Place::new();
    let value = Value::options(5u64)
        .namespace(&place.namespace)
        .anonymous()
        .expect("a value");
    let ticket = serde_json::to_string(&value).expect("it can be sent");
    let mut puppet = place.puppet();
    assert_eq!(puppet.must(&format!("shared redeem {ticket}")), "5");
}

#[test]
fn a_child_uses_its_parents_handles_and_holds_nothing_of_its() {
    let place = Place::new();
    let value = Value::options(5u64)
        .namespace(&place.namespace)
        .create("value")
        .expect("a value");
    let list = List::options()
        .namespace(&place.namespace)
        .create("list")
        .expect("a list");
    list.push(1u64).expect("it has room");
    assert_eq!(place.puppet().must("shared fork value list"), "0");
    assert_eq!(value.get().expect("it is sound"), 6);
    assert_eq!(list.to_vec().expect("it is sound"), [1, 3]);
}

#[test]
fn processes_add_without_losing_any() {
    let place = Place::new();
    let value = Value::options(0u64)
        .namespace(&place.namespace)
        .create("it")
        .expect("a value");
    let mut puppets = [place.puppet(), place.puppet()];
    for puppet in &mut puppets {
        puppet.tell("shared add it 20000");
    }
    for puppet in &mut puppets {
        let answer = puppet.answer();
        assert!(answer.starts_with("ok"), "{answer}");
    }
    assert_eq!(value.get().expect("it is sound"), 40_000);
}
