//! In which order messages are to be got: an index over the cells, which only the holder of the lock reads and writes.
//!
//! It says nothing that the cells do not say. Who finds that a holder died in the middle of a change makes it anew.
//!
//! # Invariants
//!
//! * I1. Entries `0..length` name the full cells, each once: as a stack, the youngest last; or as a binary heap, none before
//!   its parent `(at - 1) / 2`. (Entries in ascending order are a heap.)
//!
//! Everything here is Relaxed: the lock orders it.

use core::cmp::Ordering;

use crate::{
    error::Damage,
    prim::{AtomicU64, Relaxed},
    region::{CacheLine, One, Span},
};

/// Which message comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// The youngest.
    LastFirst,
    /// That of the lowest priority; of these, the oldest.
    LowestFirst,
}

/// A message and its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) priority: i64,
    pub(super) sequence: u64,
    /// Its cell.
    pub(super) index: u64,
}

/// An entry in shared memory: `priority | sequence | index`.
pub(super) type Shelf = [AtomicU64; 3];

/// How many entries there are, and how many messages were put so far.
pub(super) type Counts = CacheLine<[AtomicU64; 2]>;

const BEYOND: Damage = Damage("the order has more messages than there are cells");

#[derive(Debug)]
pub(super) struct Order {
    discipline: Discipline,
    counts: One<Counts>,
    entries: Span<Shelf>,
}

impl Order {
    pub(super) fn new(discipline: Discipline, counts: One<Counts>, entries: Span<Shelf>) -> Self {
        Self {
            discipline,
            counts,
            entries,
        }
    }

    fn length(&self) -> &AtomicU64 {
        &self.counts.0[0]
    }

    /// How many entries there are, as the memory says.
    pub(super) fn claimed_length(&self) -> u64 {
        self.length().load(Relaxed)
    }

    /// How many messages were put so far.
    pub(super) fn puts(&self) -> u64 {
        self.counts.0[1].load(Relaxed)
    }

    /// A number for the next message. Counted before it is used, so that none is given twice whoever dies.
    pub(super) fn next_sequence(&self) -> u64 {
        let sequence = self.puts();
        self.counts.0[1].store(sequence.wrapping_add(1), Relaxed);
        sequence
    }

    fn checked_length(&self) -> Result<usize, Damage> {
        let length = usize::try_from(self.claimed_length()).unwrap_or(usize::MAX);
        if length <= self.entries.len() {
            Ok(length)
        } else {
            Err(BEYOND)
        }
    }

    /// The message to be got next.
    pub(super) fn first(&self) -> Result<Option<Entry>, Damage> {
        let length = self.checked_length()?;
        Ok(match self.discipline {
            _ if length == 0 => None,
            Discipline::LastFirst => Some(self.read(length - 1)),
            Discipline::LowestFirst => Some(self.read(0)),
        })
    }

    /// Adds a message.
    pub(super) fn insert(&self, entry: Entry) -> Result<(), Damage> {
        let length = self.checked_length()?;
        if length == self.entries.len() {
            return Err(BEYOND);
        }
        match self.discipline {
            Discipline::LastFirst => self.write(length, entry),
            Discipline::LowestFirst => self.rise(length, entry),
        }
        self.length().store(length as u64 + 1, Relaxed);
        Ok(())
    }

    /// Removes the message to be got next. Returns how many are left.
    pub(super) fn remove_first(&self) -> Result<usize, Damage> {
        let length = self.checked_length()?;
        let left = length.saturating_sub(1);
        if self.discipline == Discipline::LowestFirst && left > 0 {
            self.sink(left, self.read(left));
        }
        self.length().store(left as u64, Relaxed);
        Ok(left)
    }

    /// Makes the order anew, of these messages and no others.
    pub(super) fn remake(&self, mut messages: Vec<Entry>) {
        match self.discipline {
            Discipline::LastFirst => messages.sort_unstable_by_key(|message| message.sequence),
            Discipline::LowestFirst => messages.sort_unstable(),
        }
        let free = messages.iter().map(|m| m.sequence.wrapping_add(1)).max();
        self.counts.0[1].store(self.puts().max(free.unwrap_or(0)), Relaxed);
        for (at, &entry) in messages.iter().enumerate() {
            self.write(at, entry);
        }
        self.length().store(messages.len() as u64, Relaxed);
    }

    /// Writes `entry` where it belongs on the way from the empty place `at` to the root.
    fn rise(&self, mut at: usize, entry: Entry) {
        while at > 0 {
            let parent = (at - 1) / 2;
            let above = self.read(parent);
            if above.cmp(&entry) != Ordering::Greater {
                break;
            }
            self.write(at, above);
            at = parent;
        }
        self.write(at, entry);
    }

    /// Writes `entry` where it belongs on the way from the empty root to a leaf of the first `length` entries.
    fn sink(&self, length: usize, entry: Entry) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= length {
                break;
            }
            let mut below = (self.read(left), left);
            if left + 1 < length {
                below = below.min((self.read(left + 1), left + 1));
            }
            if entry <= below.0 {
                break;
            }
            self.write(at, below.0);
            at = below.1;
        }
        self.write(at, entry);
    }

    /// Each `at` is below a checked length.
    fn read(&self, at: usize) -> Entry {
        let [priority, sequence, index] = &self.entries[at];
        Entry {
            priority: priority.load(Relaxed) as i64,
            sequence: sequence.load(Relaxed),
            index: index.load(Relaxed),
        }
    }

    fn write(&self, at: usize, entry: Entry) {
        let [priority, sequence, index] = &self.entries[at];
        priority.store(entry.priority as u64, Relaxed);
        sequence.store(entry.sequence, Relaxed);
        index.store(entry.index, Relaxed);
    }
}
