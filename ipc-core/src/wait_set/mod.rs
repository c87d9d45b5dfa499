//! Waiting for any of many things.
//!
//! Read in this order: `waitable` (what there is to wait for), `vigil` (sleeping on many words), this file (the sets) with `waiting`, `lookout`
//! (threads that wait for others' sake) and `pollable` (for who waits for descriptors).
//!
//! A wait for objects and times alone sleeps on their words. One for descriptors too sleeps in `poll(2)`, and has the lookout ring a
//! descriptor of its own for the objects.

mod lookout;
mod pollable;
mod vigil;
mod waitable;
mod waiting;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use core::fmt;
use std::{sync::Arc, time::Duration};

pub use pollable::Pollable;
pub use waitable::{Descriptor, Finished, Interval, ProcessExit, Waitable, Writable};

use self::{lookout::Ward, vigil::Post, waitable::Thing};
use crate::{
    error::Result,
    object::wait::{Deadline, Patience, WaitStrategy},
    os::{
        descriptor::{Bell, Interest},
        fork::Process,
    },
};

/// Waits until any of the things is ready. Returns the places of all that are, in order; none once `timeout` is over: a [`Duration`], or
/// `None` for ever. As Python's `multiprocessing.connection.wait`.
///
/// Who waits for the same things again and again uses a [`WaitSet`], which also says all the rest.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-wait-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Event, Queue, wait};
/// use std::time::Duration;
///
/// let jobs: Queue<u32> = Queue::options(8).namespace(&namespace).create("jobs")?;
/// let stop = Event::options().namespace(&namespace).create("stop")?;
/// assert!(wait(&[&jobs, &stop], Duration::from_millis(1))?.is_empty());
/// stop.set()?;
/// assert_eq!(wait(&[&jobs, &stop], None)?, [1]);
/// # (jobs.unlink()?, stop.unlink()?);
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
///
/// # Errors
///
/// As [`WaitSet::add`] and [`WaitSet::wait`].
pub fn wait(things: &[&dyn Waitable], timeout: impl Into<Option<Duration>>) -> Result<Vec<usize>> {
    let deadline = timeout.into().map_or(Deadline::NEVER, Deadline::after);
    let mut set = WaitSet::new();
    for (place, thing) in things.iter().enumerate() {
        set.add(place, *thing)?;
    }
    set.wait_until(Some(deadline))
}

/// Things of which any may become ready, with a key each.
///
/// Queues of all kinds, subscribers, pipes, locks, semaphores, events, times, processes, sockets: whatever is [`Waitable`]. What is added stays open as long as it is
/// in the set, and its handle remains free for use. Waiting takes nothing: do it with the `try_` operation, and expect
/// that another was faster.
///
/// # Blocking
///
/// [`wait`](Self::wait) blocks, [`try_wait`](Self::try_wait) never, [`wait_timeout`](Self::wait_timeout) for so long. Waiting spins for some
/// microseconds at first where that pays, then sleeps in the kernel, on all the words of the objects at once (`futex_waitv`, since
/// Linux 5.16).
///
/// * Of more than 128 objects, or with an older kernel of more than one, it sleeps on some, and looks at all of them every
///   millisecond. For more, use [`Pollable`]s, whose threads share the work.
/// * With descriptors in the set (sockets, processes), it sleeps in `poll(2)`, and a thread wakes it for the objects: see [`Pollable`].
/// * Where others sleep in calls that take something (a `get`, say) beside a set, each message wakes them all.
///
/// A waiting set is not listed among those that wait for an object.
///
/// # When a process dies
///
/// A death that makes something ready (of the holder of a lock, of a worker with a job, or of a pipe's other end) is noticed within about
/// 100 ms, and so is a lease that is over. Nobody
/// notices that who waits was killed or stopped.
///
/// # Fork
///
/// A forked child's copy is its own.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-wait-set-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Event, Pipe, TryRecvError, WaitSet};
///
/// let (mut sender, mut receiver) = {
///     let (receiver, sender) = Pipe::<u32>::options().namespace(&namespace).simplex()?;
///     (sender, receiver)
/// };
/// let stop = Event::options().namespace(&namespace).create("stop")?;
/// let mut set = WaitSet::new();
/// set.add("number", &receiver)?;
/// set.add("stop", &stop)?;
///
/// sender.send(7)?;
/// assert_eq!(set.wait()?, ["number"]);
/// assert_eq!(receiver.try_recv()?, 7);
/// assert!(set.try_wait()?.is_empty());
///
/// drop(sender); // or its process is killed
/// assert_eq!(set.wait()?, ["number"]);
/// assert!(matches!(receiver.try_recv(), Err(TryRecvError::Failed(_))), "the end of file");
/// set.remove(&"number");
/// stop.set()?;
/// assert_eq!(set.wait()?, ["stop"]);
/// # stop.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WaitSet<K = usize> {
    entries: Vec<Entry<K>>,
    patience: Patience,
    strategy: WaitStrategy,
    /// Where to begin among more words than can be slept on.
    turn: usize,
    /// What the lookout rings, once it was wanted, and in which process.
    bell: Option<(Process, Arc<Bell>)>,
}

struct Entry<K> {
    key: K,
    kind: EntryKind,
}

enum EntryKind {
    Object(Post, Option<Ward>),
    Time(Arc<core::sync::atomic::AtomicU64>),
    Descriptor(Arc<std::os::fd::OwnedFd>, Interest),
}

impl<K> Default for WaitSet<K> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            patience: Patience::new(),
            strategy: WaitStrategy::default(),
            turn: 0,
            bell: None,
        }
    }
}

impl<K> fmt::Debug for WaitSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl<K> WaitSet<K> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many things there are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What blocking calls do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }

    /// Adds something under a key, which need not be unique.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if the system has no descriptor for a child process.
    pub fn add(&mut self, key: K, thing: &(impl Waitable + ?Sized)) -> Result<()> {
        let kind = match thing.thing()? {
            Thing::Object(watched) => EntryKind::Object(Post::new(watched), None),
            Thing::Time(due) => EntryKind::Time(due),
            Thing::Descriptor(fd, interest) => EntryKind::Descriptor(fd, interest),
        };
        self.entries.push(Entry { key, kind });
        Ok(())
    }
}

impl<K: Clone + PartialEq> WaitSet<K> {
    /// Takes everything with this key out of the set. Returns whether there was anything.
    pub fn remove(&mut self, key: &K) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.key != *key);
        self.entries.len() < before
    }

    /// Waits until anything is ready. Returns the keys of all that is, in the order in which it was added; none if nothing is in the set.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if an object's participants cannot be probed, or the system has no descriptor or thread to give that
    /// the set needs.
    pub fn wait(&mut self) -> Result<Vec<K>> {
        self.wait_until(Some(Deadline::NEVER))
    }

    /// As [`wait`](Self::wait), for at most `timeout`; none when that is over.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Vec<K>> {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    /// What is ready now.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Vec<K>> {
        self.wait_until(None)
    }
}
