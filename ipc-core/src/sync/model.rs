//! Loom models of the primitives: one for each ordering. `mutate` in the tests shows that weakening any of them fails here.
//!
//! What threads of different processes do to what a primitive protects, the models do to witnesses. As in the queue's models, a
//! dead participant is one that stops at a chosen step, after which the oracle that stands for its lock byte says so. It may be swept by
//! the thread that played it: what a sweeper knows of the dead, the queue's models show.
//!
//! Where one thread tries once, it is the spawned one, which loom first runs after the other: of a load it forgets that somebody could
//! have changed the word before it, once that one has loaded the word too.

use std::sync::Arc;

use loom::thread;

use super::{
    barrier::{Arrival, BarrierCore},
    bounded_semaphore::BoundedSemaphoreCore,
    condition::ConditionCore,
    event::EventCore,
    frame::{self, Frame, Geometry, Mechanism},
    hold::{Held, Leaving, Word},
    lock::{self, LockCore},
    rwlock::RwLockCore,
    semaphore::SemaphoreCore,
};
use crate::{
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
        seat::{Activity, Notes, Seated},
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    prim::{AtomicU64, Relaxed, Release, Witnesses},
    region::Fresh,
};

const PARTICIPANTS: u32 = 3;

/// A primitive on the heap, three participants, and what it protects.
struct World<M> {
    core: M,
    participants: Participants,
    dead: Arc<AtomicU64>,
    witnesses: Witnesses,
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

/// A primitive that needs so many seats, with a value of two words.
fn world<M: Mechanism>(needed: usize) -> Arc<World<M>> {
    let geometry = Geometry {
        needed,
        notes: 0,
        value_bytes: 16,
    };
    let bytes = frame::file_bytes(geometry, PARTICIPANTS).unwrap();
    let mut fresh = Fresh::on_heap(bytes).unwrap();
    lifetime::place_header(&mut fresh, PARTICIPANTS).unwrap();
    frame::place(&mut fresh, geometry, PARTICIPANTS).unwrap();
    let region = fresh.share();
    let dead = Arc::new(AtomicU64::new(0));
    let probe = Probe::Oracle(Arc::clone(&dead));
    let participants = lifetime::header_of(&region, PARTICIPANTS, probe);
    for slot in 0..PARTICIPANTS {
        participants.occupy_for_model(slot, 1).unwrap();
    }
    let frame = Frame::over(&region, geometry, PARTICIPANTS).unwrap();
    Arc::new(World {
        core: M::over(frame).unwrap(),
        participants,
        dead,
        witnesses: Witnesses::new(2),
    })
}

impl<M: Mechanism> World<M> {
    /// From here on `slot` is dead.
    fn die(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Release);
    }

    fn sweep(&self) {
        self.participants.sweep(&self.core).unwrap();
    }

    /// Somebody new in the slot of the dead. `None` if another sweeper is not done with it.
    fn attach_again(&self, slot: u32) -> Option<Owner> {
        self.dead.fetch_and(!(1 << slot), Release);
        self.participants.occupy_for_model(slot, 1)
    }

    /// The caller reads what the primitive protects.
    fn reads(&self, index: usize) {
        tick();
        self.witnesses.read(index);
    }

    /// The caller writes what the primitive protects.
    fn writes(&self, index: usize) {
        tick();
        self.witnesses.write(index);
    }

    fn main(&self) -> &WaitWord {
        &self.core.frame().head().main
    }

    /// Takes the word if it is free.
    fn try_hold(&self, slot: u32) -> Option<Held> {
        self.core.frame().head().try_hold(owner(slot))
    }

    /// The value, as the holder of the word sees it.
    fn value(&self, held: Held) -> u64 {
        self.value_at(held.word)
    }

    fn value_at(&self, word: Word) -> u64 {
        let [one, two]: [u64; 2] = lock::read(self.core.frame(), word).unwrap();
        assert_eq!(one, two, "torn");
        one
    }

    fn set_value(&self, held: Held, value: u64) {
        lock::write(self.core.frame(), held.word, &[value; 2]);
    }
}

/// loom tells two moments of a thread apart only by an access to an atomic in between.
fn tick() {
    AtomicU64::new(0).store(1, Relaxed);
}

