//! The consumer's side of the ring.

use super::{
    cell::{Ctl, Pass, State},
    geometry::{HEAD_WORDS, MOST_INLINE},
    ring::{IN_SLAB, Ring},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    os::copy,
    prim::{self, Acquire, AtomicU64, Relaxed, Release},
    slab::{Chain, Owned, Slab},
};

/// Pauses granted to a producer that is filling the oldest cell before gets pass over it.
const PATIENCE_WITH_WRITER: u32 = prim::pauses(32);

/// Why a get did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GetRefusal {
    Empty,
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
#[derive(Debug)]
pub(crate) struct Taken {
    position: u64,
    /// READING, by the caller.
    ctl: Ctl,
    /// Its blocks, once they are taken over.
    owned: Option<Owned>,
    /// Whether `head` may move past it.
    is_in_order: bool,
}

impl Ring {
    /// Claims the oldest message. To be followed by [`Self::read`] and [`Self::finish`].
    #[inline]
    pub(crate) fn try_take(&self, me: Owner) -> Result<Taken, GetRefusal> {
        self.take_from(me, self.head.0.load(Relaxed))
    }

    /// As [`Self::try_take`], from a position that a caller who took the one before knows.
    #[inline]
    pub(crate) fn take_from(&self, me: Owner, from: u64) -> Result<Taken, GetRefusal> {
        let is_closed = self.is_closed();
        if self.has_orphans()
            && let Some(taken) = self.take_orphan(me)?
        {
            return Ok(taken);
        }
        match self.search_get(me, from)? {
            Some(taken) => Ok(taken),
            None if is_closed && self.is_drained()? => Err(GetRefusal::Closed), // I4
            None => Err(GetRefusal::Empty),
        }
    }

    #[inline]
    fn search_get(&self, me: Owner, from: u64) -> Result<Option<Taken>, Damage> {
        let mut position = from;
        for _ in 0..self.budget() {
            let lap = self.lap(position);
            let cell = self.cell(position)?;
            let seen = Ctl(cell[0].load(Relaxed));
            let state = seen.state().ok_or(Damage("a cell is in no known state"))?;
            match (seen.pass(lap), state) {
                (Pass::Same, State::Full | State::Orphan) => {
                    if let Some(taken) = self.take(me, position, cell, seen, true) {
                        return Ok(Some(taken));
                    }
                }
                (Pass::Same, State::Free) | (Pass::Previous, _) => return Ok(None),
                (Pass::Same, State::Writing) => match self.claim_past(me, position, seen)? {
                    Passed::Taken(taken) => return Ok(Some(taken)),
                    Passed::Nothing => return Ok(None),
                    Passed::Changed => {}
                },
                (Pass::Same, State::Tomb) => self.clear_tomb(cell, seen),
                (Pass::Same, State::Reading) | (Pass::Later, _) => {
                    let next = self.next(position);
                    self.advance(&self.head.0, position, next);
                    position = next.max(self.head.0.load(Relaxed));
                }
                (Pass::Impossible, _) => {
                    return Err(Damage("the get counter is ahead of the cells"));
                }
            }
        }
        Err(Damage("the get counter never meets a cell"))
    }

    #[inline]
    fn take(
        &self,
        me: Owner,
        position: u64,
        cell: &[AtomicU64],
        seen: Ctl,
        is_in_order: bool,
    ) -> Option<Taken> {
        let mine = seen.reading(me);
        cell[0]
            .compare_exchange(seen.0, mine.0, Acquire, Relaxed)
            .ok()?; // O1
        Some(Taken {
            position,
            ctl: mine,
            owned: None,
            is_in_order,
        })
    }

    /// Takes a message behind the one that is being written at `busy`, so that a slow producer stops nobody.
    ///
    /// It must not overtake a put that was finished before another began: then the later one's position is not before
    /// the `tail` that was loaded while the earlier one was still unfinished. A put that has returned is before it (I1),
    /// so finding nothing means that the queue is empty.
    #[cold]
    fn claim_past(&self, me: Owner, busy: u64, seen: Ctl) -> Result<Passed, Damage> {
        let writer = &self.cell(busy)?[0];
        for _ in 0..PATIENCE_WITH_WRITER {
            if writer.load(Relaxed) != seen.0 {
                return Ok(Passed::Changed);
            }
            prim::spin_loop();
        }
        let limit = self.tail.0.load(Acquire); // O3
        if writer.load(Relaxed) != seen.0 {
            return Ok(Passed::Changed);
        }
        let mut position = self.next(busy);
        for _ in 1..self.geometry.capacity {
            if position >= limit {
                break;
            }
            let cell = self.cell(position)?;
            let seen = Ctl(cell[0].load(Relaxed));
            if seen == Ctl::full(self.lap(position))
                && let Some(taken) = self.take(me, position, cell, seen, false)
            {
                return Ok(Passed::Taken(taken));
            }
            position = self.next(position);
        }
        Ok(Passed::Nothing)
    }

    /// Takes a message whose consumer died.
    #[cold]
    fn take_orphan(&self, me: Owner) -> Result<Option<Taken>, Damage> {
        let count = self.gate().orphans.load(Acquire); // O5
        let mut has_lost_race = false;
        for (index, word) in (0u64..).zip(self.ctls()) {
            let seen = Ctl(word.load(Relaxed));
            if seen.state() != Some(State::Orphan) {
                continue;
            }
            let position = seen.lap() << self.shift | index;
            if let Some(taken) = self.take(me, position, self.cell(position)?, seen, false) {
                return Ok(Some(taken));
            }
            has_lost_race = true;
        }
        if !has_lost_race {
            self.gate().orphans_done.fetch_max(count, Relaxed); // I3
        }
        Ok(None)
    }

