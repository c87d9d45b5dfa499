//! How a process ends its leases, also of jobs whose values were taken out.

use core::mem;
use std::{
    sync::PoisonError,
    thread::{self, ThreadId},
};

use super::{
    errors::{LeaseError, TaskDoneError},
    finish::Lost,
    inner::Inner,
    jobs::{Jobs, Lease},
};
use crate::{
    error::Damage,
    os::fork::{self, Process},
};

impl Inner {
    /// Ends a lease as `end` does.
    #[inline(always)]
    pub(super) fn settle(
        &self,
        lease: &Lease,
        end: impl FnOnce(&Jobs, &Lease) -> Result<Result<(), Lost>, Damage>,
    ) -> Result<(), LeaseError> {
        if !lease.process.is_this() {
            return Err(LeaseError::Lost); // a forked child's copy: the job is its parent's
        }
        let ready = self.queue.member.check();
        ready.map_err(|e| LeaseError::Failed(*e))?;
        match end(&self.jobs, lease) {
            Ok(Ok(())) => self
                .queue
                .member
                .check_whole()
                .map_err(|e| LeaseError::Failed(*e)),
            Ok(Err(Lost)) => Err(LeaseError::Lost),
            Err(damage) => Err(LeaseError::Failed(*self.damaged(damage))),
        }
    }

    /// Calls `with` on the jobs whose values this process has taken out, while no fork can happen: a child would find them locked.
    fn with_taken_out<R>(&self, with: impl FnOnce(&mut Vec<(ThreadId, Lease)>) -> R) -> R {
        let this = Process::this(); // asked before: it may hold forks by itself
        let _no_fork = fork::hold_forks();
        let taken_out = self.taken_out.lock();
        let mut taken_out = taken_out.unwrap_or_else(PoisonError::into_inner);
        taken_out.retain(|(_, lease)| lease.process == this); // a forked child has its parent's
        with(&mut taken_out)
    }

    /// Keeps a lease until [`Self::task_done`].
    pub(super) fn keep(&self, lease: Lease) {
        let me = thread::current().id();
        self.with_taken_out(|taken_out| taken_out.push((me, lease)));
    }

    /// Finishes the job that this thread has kept longest.
    pub(super) fn task_done(&self) -> Result<(), TaskDoneError> {
        let me = thread::current().id();
        let lease = self.with_taken_out(|taken_out| {
            let mine = taken_out.iter().position(|(thread, _)| *thread == me)?;
            Some(taken_out.remove(mine).1)
        });
        let lease = lease.ok_or(TaskDoneError::TooOften)?;
        Ok(self.settle(&lease, |jobs, lease| jobs.finish(lease))?)
    }
}

impl Drop for Inner {
    /// Gives the jobs back whose values were taken out and that were not finished.
    fn drop(&mut self) {
        let kept = self.taken_out.get_mut();
        for (_, lease) in mem::take(kept.unwrap_or_else(PoisonError::into_inner)) {
            // What cannot be given back is lost already, or the queue is.
            let _ = self.settle(&lease, |jobs, lease| jobs.give_back(lease));
        }
    }
}
