//! How large the parts of a queue are, of whatever order.

use crate::{
    error::Damage,
    object::{lifetime, seat::Seat},
    region::{Fresh, OutOfBounds, Planner},
    slab,
};

/// Bytes of the largest cell. More would make every empty cell larger.
const MOST_CELL: usize = 256;
/// What all cells are multiples of.
const LINE: usize = 64;
/// The most notes; more than participants are of no use.
const MOST_NOTES: usize = 1 << 14;

/// What the cells of one kind of queue may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellShape {
    /// Bytes of a cell that are not payload.
    pub(in crate::channel) overhead: usize,
    /// Bytes of the smallest cell that is made.
    pub(in crate::channel) least: usize,
    /// The most cells.
    pub(in crate::channel) most_capacity: usize,
}

impl CellShape {
    /// The most bytes that a cell can carry itself.
    pub(in crate::channel) const fn most_inline(&self) -> usize {
        MOST_CELL - self.overhead
    }

    /// What a cell carries that is to carry `inline` bytes at least, and is made of whole lines.
    pub(in crate::channel) fn round_up(&self, inline: usize) -> usize {
        let inline = inline.min(self.most_inline());
        let cell = (self.overhead + inline).next_multiple_of(LINE);
        cell.max(self.least) - self.overhead
    }
}

/// What a queue is made of. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: usize,
    /// Payload bytes in a cell, a multiple of 8.
    pub(crate) inline_bytes: usize,
    pub(crate) slab: slab::Geometry,
    /// Seats in which waiters are noted, for people to read.
    pub(crate) notes: usize,
    /// Blocks for messages that are written in place.
    pub(crate) loans: slab::Geometry,
}

impl Geometry {
    pub(crate) fn to_words(self) -> [u64; 8] {
        let (slab, loans) = (self.slab, self.loans);
        let words = [
            self.capacity,
            self.inline_bytes,
            slab.block_bytes,
            slab.blocks,
            self.notes,
            loans.block_bytes,
            loans.blocks,
            0,
        ];
        words.map(|w| w as u64)
    }

    pub(crate) fn from_words(words: &[u64; 8], cells: &CellShape) -> Result<Self, Damage> {
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
            loans: slab::Geometry {
                block_bytes: size(words[5]),
                blocks: size(words[6]),
            },
        };
        let is_plausible = (1..=cells.most_capacity).contains(&read.capacity)
            && read.inline_bytes <= cells.most_inline()
            && read.inline_bytes >= 8
            && read.inline_bytes.is_multiple_of(8)
            && slab.is_plausible()
            && read.loans.is_plausible_for_loans()
            && read.notes <= MOST_NOTES;
        if is_plausible {
            Ok(read)
        } else {
            Err(Damage("its geometry is impossible"))
        }
    }

    /// The longest message, in bytes.
    pub(crate) fn most_bytes(self) -> usize {
        self.inline_bytes.max(self.slab.bytes())
    }

    /// Which bits of a position are the cell's index.
    pub(in crate::channel) fn index_bits(self) -> u32 {
        self.capacity.next_power_of_two().trailing_zeros()
    }
}

/// Where the parts lie that come last in every queue.
#[derive(Debug, Clone, Copy)]
pub(in crate::channel) struct Rest {
    pub(in crate::channel) notes: usize,
    /// `None` for a queue without a slab.
    pub(in crate::channel) slab: Option<slab::Offsets>,
    /// `None` for a queue without loans.
    pub(in crate::channel) loans: Option<slab::Offsets>,
}

impl Rest {
    pub(in crate::channel) fn plan(planner: &mut Planner, geometry: Geometry) -> Option<Self> {
        let notes = planner.place::<Seat>(geometry.notes, 128)?;
        let mut plan = |slab: slab::Geometry| match slab.blocks {
            0 => Some(None),
            _ => slab::Offsets::plan(planner, slab).map(Some),
        };
        Some(Self {
            notes,
            slab: plan(geometry.slab)?,
            loans: plan(geometry.loans)?,
        })
    }

    /// Begins the life of the parts.
    pub(in crate::channel) fn place(
        self,
        fresh: &mut Fresh,
        geometry: Geometry,
    ) -> Result<(), OutOfBounds> {
        fresh.place::<Seat>(self.notes, geometry.notes)?;
        self.slab
            .map_or(Ok(()), |slab| slab.place(fresh, geometry.slab))?;
        self.loans
            .map_or(Ok(()), |loans| loans.place(fresh, geometry.loans))
    }
}

/// Plans header and slots; the queue comes behind them.
pub(in crate::channel) fn plan_header(participants: u32) -> Option<Planner> {
    lifetime::plan(participants).map(|(planner, _)| planner)
}
