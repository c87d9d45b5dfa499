//! A cell of the broadcast: one word that says what is in it, who is at work on it, and for which pass over the ring.
//!
//! # The word
//!
//! `lap:43 | turn:4 | owner:14 | state:3`, all zero at first: fresh memory is a ring whose lap 0 came to nothing.
//!
//! ```text
//!                         claim                    commit
//! any finished (lap − 1) ──────→ WRITING(lap, me) ═══════→ FULL(lap), or LARGE(lap) if it refers to blocks
//!                                   │ dead, or closed         │
//!                                   ↓                         │ an owner that needs the blocks
//!                                VOID(lap)                    ↓                         dead
//!                                             LOST(lap) ←═ CLEARING(lap, turn, me) ──────────→ STALE(lap, turn + 1)
//!                                                             ↑                                  │
//!                                                             └──────────────────────────────────┘
//! ```
//!
//! A message exists while the word says FULL or LARGE. Neither names its publisher, so the next one knows the word of a cell
//! that it comes to without a look: FULL of the last lap. `turn` counts how often clearing was cut short. Without it, a
//! sweeper that paused between its proof of death and its exchange could take the CLEARING of a *later* participant in that
//! slot for that of the dead one.

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
const LAP_BITS: u32 = 64 - LAP_SHIFT;

const STATE: u64 = (1 << STATE_BITS) - 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const TURN: u64 = (1 << TURN_BITS) - 1;
const LAP: u64 = (1 << LAP_BITS) - 1;

/// What is in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: its publisher died or found the broadcast closed. Readers pass over it.
    Void,
    /// Its owner is filling it.
    Writing,
    /// A message.
    Full,
    /// A message in blocks.
    Large,
    /// There was one, whose blocks were needed.
    Lost,
    /// Its owner is taking the blocks of its message.
    Clearing,
    /// Somebody died doing so. Some of the blocks, or all, are still there.
    Stale,
}

/// Which pass over the ring a cell is in, as seen from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The position's own.
    Same,
    /// The position is history.
    Later,
    /// The pass before: the position is not claimed yet.
    Previous,
    /// None that the position could meet.
    Impossible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ctl(pub(super) u64);

impl Ctl {
    #[inline]
    const fn new(lap: u64, turn: u64, owner: u64, state: State) -> Self {
        Self(
            (lap & LAP) << LAP_SHIFT
                | (turn & TURN) << TURN_SHIFT
                | owner << OWNER_SHIFT
                | state as u64,
        )
    }

    pub(super) fn void(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Void)
    }

    #[inline]
    pub(super) fn writing(lap: u64, me: Owner) -> Self {
        Self::new(lap, 0, me.bits(), State::Writing)
    }

    #[inline]
    pub(super) fn full(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Full)
    }

    pub(super) fn large(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Large)
    }

    /// This message, whose blocks `me` takes.
    pub(super) fn clearing(self, me: Owner) -> Self {
        Self::new(self.lap(), self.turn(), me.bits(), State::Clearing)
    }

    /// This message, once they are taken.
    pub(super) fn lost(self) -> Self {
        Self::new(self.lap(), 0, 0, State::Lost)
    }

    /// What the dead owner of a claim leaves.
    pub(super) fn abandoned(self) -> Self {
        if self.is_in(State::Writing) {
            Self::void(self.lap())
        } else {
            Self::new(self.lap(), self.turn().wrapping_add(1), 0, State::Stale)
        }
    }

    /// The state; `None` for a pattern that nobody writes.
    #[inline]
    pub(super) fn state(self) -> Option<State> {
        Some(match self.0 & STATE {
            0 => State::Void,
            1 => State::Writing,
            2 => State::Full,
            3 => State::Large,
            4 => State::Lost,
            5 => State::Clearing,
            6 => State::Stale,
            _ => return None,
        })
    }

    fn is_in(self, state: State) -> bool {
        self.0 & STATE == state as u64
    }

    #[inline]
    pub(super) fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT & TURN
    }

    pub(super) fn owner_bits(self) -> u64 {
        self.0 >> OWNER_SHIFT & OWNER
    }

    /// Whether `owner` is at work on the cell.
    pub(super) fn is_claimed_by(self, owner: Owner) -> bool {
        self.owner_bits() == owner.bits()
            && (self.is_in(State::Writing) || self.is_in(State::Clearing))
    }

    /// Whether the cell was claimed for this lap or a later one.
    #[inline]
    pub(super) fn has_come_to(self, lap: u64) -> bool {
        self.laps_ahead_of(lap) < 1 << (LAP_BITS - 1)
    }

    /// How far the cell's lap is ahead of `lap`.
    #[inline]
    pub(super) fn laps_ahead_of(self, lap: u64) -> u64 {
        self.lap().wrapping_sub(lap) & LAP
    }

    #[inline]
    pub(super) fn pass(self, lap: u64) -> Pass {
        match self.laps_ahead_of(lap) {
            0 => Pass::Same,
            LAP => Pass::Previous,
            ahead if ahead < 1 << (LAP_BITS - 1) => Pass::Later,
            _ => Pass::Impossible,
        }
    }
}

/// Words of a cell that are not payload.
pub(super) const OVERHEAD_WORDS: usize = 2;

/// A cell in shared memory: `ctl | length | payload …`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a>(&'a [AtomicU64]);

/// What a cell was seen to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    #[inline]
    pub(super) fn ctl(self) -> &'a AtomicU64 {
        &self.0[0]
    }

    /// Bytes of the message, and where they are.
    #[inline]
    pub(super) fn length(self) -> &'a AtomicU64 {
        &self.0[1]
    }

    #[inline]
    pub(super) fn payload(self) -> &'a [AtomicU64] {
        &self.0[OVERHEAD_WORDS..]
    }

    /// What is in it. True of one instant: who acts on it exchanges, or looks again.
    #[inline]
    pub(super) fn look(self) -> Result<Seen, Damage> {
        let ctl = Ctl(self.ctl().load(Acquire)); // O1, O7
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
        let lap = 0x123_4567_89ab;
        let writing = Ctl::writing(lap, me);
        assert_eq!(
            (writing.lap(), writing.state()),
            (lap, Some(State::Writing))
        );
        assert!(writing.is_claimed_by(me) && !writing.is_claimed_by(other));
        assert_eq!(writing.abandoned(), Ctl::void(lap));
        let clearing = Ctl::large(lap).clearing(me);
        assert!(clearing.is_claimed_by(me) && !clearing.is_claimed_by(other));
        assert_eq!(clearing.abandoned().state(), Some(State::Stale));
        assert_ne!(
            clearing.abandoned().clearing(me),
            clearing,
            "a second clearing is told from the first"
        );
        assert_eq!(clearing.lost().state(), Some(State::Lost));
        assert_eq!(Ctl::void(0).0, 0, "fresh memory is a lap of nothing");
    }

    #[test]
    fn laps_compare_around_the_end() {
        assert_eq!(Ctl::full(5).pass(5), Pass::Same);
        assert_eq!(Ctl::full(6).pass(5), Pass::Later);
        assert_eq!(Ctl::full(4).pass(5), Pass::Previous);
        assert_eq!(Ctl::full(3).pass(5), Pass::Impossible);
        assert_eq!(Ctl::full(LAP).pass(LAP + 1), Pass::Previous);
        assert!(Ctl::full(6).has_come_to(5) && Ctl::full(5).has_come_to(5));
        assert!(!Ctl::full(4).has_come_to(5));
    }
}
