//! Locks, semaphores, events and conditions, against what a process or the C library has for the same.
//!
//! In `lock_alone` and `semaphore_alone` one thread acquires and releases; each peer's lock protects a number, which is added
//! one to, and ours where the name says so. In `lock_contended` two workers on two cores do so at the same time, and add one
//! to four words; an item is one acquisition, whoever gets it. `event_wake` and `condition_wake` are there and back, asleep,
//! as `round_trip`'s futex floors.
//!
//! `std` and `parking_lot` live in one process, so they are contended by threads.
#![allow(unsafe_code)]

use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::Workers::{Processes, Threads};
use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::harness::{Placement, solo};
use ipc_benches::pthread::{Death, Mutex, Semaphore as PosixSemaphore};
use ipc_benches::sync::{Name, Words};
use ipc_benches::{Shared, ZeroIsValid, nth_core};
use ipc_core::{BoundedSemaphore, Condition, Event, Lock, RLock, RwLock, Semaphore, WaitStrategy};
use raw_sync::locks::{LockImpl, LockInit};
use std::hint::black_box;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How long each of these figures is measured: there are many of them.
pub(crate) const TIME: Duration = Duration::from_secs(1);

/// Makes an object of these options.
macro_rules! named {
    ($options:expr) => {
        Name::of(|place, name| $options.namespace(place).create(name))
    };
}

/// What a worker does to open it.
macro_rules! opener {
    ($name:expr, $kind:ty, $strategy:expr) => {
        $name.opener(move |place, name| {
            let options = <$kind>::opener().namespace(place).wait($strategy);
            options.open(name)
        })
    };
}

/// Makes it and opens it, in a worker that uses it alone.
macro_rules! own {
    ($kind:ty, $options:expr) => {
        opener!(named!($options), $kind, WaitStrategy::default())()
    };
}

/// One thread's step.
fn alone<S: FnMut()>(step: impl FnOnce() -> S + Send + 'static) -> Crew {
    solo(move || {
        let mut step = step();
        move |_| step()
    })
}

/// Acquire and release, uncontended.
pub(crate) fn locks_alone(suite: &mut Suite) {
    lock_peers_alone(suite);
    let mut figure = |name, start: fn() -> Crew| {
        let against = [
            "peer_std_mutex",
            "peer_parking_lot",
            "peer_pthread_shared",
            "peer_pthread_robust",
            "peer_raw_sync_mutex",
        ];
        let id = ("lock_alone", name);
        suite.figure(id, &against, Throughput::Elements(1), start);
    };
    figure("ipc_lock", || {
        alone(|| {
            let (lock, number) = (own!(Lock, Lock::options()), AtomicU64::new(0));
            move || {
                let _held = black_box(&lock).acquire().expect("acquire");
                add_one(&number);
            }
        })
    });
    figure("ipc_lock_u64", || {
        alone(|| {
            let lock = own!(Lock<u64>, Lock::options_with(0u64));
            move || *black_box(&lock).acquire().expect("acquire") += 1
        })
    });
    figure("ipc_rlock", || {
        alone(|| {
            let (lock, number) = (own!(RLock, RLock::options()), AtomicU64::new(0));
            move || {
                let _held = black_box(&lock).acquire().expect("acquire");
                add_one(&number);
            }
        })
    });
    figure("ipc_rwlock_read", || {
        alone(|| {
            let lock = own!(RwLock<u64>, RwLock::options_with(0u64));
            move || {
                black_box(*black_box(&lock).read().expect("acquire"));
            }
        })
    });
    figure("ipc_rwlock_write", || {
        alone(|| {
            let lock = own!(RwLock<u64>, RwLock::options_with(0u64));
            move || *black_box(&lock).write().expect("acquire") += 1
        })
    });
}

fn lock_peers_alone(suite: &mut Suite) {
    let mut figure = |name, against: &[&str], start: fn() -> Crew| {
        let id = ("lock_alone", name);
        suite.figure(id, against, Throughput::Elements(1), start);
    };
    figure("floor_exchange", &[], || {
        alone(|| {
            let (state, number) = (AtomicU32::new(0), AtomicU64::new(0));
            move || {
                let state = black_box(&state);
                let taken = state.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
                assert_eq!(taken, Ok(0));
                add_one(&number);
                state.store(0, Ordering::Release);
            }
        })
    });
    let floor = &["floor_exchange"];
    figure("peer_std_mutex", floor, || {
        alone(|| {
            let number = std::sync::Mutex::new(0u64);
            move || *black_box(&number).lock().expect("nobody panics") += 1
        })
    });
    figure("peer_parking_lot", floor, || {
        alone(|| {
            let number = parking_lot::Mutex::new(0u64);
            move || *black_box(&number).lock() += 1
        })
    });
    figure("peer_pthread_shared", floor, || {
        pthread_alone(Death::Sticks)
    });
    figure("peer_pthread_robust", floor, || {
        pthread_alone(Death::IsNoticed)
    });
    figure("peer_raw_sync_mutex", floor, || {
        alone(|| {
            let (mutex, number) = (RawSync::new(), AtomicU64::new(0));
            move || mutex.with(|| add_one(&number))
        })
    });
}

