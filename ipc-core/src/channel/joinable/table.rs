//! The jobs that were taken out of the ring: leased, waiting for another attempt, or dead letters. Bytes in, bytes out, without
//! waiting. This file has what all operations share; `lease`, `finish`, `survey` and `repair` beside it have the rest.
//!
//! # Layout
//!
//! Behind all that a queue consists of:
//!
//! ```text
//!   0                                      128
//!   ┌──────────────────────────────────────┬─────────────────────┐
//!   │ desk: finished·room·returned·checked │ records[0..leases]  │
//!   └──────────────────────────────────────┴─────────────────────┘
//!     who sleeps, or returns a job           owner of the claim
//!
//!   record:  0      8          16         24         32       40
//!            ┌──────┬──────────┬──────────┬──────────┬────────┬─────────────────────────────────────────┬─────────┐
//!            │ meta │ position │ attempts │ deadline │ length │ payload, or head:32 | generation:32     │ padding │
//!            └──────┴──────────┴──────────┴──────────┴────────┴─────────────────────────────────────────┴─────────┘
//! ```
//!
//! 192, 256 or 320 bytes a record, with the payload of a cell.
//!
//! # Invariants
//!
//! * I1. What a record is is its [`Meta`] alone. Only the owner that it names writes the rest, and not while it is LEASED; when
//!   it is READY or DEAD, nobody does.
//! * I2. A job is in its cell until the record that names its position is LEASED. From then on it is in the record, even while
//!   the cell still says READING in the same name: who repairs that finishes the get, and then returns the job.
//! * I3. READY records are announced as the ring's orphans are: each that made one, and each repair pass that made or saw
//!   one, counts `returned` up. A look at every record that began after some count and found none raises `checked` to
//!   that count. While they differ, gets look for such jobs first.
//! * I4. A chain of blocks keeps the place at which it was put: no position comes twice. It is referred to while
//!   the cell, or a record of that position, holds the job; and who takes a job, from either, takes over its blocks first.
//! * I5. Without a lease time nobody but the owner changes a LEASED record, unless its owner is dead. With one, nobody does
//!   without an exchange.
//!
//! # Ordering
//!
//! * O1. `meta` exchange(Release) or store(Release) to FREE → exchange(Acquire) to HELD: the next job is written after the last was
//!   read.
//! * O2. The cell's `ctl`, FREE, by store or exchange(Release) → load(Acquire): who sees the cell empty sees the record LEASED.
//! * O3. `meta` store(Release) LEASED → load(Acquire): who judges a lease sees its deadline; who repairs it, or sees it finished
//!   after a later put, its position and that put.
//! * O4. `meta` store or exchange(Release) READY, DEAD → load(Acquire), then exchange TAKING, REMOVING: the job is seen whole. (Exchanges in between
//!   go on with what was released before.)
//! * O5. `returned` fetch_add(Release) → load(Acquire): who sees the count sees the record. A dead letter that is requeued is counted
//!   twice, TAKING and READY, as a survey looks for the one and gets for the other.
//! * O6. A look at a dead letter without a claim: `meta` load(Acquire), payload, fence(Acquire), `meta` again.
//! * O7. `meta` exchange(Release) by a participant → load(Acquire) → `Dead::still`: what a later participant of the slot took is not
//!   taken for the dead one's.
//! * O8. Finishing a job is a plain store, and nothing orders it before the look for sleepers but a *light fence*
//!   ([`crate::os::membarrier`]): who waits for that announces itself, calls a *heavy fence*, and looks again. Where there is
//!   a lease time, an exchange does that, and fences; where the creator or this process has no membarrier, a fence is called.
//! * O9. Of two that finish at once each sees the other's job finished, or one of them both: each fences before it judges
//!   whether all is finished, which it does only while somebody waits for that.
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | after the claim of the cell | READING, and perhaps a record HELD | the sweep: ORPHAN, and FREE; the next get delivers it |
//! | LEASED, the cell not yet free | both name it | the sweep: the cell free, then the record READY (I2) |
//! | working on the job, or renewing | LEASED, TAKING | the sweep: READY, or DEAD after the last attempt |
//! | after FREE | blocks it owns, and a sleeper | the sweep frees them and wakes all |
//! | taking a returned job, or requeueing a dead letter | TAKING | as above |
//! | after READY, before `returned` | a job that nobody looks for | the sweep counts it (I3) and wakes all |
//! | removing a dead letter | REMOVING | the sweep: DEAD |

#![expect(unsafe_code, reason = "implements Shared")]

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use super::{
    record::{Meta, OVERHEAD_WORDS, Record, State},
    terms::Terms,
};
use crate::{
    channel::geometry::Geometry,
    error::Damage,
    object::wait::WaitWord,
    os::membarrier::{self, Meeting},
    prim::{self, AtomicU64, Relaxed},
    region::{CacheLine, Fresh, One, OutOfBounds, Planner, Region, Shared, Span},
};

/// Bytes that records are multiples of.
const LINE: usize = 64;
/// Bytes of the largest record.
pub(super) const MOST_RECORD: usize = 320;

/// Who sleeps because of leased jobs, and what gets must know. One line, read by all and rarely written.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Desk {
    /// Who waits until all jobs are finished: joiners, and gets of a closed queue.
    pub(super) finished: WaitWord,
    /// Gets that find no free record.
    pub(super) room: WaitWord,
    /// How often a job was returned, so far.
    pub(super) returned: AtomicU64,
    /// Up to which of these a look at every record found none any more.
    pub(super) checked: AtomicU64,
}

