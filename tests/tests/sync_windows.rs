//! A process that has released, set or notified and is killed before its wake, which step kill sees as one instruction: who
//! sleeps gets on all the same. As `step_windows` for the queue; see there.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipc_core::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, Namespace, RwLock, Semaphore, WaitStrategy,
};
use ipc_tests::step::{End, Event as Stop, Operation, Victim};
use ipc_tests::trial_directory::TrialDirectory;

/// The promise is 100 ms behind the kernel's exit; the rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(2);
/// Asleep for as long as the test may last.
const LONG: Duration = Duration::from_secs(20);
/// A sleeper looks again every 100 ms, and may see by itself what has changed just then: so it takes some tries.
const TRIES: usize = 50;

/// Who waits for a lock or a permit naps at first, for twice as long each time: so long that a nap outlasts the stepping.
const NAPS: Duration = Duration::from_millis(20);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A namespace for one try.
struct Place {
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Place {
    fn new() -> Self {
        let directory = TrialDirectory::create().unwrap();
        let namespace = Namespace::at(directory.path()).unwrap();
        Self {
            namespace,
            _directory: directory,
        }
    }

    fn state(&self) -> String {
        self.namespace.inspect("x").unwrap().state
    }
}

macro_rules! open {
    ($kind:ty, $place:expr) => {
        <$kind>::opener()
            .wait(WaitStrategy::Sleep)
            .namespace(&$place.namespace)
            .open("x")
            .unwrap()
    };
}

type Arm = for<'a> fn(&'a Place) -> Operation<'a>;

/// What is tried. Each operation returns 1 when it did what it should.
struct Trial {
    what: &'static str,
    /// Makes the object, and takes what the sleeper wants.
    make: fn(&Place) -> Box<dyn std::any::Any>,
    sleeper: Arm,
    waker: Arm,
    /// Whether the state of the object is what the waker makes it before it wakes.
    is_done: fn(&str) -> bool,
}

fn is_in_futex(victim: &Victim) -> bool {
    let text = fs::read_to_string(format!("/proc/{}/syscall", victim.pid())).unwrap_or_default();
    let number = text.split_whitespace().next().map(str::parse);
    number == Some(Ok(libc::SYS_futex))
}

/// The sleeper whose waker was killed in the window; `None` if that was missed.
fn waker_is_killed(trial: &Trial, place: &Place) -> Option<Victim> {
    let mut waker = Victim::fork(|| (trial.waker)(place)).unwrap(); // armed first: it may hold what the other wants
    let mut sleeper = Victim::fork(|| (trial.sleeper)(place)).unwrap();
    sleeper.resume().unwrap();
    let begin = Instant::now();
    while !is_in_futex(&sleeper) {
        assert!(begin.elapsed() < LONG, "{}: it never sleeps", trial.what);
        std::thread::yield_now();
    }
    std::thread::sleep(NAPS);
    let stop = waker.run_to_syscall(|| (trial.is_done)(&place.state()));
    if stop.unwrap() == Stop::Stepped && is_in_futex(&waker) && is_in_futex(&sleeper) {
        waker.kill().unwrap();
        return Some(sleeper);
    }
    sleeper.kill().unwrap();
    let _ = waker.kill(); // if it has not ended by itself
    None
}

fn holds(trial: &Trial) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let in_window = (0..TRIES).find_map(|_| {
        let place = Place::new();
        let keep = (trial.make)(&place);
        let sleeper = waker_is_killed(trial, &place)?;
        Some((place, keep, sleeper))
    });
    let (_place, _keep, mut sleeper) = in_window.expect("one of many tries is fast enough");
    let begin = Instant::now();
    let end = sleeper.wait_to_end().unwrap();
    let taken = begin.elapsed();
    assert_eq!(end, End::Completed(1), "{}", trial.what);
    assert!(taken < BOUND, "{}: it took {taken:?}", trial.what);
}

fn done<T, E>(outcome: Result<T, E>) -> u64 {
    outcome.is_ok().into()
}

#[test]
fn who_waits_for_an_event_wakes_though_the_setter_was_killed_before_its_wake() {
    holds(&Trial {
        what: "event",
        make: |place| {
            let made = Event::options().namespace(&place.namespace).create("x");
            Box::new(made.unwrap())
        },
        sleeper: |place| {
            let event = open!(Event, place);
            Box::new(move || event.wait_timeout(LONG).unwrap_or(false).into())
        },
        waker: |place| {
            let event = open!(Event, place);
            Box::new(move || done(event.set()))
        },
        is_done: |state| state == "set",
    });
}