/// What a real wait does, asleep from the start.
fn asleep<'w, R>(word: &'w WaitWord, mut attempt: impl FnMut() -> Attempt<'w, R>) -> R {
    let patience = Patience::new();
    let waiting = Waiting {
        word,
        strategy: WaitStrategy::Sleep,
        patience: &patience,
        deadline: Deadline::NEVER,
        notes: Notes::Nowhere,
    };
    let attempt = || -> Attempt<'_, R> { attempt() }; // as long as `patience` lives
    waiting.until(attempt, || true, || None).unwrap()
}

/// What came of a try, for a wait that is woken for certain.
fn blocked<R>(word: &WaitWord, met: Option<R>) -> Attempt<'_, R> {
    match met {
        Some(done) => Attempt::Done(done),
        None => Attempt::Blocked(word),
    }
}

/// The same, for one that may not be woken.
fn unsettled<R>(word: &WaitWord, met: Option<R>) -> Attempt<'_, R> {
    match met {
        Some(done) => Attempt::Done(done),
        None => Attempt::Unsettled(word),
    }
}

fn leaving(has_written: bool) -> Leaving {
    Leaving {
        is_inconsistent: false,
        has_written,
    }
}

/// Explores with at most so many preemptions, which bounds the time; three find all known bugs.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

mod lock_word {
    use super::*;

    #[test]
    fn the_next_holder_sees_the_value_of_the_last_and_nobody_shares_it() {
        explore(3, || {
            let w = world::<LockCore>(0);
            let other = Arc::clone(&w);
            let add = |w: &World<LockCore>, slot| {
                let Some(held) = w.try_hold(slot) else { return };
                w.writes(0);
                let value = w.value(held);
                assert_eq!(held.word.is_second(), value == 1, "the valid copy");
                w.set_value(held, value + 1);
                assert!(w.core.frame.head().release(held, leaving(true), 1));
            };
            let t = thread::spawn(move || add(&other, 0));
            add(&w, 1);
            t.join().unwrap();
        });
    }

    #[test]
    fn who_sleeps_on_a_held_word_gets_it() {
        explore(3, || {
            let w = world::<LockCore>(0);
            let held = w.try_hold(0).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.set_value(held, 7);
                assert!(other.core.frame.head().release(held, leaving(true), 1));
            });
            let held = asleep(w.main(), || unsettled(w.main(), w.try_hold(1)));
            assert_eq!(w.value(held), 7);
            t.join().unwrap();
        });
    }

    #[test]
    fn the_value_of_a_dead_holder_is_what_it_was_before() {
        explore(3, || {
            let w = world::<LockCore>(0);
            let held = w.try_hold(0).unwrap();
            w.set_value(held, 5);
            w.core.frame.head().release(held, leaving(true), 1);
            let held = w.try_hold(0).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                let Some(held) = other.try_hold(1) else {
                    return;
                };
                assert!(held.word.is_inconsistent(), "the next one is warned");
                other.writes(0);
                assert_eq!(other.value(held), 5);
                other.set_value(held, 6);
                other.core.frame.head().release(held, leaving(true), 1);
                assert_eq!(other.value(other.try_hold(1).unwrap()), 6);
            });
            assert!(!held.word.is_inconsistent());
            w.writes(0);
            w.core.frame.value(false)[0].store(9, Relaxed); // half of it
            w.die(0);
            w.sweep();
            t.join().unwrap();
        });
    }

    #[test]
    fn a_release_before_death_is_no_death_in_the_lock() {
        explore(2, || {
            let w = world::<LockCore>(0);
            let held = w.try_hold(0).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.set_value(held, 5);
                assert!(other.core.frame.head().release(held, leaving(true), 1));
                other.die(0);
            });
            let sweeper = Arc::clone(&w);
            let s = thread::spawn(move || sweeper.sweep());
            let held = asleep(w.main(), || unsettled(w.main(), w.try_hold(1)));
            assert!(!held.word.is_inconsistent());
            assert_eq!(w.value(held), 5);
            s.join().unwrap();
            t.join().unwrap();
            assert!(w.core.frame.head().release(held, leaving(false), 1));
        });
    }

    #[test]
    fn a_slow_sweeper_does_not_free_the_word_of_the_next_holder() {
        explore(3, || {
            let w = world::<LockCore>(0);
            w.try_hold(0).unwrap();
            w.die(0);
            let slow = Arc::clone(&w);
            let s = thread::spawn(move || slow.sweep());
            w.sweep();
            let held = w.try_hold(1).unwrap();
            s.join().unwrap();
            assert!(w.core.frame.head().release(held, leaving(false), 1));
        });
    }

    #[test]
    fn a_slow_sweeper_does_not_rob_the_next_participant() {
        explore(3, || {
            let w = world::<LockCore>(0);
            w.die(0);
            let slow = Arc::clone(&w);
            let s = thread::spawn(move || slow.sweep());
            w.sweep();
            let held = w.attach_again(0).and_then(|_| w.try_hold(0));
            s.join().unwrap();
            if let Some(held) = held {
                assert!(w.core.frame.head().release(held, leaving(false), 1));
            }
        });
    }
}

