//! Waiting for jobs, or for their end, among other things.

use core::{
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};
use std::sync::Arc;

use super::{inner::Inner, jobs::Jobs, survey::End};
use crate::{
    channel::queue::get::GetRefusal,
    object::{
        source::{Readiness, Source, Watched},
        wait::WaitWord,
    },
    os::membarrier::Meeting,
};

impl Inner {
    /// That a get would not wait.
    pub(super) fn watched_jobs(&self) -> Watched {
        Watched::new(next_job(&self.jobs), &self.queue.member.object)
    }

    /// That a join would not wait.
    pub(super) fn watched_end(&self) -> Watched {
        Watched::new(all_done(&self.jobs), &self.queue.member.object)
    }
}

/// What both wishes need.
#[derive(Debug)]
struct Ours {
    jobs: Arc<Jobs>,
    /// Found while looking for leases that are over. Private memory.
    is_damaged: AtomicBool,
}

impl Ours {
    fn new(jobs: &Arc<Jobs>) -> Self {
        Self {
            jobs: Arc::clone(jobs),
            is_damaged: AtomicBool::new(false),
        }
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// A lease that is over is a job for somebody, or a dead letter.
    fn tend(&self) {
        if self.jobs.expire().is_err() {
            self.is_damaged.store(true, Ordering::Relaxed);
        }
    }

    fn meeting(&self) -> Option<&Meeting> {
        let table = &self.jobs.table;
        table.terms.is_asymmetric.then_some(&table.meeting) // O8
    }
}

#[derive(Debug)]
struct NextJob(Ours);

pub(super) fn next_job(jobs: &Arc<Jobs>) -> Arc<dyn Source> {
    Arc::new(NextJob(Ours::new(jobs)))
}

pub(super) fn all_done(jobs: &Arc<Jobs>) -> Arc<dyn Source> {
    Arc::new(AllDone(Ours::new(jobs)))
}

/// What a get waits for in turn, which is woken on three words: see `wait_to_get`.
impl Source for NextJob {
    fn word(&self) -> &WaitWord {
        let (_, word) = self.0.jobs.look_for_job();
        word
    }

    fn look(&self, _mark: u64) -> Readiness {
        if self.0.is_damaged() {
            return Readiness::Ready;
        }
        let (seen, _) = self.0.jobs.look_for_job();
        seen
    }

    fn look_from(&self, word: &WaitWord, _mark: u64) -> Readiness {
        if self.0.is_damaged() {
            return Readiness::Ready;
        }
        match self.0.jobs.look_for_job() {
            (Readiness::Blocked, next) if !ptr::eq(next, word) => Readiness::Unsettled,
            (seen, _) => seen,
        }
    }

    fn tend(&self) {
        self.0.tend();
    }

    fn meeting(&self) -> Option<&Meeting> {
        self.0.meeting()
    }
}

impl Jobs {
    /// What a get would find, without a claim, and what is woken next.
    fn look_for_job(&self) -> (Readiness, &WaitWord) {
        let (gate, desk) = (self.ring.gate(), self.table.desk());
        if self.table.has_returned() {
            return (Readiness::Ready, &gate.items); // or the get finds that there are none any more
        }
        match self.ring.look_for_message() {
            Ok(()) if self.table.vacancy().is_some() => (Readiness::Ready, &gate.items),
            Ok(()) if self.is_stuffed() => (Readiness::Ready, &desk.room), // the get fails
            Ok(()) => (Readiness::Blocked, &desk.room),
            Err(GetRefusal::Empty) => (Readiness::Blocked, &gate.items),
            Err(GetRefusal::BeingPut) => (Readiness::Unsettled, &gate.items),
            // The ring first, as jobs move from there to the table.
            Err(GetRefusal::Closed) => match self.has_unfinished() {
                Ok(true) => (Readiness::Blocked, &desk.finished),
                Ok(false) | Err(_) => (Readiness::Ready, &desk.finished),
            },
            Err(GetRefusal::Damage(_)) => (Readiness::Ready, &gate.items),
        }
    }
}

#[derive(Debug)]
struct AllDone(Ours);

impl Source for AllDone {
    fn word(&self) -> &WaitWord {
        &self.0.jobs.table.desk().finished
    }

    fn look(&self, _mark: u64) -> Readiness {
        match self.0.jobs.look_for_end() {
            Ok(End::Ahead) if !self.0.is_damaged() => Readiness::Blocked,
            Ok(End::Unclear) if !self.0.is_damaged() => Readiness::Unsettled,
            _ => Readiness::Ready,
        }
    }

    fn tend(&self) {
        self.0.tend();
    }

    fn meeting(&self) -> Option<&Meeting> {
        self.0.meeting()
    }
}
