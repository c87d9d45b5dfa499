//! Each primitive between threads of one process. What happens when processes die is in the `tests` package.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::{Activity, Error, ErrorKind, Namespace};

/// A namespace of its own for one test, which goes with it.
struct Place(Namespace, PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-sync-{test}-{}", std::process::id()));
        Self(Namespace::at(&dir).unwrap(), dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

/// Waits for a fact, with a bound.
fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "it never came");
        thread::yield_now();
    }
}

#[test]
fn a_lock_excludes_and_keeps_its_value() {
    let place = Place::new("lock");
    let lock = Lock::options_with(0u64)
        .namespace(&place.0)
        .create("l")
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let other = Lock::<u64>::opener().namespace(&place.0).open("l").unwrap();
                for _ in 0..5000 {
                    *other.acquire().unwrap() += 1;
                }
            });
        }
    });
    let guard = lock.acquire().unwrap();
    assert_eq!(*guard, 20_000);
    assert!(!guard.owner_died());
    assert!(matches!(
        lock.try_acquire(),
        Err(TryAcquireError::WouldBlock)
    ));
    assert!(matches!(
        lock.acquire_timeout(SHORT),
        Err(AcquireTimeoutError::Timeout)
    ));
    drop(guard);
    assert!(lock.try_acquire().is_ok());
}

#[test]
fn a_lock_of_another_type_is_refused() {
    let place = Place::new("lock-type");
    let lock = Lock::options_with(7u32)
        .namespace(&place.0)
        .create("l")
        .unwrap();
    let other = Lock::<u64>::opener().namespace(&place.0).open("l");
    assert!(matches!(other, Err(Error::WrongType { .. })), "{other:?}");
    let event = Event::opener().namespace(&place.0).open("l");
    assert!(matches!(event, Err(Error::WrongKind { .. })), "{event:?}");
    assert_eq!(*lock.acquire().unwrap(), 7);
}

#[test]
fn a_mark_stays_until_somebody_says_that_all_is_well() {
    let place = Place::new("marks");
    let lock = Lock::options().namespace(&place.0).anonymous().unwrap();
    lock.acquire().unwrap().mark_inconsistent();
    assert!(lock.acquire().unwrap().owner_died());
    let mut guard = lock.acquire().unwrap();
    assert!(guard.owner_died());
    guard.mark_consistent();
    drop(guard);
    assert!(!lock.acquire().unwrap().owner_died());
    let panicked = thread::scope(|scope| {
        let panic = || {
            let _guard = lock.acquire().unwrap();
            panic!("on purpose");
        };
        scope.spawn(panic).join().is_err()
    });
    assert!(panicked && !lock.acquire().unwrap().owner_died());
}

#[test]
fn a_lock_says_since_when_it_is_held_though_nobody_waits() {
    let place = Place::new("since");
    let lock = Lock::options().namespace(&place.0).create("lock").unwrap();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    let acquire = [
        |lock: &Lock| lock.acquire().unwrap(),
        |lock: &Lock| lock.try_acquire().unwrap(),
    ] as [for<'a> fn(&'a Lock) -> LockGuard<'a>; 2];
    // By the clock at first, then as the thread keeps the time.
    for acquired_before in [0, 100_000] {
        for _ in 0..acquired_before {
            drop(lock.acquire().unwrap());
        }
        for acquire in acquire {
            let before = now();
            // What is written down may be somewhat old, but not for ever.
            until(|| {
                let _guard = acquire(&lock);
                let since = place.0.inspect("lock").unwrap().visits[0].since_unix_ns;
                assert!(since != 0 && since <= now());
                since > before
            });
        }
    }
}

#[test]
fn a_recursive_lock_counts_for_each_thread() {
    let place = Place::new("rlock");
    let lock = RLock::options().namespace(&place.0).anonymous().unwrap();
    let outer = lock.acquire().unwrap();
    let inner = lock.try_acquire().unwrap();
    assert_eq!(inner.depth(), 2);
    drop(outer);
    let is_taken = || thread::scope(|s| s.spawn(|| lock.try_acquire().is_err()).join().unwrap());
    assert!(is_taken(), "one level is left");
    inner.mark_inconsistent();
    drop(inner);
    assert!(!is_taken());
    assert!(lock.acquire().unwrap().owner_died());
    lock.acquire().unwrap().mark_consistent();
    assert!(!lock.acquire().unwrap().owner_died());
}