mod rwlock {
    use super::*;

    impl World<RwLockCore> {
        fn want(&self, slot: u32) -> Option<Held> {
            self.core.frame().head().try_want(owner(slot))
        }

        fn enter(&self, wanted: Held) -> Option<Held> {
            self.core.try_enter(wanted).map(Result::unwrap)
        }
    }

    #[test]
    fn a_reader_and_a_writer_are_not_both_inside() {
        explore(3, || {
            let w = world::<RwLockCore>(1);
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                if let Some((seated, _)) = other.core.try_read(owner(0)) {
                    other.reads(0);
                    assert!(other.core.end_read(seated));
                }
            });
            let wanted = w.want(1).unwrap();
            let held = w.enter(wanted);
            if held.is_some() {
                w.writes(0);
            }
            assert!(w.core.end_write(held.unwrap_or(wanted), leaving(false)));
            t.join().unwrap();
        });
    }

    #[test]
    fn a_reader_sees_what_the_last_writer_wrote() {
        explore(3, || {
            let w = world::<RwLockCore>(1);
            let held = w.enter(w.want(0).unwrap()).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.writes(0);
                other.set_value(held, 5);
                assert!(other.core.end_write(held, leaving(true)));
            });
            let main = w.main();
            let (seated, word) = asleep(main, || unsettled(main, w.core.try_read(owner(1))));
            w.reads(0);
            assert_eq!(w.value_at(word), 5);
            assert!(w.core.end_read(seated));
            t.join().unwrap();
        });
    }

    #[test]
    fn a_writer_that_sleeps_is_woken_by_the_last_reader() {
        explore(3, || {
            let w = world::<RwLockCore>(1);
            let (seated, _) = w.core.try_read(owner(0)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.reads(0);
                assert!(other.core.end_read(seated));
            });
            let wanted = w.want(1).unwrap();
            let word = &w.core.frame().head().other;
            let held = asleep(word, || blocked(word, w.enter(wanted)));
            w.writes(0);
            assert!(w.core.end_write(held, leaving(false)));
            t.join().unwrap();
        });
    }

    #[test]
    fn a_writer_that_sleeps_is_woken_by_a_reader_that_stands_up_for_it() {
        explore(3, || {
            let w = world::<RwLockCore>(1);
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                if let Some((seated, _)) = other.core.try_read(owner(0)) {
                    other.reads(0);
                    other.core.end_read(seated);
                }
            });
            let wanted = w.want(1).unwrap();
            let word = &w.core.frame().head().other;
            let held = asleep(word, || blocked(word, w.enter(wanted)));
            w.writes(0);
            assert!(w.core.end_write(held, leaving(false)));
            t.join().unwrap();
        });
    }

    #[test]
    fn a_dead_reader_is_waited_for_no_longer() {
        explore(3, || {
            let w = world::<RwLockCore>(1);
            w.core.try_read(owner(0)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.reads(0);
                other.die(0);
                other.sweep();
            });
            let wanted = w.want(1).unwrap();
            let word = &w.core.frame().head().other;
            let held = asleep(word, || blocked(word, w.enter(wanted)));
            w.writes(0);
            assert!(!held.word.is_inconsistent());
            t.join().unwrap();
        });
    }

    #[test]
    fn only_a_writer_that_died_inside_leaves_a_warning() {
        for is_inside in [false, true] {
            explore(3, move || {
                let w = world::<RwLockCore>(1);
                let wanted = w.want(0).unwrap();
                if is_inside {
                    let held = w.enter(wanted).unwrap();
                    w.set_value(held, 9);
                }
                let other = Arc::clone(&w);
                let t = thread::spawn(move || {
                    if let Some((_, word)) = other.core.try_read(owner(1)) {
                        other.reads(0);
                        assert_eq!(word.is_inconsistent(), is_inside);
                        assert_eq!(other.value_at(word), 0);
                    }
                });
                w.writes(0);
                w.die(0);
                w.sweep();
                t.join().unwrap();
            });
        }
    }
}

