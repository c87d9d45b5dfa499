//! The memory that all synchronisation objects share, and what a process's handles on one have in common.
//!
//! # Layout
//!
//! Behind the object's header and slots:
//!
//! ```text
//!   0      8       16      20     24      28                128                 …
//!   ┌──────┬───────┬───────┬──────┬───────┬─────────────────┬───────────────────┬────────────────────────┐
//!   │ word │ since │ depth │ main │ other │        -        │ seats[0..seats]   │ value, twice (a Lock's)│
//!   └──────┴───────┴───────┴──────┴───────┴─────────────────┴───────────────────┴────────────────────────┘
//! ```
//!
//! What `word` means, and which seats are more than notes, each primitive's file says. `main` and `other` are what its
//! waiters sleep on. Seats are 32 bytes ([`crate::object::seat`]).

use std::sync::Arc;

use crate::{
    error::{Damage, Error, Result},
    object::{
        lifetime::{self, Object},
        membership::Membership,
        participant::{Owner, Repair},
        seat::{Notes, Seat, SeatCtl, Seats, Visitor},
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    os::process,
    prim::{AtomicU32, AtomicU64},
    region::{CacheLine, Fresh, One, OutOfBounds, Region, Shared, Span, identity::Facts},
};

/// The most seats an object may have.
pub(super) const MOST_SEATS: usize = 1 << 20;
/// The most bytes a value may have.
pub(super) const MOST_VALUE: usize = 1 << 20;

/// What all have.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Head {
    /// The primitive's state.
    pub(super) word: AtomicU64,
    /// Since when it is held, by the monotonic clock, for people.
    pub(super) since: AtomicU64,
    /// How often its holder holds it; of a condition, how many seats were ever used.
    pub(super) depth: AtomicU32,
    /// What most waiters sleep on.
    pub(crate) main: WaitWord,
    /// What those sleep on that wait for something else.
    pub(super) other: WaitWord,
    _reserved: AtomicU32,
}

#[cfg(not(loom))]
const _: () =
    assert!(core::mem::offset_of!(Head, other) == 24 && size_of::<CacheLine<Head>>() == 128);

#[expect(unsafe_code, reason = "implements Shared")]
// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Head {
    fn zeroed() -> Self {
        Self {
            word: AtomicU64::new(0),
            since: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            main: WaitWord::zeroed(),
            other: WaitWord::zeroed(),
            _reserved: AtomicU32::new(0),
        }
    }
}

/// How large the parts are. Read and checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Seats that the primitive needs.
    pub(super) needed: usize,
    /// Seats for notes.
    pub(super) notes: usize,
    /// Bytes of the value.
    pub(super) value_bytes: usize,
}

impl Geometry {
    pub(super) fn to_words(self) -> [u64; 8] {
        let mut words = [0; 8];
        words[0] = self.needed as u64;
        words[1] = self.notes as u64;
        words[2] = self.value_bytes as u64;
        words
    }

    fn from_words(words: &[u64; 8]) -> Result<Self, Damage> {
        let [needed, notes, value_bytes] =
            [words[0], words[1], words[2]].map(|word| usize::try_from(word).unwrap_or(usize::MAX));
        if needed > MOST_SEATS || notes > MOST_SEATS || value_bytes > MOST_VALUE {
            return Err(Damage("its geometry is impossible"));
        }
        Ok(Self {
            needed,
            notes,
            value_bytes,
        })
    }

    fn seats(self) -> usize {
        self.needed + self.notes
    }

    /// Words of one copy of the value.
    fn value_words(self) -> usize {
        self.value_bytes.div_ceil(8)
    }
}

#[derive(Debug, Clone, Copy)]
struct Offsets {
    head: usize,
    seats: usize,
    value: usize,
    end: usize,
}

fn plan(geometry: Geometry, participants: u32) -> Option<Offsets> {
    let (mut planner, _) = lifetime::plan(participants)?;
    Some(Offsets {
        head: planner.place::<CacheLine<Head>>(1, 128)?,
        seats: planner.place::<Seat>(geometry.seats(), 32)?,
        value: planner.place::<AtomicU64>(2 * geometry.value_words(), 64)?,
        end: planner.end(),
    })
}

/// Bytes of the file that such an object needs.
pub(super) fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
    plan(geometry, participants).map(|at| at.end)
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
) -> Result<(), OutOfBounds> {
    let at = plan(geometry, participants).ok_or(OutOfBounds)?;
    fresh.place::<CacheLine<Head>>(at.head, 1)?;
    fresh.place::<Seat>(at.seats, geometry.seats())?;
    fresh.place::<AtomicU64>(at.value, 2 * geometry.value_words())
}

/// The memory of one object.
#[derive(Debug)]
pub(crate) struct Frame {
    head: One<CacheLine<Head>>,
    /// What the primitive needs to be right.
    pub(super) seats: Seats,
    /// Who waits.
    pub(super) notes: Seats,
    value: Span<AtomicU64>,
    pub(super) geometry: Geometry,
}

impl Frame {
    pub(super) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        participants: u32,
    ) -> Result<Self, OutOfBounds> {
        let at = plan(geometry, participants).ok_or(OutOfBounds)?;
        let (seats, notes) = Seats::new(region, at.seats, geometry.seats())?.split(geometry.needed);
        Ok(Self {
            head: region.one(at.head)?,
            seats,
            notes,
            value: region.span(at.value, 2 * geometry.value_words())?,
            geometry,
        })
    }

    #[inline]
    pub(super) fn head(&self) -> &Head {
        &self.head.0
    }

    /// One of the two copies of the value.
    #[inline]
    pub(super) fn value(&self, is_second: bool) -> &[AtomicU64] {
        let words = self.geometry.value_words();
        let start = if is_second { words } else { 0 };
        self.value.get(start..start + words).unwrap_or_default()
    }

    /// Wakes all who sleep on the words that all primitives have.
    pub(super) fn wake_all(&self) {
        self.head().main.wake_all();
        self.head().other.wake_all();
    }
}

