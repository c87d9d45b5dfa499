//! Whose a pool is, and whether its threads have ended: what stays of it as long as anybody has a result.

use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, ThreadId},
};

use crate::os::fork;

#[derive(Debug)]
pub(super) struct Ties {
    process: fork::Process,
    listener: OnceLock<ThreadId>,
    /// How many of the pool's threads run.
    threads: Mutex<usize>,
    ended: Condvar,
}

impl Ties {
    pub(super) fn new() -> Self {
        Self {
            process: fork::Process::this(),
            listener: OnceLock::new(),
            threads: Mutex::new(0),
            ended: Condvar::new(),
        }
    }

    /// Whether this is the process that has made the pool. A forked child must not touch a lock of it.
    pub(super) fn is_mine(&self) -> bool {
        self.process.is_this()
    }

    /// This thread is the one that hears of tasks being over.
    pub(super) fn listen(&self) {
        let _ = self.listener.set(thread::current().id());
    }

    /// Whether this is the thread that hears of tasks being over, which must not wait for that.
    pub(super) fn is_listener(&self) -> bool {
        self.listener.get() == Some(&thread::current().id())
    }

    fn threads(&self) -> MutexGuard<'_, usize> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread is about to be started.
    pub(super) fn enter(&self) {
        *self.threads() += 1;
    }

    /// A thread has let go of everything, or was not started.
    pub(super) fn leave(&self) {
        *self.threads() -= 1;
        self.ended.notify_all();
    }

    /// Waits until all threads have let go.
    pub(super) fn wait_for_end(&self) {
        let mut threads = self.threads();
        while *threads > 0 {
            let waited = self.ended.wait(threads);
            threads = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
