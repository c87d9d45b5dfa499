//! How large the parts of a queue are, and where they lie.

use super::{cell::OVERHEAD_WORDS, ring::Gate};
use crate::{
    error::Damage,
    object::{lifetime, seat::Seat},
    prim::AtomicU64,
    region::{CacheLine, Fresh, OutOfBounds, Planner},
    slab,
};

/// Bytes of the smallest cell: the claim word and the done word are in different lines.
pub(super) const LEAST_CELL: usize = 128;
/// What all cells are multiples of.
pub(super) const LINE: usize = 64;
/// Bytes of a cell that are not payload.
pub(super) const CELL_OVERHEAD: usize = OVERHEAD_WORDS * 8;
/// The most bytes that a cell can carry itself: what fits into four lines. More would make
/// every empty cell larger.
pub(crate) const MOST_INLINE: usize = 256 - CELL_OVERHEAD;

/// What a queue is made of. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: usize,
    /// Payload bytes in a cell, a multiple of 8.
    pub(crate) inline_bytes: usize,
    pub(crate) slab: slab::Geometry,
    /// Seats in which waiters are noted, for people to read.
    pub(crate) notes: usize,
}

impl Geometry {
    pub(crate) fn to_words(self) -> [u64; 8] {
        let slab = self.slab;
        let words = [
            self.capacity,
            self.inline_bytes,
            slab.block_bytes,
            slab.blocks,
            self.notes,
            0,
            0,
            0,
        ];
        words.map(|w| w as u64)
    }

    pub(crate) fn from_words(words: &[u64; 8]) -> Result<Self, Damage> {
        let size = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
        let slab = slab::Geometry {
            block_bytes: size(words[2]),
            blocks: size(words[3]),
        };
        let read = Self {
            capacity: size(words[0]),
            inline_bytes: size(words[1]),
            slab,
            notes: size(words[4]),
        };
        let is_plausible = (1..=MAX_CAPACITY).contains(&read.capacity)
            && read.inline_bytes <= MOST_INLINE
            && read.inline_bytes >= 8
            && read.inline_bytes.is_multiple_of(8)
            && slab.is_plausible()
            && read.notes <= MOST_NOTES;
        if is_plausible {
            Ok(read)
        } else {
            Err(Damage("its geometry is impossible"))
        }
    }

    pub(super) fn stride(self) -> usize {
        OVERHEAD_WORDS + self.inline_bytes / 8
    }

    /// The longest message, in bytes.
    pub(crate) fn most_bytes(self) -> usize {
        self.inline_bytes.max(self.slab.bytes())
    }
}

/// The most notes; more than participants are of no use.
const MOST_NOTES: usize = 1 << 14;

/// Leaves at least 33 bits of a position for the lap.
pub(crate) const MAX_CAPACITY: usize = 1 << 31;

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) tail: usize,
    pub(super) head: usize,
    pub(super) gate: usize,
    pub(super) cells: usize,
    pub(super) notes: usize,
    pub(super) slab: Option<slab::Offsets>,
}

pub(super) fn plan(geometry: Geometry, participants: u32) -> Option<(Offsets, usize)> {
    let (mut planner, _) = lifetime::plan(participants)?;
    let words = geometry.stride().checked_mul(geometry.capacity)?;
    let offsets = Offsets {
        tail: planner.place::<CacheLine<AtomicU64>>(1, 1)?,
        head: planner.place::<CacheLine<AtomicU64>>(1, 1)?,
        gate: planner.place::<CacheLine<Gate>>(1, 1)?,
        cells: planner.place::<AtomicU64>(words, 128)?,
        notes: planner.place::<Seat>(geometry.notes, 128)?,
        slab: plan_slab(&mut planner, geometry.slab)?,
    };
    Some((offsets, planner.end()))
}

/// `Some(None)` for a queue without a slab.
fn plan_slab(planner: &mut Planner, geometry: slab::Geometry) -> Option<Option<slab::Offsets>> {
    if geometry.blocks == 0 {
        Some(None)
    } else {
        slab::Offsets::plan(planner, geometry).map(Some)
    }
}

/// Bytes of the file that such a queue needs.
pub(crate) fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
    plan(geometry, participants).map(|(_, end)| end)
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
) -> Result<(), OutOfBounds> {
    let (at, _) = plan(geometry, participants).ok_or(OutOfBounds)?;
    fresh.place::<CacheLine<AtomicU64>>(at.tail, 1)?;
    fresh.place::<CacheLine<AtomicU64>>(at.head, 1)?;
    fresh.place::<CacheLine<Gate>>(at.gate, 1)?;
    fresh.place::<AtomicU64>(at.cells, geometry.stride() * geometry.capacity)?;
    fresh.place::<Seat>(at.notes, geometry.notes)?;
    at.slab
        .map_or(Ok(()), |slab| slab.place(fresh, geometry.slab))
}