fn pthread_alone(death: Death) -> Crew {
    alone(move || {
        let (mutex, number) = (Mutex::new(death), AtomicU64::new(0));
        move || mutex.with(|| add_one(&number))
    })
}

/// As to a plain number, under a lock that does not know of it.
fn add_one(number: &AtomicU64) {
    let number = black_box(number);
    number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Room for raw_sync's mutex.
#[repr(C, align(64))]
struct Memory([AtomicU64; 16]);

// SAFETY: atomics only, for which zero is a value; aligned to 64.
unsafe impl ZeroIsValid for Memory {}

/// raw_sync's mutex in memory that processes could share.
struct RawSync {
    lock: Box<dyn LockImpl>,
    _memory: Shared<Memory>,
}

impl RawSync {
    fn new() -> Self {
        let memory = Shared::<Memory>::zeroed();
        let start = memory.0[0].as_ptr().cast();
        let needed = raw_sync::locks::Mutex::size_of(Some(start));
        assert!(needed <= size_of::<Memory>());
        // SAFETY: there is room, it outlives the lock, and nobody else uses it; the mutex protects nothing.
        let made = unsafe { raw_sync::locks::Mutex::new(start, ptr::null_mut()) };
        let (lock, _) = made.expect("make a mutex of raw_sync");
        Self {
            lock,
            _memory: memory,
        }
    }

    /// Locks, does `work`, unlocks.
    #[inline]
    fn with(&self, work: impl FnOnce()) {
        let guard = self.lock.lock().expect("lock");
        work();
        drop(guard);
    }
}

/// Two workers, apart, that take turns as they can. `step` says how often both have done it.
fn contended<S: FnMut() -> u64>(
    kind: Workers,
    step: impl FnOnce() -> S + Clone + Send + 'static,
) -> Crew {
    let role = |n| {
        let step = step.clone();
        Role::new("taker", nth_core(n), move |rounds: &mut Rounds| {
            rounds.together(step())
        })
    };
    Crew::start(kind, vec![role(0), role(1)])
}

/// Acquisitions a second of two workers together.
pub(crate) fn locks_contended(suite: &mut Suite) {
    let mut figure = |name, against: &[&str], start: fn() -> Crew| {
        let id = ("lock_contended", name);
        suite.figure(id, against, Throughput::Elements(2), start);
    };
    figure("peer_pthread_shared", &[], || {
        let (mutex, words) = (Arc::new(Mutex::new(Death::Sticks)), Words::new());
        contended(Processes, || move || mutex.with(|| words.add()))
    });
    figure("peer_pthread_robust", &["peer_pthread_shared"], || {
        let (mutex, words) = (Arc::new(Mutex::new(Death::IsNoticed)), Words::new());
        contended(Processes, || move || mutex.with(|| words.add()))
    });
    figure("peer_parking_lot", &["peer_pthread_shared"], || {
        let words = Arc::new(parking_lot::Mutex::new([0u64; 4]));
        contended(Threads, || move || add_to(&mut words.lock()))
    });
    let peers = &["peer_pthread_shared", "peer_parking_lot"];
    figure("ipc_lock", peers, || {
        let (name, words) = (named!(Lock::options()), Words::new());
        let open = opener!(name, Lock, WaitStrategy::default());
        contended(Processes, || {
            let lock = open();
            move || {
                let _guard = lock.acquire().expect("acquire");
                words.add()
            }
        })
    });
    // The words are the lock's own value, which is never torn.
    figure("ipc_lock_value", peers, || {
        let name = named!(Lock::options_with([0u64; 4]));
        let open = opener!(name, Lock<[u64; 4]>, WaitStrategy::default());
        contended(Processes, || {
            let lock = open();
            move || add_to(&mut lock.acquire().expect("acquire"))
        })
    });
}

/// Adds one to each word. Returns what they are then.
fn add_to(words: &mut [u64; 4]) -> u64 {
    words.iter_mut().for_each(|word| *word += 1);
    words[0]
}

/// A permit taken and given back, uncontended.
pub(crate) fn semaphores_alone(suite: &mut Suite) {
    let mut figure = |name, against: &[&str], start: fn() -> Crew| {
        let id = ("semaphore_alone", name);
        suite.figure(id, against, Throughput::Elements(1), start);
    };
    figure("peer_posix", &[], || {
        alone(|| {
            let semaphore = PosixSemaphore::new(4);
            move || semaphore.pass()
        })
    });
    figure("ipc_semaphore", &["peer_posix"], || {
        alone(|| {
            let semaphore = own!(Semaphore, Semaphore::options(4));
            move || drop(black_box(semaphore.acquire().expect("acquire")))
        })
    });
    figure("ipc_bounded_semaphore", &["peer_posix"], || {
        alone(|| {
            let semaphore = own!(BoundedSemaphore, BoundedSemaphore::options(4));
            move || drop(black_box(semaphore.acquire().expect("acquire")))
        })
    });
}

/// Where two workers of a round trip are, and the floor there.
const PLACEMENTS: [(Placement, &str, &str); 2] = [
    (
        Placement::Apart,
        "ipc_two_cores",
        "round_trip/floor_futex_two_cores",
    ),
    (
        Placement::Together,
        "ipc_one_core",
        "round_trip/floor_futex_one_core",
    ),
];

/// Starts who asks and who answers.
fn there_and_back<A: FnMut(), B: FnMut()>(
    placement: Placement,
    ask: impl FnOnce() -> A + Send + 'static,
    answer: impl FnOnce() -> B + Send + 'static,
) -> Crew {
    let ask = move |rounds: &mut Rounds| {
        let mut ask = ask();
        rounds.each(|_| ask());
    };
    let answer = move |rounds: &mut Rounds| {
        let mut answer = answer();
        rounds.each(|_| answer());
    };
    let (here, there) = placement.cores();
    let roles = vec![
        Role::new("ask", here, ask),
        Role::new("answer", there, answer),
    ];
    Crew::start(Processes, roles)
}

/// One process sets an event and waits for another one, which the other process sets.
pub(crate) fn events(suite: &mut Suite) {
    for (placement, name, floor) in PLACEMENTS {
        let crew = move || {
            let (asked, answered) = (named!(Event::options()), named!(Event::options()));
            let open = |name: &Name| opener!(name, Event, WaitStrategy::Sleep);
            let (ask, answer) = (
                (open(&asked), open(&answered)),
                (open(&asked), open(&answered)),
            );
            there_and_back(
                placement,
                || {
                    let (asked, answered) = (ask.0(), ask.1());
                    move || {
                        asked.set().expect("set");
                        answered.wait().expect("wait");
                        answered.clear().expect("clear");
                    }
                },
                || {
                    let (asked, answered) = (answer.0(), answer.1());
                    move || {
                        asked.wait().expect("wait");
                        asked.clear().expect("clear");
                        answered.set().expect("set");
                    }
                },
            )
        };
        suite.figure(
            ("event_wake", name),
            &[floor],
            Throughput::Elements(1),
            crew,
        );
    }
}

/// Two processes take turns by a lock around whose turn it is, and a condition that says that it has changed.
pub(crate) fn conditions(suite: &mut Suite) {
    for (placement, name, floor) in PLACEMENTS {
        let crew = move || {
            let (turn, changed) = (
                named!(Lock::options_with(0u32)),
                named!(Condition::options()),
            );
            let side = |mine: u32, other: u32| {
                let turn = opener!(turn, Lock<u32>, WaitStrategy::Sleep);
                let changed = opener!(changed, Condition, WaitStrategy::Sleep);
                move || {
                    (
                        Turns {
                            turn: turn(),
                            changed: changed(),
                        },
                        mine,
                        other,
                    )
                }
            };
            let (ask, answer) = (side(0, 1), side(1, 0));
            there_and_back(
                placement,
                || {
                    let (turns, mine, other) = ask();
                    move || {
                        turns.pass_to(other);
                        turns.wait_for(mine);
                    }
                },
                || {
                    let (turns, mine, other) = answer();
                    move || {
                        turns.wait_for(mine);
                        turns.pass_to(other);
                    }
                },
            )
        };
        let id = ("condition_wake", name);
        suite.figure(id, &[floor], Throughput::Elements(1), crew);
    }
}

struct Turns {
    turn: Lock<u32>,
    changed: Condition,
}

impl Turns {
    fn pass_to(&self, other: u32) {
        *self.turn.acquire().expect("acquire") = other;
        self.changed.notify(1).expect("notify");
    }

    fn wait_for(&self, mine: u32) {
        let turn = self.turn.acquire().expect("acquire");
        let waited = self.changed.wait_for(turn, |turn| *turn == mine);
        drop(waited.expect("wait"));
    }
}
