//! The producer's side of the ring.

use super::{
    cell::{Ctl, Pass, State},
    geometry::HEAD_WORDS,
    ring::{IN_SLAB, Ring},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    os::copy,
    prim::{self, Acquire, Relaxed, Release},
    slab::{AllocError, Chain, Owned},
};

/// Why a put did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutRefusal {
    /// Every cell is taken.
    Full,
    /// The memory for large messages is taken.
    NoBlocks,
    Closed,
    TooLarge,
    Damage(Damage),
}

impl From<Damage> for PutRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A message on its way in: encoded, and in blocks if it is large.
#[derive(Debug)]
enum Parcel<'a> {
    Inline(&'a [u8]),
    Large(Chain, Owned),
}

impl Ring {
    /// Puts one message and wakes who waits for it.
    pub(crate) fn try_put(&self, me: Owner, message: &[u8]) -> Result<(), PutRefusal> {
        let after = self.put_at(me, self.tail.0.load(Relaxed), message)?;
        self.announce_puts(after, 1);
        Ok(())
    }

    /// Puts one message at the first free position from `from` on. Returns the position behind it, from which the next
    /// one may start. [`Self::announce_puts`] must follow.
    #[inline]
    pub(crate) fn put_at(&self, me: Owner, from: u64, message: &[u8]) -> Result<u64, PutRefusal> {
        if self.gate().closed.load(Relaxed) != 0 {
            return Err(PutRefusal::Closed);
        }
        if message.len() <= self.geometry.inline_bytes {
            return self.post(me, from, &Parcel::Inline(message));
        }
        self.put_large(me, from, message)
    }

    #[cold]
    fn put_large(&self, me: Owner, from: u64, message: &[u8]) -> Result<u64, PutRefusal> {
        let slab = self
            .slab
            .as_ref()
            .filter(|s| message.len() <= s.geometry().bytes())
            .ok_or(PutRefusal::TooLarge)?;
        if self.is_full()? {
            return Err(PutRefusal::Full); // before copying what would have to be thrown away
        }
        let (chain, owned) = slab.store(me, message).map_err(|e| match e {
            AllocError::Full => {
                // Whoever woke us did so for a cell, which we leave to another.
                self.pass_space_on(self.tail());
                PutRefusal::NoBlocks
            }
            AllocError::Damage(damage) => PutRefusal::Damage(damage),
        })?;
        let parcel = Parcel::Large(chain, owned);
        let posted = self.post(me, from, &parcel);
        if posted.is_err()
            && let Parcel::Large(_, owned) = &parcel
        {
            slab.free(owned)?;
            self.gate().blocks.wake_all(); // freeing ended in a read-modify-write
        }
        posted
    }

    /// Claim, fill, commit.
    #[inline]
    fn post(&self, me: Owner, from: u64, parcel: &Parcel<'_>) -> Result<u64, PutRefusal> {
        let position = self.claim_put(me, from)?;
        let cell = self.cell(position)?;
        prim::full_fence_after_rmw(); // O2, O4
        if self.gate().closed.load(Relaxed) != 0 {
            // Relaxed: nothing was written to this cell, and nothing ever will be.
            cell[0].store(Ctl::tomb(self.lap(position)).0, Relaxed);
            self.announce_puts(self.next(position), u32::MAX);
            return Err(PutRefusal::Closed); // I4
        }
        self.witnesses.write(self.index(position));
        match parcel {
            Parcel::Inline(bytes) => {
                cell[1].store(bytes.len() as u64, Relaxed);
                copy::into_shared(&cell[HEAD_WORDS..], bytes);
            }
            Parcel::Large(chain, _) => {
                cell[1].store(chain.length as u64 | IN_SLAB, Relaxed);
                cell[2].store(
                    u64::from(chain.head) << 32 | u64::from(chain.generation),
                    Relaxed,
                );
                if let Some(slab) = &self.slab {
                    slab.set_place(*chain, position);
                }
            }
        }
        cell[0].store(Ctl::full(self.lap(position)).0, Release); // O1
        Ok(self.next(position))
    }

    /// WRITING at the first position from `from` on that is free.
    #[inline]
    pub(super) fn claim_put(&self, me: Owner, from: u64) -> Result<u64, PutRefusal> {
        let lap = self.lap(from);
        let cell = self.cell(from)?;
        // Without a look first: a failed look would fetch the line twice.
        let claim =
            cell[0].compare_exchange(Ctl::free(lap).0, Ctl::writing(lap, me).0, Release, Relaxed); // O3
        if claim.is_ok() {
            Ok(from)
        } else {
            self.search_put(me, from)
        }
    }

    #[cold]
    fn search_put(&self, me: Owner, from: u64) -> Result<u64, PutRefusal> {
        let mut position = from;
        for _ in 0..self.budget() {
            let lap = self.lap(position);
            let cell = self.cell(position)?;
            let seen = Ctl(cell[0].load(Acquire)); // O3
            let state = seen.state().ok_or(Damage("a cell is in no known state"))?;
            match (seen.pass(lap), state) {
                (Pass::Same, State::Free) => {
                    let mine = Ctl::writing(lap, me);
                    if cell[0]
                        .compare_exchange(seen.0, mine.0, Release, Relaxed)
                        .is_ok()
                    {
                        return Ok(position); // O3
                    }
                }
                (Pass::Same | Pass::Later, _) => {
                    let next = self.next(position);
                    self.advance(&self.tail.0, position, next);
                    position = next.max(self.tail.0.load(Relaxed));
                }
                (Pass::Previous, State::Tomb) => self.clear_tomb(cell, seen),
                (Pass::Previous, State::Free) | (Pass::Impossible, _) => {
                    return Err(Damage("the put counter is ahead of the cells").into());
                }
                (Pass::Previous, _) => return Err(PutRefusal::Full),
            }
        }
        Err(Damage("the put counter never meets a cell").into())
    }

    /// Makes finished puts known: they end before position `after`, and `count` of them were made.
    #[inline]
    pub(crate) fn announce_puts(&self, after: u64, count: u32) {
        self.tail.0.fetch_max(after, Relaxed); // O3: released by the fence of O4. Also the fence before waking
        self.gate().items.wake(count);
        if self.gate().space.has_sleepers() {
            self.pass_space_on(after);
        }
    }

    /// A producer that was woken and leaves a free cell behind wakes the next one.
    #[cold]
    fn pass_space_on(&self, position: u64) {
        if self.gate().space.has_sleepers() && self.is_free_at(position) {
            self.gate().space.wake(1);
        }
    }

    fn is_free_at(&self, position: u64) -> bool {
        let lap = self.lap(position);
        self.cell(position).is_ok_and(|cell| {
            let seen = Ctl(cell[0].load(Relaxed));
            seen == Ctl::free(lap) || seen == Ctl::tomb(lap.wrapping_sub(1))
        })
    }
}