    /// Appends a claimed message to `out`, and makes its blocks the caller's.
    pub(crate) fn read(
        &self,
        me: Owner,
        taken: &mut Taken,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let cell = self.cell(taken.position)?;
        self.witnesses.read(self.index(taken.position));
        match self.contents(cell)? {
            Contents::Inline(length) => {
                copy::out_of_shared(&cell[HEAD_WORDS..], length, out);
            }
            Contents::Large(slab, chain) => {
                let owned = taken.owned.insert(slab.take_over(me, chain)?);
                slab.load(owned, chain.length, out);
            }
        }
        Ok(())
    }

    /// Copies a claimed message to the start of `out` if it is in its cell; otherwise to `large`. Returns the length in `out`.
    #[inline]
    pub(crate) fn read_short(
        &self,
        me: Owner,
        taken: &mut Taken,
        out: &mut [u8; MOST_INLINE],
        large: &mut Vec<u8>,
    ) -> Result<Option<usize>, Damage> {
        let cell = self.cell(taken.position)?;
        self.witnesses.read(self.index(taken.position));
        let length = cell[1].load(Relaxed);
        if length <= self.geometry.inline_bytes as u64 {
            let length = copy::out_to_slice(&cell[HEAD_WORDS..], length as usize, out);
            return length
                .map(Some)
                .ok_or(Damage("a message is longer than its cell"));
        }
        self.read(me, taken, large)?;
        Ok(None)
    }

    /// Interprets a cell's length word, which may be a lie.
    pub(super) fn contents(&self, cell: &[AtomicU64]) -> Result<Contents<'_>, Damage> {
        let word = cell[1].load(Relaxed);
        let length = usize::try_from(word & !IN_SLAB)
            .map_err(|_| Damage("a message has an impossible length"))?;
        if word & IN_SLAB == 0 {
            let fits = length <= self.geometry.inline_bytes;
            return if fits {
                Ok(Contents::Inline(length))
            } else {
                Err(Damage("a message is longer than its cell"))
            };
        }
        let slab = self
            .slab
            .as_ref()
            .ok_or(Damage("a message is in blocks, but the queue has none"))?;
        if length > slab.geometry().bytes() {
            return Err(Damage("a message is longer than the memory for messages"));
        }
        let place = cell[2].load(Relaxed);
        Ok(Contents::Large(
            slab,
            Chain {
                head: (place >> 32) as u32,
                generation: place as u32,
                length,
            },
        ))
    }

    /// Hands the cell on: the message is delivered. [`Self::announce_gets`] must follow.
    #[inline]
    pub(crate) fn finish(&self, taken: &Taken) -> Result<(), Damage> {
        let cell = self.cell(taken.position)?;
        cell[0].store(Ctl::free(taken.ctl.lap().wrapping_add(1)).0, Release); // O2
        Ok(())
    }

    /// Where to go on after `taken`, which was searched for from `from` on.
    pub(crate) fn behind(&self, taken: &Taken, from: u64) -> u64 {
        if taken.is_in_order {
            self.next(taken.position)
        } else {
            from
        }
    }

    /// Leaves a claimed message to the next get.
    #[cold]
    pub(crate) fn put_back(&self, taken: &Taken) -> Result<(), Damage> {
        self.cell(taken.position)?[0].store(taken.ctl.orphan().0, Release); // O8
        self.gate().orphans.fetch_add(1, Release); // O5; by I3 a repair counts it if we die before
        self.gate().items.wake(1);
        Ok(())
    }

    /// Makes finished gets known: moves `head`, gives blocks back, wakes who waits.
    #[inline]
    pub(crate) fn announce_gets(&self, done: &[Taken]) -> Result<(), Damage> {
        match done {
            [one] if one.is_in_order => {
                self.head.0.fetch_max(self.next(one.position), Relaxed);
            }
            _ => {
                for taken in done.iter().filter(|t| t.is_in_order) {
                    self.head.0.fetch_max(self.next(taken.position), Relaxed);
                }
                prim::full_fence();
            }
        }
        let gate = self.gate();
        gate.space.wake(done.len() as u32);
        if let Some(slab) = &self.slab {
            self.give_blocks_back(slab, done)?;
        }
        if gate.items.has_sleepers() {
            self.pass_items_on();
        }
        Ok(())
    }

    fn give_blocks_back(&self, slab: &Slab, done: &[Taken]) -> Result<(), Damage> {
        let mut has_freed = false;
        for owned in done.iter().filter_map(|t| t.owned.as_ref()) {
            slab.free(owned)?; // by the slab's I3: after the reference is gone
            has_freed = true;
        }
        if has_freed {
            // Freeing ended in a compare-exchange.
            self.gate().blocks.wake_all();
        }
        Ok(())
    }

    /// A consumer that was woken and leaves a message behind wakes the next one; the last one of a closed queue, all.
    #[cold]
    fn pass_items_on(&self) {
        if self.is_closed() {
            self.gate().items.wake_all();
            return;
        }
        let position = self.head.0.load(Relaxed);
        let is_full =
            |cell: &[AtomicU64]| Ctl(cell[0].load(Relaxed)) == Ctl::full(self.lap(position));
        if self.cell(position).is_ok_and(is_full) || self.has_orphans() {
            self.gate().items.wake(1);
        }
    }
}

/// What a cell holds.
pub(super) enum Contents<'a> {
    Inline(usize),
    Large(&'a Slab, Chain),
}

/// What came of passing over a cell that is being written.
enum Passed {
    Taken(Taken),
    /// No finished put lies behind it.
    Nothing,
    /// It is no longer being written: look again.
    Changed,
}
