//! The consumer's side of the ring.

use super::{
    cell::{Cell, Ctl, Pass, Seen, State},
    ring::Ring,
};
use crate::{
    channel::contents::Contents,
    error::Damage,
    message::SharedBytes,
    object::participant::Owner,
    os::copy,
    prim::{self, Acquire, Relaxed, Release},
    slab::{Block, Owned},
};

/// Pauses granted to a producer that is filling the oldest cell before gets pass over it.
const PATIENCE_WITH_WRITER: u32 = prim::pauses(32);
/// How often to look again at what others change meanwhile, before going back to where the search began.
const RACES: u32 = 8;

/// Why a get did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GetRefusal {
    Empty,
    /// Empty, but somebody is at work on a cell, and may not see that somebody else goes to sleep now.
    BeingPut,
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
    pub(super) position: u64,
    /// READING, by the caller.
    pub(super) ctl: Ctl,
    /// Whether `head` may move past it.
    is_in_order: bool,
}

impl Ring {
    /// Claims the oldest message, which is probably at `from`. To be followed by [`Self::short`] or [`Self::read`], and
    /// [`Self::finish`].
    #[inline]
    pub(crate) fn take_from(&self, me: Owner, from: u64) -> Result<Taken, GetRefusal> {
        match self.take_at(me, from)? {
            Some(taken) => Ok(taken),
            None => self.search_get(me, from),
        }
    }

    /// Claims the message at `from`, if one was put there, and without a look at anything else: a look at the claim word
    /// of a cell that is about to be claimed by a producer costs that producer a cache miss.
    #[inline]
    pub(crate) fn take_at(&self, me: Owner, from: u64) -> Result<Option<Taken>, Damage> {
        let cell = self.cell(from)?;
        let done = Ctl(cell.done().load(Relaxed)); // acquired by the fence in `take` (O1)
        if done.is_put_in(self.lap(from)) && !self.has_orphans() {
            Ok(self.take(me, from, cell, done, true))
        } else {
            Ok(None)
        }
    }

    /// As [`Self::take_from`], but for the look at the probable place.
    #[inline(never)]
    pub(crate) fn search_get(&self, me: Owner, from: u64) -> Result<Taken, GetRefusal> {
        let is_closed = self.is_closed(); // I4: before the looks
        if self.has_orphans()
            && let Some(taken) = self.take_orphan(me)?
        {
            return Ok(taken);
        }
        match self.take_in_order(me, from)? {
            Found::Taken(taken) => Ok(taken),
            Found::Nothing | Found::Unfinished if is_closed => {
                if self.is_drained()? {
                    Err(GetRefusal::Closed)
                } else {
                    Err(GetRefusal::BeingPut) // or got, and perhaps put back
                }
            }
            Found::Nothing => Err(GetRefusal::Empty),
            Found::Unfinished => Err(GetRefusal::BeingPut),
        }
    }

    fn take_in_order(&self, me: Owner, from: u64) -> Result<Found, Damage> {
        let mut position = from;
        for _ in 0..self.budget() {
            let lap = self.lap(position);
            let cell = self.cell(position)?;
            let Seen { ctl: seen, state } = cell.look()?;
            match (seen.pass(lap), state) {
                (Pass::Same, State::Full | State::Orphan) => {
                    if let Some(taken) = self.take(me, position, cell, seen, true) {
                        return Ok(Found::Taken(taken));
                    }
                }
                (Pass::Same, State::Free) | (Pass::Previous, _) => return Ok(Found::Nothing),
                (Pass::Same, State::Writing) => {
                    if let Some(found) = self.take_past(me, position, seen)? {
                        return Ok(found);
                    }
                }
                (Pass::Same, State::Tomb) => self.clear_tomb(cell, seen),
                (Pass::Same, State::Reading) => position = self.next(position),
                (Pass::Later, _) => position = self.consumed_before(position, seen),
                (Pass::Impossible, _) => {
                    return Err(Damage("the get counter is ahead of the cells"));
                }
            }
        }
        Err(Damage("the get counter never meets a cell"))
    }

