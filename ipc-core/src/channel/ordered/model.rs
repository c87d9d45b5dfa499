//! Loom models of the ordered queues: one for each ordering. `mutate` in the tests shows that weakening any of them fails here.
//!
//! As in the queue's models, a thread that yields is not run again while another can, and a dead participant is one that stops at a
//! chosen step, after which the oracle that stands for its lock byte says so. The lock itself has models of its own.

use std::{mem, sync::Arc};

use loom::thread;

use super::{cell::State, get::GetRefusal, order::Discipline, pile::Pile, put::PutRefusal};
use crate::{
    channel::geometry::Geometry,
    object::{
        participant::{Owner, Participants},
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    prim::{AtomicU64, Release},
    slab,
};

/// A pile on the heap, and three participants.
struct World {
    pile: Pile,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

fn world(capacity: usize, blocks: usize) -> Arc<World> {
    let geometry = Geometry {
        capacity,
        inline_bytes: 8,
        slab: slab::Geometry {
            block_bytes: 16,
            blocks,
        },
        notes: 1,
        loans: slab::Geometry::NONE,
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (pile, participants) =
        Pile::on_heap(Discipline::LowestFirst, geometry, 3, Arc::clone(&dead));
    Arc::new(World {
        pile,
        participants,
        dead,
    })
}

impl World {
    fn put(&self, slot: u32, value: u64) -> Result<(), PutRefusal> {
        self.pile
            .put_for_model(owner(slot), 0, &value.to_ne_bytes())
    }

    fn put_large(&self, slot: u32, value: u64) -> Result<(), PutRefusal> {
        let bytes = [value.to_ne_bytes(); 2].concat();
        self.pile.put_for_model(owner(slot), 0, &bytes)
    }

    fn get(&self, slot: u32) -> Result<u64, GetRefusal> {
        let (_, out) = self.pile.get_for_model(owner(slot))?;
        assert!(out.chunks(8).all(|c| c == &out[..8]), "torn: {out:?}");
        Ok(u64::from_ne_bytes(out[..8].try_into().unwrap()))
    }

    /// Gets, yielding while there is nothing.
    fn get_patiently(&self, slot: u32) -> u64 {
        loop {
            match self.get(slot) {
                Ok(value) => return value,
                Err(GetRefusal::Empty | GetRefusal::Busy) => thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn put_patiently(&self, slot: u32, value: u64) {
        while let Err(refusal) = self.put(slot, value) {
            assert!(matches!(refusal, PutRefusal::Full | PutRefusal::Busy));
            thread::yield_now();
        }
    }

    fn get_asleep(&self, slot: u32) -> Result<u64, GetRefusal> {
        asleep(&self.pile.gate().items, || match self.get(slot) {
            Err(GetRefusal::Empty) => Attempt::Blocked(&self.pile.gate().items),
            Err(GetRefusal::Busy) => Attempt::Unsettled(&self.pile.head().main),
            met => Attempt::Done(met),
        })
    }

    fn put_asleep(&self, slot: u32, value: u64) {
        let put = asleep(&self.pile.gate().space, || match self.put(slot, value) {
            Err(PutRefusal::Full) => Attempt::Blocked(&self.pile.gate().space),
            Err(PutRefusal::Busy) => Attempt::Unsettled(&self.pile.head().main),
            met => Attempt::Done(met),
        });
        put.unwrap();
    }

    /// From here on `slot` is dead.
    fn die(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Release);
    }

    /// Somebody new in the slot of the dead. `None` if another sweeper is not done with it.
    fn attach_again(&self, slot: u32) -> Option<Owner> {
        self.dead.fetch_and(!(1 << slot), Release);
        self.participants.occupy_for_model(slot, 1)
    }

    /// Sweeps until somebody was found dead.
    fn sweep_a_death(&self) {
        while self.participants.sweep(&self.pile).unwrap() == 0 {
            thread::yield_now();
        }
    }

    fn sweep(&self) {
        self.participants.sweep(&self.pile).unwrap();
    }

    fn state(&self, index: u64) -> Option<State> {
        self.pile.ctl_for_model(index).state()
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

/// Explores with at most so many preemptions, which bounds the time.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

#[test]
fn a_message_is_seen_whole() {
    explore(3, || {
        let w = world(1, 0);
        let producer = Arc::clone(&w);
        let t = thread::spawn(move || producer.put(0, 1)); // or busy
        let found = w.get(1);
        if t.join().unwrap().is_ok() && found.is_err() {
            assert_eq!(w.get(1), Ok(1));
        }
    });
}

#[test]
fn producers_share_the_cells_and_the_order() {
    explore(2, || {
        let w = world(2, 0);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.put_patiently(0, 1));
        w.put_patiently(1, 2);
        t.join().unwrap();
        let mut got = [w.get(2).unwrap(), w.get(2).unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert_eq!(w.get(2), Err(GetRefusal::Empty));
    });
}

#[test]
fn consumers_share_the_messages() {
    explore(2, || {
        let w = world(2, 0);
        w.put(0, 1).unwrap();
        w.put(0, 2).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.get_patiently(1));
        let mine = w.get_patiently(2);
        let mut got = [mine, t.join().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn no_wake_is_lost_by_a_getter() {
    explore(3, || {
        let w = world(1, 0);
        let producer = Arc::clone(&w);
        let t = thread::spawn(move || producer.put_patiently(0, 1));
        assert_eq!(w.get_asleep(1), Ok(1));
        t.join().unwrap();
    });
}

#[test]
fn no_wake_is_lost_by_a_putter() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(consumer.get_patiently(1), 1));
        w.put_asleep(0, 2);
        t.join().unwrap();
        assert_eq!(w.get(1), Ok(2));
    });
}

#[test]
fn no_wake_is_lost_by_a_putter_that_waits_for_blocks() {
    explore(3, || {
        let w = world(2, 1);
        w.put_large(0, 1).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(consumer.get_patiently(1), 1));
        let put = asleep(&w.pile.gate().blocks, || match w.put_large(0, 2) {
            Err(PutRefusal::NoBlocks) => Attempt::Blocked(&w.pile.gate().blocks),
            Err(PutRefusal::Busy) => Attempt::Unsettled(&w.pile.head().main),
            met => Attempt::Done(met),
        });
        put.unwrap();
        t.join().unwrap();
    });
}

#[test]
fn nothing_is_put_after_somebody_was_told_that_the_queue_is_closed() {
    explore(2, || {
        let w = world(1, 0);
        let producer = Arc::clone(&w);
        let p = thread::spawn(move || producer.put(0, 1));
        let closer = Arc::clone(&w);
        let c = thread::spawn(move || closer.pile.close());
        let seen = w.get_asleep(1);
        let put = p.join().unwrap();
        c.join().unwrap();
        match put {
            Ok(()) => {
                assert_eq!(seen, Ok(1));
                assert_eq!(w.get(1), Err(GetRefusal::Closed));
            }
            Err(PutRefusal::Closed | PutRefusal::Busy) => {
                assert_eq!(seen, Err(GetRefusal::Closed));
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

#[test]
fn the_last_reader_of_a_closed_queue_wakes_who_waits_for_its_end() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        w.pile.close();
        let reader = Arc::clone(&w);
        let t = thread::spawn(move || reader.get(0));
        let mine = w.get_asleep(1);
        match t.join().unwrap() {
            Ok(1) => assert_eq!(mine, Err(GetRefusal::Closed)),
            _ => assert_eq!(mine, Ok(1)),
        }
    });
}

#[test]
fn a_cell_is_written_again_only_after_it_was_read() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(consumer.get(1), Ok(1)));
        let _ = w.put(0, 2); // or full, or busy
        t.join().unwrap();
    });
}

#[test]
fn room_is_not_lost_to_who_has_the_right_of_way_too_early() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let taken = w.pile.read_for_model(owner(1)).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || consumer.pile.finish(&taken).unwrap());
        let early = w.pile.claim(owner(0));
        t.join().unwrap();
        if early.is_err() {
            assert_eq!(w.put(0, 2), Ok(()));
        }
    });
}

