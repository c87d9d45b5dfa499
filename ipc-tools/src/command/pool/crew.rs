//! The pool of a run: jobs go in, and what became of them comes back as events, with a bell that rings for each.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, mpsc},
};

use ipc_core::{Namespace, Pool, PoolError, PoolPhase, TaskError};
use rustix::{
    event::{EventfdFlags, eventfd},
    process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal},
};

use super::{
    report::Report,
    worker::{self, END_YOUR_JOB, Job, Setup},
};
use crate::{
    exit::{Failure, Outcome},
    proc,
};

/// So many jobs for each worker are in the pool, so that none waits for the next one.
const AHEAD: usize = 4;

/// What became of a job.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) number: u64,
    pub(super) result: Result<Report, TaskError>,
}

/// The workers.
#[derive(Debug)]
pub(super) struct Crew {
    pool: Pool,
    news: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    bell: Arc<OwnedFd>,
}

impl Crew {
    pub(super) fn new(
        workers: usize,
        name: Option<&str>,
        namespace: &Namespace,
        setup: Setup,
    ) -> Outcome<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Failure::Other(format!("could not make a descriptor: {e}")))?;
        let mut builder = Pool::builder().workers(workers).namespace(namespace);
        if let Some(name) = name {
            builder = builder.name(name);
        }
        let pool = builder.initializer(worker::set_up, (setup,)).build()?;
        let (news, events) = mpsc::channel();
        Ok(Self {
            pool,
            news,
            events,
            bell: Arc::new(bell),
        })
    }

    /// How many jobs are to be in the pool.
    pub(super) fn appetite(&self) -> usize {
        self.pool.workers() * AHEAD
    }

    /// Has a job run. Whether the pool took it: one that was drained takes no more.
    pub(super) fn give(&self, job: Job) -> Outcome<bool> {
        let number = job.number;
        let given = match self.pool.apply_async(worker::run_job, (job,)) {
            Ok(given) => given,
            Err(PoolError::Closed) => return Ok(false),
            Err(e) => return Err(e.into()),
        };
        let (news, bell) = (self.news.clone(), Arc::clone(&self.bell));
        given.on_done(move |done| {
            let result = done.get();
            // Both fail only when nobody listens any more.
            let _ = news.send(Event { number, result });
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        });
        Ok(true)
    }

    /// Whether somebody has told the pool to take no more.
    pub(super) fn is_drained(&self) -> Outcome<bool> {
        Ok(self.pool.status()?.phase != PoolPhase::Running)
    }

    /// Readable when there is an event.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The events that came since the last time.
    pub(super) fn events(&self) -> Vec<Event> {
        // In this order: whose bell is not heard now is seen now.
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        self.events.try_iter().collect()
    }

    /// Has the workers end what they run.
    pub(super) fn end_jobs(&self) {
        let this = std::process::id();
        let workers = self
            .pool
            .status()
            .map_or_else(|_| Vec::new(), |status| status.workers);
        for pid in workers.iter().map(|worker| worker.pid) {
            let number = Pid::from_raw(pid.cast_signed());
            let opened = number.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            // Who has the number by now may be somebody else.
            if let Some(Ok(process)) = opened
                && proc::stat(pid).is_some_and(|stat| stat.parent == this)
            {
                let _ = pidfd_send_signal(&process, END_YOUR_JOB); // fails if it has just ended
            }
        }
    }

    /// Kills the workers, and their jobs with them, if they have any.
    pub(super) fn dismiss(&self) -> Outcome {
        self.pool.terminate();
        Ok(self.pool.join()?)
    }
}
