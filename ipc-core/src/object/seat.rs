//! Who does what with an object: a table of claims that name their owner, repairable, and readable by people.
//!
//! # Layout
//!
//! ```text
//!   0      8       16       20     24       32
//!   ┌──────┬───────┬────────┬──────┬────────┐
//!   │ ctl  │ since │ thread │ bell │ ticket │   one seat, 32 bytes
//!   └──────┴───────┴────────┴──────┴────────┘
//!    claim   its owner, after the claim
//! ```
//!
//! `ctl` is `turn:46 | owner:14 | activity:4`; `turn` counts who has sat there, so that no word ever comes twice. `since` is
//! in nanoseconds on the monotonic clock, to some tens of milliseconds; of a waiter to a tenth of a second, and 0
//! until then.
//!
//! # Invariants
//!
//! * I1. Only who exchanged FREE for an activity under its own name leaves the seat, or, once its death is proven, a sweeper.
//! * I2. Some objects need seats to be right (the permits of a semaphore, the shares of a reader). All others are notes:
//!   a waiter that finds the table full waits without one.
//!
//! # Ordering
//!
//! * O1. `ctl` exchange(Release) to FREE → exchange(Acquire) from FREE: who sits down next comes after who left.
//! * O2. `ctl` exchange(Release) → load(Acquire) → `Dead::still`: what a later participant of the slot wrote is not taken for the
//!   dead one's.
//!
//! # If a process dies
//!
//! Its seats stay until its sweep, which frees them, each by one exchange.

use core::ops::Range;

use super::{
    participant::{Dead, OWNER_BITS, Owner},
    wait::WaitWord,
};
use crate::{
    error::Damage,
    os::{clock, fork::Process, process},
    prim::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed},
    region::{OutOfBounds, Region, Shared, Span},
};
use std::sync::Arc;

const ACTIVITY_BITS: u32 = 4;
const ACTIVITY: u64 = (1 << ACTIVITY_BITS) - 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const TURN_SHIFT: u32 = ACTIVITY_BITS + OWNER_BITS;
/// How often a sweeper tries a seat of the dead, which the living change once at the most.
const RACES: u32 = 4;

/// What somebody does with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// Waits for it.
    Waiting,
    /// Holds it, alone or as one of several that may.
    Holding,
    /// Holds it together with others that only read.
    Reading,
    /// Took a permit and left it taken: it belongs to nobody until somebody releases it.
    Lent,
    /// Was notified, and has not gone on yet.
    Notified,
    /// Has the end that is written to.
    Sending,
    /// Has the end that is read.
    Receiving,
}

impl Activity {
    fn number(self) -> u64 {
        match self {
            Self::Waiting => 1,
            Self::Holding => 2,
            Self::Reading => 3,
            Self::Lent => 4,
            Self::Notified => 5,
            Self::Sending => 6,
            Self::Receiving => 7,
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        [
            Self::Waiting,
            Self::Holding,
            Self::Reading,
            Self::Lent,
            Self::Notified,
            Self::Sending,
            Self::Receiving,
        ]
        .into_iter()
        .find(|activity| activity.number() == number)
    }
}

/// `turn:46 | owner:14 | activity:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatCtl(u64);

impl SeatCtl {
    pub(crate) fn is_free(self) -> bool {
        self.0 & ACTIVITY == 0
    }

    /// `None` if it is free, or what no correct process writes.
    pub(crate) fn activity(self) -> Option<Activity> {
        Activity::from_number(self.0 & ACTIVITY)
    }

    pub(crate) fn owner_bits(self) -> u64 {
        self.0 >> ACTIVITY_BITS & OWNER
    }

    pub(crate) fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT
    }

    /// The same turn, taken.
    pub(crate) fn taken(self, me: Owner, activity: Activity) -> Self {
        Self(self.turn() << TURN_SHIFT | me.bits() << ACTIVITY_BITS | activity.number())
    }

    /// The same turn, of the same owner, doing something else.
    pub(crate) fn doing(self, activity: Activity) -> Self {
        Self(self.0 & !ACTIVITY | activity.number())
    }

