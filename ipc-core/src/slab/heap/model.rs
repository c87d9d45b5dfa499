//! Loom models of the heap.
//!
//! As elsewhere, a thread that yields is not run again while another can, and a dead participant is one that stops at a chosen step,
//! after which the oracle that stands for its lock byte says so.

use std::sync::Arc;

use loom::thread;

use super::{on_heap::Fixture, *};
use crate::{
    object::participant::Owner,
    prim::{self, Acquire, Release},
};

/// A heap of so many chunks with one block of 496 bytes, two of 240 or four of 112 each.
fn world(chunks: usize) -> (Arc<Fixture>, Arc<AtomicU64>) {
    world_of(chunks, chunks)
}

/// The same, of which only the first chunks are allocated.
fn world_of(chunks: usize, initial: usize) -> (Arc<Fixture>, Arc<AtomicU64>) {
    let dead = Arc::new(AtomicU64::new(0));
    let geometry = Geometry {
        chunk_bytes: 512,
        chunks,
        initial,
    };
    let fixture = Fixture::new(geometry, 2, Arc::clone(&dead));
    (Arc::new(fixture), dead)
}

fn owner(slot: u32) -> Owner {
    Fixture::owner(slot)
}

impl Fixture {
    fn store(&self, slot: u32, bytes: usize, value: u8) -> Result<Item, AllocError> {
        let content = vec![value; bytes];
        self.heap.store(owner(slot), 0, &[&content])
    }

    /// Stores, yielding while somebody else is at work.
    fn store_patiently(&self, slot: u32, bytes: usize, value: u8) -> Item {
        loop {
            match self.store(slot, bytes, value) {
                Ok(item) => return item,
                Err(AllocError::Full { .. } | AllocError::Busy) => thread::yield_now(),
                Err(e) => panic!("{e:?}"),
            }
        }
    }

    /// Has the container refer to the item.
    fn refer(&self, item: &Item) {
        self.slot.store(item.name().bits(), Release);
        self.heap.publish(item);
    }

    /// Takes out what the container refers to.
    fn take_out(&self, slot: u32) {
        let name = Ref::from_bits(self.slot.load(Relaxed)).unwrap();
        let item = self.heap.claim(owner(slot), name).unwrap();
        self.slot.store(0, Relaxed);
        self.heap.discard(owner(slot), item).unwrap();
    }

    /// What the container refers to, if it was there all the time.
    fn read(&self) -> Option<Vec<u8>> {
        let view = self.heap.view(Ref::from_bits(self.slot.load(Acquire))?)?;
        let mut out = Vec::new();
        view.copy_out(0, 16, &mut out);
        view.is_still().then_some(out)
    }
}

/// Explores with at most so many preemptions, which bounds the time.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    prim::model::fences_are_steps();
    builder.check(model);
}

#[test]
fn a_block_is_written_anew_after_its_last_owner_was_done() {
    explore(2, || {
        let (w, _) = world(1);
        let item = w.store(0, 400, 1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let item = other.store_patiently(1, 400, 2);
            other.heap.discard(owner(1), item).unwrap();
        });
        w.heap.discard(owner(0), item).unwrap();
        t.join().unwrap();
    });
}

#[test]
fn an_item_is_read_whole_or_known_to_be_gone() {
    explore(3, || {
        let (w, _) = world(1);
        let item = w.store(0, 400, 1).unwrap();
        w.refer(&item);
        let reader = Arc::clone(&w);
        let t = thread::spawn(move || {
            if let Some(bytes) = reader.read() {
                assert!(bytes.iter().all(|b| *b == bytes[0] && *b > 0), "{bytes:?}");
            }
        });
        w.take_out(0);
        let item = w.store(0, 400, 2).unwrap();
        w.refer(&item);
        t.join().unwrap();
    });
}

#[test]
fn a_chunk_changes_its_class_after_its_blocks_were_left() {
    explore(2, || {
        let (w, _) = world(1);
        let small = w.store(0, 90, 1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let item = other.store_patiently(1, 400, 2);
            other.refer(&item);
            assert_eq!(other.read(), Some(vec![2; 16]));
        });
        w.heap.discard(owner(0), small).unwrap();
        w.heap.give_hints_back();
        t.join().unwrap();
    });
}

#[test]
fn a_block_that_another_process_frees_is_found() {
    explore(2, || {
        let (w, _) = world(1);
        let content = [2; 200];
        let store = || w.others.store(owner(1), 0, &[&content]).unwrap();
        let (goes, _stays) = (store(), store());
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.others.discard(owner(1), goes).unwrap());
        let _found = w.store_patiently(0, 200, 3);
        t.join().unwrap();
    });
}

