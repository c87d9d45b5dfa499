//! What a queue needs of its ring that keeps messages elsewhere once they were taken out of it: [`crate::JoinableQueue`].

use super::{
    cell::{Cell, Pass, Seen, State},
    get::Taken,
    ring::Ring,
};
use crate::{
    channel::contents::{Contents, Parcel},
    error::Damage,
    object::participant::{Dead, Owner},
    prim::{AtomicU64, Relaxed, Release},
    slab::Slab,
};

impl Taken {
    /// Where the message was put, which is its alone for good.
    #[inline]
    pub(in crate::channel) fn position(&self) -> u64 {
        self.position
    }

    /// How often the message was taken before and not delivered, modulo 16.
    #[inline]
    pub(in crate::channel) fn failures(&self) -> u64 {
        self.ctl.turn()
    }
}

impl Ring {
    #[inline]
    pub(in crate::channel) fn slab(&self) -> Option<&Slab> {
        self.slab.as_ref()
    }

    /// Copies a claimed message that is in its cell to where it will lie. Whether it was in its cell.
    #[inline]
    pub(in crate::channel) fn move_short(
        &self,
        taken: &Taken,
        payload: &[AtomicU64],
        length: &AtomicU64,
    ) -> Result<bool, Damage> {
        let cell = self.cell(taken.position)?;
        self.witnesses.read(self.index(taken.position));
        let bytes = cell.length().load(Relaxed);
        if bytes > self.geometry.inline_bytes as u64 {
            return Ok(false);
        }
        let words = (bytes as usize).div_ceil(8);
        for (to, from) in payload.iter().zip(cell.payload()).take(words) {
            to.store(from.load(Relaxed), Relaxed);
        }
        length.store(bytes, Relaxed);
        Ok(true)
    }

    /// Makes the blocks of a claimed message the caller's, and notes them where it will lie. Its bytes are appended to `out`. Whether
    /// it was in blocks.
    pub(in crate::channel) fn move_large(
        &self,
        me: Owner,
        taken: &Taken,
        (payload, length): (&[AtomicU64], &AtomicU64),
        out: &mut Vec<u8>,
    ) -> Result<bool, Damage> {
        let Contents::Large(slab, chain) = self.contents(self.cell(taken.position)?)? else {
            return Ok(false);
        };
        let owned = slab.take_over(me, chain)?;
        slab.load(&owned, chain.length, out);
        Parcel::Large(slab, chain).write(payload, length, taken.position);
        Ok(true)
    }

    /// Whether `owner` has not finished its get of the message that was put at `position`.
    pub(in crate::channel) fn is_being_got(&self, position: u64, owner_bits: u64) -> bool {
        self.cell(position).is_ok_and(|cell| {
            cell.look()
                .is_ok_and(|seen| self.is_read(seen, position, owner_bits))
        })
    }

    fn is_read(&self, seen: Seen, position: u64, owner_bits: u64) -> bool {
        seen.state == State::Reading
            && seen.ctl.pass(self.lap(position)) == Pass::Same
            && seen.ctl.owner_bits() == owner_bits
    }

    /// Finishes the get of a dead consumer that had moved the message already. Whether the dead one may still be in the way.
    pub(in crate::channel) fn finish_for(&self, dead: &Dead<'_>, position: u64) -> bool {
        let Ok(cell) = self.cell(position) else {
            return true; // a lie: there is nothing to finish
        };
        let Ok(seen) = cell.look() else {
            return true;
        };
        if !self.is_read(seen, position, dead.owner().bits()) {
            return true;
        }
        if !dead.still() {
            return false; // another sweeper has finished
        }
        let free = seen.ctl.freed();
        let _ = cell
            .ctl()
            .compare_exchange(seen.ctl.0, free.0, Release, Relaxed); // O2, O8
        true
    }

    /// Messages in the ring, and those that somebody is taking out of it.
    pub(in crate::channel) fn unfinished(&self) -> usize {
        let is_there =
            |state: &State| matches!(state, State::Full | State::Reading | State::Orphan);
        self.all_states().filter(is_there).count()
    }

    /// `None` while a message is in the ring; else a number that stays the same for exactly as long as no cell changes.
    pub(in crate::channel) fn survey(&self) -> Result<Option<u64>, Damage> {
        let mut sum = 0u64;
        for cell in self.all_cells() {
            let Some(age) = age_of_empty(cell)? else {
                return Ok(None);
            };
            sum = sum.wrapping_add(age);
        }
        Ok(Some(sum))
    }
}

/// How often an empty cell has changed since the ring began, more or less: more with each change. `None` if it is not empty.
fn age_of_empty(cell: Cell<'_>) -> Result<Option<u64>, Damage> {
    let Seen { ctl, state } = cell.look()?;
    let phase = match state {
        State::Free => 0,
        State::Writing => 1,
        State::Tomb => 2,
        State::Full | State::Reading | State::Orphan => return Ok(None),
    };
    Ok(Some(ctl.lap().wrapping_mul(4).wrapping_add(phase)))
}