    /// Free for the next turn.
    pub(crate) fn left(self) -> Self {
        Self(self.turn().wrapping_add(1) << TURN_SHIFT)
    }

    /// Free for this turn.
    pub(crate) fn free_in(turn: u64) -> Self {
        Self(turn << TURN_SHIFT)
    }
}

/// One claim.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Seat {
    ctl: AtomicU64,
    since: AtomicU64,
    thread: AtomicU32,
    /// For who waits here and nowhere else.
    pub(crate) bell: WaitWord,
    /// In which order the owners came, where that matters.
    pub(crate) ticket: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(core::mem::offset_of!(Seat, ticket) == 24 && size_of::<Seat>() == 32);

#[expect(unsafe_code, reason = "implements Shared")]
// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Seat {
    fn zeroed() -> Self {
        Self {
            ctl: AtomicU64::new(0),
            since: AtomicU64::new(0),
            thread: AtomicU32::new(0),
            bell: WaitWord::zeroed(),
            ticket: AtomicU64::new(0),
        }
    }
}

impl Seat {
    /// What is there now; who acts on it exchanges.
    #[inline]
    pub(crate) fn look(&self) -> SeatCtl {
        SeatCtl(self.ctl.load(Acquire)) // O2
    }

    /// Whether `seen` has become `next`.
    #[inline]
    pub(crate) fn exchange(&self, seen: SeatCtl, next: SeatCtl) -> bool {
        self.ctl
            .compare_exchange(seen.0, next.0, AcqRel, Relaxed)
            .is_ok() // O1, O2
    }

    /// Writes down who sat down here, for people. Returns this process.
    #[inline]
    pub(crate) fn sign(&self, activity: Activity) -> Process {
        let (process, thread) = process::this_thread();
        self.thread.store(thread, Relaxed);
        // Most who wait are woken before anybody could ask.
        let is_waiting = activity == Activity::Waiting;
        let since = if is_waiting { 0 } else { clock::recent_ns() };
        self.since.store(since, Relaxed);
        process
    }
}

/// A seat that somebody took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seated {
    pub(crate) index: usize,
    pub(crate) ctl: SeatCtl,
    /// Whose memory this is to be in. A forked child finds a copy, which is no seat of its own.
    pub(crate) process: Process,
}

/// Some of an object's seats.
#[derive(Debug)]
pub(crate) struct Seats {
    all: Arc<Span<Seat>>,
    range: Range<usize>,
}

impl Seats {
    pub(crate) fn new(region: &Arc<Region>, at: usize, count: usize) -> Result<Self, OutOfBounds> {
        Ok(Self {
            all: Arc::new(region.span(at, count)?),
            range: 0..count,
        })
    }

    /// The first `count`, and the rest.
    pub(crate) fn split(self, count: usize) -> (Self, Self) {
        let middle = count.min(self.range.end);
        let rest = Self {
            all: Arc::clone(&self.all),
            range: middle..self.range.end,
        };
        let first = Self {
            all: self.all,
            range: self.range.start..middle,
        };
        (first, rest)
    }

    #[inline]
    pub(crate) fn all(&self) -> &[Seat] {
        &self.all[self.range.clone()]
    }

    /// Sits down on the first free seat, starting the search at `hint`.
    #[inline]
    pub(crate) fn take(&self, me: Owner, activity: Activity, hint: usize) -> Option<Seated> {
        let seats = self.all();
        let start = if hint < seats.len() { hint } else { 0 };
        for index in (start..seats.len()).chain(0..start) {
            let seat = &seats[index];
            let seen = SeatCtl(seat.ctl.load(Relaxed));
            if !seen.is_free() {
                continue;
            }
            let mine = seen.taken(me, activity);
            if seat.exchange(seen, mine) {
                return Some(Seated {
                    index,
                    ctl: mine,
                    process: seat.sign(activity),
                });
            }
        }
        None
    }

    /// Leaves a seat. Whether it was still the caller's.
    #[inline]
    pub(crate) fn leave(&self, seated: Seated) -> bool {
        let seat = &self.all()[seated.index];
        seat.exchange(seated.ctl, seated.ctl.left())
    }

