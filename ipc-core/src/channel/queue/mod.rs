//! A bounded queue that any number of processes put to and get from.
//!
//! Read in this order: `cell` (the claim word), `ring` with `put`, `get`, `look` and `repair` (the algorithm, which never
//! waits), this file (waiting, types and the public face), `options`, `errors`.

#![expect(unsafe_code, reason = "one uninitialised value on the fast path")]

mod cell;
mod errors;
mod geometry;
mod get;
mod look;
pub(crate) mod options;
mod put;
mod repair;
mod ring;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use core::{
    fmt,
    marker::PhantomData,
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, Ordering},
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

pub use errors::{
    GetError, GetTimeoutError, PutError, PutManyError, PutTimeoutError, TryGetError, TryPutError,
};
pub use options::QueueOptions;

use self::{
    errors::Refused,
    geometry::MOST_INLINE,
    get::{GetRefusal, Taken},
    put::PutRefusal,
    ring::Ring,
};
use crate::{
    error::{Damage, Error, Result},
    message::{Bytes, Message, Place, Received},
    object::{
        lifetime::{Object, Ticket},
        participant::Owner,
        wait::{Attempt, Deadline, Patience, WaitStrategy, Waiting},
    },
};

const CUT: Damage = Damage("its file was cut short while in use");
/// How many puts of a batch may be unknown to others.
const ANNOUNCE_EVERY: u32 = 64;

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
/// microseconds at first where that pays ([`WaitStrategy`]) and then sleeps in the kernel. While nobody sleeps, no
/// operation makes a system call.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | in a put | the message is there whole, or was never there |
/// | in a get, before it took the message | the message is delivered to somebody else; it may come after younger ones |
/// | after that | the message is gone: at-most-once |
/// | while it slept | nothing |
///
/// Who waits, or finds the queue empty or full, learns of a death within about 100 ms. A *stopped* process is alive: a message it is
/// taking stays its own. Gets pass over the cell of a stopped producer. Producers that come round to the cell of a stopped process
/// find the queue full until it goes on or dies.
///
/// # Order
///
/// The queue is linearizable: messages come out in the order in which their puts took effect, with one exception: those of
/// a dead consumer come late. Large messages that wait for memory may be overtaken by smaller ones of other producers.
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
    core: Arc<Core>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

/// What all handles of a process on one queue share.
#[derive(Debug)]
struct Core {
    object: Arc<Object>,
    ring: Arc<Ring>,
    /// One for each side: a full queue says nothing about an empty one.
    put_patience: Patience,
    get_patience: Patience,
    /// Whether the object's file was cut short.
    cut: &'static AtomicBool,
    /// Damage once found: later calls say the same.
    damage: OnceLock<Damage>,
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
        let core = Core {
            ring,
            put_patience: Patience::new(),
            get_patience: Patience::new(),
            cut: object.cut_flag(),
            damage: OnceLock::new(),
            object,
        };
        Self {
            core: Arc::new(core),
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
        let put = value.encode(|bytes| match self.core.try_put(bytes) {
            Err(Refused::GaveUp) if self.core.found_dead() => self.core.try_put(bytes),
            put => put,
        });
        put.unwrap_or_else(|e| Err(Refused::Encode(e)))
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
            .encode(|bytes| self.core.put(bytes, self.wait, deadline))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Puts all messages, in order, and blocks while there is no room. Others may put in between. Cheaper than single
    /// puts: what others must learn, they learn once for up to 64 messages. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`PutManyError`] tells how many are in the queue and gives the next one back. Pass `&mut iterator` to keep the rest.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        let mut put = 0;
        let mut batch = None;
        for value in values {
            let outcome = value.encode(|bytes| self.core.put_in_batch(&mut batch, bytes));
            let outcome = match outcome.unwrap_or_else(|e| Err(Refused::Encode(e))) {
                Err(Refused::GaveUp) => {
                    self.core.finish_batch(batch.take());
                    self.put_until(&value, Deadline::NEVER)
                }
                other => other,
            };
            if let Err(refused) = outcome {
                self.core.finish_batch(batch.take());
                return Err(PutManyError {
                    put,
                    error: PutError::new(value, refused),
                });
            }
            put += 1;
        }
        self.core.finish_batch(batch);
        Ok(put)
    }

