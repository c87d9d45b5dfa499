//! Finding a free block, and giving one back.

use core::sync::atomic::Ordering::Relaxed as Locally;

use super::{
    AllocError, CTL, Heap, IS_NOTED, IS_SCARCE, SUMMARY,
    chunk::Site,
    classes::{Class, GRAIN},
    words::{ChunkCtl, ChunkState, Head, Lot, State},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    prim::{self, Relaxed, Release},
};

/// How many chunks in use are searched before another one is taken into use.
const NEARBY: usize = 64;

/// How often a larger block is looked for that somebody else was faster to take.
const RACES: u32 = 3;

/// A block that the caller owns or has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) index: u32,
    pub(super) head: Head,
}

impl Block {
    pub(super) fn word(self) -> usize {
        self.index as usize * (GRAIN / 8)
    }
}

impl Heap {
    /// A block of the class, from now on the caller's.
    #[inline]
    pub(super) fn alloc(&self, me: Owner, class: Class) -> Result<Block, AllocError> {
        let at = usize::from(class);
        let recent = &self.hints.recent[at];
        if recent.load(Locally) != 0
            && let Some(block) = self.take(me, class, recent.swap(0, Locally) as u32)
        {
            return Ok(block);
        }
        match self.take_of_lot(me, class) {
            Some(block) => Ok(block),
            None => self.search(me, class),
        }
    }

    /// Takes this block if it is free, and of the class.
    #[inline]
    fn take(&self, me: Owner, class: Class, index: u32) -> Option<Block> {
        let chunk = self.chunk_of(index);
        let ctl = self.ctl(chunk).filter(|ctl| ctl.is_used_as(class))?;
        let word = self.words.get(index as usize * (GRAIN / 8))?;
        let found = Head(word.load(Relaxed));
        if index == 0 || !found.is_free_in(ctl.generation()) {
            return None;
        }
        let head = found.become_of(me, State::Owned);
        // Acquire by the fence.
        word.compare_exchange(found.0, head.0, Release, Relaxed)
            .ok()?; // O4
        prim::full_fence_after_rmw(); // O1, O2
        if self.control[chunk][CTL].load(Relaxed) != ctl.0 {
            // By I4 its chunk may have become something else before we had it. If so, nobody else wrote here since. Relaxed: to the next
            // owner it hands on what the last one released (O1), as any exchange does.
            if word
                .compare_exchange(head.0, found.0, Relaxed, Relaxed)
                .is_ok()
            {
                self.note_again(class, index);
            }
            return None;
        }
        self.witnesses.write(index as usize);
        Some(Block { index, head })
    }

    /// Notes a block that is free again, and was not when who tried to take its chunk apart noted those that were: else nobody would find it
    /// (I7). If the chunk has become something else, this is a wrong hint.
    #[cold]
    fn note_again(&self, class: Class, index: u32) {
        let is_divided = |ctl: &ChunkCtl| {
            let is_so = [Some(ChunkState::Used), Some(ChunkState::Retiring)].contains(&ctl.state());
            is_so && ctl.class() == class
        };
        let size = self.classes.size(class);
        let site = size.and_then(|size| self.site_of(index, size).zip(Some(size)));
        if let Some((site, size)) = site
            && self.ctl(site.chunk).as_ref().is_some_and(is_divided)
        {
            self.set_bit(site, size);
        }
    }

    #[inline]
    fn take_of_lot(&self, me: Owner, class: Class) -> Option<Block> {
        let slot = &self.hints.lots[usize::from(class)];
        if slot.load(Locally) == 0 {
            return None;
        }
        self.take_one(me, class, Lot(slot.swap(0, Locally)))
    }

    /// A block of the lot, whose rest is kept.
    fn take_one(&self, me: Owner, class: Class, mut lot: Lot) -> Option<Block> {
        let size = self.classes.size(class)?;
        while let Some((number, rest)) = lot.split() {
            lot = rest;
            let site = Site {
                chunk: lot.chunk(),
                number,
            };
            if number >= self.classes.per_chunk(size) {
                continue; // a wrong hint
            }
            if let Some(block) = self.take(me, class, self.block_at(site, size)) {
                self.keep_lot(class, lot);
                return Some(block);
            }
        }
        None
    }

