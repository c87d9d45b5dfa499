//! Broadcasts with threads as peers, and rings on the heap, where deaths and lies are decided by the test.

mod crowd;
mod deaths;

use std::{
    sync::atomic::{AtomicU64 as Number, Ordering},
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    Broadcast, BroadcastOptions, PublishError, PublishTimeoutError, SubscribeError, Subscriber,
    SubscriberError, SubscriberTimeoutError, TryPublishError, TrySubscriberError,
    cell::{Ctl, State},
    on_heap::{World, geometry, owner},
    publish::PublishRefusal,
    read::{ReadRefusal, Reader},
};
use crate::{
    Error,
    message::{Bytes, Message, Plain},
    object::{Kind, Namespace, seat::Activity, wait::WaitStrategy},
    prim::Relaxed,
};

/// A namespace of its own, which goes with it.
struct Place(Namespace);

impl Place {
    fn new() -> Self {
        static NEXT: Number = Number::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipc-broadcast-test-{}-{next}", std::process::id());
        Self(Namespace::at(std::env::temp_dir().join(name)).unwrap())
    }

    fn options<T: Message>(&self, capacity: usize) -> BroadcastOptions<T> {
        Broadcast::options(capacity).namespace(&self.0)
    }

    fn lossless(&self, capacity: usize) -> Broadcast<u64> {
        self.options(capacity).anonymous().unwrap()
    }

