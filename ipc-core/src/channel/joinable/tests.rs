//! Ring and table on the heap: the algorithm alone, one thread, deaths decided by the test; and the public face in a
//! namespace of its own.

mod face;

use std::{sync::Arc, thread, time::Duration};

use super::{
    JoinableQueue,
    errors::{GetJobError, GetJobTimeoutError, LeaseError, TaskDoneError, TryGetJobError},
    finish::Lost,
    jobs::Jobs,
    lease::{Claimed, Refusal},
    on_heap::Got,
    terms::Terms,
};
use crate::{
    channel::{geometry::Geometry, options::QueueOptions},
    message::{Bytes, Message},
    object::{
        Namespace,
        participant::{Owner, Participants, Repair},
    },
    prim::{AtomicU64, Relaxed},
    slab,
};

struct World {
    jobs: Jobs,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

fn world(leases: usize, max_attempts: u32, lease_ns: u64) -> World {
    let geometry = Geometry {
        capacity: 4,
        inline_bytes: 48,
        slab: slab::Geometry {
            block_bytes: 512,
            blocks: 6,
        },
        notes: 1,
        loans: slab::Geometry::NONE,
    };
    let terms = Terms {
        leases,
        max_attempts,
        lease_ns,
        is_asymmetric: true,
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (jobs, participants) = Jobs::on_heap(geometry, terms, 5, Arc::clone(&dead));
    World {
        jobs,
        participants,
        dead,
    }
}

impl World {
    fn put(&self, bytes: &[u8]) {
        self.jobs.put_for_model(owner(0), bytes).unwrap();
    }

    fn get(&self, slot: u32) -> Result<Got, Refusal> {
        self.jobs.get_for_model(owner(slot))
    }

    /// Kills a participant, and has the next one that attaches take its slot.
    fn kill(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Relaxed);
        assert_eq!(self.participants.sweep(&self.jobs).unwrap(), 1);
        self.dead.fetch_and(!(1 << slot), Relaxed);
        self.participants.occupy_for_model(slot, 2).unwrap();
    }

    fn assert_empty(&self) {
        assert!(self.jobs.is_finished().unwrap());
        assert_eq!(self.jobs.unfinished(), 0);
        assert_eq!(self.jobs.ring.memory_used(), 0, "blocks are lost");
        let leases = self.jobs.terms().leases;
        let is_free = |state| state == super::record::State::Free;
        assert_eq!(self.jobs.table.count(is_free), leases, "records are lost");
    }
}

const LONG: [u8; 1200] = [7; 1200];

#[test]
fn a_job_is_delivered_until_it_is_done() {
    let world = world(2, 3, 0);
    for job in [&b"short"[..], &LONG] {
        world.put(job);
        assert!(!world.jobs.is_finished().unwrap());
        for attempt in 1..=2 {
            let got = world.get(1).unwrap();
            assert_eq!((&got.bytes[..], got.lease.attempt), (job, attempt));
            assert!(!world.jobs.is_finished().unwrap());
            assert_eq!(world.get(2).unwrap_err(), Refusal::Empty);
            world.jobs.give_back(&got.lease).unwrap().unwrap();
        }
        let got = world.get(2).unwrap();
        assert_eq!((&got.bytes[..], got.lease.attempt), (job, 3));
        assert!(world.jobs.finish_for_model(&got.lease));
        assert!(!world.jobs.finish_for_model(&got.lease), "done twice");
        world.assert_empty();
    }
}

#[test]
fn the_jobs_of_the_dead_are_delivered_again_the_oldest_first() {
    let world = world(3, 3, 0);
    for job in [&b"one"[..], &LONG, b"three"] {
        world.put(job);
    }
    let (_one, _two) = (world.get(1).unwrap(), world.get(1).unwrap());
    world.kill(1);
    assert_eq!(world.jobs.waiting(), 3);
    for (job, attempt) in [(&b"one"[..], 2), (&LONG, 2), (b"three", 1)] {
        let got = world.get(2).unwrap();
        assert_eq!((&got.bytes[..], got.lease.attempt), (job, attempt));
        assert!(world.jobs.finish_for_model(&got.lease));
    }
    world.assert_empty();
}

#[test]
fn a_worker_that_died_between_lease_and_free_cell_has_taken_the_job_once() {
    for job in [&b"short"[..], &LONG] {
        for leased in [false, true] {
            let world = world(3, 3, 0);
            world.put(job);
            let (_taken, draft, is_large, bytes) = world.jobs.fill_for_model(owner(1)).unwrap();
            assert_eq!(bytes, job);
            if leased {
                draft.lease(1, is_large);
            } else {
                core::mem::forget(draft);
            }
            world.kill(1);
            let got = world.get(2).unwrap();
            assert_eq!((&got.bytes[..], got.lease.attempt), (job, 2));
            assert!(world.get(3).is_err(), "delivered twice");
            assert!(world.jobs.finish_for_model(&got.lease));
            world.assert_empty();
        }
    }
}

#[test]
fn after_its_last_attempt_a_job_is_a_dead_letter() {
    let world = world(2, 2, 0);
    for job in [&b"short"[..], &LONG] {
        world.put(job);
        let got = world.get(1).unwrap();
        world.jobs.give_back(&got.lease).unwrap().unwrap();
        world.get(1).unwrap();
        world.kill(1);
        assert_eq!(world.get(2).unwrap_err(), Refusal::Empty);
        assert!(
            world.jobs.is_finished().unwrap(),
            "join waits for no dead letter"
        );
        let dead = world.jobs.copy_dead().unwrap();
        assert_eq!(
            (dead.len(), &dead[0].bytes[..], dead[0].attempts),
            (1, job, 2)
        );
        assert_eq!(world.jobs.requeue_dead(owner(2)).unwrap(), 1);
        let got = world.get(1).unwrap();
        assert_eq!((&got.bytes[..], got.lease.attempt), (job, 1), "as new");
        world.jobs.bury(&got.lease).unwrap().unwrap();
        let draft = world.jobs.take_dead(owner(2)).unwrap().unwrap();
        drop(draft); // not removed
        core::mem::forget(world.jobs.take_dead(owner(2)).unwrap().unwrap());
        world.kill(2);
        assert_eq!(world.jobs.dead(), 1);
        let draft = world.jobs.take_dead(owner(2)).unwrap().unwrap();
        let (_, is_large) = world
            .jobs
            .read_with(owner(2), &draft, Vec::new, |_| Ok(()))
            .unwrap();
        world.jobs.remove(draft, is_large).unwrap();
        world.assert_empty();
    }
}

#[test]
fn a_get_that_dies_again_and_again_makes_a_dead_letter_of_its_job() {
    let world = world(2, 2, 0);
    world.put(b"poison");
    for _ in 0..2 {
        core::mem::forget(world.jobs.fill_for_model(owner(1)).unwrap());
        world.kill(1);
    }
    let (taken, ..) = world.jobs.fill_for_model(owner(1)).unwrap();
    assert!(!world.jobs.terms().allows_another_get(taken.failures()));
}

#[test]
fn a_lease_that_is_over_is_lost() {
    let world = world(2, 3, 1 << 40);
    for job in [&b"short"[..], &LONG] {
        world.put(job);
        let late = world.get(1).unwrap();
        assert!(!world.jobs.expire().unwrap(), "not yet over");
        world.jobs.end_lease_for_model(&late.lease);
        let renewed = world.jobs.renew(&late.lease).unwrap().unwrap();
        assert!(!world.jobs.expire().unwrap(), "renewed");
        assert!(
            !world.jobs.finish_for_model(&late.lease),
            "of before the renewal"
        );
        let late = super::jobs::Lease {
            meta: renewed,
            ..late.lease
        };
        world.jobs.end_lease_for_model(&late);
        assert!(world.jobs.expire().unwrap());
        assert_eq!(world.jobs.renew(&late).unwrap(), Err(Lost));
        assert_eq!(world.jobs.give_back(&late).unwrap(), Err(Lost));
        let got = world.get(2).unwrap();
        assert_eq!((&got.bytes[..], got.lease.attempt), (job, 2));
        assert!(!world.jobs.finish_for_model(&late));
        assert!(world.jobs.finish_for_model(&got.lease));
        world.assert_empty();
    }
}

#[test]
fn a_worker_stopped_in_its_get_keeps_its_lease_until_it_goes_on() {
    let world = world(2, 3, 1);
    world.put(b"job");
    let (taken, draft, ..) = world.jobs.fill_for_model(owner(1)).unwrap();
    let lease = draft.lease(1, false);
    world.jobs.end_lease_for_model(&lease);
    assert!(!world.jobs.expire().unwrap(), "its cell is not free");
    world.jobs.ring.finish(&taken).unwrap();
    assert!(world.jobs.expire().unwrap());
}

#[test]
fn who_leaves_with_jobs_is_named() {
    let world = world(2, 3, 0);
    world.put(b"job");
    assert!(!world.jobs.names(owner(1)));
    let got = world.get(1).unwrap();
    assert!(world.jobs.names(owner(1)) && !world.jobs.names(owner(2)));
    world.jobs.give_back(&got.lease).unwrap().unwrap();
    assert!(!world.jobs.names(owner(1)));
}

#[test]
fn a_full_table_refuses_and_says_why() {
    let world = world(1, 1, 0);
    world.put(b"one");
    world.put(b"two");
    let got = world.get(1).unwrap();
    assert_eq!(world.get(2).unwrap_err(), Refusal::NoRecord);
    world.jobs.bury(&got.lease).unwrap().unwrap();
    assert_eq!(world.get(2).unwrap_err(), Refusal::DeadLetters);
    assert_eq!(world.jobs.requeue_dead(owner(1)).unwrap(), 1);
    let got = world.get(2).unwrap();
    assert_eq!(got.bytes, b"one");
    assert!(world.jobs.finish_for_model(&got.lease));
    assert_eq!(world.get(2).unwrap().bytes, b"two");
}

#[test]
fn a_job_for_which_no_record_is_left_was_not_tried() {
    let world = world(1, 1, 0);
    world.put(b"first");
    for _ in 0..3 {
        world.put(b"second");
        // Both saw the free record; the other one was faster.
        let Ok(Claimed::Fresh(first)) = world.jobs.claim(owner(1)) else {
            panic!("no job");
        };
        let second = world.get(2).unwrap();
        let refused = world.jobs.receive_for_model(owner(1), &first);
        assert_eq!(refused.unwrap_err(), Refusal::NoRecord);
        assert!(world.jobs.finish_for_model(&second.lease));
    }
    let Ok(Claimed::Fresh(first)) = world.jobs.claim(owner(1)) else {
        panic!("no job");
    };
    assert_eq!(first.failures(), 0, "others' haste counts as its attempts");
    let got = world.jobs.receive_for_model(owner(1), &first).unwrap();
    assert_eq!((&got.bytes[..], got.lease.attempt), (&b"first"[..], 1));
    assert!(world.jobs.finish_for_model(&got.lease));
    world.assert_empty();
}

#[test]
fn a_closed_queue_is_over_when_every_job_is_finished() {
    let world = world(2, 3, 0);
    world.put(b"job");
    world.jobs.close();
    let got = world.get(1).unwrap();
    assert_eq!(world.get(2).unwrap_err(), Refusal::Outstanding);
    world.jobs.give_back(&got.lease).unwrap().unwrap();
    let got = world.get(2).unwrap();
    assert!(world.jobs.finish_for_model(&got.lease));
    assert_eq!(world.get(1).unwrap_err(), Refusal::Closed);
}

#[test]
fn a_put_that_comes_to_nothing_is_no_job() {
    let world = world(2, 3, 0);
    world.jobs.ring.bury_for_model(owner(0));
    assert!(world.jobs.is_finished().unwrap());
    assert_eq!(world.jobs.unfinished(), 0);
}