#[test]
fn who_waits_for_a_permit_gets_it_though_the_releaser_was_killed_before_its_wake() {
    holds(&Trial {
        what: "semaphore",
        make: |place| {
            let made = Semaphore::options(0)
                .namespace(&place.namespace)
                .create("x");
            Box::new(made.unwrap())
        },
        sleeper: |place| {
            let semaphore = open!(Semaphore, place);
            Box::new(move || semaphore.acquire_timeout(LONG).map_or(0, |_| 1))
        },
        waker: |place| {
            let semaphore = open!(Semaphore, place);
            Box::new(move || done(semaphore.release(1)))
        },
        is_done: |state| state == "1 available",
    });
}

#[test]
fn who_waits_for_an_owned_permit_gets_it_though_the_releaser_was_killed_before_its_wake() {
    holds(&Trial {
        what: "bounded semaphore",
        make: |place| {
            let options = BoundedSemaphore::options(1).namespace(&place.namespace);
            let made = options.create("x").unwrap();
            made.acquire().unwrap().forget();
            Box::new(made)
        },
        sleeper: |place| {
            let semaphore = open!(BoundedSemaphore, place);
            Box::new(move || semaphore.acquire_timeout(LONG).map_or(0, |_| 1))
        },
        waker: |place| {
            let semaphore = open!(BoundedSemaphore, place);
            Box::new(move || done(semaphore.release()))
        },
        is_done: |state| state == "1 of 1 available",
    });
}

#[test]
fn who_waits_for_a_lock_gets_it_though_the_holder_was_killed_before_its_wake() {
    holds(&Trial {
        what: "lock",
        make: |place| {
            let made = Lock::options().namespace(&place.namespace).create("x");
            Box::new(made.unwrap())
        },
        sleeper: |place| {
            let lock = open!(Lock, place);
            Box::new(move || lock.acquire_timeout(LONG).map_or(0, |_| 1))
        },
        waker: |place| {
            let lock: &Lock = Box::leak(Box::new(open!(Lock, place)));
            let mut held = Some(lock.acquire().unwrap());
            Box::new(move || held.take().map_or(0, |_| 1))
        },
        is_done: |state| state == "free",
    });
}

#[test]
fn who_waits_to_write_gets_the_lock_though_the_reader_was_killed_before_its_wake() {
    holds(&Trial {
        what: "read-write lock",
        make: |place| {
            let made = RwLock::options().namespace(&place.namespace).create("x");
            Box::new(made.unwrap())
        },
        sleeper: |place| {
            let lock = open!(RwLock, place);
            Box::new(move || lock.write_timeout(LONG).map_or(0, |_| 1))
        },
        waker: |place| {
            let lock: &RwLock = Box::leak(Box::new(open!(RwLock, place)));
            let mut held = Some(lock.read().unwrap());
            Box::new(move || held.take().map_or(0, |_| 1))
        },
        is_done: |state| state == "held", // by the writer, which keeps others out
    });
}

#[test]
fn who_waits_at_a_barrier_passes_though_the_last_one_was_killed_before_its_wake() {
    holds(&Trial {
        what: "barrier",
        make: |place| {
            let made = Barrier::options(2).namespace(&place.namespace).create("x");
            Box::new(made.unwrap())
        },
        sleeper: |place| {
            let barrier = open!(Barrier, place);
            Box::new(move || done(barrier.wait_timeout(LONG)))
        },
        waker: |place| {
            let barrier = open!(Barrier, place);
            Box::new(move || done(barrier.wait_timeout(LONG)))
        },
        is_done: |state| state == "0 of 2 waiting",
    });
}

#[test]
fn who_waits_for_a_condition_wakes_though_the_notifier_was_killed_before_its_wake() {
    holds(&Trial {
        what: "condition",
        make: |place| {
            let lock = Lock::options().namespace(&place.namespace).create("lock");
            let made = Condition::options().namespace(&place.namespace).create("x");
            Box::new((lock.unwrap(), made.unwrap()))
        },
        sleeper: |place| {
            let condition = open!(Condition, place);
            let lock = Lock::<()>::opener()
                .namespace(&place.namespace)
                .open("lock");
            let lock = lock.unwrap();
            Box::new(move || {
                let waited = condition.wait_timeout(lock.acquire().unwrap(), LONG);
                waited.map_or(0, |(_, was_notified)| was_notified.into())
            })
        },
        waker: |place| {
            let condition = open!(Condition, place);
            Box::new(move || done(condition.notify(1)))
        },
        is_done: |state| state == "0 waiting",
    });
}
