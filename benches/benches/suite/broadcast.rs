//! What a publisher pays for its subscribers.
//!
//! The clock runs while a batch is published. Then the subscribers, in another thread on another core, receive all of it, and the clock
//! stands still meanwhile: so what they do to the publisher's caches counts, and what they do to its share of a small machine does not.

use crate::CAPACITY;
use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::{Crew, Role, Rounds, Workers::Processes};
use ipc_benches::harness::{Item, item};
use ipc_benches::queue::{fresh_name, namespace};
use ipc_benches::{nth_core, pin_to};
use ipc_core::{Broadcast, Plain, Subscriber};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Messages a batch: as many as fit twice, so that publishers never wait.
const AT_ONCE: u64 = CAPACITY as u64 / 2;
/// Subscribers, and the figure's name.
const CROWDS: [(usize, &str); 4] = [
    (0, "ipc_to_0"),
    (1, "ipc_to_1"),
    (2, "ipc_to_2"),
    (8, "ipc_to_8"),
];

/// The publisher's time for a message, with so many subscribers that keep up.
pub(crate) fn publishers(suite: &mut Suite) {
    for (group, is_lossless) in [("publish_lossless", true), ("publish_lossy", false)] {
        for (subscribers, name) in CROWDS {
            let against = if subscribers > 1 {
                &["ipc_to_1"][..]
            } else {
                &[]
            };
            suite.figure(
                (group, name),
                against,
                Throughput::Elements(AT_ONCE),
                move || publisher(is_lossless, subscribers),
            );
        }
    }
}

fn publisher(is_lossless: bool, subscribers: usize) -> Crew {
    let main = move |rounds: &mut Rounds| {
        let options = Broadcast::<Plain<Item>>::options(CAPACITY).namespace(&namespace());
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        let name = fresh_name();
        let broadcast = options.create(&name).expect("make a broadcast");
        broadcast.unlink().expect("its name is there");
        let (published, received) = (AtomicU64::new(0), AtomicU64::new(0));
        let all_are_there = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                pin_to(nth_core(1));
                let subscribe = |_| broadcast.subscribe().expect("there is room for it");
                let subscribers = (0..subscribers).map(subscribe).collect();
                all_are_there.wait();
                receive(subscribers, &published, &received);
            });
            all_are_there.wait();
            wait_for(&received, 0);
            publish(rounds, &broadcast, &published, &received);
            published.store(u64::MAX, Ordering::Release);
        });
    };
    Crew::start(Processes, vec![Role::new("publish", nth_core(0), main)])
}

fn publish(
    rounds: &mut Rounds,
    broadcast: &Broadcast<Plain<Item>>,
    published: &AtomicU64,
    received: &AtomicU64,
) {
    let mut next = 0;
    rounds.each_in_part(|timed| {
        timed(&mut || {
            for number in next..next + AT_ONCE {
                let published = broadcast.publish(Plain(item(number)));
                published.unwrap_or_else(|e| panic!("{e}"));
            }
        });
        next += AT_ONCE;
        published.store(next, Ordering::Release);
        wait_for(received, next);
    });
}

/// All subscribers, one after another on one core.
fn receive(
    mut subscribers: Vec<Subscriber<Plain<Item>>>,
    published: &AtomicU64,
    received: &AtomicU64,
) {
    let mut next = 0;
    loop {
        wait_for(published, next + AT_ONCE);
        if published.load(Ordering::Acquire) == u64::MAX {
            return;
        }
        for subscriber in &mut subscribers {
            for number in next..next + AT_ONCE {
                let message = subscriber.recv().expect("it is there");
                assert_eq!(message.0, item(number), "lost, doubled or out of order");
            }
        }
        next += AT_ONCE;
        received.store(next, Ordering::Release);
    }
}

fn wait_for(count: &AtomicU64, least: u64) {
    while count.load(Ordering::Acquire) < least {
        thread::yield_now();
    }
}
