//! How large the parts of a broadcast are, and where they lie.

use super::{cell::OVERHEAD_WORDS, cursors::Cursor};
use crate::{
    channel::{
        gate::Gate,
        geometry::{self as channel, CellShape, Rest},
    },
    error::Damage,
    object::seat::Seat,
    prim::AtomicU64,
    region::{CacheLine, Fresh, OutOfBounds, Planner},
};

/// A cell of one cache line carries 48 bytes. A position has at least 33 bits for the lap.
pub(super) const CELLS: CellShape = CellShape {
    overhead: OVERHEAD_WORDS * 8,
    least: 64,
    most_capacity: 1 << 31,
};

/// The most subscribers that a lossless broadcast can be made for.
pub(super) const MOST_SUBSCRIBERS: usize = 4096;

const IS_LOSSLESS: u64 = 1;
const IS_ASYMMETRIC: u64 = 2;
const SUBSCRIBERS_SHIFT: u32 = 8;

/// What a broadcast is made of. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(super) ring: channel::Geometry,
    /// Cursors: none in a lossy broadcast.
    pub(super) subscribers: usize,
    pub(super) is_lossless: bool,
    /// Whether publishers that go to sleep have the kernel fence for subscribers.
    pub(super) is_asymmetric: bool,
}

impl Geometry {
    pub(super) fn to_words(self) -> [u64; 8] {
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let mut words = self.ring.to_words();
        let flags = flag(self.is_lossless, IS_LOSSLESS) | flag(self.is_asymmetric, IS_ASYMMETRIC);
        words[7] = (self.subscribers as u64) << SUBSCRIBERS_SHIFT | flags;
        words
    }

    pub(super) fn from_words(words: &[u64; 8]) -> Result<Self, Damage> {
        let read = Self {
            ring: channel::Geometry::from_words(words, &CELLS)?,
            subscribers: usize::try_from(words[7] >> SUBSCRIBERS_SHIFT).unwrap_or(usize::MAX),
            is_lossless: words[7] & IS_LOSSLESS != 0,
            is_asymmetric: words[7] & IS_ASYMMETRIC != 0,
        };
        let is_plausible = if read.is_lossless {
            (1..=MOST_SUBSCRIBERS).contains(&read.subscribers)
        } else {
            read.subscribers == 0
        };
        if is_plausible {
            Ok(read)
        } else {
            Err(Damage("its geometry is impossible"))
        }
    }

    /// Words of a cell.
    pub(super) fn stride(self) -> usize {
        OVERHEAD_WORDS + self.ring.inline_bytes / 8
    }
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    pub(super) tail: usize,
    pub(super) gate: usize,
    pub(super) cells: usize,
    pub(super) seats: usize,
    pub(super) cursors: usize,
    pub(super) rest: Rest,
}

pub(super) fn plan(geometry: Geometry, participants: u32) -> Option<(Offsets, usize)> {
    let mut planner = channel::plan_header(participants)?;
    let offsets = Offsets::plan(&mut planner, geometry)?;
    Some((offsets, planner.end()))
}

impl Offsets {
    pub(super) fn plan(planner: &mut Planner, geometry: Geometry) -> Option<Self> {
        let words = geometry.stride().checked_mul(geometry.ring.capacity)?;
        Some(Self {
            tail: planner.place::<CacheLine<AtomicU64>>(1, 1)?,
            gate: planner.place::<CacheLine<Gate>>(1, 1)?,
            cells: planner.place::<AtomicU64>(words, 128)?,
            seats: planner.place::<Seat>(geometry.subscribers, 128)?,
            cursors: planner.place::<CacheLine<Cursor>>(geometry.subscribers, 128)?,
            rest: Rest::plan(planner, geometry.ring)?,
        })
    }

    /// Begins the life of the parts.
    pub(super) fn place(self, fresh: &mut Fresh, geometry: Geometry) -> Result<(), OutOfBounds> {
        fresh.place::<CacheLine<AtomicU64>>(self.tail, 1)?;
        fresh.place::<CacheLine<Gate>>(self.gate, 1)?;
        fresh.place::<AtomicU64>(self.cells, geometry.stride() * geometry.ring.capacity)?;
        fresh.place::<Seat>(self.seats, geometry.subscribers)?;
        fresh.place::<CacheLine<Cursor>>(self.cursors, geometry.subscribers)?;
        self.rest.place(fresh, geometry.ring)
    }
}

/// Bytes of the file that such a broadcast needs.
pub(super) fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
    plan(geometry, participants).map(|(_, end)| end)
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
) -> Result<(), OutOfBounds> {
    let (at, _) = plan(geometry, participants).ok_or(OutOfBounds)?;
    at.place(fresh, geometry)
}
