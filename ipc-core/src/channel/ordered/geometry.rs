//! Where the parts of an ordered queue lie.

use super::{
    cell::OVERHEAD_WORDS,
    order::{Counts, Shelf},
    room,
};
use crate::{
    channel::{
        gate::Gate,
        geometry::{self, CellShape, Geometry, Rest},
    },
    prim::AtomicU64,
    region::{CacheLine, Fresh, OutOfBounds},
    sync::frame::Head,
};

/// Making the order anew looks at every cell, so there are not as many as in a queue.
pub(crate) const CELLS: CellShape = CellShape {
    overhead: OVERHEAD_WORDS * 8,
    least: 64,
    most_capacity: 1 << 24,
};

/// Words of a cell.
pub(super) fn stride(geometry: Geometry) -> usize {
    OVERHEAD_WORDS + geometry.inline_bytes / 8
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) head: usize,
    pub(super) gate: usize,
    pub(super) counts: usize,
    pub(super) taken: usize,
    pub(super) entries: usize,
    pub(super) cells: usize,
    pub(super) rest: Rest,
}

pub(super) fn plan(geometry: Geometry, participants: u32) -> Option<(Offsets, usize)> {
    let mut planner = geometry::plan_header(participants)?;
    let words = stride(geometry).checked_mul(geometry.capacity)?;
    let offsets = Offsets {
        head: planner.place::<CacheLine<Head>>(1, 128)?,
        gate: planner.place::<CacheLine<Gate>>(1, 128)?,
        counts: planner.place::<Counts>(1, 128)?,
        taken: planner.place::<AtomicU64>(room::words(geometry.capacity), 128)?,
        entries: planner.place::<Shelf>(geometry.capacity, 128)?,
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
    fresh.place::<CacheLine<Head>>(at.head, 1)?;
    fresh.place::<CacheLine<Gate>>(at.gate, 1)?;
    fresh.place::<Counts>(at.counts, 1)?;
    fresh.place::<AtomicU64>(at.taken, room::words(geometry.capacity))?;
    fresh.place::<Shelf>(at.entries, geometry.capacity)?;
    fresh.place::<AtomicU64>(at.cells, stride(geometry) * geometry.capacity)?;
    at.rest.place(fresh, geometry)
}
