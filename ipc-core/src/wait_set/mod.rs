//! Waiting for any of many things.
//!
//! Read in this order: `waitable` (what there is to wait for), `vigil` (sleeping on many words), this file (the sets), `lookout`
//! (threads that wait for others' sake) and `pollable` (for who waits for descriptors).
//!
//! A wait for objects and times alone sleeps on their words. One for descriptors too sleeps in `poll(2)`, and has the lookout ring a
//! descriptor of its own for the objects.

mod lookout;
mod pollable;
mod vigil;
mod waitable;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use core::{fmt, sync::atomic::Ordering};
use std::{os::fd::AsFd, sync::Arc, time::Duration};

pub use pollable::Pollable;
pub use waitable::{Descriptor, Finished, Interval, ProcessExit, Waitable, Writable};

use self::{
    lookout::Ward,
    vigil::{Post, Vigil},
    waitable::Thing,
};
use crate::{
    error::{Error, Result},
    object::wait::{Deadline, Patience, WATCH_NS, WaitStrategy},
    os::{
        clock,
        descriptor::{self, Bell, Interest},
        fork::Process,
    },
    prim,
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
/// Queues, pipes, locks, semaphores, events, times, processes, sockets: whatever is [`Waitable`]. What is added stays open as long as it is
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
/// A death that makes something ready (of the holder of a lock, or of a pipe's other end) is noticed within about 100 ms. Nobody
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
    /// [`Error::Io`] if the system has no descriptor for a child process.
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
    /// [`Error`] if an object's participants cannot be probed, or the system has no descriptor or thread to give that
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

    /// Waits until a deadline, or not at all.
    fn wait_until(&mut self, deadline: Option<Deadline>) -> Result<Vec<K>> {
        self.leave_bell_of_parent();
        self.posts().for_each(Post::begin);
        let ready = self.ready()?;
        if !ready.is_empty() || self.entries.is_empty() {
            return Ok(ready);
        }
        let Some(deadline) = deadline else {
            return self.last_look();
        };
        if self.strategy != WaitStrategy::Sleep
            && let Some(ready) = self.spin(deadline)?
        {
            return Ok(ready);
        }
        self.wait_asleep(deadline)
    }

    /// The keys of all that is ready.
    fn ready(&self) -> Result<Vec<K>> {
        let mut polled = self.poll(0)?.into_iter();
        let mut now = None;
        let mut is_ready = |kind: &EntryKind| match kind {
            EntryKind::Object(post, _) => post.is_ready(),
            EntryKind::Time(due) => {
                due.load(Ordering::Relaxed) <= *now.get_or_insert_with(clock::monotonic_ns)
            }
            EntryKind::Descriptor(..) => polled.next().unwrap_or(false),
        };
        let ready = self.entries.iter().filter(|entry| is_ready(&entry.kind));
        Ok(ready.map(|entry| entry.key.clone()).collect())
    }

    /// For who gives up: the dead may have made something ready.
    #[cold]
    fn last_look(&mut self) -> Result<Vec<K>> {
        self.look_for_dead()?;
        self.ready()
    }

    fn look_for_dead(&mut self) -> Result<()> {
        self.posts()
            .try_for_each(|post| post.watched.look_for_dead().map(drop))
    }

    /// `None` is the signal to sleep.
    fn spin(&mut self, deadline: Deadline) -> Result<Option<Vec<K>>> {
        if self.strategy == WaitStrategy::Spin {
            return self.spin_until(deadline).map(Some);
        }
        let is_object = |entry: &Entry<K>| matches!(entry.kind, EntryKind::Object(..));
        if !self.entries.iter().all(is_object) {
            return Ok(None); // a look at the others is a system call, or tells nothing new
        }
        let looks = self.patience.looks() / self.entries.len() as u32;
        for _ in 0..looks {
            let ready = self.ready()?;
            if !ready.is_empty() {
                self.patience.learn(true);
                return Ok(Some(ready));
            }
            prim::spin_loop();
        }
        if looks > 0 {
            self.patience.learn(false);
        }
        Ok(None)
    }

    fn spin_until(&mut self, deadline: Deadline) -> Result<Vec<K>> {
        let mut watch_at = clock::monotonic_ns().saturating_add(WATCH_NS);
        loop {
            let ready = self.ready()?;
            let now = clock::monotonic_ns();
            if !ready.is_empty() {
                return Ok(ready);
            }
            if deadline.is_over(now) {
                return self.last_look();
            }
            if now >= watch_at {
                watch_at = now.saturating_add(WATCH_NS);
                self.look_for_dead()?;
            }
            prim::yield_now();
        }
    }

    fn wait_asleep(&mut self, deadline: Deadline) -> Result<Vec<K>> {
        let mut now = clock::monotonic_ns();
        let mut watch_at = now.saturating_add(WATCH_NS);
        loop {
            if deadline.is_over(now) {
                return self.last_look();
            }
            if now >= watch_at {
                watch_at = now.saturating_add(WATCH_NS);
                self.look_for_dead()?;
            }
            let until = deadline.ns().min(self.next_time());
            if self.has_descriptors() {
                self.sleep_on_descriptors(until)?;
            } else {
                self.sleep_on_words(now, until.min(watch_at));
            }
            let ready = self.ready()?;
            if !ready.is_empty() {
                return Ok(ready);
            }
            now = clock::monotonic_ns();
        }
    }

    fn sleep_on_words(&mut self, now: u64, until: u64) {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let mut vigil = Vigil::begin(self.posts());
        if !vigil.is_any_ready(now) {
            vigil.sleep(turn, None, now, until);
        }
    }

    /// The lookout, meanwhile, also looks for the dead.
    fn sleep_on_descriptors(&mut self, until: u64) -> Result<()> {
        let is_any_ready = self.arm()?;
        if !is_any_ready {
            self.poll(until)?;
        }
        Ok(())
    }

    /// Has the lookout ring for the objects. Whether any is ready now.
    fn arm(&mut self) -> Result<bool> {
        let mut is_any_ready = false;
        let (_, bell) = match &mut self.bell {
            Some(bell) => bell,
            bell => bell.insert((Process::this(), new_bell()?)),
        };
        for entry in &mut self.entries {
            let EntryKind::Object(post, ward) = &mut entry.kind else {
                continue;
            };
            let ward = match ward {
                Some(ward) => ward,
                None => ward.insert(Ward::new(post.watched.clone(), bell)?),
            };
            is_any_ready |= ward.arm()?;
        }
        Ok(is_any_ready)
    }

    /// In a forked child: the bell is its parent's, too, and so are the threads.
    fn leave_bell_of_parent(&mut self) {
        let is_ours = |(process, _): &(Process, Arc<Bell>)| process.is_this();
        if !self.bell.as_ref().is_none_or(is_ours) {
            self.bell = None;
            for entry in &mut self.entries {
                if let EntryKind::Object(_, ward) = &mut entry.kind {
                    *ward = None;
                }
            }
        }
    }

    /// Which of the descriptors are ready, in order, and at last the bell, which is silent from here on.
    fn poll(&self, until: u64) -> Result<Vec<bool>> {
        if !self.has_descriptors() {
            return Ok(Vec::new());
        }
        let descriptors = self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Descriptor(fd, interest) => Some((fd.as_fd(), *interest)),
            _ => None,
        });
        let bell = self.bell.iter();
        let bell = bell.map(|(_, bell)| (bell.as_fd(), Interest::Readable));
        let polled = descriptor::poll(descriptors.chain(bell), until)
            .map_err(|e| Error::from_io("descriptors", "poll", &e))?;
        if let (Some((_, bell)), Some(true)) = (&self.bell, polled.last()) {
            bell.silence(); // before the look at the objects
        }
        Ok(polled)
    }

    fn has_descriptors(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| matches!(entry.kind, EntryKind::Descriptor(..)))
    }

    /// The next time that is waited for.
    fn next_time(&self) -> u64 {
        let times = self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Time(due) => Some(due.load(Ordering::Relaxed)),
            _ => None,
        });
        times.min().unwrap_or(u64::MAX)
    }
}

impl<K> WaitSet<K> {
    fn posts(&mut self) -> impl Iterator<Item = &mut Post> {
        self.entries
            .iter_mut()
            .filter_map(|entry| match &mut entry.kind {
                EntryKind::Object(post, _) => Some(post),
                _ => None,
            })
    }
}

fn new_bell() -> Result<Arc<Bell>> {
    let bell =
        Bell::new().map_err(|e| Error::from_io("a wait set", "make a descriptor for", &e))?;
    Ok(Arc::new(bell))
}
