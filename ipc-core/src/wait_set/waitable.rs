//! What can be waited for together with other things.

use core::sync::atomic::{AtomicU64, Ordering};
use std::{
    os::fd::{AsFd, OwnedFd},
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::{
    channel::{
        broadcast::{Broadcast, Subscriber},
        joinable::JoinableQueue,
        ordered::{LifoQueue, PriorityQueue},
        pipe::{Connection, Receiver, Sender},
        queue::Queue,
    },
    error::{Error, Result},
    manager::dict::DictWatch,
    object::{source::Watched, wait::Deadline},
    os::{
        clock,
        descriptor::{self, Interest},
    },
    process::{ParentProcess, Process},
    sync::{
        BoundedSemaphore, Event, Lock, RLock, RwLock, Semaphore,
        source::{watched, watched_for_writing},
    },
};

/// What a wait looks at.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    Object(Watched),
    /// Ready from this time on the monotonic clock on.
    Time(Arc<AtomicU64>),
    Descriptor(Arc<OwnedFd>, Interest),
}

impl Thing {
    fn at(time_ns: u64) -> Self {
        Self::Time(Arc::new(AtomicU64::new(time_ns)))
    }
}

/// What [`Waitable`] needs.
pub(crate) trait Subject {
    fn thing(&self) -> Result<Thing>;
}

/// Something that [`wait`](crate::wait), a [`WaitSet`](crate::WaitSet) or a [`Pollable`](crate::Pollable) waits for.
///
/// | | is ready when |
/// |---|---|
/// | [`Queue`], [`LifoQueue`], [`PriorityQueue`] | there is a message, or the queue is closed and empty |
/// | [`JoinableQueue`] | there is a job that can be leased, or the queue is closed and every job is finished, or dead letters have all its leases |
/// | their `writable()` | there is room for a short message, or the queue is closed |
/// | [`JoinableQueue::finished()`] | every job is finished: [`join`](JoinableQueue::join) would return |
/// | [`Subscriber`] | there is a message, or it has missed some, or the broadcast is closed and everything was received |
/// | [`DictWatch`] | there is a change, of any key, or it has missed some |
/// | [`Broadcast::writable()`] | there is room for a short message, or the broadcast is closed |
/// | [`Receiver`], [`Connection`] | there is a message, or the end of file |
/// | [`Sender`], a connection's `writable()` | there is room for one message where all have the same length, else for 4 KiB or half the pipe's capacity; or the pipe is broken |
/// | [`Lock`], [`RLock`] | nobody holds it |
/// | [`RwLock`] | it could be acquired for reading; its `writable()`: for writing |
/// | [`Semaphore`], [`BoundedSemaphore`] | there is a permit |
/// | [`Event`] | it is set, or was since the wait began |
/// | [`Instant`] | that time has come |
/// | [`Interval`] | a period is over that nobody has [ticked](Interval::tick) off |
/// | [`Process`], [`ParentProcess`], [`ProcessExit`], [`Child`] | the process has ended |
/// | [`Descriptor`] | it can be read or written, or has ended or failed |
///
/// An object that cannot be used any more is ready, and so is an end of a pipe that was closed, dropped or handed on, and a subscriber that
/// was dropped: the operation itself says what is wrong.
///
/// Ready is a hint, as with `poll(2)`: another thread or process may take what is there first. So follow it up with the `try_`
/// operation. This trait is implemented here only.
#[expect(private_bounds, reason = "nobody else can be waited for")]
pub trait Waitable: Subject {}

macro_rules! waitable {
    ($([$($generics:tt)*] $type:ty: $this:ident => $thing:expr;)*) => {$(
        impl<$($generics)*> Subject for $type {
            fn thing(&self) -> Result<Thing> {
                let $this = self;
                Ok($thing)
            }
        }

        impl<$($generics)*> Waitable for $type {}
    )*};
}