    /// Gets the oldest message; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] once the queue is closed and every message was got.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.core
            .try_get()
            .or_else(|unmet| match self.wait_for_one(unmet, Deadline::NEVER) {
                Err(Unmet::Error(e)) => Err(*e),
                Err(Unmet::GaveUp) => unreachable!("a wait without a deadline does not give up"),
                Ok(value) => Ok(value),
            })
    }

    /// Gets the oldest message if there is one now. Never says Empty after a put has returned whose message nobody got.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    #[inline]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.core
            .try_get()
            .or_else(|unmet| self.core.retry(unmet, || self.core.try_get()))
    }

    /// Gets the oldest message; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`GetTimeoutError`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
        let deadline = Deadline::after(timeout);
        self.core
            .try_get()
            .or_else(|unmet| match self.wait_for_one(unmet, deadline) {
                Err(Unmet::Error(e)) => Err((*e).into()),
                Err(Unmet::GaveUp) => Err(GetTimeoutError::Timeout),
                Ok(value) => Ok(value),
            })
    }

    /// What a get does when there was nothing at once.
    #[cold]
    #[inline(never)]
    fn wait_for_one(&self, unmet: Unmet, deadline: Deadline) -> Result<T, Unmet> {
        match unmet {
            Unmet::GaveUp => self
                .core
                .wait_to_get(self.wait, deadline, || self.core.try_get()),
            error => Err(error),
        }
    }

    /// Gets up to `max` of the oldest messages; blocks while there is none. Returns at least one, unless `max` is 0.
    ///
    /// The messages are taken together: if this process is killed before all are copied, others get them. They are committed
    /// one after another right before this returns.
    ///
    /// # Errors
    ///
    /// [`GetError`]. A message that cannot be decoded is an error only if it comes first.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let got = self
            .core
            .wait_to_get(self.wait, Deadline::NEVER, || self.core.try_get_many(max));
        got.map_err(|unmet| match unmet {
            Unmet::Error(e) => *e,
            Unmet::GaveUp => unreachable!("a wait without a deadline does not give up"),
        })
    }

    /// Gets up to `max` of the oldest messages that are there now.
    ///
    /// # Errors
    ///
    /// [`TryGetError`], also if there is no message.
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, TryGetError> {
        self.core
            .try_get_many(max)
            .or_else(|unmet| self.core.retry(unmet, || self.core.try_get_many(max)))
    }

    /// A copy of the oldest message, which stays. Never blocks.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    pub fn peek(&self) -> Result<T, TryGetError> {
        let core = &*self.core;
        core.check().map_err(|e| TryGetError::Failed(*e))?;
        let mut bytes = Vec::new();
        let is_closed = core.ring.is_closed();
        let peeked = core.ring.peek(&mut bytes);
        core.check().map_err(|e| TryGetError::Failed(*e))?;
        match peeked {
            Ok(true) => {
                let mut one = Vec::with_capacity(1);
                T::decode(Received::Owned(bytes), &mut one)?;
                one.pop().ok_or(TryGetError::Empty)
            }
            Ok(false) if is_closed => match core.ring.is_drained() {
                Ok(true) => Err(TryGetError::Closed),
                Ok(false) => Err(TryGetError::Empty),
                Err(damage) => Err(TryGetError::Failed(*core.remember(damage))),
            },
            Ok(false) => Err(TryGetError::Empty),
            Err(damage) => Err(TryGetError::Failed(*core.remember(damage))),
        }
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
        let put = self.core.put(bytes, self.wait, Deadline::NEVER);
        put.map_err(|refused| PutError::new((), refused))
    }

    /// As [`get`](Self::get), into the caller's buffer, whose old contents go. Returns the message's length.
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn get_into(&self, buffer: &mut Vec<u8>) -> Result<usize, GetError> {
        let got = self.core.wait_to_get(self.wait, Deadline::NEVER, || {
            self.core.try_get_into(buffer)
        });
        got.map_err(|unmet| match unmet {
            Unmet::Error(e) => *e,
            Unmet::GaveUp => unreachable!("a wait without a deadline does not give up"),
        })
    }
}

