//! Ring and table on the heap: the algorithm alone, one thread, deaths decided by the test; and the public face in a
//! namespace of its own.

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

/// A queue in a namespace of its own, which goes in the end.
struct Place(Namespace, std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-joinable-{name}-{}", std::process::id()));
        Self(Namespace::at(&dir).unwrap(), dir)
    }

    fn options<T: Message>(&self, capacity: usize) -> QueueOptions<T, JoinableQueue<T>> {
        JoinableQueue::options(capacity).namespace(&self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

#[test]
fn a_queue_keeps_its_terms() {
    let place = Place::new("terms");
    let made = place
        .options::<u32>(10)
        .leases(7)
        .max_attempts(5)
        .lease_time(Duration::from_millis(250))
        .create("jobs")
        .unwrap();
    let opened = place.options::<u32>(1).open("jobs").unwrap();
    for queue in [&made, &opened] {
        assert_eq!((queue.leases(), queue.max_attempts()), (7, 5));
        assert_eq!(queue.lease_time(), Some(Duration::from_millis(250)));
    }
    let usual = place.options::<u32>(100).anonymous().unwrap();
    assert_eq!((usual.leases(), usual.max_attempts()), (100, 3));
    assert_eq!(usual.lease_time(), None);
    assert!(place.options::<u32>(1).leases(1 << 21).anonymous().is_err());
    assert!(
        crate::Queue::<u32>::options(1)
            .namespace(&place.0)
            .open("jobs")
            .is_err()
    );
}

#[test]
fn task_done_called_too_often_is_an_error() {
    let place = Place::new("too-often");
    let queue = place.options::<String>(4).anonymous().unwrap();
    assert!(matches!(queue.task_done(), Err(TaskDoneError::TooOften)));
    queue.put("a".into()).unwrap();
    queue.put("b".into()).unwrap();
    let (a, b) = (
        queue.get().unwrap().into_value(),
        queue.get().unwrap().into_value(),
    );
    assert_eq!((a.as_str(), b.as_str()), ("a", "b"));
    let other = queue.clone();
    let of_another_thread = thread::spawn(move || other.task_done());
    assert!(matches!(
        of_another_thread.join().unwrap(),
        Err(TaskDoneError::TooOften)
    ));
    assert!(!queue.join_timeout(Duration::ZERO).unwrap());
    queue.task_done().unwrap();
    assert_eq!(queue.unfinished(), 1);
    queue.task_done().unwrap();
    queue.join().unwrap();
    assert!(matches!(queue.task_done(), Err(TaskDoneError::TooOften)));
}

#[test]
fn join_returns_when_the_last_job_is_done_in_another_thread() {
    let place = Place::new("join");
    let queue = place.options::<u64>(64).anonymous().unwrap();
    for round in 0..20 {
        queue.put_many(0..10).unwrap();
        let worker = queue.clone();
        let worker = thread::spawn(move || {
            for number in 0..10 {
                let job = worker.get().unwrap();
                assert_eq!(*job, number);
                if round % 2 == 0 {
                    thread::yield_now();
                }
                job.task_done().unwrap();
            }
        });
        queue.join().unwrap();
        assert_eq!(queue.unfinished(), 0);
        worker.join().unwrap();
    }
}

#[test]
fn a_sleeping_get_wakes_for_a_returned_job_a_free_record_and_the_end() {
    let place = Place::new("wakes");
    let queue = place.options::<u32>(4).leases(1).anonymous().unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let held = queue.get().unwrap();
    assert!(matches!(queue.try_get(), Err(TryGetJobError::NoLease)));
    let short = Duration::from_millis(1);
    assert!(matches!(
        queue.get_timeout(short),
        Err(GetJobTimeoutError::Timeout)
    ));
    let other = queue.clone();
    let getter = thread::spawn(move || {
        let first = other.get().unwrap();
        let seen = (*first, first.attempt());
        first.task_done().unwrap();
        let second = *other.get().unwrap(); // dropped: given back
        (seen, second)
    });
    held.give_back().unwrap();
    assert_eq!(getter.join().unwrap(), ((1, 2), 2));
    let last = queue.get().unwrap();
    assert_eq!((*last, last.attempt()), (2, 2));
    queue.close();
    let other = queue.clone();
    let getter = thread::spawn(move || other.get().map(|job| *job));
    assert!(matches!(queue.try_get(), Err(TryGetJobError::Empty)));
    last.task_done().unwrap();
    assert!(matches!(getter.join().unwrap(), Err(GetJobError::Closed)));
    assert!(queue.put(3).is_err());
}

#[test]
fn what_is_no_value_of_the_type_becomes_a_dead_letter() {
    let place = Place::new("decode");
    let queue = place.options::<bool>(4).create("jobs").unwrap();
    queue.inner.queue.try_put(&[9]).unwrap(); // no bool
    queue.inner.queue.try_put(&[9; 2000]).unwrap();
    queue.put(true).unwrap();
    assert!(matches!(queue.get(), Err(GetJobError::Decode(_))));
    assert!(matches!(queue.try_get(), Err(TryGetJobError::Decode(_))));
    queue.get().unwrap().task_done().unwrap();
    queue.join().unwrap();
    let dead = queue.dead().unwrap();
    assert!(dead.len() == 2 && dead.iter().all(Result::is_err));
    assert_eq!(queue.requeue_dead().unwrap(), 2);
    assert!(matches!(queue.get(), Err(GetJobError::Decode(_))));
    assert!(matches!(queue.get(), Err(GetJobError::Decode(_))));
    for _ in 0..2 {
        assert!(matches!(queue.take_dead(), Err(TryGetJobError::Decode(_))));
    }
    assert!(matches!(queue.take_dead(), Err(TryGetJobError::Empty)));
    assert_eq!(queue.inner.jobs.ring.memory_used(), 0);
}

#[test]
fn leases_that_are_over_are_found_by_who_waits() {
    let place = Place::new("lease-time");
    let queue = place.options::<Bytes>(4);
    let queue = queue
        .lease_time(Duration::from_millis(20))
        .anonymous()
        .unwrap();
    queue.put(Bytes::from(LONG)).unwrap();
    let late = queue.get().unwrap();
    let again = queue.get().unwrap(); // waits until the lease is over
    assert_eq!((again.0.len(), again.attempt()), (LONG.len(), 2));
    assert!(matches!(late.task_done(), Err(LeaseError::Lost)));
    let mut again = again;
    // Unless this machine was asleep for so long, in which case it is lost, and delivered a third time.
    if again.renew().is_err() || again.task_done().is_err() {
        queue.get().unwrap().give_up().unwrap();
    }
    queue.join().unwrap();
}

#[test]
fn a_panicking_worker_gives_its_job_back() {
    let place = Place::new("panic");
    let queue = place.options::<u32>(4).anonymous().unwrap();
    queue.put(5).unwrap();
    let other = queue.clone();
    let worker = thread::spawn(move || {
        let _job = other.get().unwrap();
        panic!("as the test wants it");
    });
    assert!(worker.join().is_err());
    let job = queue.get().unwrap();
    assert_eq!((*job.value(), job.attempt()), (5, 2));
    drop(job);
    drop(queue.get().unwrap());
    assert_eq!((queue.dead_len(), queue.len()), (1, 0));
    let dead = queue.take_dead().unwrap();
    assert_eq!((dead.value, dead.attempts), (5, 3));
    queue.join().unwrap();
}

#[test]
#[expect(unsafe_code, reason = "forks")]
fn a_child_forked_while_a_thread_counts_its_jobs_is_not_held_up() {
    use core::sync::atomic::{AtomicBool, Ordering};
    const FORKS: usize = 100;
    let place = Place::new("fork");
    let queue: JoinableQueue<u32> = place.options(4).anonymous().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                queue.put(7).unwrap();
                assert_eq!(queue.get().unwrap().into_value(), 7);
                queue.task_done().unwrap();
            }
        });
        let outcomes: Vec<_> = (0..FORKS)
            .map(|_| {
                // SAFETY: the child calls nothing that another thread may have left locked, and ends.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // SAFETY: as above.
                    unsafe { libc::alarm(10) };
                    let is_told = matches!(queue.task_done(), Err(TaskDoneError::TooOften));
                    // SAFETY: as above.
                    unsafe { libc::_exit(i32::from(!is_told)) };
                }
                let mut status = 0;
                // SAFETY: our own child, and a place for its status.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                status
            })
            .take_while(|&status| status == 0)
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(outcomes.len(), FORKS, "a child was held up");
    });
}

#[test]
fn a_job_that_kills_its_workers_in_their_gets_is_not_delivered_for_ever() {
    let terms = |max_attempts| Terms {
        max_attempts,
        ..Terms::default()
    };
    let delivered = |terms: Terms| (0..16).take_while(|&n| terms.allows_another_get(n)).count();
    assert_eq!(delivered(terms(3)), 3);
    assert_eq!(delivered(terms(1000)), 15);
    assert_eq!(delivered(terms(u32::MAX)), 16, "and from the start again");
}
