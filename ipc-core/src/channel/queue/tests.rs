//! The ring on the heap: the algorithm alone, one thread, deaths decided by the test.

use std::{collections::VecDeque, sync::Arc};

use proptest::prelude::*;

use super::{
    cell::{Ctl, State},
    get::GetRefusal,
    put::PutRefusal,
    ring::Ring,
};
use crate::{
    channel::geometry::Geometry,
    error::Damage,
    object::participant::{Owner, Participants},
    prim::{AtomicU64, Relaxed},
    slab,
};

struct World {
    ring: Ring,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

fn world(capacity: usize, blocks: usize) -> World {
    let slab = slab::Geometry {
        block_bytes: 512,
        blocks,
    };
    let geometry = Geometry {
        capacity,
        inline_bytes: 48,
        slab,
        notes: 1,
        loans: slab::Geometry::NONE,
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (ring, participants) = Ring::on_heap(geometry, 4, Arc::clone(&dead));
    World {
        ring,
        participants,
        dead,
    }
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

impl World {
    fn put(&self, bytes: &[u8]) -> Result<(), PutRefusal> {
        self.ring.put_for_model(owner(0), bytes)
    }

    fn get(&self) -> Result<Vec<u8>, GetRefusal> {
        self.ring.get_for_model(owner(1))
    }

    fn kill(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Relaxed);
        assert_eq!(self.participants.sweep(&self.ring).unwrap(), 1);
        self.dead.fetch_and(!(1 << slot), Relaxed);
        self.participants.occupy_for_model(slot, 1).unwrap();
    }
}

#[test]
fn any_capacity_wraps_and_keeps_order() {
    for capacity in [1, 2, 3, 5, 8, 13] {
        let w = world(capacity, 0);
        for lap in 0..5u8 {
            for i in 0..capacity as u8 {
                w.put(&[lap, i]).unwrap();
            }
            assert!(w.ring.is_full().unwrap());
            assert_eq!(w.put(b"more"), Err(PutRefusal::Full));
            assert_eq!(w.ring.len(), capacity);
            for i in 0..capacity as u8 {
                assert_eq!(w.get().unwrap(), [lap, i]);
            }
            assert_eq!(w.get(), Err(GetRefusal::Empty));
            assert!(w.ring.is_empty());
        }
        assert_eq!(w.ring.claimed(), 5 * capacity as u64);
    }
}

#[test]
fn messages_of_every_length_come_back() {
    let w = world(2, 8);
    for length in (0..=600).chain([1024, 4095, 4096]) {
        let message: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        w.put(&message).unwrap();
        assert_eq!(w.get().unwrap(), message);
    }
    assert_eq!(w.put(&[0; 4097]), Err(PutRefusal::TooLarge));
    assert_eq!(w.ring.memory_used(), 0);
}

#[test]
fn memory_bounds_large_messages_and_comes_back() {
    let w = world(8, 4);
    w.put(&[1; 1000]).unwrap();
    w.put(&[2; 1000]).unwrap();
    assert_eq!(w.put(&[3; 513]), Err(PutRefusal::NoBlocks));
    w.put(b"short ones need no blocks").unwrap();
    assert_eq!(w.get().unwrap(), [1; 1000]);
    w.put(&[3; 513]).unwrap();
    assert_eq!(w.ring.len(), 3);
}

#[test]
fn a_dead_producers_cell_is_skipped_and_used_again() {
    let w = world(2, 0);
    w.ring.claim_for_model(owner(2)).unwrap();
    w.put(b"behind").unwrap();
    assert!(w.ring.is_full().unwrap());
    w.kill(2);
    assert_eq!(w.get().unwrap(), b"behind");
    w.put(b"one").unwrap();
    w.put(b"two").unwrap();
    assert_eq!(w.put(b"three"), Err(PutRefusal::Full));
}

#[test]
fn a_dead_producers_only_cell_is_free_without_a_consumer() {
    let w = world(1, 0);
    w.ring.claim_for_model(owner(2)).unwrap();
    assert_eq!(w.put(b"x"), Err(PutRefusal::Full));
    w.kill(2);
    assert!(!w.ring.is_full().unwrap());
    w.put(b"x").unwrap();
}

#[test]
fn a_stopped_producer_holds_nobody_up() {
    let w = world(4, 0);
    let slow = w.ring.claim_for_model(owner(2)).unwrap();
    for i in 0..3u8 {
        w.put(&[i]).unwrap();
    }
    for i in 0..3u8 {
        assert_eq!(w.get().unwrap(), [i]);
    }
    assert_eq!(w.get(), Err(GetRefusal::BeingPut), "it may come yet");
    w.ring.commit_for_model(slow, 7);
    assert_eq!(w.get().unwrap(), 7u64.to_ne_bytes());
    for i in 0..4u8 {
        w.put(&[i]).unwrap();
    }
    assert_eq!(w.ring.len(), 4);
}

#[test]
fn a_dead_consumers_message_is_delivered_again_however_often_it_takes() {
    let w = world(2, 8);
    w.put(&[9; 2000]).unwrap();
    w.put(b"next").unwrap();
    for _ in 0..20 {
        w.ring.read_for_model(owner(2)).unwrap();
        w.kill(2);
    }
    assert_eq!(w.ring.orphans(), 1);
    assert_eq!(w.get().unwrap(), [9; 2000]);
    assert_eq!(w.get().unwrap(), b"next");
    assert_eq!(w.get(), Err(GetRefusal::Empty));
    assert_eq!(w.ring.memory_used(), 0);
}

#[test]
fn blocks_that_a_dead_producer_never_published_come_back() {
    let w = world(2, 8);
    w.put(&[1; 600]).unwrap();
    assert!(w.ring.store_for_model(owner(2)));
    assert_eq!(w.ring.memory_used(), 3 * 512);
    w.kill(2);
    assert_eq!(w.ring.memory_used(), 2 * 512);
    assert_eq!(w.get().unwrap(), [1; 600]);
}

#[test]
fn a_cell_goes_through_its_states() {
    let w = world(1, 0);
    let seen = || {
        let seen = w.ring.first_seen_for_model();
        (seen.ctl, seen.state)
    };
    let writing = Ctl::writing(0, owner(2));
    assert_eq!(seen(), (Ctl::free(0), State::Free));
    let claim = w.ring.claim_for_model(owner(2)).unwrap();
    assert_eq!(seen(), (writing, State::Writing));
    w.ring.commit_for_model(claim, 1);
    assert_eq!(seen(), (writing, State::Full));
    w.ring.read_for_model(owner(1)).unwrap();
    assert_eq!(seen(), (writing.reading(owner(1)), State::Reading));
    w.kill(1);
    assert_eq!(seen().1, State::Orphan);
    w.get().unwrap();
    assert_eq!(seen(), (Ctl::free(1), State::Free));
}

/// A message whose own code panics when it is decoded.
#[derive(Debug, serde::Serialize)]
struct Mine(u32);

impl<'de> serde::Deserialize<'de> for Mine {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        assert!(
            !ARMED.swap(false, std::sync::atomic::Ordering::Relaxed),
            "as the test wants it"
        );
        Ok(Self(number))
    }
}

static ARMED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[test]
fn a_panic_of_the_messages_own_code_leaves_the_message() {
    let dir = std::env::temp_dir().join(format!("ipc-queue-{}", crate::os::file::unique()));
    let namespace = crate::Namespace::at(&dir).unwrap();
    let queue = crate::Queue::<Mine>::options(2)
        .namespace(&namespace)
        .create("mine")
        .unwrap();
    for get in [
        |q: &crate::Queue<Mine>| q.get().unwrap().0,
        |q: &crate::Queue<Mine>| q.get_many(2).unwrap()[0].0,
    ] {
        queue.put(Mine(7)).unwrap();
        ARMED.store(true, std::sync::atomic::Ordering::Relaxed);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| get(&queue)));
        assert!(panicked.is_err());
        assert_eq!(get(&queue), 7);
        assert!(queue.is_empty());
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn closing_drains_and_refuses() {
    let w = world(4, 0);
    w.put(b"last").unwrap();
    w.ring.close();
    assert_eq!(w.put(b"late"), Err(PutRefusal::Closed));
    assert_eq!(w.get().unwrap(), b"last");
    assert_eq!(w.get(), Err(GetRefusal::Closed));
}

#[test]
fn a_closed_queue_is_not_drained_while_somebody_reads() {
    let w = world(4, 0);
    w.put(b"last").unwrap();
    w.ring.close();
    w.ring.take_for_model(owner(2)).unwrap();
    assert_eq!(w.get(), Err(GetRefusal::BeingPut), "the reader may die");
    w.kill(2);
    assert_eq!(w.get().unwrap(), b"last");
    assert_eq!(w.get(), Err(GetRefusal::Closed));
}

#[test]
fn a_look_leaves_the_message() {
    let w = world(4, 8);
    let mut out = Vec::new();
    assert_eq!(w.ring.peek(&mut out), Ok(false));
    w.put(&[5; 700]).unwrap();
    assert_eq!(w.ring.peek(&mut out), Ok(true));
    assert_eq!(out, [5; 700]);
    assert_eq!(w.get().unwrap(), [5; 700]);
}

#[test]
fn what_a_peer_made_up_is_reported_not_believed() {
    let lie = |ctl: u64| {
        let w = world(4, 4);
        w.put(b"truth").unwrap();
        w.ring.cell(0).unwrap().ctl().store(ctl, Relaxed);
        w
    };
    let unknown = lie(Ctl::free(0).0 | 7);
    assert!(matches!(unknown.get(), Err(GetRefusal::Damage(Damage(_)))));
    let elsewhere = lie(Ctl::free(1 << 40).0);
    assert!(matches!(elsewhere.get(), Err(GetRefusal::Damage(_))));

    let w = world(3, 4);
    w.ring.tail.0.store(3, Relaxed); // beside the cells
    assert!(matches!(w.put(b"x"), Err(PutRefusal::Damage(_))));

    let w = world(4, 4);
    w.put(&[0; 1000]).unwrap();
    w.ring.cell(0).unwrap().length().store(u64::MAX, Relaxed);
    assert!(matches!(w.get(), Err(GetRefusal::Damage(_))));
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Get,
    DieWriting,
    DieReading,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0..60usize, 500..1600usize].prop_map(Step::Put),
        4 => Just(Step::Get),
        1 => Just(Step::DieWriting),
        1 => Just(Step::DieReading),
    ]
}

