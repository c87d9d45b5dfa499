//! Chunks: dividing one into blocks, which of them may be free, and making it free as a whole.

use core::sync::atomic::Ordering::Relaxed as Locally;

use super::{
    CTL, GRAIN, Heap, SUMMARY,
    classes::Class,
    words::{ChunkCtl, ChunkState, Head, Lot, State},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    prim::{self, AcqRel, Acquire, AtomicU64, Relaxed, Release},
};

/// A block, by its number in its chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) chunk: usize,
    pub(super) number: usize,
}

impl Heap {
    /// The words of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> &[AtomicU64] {
        let words = self.geometry.chunk_bytes / 8;
        let start = chunk * words;
        self.words.get(start..start + words).unwrap_or_default()
    }

    #[inline]
    pub(super) fn ctl(&self, chunk: usize) -> Option<ChunkCtl> {
        let control = self.control.get(chunk)?;
        Some(ChunkCtl(control[CTL].load(Acquire))) // O3, O4
    }

    /// The grain at which a block starts.
    pub(super) fn block_at(&self, site: Site, size: usize) -> u32 {
        let bytes =
            site.chunk * self.geometry.chunk_bytes + self.classes.header() + site.number * size;
        (bytes / GRAIN) as u32
    }

    #[inline]
    pub(super) fn chunk_of(&self, block: u32) -> usize {
        // A power of two, so that nobody divides for each block.
        (block as usize * GRAIN) >> self.geometry.chunk_bytes.trailing_zeros()
    }

    /// Where a block of this size is; `None` if none starts there.
    pub(super) fn site_of(&self, block: u32, size: usize) -> Option<Site> {
        let chunk = self.chunk_of(block);
        let in_chunk = block as usize * GRAIN % self.geometry.chunk_bytes;
        let behind = in_chunk.checked_sub(self.classes.header())?;
        let number = behind / size;
        let is_one = behind % size == 0 && number < self.classes.per_chunk(size);
        is_one.then_some(Site { chunk, number })
    }

    /// The heads of a chunk's blocks, by number.
    pub(super) fn heads(&self, chunk: usize, size: usize) -> impl Iterator<Item = &AtomicU64> {
        let first = self.classes.header() / 8;
        let count = self.classes.per_chunk(size);
        let words = self.chunk(chunk).get(first..).unwrap_or_default();
        words.iter().step_by(size / 8).take(count)
    }

    /// Divides a free chunk into blocks. Whether it was still free.
    pub(super) fn format(&self, me: Owner, chunk: usize, seen: ChunkCtl, class: Class) -> bool {
        let (Some(control), Some(size)) = (self.control.get(chunk), self.classes.size(class))
        else {
            return false;
        };
        let Some(mine) = self.begin_format(me, chunk, seen, class) else {
            return false;
        };
        self.spare.0.fetch_sub(1, Relaxed);
        let first = Head::first(mine.generation());
        for head in self.heads(chunk, size) {
            head.store(first.0, Relaxed);
        }
        self.set_all_bits(chunk, size);
        control[CTL].store(mine.used().0, Release); // O3
        true
    }

    /// The chunk's word if it is the caller's to divide, from now on.
    pub(super) fn begin_format(
        &self,
        me: Owner,
        chunk: usize,
        seen: ChunkCtl,
        class: Class,
    ) -> Option<ChunkCtl> {
        let mine = seen.formatting(class, me);
        self.control[chunk][CTL]
            .compare_exchange(seen.0, mine.0, AcqRel, Relaxed) // O3, O4, O7
            .ok()?;
        self.witness_chunk(chunk);
        Some(mine)
    }

    /// Has a model see that all blocks that were in the chunk are the caller's.
    pub(super) fn witness_chunk(&self, chunk: usize) {
        let grains = self.geometry.chunk_bytes / GRAIN;
        (chunk * grains..(chunk + 1) * grains).for_each(|grain| self.witnesses.write(grain));
    }

    fn set_all_bits(&self, chunk: usize, size: usize) {
        let count = self.classes.per_chunk(size);
        let mut summary = 0;
        for (at, bits) in self.bits(chunk).iter().enumerate() {
            let full = full_word(count, at);
            bits.store(full, Relaxed);
            summary |= u64::from(full != 0) << at;
        }
        if let Some(control) = self.control.get(chunk) {
            control[SUMMARY].store(summary, Relaxed);
        }
    }

    fn bits(&self, chunk: usize) -> &[AtomicU64] {
        let words = self.classes.header() / 8;
        self.chunk(chunk).get(..words).unwrap_or_default()
    }

    /// Notes that a block may be free. Whether all blocks of its chunk may be, now.
    pub(super) fn set_bit(&self, site: Site, size: usize) -> bool {
        self.set_bits(site.chunk, site.number / 64, 1 << (site.number % 64));
        let count = self.classes.per_chunk(size);
        let is_full = |(at, bits): (usize, &AtomicU64)| {
            let full = full_word(count, at);
            bits.load(Relaxed) & full == full
        };
        let bits = self.bits(site.chunk);
        let own = bits
            .get(site.number / 64)
            .map(|bits| (site.number / 64, bits));
        own.is_some_and(is_full) && bits.iter().enumerate().all(is_full)
    }

    /// Notes that blocks may be free.
    fn set_bits(&self, chunk: usize, at: usize, mask: u64) {
        let (Some(bits), Some(control)) = (self.bits(chunk).get(at), self.control.get(chunk))
        else {
            return;
        };
        bits.fetch_or(mask, Relaxed);
        prim::full_fence_after_rmw(); // O6: before the look
        if control[SUMMARY].load(Relaxed) & 1 << at == 0 {
            control[SUMMARY].fetch_or(1 << at, Relaxed);
        }
    }

    /// Notes all blocks that are free. Some may be in the hands of who has hints of them: then there are two hints of one block.
    pub(super) fn set_bits_of_free(&self, chunk: usize, size: usize, ctl: ChunkCtl) {
        let mut free = 0;
        let last = self.classes.per_chunk(size).wrapping_sub(1);
        for (number, head) in self.heads(chunk, size).enumerate() {
            let is_free = Head(head.load(Relaxed)).is_free_in(ctl.generation());
            free |= u64::from(is_free) << (number % 64);
            if free != 0 && (number % 64 == 63 || number == last) {
                self.set_bits(chunk, number / 64, free);
            }
            if number % 64 == 63 {
                free = 0;
            }
        }
    }

    /// Takes up to 32 of a chunk's bits, or one.
    pub(super) fn take_lot(&self, chunk: usize, is_one: bool) -> Option<Lot> {
        let control = self.control.get(chunk)?;
        let bits = self.bits(chunk);
        for _ in 0..bits.len() {
            let summary = control[SUMMARY].load(Relaxed);
            let at = summary.trailing_zeros() as usize;
            let word = bits.get(at)?; // none, or a lie
            let seen = word.load(Relaxed);
            let half = usize::from(seen as u32 == 0);
            let mask = if is_one {
                seen & seen.wrapping_neg()
            } else {
                u64::from(u32::MAX) << (half * 32)
            };
            let taken = (word.fetch_and(!mask, Relaxed) & mask) >> (half * 32);
            if word.load(Relaxed) == 0 {
                control[SUMMARY].fetch_and(!(1 << at), Relaxed);
                prim::full_fence_after_rmw(); // O6
                if word.load(Relaxed) != 0 {
                    control[SUMMARY].fetch_or(1 << at, Relaxed); // somebody was faster than the last line but one
                }
            }
            if taken != 0 {
                return Some(Lot::new(chunk, at * 2 + half, taken as u32));
            }
        }
        None
    }

    /// Puts a lot's bits back.
    pub(super) fn return_lot(&self, lot: Lot) {
        let mask = u64::from(lot.blocks()) << (lot.half() % 2 * 32);
        self.set_bits(lot.chunk(), lot.half() / 2, mask);
    }

    /// Makes a chunk free as a whole, if all its blocks are free.
    pub(super) fn retire(&self, me: Owner, chunk: usize) -> Result<bool, Damage> {
        let Some((control, seen)) = self.control.get(chunk).zip(self.ctl(chunk)) else {
            return Ok(false);
        };
        if seen.state() != Some(ChunkState::Used) {
            return Ok(false); // somebody was faster
        }
        let Some(size) = self.classes.size(seen.class()) else {
            return Err(Damage("a chunk of the heap has no class"));
        };
        let is_free = |head: &AtomicU64| Head(head.load(Relaxed)).is_free_in(seen.generation());
        if !self.heads(chunk, size).all(is_free) {
            return Ok(false);
        }
        let mine = seen.retiring(me);
        let exchange = control[CTL].compare_exchange(seen.0, mine.0, Release, Relaxed); // O4
        if exchange.is_err() {
            return Ok(false);
        }
        let has_all = self.heads(chunk, size).all(|head| {
            let found = Head(head.load(Relaxed));
            let retired = found.become_of(me, State::Retired);
            found.is_free_in(seen.generation())
                && head
                    .compare_exchange(found.0, retired.0, Acquire, Relaxed) // O1
                    .is_ok()
        });
        if has_all {
            control[SUMMARY].store(0, Relaxed);
            control[CTL].store(mine.freed().0, Release); // O3
            self.spare.0.fetch_add(1, Relaxed);
            self.hints.free_cursor.store(chunk, Locally);
        } else {
            self.take_back(me, chunk, size);
            // Who gave up its hints meanwhile lost them.
            self.set_bits_of_free(chunk, size, mine);
            control[CTL].store(mine.used().0, Release); // O3, again
        }
        Ok(has_all)
    }

    /// Undoes what [`Self::retire`] did to blocks. A sweeper that is late may do so to a later participant's, in the same slot: who then
    /// takes one of these asks the chunk again, whose turn is another one, and undoes it (I4).
    pub(super) fn take_back(&self, owner: Owner, chunk: usize, size: usize) {
        for head in self.heads(chunk, size) {
            let found = Head(head.load(Relaxed));
            if found.is(State::Retired) && found.is_owned_by(owner) {
                // Fails when another sweeper was first. Relaxed: to the next owner it hands on what the last one released (O1), as any
                // exchange does.
                let free = found.not_retired();
                let _ = head.compare_exchange(found.0, free.0, Relaxed, Relaxed);
            }
        }
    }
}

/// The bits of `count` blocks in word `at`.
fn full_word(count: usize, at: usize) -> u64 {
    match count.saturating_sub(at * 64) {
        0 => 0,
        rest @ 1..64 => (1 << rest) - 1,
        _ => u64::MAX,
    }
}
