//! The broadcast's algorithm: bytes in, bytes out to everybody, without waiting. This file has what both sides share; `publish`,
//! `clear`, `read`, `cursors` and `repair` beside it the rest.
//!
//! # Layout
//!
//! Behind the object's header and slots:
//!
//! ```text
//!   0          128                            256
//!   ┌──────────┬──────────────────────────────┬────────────────────┬───────┬─────────┬───────┬──────────────┬───────────────┐
//!   │ tail     │ gate: closed·items·space·    │ cells[0..capacity] │ seats │ cursors │ notes │ slab, if any │ loans, if any │
//!   │          │       blocks                 │                    │       │         │       │              │               │
//!   └──────────┴──────────────────────────────┴────────────────────┴───────┴─────────┴───────┴──────────────┴───────────────┘
//!     publishers  who sleeps or closes          owner of the claim   subscribers       waiters
//!
//!   cell:  0     8        16
//!          ┌─────┬────────┬────────────────────────────────────────┐
//!          │ ctl │ length │ payload, or head:32 | generation:32    │  64, 128, 192 or 256 bytes
//!          └─────┴────────┴────────────────────────────────────────┘
//! ```
//!
//! A *position* counts messages since creation, as in a queue: `lap << shift | index`, with `index < capacity` and `1 << shift` the
//! next power of two. Lap 0 came to nothing before anybody came; the first message is in lap 1. The top two bits of `length` say in
//! which way the message is there (bit 63: in blocks; bit 62: in one block that was lent, see [`super::loan`]).
//!
//! Each cell is one claim word and no second one that says "done", unlike a queue's: a publisher then needs no look at a cell
//! before it claims it, as its word is FULL of the last lap whoever published it, and a short message is one cache line.
//!
//! # Invariants
//!
//! * I1. What a cell is, and for which position, is its [`Ctl`](super::cell::Ctl) alone. Publishers claim the first position that is not claimed, so before
//!   a claimed one all are claimed: positions are the one order that all subscribers see. `tail` is a hint: all positions before
//!   it are claimed. It may lag, and even go back.
//! * I2. Only the owner that the word names writes the rest of the cell.
//! * I3. A cell refers to blocks while it is LARGE, CLEARING or STALE. Only who claimed it CLEARING takes them, all of them, before
//!   it is LOST. A cell that refers to blocks is not claimed for the next lap.
//! * I4. No publish succeeds after a subscriber was told that all is over: a publish looks at `closed` after its claim, a subscriber
//!   before it looks at the cell.
//! * I5. Lossless: no cell is claimed, and no blocks are taken, while a subscriber has still to read it ([`super::cursors`]).
//!
//! # Ordering
//!
//! * O1. `ctl` store(Release) FULL → load(Acquire): the message is seen whole.
//! * O2. A reader changes nothing: `ctl` load(Acquire), message, fence(Acquire), `ctl` again. A publisher claims, fences, and writes.
//!   So who has read any of what the next one wrote finds another word. The fence also lets it write after the last one wrote.
//! * O3. `tail` store behind the fence of a claim → load(Acquire): who begins to walk there sees all before it claimed, and the cell there in
//!   no older lap.
//! * O4. A publish claims, fences and looks at `closed`; a subscriber looks at `closed`, fences and looks at the cell. One of the
//!   two sees the other (I4).
//! * O5. A cursor's `position` store(Release) → load(Acquire): what was read is overwritten after that. `limit`, which is private,
//!   hands that on from thread to thread.
//! * O6. A subscriber's advance is a plain store, and nothing orders it before its look for sleeping publishers but a *light fence*; the
//!   publisher announces itself, calls a *heavy fence*, and looks again. As O5 of a pipe's lane.
//! * O7. A claim(Release) → `ctl` load(Acquire) → `Dead::still`: what a later participant of the slot wrote is not taken for the dead one's (I3 of
//!   the participants).
//! * O8. What an owner leaves of a cell (LOST, STALE, VOID) is written with Release, and taken with a fence behind the claim: the next owner comes
//!   after it, and after the death of the last.
//! * O9. A subscriber's entry and a publisher's look at the cursors: either sees the other ([`super::cursors`]).
//! * O10. A cursor's `position`, then `turn`(Release) → load(Acquire): nobody takes the last subscriber's position for this one's.
//!
//! `tail` is stored, not exchanged: a hint need not be exact. The commit is a store as well: nobody but a repairer changes a
//! claimed cell, and a repairer has proof that its owner is dead. So the claim is the only read-modify-write of a publish of
//! a short message, and its fence serves O2 to O4, O8 and the sleepers: see `object/wait`, W1. A read has none.
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | before its claim | at most blocks of its own | the sweep frees them |
//! | after the claim, before `tail` moved | a hint that lags | who meets the cell walks on |
//! | with a loan | a block of its own | the sweep frees it |
//! | WRITING | a cell without a message | the sweep: VOID; readers pass over it |
//! | after the commit, before waking | a message and sleepers | the sweep wakes all |
//! | CLEARING | a message some of whose blocks are its own | the sweep: STALE; the next who needs them takes all |
//! | after LOST, before freeing | blocks of its own | the sweep frees them |
//! | subscribing, reading, leaving | a seat, in a lossless broadcast | the sweep frees it and wakes the publishers |
//!
//! A *stopped* publisher between claim and commit (some 20 ns) keeps subscribers waiting at its position, as all see one order, and
//! publishers that come round to it. A stopped subscriber of a lossless broadcast keeps publishers waiting once the ring is full.