waitable! {
    [T] Queue<T>: it => Thing::Object(it.watched_items());
    [T] LifoQueue<T>: it => Thing::Object(it.watched_items());
    [T] PriorityQueue<T>: it => Thing::Object(it.watched_items());
    [T] JoinableQueue<T>: it => Thing::Object(it.watched_jobs());
    [] Finished: it => Thing::Object(it.0.clone());
    [T] Subscriber<T>: it => Thing::Object(it.watched());
    [K, V] DictWatch<K, V>: it => Thing::Object(it.watched());
    [T] Receiver<T>: it => Thing::Object(it.watched());
    [T] Sender<T>: it => Thing::Object(it.watched());
    [T] Connection<T>: it => Thing::Object(it.receiver().watched());
    [T: NoUninit + CheckedBitPattern] Lock<T>: it => Thing::Object(watched(it));
    [] RLock: it => Thing::Object(watched(it));
    [T: NoUninit + CheckedBitPattern] RwLock<T>: it => Thing::Object(watched(it));
    [] Semaphore: it => Thing::Object(watched(it));
    [] BoundedSemaphore: it => Thing::Object(watched(it));
    [] Event: it => Thing::Object(watched(it));
    [] Writable: it => Thing::Object(it.0.clone());
    [] Interval: it => Thing::Time(Arc::clone(&it.next));
    [] ProcessExit: it => it.0.clone();
    [] Descriptor: it => Thing::Descriptor(Arc::clone(&it.fd), it.interest);
    [] Instant: it => Thing::at(monotonic_ns_of(*it));
    [] Child: it => ProcessExit::of_child(it)?.0;
    [R] Process<R>: it => it.sentinel().0;
    [] ParentProcess: it => Thing::Descriptor(Arc::clone(&it.descriptor), Interest::Readable);
}

/// That every job of a [`JoinableQueue`] is finished, from [`JoinableQueue::finished`].
#[derive(Debug, Clone)]
pub struct Finished(Watched);

impl<T> JoinableQueue<T> {
    /// To wait until every job is finished, as [`join`](Self::join) does; see [`Waitable`].
    #[must_use]
    pub fn finished(&self) -> Finished {
        Finished(self.watched_end())
    }
}

/// The other side of a queue, a broadcast, a connection or a lock: room instead of messages, writing instead of reading. From their `writable()`.
#[derive(Debug, Clone)]
pub struct Writable(Watched);

macro_rules! writable {
    ($([$($generics:tt)*] $type:ty: $what:literal, $this:ident => $watched:expr;)*) => {$(
        impl<$($generics)*> $type {
            #[doc = concat!("To wait until ", $what, "; see [`Waitable`].")]
            #[must_use]
            pub fn writable(&self) -> Writable {
                let $this = self;
                Writable($watched)
            }
        }
    )*};
}

writable! {
    [T] Queue<T>: "there is room for a short message", it => it.watched_room();
    [T] LifoQueue<T>: "there is room for a short message", it => it.watched_room();
    [T] PriorityQueue<T>: "there is room for a short message", it => it.watched_room();
    [T] JoinableQueue<T>: "there is room for a short job", it => it.watched_room();
    [T] Broadcast<T>: "there is room for a short message: no subscriber has still to receive what it would overwrite", it => it.watched_room();
    [T] Connection<T>: "there is room to send", it => it.sender().watched();
    [T: NoUninit + CheckedBitPattern] RwLock<T>: "the lock could be acquired for writing", it => watched_for_writing(it);
}

/// A time of the standard library on the kernel's clock, which is the same one.
fn monotonic_ns_of(time: Instant) -> u64 {
    let (now, now_ns) = (Instant::now(), clock::monotonic_ns());
    let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    match time.checked_duration_since(now) {
        Some(ahead) => now_ns.saturating_add(ns(ahead)),
        None => now_ns.saturating_sub(ns(now.saturating_duration_since(time))),
    }
}