mod semaphore {
    use super::*;

    #[test]
    fn what_was_done_before_a_release_is_seen_by_who_acquires() {
        for permits in [1, 1000] {
            explore(3, move || {
                let w = world::<SemaphoreCore>(0);
                let other = Arc::clone(&w);
                let t = thread::spawn(move || {
                    if other.core.try_acquire() {
                        other.reads(0);
                    }
                });
                w.writes(0);
                w.core.release(permits).unwrap();
                t.join().unwrap();
            });
        }
    }

    #[test]
    fn a_permit_that_others_passed_on_shows_what_each_of_them_did() {
        explore(3, || {
            let w = world::<SemaphoreCore>(0);
            let release = |w: &World<SemaphoreCore>, index| {
                w.writes(index);
                w.core.release(1).unwrap();
            };
            let one = Arc::clone(&w);
            let t = thread::spawn(move || release(&one, 0));
            let taker = Arc::clone(&w);
            let s = thread::spawn(move || {
                if taker.core.try_acquire() && taker.core.try_acquire() {
                    taker.reads(0);
                    taker.reads(1);
                }
            });
            release(&w, 1);
            t.join().unwrap();
            s.join().unwrap();
        });
    }

    #[test]
    fn no_wake_is_lost() {
        explore(3, || {
            let w = world::<SemaphoreCore>(0);
            let other = Arc::clone(&w);
            let t = thread::spawn(move || other.core.release(1).unwrap());
            let main = w.main();
            asleep(main, || blocked(main, w.core.try_acquire().then_some(())));
            t.join().unwrap();
            assert!(!w.core.try_acquire());
        });
    }

    /// Whoever is announced, and whether the permits come together or one after the other.
    #[test]
    fn each_of_two_sleepers_gets_a_permit() {
        for releases in [&[2][..], &[1, 1]] {
            explore(3, move || {
                let w = world::<SemaphoreCore>(0);
                let acquire = |w: &World<SemaphoreCore>| {
                    let main = w.main();
                    asleep(main, || blocked(main, w.core.try_acquire().then_some(())));
                };
                let (one, two) = (Arc::clone(&w), Arc::clone(&w));
                let t = thread::spawn(move || acquire(&one));
                let s = thread::spawn(move || acquire(&two));
                for &permits in releases {
                    w.core.release(permits).unwrap();
                }
                t.join().unwrap();
                s.join().unwrap();
            });
        }
    }
}

mod bounded_semaphore {
    use super::*;

    type Permits = World<BoundedSemaphoreCore>;

    fn acquire_asleep(w: &Permits, slot: u32) -> Seated {
        let main = w.main();
        asleep(main, || blocked(main, w.core.try_acquire(owner(slot))))
    }

    #[test]
    fn as_many_are_inside_as_there_are_permits_and_each_comes_after_the_last() {
        explore(3, || {
            let w = world::<BoundedSemaphoreCore>(1);
            let go_in = |w: &Permits, slot| {
                if let Some(seated) = w.core.try_acquire(owner(slot)) {
                    w.writes(0);
                    assert!(w.core.release(seated));
                }
            };
            let other = Arc::clone(&w);
            let t = thread::spawn(move || go_in(&other, 0));
            go_in(&w, 1);
            t.join().unwrap();
            assert_eq!(w.core.value(), 1);
        });
    }

    #[test]
    fn two_permits_are_not_given_to_three() {
        explore(2, || {
            let w = world::<BoundedSemaphoreCore>(2);
            w.core.try_acquire(owner(2)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || other.core.try_acquire(owner(0)).is_some());
            let mine = w.core.try_acquire(owner(1)).is_some();
            assert!(mine != t.join().unwrap());
        });
    }

