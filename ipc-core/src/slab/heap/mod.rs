//! A heap that grows: items of any length, each of one participant, or published in a container that refers to it.
//!
//! # Layout
//!
//! ```text
//!   ┌────────┬────────┬───────┬────────┬──────────────────────┬────────────────────────────────────────────────┐
//!   │ growth │ waits  │ spare │ scarce │ control[0..chunks]   │ chunk[0..chunks], 4 to 64 KiB each             │
//!   └────────┴────────┴───────┴────────┴──────────────────────┴────────────────────────────────────────────────┘
//!     who lets it grow  hint    classes  ctl · hints            only the first are allocated at creation
//!
//!   chunk:  bits (hints), a bit for each block │ block │ block │ …      all blocks of one size
//!
//!   block:  0      8       16                                     0      8       16     24     32
//!           ┌──────┬───────┬───────────────────────┐      or      ┌──────┬───────┬──────┬──────┬───────────────┐
//!           │ head │ title │ words …               │              │ head │ title │ link │  -   │ words …       │
//!           └──────┴───────┴───────────────────────┘              └──────┴───────┴──────┴──────┴───────────────┘
//!            claim   owner    owner                                 of several blocks, each linked to the next
//! ```
//!
//! [`words`] has the bits of each. The heap is as long as its limit says from the beginning, but most of the file is a hole. It grows by
//! allocating chunks, at most 1 MiB at a time, and gives chunks back by punching holes; nothing ever moves.
//!
//! # Invariants
//!
//! * I1. A head says whose a block is. Only who exchanged FREE for OWNED under its own name writes the rest of the block.
//! * I2. An item is OWNED by who makes it until the container refers to it, then PUBLISHED; then CLAIMED by who takes it out, before the
//!   container stops referring to it. So each item that nobody refers to names its owner; and whether a container refers to an item of a
//!   dead one is decided by asking the container, while what the dead one held there is still held.
//! * I3. The first block of an item is freed before the others. So what is read in an item is whole if its first head still says the
//!   same use afterwards, and a block of a dead one that is not a first belongs to an item just as long as its first block does.
//! * I4. All blocks of a chunk in one generation have one size. Who changes that has taken every one of them (RETIRED) before: so
//!   who owns a block keeps its chunk as it is. Who exchanges a head asks the chunk again afterwards, and undoes it.
//! * I5. Chunks come and go (HOLE) only in the hand of who holds `growth`.
//! * I6. Bits, `spare` and what processes keep for themselves are hints: losing one costs a search, and a sweep sets them right.
//! * I7. Once there was no block of a class, the class is *scarce* for good: nobody keeps hints of it for itself any more, and each bit
//!   that is taken is for one block. So who finds no bit has been told right: another's free block is not hidden from it.
//!
//! # Ordering
//!
//! * O1. `head` store(Release) to FREE → exchange(Acquire) to OWNED: the next owner's writes come after the last owner's reads.
//! * O2. The container publishes an item by a store(Release) of its name, which a reader loads with Acquire. A full fence between the
//!   exchange to OWNED and the first write to a block, and one (Acquire) behind the last read of an item: who has read any of what is
//!   written anew sees that the item he reads is gone.
//! * O3. `ctl` store(Release) to FREE or USED → load(Acquire): who sees a chunk divided sees the heads in it; who takes it for another
//!   size comes after those who took its blocks.
//! * O4. `head`, `ctl` or `growth` (Release) by who claims → load(Acquire) → `Dead::still`: what a later participant of the slot wrote is
//!   not taken for the dead one's.
//! * O5. Who frees a block stores its head, fences and looks whether the class is scarce; who finds no block says that it is, fences
//!   and looks at all heads. One of the two sees the other (I7).
//! * O6. Who notes a block sets its bit, fences and looks at the summary; who finds no bits left clears the summary, fences and looks at the
//!   bits. One of the two sees the other, so that a bit is not overlooked.
//!
//! * O7. `growth` exchange(Release) as somebody lets go of it, or a sweeper does → exchange(Acquire) by who lets the heap grow next: memory
//!   is allocated again after it was given back. A `ctl` store(Release) to FREE → exchange(Acquire) to FORMATTING: it is used after it was
//!   allocated.
//!
//! # If a process dies
//!
//! | while it | left behind | the sweep |
//! |---|---|---|
//! | made an item | OWNED blocks that nobody refers to | frees them |
//! | had the container refer to it | the same, but referred to | publishes them |
//! | took an item out | CLAIMED blocks, referred to or not | publishes or frees them |
//! | divided a chunk, or took it out of use | FORMATTING, or RETIRING and RETIRED blocks | free, or in use as before |
//! | let the heap grow or shrink | `growth` held, perhaps memory allocated that is no chunk | frees it; who grows next uses the memory |
//!
//! A sweep looks at every head: it takes time in proportion to the memory in use, about a tenth of a second for a GiB. Late readers of
//! memory that was given back find zeros there (and the file system gives them a page); they compare afterwards, and see that they are late.
//! If the file system is full at just that moment, the kernel raises SIGBUS: that process's handles then say that the file was cut short
//! ([`crate::os::sigbus`]), and must be opened again.

