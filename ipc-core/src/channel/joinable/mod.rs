//! A queue of jobs: what was got is leased, and comes back unless it is reported as done.
//!
//! Read in this order: `record` (the claim word), `table` with `lease`, `finish`, `survey`, `letters` and `repair` (the algorithm
//! and the argument), `jobs` (the ring and the table together), `inner` (errors) with `waiting`, `kept` and `source`, `job`, `facts` and this file (the public
//! face), `terms` and `container` (the options). The ring is the one of `crate::channel::queue`.

#![expect(unsafe_code, reason = "one uninitialised value on the fast path")]

mod bulk;
mod container;
pub(crate) mod errors;
mod facts;
mod finish;
mod inner;
mod job;
pub(crate) mod jobs;
mod kept;
mod lease;
mod letters;
mod record;
mod repair;
mod source;
mod survey;
mod table;
pub(crate) mod terms;
mod waiting;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(any(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod tests;

use core::{marker::PhantomData, mem::MaybeUninit};
use std::{sync::Arc, time::Duration};

pub use job::{DeadLetter, Job, JobIter};

use self::{
    errors::{GetJobError, GetJobTimeoutError, TaskDoneError, TryGetJobError, Unmet},
    inner::Inner,
    job::Held,
    jobs::{Jobs, Lease},
};
use crate::{
    channel::{
        errors::{PutError, PutManyError, PutTimeoutError, Refused, TryPutError},
        options::QueueOptions,
        queue::group::Group,
    },
    error::Result,
    message::{DecodeError, Message, Received},
    object::{
        lifetime::Object,
        wait::{Deadline, WaitStrategy},
    },
};

/// A bounded first-in first-out queue of jobs: each is delivered until a worker says that it is done.
///
/// [`get`](Self::get) leases a [`Job`] to this process. [`Job::task_done`] ends that for good; a job that is dropped, or whose
/// worker is killed or keeps it longer than the [lease time](QueueOptions::lease_time), is delivered again, and after
/// [so many attempts](QueueOptions::max_attempts) it becomes a dead letter. [`join`](Self::join) waits until no job is left.
/// A handle is cheap to clone and is itself a message, so it can be sent to other processes.
///
/// # Types
///
/// As for a [`Queue`](crate::Queue): any `Serialize + DeserializeOwned` type, [`Plain`](crate::Plain), or
/// [`Bytes`](crate::Bytes).
///
/// # Blocking
///
/// [`put`](Self::put), [`get`](Self::get) and [`join`](Self::join) block, `try_` never, `_timeout` for so long. A put, a get or a
/// `task_done` that succeeds at once makes no system call, unless somebody sleeps. With a lease time, gets also read the clock. To wait
/// for a job, or until all are finished, beside other things: [`WaitSet`](crate::WaitSet), [`Pollable`](crate::Pollable).
///
/// # Room
///
/// The capacity bounds the jobs that nobody has got yet. Those that are leased, wait for another attempt, or are dead letters
/// are bounded by [`leases`](QueueOptions::leases): while there are so many, gets wait for one to be finished; if all are
/// dead letters, which only people can deal with, they are refused. Large jobs use [`memory`](QueueOptions::memory) until
/// they are done.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | in a put | the job is there whole, or was never there |
/// | in a get | the job is delivered to somebody else; that may count as an attempt |
/// | working on a job | it is delivered to somebody else, or is a dead letter if it was the last attempt |
/// | in `task_done` | the job is done, or as above |
/// | while it slept, or removed a dead letter | nothing |
///
/// So a job is done *at least* once: a worker that is killed between its work and `task_done` has done it, and another one does it
/// again. Who waits, or finds the queue empty, learns of a death within about 100 ms. A *stopped* worker is alive and keeps its
/// jobs, unless there is a lease time.
///
/// # Order
///
/// First in, first out, but jobs that are delivered again come first, the oldest of them before the others.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-joinable-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::JoinableQueue;
///
/// let jobs: JoinableQueue<u32> = JoinableQueue::options(100).namespace(&namespace).create("jobs")?;
/// jobs.put(6)?;
/// jobs.put(7)?;
///
/// let job = jobs.get()?; // in any process
/// assert_eq!((*job, job.attempt()), (6, 1));
/// drop(job); // not done: somebody gets it again
///
/// let job = jobs.get()?;
/// assert_eq!((*job, job.attempt()), (6, 2));
/// job.task_done()?;
/// jobs.get()?.task_done()?;
/// jobs.join()?; // returns, as both are done
/// # jobs.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The ring is the [`Queue`](crate::Queue)'s. Leases, attempts and dead letters are those of Amazon SQS
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>); `join` and
/// `task_done` are Python's.
pub struct JoinableQueue<T> {
    inner: Arc<Inner>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> JoinableQueue<T> {
    /// Makes a queue of `capacity` jobs under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`QueueOptions::create`].
    pub fn create(name: &str, capacity: usize) -> Result<Self> {
        Self::options(capacity).create(name)
    }

    /// Opens the queue `name`.
    ///
    /// # Errors
    ///
    /// See [`QueueOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::options(1).open(name)
    }

    /// Opens the queue `name`, or makes it with `capacity`.
    ///
    /// # Errors
    ///
    /// See [`QueueOptions::open_or_create`].
    pub fn open_or_create(name: &str, capacity: usize) -> Result<Self> {
        Self::options(capacity).open_or_create(name)
    }

    /// Makes a queue without a name, which goes with its last user.
    ///
    /// # Errors
    ///
    /// See [`QueueOptions::anonymous`].
    pub fn anonymous(capacity: usize) -> Result<Self> {
        Self::options(capacity).anonymous()
    }

    /// Settings for a queue of `capacity` jobs.
    pub fn options(capacity: usize) -> QueueOptions<T, Self> {
        QueueOptions::new(capacity)
    }

    /// Puts a job; blocks while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the job. A dead peer is no error.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_until(&value, Deadline::NEVER)
            .map_err(|refused| PutError::new(value, refused))
    }

    /// Puts a job if there is room now.
    ///
    /// # Errors
    ///
    /// [`TryPutError`], with the job.
    #[inline]
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        value
            .encode(|bytes| self.inner.queue.try_put(bytes))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
            .map_err(|refused| TryPutError::new(value, refused))
    }

    /// Puts a job; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutTimeoutError`], with the job.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.put_until(&value, Deadline::after(timeout))
            .map_err(|refused| PutTimeoutError::new(value, refused))
    }

    #[inline]
    fn put_until(&self, value: &T, deadline: Deadline) -> Result<(), Refused> {
        value
            .encode(|bytes| self.inner.queue.put(bytes, self.wait, deadline))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Puts all jobs, in order, and blocks while there is no room; in groups, as [`Queue::put_many`](crate::Queue::put_many)
    /// says. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`PutManyError`] tells how many this call put and gives the next one back. Pass `&mut iterator` to keep the rest.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        let mut put = 0;
        let mut group = Group::new(&self.inner.queue);
        let mut values = values.into_iter();
        while let Some(value) = values.next() {
            let outcome = value.encode(|bytes| group.put(bytes));
            let outcome = match outcome.unwrap_or_else(|e| Err(Refused::Encode(e))) {
                Err(Refused::GaveUp) => self.put_until(&value, Deadline::NEVER),
                Ok(()) if values.size_hint().0 == 0 => group.commit(),
                other => other,
            };
            if let Err(refused) = outcome {
                drop(group); // what is in it is in the queue
                return Err(PutManyError {
                    put,
                    error: PutError::new(value, refused),
                });
            }
            put += 1;
        }
        Ok(put)
    }

    /// Leases the oldest job; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`GetJobError::Closed`] once the queue is closed and every job is finished. While others work on the last ones,
    /// gets wait, as those may come back. So a thread that has a job finishes it before it gets another one of a closed
    /// queue, or it waits for itself.
    #[inline(always)]
    pub fn get(&self) -> Result<Job<'_, T>, GetJobError> {
        // Received where it is returned from, and returned at once: what comes through several layers is copied by each.
        let mut value = MaybeUninit::uninit();
        let mut otherwise = None;
        if let Some(lease) = self.inner.get_next(&mut value, &mut otherwise) {
            // SAFETY: `get_next` leaves a value there if it returns a lease.
            return Ok(self.job(unsafe { value.assume_init() }, lease));
        }
        self.get_patiently(otherwise, value, Deadline::NEVER)
            .map_err(Unmet::not_at_all)
    }

    /// Leases the oldest job if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryGetJobError`].
    #[inline]
    pub fn try_get(&self) -> Result<Job<'_, T>, TryGetJobError> {
        let mut value = MaybeUninit::uninit();
        let mut otherwise = None;
        if let Some(lease) = self.inner.get_next(&mut value, &mut otherwise) {
            // SAFETY: `get_next` leaves a value there if it returns a lease.
            return Ok(self.job(unsafe { value.assume_init() }, lease));
        }
        self.get_slowly(otherwise, value, |to| self.inner.get_now(to))
            .map_err(Unmet::not_now)
    }

    /// Leases the oldest job; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`GetJobTimeoutError`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<Job<'_, T>, GetJobTimeoutError> {
        let mut value = MaybeUninit::uninit();
        let mut otherwise = None;
        if let Some(lease) = self.inner.get_next(&mut value, &mut otherwise) {
            // SAFETY: `get_next` leaves a value there if it returns a lease.
            return Ok(self.job(unsafe { value.assume_init() }, lease));
        }
        self.get_patiently(otherwise, value, Deadline::after(timeout))
            .map_err(Unmet::not_in_time)
    }

    #[inline(always)]
    fn job(&self, value: T, lease: Lease) -> Job<'_, T> {
        Job {
            value,
            held: Held::new(&self.inner, lease),
        }
    }

    /// What a get does that waits, when there was nothing at once.
    fn get_patiently(
        &self,
        otherwise: Option<Result<Lease, Unmet>>,
        value: MaybeUninit<T>,
        deadline: Deadline,
    ) -> Result<Job<'_, T>, Unmet> {
        self.get_slowly(otherwise, value, |to| {
            self.inner.wait_to_get(self.wait, deadline, to)
        })
    }

    /// What a get does that found no short job at once: `otherwise` is what it found.
    #[cold]
    #[inline(never)]
    fn get_slowly(
        &self,
        otherwise: Option<Result<Lease, Unmet>>,
        mut value: MaybeUninit<T>,
        get: impl FnOnce(&mut MaybeUninit<T>) -> Result<Lease, Unmet>,
    ) -> Result<Job<'_, T>, Unmet> {
        let lease = otherwise.unwrap_or_else(|| get(&mut value))?;
        // SAFETY: whoever found a lease has left a value there.
        Ok(self.job(unsafe { value.assume_init() }, lease))
    }

    /// The jobs, as [`get`](Self::get) gets them, until the queue is closed and every job is finished. Each must be
    /// finished or dropped before the next.
    pub fn iter(&self) -> JobIter<'_, T> {
        JobIter::of(self)
    }

    /// Copies of all dead letters, oldest first, which stay. Those that are no value of the queue's type say so. Never blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) and its kin.
    pub fn dead(&self) -> Result<Vec<Result<DeadLetter<T>, DecodeError>>> {
        self.inner.queue.member.check().map_err(|e| *e)?;
        let copied = self.inner.jobs.copy_dead();
        self.inner.queue.member.check().map_err(|e| *e)?;
        let copied = copied.map_err(|damage| *self.inner.damaged(damage))?;
        let decoded = copied.into_iter().map(|letter| {
            let mut value = MaybeUninit::uninit();
            T::decode(Received::Owned(letter.bytes), &mut value)?;
            Ok(DeadLetter {
                // SAFETY: `decode` leaves a value there unless it fails.
                value: unsafe { value.assume_init() },
                attempts: u32::try_from(letter.attempts).unwrap_or(u32::MAX),
            })
        });
        Ok(decoded.collect())
    }

    /// Takes the oldest dead letter out. Never blocks. If this process is killed meanwhile, it is still there, or gone.
    ///
    /// # Errors
    ///
    /// [`TryGetJobError::Empty`] if there is none; [`TryGetJobError::Decode`] if it is no value of the queue's type, in which
    /// case it is gone.
    pub fn take_dead(&self) -> Result<DeadLetter<T>, TryGetJobError> {
        let mut value = MaybeUninit::uninit();
        match self.inner.take_dead(&mut value) {
            Ok(attempts) => Ok(DeadLetter {
                // SAFETY: `take_dead` leaves a value there unless it fails.
                value: unsafe { value.assume_init() },
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            }),
            Err(unmet) => Err(unmet.not_now()),
        }
    }
}

