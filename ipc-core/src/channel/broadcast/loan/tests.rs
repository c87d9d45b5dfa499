//! Messages that are written and read in place: threads as peers, and the ring on the heap where deaths and lies are decided by the test.

use std::{
    io::{Read, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use super::super::{
    cell::State,
    on_heap::{World, geometry, owner},
    publish::PublishRefusal,
    read::ReadRefusal,
};
use crate::{
    Broadcast, Namespace, Subscriber,
    channel::broadcast::{
        PublishError, PublishTimeoutError, SubscriberError, TryPublishError, TrySubscriberError,
    },
    error::Error,
    message::Bytes,
    slab,
};

const SHORTLY: Duration = Duration::from_millis(20);

/// A namespace of its own, which goes with it.
struct Place(Namespace);

impl Place {
    fn new() -> Self {
        let name = format!("ipc-broadcast-loan-{}", crate::os::file::unique());
        Self(Namespace::at(std::env::temp_dir().join(name)).unwrap())
    }

    fn make(&self, capacity: usize, loans: usize, is_lossless: bool) -> Broadcast<Bytes> {
        let options = Broadcast::options(capacity).loans(loans, 4096);
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        options.namespace(&self.0).create("frames").unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + seed) as u8).collect()
}

fn publish_in_place(broadcast: &Broadcast<Bytes>, bytes: &[u8]) {
    let mut loan = broadcast.try_loan(bytes.len()).unwrap();
    loan.write_at(0, bytes);
    loan.try_publish().unwrap();
}

fn next(subscriber: &mut Subscriber<Bytes>) -> Vec<u8> {
    subscriber.try_recv_ref().unwrap().to_vec()
}

impl Broadcast<Bytes> {
    fn lent(&self) -> usize {
        self.inner.ring.loans_used()
    }
}

#[test]
fn loans_of_any_length_reach_all_in_place_on_a_page() {
    let place = Place::new();
    let options = Broadcast::options(3).loans(2, 5000).namespace(&place.0);
    let broadcast = options.create("frames").unwrap();
    let mut subscribers = [
        broadcast.subscribe().unwrap(),
        broadcast.subscribe().unwrap(),
    ];
    assert_eq!(broadcast.max_loan_bytes(), 8192, "whole pages");
    for length in (0..200).chain([4095, 4096, 5000, 8192]) {
        let bytes = pattern(length, length);
        let mut loan = broadcast.loan(length).unwrap();
        assert!(loan.as_mut_ptr().addr().is_multiple_of(4096));
        loan.write_at(0, &bytes);
        loan.publish().unwrap();
        let messages = subscribers.each_mut().map(|one| one.recv_ref().unwrap());
        assert!(
            messages
                .iter()
                .all(|m| m.is_in_place() && m.len() == length)
        );
        assert_eq!(
            messages[0].as_ptr(),
            messages[1].as_ptr(),
            "the same memory"
        );
        for message in messages {
            assert_eq!(message.to_vec(), bytes);
            message.done().unwrap();
        }
    }
    assert!(broadcast.lent() <= 2);
}

#[test]
fn either_way_of_publishing_meets_every_way_of_receiving() {
    for is_lossless in [true, false] {
        let place = Place::new();
        let broadcast = place.make(4, 2, is_lossless);
        let mut subscriber = broadcast.subscribe().unwrap();
        for round in 0..100 {
            let length = [20, 300, 4000][round % 3];
            let bytes = pattern(round, length);
            match round % 2 {
                0 => publish_in_place(&broadcast, &bytes),
                _ => broadcast.publish_slice(&bytes).unwrap(),
            }
            let got = match round / 2 % 3 {
                0 => subscriber.recv().unwrap().0,
                1 => {
                    let mut buffer = b"old".to_vec();
                    subscriber.recv_into(&mut buffer).unwrap();
                    buffer
                }
                _ => {
                    let message = subscriber.recv_ref().unwrap();
                    let is_in_place = is_lossless && round % 2 == 0;
                    assert_eq!(message.is_in_place(), is_in_place);
                    message.to_vec()
                }
            };
            assert_eq!(got, bytes);
            assert!(matches!(
                subscriber.try_recv_ref(),
                Err(TrySubscriberError::Empty)
            ));
        }
    }
}

#[test]
fn what_is_read_in_place_holds_publishers_up_and_nothing_else() {
    let place = Place::new();
    let broadcast = place.make(2, 2, true);
    let mut subscriber = broadcast.subscribe().unwrap();
    let mut other = broadcast.subscribe().unwrap();
    publish_in_place(&broadcast, b"being read");
    publish_in_place(&broadcast, b"next");
    let message = subscriber.recv_ref().unwrap();
    assert_eq!(next(&mut other), b"being read");
    assert_eq!(next(&mut other), b"next");
    // Neither its cell nor its block.
    assert!(matches!(
        broadcast.try_loan(1),
        Err(TryPublishError::Full(()))
    ));
    let timed_out = broadcast.loan_timeout(1, SHORTLY);
    assert!(matches!(timed_out, Err(PublishTimeoutError::Timeout(()))));
    let refused = broadcast.try_publish(Bytes(vec![1]));
    assert!(matches!(refused, Err(TryPublishError::Full(_))));
    assert_eq!(message.to_vec(), b"being read");
    message.done().unwrap();
    publish_in_place(&broadcast, b"last");
    assert_eq!(next(&mut subscriber), b"next");
    assert_eq!(next(&mut subscriber), b"last");
}

#[test]
fn a_reference_that_is_forgotten_comes_again() {
    let place = Place::new();
    let broadcast = place.make(2, 1, true);
    let mut subscriber = broadcast.subscribe().unwrap();
    publish_in_place(&broadcast, b"again");
    std::mem::forget(subscriber.recv_ref().unwrap());
    assert_eq!(next(&mut subscriber), b"again");
    assert!(subscriber.try_recv_ref().is_err());
}

#[test]
fn a_loan_takes_the_memory_of_the_oldest_message_that_everybody_has_received() {
    let place = Place::new();
    let broadcast = place.make(8, 2, true);
    let mut subscriber = broadcast.subscribe().unwrap();
    broadcast.publish_slice(&[5; 2000]).unwrap();
    for round in 0..30 {
        publish_in_place(&broadcast, &[round]);
        assert_eq!(
            subscriber.recv().unwrap().0.len(),
            [2000, 1][usize::from(round > 0)]
        );
        if round == 0 {
            assert_eq!(next(&mut subscriber), [0]);
        }
        assert!(broadcast.lent() <= 2);
    }
    // A copied message takes none of them, and none is lost for one.
    let loans = [
        broadcast.try_loan(1).unwrap(),
        broadcast.try_loan(1).unwrap(),
    ];
    broadcast.publish_slice(&[6; 3000]).unwrap();
    assert!(matches!(
        broadcast.try_loan(1),
        Err(TryPublishError::Full(()))
    ));
    drop(loans);
    assert_eq!(broadcast.lent(), 0);
}

#[test]
fn in_a_lossy_broadcast_nobody_waits_and_who_is_late_is_told() {
    let place = Place::new();
    let broadcast = place.make(8, 2, false);
    let mut subscriber = broadcast.subscribe().unwrap();
    publish_in_place(&broadcast, b"first");
    let kept = subscriber.recv_ref().unwrap();
    for round in 0..5_u8 {
        publish_in_place(&broadcast, &[round]);
    }
    assert_eq!(kept.to_vec(), b"first");
    kept.done().unwrap();
    assert!(matches!(
        subscriber.recv_ref(),
        Err(SubscriberError::Lagged(3))
    ));
    assert_eq!(next(&mut subscriber), [3]);
    assert_eq!(next(&mut subscriber), [4]);
}

#[test]
fn a_loan_is_refused_for_a_reason() {
    let place = Place::new();
    let broadcast = place.make(1, 1, true);
    assert!(matches!(
        broadcast.loan(4097),
        Err(PublishError::TooLarge {
            len: 4097,
            max: 4096,
            ..
        })
    ));
    let mut subscriber = broadcast.subscribe().unwrap();
    broadcast.publish_slice(b"unread").unwrap();
    let loan = broadcast.loan(3).unwrap();
    let Err(TryPublishError::Full(loan)) = loan.try_publish() else {
        panic!("a subscriber has still to read")
    };
    let Err(PublishTimeoutError::Timeout(mut loan)) = loan.publish_timeout(SHORTLY) else {
        panic!("and has not read yet")
    };
    loan.write_all(b"abc").unwrap();
    assert_eq!(subscriber.recv().unwrap().0, b"unread");
    loan.truncate(2);
    loan.publish().unwrap();
    let mut text = String::new();
    subscriber
        .recv_ref()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "ab");
    let loan = broadcast.loan(3).unwrap();
    broadcast.close();
    assert!(matches!(
        loan.try_publish(),
        Err(TryPublishError::Closed(_))
    ));
    assert!(matches!(broadcast.loan(1), Err(PublishError::Closed(()))));
    assert!(matches!(
        subscriber.recv_ref(),
        Err(SubscriberError::Closed)
    ));
    assert_eq!(broadcast.lent(), 0);
    let none = Broadcast::<Bytes>::anonymous(1).unwrap();
    assert_eq!(none.max_loan_bytes(), 0);
    assert!(matches!(
        none.loan(0),
        Err(PublishError::TooLarge { max: 0, .. })
    ));
    let options = Broadcast::<Bytes>::options(1).loans(1 << 24, 1);
    assert!(matches!(
        options.anonymous(),
        Err(Error::BadOption {
            option: "loans",
            ..
        })
    ));
}

