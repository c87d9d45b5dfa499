//! Taking a job: out of the ring into a record, or once more from the record where it was returned.

use core::mem::ManuallyDrop;

use super::{
    jobs::{Jobs, Lease},
    record::{Meta, Record, State},
    table::Vacancy,
};
use crate::{
    channel::{
        contents::Contents,
        queue::get::{GetRefusal, Taken},
    },
    error::Damage,
    message::{DecodeError, Received, SharedBytes},
    object::participant::Owner,
    os::{clock, fork::Process},
    prim::{AcqRel, Acquire, Relaxed, Release},
};

/// How often to look again at what others change meanwhile.
const RACES: u32 = 8;

/// Why there is no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Empty,
    /// Empty, but somebody is at work on a cell, and may not see that somebody else goes to sleep now.
    BeingPut,
    /// Closed and empty, but jobs are leased that may come back.
    Outstanding,
    /// There are jobs, and no free record to lease one.
    NoRecord,
    /// There are jobs, and dead letters in all records.
    DeadLetters,
    /// Closed, and every job is finished.
    Closed,
    Damage(Damage),
}

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A job that was claimed, and where.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// In the ring, to be moved to a free record.
    Fresh(Taken),
    /// In its record.
    Returned(u32, Meta),
}

/// A record that this thread is about to lease, or to remove a dead letter from. Dropped so, by an error or by a panic of
/// the message's own code, it is left to others.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    jobs: &'a Jobs,
    record: Record<'a>,
    pub(super) index: u32,
    /// HELD, TAKING or REMOVING, by this process.
    pub(super) meta: Meta,
    pub(super) process: Process,
}

impl Drop for Draft<'_> {
    #[cold]
    fn drop(&mut self) {
        if self.process.is_this() {
            self.jobs.let_go(self.index, self.meta);
        }
    }
}

impl Draft<'_> {
    /// Starts the lease. The job is complete in the record.
    #[inline(always)]
    pub(super) fn lease(self, attempt: u64, is_large: bool) -> Lease {
        let draft = ManuallyDrop::new(self);
        let table = &draft.jobs.table;
        if table.terms.lease_ns != 0 {
            let deadline = table.new_deadline();
            draft.record.deadline().store(deadline, Relaxed);
        }
        let meta = draft.meta.turned(State::Leased);
        draft.record.meta().store(meta.0, Release); // O3
        Lease {
            index: draft.index,
            meta,
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            process: draft.process,
            is_large,
        }
    }

    /// Notes one more attempt at a job that was returned. Which it is.
    pub(super) fn count_attempt(&self) -> u64 {
        let attempt = self.attempts().saturating_add(1);
        self.record.attempts().store(attempt, Relaxed);
        attempt
    }

    /// How often the job was delivered.
    pub(super) fn attempts(&self) -> u64 {
        self.record.attempts().load(Relaxed)
    }
}

impl super::table::Table {
    /// When a lease ends that begins now.
    pub(super) fn new_deadline(&self) -> u64 {
        clock::monotonic_ns().saturating_add(self.terms.lease_ns)
    }
}

