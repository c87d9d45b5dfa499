//! Broadcasts with threads as peers, and rings on the heap, where deaths and lies are decided by the test.

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

// ---- many at once

/// Publishers that number their messages, and subscribers that check the order; the order of all is the same for all.
fn soak(broadcast: &Broadcast<(u64, u64)>, each: u64) -> Vec<Vec<(u64, u64)>> {
    let subscribers: Vec<_> = (0..3).map(|_| broadcast.subscribe().unwrap()).collect();
    thread::scope(|s| {
        let readers: Vec<_> = subscribers
            .into_iter()
            .map(|mut subscriber| s.spawn(move || read_in_order(&mut subscriber)))
            .collect();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                s.spawn(move || (0..each).for_each(|i| broadcast.publish((writer, i)).unwrap()))
            })
            .collect();
        writers.into_iter().for_each(|w| w.join().unwrap());
        broadcast.close();
        readers.into_iter().map(|r| r.join().unwrap()).collect()
    })
}

fn read_in_order(subscriber: &mut Subscriber<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut received: Vec<(u64, u64)> = Vec::new();
    for message in subscriber.iter() {
        match message {
            Ok(value) => received.push(value),
            Err(SubscriberError::Lagged(missed)) => assert!(missed > 0),
            Err(e) => panic!("{e}"),
        }
    }
    for writer in 0..3 {
        let mine = received.iter().filter(|(by, _)| *by == writer);
        assert!(mine.is_sorted_by(|a, b| a.1 < b.1));
    }
    received
}

#[test]
fn all_subscribers_see_one_order_without_a_gap() {
    let place = Place::new();
    let broadcast = place.options(4).anonymous().unwrap();
    let received = soak(&broadcast, 2000);
    assert_eq!(received[0].len(), 6000);
    assert!(received.iter().all(|one| *one == received[0]));
}

#[test]
fn what_slow_subscribers_do_not_miss_is_in_one_order() {
    let place = Place::new();
    let broadcast = place.options(4).lossy().anonymous().unwrap();
    let received = soak(&broadcast, 5000);
    // Of any two subscribers, what both have seen is in the same order.
    for one in &received {
        for other in &received {
            let common: Vec<_> = one.iter().filter(|m| other.contains(m)).take(500).collect();
            let mut places = common.iter().map(|m| other.iter().position(|o| *o == **m));
            assert!(places.by_ref().is_sorted());
        }
    }
}

