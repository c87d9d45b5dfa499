//! A cell of the queue: its claim word, the message, and the word that says that the message is there.
//!
//! # The claim word
//!
//! `lap:43 | turn:4 | owner:14 | state:3`, all zero at first. Who does what to the cell next, and for which of the
//! messages that pass through it, is one atomic word; so is therefore every hand-over and every repair.
//!
//! ```text
//!            put              put done                 get               get done
//! FREE(lap) ─────→ WRITING(lap, me) ═══→ the same ───→ READING(lap, me) ───→ FREE(lap + 1)
//!                      │ dead, or closed       and done      ↑     │ dead, or given up
//!                      ↓                                 get │     ↓
//!                  TOMB(lap) ─→ FREE(lap + 1)               ORPHAN(lap, turn + 1)
//! ```
//!
//! `turn` counts how often a message was orphaned. Without it, a sweeper that paused between its proof of death and its
//! exchange could take READING(lap, 5) of a *later* participant 5 for that of the dead one. (It would now have to pause
//! while sixteen readers of one message die or give up.) It counts deaths, at least: a reader that lives may leave it as it is
//! ([`Ring::leave_untried`](super::ring::Ring::leave_untried)).
//!
//! # The done word
//!
//! A finished put stores its claim word once more, in the cell's last cache line. A message is FULL when both words are
//! WRITING and the same. Consumers that wait watch that line: watching the claim word itself took the line away in the
//! middle of each put, and cost a quarter of the throughput between distant cores. (To have it fetched along with the
//! line that they watch costs less, and shortens a round trip: [`super::ring::Ring::may_have_message`].)
//!
//! Only the owner of the claim writes the done word, and no WRITING word ever comes twice, so what stands there is either
//! this very put's or history.

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

/// What may be done with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A producer may claim it.
    Free,
    /// Its owner, a producer, is filling it.
    Writing,
    /// Its owner, a consumer, is copying the message out.
    Reading,
    /// It was claimed, and no message came: its producer died or found the queue closed.
    Tomb,
    /// Its consumer died or gave it up: the message is to be delivered again.
    Orphan,
    /// A consumer may claim it. The claim word alone says [`Self::Writing`]: see [`Cell::look`].
    Full,
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

    pub(crate) fn tomb(lap: u64) -> Self {
        Self::new(lap, 0, 0, State::Tomb as u64)
    }

    /// This message, claimed by a consumer.
    #[inline]
    pub(crate) fn reading(self, me: Owner) -> Self {
        Self::new(self.lap(), self.turn(), me.bits(), State::Reading as u64)
    }

    /// This message, delivered.
    pub(super) fn freed(self) -> Self {
        Self::free(self.lap().wrapping_add(1))
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

    /// This message, to be delivered again, as nobody has tried to deliver it.
    pub(super) fn untried(self) -> Self {
        Self::new(self.lap(), self.turn(), 0, State::Orphan as u64)
    }

    /// The state; `None` for a pattern that nobody writes.
    #[inline]
    pub(crate) fn state(self) -> Option<State> {
        Some(match self.0 & STATE {
            0 => State::Free,
            1 => State::Writing,
            2 => State::Reading,
            3 => State::Tomb,
            4 => State::Orphan,
            _ => return None,
        })
    }

    #[inline]
    pub(crate) fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    pub(super) fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT & TURN
    }

    pub(super) fn owner_bits(self) -> u64 {
        self.0 >> OWNER_SHIFT & OWNER
    }

    /// Whether `owner` is filling or reading the cell.
    pub(crate) fn is_claimed_by(self, owner: Owner) -> bool {
        self.owner_bits() == owner.bits()
            && matches!(self.state(), Some(State::Writing | State::Reading))
    }

    /// As a done word: whether the put of this lap is finished.
    #[inline]
    pub(crate) fn is_put_in(self, lap: u64) -> bool {
        self.laps_ahead_of(lap) == 0 && self.0 & STATE == State::Writing as u64
    }

    /// How far the cell's lap is ahead of `lap`.
    #[inline]
    pub(crate) fn laps_ahead_of(self, lap: u64) -> u64 {
        self.lap().wrapping_sub(lap) & LAP
    }

    #[inline]
    pub(crate) fn pass(self, lap: u64) -> Pass {
        match self.laps_ahead_of(lap) {
            0 => Pass::Same,
            LAP => Pass::Previous,
            ahead if ahead < 1 << (LAP_BITS - 1) => Pass::Later,
            _ => Pass::Impossible,
        }
    }
}

/// Words of a cell that are not payload.
pub(super) const OVERHEAD_WORDS: usize = 3;

/// A cell in shared memory: `ctl | payload … | length | done`.
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

    #[inline]
    pub(super) fn payload(self) -> &'a [AtomicU64] {
        &self.0[1..self.0.len() - 2]
    }

    #[inline]
    pub(super) fn length(self) -> &'a AtomicU64 {
        &self.0[self.0.len() - 2]
    }

    /// What the claim word was when the put that it stands for was finished.
    #[inline]
    pub(super) fn done(self) -> &'a AtomicU64 {
        &self.0[self.0.len() - 1]
    }

    /// The claim word, and whether its put is finished. True of one instant: who acts on it exchanges, or looks again.
    #[inline]
    pub(super) fn look(self) -> Result<Seen, Damage> {
        let ctl = Ctl(self.ctl().load(Acquire)); // O3, O7
        let state = ctl.state().ok_or(Damage("a cell is in no known state"))?;
        let is_done = state == State::Writing && self.done().load(Acquire) == ctl.0; // O1, O3
        let state = if is_done { State::Full } else { state };
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
        let reading = Ctl::writing(lap, other).reading(me);
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
