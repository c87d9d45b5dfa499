//! How far the subscribers of a lossless broadcast have come.
//!
//! # Layout
//!
//! One seat ([`crate::object::seat`]) for each subscriber, which names its participant, and beside it in a line of its own:
//!
//! ```text
//!   0      8          128
//!   ┌──────┬──────────┬───┐
//!   │ turn │ position │ - │   by who has the seat
//!   └──────┴──────────┴───┘
//! ```
//!
//! `position` is what the subscriber reads next. It counts while `turn` is one more than that of the taken seat: what the last
//! subscriber left there says nothing, and a sweeper frees the seat without a store to the line, which may be somebody else's by then.
//!
//! # Why no message is overwritten that a subscriber has still to read
//!
//! A publisher claims position `p` only below its *limit*, which it has from a look at all cursors: one lap beyond the least of them,
//! and of the position that it was about to claim as it looked. A cursor only grows, so a limit stays true; what must be shown is that
//! it also holds for who subscribes later.
//!
//! The subscriber takes a seat, writes a position before which all are claimed, fences (O9), and begins at the first position that it
//! then finds unclaimed. Of its fence and that of a publisher's look one is first:
//!
//! * The subscriber's: the publisher's look finds the cursor, which only grows from there.
//! * The publisher's: every claim that it knew of before its look is seen by the subscriber, which therefore begins at the publisher's
//!   position or later. The limit is at most a lap beyond that.
//!
//! What was published *before* a subscriber began is not kept for it. Who wants that copies it while it subscribes
//! ([`super::read::Reader::look_back`]).

#![expect(unsafe_code, reason = "implements Shared")]

use super::ring::Ring;
use crate::{
    error::Damage,
    object::{
        participant::Owner,
        seat::{Activity, Seated, Seats},
    },
    os::fork::Process,
    prim::{self, Acquire, AtomicU64, Relaxed, Release},
    region::{CacheLine, Shared, Span},
};

/// How far a subscriber has come.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Cursor {
    /// One more than the turn of the seat for which the position counts.
    turn: AtomicU64,
    position: AtomicU64,
}

#[cfg(not(loom))]
const _: () =
    assert!(core::mem::offset_of!(Cursor, position) == 8 && size_of::<CacheLine<Cursor>>() == 128);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Cursor {
    fn zeroed() -> Self {
        Self {
            turn: AtomicU64::new(0),
            position: AtomicU64::new(0),
        }
    }
}

/// Everybody's, and how far publishers of this process may go.
#[derive(Debug)]
pub(super) struct Cursors {
    pub(super) seats: Seats,
    lines: Span<CacheLine<Cursor>>,
    /// The first position that may not be claimed without another look. Private memory.
    limit: AtomicU64,
}

impl Cursors {
    /// Those of a lossless broadcast; in a lossy one nobody waits for anybody.
    pub(super) fn new(seats: Seats, lines: Span<CacheLine<Cursor>>, is_lossless: bool) -> Self {
        Self {
            seats,
            lines,
            limit: AtomicU64::new(if is_lossless { 0 } else { u64::MAX }),
        }
    }

    /// Whether `position` is known to be free of subscribers.
    #[inline]
    pub(super) fn allow(&self, position: u64) -> bool {
        position < self.limit.load(Relaxed) // O5: acquired by the fence behind the claim
    }

    /// How many subscribers there are.
    pub(super) fn count(&self) -> usize {
        let seats = self.seats.all().iter();
        seats.filter(|seat| !seat.look().is_free()).count()
    }

    /// The least of what subscribers have still to read, and of `bound`.
    fn least(&self, bound: u64) -> u64 {
        let seats = self.seats.all().iter().zip(self.lines.iter());
        seats.fold(bound, |least, (seat, CacheLine(cursor))| {
            let ctl = seat.look();
            let is_told = cursor.turn.load(Acquire) == ctl.turn().wrapping_add(1); // O10
            if ctl.is_free() || !is_told {
                return least; // not yet, or no longer
            }
            least.min(cursor.position.load(Acquire)) // O5
        })
    }
}

/// A subscriber's seat.
#[derive(Debug)]
pub(super) struct Place {
    seated: Seated,
}

impl Place {
    /// Who took it.
    pub(super) fn process(&self) -> Process {
        self.seated.process
    }

    /// Whether this is the process that took it.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.seated.process.is_this()
    }
}

impl Ring {
    /// Looks how far all have come. Whether `position`, which is the first unclaimed one, may be claimed now.
    #[cold]
    pub(super) fn look_at_cursors(&self, position: u64) -> bool {
        prim::full_fence(); // O9: before the look
        let least = self.cursors.least(position);
        let limit = least.saturating_add(self.one_lap());
        self.cursors.limit.fetch_max(limit, Release); // O5: for other threads
        self.cursors.allow(position)
    }

    /// The first position that somebody may still have to read; `tail` if nobody has.
    pub(super) fn first_unread(&self, tail: u64) -> u64 {
        if self.is_lossless() {
            self.look_at_cursors(tail);
        }
        self.known_unread(tail)
    }

    /// As [`Self::first_unread`], without a look: probably too early.
    pub(super) fn known_unread(&self, tail: u64) -> u64 {
        if !self.is_lossless() {
            return tail;
        }
        let limit = self.cursors.limit.load(Acquire); // O5
        limit.saturating_sub(self.one_lap()).min(tail)
    }

    /// Begins to count a subscriber, and says where it begins: what is published from now on is kept for it. `None` if there are
    /// too many.
    pub(super) fn join(&self, me: Owner) -> Result<Option<(Place, u64)>, Damage> {
        let hint = me.bits() as usize;
        let Some(seated) = self.cursors.seats.take(me, Activity::Reading, hint) else {
            return Ok(None);
        };
        let place = Place { seated };
        let tail = self.find_tail();
        if let Ok(tail) = tail {
            let CacheLine(cursor) = &self.cursors.lines[place.seated.index];
            cursor.position.store(tail, Relaxed); // O10
            let turn = place.seated.ctl.turn().wrapping_add(1);
            cursor.turn.store(turn, Release); // O10
        }
        prim::full_fence(); // O9, as in a look
        match tail.and_then(|_| self.find_tail()) {
            Ok(start) => {
                self.advance(&place, start);
                Ok(Some((place, start)))
            }
            Err(damage) => {
                self.cursors.seats.leave(place.seated);
                Err(damage)
            }
        }
    }

    /// Lets publishers overwrite what is before `next`.
    #[inline]
    pub(super) fn advance(&self, place: &Place, next: u64) {
        let CacheLine(cursor) = &self.cursors.lines[place.seated.index];
        cursor.position.store(next, Release); // O5
    }

    /// Counts a subscriber no longer.
    pub(super) fn leave(&self, place: &Place) {
        if place.is_ours() {
            // Ours no longer only if we are held for dead.
            self.cursors.seats.leave(place.seated);
            self.gate().space.wake(u32::MAX); // leaving was an exchange
            self.gate().blocks.wake(u32::MAX);
        }
    }

    /// The first position that is not claimed.
    pub(super) fn find_tail(&self) -> Result<u64, Damage> {
        let (position, _) = self.first_unclaimed(self.tail())?;
        Ok(position)
    }
}