    #[test]
    fn no_wake_is_lost() {
        explore(3, || {
            let w = world::<BoundedSemaphoreCore>(1);
            let seated = w.core.try_acquire(owner(0)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.writes(0);
                assert!(other.core.release(seated));
            });
            acquire_asleep(&w, 1);
            w.writes(0);
            t.join().unwrap();
        });
    }

    #[test]
    fn a_lent_permit_that_somebody_releases_wakes_a_sleeper() {
        explore(3, || {
            let w = world::<BoundedSemaphoreCore>(1);
            let seated = w.core.try_acquire(owner(0)).unwrap();
            assert!(w.core.lend(seated));
            w.die(0);
            w.sweep(); // stays lent
            let other = Arc::clone(&w);
            let t = thread::spawn(move || assert!(other.core.release_lent()));
            acquire_asleep(&w, 1);
            t.join().unwrap();
        });
    }

    #[test]
    fn the_permit_of_a_dead_holder_comes_back() {
        explore(3, || {
            let w = world::<BoundedSemaphoreCore>(1);
            w.core.try_acquire(owner(0)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.writes(0);
                other.die(0);
                other.sweep();
            });
            acquire_asleep(&w, 1);
            w.writes(0);
            t.join().unwrap();
        });
    }

    #[test]
    fn a_slow_sweeper_does_not_rob_the_next_participant() {
        explore(3, || {
            let w = world::<BoundedSemaphoreCore>(1);
            w.core.try_acquire(owner(0)).unwrap();
            w.die(0);
            let slow = Arc::clone(&w);
            let s = thread::spawn(move || slow.sweep());
            w.sweep();
            let seated = w.attach_again(0).and_then(|me| w.core.try_acquire(me));
            s.join().unwrap();
            assert!(seated.is_none_or(|seated| w.core.release(seated)));
        });
    }
}

mod event {
    use super::*;

    fn wait_asleep(w: &World<EventCore>, seen: u64) {
        let main = w.main();
        let attempt = || blocked(main, w.core.happened_since(seen).then_some(()));
        asleep(main, attempt);
    }

    #[test]
    fn what_was_done_before_a_set_is_seen_by_who_sees_it() {
        explore(3, || {
            let w = world::<EventCore>(0);
            let seen = w.core.word();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                if other.core.happened_since(seen) {
                    other.reads(0);
                }
            });
            w.writes(0);
            assert!(w.core.set());
            t.join().unwrap();
        });
    }

    #[test]
    fn a_set_wakes_a_sleeper_also_if_it_is_cleared_at_once() {
        for is_cleared in [false, true] {
            explore(3, move || {
                let w = world::<EventCore>(0);
                let seen = w.core.word();
                let other = Arc::clone(&w);
                let t = thread::spawn(move || {
                    other.writes(0);
                    assert!(other.core.set());
                    if is_cleared {
                        other.core.clear();
                    }
                });
                wait_asleep(&w, seen);
                w.reads(0);
                t.join().unwrap();
            });
        }
    }

    #[test]
    fn a_set_wakes_both_of_two_sleepers() {
        explore(3, || {
            let w = world::<EventCore>(0);
            let seen = w.core.word();
            let (one, two) = (Arc::clone(&w), Arc::clone(&w));
            let t = thread::spawn(move || wait_asleep(&one, seen));
            let s = thread::spawn(move || wait_asleep(&two, seen));
            assert!(w.core.set());
            t.join().unwrap();
            s.join().unwrap();
        });
    }

    #[test]
    fn who_clears_the_flag_sees_what_came_before_a_set_that_changed_nothing() {
        explore(3, || {
            let w = world::<EventCore>(0);
            assert!(w.core.set());
            let news = Arc::new(AtomicU64::new(0));
            let (other, theirs) = (Arc::clone(&w), Arc::clone(&news));
            let t = thread::spawn(move || {
                theirs.store(1, Relaxed);
                other.core.set();
            });
            let seen = w.core.word();
            w.core.clear();
            let was_seen = news.load(Relaxed) == 1;
            t.join().unwrap();
            assert!(was_seen || w.core.happened_since(seen & !1));
        });
    }

    #[test]
    fn who_sets_it_anew_comes_after_who_cleared_it() {
        explore(3, || {
            let w = world::<EventCore>(0);
            let go_in = |w: &World<EventCore>| {
                if w.core.set() {
                    w.writes(0);
                    w.core.clear();
                }
            };
            let other = Arc::clone(&w);
            let t = thread::spawn(move || go_in(&other));
            go_in(&w);
            t.join().unwrap();
        });
    }
}