    /// A position behind `position` before which every message is gone, as its cell was seen in a later lap.
    ///
    /// A producer has claimed this cell in the lap before the one seen, hence all cells before it in that lap (I1), each
    /// of which was free then. So nothing is left from before the lap before that.
    pub(super) fn consumed_before(&self, position: u64, seen: Ctl) -> u64 {
        let ahead = seen.laps_ahead_of(self.lap(position)).saturating_sub(2);
        self.next(position)
            .max(position.wrapping_add(ahead << self.shift))
    }

    #[inline]
    fn take(
        &self,
        me: Owner,
        position: u64,
        cell: Cell<'_>,
        seen: Ctl,
        is_in_order: bool,
    ) -> Option<Taken> {
        let mine = seen.reading(me);
        cell.ctl()
            .compare_exchange(seen.0, mine.0, Relaxed, Relaxed)
            .ok()?;
        prim::full_fence_after_rmw(); // O1, and W1: before the look for who waits for room
        Some(Taken {
            position,
            ctl: mine,
            is_in_order,
        })
    }

    /// Takes a message behind the one that is being written at `busy`, so that a slow producer stops nobody. `None` if
    /// things have changed meanwhile.
    ///
    /// It must not overtake a put that was finished before the other began. So whatever is found finished first is taken
    /// only if, looked at once more after that, everything before it is still unfinished (O3).
    #[cold]
    fn take_past(&self, me: Owner, busy: u64, seen: Ctl) -> Result<Option<Found>, Damage> {
        let writer = self.cell(busy)?;
        let is_same = |now: Seen| now.ctl == seen && now.state == State::Writing;
        for _ in 0..PATIENCE_WITH_WRITER {
            if !is_same(writer.look()?) {
                return Ok(None);
            }
            prim::spin_loop();
        }
        let Some(mut oldest) = self.first_full(busy, None)? else {
            return Ok(is_same(writer.look()?).then_some(Found::Unfinished));
        };
        let mut is_oldest = false;
        for _ in 0..RACES {
            match self.first_full(busy, Some(oldest.0))? {
                Some(older) => oldest = older,
                None => {
                    is_oldest = true;
                    break;
                }
            }
        }
        let (position, full) = oldest;
        if !is_oldest || position == busy {
            return Ok(None);
        }
        let taken = self.take(me, position, self.cell(position)?, full, false);
        Ok(taken.map(Found::Taken))
    }

    /// The first FULL cell from `from` on and before `end`, in the lap of its position.
    fn first_full(&self, from: u64, end: Option<u64>) -> Result<Option<(u64, Ctl)>, Damage> {
        let mut position = from;
        for _ in 0..self.geometry.capacity {
            if end == Some(position) {
                break;
            }
            let Seen { ctl, state } = self.cell(position)?.look()?; // O3
            match (ctl.pass(self.lap(position)), state) {
                (Pass::Same, State::Full) => return Ok(Some((position, ctl))),
                // No producer came so far (I1).
                (Pass::Same, State::Free) | (Pass::Previous, _) => break,
                _ => position = self.next(position),
            }
        }
        Ok(None)
    }

