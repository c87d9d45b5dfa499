//! A word that one thread at a time holds, and that says who: the heart of the three locks.
//!
//! # The word
//!
//! `turn:24 | thread:22 | owner:14 | WANTED | SECOND | INCONSISTENT | LOCKED`, all zero at first.
//!
//! ```text
//!          try_hold                     release
//! free(n) ──────────→ LOCKED(n + 1, me) ═══════→ free(n + 1)
//!                         │ dead
//!                         └────────────────────→ free(n + 1) | INCONSISTENT
//! ```
//!
//! * INCONSISTENT stays until a holder says that all is well again.
//! * SECOND tells which of two copies of the value is valid. A holder writes the other one, and its release changes over: so
//!   a value is replaced as a whole or not at all, wherever its writer is killed.
//! * WANTED: the holder keeps others out, but may not go in yet ([`super::rwlock`]). If it dies so, all is well.
//! * `turn` counts holders, so that a sweeper that paused between its proof of death and its exchange does not take a later
//!   holder for the dead one (it would now have to pause for a whole multiple of sixteen million).
//!
//! # Ordering
//!
//! * O1. release store(Release) → `try_hold` exchange(Acquire): the next holder sees what the last one wrote.
//! * O2. `try_hold` exchange(Release) → `word` load(Acquire) → `Dead::still`: what a later participant of the slot wrote is not taken
//!   for the dead one's. The sweeper's exchange is a Release, so that the next holder comes after what the dead one did.
//! * O3. A release is a plain store, so that an acquisition is the only read-modify-write of the two, and nothing orders it before
//!   the look for sleepers. So who finds the word held is never certain to be woken ([`Attempt::Unsettled`]): it sleeps for 50 µs at
//!   first, and then at most for as long again as it has waited.
//! * O4. Who wakes others for what it did under the word took it by an exchange(Acquire). An onlooker, which must not miss that,
//!   has announced itself and exchanges the free word for itself(AcqRel): it sees what holders before it did (O1), and
//!   the next one sees the announcement.
//!
//! [`Attempt::Unsettled`]: crate::object::wait::Attempt::Unsettled
//!
//! # If a process dies
//!
//! Holding: the sweep frees the word. Between its release and waking: the sweep wakes all. All else leaves nothing.

use super::frame::Head;
use crate::{
    error::Damage,
    object::{
        participant::{Dead, OWNER_BITS, Owner},
        seat::{Activity, Visitor},
    },
    os::{clock, fork::Process, process},
    prim::{AcqRel, Acquire, Relaxed, Release},
};

const LOCKED: u64 = 1;
const INCONSISTENT: u64 = 2;
const SECOND: u64 = 4;
const WANTED: u64 = 8;
const FLAG_BITS: u32 = 4;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const THREAD_SHIFT: u32 = FLAG_BITS + OWNER_BITS;
const THREAD_BITS: u32 = 22;
const THREAD: u64 = (1 << THREAD_BITS) - 1;
const TURN_SHIFT: u32 = THREAD_SHIFT + THREAD_BITS;

/// The word, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    #[inline(always)]
    pub(crate) fn is_locked(self) -> bool {
        self.0 & LOCKED != 0
    }

    pub(crate) fn is_inconsistent(self) -> bool {
        self.0 & INCONSISTENT != 0
    }

    /// Which copy of the value is valid.
    #[inline(always)]
    pub(super) fn is_second(self) -> bool {
        self.0 & SECOND != 0
    }

    pub(super) fn is_wanted(self) -> bool {
        self.0 & WANTED != 0
    }

    fn owner_bits(self) -> u64 {
        self.0 >> FLAG_BITS & OWNER
    }

    fn thread(self) -> u64 {
        self.0 >> THREAD_SHIFT & THREAD
    }

    #[inline(always)]
    fn locked_by(self, me: Owner, thread: u32, flags: u64) -> Self {
        let turn = (self.0 >> TURN_SHIFT).wrapping_add(1);
        Self(
            turn << TURN_SHIFT
                | (u64::from(thread) & THREAD) << THREAD_SHIFT
                | me.bits() << FLAG_BITS
                | self.0 & (INCONSISTENT | SECOND)
                | flags,
        )
    }

    /// Free, with these flags.
    #[inline(always)]
    fn freed(self, flags: u64) -> Self {
        Self(self.0 >> TURN_SHIFT << TURN_SHIFT | flags)
    }
}

/// What the holder of a word knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) word: Word,
    /// Whose memory this is to be in. A forked child finds a copy, which holds nothing, whatever slot the child has.
    pub(crate) process: Process,
}

/// What a holder leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// The next holder is warned.
    pub(crate) is_inconsistent: bool,
    /// The other copy of the value is the valid one from here on.
    pub(crate) has_written: bool,
}

impl Head {
    #[inline(always)]
    pub(crate) fn look(&self) -> Word {
        Word(self.word.load(Acquire)) // O2
    }

    /// Whether the word is free, for an onlooker of what it guards: holders before this one are seen, and those after it see what the
    /// onlooker has announced.
    pub(crate) fn is_free_to_onlooker(&self) -> bool {
        let seen = Word(self.word.load(Relaxed));
        let exchange = || {
            self.word
                .compare_exchange(seen.0, seen.0, AcqRel, Relaxed) // O4
                .is_ok()
        };
        !seen.is_locked() && exchange()
    }