mod condition {
    use super::*;

    #[test]
    fn what_was_done_before_a_notification_is_seen_by_the_notified() {
        explore(3, || {
            let w = world::<ConditionCore>(1);
            let seated = w.core.enter(owner(0)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.writes(0);
                assert_eq!(other.core.notify(1), 1);
            });
            let bell = &w.core.frame().seats.all()[seated.index].bell;
            let attempt = || blocked(bell, w.core.is_notified(seated).then_some(()));
            asleep(bell, attempt);
            w.reads(0);
            assert!(w.core.leave(seated));
            t.join().unwrap();
        });
    }

    #[test]
    fn two_notifiers_do_not_notify_the_same_waiter() {
        explore(3, || {
            let w = world::<ConditionCore>(2);
            let waiters = [0, 1].map(|slot| w.core.enter(owner(slot)).unwrap());
            let other = Arc::clone(&w);
            let t = thread::spawn(move || other.core.notify(1));
            assert_eq!(w.core.notify(1), 1);
            assert_eq!(t.join().unwrap(), 1);
            assert!(waiters.iter().all(|&seated| w.core.leave(seated)));
        });
    }

    #[test]
    fn a_notification_is_for_who_stays_if_the_other_gives_up() {
        explore(3, || {
            let w = world::<ConditionCore>(2);
            let [first, second] = [0, 1].map(|slot| w.core.enter(owner(slot)).unwrap());
            let other = Arc::clone(&w);
            let t = thread::spawn(move || assert_eq!(other.core.notify(1), 1));
            let first = w.core.leave(first);
            t.join().unwrap();
            assert!(first != w.core.leave(second), "exactly one is notified");
        });
    }

    #[test]
    fn the_notification_of_one_that_dies_is_passed_on() {
        explore(3, || {
            let w = world::<ConditionCore>(2);
            let [_, second] = [0, 1].map(|slot| w.core.enter(owner(slot)).unwrap());
            assert_eq!(w.core.notify(1), 1);
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.writes(0);
                other.die(0);
                other.sweep();
            });
            let bell = &w.core.frame().seats.all()[second.index].bell;
            let attempt = || blocked(bell, w.core.is_notified(second).then_some(()));
            asleep(bell, attempt);
            w.reads(0);
            t.join().unwrap();
        });
    }

    #[test]
    fn one_that_is_notified_while_it_is_swept_passes_it_on() {
        explore(3, || {
            let w = world::<ConditionCore>(2);
            let [first, second] = [0, 1].map(|slot| w.core.enter(owner(slot)).unwrap());
            w.die(0);
            let other = Arc::clone(&w);
            let t = thread::spawn(move || assert_eq!(other.core.notify(1), 1));
            w.sweep();
            t.join().unwrap();
            assert!(w.core.is_notified(second));
            assert!(w.core.frame().seats.all()[first.index].look().is_free());
        });
    }

    #[test]
    fn the_sweep_rings_for_a_notifier_that_died_before_it_did() {
        explore(3, || {
            let w = world::<ConditionCore>(1);
            let seated = w.core.enter(owner(0)).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                let seat = &other.core.frame().seats.all()[seated.index];
                assert!(seat.exchange(seated.ctl, seated.ctl.doing(Activity::Notified)));
                other.die(1);
                other.sweep();
            });
            let bell = &w.core.frame().seats.all()[seated.index].bell;
            let attempt = || blocked(bell, w.core.is_notified(seated).then_some(()));
            asleep(bell, attempt);
            t.join().unwrap();
        });
    }
}

mod barrier {
    use super::*;

    type Action = Option<Box<dyn FnOnce()>>;

    fn arrive(w: &World<BarrierCore>, slot: u32) -> Option<(usize, u64)> {
        match w.core.arrive(owner(slot)) {
            Arrival::At(index, generation) => Some((index, generation)),
            Arrival::Full => panic!("nobody else comes"),
            Arrival::Broken => None,
        }
    }