#[test]
fn threads_write_and_read_in_place_and_every_message_is_whole() {
    const COUNT: usize = 2_000;
    for is_lossless in [true, false] {
        let place = Place::new();
        let broadcast = place.make(4, 3, is_lossless);
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut subscriber = broadcast.subscribe().unwrap();
                scope.spawn(move || {
                    let (mut got, mut missed) = (0, 0);
                    loop {
                        match subscriber.recv_ref() {
                            Ok(message) => {
                                let bytes = message.to_vec();
                                assert!(bytes.iter().all(|&b| b == bytes[0]), "torn");
                                message.done().unwrap();
                                got += 1;
                            }
                            Err(SubscriberError::Lagged(n)) => missed += n as usize,
                            Err(SubscriberError::Closed) => break,
                            Err(e) => panic!("{e}"),
                        }
                    }
                    assert!(got + missed == 2 * COUNT && (missed == 0 || !is_lossless));
                });
            }
            let publishers = [1, 2].map(|seed: usize| {
                let broadcast = &broadcast;
                scope.spawn(move || {
                    for n in 0..COUNT {
                        let byte = (n * 3 + seed) as u8;
                        if n % 5 == 4 {
                            broadcast.publish_slice(&[byte; 700]).unwrap();
                            continue;
                        }
                        let mut loan = broadcast.loan(1 + n % 4096).unwrap();
                        let length = loan.len();
                        loan.write_at(0, &vec![byte; length]);
                        loan.publish().unwrap();
                    }
                })
            });
            publishers.into_iter().for_each(|one| one.join().unwrap());
            broadcast.close();
        });
        assert!(broadcast.lent() <= 3);
        broadcast.sweep().unwrap();
    }
}

