//! Messages of a broadcast that are written and read in place by real processes, which are killed, stopped and forked meanwhile.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.

use std::fs;
use std::time::Duration;

use ipc_core::{Broadcast, Bytes, Namespace, PublishTimeoutError, Subscriber, SubscriberError};
use ipc_tests::puppet::frames::{self, Numbers, Trouble};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SHORTLY: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// A broadcast by name, which this process has open.
struct Stage {
    broadcast: Broadcast<Bytes>,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Stage {
    fn new(loans: usize, is_lossless: bool) -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let namespace = Namespace::at(directory.path()).expect("a namespace");
        let options = Broadcast::options(8).loans(loans, 4096);
        let options = options.namespace(&namespace);
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        Self {
            broadcast: options.create("frames").unwrap(),
            namespace,
            _directory: directory,
        }
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(PUPPET, self.namespace.path())
    }

    /// A puppet that reads a message in place, the only one.
    fn reader(&self) -> Puppet {
        let mut reader = self.puppet();
        reader.must("frames subscribe");
        self.publish("frame");
        assert_eq!(reader.must("frames hold-ref"), "frame");
        reader
    }

    fn publish(&self, text: &str) {
        let mut loan = self.broadcast.loan(text.len()).unwrap();
        loan.write_at(0, text.as_bytes());
        loan.publish().unwrap();
    }

    /// How many blocks can be lent now.
    fn free(&self) -> usize {
        let lend = || self.broadcast.try_loan(4096).ok();
        std::iter::from_fn(lend).collect::<Vec<_>>().len()
    }
}

fn wait_for_a_sleeper(puppet: &Puppet) {
    let path = format!("/proc/{}/syscall", puppet.pid());
    wait_until("the puppet sleeps", || {
        fs::read_to_string(&path).is_ok_and(|s| s.starts_with(&format!("{} ", libc::SYS_futex)))
    });
}

#[test]
fn the_loans_of_a_killed_publisher_come_back_and_wake_who_waits_for_them() {
    for is_lossless in [true, false] {
        let stage = Stage::new(3, is_lossless);
        let mut holder = stage.puppet();
        assert_eq!(holder.must("frames hold-all"), "3");
        assert!(stage.broadcast.try_loan(8).is_err());
        let mut waiter = stage.puppet();
        waiter.tell("frames wait");
        wait_for_a_sleeper(&waiter);
        holder.kill();
        assert_eq!(waiter.answer(), "ok 8");
        stage.broadcast.sweep().unwrap();
        assert_eq!(stage.free(), 3);
        assert!(stage.broadcast.is_empty(), "it had published nothing");
    }
}

#[test]
fn a_publisher_waits_for_who_reads_in_place_while_it_is_stopped_and_goes_on_when_it_is_killed() {
    let stage = Stage::new(1, true);
    let mut reader = stage.reader();
    reader.signal(Signal::SIGSTOP);
    let late = stage.broadcast.loan_timeout(8, SHORTLY);
    assert!(matches!(late, Err(PublishTimeoutError::Timeout(()))));
    assert_eq!(stage.broadcast.sweep().unwrap(), 0);
    let mut waiter = stage.puppet();
    waiter.tell("frames wait");
    wait_for_a_sleeper(&waiter);
    reader.kill();
    assert_eq!(waiter.answer(), "ok 8");
    assert_eq!(stage.broadcast.subscribers(), 0);
    stage.broadcast.loan_timeout(8, LONG).unwrap();
}

#[test]
fn what_a_killed_process_was_reading_in_place_is_there_for_others() {
    let stage = Stage::new(2, true);
    let mut early = stage.broadcast.subscribe().unwrap();
    stage.reader().kill();
    let mut late = stage.broadcast.subscribe_from_oldest().unwrap();
    for subscriber in [&mut early, &mut late] {
        assert_eq!(subscriber.recv_ref().unwrap().to_vec(), b"frame");
    }
}

#[test]
fn a_forked_child_neither_publishes_nor_frees_what_its_parent_writes_and_reads_in_place() {
    let stage = Stage::new(1, true);
    let said = stage.puppet().must("frames fork");
    assert_eq!(said, "parent true true true");
    assert_eq!(stage.free(), 1);
}

/// Publishers and readers come and are killed; what this process reads in place is whole, and has no gap where nothing may be lost.
fn soak(is_lossless: bool) {
    let stage = Stage::new(4, is_lossless);
    let mut subscriber = stage.broadcast.subscribe().unwrap();
    let (mut random, mut numbers) = (Random::new(6), Numbers::default());
    let reader = || {
        let mut puppet = stage.puppet();
        puppet.tell("frames listen");
        puppet
    };
    let mut readers: Vec<Puppet> = (0..2).map(|_| reader()).collect();
    let (mut next, mut publishers) = (1, Vec::new());
    for _ in 0..20 {
        while publishers.len() < 2 {
            let mut puppet = stage.puppet();
            puppet.tell(&format!("frames publish {next} 1000000"));
            publishers.push(puppet);
            next += 1;
        }
        for _ in 0..100 + random.below(200) {
            hear(&mut subscriber, &mut numbers, is_lossless);
        }
        if random.one_in(3) {
            let at = random.index(readers.len());
            let has_said = readers[at].has_answer(Duration::ZERO);
            assert!(!has_said, "{}", readers[at].answer());
            readers[at] = reader();
        } else {
            publishers.remove(random.index(publishers.len())).kill();
        }
    }
    publishers.clear();
    // What was published before a call returned comes, all of it.
    let mut last = stage.puppet();
    last.tell(&format!("frames publish {next} 300"));
    while numbers.next_of(next) != Some(300) {
        hear(&mut subscriber, &mut numbers, is_lossless);
    }
    assert_eq!(last.answer(), "ok");
    stage.broadcast.sweep().unwrap();
    wait_until(
        "all memory can be lent, once all readers are through",
        || stage.free() == 4,
    );
    stage.broadcast.close();
    assert!(!hear(&mut subscriber, &mut numbers, is_lossless));
    for mut reader in readers {
        let answer = reader.answer();
        assert!(answer.starts_with("ok"), "{answer}");
    }
}

/// Whether there may be more.
fn hear(subscriber: &mut Subscriber<Bytes>, numbers: &mut Numbers, is_lossless: bool) -> bool {
    match frames::receive(subscriber) {
        Ok(frame) => numbers.note(frame, !is_lossless).unwrap(),
        Err(Trouble::Refused(SubscriberError::Lagged(_))) => assert!(!is_lossless),
        Err(Trouble::Refused(SubscriberError::Closed)) => return false,
        Err(e) => panic!("{e:?}"),
    }
    true
}

#[test]
fn kills_leave_no_gap_and_nothing_torn_where_frames_are_read_in_place() {
    soak(true);
}

#[test]
fn kills_leave_nothing_torn_where_frames_may_be_overwritten() {
    soak(false);
}
