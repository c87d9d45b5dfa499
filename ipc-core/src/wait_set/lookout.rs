//! Threads that wait for others' sake: they ring a bell, a descriptor, when an object becomes ready.
//!
//! A process gets one when it first wants a bell for an object, and another one for each further 127 objects, as many as one thread can
//! sleep on beside its own word. Each sleeps in a [`Vigil`] over its objects that are *armed*. It disarms an object before it rings, so that
//! an object costs nothing from when it was ready until its owner arms it again.
//!
//! The threads block all signals, and hold none of the program's locks. They do not come with a fork: a child's wards are its parent's,
//! and refuse to be armed; dropping them does nothing to its parent.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::vigil::{Post, Vigil};
use crate::{
    error::{Error, Result},
    object::{
        source::Watched,
        wait::{Deadline, WATCH_NS},
    },
    os::{
        clock,
        descriptor::Bell,
        fork::{PerProcess, Process},
        futex, thread,
    },
    prim::{AcqRel, Acquire, AtomicU32, Relaxed, Release},
};

/// Objects of one thread. Its own word is one more.
const MOST: usize = futex::WORDS_AT_ONCE - 1;
/// How long who leaves waits for the thread to let go.
const FAREWELL: Duration = Duration::from_secs(1);

/// Nobody watches.
const IDLE: u32 = 0;
/// The thread has it, or will find it on its roll.
const ARMED: u32 = 1;
/// As before, but its owner is leaving.
const LEAVING: u32 = 2;

static LOOKOUT: PerProcess<Lookout> = PerProcess::new();

/// This process's threads.
#[derive(Debug, Default)]
struct Lookout {
    shards: Mutex<Vec<Arc<Shard>>>,
}

impl Lookout {
    /// A thread with a place for one more object, which it takes.
    fn shard(&self) -> Result<Arc<Shard>> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = shards.iter().find(|shard| shard.take_place()) {
            return Ok(Arc::clone(shard));
        }
        let shard = Arc::new(Shard::new());
        let theirs = Arc::clone(&shard);
        thread::start("ipc-lookout", move || theirs.watch())
            .map_err(|e| Error::from_io("a pollable", "start a thread for", &e))?;
        shards.push(Arc::clone(&shard));
        Ok(shard)
    }
}

/// One thread, and what it and others share.
#[derive(Debug)]
struct Shard {
    /// Changes when there is something on the roll, or somebody leaves.
    news: AtomicU32,
    roll: Mutex<Vec<Guarded>>,
    places_taken: AtomicUsize,
}

/// An armed object as its thread has it.
#[derive(Debug)]
struct Guarded {
    pass: Arc<Pass>,
    post: Post,
}

/// What an owner and its thread know of one another.
#[derive(Debug)]
struct Pass {
    state: AtomicU32,
    /// The owner's.
    bell: Weak<Bell>,
}

impl Guarded {
    fn is_leaving(&self) -> bool {
        self.pass.state.load(Acquire) == LEAVING
    }

    /// Lets go of the object, and only then says so.
    fn release(self) {
        drop(self.post);
        if self.pass.state.swap(IDLE, AcqRel) == LEAVING {
            futex::wake(&self.pass.state, 1);
        } else if let Some(bell) = self.pass.bell.upgrade() {
            bell.ring();
        }
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            news: AtomicU32::new(0),
            roll: Mutex::default(),
            places_taken: AtomicUsize::new(1),
        }
    }

    fn take_place(&self) -> bool {
        let taken = self.places_taken.load(Ordering::Relaxed); // changed only up under the lookout's lock
        let is_free = taken < MOST;
        if is_free {
            self.places_taken.fetch_add(1, Ordering::Relaxed);
        }
        is_free
    }

    fn roll(&self) -> MutexGuard<'_, Vec<Guarded>> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look at its roll and at who leaves.
    fn tell(&self) {
        self.news.fetch_add(1, Release);
        futex::wake(&self.news, 1);
    }

    fn watch(&self) {
        let mut guarded: Vec<Guarded> = Vec::new();
        let mut look_at = u64::MAX;
        loop {
            let news = self.news.load(Acquire); // before the looks at what it is about
            guarded.extend(self.roll().drain(..));
            release(&mut guarded, Guarded::is_leaving);
            let mut now = clock::monotonic_ns();
            if guarded.is_empty() {
                look_at = u64::MAX;
            } else if look_at == u64::MAX {
                look_at = now.saturating_add(WATCH_NS);
            }
            let mut vigil = Vigil::begin(guarded.iter_mut().map(|one| &mut one.post));
            if !vigil.is_any_ready(now) {
                vigil.sleep(0, Some((&self.news, news)), now, look_at);
            }
            now = clock::monotonic_ns();
            if now >= look_at {
                look_at = now.saturating_add(WATCH_NS);
                // What cannot be looked at is for its owner to find out.
                release(&mut guarded, |one| {
                    one.post.watched.look_for_dead().is_err()
                });
            }
            release(&mut guarded, |one| one.post.is_ready());
        }
    }
}

fn release(guarded: &mut Vec<Guarded>, is_over: impl Fn(&Guarded) -> bool) {
    guarded
        .extract_if(.., |one| is_over(one))
        .for_each(Guarded::release);
}

/// An object that somebody wants to know of by a bell.
#[derive(Debug)]
pub(super) struct Ward {
    watched: Watched,
    pass: Arc<Pass>,
    shard: Arc<Shard>,
    process: Process,
}

impl Ward {
    /// Not armed yet.
    pub(super) fn new(watched: Watched, bell: &Arc<Bell>) -> Result<Self> {
        Ok(Self {
            watched,
            pass: Arc::new(Pass {
                state: AtomicU32::new(IDLE),
                bell: Arc::downgrade(bell),
            }),
            shard: LOOKOUT.get().shard()?,
            process: Process::this(),
        })
    }

    /// Has the bell ring once the object is ready, also if it is so already; unless that is to come anyway. Returns whether it is
    /// ready now, in which case nobody rings.
    pub(super) fn arm(&self) -> Result<bool> {
        if !self.process.is_this() {
            let e = std::io::Error::from_raw_os_error(libc::ECHILD);
            return Err(Error::from_io("a parent's pollable", "use", &e));
        }
        let post = Post::new(self.watched.clone());
        if post.is_ready() {
            return Ok(true);
        }
        let exchange = self
            .pass
            .state
            .compare_exchange(IDLE, ARMED, AcqRel, Relaxed);
        if exchange.is_ok() {
            let pass = Arc::clone(&self.pass);
            self.shard.roll().push(Guarded { pass, post });
            self.shard.tell();
        }
        Ok(false)
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.process.is_this()
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        if !self.process.is_this() {
            return; // the thread is its parent's
        }
        let state = &self.pass.state;
        if state.swap(LEAVING, AcqRel) == ARMED {
            self.shard.tell();
            // So that the object is not in use any more when this returns. In vain only if the thread is held up by a debugger.
            let deadline = Deadline::after(FAREWELL);
            while state.load(Acquire) == LEAVING && !deadline.is_over(clock::monotonic_ns()) {
                futex::wait(state, LEAVING, deadline.ns());
            }
        }
        self.shard.places_taken.fetch_sub(1, Ordering::Relaxed);
    }
}
