//! The ring, and the table of what was taken out of it: what a joinable queue is in shared memory.

use std::sync::Arc;

use super::{
    record::{Meta, State},
    table::{self, Table},
    terms::Terms,
};
use crate::{
    channel::{
        geometry::Geometry,
        queue::{self, ring::Ring},
    },
    error::Damage,
    os::fork::Process,
    region::{Fresh, OutOfBounds, Region, identity::Facts},
};

/// Both parts.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) ring: Arc<Ring>,
    pub(super) table: Table,
}

/// A job that a thread of this process works on.
///
/// Small, and without parts of its own: what is moved about right after it was written is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// LEASED, by this process.
    pub(super) meta: Meta,
    pub(super) index: u32,
    pub(super) attempt: u32,
    /// Whose it is. A forked child has a copy, which is no lease of its own.
    pub(super) process: Process,
    /// Whether the message is in blocks, which are this process's.
    pub(super) is_large: bool,
}

/// Bytes of the file that such a queue needs.
pub(super) fn file_bytes(geometry: Geometry, participants: u32, terms: Terms) -> Option<usize> {
    let queue = queue::geometry::file_bytes(geometry, participants)?;
    table::file_bytes(queue, geometry, terms)
}

/// Begins the life of the table.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
    terms: Terms,
) -> Result<(), OutOfBounds> {
    let queue = queue::geometry::file_bytes(geometry, participants).ok_or(OutOfBounds)?;
    table::place(fresh, queue, geometry, terms)
}

/// Builds both over an object's memory.
pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Jobs>, Damage> {
    // Where other queues say what they lend, the terms are.
    let [capacity, inline, block, blocks, notes, terms @ ..] = facts.geometry;
    let of_ring = [capacity, inline, block, blocks, notes, 0, 0, 0];
    let geometry = Geometry::from_words(&of_ring, &queue::geometry::CELLS)?;
    let terms = Terms::from_words(terms)?;
    let ring = Ring::over(region, geometry, facts.participants).map(Arc::new)?;
    Jobs::over(region, ring, geometry, facts.participants, terms).map(Arc::new)
}

impl Jobs {
    pub(super) fn over(
        region: &Arc<Region>,
        ring: Arc<Ring>,
        geometry: Geometry,
        participants: u32,
        terms: Terms,
    ) -> Result<Self, Damage> {
        let queue = queue::geometry::file_bytes(geometry, participants)
            .ok_or(Damage("its geometry is impossible"))?;
        let table = Table::over(region, queue, geometry, terms)?;
        Ok(Self { ring, table })
    }

    /// How many jobs there are at the most: a bound for loops that deal with one at a time.
    pub(super) fn most(&self) -> usize {
        self.ring.geometry().capacity + self.table.terms.leases
    }

    /// Jobs that wait for a worker.
    pub(crate) fn waiting(&self) -> usize {
        self.ring.len() + self.table.count(|state| state == State::Ready)
    }

    /// Jobs that somebody works on, or is about to.
    pub(crate) fn leased(&self) -> usize {
        self.table
            .count(|state| matches!(state, State::Leased | State::Taking))
    }

    /// Jobs that wait for another attempt.
    pub(crate) fn returned(&self) -> usize {
        self.table.count(|state| state == State::Ready)
    }

    pub(crate) fn dead(&self) -> usize {
        self.table
            .count(|state| matches!(state, State::Dead | State::Removing))
    }

    /// Whether somebody may be asleep until a job is finished.
    pub(crate) fn has_sleepers(&self) -> bool {
        let desk = self.table.desk();
        desk.room.has_sleepers() || desk.finished.has_sleepers()
    }

    pub(crate) fn terms(&self) -> Terms {
        self.table.terms
    }

    /// Lets no further put succeed, in any process.
    pub(super) fn close(&self) {
        self.ring.close();
        // Gets that wait for room wait for an end from now on.
        self.table.desk().room.wake(u32::MAX);
    }

    /// Jobs that are not finished.
    pub(super) fn unfinished(&self) -> usize {
        // In this order, as jobs move from one to the other.
        self.ring.unfinished() + self.table.count(State::is_unfinished)
    }
}