impl<T> Queue<T> {
    /// How many messages are in the queue. Exact while nobody puts or gets. Takes time in proportion to the capacity.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.ring.len()
    }

    /// Whether a get would find nothing now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.core.ring.is_empty()
    }

    /// Whether a put would find no room for a short message now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.core.ring.is_full().unwrap_or(false)
    }

    /// How many messages the queue holds at the most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core.ring.geometry().capacity
    }

    /// Bytes for messages that do not fit into a cell.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.core.ring.geometry().slab.bytes()
    }

    /// The longest message that the queue takes, in encoded bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.core.ring.geometry().most_bytes()
    }

    /// Closes the queue for all processes: puts fail from now on, gets drain what is there and then say Closed. Closing
    /// twice is fine.
    pub fn close(&self) {
        self.core.ring.close();
    }

    /// Whether the queue is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.ring.is_closed()
    }

    /// The queue's name; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.core.object.name()
    }

    /// Removes the queue's name. Who has the queue open keeps it; its memory is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the name is gone or means another object by now.
    pub fn unlink(&self) -> Result<()> {
        self.core.object.unlink()
    }

    /// Looks for dead participants now and repairs what they left. Returns how many there were. Waiting and attaching do
    /// this by themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn sweep(&self) -> Result<u32> {
        self.core.object.sweep()
    }

    /// What blocking calls on this handle do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.wait = strategy;
    }
}

/// Why there is no message. Small, as [`Refused`] is.
#[derive(Debug)]
enum Unmet {
    GaveUp,
    Error(Box<GetError>),
}

impl From<GetError> for Unmet {
    #[cold]
    fn from(e: GetError) -> Self {
        Self::Error(Box::new(e))
    }
}

impl From<Box<Error>> for Unmet {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        GetError::Failed(*e).into()
    }
}

impl Core {
    #[inline]
    fn try_put(&self, bytes: &[u8]) -> Result<(), Refused> {
        let me = self.ready().map_err(Refused::Failed)?;
        match self.ring.try_put(me, bytes) {
            Ok(()) => self.check_whole().map_err(Refused::Failed),
            Err(refusal) => Err(self.refused(refusal, bytes.len())),
        }
    }

    #[inline]
    fn put(&self, bytes: &[u8], strategy: WaitStrategy, deadline: Deadline) -> Result<(), Refused> {
        let me = self.ready().map_err(Refused::Failed)?;
        match self.ring.try_put(me, bytes) {
            Ok(()) => self.check_whole().map_err(Refused::Failed),
            Err(PutRefusal::Full | PutRefusal::NoBlocks) => {
                self.wait_to_put(bytes, strategy, deadline)
            }
            Err(refusal) => Err(self.refused(refusal, bytes.len())),
        }
    }

    #[cold]
    fn wait_to_put(
        &self,
        bytes: &[u8],
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        let gate = self.ring.gate();
        let attempt = || match self.ready().map(|me| self.ring.try_put(me, bytes)) {
            Ok(Ok(())) => Attempt::Done(self.check_whole().map_err(Refused::Failed)),
            Ok(Err(PutRefusal::Full)) => Attempt::Blocked(&gate.space),
            Ok(Err(PutRefusal::NoBlocks)) => Attempt::Blocked(&gate.blocks),
            Ok(Err(refusal)) => Attempt::Done(Err(self.refused(refusal, bytes.len()))),
            Err(e) => Attempt::Done(Err(Refused::Failed(e))),
        };
        let look = || {
            self.object
                .look()
                .err()
                .map(|e| Err(Refused::Failed(Box::new(e))))
        };
        let waiting = Waiting {
            strategy,
            patience: &self.put_patience,
            deadline,
        };
        waiting.until(attempt, look).unwrap_or(Err(Refused::GaveUp))
    }

    /// Puts without telling anybody yet.
    #[inline]
    fn put_in_batch(&self, batch: &mut Option<Batch>, bytes: &[u8]) -> Result<(), Refused> {
        let me = self.ready().map_err(Refused::Failed)?;
        let now = batch.get_or_insert_with(|| Batch {
            next: self.ring.tail(),
            count: 0,
        });
        now.next = self
            .ring
            .put_at(me, now.next, bytes)
            .map_err(|refusal| self.refused(refusal, bytes.len()))?;
        now.count += 1;
        self.check_whole().map_err(Refused::Failed)?;
        if now.count == ANNOUNCE_EVERY {
            self.ring.announce_puts(now.next, now.count);
            now.count = 0;
        }
        Ok(())
    }

    fn finish_batch(&self, batch: Option<Batch>) {
        if let Some(Batch {
            next,
            count: count @ 1..,
        }) = batch
        {
            self.ring.announce_puts(next, count);
        }
    }

