//! What loom explores: each ordering's both ends, and deaths as a bit that flips.

mod deaths;
mod join;
mod untried;

use std::sync::Arc;

use loom::thread;

use super::{
    jobs::{Jobs, Lease},
    lease::Refusal,
    on_heap::Got,
    record::State,
    source,
    terms::Terms,
};
use crate::{
    channel::geometry::Geometry,
    object::{
        participant::{Owner, Participants},
        seat::Notes,
        source::Source,
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    os::fork::Process,
    prim::{AtomicU64, Relaxed, Release},
    slab,
};

/// Jobs on the heap, and four participants.
struct World {
    jobs: Arc<Jobs>,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

/// How long a lease is where it has an end: longer than any model.
const LONG: u64 = 1 << 60;

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

fn terms(leases: usize) -> Terms {
    Terms {
        leases,
        max_attempts: 3,
        lease_ns: 0,
        is_asymmetric: true,
    }
}

fn world(capacity: usize, terms: Terms) -> Arc<World> {
    let geometry = Geometry {
        capacity,
        inline_bytes: 8,
        slab: slab::Geometry {
            block_bytes: 16,
            blocks: 0,
        },
        notes: 1,
        loans: slab::Geometry::NONE,
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (jobs, participants) = Jobs::on_heap(geometry, terms, 4, Arc::clone(&dead));
    Arc::new(World {
        jobs: Arc::new(jobs),
        participants,
        dead,
    })
}

impl World {
    fn put(&self, value: u64) {
        let put = self.jobs.put_for_model(owner(3), &value.to_ne_bytes());
        put.unwrap();
    }

    fn get(&self, slot: u32) -> Result<(u64, Lease), Refusal> {
        let Got { lease, bytes } = self.jobs.get_for_model(owner(slot))?;
        Ok((u64::from_ne_bytes(bytes.try_into().unwrap()), lease))
    }

    fn get_patiently(&self, slot: u32) -> (u64, Lease) {
        loop {
            match self.get(slot) {
                Ok(got) => return got,
                Err(Refusal::Empty | Refusal::BeingPut | Refusal::NoRecord) => thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn done(&self, lease: &Lease) {
        assert!(self.jobs.finish_for_model(lease), "the lease is lost");
    }

    fn dead_letter(&self, value: u64) {
        self.put(value);
        let (_, lease) = self.get(2).unwrap();
        self.jobs.bury(&lease).unwrap().unwrap();
    }

    fn die(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Release);
    }

    fn sweep_a_death(&self) {
        while self.participants.sweep(&*self.jobs).unwrap() == 0 {
            thread::yield_now();
        }
    }

    /// What a real wait does on a word, asleep from the start.
    fn asleep<R>(&self, word: &WaitWord, mut attempt: impl FnMut() -> Option<R>) -> R {
        let waiting = Waiting {
            word,
            strategy: WaitStrategy::Sleep,
            patience: &Patience::new(),
            deadline: Deadline::NEVER,
            notes: Notes::Nowhere,
        };
        let attempt = || {
            if let Some(done) = attempt() {
                return Attempt::Done(done);
            }
            if !word.has_sleepers() {
                return Attempt::Blocked(word);
            }
            let is_certain = self.jobs.table.heavy_fence();
            assert!(is_certain);
            attempt().map_or(Attempt::Blocked(word), Attempt::Done)
        };
        waiting.until(attempt, || true, || None).unwrap()
    }

    fn join_asleep(&self) {
        let waiting = Waiting {
            word: &self.jobs.table.desk().finished,
            strategy: WaitStrategy::Sleep,
            patience: &Patience::new(),
            deadline: Deadline::NEVER,
            notes: Notes::Nowhere,
        };
        let attempt = || self.jobs.attempt_to_join(|| self.jobs.look_for_end());
        let joined = waiting.until(attempt, || true, || None);
        joined.unwrap().unwrap();
    }
}

/// Explores with at most so many preemptions, which bounds the time.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

fn a_record_is_reused(lease_ns: u64) {
    explore(2, move || {
        let w = world(
            2,
            Terms {
                lease_ns,
                ..terms(1)
            },
        );
        w.put(1);
        w.put(2);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let (value, lease) = other.get_patiently(0);
            other.done(&lease);
            value
        });
        let (value, lease) = w.get_patiently(1);
        w.done(&lease);
        assert_eq!(value + t.join().unwrap(), 3);
    });
}

#[test]
fn a_record_is_reused_after_its_job_was_finished() {
    a_record_is_reused(0);
}

#[test]
fn a_record_is_reused_after_its_job_was_finished_in_time() {
    a_record_is_reused(LONG);
}

#[test]
fn a_record_is_reused_after_a_get_was_given_up() {
    explore(2, || {
        let w = world(1, terms(1));
        w.put(1);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            if let Ok((taken, draft, ..)) = other.jobs.fill_for_model(owner(0)) {
                drop(draft);
                other.jobs.ring.put_back(&taken).unwrap();
            }
        });
        let (value, lease) = w.get_patiently(1);
        assert_eq!(value, 1);
        w.done(&lease);
        t.join().unwrap();
    });
}

#[test]
fn a_returned_job_is_found_and_seen_whole() {
    explore(2, || {
        let w = world(1, terms(1));
        w.put(1);
        let (_, lease) = w.get(0).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.jobs.give_back(&lease).unwrap().unwrap());
        let (value, lease) = w.get_patiently(1);
        assert_eq!((value, lease.attempt), (1, 2));
        w.done(&lease);
        t.join().unwrap();
    });
}

