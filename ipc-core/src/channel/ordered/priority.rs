//! The lowest priority first; first in, first out among equals.

use core::marker::PhantomData;
use std::{sync::Arc, time::Duration};

use super::{face::face, inner::Inner};
use crate::{
    channel::errors::{
        GetError, GetTimeoutError, PutError, PutTimeoutError, Refused, TryGetError, TryPutError,
        Unmet,
    },
    message::Message,
    object::{
        Kind,
        wait::{Deadline, WaitStrategy},
    },
};

/// A bounded queue between processes from which the message of the lowest priority comes first, and the oldest among equals.
///
/// A priority is an `i64` that is given beside the message: messages need no order of their own, and equal priorities are no
/// reason to compare them. A get returns it with the message, in the order of put's arguments, so that a message can be put again as
/// it came; who does not need it writes `let (_, job) = …`.
///
/// Any number of threads in any number of processes put and get. Types, bounds and waiting are those of a
/// [`Queue`](crate::Queue), and so are the errors; a handle is cheap to clone, and itself a message.
///
/// # Blocking
///
/// [`put`](Self::put) and [`get`](Self::get) block, `_timeout` for so long. `try_` wait neither for messages nor for room. But all
/// calls pass a lock, one at a time, for some tens of nanoseconds and a few more for each doubling of the messages in the queue;
/// no message is copied there. A put or get that finds room or a message, and the lock free, makes no system call, unless somebody
/// sleeps.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | in a put | the message is there whole, or was never there |
/// | in a get, before it was finished | the message is where it was in the order, and is delivered to somebody else |
/// | after that | the message is gone: at-most-once |
/// | while it slept | nothing |
///
/// Who waits, or finds the queue empty, full or locked, learns of a death within about 100 ms; the call after that looks at every cell, and
/// finds the order again. A *stopped* process is alive: a message that it is taking stays its own, and a cell that it is filling
/// stays taken. Whoever is stopped within those tens of nanoseconds in the lock delays everybody until it goes on or dies: calls
/// with a timeout return in time, and `try_` calls say Full or Empty after 100 ms.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-priority-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::PriorityQueue;
///
/// let jobs: PriorityQueue<String> = PriorityQueue::options(64).namespace(&namespace).create("jobs")?;
/// jobs.put(5, "sweep".into())?;
/// jobs.put(-1, "put out the fire".into())?;
/// jobs.put(5, "dust".into())?;
/// jobs.close();
///
/// assert_eq!(jobs.get()?, (-1, "put out the fire".into()));
/// let rest: Result<Vec<_>, _> = jobs.iter().collect();
/// assert_eq!(rest?, [(5, "sweep".into()), (5, "dust".into())]);
/// # jobs.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PriorityQueue<T> {
    inner: Arc<Inner>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

face!(
    PriorityQueue,
    "PriorityQueue",
    Kind::PriorityQueue,
    PriorityIter,
    (i64, T)
);

/// The messages of a [`PriorityQueue`] until it is closed and empty, each with its priority; from [`PriorityQueue::iter`].
#[derive(Debug)]
pub struct PriorityIter<'a, T>(&'a PriorityQueue<T>);

impl<T: Message> PriorityQueue<T> {
    /// Puts a message; blocks while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the message. A dead peer is no error.
    pub fn put(&self, priority: i64, value: T) -> Result<(), PutError<T>> {
        let put = self.put_until(priority, &value, Some(Deadline::NEVER));
        put.map_err(|refused| PutError::new(value, refused))
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TryPutError`], with the message.
    pub fn try_put(&self, priority: i64, value: T) -> Result<(), TryPutError<T>> {
        let put = self.put_until(priority, &value, None);
        put.map_err(|refused| TryPutError::new(value, refused))
    }

    /// Puts a message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutTimeoutError`], with the message.
    pub fn put_timeout(
        &self,
        priority: i64,
        value: T,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<T>> {
        let put = self.put_until(priority, &value, Some(Deadline::after(timeout)));
        put.map_err(|refused| PutTimeoutError::new(value, refused))
    }

    fn put_until(
        &self,
        priority: i64,
        value: &T,
        deadline: Option<Deadline>,
    ) -> Result<(), Refused> {
        let manner = deadline.map_or(self.now(), |deadline| self.until(deadline));
        let put = value.encode(|bytes| self.inner.put(priority, bytes, manner));
        put.unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Gets the message that comes first, and its priority; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] once the queue is closed and every message was got.
    pub fn get(&self) -> Result<(i64, T), GetError> {
        let got = self.inner.get(self.until(Deadline::NEVER));
        got.map_err(Unmet::not_at_all)
    }

    /// Gets the message that comes first, and its priority, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    pub fn try_get(&self) -> Result<(i64, T), TryGetError> {
        self.inner.get(self.now()).map_err(Unmet::not_now)
    }

    /// Gets the message that comes first, and its priority; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`GetTimeoutError`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<(i64, T), GetTimeoutError> {
        let got = self.inner.get(self.until(Deadline::after(timeout)));
        got.map_err(Unmet::not_in_time)
    }

    /// A copy of the message that comes first, which stays, and its priority.
    ///
    /// # Errors
    ///
    /// [`TryGetError`]; Empty also where others got each message that it looked at.
    pub fn peek(&self) -> Result<(i64, T), TryGetError> {
        self.inner.peek(self.now()).map_err(Unmet::not_now)
    }
}
