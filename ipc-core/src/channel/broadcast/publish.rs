//! The publisher's side of the ring.

use super::{
    cell::{Cell, Ctl, Seen, State},
    clear::Memory,
    ring::Ring,
};
use crate::{
    channel::contents::Parcel,
    error::Damage,
    object::participant::Owner,
    prim::{self, Relaxed, Release},
    slab::{AllocError, Chain, Owned, Slab},
};

/// Pauses granted to who is at work on the cell that is to be claimed.
const PATIENCE_WITH_OWNER: u32 = prim::pauses(64);

/// Why a publish did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishRefusal {
    /// A subscriber has still to read what would be overwritten.
    Full,
    /// Somebody is at work on the cell, and may not see that somebody goes to sleep now.
    Busy,
    /// The memory for large messages is taken.
    NoBlocks,
    /// The same, but others are gathering some, which they may give back and wake nobody.
    Gathering,
    Closed,
    TooLarge,
    Damage(Damage),
}

impl From<Damage> for PublishRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl PublishRefusal {
    /// Whether a publisher waits for its end.
    pub(super) fn is_passing(self) -> bool {
        self.is_certain() || matches!(self, Self::Busy | Self::Gathering)
    }

    /// Whether who ends it wakes those who were announced before they looked.
    pub(super) fn is_certain(self) -> bool {
        matches!(self, Self::Full | Self::NoBlocks)
    }
}

impl Ring {
    /// Publishes one message and wakes who waits for it.
    pub(super) fn try_publish(&self, me: Owner, message: &[u8]) -> Result<(), PublishRefusal> {
        let after = self.publish_at(me, self.tail(), message)?;
        self.announce(after);
        Ok(())
    }

    /// Publishes one short message at `from`, which is probably unclaimed, and without a look at anything else. Returns the
    /// position behind it, from which the next one may start. [`Self::announce`] must follow.
    #[inline]
    pub(super) fn publish_next(&self, me: Owner, from: u64, message: &[u8]) -> Option<u64> {
        let is_short = message.len() <= self.geometry.ring.inline_bytes;
        if !is_short || self.is_closed() || !self.cursors.allow(from) {
            return None;
        }
        let cell = self.cell(from).ok()?;
        // Without a look first, which would fetch the line twice.
        let last = Ctl::full(self.lap(from).wrapping_sub(1));
        self.claim(me, from, cell, last).then_some(())?;
        self.fill(from, cell, &Parcel::Inline(message))
            .then(|| self.next(from))
    }

    /// As [`Self::publish_next`], at the first unclaimed position from `from` on, and of any length.
    #[inline(never)]
    pub(super) fn publish_at(
        &self,
        me: Owner,
        from: u64,
        message: &[u8],
    ) -> Result<u64, PublishRefusal> {
        if self.is_closed() {
            return Err(PublishRefusal::Closed);
        }
        if message.len() > self.geometry.ring.inline_bytes {
            return self.publish_large(me, from, message);
        }
        self.post(me, from, &Parcel::Inline(message))
    }

    #[cold]
    fn publish_large(&self, me: Owner, from: u64, message: &[u8]) -> Result<u64, PublishRefusal> {
        let slab = self
            .slab
            .as_ref()
            .filter(|slab| message.len() <= slab.geometry().bytes())
            .ok_or(PublishRefusal::TooLarge)?;
        self.look_for_room(from)?; // before copying what would have to be thrown away
        let (chain, owned) = self.store(slab, me, message)?;
        let posted = self.post(me, from, &Parcel::Large(slab, chain));
        if posted.is_err() {
            slab.free(&owned)?;
            self.gate().blocks.wake(u32::MAX); // freeing ended in a read-modify-write
        } else {
            prim::full_fence(); // W1: who found this cell WRITING found no blocks to take, and sleeps
        }
        posted
    }

    /// Copies a message into blocks, those of the oldest messages if no others are free.
    fn store(
        &self,
        slab: &Slab,
        me: Owner,
        message: &[u8],
    ) -> Result<(Chain, Owned), PublishRefusal> {
        let mut refusal = PublishRefusal::NoBlocks;
        for _ in 0..=self.geometry.ring.capacity {
            refusal = match slab.store(me, message) {
                Ok(stored) => return Ok(stored),
                Err(AllocError::Damage(damage)) => return Err(damage.into()),
                Err(AllocError::Full) => PublishRefusal::NoBlocks,
                Err(AllocError::Gathering) => PublishRefusal::Gathering,
            };
            if !self.clear_oldest(me, Memory::Chains)? {
                break;
            }
        }
        self.pass_space_on(); // whoever woke us did so for a cell, which we leave to another
        Err(refusal)
    }

