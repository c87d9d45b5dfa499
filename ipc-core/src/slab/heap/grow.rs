//! Growing and shrinking.

use core::sync::atomic::Ordering::Relaxed as Locally;

use super::{
    AllocError, CTL, Heap,
    words::{ChunkCtl, ChunkState, Growth},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    prim::{AcqRel, Acquire, Relaxed, Release},
};

/// Bytes by which it grows, or shrinks, at a time: some hundred microseconds in the kernel.
const STEP: usize = 1 << 20;
/// Free chunks that are kept, beyond those of the beginning, so that who frees and allocates in turns does not ask the kernel each time.
const KEPT: u64 = 16;

/// Held by who lets the heap grow or shrink.
pub(super) struct Growing<'a> {
    heap: &'a Heap,
    held: Growth,
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        let word = &self.heap.growth.0;
        let free = self.held.free();
        let _ = word.compare_exchange(self.held.0, free.0, Release, Relaxed); // O7
        self.heap.waits.0.wake(u32::MAX);
    }
}

impl Heap {
    pub(super) fn begin_growing(&self, me: Owner) -> Option<Growing<'_>> {
        let seen = Growth(self.growth.0.load(Relaxed));
        let held = seen.held(me);
        let exchange = || {
            let word = &self.growth.0;
            word.compare_exchange(seen.0, held.0, AcqRel, Relaxed) // O4, O7
        };
        let is_ours = !seen.is_held() && exchange().is_ok();
        is_ours.then_some(Growing { heap: self, held })
    }

    /// Makes some holes free chunks.
    pub(super) fn grow(&self, me: Owner) -> Result<(), AllocError> {
        let growing = self.begin_growing(me).ok_or(AllocError::Busy)?;
        let step = (STEP / self.geometry.chunk_bytes).max(1);
        let Some((first, count)) = self.next_holes(step) else {
            return Err(self.cannot_grow());
        };
        let bytes = self.geometry.chunk_bytes;
        let at = self.chunks_at + first * bytes;
        let mut count = count;
        if self.region.reserve(at, count * bytes).is_err() {
            count = 1; // perhaps there is room for that
            self.region
                .reserve(at, bytes)
                .map_err(|_| self.cannot_grow())?;
        }
        for chunk in first..first + count {
            let ctl = &self.control[chunk][CTL];
            let hole = ChunkCtl(ctl.load(Relaxed)); // by I5 nobody else changes it
            ctl.store(hole.freed().0, Release); // O7
        }
        self.spare.0.fetch_add(count as u64, Relaxed);
        self.hints.free_cursor.store(first, Locally);
        self.hints.hole_cursor.store(first + count, Locally);
        drop(growing);
        Ok(())
    }

    fn cannot_grow(&self) -> AllocError {
        AllocError::Full {
            needed: self.geometry.chunk_bytes as u64,
            available: self.region.available(),
        }
    }

    fn is_hole(&self, chunk: usize) -> bool {
        let ctl = ChunkCtl(self.control[chunk][CTL].load(Relaxed));
        ctl.state() == Some(ChunkState::Hole)
    }

    /// Up to `most` holes in a row.
    fn next_holes(&self, most: usize) -> Option<(usize, usize)> {
        let chunks = self.geometry.chunks;
        let start = self.hints.hole_cursor.load(Locally).min(chunks);
        let first = (start..chunks).chain(0..start).find(|c| self.is_hole(*c))?;
        let end = chunks.min(first + most);
        let count = (first..end)
            .take_while(|chunk| self.is_hole(*chunk))
            .count();
        Some((first, count))
    }

    /// Gives memory back if much is free: at most one step.
    pub(super) fn shrink(&self, me: Owner) {
        let kept = self.geometry.initial as u64 + KEPT;
        if self.spare.0.load(Relaxed) > kept {
            self.give_back(me, self.geometry.initial as u64 + KEPT / 2);
        }
    }

    /// Gives all memory back that is free, but for what there was at the beginning.
    pub(crate) fn give_all_back(&self, me: Owner) -> Result<(), Damage> {
        self.give_hints_back();
        self.reclaim(me)?;
        let is_free = |chunk: &usize| {
            let ctl = ChunkCtl(self.control[*chunk][CTL].load(Relaxed));
            ctl.state() == Some(ChunkState::Free)
        };
        let free = (0..self.geometry.chunks).filter(is_free).count();
        self.spare.0.store(free as u64, Relaxed);
        while self.spare.0.load(Relaxed) > self.geometry.initial as u64
            && self.give_back(me, self.geometry.initial as u64) > 0
        {}
        Ok(())
    }

    /// Makes free chunks holes, as long as there are more than `kept`, and at most one step. Returns how many.
    fn give_back(&self, me: Owner, kept: u64) -> usize {
        let Some(growing) = self.begin_growing(me) else {
            return 0;
        };
        let step = (STEP / self.geometry.chunk_bytes).max(1);
        let too_many = self.spare.0.load(Relaxed).saturating_sub(kept) as usize;
        let most = step.min(too_many);
        let mut made = 0;
        for chunk in (0..self.geometry.chunks).rev() {
            if made == most {
                break;
            }
            let ctl = &self.control[chunk][CTL];
            let seen = ChunkCtl(ctl.load(Relaxed));
            let is_ours = seen.state() == Some(ChunkState::Free)
                && ctl
                    .compare_exchange(seen.0, seen.hole().0, Acquire, Relaxed)
                    .is_ok(); // O3; to who lets it grow next, `growth` hands it on (O7)
            if is_ours {
                made += 1;
                self.spare.0.fetch_sub(1, Relaxed);
                self.punch(chunk);
            }
        }
        drop(growing);
        made
    }

    /// By I5 and as its chunk is a hole, nobody allocates it meanwhile. Where the file system cannot, it keeps the memory, and nothing
    /// else changes.
    fn punch(&self, chunk: usize) {
        let bytes = self.geometry.chunk_bytes;
        let at = self.chunks_at + chunk * bytes;
        self.witness_chunk(chunk);
        let _ = self.region.give_back(at, bytes);
        self.hints.hole_cursor.store(chunk, Locally);
    }
}
