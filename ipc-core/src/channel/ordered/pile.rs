//! The algorithm of both ordered queues: bytes in, bytes out, without waiting. This file has what both sides share; `put`,
//! `get`, `look` and `repair` beside it the rest.
//!
//! # Layout
//!
//! Behind the object's header and slots:
//!
//! ```text
//!   0       128                                  256             384
//!   ┌───────┬────────────────────────────────────┬───────────────┬────────────┬───────────────────┬─────────────────┬──────┐
//!   │ lock  │ gate: closed·items·space·blocks·…  │ length · puts │ taken bits │ entries[0..length]│ cells[0..capac.]│ rest │
//!   └───────┴────────────────────────────────────┴───────────────┴────────────┴───────────────────┴─────────────────┴──────┘
//!    holder   who sleeps or closes                 the lock's      anybody      the lock's holder   owner of the claim
//!                                                  holder
//!   cell:  0     8          16         24       32
//!          ┌─────┬──────────┬──────────┬────────┬────────────────────────────────────────┐
//!          │ ctl │ priority │ sequence │ length │ payload, or head:32 | generation:32    │  64, 128, 192 or 256 bytes
//!          └─────┴──────────┴──────────┴────────┴────────────────────────────────────────┘
//! ```
//!
//! A *position* names a message for the slab: `lap << shift | index`, with `1 << shift` the power of two next to the capacity.
//!
//! # Invariants
//!
//! * I1. The cells are the truth: what is in the queue, their claim words alone say ([`Ctl`]). The order is an index over the FULL
//!   cells ([`super::order`]), the taken bits over the FREE ones ([`super::room`]).
//! * I2. Only the owner that `ctl` names writes the rest of a cell. WRITING becomes FULL, and FULL becomes READING, only in the
//!   hand of who holds the lock.
//! * I3. Who takes the lock makes the order anew if its last holder did not come to its end, or if `orphans` is ahead of
//!   `orphans_done`. Each sweep of a dead participant counts `orphans` up before its slot is free, and so does a get that is given
//!   up: both may leave FULL cells that the order does not name.
//! * I4. No put succeeds after a get said Closed: both look at `closed` in the lock.
//!
//! # Ordering
//!
//! * O1. The lock, release(Release) → acquisition(Acquire): the order, and what is in the cells that it names.
//! * O2. `ctl` store(Release) FREE → exchange WRITING and the fence behind it: the next message is written after the last was read.
//!   (Most often the taken bit orders them, but see I2 of the room.)
//! * O3. `ctl` store or exchange(Release) by who claims → load(Acquire) → `Dead::still`: what a later participant of the slot wrote is
//!   not taken for the dead one's (I3 of the participants).
//! * O4. `ctl` store or exchange(Release) of a message that came back → load(Acquire) by who makes the order anew: what its last
//!   reader did comes before what its next one does. `orphans` fetch_add(Release) → load(Acquire): who sees the count sees the cell.
//! * O5. A look without a claim: `ctl`, payload, fence(Acquire), `ctl` again. If it is the same, nobody wrote in between: a
//!   producer fences between claim and payload.
//!
//! The commit of a put is a Relaxed store, as the lock's release follows. The lock also stands for the fences of W1: a getter announces
//! itself, takes the lock and finds nothing in the order; so whoever takes the lock after that and puts sees the announcement (O1).
//! One that finds the lock held is not certain to be woken, and naps.
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | before its claim | a taken bit, blocks of its own | the sweep clears and frees them |
//! | WRITING | a cell without a message | the sweep: FREE |
//! | in the lock, before the commit | an order half changed, a cell WRITING | the sweep: FREE; the next holder makes the order anew |
//! | after the commit (FULL) | a message, perhaps not in the order, and sleepers | as above, and the sweep wakes all |
//! | READING, in the lock or not | a message half taken | the sweep: FULL, where it was in the order |
//! | after FREE | it was delivered | the sweep clears the bit and frees the blocks |
//!
//! Who is *stopped* in the lock delays all puts and gets until it goes on or dies. The lock is held for some tens of nanoseconds: no
//! payload is copied in it. Who is stopped elsewhere has its one cell, and delays nobody.

use std::sync::Arc;

use super::{
    cell::{Cell, Ctl, State},
    geometry,
    order::{Discipline, Entry, Order},
    room::{self, Room},
};
use crate::{
    channel::{contents::Contents, gate::Gate, geometry::Geometry},
    error::Damage,
    object::{
        participant::{Owner, Repair},
        seat::Seats,
    },
    prim::{self, Acquire, AtomicU64, Relaxed, Release},
    region::{CacheLine, One, OutOfBounds, Region, Span},
    slab::Slab,
    sync::{
        frame::Head,
        hold::{Held, Leaving},
        lock,
    },
};

/// Cells, and an order over them.
#[derive(Debug)]
pub(crate) struct Pile {
    pub(super) geometry: Geometry,
    pub(super) shift: u32,
    head: One<CacheLine<Head>>,
    gate: One<CacheLine<Gate>>,
    pub(super) order: Order,
    pub(super) room: Room,
    pub(super) cells: Span<AtomicU64>,
    pub(super) slab: Option<Slab>,
    /// Who waits.
    pub(crate) notes: Seats,
    /// One for each cell's payload.
    pub(super) witnesses: prim::Witnesses,
}

