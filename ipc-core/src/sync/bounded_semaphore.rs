//! A fixed number of permits, each of which belongs to somebody: what a dead holder had comes back.
//!
//! # Layout
//!
//! One seat a permit. FREE: to be had. Holding: its owner's. Lent: taken, and nobody's until somebody releases it.
//!
//! # Ordering
//!
//! Seats (O1 there) order a release before the next acquisition, and are exchanged by read-modify-writes, as waking asks for
//! (W1 of `object/wait`).
//!
//! # If a process dies
//!
//! Its seats are freed by its sweep, which wakes all. Permits that it lent stay lent.

use core::sync::atomic::{AtomicUsize, Ordering};
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
        participant::{Dead, Owner, Repair},
        seat::{Activity, Seated},
        wait::{Attempt, Deadline},
    },
};

/// The most permits.
const MOST: usize = 1 << 16;

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct BoundedSemaphoreCore {
    frame: Frame,
    /// Where this process last found a permit: it is probably free again.
    hint: AtomicUsize,
}

impl BoundedSemaphoreCore {
    #[inline]
    pub(super) fn try_acquire(&self, me: Owner) -> Option<Seated> {
        let hint = self.hint.load(Ordering::Relaxed);
        let seated = self.frame.seats.take(me, Activity::Holding, hint)?;
        if seated.index != hint {
            self.hint.store(seated.index, Ordering::Relaxed);
        }
        Some(seated)
    }

    /// Whether the permit was still the caller's.
    #[inline]
    pub(super) fn release(&self, seated: Seated) -> bool {
        let was_ours = self.frame.seats.leave(seated);
        self.frame.head().main.wake(1);
        was_ours
    }

    pub(super) fn lend(&self, seated: Seated) -> bool {
        let lent = seated.ctl.doing(Activity::Lent);
        self.frame.seats.all()[seated.index].exchange(seated.ctl, lent)
    }

    /// Frees a lent permit. Whether there was one.
    pub(super) fn release_lent(&self) -> bool {
        for seat in self.frame.seats.all() {
            let seen = seat.look();
            if seen.activity() == Some(Activity::Lent) && seat.exchange(seen, seen.left()) {
                self.frame.head().main.wake(1);
                return true;
            }
        }
        false
    }

    pub(super) fn value(&self) -> usize {
        let seats = self.frame.seats.all().iter();
        seats.filter(|seat| seat.look().is_free()).count()
    }
}

impl Mechanism for BoundedSemaphoreCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        if frame.seats.all().is_empty() {
            return Err(Damage("a bounded semaphore has no permits"));
        }
        Ok(Self {
            frame,
            hint: AtomicUsize::new(0),
        })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn describe(&self) -> String {
        format!(
            "{} of {} available",
            self.value(),
            self.frame.seats.all().len()
        )
    }

    fn permits(&self) -> Option<u32> {
        u32::try_from(self.value()).ok()
    }
}

impl Repair for BoundedSemaphoreCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.frame.seats.repair(dead, |_| {})?;
        self.frame.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        self.frame.seats.name(owner)
    }

    fn wake_all(&self) {
        self.frame.wake_all();
    }
}

/// A semaphore of a fixed number of permits that return when their holder dies, and that cannot be released more often than
/// acquired, as Python's `BoundedSemaphore`.
///
/// # Blocking
///
/// [`acquire`](Self::acquire) blocks while every permit is taken, `try_acquire` never, `acquire_timeout` for so long.
///
/// # When a process dies
///
/// The permits it held are to be had again within about 100 ms; those it [left taken](BoundedSemaphoreGuard::forget) stay taken.
/// Waiters that die leave nothing. A *stopped* holder is alive and keeps its permits.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-bounded-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::BoundedSemaphore;
///
/// let connections = BoundedSemaphore::options(4).namespace(&namespace).create("connections")?;
/// {
///     let _one = connections.acquire()?;
///     assert_eq!(connections.value(), 3);
/// }
/// assert!(connections.release().is_err(), "nobody left one taken");
/// # connections.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct BoundedSemaphore {
    station: Arc<Station<BoundedSemaphoreCore>>,
}

