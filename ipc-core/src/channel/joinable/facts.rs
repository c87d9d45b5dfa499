//! What a joinable queue is like, and how its handles travel.

use core::{fmt, marker::PhantomData};
use std::{sync::Arc, time::Duration};

use super::JoinableQueue;
use crate::{
    channel::options,
    error::Result,
    message::Message,
    object::{lifetime::Ticket, source::Watched, wait::WaitStrategy},
};

impl<T> JoinableQueue<T> {
    pub(crate) fn watched_jobs(&self) -> Watched {
        self.inner.watched_jobs()
    }

    pub(crate) fn watched_end(&self) -> Watched {
        self.inner.watched_end()
    }

    pub(crate) fn watched_room(&self) -> Watched {
        self.inner.queue.watched_room()
    }

    /// How many jobs wait for a worker, those that are to be delivered again included. Exact while nobody puts or gets. Takes
    /// time in proportion to the capacity and the leases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.jobs.waiting()
    }

    /// Whether no job waits for a worker. Takes time in proportion to the capacity and the leases.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a put would find no room for a short job now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.jobs.ring.is_full().unwrap_or(false)
    }

    /// How many jobs are not finished: that wait, or that somebody works on. Exact while nobody puts, gets or finishes. What
    /// [`join`](Self::join) waits for to be 0.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.inner.jobs.unfinished()
    }

    /// How many jobs somebody works on. Takes time in proportion to the leases.
    #[must_use]
    pub fn leased(&self) -> usize {
        self.inner.jobs.leased()
    }

    /// How many dead letters there are. Takes time in proportion to the leases.
    #[must_use]
    pub fn dead_len(&self) -> usize {
        self.inner.jobs.dead()
    }

    /// How many jobs the queue holds at the most that nobody has got.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.jobs.ring.geometry().capacity
    }

    /// How many jobs may be leased, wait for another attempt or be dead letters at once.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.inner.jobs.terms().leases
    }

    /// How often a job is delivered before it becomes a dead letter.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.inner.jobs.terms().max_attempts
    }

    /// How long a worker may keep a job; `None` if there is no end to that.
    #[must_use]
    pub fn lease_time(&self) -> Option<Duration> {
        let ns = self.inner.jobs.terms().lease_ns;
        (ns != 0).then(|| Duration::from_nanos(ns))
    }

    /// Bytes for jobs that do not fit into a cell.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.inner.jobs.ring.geometry().slab.bytes()
    }

    /// The longest job that the queue takes, in encoded bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.inner.jobs.ring.geometry().most_bytes()
    }

    /// Whether the queue is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.jobs.ring.is_closed()
    }

    /// The queue's name; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.queue.member.object.name()
    }

    /// Removes the queue's name. Who has the queue open keeps it; its memory is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now.
    pub fn unlink(&self) -> Result<()> {
        self.inner.queue.member.object.unlink()
    }

    /// Looks for dead participants now and repairs what they left. Returns how many there were. Waiting and attaching do
    /// this by themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn sweep(&self) -> Result<u32> {
        self.inner.queue.member.object.sweep()
    }

    /// What blocking calls on this handle do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.wait = strategy;
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            wait: self.wait,
            _message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("object", &self.inner.queue.member.object.label())
            .finish_non_exhaustive()
    }
}

impl<T> serde::Serialize for JoinableQueue<T> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner
            .queue
            .member
            .object
            .ticket()
            .serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for JoinableQueue<T> {
    /// Attaches to the queue.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        options::redeem(&ticket).map_err(serde::de::Error::custom)
    }
}
