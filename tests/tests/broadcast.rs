//! Broadcasts between real processes, which are killed, stopped and forked.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.

use std::time::Duration;

use ipc_core::{
    Broadcast, Namespace, PublishTimeoutError, Subscriber, SubscriberError, SubscriberTimeoutError,
};
use ipc_tests::puppet::Puppet;
use ipc_tests::puppet::broadcast::{News, Seen, news};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SHORTLY: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// A broadcast by name, which this process has open.
struct Stage {
    broadcast: Broadcast<News>,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Stage {
    fn new(capacity: usize, is_lossless: bool) -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let namespace = Namespace::at(directory.path()).expect("a namespace");
        let options = Broadcast::options(capacity).memory(8 << 10);
        let options = options.namespace(&namespace);
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        Self {
            broadcast: options.create("news").unwrap(),
            namespace,
            _directory: directory,
        }
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(PUPPET, self.namespace.path())
    }

    fn subscribed(&self) -> Puppet {
        let mut puppet = self.puppet();
        puppet.must("broadcast subscribe");
        puppet
    }
}

fn fill(broadcast: &Broadcast<News>) -> u64 {
    (0..)
        .find(|&number| broadcast.try_publish(news(0, number)).is_err())
        .expect("it is full once")
}

#[test]
fn every_process_gets_everything_from_its_subscription_on() {
    for is_lossless in [true, false] {
        let stage = Stage::new(64, is_lossless);
        let mut puppets: Vec<Puppet> = (0..3).map(|_| stage.subscribed()).collect();
        for puppet in &mut puppets {
            puppet.tell("broadcast listen");
        }
        (0..60).for_each(|number| stage.broadcast.publish(news(7, number)).unwrap());
        stage.broadcast.close();
        for puppet in &mut puppets {
            assert_eq!(puppet.answer(), "ok 60");
        }
    }
}

#[test]
fn a_publisher_waits_for_a_stopped_subscriber_and_goes_on_when_it_is_killed() {
    let stage = Stage::new(4, true);
    let mut puppet = stage.subscribed();
    puppet.signal(Signal::SIGSTOP);
    let count = fill(&stage.broadcast);
    assert_eq!(stage.broadcast.sweep().unwrap(), 0);
    let late = stage.broadcast.publish_timeout(news(0, count), SHORTLY);
    assert!(matches!(late, Err(PublishTimeoutError::Timeout(_))));
    puppet.signal(Signal::SIGCONT);
    assert_eq!(puppet.must("broadcast recv-timeout 10000"), "0 0");
    stage.broadcast.publish(news(0, count)).unwrap();
    puppet.kill();
    // Whoever waits finds it dead.
    let more = stage.broadcast.publish_timeout(news(0, count + 1), LONG);
    more.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(stage.broadcast.subscribers(), 0);
}

#[test]
fn a_forked_child_does_not_use_its_parents_place() {
    let stage = Stage::new(4, true);
    let mut puppet = stage.subscribed();
    stage.broadcast.publish(news(1, 0)).unwrap();
    let refused = puppet.ask("fork-and broadcast recv-timeout 1000");
    assert!(refused.contains("Forked"), "{refused}");
    // Nor does its end end its parent's subscription.
    assert_eq!(stage.broadcast.subscribers(), 1);
    assert_eq!(puppet.must("broadcast recv-timeout 10000"), "1 0");
}

/// Publishers and subscribers come and are killed; what this process sees has no gap.
fn soak(is_lossless: bool) {
    let stage = Stage::new(16, is_lossless);
    let mut subscriber = stage.broadcast.subscribe().unwrap();
    let (mut random, mut seen) = (Random::new(5), Seen::default());
    let mut listeners: Vec<Puppet> = (0..2).map(|_| stage.subscribed()).collect();
    listeners
        .iter_mut()
        .for_each(|one| one.tell("broadcast listen"));
    let mut next = 1;
    let mut publishers: Vec<(u64, Puppet)> = Vec::new();
    for _ in 0..25 {
        while publishers.len() < 2 {
            let mut puppet = stage.puppet();
            puppet.tell(&format!("broadcast publish {next} 1000000"));
            publishers.push((next, puppet));
            next += 1;
        }
        for _ in 0..100 + random.below(300) {
            listen_once(&mut subscriber, &mut seen);
        }
        if random.one_in(3) {
            let at = random.index(listeners.len());
            assert!(
                !listeners[at].has_answer(Duration::ZERO),
                "{}",
                listeners[at].answer()
            );
            listeners[at] = stage.subscribed();
            listeners[at].tell("broadcast listen");
        } else {
            publishers.remove(random.index(publishers.len())).1.kill();
        }
    }
    drop(publishers);
    stage.broadcast.sweep().unwrap();
    // What was published before a call returned comes, all of it.
    let mut last = stage.puppet();
    last.tell(&format!("broadcast publish {next} 500"));
    while !last.has_answer(Duration::ZERO) {
        listen_once(&mut subscriber, &mut seen);
    }
    last.answer();
    stage.broadcast.close();
    while listen_once(&mut subscriber, &mut seen) {}
    assert!(!is_lossless || seen.of(next) == 500);
    for mut listener in listeners {
        let answer = listener.answer();
        assert!(answer.starts_with("ok"), "{answer}");
    }
}

/// Whether there may be more.
fn listen_once(subscriber: &mut Subscriber<News>, seen: &mut Seen) -> bool {
    match subscriber.recv_timeout(SHORTLY) {
        Ok(message) => seen.note(&message).unwrap(),
        Err(SubscriberTimeoutError::Failed(SubscriberError::Lagged(_))) => seen.forget(),
        Err(SubscriberTimeoutError::Failed(SubscriberError::Closed)) => return false,
        Err(SubscriberTimeoutError::Timeout) => {} // nobody is there to publish
        Err(e) => panic!("{e}"),
    }
    true
}

#[test]
fn kills_leave_no_gap_in_a_lossless_broadcast() {
    soak(true);
}

#[test]
fn kills_leave_nothing_torn_in_a_lossy_broadcast() {
    soak(false);
}
