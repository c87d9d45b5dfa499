//! The public face, in a namespace of its own.

use super::*;

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
