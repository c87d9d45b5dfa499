//! Blocks of memory in a region, each owned by one participant, recoverable when that participant dies.
//!
//! # Layout
//!
//! ```text
//!   ┌──────────────────┬────────────────────┬──────────────────────┬────────────────────┬───────────────────────────┐
//!   │ cursor (hint)    │ meta[0..blocks]    │ link[0..blocks]      │ place[0..blocks]   │ data[0..blocks]           │
//!   └──────────────────┴────────────────────┴──────────────────────┴────────────────────┴───────────────────────────┘
//!     anyone             by compare-exchange   the block's owner      owner of the head    the block's owner
//! ```
//!
//! * `meta` u64: `generation:46 | owner:14 | state:4`, states FREE (all zero at first) and OWNED.
//! * `link` u64: `stamp:16 | head:24 | next:24`. A message larger than a block is a chain: each link names the chain's head
//!   and the next block. It is valid only while its stamp is the generation of `meta` plus one (zeroed memory is no link).
//! * `place` u64, of a head: one more than the position in the container at which the chain is, or will be, published.
//!
//! A second slab with blocks for whole messages serves those that are written and read in place (`single`).
//!
//! No metadata lies in `data`, so a peer that scribbles over a message damages that message only.
//!
//! # Invariants
//!
//! * I1. Only the owner a block's `meta` names writes its link, place and data.
//! * I2. A container position that refers to a chain holds all its blocks: each is OWNED by the producer that published it,
//!   or by the consumer that is taking it. Whose it is matters only once that participant is dead.
//! * I3. A chain is freed only by who took over all its blocks ([`Slab::take_over`]) *before* it took the reference out of
//!   the container. So of a dead participant's blocks exactly those are lost that no position refers to.
//! * I4. A position is referred to once: positions only grow. So a stale `place` never makes a lost block look used.
//! * I5. The head of a chain is freed after its members, which are judged by its place: were it given away first, they
//!   would look used.
//!
//! # Ordering
//!
//! * O1. `meta` compare-exchange(Release) to FREE → compare-exchange to OWNED (Acquire, or the fence of O3 behind it): the next owner's
//!   writes come after the last owner's reads.
//! * O2. `meta` load(Acquire) → `Dead::still` in a sweep: what a later participant of the slot took is not taken for the dead
//!   one's.
//! * O3. A chain is written after a fence behind its allocation, so that who looks at it without taking it over (`peek`), and then
//!   fences, sees that the last chain there is gone if it has read any of this one.
//! * Links, places and data are written Relaxed; the container's commit and claim order them between producer and
//!   consumer.
//!
//! # If a process dies
//!
//! | while it | left behind | who repairs it |
//! |---|---|---|
//! | allocated | blocks it owns, with or without links | the sweep frees them: no position refers to them |
//! | had published | blocks in its name, which a position refers to | the sweep leaves them; the consumer takes them over |
//! | took over | some in its name, some in the producer's | the position still refers to them: redelivered |
//! | had committed the take | blocks it owns | the sweep frees them |
//!
//! Allocation is all or nothing, so that two producers never wait for each other's half. Two that meet may both give up
//! what would have sufficed for one; the one that looked last has seen what the other held, a block in use that no link
//! names yet, and is told ([`AllocError::Gathering`]) to look again soon. (A stream of short messages can starve a long one.)
//! The cursor is a hint: losing it costs a scan, never a block.

use crate::{
    error::Damage,
    object::participant::{Dead, OWNER_BITS, Owner},
    os::copy,
    prim::{Acquire, AtomicU64, Relaxed, Release, Witnesses},
    region::{CacheLine, Fresh, One, OutOfBounds, Planner, Region, Span},
};
use std::sync::Arc;

pub(crate) mod heap;
mod peeking;
mod route;
mod single;

use core::sync::atomic::AtomicUsize;

use route::{Route, Routes};
pub(crate) use single::Block;

