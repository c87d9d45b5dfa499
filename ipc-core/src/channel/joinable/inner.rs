//! The jobs with their errors: what all handles of a process on one queue share.

use core::cell::RefCell;
use std::{
    sync::{Arc, Mutex},
    thread::ThreadId,
};

use super::{
    errors::{GetJobError, Unmet},
    jobs::{Jobs, Lease},
    lease::{Claimed, Draft, Refusal},
    record::Meta,
};
use crate::{
    channel::{
        queue::{claim::Claim, get::Taken, inner::Inner as Queue},
        target::Target,
    },
    error::{Damage, Error, Result},
    message::{DecodeError, Received},
    object::{lifetime::Object, participant::Owner, wait::Patience},
    os::fork::Process,
};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) queue: Queue,
    pub(super) jobs: Arc<Jobs>,
    pub(super) get_patience: Patience,
    pub(super) join_patience: Patience,
    /// Jobs whose values were taken out, in the order in which that was done, by thread.
    pub(super) taken_out: Mutex<Vec<(ThreadId, Lease)>>,
}

impl Inner {
    pub(super) fn new(object: Arc<Object>, jobs: Arc<Jobs>) -> Self {
        // Processes begin far from one another, so that each finds its own lines free.
        if let Some(me) = object.owner() {
            let leases = jobs.terms().leases;
            jobs.table.prefer((me.bits() as usize * 8 % leases) as u32);
        }
        Self {
            queue: Queue::new(object, Arc::clone(&jobs.ring)),
            jobs,
            get_patience: Patience::new(),
            join_patience: Patience::new(),
            taken_out: Mutex::default(),
        }
    }

    #[cold]
    pub(super) fn damaged(&self, damage: Damage) -> Box<Error> {
        self.queue.member.remember(damage)
    }

    /// Gets the job that is next in order, if it is there already and nothing is unusual. Whatever else there is is found by
    /// [`Self::try_get`], unless it is said `otherwise`.
    // In the caller as a whole: a lease that is returned in memory and read at once in other portions is waited for.
    #[inline(always)]
    pub(super) fn get_next<G: Target>(
        &self,
        to: &mut G,
        otherwise: &mut Option<Result<Lease, Unmet>>,
    ) -> Option<Lease> {
        let process = Process::this();
        let me = self.queue.member.place_of(process).ok()?;
        let (jobs, ring) = (&*self.jobs, &*self.jobs.ring);
        let vacancy = jobs.table.likely_vacancy()?;
        if jobs.table.has_returned() {
            return None;
        }
        // The record first: it is easily given back, a claimed cell is not.
        let draft = jobs.hold_at(me, vacancy, process)?;
        let from = ring.head();
        let Ok(Some(taken)) = ring.take_at(me, from) else {
            return None;
        };
        let claim = Claim {
            inner: &self.queue,
            me,
            process,
            taken,
        };
        let Ok(Some(bytes)) = ring.short(&taken) else {
            *otherwise = Some(self.receive_large(claim, draft, from, to));
            return None;
        };
        let received = to.receive(Received::Shared(bytes));
        if G::RUNS_CODE && !process.is_this() {
            return None; // a child of it: the job is its parent's
        }
        let Ok(true) = jobs.move_short(&draft, &taken) else {
            return None;
        };
        let lease = draft.lease(1, false);
        claim.commit().ok()?; // I2: after the lease
        ring.announce_gets(ring.behind(&taken, from), 1);
        if let Err(e) = received {
            *otherwise = Some(Err(self.bury(lease, GetJobError::Decode(e).into())));
            return None;
        }
        self.queue.member.is_whole().then_some(lease)
    }

    /// Gets a job without waiting.
    pub(super) fn try_get(&self, to: &mut impl Target) -> Result<Lease, Unmet> {
        for _ in 0..self.jobs.most() {
            let me = self.queue.member.ready()?;
            let from = self.jobs.ring.head();
            let got = match self.jobs.claim(me) {
                Ok(Claimed::Fresh(taken)) => self.receive(me, taken, from, to),
                Ok(Claimed::Returned(index, meta)) => self.receive_again(me, index, meta, to),
                Err(refusal) => Err(self.unmet(refusal)),
            };
            // Each of these was one job, which is not delivered again.
            if !matches!(got, Err(Unmet::Buried)) {
                return got;
            }
        }
        Err(Unmet::Buried)
    }

