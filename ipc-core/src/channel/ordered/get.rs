//! The consumer's side.

use super::{
    cell::{Ctl, State},
    pile::Pile,
};
use crate::{
    channel::contents::Contents,
    error::Damage,
    message::SharedBytes,
    object::participant::Owner,
    os::copy,
    prim::{Relaxed, Release},
    slab::Owned,
};

/// Why a get did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GetRefusal {
    /// Nothing is there, or what is there is being got and may come back.
    Empty,
    /// Somebody holds the lock.
    Busy,
    /// Closed and empty for good.
    Closed,
    Damage(Damage),
}

impl From<Damage> for GetRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A message that the caller has claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(super) index: usize,
    /// READING, by the caller.
    ctl: Ctl,
    pub(super) priority: i64,
}

/// A message in the order, and nobody's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) index: usize,
    pub(super) ctl: Ctl,
    pub(super) priority: i64,
}

impl Pile {
    /// Claims the message that comes first. To be followed by [`Self::short`] or [`Self::read`], and [`Self::finish`] or
    /// [`Self::put_back`].
    pub(crate) fn take(&self, me: Owner, is_patient: bool) -> Result<Taken, GetRefusal> {
        let lock = self.try_lock(me, is_patient)?.ok_or(GetRefusal::Busy)?;
        let is_closed = self.is_closed(); // I4
        let Some(next) = self.next_in_order()? else {
            lock.release();
            return Err(self.nothing(is_closed)?);
        };
        let mine = next.ctl.reading(me);
        self.cell(next.index as u64)?.ctl().store(mine.0, Release); // O3
        let left = self.order.remove_first()?;
        lock.release();
        if left > 0 && self.gate().items.has_sleepers() {
            // A consumer that was woken and leaves a message behind wakes the next one.
            self.gate().items.wake_of_claim(1);
        }
        Ok(Taken {
            index: next.index,
            ctl: mine,
            priority: next.priority,
        })
    }

    /// The message that comes first, for who holds the lock.
    pub(super) fn next_in_order(&self) -> Result<Option<Next>, Damage> {
        let Some(entry) = self.order.first()? else {
            return Ok(None);
        };
        let cell = self.cell(entry.index)?;
        let seen = cell.look()?;
        if seen.state != State::Full || cell.sequence().load(Relaxed) != entry.sequence {
            return Err(Damage("the order names a message that is not there"));
        }
        Ok(Some(Next {
            index: entry.index as usize,
            ctl: seen.ctl,
            priority: entry.priority,
        }))
    }

    /// Why there is nothing in the order. A message that somebody is reading may yet come back.
    pub(super) fn nothing(&self, is_closed: bool) -> Result<GetRefusal, Damage> {
        if !is_closed {
            return Ok(GetRefusal::Empty);
        }
        for (_, cell) in self.all_cells() {
            if matches!(cell.look()?.state, State::Full | State::Reading) {
                return Ok(GetRefusal::Empty);
            }
        }
        Ok(GetRefusal::Closed)
    }

    /// A claimed message, if it is in its cell.
    #[inline]
    pub(crate) fn short(&self, taken: &Taken) -> Result<Option<SharedBytes<'_>>, Damage> {
        let cell = self.cell(taken.index as u64)?;
        self.witnesses.read(taken.index);
        let length = cell.length().load(Relaxed);
        if length > self.geometry.inline_bytes as u64 {
            return Ok(None);
        }
        Ok(SharedBytes::new(cell.payload(), length as usize))
    }

    /// Appends a claimed message to `out`. Its blocks, if it has any, are the caller's from here on.
    pub(crate) fn read(
        &self,
        me: Owner,
        taken: &Taken,
        out: &mut Vec<u8>,
    ) -> Result<Option<Owned>, Damage> {
        let cell = self.cell(taken.index as u64)?;
        self.witnesses.read(taken.index);
        match self.contents(cell)? {
            Contents::Inline(length) => {
                copy::out_of_shared(cell.payload(), length, out);
                Ok(None)
            }
            Contents::Large(slab, chain) | Contents::Lent(slab, chain) => {
                let owned = slab.take_over(me, chain)?;
                slab.load(&owned, chain.length, out);
                Ok(Some(owned))
            }
        }
    }

    /// Hands the cell on: the message is delivered.
    pub(crate) fn finish(&self, taken: &Taken) -> Result<(), Damage> {
        self.free(taken.index, taken.ctl)?;
        if self.is_closed() && self.gate().items.has_sleepers() {
            self.gate().items.wake_all(); // perhaps that was the last one
        }
        Ok(())
    }

    /// Leaves a claimed message to the next get.
    #[cold]
    pub(crate) fn put_back(&self, taken: &Taken) -> Result<(), Damage> {
        let cell = self.cell(taken.index as u64)?;
        cell.ctl().store(taken.ctl.returned().0, Release); // O4
        self.count_orphans(); // by I3 a sweep counts it if we die before
        self.gate().items.wake(1);
        Ok(())
    }

    /// Gives blocks back that no cell refers to any more.
    pub(crate) fn give_blocks_back(&self, owned: &Owned) -> Result<(), Damage> {
        if let Some(slab) = &self.slab {
            slab.free(owned)?;
            self.gate().blocks.wake(u32::MAX); // freeing ended in a compare-exchange
        }
        Ok(())
    }
}