const STATE_BITS: u32 = 4;
const FREE: u64 = 0;
const OWNED: u64 = 1;
const STATE: u64 = (1 << STATE_BITS) - 1;
const GENERATION_SHIFT: u32 = STATE_BITS + OWNER_BITS;

/// Where data of at least a page starts.
const PAGE: usize = 4096;

const INDEX_BITS: u32 = 24;
const INDEX: u64 = (1 << INDEX_BITS) - 1;
/// What `next` says at the end of a chain.
const END: u64 = INDEX;
/// Blocks that links can name.
pub(crate) const MAX_BLOCKS: usize = END as usize;

/// `generation:46 | owner:14 | state:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta(u64);

impl Meta {
    fn owned(generation: u64, owner: Owner) -> Self {
        Self(generation << GENERATION_SHIFT | owner.bits() << STATE_BITS | OWNED)
    }

    fn free(generation: u64) -> Self {
        Self(generation << GENERATION_SHIFT | FREE)
    }

    fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    fn owner_bits(self) -> u64 {
        self.0 >> STATE_BITS & ((1 << OWNER_BITS) - 1)
    }

    fn next_generation(self) -> u64 {
        self.generation().wrapping_add(1)
    }

    fn is_free(self) -> bool {
        self.0 & STATE == FREE
    }

    fn is_owned(self) -> bool {
        self.0 & STATE == OWNED
    }

    fn is_owned_by(self, owner: Owner) -> bool {
        self == Self::owned(self.generation(), owner)
    }
}

/// `stamp:16 | head:24 | next:24`.
#[derive(Debug, Clone, Copy)]
struct Link(u64);

impl Link {
    fn new(generation: u64, head: u32, next: Option<u32>) -> Self {
        let next = next.map_or(END, u64::from);
        Self(stamp(generation) << (2 * INDEX_BITS) | u64::from(head) << INDEX_BITS | next)
    }

    fn is_of(self, meta: Meta) -> bool {
        self.0 >> (2 * INDEX_BITS) == stamp(meta.generation())
    }

    fn head(self) -> usize {
        (self.0 >> INDEX_BITS & INDEX) as usize
    }

    fn next(self) -> Option<u32> {
        let next = self.0 & INDEX;
        (next != END).then_some(next as u32)
    }
}

/// What ties a link to a generation of its block.
fn stamp(generation: u64) -> u64 {
    generation.wrapping_add(1) & 0xffff
}

/// How a slab's bytes are divided. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes a block, a power of two.
    pub(crate) block_bytes: usize,
    pub(crate) blocks: usize,
}

impl Geometry {
    /// The smallest block.
    const LEAST: usize = 512;
    /// The largest block.
    const MOST: usize = 64 * 1024;

    /// Divides `memory` bytes into about 4,096 blocks.
    pub(crate) fn of(memory: usize) -> Option<Self> {
        let block_bytes = (memory / 4096)
            .next_power_of_two()
            .clamp(Self::LEAST, Self::MOST);
        let blocks = memory.div_ceil(block_bytes);
        (blocks <= MAX_BLOCKS).then_some(Self {
            block_bytes,
            blocks,
        })
    }

    /// Whether this came from [`Self::of`], for what is read back from memory.
    pub(crate) fn is_plausible(self) -> bool {
        self.block_bytes.is_power_of_two()
            && (Self::LEAST..=Self::MOST).contains(&self.block_bytes)
            && self.blocks <= MAX_BLOCKS
    }

    pub(crate) fn bytes(self) -> usize {
        self.block_bytes * self.blocks
    }
}

/// Where the parts of a slab lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    cursor: usize,
    meta: usize,
    links: usize,
    places: usize,
    data: usize,
}

