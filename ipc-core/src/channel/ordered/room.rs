//! Which cells are probably free: one bit a cell, so that a put need not look at every cell.
//!
//! A bit is a hint and a right of way: who sets it tries to claim the cell, and nobody else does. What a cell is, its claim word
//! alone says.
//!
//! # Invariants
//!
//! * I1. Of each free cell the bit is clear, or somebody is between setting the bit and claiming the cell, or between freeing
//!   the cell and clearing the bit. If that one dies, its sweep clears the bit ([`Room::give`]).
//! * I2. A bit may be clear though the cell is in use, where a sweep cleared it in between. Who sets it then finds the cell
//!   taken, and goes on.
//!
//! # Ordering
//!
//! * O1. bit cleared(Release) → set(Acquire): who has the right of way sees the cell free, and the last message of it read.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    prim::{Acquire, AtomicU64, Relaxed, Release},
    region::Span,
};

const BITS: usize = 64;

/// Words for so many cells.
pub(super) fn words(capacity: usize) -> usize {
    capacity.div_ceil(BITS)
}

/// The bits: set = taken, so that fresh memory is room.
#[derive(Debug)]
pub(super) struct Room {
    taken: Span<AtomicU64>,
    capacity: usize,
    /// The word in which this process last found or left room. Private memory.
    hint: AtomicUsize,
}

impl Room {
    pub(super) fn new(taken: Span<AtomicU64>, capacity: usize) -> Self {
        Self {
            taken,
            capacity,
            hint: AtomicUsize::new(0),
        }
    }

    /// The right of way to a cell that is probably free; `None` if there is none.
    pub(super) fn take(&self) -> Option<usize> {
        let start = self.hint.load(Ordering::Relaxed) % self.taken.len().max(1);
        let found = (start..self.taken.len())
            .chain(0..start)
            .find_map(|word| self.take_in(word))?;
        self.hint.store(found / BITS, Ordering::Relaxed);
        Some(found)
    }

    fn take_in(&self, word: usize) -> Option<usize> {
        let bits = &self.taken[word];
        for _ in 0..BITS {
            let free = self.free_in(word, bits.load(Relaxed));
            if free == 0 {
                break;
            }
            let bit = free & free.wrapping_neg();
            if bits.fetch_or(bit, Acquire) & bit == 0 {
                return Some(word * BITS + bit.trailing_zeros() as usize); // O1
            }
        }
        None
    }

    /// Says that a cell is free. The read-modify-write that W1 asks for.
    pub(super) fn give(&self, index: usize) {
        if let Some(bits) = self.taken.get(index / BITS) {
            bits.fetch_and(!(1 << (index % BITS)), Release); // O1
            self.hint.store(index / BITS, Ordering::Relaxed);
        }
    }

    /// As [`Self::give`], unless it is known.
    pub(super) fn give_if_taken(&self, index: usize) {
        let bits = self.taken.get(index / BITS);
        if bits.is_some_and(|bits| bits.load(Relaxed) >> (index % BITS) & 1 != 0) {
            self.give(index);
        }
    }

    /// Whether there is probably a free cell.
    pub(super) fn has_any(&self) -> bool {
        let words = self.taken.iter().enumerate();
        words
            .map(|(word, bits)| self.free_in(word, bits.load(Relaxed)))
            .any(|free| free != 0)
    }

    /// The clear bits of a word that stand for cells.
    fn free_in(&self, word: usize, taken: u64) -> u64 {
        let cells = self.capacity - word * BITS;
        let all = if cells < BITS {
            (1 << cells) - 1
        } else {
            u64::MAX
        };
        !taken & all
    }
}
