//! Loom models of the broadcast: one for each ordering. `mutate` in the tests shows that weakening any of them fails here.
//!
//! As in the queue's models, a dead participant is one that stops at a chosen step, after which the oracle that stands for its
//! lock byte says so; and who looks *in the middle* of another's work tries once instead of waiting.

mod deaths;
mod sleep;

use std::sync::Arc;

use loom::thread;

use super::{
    cell::State,
    clear::Memory,
    on_heap::{World, geometry, owner},
    publish::PublishRefusal,
    read::{ReadRefusal, Reader},
    source::{NextMessage, Room},
};
use crate::{
    object::{
        seat::Notes,
        source::Source,
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    prim::Release,
};

/// Messages of 8 bytes, and of 16 in two words of a cell or one block.
fn world(capacity: usize, blocks: usize, is_lossless: bool) -> Arc<World> {
    let inline = if blocks == 0 { 16 } else { 8 };
    World::new(geometry(capacity, inline, blocks, is_lossless))
}

/// What a real wait does, asleep from the start.
fn asleep<'w, R>(word: &'w WaitWord, mut attempt: impl FnMut() -> Attempt<'w, R>) -> R {
    let patience = Patience::new();
    let waiting = Waiting {
        word,
        strategy: WaitStrategy::Sleep,
        patience: &patience,
        deadline: Deadline::NEVER,
        notes: Notes::Nowhere,
    };
    let attempt = || -> Attempt<'_, R> { attempt() }; // as long as `patience` lives
    waiting.until(attempt, || true, || None).unwrap()
}

impl World {
    fn read_asleep(&self, reader: &mut Reader) -> Result<u64, ReadRefusal> {
        let items = &self.ring.gate().items;
        asleep(items, || match reader.read_for_model() {
            Err(ReadRefusal::Empty) => Attempt::Blocked(items),
            Err(ReadRefusal::BeingPublished) => Attempt::Unsettled(items),
            met => Attempt::Done(met),
        })
    }

    fn publish_asleep(&self, slot: u32, value: u64, bytes: usize) -> Result<(), PublishRefusal> {
        asleep(&self.ring.gate().space, || {
            self.ring
                .attempt_to_publish(|| match self.publish(slot, value, bytes) {
                    Err(PublishRefusal::Closed) => Ok(Err(PublishRefusal::Closed)),
                    Err(refusal) => Err(refusal),
                    Ok(()) => Ok(Ok(())),
                })
        })
    }

    fn publish_patiently(&self, slot: u32, value: u64, bytes: usize) {
        while let Err(refusal) = self.publish(slot, value, bytes) {
            assert!(refusal.is_passing(), "{refusal:?}");
            thread::yield_now();
        }
    }
}

/// Reads, yielding while there is nothing.
fn read_patiently(reader: &mut Reader) -> Result<u64, ReadRefusal> {
    loop {
        match reader.read_for_model() {
            Err(ReadRefusal::Empty | ReadRefusal::BeingPublished) => thread::yield_now(),
            met => return met,
        }
    }
}

/// Explores with at most so many preemptions, which bounds the time; three find all known bugs.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

// ---- what is read

#[test]
fn a_message_is_seen_whole_and_overwritten_after_it_was_read() {
    explore(3, || {
        let w = world(1, 0, true);
        let mut reader = w.join(1);
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || (1..=2).for_each(|i| publisher.publish_patiently(0, i, 8)));
        assert_eq!(read_patiently(&mut reader), Ok(1));
        assert_eq!(read_patiently(&mut reader), Ok(2));
        t.join().unwrap();
    });
}

#[test]
fn a_message_is_overwritten_only_after_it_was_read_in_one_try() {
    explore(3, || {
        let w = world(1, 0, true);
        let mut reader = w.join(1);
        w.publish(0, 1, 8).unwrap();
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 2, 8).is_ok());
        assert_eq!(reader.read_for_model(), Ok(1));
        t.join().unwrap();
    });
}