    /// As [`Self::leave`], for who knows that no living process exchanges what is there now, and who orders nothing by it.
    #[inline]
    pub(crate) fn leave_alone(&self, seated: Seated) -> bool {
        let ctl = &self.all()[seated.index].ctl;
        let is_ours = ctl.load(Relaxed) == seated.ctl.0;
        if is_ours {
            ctl.store(seated.ctl.left().0, Relaxed);
        }
        is_ours
    }

    /// Frees the seats of the dead; `before` sees each first, and is told what it did there.
    pub(crate) fn repair(
        &self,
        dead: &Dead<'_>,
        mut before: impl FnMut(Activity),
    ) -> Result<(), Damage> {
        for seat in self.all() {
            // Again where the exchange fails: a notifier may have changed what the dead one is doing.
            for _ in 0..RACES {
                let seen = seat.look(); // O2: before `still`
                let Some(activity) = seen.activity() else {
                    if seen.is_free() {
                        break;
                    }
                    return Err(Damage("a seat is in no known state"));
                };
                if seen.owner_bits() != dead.owner().bits() || activity == Activity::Lent {
                    break;
                }
                if !dead.still() {
                    return Ok(()); // another sweeper has finished
                }
                before(activity);
                if seat.exchange(seen, seen.left()) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether `owner` has a seat.
    pub(crate) fn name(&self, owner: Owner) -> bool {
        let mut seats = self.all().iter().map(Seat::look);
        seats.any(|ctl| {
            ctl.owner_bits() == owner.bits() && ctl.activity().is_some_and(|a| a != Activity::Lent)
        })
    }

    /// Who sits where, for people; on seats whose word `is_current`.
    pub(crate) fn visitors(
        &self,
        is_current: impl Fn(SeatCtl) -> bool,
    ) -> impl Iterator<Item = Visitor> {
        self.all().iter().filter_map(move |seat| {
            let ctl = Some(seat.look()).filter(|&ctl| is_current(ctl))?;
            Some(Visitor {
                owner_bits: ctl.owner_bits(),
                thread: seat.thread.load(Relaxed),
                since_ns: seat.since.load(Relaxed),
                activity: ctl.activity()?,
            })
        })
    }
}

/// Somebody who holds an object or waits for it, as it described itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Its slot plus one, as claim words name it; 0 is nobody.
    pub(crate) owner_bits: u64,
    pub(crate) thread: u32,
    /// On the monotonic clock.
    pub(crate) since_ns: u64,
    pub(crate) activity: Activity,
}

/// Where somebody who waits is written down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notes<'a> {
    /// On any of these seats that is free, under this name.
    Table(&'a Seats, Owner),
    /// Where it sits already.
    Own(&'a Seat),
    #[cfg(loom)]
    Nowhere,
}

impl<'a> Notes<'a> {
    pub(crate) fn begin(self) -> Note<'a> {
        match self {
            Self::Table(seats, me) => {
                let seated = seats.take(me, Activity::Waiting, me.bits() as usize);
                Note {
                    seat: seated.map(|seated| &seats.all()[seated.index]),
                    taken: seated.map(|seated| (seats, seated)),
                }
            }
            Self::Own(seat) => Note {
                seat: Some(seat),
                taken: None,
            },
            #[cfg(loom)]
            Self::Nowhere => Note {
                seat: None,
                taken: None,
            },
        }
    }
}

/// A note that this thread waits, which goes with its end.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    seat: Option<&'a Seat>,
    /// What is left in the end.
    taken: Option<(&'a Seats, Seated)>,
}

impl Note<'_> {
    /// Writes down since when.
    pub(crate) fn stamp(&self, since_ns: u64) {
        if let Some(seat) = self.seat {
            seat.since.store(since_ns, Relaxed);
        }
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if let Some((seats, seated)) = self.taken
            && seated.process.is_this()
        {
            // Ours no longer only if we are held for dead.
            let _ = seats.leave_alone(seated);
        }
    }
}
