//! Looking into the ring without changing it.

use super::{
    cell::{Ctl, Pass, State},
    geometry::HEAD_WORDS,
    get::Contents,
    ring::Ring,
};
use crate::{
    error::Damage,
    os::copy,
    prim::{self, Acquire, AtomicU64, Relaxed},
};

impl Ring {
    /// Appends the oldest message to `out` and leaves it where it is. Returns whether there was one.
    pub(crate) fn peek(&self, out: &mut Vec<u8>) -> Result<bool, Damage> {
        let (first, limit) = (self.head.0.load(Relaxed), self.tail.0.load(Relaxed));
        let orphan = self.has_orphans().then(|| self.oldest_orphan()).flatten();
        let in_order = core::iter::successors(Some(first), |&position| Some(self.next(position)))
            .take_while(|&position| position < limit)
            .take(self.geometry.capacity); // a lie in the counters must not make us walk for ever
        for candidate in orphan.into_iter().chain(in_order) {
            let cell = self.cell(candidate)?;
            for _ in 0..3 {
                let seen = Ctl(cell[0].load(Acquire)); // O1, O6
                if seen.pass(self.lap(candidate)) != Pass::Same
                    || !matches!(seen.state(), Some(State::Full | State::Orphan))
                {
                    break;
                }
                let start = out.len();
                let is_copied = self.copy_unclaimed(cell, out);
                prim::acquire_fence(); // O6
                if cell[0].load(Relaxed) == seen.0 {
                    return is_copied.map(|()| true); // nobody claimed it meanwhile
                }
                out.truncate(start);
            }
        }
        Ok(false)
    }

    fn oldest_orphan(&self) -> Option<u64> {
        let orphan = |(index, word): (u64, &AtomicU64)| {
            let seen = Ctl(word.load(Relaxed));
            (seen.state() == Some(State::Orphan)).then(|| seen.lap() << self.shift | index)
        };
        (0u64..).zip(self.ctls()).filter_map(orphan).min()
    }

    fn copy_unclaimed(&self, cell: &[AtomicU64], out: &mut Vec<u8>) -> Result<(), Damage> {
        match self.contents(cell)? {
            Contents::Inline(length) => {
                copy::out_of_shared(&cell[HEAD_WORDS..], length, out);
                Ok(())
            }
            Contents::Large(slab, chain) => slab.peek(chain, out).ok_or(Damage(
                "a message's chain of blocks is shorter than the message",
            )),
        }
    }

    /// Messages that were put and not yet got. Exact while nobody puts or gets. Looks at every cell in use.
    pub(crate) fn len(&self) -> usize {
        let is_message = |w: &&AtomicU64| {
            matches!(
                Ctl(w.load(Relaxed)).state(),
                Some(State::Full | State::Orphan)
            )
        };
        self.ctls().filter(is_message).count()
    }

    /// Whether a get would find nothing now.
    pub(crate) fn is_empty(&self) -> bool {
        let position = self.head.0.load(Relaxed);
        let is_free =
            |cell: &[AtomicU64]| Ctl(cell[0].load(Relaxed)) == Ctl::free(self.lap(position));
        let is_quick = !self.has_orphans() && self.cell(position).is_ok_and(is_free);
        is_quick || self.len() == 0
    }

    /// Whether a put of a short message would find no cell now.
    pub(crate) fn is_full(&self) -> Result<bool, Damage> {
        let mut position = self.tail.0.load(Relaxed);
        for _ in 0..=self.geometry.capacity {
            let seen = Ctl(self.cell(position)?[0].load(Relaxed));
            match seen.pass(self.lap(position)) {
                Pass::Same if seen.state() == Some(State::Free) => return Ok(false),
                Pass::Same | Pass::Later => position = self.next(position),
                Pass::Previous => return Ok(seen.state() != Some(State::Tomb)),
                Pass::Impossible => return Err(Damage("the put counter is ahead of the cells")),
            }
        }
        Ok(false) // the counter is overtaken all the time: cells are being freed
    }
}
