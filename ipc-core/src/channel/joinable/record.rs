//! A record of a job that was taken out of the ring: its claim word, and the message.
//!
//! # The claim word
//!
//! `generation:46 | owner:14 | state:4`, all zero at first. Each word without an owner is of a generation of its own, so no
//! word ever comes twice.
//!
//! ```text
//!            get             the cell is free          done
//! FREE(g) ────────→ HELD(me) ───────────────→ LEASED(me) ──────────→ FREE(g + 1)
//!                      │ dead                   ↑     │ given back, dead, or too late
//!                      ↓                        │     ↓
//!                 FREE(g + 1)      TAKING(me) ──┘   READY(g + 1), or DEAD(g + 1) after its last attempt
//!                                     ↑                │                      │ ↑ dead
//!                                     └────────────────┘ get                  ↓ │
//!                                                                        REMOVING(me): to FREE
//! ```
//!
//! LEASED → TAKING → LEASED of one owner, one generation on, renews a lease. DEAD → TAKING → READY requeues a dead letter.

use crate::{
    error::Damage,
    object::participant::{OWNER_BITS, Owner},
    prim::{Acquire, AtomicU64},
};

const STATE_BITS: u32 = 4;
const STATE: u64 = (1 << STATE_BITS) - 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const GENERATION_SHIFT: u32 = STATE_BITS + OWNER_BITS;

/// What may be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Anybody may claim it.
    Free,
    /// Its owner is copying a message here, whose cell in the ring counts until the record is leased.
    Held,
    /// Its owner works on the job.
    Leased,
    /// Its owner is taking a job once more, renewing its lease, or making one of a dead letter. Nobody takes that from the living.
    Taking,
    /// The job is to be delivered again.
    Ready,
    /// A dead letter.
    Dead,
    /// Its owner is removing a dead letter.
    Removing,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Free,
        Self::Held,
        Self::Leased,
        Self::Taking,
        Self::Ready,
        Self::Dead,
        Self::Removing,
    ];

    /// Whether a job is here that somebody has yet to finish.
    pub(super) fn is_unfinished(self) -> bool {
        matches!(self, Self::Leased | Self::Taking | Self::Ready)
    }

    fn has_owner(self) -> bool {
        matches!(
            self,
            Self::Held | Self::Leased | Self::Taking | Self::Removing
        )
    }
}

/// `generation:46 | owner:14 | state:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta(pub(super) u64);

impl Meta {
    /// The state; `None` for a pattern that nobody writes.
    #[inline]
    pub(super) fn state(self) -> Option<State> {
        State::ALL.get((self.0 & STATE) as usize).copied()
    }

    #[inline]
    pub(super) fn is_free(self) -> bool {
        self.0 & STATE == State::Free as u64
    }

    pub(super) fn owner_bits(self) -> u64 {
        self.0 >> STATE_BITS & OWNER
    }

    pub(super) fn is_of(self, owner: Owner) -> bool {
        self.owner_bits() == owner.bits() && self.state().is_some_and(State::has_owner)
    }

    /// The same generation, in the hands of `me`.
    #[inline]
    pub(super) fn taken(self, me: Owner, state: State) -> Self {
        let generation = self.0 >> GENERATION_SHIFT;
        Self(generation << GENERATION_SHIFT | me.bits() << STATE_BITS | state as u64)
    }

    /// The same generation and owner.
    #[inline]
    pub(super) fn turned(self, state: State) -> Self {
        Self(self.0 & !STATE | state as u64)
    }

    /// The same owner, one generation on.
    pub(super) fn renewed(self, state: State) -> Self {
        Self(self.0.wrapping_add(1 << GENERATION_SHIFT) & !STATE | state as u64)
    }

    /// One generation on, and nobody's.
    #[inline]
    pub(super) fn left(self, state: State) -> Self {
        let next = (self.0 >> GENERATION_SHIFT).wrapping_add(1);
        Self(next << GENERATION_SHIFT | state as u64)
    }
}

/// Words of a record before the payload.
pub(super) const OVERHEAD_WORDS: usize = 5;

/// A record in shared memory: `meta | position | attempts | deadline | length | payload … | padding`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    words: &'a [AtomicU64],
    payload_words: usize,
}

impl<'a> Record<'a> {
    /// `None` if the words are too few.
    #[inline]
    pub(super) fn new(words: &'a [AtomicU64], payload_words: usize) -> Option<Self> {
        (words.len() >= OVERHEAD_WORDS).then_some(Self {
            words,
            payload_words,
        })
    }

    /// The claim word.
    #[inline]
    pub(super) fn meta(self) -> &'a AtomicU64 {
        &self.words[0]
    }

    /// Where the job was put.
    #[inline]
    pub(super) fn position(self) -> &'a AtomicU64 {
        &self.words[1]
    }

    /// How often it was delivered.
    #[inline]
    pub(super) fn attempts(self) -> &'a AtomicU64 {
        &self.words[2]
    }

    /// When the lease ends, in nanoseconds on the monotonic clock.
    #[inline]
    pub(super) fn deadline(self) -> &'a AtomicU64 {
        &self.words[3]
    }

    #[inline]
    pub(super) fn length(self) -> &'a AtomicU64 {
        &self.words[4]
    }

    #[inline]
    pub(super) fn payload(self) -> &'a [AtomicU64] {
        let payload = &self.words[OVERHEAD_WORDS..];
        payload.get(..self.payload_words).unwrap_or(payload)
    }

    /// What it is. True of one instant: who acts on it exchanges.
    pub(super) fn look(self) -> Result<(Meta, State), Damage> {
        let meta = Meta(self.meta().load(Acquire)); // O3, O5, O6, O7
        let state = meta.state();
        Ok((meta, state.ok_or(Damage("a job is in no known state"))?))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_put_into_it() {
        let me = Owner::of_slot(16_382).unwrap();
        let other = Owner::of_slot(0).unwrap();
        let fresh = Meta(0);
        assert!(fresh.is_free(), "zeroed memory is a free record");
        let leased = fresh.taken(me, State::Held).turned(State::Leased);
        assert_eq!(leased.state(), Some(State::Leased));
        assert!(leased.is_of(me) && !leased.is_of(other));
        let ready = leased.left(State::Ready);
        assert!(!ready.is_of(me));
        let again = ready.taken(me, State::Leased);
        assert_ne!(again, leased, "a lease is told from the one before");
        assert_eq!(again, leased.renewed(State::Leased));
        assert_eq!(Meta(STATE).state(), None);
    }

    #[test]
    fn generations_go_round() {
        let me = Owner::of_slot(7).unwrap();
        let last = Meta(u64::MAX << GENERATION_SHIFT).taken(me, State::Leased);
        assert_eq!(last.left(State::Free), Meta(0));
        assert!(last.renewed(State::Taking).is_of(me));
    }
}
