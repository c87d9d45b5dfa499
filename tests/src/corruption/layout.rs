//! Where things lie in a queue's file.

use std::ops::Range;

/// Bytes of the identity.
pub const IDENTITY: usize = 256;
/// The part of the header that changes.
pub const CENSUS: usize = IDENTITY;
/// Where the slots begin.
pub const SLOTS: usize = 384;
/// Bytes of a slot.
pub const SLOT: usize = 64;
/// Bytes between two cells.
const GAP: usize = 64;

/// What a cell is; the low three bits of its claim word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A producer may claim it.
    Free,
    /// A producer is filling it; or it holds a message, when its done word says the same.
    Writing,
    /// A consumer is taking the message.
    Reading,
    /// Nothing came of it.
    Tomb,
    /// Its consumer died.
    Orphan,
}

/// Offsets in one file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Participant slots.
    pub participants: usize,
    /// Cells.
    pub capacity: usize,
    /// Bytes of a message that a cell carries itself.
    pub inline_bytes: usize,
    /// Bytes a block.
    pub block_bytes: usize,
    /// Blocks.
    pub blocks: usize,
    /// The counter of puts.
    pub tail: usize,
    /// The counter of gets.
    pub head: usize,
    /// closed, items, space, blocks: u32; orphans: u64.
    pub gate: usize,
    /// The first cell.
    pub cells: usize,
    /// Bytes from one cell to the next.
    pub stride: usize,
    /// Where allocation goes on.
    pub cursor: usize,
    /// Owner words of blocks.
    pub meta: usize,
    /// Links of blocks.
    pub links: usize,
    /// Positions of chains.
    pub places: usize,
    /// The blocks.
    pub data: usize,
    /// Size of the file.
    pub end: usize,
}

impl Layout {
    /// That of a healthy file, from the sizes in its header.
    ///
    /// # Panics
    ///
    /// If `file` has no header.
    pub fn of(file: &[u8]) -> Self {
        let size = |at| word(file, at) as usize;
        let participants = (word(file, 24) >> 32) as usize;
        let (capacity, inline_bytes, block_bytes, blocks) =
            (size(32), size(40), size(48), size(56));
        let tail = (SLOTS + participants * SLOT).next_multiple_of(128);
        let (head, gate, cells) = (tail + 128, tail + 256, tail + 384);
        let stride = 24 + inline_bytes + GAP;
        let notes = (cells + capacity * stride).next_multiple_of(128);
        let behind_notes = notes + 32 * size(64);
        let cursor = behind_notes.next_multiple_of(128);
        let meta = cursor + 128;
        let links = (meta + 8 * blocks).next_multiple_of(128);
        let places = (links + 8 * blocks).next_multiple_of(128);
        let bytes = blocks * block_bytes;
        let data = (places + 8 * blocks).next_multiple_of(if bytes < 4096 { 128 } else { 4096 });
        let end = if blocks > 0 {
            data + bytes
        } else {
            behind_notes
        };
        Self {
            participants,
            capacity,
            inline_bytes,
            block_bytes,
            blocks,
            tail,
            head,
            gate,
            cells,
            stride,
            cursor,
            meta,
            links,
            places,
            data,
            end,
        }
    }

    /// The claim word of a slot.
    pub fn slot(&self, index: usize) -> usize {
        SLOTS + index * SLOT
    }

    /// The claim word of the cell that `index` has.
    pub fn ctl(&self, index: usize) -> usize {
        self.cells + place(index, self.capacity) * self.stride
    }

    /// The length word of a cell.
    pub fn length(&self, index: usize) -> usize {
        self.ctl(index) + 8 + self.inline_bytes
    }

    /// The done word of a cell.
    pub fn done(&self, index: usize) -> usize {
        self.ctl(index) + 16 + self.inline_bytes
    }

    /// All of the cells.
    pub fn all_cells(&self) -> Range<usize> {
        self.cells..self.cells + self.capacity * self.stride
    }

    /// How far a position is shifted to give its lap.
    pub fn shift(&self) -> u32 {
        self.capacity.next_power_of_two().trailing_zeros()
    }
}

/// Where the cell of `index` lies among all cells.
pub fn place(index: usize, capacity: usize) -> usize {
    let bits = if index < 1 << capacity.ilog2() {
        capacity.ilog2()
    } else {
        (index ^ capacity).ilog2()
    };
    let mask = (1 << bits) - 1;
    let spread = (index & mask).wrapping_mul(0x9e37_79b1) & mask;
    index & !mask | spread ^ spread >> bits.div_ceil(2)
}

/// A claim word: `lap:43 | turn:4 | owner:14 | state:3`.
pub fn ctl(lap: u64, turn: u64, owner: u64, state: u64) -> u64 {
    lap << 21 | (turn & 15) << 17 | (owner & 0x3fff) << 3 | (state & 7)
}

/// A block's owner word: `generation:46 | owner:14 | state:4`.
pub fn meta(generation: u64, owner: u64, state: u64) -> u64 {
    generation << 18 | (owner & 0x3fff) << 4 | (state & 15)
}

/// A block's link: `generation + 1:16 | head:24 | next:24`.
pub fn link(generation: u64, head: u64, next: u64) -> u64 {
    generation.wrapping_add(1) << 48 | (head & 0xff_ffff) << 24 | (next & 0xff_ffff)
}

/// The u64 at `at`.
///
/// # Panics
///
/// If it is not there.
pub fn word(file: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&file[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Writes the u64 at `at`.
///
/// # Panics
///
/// If there is no room.
pub fn set_word(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
