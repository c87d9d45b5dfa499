//! A job that this process works on.

use core::{fmt, mem::ManuallyDrop, ops::Deref};

use super::{
    JoinableQueue,
    errors::{GetJobError, LeaseError},
    finish::Lost,
    inner::Inner,
    jobs::{Jobs, Lease},
};
use crate::{error::Damage, message::Message};

/// A job from a [`JoinableQueue`](crate::JoinableQueue), with the duty to say when it is done.
///
/// It dereferences to its value. Dropped without [`task_done`](Self::task_done), by an early return or a panic, it is
/// given back: somebody gets it again, or it becomes a dead letter after its last attempt. The same happens when the process is
/// killed. (A forked child's copy is no job of the child's: it cannot finish it, and dropping it does nothing.)
#[must_use = "a job that is dropped is given back to the queue"]
pub struct Job<'q, T> {
    pub(super) value: T,
    pub(super) held: Held<'q>,
}

/// A lease, given back when dropped.
#[derive(Debug)]
pub(super) struct Held<'q> {
    inner: &'q Inner,
    lease: Lease,
}

impl<'q> Held<'q> {
    #[inline]
    pub(super) fn new(inner: &'q Inner, lease: Lease) -> Self {
        Self { inner, lease }
    }

    /// Ends the lease as `end` does.
    #[inline(always)]
    fn settle(
        self,
        end: impl FnOnce(&Jobs, &Lease) -> Result<Result<(), Lost>, Damage>,
    ) -> Result<(), LeaseError> {
        let held = ManuallyDrop::new(self);
        held.inner.settle(&held.lease, end)
    }
}

impl Drop for Held<'_> {
    #[cold]
    fn drop(&mut self) {
        // What cannot be given back is lost already, or the queue is.
        let _ = self
            .inner
            .settle(&self.lease, |jobs, lease| jobs.give_back(lease));
    }
}

impl<T> Job<'_, T> {
    /// Which attempt at this job it is, from 1 on. A process that is killed within a few instructions of taking it may not count.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.held.lease.attempt
    }

    /// The job is done, and will not be delivered again. Who joins the queue learns of it.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Lost`] if the lease was over: somebody else does the job again, or has done it.
    #[inline(always)]
    pub fn task_done(self) -> Result<(), LeaseError> {
        self.held.settle(Jobs::finish)
    }

    /// Gives the job back: somebody gets it again, or it becomes a dead letter after its last attempt. As dropping it, but
    /// it says whether that went well.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Lost`] if the lease was over, and others have it already.
    pub fn give_back(self) -> Result<(), LeaseError> {
        self.held.settle(Jobs::give_back)
    }

    /// Makes a dead letter of the job, whatever attempt it is: who knows that another one will not do better.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Lost`] if the lease was over.
    pub fn give_up(self) -> Result<(), LeaseError> {
        self.held.settle(Jobs::bury)
    }

    /// Begins the lease anew, for the queue's whole [lease time](crate::QueueOptions::lease_time) from now on. Without one, it
    /// only says whether the job is still this process's.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Lost`] if the lease was over, and others have the job already.
    pub fn renew(&mut self) -> Result<(), LeaseError> {
        let Held { inner, lease } = &mut self.held;
        let mut renewed = None;
        let settled = inner.settle(lease, |jobs, lease| {
            renewed = jobs.renew(lease)?.ok();
            Ok(renewed.map(|_| ()).ok_or(Lost))
        });
        if let Some(meta) = renewed {
            lease.meta = meta;
        }
        settled
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value alone. The job stays leased to this thread until it calls
    /// [`JoinableQueue::task_done`](crate::JoinableQueue::task_done), which finishes the jobs in the order in which their values
    /// were taken; or until this process's last clone of the handle is dropped, which gives it back.
    pub fn into_value(self) -> T {
        let Self { value, held } = self;
        let held = ManuallyDrop::new(held);
        held.inner.keep(held.lease);
        value
    }
}

impl<T> Deref for Job<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("value", &self.value)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// A job that was delivered as often as is allowed, or that is no value of the queue's type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// The job.
    pub value: T,
    /// How often it was delivered, or a worker died while it took it.
    pub attempts: u32,
}

/// The jobs of a [`JoinableQueue`] until it is closed and all are finished; from [`JoinableQueue::iter`].
#[derive(Debug)]
pub struct JobIter<'q, T>(&'q JoinableQueue<T>);

impl<'q, T> JobIter<'q, T> {
    pub(super) fn of(queue: &'q JoinableQueue<T>) -> Self {
        Self(queue)
    }
}

impl<'q, T: Message> Iterator for JobIter<'q, T> {
    type Item = Result<Job<'q, T>, GetJobError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.get() {
            Err(GetJobError::Closed) => None,
            other => Some(other),
        }
    }
}

impl<'q, T: Message> IntoIterator for &'q JoinableQueue<T> {
    type Item = Result<Job<'q, T>, GetJobError>;
    type IntoIter = JobIter<'q, T>;

    fn into_iter(self) -> JobIter<'q, T> {
        self.iter()
    }
}
