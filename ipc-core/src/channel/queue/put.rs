//! The producer's side of the ring.

use super::{
    cell::{Cell, Ctl, Pass, Seen, State},
    ring::Ring,
};
use crate::{
    channel::contents::Parcel,
    error::Damage,
    object::participant::Owner,
    os::copy,
    prim::{self, Relaxed, Release},
    slab::AllocError,
};

/// Why a put did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutRefusal {
    /// Every cell is taken.
    Full,
    /// Every cell is taken, but the oldest message is being got. Its consumer may not see that somebody goes to sleep now.
    BeingGot,
    /// The memory for large messages is taken.
    NoBlocks,
    /// The same, but others are gathering some, which they may give back and wake nobody.
    Gathering,
    Closed,
    TooLarge,
    Damage(Damage),
}

impl From<Damage> for PutRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<AllocError> for PutRefusal {
    fn from(e: AllocError) -> Self {
        match e {
            AllocError::Full => Self::NoBlocks,
            AllocError::Gathering => Self::Gathering,
            AllocError::Damage(damage) => Self::Damage(damage),
        }
    }
}

impl Ring {
    /// Puts one message and wakes who waits for it.
    pub(crate) fn try_put(&self, me: Owner, message: &[u8]) -> Result<(), PutRefusal> {
        let after = self.put_at(me, self.tail(), message)?;
        self.announce_puts(after, 1);
        Ok(())
    }

    /// Puts one short message at `from`, which is probably free, and without a look at anything else. Returns the position
    /// behind it, from which the next one may start. [`Self::announce_puts`] must follow.
    #[inline]
    pub(crate) fn put_next(&self, me: Owner, from: u64, message: &[u8]) -> Option<u64> {
        let after = self.fill_next(me, from, message)?;
        self.commit(me, from).ok()?;
        Some(after)
    }

    /// As [`Self::put_next`], but for the commit: the message exists only once [`Self::commit`] was called for `from`.
    #[inline]
    pub(crate) fn fill_next(&self, me: Owner, from: u64, message: &[u8]) -> Option<u64> {
        if message.len() > self.geometry.inline_bytes || self.is_closed() {
            return None;
        }
        // Without a look first, which would fetch the line twice.
        let cell = self.claim_at(me, from)?;
        self.fill(from, cell, &Parcel::Inline(message))
            .then(|| self.next(from))
    }

    /// As [`Self::put_next`], at the first free position from `from` on, and of any length.
    #[inline(never)]
    pub(crate) fn put_at(&self, me: Owner, from: u64, message: &[u8]) -> Result<u64, PutRefusal> {
        if self.is_closed() {
            return Err(PutRefusal::Closed);
        }
        if message.len() > self.geometry.inline_bytes {
            return self.put_large(me, from, message);
        }
        self.post(me, from, &Parcel::Inline(message))
    }

    #[cold]
    fn put_large(&self, me: Owner, from: u64, message: &[u8]) -> Result<u64, PutRefusal> {
        let slab = self
            .slab
            .as_ref()
            .filter(|s| message.len() <= s.geometry().bytes())
            .ok_or(PutRefusal::TooLarge)?;
        self.look_for_room(from)?; // before copying what would have to be thrown away
        let (chain, owned) = slab.store(me, message).map_err(|e| {
            // Whoever woke us did so for a cell, which we leave to another.
            self.pass_space_on();
            PutRefusal::from(e)
        })?;
        let posted = self.post(me, from, &Parcel::Large(slab, chain));
        if posted.is_err() {
            slab.free(&owned)?;
            self.gate().blocks.wake(u32::MAX); // freeing ended in a read-modify-write
        }
        posted
    }

    /// Fills a claimed cell; or finds the queue closed, and leaves a tomb.
    #[inline]
    fn fill(&self, position: u64, cell: Cell<'_>, parcel: &Parcel<'_>) -> bool {
        if self.is_closed() {
            self.bury(position, cell); // I4
            return false;
        }
        self.witnesses.write(self.index(position));
        parcel.write(cell.payload(), cell.length(), position);
        true
    }

    /// Makes the message at a filled position exist.
    #[inline]
    pub(crate) fn commit(&self, me: Owner, position: u64) -> Result<(), Damage> {
        let claim = Ctl::writing(self.lap(position), me);
        self.cell(position)?.done().store(claim.0, Release); // O1
        Ok(())
    }

    /// Claim, fill, commit.
    pub(super) fn post(
        &self,
        me: Owner,
        from: u64,
        parcel: &Parcel<'_>,
    ) -> Result<u64, PutRefusal> {
        let (position, cell) = self.claim_put(me, from)?;
        if !self.fill(position, cell, parcel) {
            return Err(PutRefusal::Closed);
        }
        self.commit(me, position)?;
        Ok(self.next(position))
    }

