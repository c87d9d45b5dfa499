//! The producer's side.

use super::{
    cell::{Ctl, State},
    order::Entry,
    pile::Pile,
};
use crate::{
    channel::contents::Parcel,
    error::Damage,
    object::participant::Owner,
    prim::{self, Relaxed, Release},
    slab::{AllocError, Owned},
};

/// Why a put did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutRefusal {
    /// Every cell is taken.
    Full,
    /// The memory for large messages is taken.
    NoBlocks,
    /// The same, but others are gathering some, which they may give back and wake nobody.
    Gathering,
    /// Somebody holds the lock.
    Busy,
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

/// A message in a claimed cell that is not in the queue yet.
#[derive(Debug)]
pub(crate) struct Filled {
    index: usize,
    /// WRITING, by the caller.
    ctl: Ctl,
    priority: i64,
    owned: Option<Owned>,
}

impl Pile {
    /// Copies a message into a cell. To be followed by [`Self::insert`] or [`Self::abandon`].
    pub(crate) fn fill(
        &self,
        me: Owner,
        priority: i64,
        message: &[u8],
    ) -> Result<Filled, PutRefusal> {
        if self.is_closed() {
            return Err(PutRefusal::Closed);
        }
        if message.len() > self.geometry.inline_bytes {
            return self.fill_large(me, priority, message);
        }
        self.fill_cell(me, priority, &Parcel::Inline(message))
    }

    #[cold]
    fn fill_large(&self, me: Owner, priority: i64, message: &[u8]) -> Result<Filled, PutRefusal> {
        let slab = self
            .slab
            .as_ref()
            .filter(|s| message.len() <= s.geometry().bytes())
            .ok_or(PutRefusal::TooLarge)?;
        if !self.room.has_any() {
            return Err(PutRefusal::Full); // before copying what would have to be thrown away
        }
        let (chain, owned) = slab.store(me, message).map_err(|e| {
            // Whoever woke us did so for a cell, which we leave to another.
            self.pass_space_on();
            PutRefusal::from(e)
        })?;
        match self.fill_cell(me, priority, &Parcel::Large(slab, chain)) {
            Ok(filled) => Ok(Filled {
                owned: Some(owned),
                ..filled
            }),
            Err(refusal) => {
                self.give_blocks_back(&owned)?;
                Err(refusal)
            }
        }
    }

    fn fill_cell(
        &self,
        me: Owner,
        priority: i64,
        parcel: &Parcel<'_>,
    ) -> Result<Filled, PutRefusal> {
        let (index, ctl) = self.claim(me)?;
        let cell = self.cell(index as u64)?;
        self.witnesses.write(index);
        cell.priority().store(priority as u64, Relaxed);
        parcel.write(
            cell.payload(),
            cell.length(),
            self.position(index as u64, ctl),
        );
        Ok(Filled {
            index,
            ctl,
            priority,
            owned: None,
        })
    }

    /// WRITING in some free cell.
    pub(super) fn claim(&self, me: Owner) -> Result<(usize, Ctl), PutRefusal> {
        for _ in 0..=self.geometry.capacity {
            let index = self.room.take().ok_or(PutRefusal::Full)?;
            let word = self.cell(index as u64)?.ctl();
            let free = Ctl(word.load(Relaxed)); // seen free by O1 of the room
            match free.state() {
                Some(State::Free) => {}
                Some(_) => continue, // I2 of the room
                None => return Err(Damage("a cell is in no known state").into()),
            }
            let mine = free.writing(me);
            let exchange = word.compare_exchange(free.0, mine.0, Release, Relaxed); // O3
            if exchange.is_ok() {
                prim::full_fence_after_rmw(); // O2, O5
                return Ok((index, mine));
            }
        }
        Err(Damage("every cell that seems free is taken").into())
    }

    /// Puts the message into the queue and wakes who waits for one. Unless that is refused, `filled` is to be forgotten.
    pub(crate) fn insert(
        &self,
        me: Owner,
        filled: &Filled,
        is_patient: bool,
    ) -> Result<(), PutRefusal> {
        let lock = self.try_lock(me, is_patient)?.ok_or(PutRefusal::Busy)?;
        if self.is_closed() {
            lock.release();
            return Err(PutRefusal::Closed); // I4
        }
        let cell = self.cell(filled.index as u64)?;
        let sequence = self.order.next_sequence();
        cell.sequence().store(sequence, Relaxed);
        self.order.insert(Entry {
            priority: filled.priority,
            sequence,
            index: filled.index as u64,
        })?;
        cell.ctl().store(filled.ctl.full().0, Relaxed); // the message exists, by O1
        lock.release();
        self.gate().items.wake_of_claim(1); // W1: by O1
        self.pass_space_on();
        Ok(())
    }

    /// Gives up a filled cell.
    #[cold]
    pub(crate) fn abandon(&self, filled: &Filled) -> Result<(), Damage> {
        self.free(filled.index, filled.ctl)?;
        match &filled.owned {
            Some(owned) => self.give_blocks_back(owned),
            None => Ok(()),
        }
    }

    /// A producer that was woken and leaves a free cell behind wakes the next one.
    fn pass_space_on(&self) {
        if self.gate().space.has_sleepers() && self.room.has_any() {
            self.gate().space.wake_of_claim(1);
        }
    }
}