    /// A block of the chunk that was just taken into use.
    fn take_of_chunk(&self, me: Owner, class: Class) -> Option<Block> {
        self.take_of_lot(me, class)
            .or_else(|| self.search_used(me, class, 1))
    }

    /// Keeps a lot for the next time.
    fn keep_lot(&self, class: Class, lot: Lot) {
        if lot.blocks() == 0 {
            return;
        }
        if self.is_scarce(class) {
            return self.return_lot(lot);
        }
        let slot = &self.hints.lots[usize::from(class)];
        if slot.compare_exchange(0, lot.0, Locally, Locally).is_err() {
            self.return_lot(lot); // another thread has one already
        }
    }

    #[cold]
    fn search(&self, me: Owner, class: Class) -> Result<Block, AllocError> {
        if let Some(block) = self.search_used(me, class, NEARBY) {
            return Ok(block);
        }
        // Each turn somebody may have been faster; but then somebody had what we looked for.
        for _ in 0..self.geometry.chunks {
            if self.take_chunk(me, class)
                && let Some(block) = self.take_of_chunk(me, class)
            {
                return Ok(block);
            }
            match self.grow(me) {
                Ok(()) => {}
                Err(AllocError::Full { .. }) => break,
                Err(e) => return Err(e),
            }
        }
        if let Some(block) = self.search_used(me, class, self.geometry.chunks) {
            return Ok(block);
        }
        self.give_hints_back();
        if self.reclaim(me)? > 0
            && self.take_chunk(me, class)
            && let Some(block) = self.take_of_chunk(me, class)
        {
            return Ok(block);
        }
        if self.scarce.0[IS_NOTED].load(Relaxed) & 1 << class == 0 {
            self.note_all_free(class);
            self.scarce.0[IS_NOTED].fetch_or(1 << class, Relaxed);
        }
        let found = self.search_used(me, class, self.geometry.chunks);
        found
            .or_else(|| self.take_larger(me, class))
            .ok_or_else(|| self.full(class))
    }

    /// A block of the next larger class that has one: where there are no chunks any more, that is better than none.
    #[cold]
    fn take_larger(&self, me: Owner, class: Class) -> Option<Block> {
        for _ in 0..RACES {
            let larger = self.control.iter().filter_map(|control| {
                let ctl = ChunkCtl(control[CTL].load(Relaxed));
                let is_it = ctl.is_used_as(ctl.class()) && ctl.class() > class;
                (is_it && control[SUMMARY].load(Relaxed) != 0).then(|| ctl.class())
            });
            let next = larger.min()?;
            if let Some(block) = self.search_used(me, next, self.geometry.chunks) {
                return Some(block);
            }
        }
        None
    }

    /// Whether there once was no block of the class (I7).
    #[inline]
    fn is_scarce(&self, class: Class) -> bool {
        self.scarce.0[IS_SCARCE].load(Relaxed) & 1 << class != 0
    }

    /// Says that the class is scarce, and notes each of its blocks that is free, whoever has kept a hint of it.
    fn note_all_free(&self, class: Class) {
        self.scarce.0[IS_SCARCE].fetch_or(1 << class, Relaxed);
        prim::full_fence_after_rmw(); // O5
        for chunk in 0..self.geometry.chunks {
            let ctl = ChunkCtl(self.control[chunk][CTL].load(Relaxed));
            if ctl.is_used_as(class)
                && let Some(size) = self.classes.size(class)
            {
                self.set_bits_of_free(chunk, size, ctl);
            }
        }
    }

    fn full(&self, class: Class) -> AllocError {
        AllocError::Full {
            needed: self.classes.size(class).unwrap_or(0) as u64,
            available: self.region.available(),
        }
    }

    /// A block in the next `count` chunks in use that seem to have one.
    fn search_used(&self, me: Owner, class: Class, count: usize) -> Option<Block> {
        let cursor = &self.hints.cursors[usize::from(class)];
        let chunks = self.geometry.chunks;
        let start = cursor.load(Locally).min(chunks);
        let all = (start..chunks).chain(0..start);
        let mut left = count;
        for chunk in all {
            let control = &self.control[chunk];
            if !ChunkCtl(control[CTL].load(Relaxed)).is_used_as(class) {
                continue;
            }
            if left == 0 {
                cursor.store(chunk, Locally);
                return None;
            }
            left -= 1;
            while control[SUMMARY].load(Relaxed) != 0
                && let Some(lot) = self.take_lot(chunk, self.is_scarce(class))
            {
                if let Some(block) = self.take_one(me, class, lot) {
                    cursor.store(chunk, Locally);
                    return Some(block);
                }
            }
        }
        None
    }

