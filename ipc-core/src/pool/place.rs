//! A worker's place in its pool's object: what it does, and who decides that it is to do no more.
//!
//! # Layout
//!
//! ```text
//!   0     8      16     24     32       40     48     56      64        128
//!   ┌─────┬──────┬──────┬──────┬────────┬──────┬──────┬───────┬─────────┐
//!   │claim│ pid  │batch │index │attempt │since │ done │ leave │    -    │
//!   ├─────┼──────┼──────┴──────┴────────┴──────┴──────┼───────┼─────────┤
//!   │both │parent│ worker                             │parent │         │
//!   └─────┴──────┴────────────────────────────────────┴───────┴─────────┘
//! ```
//!
//! # The claim word
//!
//! `sequence:61 | state:3`. The parent takes back from a worker the right to go on, in the same word in which the worker says what it does:
//!
//! ```text
//!           parent               worker              worker
//! FREE(n) ─────────→ STARTING(n) ───────→ IDLE(n) ⇄ BUSY(n + 1) …           IDLE(n) ─→ RETIRED(n)
//!    ↑                   │                   │         │           worker
//!    │                   └───────────────────┴─────────┴──→ CONDEMNED(n): parent
//!    └──── parent, once it is dead ────────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! * I1. A worker runs a task only between its own exchange to BUSY(n) and its own exchange to IDLE(n). So one that is condemned while BUSY(n)
//!   has begun no other task, and begins none: what it loses by being killed is that one.
//! * I2. A task that no place shows as BUSY was not begun by a worker that is dead.
//!
//! # Ordering
//!
//! * O1. claim exchange(Release) to BUSY, and to RETIRED → load(Acquire): who sees a worker busy reads which task it has and since when, or what
//!   it did later; and who condemns it then, that very task (I1).
//!
//! # If a process dies
//!
//! The word stays as it is; the parent reads it once the worker is dead, and frees it.
//!
//! # If somebody lies
//!
//! A worker that finds another word than it wrote takes itself for condemned. If nobody kills it, it ends by itself, and its parent replaces
//! it. The parent kills who says what no living worker says, and has its own time at which it saw a worker busy.

use crate::{
    error::Damage,
    prim::{Acquire, AtomicU64, Relaxed, Release},
};

pub(super) const PLACE_WORDS: usize = 16;
const STATE: u64 = 7;
const SEQUENCE: u64 = 8;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Starting,
    Idle,
    Busy,
    Retired,
    Condemned,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Free,
        Self::Starting,
        Self::Idle,
        Self::Busy,
        Self::Retired,
        Self::Condemned,
    ];
}

/// The claim word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim(u64);

impl Claim {
    pub(super) fn state(self) -> Result<State, Damage> {
        let state = State::ALL.get((self.0 & STATE) as usize).copied();
        state.ok_or(Damage("a worker is in no known state"))
    }

    /// Goes one up with each task, and with each worker in this place.
    pub(super) fn sequence(self) -> u64 {
        self.0 / SEQUENCE
    }

    fn turned(self, state: State) -> Self {
        Self(self.0 & !STATE | state as u64)
    }

    fn next(self, state: State) -> Self {
        Self(self.0.wrapping_add(SEQUENCE) & !STATE | state as u64)
    }
}

/// A task, and which attempt at it this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct TaskId {
    pub(super) batch: u64,
    pub(super) index: u32,
    pub(super) attempt: u32,
}

/// What a place says besides its claim word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Doing {
    pub(super) task: TaskId,
    /// On the monotonic clock.
    pub(super) since_ns: u64,
}

/// The parent has taken back the right to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condemned;

/// The words of one worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a>(&'a [AtomicU64]);

