//! Loom models of blocks that are lent: one for each ordering, as in `model` beside it.

use std::sync::Arc;

use loom::thread;

use super::{
    super::{
        on_heap::{World, geometry, owner},
        read::{Found, ReadRefusal},
    },
    Memory, PublishRefusal,
};
use crate::{
    object::{
        seat::Notes,
        wait::{Deadline, Patience, WaitStrategy, Waiting},
    },
    prim::Relaxed,
    slab::{self, Block},
};

/// Two cells, and one block of two words to lend.
fn world(is_lossless: bool) -> Arc<World> {
    let mut of = geometry(2, 8, 0, is_lossless);
    of.ring.loans = slab::Geometry {
        block_bytes: 16,
        blocks: 1,
    };
    World::new(of)
}

impl World {
    fn lend(&self, slot: u32, value: u64) -> Result<Block, PublishRefusal> {
        let block = self.ring.lend(owner(slot), 16)?;
        let words = self.ring.loans.as_ref().unwrap().words(block);
        words.iter().for_each(|word| word.store(value, Relaxed));
        Ok(block)
    }

    fn publish_in_place(&self, slot: u32, value: u64) {
        let block = self.lend(slot, value).unwrap();
        let published = self.ring.publish_lent(owner(slot), block, 16);
        published.unwrap();
    }
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

#[test]
fn a_block_is_lent_again_only_after_it_was_read_in_place() {
    explore(3, || {
        let w = world(true);
        let mut reader = w.join(1);
        w.publish_in_place(0, 1);
        let t = thread::spawn(move || {
            let Ok(Found::InPlace { block, .. }) = reader.look_at_next() else {
                panic!("it is there, and in place");
            };
            let value = reader.words_of(block)[1].load(Relaxed);
            assert_eq!(value, 1);
            reader.pass(block);
            reader
        });
        while let Err(refusal) = w.lend(0, 2) {
            assert_eq!(refusal, PublishRefusal::NoBlocks);
            thread::yield_now();
        }
        drop(t.join().unwrap());
    });
}

#[test]
fn a_copy_of_a_block_that_was_lent_again_is_thrown_away() {
    explore(2, || {
        let w = world(false);
        let mut reader = w.join(1);
        w.publish_in_place(0, 1);
        // Two: who frees a block fences, and so would not need the fence of who writes to it next.
        let (clearer, publisher) = (Arc::clone(&w), Arc::clone(&w));
        let c = thread::spawn(move || {
            let _ = clearer.ring.clear_oldest(owner(2), Memory::Loans);
        });
        let t = thread::spawn(move || {
            let loans = publisher.ring.loans.as_ref().unwrap();
            let lent = loans.lend(owner(0));
            let words = lent.iter().flat_map(|&block| loans.words(block));
            words.for_each(|word| word.store(2, Relaxed));
        });
        match reader.read_for_model() {
            Ok(value) => assert_eq!(value, 1),
            Err(refusal) => assert_eq!(refusal, ReadRefusal::Lagged(1)),
        }
        t.join().unwrap();
        c.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_block_is_woken_by_the_publish_of_its_message() {
    explore(3, || {
        let w = world(false);
        let block = w.lend(0, 1).unwrap();
        let waiter = Arc::clone(&w);
        let t = thread::spawn(move || {
            let ring = &waiter.ring;
            let patience = Patience::new();
            let waiting = Waiting {
                word: &ring.gate().blocks,
                strategy: WaitStrategy::Sleep,
                patience: &patience,
                deadline: Deadline::NEVER,
                notes: Notes::Nowhere,
            };
            let lend = || ring.attempt_to_publish(|| ring.lend(owner(1), 16));
            waiting.until(lend, || true, || None).unwrap();
        });
        w.ring.publish_lent(owner(0), block, 16).unwrap();
        t.join().unwrap();
        assert_eq!(w.ring.loans_used(), 1);
    });
}