#[test]
fn a_handle_that_comes_back_finds_its_loans() {
    let place = Place::new();
    let broadcast = place.make(4, 2, true);
    let mut subscriber = broadcast.subscribe().unwrap();
    let again = Broadcast::<Bytes>::options(1)
        .namespace(&place.0)
        .open("frames")
        .unwrap();
    assert_eq!(again.max_loan_bytes(), 4096);
    publish_in_place(&again, b"through another handle");
    drop(again);
    assert_eq!(next(&mut subscriber), b"through another handle");
    let found = place.0.inspect("frames").unwrap();
    assert!(
        format!("{found:?}").contains("1 of 2 loans in use"),
        "{found:?}"
    );
}

// ---- on the heap

fn world(is_lossless: bool) -> Arc<World> {
    let mut of = geometry(2, 8, 2, is_lossless);
    of.ring.loans = slab::Geometry {
        block_bytes: 16,
        blocks: 1,
    };
    World::new(of)
}

impl World {
    fn publish_in_place(&self, slot: u32) {
        let block = self.ring.lend(owner(slot), 16).unwrap();
        self.ring.publish_lent(owner(slot), block, 16).unwrap();
    }
}

#[test]
fn the_loans_of_the_dead_come_back_unless_a_cell_refers_to_them() {
    let w = world(false);
    w.ring.lend(owner(0), 16).unwrap();
    assert_eq!(
        w.ring.lend(owner(1), 1).err(),
        Some(PublishRefusal::NoBlocks)
    );
    w.die(0);
    assert_eq!(w.sweep(), 1);
    assert_eq!(w.ring.loans_used(), 0);
    w.publish_in_place(1);
    w.die(1);
    assert_eq!(w.sweep(), 1);
    assert_eq!(w.ring.loans_used(), 1, "it is there for all");
    w.publish_in_place(2);
    assert_eq!(w.ring.loans_used(), 1);
}