#[test]
fn subscribers_that_come_and_go_miss_nothing_in_between() {
    let place = Place::new();
    let broadcast = place.lossless(3);
    thread::scope(|s| {
        s.spawn(|| {
            (0..20_000).for_each(|i| broadcast.publish(i).unwrap());
            broadcast.close();
        });
        for is_from_oldest in [false, true] {
            let broadcast = &broadcast;
            s.spawn(move || {
                loop {
                    let mut subscriber = if is_from_oldest {
                        broadcast.subscribe_from_oldest().unwrap()
                    } else {
                        broadcast.subscribe().unwrap()
                    };
                    let received: Vec<u64> =
                        subscriber.iter().take(50).map(Result::unwrap).collect();
                    assert!(
                        received.windows(2).all(|w| w[0] + 1 == w[1]),
                        "{received:?}"
                    );
                    if received.len() < 50 {
                        return;
                    }
                }
            });
        }
    });
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

// ---- deaths

#[test]
fn a_dead_publishers_cell_is_passed_over_and_does_not_count_as_missed() {
    for is_lossless in [true, false] {
        let w = World::new(geometry(3, 8, 0, is_lossless));
        let mut reader = w.join(1);
        w.publish(1, 1, 8).unwrap();
        w.ring.claim_for_model(owner(0)).unwrap();
        w.publish(1, 2, 8).unwrap();
        assert_eq!(reader.read_for_model(), Ok(1));
        assert_eq!(reader.read_for_model(), Err(ReadRefusal::BeingPublished));
        w.die(0);
        assert_eq!(w.sweep(), 1);
        assert_eq!(reader.read_for_model(), Ok(2));
        assert_eq!(reader.read_for_model(), Err(ReadRefusal::Empty));
        (3..=5).for_each(|i| w.publish(1, i, 8).unwrap());
        assert_eq!(reader.read_for_model(), Ok(3));
    }
}

#[test]
fn a_dead_subscriber_is_dropped() {
    let w = World::new(geometry(2, 8, 0, true));
    core::mem::forget(w.join(0));
    let mut living = w.join(1);
    (1..=2).for_each(|i| w.publish(2, i, 8).unwrap());
    assert_eq!(
        [living.read_for_model(), living.read_for_model()],
        [Ok(1), Ok(2)]
    );
    assert_eq!(w.publish(2, 3, 8), Err(PublishRefusal::Full));
    w.die(0);
    assert_eq!((w.sweep(), w.ring.subscribers()), (1, 1));
    (3..=4).for_each(|i| w.publish(2, i, 8).unwrap());
    assert_eq!(w.publish(2, 5, 8), Err(PublishRefusal::Full));
}

#[test]
fn blocks_whose_clearing_was_cut_short_are_taken_by_the_next() {
    for is_lossless in [true, false] {
        let w = World::new(geometry(4, 8, 2, is_lossless));
        w.publish(0, 1, 32).unwrap();
        assert!(w.ring.clearing_for_model(owner(1), 0));
        w.die(1);
        assert_eq!(w.sweep(), 1);
        assert_eq!(w.ring.seen_for_model(0).state, State::Stale);
        w.die(0); // the blocks are still the message's
        assert_eq!(w.sweep(), 1);
        w.publish(2, 2, 32).unwrap();
        assert_eq!(w.ring.memory_used(), 32);
        let mut reader = w.join(2);
        reader.look_back().unwrap();
        assert_eq!(reader.read_for_model(), Ok(2));
    }
}

#[test]
fn blocks_of_the_dead_come_back_and_those_of_a_message_stay() {
    let w = World::new(geometry(4, 8, 3, false));
    assert!(w.ring.store_for_model(owner(0)));
    w.publish(0, 1, 32).unwrap();
    assert_eq!(w.ring.memory_used(), 48);
    w.die(0);
    assert_eq!(w.sweep(), 1);
    assert_eq!(w.ring.memory_used(), 32);
    let mut reader = w.join(2);
    reader.look_back().unwrap();
    assert_eq!(reader.read_for_model(), Ok(1));
}

// ---- lies

#[test]
fn a_lying_peer_is_reported_not_believed() {
    let w = World::new(geometry(2, 8, 2, false));
    let mut reader = w.join(1);
    w.publish(0, 1, 8).unwrap();
    let cell = w.ring.cell(0).unwrap();
    cell.length().store(9, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    cell.length().store(1 << 63 | 8, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    cell.ctl().store(Ctl::large(1).0, Relaxed);
    cell.length().store(1 << 63 | 33, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    cell.ctl().store(7, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    let refused = w.publish(0, 1, 8).and_then(|()| w.publish(0, 1, 8));
    assert!(matches!(refused, Err(PublishRefusal::Damage(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the words say: an answer, in bounded time.
    #[test]
    fn any_words_end_in_an_answer(
        words in prop::collection::vec((0usize..8, any::<u64>(), 0u64..8), 1..6),
        tail in prop_oneof![any::<u64>(), 0u64..20],
        is_lossless: bool,
    ) {
        let w = World::new(geometry(4, 8, 4, is_lossless));
        let mut reader = w.join(1);
        (0..3).for_each(|i| w.publish(0, i, 8 + 24 * (i as usize % 2)).unwrap());
        for (at, word, state) in words {
            let cell = w.ring.cell(at as u64 % 4).unwrap();
            let lap = word % 4;
            let word = if word & 8 == 0 { word } else { lap << 21 | state };
            let target = if at < 4 { cell.ctl() } else { cell.length() };
            target.store(word, Relaxed);
        }
        w.ring.tail.0.store(tail, Relaxed);
        for i in 0..3 {
            let _ = w.publish(2, i, 8);
            let _ = w.publish(2, i, 40);
            let _ = reader.read();
            let _ = reader.look_back();
        }
        w.die(2);
        let _ = w.participants.sweep(&*w.ring);
        let _ = Reader::join(&w.ring, owner(0), true);
        let _ = w.ring.describe();
    }
}