#[test]
fn a_late_job_is_seen_whole() {
    explore(2, || {
        let lease_ns = 1;
        let w = world(
            1,
            Terms {
                lease_ns,
                ..terms(1)
            },
        );
        w.put(1);
        let worker = Arc::clone(&w);
        let t = thread::spawn(move || worker.get(0).map(|(value, _)| value));
        if w.jobs.expire().unwrap() {
            assert_eq!(w.get(1).unwrap().0, 1);
        }
        t.join().unwrap().ok();
    });
}

#[test]
fn a_lease_is_judged_by_its_own_deadline() {
    explore(3, || {
        let lease_ns = LONG;
        let w = world(
            2,
            Terms {
                lease_ns,
                ..terms(1)
            },
        );
        w.put(1);
        w.put(2);
        let (_, first) = w.get(0).unwrap();
        w.jobs.end_lease_for_model(&first);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.jobs.expire().unwrap());
        if w.jobs.finish_for_model(&first) {
            let (_, second) = w.get(0).unwrap(); // in the same record
            t.join().unwrap();
            w.done(&second);
        } else {
            assert!(t.join().unwrap());
        }
    });
}

#[test]
fn a_renewed_lease_is_judged_by_its_new_deadline() {
    explore(3, || {
        let lease_ns = LONG;
        let w = world(
            1,
            Terms {
                lease_ns,
                ..terms(1)
            },
        );
        w.put(1);
        let (_, lease) = w.get(0).unwrap();
        w.jobs.end_lease_for_model(&lease);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.jobs.expire().unwrap());
        if let Ok(meta) = w.jobs.renew(&lease).unwrap() {
            t.join().unwrap();
            w.done(&Lease { meta, ..lease });
        } else {
            assert!(t.join().unwrap());
        }
    });
}

#[test]
fn a_dead_letter_that_is_looked_at_is_itself() {
    explore(2, || {
        let w = world(2, terms(1));
        w.dead_letter(1);
        w.put(2);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let draft = other.jobs.take_dead(owner(0)).unwrap().unwrap();
            other.jobs.remove(draft, false).unwrap();
            other.get(0).unwrap(); // to the same record
        });
        for letter in w.jobs.copy_dead().unwrap() {
            assert_eq!(letter.bytes, 1u64.to_ne_bytes());
        }
        t.join().unwrap();
    });
}

#[test]
fn a_requeued_dead_letter_begins_with_its_first_attempt() {
    explore(2, || {
        let w = world(2, terms(2));
        w.dead_letter(1);
        // Who looks for this one may find the other without having seen that it was counted.
        w.put(2);
        let (_, lease) = w.get(1).unwrap();
        w.jobs.give_back(&lease).unwrap().unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.jobs.requeue_dead(owner(0)).unwrap());
        let (value, lease) = w.get(1).unwrap();
        let attempt = if value == 1 { 1 } else { 2 };
        assert_eq!(lease.attempt, attempt);
        t.join().unwrap();
    });
}

/// A queue with one record, which is taken: what gets and joins wait for; a put of another job; the end of the lease; and the end of
/// the queue.
pub(crate) fn working() -> (
    [Arc<dyn Source>; 2],
    impl FnOnce() + Send + 'static,
    impl FnOnce() + Send + 'static,
    impl FnOnce() + Send + 'static,
) {
    let w = world(1, terms(1));
    w.put(1);
    let (_, lease) = w.get(0).unwrap();
    let [producer, worker, closer] = [(); 3].map(|()| Arc::clone(&w));
    (
        [source::next_job(&w.jobs), source::all_done(&w.jobs)],
        move || producer.put(2),
        move || worker.done(&lease),
        move || closer.jobs.close(),
    )
}