mod alloc;
mod chunk;
mod classes;
mod grow;
mod item;
mod repair;
mod view;
mod words;

#[cfg(all(test, loom))]
mod model;
#[cfg(any(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod tests;

use core::sync::atomic::{AtomicU64 as LocalU64, AtomicUsize as LocalUsize};
use std::sync::Arc;

use self::classes::{Classes, GRAIN};
use crate::{
    error::Damage,
    object::wait::WaitWord,
    prim::{AtomicU64, Relaxed, Witnesses},
    region::{CacheLine, Fresh, One, OutOfBounds, Planner, Region, Span},
};

pub(crate) use item::{Item, words_of};
pub(crate) use view::View;
pub(crate) use words::{INFO_BITS, Ref};

/// Memory is given back to the file system in whole pages.
const PAGE: usize = 4096;
const LEAST_CHUNK: usize = PAGE;
const MOST_CHUNK: usize = 64 << 10;
/// A name has 32 bits for a block.
const MOST_BYTES: usize = 1 << 36;
/// Chunks that a heap has at least, so that blocks of some different sizes fit into it.
const LEAST_CHUNKS: usize = 16;

/// How a heap is divided. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// A power of two.
    pub(crate) chunk_bytes: usize,
    /// Chunks at the most.
    pub(crate) chunks: usize,
    /// Chunks that are allocated at creation, and never given back.
    pub(crate) initial: usize,
}

impl Geometry {
    /// A heap of at most `limit` bytes, of which `initial` are allocated at creation, both rounded up to whole chunks; `None` if the limit
    /// is more than 64 GiB.
    pub(crate) fn of(limit: usize, initial: usize) -> Option<Self> {
        let chunk_bytes = (limit / 128)
            .next_power_of_two()
            .clamp(LEAST_CHUNK, MOST_CHUNK);
        let chunks = limit.div_ceil(chunk_bytes).max(LEAST_CHUNKS);
        let geometry = Self {
            chunk_bytes,
            chunks,
            initial: initial.div_ceil(chunk_bytes).min(chunks),
        };
        geometry.is_plausible().then_some(geometry)
    }

    /// Whether this came from [`Self::of`], for what is read back from memory.
    pub(crate) fn is_plausible(self) -> bool {
        let bytes = self.chunk_bytes.checked_mul(self.chunks);
        self.chunk_bytes.is_power_of_two()
            && (LEAST_CHUNK..=MOST_CHUNK).contains(&self.chunk_bytes)
            && self.chunks >= LEAST_CHUNKS
            && bytes.is_some_and(|bytes| bytes <= MOST_BYTES)
            && self.initial <= self.chunks
    }

    /// Bytes at the most.
    pub(crate) fn bytes(self) -> usize {
        self.chunk_bytes * self.chunks
    }
}

/// Where the parts of a heap lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    growth: usize,
    waits: usize,
    spare: usize,
    scarce: usize,
    control: usize,
    chunks: usize,
}

impl Offsets {
    /// The heap is to be planned last: what is allocated at creation ends in it ([`Self::allocated`]).
    pub(crate) fn plan(planner: &mut Planner, geometry: Geometry) -> Option<Self> {
        Some(Self {
            growth: planner.place::<CacheLine<AtomicU64>>(1, 128)?,
            waits: planner.place::<CacheLine<WaitWord>>(1, 128)?,
            spare: planner.place::<CacheLine<AtomicU64>>(1, 128)?,
            scarce: planner.place::<CacheLine<Scarce>>(1, 128)?,
            control: planner.place::<Control>(geometry.chunks, 128)?,
            chunks: planner.place::<AtomicU64>(geometry.bytes() / 8, PAGE)?,
        })
    }

    /// Bytes of the file that are allocated at creation.
    pub(crate) fn allocated(self, geometry: Geometry) -> usize {
        self.chunks + geometry.initial * geometry.chunk_bytes
    }

