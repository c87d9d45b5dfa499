//! A value of any size that is replaced as a whole or not at all.
//!
//! # Layout
//!
//! ```text
//!   0         8            8 + n        8 + 2n      n: bytes of a value, rounded up to 8
//!   ┌─────────┬────────────┬────────────┐
//!   │ control │ copy 0     │ copy 1     │
//!   └─────────┴────────────┴────────────┘
//!     anyone    the claim's owner
//! ```
//!
//! `control` is `version:46 | owner:14 | state:4`, states FREE and CLAIMED. The copy that is valid is that of the version's last bit.
//!
//! ```text
//!           claim                  commit
//!   FREE(v) ──────→ CLAIMED(v, me) ══════→ FREE(v + 1)
//!                      │   │ let go
//!                      │   └─────────────→ FREE(v)
//!                      │ dead
//!                      └─────────────────→ FREE(v + 2)
//! ```
//!
//! # Invariants
//!
//! * I1. Only who claimed version v writes, and only the copy of v + 1, which is not valid. So a reader of version v reads what nobody
//!   writes, until v + 1 is committed and claimed in its turn.
//! * I2. A commit is one store: the value is there from then on, and was not before.
//! * I3. A sweeper moves the version on, past a valid copy that stays the same: no claim of the slot's next owner looks like the dead one's.
//!
//! # Ordering
//!
//! * O1. commit store(Release) → claim exchange(Acquire), or a reader's load(Acquire): the copy is all there.
//! * O2. claim, then fence(Release), then the copy's words → a reader that saw any of them, then fence(Acquire), then its second look: it
//!   sees that its version is over, as the claimer did.
//! * O3. claim exchange(Release) → a sweeper's look(Acquire) → `Dead::still`: what a later participant of the slot claimed is not taken for
//!   the dead one's.
//! * O4. A sweeper's exchange(Release) → claim exchange(Acquire): what is written next comes after what the dead one wrote.
//! * O5. let go store(Release) → claim exchange(Acquire): what is written next comes after what was read under the claim.
//!
//! # If a process dies
//!
//! Before its commit: the value is what it was, and a sweep frees the claim. After it: the value is the new one.

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::{
    error::Damage,
    object::participant::{Dead, OWNER_BITS, Owner},
    os::copy,
    prim::{self, AcqRel, Acquire, AtomicU64, Relaxed, Release},
    region::plain,
};

const STATE_BITS: u32 = 4;
const STATE: u64 = (1 << STATE_BITS) - 1;
const CLAIMED: u64 = 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const VERSION_SHIFT: u32 = STATE_BITS + OWNER_BITS;

/// The control word, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Control(u64);

impl Control {
    /// Whether it is claimed, if it is what a correct process writes.
    #[inline(always)]
    fn is_claimed(self) -> Result<bool, Damage> {
        match (self.0 & STATE, self.owner_bits()) {
            (0, 0) => Ok(false),
            (CLAIMED, 1..) => Ok(true),
            _ => Err(Damage("a value is in no known state")),
        }
    }

    #[inline(always)]
    fn version(self) -> u64 {
        self.0 >> VERSION_SHIFT
    }

    fn owner_bits(self) -> u64 {
        self.0 >> STATE_BITS & OWNER
    }

    #[inline(always)]
    fn free(version: u64) -> Self {
        Self(version << VERSION_SHIFT)
    }

    #[inline(always)]
    fn claimed_by(self, me: Owner) -> Self {
        Self(self.version() << VERSION_SHIFT | me.bits() << STATE_BITS | CLAIMED)
    }
}

/// What came of a reader's look.
#[derive(Debug)]
pub(super) enum Looked<T> {
    Value(T),
    /// It was replaced meanwhile.
    Replaced,
    /// These bytes are no value.
    Nonsense,
}

/// A claim on a value, to be committed or let go.
#[must_use = "nobody else can write until it ends"]
#[derive(Debug)]
pub(super) struct Claim(Control);

/// Words of one value of so many bytes.
pub(super) fn words(bytes: usize) -> Option<usize> {
    bytes.div_ceil(8).checked_mul(2)?.checked_add(1)
}

/// One value's words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide<'a>(&'a [AtomicU64]);

