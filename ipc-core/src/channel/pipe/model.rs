//! Loom models of a lane: one for each ordering. `mutate` in the tests shows that weakening any of them fails here.
//!
//! As in the queue's models, a dead participant is one that stops at a chosen step, after which the oracle that stands for its
//! lock byte says so.

use core::sync::atomic::AtomicU32;
use std::sync::Arc;

use loom::thread;

use super::{
    fencing::{FENCED, OFTEN, STREAM},
    lane::Side,
    on_heap::{World, geometry, owner},
    reader::{Reader, RecvRefusal},
    role::State,
    writer::{SendRefusal, Writer},
};
use crate::{
    object::{
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    prim::{Relaxed, Release},
};

/// A lane for two messages, and three participants.
fn world(is_asymmetric: bool) -> Arc<World> {
    World::new(geometry(16, Some(8), is_asymmetric), 3)
}

impl World {
    /// From here on `slot` is dead.
    fn die(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Release);
    }

    /// Receives what a receiver waits for, asleep from the start.
    fn recv_asleep(&self, reader: &mut Reader) -> Result<u64, RecvRefusal> {
        self.recv_asleep_after(0, reader)
    }

    /// As [`Self::recv_asleep`], by one that has slept so often before.
    fn recv_asleep_after(&self, often: u32, reader: &mut Reader) -> Result<u64, RecvRefusal> {
        let heavy = AtomicU32::new(often);
        let lane = self.lane();
        let attempt = || match reader.recv_for_model() {
            Err(RecvRefusal::Empty) => None,
            met => Some(met),
        };
        let mut attempt = attempt;
        asleep(lane.word(Side::Reader), || {
            lane.attempt(Side::Reader, &heavy, &mut attempt)
        })
    }

    fn send_asleep(&self, writer: &mut Writer, value: u64) -> Result<(), SendRefusal> {
        self.send_asleep_after(0, writer, value)
    }

    fn send_asleep_after(
        &self,
        often: u32,
        writer: &mut Writer,
        value: u64,
    ) -> Result<(), SendRefusal> {
        let heavy = AtomicU32::new(often);
        let lane = self.lane();
        let attempt = || match writer.send_for_model(value) {
            Err(SendRefusal::Full) => None,
            met => Some(met),
        };
        let mut attempt = attempt;
        asleep(lane.word(Side::Writer), || {
            lane.attempt(Side::Writer, &heavy, &mut attempt)
        })
    }
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

/// Receives, yielding while there is nothing.
fn recv_patiently(reader: &mut Reader) -> Result<u64, RecvRefusal> {
    loop {
        match reader.recv_for_model() {
            Err(RecvRefusal::Empty) => thread::yield_now(),
            met => return met,
        }
    }
}

/// Explores with at most so many preemptions, which bounds the time; three find all known bugs but one, which takes five.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

#[test]
fn a_message_is_seen_whole_and_its_room_reused_after_it_was_read() {
    explore(3, || {
        let w = world(true);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let t = thread::spawn(move || {
            for i in 1..=3 {
                while writer.send_for_model(i) == Err(SendRefusal::Full) {
                    thread::yield_now();
                }
            }
        });
        for i in 1..=3 {
            assert_eq!(recv_patiently(&mut reader), Ok(i));
        }
        t.join().unwrap();
    });
}

#[test]
fn no_wake_is_lost_by_a_receiver() {
    for is_asymmetric in [true, false] {
        explore(3, move || {
            let w = world(is_asymmetric);
            let (_, mut writer) = w.writer(0).unwrap();
            let (_, mut reader) = w.reader(1).unwrap();
            let t = thread::spawn(move || writer.send_for_model(7).unwrap());
            assert_eq!(w.recv_asleep(&mut reader), Ok(7));
            t.join().unwrap();
        });
    }
}

#[test]
fn no_wake_is_lost_by_a_sender() {
    for is_asymmetric in [true, false] {
        explore(3, move || {
            let w = world(is_asymmetric);
            let (_, mut writer) = w.writer(0).unwrap();
            let (_, mut reader) = w.reader(1).unwrap();
            (1..=2).for_each(|i| writer.send_for_model(i).unwrap());
            let t = thread::spawn(move || assert_eq!(reader.recv_for_model(), Ok(1)));
            assert_eq!(w.send_asleep(&mut writer, 3), Ok(()));
            t.join().unwrap();
        });
    }
}

#[test]
fn a_fence_for_each_publication_does_without_the_kernels() {
    // Of a process that the kernel's fences do not reach, in a pipe where those of others do.
    explore(3, || {
        let w = world(true);
        w.writer(0).unwrap();
        let mut writer = Writer::new(&w.core.lanes[0], true).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let t = thread::spawn(move || writer.send_for_model(7).unwrap());
        assert_eq!(w.recv_asleep(&mut reader), Ok(7));
        t.join().unwrap();
    });
}

#[test]
fn no_wake_is_lost_by_who_has_the_other_side_fence() {
    for side in [Side::Reader, Side::Writer] {
        explore(2, move || {
            let w = world(true);
            let (_, mut writer) = w.writer(0).unwrap();
            let (_, mut reader) = w.reader(1).unwrap();
            // Each asks for it.
            if side == Side::Reader {
                let t =
                    thread::spawn(move || (1..=2).for_each(|i| writer.send_for_model(i).unwrap()));
                (1..=2).for_each(|i| assert_eq!(w.recv_asleep_after(OFTEN, &mut reader), Ok(i)));
                t.join().unwrap();
            } else {
                (1..=2).for_each(|i| writer.send_for_model(i).unwrap());
                let t = thread::spawn(move || {
                    (1..=2).for_each(|i| assert_eq!(reader.recv_for_model(), Ok(i)));
                });
                (3..=4)
                    .for_each(|i| assert_eq!(w.send_asleep_after(OFTEN, &mut writer, i), Ok(())));
                t.join().unwrap();
            }
        });
    }
}

#[test]
fn no_wake_is_lost_when_the_other_side_stops_fencing() {
    explore(5, || {
        let w = world(true);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        // It fences for a sleeping reader, and will not do so any more after the next publication.
        writer.near.gate().items_fencing.0.store(FENCED, Relaxed);
        writer.idle = STREAM - 1;
        let t = thread::spawn(move || (1..=2).for_each(|i| writer.send_for_model(i).unwrap()));
        (1..=2).for_each(|i| assert_eq!(w.recv_asleep(&mut reader), Ok(i)));
        t.join().unwrap();
    });
}

#[test]
fn the_end_of_file_comes_after_the_last_message() {
    explore(3, || {
        let w = world(true);
        let (mine, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            writer.send_for_model(1).unwrap();
            other.close(Side::Writer, mine);
        });
        assert_eq!(w.recv_asleep(&mut reader), Ok(1));
        assert_eq!(w.recv_asleep(&mut reader), Err(RecvRefusal::EndOfFile));
        t.join().unwrap();
    });
}

