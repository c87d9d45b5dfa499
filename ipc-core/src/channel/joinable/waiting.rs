//! Waiting for a job, or until all are finished.

use super::{
    errors::Unmet,
    inner::Inner,
    jobs::{Jobs, Lease},
    survey::End,
};
use crate::{
    channel::target::Target,
    error::{Error, Result},
    object::{
        seat::Notes,
        wait::{Attempt, Deadline, WaitStrategy, WaitWord, Waiting},
    },
};

impl Inner {
    /// Looks for leases that are over, and for the dead.
    fn look(&self) -> Option<Box<Error>> {
        let expired = self.jobs.expire().map_err(|damage| self.damaged(damage));
        let looked = expired.and_then(|_| self.queue.member.object.look().map_err(Box::new));
        looked.err()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn wait_to_get(
        &self,
        strategy: WaitStrategy,
        deadline: Deadline,
        to: &mut impl Target,
    ) -> Result<Lease, Unmet> {
        let me = self.queue.member.ready()?;
        let (gate, desk) = (self.jobs.ring.gate(), self.jobs.table.desk());
        let attempt = || match self.try_get(to) {
            Err(Unmet::GaveUp | Unmet::Buried) => Attempt::Blocked(&gate.items),
            Err(Unmet::BeingPut) => Attempt::Unsettled(&gate.items),
            Err(Unmet::Outstanding) => self.again(&desk.finished, || self.try_get(to)),
            Err(Unmet::NoRecord) => self.again(&desk.room, || self.try_get(to)),
            met => Attempt::Done(met),
        };
        let waiting = Waiting {
            word: &gate.items,
            strategy,
            patience: &self.get_patience,
            deadline,
            notes: Notes::Table(&self.jobs.ring.notes, me),
        };
        let is_promising = || self.jobs.ring.may_have_message() || self.jobs.table.has_returned();
        let look = || self.look().map(|e| Err(e.into()));
        waiting
            .until(attempt, is_promising, look)
            .unwrap_or(Err(Unmet::GaveUp))
    }

    /// What a get does that waits for a job to be finished: once it has announced that it sleeps, it looks again behind a heavy
    /// fence (O8 of the table).
    fn again<'w>(
        &'w self,
        word: &'w WaitWord,
        mut attempt: impl FnMut() -> Result<Lease, Unmet>,
    ) -> Attempt<'w, Result<Lease, Unmet>> {
        if !word.has_sleepers() {
            return Attempt::Blocked(word); // it announces itself there first
        }
        let is_certain = self.jobs.table.heavy_fence();
        match attempt() {
            Err(Unmet::GaveUp | Unmet::Buried | Unmet::BeingPut) => {
                Attempt::Blocked(&self.jobs.ring.gate().items)
            }
            Err(Unmet::Outstanding | Unmet::NoRecord) if is_certain => Attempt::Blocked(word),
            Err(Unmet::Outstanding | Unmet::NoRecord) => Attempt::Unsettled(word),
            met => Attempt::Done(met),
        }
    }

    /// Waits until all jobs are finished. Whether they were in time.
    pub(super) fn join(&self, strategy: WaitStrategy, deadline: Deadline) -> Result<bool> {
        let me = self.queue.member.ready().map_err(|e| *e)?;
        let waiting = Waiting {
            word: &self.jobs.table.desk().finished,
            strategy,
            patience: &self.join_patience,
            deadline,
            notes: Notes::Table(&self.jobs.ring.notes, me),
        };
        let attempt = || self.jobs.attempt_to_join(|| self.end());
        let look = || self.look().map(|e| Err(*e));
        match waiting.until(attempt, || false, look) {
            Some(joined) => joined.map(|()| true),
            None => Ok(false),
        }
    }

    fn end(&self) -> Result<End> {
        self.queue.member.check().map_err(|e| *e)?;
        let end = self
            .jobs
            .look_for_end()
            .map_err(|damage| *self.damaged(damage))?;
        self.queue.member.check().map_err(|e| *e)?;
        Ok(end)
    }
}

impl Jobs {
    /// One try of who waits until all is finished. Once it has announced that it sleeps, it looks again behind a heavy fence (O8 of
    /// the table).
    pub(super) fn attempt_to_join<E>(
        &self,
        look: impl Fn() -> Result<End, E>,
    ) -> Attempt<'_, Result<(), E>> {
        let finished = &self.table.desk().finished;
        let mut end = look();
        let mut is_certain = true;
        if matches!(end, Ok(End::Ahead)) && finished.has_sleepers() {
            is_certain = self.table.heavy_fence();
            end = look();
        }
        match end {
            Ok(End::Reached) => Attempt::Done(Ok(())),
            Ok(End::Ahead) if is_certain => Attempt::Blocked(finished),
            Ok(End::Ahead | End::Unclear) => Attempt::Unsettled(finished),
            Err(e) => Attempt::Done(Err(e)),
        }
    }
}