#[cfg(not(loom))]
const _: () =
    assert!(core::mem::offset_of!(Desk, checked) == 16 && size_of::<CacheLine<Desk>>() == 128);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Desk {
    fn zeroed() -> Self {
        Self {
            finished: WaitWord::zeroed(),
            room: WaitWord::zeroed(),
            returned: AtomicU64::new(0),
            checked: AtomicU64::new(0),
        }
    }
}

/// Words of a record.
fn stride(geometry: Geometry) -> usize {
    (OVERHEAD_WORDS + geometry.inline_bytes / 8).next_multiple_of(LINE / 8)
}

/// Where the parts lie, behind `queue_bytes` of a queue, and where they end.
fn plan(queue_bytes: usize, geometry: Geometry, terms: Terms) -> Option<(usize, usize, usize)> {
    let mut planner = Planner::default();
    planner.place::<u8>(queue_bytes, 1)?;
    let desk = planner.place::<CacheLine<Desk>>(1, 128)?;
    let words = stride(geometry).checked_mul(terms.leases)?;
    let records = planner.place::<AtomicU64>(words, 128)?;
    Some((desk, records, planner.end()))
}

/// Bytes of a file in which `queue_bytes` of a queue come first.
pub(super) fn file_bytes(queue_bytes: usize, geometry: Geometry, terms: Terms) -> Option<usize> {
    plan(queue_bytes, geometry, terms).map(|(.., end)| end)
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    queue_bytes: usize,
    geometry: Geometry,
    terms: Terms,
) -> Result<(), OutOfBounds> {
    let (desk, records, _) = plan(queue_bytes, geometry, terms).ok_or(OutOfBounds)?;
    fresh.place::<CacheLine<Desk>>(desk, 1)?;
    fresh.place::<AtomicU64>(records, stride(geometry) * terms.leases)
}

/// A free record, as it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vacancy {
    pub(super) index: u32,
    pub(super) seen: Meta,
}

/// All records.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) terms: Terms,
    stride: usize,
    payload_words: usize,
    desk: One<CacheLine<Desk>>,
    words: Span<AtomicU64>,
    /// Which record was left last, in this process: it is probably free, and in its caches.
    hint: AtomicU32,
    pub(super) meeting: Meeting,
    /// Whether this process may leave the fence to who waits (O8).
    pub(super) may_hurry: bool,
    /// One for each record's payload.
    pub(super) witnesses: prim::Witnesses,
}

impl Table {
    /// The table behind `queue_bytes` of a queue in `region`.
    pub(super) fn over(
        region: &Arc<Region>,
        queue_bytes: usize,
        geometry: Geometry,
        terms: Terms,
    ) -> Result<Self, Damage> {
        let build = || -> Result<Self, OutOfBounds> {
            let (desk, records, _) = plan(queue_bytes, geometry, terms).ok_or(OutOfBounds)?;
            let stride = stride(geometry);
            Ok(Self {
                terms,
                stride,
                payload_words: geometry.inline_bytes / 8,
                desk: region.one(desk)?,
                words: region.span(records, stride * terms.leases)?,
                hint: AtomicU32::new(0),
                meeting: Meeting::new(),
                may_hurry: membarrier::register() && terms.is_asymmetric,
                witnesses: prim::Witnesses::new(terms.leases),
            })
        };
        build().map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))
    }

    #[inline]
    pub(super) fn desk(&self) -> &Desk {
        &self.desk.0
    }

    /// The record `index`, which is private or was checked.
    #[inline]
    pub(super) fn record(&self, index: u32) -> Result<Record<'_>, Damage> {
        let start = index as usize * self.stride;
        self.words
            .get(start..start + self.stride)
            .and_then(|words| Record::new(words, self.payload_words))
            .ok_or(Damage("a number points beside the records"))
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (u32, Record<'_>)> {
        let all = self.words.chunks_exact(self.stride);
        (0..).zip(all.filter_map(|words| Record::new(words, self.payload_words)))
    }

    /// The record where the next search probably ends, if it is free.
    #[inline]
    pub(super) fn likely_vacancy(&self) -> Option<Vacancy> {
        self.vacancy_at(self.hint.load(Ordering::Relaxed))
    }

    #[inline]
    fn vacancy_at(&self, index: u32) -> Option<Vacancy> {
        let seen = Meta(self.record(index).ok()?.meta().load(Relaxed));
        seen.is_free().then_some(Vacancy { index, seen })
    }

    /// The first free record from the likely one on.
    pub(super) fn vacancy(&self) -> Option<Vacancy> {
        let end = self.terms.leases as u32;
        let start = self.hint.load(Ordering::Relaxed).min(end);
        let mut order = (start..end).chain(0..start);
        order.find_map(|index| self.vacancy_at(index))
    }

    /// Where to look first the next time.
    #[inline]
    pub(super) fn prefer(&self, index: u32) {
        self.hint.store(index, Ordering::Relaxed);
    }

    /// The fence of who has announced that it sleeps until a job is finished (O8). Whether it reaches everybody.
    pub(super) fn heavy_fence(&self) -> bool {
        let meeting = &self.meeting;
        !self.terms.is_asymmetric || meeting.heavy_fence()
    }

    /// Whether there may be jobs to be delivered again.
    #[inline]
    pub(super) fn has_returned(&self) -> bool {
        let desk = self.desk();
        desk.returned.load(Relaxed) != desk.checked.load(Relaxed)
    }

    /// How many records are in a state that `is_counted`. Those in no known state are not.
    pub(super) fn count(&self, is_counted: impl Fn(State) -> bool) -> usize {
        self.records()
            .filter(|(_, record)| record.look().is_ok_and(|(_, state)| is_counted(state)))
            .count()
    }
}
