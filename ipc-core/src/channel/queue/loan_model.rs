//! Loom models of blocks that are lent: one for each ordering, as in `model` beside it.

use std::sync::Arc;

use loom::thread;

use super::{get::GetRefusal, put::PutRefusal, ring::Ring};
use crate::{
    channel::geometry::Geometry,
    object::participant::{Owner, Participants},
    prim::{AtomicU64, Release},
    slab,
};

/// A queue on the heap with one block to lend, and three participants.
struct World {
    ring: Ring,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

fn world() -> Arc<World> {
    let geometry = Geometry {
        capacity: 2,
        inline_bytes: 8,
        slab: slab::Geometry::NONE,
        notes: 1,
        loans: slab::Geometry {
            block_bytes: 8,
            blocks: 1,
        },
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (ring, participants) = Ring::on_heap(geometry, 3, Arc::clone(&dead));
    Arc::new(World {
        ring,
        participants,
        dead,
    })
}

impl World {
    /// Gets a number, reads it in place and gives its block back.
    fn get(&self, slot: u32) -> Result<u64, GetRefusal> {
        let (block, value) = self.ring.get_lent_for_model(owner(slot))?;
        self.ring.give_back(block).unwrap();
        Ok(value)
    }

    fn lent(&self) -> usize {
        self.ring.loans_used()
    }

    /// The next participant in the slot of one that another sweeper is still at; `None` if it cannot come yet.
    fn next_in_slot_of_the_dead(self: &Arc<Self>) -> (thread::JoinHandle<()>, bool) {
        self.dead.fetch_or(1, Release);
        let slow = Arc::clone(self);
        let s = thread::spawn(move || slow.sweep());
        self.sweep();
        self.dead.fetch_and(!1, Release);
        (s, self.participants.occupy_for_model(0, 1).is_some())
    }

    fn sweep(&self) {
        self.participants.sweep(&self.ring).unwrap();
    }
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

#[test]
fn a_block_is_lent_again_only_after_it_was_read() {
    explore(3, || {
        let w = world();
        w.ring.put_lent_for_model(owner(0), 1).unwrap();
        let consumer = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(consumer.get(1), Ok(1)));
        let put = w.ring.put_lent_for_model(owner(0), 2);
        t.join().unwrap();
        match put {
            Ok(()) => assert_eq!(w.get(1), Ok(2)),
            Err(refusal) => assert_eq!(refusal, PutRefusal::NoBlocks),
        }
        assert_eq!(w.lent(), 0);
    });
}

#[test]
fn a_slow_sweeper_does_not_free_what_the_next_participant_was_lent() {
    explore(3, || {
        let w = world();
        w.ring.lend(owner(0), 8).unwrap();
        let (s, is_next) = w.next_in_slot_of_the_dead();
        let is_held = is_next && w.ring.lend(owner(0), 8).is_ok();
        s.join().unwrap();
        assert!(!is_held || w.lent() == 1);
    });
}

#[test]
fn a_slow_sweeper_does_not_free_what_the_next_participant_keeps() {
    explore(3, || {
        let w = world();
        w.ring.put_lent_for_model(owner(0), 1).unwrap();
        let (s, is_next) = w.next_in_slot_of_the_dead();
        if is_next {
            w.ring.get_lent_for_model(owner(0)).unwrap();
        }
        s.join().unwrap();
        assert_eq!(w.lent(), 1);
    });
}

#[test]
fn the_loan_of_the_dead_comes_back_and_its_message_stays() {
    explore(2, || {
        let w = world();
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            let _ = victim.ring.put_lent_for_model(owner(0), 1);
            victim.dead.fetch_or(1, Release);
        });
        w.sweep();
        let got = w.get(1);
        v.join().unwrap();
        w.sweep();
        let left = w.get(1);
        assert!(got == Ok(1) || left == Ok(1), "{got:?} {left:?}");
        assert_eq!(w.lent(), 0);
    });
}