impl<T> JoinableQueue<T> {
    /// Waits until every job that was put is finished: done, or a dead letter. Returns at once if there is none. Jobs
    /// that are put meanwhile are waited for, too. In a closed queue as in an open one.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) and its kin.
    pub fn join(&self) -> Result<()> {
        self.inner.join(self.wait, Deadline::NEVER).map(|_| ())
    }

    /// As [`join`](Self::join), for at most `timeout`. Returns whether all were finished.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        self.inner.join(self.wait, Deadline::after(timeout))
    }

    /// Finishes the job whose [value was taken out](Job::into_value) first among those of this thread.
    ///
    /// # Errors
    ///
    /// [`TaskDoneError::TooOften`] if there is none: more calls than jobs.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.inner.task_done()
    }

    /// Makes every dead letter a job again, with all its attempts before it. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) and its kin.
    pub fn requeue_dead(&self) -> Result<usize> {
        let me = self.inner.queue.member.ready().map_err(|e| *e)?;
        let requeued = self.inner.jobs.requeue_dead(me);
        requeued.map_err(|damage| *self.inner.damaged(damage))
    }

    /// Closes the queue for all processes: puts fail from now on, gets deliver what is there, and what comes back, and say
    /// Closed once every job is finished. Closing twice is fine.
    pub fn close(&self) {
        self.inner.jobs.close();
    }

    fn over(object: Arc<Object>, jobs: Arc<Jobs>, wait: WaitStrategy) -> Self {
        Self {
            inner: Arc::new(Inner::new(object, jobs)),
            wait,
            _message: PhantomData,
        }
    }
}
