//! A count that anybody may raise and lower: the classic semaphore, whose permits belong to nobody.
//!
//! # The word
//!
//! The count of permits that are to be had, 0 to 2³¹ − 1.
//!
//! # Ordering
//!
//! * O1. `word` addition(Release) → exchange(Acquire) down: what was done before a release is seen by who acquires. (All that
//!   happens to the word in between reads and writes it in one, and so passes on what it found.)
//! * Relaxed: the count that is shown, and looked at before an exchange.
//!
//! # If a process dies
//!
//! With a permit: it is lost, as nobody knows whose it was ([`super::bounded_semaphore`] does). Between its release and waking:
//! the sweep wakes all.

use std::{mem, sync::Arc, time::Duration};

use super::{
    errors::{AcquireTimeoutError, ReleaseError, TryAcquireError},
    frame::{ENDED, Frame, Mechanism, Station},
    options::{Options, handle},
};
use crate::{
    error::{Damage, Result},
    object::{
        Kind,
        participant::{Dead, Repair},
        wait::{Attempt, Deadline},
    },
    os::fork::Process,
    prim::{Acquire, Relaxed, Release},
};

/// The most permits.
const MOST: u32 = i32::MAX as u32;
/// Permits that may be added without looking at the limit in the same step: a kernel has at most 2²² threads.
const FEW: u32 = 1 << 8;

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct SemaphoreCore {
    frame: Frame,
}

impl SemaphoreCore {
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        let word = &self.frame.head().word;
        let mut seen = word.load(Relaxed);
        while seen > 0 {
            match word.compare_exchange(seen, seen - 1, Acquire, Relaxed) {
                Ok(_) => return true, // O1
                Err(now) => seen = now,
            }
        }
        false
    }

    #[inline]
    pub(crate) fn release(&self, count: u32) -> Result<(), ReleaseError> {
        let word = &self.frame.head().word;
        if count <= FEW && word.load(Relaxed) <= u64::from(MOST / 2) {
            // There are not threads enough to get from half to beyond the limit by a few each.
            word.fetch_add(u64::from(count), Release); // O1
        } else {
            // Checked and added in one: who died between adding too many and taking them back would leave them.
            let up = |seen: u64| {
                let sum = seen.checked_add(u64::from(count))?;
                (sum <= u64::from(MOST)).then_some(sum)
            };
            word.fetch_update(Release, Relaxed, up) // O1
                .map_err(|_| ReleaseError::Overflow)?;
        }
        self.frame.head().main.wake(count);
        Ok(())
    }

    pub(super) fn value(&self) -> u32 {
        u32::try_from(self.frame.head().word.load(Relaxed)).unwrap_or(u32::MAX)
    }
}

impl Mechanism for SemaphoreCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        Ok(Self { frame })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn describe(&self) -> String {
        format!("{} available", self.value())
    }

    fn permits(&self) -> Option<u32> {
        Some(self.value())
    }
}

impl Repair for SemaphoreCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.frame.notes.repair(dead, |_| {})
    }

    fn wake_all(&self) {
        self.frame.wake_all();
    }
}

/// A counting semaphore that anybody may release, as Python's `Semaphore`.
///
/// # Blocking
///
/// [`acquire`](Self::acquire) blocks while there is no permit, `try_acquire` never, `acquire_timeout` for so long.
///
/// # When a process dies
///
/// A permit it acquired is gone: here permits belong to nobody, as one process may acquire and another release. Where a permit
/// should return when its holder dies, use a [`BoundedSemaphore`](crate::BoundedSemaphore). Waiters that die leave nothing.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-semaphore-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Semaphore;
///
/// let slots = Semaphore::options(1).namespace(&namespace).create("slots")?;
/// slots.acquire()?.forget(); // taken, and released by whoever is done
/// assert!(slots.try_acquire().is_err());
/// slots.release(1)?;
/// assert_eq!(slots.value(), 1);
/// # slots.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphore {
    station: Arc<Station<SemaphoreCore>>,
}

handle!([] Semaphore, "Semaphore", SemaphoreCore, Kind::Semaphore, String::new());

impl Semaphore {
    /// Makes a semaphore of `permits` under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str, permits: u32) -> Result<Self> {
        Self::options(permits).create(name)
    }

    /// Settings for a semaphore that has `permits` at first: 0 to 2,147,483,647.
    pub fn options(permits: u32) -> Options<Self> {
        let mut options = Options::new();
        if permits > MOST {
            options.refusal = Some(("permits", "a semaphore has 0 to 2,147,483,647"));
        }
        options.begin = Some(Box::new(move |frame| {
            frame.head().word.store(u64::from(permits), Relaxed);
        }));
        options
    }

    fn at(station: Arc<Station<SemaphoreCore>>) -> Self {
        Self { station }
    }

    /// Takes a permit; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more.
    #[inline]
    pub fn acquire(&self) -> Result<SemaphoreGuard<'_>> {
        match self.acquire_until(Deadline::NEVER)? {
            Some(guard) => Ok(guard),
            None => Err(self.station.failed(ENDED)),
        }
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    #[inline]
    pub fn try_acquire(&self) -> Result<SemaphoreGuard<'_>, TryAcquireError> {
        self.station.member.ready().map_err(|e| *e)?;
        if self.station.mechanism.try_acquire() {
            Ok(self.guard()?)
        } else {
            Err(TryAcquireError::WouldBlock)
        }
    }

    /// Takes a permit; blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`AcquireTimeoutError`].
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<SemaphoreGuard<'_>, AcquireTimeoutError> {
        self.acquire_until(Deadline::after(timeout))?
            .ok_or(AcquireTimeoutError::Timeout)
    }

    #[inline]
    fn acquire_until(&self, deadline: Deadline) -> Result<Option<SemaphoreGuard<'_>>> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        if core.try_acquire() {
            return self.guard().map(Some);
        }
        let main = &core.frame.head().main;
        let attempt = || {
            if core.try_acquire() {
                Attempt::Done(Ok(()))
            } else {
                Attempt::Blocked(main)
            }
        };
        let waited = self
            .station
            .wait(me, main, deadline, attempt, || core.value() > 0)?;
        waited.map(|()| self.guard()).transpose()
    }

    #[inline]
    fn guard(&self) -> Result<SemaphoreGuard<'_>> {
        self.station.sound(SemaphoreGuard {
            semaphore: self,
            process: Process::this(),
        })
    }

    /// Adds `permits`, whoever took any.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::Overflow`], and then none are added.
    pub fn release(&self, permits: u32) -> Result<(), ReleaseError> {
        self.station.member.ready().map_err(|e| *e)?;
        self.station.mechanism.release(permits)?;
        Ok(self.station.sound(())?)
    }

    /// How many permits there are to be had.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.station.mechanism.value()
    }
}

/// A permit of a [`Semaphore`], which goes back when this is dropped.
#[derive(Debug)]
#[must_use = "the permit goes back when this is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    process: Process,
}

impl SemaphoreGuard<'_> {
    /// Keeps the permit taken until somebody [releases](Semaphore::release) one.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphoreGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let station = &self.semaphore.station;
        if self.process.is_this() {
            // Fails only at the limit, beyond which nobody can count.
            let _ = station.mechanism.release(1);
        }
    }
}