    /// Whether the generation ended well.
    fn pass_asleep(w: &World<BarrierCore>, slot: u32, generation: u64, action: Action) -> bool {
        let (me, main) = (owner(slot), w.main());
        let mut action: Option<Box<dyn FnOnce()>> = action;
        let attempt = || blocked(main, w.core.try_pass(me, generation, &mut action));
        asleep(main, attempt)
    }

    #[test]
    fn all_see_what_all_did_before() {
        explore(3, || {
            let w = world::<BarrierCore>(2);
            let go = |w: &World<BarrierCore>, slot: u32| {
                w.writes(slot as usize);
                let (index, generation) = arrive(w, slot).unwrap();
                assert!(pass_asleep(w, slot, generation, None));
                w.reads(1 - slot as usize);
                index
            };
            let other = Arc::clone(&w);
            let t = thread::spawn(move || go(&other, 0));
            let mine = go(&w, 1);
            assert_eq!(mine + t.join().unwrap(), 1, "indexes 0 and 1");
        });
    }

    #[test]
    fn a_generation_ends_once_and_the_next_begins() {
        explore(2, || {
            let w = world::<BarrierCore>(2);
            let go = |w: &World<BarrierCore>, slot: u32| {
                for round in 0..2 {
                    let main = w.main();
                    let (_, generation) = asleep(main, || match w.core.arrive(owner(slot)) {
                        Arrival::At(index, generation) => Attempt::Done((index, generation)),
                        Arrival::Full => Attempt::Blocked(main),
                        Arrival::Broken => panic!("nobody breaks it"),
                    });
                    assert_eq!(generation, round);
                    assert!(pass_asleep(w, slot, generation, None));
                }
            };
            let other = Arc::clone(&w);
            let t = thread::spawn(move || go(&other, 0));
            go(&w, 1);
            t.join().unwrap();
        });
    }

    #[test]
    fn an_action_comes_after_all_have_come_and_before_any_goes_on() {
        explore(3, || {
            let w = world::<BarrierCore>(2);
            let (_, mine) = arrive(&w, 1).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                let (_, generation) = arrive(&other, 0).unwrap();
                let inside = Arc::clone(&other);
                let action = move || inside.writes(0);
                assert!(pass_asleep(&other, 0, generation, Some(Box::new(action))));
            });
            let inside = Arc::clone(&w);
            let action = move || inside.writes(0);
            assert!(pass_asleep(&w, 1, mine, Some(Box::new(action))));
            w.reads(0);
            t.join().unwrap();
        });
    }

    #[test]
    fn one_without_an_action_waits_for_the_action_of_another() {
        explore(3, || {
            let w = world::<BarrierCore>(2);
            let (_, mine) = arrive(&w, 1).unwrap();
            let (_, theirs) = arrive(&w, 0).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || pass_asleep(&other, 0, theirs, Some(Box::new(|| {}))));
            assert!(pass_asleep(&w, 1, mine, None));
            assert!(t.join().unwrap());
        });
    }

    #[test]
    fn all_of_a_generation_get_the_same_answer_if_one_gives_up() {
        explore(3, || {
            let w = world::<BarrierCore>(2);
            let (_, mine) = arrive(&w, 1).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                arrive(&other, 0).is_some_and(|(_, g)| pass_asleep(&other, 0, g, None))
            });
            let is_whole = w.core.abort_generation(mine) == Some(true);
            assert_eq!(is_whole, t.join().unwrap());
        });
    }

    #[test]
    fn a_death_breaks_it_for_a_sleeper() {
        explore(3, || {
            let w = world::<BarrierCore>(2);
            let (_, mine) = arrive(&w, 1).unwrap();
            let other = Arc::clone(&w);
            let t = thread::spawn(move || {
                other.die(0);
                other.sweep();
            });
            assert!(!pass_asleep(&w, 1, mine, None));
            assert!(arrive(&w, 1).is_none());
            t.join().unwrap();
        });
    }

    #[test]
    fn a_slow_sweeper_does_not_undo_a_reset() {
        explore(3, || {
            let w = world::<BarrierCore>(2);
            w.die(0);
            let slow = Arc::clone(&w);
            let s = thread::spawn(move || slow.sweep());
            w.sweep();
            w.core.reset();
            s.join().unwrap();
            assert!(arrive(&w, 1).is_some());
        });
    }
}