impl Offsets {
    pub(crate) fn plan(planner: &mut Planner, geometry: Geometry) -> Option<Self> {
        Some(Self {
            cursor: planner.place::<CacheLine<AtomicU64>>(1, 128)?,
            meta: planner.place::<AtomicU64>(geometry.blocks, 128)?,
            links: planner.place::<AtomicU64>(geometry.blocks, 128)?,
            places: planner.place::<AtomicU64>(geometry.blocks, 128)?,
            data: planner.place::<AtomicU64>(
                geometry.bytes() / 8,
                if geometry.bytes() < PAGE { 128 } else { PAGE },
            )?,
        })
    }

    /// Begins the life of the parts.
    pub(crate) fn place(self, fresh: &mut Fresh, geometry: Geometry) -> Result<(), OutOfBounds> {
        fresh.place::<CacheLine<AtomicU64>>(self.cursor, 1)?;
        fresh.place::<AtomicU64>(self.meta, geometry.blocks)?;
        fresh.place::<AtomicU64>(self.links, geometry.blocks)?;
        fresh.place::<AtomicU64>(self.places, geometry.blocks)?;
        fresh.place::<AtomicU64>(self.data, geometry.bytes() / 8)
    }
}

/// What a container keeps of a chain: where it starts, and in which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) head: u32,
    /// Low 32 bits of the head's generation.
    pub(crate) generation: u32,
    /// Bytes in it.
    pub(crate) length: usize,
}

/// Blocks of a chain that the caller owns.
#[derive(Debug)]
pub(crate) struct Owned {
    blocks: Vec<(u32, Meta)>,
    /// Whether they are from the slab whose blocks are lent one by one.
    pub(crate) is_lent: bool,
}

/// Why there is no chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllocError {
    /// Not enough blocks are free now.
    Full,
    /// The same, but others have taken some for messages that may not get all of theirs.
    Gathering,
    Damage(Damage),
}

/// Recoverable blocks.
#[derive(Debug)]
pub(crate) struct Slab {
    geometry: Geometry,
    cursor: One<CacheLine<AtomicU64>>,
    meta: Span<AtomicU64>,
    links: Span<AtomicU64>,
    places: Span<AtomicU64>,
    data: Span<AtomicU64>,
    /// One for each block's data.
    witnesses: Witnesses,
    routes: Routes,
    /// Which block this process lent last; where it looks first. Private memory.
    last_lent: AtomicUsize,
}

