//! What lies in a queue's file, read without a line of the library's code: so the library is not its own witness.

use super::message::{BLOCK, Id, LOAN};
use super::trial::Setting;
use crate::corruption::layout::place;
use crate::mapping::Mapping;

/// Participant slots of every trial's queue.
pub(super) const PARTICIPANTS: u32 = 8;

const SLOTS: usize = 384;
const SLOT: usize = 64;
/// `tail`, `head` and `gate` lie between the slots and the cells.
const CURSORS: usize = 3 * 128;
const CELL: usize = 128;
/// Bytes between two cells.
const GAP: usize = 64;

/// Where the parts of a trial's queue lie; docs/format.md. [`super::trial::Trial`] checks it on each new queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    capacity: usize,
    /// Bytes for large messages or for those that are written in place, at the end of the file.
    memory: usize,
    /// Bytes of a block of it.
    block: usize,
}

/// A message in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: Id,
    /// Its consumer is at work, or died at it: it may come late.
    pub(super) is_claimed: bool,
    lap: u64,
    index: usize,
}

impl Layout {
    pub(super) fn new(setting: &Setting) -> Self {
        let (memory, block) = match setting.loans {
            0 => (setting.memory.next_multiple_of(BLOCK), BLOCK),
            loans => (loans * LOAN, LOAN),
        };
        let capacity = setting.capacity;
        Self {
            capacity,
            memory,
            block,
        }
    }

    /// The messages that a survivor must get, oldest first: complete, and not taken to the end.
    pub(super) fn messages(self, file: &Mapping) -> Vec<Seen> {
        let mut bytes = Vec::new();
        file.shared().copy_to(&mut bytes);
        let mut seen: Vec<Seen> = (0..self.capacity)
            .filter_map(|index| self.message_at(&bytes, index))
            .collect();
        seen.sort_unstable_by_key(|message| (message.lap, message.index));
        seen
    }

    fn message_at(self, bytes: &[u8], index: usize) -> Option<Seen> {
        const WRITING: u64 = 1;
        const READING: u64 = 2;
        const ORPHAN: u64 = 4;
        let at = cells() + place(index, self.capacity) * (CELL + GAP);
        let (ctl, done) = (word(bytes, at), word(bytes, at + CELL - 8));
        let state = ctl & 7;
        let is_full = state == WRITING && ctl == done;
        if !is_full && ![READING, ORPHAN].contains(&state) {
            return None;
        }
        let is_in_slab = word(bytes, at + CELL - 16) >> 62 != 0; // or in a loan
        let head = (word(bytes, at + 8) >> 32) as usize;
        let text = match is_in_slab {
            true => self.data(bytes.len()) + head * self.block,
            false => at + 8,
        };
        Some(Seen {
            id: bytes[text],
            is_claimed: !is_full,
            lap: ctl >> 21,
            index,
        })
    }

    /// Parts of the file to watch, as start and length: all of it but the bytes of large messages, of which one in each
    /// block will do (their order is the copying instruction's affair).
    pub(super) fn watched(self, file_bytes: usize) -> Vec<(usize, usize)> {
        let data = self.data(file_bytes);
        let place = if self.block == LOAN { 9 } else { BLOCK / 3 };
        let starts = (0..self.memory).step_by(self.block);
        let blocks = starts.map(|block| (data + block + place, 1));
        [(0, data)].into_iter().chain(blocks).collect()
    }

    fn data(self, file_bytes: usize) -> usize {
        file_bytes - self.memory
    }
}

fn cells() -> usize {
    (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(128) + CURSORS
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}
