//! Taking the blocks of messages that are no longer needed.

use super::{
    cell::{Cell, Ctl, Pass, State},
    publish::PublishRefusal,
    ring::Ring,
};
use crate::{
    channel::contents::{self, Contents},
    error::Damage,
    object::participant::Owner,
    prim::{AtomicU64, Relaxed, Release},
    slab::{Block, Owned, Slab},
};

/// Which of the two slabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// Of messages that were copied in.
    Chains,
    /// Of those that were written in place.
    Loans,
}

/// A message's blocks, the caller's by now.
enum Taken<'a> {
    Chain(&'a Slab, Owned),
    Lent(&'a Slab, Block),
}

impl Taken<'_> {
    fn free(self) -> Result<(), Damage> {
        match self {
            Self::Chain(slab, owned) => slab.free(&owned),
            Self::Lent(slab, block) => slab.give_back(block),
        }
    }
}

impl Ring {
    /// Frees the blocks of the message in the cell of `position`, which is `seen`: LARGE or STALE, and nobody has still to read it. Nothing if somebody
    /// was faster.
    #[cold]
    pub(super) fn clear(&self, me: Owner, position: u64, seen: Ctl) -> Result<(), Damage> {
        let cell = self.cell(position)?;
        let Some(mine) = self.begin_clearing(me, cell, seen) else {
            return Ok(());
        };
        if self.is_lossless() {
            self.witnesses.read(self.index(position)); // O8
        }
        let taken = self.take_blocks(me, cell);
        // Also after an error: others go on, and what cannot be found is lost to them all.
        cell.ctl().store(mine.lost().0, Release); // O8, I3
        taken?.free()?;
        self.gate().blocks.wake(u32::MAX); // freeing ended in a read-modify-write
        Ok(())
    }

    /// Takes over the blocks of a cell that is being cleared.
    fn take_blocks(&self, me: Owner, cell: Cell<'_>) -> Result<Taken<'_>, Damage> {
        match self.contents(cell)? {
            Contents::Large(slab, chain) => {
                let owned = slab.take_over(me, chain)?;
                Ok(Taken::Chain(slab, owned))
            }
            Contents::Lent(slab, chain) => {
                let block = slab.take_over_single(me, chain)?;
                Ok(Taken::Lent(slab, block))
            }
            Contents::Inline(_) => Err(Damage("a message that is in blocks is not in blocks")),
        }
    }

    /// CLEARING, if the cell still is what was `seen`. The look that saw it acquired what it holds (O1, O8).
    pub(super) fn begin_clearing(&self, me: Owner, cell: Cell<'_>, seen: Ctl) -> Option<Ctl> {
        let mine = seen.clearing(me);
        cell.ctl()
            .compare_exchange(seen.0, mine.0, Release, Relaxed)
            .ok()?; // O7
        Some(mine)
    }

    /// Interprets a cell, which may lie.
    pub(super) fn contents(&self, cell: Cell<'_>) -> Result<Contents<'_>, Damage> {
        let (slab, loans) = (self.slab.as_ref(), self.loans.as_ref());
        Contents::of(cell.payload(), cell.length(), slab, loans)
    }

    /// Frees the blocks of the oldest message that has any of this memory and that nobody has still to read. Whether there was one.
    #[cold]
    pub(super) fn clear_oldest(&self, me: Owner, memory: Memory) -> Result<bool, PublishRefusal> {
        let tail = self.find_tail()?;
        // What is known to be read first: a look at all cursors costs more.
        Ok(
            self.clear_before(me, memory, tail, self.known_unread(tail))?
                || self.is_lossless() && {
                    let end = self.first_unread(tail); // I5
                    self.clear_before(me, memory, tail, end)?
                },
        )
    }

    fn clear_before(&self, me: Owner, memory: Memory, tail: u64, end: u64) -> Result<bool, Damage> {
        let oldest = tail.saturating_sub(self.one_lap());
        let hint = self.hint(memory).load(Relaxed);
        let start = if (oldest..end).contains(&hint) {
            hint
        } else {
            oldest
        };
        Ok(self.clear_first(me, memory, start, end)?
            || self.clear_first(me, memory, oldest, start.min(end))?)
    }

    fn clear_first(&self, me: Owner, memory: Memory, from: u64, end: u64) -> Result<bool, Damage> {
        let mut position = from;
        for _ in 0..=self.geometry.ring.capacity {
            if position >= end {
                break;
            }
            let here = position;
            let cell = self.cell(here)?;
            let seen = cell.look()?;
            let is_there = seen.ctl.pass(self.lap(position)) == Pass::Same;
            position = self.next(position);
            // If the cell is another message's by now, `clear` does nothing.
            let is_wanted = contents::is_lent(cell.length()) == (memory == Memory::Loans);
            if is_there && is_wanted && matches!(seen.state, State::Large | State::Stale) {
                self.clear(me, here, seen.ctl)?;
                self.hint(memory).store(position, Relaxed);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the oldest message with blocks of this memory probably is.
    fn hint(&self, memory: Memory) -> &AtomicU64 {
        match memory {
            Memory::Chains => &self.oldest_large,
            Memory::Loans => &self.oldest_lent,
        }
    }
}