impl Slab {
    pub(crate) fn new(
        region: &Arc<Region>,
        at: Offsets,
        geometry: Geometry,
    ) -> Result<Self, OutOfBounds> {
        Ok(Self {
            geometry,
            cursor: region.one(at.cursor)?,
            meta: region.span(at.meta, geometry.blocks)?,
            links: region.span(at.links, geometry.blocks)?,
            places: region.span(at.places, geometry.blocks)?,
            data: region.span(at.data, geometry.bytes() / 8)?,
            witnesses: Witnesses::new(geometry.blocks),
            routes: Routes::default(),
            last_lent: AtomicUsize::new(0),
        })
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Copies `bytes` into blocks of `me`. All or nothing.
    pub(crate) fn store(&self, me: Owner, bytes: &[u8]) -> Result<(Chain, Owned), AllocError> {
        let needed = bytes.len().div_ceil(self.geometry.block_bytes).max(1);
        let owned = self.alloc(me, needed)?;
        peeking::fence_before_writing();
        let (head, head_meta) = owned.blocks[0];
        for (i, &(block, meta)) in owned.blocks.iter().enumerate() {
            let next = owned.blocks.get(i + 1).map(|&(next, _)| next);
            self.links[block as usize].store(Link::new(meta.generation(), head, next).0, Relaxed);
        }
        self.routes
            .travel(bytes.len(), |route| self.fill(&owned, bytes, route));
        let chain = Chain {
            head,
            generation: head_meta.generation() as u32,
            length: bytes.len(),
        };
        Ok((chain, owned))
    }

    fn fill(&self, owned: &Owned, bytes: &[u8], route: Route) {
        let pieces = bytes.chunks(self.geometry.block_bytes);
        for (&(block, _), piece) in owned.blocks.iter().zip(pieces) {
            self.witnesses.write(block as usize);
            let block = self.block(block as usize);
            match route {
                Route::Cached => copy::into_shared(block, piece),
                Route::Streamed => copy::stream_into_shared(block, piece),
            };
        }
        if route == Route::Streamed {
            copy::end_streams(); // before the container publishes the chain
        }
    }

    /// Notes where the chain is about to be published. To be called by its owner, between claim and commit there.
    pub(crate) fn set_place(&self, chain: Chain, position: u64) {
        self.places[chain.head as usize].store(position.wrapping_add(1), Relaxed);
    }

    fn alloc(&self, me: Owner, needed: usize) -> Result<Owned, AllocError> {
        if needed > self.geometry.blocks {
            return Err(AllocError::Full);
        }
        let mut owned = Owned {
            blocks: Vec::with_capacity(needed),
            is_lent: false,
        };
        let mut refusal = AllocError::Full;
        let start = self.cursor.0.load(Relaxed) as usize % self.geometry.blocks;
        let (before, from) = (0..start, start..self.geometry.blocks);
        for block in from.chain(before) {
            let found = Meta(self.meta[block].load(Relaxed));
            if !found.is_free() {
                if !Link(self.links[block].load(Relaxed)).is_of(found) {
                    refusal = AllocError::Gathering;
                }
                continue;
            }
            let mine = Meta::owned(found.generation(), me);
            if self.meta[block]
                .compare_exchange(found.0, mine.0, Release, Relaxed) // O1 (with the fence of O3), O2
                .is_err()
            {
                refusal = AllocError::Gathering;
                continue;
            }
            owned.blocks.push((block as u32, mine));
            if owned.blocks.len() == needed {
                self.cursor.0.store(block as u64 + 1, Relaxed);
                return Ok(owned);
            }
        }
        self.free(&owned).map_err(AllocError::Damage)?;
        Err(refusal)
    }

    /// Makes every block of a chain the caller's. The container's position still refers to it.
    pub(crate) fn take_over(&self, me: Owner, chain: Chain) -> Result<Owned, Damage> {
        let count = chain.length.div_ceil(self.geometry.block_bytes).max(1);
        if count > self.geometry.blocks {
            return Err(Damage("a message is longer than the memory for messages"));
        }
        let mut owned = Owned {
            blocks: Vec::with_capacity(count),
            is_lent: false,
        };
        let mut next = Some(chain.head);
        while let Some(block) = next {
            if owned.blocks.len() == count {
                return Err(Damage(
                    "a message's chain of blocks is longer than the message",
                ));
            }
            let (meta, link) = self.take_block(me, block)?;
            if owned.blocks.is_empty() && meta.generation() as u32 != chain.generation {
                return Err(Damage(
                    "a message's first block was given to another message",
                ));
            }
            owned.blocks.push((block, meta));
            next = link.next();
        }
        if owned.blocks.len() < count {
            return Err(Damage(
                "a message's chain of blocks is shorter than the message",
            ));
        }
        Ok(owned)
    }

    fn take_block(&self, me: Owner, block: u32) -> Result<(Meta, Link), Damage> {
        let word = self
            .meta
            .get(block as usize)
            .ok_or(Damage("a message names a block that does not exist"))?;
        let found = Meta(word.load(Relaxed));
        let link = Link(self.links[block as usize].load(Relaxed));
        if !found.is_owned() || !link.is_of(found) {
            return Err(Damage("a message names a block that is not in use"));
        }
        let mine = Meta::owned(found.generation(), me);
        // Nobody else changes the block: the position that refers to it is claimed by us alone.
        word.compare_exchange(found.0, mine.0, Relaxed, Relaxed)
            .map_err(|_| Damage("a block changed hands while its message was claimed"))?;
        Ok((mine, link))
    }

    /// The blocks of a chain that are all this participant's; `None` if one is not. Takes nothing over.
    pub(crate) fn owned_by(&self, owner_bits: u64, chain: Chain) -> Option<Owned> {
        let count = chain.length.div_ceil(self.geometry.block_bytes).max(1);
        let mut blocks = Vec::with_capacity(count.min(self.geometry.blocks));
        let mut next = Some(chain.head);
        while let Some(block) = next {
            let meta = Meta(self.meta.get(block as usize)?.load(Relaxed));
            let link = Link(self.links[block as usize].load(Relaxed));
            let is_its = meta.is_owned() && meta.owner_bits() == owner_bits && link.is_of(meta);
            if !is_its || blocks.len() == count {
                return None;
            }
            blocks.push((block, meta));
            next = link.next();
        }
        (blocks.len() == count).then_some(Owned {
            blocks,
            is_lent: false,
        })
    }

    /// Appends the message in `owned` to `out`.
    pub(crate) fn load(&self, owned: &Owned, length: usize, out: &mut Vec<u8>) {
        out.reserve(length);
        let mut left = length;
        for &(block, _) in &owned.blocks {
            let piece = left.min(self.geometry.block_bytes);
            self.witnesses.read(block as usize);
            copy::out_of_shared(self.block(block as usize), piece, out);
            left -= piece;
        }
    }

    /// Appends a chain's bytes to `out` without taking it over: a look that may be overtaken. `None` if it was.
    pub(crate) fn peek(&self, chain: Chain, out: &mut Vec<u8>) -> Option<()> {
        let mut left = chain.length;
        let mut next = Some(chain.head);
        while left > 0 {
            let block = next? as usize;
            let piece = left.min(self.geometry.block_bytes);
            let link = Link(self.links.get(block)?.load(Relaxed));
            copy::out_of_shared(self.block(block), piece, out);
            left -= piece;
            next = link.next();
        }
        Some(())
    }

    /// Gives blocks back.
    pub(crate) fn free(&self, owned: &Owned) -> Result<(), Damage> {
        for &(block, mine) in owned.blocks.iter().rev() {
            // I5
            let free = Meta::free(mine.next_generation());
            self.meta[block as usize]
                .compare_exchange(mine.0, free.0, Release, Relaxed) // O1
                .map_err(|_| Damage("a block changed hands while it was owned"))?;
        }
        Ok(())
    }

    /// Frees the blocks of the dead that no position refers to (I3). To be called after the container's own repair, so
    /// that no position is half-way to referring.
    pub(crate) fn repair(&self, dead: &Dead<'_>, refers: impl Fn(u64) -> bool) {
        // By I5 heads last.
        for is_head_pass in [false, true] {
            for (block, word) in self.meta.iter().enumerate() {
                let found = Meta(word.load(Acquire)); // O2
                if !found.is_owned_by(dead.owner()) {
                    continue;
                }
                let link = Link(self.links[block].load(Relaxed));
                let is_linked = link.is_of(found);
                if is_linked && (link.head() == block) != is_head_pass {
                    continue;
                }
                let place = self
                    .places
                    .get(link.head())
                    .and_then(|p| p.load(Relaxed).checked_sub(1));
                if is_linked && place.is_some_and(&refers) {
                    continue;
                }
                // Asked last: a later participant in the slot may have taken the message over and be freeing it now.
                if !dead.still() {
                    return; // another sweeper has finished
                }
                let free = Meta::free(found.next_generation());
                // Fails when another sweeper was first.
                let _ = word.compare_exchange(found.0, free.0, Release, Relaxed); // O1
            }
        }
    }

    /// How many blocks are in use.
    pub(crate) fn used(&self) -> usize {
        self.meta
            .iter()
            .filter(|m| !Meta(m.load(Relaxed)).is_free())
            .count()
    }

    fn block(&self, block: usize) -> &[AtomicU64] {
        let words = self.geometry.block_bytes / 8;
        self.data
            .get(block * words..(block + 1) * words)
            .unwrap_or_default()
    }
}
