//! Taking the blocks of messages that are no longer needed.

use super::{
    cell::{Cell, Ctl, Pass, State},
    publish::PublishRefusal,
    ring::Ring,
};
use crate::{
    channel::contents::Contents,
    error::Damage,
    object::participant::Owner,
    prim::{Relaxed, Release},
};

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
        let taken = match self.contents(cell) {
            Ok(Contents::Large(slab, chain)) => slab.take_over(me, chain).map(|o| (slab, o)),
            Ok(Contents::Inline(_) | Contents::Lent(..)) => {
                Err(Damage("a message that is in blocks is not in blocks"))
            }
            Err(damage) => Err(damage),
        };
        // Also after an error: others go on, and what cannot be found is lost to them all.
        cell.ctl().store(mine.lost().0, Release); // O8, I3
        let (slab, owned) = taken?;
        slab.free(&owned)?;
        self.gate().blocks.wake(u32::MAX); // freeing ended in a read-modify-write
        Ok(())
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
        Contents::of(cell.payload(), cell.length(), self.slab.as_ref(), None)
    }

    /// Frees the blocks of the oldest message that has any and that nobody has still to read. Whether there was one.
    #[cold]
    pub(super) fn clear_oldest(&self, me: Owner) -> Result<bool, PublishRefusal> {
        let tail = self.find_tail()?;
        let oldest = tail.saturating_sub(self.one_lap());
        let end = self.first_unread(tail); // I5
        let hint = self.oldest_large.load(Relaxed);
        let start = if (oldest..end).contains(&hint) {
            hint
        } else {
            oldest
        };
        let is_cleared =
            self.clear_first(me, start, end)? || self.clear_first(me, oldest, start)?;
        Ok(is_cleared)
    }

    fn clear_first(&self, me: Owner, from: u64, end: u64) -> Result<bool, Damage> {
        let mut position = from;
        for _ in 0..=self.geometry.ring.capacity {
            if position >= end {
                break;
            }
            let here = position;
            let seen = self.cell(here)?.look()?;
            let is_there = seen.ctl.pass(self.lap(position)) == Pass::Same;
            position = self.next(position);
            if is_there && matches!(seen.state, State::Large | State::Stale) {
                self.clear(me, here, seen.ctl)?;
                self.oldest_large.store(position, Relaxed);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