#[test]
fn readers_share_and_a_waiting_writer_keeps_new_ones_out() {
    let place = Place::new("rwlock");
    let lock = RwLock::options_with([0u64; 9])
        .readers(2)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
    assert!(lock.try_read().is_err(), "two readers at the most");
    assert!(lock.try_write().is_err());
    assert!(lock.write_timeout(SHORT).is_err());
    drop(one);
    assert!(
        lock.try_read().is_ok(),
        "the writer that gave up is in nobody's way"
    );
    thread::scope(|scope| {
        let writer = scope.spawn(|| lock.write().unwrap()[8] = 5);
        until(|| lock.try_read().is_err());
        assert_eq!(two[8], 0);
        drop(two);
        writer.join().unwrap();
    });
    assert_eq!(lock.read().unwrap()[8], 5);
}

#[test]
fn writers_and_readers_never_see_halves() {
    let place = Place::new("rwlock-halves");
    let lock = RwLock::options_with([0u64; 5])
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    thread::scope(|scope| {
        for n in 1..=2u64 {
            let lock = &lock;
            scope.spawn(move || {
                for i in 0..2000 {
                    *lock.write().unwrap() = [i * n; 5];
                }
            });
            scope.spawn(move || {
                for _ in 0..2000 {
                    let value = *lock.read().unwrap();
                    assert_eq!(value, [value[0]; 5]);
                }
            });
        }
    });
}

#[test]
fn a_semaphore_admits_as_many_as_it_has_permits() {
    let place = Place::new("semaphore");
    let semaphore = Semaphore::options(2)
        .namespace(&place.0)
        .create("s")
        .unwrap();
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let _permit = semaphore.acquire().unwrap();
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    inside.fetch_sub(1, SeqCst);
                }
            });
        }
    });
    assert!((1..=2).contains(&most.load(SeqCst)));
    assert_eq!(semaphore.value(), 2);
    semaphore.release(3).unwrap();
    assert_eq!(semaphore.value(), 5);
    assert!(matches!(
        semaphore.release(i32::MAX as u32),
        Err(ReleaseError::Overflow)
    ));
    for _ in 0..5 {
        semaphore.acquire().unwrap().forget();
    }
    assert!(semaphore.acquire_timeout(SHORT).is_err());
}

#[test]
fn a_bounded_semaphore_is_not_released_more_often_than_acquired() {
    let place = Place::new("bounded");
    let semaphore = BoundedSemaphore::options(2)
        .namespace(&place.0)
        .create("b")
        .unwrap();
    assert!(matches!(
        semaphore.release(),
        Err(ReleaseError::OverReleased)
    ));
    semaphore.acquire().unwrap().forget();
    let held = semaphore.acquire().unwrap();
    assert_eq!((semaphore.value(), semaphore.permits()), (0, 2));
    assert!(semaphore.try_acquire().is_err());
    let visits = place.0.inspect("b").unwrap().visits;
    let mut activities: Vec<_> = visits.iter().map(|v| (v.activity, v.slot)).collect();
    activities.sort_by_key(|(_, slot)| *slot);
    assert_eq!(
        activities,
        [(Activity::Lent, None), (Activity::Holding, Some(0))]
    );
    semaphore.release().unwrap();
    assert!(semaphore.release().is_err(), "what is held is not lent");
    drop(held);
    assert_eq!(semaphore.value(), 2);
    let none = BoundedSemaphore::options(0).namespace(&place.0).anonymous();
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn an_event_that_was_cleared_at_once_still_wakes() {
    let place = Place::new("event");
    let event = Event::options().namespace(&place.0).create("e").unwrap();
    assert!(!event.wait_timeout(SHORT).unwrap());
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| event.wait_timeout(LONG).unwrap()))
            .collect();
        until(|| place.0.inspect("e").unwrap().visits.len() == 3);
        assert!(event.set().unwrap());
        event.clear().unwrap();
        assert!(waiters.into_iter().all(|w| w.join().unwrap()));
    });
    assert!(!event.is_set());
    assert!(event.set().unwrap() && !event.set().unwrap());
    event.wait().unwrap();
}

#[test]
fn exactly_as_many_wake_as_are_notified_the_oldest_first() {
    let place = Place::new("condition");
    let lock = Lock::options_with(0u32)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let condition = Condition::options()
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let woken = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for n in 0..5 {
            let (lock, condition, woken) = (&lock, &condition, &woken);
            scope.spawn(move || {
                let guard = condition.wait(lock.acquire().unwrap()).unwrap();
                woken.lock().unwrap().push(n);
                drop(guard);
            });
            until(|| condition.waiters() == n + 1);
        }
        let woken_are = |count| until(|| woken.lock().unwrap().len() == count);
        assert_eq!(condition.notify(2).unwrap(), 2);
        woken_are(2);
        // Longer than the death watch, at whose end every sleeper looks.
        thread::sleep(Duration::from_millis(250));
        let mut first = woken.lock().unwrap().clone();
        first.sort_unstable();
        assert_eq!(first, [0, 1]);
        assert_eq!(condition.notify(1).unwrap(), 1);
        woken_are(3);
        assert_eq!(condition.notify_all().unwrap(), 2);
    });
    assert_eq!(condition.notify_all().unwrap(), 0);
    let (guard, was_notified) = condition
        .wait_timeout(lock.acquire().unwrap(), SHORT)
        .unwrap();
    assert!(!was_notified);
    let (guard, holds) = condition
        .wait_for_timeout(guard, SHORT, |value| *value == 1)
        .unwrap();
    assert!(!holds);
    drop(guard);
}

