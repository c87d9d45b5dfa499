//! Blocks that are lent one by one, to be written and read in place: a slab whose blocks are as large as a message may be.
//!
//! Such a block is a chain of one, and all that the slab promises of chains holds. What differs is that it may be in somebody's hands
//! for long: a loan before the container refers to it, a reference after that. Its owner's name stands in `meta` all the time.

use super::{Chain, Link, Meta, Owned, PAGE, Slab, peeking};
use crate::{
    error::Damage,
    object::participant::Owner,
    prim::{AcqRel, AtomicU64, Relaxed, Release},
};

/// A block on its own that the caller owns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    index: u32,
    meta: Meta,
}

impl super::Geometry {
    /// No blocks at all.
    pub(crate) const NONE: Self = Self {
        block_bytes: 0,
        blocks: 0,
    };

    /// `count` blocks for loans of `bytes` bytes each, rounded up to whole pages; `None` if no address space has so much.
    pub(crate) fn of_loans(count: usize, bytes: usize) -> Option<Self> {
        let of = Self {
            block_bytes: bytes.max(1).checked_next_multiple_of(PAGE)?,
            blocks: count,
        };
        of.is_plausible_for_loans().then_some(of)
    }

    /// Whether this came from [`Self::of_loans`], or is [`Self::NONE`], for what is read back from memory.
    pub(crate) fn is_plausible_for_loans(self) -> bool {
        let total = self.block_bytes.checked_mul(self.blocks);
        self == Self::NONE
            || self.block_bytes.is_multiple_of(PAGE)
                && self.blocks > 0
                && self.blocks <= super::MAX_BLOCKS
                && total.is_some_and(|total| total > 0 && total <= isize::MAX as usize)
    }
}

impl Slab {
    /// A free block, from now on the caller's; `None` if there is none now.
    #[inline]
    pub(crate) fn lend(&self, me: Owner) -> Option<Block> {
        use core::sync::atomic::Ordering::Relaxed as Locally;
        let count = self.geometry.blocks;
        // The one that this process lent last, if it has come back: it may be in the cache still.
        let start = self.last_lent.load(Locally).min(count);
        for index in (start..count).chain(0..start) {
            let found = Meta(self.meta[index].load(Relaxed));
            if !found.is_free() {
                continue;
            }
            let meta = Meta::owned(found.generation(), me);
            let word = &self.meta[index];
            let exchange = word.compare_exchange(found.0, meta.0, AcqRel, Relaxed); // O1, O2
            if exchange.is_ok() {
                let link = Link::new(meta.generation(), index as u32, None);
                self.links[index].store(link.0, Relaxed);
                self.last_lent.store(index, Locally);
                self.witnesses.write(index);
                peeking::fence_before_writing();
                let index = index as u32;
                return Some(Block { index, meta });
            }
        }
        None
    }

    /// Whether a block is probably free.
    pub(crate) fn may_have_free(&self) -> bool {
        self.meta.iter().any(|m| Meta(m.load(Relaxed)).is_free())
    }

    /// What a container keeps of a block with a message of so many bytes.
    pub(crate) fn chain_of(&self, block: Block, length: usize) -> Chain {
        Chain {
            head: block.index,
            generation: block.meta.generation() as u32,
            length,
        }
    }

    /// As [`Slab::take_over`], for a chain of one block.
    pub(crate) fn take_over_single(&self, me: Owner, chain: Chain) -> Result<Block, Damage> {
        let Block { index, meta: found } = self.single(chain)?;
        let meta = Meta::owned(found.generation(), me);
        // Nobody else changes the block: the position that refers to it is claimed by us alone. Relaxed: the claim's fence serves O2.
        self.meta[index as usize]
            .compare_exchange(found.0, meta.0, Relaxed, Relaxed)
            .map_err(|_| Damage("a block changed hands while its message was claimed"))?;
        Ok(Block { index, meta })
    }

    /// The block of a message that stays where it is: as long as a position refers to it that nobody may clear, it is nobody's to give back.
    pub(crate) fn single(&self, chain: Chain) -> Result<Block, Damage> {
        let word = self
            .meta
            .get(chain.head as usize)
            .ok_or(Damage("a message names a block that does not exist"))?;
        let meta = Meta(word.load(Relaxed));
        if !meta.is_owned() || meta.generation() as u32 != chain.generation {
            return Err(Damage("a message names a block that is not in use"));
        }
        if chain.length > self.geometry.block_bytes {
            return Err(Damage("a message is longer than its block"));
        }
        self.witnesses.read(chain.head as usize);
        let index = chain.head;
        Ok(Block { index, meta })
    }

    /// Marks the end of a look at a block, for models.
    #[inline]
    pub(crate) fn read_until_now(&self, block: Block) {
        self.witnesses.read(block.index as usize);
    }

    /// Gives a block back. Nothing refers to it any more.
    #[inline]
    pub(crate) fn give_back(&self, block: Block) -> Result<(), Damage> {
        self.witnesses.read(block.index as usize); // until now
        let free = Meta::free(block.meta.next_generation());
        self.meta[block.index as usize]
            .compare_exchange(block.meta.0, free.0, Release, Relaxed) // O1
            .map_err(|_| Damage("a block changed hands while it was owned"))?;
        Ok(())
    }

    /// The words of a block.
    #[inline]
    pub(crate) fn words(&self, block: Block) -> &[AtomicU64] {
        self.block(block.index as usize)
    }

    /// Whether `owner` has a block that no position refers to.
    pub(crate) fn is_lent_to(&self, owner: Owner, refers: impl Fn(u64) -> bool) -> bool {
        let of_owner = |word: &AtomicU64| Meta(word.load(Relaxed)).is_owned_by(owner);
        let mut all = self.meta.iter().zip(self.places.iter());
        all.any(|(word, place)| {
            let place = place.load(Relaxed).checked_sub(1);
            of_owner(word) && !place.is_some_and(&refers)
        })
    }
}

impl Owned {
    /// A lent block, for who frees it with others.
    pub(crate) fn lent(block: Block) -> Self {
        Self {
            blocks: vec![(block.index, block.meta)],
            is_lent: true,
        }
    }
}