    /// Claim, fill, commit.
    pub(super) fn post(
        &self,
        me: Owner,
        from: u64,
        parcel: &Parcel<'_>,
    ) -> Result<u64, PublishRefusal> {
        let (position, cell) = self.claim_first(me, from)?;
        if self.fill(position, cell, parcel) {
            Ok(self.next(position))
        } else {
            Err(PublishRefusal::Closed)
        }
    }

    /// Fills a claimed cell and makes its message exist; or finds the broadcast closed, and leaves nothing.
    #[inline]
    fn fill(&self, position: u64, cell: Cell<'_>, parcel: &Parcel<'_>) -> bool {
        if self.is_closed() {
            self.bury(position, cell); // I4
            return false;
        }
        if self.is_lossless() {
            self.witnesses.write(self.index(position)); // I5
        }
        parcel.write(cell.payload(), cell.length(), position);
        let lap = self.lap(position);
        let done = match parcel {
            Parcel::Inline(_) => Ctl::full(lap),
            Parcel::Large(..) | Parcel::Lent(..) => Ctl::large(lap),
        };
        cell.ctl().store(done.0, Release); // O1
        true
    }

    /// Gives up a claimed cell.
    #[cold]
    fn bury(&self, position: u64, cell: Cell<'_>) {
        // Relaxed: nothing was written to this cell, and nothing ever will be.
        cell.ctl().store(Ctl::void(self.lap(position)).0, Relaxed);
        self.announce(self.next(position));
    }

    /// WRITING at `position`, if its cell is what was `seen`, which refers to no blocks.
    #[inline]
    fn claim(&self, me: Owner, position: u64, cell: Cell<'_>, seen: Ctl) -> bool {
        let mine = Ctl::writing(self.lap(position), me);
        let claim = cell
            .ctl()
            .compare_exchange(seen.0, mine.0, Release, Relaxed); // O7
        if claim.is_err() {
            return false;
        }
        prim::full_fence_after_rmw(); // O2, O4, O8, W1
        true
    }

    /// WRITING at the first position from `from` on that is not claimed.
    pub(super) fn claim_first(
        &self,
        me: Owner,
        from: u64,
    ) -> Result<(u64, Cell<'_>), PublishRefusal> {
        let mut from = from;
        for _ in 0..self.budget() {
            let (position, seen) = self.look_for_room(from)?;
            from = position;
            let cell = self.cell(position)?;
            if matches!(seen.state, State::Large | State::Stale) {
                self.clear(me, position, seen.ctl)?; // I3
            } else if self.claim(me, position, cell, seen.ctl) {
                return Ok((position, cell));
            }
        }
        Err(Damage("the publish counter never meets a cell").into())
    }

    /// The first unclaimed position from `from` on, if it may be claimed, and what its cell was seen to be.
    pub(super) fn look_for_room(&self, from: u64) -> Result<(u64, Seen), PublishRefusal> {
        for patience in (0..=PATIENCE_WITH_OWNER).rev() {
            let (position, seen) = self.first_unclaimed(from)?;
            if !self.cursors.allow(position) && !self.look_at_cursors(position) {
                return Err(PublishRefusal::Full);
            }
            if !matches!(seen.state, State::Writing | State::Clearing) {
                return Ok((position, seen));
            }
            if patience > 0 {
                prim::spin_loop();
            }
        }
        Err(PublishRefusal::Busy)
    }

    /// Makes finished publishes known, which end before position `after`.
    #[inline]
    pub(super) fn announce(&self, after: u64) {
        self.raise_tail(after);
        let gate = self.gate();
        gate.items.wake_of_claim(u32::MAX); // W1: with the fence of the claims
        gate.blocks.wake_of_claim(u32::MAX); // the message has blocks that others may take, in a lossy broadcast
        if gate.space.has_sleepers() {
            self.pass_space_on();
        }
    }

    /// A publisher that was woken and leaves room behind wakes the next one.
    #[cold]
    fn pass_space_on(&self) {
        let gate = self.gate();
        if gate.space.has_sleepers() && self.look_for_room(self.tail()).is_ok() {
            gate.space.wake_of_claim(1);
        }
    }

    /// Whether a publish is worth a try. For who waits.
    pub(super) fn may_have_room(&self) -> bool {
        self.look_for_room(self.tail()).is_ok() || self.is_closed()
    }
}