impl Jobs {
    /// HELD, if it is still free.
    #[inline(always)]
    pub(super) fn hold_at(
        &self,
        me: Owner,
        vacancy: Vacancy,
        process: Process,
    ) -> Option<Draft<'_>> {
        let mine = vacancy.seen.taken(me, State::Held);
        let record = self.table.record(vacancy.index).ok()?;
        record
            .meta()
            .compare_exchange(vacancy.seen.0, mine.0, AcqRel, Relaxed)
            .ok()?; // O1, O7
        self.table.prefer(vacancy.index + 1);
        Some(Draft {
            jobs: self,
            record,
            index: vacancy.index,
            meta: mine,
            process,
        })
    }

    /// Any free record.
    pub(super) fn hold(&self, me: Owner, process: Process) -> Option<Draft<'_>> {
        // Again for as long as others are faster; each of them is one that goes on.
        for _ in 0..self.table.terms.leases {
            if let Some(held) = self.hold_at(me, self.table.vacancy()?, process) {
                return Some(held);
            }
        }
        None
    }

    /// Any free record, for a job that was claimed in the ring. Where others were faster, the job is left to the next get, as if
    /// it had not been claimed: that is no attempt at it.
    pub(super) fn hold_for(
        &self,
        me: Owner,
        process: Process,
        taken: &Taken,
    ) -> Result<Draft<'_>, Refusal> {
        if let Some(draft) = self.hold(me, process) {
            return Ok(draft);
        }
        self.ring.leave_untried(taken)?;
        Err(self.no_record())
    }

    /// A record that this thread took.
    pub(super) fn draft(&self, index: u32, meta: Meta) -> Result<Draft<'_>, Damage> {
        Ok(Draft {
            jobs: self,
            record: self.table.record(index)?,
            index,
            meta,
            process: Process::this(),
        })
    }

    /// Claims the job that is next, from either place.
    pub(super) fn claim(&self, me: Owner) -> Result<Claimed, Refusal> {
        if self.table.has_returned()
            && let Some((index, meta)) = self.take_returned(me)?
        {
            return Ok(Claimed::Returned(index, meta));
        }
        let ring = &self.ring;
        if self.table.vacancy().is_none() && !ring.is_empty() {
            return Err(self.no_record());
        }
        match ring.take_from(me, ring.head()) {
            Ok(taken) => Ok(Claimed::Fresh(taken)),
            Err(GetRefusal::Empty) => Err(Refusal::Empty),
            Err(GetRefusal::BeingPut) => Err(Refusal::BeingPut),
            // The ring first, as jobs move from there to the table.
            Err(GetRefusal::Closed) if self.has_unfinished()? => Err(Refusal::Outstanding),
            Err(GetRefusal::Closed) => Err(Refusal::Closed),
            Err(GetRefusal::Damage(damage)) => Err(damage.into()),
        }
    }

    /// Why no record is free.
    #[cold]
    pub(super) fn no_record(&self) -> Refusal {
        if self.is_stuffed() {
            Refusal::DeadLetters
        } else {
            Refusal::NoRecord
        }
    }

    /// Whether all records are dead letters.
    pub(super) fn is_stuffed(&self) -> bool {
        self.dead() == self.table.terms.leases
    }

    /// Takes the job that was put first among those that wait for another attempt.
    #[cold]
    fn take_returned(&self, me: Owner) -> Result<Option<(u32, Meta)>, Damage> {
        let count = self.table.desk().returned.load(Acquire); // O5
        for _ in 0..RACES {
            let Some((index, seen)) = self.oldest(State::Ready)? else {
                self.table.desk().checked.fetch_max(count, Relaxed); // I3
                break;
            };
            if let Some(mine) = self.take(me, index, seen, State::Taking)? {
                return Ok(Some((index, mine)));
            }
        }
        Ok(None)
    }

    /// Takes a record that nobody owns.
    pub(super) fn take(
        &self,
        me: Owner,
        index: u32,
        seen: Meta,
        state: State,
    ) -> Result<Option<Meta>, Damage> {
        let mine = seen.taken(me, state);
        let meta = self.table.record(index)?.meta();
        let taken = meta.compare_exchange(seen.0, mine.0, Release, Relaxed); // O7; O4 by the look at `seen`
        Ok(taken.is_ok().then_some(mine))
    }

    /// The record in this state whose job was put first.
    pub(super) fn oldest(&self, wanted: State) -> Result<Option<(u32, Meta)>, Damage> {
        let mut oldest: Option<(u64, u32, Meta)> = None;
        for (index, record) in self.table.records() {
            let (meta, state) = record.look()?;
            let position = record.position().load(Relaxed);
            if state == wanted && oldest.is_none_or(|(other, ..)| position < other) {
                oldest = Some((position, index, meta));
            }
        }
        Ok(oldest.map(|(_, index, meta)| (index, meta)))
    }

    #[inline(always)]
    fn begin_move(&self, draft: &Draft<'_>, taken: &Taken) {
        self.table.witnesses.write(draft.index as usize);
        draft.record.position().store(taken.position(), Relaxed);
        draft.record.attempts().store(taken.failures() + 1, Relaxed);
    }

    /// Copies a short message from its claimed cell to the record. Whether it is short.
    #[inline(always)]
    pub(super) fn move_short(&self, draft: &Draft<'_>, taken: &Taken) -> Result<bool, Damage> {
        let record = draft.record;
        self.begin_move(draft, taken);
        self.ring
            .move_short(taken, record.payload(), record.length())
    }

    /// The same for a large one, whose blocks are this process's from then on; and its bytes.
    pub(super) fn move_large(
        &self,
        me: Owner,
        draft: &Draft<'_>,
        taken: &Taken,
        out: &mut Vec<u8>,
    ) -> Result<bool, Damage> {
        self.begin_move(draft, taken);
        let record = draft.record;
        let to = (record.payload(), record.length());
        self.ring.move_large(me, taken, to, out)
    }

    /// Reads the job in a record that this thread took, into `buffer` if it is large.
    pub(super) fn read_with(
        &self,
        me: Owner,
        draft: &Draft<'_>,
        buffer: impl FnOnce() -> Vec<u8>,
        receive: impl FnOnce(Received<'_>) -> Result<(), DecodeError>,
    ) -> Result<(Result<(), DecodeError>, bool), Damage> {
        let record = draft.record;
        self.table.witnesses.read(draft.index as usize);
        match Contents::of(record.payload(), record.length(), self.ring.slab(), None)? {
            Contents::Inline(length) => {
                let bytes = SharedBytes::new(record.payload(), length);
                let bytes = bytes.ok_or(Damage("a job is longer than its record"))?;
                Ok((receive(Received::Shared(bytes)), false))
            }
            Contents::Lent(..) => Err(Damage("a job is in memory that was lent")),
            Contents::Large(slab, chain) => {
                let owned = slab.take_over(me, chain)?; // I4
                let mut bytes = buffer();
                slab.load(&owned, chain.length, &mut bytes);
                Ok((receive(Received::Owned(bytes)), true))
            }
        }
    }
}
