//! The queue's algorithm: bytes in, bytes out, without waiting. This file has what both sides share; `put`, `get`, `look`
//! and `repair` beside it the rest.
//!
//! # Layout
//!
//! Behind the object's header and slots:
//!
//! ```text
//!   0          128        256                                      384
//!   ┌──────────┬──────────┬────────────────────────────────────────┬────────────────────┬───────┬──────────────┬───────────────┐
//!   │ tail     │ head     │ gate: closed·items·space·blocks·orphans│ cells[0..capacity] │ notes │ slab, if any │ loans, if any │
//!   └──────────┴──────────┴────────────────────────────────────────┴────────────────────┴───────┴──────────────┴───────────────┘
//!     producers  consumers  who sleeps or closes                     owner of the claim   waiters
//!
//!   cell:  0     8                                        −16      −8
//!          ┌─────┬────────────────────────────────────────┬────────┬──────┐
//!          │ ctl │ payload, or head:32 | generation:32    │ length │ done │  128, 192 or 256 bytes, and 64 between two
//!          └─────┴────────────────────────────────────────┴────────┴──────┘
//! ```
//!
//! A *position* counts messages since creation: `lap << shift | index`, with `index < capacity` and `1 << shift` the next
//! power of two. Any capacity therefore works without division. Neighbours in this order are scattered over the cells
//! (`channel/places`).
//!
//! # Invariants
//!
//! * I1. What a cell is, and for which position, is its [`Ctl`] and its done word alone. `head` and `tail` are hints: every
//!   position before `tail` was claimed by a producer, every position before `head` was claimed by a consumer or came to
//!   nothing. They may lag, and even go back, but never too far ahead. Producers claim the first position that is free, so
//!   before a claimed one all are claimed.
//! * I2. Only the owner that `ctl` names writes the rest of the cell; when it is FULL, nobody does.
//! * I3. ORPHAN cells may lie before `head`. A repair pass that made or saw one counts `orphans` up before the dead one's
//!   slot is free, and so does a get that is given up. A look at every cell that began after some count and found none raises `orphans_done` to that count. Both
//!   only grow: while they differ, gets look for orphans first.
//! * I4. No put succeeds after a get said Closed: a put looks at `closed` after its claim, a get before it looks at the cell.
//!
//! # Ordering
//!
//! * O1. `done` store(Release) → load(Acquire), or load and the fence behind the claim: the message is seen whole.
//! * O2. `ctl` store(Release) FREE → `ctl` exchange WRITING and the fence of O4: the next message is written after the last
//!   was read.
//! * O3. Real time. What was claimed or finished before a put began is seen so by who sees that put finished. The put began
//!   behind it: at a `tail` that was stored after the fence of some claim, or behind cells that it walked over
//!   (load(Acquire) of their claims(Release)). It then claims, fences, and stores `done`(Release). So who looks at a cell
//!   after it saw a later one finished (load(Acquire)) sees whether it was first.
//! * O4. A put claims, fences and looks at `closed`; a get looks at `closed`, fences and looks at every cell. One of the two
//!   sees the other (I4).
//! * O5. `orphans` fetch_add(Release) → load(Acquire): who sees the count sees the cell.
//! * O6. A look without a claim: `ctl` load(Acquire), payload, fence(Acquire), `ctl` again. If it is the same, nobody wrote
//!   in between.
//! * O7. `ctl` load(Acquire) → `Dead::still`: what a later participant of the slot wrote is not taken for the dead one's
//!   (I3 of the participants).
//! * O8. A sweeper's TOMB, and every ORPHAN, is written with Release, for O2: what the dead wrote or read comes before the next write.
//!
//! `head` and `tail` are Relaxed, and stored, not exchanged: a hint need not be exact. The commit is a store as well:
//! nobody but a repairer changes a claimed cell, and a repairer has proof that its owner is dead. So the claim is the only
//! read-modify-write of a put or get of a short message, and its fence serves O2 to O4 and the sleepers: see `object/wait`, W1.
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | before its claim | at most blocks of its own | the sweep frees them |
//! | after the claim, before `tail` or `head` moved | a hint that lags | who meets the cell walks on |
//! | WRITING, not done | a cell without a message | the sweep: TOMB; whoever meets it frees it |
//! | after `done`, before waking | a message and sleepers | the sweep wakes all |
//! | READING | a message half taken | the sweep: ORPHAN; the next get delivers it |
//! | with a loan, or a reference to a message | a block of its own | the sweep frees it |
//! | after FREE | it was delivered | the sweep frees the blocks |
//!
//! Gets pass over the cell of a *stopped* producer (`take_past`). Producers that come round to the cell of any stopped
//! process find the queue full until it goes on or dies.

use std::sync::Arc;

use super::{
    cell::{Cell, Ctl, State},
    geometry,
};
use crate::{
    channel::{gate::Gate, geometry::Geometry, places::Places},
    error::Damage,
    object::{participant::Repair, seat::Seats},
    prim::{self, AtomicU64, Relaxed},
    region::{CacheLine, One, OutOfBounds, Region, Span},
    slab::Slab,
};

/// A bounded ring of cells that any number of processes put to and get from.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(super) geometry: Geometry,
    pub(super) shift: u32,
    /// Where each index has its cell.
    places: Places,
    pub(super) tail: One<CacheLine<AtomicU64>>,
    pub(super) head: One<CacheLine<AtomicU64>>,
    pub(super) gate: One<CacheLine<Gate>>,
    pub(super) cells: Span<AtomicU64>,
    pub(super) slab: Option<Slab>,
    /// Blocks for messages that are written in place.
    pub(super) loans: Option<Slab>,
    /// Who waits.
    pub(crate) notes: Seats,
    /// One for each cell's payload.
    pub(super) witnesses: prim::Witnesses,
}

