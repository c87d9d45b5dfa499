//! A bounded queue that any number of processes put to and get from.
//!
//! Read in this order: `cell` (the claim word), `ring` with `put`, `get`, `look` and `repair` (the algorithm, which never
//! waits), `inner` with `claim` and `group` (waiting and errors), `loan` (messages in place), this file (types and the public face), `container` (for the
//! options that all queues share).

#![expect(unsafe_code, reason = "one uninitialised value on the fast path")]

mod cell;
pub(super) mod claim;
pub(crate) mod container;
pub(super) mod geometry;
pub(super) mod get;
pub(super) mod group;
pub(super) mod hand_over;
pub(super) mod inner;
mod loan;
mod look;
pub(super) mod put;
mod repair;
pub(crate) mod ring;
mod source;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(any(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod tests;

use core::{fmt, marker::PhantomData, mem::MaybeUninit};
use std::{sync::Arc, time::Duration};

use self::{group::Group, inner::Inner, ring::Ring};
use crate::{
    channel::{
        errors::{
            GetError, GetTimeoutError, PutError, PutManyError, PutTimeoutError, Refused,
            TryGetError, TryPutError, Unmet,
        },
        options::{self, QueueOptions},
        target::Target,
    },
    error::Result,
    message::{Bytes, Message},
    object::{
        lifetime::{Object, Ticket},
        source::Watched,
        wait::{Deadline, WaitStrategy},
    },
};

/// A bounded first-in first-out queue between processes.
///
/// Any number of threads in any number of processes put and get. The queue is bounded by a count of messages (its
/// capacity) and by bytes (its memory, for messages longer than a cell). A handle is cheap to clone and is itself a
/// message, so it can be sent to other processes.
///
/// # Types
///
/// `T` is any `Serialize + DeserializeOwned` type, [`Plain`](crate::Plain) for `bytemuck` types, or
/// [`Bytes`](crate::Bytes). A queue remembers its type; opening it with another is an error.
///
/// # Blocking
///
/// [`put`](Self::put) and [`get`](Self::get) block, `try_` never, `_timeout` for so long. Waiting spins for a few
/// microseconds at first where that pays ([`WaitStrategy`]) and then sleeps in the kernel. A put or get that
/// succeeds at once makes no system call, unless somebody sleeps, or did until it died or gave up.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | in a put | the message is there whole, or was never there |
/// | in a get, before it took the message | the message is delivered to somebody else; it may come after younger ones |
/// | after that, also reading [in place](Self::get_ref) | the message is gone: at-most-once |
/// | with a [loan](Self::loan) that is not put, or a reference | its memory is free |
/// | while it slept | nothing |
///
/// Who waits, or finds the queue empty or full, learns of a death within about 100 ms. A *stopped* process is alive: a message it is
/// taking stays its own. Gets pass over the cell of a stopped producer. Producers that come round to the cell of a stopped process
/// find the queue full until it goes on or dies.
///
/// # Order
///
/// The queue is linearizable: messages come out in the order in which their puts took effect, with one exception: those that
/// a consumer took and did not deliver come late (it died, its decoding panicked, or a `get_many` ended before a message that
/// cannot be decoded). Large messages that wait for memory may be overtaken by smaller ones of other producers.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-queue-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{GetError, Queue};
///
/// let jobs: Queue<(u32, String)> = Queue::options(1024).namespace(&namespace).create("jobs")?;
/// jobs.put((1, "first".into()))?;
/// jobs.put((2, "second".into()))?;
/// jobs.close(); // no more puts, in any process
///
/// assert_eq!(jobs.get()?, (1, "first".into()));
/// assert_eq!(jobs.get()?, (2, "second".into()));
/// assert!(matches!(jobs.get(), Err(GetError::Closed)));
/// # jobs.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The algorithm is Vyukov's bounded queue (<https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>)
/// with the owner in the claim word.
pub struct Queue<T> {
    inner: Arc<Inner>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Queue<T> {
    /// Makes a queue of `capacity` messages under `name`, with default [options](Self::options).
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

    /// Settings for a queue of `capacity` messages.
    pub fn options(capacity: usize) -> QueueOptions<T> {
        QueueOptions::new(capacity)
    }

    fn over(object: Arc<Object>, ring: Arc<Ring>, wait: WaitStrategy) -> Self {
        Self {
            inner: Arc::new(Inner::new(object, ring)),
            wait,
            _message: PhantomData,
        }
    }

    /// Puts a message; blocks while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the message. A dead peer is no error.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_until(&value, Deadline::NEVER)
            .map_err(|refused| PutError::new(value, refused))
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TryPutError`], with the message.
    #[inline]
    pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
        value
            .encode(|bytes| self.inner.try_put(bytes))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
            .map_err(|refused| TryPutError::new(value, refused))
    }

    /// Puts a message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`PutTimeoutError`], with the message.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
        self.put_until(&value, Deadline::after(timeout))
            .map_err(|refused| PutTimeoutError::new(value, refused))
    }

    #[inline]
    fn put_until(&self, value: &T, deadline: Deadline) -> Result<(), Refused> {
        value
            .encode(|bytes| self.inner.put(bytes, self.wait, deadline))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Puts all messages, in order, and blocks while there is no room. Others may put in between. Returns how many there
    /// were.
    ///
    /// Cheaper than single puts: messages become visible in groups of up to 32, as far ahead as the iterator promises to go
    /// on ([`size_hint`](Iterator::size_hint)). One that promises nothing, such as the lines of a file, is put message by
    /// message. One that promises more but waits for something makes the messages before that wait too: it must not wait for
    /// what comes of them. If this process is killed, up to 32 messages that were already taken from the iterator were never
    /// put. Until a group is committed, its cells are taken, and a closed queue is not yet drained.
    ///
    /// # Errors
    ///
    /// [`PutManyError`] tells how many this call put and gives the next one back. Pass `&mut iterator` to keep the rest.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        let mut put = 0;
        let mut group = Group::new(&self.inner);
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

    /// Gets the oldest message; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] once the queue is closed and every message was got.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        // Received where it is returned from: a value that comes through several layers is copied by each.
        let mut value = MaybeUninit::uninit();
        match self.get_until(Deadline::NEVER, &mut value) {
            // SAFETY: `get_until` leaves a value there unless it fails.
            Ok(()) => Ok(unsafe { value.assume_init() }),
            Err(unmet) => Err(unmet.not_at_all()),
        }
    }

    /// Gets the oldest message if there is one now. Never says Empty after a put has returned whose message nobody got.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    #[inline]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        let mut value = MaybeUninit::uninit();
        let got = match self.inner.get_next(&mut value) {
            Ok(()) => Ok(()),
            Err(unmet) => self.inner.retry(unmet, || self.inner.try_get(&mut value)),
        };
        match got {
            // SAFETY: both leave a value there unless they fail.
            Ok(()) => Ok(unsafe { value.assume_init() }),
            Err(unmet) => Err(unmet.not_now()),
        }
    }

    /// Gets the oldest message; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`GetTimeoutError`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        let mut value = MaybeUninit::uninit();
        match self.get_until(Deadline::after(timeout), &mut value) {
            // SAFETY: `get_until` leaves a value there unless it fails.
            Ok(()) => Ok(unsafe { value.assume_init() }),
            Err(unmet) => Err(unmet.not_in_time()),
        }
    }

    #[inline]
    fn get_until(&self, deadline: Deadline, to: &mut impl Target) -> Result<(), Unmet> {
        match self.inner.get_next(to) {
            Ok(()) => Ok(()),
            Err(unmet) => self.spin_for_one(unmet, deadline, to),
        }
    }

    /// As [`Self::wait_for_one`], with a short way to the caller for what comes soon.
    #[cold]
    #[inline(never)]
    fn spin_for_one(
        &self,
        unmet: Unmet,
        deadline: Deadline,
        to: &mut impl Target,
    ) -> Result<(), Unmet> {
        let again = match unmet {
            Unmet::GaveUp if self.inner.spin_to_get(self.wait) => self.inner.get_next(to),
            unmet => Err(unmet),
        };
        match again {
            Ok(()) => Ok(()),
            Err(unmet) => self.wait_for_one(unmet, deadline, to),
        }
    }

    /// What a get does when there was nothing at once.
    #[cold]
    #[inline(never)]
    fn wait_for_one(
        &self,
        unmet: Unmet,
        deadline: Deadline,
        to: &mut impl Target,
    ) -> Result<(), Unmet> {
        match unmet {
            Unmet::GaveUp | Unmet::BeingPut => self
                .inner
                .wait_to_get(self.wait, deadline, || self.inner.try_get(to)),
            error => Err(error),
        }
    }

    /// Gets up to `max` of the oldest messages, but at most 1024; blocks while there is none. Returns at least one, unless
    /// `max` is 0.
    ///
    /// The messages are taken together: if this process is killed before all are copied, others get them. They are committed
    /// one after another right before this returns.
    ///
    /// # Errors
    ///
    /// [`GetError`]. A message that cannot be decoded is an error only if it comes first.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let got = self
            .inner
            .wait_to_get(self.wait, Deadline::NEVER, || self.inner.try_get_many(max));
        got.map_err(Unmet::not_at_all)
    }

    /// Gets up to `max` of the oldest messages that are there now, but at most 1024.
    ///
    /// # Errors
    ///
    /// [`TryGetError`], also if there is no message.
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, TryGetError> {
        self.inner
            .try_get_many(max)
            .or_else(|unmet| self.inner.retry(unmet, || self.inner.try_get_many(max)))
            .map_err(Unmet::not_now)
    }

    /// A copy of the oldest message, which stays. Never blocks.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    pub fn peek(&self) -> Result<T, TryGetError> {
        let mut value = MaybeUninit::uninit();
        // SAFETY: `peek` leaves a value there unless it fails.
        let peeked = self
            .inner
            .peek(&mut value)
            .map(|()| unsafe { value.assume_init() });
        peeked.map_err(Unmet::not_now)
    }

    /// The messages, as [`get`](Self::get) gets them, until the queue is closed and empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }
}

impl Queue<Bytes> {
    /// As [`put`](Self::put), for bytes that the caller keeps: they are copied once, into the queue.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn put_slice(&self, bytes: &[u8]) -> Result<(), PutError<()>> {
        let put = self.inner.put(bytes, self.wait, Deadline::NEVER);
        put.map_err(|refused| PutError::new((), refused))
    }

    /// As [`get`](Self::get), into the caller's buffer, whose old contents go, also on an error. Returns the message's length.
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn get_into(&self, buffer: &mut Vec<u8>) -> Result<usize, GetError> {
        match self.get_until(Deadline::NEVER, buffer) {
            Ok(()) => Ok(buffer.len()),
            Err(unmet) => Err(unmet.not_at_all()),
        }
    }
}

impl<T> Queue<T> {
    pub(crate) fn watched_items(&self) -> Watched {
        self.inner.watched_items()
    }

    pub(crate) fn watched_room(&self) -> Watched {
        self.inner.watched_room()
    }

    /// How many messages are in the queue. Exact while nobody puts or gets. Takes time in proportion to the capacity.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.ring.len()
    }

    /// Whether a get would find nothing now. Takes time in proportion to the capacity where gets overtook one another.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.ring.is_empty()
    }

    /// Whether a put would find no room for a short message now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.ring.is_full().unwrap_or(false)
    }

    /// How many messages the queue holds at the most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.ring.geometry().capacity
    }

    /// Bytes for messages that do not fit into a cell.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.inner.ring.geometry().slab.bytes()
    }

    /// The longest message that the queue takes, in encoded bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.inner.ring.geometry().most_bytes()
    }

    /// Closes the queue for all processes: puts fail from now on, gets drain what is there and then say Closed. Closing
    /// twice is fine.
    pub fn close(&self) {
        self.inner.ring.close();
    }

    /// Whether the queue is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.ring.is_closed()
    }

    /// The queue's name; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.member.object.name()
    }

    /// Removes the queue's name. Who has the queue open keeps it; its memory is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now.
    pub fn unlink(&self) -> Result<()> {
        self.inner.member.object.unlink()
    }

    /// Looks for dead participants now and repairs what they left. Returns how many there were. Waiting and attaching do
    /// this by themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn sweep(&self) -> Result<u32> {
        self.inner.member.object.sweep()
    }

    /// What blocking calls on this handle do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.wait = strategy;
    }
}

/// The messages of a [`Queue`] until it is closed and empty; from [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Queue<T>);

impl<T: Message> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.get() {
            Err(GetError::Closed) => None,
            other => Some(other),
        }
    }
}

impl<'a, T: Message> IntoIterator for &'a Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            wait: self.wait,
            _message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("object", &self.inner.member.object.label())
            .finish_non_exhaustive()
    }
}

impl<T> serde::Serialize for Queue<T> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.member.object.ticket().serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Queue<T> {
    /// Attaches to the queue.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        options::redeem(&ticket).map_err(serde::de::Error::custom)
    }
}