handle!([] BoundedSemaphore, "BoundedSemaphore", BoundedSemaphoreCore, Kind::BoundedSemaphore, String::new());

impl BoundedSemaphore {
    /// Makes a semaphore of `permits` under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str, permits: usize) -> Result<Self> {
        Self::options(permits).create(name)
    }

    /// Settings for a semaphore of `permits`: 1 to 65,536, at 32 bytes each.
    pub fn options(permits: usize) -> Options<Self> {
        let mut options = Options::new();
        if !(1..=MOST).contains(&permits) {
            options.refusal = Some(("permits", "a bounded semaphore has 1 to 65,536"));
        }
        options.needed = (permits, "permits");
        options
    }

    fn at(station: Arc<Station<BoundedSemaphoreCore>>) -> Self {
        Self { station }
    }

    /// Takes a permit; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more.
    #[inline]
    pub fn acquire(&self) -> Result<BoundedSemaphoreGuard<'_>> {
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
    pub fn try_acquire(&self) -> Result<BoundedSemaphoreGuard<'_>, TryAcquireError> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        core.try_acquire(me)
            .or_else(|| self.station.again(|| core.try_acquire(me)))
            .map(|seated| self.guard(seated))
            .ok_or(TryAcquireError::WouldBlock)
    }

    /// Takes a permit; blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`AcquireTimeoutError`].
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<BoundedSemaphoreGuard<'_>, AcquireTimeoutError> {
        self.acquire_until(Deadline::after(timeout))?
            .ok_or(AcquireTimeoutError::Timeout)
    }

    #[inline]
    fn acquire_until(&self, deadline: Deadline) -> Result<Option<BoundedSemaphoreGuard<'_>>> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        if let Some(seated) = core.try_acquire(me) {
            self.station.sound(())?;
            return Ok(Some(self.guard(seated)));
        }
        let main = &core.frame.head().main;
        let attempt = || match core.try_acquire(me) {
            Some(seated) => Attempt::Done(Ok(seated)),
            None => Attempt::Blocked(main),
        };
        let waited = self
            .station
            .wait(me, main, deadline, attempt, || core.value() > 0)?;
        Ok(waited.map(|seated| self.guard(seated)))
    }

    fn guard(&self, seated: Seated) -> BoundedSemaphoreGuard<'_> {
        BoundedSemaphoreGuard {
            semaphore: self,
            seated,
        }
    }

    /// Releases a permit that somebody took and [left taken](BoundedSemaphoreGuard::forget).
    ///
    /// # Errors
    ///
    /// [`ReleaseError::OverReleased`] if there is none.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.station.member.ready().map_err(|e| *e)?;
        if self.station.mechanism.release_lent() {
            Ok(())
        } else {
            Err(ReleaseError::OverReleased)
        }
    }

    /// How many permits are to be had. Takes time in proportion to how many there are.
    #[must_use]
    pub fn value(&self) -> usize {
        self.station.mechanism.value()
    }

    /// How many permits there are in all.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.station.mechanism.frame.seats.all().len()
    }
}

/// A permit of a [`BoundedSemaphore`], which goes back when this is dropped or its holder dies.
#[derive(Debug)]
#[must_use = "the permit goes back when this is dropped"]
pub struct BoundedSemaphoreGuard<'a> {
    semaphore: &'a BoundedSemaphore,
    seated: Seated,
}

impl BoundedSemaphoreGuard<'_> {
    /// Leaves the permit taken: it belongs to nobody until somebody [releases](BoundedSemaphore::release) it, and outlives this
    /// process.
    pub fn forget(self) {
        let station = &self.semaphore.station;
        // A forked child's copy lends nothing of its parent's.
        if self.seated.process.is_this() {
            // Ours no longer only if we are held for dead.
            let _ = station.mechanism.lend(self.seated);
        }
        mem::forget(self);
    }
}

impl Drop for BoundedSemaphoreGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let station = &self.semaphore.station;
        if self.seated.process.is_this() {
            // Ours no longer only if we are held for dead.
            let _ = station.mechanism.release(self.seated);
        }
    }
}
