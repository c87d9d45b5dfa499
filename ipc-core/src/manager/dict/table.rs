//! The table: bytes to bytes, without waiting. This file has what all operations share; `find` reads, `change` writes, `resize` makes arrays
//! anew, `repair` is for the dead.
//!
//! # Layout
//!
//! Behind the object's header and slots:
//!
//! ```text
//!   ┌───────┬──────────────────┬──────────────────────────────────┬───────┬─────┬─────────────────────────┐
//!   │ facts │ root[0..stripes] │ stripe[0..stripes], 64 B each    │ notes │ log │ heap: arrays and pairs  │
//!   └───────┴──────────────────┴──────────────────────────────────┴───────┴─────┴─────────────────────────┘
//!     hints   lock's holder      lock · used · gone                 who waits  what was changed
//!
//!   hash of a key:  stripe:up to 16 | tag:16 | -        root: slots / 8:16 | name of the array:48
//!   an array: slots, each tag:16 | name of the pair:48
//! ```
//!
//! Each stripe is a table of its own: an array in the heap, searched from the place on that the tag tells, up to a slot that was never used.
//! A stripe that is full gets another array, which costs some microseconds: there are so many stripes that none grows long. As the tag is in
//! the slot, that needs no look at the pairs. (So nothing ever pauses for long, and there is no second table of the whole beside the first,
//! as where a table doubles; and nothing is half split, as in linear or extendible hashing.)
//!
//! # Invariants
//!
//! * I1. Only who holds a stripe's lock writes its root, its slots and its counts, and takes pairs out of it.
//! * I2. Each change is one store of a slot, to the name of a pair that is never written again. So whoever is killed leaves it done or
//!   not begun. A root, too, changes by one store, to an array that has all slots of the last one.
//! * I3. Pairs and arrays are items of the heap, in the order that its I2 wants: published after the store, claimed before it.
//! * I4. The counts are hints for who may hold the lock next, exact unless a holder died: the next one is warned by the lock, and counts.
//!
//! * I5. Once the dictionary is watched, whoever changes a slot appends an entry to the log before it releases the stripe; or it counts
//!   `untold` up, as do survivors for a stripe whose holder died. So no change goes by without one or the other.
//!
//! # Ordering
//!
//! * O1. `root` store(Release) → load(Acquire): who sees an array sees its slots. A reader looks at the root again behind a fence
//!   (Acquire): if it is the same, the slots that he read were the stripe's.
//! * O2. A slot store(Release) → load(Acquire): who sees a name sees the pair (O2 of the heap, which also says how a reader knows that
//!   the pair was whole).
//! * O3. `untold` fetch_add(Release) → load(Acquire): who is told that it missed something, and looks again, sees it.
//! * O4. `watch`, SETTLED, store(Release) → load(Acquire): who finds it need not lock all stripes himself (see [`super::news`]).
//!
//! A lookup that finds takes effect when it read the slot; one that does not, between its two looks at the root: a key that was there all
//! the time has its slot in the array all the time, at one place. All else is Relaxed, or ordered by the lock.
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | before the store of the slot | an item of its own | the sweep frees it |
//! | after it | an item of its own in the table, or one out of it; wrong counts | the sweep publishes or frees it; the next holder counts |
//! | after it, while somebody watches | a change that nobody was told of, perhaps | the sweep counts `untold` up before it frees the stripe |
//! | making an array | an item of its own, root or not | the same |
//!
//! The sweep repairs the heap first, while the stripes of the dead are still locked, so that nobody takes the pairs over meanwhile.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    geometry::{self, Geometry},
    slot::{Hashed, Root, Slot},
};
use crate::{
    channel::broadcast::log::{Appended, Log},
    error::Damage,
    object::{
        participant::Owner,
        seat::{Seats, Visitor},
    },
    prim::{Acquire, AtomicU64, Relaxed},
    region::{CacheLine, One, OutOfBounds, Region, Span, Together},
    slab::heap::{AllocError, Heap},
    sync::{
        frame::Head,
        hold::{Held, Leaving},
        lock,
    },
};

/// A lock, and how many slots of the stripe are in use, or were and are not.
pub(super) type Stripe = Together<Head, [AtomicU64; 4]>;
#[cfg(not(loom))]
const _: () = assert!(size_of::<Stripe>() == 64);
const USED: usize = 0;
const GONE: usize = 1;

/// Words of `facts`.
pub(super) const HAS_EXPIRY: usize = 0;
pub(super) const WATCH: usize = 1;
pub(super) const UNTOLD: usize = 2;

/// Why an operation came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody holds the stripe.
    Held(usize),
    /// Somebody lets the heap grow.
    Growing,
    Full {
        needed: u64,
        available: u64,
    },
    TooLarge,
    Damage(Damage),
}

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<AllocError> for Refusal {
    fn from(e: AllocError) -> Self {
        match e {
            AllocError::Full { needed, available } => Self::Full { needed, available },
            AllocError::TooLarge => Self::TooLarge,
            AllocError::Busy => Self::Growing,
            AllocError::Damage(damage) => Self::Damage(damage),
        }
    }
}

/// Stripes over a heap.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) geometry: Geometry,
    pub(super) facts: One<CacheLine<[AtomicU64; 8]>>,
    pub(super) roots: Span<AtomicU64>,
    stripes: Span<Stripe>,
    pub(super) heap: Heap,
    /// Who waits.
    pub(crate) notes: Seats,
    /// What was changed, for who watches.
    pub(super) log: Log,
}

