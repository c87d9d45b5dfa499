//! A cell and its claim word: what is in the cell, and who is at work on it.
//!
//! ```text
//! lap:43 | turn:4 | owner:14 | state:3
//!
//!          put                 order                get                get done
//! FREE(lap) ─→ WRITING(lap, me) ─→ FULL(lap, turn) ─→ READING(lap, turn, me) ─→ FREE(lap + 1)
//!                  │ dead, or given up    ↑               │ dead, or given up
//!                  └→ FREE(lap + 1)       └───────────────┘ turn + 1
//! ```
//!
//! `lap` counts the messages of this cell, `turn` how often one of them came back, so that a sweeper that paused between its
//! proof of death and its exchange does not take READING(lap, turn, 5) of a *later* participant 5 for that of the dead one. (It
//! would now have to pause while sixteen readers of one message die or give up.)

use crate::{
    error::Damage,
    object::participant::{OWNER_BITS, Owner},
    prim::{Acquire, AtomicU64},
};

const STATE_BITS: u32 = 3;
const OWNER_SHIFT: u32 = STATE_BITS;
const TURN_SHIFT: u32 = OWNER_SHIFT + OWNER_BITS;
const TURN_BITS: u32 = 4;
const LAP_SHIFT: u32 = TURN_SHIFT + TURN_BITS;

const STATE: u64 = (1 << STATE_BITS) - 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const TURN: u64 = (1 << TURN_BITS) - 1;

/// What may be done with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A producer may claim it.
    Free,
    /// Its owner, a producer, is filling it.
    Writing,
    /// Its owner, a consumer, is copying the message out.
    Reading,
    /// It holds a message that is to be got.
    Full,
}

/// The claim word, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ctl(pub(crate) u64);

impl Ctl {
    fn new(lap: u64, turn: u64, owner: u64, state: State) -> Self {
        let lap = lap << LAP_SHIFT; // laps come round
        Self(lap | (turn & TURN) << TURN_SHIFT | owner << OWNER_SHIFT | state as u64)
    }

    /// The same lap, claimed by a producer.
    pub(super) fn writing(self, me: Owner) -> Self {
        Self::new(self.lap(), 0, me.bits(), State::Writing)
    }

    /// The same lap, with a message.
    pub(super) fn full(self) -> Self {
        Self::new(self.lap(), self.turn(), 0, State::Full)
    }

    /// This message, claimed by a consumer.
    pub(super) fn reading(self, me: Owner) -> Self {
        Self::new(self.lap(), self.turn(), me.bits(), State::Reading)
    }

    /// This message, to be got again.
    pub(super) fn returned(self) -> Self {
        Self::new(self.lap(), self.turn().wrapping_add(1), 0, State::Full)
    }

    /// Free for the next message.
    pub(super) fn freed(self) -> Self {
        Self::new(self.lap().wrapping_add(1), 0, 0, State::Free)
    }

    /// The state; `None` for a pattern that nobody writes.
    pub(crate) fn state(self) -> Option<State> {
        Some(match self.0 & STATE {
            0 => State::Free,
            1 => State::Writing,
            2 => State::Reading,
            3 => State::Full,
            _ => return None,
        })
    }

    pub(crate) fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT & TURN
    }

    pub(super) fn owner_bits(self) -> u64 {
        self.0 >> OWNER_SHIFT & OWNER
    }
}

/// Words of a cell that are not payload.
pub(super) const OVERHEAD_WORDS: usize = 4;

/// A cell in shared memory: `ctl | priority | sequence | length | payload …`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a>(&'a [AtomicU64]);

/// What a cell was seen to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) ctl: Ctl,
    pub(super) state: State,
}

impl<'a> Cell<'a> {
    /// `None` if the words are too few.
    #[inline]
    pub(super) fn new(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() > OVERHEAD_WORDS).then_some(Self(words))
    }

    /// The claim word.
    #[inline]
    pub(super) fn ctl(self) -> &'a AtomicU64 {
        &self.0[0]
    }

    /// An `i64`, of whoever puts.
    #[inline]
    pub(super) fn priority(self) -> &'a AtomicU64 {
        &self.0[1]
    }

    /// How many messages were put before this one.
    #[inline]
    pub(super) fn sequence(self) -> &'a AtomicU64 {
        &self.0[2]
    }

    #[inline]
    pub(super) fn length(self) -> &'a AtomicU64 {
        &self.0[3]
    }

    #[inline]
    pub(super) fn payload(self) -> &'a [AtomicU64] {
        &self.0[OVERHEAD_WORDS..]
    }

    /// The claim word. True of one instant: who acts on it exchanges, or holds the lock, or looks again.
    #[inline]
    pub(super) fn look(self) -> Result<Seen, Damage> {
        let ctl = Ctl(self.ctl().load(Acquire)); // O3, O4, O5
        let state = ctl.state().ok_or(Damage("a cell is in no known state"))?;
        Ok(Seen { ctl, state })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_put_into_it() {
        let me = Owner::of_slot(16_382).unwrap();
        let other = Owner::of_slot(0).unwrap();
        let free = Ctl(0x123_4567_89ab << LAP_SHIFT);
        let reading = free.writing(other).full().reading(me);
        assert_eq!(
            (reading.lap(), reading.state()),
            (free.lap(), Some(State::Reading))
        );
        assert_eq!(reading.owner_bits(), me.bits());
        assert_eq!(reading.returned().state(), Some(State::Full));
        assert_ne!(
            reading.returned().reading(me),
            reading,
            "a redelivery is told from the first delivery"
        );
        assert_eq!(reading.freed().lap(), free.lap() + 1);
        assert_eq!(
            Ctl(0).state(),
            Some(State::Free),
            "fresh memory is a free cell"
        );
        assert_eq!(Ctl(7).state(), None);
    }

    #[test]
    fn laps_come_round() {
        let last = Ctl(u64::MAX << LAP_SHIFT);
        assert_eq!(last.freed(), Ctl(0));
    }
}
