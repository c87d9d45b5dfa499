//! Who uses an object, and the proof that one of them is dead.
//!
//! # Layout
//!
//! ```text
//!   0      8     12     16       24             32            40           56         64
//!   ┌──────┬─────┬──────┬────────┬──────────────┬─────────────┬────────────┬──────────┐
//!   │ ctl  │ pid │  -   │ start  │ attached     │ pid         │ name       │    -     │   one slot, 64 bytes
//!   │      │     │      │ ticks  │ (unix ns)    │ namespace   │ (16 bytes) │          │
//!   └──────┴─────┴──────┴────────┴──────────────┴─────────────┴────────────┴──────────┘
//!    claim   the participant, before it claims; for people to read only
//! ```
//!
//! `ctl` is `generation << 1 | LIVE`. Beside slot `i` stands a lock on byte `SLOTS + i` of the object's file
//! ([`crate::os::token`]), which the kernel frees when the participant's address space is gone.
//!
//! # Invariants
//!
//! * I1. Only who holds the lock byte of a FREE slot makes it LIVE, and fills it in before.
//! * I2. A LIVE slot whose byte is not locked belongs to the dead. It becomes FREE, one generation on, only after every
//!   word that names it was repaired and every sleeper was woken. So what the dead left is never forgotten: a sweeper
//!   that dies leaves the slot for the next one.
//! * I3. A word that names slot `i` and was read *before* `ctl` was seen LIVE in generation g was written in generation g
//!   or earlier. If g is proven dead, changing that word by compare-exchange robs nobody (a later generation of the same
//!   slot can only write such a word once `ctl` has moved on, which [`Dead::still`] checks).
//!
//! Attaching takes only FREE slots and therefore never repairs: a process stopped in the middle of attaching delays
//! nobody. (Locking a dirty slot first and sweeping it then would make the dead look alive meanwhile.)
//!
//! # Ordering
//!
//! * O1. `ctl` compare-exchange(Release) on attach → `ctl` load(Acquire): who sees LIVE sees the slot filled in.
//!
//! All else is Relaxed: it is information for people, or ordered by the system calls that lock and probe.
//!
//! # If a process dies
//!
//! Before the claim: its lock goes, nothing else was there. After: the slot is LIVE and unlocked until a sweep. In the
//! middle of a clean detach: the same, or FREE. In the middle of a sweep: the slot it swept stays LIVE (I2).

#![expect(unsafe_code, reason = "implements Shared")]

use core::num::NonZeroU16;
use std::{io, os::fd::AsFd, sync::Arc};

use crate::{
    error::Damage,
    os::{
        clock, copy,
        file::{self, Inode},
        process::Me,
        token::{self, Claim},
    },
    prim::{Acquire, AtomicU32, AtomicU64, Relaxed, Release},
    region::{One, Shared, Span},
};

/// Locked in shared mode by everybody who is attached. Locked in exclusive mode, it proves that nobody is.
pub(crate) const EXISTENCE: u64 = 0;
/// Locked in exclusive mode by who removes the object's name.
pub(crate) const REMOVAL: u64 = 1;
/// Byte of the first slot's lock.
const SLOTS: u64 = 2;

/// Owner fields are 14 bits wide, and 0 means nobody.
pub(crate) const MAX_PARTICIPANTS: u32 = (1 << OWNER_BITS) - 1;
pub(crate) const OWNER_BITS: u32 = 14;

const LIVE: u64 = 1;
const GENERATION: u64 = 2;

/// A participant as claim words name it: its slot, plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(NonZeroU16);

impl Owner {
    #[inline]
    pub(crate) fn of_slot(slot: u32) -> Option<Self> {
        let number = u16::try_from(slot.checked_add(1)?).ok()?;
        NonZeroU16::new(number)
            .filter(|n| u32::from(n.get()) <= MAX_PARTICIPANTS)
            .map(Self)
    }

