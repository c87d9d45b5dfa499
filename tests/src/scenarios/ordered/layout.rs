//! What lies in the file of an ordered queue, read without a line of the library's code; docs/format.md.

use super::super::message::{BLOCK, Id};
use super::super::oracle::PARTICIPANTS;
use crate::mapping::Mapping;

/// Bytes that a cell of a trial's queue carries itself, and the cell's own.
pub(super) const INLINE: usize = 32;
const CELL: usize = 64;

const SLOTS: usize = 384;
const SLOT: usize = 64;
const PART: usize = 128;

/// Where the parts lie. [`super::trial::Trial`] checks it on each new queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    capacity: usize,
    memory: usize,
}

/// A message in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: Id,
    sequence: u64,
}

impl Layout {
    pub(super) fn new(capacity: usize, memory: usize) -> Self {
        Self { capacity, memory }
    }

    /// The messages that a survivor must get, in the order in which they were put: complete, and not taken to the end.
    pub(super) fn messages(self, file: &Mapping) -> Vec<Id> {
        let bytes = all(file);
        let mut seen: Vec<Seen> = (0..self.capacity)
            .filter_map(|index| self.message_at(&bytes, index))
            .collect();
        seen.sort_unstable_by_key(|message| message.sequence);
        seen.into_iter().map(|message| message.id).collect()
    }

    /// Whether somebody holds the lock.
    pub(super) fn is_locked(self, file: &Mapping) -> bool {
        word(&all(file), head()) & 1 == 1
    }

    fn message_at(self, bytes: &[u8], index: usize) -> Option<Seen> {
        const READING: u64 = 2;
        const FULL: u64 = 3;
        let at = self.cells() + index * CELL;
        if ![READING, FULL].contains(&(word(bytes, at) & 7)) {
            return None;
        }
        let is_in_slab = word(bytes, at + 24) >> 63 == 1;
        let first_block = (word(bytes, at + 32) >> 32) as usize;
        let text = match is_in_slab {
            true => self.data(bytes.len()) + first_block * BLOCK,
            false => at + 32,
        };
        Some(Seen {
            id: bytes[text],
            sequence: word(bytes, at + 16),
        })
    }

    /// Parts of the file to watch, as start and length: all of it but the bytes of large messages, of which one in each
    /// block will do.
    pub(super) fn watched(self, file_bytes: usize) -> Vec<(usize, usize)> {
        let data = self.data(file_bytes);
        let blocks = (0..self.memory / BLOCK).map(|block| (data + block * BLOCK + BLOCK / 3, 1));
        [(0, data)].into_iter().chain(blocks).collect()
    }

    fn data(self, file_bytes: usize) -> usize {
        file_bytes - self.memory
    }

    fn cells(self) -> usize {
        let taken = head() + 3 * PART;
        let entries = taken + (self.capacity.div_ceil(64) * 8).next_multiple_of(PART);
        entries + (self.capacity * 24).next_multiple_of(PART)
    }
}

fn head() -> usize {
    (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(PART)
}

fn all(file: &Mapping) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.shared().copy_to(&mut bytes);
    bytes
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}