impl Pile {
    /// The pile in `region`, which is new or was used before.
    pub(crate) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        participants: u32,
        discipline: Discipline,
    ) -> Result<Self, Damage> {
        let build = || -> Result<Self, OutOfBounds> {
            let (at, _) = geometry::plan(geometry, participants).ok_or(OutOfBounds)?;
            let counts = region.one(at.counts)?;
            let entries = region.span(at.entries, geometry.capacity)?;
            let taken = region.span(at.taken, room::words(geometry.capacity))?;
            let words = geometry::stride(geometry) * geometry.capacity;
            Ok(Self {
                geometry,
                shift: geometry.index_bits(),
                head: region.one(at.head)?,
                gate: region.one(at.gate)?,
                order: Order::new(discipline, counts, entries),
                room: Room::new(taken, geometry.capacity),
                cells: region.span(at.cells, words)?,
                slab: at
                    .rest
                    .slab
                    .map(|at| Slab::new(region, at, geometry.slab))
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
    pub(crate) fn head(&self) -> &Head {
        &self.head.0
    }

    #[inline]
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate.0
    }

    /// The cell of this number, which may come from shared memory.
    #[inline]
    pub(super) fn cell(&self, index: u64) -> Result<Cell<'_>, Damage> {
        let stride = geometry::stride(self.geometry);
        let start = usize::try_from(index)
            .ok()
            .and_then(|i| i.checked_mul(stride));
        start
            .and_then(|start| self.cells.get(start..start + stride))
            .and_then(Cell::new)
            .ok_or(Damage("the order names a cell that does not exist"))
    }

    /// All cells, with their numbers.
    pub(super) fn all_cells(&self) -> impl Iterator<Item = (usize, Cell<'_>)> {
        let cells = self.cells.chunks_exact(geometry::stride(self.geometry));
        cells.filter_map(Cell::new).enumerate()
    }

    /// Names a message for the slab.
    pub(super) fn position(&self, index: u64, ctl: Ctl) -> u64 {
        ctl.lap() << self.shift | index
    }

    pub(super) fn contents(&self, cell: Cell<'_>) -> Result<Contents<'_>, Damage> {
        Contents::of(cell.payload(), cell.length(), self.slab.as_ref(), None)
    }

    /// Gives up a claimed cell, with whatever is in it.
    pub(super) fn free(&self, index: usize, ctl: Ctl) -> Result<(), Damage> {
        self.cell(index as u64)?.ctl().store(ctl.freed().0, Release); // O2
        self.room.give(index);
        self.gate().space.wake(1);
        Ok(())
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.gate().closed.load(Relaxed) != 0
    }

    /// Lets no further put succeed, in any process.
    pub(crate) fn close(&self) {
        self.gate().closed.swap(1, Relaxed);
        self.wake_all();
    }

    /// Takes the lock, after which the order is as the cells are; `None` if somebody has it. Who is patient spins a little.
    pub(super) fn try_lock(&self, me: Owner, is_patient: bool) -> Result<Option<Hold<'_>>, Damage> {
        let head = self.head();
        let contended = || {
            if is_patient {
                lock::compete(head, me)
            } else {
                None
            }
        };
        let Some(held) = head.try_hold(me).or_else(contended) else {
            return Ok(None);
        };
        let hold = Hold {
            pile: self,
            held,
            is_sound: false,
        };
        if held.word.is_inconsistent() || self.has_orphans() {
            self.remake_order()?;
        }
        Ok(Some(hold))
    }

    /// Whether there may be messages that the order does not name.
    pub(super) fn has_orphans(&self) -> bool {
        let gate = self.gate();
        gate.orphans.load(Relaxed) != gate.orphans_done.load(Relaxed)
    }

    /// Says that there may be messages that the order does not name.
    pub(super) fn count_orphans(&self) {
        self.gate().orphans.fetch_add(1, Release); // O4, I3
    }

    /// For who holds the lock.
    #[cold]
    fn remake_order(&self) -> Result<(), Damage> {
        let gate = self.gate();
        let count = gate.orphans.load(Acquire); // O4: before the looks
        let mut messages = Vec::new();
        for (index, cell) in self.all_cells() {
            if cell.look()?.state == State::Full {
                messages.push(Entry {
                    priority: cell.priority().load(Relaxed) as i64,
                    sequence: cell.sequence().load(Relaxed),
                    index: index as u64,
                });
            }
        }
        self.order.remake(messages);
        gate.orphans_done.store(count, Relaxed);
        Ok(())
    }
}

/// The lock, held. Dropped without [`Self::release`], it has the next holder make the order anew.
#[derive(Debug)]
pub(super) struct Hold<'a> {
    pile: &'a Pile,
    held: Held,
    is_sound: bool,
}

impl Hold<'_> {
    /// Gives the lock back, with the order as the cells are. Wakes one who waits for it.
    pub(super) fn release(mut self) {
        self.is_sound = true;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let leaving = Leaving {
            is_inconsistent: !self.is_sound,
            has_written: false,
        };
        // Not ours any more only if somebody lied; then nothing that the order says is believed without a look at the cell.
        let _ = self.pile.head().release(self.held, leaving, 1);
    }
}