    /// Takes the word if it is free.
    #[inline(always)]
    pub(crate) fn try_hold(&self, me: Owner) -> Option<Held> {
        self.try_hold_in(me, Process::this())
    }

    /// As [`Self::try_hold`], for who knows already which process this is.
    #[inline(always)]
    pub(super) fn try_hold_in(&self, me: Owner, process: Process) -> Option<Held> {
        self.try_hold_as(me, process, 0)
    }

    /// As [`Self::try_hold`], but only keeps others out.
    pub(super) fn try_want(&self, me: Owner) -> Option<Held> {
        self.try_hold_as(me, Process::this(), WANTED)
    }

    #[inline(always)]
    fn try_hold_as(&self, me: Owner, process: Process, flags: u64) -> Option<Held> {
        let seen = Word(self.word.load(Relaxed));
        if seen.is_locked() {
            return None;
        }
        let word = seen.locked_by(me, process::thread_in(process), LOCKED | flags);
        self.word
            .compare_exchange(seen.0, word.0, AcqRel, Relaxed)
            .ok()?; // O1, O2
        self.since.store(clock::recent_ns(), Relaxed);
        Some(Held { word, process })
    }

    /// Goes in: from keeping others out to holding. `None` if the word is not the caller's any more.
    pub(super) fn go_in(&self, held: Held) -> Option<Held> {
        let word = Word(held.word.0 & !WANTED);
        self.word
            .compare_exchange(held.word.0, word.0, Relaxed, Relaxed)
            .ok()?; // its own word, which orders nothing
        Some(Held { word, ..held })
    }

    /// Frees the word, which the caller holds, and wakes up to `count` of those who wait for it. Whether it was the
    /// caller's.
    #[inline(always)]
    pub(crate) fn release(&self, held: Held, leaving: Leaving, count: u32) -> bool {
        let second = held.word.0 & SECOND ^ if leaving.has_written { SECOND } else { 0 };
        let inconsistent = if leaving.is_inconsistent {
            INCONSISTENT
        } else {
            0
        };
        let free = held.word.freed(second | inconsistent);
        let is_ours = self.word.load(Relaxed) == held.word.0;
        if is_ours {
            self.word.store(free.0, Release); // O1
        }
        self.main.wake_of_claim(count); // not always seen: O3
        is_ours
    }

    /// Whether the word is still what `held` says, and this is the process that holds it.
    #[inline(always)]
    pub(super) fn is_held(&self, held: Held) -> bool {
        let now = self.word.load(Relaxed);
        held.process.is_this() && (now ^ held.word.0) & !INCONSISTENT == 0
    }

    /// Whether this thread of `me` holds the word, and as what.
    #[inline(always)]
    pub(super) fn held_by(&self, me: Owner) -> Option<Held> {
        let word = Word(self.word.load(Relaxed)); // our own, or somebody else's
        let (process, thread) = process::this_thread();
        let is_mine = word.is_locked()
            && word.owner_bits() == me.bits()
            && word.thread() == u64::from(thread) & THREAD;
        is_mine.then_some(Held { word, process })
    }

    /// Whether the next holder is to be warned.
    pub(super) fn is_marked(&self) -> bool {
        self.look().is_inconsistent()
    }

    /// Whether the last holder died holding it, and nobody has held it since.
    pub(crate) fn is_inconsistent(&self) -> bool {
        self.look().is_inconsistent()
    }

    /// Warns the next holder, or does not. For the holder, between acquisition and release.
    pub(super) fn mark(&self, is_inconsistent: bool) {
        // Nobody else changes a held word.
        if is_inconsistent {
            self.word.fetch_or(INCONSISTENT, Relaxed);
        } else {
            self.word.fetch_and(!INCONSISTENT, Relaxed);
        }
    }

    /// Frees the word if the dead held it.
    pub(crate) fn repair_hold(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        let seen = self.look(); // O2: before `still`
        if seen.is_locked() && seen.owner_bits() == 0 {
            return Err(Damage("a lock is held by nobody"));
        }
        if !seen.is_locked() || seen.owner_bits() != dead.owner().bits() || !dead.still() {
            return Ok(());
        }
        let warning = if seen.is_wanted() {
            seen.0 & INCONSISTENT
        } else {
            INCONSISTENT
        };
        let free = seen.freed(seen.0 & SECOND | warning);
        // Fails when another sweeper was first.
        let _ = self.word.compare_exchange(seen.0, free.0, Release, Relaxed); // O1, O2
        Ok(())
    }

    /// Whether `owner` holds the word.
    pub(crate) fn names(&self, owner: Owner) -> bool {
        let word = self.look();
        word.is_locked() && word.owner_bits() == owner.bits()
    }

    /// Who holds the word.
    pub(crate) fn holder(&self) -> Option<Visitor> {
        let word = self.look();
        word.is_locked().then(|| Visitor {
            owner_bits: word.owner_bits(),
            thread: word.thread() as u32,
            since_ns: self.since.load(Relaxed),
            activity: if word.is_wanted() {
                Activity::Waiting
            } else {
                Activity::Holding
            },
        })
    }

    /// In a word, for people.
    pub(super) fn describe_hold(&self) -> String {
        let word = self.look();
        let held = if word.is_locked() { "held" } else { "free" };
        if word.is_inconsistent() {
            format!("{held}, inconsistent")
        } else {
            held.to_owned()
        }
    }
}