proptest! {
    /// Against a plain queue: what goes in comes out, whoever dies, and everything is usable afterwards.
    #[test]
    fn behaves_like_a_queue_whoever_dies(
        capacity in 1usize..6,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let w = world(capacity, 8);
        let mut model = VecDeque::new();
        let mut orphan = None; // an orphan goes first
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(length) => {
                    let message = vec![i as u8; length];
                    match w.put(&message) {
                        Ok(()) => model.push_back(message),
                        Err(PutRefusal::Full) => prop_assert!(model.len() + usize::from(orphan.is_some()) >= 1),
                        Err(PutRefusal::NoBlocks) => prop_assert!(length > 48),
                        Err(other) => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Get => match w.get() {
                    Ok(message) => prop_assert_eq!(Some(message), orphan.take().or_else(|| model.pop_front())),
                    Err(refusal) => {
                        prop_assert_eq!(refusal, GetRefusal::Empty);
                        prop_assert!(model.is_empty() && orphan.is_none());
                    }
                },
                Step::DieWriting => {
                    if !w.ring.is_full().unwrap() {
                        w.ring.claim_for_model(owner(2)).unwrap();
                        w.kill(2);
                    }
                }
                Step::DieReading => {
                    if w.ring.read_for_model(owner(3)).is_ok() {
                        w.kill(3);
                        orphan = orphan.take().or_else(|| model.pop_front());
                    }
                }
            }
        }
        while w.get().is_ok() {}
        prop_assert_eq!(w.ring.memory_used(), 0);
        for _ in 0..capacity {
            prop_assert_eq!(w.put(b"again"), Ok(()));
        }
        prop_assert_eq!(w.put(b"again"), Err(PutRefusal::Full));
    }
}
