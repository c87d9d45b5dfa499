//! What other processes see of a pool, and how they tell it something: an object of its own.
//!
//! # Layout
//!
//! Behind the object's header and slots (`n` workers at the most; `geometry[0]`):
//!
//! ```text
//!   0     8      16     24        32   40     48      56      64     72     80      128      256            256 + 128 × (1 + i)
//!   ┌─────┬──────┬──────┬─────────┬────┬──────┬───────┬───────┬──────┬──────┬───┬────────┬─────────────┬─────────────┐
//!   │phase│wanted│orders│submitted│done│failed│retried│started│ lost │parent│ - │ doorbell │ 4 notes   │ places[0..n]│
//!   ├─────┴──────┴──────┼─────────┴────┴──────┴───────┴───────┴──────┴──────┴───┼──────────┼───────────┼─────────────┤
//!   │ parent, others    │ parent                                                │ all      │ sleepers  │ see `place` │
//!   └───────────────────┴───────────────────────────────────────────────────────┴──────────┴───────────┴─────────────┘
//! ```
//!
//! # Invariants
//!
//! * I1. Nothing here says whether a task is done, or lost: messages, their leases and the kernel do. A peer that writes here can have a pool
//!   show wrong figures, have other numbers of workers (within its bounds), end it, or have a worker killed whose task then fails.
//! * I2. A phase only goes forward.
//!
//! # Ordering
//!
//! * O2. `orders` fetch_add(Release) → load(Acquire): who sees that there is an order sees what was ordered.
//!
//! # If a process dies
//!
//! Who gives an order, between writing it and ringing: its sweep wakes all. A worker: its parent frees its place. The parent: its workers die
//! with it, and what it left says of itself that nobody is there.

use std::sync::Arc;

use super::place::{PLACE_WORDS, Place};
use crate::{
    error::Damage,
    object::{
        lifetime,
        participant::{Dead, Repair},
        seat::{Seat, Seats, Visitor},
        wait::WaitWord,
    },
    prim::{Acquire, AtomicU64, Relaxed, Release},
    region::{CacheLine, Fresh, One, OutOfBounds, Region, Span, identity::Facts},
};

/// The most workers of a pool.
pub(crate) const MOST_WORKERS: usize = 4096;
const PAGE_WORDS: usize = 16;
const NOTES: usize = 4;

/// The words of the page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Phase,
    Wanted,
    Orders,
    Submitted,
    Done,
    Failed,
    Retried,
    Started,
    Lost,
    Parent,
}

/// What a pool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PoolPhase {
    /// It takes tasks.
    Running,
    /// It takes no more tasks, and ends when those that it has are done.
    Closing,
    /// It was told to end without doing what it has.
    Terminated,
    /// It has ended: no worker is left.
    Ended,
}

impl PoolPhase {
    const ALL: [Self; 4] = [Self::Running, Self::Closing, Self::Terminated, Self::Ended];

    fn of(word: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(word).ok()?).copied()
    }
}

impl core::fmt::Display for PoolPhase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Closing => "closing",
            Self::Terminated => "terminated",
            Self::Ended => "ended",
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Offsets {
    page: usize,
    doorbell: usize,
    notes: usize,
    places: usize,
    end: usize,
}

fn plan(workers: usize, participants: u32) -> Option<Offsets> {
    let (mut planner, _) = lifetime::plan(participants)?;
    Some(Offsets {
        page: planner.place::<AtomicU64>(PAGE_WORDS, 128)?,
        doorbell: planner.place::<CacheLine<WaitWord>>(1, 128)?,
        notes: planner.place::<Seat>(NOTES, 128)?,
        places: planner.place::<AtomicU64>(workers.checked_mul(PLACE_WORDS)?, 128)?,
        end: planner.end(),
    })
}

pub(super) fn file_bytes(workers: usize, participants: u32) -> Option<usize> {
    plan(workers, participants).map(|at| at.end)
}

pub(super) fn place(
    fresh: &mut Fresh,
    workers: usize,
    participants: u32,
) -> Result<(), OutOfBounds> {
    let at = plan(workers, participants).ok_or(OutOfBounds)?;
    fresh.place::<AtomicU64>(at.page, PAGE_WORDS)?;
    fresh.place::<CacheLine<WaitWord>>(at.doorbell, 1)?;
    fresh.place::<Seat>(at.notes, NOTES)?;
    fresh.place::<AtomicU64>(at.places, workers * PLACE_WORDS)
}

/// A pool's object.
#[derive(Debug)]
pub(crate) struct Control {
    page: Span<AtomicU64>,
    doorbell: One<CacheLine<WaitWord>>,
    pub(super) notes: Seats,
    places: Span<AtomicU64>,
    workers: usize,
}

/// Builds it over an object's memory.
pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Control>, Damage> {
    let workers = usize::try_from(facts.geometry[0]).unwrap_or(usize::MAX);
    if !(1..=MOST_WORKERS).contains(&workers) {
        return Err(Damage("its geometry is impossible"));
    }
    Control::over(region, workers, facts.participants)
        .map(Arc::new)
        .map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))
}

impl Control {
    pub(super) fn over(
        region: &Arc<Region>,
        workers: usize,
        participants: u32,
    ) -> Result<Self, OutOfBounds> {
        let at = plan(workers, participants).ok_or(OutOfBounds)?;
        Ok(Self {
            page: region.span(at.page, PAGE_WORDS)?,
            doorbell: region.one(at.doorbell)?,
            notes: Seats::new(region, at.notes, NOTES)?,
            places: region.span(at.places, workers * PLACE_WORDS)?,
            workers,
        })
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        &self.page[word as usize]
    }