#[test]
fn a_cell_whose_bit_was_cleared_too_early_is_written_only_after_it_was_read() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        w.pile.room.give(0); // as a sweep does that came late
        let taken = w.pile.take(owner(1), false).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || {
            consumer
                .pile
                .read(owner(1), &taken, &mut Vec::new())
                .unwrap();
            consumer.pile.finish(&taken).unwrap();
        });
        let _ = w.put(0, 2); // or full
        t.join().unwrap();
    });
}

#[test]
fn a_cell_whose_bit_a_sweep_clears_is_written_only_after_it_was_read() {
    explore(2, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let taken = w.pile.take(owner(1), false).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || {
            consumer
                .pile
                .read(owner(1), &taken, &mut Vec::new())
                .unwrap();
            consumer.pile.finish(&taken).unwrap();
        });
        w.die(2);
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        let _ = w.put(0, 2); // or full, or busy
        t.join().unwrap();
        s.join().unwrap();
    });
}

#[test]
fn a_dead_producers_cell_is_written_only_after_its_death() {
    explore(2, || {
        let w = world(1, 0);
        w.pile.room.take(); // both may try the cell, as behind a sweep that came late
        w.pile.room.give(0);
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            let _ = victim.pile.fill_for_model(owner(0), 1); // unless it is late
            victim.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep_a_death());
        w.put_patiently(1, 9);
        s.join().unwrap();
        v.join().unwrap();
        assert_eq!(w.get(2), Ok(9));
    });
}