    /// Gives up a claimed cell.
    #[cold]
    pub(super) fn bury(&self, position: u64, cell: Cell<'_>) {
        let tomb = Ctl::tomb(self.lap(position));
        // Relaxed: nothing was written to this cell, and nothing ever will be.
        cell.ctl().store(tomb.0, Relaxed);
        self.announce_puts(self.next(position), u32::MAX);
    }

    /// WRITING at `position`, if it is free.
    #[inline]
    fn claim_at(&self, me: Owner, position: u64) -> Option<Cell<'_>> {
        let lap = self.lap(position);
        let cell = self.cell(position).ok()?;
        let (free, mine) = (Ctl::free(lap), Ctl::writing(lap, me));
        copy::fetch_to_write(cell.done()); // while the exchange fetches the claim word's line
        cell.ctl()
            .compare_exchange(free.0, mine.0, Release, Relaxed)
            .ok()?; // O3
        prim::full_fence_after_rmw(); // O2, O3, O4, W1
        Some(cell)
    }

    /// WRITING at the first position from `from` on that is free.
    pub(super) fn claim_put(&self, me: Owner, from: u64) -> Result<(u64, Cell<'_>), PutRefusal> {
        let mut position = from;
        for _ in 0..self.budget() {
            if let Some(cell) = self.claim_at(me, position) {
                return Ok((position, cell));
            }
            let (at, seen, room) = self.first_unclaimed(position)?;
            position = at;
            match room {
                Room::Free => {}
                Room::Tomb => self.clear_tomb(self.cell(at)?, seen),
                Room::BeingGot => return Err(PutRefusal::BeingGot),
                Room::Taken => return Err(PutRefusal::Full),
            }
        }
        Err(Damage("the put counter never meets a cell").into())
    }

    /// The first position from `from` on that no producer has claimed, what its cell was seen to be, and what that means.
    pub(super) fn first_unclaimed(&self, from: u64) -> Result<(u64, Ctl, Room), Damage> {
        let mut position = from;
        for _ in 0..self.budget() {
            let lap = self.lap(position);
            let Seen { ctl: seen, state } = self.cell(position)?.look()?;
            let room = match (seen.pass(lap), state) {
                (Pass::Same, State::Free) => Room::Free,
                (Pass::Same, _) => {
                    position = self.next(position);
                    continue;
                }
                (Pass::Later, _) => {
                    position = self.claimed_before(position, seen);
                    continue;
                }
                (Pass::Previous, State::Tomb) => Room::Tomb,
                (Pass::Previous, State::Reading) => Room::BeingGot,
                (Pass::Previous, State::Free) | (Pass::Impossible, _) => {
                    return Err(Damage("the put counter is ahead of the cells"));
                }
                (Pass::Previous, _) => Room::Taken,
            };
            return Ok((position, seen, room));
        }
        Err(Damage("the put counter never meets a cell"))
    }

    /// A position behind `position` before which all are claimed, as its cell was seen in a later lap: a producer has
    /// claimed it in the lap before that, hence all before it (I1).
    fn claimed_before(&self, position: u64, seen: Ctl) -> u64 {
        let ahead = seen.laps_ahead_of(self.lap(position)).saturating_sub(1);
        self.next(position.wrapping_add(ahead << self.shift))
    }

    /// Whether a put of a short message would find a cell.
    pub(super) fn look_for_room(&self, from: u64) -> Result<(), PutRefusal> {
        match self.first_unclaimed(from)? {
            (_, _, Room::Free | Room::Tomb) => Ok(()),
            (_, _, Room::BeingGot) => Err(PutRefusal::BeingGot),
            (_, _, Room::Taken) => Err(PutRefusal::Full),
        }
    }

    /// Makes finished puts known: they end before position `after`, and `count` of them were made.
    #[inline]
    pub(crate) fn announce_puts(&self, after: u64, count: u32) {
        Self::raise(&self.tail.0, after); // O3: after the claims' fence
        self.gate().items.wake_of_claim(count); // W1: with the fence of the claims
        if self.gate().space.has_sleepers() {
            self.pass_space_on();
        }
    }

    /// A producer that was woken and leaves a free cell behind wakes the next one.
    #[cold]
    fn pass_space_on(&self) {
        if self.gate().space.has_sleepers() && self.look_for_room(self.tail()).is_ok() {
            self.gate().space.wake_of_claim(1);
        }
    }
}

/// What the first unclaimed cell says of the room in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Free, once somebody clears it.
    Tomb,
    /// Its last message is being got.
    BeingGot,
    Taken,
}
