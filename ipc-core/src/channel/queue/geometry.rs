//! Where the parts of a queue lie.

use super::cell::OVERHEAD_WORDS;
use crate::{
    channel::{
        gate::Gate,
        geometry::{self, CellShape, Geometry, Rest},
        places::GAP_WORDS,
    },
    prim::AtomicU64,
    region::{CacheLine, Fresh, OutOfBounds},
};

/// In the smallest cell, the claim word and the done word are in different lines. A position has at least 33 bits for the
/// lap.
pub(crate) const CELLS: CellShape = CellShape {
    overhead: OVERHEAD_WORDS * 8,
    least: 128,
    most_capacity: 1 << 31,
};

/// Words of a cell.
#[inline]
pub(super) fn cell_words(geometry: Geometry) -> usize {
    OVERHEAD_WORDS + geometry.inline_bytes / 8
}

/// Words from one cell to the next.
#[inline]
pub(super) fn stride(geometry: Geometry) -> usize {
    cell_words(geometry) + GAP_WORDS
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) tail: usize,
    pub(super) head: usize,
    pub(super) gate: usize,
    pub(super) cells: usize,
    pub(super) rest: Rest,
}

pub(super) fn plan(geometry: Geometry, participants: u32) -> Option<(Offsets, usize)> {
    let mut planner = geometry::plan_header(participants)?;
    let words = stride(geometry).checked_mul(geometry.capacity)?;
    let offsets = Offsets {
        tail: planner.place::<CacheLine<AtomicU64>>(1, 1)?,
        head: planner.place::<CacheLine<AtomicU64>>(1, 1)?,
        gate: planner.place::<CacheLine<Gate>>(1, 1)?,
        cells: planner.place::<AtomicU64>(words, 128)?,
        rest: Rest::plan(&mut planner, geometry)?,
    };
    Some((offsets, planner.end()))
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
    fresh.place::<AtomicU64>(at.cells, stride(geometry) * geometry.capacity)?;
    at.rest.place(fresh, geometry)
}
