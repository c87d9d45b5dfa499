//! Last in, first out.

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

/// A bounded last-in first-out queue between processes: a stack that blocks.
///
/// Any number of threads in any number of processes put and get. Types, bounds and waiting are those of a
/// [`Queue`](crate::Queue), and so are the errors; a handle is cheap to clone, and itself a message.
///
/// # Blocking
///
/// [`put`](Self::put) and [`get`](Self::get) block, `_timeout` for so long. `try_` wait neither for messages nor for room. But all
/// calls pass a lock, one at a time, for some tens of nanoseconds, in which no message is copied; what comes first is decided
/// there. A put or get that finds room or a message, and the lock free, makes no system call, unless somebody sleeps.
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
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-lifo-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{GetError, LifoQueue};
///
/// let pages: LifoQueue<String> = LifoQueue::options(64).namespace(&namespace).create("pages")?;
/// pages.put("first".into())?;
/// pages.put("second".into())?;
/// pages.close();
///
/// assert_eq!(pages.get()?, "second");
/// assert_eq!(pages.get()?, "first");
/// assert!(matches!(pages.get(), Err(GetError::Closed)));
/// # pages.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LifoQueue<T> {
    inner: Arc<Inner>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

face!(LifoQueue, "LifoQueue", Kind::LifoQueue, LifoIter, T);

/// The messages of a [`LifoQueue`] until it is closed and empty; from [`LifoQueue::iter`].
#[derive(Debug)]
pub struct LifoIter<'a, T>(&'a LifoQueue<T>);

impl<T: Message> LifoQueue<T> {
    /// Puts a message; blocks while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the message. A dead peer is no error.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        let put = self.put_until(&value, Some(Deadline::NEVER));
        put.map_err(|refused| PutError::new(value, refused))
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TryPutError`], with the message.
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        let put = self.put_until(&value, None);
        put.map_err(|refused| TryPutError::new(value, refused))
    }

    /// Puts a message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutTimeoutError`], with the message.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        let put = self.put_until(&value, Some(Deadline::after(timeout)));
        put.map_err(|refused| PutTimeoutError::new(value, refused))
    }

    fn put_until(&self, value: &T, deadline: Option<Deadline>) -> Result<(), Refused> {
        let manner = deadline.map_or(self.now(), |deadline| self.until(deadline));
        let put = value.encode(|bytes| self.inner.put(0, bytes, manner));
        put.unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Gets the youngest message; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] once the queue is closed and every message was got.
    pub fn get(&self) -> Result<T, GetError> {
        let got = self.inner.get(self.until(Deadline::NEVER));
        got.map(|(_, value)| value).map_err(Unmet::not_at_all)
    }

    /// Gets the youngest message if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    pub fn try_get(&self) -> Result<T, TryGetError> {
        let got = self.inner.get(self.now());
        got.map(|(_, value)| value).map_err(Unmet::not_now)
    }

    /// Gets the youngest message; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`GetTimeoutError`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        let got = self.inner.get(self.until(Deadline::after(timeout)));
        got.map(|(_, value)| value).map_err(Unmet::not_in_time)
    }

    /// A copy of the youngest message, which stays.
    ///
    /// # Errors
    ///
    /// [`TryGetError`]; Empty also where others got each message that it looked at.
    pub fn peek(&self) -> Result<T, TryGetError> {
        let peeked = self.inner.peek(self.now());
        peeked.map(|(_, value)| value).map_err(Unmet::not_now)
    }
}