#[test]
fn the_last_message_is_not_overlooked_by_who_finds_the_end_closed() {
    explore(3, || {
        let w = world(true);
        let (mine, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let mut got = 0;
            loop {
                match reader.recv_for_model() {
                    Ok(_) => got += 1,
                    Err(RecvRefusal::EndOfFile) => return got,
                    Err(RecvRefusal::Empty) => thread::yield_now(),
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
        writer.send_for_model(1).unwrap();
        other.close(Side::Writer, mine);
        assert_eq!(t.join().unwrap(), 1);
    });
}

#[test]
fn a_sender_learns_that_nobody_receives_any_more() {
    explore(3, || {
        let w = world(true);
        let (_, mut writer) = w.writer(0).unwrap();
        let (mine, _) = w.reader(1).unwrap();
        (1..=2).for_each(|i| writer.send_for_model(i).unwrap());
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.close(Side::Reader, mine));
        assert_eq!(w.send_asleep(&mut writer, 3), Err(SendRefusal::Broken));
        t.join().unwrap();
    });
}

#[test]
fn the_next_writer_goes_on_where_the_last_one_was() {
    explore(3, || {
        let w = world(true);
        let (mine, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            // Only if it has come to that: `take` does not wait.
            let closed = other.lane().role(Side::Writer).glance().state() == Ok(State::Closed);
            let next = if closed { other.writer(2) } else { None };
            if let Some((_, mut writer)) = next {
                writer.send_for_model(2).unwrap();
            }
        });
        writer.send_for_model(1).unwrap();
        w.close(Side::Writer, mine);
        t.join().unwrap();
        assert_eq!(reader.recv_for_model(), Ok(1));
    });
}

#[test]
fn the_next_reader_goes_on_where_the_last_one_was() {
    explore(3, || {
        let w = world(true);
        let (_, mut writer) = w.writer(0).unwrap();
        let (mine, mut reader) = w.reader(1).unwrap();
        (1..=2).for_each(|i| writer.send_for_model(i).unwrap());
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let closed = other.lane().role(Side::Reader).glance().state() == Ok(State::Closed);
            let next = if closed { other.reader(2) } else { None };
            if let Some((_, mut reader)) = next {
                assert_eq!(reader.recv_for_model(), Ok(2));
            }
        });
        assert_eq!(reader.recv_for_model(), Ok(1));
        w.close(Side::Reader, mine);
        t.join().unwrap();
    });
}