    /// From what [`Self::bits`] gave, kept in private memory.
    #[inline]
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        NonZeroU16::new(bits).map(Self)
    }

    /// What goes into a claim word.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.0.get())
    }

    fn slot(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    ctl: AtomicU64,
    pid: AtomicU32,
    _reserved: AtomicU32,
    start_ticks: AtomicU64,
    attached_unix_ns: AtomicU64,
    pid_namespace: AtomicU64,
    name: [AtomicU64; 2],
    _reserved_too: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(core::mem::offset_of!(Slot, name) == 40 && size_of::<Slot>() == 64);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Slot {
    fn zeroed() -> Self {
        Self {
            ctl: AtomicU64::new(0),
            pid: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            start_ticks: AtomicU64::new(0),
            attached_unix_ns: AtomicU64::new(0),
            pid_namespace: AtomicU64::new(0),
            name: Shared::zeroed(),
            _reserved_too: AtomicU64::new(0),
        }
    }
}

/// The part of the object's header that changes: 128 bytes behind the identity.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Census {
    /// No slot at or above this was ever taken. A bound for sweeps, raised before a slot goes LIVE.
    high_water: AtomicU32,
    /// What kind of life the object has; written by its creator.
    pub(crate) flags: AtomicU32,
    /// When somebody last looked for the dead (monotonic ns).
    last_look: AtomicU64,
    /// How many dead participants were swept so far.
    deaths: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(core::mem::offset_of!(Census, deaths) == 16 && size_of::<Census>() == 128);

// SAFETY: atomics, and padding behind them.
unsafe impl Shared for Census {
    fn zeroed() -> Self {
        Self {
            high_water: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            last_look: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
        }
    }
}

/// Decides whether the lock byte of a slot is held.
#[derive(Debug)]
pub(crate) enum Probe {
    /// Asks the kernel.
    Kernel(KernelProbe),
    /// Asks the test: bit `i` is set once slot `i` is dead.
    #[cfg(any(test, loom))]
    Oracle(Arc<AtomicU64>),
}

/// The descriptor through which the kernel is asked, and what it must still be.
#[derive(Debug)]
pub(crate) struct KernelProbe {
    file: Arc<std::fs::File>,
    inode: Inode,
}

impl KernelProbe {
    pub(crate) fn new(file: Arc<std::fs::File>, inode: Inode) -> Self {
        Self { file, inode }
    }

    fn is_held(&self, slot: usize) -> io::Result<bool> {
        if token::is_locked(self.file.as_fd(), SLOTS + slot as u64)? {
            return Ok(true);
        }
        // Somebody may have closed all descriptors of this process and opened another file under our number.
        if file::facts(&self.file)?.inode == self.inode {
            Ok(false)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// What an object does about a dead participant.
pub(crate) trait Repair: Send + Sync {
    /// Undoes, finishes or hands on everything that names `dead`. May run in several processes at once, and may be cut
    /// short anywhere and run again: each step is one compare-exchange on the word that names the dead.
    ///
    /// The order is: read the word, then ask `dead.still()`, then exchange (I3).
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage>;

    /// Whether anything here still names a participant that is about to leave in peace: what it forgot to give back. Then it
    /// leaves as the dead do, and is swept.
    fn names(&self, _owner: Owner) -> bool {
        false
    }

    /// Wakes every sleeper: one of those a dead process woke, or should have woken, may still sleep.
    fn wake_all(&self);
}

/// A slot in a generation whose death is proven.
#[derive(Debug)]
pub(crate) struct Dead<'a> {
    slot: &'a Slot,
    ctl: u64,
    owner: Owner,
}

impl Dead<'_> {
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether the slot is still this dead participant's. Once not, another sweeper has done the work.
    pub(crate) fn still(&self) -> bool {
        self.slot.ctl.load(Relaxed) == self.ctl
    }
}

/// What a slot says about its participant, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) slot: u32,
    pub(crate) is_alive: bool,
    pub(crate) pid: u32,
    pub(crate) pid_namespace: u64,
    pub(crate) start_ticks: u64,
    pub(crate) attached_unix_ns: u64,
    pub(crate) name: String,
}

/// Why no slot could be taken.
#[derive(Debug)]
pub(crate) enum AttachError {
    Full,
    Io(io::Error),
}

impl From<io::Error> for AttachError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// All slots of one object.
#[derive(Debug)]
pub(crate) struct Participants {
    census: One<Census>,
    slots: Span<Slot>,
    probe: Probe,
}

impl Participants {
    pub(crate) fn new(census: One<Census>, slots: Span<Slot>, probe: Probe) -> Self {
        Self {
            census,
            slots,
            probe,
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn deaths(&self) -> u64 {
        self.census.deaths.load(Relaxed)
    }

    /// Takes a free slot, whose lock byte `claim` then holds.
    pub(crate) fn attach(&self, claim: &Claim, me: &Me) -> Result<Owner, AttachError> {
        for (i, slot) in self.slots.iter().enumerate() {
            let byte = SLOTS + i as u64;
            if slot.ctl.load(Relaxed) & LIVE != 0 || !claim.try_exclusive(byte)? {
                continue;
            }
            if let Some(owner) = self.occupy(i as u32, slot, me) {
                return Ok(owner);
            }
            claim.release(byte)?;
        }
        Err(AttachError::Full)
    }

    /// Makes a slot LIVE, whose lock byte the caller holds; `None` if somebody lived and died in it meanwhile.
    fn occupy(&self, number: u32, slot: &Slot, me: &Me) -> Option<Owner> {
        let ctl = slot.ctl.load(Relaxed);
        if ctl & LIVE != 0 {
            return None;
        }
        let owner = Owner::of_slot(number)?;
        slot.pid.store(me.pid, Relaxed);
        slot.start_ticks.store(me.start_ticks, Relaxed);
        slot.attached_unix_ns.store(clock::unix_ns(), Relaxed);
        slot.pid_namespace.store(me.pid_namespace, Relaxed);
        copy::into_shared(&slot.name, &me.name);
        self.census.high_water.fetch_max(number + 1, Relaxed);
        slot.ctl
            .compare_exchange(ctl, ctl | LIVE, Release, Relaxed)
            .ok()?; // O1
        Some(owner)
    }

    /// What attaching does once it holds the lock byte.
    #[cfg(any(test, loom))]
    pub(crate) fn occupy_for_model(&self, number: u32, start_ticks: u64) -> Option<Owner> {
        let me = Me {
            pid: 0,
            pid_namespace: 0,
            start_ticks,
            name: [0; 16],
        };
        self.occupy(number, &self.slots[number as usize], &me)
    }

    /// Gives the slot back. The caller holds nothing under `owner` any more, and unlocks the byte next.
    pub(crate) fn detach(&self, owner: Owner) {
        if let Some(slot) = self.slots.get(owner.slot()) {
            free(slot, slot.ctl.load(Relaxed));
        }
    }

    /// Repairs what dead participants left behind. Returns how many there were.
    pub(crate) fn sweep(&self, repair: &dyn Repair) -> Result<u32, SweepError> {
        let mut swept = 0;
        for (number, slot) in (0..).zip(self.taken()) {
            let Some(owner) = Owner::of_slot(number) else {
                break;
            };
            let ctl = slot.ctl.load(Acquire); // O1
            if ctl & LIVE == 0 || self.is_held(owner.slot())? {
                continue;
            }
            let dead = Dead { slot, ctl, owner };
            repair.repair(&dead).map_err(SweepError::Damage)?;
            repair.wake_all();
            if free(slot, ctl) {
                self.census.deaths.fetch_add(1, Relaxed);
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Sweeps unless somebody did within the last `period_ns`: one look serves all who wait.
    pub(crate) fn look(&self, repair: &dyn Repair, period_ns: u64) -> Result<u32, SweepError> {
        let now = clock::monotonic_ns();
        let last = self.census.last_look.load(Relaxed);
        // A stamp from the future is from before a reboot, or a lie: look.
        let is_recent = last <= now && now - last < period_ns;
        if is_recent
            || self
                .census
                .last_look
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_err()
        {
            return Ok(0);
        }
        // Who cannot look must not keep others from looking.
        self.sweep(repair).inspect_err(|_| {
            let _ = self
                .census
                .last_look
                .compare_exchange(now, last, Relaxed, Relaxed);
        })
    }

    /// The participants, alive and dead.
    pub(crate) fn cards(&self) -> Vec<Card> {
        (0..)
            .zip(self.taken())
            .filter(|(_, slot)| slot.ctl.load(Acquire) & LIVE != 0) // O1
            .map(|(number, slot)| self.card(number, slot))
            .collect()
    }

    /// The process that `owner_bits` of a claim word names, as it described itself; 0 if they name nobody.
    pub(crate) fn pid_of(&self, owner_bits: u64) -> u32 {
        let slot = usize::try_from(owner_bits.wrapping_sub(1)).ok();
        let slot = slot.and_then(|slot| self.slots.get(slot));
        slot.map_or(0, |slot| slot.pid.load(Relaxed))
    }

    /// How many participants are alive.
    pub(crate) fn living(&self) -> u32 {
        self.cards().iter().filter(|c| c.is_alive).count() as u32
    }

    fn card(&self, number: u32, slot: &Slot) -> Card {
        Card {
            slot: number,
            // When in doubt, alive: nobody is robbed.
            is_alive: self.is_held(number as usize).unwrap_or(true),
            pid: slot.pid.load(Relaxed),
            pid_namespace: slot.pid_namespace.load(Relaxed),
            start_ticks: slot.start_ticks.load(Relaxed),
            attached_unix_ns: slot.attached_unix_ns.load(Relaxed),
            name: copy::text_out(&slot.name),
        }
    }

    fn taken(&self) -> &[Slot] {
        let bound = self.census.high_water.load(Relaxed) as usize;
        &self.slots[..bound.min(self.slots.len())]
    }

    fn is_held(&self, slot: usize) -> Result<bool, SweepError> {
        match &self.probe {
            Probe::Kernel(probe) => probe.is_held(slot).map_err(SweepError::Io),
            #[cfg(any(test, loom))]
            Probe::Oracle(dead) => Ok(dead.load(Acquire) & 1 << slot == 0),
        }
    }
}

/// LIVE in this generation → FREE in the next. Returns whether this call did it.
fn free(slot: &Slot, ctl: u64) -> bool {
    let next = (ctl & !LIVE).wrapping_add(GENERATION);
    slot.ctl
        .compare_exchange(ctl, next, Relaxed, Relaxed)
        .is_ok()
}

/// Why a sweep ended early.
#[derive(Debug)]
pub(crate) enum SweepError {
    Damage(Damage),
    Io(io::Error),
}