#[test]
fn who_looked_at_the_cursors_hands_that_on_to_its_threads() {
    explore(3, || {
        let w = world(1, 0, true);
        let mut reader = w.join(1);
        w.publish(0, 1, 8).unwrap();
        let r = thread::spawn(move || {
            assert_eq!(reader.read_for_model(), Ok(1));
            reader // subscribed until the end
        });
        let looker = Arc::clone(&w);
        let l = thread::spawn(move || {
            let tail = looker.ring.find_tail().unwrap();
            looker.ring.look_at_cursors(tail);
        });
        thread::yield_now(); // to both, perhaps
        let ring = &w.ring;
        ring.publish_next(owner(0), ring.tail(), &[0; 8]);
        l.join().unwrap();
        drop(r.join().unwrap());
    });
}

#[test]
fn a_message_that_is_overwritten_while_it_is_read_is_not_believed() {
    explore(3, || {
        let w = world(1, 0, false);
        let mut reader = w.join(1);
        w.publish(0, 1, 16).unwrap();
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 2, 16).unwrap());
        match reader.read_for_model() {
            Ok(value) => assert_eq!(value, 1),
            Err(ReadRefusal::Lagged(missed)) => assert_eq!(missed, 1),
            Err(ReadRefusal::Empty | ReadRefusal::BeingPublished) => unreachable!("it was there"),
            Err(other) => panic!("{other:?}"),
        }
        t.join().unwrap();
    });
}

#[test]
fn what_was_read_of_a_message_was_written_before_it_was_there() {
    explore(3, || {
        let w = world(2, 0, false);
        let mut reader = w.join(1);
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 7, 16).unwrap());
        match reader.read_for_model() {
            Ok(value) => assert_eq!(value, 7),
            Err(ReadRefusal::Empty | ReadRefusal::BeingPublished) => {}
            Err(other) => panic!("{other:?}"),
        }
        t.join().unwrap();
    });
}

#[test]
fn blocks_that_are_given_to_another_message_are_not_believed() {
    explore(3, || {
        let w = world(2, 1, false);
        let mut reader = w.join(1);
        w.publish(0, 1, 16).unwrap();
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 2, 16).unwrap());
        match reader.read_for_model() {
            Ok(value) => assert_eq!(value, 1),
            Err(ReadRefusal::Lagged(missed)) => assert_eq!(missed, 1),
            Err(other) => panic!("{other:?}"),
        }
        t.join().unwrap();
    });
}

#[test]
fn blocks_that_somebody_else_takes_over_are_not_believed() {
    explore(2, || {
        let w = world(3, 1, false);
        let mut reader = w.join(1);
        w.publish(0, 1, 16).unwrap();
        let evictor = Arc::clone(&w);
        let e = thread::spawn(move || {
            let _ = evictor.ring.clear_oldest(owner(2), Memory::Chains);
        });
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || {
            publisher.ring.store_for_model(owner(0));
        });
        match reader.read_for_model() {
            Ok(value) => assert_eq!(value, 1),
            Err(ReadRefusal::Lagged(missed)) => assert_eq!(missed, 1),
            Err(ReadRefusal::Empty) => {}
            Err(other) => panic!("{other:?}"),
        }
        e.join().unwrap();
        t.join().unwrap();
    });
}

#[test]
fn a_cell_is_written_after_who_took_its_blocks_has_read_it() {
    explore(3, || {
        let w = world(1, 1, true);
        w.publish(0, 1, 16).unwrap();
        let evictor = Arc::clone(&w);
        let e = thread::spawn(move || {
            let _ = evictor.ring.clear_oldest(owner(2), Memory::Chains);
        });
        let _ = w.publish(0, 2, 8); // or it is at work
        e.join().unwrap();
    });
}

// ---- one order

#[test]
fn publishers_share_the_ring_and_all_see_one_order() {
    explore(2, || {
        let w = world(2, 0, true);
        let mut readers = [w.join(2), w.join(2)];
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.publish(0, 1, 8).unwrap());
        w.publish(1, 2, 8).unwrap();
        t.join().unwrap();
        let seen = readers.each_mut().map(|reader| {
            [
                reader.read_for_model().unwrap(),
                reader.read_for_model().unwrap(),
            ]
        });
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0] == [1, 2] || seen[0] == [2, 1]);
    });
}