    /// Begins the life of the parts.
    pub(crate) fn place(self, fresh: &mut Fresh, geometry: Geometry) -> Result<(), OutOfBounds> {
        fresh.place::<CacheLine<AtomicU64>>(self.growth, 1)?;
        fresh.place::<CacheLine<WaitWord>>(self.waits, 1)?;
        fresh.place::<CacheLine<AtomicU64>>(self.spare, 1)?;
        fresh.place::<CacheLine<Scarce>>(self.scarce, 1)?;
        fresh.place::<Control>(self.control, geometry.chunks)?;
        fresh.place::<AtomicU64>(self.chunks, geometry.bytes() / 8)?;
        let control = fresh
            .region()
            .span::<Control>(self.control, geometry.chunks)?;
        let hole = words::ChunkCtl(0);
        for chunk in control.iter().take(geometry.initial) {
            chunk[CTL].store(hole.freed().0, Relaxed);
        }
        let spare = fresh.region().one::<CacheLine<AtomicU64>>(self.spare)?;
        spare.0.store(geometry.initial as u64, Relaxed);
        Ok(())
    }
}

/// What is known of a chunk outside of it: [`words::ChunkCtl`], and which words of its bits have any (a hint).
type Control = [AtomicU64; 2];
const CTL: usize = 0;
const SUMMARY: usize = 1;

/// Which classes are scarce, a bit for each; and of which of them all free blocks have been noted since.
type Scarce = [AtomicU64; 2];
const IS_SCARCE: usize = 0;
const IS_NOTED: usize = 1;

/// Why there is no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllocError {
    /// The heap may not grow further, or the file system has no room.
    Full {
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes that could still be had in other sizes.
        available: u64,
    },
    /// Longer than the heap could ever hold.
    TooLarge,
    /// Somebody is letting the heap grow: to be tried again once [`Heap::growth`] was woken.
    Busy,
    Damage(Damage),
}

impl From<Damage> for AllocError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// What a process keeps for itself: where it looks first. All are hints.
#[derive(Debug)]
struct Hints {
    /// Of each class, the block that was freed last, and a lot.
    recent: Vec<LocalU64>,
    lots: Vec<LocalU64>,
    /// Of each class, the chunk where it found blocks last.
    cursors: Vec<LocalUsize>,
    /// Where it found a free chunk last.
    free_cursor: LocalUsize,
    /// Where it found a hole last.
    hole_cursor: LocalUsize,
}

/// Recoverable items in memory that grows.
#[derive(Debug)]
pub(crate) struct Heap {
    geometry: Geometry,
    classes: Classes,
    growth: One<CacheLine<AtomicU64>>,
    waits: One<CacheLine<WaitWord>>,
    /// About how many chunks are free.
    spare: One<CacheLine<AtomicU64>>,
    scarce: One<CacheLine<Scarce>>,
    control: Span<Control>,
    words: Span<AtomicU64>,
    region: Arc<Region>,
    /// Where the first chunk is in the region.
    chunks_at: usize,
    hints: Hints,
    /// One for each grain at which a block may start.
    witnesses: Witnesses,
}

impl Heap {
    pub(crate) fn new(
        region: &Arc<Region>,
        at: Offsets,
        geometry: Geometry,
    ) -> Result<Self, OutOfBounds> {
        let classes = Classes::of(geometry.chunk_bytes);
        let zeros = || (0..=classes.count()).map(|_| LocalU64::new(0)).collect();
        let cursors = (0..=classes.count()).map(|_| LocalUsize::new(0)).collect();
        Ok(Self {
            hints: Hints {
                recent: zeros(),
                lots: zeros(),
                cursors,
                free_cursor: LocalUsize::new(0),
                hole_cursor: LocalUsize::new(geometry.initial),
            },
            classes,
            growth: region.one(at.growth)?,
            waits: region.one(at.waits)?,
            spare: region.one(at.spare)?,
            scarce: region.one(at.scarce)?,
            control: region.span(at.control, geometry.chunks)?,
            words: region.span(at.chunks, geometry.bytes() / 8)?,
            region: Arc::clone(region),
            chunks_at: at.chunks,
            witnesses: Witnesses::new(geometry.bytes() / GRAIN),
            geometry,
        })
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What is woken when growth ended, also by a death.
    pub(crate) fn growth(&self) -> &WaitWord {
        &self.waits.0
    }

    /// Wakes all who wait for growth.
    pub(crate) fn wake_all(&self) {
        self.waits.0.wake_all();
    }

    /// Words that a block of this class has behind its first two, for who wants an item to fill its block.
    pub(crate) fn room_for(&self, words: usize) -> Option<usize> {
        let class = self
            .classes
            .fitting(words.checked_mul(8)? + item::WHOLE_HEADER)?;
        Some((self.classes.size(class)? - item::WHOLE_HEADER) / 8)
    }

    /// Words of the longest item that is one block.
    pub(crate) fn most_in_one_block(&self) -> usize {
        (self.classes.largest() - item::WHOLE_HEADER) / 8
    }
}
