//! The claim word of a queue's cell.
//!
//! `lap:43 | turn:4 | owner:14 | state:3`, all zero at first. Who does what to the cell next, and for which of the
//! messages that pass through it, is one atomic word; so is therefore every hand-over and every repair.
//!
//! ```text
//!            put              put done            get               get done
//! FREE(lap) ─────→ WRITING(lap, me) ───→ FULL(lap) ───→ READING(lap, me) ───→ FREE(lap + 1)
//!                      │ dead, or closed               ↑     │ dead
//!                      ↓                           get │     ↓
//!                  TOMB(lap) ─→ FREE(lap + 1)          ORPHAN(lap, turn + 1)
//! ```
//!
//! `turn` counts how often a message was orphaned. Without it, a sweeper that paused between its proof of death and its
//! exchange could take READING(lap, 5) of a *later* participant 5 for that of the dead one. (It would now have to pause
//! while sixteen readers of one message die.)

use crate::object::participant::{OWNER_BITS, Owner};

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

/// What may be done with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A producer may claim it.
    Free,
    /// Its owner, a producer, is filling it.
    Writing,
    /// A consumer may claim it.
    Full,
    /// Its owner, a consumer, is copying the message out.
    Reading,
    /// It was claimed, and no message came: its producer died or found the queue closed.
    Tomb,
    /// Its consumer died: the message is to be delivered again.
    Orphan,
}

/// Which pass over the ring a cell is in, as seen from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The position's own.
    Same,
    /// The position is history.
    Later,
    /// The pass before: the position is not free yet.
    Previous,
    /// None that the position could meet.
    Impossible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ctl(pub(crate) u64);

impl Ctl {
    #[inline]
    const fn new(lap: u64, turn: u64, owner: u64, state: u64) -> Self {
        Self((lap & LAP) << LAP_SHIFT | (turn & TURN) << TURN_SHIFT | owner << OWNER_SHIFT | state)
    }

    #[inline]
    pub(crate) fn free(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Free as u64)
    }

    #[inline]
    pub(crate) fn writing(lap: u64, me: Owner) -> Self {
        Self::new(lap, 0, me.bits(), State::Writing as u64)
    }

    #[inline]
    pub(crate) fn full(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Full as u64)
    }

    pub(crate) fn tomb(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Tomb as u64)
    }

    /// This message, claimed by a consumer.
    #[inline]
    pub(crate) fn reading(self, me: Owner) -> Self {
        Self::new(self.lap(), self.turn(), me.bits(), State::Reading as u64)
    }

    /// This message, to be delivered again.
    pub(crate) fn orphan(self) -> Self {
        Self::new(
            self.lap(),
            self.turn().wrapping_add(1),
            0,
            State::Orphan as u64,
        )
    }

    /// The state; `None` for a pattern that nobody writes.
    #[inline]
    pub(crate) fn state(self) -> Option<State> {
        Some(match self.0 & STATE {
            0 => State::Free,
            1 => State::Writing,
            2 => State::Full,
            3 => State::Reading,
            4 => State::Tomb,
            5 => State::Orphan,
            _ => return None,
        })
    }

    #[inline]
    pub(crate) fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT & TURN
    }

    /// Whether `owner` is filling or reading the cell.
    pub(crate) fn is_claimed_by(self, owner: Owner) -> bool {
        self.0 >> OWNER_SHIFT & OWNER == owner.bits()
            && matches!(self.state(), Some(State::Writing | State::Reading))
    }

    #[inline]
    pub(crate) fn pass(self, lap: u64) -> Pass {
        match self.lap().wrapping_sub(lap) & LAP {
            0 => Pass::Same,
            LAP => Pass::Previous,
            ahead if ahead < 1 << (LAP_BITS - 1) => Pass::Later,
            _ => Pass::Impossible,
        }
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
        let reading = Ctl::full(lap).reading(me);
        assert_eq!(
            (reading.lap(), reading.state()),
            (lap, Some(State::Reading))
        );
        assert!(reading.is_claimed_by(me) && !reading.is_claimed_by(other));
        assert_eq!(reading.orphan().state(), Some(State::Orphan));
        assert!(!reading.orphan().is_claimed_by(me));
        assert_ne!(
            reading.orphan().reading(me),
            reading,
            "a redelivery is told from the first delivery"
        );
        assert_eq!(Ctl::free(0).0, 0, "fresh memory is a free cell");
    }

    #[test]
    fn laps_compare_around_the_end() {
        assert_eq!(Ctl::free(5).pass(5), Pass::Same);
        assert_eq!(Ctl::free(6).pass(5), Pass::Later);
        assert_eq!(Ctl::free(4).pass(5), Pass::Previous);
        assert_eq!(Ctl::free(3).pass(5), Pass::Impossible);
        assert_eq!(Ctl::free(LAP).pass(LAP + 1), Pass::Previous);
        assert_eq!(Ctl::free(0).pass(LAP), Pass::Later);
    }
}