#[test]
fn nothing_is_overwritten_that_a_new_subscriber_has_still_to_read() {
    explore(2, || {
        let w = world(1, 0, true);
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || {
            for i in 1..=3 {
                if publisher.publish(0, i, 8).is_err() {
                    break;
                }
            }
        });
        let mut reader = w.join(1);
        let mut last = 0;
        for _ in 0..3 {
            match reader.read_for_model() {
                Ok(value) => {
                    assert!(last == 0 || value == last + 1, "{value} after {last}");
                    last = value;
                }
                Err(ReadRefusal::Empty | ReadRefusal::BeingPublished) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        t.join().unwrap();
    });
}

#[test]
fn a_new_subscriber_is_not_taken_for_the_last_one_in_its_seat() {
    explore(3, || {
        let w = world(1, 0, true);
        w.publish(0, 1, 8).unwrap();
        drop(w.join(1)); // its cursor stays where it was
        (2..=3).for_each(|i| w.publish(0, i, 8).unwrap());
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 4, 8));
        let reader = w.join(1);
        // Nobody has anything to read that this would overwrite.
        assert_eq!(t.join().unwrap(), Ok(()));
        drop(reader);
    });
}

#[test]
fn who_looks_back_sees_no_gap() {
    explore(2, || {
        let w = world(2, 0, true);
        (1..=2).for_each(|i| w.publish(0, i, 8).unwrap());
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || {
            for i in 3..=4 {
                if publisher.publish(0, i, 8).is_err() {
                    break;
                }
            }
        });
        let mut reader = w.join(1);
        let mut last = 0;
        if reader.look_back().is_ok() {
            while let Ok(value) = reader.read_for_model() {
                assert!(last == 0 || value == last + 1, "{value} after {last}");
                last = value;
            }
        }
        t.join().unwrap();
    });
}

// ---- the end

#[test]
fn nothing_is_published_after_a_subscriber_was_told_that_all_is_over() {
    explore(2, || {
        let w = world(2, 0, false);
        let mut reader = w.join(1);
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 1, 8).is_ok());
        let closer = Arc::clone(&w);
        let c = thread::spawn(move || closer.ring.close());
        let seen = reader.read_for_model();
        let was_published = t.join().unwrap();
        if seen == Err(ReadRefusal::Closed) {
            assert!(!was_published);
        }
        c.join().unwrap();
    });
}

#[test]
fn the_messages_of_who_closes_come_before_the_end() {
    explore(3, || {
        let w = world(2, 0, false);
        let mut reader = w.join(1);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            other.publish(0, 1, 8).unwrap();
            other.ring.close();
        });
        assert_eq!(w.read_asleep(&mut reader), Ok(1));
        assert_eq!(w.read_asleep(&mut reader), Err(ReadRefusal::Closed));
        t.join().unwrap();
    });
}

#[test]
fn the_last_message_is_not_overlooked_by_who_finds_it_closed() {
    explore(3, || {
        let w = world(2, 0, false);
        let mut reader = w.join(1);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let seen = reader.read_for_model();
            assert_ne!(seen, Err(ReadRefusal::Closed));
        });
        other.publish(0, 1, 8).unwrap();
        other.ring.close();
        t.join().unwrap();
    });
}

/// A subscriber: what it waits for, a publish of a number, and a read.
pub(crate) fn subscribing(
    is_lossless: bool,
) -> (
    Arc<dyn Source>,
    impl FnMut(u64) + Send + 'static,
    impl FnMut() -> Option<u64>,
) {
    let w = world(1, 0, is_lossless);
    let mut reader = w.join(1);
    (
        Arc::new(NextMessage::of(&reader)),
        move |value| w.publish_patiently(0, value, 8),
        move || reader.read_for_model().ok(),
    )
}

/// A full broadcast: what publishers wait for, and the read that makes room.
pub(crate) fn publishing() -> (Arc<dyn Source>, impl FnOnce() -> Box<dyn Send> + Send) {
    let w = world(1, 0, true);
    let mut reader = w.join(1);
    w.publish(0, 1, 8).unwrap();
    let read = move || -> Box<dyn Send> {
        assert_eq!(reader.read_for_model(), Ok(1));
        Box::new(reader) // subscribed until the end
    };
    (Arc::new(Room(Arc::clone(&w.ring))), read)
}

impl super::log::Log {
    /// Entries in it.
    pub(crate) fn len_for_model(&self) -> usize {
        self.0.len()
    }
}