#[test]
fn a_condition_with_too_many_waiters_says_so() {
    let place = Place::new("condition-full");
    let lock = Lock::options().namespace(&place.0).anonymous().unwrap();
    let condition = Condition::options()
        .waiters(1)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| drop(condition.wait(lock.acquire().unwrap()).unwrap()));
        until(|| condition.waiters() == 1);
        let refused = condition.wait(lock.acquire().unwrap()).unwrap_err();
        assert!(matches!(refused, Error::TooManyWaiters { max: 1, .. }));
        condition.notify_all().unwrap();
    });
}

#[test]
fn all_parties_of_a_barrier_meet_again_and_again() {
    let place = Place::new("barrier");
    let barrier = Barrier::options(3).namespace(&place.0).create("b").unwrap();
    let (came, acted) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 1..=200 {
                    came.fetch_add(1, SeqCst);
                    let index = barrier
                        .wait_with(|| {
                            acted.fetch_add(1, SeqCst);
                        })
                        .unwrap();
                    assert!(index < 3);
                    assert!(came.load(SeqCst) >= round * 3, "all had come");
                    assert!(acted.load(SeqCst) >= round, "the action comes first");
                }
            });
        }
    });
    assert_eq!(acted.load(SeqCst), 200, "one acts");
    assert_eq!(barrier.waiting(), 0);
}

#[test]
fn a_barrier_breaks_for_all_and_can_be_reset() {
    let place = Place::new("barrier-breaks");
    let barrier = Barrier::options(3).namespace(&place.0).create("b").unwrap();
    let broken = |outcome| matches!(outcome, Err(BarrierError::Broken));
    thread::scope(|scope| {
        let waits = scope.spawn(|| barrier.wait());
        until(|| barrier.waiting() == 1);
        assert!(matches!(
            barrier.wait_timeout(SHORT),
            Err(BarrierError::Timeout)
        ));
        assert!(broken(waits.join().unwrap()));
        assert!(barrier.is_broken() && broken(barrier.wait()));
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
        let waits = scope.spawn(|| barrier.wait());
        until(|| barrier.waiting() == 1);
        barrier.reset().unwrap();
        assert!(broken(waits.join().unwrap()));
        let waits = scope.spawn(|| barrier.wait());
        until(|| barrier.waiting() == 1);
        barrier.abort().unwrap();
        assert!(broken(waits.join().unwrap()));
        barrier.reset().unwrap();
        let panics = || barrier.wait_with(|| panic!("on purpose"));
        let all: Vec<_> = (0..3).map(|_| scope.spawn(panics)).collect();
        let outcomes: Vec<_> = all.into_iter().map(|one| one.join()).collect();
        assert_eq!(
            outcomes.iter().filter(|o| o.is_err()).count(),
            1,
            "one acts"
        );
        assert!(outcomes.into_iter().flatten().all(broken));
    });
}

#[test]
fn small_objects_stay_within_sixteen_kibibytes() {
    let place = Place::new("sizes");
    let bytes = |name: &str| place.0.inspect(name).unwrap().file_bytes;
    macro_rules! made {
        ($($name:literal: $options:expr),+) => {
            $(let _keep = $options.namespace(&place.0).create($name).unwrap();
            assert!(bytes($name) <= 16 << 10, "{}: {}", $name, bytes($name));)+
        };
    }
    made!(
        "lock": Lock::options_with(0u64), "rlock": RLock::options(),
        "rwlock": RwLock::options_with(0u64), "semaphore": Semaphore::options(8),
        "bounded": BoundedSemaphore::options(8), "event": Event::options(),
        "condition": Condition::options(), "barrier": Barrier::options(8)
    );
}

#[test]
fn a_handle_travels() {
    let place = Place::new("travels");
    let semaphore = BoundedSemaphore::options(1)
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let text = serde_json::to_string(&semaphore).unwrap();
    let other: BoundedSemaphore = serde_json::from_str(&text).unwrap();
    let held = other.acquire().unwrap();
    assert_eq!(semaphore.value(), 0);
    drop(held);
    assert_eq!(semaphore.value(), 1);
}