    fn receive<G: Target>(
        &self,
        me: Owner,
        taken: Taken,
        from: u64,
        to: &mut G,
    ) -> Result<Lease, Unmet> {
        let process = Process::this();
        let draft = self.jobs.hold_for(me, process, &taken);
        let draft = draft.map_err(|refusal| self.unmet(refusal))?;
        let claim = Claim {
            inner: &self.queue,
            me,
            process,
            taken,
        };
        if !self.jobs.table.terms.allows_another_get(taken.failures()) {
            return Err(self.bury_fresh(claim, draft, from));
        }
        let bytes = match self.jobs.ring.short(&taken) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.receive_large(claim, draft, from, to),
            Err(damage) => return Err(self.damaged(damage).into()),
        };
        let received = to.receive(Received::Shared(bytes));
        if G::RUNS_CODE && !claim.process.is_this() {
            return Err(Unmet::GaveUp); // a child of it: the job is its parent's
        }
        match self.jobs.move_short(&draft, &taken) {
            Ok(true) => {}
            Ok(false) => {
                return Err(self
                    .damaged(Damage("a message changed while it was read"))
                    .into());
            }
            Err(damage) => return Err(self.damaged(damage).into()),
        }
        let lease = self.start(claim, draft, from, false)?;
        match received {
            Ok(()) => Ok(lease),
            Err(e) => Err(self.bury(lease, GetJobError::Decode(e).into())),
        }
    }

    #[cold]
    #[inline(never)]
    fn receive_large<G: Target>(
        &self,
        claim: Claim<'_>,
        draft: Draft<'_>,
        from: u64,
        to: &mut G,
    ) -> Result<Lease, Unmet> {
        let mut bytes = to.buffer();
        let moved = self
            .jobs
            .move_large(claim.me, &draft, &claim.taken, &mut bytes);
        let is_large = moved.map_err(|damage| self.damaged(damage))?;
        let received = to.receive(Received::Owned(bytes));
        if G::RUNS_CODE && !claim.process.is_this() {
            return Err(Unmet::GaveUp); // as above
        }
        let lease = self.start(claim, draft, from, is_large)?;
        match received {
            Ok(()) => Ok(lease),
            Err(e) => Err(self.bury(lease, GetJobError::Decode(e).into())),
        }
    }

    /// Leases a job that is complete in its record, and frees its cell.
    fn start(
        &self,
        claim: Claim<'_>,
        draft: Draft<'_>,
        from: u64,
        is_large: bool,
    ) -> Result<Lease, Box<Error>> {
        let ring = &self.jobs.ring;
        let after = ring.behind(&claim.taken, from);
        let attempt = claim.taken.failures() + 1;
        let lease = draft.lease(attempt, is_large);
        claim.commit().map_err(|damage| self.damaged(damage))?; // I2: after the lease
        ring.announce_gets(after, 1);
        self.queue.member.check_whole()?;
        Ok(lease)
    }

    /// Makes a dead letter of a message whose consumers died in their gets too often.
    #[cold]
    fn bury_fresh(&self, claim: Claim<'_>, draft: Draft<'_>, from: u64) -> Unmet {
        let jobs = &self.jobs;
        let moved = jobs.move_short(&draft, &claim.taken).and_then(|is_short| {
            if is_short {
                return Ok(false);
            }
            jobs.move_large(claim.me, &draft, &claim.taken, &mut Vec::new())
        });
        let lease = moved
            .map_err(|damage| self.damaged(damage))
            .and_then(|is_large| self.start(claim, draft, from, is_large));
        match lease {
            Ok(lease) => self.bury(lease, Unmet::Buried),
            Err(e) => e.into(),
        }
    }

    /// Makes a dead letter of a job that was just leased, for this reason.
    #[cold]
    fn bury(&self, lease: Lease, why: Unmet) -> Unmet {
        match self.jobs.bury(&lease) {
            Ok(_) => why, // if the lease is over already, others will come to the same conclusion
            Err(damage) => self.damaged(damage).into(),
        }
    }

    /// Takes a job that was returned.
    #[cold]
    fn receive_again<G: Target>(
        &self,
        me: Owner,
        index: u32,
        meta: Meta,
        to: &mut G,
    ) -> Result<Lease, Unmet> {
        let draft = self.jobs.draft(index, meta);
        let draft = draft.map_err(|damage| self.damaged(damage))?;
        let attempt = draft.count_attempt();
        let (received, is_large) = self.read(me, &draft, to)?;
        if G::RUNS_CODE && !draft.process.is_this() {
            return Err(Unmet::GaveUp); // a child of it: the job is its parent's
        }
        let lease = draft.lease(attempt, is_large);
        self.pass_items_on();
        self.queue.member.check_whole()?;
        match received {
            Ok(()) => Ok(lease),
            Err(e) => Err(self.bury(lease, GetJobError::Decode(e).into())),
        }
    }

    /// A consumer that was woken and leaves a job behind wakes the next one.
    fn pass_items_on(&self) {
        let items = &self.jobs.ring.gate().items;
        if items.has_sleepers() && (self.jobs.table.has_returned() || !self.jobs.ring.is_empty()) {
            items.wake_of_claim(1);
        }
    }

    #[cold]
    fn unmet(&self, refusal: Refusal) -> Unmet {
        match refusal {
            Refusal::Empty => Unmet::GaveUp,
            Refusal::BeingPut => Unmet::BeingPut,
            Refusal::Outstanding => Unmet::Outstanding,
            Refusal::NoRecord => Unmet::NoRecord,
            Refusal::DeadLetters => GetJobError::DeadLetters(self.jobs.terms().leases).into(),
            Refusal::Closed => GetJobError::Closed.into(),
            Refusal::Damage(damage) => self.damaged(damage).into(),
        }
    }

    /// A get that does not wait: where there is nothing, perhaps a dead process holds something back, or a lease is over.
    #[cold]
    pub(super) fn get_now(&self, to: &mut impl Target) -> Result<Lease, Unmet> {
        match self.try_get(to) {
            Err(Unmet::Error(e)) => Err(Unmet::Error(e)),
            Err(unmet) => {
                let has_expired = self.jobs.expire();
                let has_expired = has_expired.map_err(|damage| self.damaged(damage))?;
                if has_expired || self.queue.member.found_dead() {
                    self.try_get(to)
                } else {
                    Err(unmet)
                }
            }
            got => got,
        }
    }

    /// Takes the oldest dead letter out. How often it was delivered.
    pub(super) fn take_dead<G: Target>(&self, to: &mut G) -> Result<u64, Unmet> {
        let me = self.queue.member.ready()?;
        let taken = self.jobs.take_dead(me);
        let Some(draft) = taken.map_err(|damage| self.damaged(damage))? else {
            return Err(Unmet::GaveUp);
        };
        let attempts = draft.attempts();
        let (received, is_large) = self.read(me, &draft, to)?;
        if G::RUNS_CODE && !draft.process.is_this() {
            return Err(Unmet::GaveUp); // a child of it: the letter is its parent's
        }
        let removed = self.jobs.remove(draft, is_large);
        removed.map_err(|damage| self.damaged(damage))?;
        self.queue.member.check_whole()?;
        match received {
            Ok(()) => Ok(attempts),
            Err(e) => Err(GetJobError::Decode(e).into()),
        }
    }

    /// Reads the job in a record that this thread took.
    fn read(
        &self,
        me: Owner,
        draft: &Draft<'_>,
        to: &mut impl Target,
    ) -> Result<(Result<(), DecodeError>, bool), Box<Error>> {
        let place = RefCell::new(to);
        let read = self.jobs.read_with(
            me,
            draft,
            || place.borrow_mut().buffer(),
            |received| place.borrow_mut().receive(received),
        );
        read.map_err(|damage| self.damaged(damage))
    }
}