/// A primitive's algorithm over its memory.
pub(crate) trait Mechanism: Repair + Sized + 'static {
    /// The algorithm over memory that is new or was used before.
    fn over(frame: Frame) -> Result<Self, Damage>;

    fn frame(&self) -> &Frame;

    /// Who holds it, beyond what the seats say.
    fn holder(&self) -> Option<Visitor> {
        None
    }

    /// Whether what a seat says is of now.
    fn is_current(&self, _ctl: SeatCtl) -> bool {
        true
    }

    /// In a word or two, for people: what state it is in.
    fn describe(&self) -> String;

    /// How many permits are to be had now; `None` if it is nothing that has permits.
    fn permits(&self) -> Option<u32> {
        None
    }
}

/// Who holds a primitive or waits for it.
pub(crate) fn visitors<M: Mechanism>(mechanism: &M) -> Vec<Visitor> {
    let frame = mechanism.frame();
    let seated = frame.seats.visitors(|ctl| mechanism.is_current(ctl));
    let noted = frame.notes.visitors(|_| true);
    mechanism
        .holder()
        .into_iter()
        .chain(seated)
        .chain(noted)
        .collect()
}

/// Builds a primitive over an object's memory.
pub(crate) fn build<M: Mechanism>(region: &Arc<Region>, facts: &Facts) -> Result<Arc<M>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry)?;
    let frame = Frame::over(region, geometry, facts.participants)
        .map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))?;
    M::over(frame).map(Arc::new)
}

/// What the handles of one process on one primitive share.
#[derive(Debug)]
pub(crate) struct Station<M> {
    pub(super) member: Membership,
    /// As the mechanism has it, one step nearer.
    head: One<CacheLine<Head>>,
    pub(super) mechanism: Arc<M>,
    patience: Patience,
    strategy: WaitStrategy,
}

impl<M: Mechanism> Station<M> {
    pub(super) fn new(object: Arc<Object>, mechanism: Arc<M>, strategy: WaitStrategy) -> Self {
        Self {
            member: Membership::new(object),
            head: mechanism.frame().head.clone(),
            mechanism,
            patience: Patience::new(),
            strategy,
        }
    }

    #[inline(always)]
    pub(super) fn head(&self) -> &Head {
        &self.head.0
    }

    /// Calls `attempt`, sleeping on `word` or the one that it names in between, until it is done. `Ok(None)` once the
    /// deadline has passed.
    #[cold]
    pub(super) fn wait<'w, R>(
        &'w self,
        me: Owner,
        word: &'w WaitWord,
        deadline: Deadline,
        attempt: impl FnMut() -> Attempt<'w, Result<R, Damage>>,
        is_promising: impl Fn() -> bool,
    ) -> Result<Option<R>> {
        let notes = Notes::Table(&self.mechanism.frame().notes, me);
        self.wait_noted(word, deadline, notes, attempt, is_promising)
    }

    /// As [`Self::wait`], for who may have a seat already.
    #[cold]
    pub(super) fn wait_noted<'w, R>(
        &'w self,
        word: &'w WaitWord,
        deadline: Deadline,
        notes: Notes<'_>,
        attempt: impl FnMut() -> Attempt<'w, Result<R, Damage>>,
        is_promising: impl Fn() -> bool,
    ) -> Result<Option<R>> {
        let waiting = Waiting {
            word,
            strategy: self.strategy,
            patience: &self.patience,
            deadline,
            notes,
        };
        let mut failure = None;
        let look = || match self.member.object.look() {
            Ok(_) => self.member.check_whole().err().map(|e| *e),
            Err(e) => Some(e),
        };
        let mut look = || {
            failure = look();
            failure.is_some().then_some(())
        };
        let mut attempt = attempt;
        let ended = waiting.until(
            || match attempt() {
                Attempt::Done(result) => Attempt::Done(Some(result)),
                Attempt::Blocked(word) => Attempt::Blocked(word),
                Attempt::Unsettled(word) => Attempt::Unsettled(word),
            },
            is_promising,
            || look().map(|()| None),
        );
        match ended {
            None => Ok(None),
            Some(Some(Ok(value))) => self.sound(Some(value)),
            Some(Some(Err(damage))) => Err(*self.member.remember(damage)),
            Some(None) => Err(failure.unwrap_or_else(|| *self.member.remember(UNKNOWN))),
        }
    }

    /// Whether waits may spin before they sleep.
    pub(super) fn spins(&self) -> bool {
        self.strategy != WaitStrategy::Sleep && process::cores() > 1
    }

    /// For calls that do not wait: tries again if somebody dead was in the way.
    #[cold]
    pub(super) fn again<R>(&self, attempt: impl FnOnce() -> Option<R>) -> Option<R> {
        if self.member.found_dead() {
            attempt()
        } else {
            None
        }
    }

    /// What was just done, unless it was done to memory that is no longer shared.
    #[inline(always)]
    pub(super) fn sound<R>(&self, done: R) -> Result<R> {
        match self.member.check_whole() {
            Ok(()) => Ok(done),
            Err(e) => Err(*e),
        }
    }

    pub(super) fn failed(&self, damage: Damage) -> Error {
        *self.member.remember(damage)
    }
}

const UNKNOWN: Damage = Damage("a wait on it failed");
/// What a wait without a deadline never does.
pub(super) const ENDED: Damage = Damage("a wait without end ended");