/// Two sweep; then somebody new in the slot of the dead owns a block, which the slower one must leave alone.
#[test]
fn what_a_later_participant_owns_is_not_taken_for_the_dead_ones() {
    explore(2, || {
        let (w, dead) = world(1);
        let lost = w.store(0, 400, 1).unwrap();
        assert!(Ref::from_bits(lost.name().bits()).is_some());
        dead.store(1, Release);
        let (slow, oracle) = (Arc::clone(&w), Arc::clone(&dead));
        let t = thread::spawn(move || {
            slow.everybody.sweep(&*slow).unwrap();
        });
        w.everybody.sweep(&*w).unwrap();
        oracle.store(0, Release);
        if w.everybody.occupy_for_model(0, 1).is_some() {
            let mine = w.store_patiently(0, 400, 2);
            t.join().unwrap();
            let view = w.heap.view(mine.name());
            assert!(view.is_some_and(|view| view.is_still()));
            w.heap.discard(owner(0), mine).unwrap();
        } else {
            t.join().unwrap();
        }
    });
}

#[test]
fn what_the_dead_had_referred_to_stays_and_is_used_again_after_it_was_taken_out() {
    explore(2, || {
        let (w, dead) = world(1);
        let lost = w.store(0, 400, 1).unwrap();
        let victim = Arc::clone(&w);
        let t = thread::spawn(move || {
            victim.slot.store(lost.name().bits(), Release);
            dead.store(1, Release);
        });
        while w.everybody.sweep(&*w).unwrap() == 0 {
            thread::yield_now();
        }
        assert_eq!(w.read(), Some(vec![1; 16]));
        w.take_out(1);
        let item = w.store(1, 400, 3).unwrap();
        w.heap.discard(owner(1), item).unwrap();
        t.join().unwrap();
    });
}

#[test]
fn memory_is_used_again_after_it_was_given_back() {
    explore(2, || {
        let (w, _) = world_of(2, 0);
        let item = w.store(0, 400, 1).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let item = other.store_patiently(1, 90, 2);
            other.heap.discard(owner(1), item).unwrap();
        });
        w.heap.discard(owner(0), item).unwrap();
        w.heap.give_all_back(owner(0)).unwrap();
        t.join().unwrap();
    });
}

#[test]
fn a_chunk_that_the_dead_was_dividing_is_divided_anew_after_it() {
    explore(2, || {
        let (w, dead) = world(1);
        let (victim, other) = (Arc::clone(&w), Arc::clone(&w));
        let v = thread::spawn(move || {
            let seen = victim.heap.ctl(0).unwrap();
            if seen.state() == Some(words::ChunkState::Free) {
                let _ = victim.heap.begin_format(owner(0), 0, seen, 1);
            }
            dead.store(1, Release);
        });
        let t = thread::spawn(move || {
            let item = other.store_patiently(1, 400, 2);
            other.heap.discard(owner(1), item).unwrap();
        });
        while w.everybody.sweep(&*w).unwrap() == 0 {
            thread::yield_now();
        }
        v.join().unwrap();
        t.join().unwrap();
    });
}

/// Two sweep, and the dead left nothing; then somebody new in the slot does `what`, which the slower sweeper must leave alone.
fn a_slow_sweeper_meets(
    (w, dead): (Arc<Fixture>, Arc<AtomicU64>),
    what: impl FnOnce(&Fixture, thread::JoinHandle<()>),
) {
    dead.store(1, Release);
    let (slow, oracle) = (Arc::clone(&w), Arc::clone(&dead));
    let t = thread::spawn(move || {
        slow.everybody.sweep(&*slow).unwrap();
    });
    w.everybody.sweep(&*w).unwrap();
    oracle.store(0, Release);
    if w.everybody.occupy_for_model(0, 1).is_some() {
        what(&w, t);
    } else {
        t.join().unwrap();
    }
}

#[test]
fn who_lets_it_grow_later_is_not_taken_for_the_dead() {
    explore(2, || {
        a_slow_sweeper_meets(world(1), |w, slow| {
            let growing = w.heap.begin_growing(owner(0)).unwrap();
            slow.join().unwrap();
            assert!(words::Growth(w.heap.growth.0.load(Relaxed)).is_held());
            drop(growing);
        });
    });
}

#[test]
fn what_a_later_participant_takes_out_is_not_taken_for_the_dead_ones() {
    explore(2, || {
        let (w, dead) = world(1);
        let item = w.store(1, 400, 1).unwrap();
        w.refer(&item);
        a_slow_sweeper_meets((w, dead), |w, slow| {
            let claimed = w.heap.claim(owner(0), item.name()).unwrap();
            slow.join().unwrap();
            let view = w.heap.view(item.name()).unwrap();
            assert!(view.head_is(words::State::Claimed));
            w.heap.discard(owner(0), claimed).unwrap();
        });
    });
}

#[test]
fn what_a_later_participant_divides_or_takes_apart_is_not_taken_for_the_dead_ones() {
    for is_divided in [false, true] {
        explore(2, move || {
            let (w, dead) = world(1);
            let first = is_divided.then(|| w.store(1, 400, 1).unwrap());
            if let Some(first) = first {
                w.heap.discard(owner(1), first).unwrap();
            }
            a_slow_sweeper_meets((w, dead), |w, slow| {
                let item = w.store(0, 90, 3).unwrap();
                slow.join().unwrap();
                let chunk = w.heap.ctl(0).unwrap();
                assert_eq!(chunk.state(), Some(words::ChunkState::Used));
                w.heap.discard(owner(0), item).unwrap();
            });
        });
    }
}
