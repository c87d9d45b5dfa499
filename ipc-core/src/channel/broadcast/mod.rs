//! A broadcast: what anybody publishes, every subscriber receives.
//!
//! Read in this order: `cell` (the claim word), `ring` (layout, invariants, orderings) with `publish`, `clear`, `read`, `cursors` and
//! `repair` (the algorithm, which never waits), `loan` (messages in place), `log` (a ring in another structure), `inner` (waiting and errors), `source`, this file, `facts` and `subscriber` (the public face), `options`,
//! `errors`.

mod cell;
mod clear;
mod cursors;
mod errors;
mod facts;
mod geometry;
mod inner;
mod loan;
pub(crate) mod log;
pub(crate) mod options;
mod publish;
mod read;
mod repair;
mod ring;
mod source;
mod subscriber;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(any(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod tests;

use core::marker::PhantomData;
use std::{sync::Arc, time::Duration};

pub use errors::{
    PublishError, PublishManyError, PublishTimeoutError, SubscribeError, SubscriberError,
    SubscriberTimeoutError, TryPublishError, TrySubscriberError,
};
pub use options::BroadcastOptions;
pub use subscriber::{Subscriber, SubscriberIter};

use self::{inner::Inner, ring::Ring};
use crate::{
    channel::errors::Refused,
    error::Result,
    message::{Bytes, Message},
    object::{
        lifetime::Object,
        wait::{Deadline, WaitStrategy},
    },
};

/// What is published reaches every subscriber: one order of messages, which all see from where they began.
///
/// Any number of threads in any number of processes publish, on a handle. Each subscriber ([`subscribe`](Self::subscribe)) receives every
/// message that is published from its beginning on, at its own pace. A handle is cheap to clone and is itself a message, so it can be
/// sent to other processes.
///
/// # Lossless or lossy
///
/// The ring holds the last `capacity` messages. What happens when a subscriber is that far behind is chosen at creation:
///
/// * **Lossless** (the default, as nobody here loses data unasked): publishers wait for the slowest subscriber. A dead one is dropped within
///   about 100 ms. A *stopped* one is alive: publishers wait until it goes on or dies, and [`publish_timeout`](Self::publish_timeout) says
///   so. How many subscribers there can be is fixed at creation.
/// * **Lossy**: publishers do not wait, and the subscriber is told how many messages it has missed
///   ([`SubscriberError::Lagged`]). Subscribers write nothing to shared memory, and there may be any number of them.
///
/// Where nobody subscribes, messages go to nobody: the ring keeps the last ones for who asks for them
/// ([`subscribe_from_oldest`](Self::subscribe_from_oldest)).
///
/// # Types
///
/// `T` is any `Serialize + DeserializeOwned` type, [`Plain`](crate::Plain) for `bytemuck` types, or [`Bytes`](crate::Bytes). A broadcast
/// remembers its type; opening it with another is an error.
///
/// # Blocking
///
/// [`publish`](Self::publish) and [`recv`](Subscriber::recv) block, `try_` never, `_timeout` for so long. Waiting spins for a few microseconds
/// at first where that pays ([`WaitStrategy`]) and then sleeps in the kernel. What succeeds at once makes no system call, unless somebody
/// sleeps. A publish costs the same however many subscribe: it looks at the subscribers once in a pass over the ring. (While some sleep, each
/// publish wakes them, which costs in proportion to their number.)
///
/// # Large messages
///
/// Messages longer than a cell lie in the broadcast's memory, which holds those that are still in the ring. Where that is too little for
/// `capacity` of them, a publish takes the memory of the oldest; in a lossless broadcast only of messages that everybody has received.
/// Bytes can be written in place, and in a lossless broadcast read in place, without a copy ([`loan`](Broadcast::loan),
/// [`recv_ref`](Subscriber::recv_ref)).
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | in a publish | the message is there whole, for all, or was never there |
/// | with a loan | its memory is free again |
/// | as a subscriber of a lossless broadcast | it is dropped, and publishers go on |
/// | as a subscriber of a lossy one, or while it slept | nothing |
///
/// Who waits, or finds nothing or no room, learns of a death within about 100 ms. A publisher that is *stopped* in the few nanoseconds of
/// filling a cell keeps subscribers waiting at its message, as all see one order, and publishers that come round to it, until it goes on or
/// dies. A forked child publishes on a handle of its parent's; it makes subscribers of its own.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-broadcast-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Broadcast, SubscriberError};
///
/// let prices: Broadcast<(String, u64)> =
///     Broadcast::options(1024).namespace(&namespace).create("prices")?;
/// let mut first = prices.subscribe()?;
/// prices.publish(("bread".into(), 320))?;
/// let mut second = prices.subscribe()?; // in any process
/// prices.publish(("milk".into(), 140))?;
/// prices.close();
///
/// assert_eq!(first.recv()?.1, 320);
/// assert_eq!(first.recv()?.1, 140);
/// assert_eq!(second.recv()?.1, 140);
/// assert!(matches!(second.recv(), Err(SubscriberError::Closed)));
/// # prices.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The algorithm is Vyukov's bounded queue
/// (<https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>) with the owner in the claim word, and read as a
/// seqlock is (Boehm, "Can seqlocks get along with programming language memory models?", 2012).
pub struct Broadcast<T> {
    inner: Arc<Inner>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Broadcast<T> {
    /// Makes a lossless broadcast of the last `capacity` messages under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`BroadcastOptions::create`].
    pub fn create(name: &str, capacity: usize) -> Result<Self> {
        Self::options(capacity).create(name)
    }

    /// Opens the broadcast `name`.
    ///
    /// # Errors
    ///
    /// See [`BroadcastOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::options(1).open(name)
    }

    /// Opens the broadcast `name`, or makes it with `capacity`.
    ///
    /// # Errors
    ///
    /// See [`BroadcastOptions::open_or_create`].
    pub fn open_or_create(name: &str, capacity: usize) -> Result<Self> {
        Self::options(capacity).open_or_create(name)
    }

    /// Makes a broadcast without a name, which goes with its last user.
    ///
    /// # Errors
    ///
    /// See [`BroadcastOptions::anonymous`].
    pub fn anonymous(capacity: usize) -> Result<Self> {
        Self::options(capacity).anonymous()
    }

    /// Settings for a broadcast of the last `capacity` messages.
    pub fn options(capacity: usize) -> BroadcastOptions<T> {
        BroadcastOptions::new(capacity)
    }

    fn over(object: Arc<Object>, ring: Arc<Ring>, wait: WaitStrategy) -> Self {
        Self {
            inner: Arc::new(Inner::new(object, ring)),
            wait,
            _message: PhantomData,
        }
    }

    /// Publishes a message. Of a lossless broadcast, blocks while a subscriber has still to receive the message that would be overwritten.
    ///
    /// # Errors
    ///
    /// [`PublishError`], with the message. A dead peer is no error, nor is that nobody subscribes.
    #[inline]
    pub fn publish(&self, value: T) -> Result<(), PublishError<T>> {
        self.publish_until(&value, Deadline::NEVER)
            .map_err(|refused| PublishError::new(value, refused))
    }

    /// Publishes a message if there is room now. In a lossy broadcast there is, unless another publisher is, or was stopped, in the middle
    /// of its work on just that cell.
    ///
    /// # Errors
    ///
    /// [`TryPublishError`], with the message.
    #[inline]
    pub fn try_publish(&self, value: T) -> Result<(), TryPublishError<T>> {
        value
            .encode(|bytes| self.inner.try_publish(bytes))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
            .map_err(|refused| TryPublishError::new(value, refused))
    }

    /// Publishes a message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`PublishTimeoutError`], with the message.
    pub fn publish_timeout(
        &self,
        value: T,
        timeout: Duration,
    ) -> Result<(), PublishTimeoutError<T>> {
        self.publish_until(&value, Deadline::after(timeout))
            .map_err(|refused| PublishTimeoutError::new(value, refused))
    }

    #[inline]
    fn publish_until(&self, value: &T, deadline: Deadline) -> Result<(), Refused> {
        value
            .encode(|bytes| self.inner.publish(bytes, self.wait, deadline))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Publishes all messages, in order, as [`publish`](Self::publish) does. Others may publish in between. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`PublishManyError`] tells how many this call published and gives the next one back. Pass `&mut iterator` to keep the rest.
    pub fn publish_many(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<usize, PublishManyError<T>> {
        let mut published = 0;
        for value in values {
            self.publish(value)
                .map_err(|error| PublishManyError { published, error })?;
            published += 1;
        }
        Ok(published)
    }

    /// A subscriber that receives everything that is published from now on: whatever was published before this call began is not for it, and
    /// whatever is published after it returned is.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::TooMany`] in a lossless broadcast that has all the subscribers it was created for.
    pub fn subscribe(&self) -> Result<Subscriber<T>, SubscribeError> {
        self.subscriber(false)
    }

    /// As [`subscribe`](Self::subscribe), but beginning with the oldest message that is still there.
    ///
    /// In a lossless broadcast those messages are copied to private memory, as nobody keeps them for a subscriber that comes late: as many
    /// as there are without a gap up to now. It waits for a publisher that is in the middle of its work, as a receive does.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_from_oldest(&self) -> Result<Subscriber<T>, SubscribeError> {
        self.subscriber(true)
    }

    fn subscriber(&self, is_from_oldest: bool) -> Result<Subscriber<T>, SubscribeError> {
        let reader = self.inner.subscribe(is_from_oldest, self.wait)?;
        Ok(Subscriber::new(Arc::clone(&self.inner), reader, self.wait))
    }
}

impl Broadcast<Bytes> {
    /// As [`publish`](Self::publish), for bytes that the caller keeps: they are copied once, into the broadcast.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn publish_slice(&self, bytes: &[u8]) -> Result<(), PublishError<()>> {
        let published = self.inner.publish(bytes, self.wait, Deadline::NEVER);
        published.map_err(|refused| PublishError::new((), refused))
    }
}