impl<'a> Wide<'a> {
    /// The caller has so many [`words`].
    #[inline(always)]
    pub(super) fn over(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    #[inline(always)]
    fn control(self) -> &'a AtomicU64 {
        &self.0[0]
    }

    #[inline(always)]
    fn copy(self, version: u64) -> &'a [AtomicU64] {
        let (first, second) = self.0[1..].split_at(self.0.len() / 2);
        if version & 1 == 0 { first } else { second }
    }

    /// Begins the life of a value that nobody else can reach yet.
    pub(super) fn begin<T: NoUninit>(self, value: &T) {
        copy::into_shared(self.copy(0), bytemuck::bytes_of(value));
    }

    /// Whether nobody is at work on it.
    pub(super) fn is_free(self) -> bool {
        self.control().load(Relaxed) & STATE == 0
    }

    /// What it is now. Waits for nobody.
    #[inline]
    pub(super) fn look<T: CheckedBitPattern>(self) -> Result<Looked<T>, Damage> {
        let seen = Control(self.control().load(Acquire)); // O1
        seen.is_claimed()?;
        let value = plain::read(self.copy(seen.version()));
        prim::acquire_fence(); // O2
        let now = Control(self.control().load(Relaxed));
        Ok(match value {
            _ if now.version() != seen.version() => Looked::Replaced,
            Some(value) => Looked::Value(value),
            None => Looked::Nonsense,
        })
    }

    /// Keeps others from writing, if nobody else does.
    #[inline]
    pub(super) fn try_claim(self, me: Owner) -> Result<Option<Claim>, Damage> {
        let seen = Control(self.control().load(Relaxed));
        if seen.is_claimed()? {
            return Ok(None);
        }
        let mine = seen.claimed_by(me);
        let claimed = self
            .control()
            .compare_exchange(seen.0, mine.0, AcqRel, Relaxed); // O1, O3, O4, O5
        prim::release_fence(); // O2
        Ok(claimed.ok().map(|_| Claim(mine)))
    }

    /// What it is, for who claimed it. `None` if that is no value.
    #[inline]
    pub(super) fn read<T: CheckedBitPattern>(self, claim: &Claim) -> Option<T> {
        plain::read(self.copy(claim.0.version()))
    }

    /// Replaces it, and ends the claim. Whether that was still the caller's.
    #[inline]
    pub(super) fn commit<T: NoUninit>(self, claim: Claim, value: &T) -> bool {
        let next = claim.0.version().wrapping_add(1);
        copy::into_shared(self.copy(next), bytemuck::bytes_of(value)); // I1
        let is_ours = self.control().load(Relaxed) == claim.0.0;
        if is_ours {
            self.control().store(Control::free(next).0, Release); // O1, I2
        }
        is_ours
    }

    /// Ends the claim, and leaves the value as it is. Whether that was still the caller's.
    pub(super) fn let_go(self, claim: Claim) -> bool {
        let is_ours = self.control().load(Relaxed) == claim.0.0;
        if is_ours {
            let free = Control::free(claim.0.version());
            self.control().store(free.0, Release); // O5
        }
        is_ours
    }

    /// Frees the claim of the dead.
    pub(super) fn repair(self, dead: &Dead<'_>) -> Result<(), Damage> {
        let seen = Control(self.control().load(Acquire)); // O3: before `still`
        if !seen.is_claimed()? || seen.owner_bits() != dead.owner().bits() || !dead.still() {
            return Ok(());
        }
        let free = Control::free(seen.version().wrapping_add(2)); // I3
        // Fails when another sweeper was first.
        let _ = self
            .control()
            .compare_exchange(seen.0, free.0, Release, Relaxed); // O4
        Ok(())
    }

    /// Whether `owner` claims it.
    pub(super) fn names(self, owner: Owner) -> bool {
        let seen = Control(self.control().load(Relaxed));
        seen.0 & STATE != 0 && seen.owner_bits() == owner.bits()
    }

    /// As somebody sees it who orders nothing by it.
    #[cfg(all(test, loom))]
    pub(super) fn version(self) -> u64 {
        Control(self.control().load(Relaxed)).version()
    }

    /// What a writer does that dies in the middle.
    #[cfg(all(test, loom))]
    pub(super) fn write_half(self, word: u64) {
        let version = Control(self.control().load(Relaxed)).version();
        self.copy(version.wrapping_add(1))[0].store(word, Relaxed);
    }
}