#[test]
fn a_message_whose_clearer_died_gives_its_block_to_the_next() {
    let w = world(false);
    w.publish_in_place(0);
    let index = w.ring.index(w.ring.one_lap()) as u64;
    assert!(w.ring.clearing_for_model(owner(1), index));
    w.die(1);
    w.sweep();
    assert_eq!(w.ring.seen_for_model(index).state, State::Stale);
    assert_eq!(w.ring.loans_used(), 1);
    w.publish_in_place(2);
    assert_eq!(w.ring.loans_used(), 1);
}

#[test]
fn a_subscriber_that_died_reading_in_place_holds_nobody_up() {
    let w = world(true);
    let mut reader = w.join(1);
    w.publish_in_place(0);
    let found = reader.look_at_next().unwrap();
    assert!(matches!(
        found,
        super::super::read::Found::InPlace { len: 16, .. }
    ));
    assert_eq!(
        w.ring.lend(owner(0), 1).err(),
        Some(PublishRefusal::NoBlocks)
    );
    w.die(1);
    w.sweep();
    w.publish_in_place(0);
    std::mem::forget(reader);
}

#[test]
fn a_lie_about_a_block_is_reported_not_believed() {
    use crate::prim::Relaxed;
    let lies: [fn(u64) -> u64; 4] = [
        |_| 5 << 32,       // no such block
        |place| place + 1, // another generation
        |_| u64::MAX,
        |_| 1 << 32,
    ];
    for lie in lies {
        let w = world(true);
        let mut reader = w.join(1);
        w.publish_in_place(0);
        let cell = w.ring.cell(w.ring.one_lap()).unwrap();
        let place = cell.payload()[0].load(Relaxed);
        cell.payload()[0].store(lie(place), Relaxed);
        assert!(matches!(
            reader.look_at_next().unwrap_err(),
            ReadRefusal::Damage(_)
        ));
        let reader = std::mem::ManuallyDrop::new(reader);
        w.die(1);
        w.sweep();
        let lent = w.ring.lend(owner(0), 1);
        assert!(matches!(lent, Err(PublishRefusal::Damage(_))), "{lent:?}");
        drop(std::mem::ManuallyDrop::into_inner(reader));
    }
}