#[test]
fn the_next_writer_reuses_room_after_it_was_read() {
    explore(3, || {
        let w = world(true);
        let (mine, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        (1..=2).for_each(|i| writer.send_for_model(i).unwrap());
        w.close(Side::Writer, mine);
        let t = thread::spawn(move || assert_eq!(reader.recv_for_model(), Ok(1)));
        let (_, mut writer) = w.writer(2).unwrap();
        if writer.send_for_model(3).is_ok() {
            assert_eq!(w.lane().words[0].load(crate::prim::Relaxed), 3);
        }
        t.join().unwrap();
    });
}

#[test]
fn an_end_on_its_way_arrives_with_what_was_done_before() {
    explore(3, || {
        let w = world(true);
        let (mine, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let role = other.lane().role(Side::Writer);
            if role.take_offered(mine.turn(), owner(2)).is_ok() {
                let mut writer = Writer::new(&other.core.lanes[0], false).unwrap();
                writer.send_for_model(2).unwrap();
            }
        });
        writer.send_for_model(1).unwrap();
        assert!(w.lane().role(Side::Writer).offer(mine));
        t.join().unwrap();
        assert_eq!(reader.recv_for_model(), Ok(1));
    });
}

#[test]
fn what_the_dead_sent_comes_before_the_end_of_file() {
    explore(3, || {
        let w = world(true);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let dying = Arc::clone(&w);
        let t = thread::spawn(move || {
            writer.send_for_model(1).unwrap();
            dying.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || {
            sweeper.sweep();
        });
        match reader.recv_for_model() {
            Ok(1) | Err(RecvRefusal::Empty) => {}
            other => panic!("{other:?}"),
        }
        t.join().unwrap();
        s.join().unwrap();
    });
}

#[test]
fn who_sleeps_learns_of_a_death() {
    explore(2, || {
        let w = world(true);
        w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        w.die(0);
        let sweeper = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(sweeper.sweep(), 1));
        assert_eq!(w.recv_asleep(&mut reader), Err(RecvRefusal::EndOfFile));
        t.join().unwrap();
    });
}

#[test]
fn a_slow_sweeper_does_not_close_what_the_next_participant_took() {
    explore(3, || {
        let w = world(true);
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || {
            slow.sweep();
        });
        w.sweep();
        // Somebody new in the slot of the dead, if another sweeper is done with it.
        w.dead.fetch_and(!1, Release);
        let taken = w.participants.occupy_for_model(0, 1);
        let taken = taken.and_then(|_| w.take(Side::Writer, 0));
        s.join().unwrap();
        if taken.is_some() {
            let now = w.lane().role(Side::Writer).look();
            assert_eq!(now.state(), Ok(State::Held));
        }
    });
}

/// A lane for two messages: what its reader waits for, and a send of a number.
pub(crate) fn receiving() -> (
    Arc<dyn crate::object::source::Source>,
    impl FnMut(u64) + Send + 'static,
) {
    let w = World::new(geometry(16, Some(8), true), 2);
    let (_, mut writer) = w.writer(0).unwrap();
    let place = super::end::Place {
        lane: 0,
        side: Side::Reader,
    };
    w.take(Side::Reader, 1).unwrap();
    let source = super::source::EndSource {
        core: Arc::clone(&w.core),
        place,
        me: owner(1),
    };
    let send = move |value| {
        let _ = &w; // who is attached, lives
        writer.send_for_model(value).unwrap();
    };
    (Arc::new(source), send)
}