impl Table {
    /// The table in `region`, which is new or was used before.
    pub(super) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        participants: u32,
    ) -> Result<Self, Damage> {
        let build = || -> Result<Self, OutOfBounds> {
            let (at, _) = geometry::plan(geometry, participants).ok_or(OutOfBounds)?;
            Ok(Self {
                geometry,
                facts: region.one(at.facts)?,
                roots: region.span(at.roots, geometry.stripes)?,
                stripes: region.span(at.stripes, geometry.stripes)?,
                heap: Heap::new(region, at.heap, geometry.heap)?,
                notes: Seats::new(region, at.notes, geometry.notes)?,
                log: Log::over(region, at.log, geometry.log)?,
            })
        };
        build().map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))
    }

    /// Where a key belongs.
    #[inline]
    pub(super) fn hashed(&self, key: &[u8]) -> Hashed {
        let hash = xxh3_64_with_seed(key, self.geometry.seed);
        Hashed::of(hash, self.geometry.stripe_bits())
    }

    #[inline]
    pub(super) fn root(&self, stripe: usize) -> Root {
        Root(self.roots[stripe].load(Acquire)) // O1
    }

    /// The slots of an array; `None` if it has none, or lies.
    #[inline]
    pub(super) fn slots(&self, root: Root) -> Option<&[AtomicU64]> {
        self.heap.words_of_block(root.name()?, root.slots())
    }

    pub(crate) fn lock_of(&self, stripe: usize) -> &Head {
        &self.stripes[stripe].0
    }

    fn count(&self, stripe: usize, of: usize) -> &AtomicU64 {
        &self.stripes[stripe].1[of]
    }

    /// Pairs in a stripe; those that have expired count.
    fn len_of(&self, stripe: usize) -> usize {
        if self.lock_of(stripe).is_inconsistent() {
            return self.recount(stripe).0; // its last holder died
        }
        // No array has more, whatever the count says.
        self.count(stripe, USED)
            .load(Relaxed)
            .min(Root::MOST as u64) as usize
    }

    /// How many pairs there are.
    pub(crate) fn len(&self) -> usize {
        (0..self.geometry.stripes).map(|s| self.len_of(s)).sum()
    }

    /// Slots in use, and slots that were.
    fn recount(&self, stripe: usize) -> (usize, usize) {
        let slots = self.slots(self.root(stripe)).unwrap_or_default();
        let (mut used, mut gone) = (0, 0);
        for slot in slots.iter().map(|slot| Slot(slot.load(Relaxed))) {
            used += usize::from(slot.name().is_some());
            gone += usize::from(slot == Slot::GONE);
        }
        (used, gone)
    }

    /// Takes a stripe's lock, if it is free or becomes free soon.
    #[inline]
    pub(super) fn lock(
        &self,
        me: Owner,
        stripe: usize,
        is_patient: bool,
    ) -> Result<Locked<'_>, Refusal> {
        let head = self.lock_of(stripe);
        let held = match head.try_hold(me) {
            Some(held) => held,
            None if is_patient => lock::compete(head, me).ok_or(Refusal::Held(stripe))?,
            None => return Err(Refusal::Held(stripe)),
        };
        let (used, gone) = if held.word.is_inconsistent() {
            self.recount(stripe) // I4
        } else {
            // No array has more, whatever the counts say.
            let most = Root::MOST as u64;
            let count = |of| self.count(stripe, of).load(Relaxed).min(most) as usize;
            (count(USED), count(GONE))
        };
        Ok(Locked {
            table: self,
            me,
            stripe,
            held,
            used,
            gone,
            told: None,
        })
    }

    /// Who holds a stripe, or waits for one.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        let holders = self.stripes.iter().filter_map(|stripe| stripe.0.holder());
        holders
            .chain(self.notes.visitors(|_| true))
            .chain(self.log.visitors())
            .collect()
    }

    pub(super) fn stripes(&self) -> usize {
        self.geometry.stripes
    }

    /// Each figure at its own instant.
    pub(crate) fn stat(&self) -> super::DictStat {
        let (used, allocated) = self.heap.usage();
        super::DictStat {
            len: self.len(),
            used,
            allocated,
            limit: self.geometry.heap.bytes(),
        }
    }

    /// In a word or two, for people.
    pub(crate) fn describe(&self) -> String {
        let (used, allocated) = self.heap.usage();
        let limit = self.geometry.heap.bytes();
        let len = self.len();
        let plural = if len == 1 { "" } else { "s" };
        format!("{len} pair{plural} in {used} bytes, {allocated} allocated, {limit} at the most")
    }
}

/// A stripe whose lock this thread holds.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    pub(super) table: &'a Table,
    pub(super) me: Owner,
    pub(super) stripe: usize,
    held: Held,
    pub(super) used: usize,
    /// Slots that were in use and are not.
    pub(super) gone: usize,
    /// Entries of the log that nobody was woken for yet.
    pub(super) told: Option<Appended>,
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.table
            .count(self.stripe, USED)
            .store(self.used as u64, Relaxed);
        self.table
            .count(self.stripe, GONE)
            .store(self.gone as u64, Relaxed);
        let leaving = Leaving {
            is_inconsistent: false,
            has_written: false,
        };
        self.table
            .lock_of(self.stripe)
            .release(self.held, leaving, 1);
        if let Some(told) = &self.told {
            self.table.log.announce(told);
        }
    }
}