    fn lossy(&self, capacity: usize) -> Broadcast<u64> {
        self.options(capacity).lossy().anonymous().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

const SHORTLY: Duration = Duration::from_millis(20);

fn all<T: Message>(subscriber: &mut Subscriber<T>) -> Vec<T> {
    subscriber.iter().map(Result::unwrap).collect()
}

// ---- messages

#[test]
fn every_subscriber_receives_everything_from_its_beginning_on() {
    let place = Place::new();
    for broadcast in [place.lossless(8), place.lossy(8)] {
        broadcast.publish(1).unwrap(); // to nobody
        let mut first = broadcast.subscribe().unwrap();
        broadcast.publish(2).unwrap();
        let mut second = broadcast.subscribe().unwrap();
        assert_eq!(broadcast.publish_many(3..=5).unwrap(), 3);
        broadcast.close();
        assert_eq!(all(&mut first), [2, 3, 4, 5]);
        assert_eq!(all(&mut second), [3, 4, 5]);
    }
}

#[test]
fn who_begins_with_the_oldest_receives_what_is_still_there() {
    let place = Place::new();
    for broadcast in [place.lossless(4), place.lossy(4)] {
        let mut early = broadcast.subscribe_from_oldest().unwrap();
        assert!(matches!(early.try_recv(), Err(TrySubscriberError::Empty)));
        drop(early);
        broadcast.publish_many(1..=6).unwrap();
        let mut late = broadcast.subscribe_from_oldest().unwrap();
        assert_eq!(late.behind(), 4);
        assert_eq!(late.recv().unwrap(), 3);
        // What is published now comes behind that.
        broadcast.try_publish(7).unwrap();
        broadcast.close();
        let rest = late.iter().map(Result::unwrap);
        assert_eq!(rest.collect::<Vec<_>>(), [4, 5, 6, 7]);
    }
}

#[test]
fn messages_of_any_length_come_as_they_were() {
    let place = Place::new();
    for is_lossless in [true, false] {
        let options = place.options::<Bytes>(64).memory(64 << 10);
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        let broadcast = options.anonymous().unwrap();
        let mut subscriber = broadcast.subscribe().unwrap();
        let mut buffer = vec![9; 3];
        for length in [0, 1, 7, 8, 239, 240, 241, 511, 512, 513, 5000, 64 << 10] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            broadcast.publish_slice(&bytes).unwrap();
            assert_eq!(subscriber.recv_into(&mut buffer).unwrap(), length);
            assert_eq!(buffer, bytes);
        }
        let too_long = broadcast.publish(Bytes(vec![0; (64 << 10) + 1]));
        assert!(matches!(
            too_long,
            Err(PublishError::TooLarge { max: 65536, .. })
        ));
    }
}

#[test]
fn a_message_that_cannot_be_decoded_is_gone_and_the_next_one_comes() {
    #[derive(Clone, Copy, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
    #[repr(u8)]
    enum Odd {
        One = 1,
    }
    let place = Place::new();
    let broadcast = place.options::<Plain<Odd>>(4).anonymous().unwrap();
    let mut subscriber = broadcast.subscribe().unwrap();
    broadcast.publish(Plain(Odd::One)).unwrap();
    broadcast.publish(Plain(Odd::One)).unwrap();
    let cell = broadcast
        .inner
        .ring
        .cell(broadcast.inner.ring.one_lap())
        .unwrap();
    cell.payload()[0].store(7, Relaxed);
    assert!(matches!(subscriber.recv(), Err(SubscriberError::Decode(_))));
    assert!(subscriber.recv().is_ok());
}

// ---- lossless

#[test]
fn the_slowest_subscriber_keeps_publishers_waiting() {
    let place = Place::new();
    let broadcast = place.lossless(3); // no power of two
    let mut fast = broadcast.subscribe().unwrap();
    let mut slow = broadcast.subscribe().unwrap();
    for round in 0..5 {
        for i in 0..3 {
            broadcast.try_publish(round * 3 + i).unwrap();
            assert_eq!(fast.recv().unwrap(), round * 3 + i);
        }
        assert!(matches!(
            broadcast.try_publish(99),
            Err(TryPublishError::Full(99))
        ));
        let timed_out = broadcast.publish_timeout(99, SHORTLY);
        assert!(matches!(timed_out, Err(PublishTimeoutError::Timeout(99))));
        for i in 0..3 {
            assert_eq!(slow.recv().unwrap(), round * 3 + i);
        }
    }
    broadcast.publish(15).unwrap();
    drop(slow);
    assert_eq!(broadcast.subscribers(), 1);
    assert_eq!(fast.recv().unwrap(), 15);
}

#[test]
fn a_waiting_publisher_goes_on_when_a_subscriber_reads_or_leaves() {
    let place = Place::new();
    for leaves in [false, true] {
        for strategy in [
            WaitStrategy::Sleep,
            WaitStrategy::Adaptive,
            WaitStrategy::Spin,
        ] {
            let broadcast: Broadcast<u64> = place.options(1).wait(strategy).anonymous().unwrap();
            let mut subscriber = broadcast.subscribe().unwrap();
            broadcast.publish(1).unwrap();
            thread::scope(|s| {
                s.spawn(|| broadcast.publish(2).unwrap());
                if leaves {
                    drop(subscriber);
                } else {
                    assert_eq!(subscriber.recv().unwrap(), 1);
                    assert_eq!(subscriber.recv().unwrap(), 2);
                }
            });
        }
    }
}

#[test]
fn there_are_as_many_subscribers_as_it_was_made_for() {
    let place = Place::new();
    let broadcast: Broadcast<u64> = place.options(4).subscribers(2).anonymous().unwrap();
    let one = broadcast.subscribe().unwrap();
    let _two = broadcast.subscribe().unwrap();
    assert!(matches!(
        broadcast.subscribe(),
        Err(SubscribeError::TooMany { max: 2 })
    ));
    drop(one);
    assert!(broadcast.subscribe().is_ok());
}

#[test]
fn memory_of_what_everybody_has_read_is_used_again() {
    let place = Place::new();
    // Two messages at a time, though the ring has room for many more.
    let broadcast: Broadcast<Bytes> = place.options(64).memory(2048).anonymous().unwrap();
    let mut subscriber = broadcast.subscribe().unwrap();
    let message = |i: u8| Bytes(vec![i; 1000]);
    for i in 0..200 {
        broadcast.try_publish(message(i)).unwrap();
        if i % 2 == 1 {
            let refused = broadcast.try_publish(message(99));
            assert!(matches!(refused, Err(TryPublishError::Full(_))), "{i}");
            assert_eq!(subscriber.recv().unwrap(), message(i - 1));
            assert_eq!(subscriber.recv().unwrap(), message(i));
        }
    }
    thread::scope(|s| {
        (0..2).for_each(|i| broadcast.publish(message(i)).unwrap());
        s.spawn(|| broadcast.publish(message(2)).unwrap());
        (0..3).for_each(|i| assert_eq!(subscriber.recv().unwrap(), message(i)));
    });
}

// ---- lossy

#[test]
fn who_is_too_slow_is_told_how_much_it_has_missed() {
    let place = Place::new();
    let broadcast = place.lossy(3);
    let mut subscriber = broadcast.subscribe().unwrap();
    broadcast.publish_many(0..10).unwrap();
    assert!(matches!(subscriber.recv(), Err(SubscriberError::Lagged(7))));
    assert_eq!([7, 8, 9].map(|_| subscriber.recv().unwrap()), [7, 8, 9]);
    assert!(matches!(
        subscriber.try_recv(),
        Err(TrySubscriberError::Empty)
    ));
    broadcast.publish_many(10..14).unwrap();
    broadcast.close();
    let mut received = Vec::new();
    for message in subscriber.iter() {
        match message {
            Ok(value) => received.push(value),
            Err(e) => assert!(matches!(e, SubscriberError::Lagged(1)), "{e}"),
        }
    }
    assert_eq!(received, [11, 12, 13]);
}

#[test]
fn who_falls_back_does_not_look_at_what_is_known_to_be_claimed() {
    let w = World::new(geometry(8, 8, 0, false));
    let mut reader = w.join(1);
    (0..20).for_each(|i| w.publish(0, i, 8).unwrap());
    let garbled = w.ring.cell(6).unwrap().ctl(); // not the oldest
    garbled.store(u64::MAX, Relaxed);
    assert_eq!(reader.read_for_model(), Err(ReadRefusal::Lagged(12)));
    assert_eq!([12, 13].map(Ok), [(); 2].map(|()| reader.read_for_model()));
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
}

#[test]
fn a_message_whose_memory_was_needed_is_missed() {
    let place = Place::new();
    let options = place.options::<Bytes>(64).memory(2048);
    let broadcast = options.lossy().anonymous().unwrap();
    let mut subscriber = broadcast.subscribe().unwrap();
    for i in 0..10 {
        broadcast.publish(Bytes(vec![i; 1000])).unwrap();
    }
    broadcast.publish(Bytes(vec![10; 10])).unwrap();
    let mut late = broadcast.subscribe_from_oldest().unwrap();
    assert!(matches!(subscriber.recv(), Err(SubscriberError::Lagged(8))));
    for i in 8..11 {
        assert_eq!(subscriber.recv().unwrap().0[0], i);
        assert_eq!(late.recv().unwrap().0[0], i);
    }
}

// ---- the end

#[test]
fn closing_wakes_and_ends_everybody_after_the_last_message() {
    let place = Place::new();
    for broadcast in [place.lossless(2), place.lossy(2)] {
        let mut early = broadcast.subscribe().unwrap();
        thread::scope(|s| {
            let waiting = s.spawn(move || all(&mut early));
            broadcast.publish(1).unwrap();
            broadcast.close();
            assert_eq!(waiting.join().unwrap(), [1]);
        });
        assert!(broadcast.is_closed());
        assert!(matches!(broadcast.publish(2), Err(PublishError::Closed(2))));
        assert!(matches!(
            broadcast.try_publish(2),
            Err(TryPublishError::Closed(2))
        ));
        let mut late = broadcast.subscribe().unwrap();
        assert!(matches!(late.recv(), Err(SubscriberError::Closed)));
        let mut oldest = broadcast.subscribe_from_oldest().unwrap();
        assert_eq!(all(&mut oldest), [1]);
    }
}

#[test]
fn a_waiting_publisher_learns_that_it_is_closed() {
    let place = Place::new();
    let broadcast = place.lossless(1);
    let _slow = broadcast.subscribe().unwrap();
    broadcast.publish(1).unwrap();
    thread::scope(|s| {
        let waiting = s.spawn(|| broadcast.publish(2));
        broadcast.close();
        assert!(matches!(
            waiting.join().unwrap(),
            Err(PublishError::Closed(2))
        ));
    });
}

#[test]
fn a_receive_gives_up_in_time() {
    let place = Place::new();
    let broadcast = place.lossy(1);
    let mut subscriber = broadcast.subscribe().unwrap();
    let begin = Instant::now();
    assert!(matches!(
        subscriber.recv_timeout(SHORTLY),
        Err(SubscriberTimeoutError::Timeout)
    ));
    assert!(begin.elapsed() >= SHORTLY);
}

// ---- the object

#[test]
fn a_broadcast_is_made_and_opened_as_what_it_is() {
    let place = Place::new();
    let made = place.options::<u64>(5).lossy().create("news").unwrap();
    assert!(!made.is_lossless() && made.name() == Some("news") && made.is_empty());
    let opened = place.options::<u64>(1).open_or_create("news").unwrap();
    assert_eq!(opened.capacity(), 5);
    let mut subscriber = opened.subscribe().unwrap();
    made.publish(3).unwrap();
    assert_eq!(subscriber.recv().unwrap(), 3);
    let wrong = place.options::<u32>(5).open("news").unwrap_err();
    assert!(matches!(wrong, Error::WrongType { .. }), "{wrong}");
    let seen = place.0.inspect("news").unwrap();
    assert_eq!(seen.kind, Kind::Broadcast);
    assert!(
        seen.state.starts_with("1/5, lossy, 1 published"),
        "{}",
        seen.state
    );
    let lossless = place.options::<u64>(5).create("exact").unwrap();
    let _one = lossless.subscribe().unwrap();
    let seen = place.0.inspect("exact").unwrap();
    assert!(seen.state.starts_with("0/5, lossless to 1 of 64"));
    assert_eq!(seen.visits[0].activity, Activity::Reading);
    made.unlink().unwrap();
    assert!(place.options::<u64>(5).open("news").is_err());
    assert_eq!(place.0.sweep("exact").unwrap(), 0);
    lossless.unlink().unwrap();
}

#[test]
fn bad_options_are_refused() {
    let place = Place::new();
    for options in [
        place.options::<Bytes>(0),
        place.options(4).subscribers(0),
        place.options(4).subscribers(5000),
        place.options(4).participants(0),
        place.options(4).inline_bytes(241),
    ] {
        let refused = options.anonymous().unwrap_err();
        assert!(matches!(refused, Error::BadOption { .. }), "{refused}");
    }
}

#[test]
fn a_handle_travels_as_a_message() {
    let place = Place::new();
    let broadcast = place.lossless(4);
    let sent = postcard::to_stdvec(&broadcast).unwrap();
    let other: Broadcast<u64> = postcard::from_bytes(&sent).unwrap();
    let mut subscriber = other.subscribe().unwrap();
    broadcast.publish(5).unwrap();
    assert_eq!(subscriber.recv().unwrap(), 5);
}