    /// Takes a free chunk into use, with a lot of its blocks. Whether there was one.
    fn take_chunk(&self, me: Owner, class: Class) -> bool {
        let cursor = &self.hints.free_cursor;
        let chunks = self.geometry.chunks;
        let start = cursor.load(Locally).min(chunks);
        for chunk in (start..chunks).chain(0..start) {
            let seen = ChunkCtl(self.control[chunk][CTL].load(Relaxed));
            let is_free = seen.state() == Some(ChunkState::Free);
            if is_free && self.format(me, chunk, seen, class) {
                cursor.store(chunk, Locally);
                self.hints.cursors[usize::from(class)].store(chunk, Locally);
                if !self.is_scarce(class)
                    && let Some(lot) = self.take_lot(chunk, false)
                {
                    self.keep_lot(class, lot);
                }
                return true;
            }
        }
        false
    }

    /// Makes every chunk free that has only free blocks, also those that others have hints of. Returns how many.
    pub(super) fn reclaim(&self, me: Owner) -> Result<usize, Damage> {
        let mut freed = 0;
        for chunk in 0..self.geometry.chunks {
            let seen = ChunkCtl(self.control[chunk][CTL].load(Relaxed));
            if seen.state() == Some(ChunkState::Used) && self.retire(me, chunk)? {
                freed += 1;
            }
        }
        Ok(freed)
    }

    /// Gives a block back that is the caller's.
    #[inline]
    pub(super) fn free(&self, me: Owner, block: Block) -> Result<(), Damage> {
        let ctl = self.ctl(self.chunk_of(block.index));
        let class = ctl.map_or(0, ChunkCtl::class);
        let word = self.words.get(block.word());
        let (Some(word), Some(recent)) = (word, self.hints.recent.get(usize::from(class))) else {
            return Err(Damage("a block of the heap is in a chunk of no class"));
        };
        self.witnesses.read(block.index as usize); // until now
        word.store(block.head.freed().0, Release); // O1, O4
        let displaced = recent.swap(u64::from(block.index), Locally);
        prim::full_fence_after_rmw(); // O5
        if self.is_scarce(class) {
            let kept = recent.swap(0, Locally);
            if kept != 0 {
                self.note_free(me, class, kept as u32)?;
            }
        }
        if displaced == 0 {
            return Ok(());
        }
        self.note_free(me, class, displaced as u32)
    }

    /// Lets everybody know of a free block.
    fn note_free(&self, me: Owner, class: Class, index: u32) -> Result<(), Damage> {
        let Some((site, size)) = self.site_in(class, index) else {
            return Ok(()); // its chunk has become something else
        };
        // If it becomes that just now, this is a wrong hint.
        if self.set_bit(site, size) && self.retire(me, site.chunk)? {
            self.shrink(me);
        }
        Ok(())
    }

    /// Where a block is, if its chunk is still of the class, and the size.
    fn site_in(&self, class: Class, index: u32) -> Option<(Site, usize)> {
        let ctl = self.ctl(self.chunk_of(index))?;
        let size = self.classes.size(class)?;
        let site = self.site_of(index, size)?;
        ctl.is_used_as(class).then_some((site, size))
    }

    /// Lets everybody know of what this process kept for itself.
    pub(super) fn give_hints_back(&self) {
        for class in 1..=self.classes.count() {
            // Only what is there: who looks without being able to write has none.
            if self.hints.lots[class].load(Locally) != 0 {
                let lot = Lot(self.hints.lots[class].swap(0, Locally));
                let ctl = self.ctl(lot.chunk());
                if ctl.is_some_and(|ctl| ctl.is_used_as(class as Class)) {
                    self.return_lot(lot);
                }
            }
            if self.hints.recent[class].load(Locally) != 0 {
                let index = self.hints.recent[class].swap(0, Locally) as u32;
                if let Some((site, size)) = self.site_in(class as Class, index) {
                    self.set_bit(site, size);
                }
            }
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        self.give_hints_back();
    }
}
