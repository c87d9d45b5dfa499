//! A lock that its holder may acquire again.
//!
//! The word is that of [`super::hold`]; `depth` counts how often its holder has it, and only the holder writes it. All else is
//! [`super::lock`]'s.

use core::marker::PhantomData;
use std::{sync::Arc, time::Duration};

use super::{
    errors::{AcquireTimeoutError, TryAcquireError},
    frame::{ENDED, Station},
    hold::{Held, Leaving},
    lock::LockCore,
    options::{Options, handle},
};
use crate::{
    error::{Damage, Result},
    object::{Kind, wait::Deadline},
    prim::Relaxed,
};

const TOO_DEEP: Damage = Damage("it is held too often by one thread");

/// A lock between threads of any processes that the thread which holds it may acquire again, as Python's `RLock`.
///
/// It holds no value: see [`Lock`](crate::Lock), whose rules on blocking and on death hold here too. What the dead holder had acquired
/// several times is released as a whole.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-rlock-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::RLock;
///
/// let log = RLock::options().namespace(&namespace).create("log")?;
/// let outer = log.acquire()?;
/// let inner = log.acquire()?; // the same thread
/// assert_eq!(inner.depth(), 2);
/// # drop((inner, outer));
/// # log.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct RLock {
    station: Arc<Station<LockCore>>,
}

handle!([] RLock, "RLock", LockCore, Kind::RLock, String::new());

impl RLock {
    /// Makes a lock under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Settings for a recursive lock.
    pub fn options() -> Options<Self> {
        Options::new()
    }

    fn at(station: Arc<Station<LockCore>>) -> Self {
        Self { station }
    }

    /// Acquires the lock, or acquires it once more; blocks while another thread holds it.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more. A dead holder is no error: see
    /// [`RLockGuard::owner_died`].
    pub fn acquire(&self) -> Result<RLockGuard<'_>> {
        let held = self.acquire_until(Deadline::NEVER)?;
        held.ok_or_else(|| self.station.failed(ENDED))
    }

    /// Acquires the lock unless another thread holds it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    pub fn try_acquire(&self) -> Result<RLockGuard<'_>, TryAcquireError> {
        if let Some(guard) = self.again()? {
            return Ok(guard);
        }
        let held = self.station.try_hold()?;
        held.map(|held| self.first(held))
            .ok_or(TryAcquireError::WouldBlock)
    }

    /// Acquires the lock; blocks for at most `timeout` while another thread holds it.
    ///
    /// # Errors
    ///
    /// [`AcquireTimeoutError`].
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RLockGuard<'_>, AcquireTimeoutError> {
        self.acquire_until(Deadline::after(timeout))?
            .ok_or(AcquireTimeoutError::Timeout)
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<Option<RLockGuard<'_>>> {
        if let Some(guard) = self.again()? {
            return Ok(Some(guard));
        }
        let held = self.station.hold(deadline)?;
        Ok(held.map(|held| self.first(held)))
    }

    /// One level deeper, if this thread holds the lock.
    fn again(&self) -> Result<Option<RLockGuard<'_>>> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let head = self.station.mechanism.frame.head();
        let Some(held) = head.held_by(me) else {
            return Ok(None);
        };
        let Some(depth) = head.depth.load(Relaxed).checked_add(1) else {
            return Err(self.station.failed(TOO_DEEP));
        };
        head.depth.store(depth, Relaxed);
        Ok(Some(self.guard(held)))
    }

    fn first(&self, held: Held) -> RLockGuard<'_> {
        let head = self.station.mechanism.frame.head();
        head.depth.store(1, Relaxed);
        self.guard(held)
    }

    fn guard(&self, held: Held) -> RLockGuard<'_> {
        RLockGuard {
            lock: self,
            held,
            _not_send: PhantomData,
        }
    }
}

/// One acquisition of an [`RLock`]. The last one to be dropped releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    held: Held,
    _not_send: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// How often this thread holds the lock.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.lock.station.mechanism.frame.head().depth.load(Relaxed)
    }

    /// Whether a holder died holding this lock, or [marked it inconsistent](Self::mark_inconsistent), and nobody has
    /// [marked it consistent](Self::mark_consistent) since.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.lock.station.mechanism.frame.head().is_marked()
    }

    /// Says that what the lock protects is in order again: the next holder is not warned.
    pub fn mark_consistent(&self) {
        self.mark(false);
    }

    /// Says that what the lock protects is not in order: the next holder is warned, also if this one panics.
    pub fn mark_inconsistent(&self) {
        self.mark(true);
    }

    fn mark(&self, is_inconsistent: bool) {
        let head = self.lock.station.mechanism.frame.head();
        if head.is_held(self.held) {
            head.mark(is_inconsistent);
        }
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let station = &self.lock.station;
        let head = station.mechanism.frame.head();
        if !head.is_held(self.held) {
            return; // a forked child's copy
        }
        let depth = head.depth.load(Relaxed).saturating_sub(1);
        head.depth.store(depth, Relaxed);
        if depth == 0 {
            let held = Held {
                word: head.look(), // perhaps marked since
                ..self.held
            };
            let leaving = Leaving {
                is_inconsistent: held.word.is_inconsistent(),
                has_written: false,
            };
            station.release(held, leaving);
        }
    }
}