impl<'a> Place<'a> {
    pub(super) fn of(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() == PLACE_WORDS).then_some(Self(words))
    }

    fn claim(self) -> &'a AtomicU64 {
        &self.0[0]
    }

    /// True of one instant.
    pub(super) fn look(self) -> Claim {
        Claim(self.claim().load(Acquire)) // O1
    }

    pub(super) fn is_busy(&self) -> bool {
        self.look().state() == Ok(State::Busy)
    }

    pub(super) fn pid(self) -> u32 {
        self.0[1].load(Relaxed) as u32
    }

    pub(super) fn set_pid(self, pid: u32) {
        self.0[1].store(u64::from(pid), Relaxed);
    }

    /// How many tasks it has done.
    pub(super) fn done(self) -> u64 {
        self.0[6].load(Relaxed)
    }

    /// For the parent: asks it to end behind its task.
    pub(super) fn ask_to_leave(self) {
        self.0[7].store(1, Relaxed);
    }

    /// For a worker: whether it is to end behind its task.
    pub(super) fn is_to_leave(self) -> bool {
        self.0[7].load(Relaxed) != 0
    }

    /// What it does, if [`Self::look`] says that it is busy; of another task if that is over by now.
    pub(super) fn doing(self) -> Doing {
        Doing {
            task: TaskId {
                batch: self.0[2].load(Relaxed),
                index: self.0[3].load(Relaxed) as u32,
                attempt: self.0[4].load(Relaxed) as u32,
            },
            since_ns: self.0[5].load(Relaxed),
        }
    }

    /// For the parent: gives a free place, or one of a dead worker, to a new one.
    pub(super) fn assign(self) {
        let next = self.look().next(State::Starting);
        self.0[1].store(0, Relaxed);
        self.0[6].store(0, Relaxed);
        self.0[7].store(0, Relaxed);
        self.claim().store(next.0, Relaxed); // only this process writes to it now
    }

    /// For the parent: the worker is dead.
    pub(super) fn free(self) {
        self.claim().store(self.look().next(State::Free).0, Relaxed);
    }

    fn exchange(self, seen: Claim, next: Claim) -> Result<Claim, Condemned> {
        let exchanged = self
            .claim()
            .compare_exchange(seen.0, next.0, Release, Relaxed); // O1
        exchanged.map(|_| next).map_err(|_| Condemned)
    }

    /// For a worker that starts.
    pub(super) fn begin(self) -> Result<Claim, Condemned> {
        let seen = self.look();
        match seen.state() {
            Ok(State::Starting) => self.exchange(seen, seen.turned(State::Idle)),
            _ => Err(Condemned),
        }
    }

    fn write(self, doing: Doing) {
        self.0[2].store(doing.task.batch, Relaxed);
        self.0[3].store(u64::from(doing.task.index), Relaxed);
        self.0[4].store(u64::from(doing.task.attempt), Relaxed);
        self.0[5].store(doing.since_ns, Relaxed);
    }

    /// For a worker that has leased a task: begins it (I1).
    pub(super) fn take(self, idle: Claim, doing: Doing) -> Result<Claim, Condemned> {
        self.write(doing);
        self.exchange(idle, idle.next(State::Busy))
    }

    /// For a worker: the task is over.
    pub(super) fn finish(self, busy: Claim) -> Result<Claim, Condemned> {
        let done = self.0[6].load(Relaxed);
        self.0[6].store(done.wrapping_add(1), Relaxed);
        self.exchange(busy, busy.turned(State::Idle))
    }

    /// For a worker that was asked to end.
    pub(super) fn retire(self, idle: Claim, doing: Doing) -> Result<Claim, Condemned> {
        self.write(doing);
        self.exchange(idle, idle.turned(State::Retired))
    }

    /// For the parent: takes back the right to go on, if the worker still does what was seen (I1).
    pub(super) fn condemn(self, seen: Claim) -> bool {
        let condemned = seen.turned(State::Condemned);
        let claim = self.claim();
        claim
            .compare_exchange(seen.0, condemned.0, Relaxed, Relaxed) // what was seen was acquired then
            .is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..PLACE_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    const TASK: Doing = Doing {
        task: TaskId {
            batch: 3,
            index: 4,
            attempt: 1,
        },
        since_ns: 99,
    };

    #[test]
    fn a_worker_goes_from_task_to_task_until_it_is_condemned() {
        let words = words();
        let place = Place::of(&words).expect("so many words");
        place.assign();
        let idle = place.begin().expect("it was assigned");
        let busy = place.take(idle, TASK).expect("nobody has condemned it");
        assert!(place.is_busy());
        assert_eq!(place.doing(), TASK);
        let idle = place.finish(busy).expect("nobody has condemned it");
        assert_eq!(place.done(), 1);
        assert!(!place.condemn(busy), "that task is over");
        assert!(place.condemn(idle));
        assert_eq!(place.take(idle, TASK), Err(Condemned));
        place.free();
        assert_eq!(place.look().state(), Ok(State::Free));
    }

    #[test]
    fn a_place_is_begun_once() {
        let words = words();
        let place = Place::of(&words).expect("so many words");
        assert_eq!(place.begin(), Err(Condemned), "nobody assigned it");
        place.assign();
        place.begin().expect("it was assigned");
        assert_eq!(place.begin(), Err(Condemned));
    }

    #[test]
    fn a_word_that_nobody_writes_is_no_state() {
        let words = words();
        words[0].store(7, Relaxed);
        let place = Place::of(&words).expect("so many words");
        assert!(place.look().state().is_err());
        assert!(!place.is_busy());
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use super::*;

    fn doing(index: u32) -> Doing {
        Doing {
            task: TaskId {
                batch: 1,
                index,
                attempt: 1,
            },
            since_ns: u64::from(index),
        }
    }

    /// Does two tasks, unless it is condemned. The last one that it has finished.
    fn work(place: Place<'_>, mut idle: Claim) -> u32 {
        for index in 1..=2 {
            let Ok(busy) = place.take(idle, doing(index)) else {
                return index - 1;
            };
            let Ok(next) = place.finish(busy) else {
                return index - 1;
            };
            idle = next;
        }
        2
    }

    /// A worker does two tasks while its parent condemns it when it finds it busy: the parent knows which task that was, and none
    /// is begun afterwards (I1, O1).
    #[test]
    fn who_condemns_a_busy_worker_knows_its_task() {
        loom::model(|| {
            let words: Arc<Vec<AtomicU64>> =
                Arc::new((0..PLACE_WORDS).map(|_| AtomicU64::new(0)).collect());
            let of_parent = Arc::clone(&words);
            let place = Place::of(&words).unwrap();
            place.assign();
            let idle = place.begin().unwrap();
            let parent = loom::thread::spawn(move || {
                let place = Place::of(&of_parent).unwrap();
                let seen = place.look();
                let is_condemned = seen.state() == Ok(State::Busy) && place.condemn(seen);
                is_condemned.then(|| place.doing())
            });
            let finished = work(place, idle);
            match parent.join().unwrap() {
                Some(found) => assert_eq!(found, doing(finished + 1), "it was not the task it had"),
                None => assert_eq!(finished, 2),
            }
        });
    }
}