impl Ring {
    /// The ring in `region`, which is new or was used before.
    pub(crate) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        participants: u32,
    ) -> Result<Self, Damage> {
        let build = || -> Result<Self, OutOfBounds> {
            let (at, _) = geometry::plan(geometry, participants).ok_or(OutOfBounds)?;
            Ok(Self {
                geometry,
                shift: geometry.index_bits(),
                places: Places::new(geometry.capacity),
                tail: region.one(at.tail)?,
                head: region.one(at.head)?,
                gate: region.one(at.gate)?,
                cells: region.span(at.cells, geometry::stride(geometry) * geometry.capacity)?,
                slab: at
                    .rest
                    .slab
                    .map(|at| Slab::new(region, at, geometry.slab))
                    .transpose()?,
                loans: at
                    .rest
                    .loans
                    .map(|at| Slab::new(region, at, geometry.loans))
                    .transpose()?,
                notes: Seats::new(region, at.rest.notes, geometry.notes)?,
                witnesses: prim::Witnesses::new(geometry.capacity),
            })
        };
        build().map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate.0
    }

    #[inline]
    pub(super) fn next(&self, position: u64) -> u64 {
        let index = position & ((1 << self.shift) - 1);
        if index + 1 < self.geometry.capacity as u64 {
            position + 1
        } else {
            self.lap(position).wrapping_add(1) << self.shift
        }
    }

    #[inline]
    pub(super) fn lap(&self, position: u64) -> u64 {
        position >> self.shift
    }

    /// Number of the cell that `position` falls on.
    #[inline]
    pub(super) fn index(&self, position: u64) -> usize {
        (position & ((1 << self.shift) - 1)) as usize
    }

    /// The cell that `position` falls on; a position from shared memory may fall beside all of them.
    #[inline]
    pub(super) fn cell(&self, position: u64) -> Result<Cell<'_>, Damage> {
        let start = self.places.of(self.index(position)) * geometry::stride(self.geometry);
        self.cells
            .get(start..start + geometry::cell_words(self.geometry))
            .and_then(Cell::new)
            .ok_or(Damage("a counter points beside the cells"))
    }

    /// All cells, in the order of their indices.
    pub(super) fn all_cells(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..self.geometry.capacity as u64).filter_map(|index| self.cell(index).ok())
    }

    /// More steps than any walk over live counters takes; lies alone reach it.
    pub(super) fn budget(&self) -> u64 {
        4 * self.geometry.capacity as u64 + 100_000
    }

    /// Where the next put probably goes.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.0.load(Relaxed)
    }

    /// Where the next get probably goes.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.head.0.load(Relaxed)
    }

    /// Moves a hint on. Who pauses between look and store moves it back (I1).
    #[inline]
    pub(super) fn raise(hint: &AtomicU64, to: u64) {
        if hint.load(Relaxed) < to {
            hint.store(to, Relaxed);
        }
    }

    /// TOMB → FREE for the next pass.
    #[cold]
    pub(super) fn clear_tomb(&self, cell: Cell<'_>, seen: Ctl) {
        let free = Ctl::free(seen.lap().wrapping_add(1));
        if cell
            .ctl()
            .compare_exchange(seen.0, free.0, Relaxed, Relaxed) // O2: goes on with the repairer's release
            .is_ok()
        {
            self.gate().space.wake(1);
        }
    }

    /// Whether there may be orphans.
    #[inline]
    pub(super) fn has_orphans(&self) -> bool {
        let gate = self.gate();
        gate.orphans.load(Relaxed) != gate.orphans_done.load(Relaxed)
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.gate().closed.load(Relaxed) != 0
    }

    /// Lets no further put succeed, in any process.
    pub(crate) fn close(&self) {
        // Relaxed: a get that sees it sees the claims of the closer's puts, which fenced (O4).
        self.gate().closed.swap(1, Relaxed);
        self.wake_all();
    }

    /// Whether no message is, or will be, in a closed queue. A message that somebody is reading may yet come back.
    #[cold]
    pub(super) fn is_drained(&self) -> Result<bool, Damage> {
        prim::full_fence(); // O4: between the look at `closed`, which the caller has had, and the look at the cells
        for cell in self.all_cells() {
            match cell.look()?.state {
                State::Free | State::Tomb => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Positions that producers have claimed since creation.
    pub(crate) fn claimed(&self) -> u64 {
        let hint = self.tail();
        let tail = self
            .first_unclaimed(hint)
            .map_or(hint, |(position, ..)| position);
        self.lap(tail)
            .wrapping_mul(self.geometry.capacity as u64)
            .wrapping_add(self.index(tail) as u64)
    }

    /// Messages waiting to be delivered again.
    pub(crate) fn orphans(&self) -> usize {
        self.all_states()
            .filter(|&state| state == State::Orphan)
            .count()
    }

    /// What the cells are that are in a known state.
    pub(super) fn all_states(&self) -> impl Iterator<Item = State> {
        self.all_cells()
            .filter_map(|cell| cell.look().ok().map(|seen| seen.state))
    }

    /// Bytes of the memory for large messages that are in use.
    pub(crate) fn memory_used(&self) -> usize {
        self.slab
            .as_ref()
            .map_or(0, |s| s.used() * s.geometry().block_bytes)
    }
}