#[test]
fn what_the_dead_wrote_comes_before_the_next_write_also_where_the_bit_was_clear() {
    explore(3, || {
        let w = world(1, 0);
        let _filled = w.pile.fill_for_model(owner(0), 1).unwrap();
        w.pile.room.give(0); // as a sweep does that came late
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            victim.pile.witnesses.write(0);
            victim.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        let _ = w.put(1, 9); // or full
        v.join().unwrap();
        s.join().unwrap();
    });
}

#[test]
fn a_dead_consumers_message_is_read_again_before_its_cell_is_written() {
    explore(2, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let taken = w.pile.take(owner(0), false).unwrap();
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            victim.pile.read(owner(0), &taken, &mut Vec::new()).unwrap();
            victim.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        if w.get(1) == Ok(1) {
            w.put_patiently(2, 2);
        }
        v.join().unwrap();
        s.join().unwrap();
    });
}

#[test]
fn the_message_of_a_dead_consumer_is_delivered_once() {
    explore(2, || {
        let w = world(2, 0);
        w.put(0, 1).unwrap();
        w.pile.take(owner(0), false).unwrap();
        w.die(0);
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        w.sweep();
        assert_eq!(w.get_patiently(1), 1);
        s.join().unwrap();
        assert_eq!(w.get(1), Err(GetRefusal::Empty));
    });
}

#[test]
fn who_died_in_the_lock_leaves_an_order_that_is_made_anew() {
    explore(2, || {
        let w = world(2, 0);
        w.put(0, 1).unwrap();
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            if let Ok(Some(lock)) = victim.pile.try_lock(owner(0), false) {
                victim.pile.order.remake(Vec::new()); // half a change
                mem::forget(lock);
            }
            victim.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep_a_death());
        assert_eq!(w.get_patiently(1), 1);
        v.join().unwrap();
        s.join().unwrap();
        assert_eq!(w.get(1), Err(GetRefusal::Empty));
    });
}