    #[cold]
    fn refused(&self, refusal: PutRefusal, len: usize) -> Refused {
        match refusal {
            PutRefusal::Full | PutRefusal::NoBlocks => Refused::GaveUp,
            PutRefusal::Closed => Refused::Closed,
            PutRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.ring.geometry().most_bytes(),
            },
            PutRefusal::Damage(damage) => Refused::Failed(self.remember(damage)),
        }
    }

    #[inline]
    fn try_get<T: Message>(&self) -> Result<T, Unmet> {
        // Not an Option: the compiler copies those in pieces that wait for one another.
        let mut value = MaybeUninit::uninit();
        self.try_get_to(&mut value)?;
        // SAFETY: `try_get_to` puts a value there unless it fails.
        Ok(unsafe { value.assume_init() })
    }

    #[inline]
    fn try_get_to<T: Message>(&self, to: &mut impl Place<T>) -> Result<(), Unmet> {
        let me = self.ready()?;
        let taken = self
            .ring
            .try_take(me)
            .map_err(|refusal| self.unmet(refusal))?;
        let mut claimed = Claimed {
            ring: &self.ring,
            taken: [taken],
            is_committed: false,
        };
        let received = self.receive(me, &mut claimed.taken[0], to)?;
        self.deliver(claimed)?;
        received.map_err(Unmet::from)
    }

    /// The value of a claimed message; what makes it unusable is the inner error.
    #[inline]
    fn receive<T: Message>(
        &self,
        me: Owner,
        taken: &mut Taken,
        to: &mut impl Place<T>,
    ) -> Result<Result<(), GetError>, Box<Error>> {
        let mut short = [0; MOST_INLINE];
        let mut large = Vec::new();
        let received = match self.ring.read_short(me, taken, &mut short, &mut large) {
            Ok(Some(length)) => Received::Borrowed(&short[..length]),
            Ok(None) => Received::Owned(large),
            Err(damage) => return Err(self.remember(damage)),
        };
        Ok(T::decode(received, to).map_err(GetError::Decode))
    }

    fn try_get_into(&self, buffer: &mut Vec<u8>) -> Result<usize, Unmet> {
        let me = self.ready()?;
        let taken = self
            .ring
            .try_take(me)
            .map_err(|refusal| self.unmet(refusal))?;
        let mut claimed = Claimed {
            ring: &self.ring,
            taken: [taken],
            is_committed: false,
        };
        buffer.clear();
        let read = self.ring.read(me, &mut claimed.taken[0], buffer);
        read.map_err(|damage| self.remember(damage))?;
        self.deliver(claimed)?;
        Ok(buffer.len())
    }

    fn try_get_many<T: Message>(&self, max: usize) -> Result<Vec<T>, Unmet> {
        let me = self.ready()?;
        let max = max.min(self.ring.geometry().capacity);
        let mut claimed = Claimed {
            ring: &self.ring,
            taken: Vec::new(),
            is_committed: false,
        };
        let mut values = Vec::new();
        let mut from = self.ring.head();
        while claimed.taken.len() < max {
            let taken = match self.ring.take_from(me, from) {
                Ok(taken) => taken,
                Err(GetRefusal::Empty | GetRefusal::Closed) if !claimed.taken.is_empty() => break,
                Err(refusal) => return Err(self.unmet(refusal)),
            };
            from = self.ring.behind(&taken, from);
            claimed.taken.push(taken);
            let last = claimed.taken.len() - 1;
            if let Err(e) = self.receive(me, &mut claimed.taken[last], &mut values)? {
                return self.report(e, claimed).map(|()| values);
            }
        }
        self.deliver(claimed)?;
        Ok(values)
    }

    /// Ends a batch whose last message cannot be decoded. That is an error if it is the only one; otherwise the next get
    /// finds it first, and reports it.
    #[cold]
    fn report(&self, e: GetError, mut claimed: Claimed<'_, Vec<Taken>>) -> Result<(), Unmet> {
        let is_only_one = claimed.taken.len() == 1;
        if !is_only_one && let Some(last) = claimed.taken.pop() {
            self.ring
                .put_back(&last)
                .map_err(|damage| self.remember(damage))?;
        }
        self.deliver(claimed)?;
        if is_only_one { Err(e.into()) } else { Ok(()) }
    }

    /// Commits gets.
    #[inline]
    fn deliver<S: AsRef<[Taken]>>(&self, mut claimed: Claimed<'_, S>) -> Result<(), Box<Error>> {
        claimed.is_committed = true;
        let taken = claimed.taken.as_ref();
        let done = taken.iter().try_for_each(|one| self.ring.finish(one));
        let done = done.and_then(|()| self.ring.announce_gets(taken));
        done.map_err(|damage| self.remember(damage))?;
        self.check_whole()
    }

    #[inline]
    fn wait_to_get<R>(
        &self,
        strategy: WaitStrategy,
        deadline: Deadline,
        mut attempt: impl FnMut() -> Result<R, Unmet>,
    ) -> Result<R, Unmet> {
        match attempt() {
            Err(Unmet::GaveUp) => {}
            met => return met,
        }
        let items = &self.ring.gate().items;
        let attempt = || match attempt() {
            Err(Unmet::GaveUp) => Attempt::Blocked(items),
            met => Attempt::Done(met),
        };
        let look = || self.object.look().err().map(|e| Err(Box::new(e).into()));
        let waiting = Waiting {
            strategy,
            patience: &self.get_patience,
            deadline,
        };
        waiting.until(attempt, look).unwrap_or(Err(Unmet::GaveUp))
    }

    /// What a get that does not wait does when there was nothing: perhaps a dead process holds something back.
    #[cold]
    fn retry<R>(
        &self,
        unmet: Unmet,
        again: impl FnOnce() -> Result<R, Unmet>,
    ) -> Result<R, TryGetError> {
        let retried = match unmet {
            Unmet::GaveUp if self.found_dead() => again(),
            unmet => Err(unmet),
        };
        retried.map_err(|unmet| match unmet {
            Unmet::GaveUp => TryGetError::Empty,
            Unmet::Error(e) => (*e).into(),
        })
    }

    /// Looks for the dead, unless somebody did lately. What makes that fail is found by the next call.
    #[cold]
    fn found_dead(&self) -> bool {
        self.object.look().is_ok_and(|found| found > 0)
    }

    #[cold]
    fn unmet(&self, refusal: GetRefusal) -> Unmet {
        match refusal {
            GetRefusal::Empty => Unmet::GaveUp,
            GetRefusal::Closed => GetError::Closed.into(),
            GetRefusal::Damage(damage) => self.remember(damage).into(),
        }
    }

    /// This process's place among the participants, unless the queue is known to be damaged.
    #[inline]
    fn ready(&self) -> Result<Owner, Box<Error>> {
        self.check()?;
        match self.object.owner() {
            Some(me) => Ok(me),
            None => self.object.attach().map_err(Box::new),
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Box<Error>> {
        if let Some(&damage) = self.damage.get() {
            return Err(self.remember(damage));
        }
        self.check_whole()
    }

    /// Whether what was just done was done to shared memory.
    #[inline]
    fn check_whole(&self) -> Result<(), Box<Error>> {
        if self.cut.load(Ordering::Relaxed) {
            Err(self.remember(CUT))
        } else {
            Ok(())
        }
    }

    #[cold]
    fn remember(&self, damage: Damage) -> Box<Error> {
        Box::new(self.damage.get_or_init(|| damage).of(self.object.label()))
    }
}

/// Messages that are claimed and not committed. Dropped so, by an error or by a panic of the message's own code, they are
/// left to the next get: nobody would take them from a living process.
#[derive(Debug)]
struct Claimed<'a, S: AsRef<[Taken]>> {
    ring: &'a Ring,
    taken: S,
    is_committed: bool,
}

impl<S: AsRef<[Taken]>> Drop for Claimed<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if self.is_committed {
            return;
        }
        for taken in self.taken.as_ref() {
            // Fails only for a position that was never claimed.
            let _ = self.ring.put_back(taken);
        }
    }
}

/// Puts that others do not know of yet.
#[derive(Debug)]
struct Batch {
    /// The position behind the last one.
    next: u64,
    count: u32,
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
            core: Arc::clone(&self.core),
            wait: self.wait,
            _message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("object", &self.core.object.label())
            .finish_non_exhaustive()
    }
}

impl<T> serde::Serialize for Queue<T> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core.object.ticket().serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Queue<T> {
    /// Attaches to the queue.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let attach = || -> Result<Self> {
            let (object, ring) =
                ticket.redeem(options::species(&T::type_name()), &options::build)?;
            object.sweep()?;
            Ok(Self::over(object, ring, WaitStrategy::default()))
        };
        attach().map_err(serde::de::Error::custom)
    }
}
