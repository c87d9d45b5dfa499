//! Who has an end of a lane.
//!
//! # The word
//!
//! `turn:46 | owner:14 | state:4`; `turn` counts who had the end, so that no word ever comes twice.
//!
//! ```text
//!          take               close, or death
//! FREE ──────────→ HELD(me) ═════════════════→ CLOSED ──→ HELD, by who comes by name
//!                   │    ↑                       ↑
//!             offer ↓    │ take, by its ticket   │ death of who offered
//!                  OFFERED(me) ──────────────────┘
//! ```
//!
//! FREE: nobody has come yet. OFFERED: on its way from one process to another, and still the first one's: so an end is
//! always somebody's who lives, or its peer learns that it is closed.

#![expect(unsafe_code, reason = "implements Shared")]

use crate::{
    error::Damage,
    object::{
        participant::{Dead, OWNER_BITS, Owner},
        seat::{Activity, Visitor},
    },
    os::{clock, process},
    prim::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed, Release},
    region::Shared,
};

const STATE_BITS: u32 = 4;
const STATE: u64 = (1 << STATE_BITS) - 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const TURN_SHIFT: u32 = STATE_BITS + OWNER_BITS;

const FREE: u64 = 0;
const HELD: u64 = 1;
const OFFERED: u64 = 2;
const CLOSED: u64 = 3;

/// What an end is to who looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Held,
    Offered,
    Closed,
}

/// The word, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ctl(u64);

impl Ctl {
    fn new(turn: u64, owner_bits: u64, state: u64) -> Self {
        Self(turn << TURN_SHIFT | owner_bits << STATE_BITS | state)
    }

    pub(super) fn state(self) -> Result<State, Damage> {
        match self.0 & STATE {
            FREE => Ok(State::Free),
            HELD => Ok(State::Held),
            OFFERED => Ok(State::Offered),
            CLOSED => Ok(State::Closed),
            _ => Err(Damage("an end is in no known state")),
        }
    }

    /// Whether who looks need not look twice: the end is, or will be, somebody's.
    #[inline(always)]
    pub(super) fn is_open(self) -> bool {
        self.0 & STATE < CLOSED
    }

    pub(super) fn owner_bits(self) -> u64 {
        self.0 >> STATE_BITS & OWNER
    }

    pub(super) fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT
    }

    fn held_next(self, me: Owner) -> Self {
        Self::new(self.turn().wrapping_add(1), me.bits(), HELD)
    }

    fn offered(self) -> Self {
        Self(self.0 & !STATE | OFFERED)
    }

    fn closed(self) -> Self {
        Self::new(self.turn(), 0, CLOSED)
    }

    fn is_of(self, owner: Owner) -> bool {
        matches!(self.0 & STATE, HELD | OFFERED) && self.owner_bits() == owner.bits()
    }
}

/// An end's word, and for people since when and by which thread it is held.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Role {
    pub(super) ctl: AtomicU64,
    since: AtomicU64,
    thread: AtomicU32,
    _reserved: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(core::mem::offset_of!(Role, thread) == 16 && size_of::<Role>() == 24);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Role {
    fn zeroed() -> Self {
        Self {
            ctl: AtomicU64::new(0),
            since: AtomicU64::new(0),
            thread: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
        }
    }
}

/// Why an end was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It is somebody else's.
    Held(Ctl),
    Closed,
    Damage(Damage),
}

impl From<Damage> for NotTaken {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl Role {
    #[inline(always)]
    pub(super) fn look(&self) -> Ctl {
        Ctl(self.ctl.load(Acquire)) // O4, O6
    }

    /// As [`Self::look`], for who only passes by.
    #[inline(always)]
    pub(super) fn glance(&self) -> Ctl {
        Ctl(self.ctl.load(Relaxed))
    }

    /// Takes an end that is nobody's.
    pub(super) fn take(&self, me: Owner) -> Result<Ctl, NotTaken> {
        let seen = self.glance();
        match seen.state()? {
            State::Free | State::Closed => self.take_seen(seen, me),
            State::Held | State::Offered => Err(NotTaken::Held(seen)),
        }
    }

    /// Takes an end that was offered in this turn.
    pub(super) fn take_offered(&self, turn: u64, me: Owner) -> Result<Ctl, NotTaken> {
        let seen = self.glance();
        match seen.state()? {
            State::Offered if seen.turn() == turn => self.take_seen(seen, me),
            State::Closed => Err(NotTaken::Closed),
            _ => Err(NotTaken::Held(seen)),
        }
    }

    fn take_seen(&self, seen: Ctl, me: Owner) -> Result<Ctl, NotTaken> {
        let mine = seen.held_next(me);
        let exchange = self.ctl.compare_exchange(seen.0, mine.0, AcqRel, Relaxed); // O3, O6
        match exchange {
            Ok(_) => {
                self.since.store(clock::coarse_ns(), Relaxed);
                self.thread.store(process::this_thread().1, Relaxed);
                Ok(mine)
            }
            Err(now) => Err(NotTaken::Held(Ctl(now))),
        }
    }

    /// Sends the end, which is `mine`, on its way. Whether it was still the caller's.
    pub(super) fn offer(&self, mine: Ctl) -> bool {
        let offered = mine.offered();
        self.ctl
            .compare_exchange(mine.0, offered.0, Release, Relaxed)
            .is_ok() // O3
    }

    /// Whether the end is still on its way, as it was sent.
    pub(super) fn is_on_its_way(&self, mine: Ctl) -> bool {
        self.glance() == mine.offered()
    }

    /// Closes the end, which is `mine`. Whether it was still the caller's.
    pub(super) fn close(&self, mine: Ctl) -> bool {
        let closed = mine.closed();
        self.ctl
            .compare_exchange(mine.0, closed.0, Release, Relaxed)
            .is_ok() // O3, O4
    }

    /// Closes the end if nobody has taken it. Whether this call did.
    pub(super) fn close_untaken(&self) -> Result<bool, Damage> {
        let seen = self.glance(); // the exchange goes on with the release of who offered it
        match seen.state()? {
            State::Free | State::Offered => Ok(self.close(seen)),
            State::Held | State::Closed => Ok(false),
        }
    }

    /// Closes the end if it was the dead one's.
    pub(super) fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        let seen = self.look(); // O6: before `still`
        let state = seen.state()?;
        if matches!(state, State::Held | State::Offered) && seen.owner_bits() == 0 {
            return Err(Damage("an end is held by nobody"));
        }
        if seen.is_of(dead.owner()) && dead.still() {
            // Fails when another sweeper was first.
            let _ = self.close(seen);
        }
        Ok(())
    }

    /// Whether the end is this participant's.
    pub(super) fn names(&self, owner: Owner) -> bool {
        self.glance().is_of(owner)
    }

    pub(super) fn holder(&self) -> Option<Visitor> {
        let seen = self.look();
        let is_somebodys = matches!(seen.state(), Ok(State::Held | State::Offered));
        is_somebodys.then(|| Visitor {
            owner_bits: seen.owner_bits(),
            thread: self.thread.load(Relaxed),
            since_ns: self.since.load(Relaxed),
            activity: Activity::Holding,
        })
    }

    /// In a word or two, for people.
    pub(super) fn describe(&self) -> String {
        let seen = self.look();
        let slot = seen.owner_bits().saturating_sub(1);
        match seen.state() {
            Ok(State::Free) => "not taken".to_owned(),
            Ok(State::Held) => format!("slot {slot}"),
            Ok(State::Offered) => format!("on its way from slot {slot}"),
            Ok(State::Closed) => "closed".to_owned(),
            Err(_) => "in no known state".to_owned(),
        }
    }
}
