//! What a sweep does to the heap.

use super::{
    CTL, Heap, View,
    words::{ChunkCtl, ChunkState, Growth, Head, Part, Ref, State, Title},
};
use crate::{
    error::Damage,
    object::participant::Dead,
    prim::{Acquire, Relaxed, Release},
};

impl Heap {
    /// Frees or publishes what the dead left, as the container `refers` to it or not; and sets the hints right. To be called while nobody can
    /// take over what the dead one held of the container.
    pub(crate) fn repair(
        &self,
        dead: &Dead<'_>,
        refers: &dyn Fn(&View<'_>) -> bool,
    ) -> Result<(), Damage> {
        let growth = Growth(self.growth.0.load(Acquire)); // O4
        if growth.is_held_by(dead.owner()) && dead.still() {
            // Fails when another sweeper was first.
            let free = growth.free();
            let _ = self
                .growth
                .0
                .compare_exchange(growth.0, free.0, Release, Relaxed); // O7
        }
        let mut spare = 0;
        for chunk in 0..self.geometry.chunks {
            if !self.repair_chunk(dead, chunk, refers)? {
                return Ok(()); // another sweeper has finished
            }
            let ctl = ChunkCtl(self.control[chunk][CTL].load(Relaxed));
            spare += u64::from(ctl.state() == Some(ChunkState::Free));
        }
        self.spare.0.store(spare, Relaxed);
        Ok(())
    }

    /// Whether the dead one is still to be swept.
    fn repair_chunk(
        &self,
        dead: &Dead<'_>,
        chunk: usize,
        refers: &dyn Fn(&View<'_>) -> bool,
    ) -> Result<bool, Damage> {
        let Some(seen) = self.ctl(chunk) else {
            return Ok(true);
        };
        let state = seen
            .state()
            .ok_or(Damage("a chunk of the heap is in no known state"))?;
        let is_its = seen.is_owned_by(dead.owner());
        let next = match state {
            ChunkState::Hole | ChunkState::Free => return Ok(true),
            ChunkState::Formatting if is_its => {
                return Ok(self.exchange_ctl(dead, chunk, seen, seen.freed()));
            }
            ChunkState::Formatting => return Ok(true),
            ChunkState::Retiring if is_its => seen.used(),
            ChunkState::Used | ChunkState::Retiring => seen,
        };
        let size = self
            .classes
            .size(seen.class())
            .ok_or(Damage("a chunk of the heap has no class"))?;
        if next != seen {
            if !dead.still() {
                return Ok(false);
            }
            self.take_back(dead.owner(), chunk, size);
            if !self.exchange_ctl(dead, chunk, seen, next) {
                return Ok(false);
            }
        }
        self.repair_blocks(dead, chunk, size, next, refers)
    }

    fn exchange_ctl(&self, dead: &Dead<'_>, chunk: usize, seen: ChunkCtl, next: ChunkCtl) -> bool {
        let is_still = dead.still();
        if is_still {
            // Fails when another sweeper was first.
            let ctl = &self.control[chunk][CTL];
            let _ = ctl.compare_exchange(seen.0, next.0, Release, Relaxed); // O3
        }
        is_still
    }

    fn repair_blocks(
        &self,
        dead: &Dead<'_>,
        chunk: usize,
        size: usize,
        ctl: ChunkCtl,
        refers: &dyn Fn(&View<'_>) -> bool,
    ) -> Result<bool, Damage> {
        for (number, word) in self.heads(chunk, size).enumerate() {
            let found = Head(word.load(Acquire)); // O4
            let is_its = found.is_in_use() && found.is_owned_by(dead.owner());
            if is_its {
                let site = super::chunk::Site { chunk, number };
                let name = Ref::new(self.block_at(site, size), found);
                let is_kept = self.is_referred_to(name, refers);
                // Asked last: a later participant in the slot may be at work on it.
                if !dead.still() {
                    return Ok(false);
                }
                let next = if is_kept {
                    found.published()
                } else {
                    found.freed()
                };
                // Fails when another sweeper was first.
                let _ = word.compare_exchange(found.0, next.0, Release, Relaxed); // O1
            }
        }
        self.set_bits_of_free(chunk, size, ctl);
        Ok(true)
    }

    /// Whether the item to which a block belongs is in the container (I3).
    fn is_referred_to(&self, name: Ref, refers: &dyn Fn(&View<'_>) -> bool) -> bool {
        let Some(view) = self.view(name) else {
            return false;
        };
        let word = self.words.get(name.word() + 1);
        let title = word.map(|word| Title(word.load(Relaxed)));
        match title.and_then(Title::part) {
            Some(Part::Whole | Part::Root) => refers(&view),
            Some(Part::Member) => {
                let root = title.and_then(Title::root).and_then(|root| self.view(root));
                root.is_some_and(|root| root.is_published() || refers(&root))
            }
            None => false,
        }
    }

    /// The class of a chunk that is divided into blocks; counts what is allocated.
    pub(super) fn divided(&self, chunk: usize, allocated: &mut usize) -> Option<(ChunkCtl, usize)> {
        let ctl = self.ctl(chunk)?;
        let state = ctl.state()?;
        if state != ChunkState::Hole {
            *allocated += self.geometry.chunk_bytes;
        }
        let is_divided = matches!(state, ChunkState::Used | ChunkState::Retiring);
        let size = self.classes.size(ctl.class())?;
        is_divided.then_some((ctl, size))
    }

    /// Whether a chunk may have free blocks, for tests.
    #[cfg(all(test, not(loom)))]
    pub(super) fn has_bits(&self, chunk: usize) -> bool {
        self.control[chunk][super::SUMMARY].load(Relaxed) != 0
    }
}

impl View<'_> {
    fn is_published(&self) -> bool {
        self.head_is(State::Published)
    }
}