/// A clock tick of this process: [ready](Waitable) whenever a period is over, until that is [ticked off](Self::tick).
///
/// Ticks do not shift: each is due a whole number of periods behind the beginning, however late one is noticed.
///
/// ```
/// use ipc_core::{Interval, WaitSet};
/// use std::time::Duration;
///
/// let clock = Interval::every(Duration::from_millis(1));
/// let mut set = WaitSet::new();
/// set.add("tick", &clock)?;
/// assert_eq!(set.wait()?, ["tick"]);
/// assert!(clock.tick() >= 1);
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Interval {
    period_ns: u64,
    next: Arc<AtomicU64>,
}

impl Interval {
    /// Ticks from now on, for the first time after one `period`, of a microsecond at the least. Clones are the same clock.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        let period = period.max(Duration::from_micros(1));
        Self {
            period_ns: u64::try_from(period.as_nanos()).unwrap_or(u64::MAX),
            next: Arc::new(AtomicU64::new(Deadline::after(period).ns())),
        }
    }

    /// Ticks off all periods that are over. Returns how many there were.
    pub fn tick(&self) -> u64 {
        let now = clock::monotonic_ns();
        // Private memory, and the time goes on: who does not succeed finds fewer next time.
        let tick_off = |next: u64| {
            let over = now.checked_sub(next)? / self.period_ns + 1;
            next.checked_add(over.checked_mul(self.period_ns)?)
        };
        let ticked = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, tick_off);
        ticked.map_or(0, |next| (now - next) / self.period_ns + 1)
    }
}

/// The end of a process, by a descriptor of the kernel's (pidfd) that means this process for good, whoever has its number later.
#[derive(Debug, Clone)]
pub struct ProcessExit(Thing);

impl ProcessExit {
    /// The end of the process that has this number now, in this process's pid namespace. Any process will do, not only children.
    /// A zombie has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: no process has this number (`ESRCH`), or no descriptor is left (`EMFILE`).
    pub fn of(pid: u32) -> Result<Self> {
        let fd = descriptor::of_process(pid)
            .map_err(|e| Error::from_io(&format!("process {pid}"), "watch", &e))?;
        Ok(Self(Thing::Descriptor(Arc::new(fd), Interest::Readable)))
    }

    /// As [`Self::of`]. A child that was waited for already has ended, and its number may be somebody else's.
    fn of_child(child: &Child) -> Result<Self> {
        match descriptor::of_process(child.id()) {
            Ok(fd) if descriptor::is_own_child(fd.as_fd()) => {
                Ok(Self(Thing::Descriptor(Arc::new(fd), Interest::Readable)))
            }
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(Error::from_io(
                &format!("process {}", child.id()),
                "watch",
                &e,
            )),
            _ => Ok(Self(Thing::at(0))),
        }
    }
}

impl<R> Process<R> {
    /// Its end, to wait for together with other things. The process itself can be [waited](Waitable) for, too.
    #[must_use]
    pub fn sentinel(&self) -> ProcessExit {
        let descriptor = self.child().descriptor();
        ProcessExit(match descriptor {
            Some(fd) => Thing::Descriptor(Arc::clone(fd), Interest::Readable),
            None => Thing::at(0), // it was gone before anybody looked
        })
    }
}

/// A socket, a pipe, or whatever else `poll(2)` takes.
#[derive(Debug, Clone)]
pub struct Descriptor {
    fd: Arc<OwnedFd>,
    interest: Interest,
}

impl Descriptor {
    /// To wait until it can be read, or its end or an error is there to be read. It is duplicated, and so stays open as long as this or
    /// a [`WaitSet`](crate::WaitSet) with it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if no descriptor is left.
    pub fn readable(fd: impl AsFd) -> Result<Self> {
        Self::of(fd.as_fd().try_clone_to_owned(), Interest::Readable)
    }

    /// To wait until it can be written, or is broken.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn writable(fd: impl AsFd) -> Result<Self> {
        Self::of(fd.as_fd().try_clone_to_owned(), Interest::Writable)
    }

    fn of(fd: std::io::Result<OwnedFd>, interest: Interest) -> Result<Self> {
        let fd = fd.map_err(|e| Error::from_io("a descriptor", "duplicate", &e))?;
        Ok(Self {
            fd: Arc::new(fd),
            interest,
        })
    }
}