use std::sync::Arc;

use super::{
    cell::{Cell, Pass, Seen, State},
    cursors::Cursors,
    geometry::{self, Geometry, Offsets},
};
use crate::{
    channel::gate::Gate,
    error::Damage,
    object::seat::{Activity, Seats, Visitor},
    os::membarrier::Meeting,
    prim::{self, Acquire, AtomicU64, Relaxed},
    region::{CacheLine, One, OutOfBounds, Region, Span},
    slab::Slab,
};

/// A ring of cells that any number of processes publish to, and each subscriber reads all of.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(super) geometry: Geometry,
    pub(super) shift: u32,
    pub(super) tail: One<CacheLine<AtomicU64>>,
    pub(super) gate: One<CacheLine<Gate>>,
    cells: Span<AtomicU64>,
    pub(super) cursors: Cursors,
    pub(super) slab: Option<Slab>,
    /// Blocks for messages that are written in place.
    pub(super) loans: Option<Slab>,
    /// Who waits.
    pub(crate) notes: Seats,
    pub(super) meeting: Meeting,
    /// Where the oldest message in blocks probably is. Private memory.
    pub(super) oldest_large: AtomicU64,
    /// The same, of messages that were written in place.
    pub(super) oldest_lent: AtomicU64,
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
        geometry::plan(geometry, participants)
            .ok_or(OutOfBounds)
            .and_then(|(at, _)| Self::at(region, at, geometry))
            .map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))
    }

    /// The ring that lies there.
    pub(super) fn at(
        region: &Arc<Region>,
        at: Offsets,
        geometry: Geometry,
    ) -> Result<Self, OutOfBounds> {
        let capacity = geometry.ring.capacity;
        Ok(Self {
            geometry,
            shift: geometry.ring.index_bits(),
            tail: region.one(at.tail)?,
            gate: region.one(at.gate)?,
            cells: region.span(at.cells, geometry.stride() * capacity)?,
            cursors: Cursors::new(
                Seats::new(region, at.seats, geometry.subscribers)?,
                region.span(at.cursors, geometry.subscribers)?,
                geometry.is_lossless,
            ),
            slab: at
                .rest
                .slab
                .map(|at| Slab::new(region, at, geometry.ring.slab))
                .transpose()?,
            loans: at
                .rest
                .loans
                .map(|at| Slab::new(region, at, geometry.ring.loans))
                .transpose()?,
            notes: Seats::new(region, at.rest.notes, geometry.ring.notes)?,
            meeting: Meeting::new(),
            oldest_large: AtomicU64::new(0),
            oldest_lent: AtomicU64::new(0),
            witnesses: prim::Witnesses::new(capacity),
        })
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    pub(super) fn is_lossless(&self) -> bool {
        self.geometry.is_lossless
    }

    #[inline]
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate.0
    }

    #[inline]
    pub(super) fn next(&self, position: u64) -> u64 {
        let index = position & (self.one_lap() - 1);
        if index + 1 < self.geometry.ring.capacity as u64 {
            position + 1
        } else {
            self.lap(position).wrapping_add(1) << self.shift
        }
    }

    #[inline]
    pub(super) fn lap(&self, position: u64) -> u64 {
        position >> self.shift
    }

    /// From a position to the same cell one lap later.
    #[inline]
    pub(super) fn one_lap(&self) -> u64 {
        1 << self.shift
    }

    /// Number of the cell that `position` falls on.
    #[inline]
    pub(super) fn index(&self, position: u64) -> usize {
        (position & (self.one_lap() - 1)) as usize
    }

    /// How many messages there are from one position to a later one, counting those that came to nothing.
    pub(super) fn distance(&self, from: u64, to: u64) -> u64 {
        self.count(to).wrapping_sub(self.count(from))
    }

    /// Positions before this one.
    fn count(&self, position: u64) -> u64 {
        self.lap(position)
            .wrapping_mul(self.geometry.ring.capacity as u64)
            .wrapping_add(self.index(position) as u64)
    }

    /// The cell that `position` falls on; a position from shared memory may fall beside all of them.
    #[inline]
    pub(super) fn cell(&self, position: u64) -> Result<Cell<'_>, Damage> {
        let stride = self.geometry.stride();
        let start = self.index(position) * stride;
        self.cells
            .get(start..start + stride)
            .and_then(Cell::new)
            .ok_or(Damage("a counter points beside the cells"))
    }

    pub(super) fn all_cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let cells = self.cells.chunks_exact(self.geometry.stride());
        cells.filter_map(Cell::new)
    }

    /// More steps than any walk over live counters takes; lies alone reach it.
    pub(super) fn budget(&self) -> u64 {
        4 * self.geometry.ring.capacity as u64 + 100_000
    }

    /// Where the next publish probably goes.
    #[inline]
    pub(super) fn tail(&self) -> u64 {
        self.tail.0.load(Acquire).max(self.one_lap()) // O3
    }

    /// Moves the hint on. Who pauses between look and store moves it back (I1).
    #[inline]
    pub(super) fn raise_tail(&self, to: u64) {
        if self.tail.0.load(Relaxed) < to {
            self.tail.0.store(to, Relaxed); // O3: after the claims' fence
        }
    }

    /// The first position from `from` on that nobody has claimed, and what its cell was seen to be.
    pub(super) fn first_unclaimed(&self, from: u64) -> Result<(u64, Seen), Damage> {
        let mut position = from;
        for _ in 0..self.budget() {
            let lap = self.lap(position);
            let seen = self.cell(position)?.look()?;
            position = match seen.ctl.pass(lap) {
                Pass::Same => self.next(position),
                // In the lap before the one seen, it was claimed, hence all before it (I1).
                Pass::Later => {
                    let ahead = seen.ctl.laps_ahead_of(lap).saturating_sub(1);
                    self.next(position.wrapping_add(ahead << self.shift))
                }
                Pass::Previous => return Ok((position, seen)),
                Pass::Impossible => {
                    return Err(Damage("the publish counter is ahead of the cells"));
                }
            };
        }
        Err(Damage("the publish counter never meets a cell"))
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.gate().closed.load(Relaxed) != 0
    }

    /// Lets no further publish succeed, in any process.
    pub(crate) fn close(&self) {
        // Relaxed: who sees it sees the claims of the closer's publishes, which fenced (O4).
        self.gate().closed.swap(1, Relaxed);
        self.wake_everybody();
    }

    pub(super) fn wake_everybody(&self) {
        let gate = self.gate();
        gate.items.wake_all();
        gate.space.wake_all();
        gate.blocks.wake_all();
    }

    /// Positions that publishers have claimed since creation.
    pub(crate) fn claimed(&self) -> u64 {
        let tail = self.find_tail().unwrap_or(self.tail());
        self.distance(self.one_lap(), tail)
    }

    /// Messages in the ring.
    pub(crate) fn len(&self) -> usize {
        let states = self.all_cells().filter_map(|cell| cell.look().ok());
        states
            .filter(|seen| matches!(seen.state, State::Full | State::Large))
            .count()
    }

    /// How many subscribers there are, as far as a lossless broadcast knows them.
    pub(crate) fn subscribers(&self) -> usize {
        self.cursors.count()
    }

    /// Bytes of the memory for large messages that are in use.
    pub(crate) fn memory_used(&self) -> usize {
        self.slab
            .as_ref()
            .map_or(0, |s| s.used() * s.geometry().block_bytes)
    }

    /// Who is at work on a cell, who has subscribed and who waits.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        let owners = self.all_cells().filter_map(|cell| {
            let seen = cell.look().ok()?;
            let is_claimed = matches!(seen.state, State::Writing | State::Clearing);
            is_claimed.then(|| Visitor {
                owner_bits: seen.ctl.owner_bits(),
                thread: 0,
                since_ns: 0,
                activity: Activity::Holding,
            })
        });
        owners
            .chain(self.cursors.seats.visitors(|_| true))
            .chain(self.notes.visitors(|_| true))
            .collect()
    }

    /// In what state it is, for people.
    pub(crate) fn describe(&self) -> String {
        let (len, capacity) = (self.len(), self.geometry.ring.capacity);
        let kind = if self.is_lossless() {
            let (count, most) = (self.subscribers(), self.geometry.subscribers);
            format!("lossless to {count} of {most}")
        } else {
            "lossy".to_owned()
        };
        let in_blocks = match self.memory_used() {
            0 => String::new(),
            used => format!(", {used} bytes in blocks"),
        };
        let loans = match self.geometry.ring.loans.blocks {
            0 => String::new(),
            count => format!(", {} of {count} loans in use", self.loans_used()),
        };
        let closed = if self.is_closed() { ", closed" } else { "" };
        let published = self.claimed();
        format!("{len}/{capacity}, {kind}, {published} published{in_blocks}{loans}{closed}")
    }
}