#[test]
fn a_message_that_was_put_back_is_not_forgotten() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let taken = w.pile.take(owner(0), false).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.pile.put_back(&taken).unwrap());
        let found = w.get(1);
        t.join().unwrap();
        if found.is_err() {
            assert_eq!(w.get(1), Ok(1));
        }
    });
}

#[test]
fn a_message_that_was_put_back_wakes_who_waits() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let taken = w.pile.take(owner(0), false).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.pile.put_back(&taken).unwrap());
        assert_eq!(w.get_asleep(1), Ok(1));
        t.join().unwrap();
    });
}

#[test]
fn a_message_that_was_put_back_is_read_before_its_cell_is_written_whoever_finds_it() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let taken = w.pile.take(owner(0), false).unwrap();
        w.pile.count_orphans(); // so that the order is made anew for another reason
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            other.pile.read(owner(0), &taken, &mut Vec::new()).unwrap();
            other.pile.put_back(&taken).unwrap();
        });
        let found = w.get(1);
        if found == Ok(1) {
            w.put(1, 2).unwrap();
        }
        t.join().unwrap();
        if found.is_err() {
            assert_eq!(w.get(1), Ok(1), "it is not forgotten");
        }
    });
}

#[test]
fn a_look_without_a_claim_sees_one_message_whole() {
    explore(3, || {
        let w = world(1, 0);
        w.put(0, 1).unwrap();
        let lock = w.pile.try_lock(owner(0), false).unwrap().unwrap();
        let next = w.pile.next_in_order().unwrap().unwrap();
        lock.release();
        // Who tries once is the spawned one, as in the models of the lock.
        let looker = Arc::clone(&w);
        let t = thread::spawn(move || {
            let mut out = Vec::new();
            let is_copied = looker.pile.copy_if_there(next, &mut out);
            is_copied.unwrap().then_some(out)
        });
        assert_eq!(w.get(1), Ok(1));
        w.put(1, 2).unwrap();
        if let Some(out) = t.join().unwrap() {
            // What was confirmed as the first message must not be the second one's bytes.
            assert_eq!(out, 1u64.to_ne_bytes());
        }
    });
}

#[test]
fn a_slow_sweeper_does_not_rob_the_next_producer_in_the_slot() {
    explore(2, || {
        let w = world(2, 0);
        let _torn = w.pile.fill_for_model(owner(0), 1).unwrap();
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || slow.sweep());
        w.sweep();
        if let Some(newcomer) = w.attach_again(0) {
            let (index, mine) = w.pile.claim(newcomer).unwrap();
            s.join().unwrap();
            assert_eq!(w.pile.ctl_for_model(index as u64), mine);
        } else {
            s.join().unwrap();
        }
    });
}

#[test]
fn a_slow_sweeper_does_not_rob_the_next_consumer_in_the_slot() {
    explore(2, || {
        let w = world(1, 0);
        w.put(1, 1).unwrap();
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || slow.sweep());
        w.sweep();
        if let Some(newcomer) = w.attach_again(0) {
            let taken = w.pile.take(newcomer, false);
            s.join().unwrap();
            assert!(taken.is_err() || w.state(0) == Some(State::Reading));
        } else {
            s.join().unwrap();
        }
    });
}

#[test]
fn a_block_is_written_again_only_after_it_was_read() {
    explore(3, || {
        let w = world(2, 1);
        w.put_large(0, 1).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(consumer.get(1), Ok(1)));
        let _ = w.put_large(0, 2); // or no blocks, or busy
        t.join().unwrap();
    });
}

#[test]
fn blocks_of_the_dead_come_back_and_those_of_a_message_stay() {
    explore(2, || {
        let w = world(2, 2);
        w.put_large(0, 1).unwrap(); // in the queue: stays
        let _lost = w.pile.fill(owner(0), 0, &[0; 16]).unwrap(); // never put
        w.die(0);
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        assert_eq!(w.get_patiently(1), 1);
        s.join().unwrap();
        w.sweep();
        assert_eq!(w.pile.memory_used(), 0);
    });
}