    /// Takes a message whose consumer died or gave it up.
    #[cold]
    fn take_orphan(&self, me: Owner) -> Result<Option<Taken>, Damage> {
        let count = self.gate().orphans.load(Acquire); // O5
        for _ in 0..RACES {
            let Some((position, ctl)) = self.oldest_orphan()? else {
                self.gate().orphans_done.fetch_max(count, Relaxed); // I3
                break;
            };
            if let Some(taken) = self.take(me, position, self.cell(position)?, ctl, false) {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// A claimed message, if it is in its cell.
    #[inline]
    pub(crate) fn short(&self, taken: &Taken) -> Result<Option<SharedBytes<'_>>, Damage> {
        let cell = self.cell(taken.position)?;
        self.witnesses.read(self.index(taken.position));
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
        let cell = self.cell(taken.position)?;
        self.witnesses.read(self.index(taken.position));
        match self.contents(cell)? {
            Contents::Inline(length) => {
                copy::out_of_shared(cell.payload(), length, out);
                Ok(None)
            }
            Contents::Large(slab, chain) => {
                let owned = slab.take_over(me, chain)?;
                slab.load(&owned, chain.length, out);
                Ok(Some(owned))
            }
            Contents::Lent(slab, chain) => {
                let block = slab.take_over_single(me, chain)?;
                copy::out_of_shared(slab.words(block), chain.length, out);
                Ok(Some(Owned::lent(block)))
            }
        }
    }

    /// The block of a claimed message that was written in place, from here on the caller's, and the message's length; `None` if the
    /// message is elsewhere.
    pub(super) fn take_lent(
        &self,
        me: Owner,
        taken: &Taken,
    ) -> Result<Option<(Block, usize)>, Damage> {
        let cell = self.cell(taken.position)?;
        self.witnesses.read(self.index(taken.position));
        match self.contents(cell)? {
            Contents::Lent(slab, chain) => {
                let block = slab.take_over_single(me, chain)?;
                Ok(Some((block, chain.length)))
            }
            _ => Ok(None),
        }
    }

    /// Interprets a cell, which may lie.
    pub(super) fn contents(&self, cell: Cell<'_>) -> Result<Contents<'_>, Damage> {
        let (slab, loans) = (self.slab.as_ref(), self.loans.as_ref());
        Contents::of(cell.payload(), cell.length(), slab, loans)
    }

    /// Hands the cell on: the message is delivered. [`Self::announce_gets`] must follow.
    #[inline]
    pub(crate) fn finish(&self, taken: &Taken) -> Result<(), Damage> {
        let cell = self.cell(taken.position)?;
        let free = Ctl::free(taken.ctl.lap().wrapping_add(1));
        cell.ctl().store(free.0, Release); // O2
        Ok(())
    }

    /// Where to go on after `taken`, which was searched for from `from` on.
    #[inline]
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
        self.leave(taken, taken.ctl.orphan())
    }

    /// As [`Self::put_back`], of a message that the caller has not tried to deliver: that does not count as a failure.
    #[cold]
    pub(in crate::channel) fn leave_untried(&self, taken: &Taken) -> Result<(), Damage> {
        self.leave(taken, taken.ctl.untried())
    }

    fn leave(&self, taken: &Taken, orphan: Ctl) -> Result<(), Damage> {
        let cell = self.cell(taken.position)?;
        cell.ctl().store(orphan.0, Release); // O8
        self.gate().orphans.fetch_add(1, Release); // O5; by I3 a repair counts it if we die before
        self.gate().items.wake(1);
        Ok(())
    }

    /// Makes `count` finished gets known, after which the oldest message is at `after` or later.
    #[inline]
    pub(crate) fn announce_gets(&self, after: u64, count: u32) {
        Self::raise(&self.head.0, after);
        let gate = self.gate();
        gate.space.wake_of_claim(count); // W1: with the fence of the claims
        if gate.items.has_sleepers() {
            self.pass_items_on();
        }
    }

    /// Gives the blocks of finished gets back.
    pub(crate) fn give_blocks_back(&self, owned: &[Owned]) -> Result<(), Damage> {
        for one in owned {
            let slab = if one.is_lent { &self.loans } else { &self.slab };
            slab.as_ref().map_or(Ok(()), |slab| slab.free(one))?; // by the slab's I3: after the reference is gone
        }
        if !owned.is_empty() {
            self.gate().blocks.wake(u32::MAX); // freeing ended in a compare-exchange
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
        if !self.is_empty() {
            self.gate().items.wake_of_claim(1);
        }
    }
}

/// What a search for the oldest message found.
enum Found {
    Taken(Taken),
    /// No producer has come so far.
    Nothing,
    /// Producers have come, and none behind the first unfinished put has finished.
    Unfinished,
}