    /// A figure that orders nothing.
    pub(super) fn get(&self, word: Word) -> u64 {
        self.word(word).load(Relaxed)
    }

    /// For the parent alone, unless an order follows.
    pub(super) fn set(&self, word: Word, value: u64) {
        self.word(word).store(value, Relaxed);
    }

    /// How many workers there can be.
    pub(super) fn most_workers(&self) -> usize {
        self.workers
    }

    /// How many workers there are to be.
    pub(super) fn wanted(&self) -> usize {
        let wanted = usize::try_from(self.get(Word::Wanted)).unwrap_or(usize::MAX);
        wanted.clamp(1, self.workers)
    }

    pub(super) fn phase(&self) -> Result<PoolPhase, Damage> {
        PoolPhase::of(self.get(Word::Phase)).ok_or(Damage("its phase is none that there is"))
    }

    /// Goes on to `phase`, unless it is further. Whether this call did it.
    pub(super) fn advance(&self, phase: PoolPhase) -> bool {
        let further = phase as u64;
        let advanced = self.word(Word::Phase).fetch_max(further, Relaxed); // I2
        advanced < further
    }

    /// The words of a worker; `None` if it cannot have so many.
    pub(super) fn place(&self, index: usize) -> Option<Place<'_>> {
        let start = index.checked_mul(PLACE_WORDS)?;
        Place::of(self.places.get(start..start.checked_add(PLACE_WORDS)?)?)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.places.chunks_exact(PLACE_WORDS).filter_map(Place::of)
    }

    /// How many orders were given.
    pub(super) fn orders(&self) -> u64 {
        self.word(Word::Orders).load(Acquire) // O2
    }

    /// Tells the parent that something was ordered.
    pub(super) fn ring(&self) {
        self.word(Word::Orders).fetch_add(1, Release); // O2
        self.doorbell().wake(u32::MAX);
    }

    /// Orders another number of workers.
    pub(super) fn want(&self, workers: usize) {
        self.set(Word::Wanted, workers as u64);
        self.ring();
    }

    pub(super) fn doorbell(&self) -> &WaitWord {
        &self.doorbell.0
    }

    /// In words, for who looks at all kinds of objects.
    pub(crate) fn describe(&self) -> String {
        let phase = self
            .phase()
            .map_or_else(|_| "in no known phase".to_owned(), |p| p.to_string());
        let busy = self.places().filter(Place::is_busy).count();
        format!(
            "{phase}, {} workers wanted, {busy} busy; {} tasks done, {} failed, of {}",
            self.wanted(),
            self.get(Word::Done),
            self.get(Word::Failed),
            self.get(Word::Submitted),
        )
    }

    /// Who waits for orders.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        self.notes.visitors(|_| true).collect()
    }
}

impl Repair for Control {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.notes.repair(dead, |_| {})
    }

    fn wake_all(&self) {
        self.doorbell().wake_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Fresh;

    pub(super) fn control(workers: usize) -> Control {
        let mut fresh =
            Fresh::on_heap(file_bytes(workers, 2).expect("not so many")).expect("memory");
        place(&mut fresh, workers, 2).expect("it fits");
        Control::over(&fresh.share(), workers, 2).expect("it fits")
    }

    #[test]
    fn a_phase_goes_only_forward() {
        let control = control(2);
        assert_eq!(control.phase().expect("one of them"), PoolPhase::Running);
        assert!(control.advance(PoolPhase::Terminated));
        assert!(!control.advance(PoolPhase::Closing));
        assert_eq!(control.phase().expect("one of them"), PoolPhase::Terminated);
        control.set(Word::Phase, 77);
        assert!(control.phase().is_err());
        assert!(control.describe().starts_with("in no known phase"));
    }

    #[test]
    fn wrong_numbers_stay_within_bounds() {
        let control = control(3);
        for (written, read) in [(0, 1), (2, 2), (9, 3), (u64::MAX, 3)] {
            control.set(Word::Wanted, written);
            assert_eq!(control.wanted(), read);
        }
        assert!(control.place(2).is_some());
        assert!(control.place(3).is_none());
        assert!(control.place(usize::MAX).is_none());
        assert_eq!(control.places().count(), 3);
    }

    #[test]
    fn an_impossible_geometry_is_refused() {
        assert!(file_bytes(usize::MAX, 2).is_none());
        let region = Fresh::on_heap(4096).expect("memory").share();
        assert!(Control::over(&region, 1000, 2).is_err());
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use super::*;
    use crate::region::Fresh;

    /// Somebody scales a pool: who sees the order sees the number (O2).
    #[test]
    fn who_sees_an_order_sees_what_was_ordered() {
        loom::model(|| {
            let mut fresh = Fresh::on_heap(file_bytes(2, 2).unwrap()).unwrap();
            super::place(&mut fresh, 2, 2).unwrap();
            let control = Arc::new(Control::over(&fresh.share(), 2, 2).unwrap());
            let other = Arc::clone(&control);
            let orders = loom::thread::spawn(move || other.want(2));
            if control.orders() > 0 {
                assert_eq!(control.wanted(), 2);
            }
            orders.join().unwrap();
        });
    }
}
