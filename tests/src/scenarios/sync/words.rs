//! What lies in a synchronisation object's file, read without a line of the library's code: so the library is not its own
//! witness. docs/format.md says where.

use crate::mapping::Mapping;

/// Participant slots of every trial's object.
pub(super) const PARTICIPANTS: u32 = 8;

const HEAD: usize = (384 + PARTICIPANTS as usize * 64).next_multiple_of(128);
const SEATS: usize = HEAD + 128;
const SEAT: usize = 32;

const LOCKED: u64 = 1;
const INCONSISTENT: u64 = 2;
const WANTED: u64 = 8;
const LOCK_TURN_SHIFT: u32 = 40;

/// What a seat is used for; the low four bits of its claim word.
pub(super) const WAITING: u64 = 1;
pub(super) const HOLDING: u64 = 2;
pub(super) const READING: u64 = 3;
pub(super) const LENT: u64 = 4;

/// An object's state, at one instant in which nobody is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// The primitive's word.
    pub(super) word: u64,
    /// The claim words of all seats behind it.
    seats: Vec<u64>,
}

impl Words {
    pub(super) fn of(file: &Mapping) -> Self {
        let mut bytes = Vec::new();
        file.shared().copy_to(&mut bytes);
        Self::of_bytes(&bytes)
    }

    /// The part of the file that it reads; what a repairer notes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        // Behind the seats a lock has its value, which looks like no seat: it counts for nobody.
        let seats = (SEATS..bytes.len().saturating_sub(SEAT - 1)).step_by(SEAT);
        Self {
            word: number(bytes, HEAD),
            seats: seats.map(|at| number(bytes, at)).collect(),
        }
    }

    /// How many of the first `count` seats are used for `activity`.
    pub(super) fn seated(&self, count: usize, activity: u64) -> usize {
        let seats = self.seats.iter().take(count);
        seats.filter(|&&ctl| ctl & 15 == activity).count()
    }

    /// Whether there is anything to be found in the way: a lock held, or a seat taken.
    pub(super) fn is_taken(&self) -> bool {
        self.is_locked() || self.seats.iter().any(|ctl| ctl & 15 != 0)
    }

    /// Of a lock: whether somebody holds it, or keeps others out of it.
    pub(super) fn is_locked(&self) -> bool {
        self.word & LOCKED != 0
    }

    /// Of a lock: whether its holder has come in, and does not only keep others out.
    pub(super) fn is_held(&self) -> bool {
        self.is_locked() && self.word & WANTED == 0
    }

    /// Of a lock whose users are all dead: whether the next holder must be warned.
    pub(super) fn warns(&self) -> bool {
        self.word & INCONSISTENT != 0 || self.is_held()
    }

    /// Of a lock: how often it was acquired.
    pub(super) fn turns(&self) -> u64 {
        self.word >> LOCK_TURN_SHIFT
    }

    /// Of an event.
    pub(super) fn is_set(&self) -> bool {
        self.word & 1 != 0
    }

    /// Of a barrier: its generation.
    pub(super) fn generation(&self) -> u64 {
        self.word >> 24
    }

    /// Of a barrier: whether this generation, one of the last eight, ended with all having come.
    pub(super) fn ended_whole(&self, generation: u64) -> bool {
        let since = self.generation().wrapping_sub(generation);
        (1..=8).contains(&since) && self.word >> 16 >> (since - 1) & 1 == 0
    }

    /// Of a barrier.
    pub(super) fn is_broken(&self) -> bool {
        self.word & 3 == 2
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}
