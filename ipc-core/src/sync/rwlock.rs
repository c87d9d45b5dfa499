//! A lock that one writer or many readers hold.
//!
//! # Layout
//!
//! The word is that of [`super::hold`], and is the writer's. One seat a reader: Reading. `value` holds the protected value
//! twice, as a [`super::lock`]'s. Writers that wait for readers sleep on `other`, all else on `main`.
//!
//! # Invariants
//!
//! * I1. A reader sits down, fences, and looks at the word; a writer takes the word, fences, and looks at the seats. One of the
//!   two sees the other. A reader that sees the word taken stands up again; so a writer that waits keeps new readers out.
//! * I2. A writer goes in (from WANTED to held) only after it saw no reader.
//!
//! # Ordering
//!
//! * O1. The word's, of `hold`: a reader's look is an Acquire, so it sees what the last writer wrote.
//! * O2. A reader's seat exchange(Release) to FREE → the writer's look(Acquire) at it: what is written comes after what was read.
//!
//! # If a process dies
//!
//! | killed | the sweep |
//! |---|---|
//! | reading | frees its seat and wakes all |
//! | a writer that waits for readers | frees the word; all is well |
//! | writing | frees the word, and warns |

use core::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};
use std::{sync::Arc, time::Duration};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::{
    errors::{AcquireTimeoutError, TryAcquireError},
    frame::{ENDED, Frame, Mechanism, Station},
    hold::{Held, Leaving, Word},
    lock,
    options::{Options, handle},
};
use crate::{
    error::{Damage, Result},
    object::{
        Kind,
        participant::{Dead, Owner, Repair},
        seat::{Activity, Seated, Visitor},
        wait::{Attempt, Deadline},
    },
    prim,
};

/// Readers at once, unless asked otherwise.
const DEFAULT_READERS: usize = 96;
const MOST_READERS: usize = 1 << 16;

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct RwLockCore {
    frame: Frame,
}

impl RwLockCore {
    /// A share, and the word as the reader found it.
    pub(super) fn try_read(&self, me: Owner) -> Option<(Seated, Word)> {
        let head = self.frame.head();
        if head.look().is_locked() {
            return None;
        }
        let seated = self
            .frame
            .seats
            .take(me, Activity::Reading, me.bits() as usize)?;
        prim::full_fence_after_rmw(); // I1
        let word = head.look();
        if word.is_locked() {
            self.end_read(seated);
            return None;
        }
        Some((seated, word))
    }

    /// Gives a share back. Whether it was still the caller's.
    pub(super) fn end_read(&self, seated: Seated) -> bool {
        let was_ours = self.frame.seats.leave(seated); // O2
        let head = self.frame.head();
        head.other.wake(1);
        head.main.wake_of_claim(1); // who found every share taken
        was_ours
    }

    fn is_read(&self) -> bool {
        let mut seats = self.frame.seats.all().iter();
        seats.any(|seat| !seat.look().is_free()) // O2
    }

    /// Goes in, if no reader is left.
    pub(super) fn try_enter(&self, wanted: Held) -> Option<Result<Held, Damage>> {
        prim::full_fence_after_rmw(); // I1: after the word was taken, at the first look; later ones need none
        if self.is_read() {
            return None;
        }
        Some(self.frame.head().go_in(wanted).ok_or(lock::NOT_OURS)) // I2
    }

    /// Frees the word and wakes everybody: readers, and the next writer.
    pub(super) fn end_write(&self, held: Held, leaving: Leaving) -> bool {
        self.frame.head().release(held, leaving, u32::MAX)
    }
}

impl Mechanism for RwLockCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        if frame.seats.all().is_empty() {
            return Err(Damage("a read-write lock has no room for readers"));
        }
        Ok(Self { frame })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn holder(&self) -> Option<Visitor> {
        self.frame.head().holder()
    }

    fn describe(&self) -> String {
        let seats = self.frame.seats.all().iter();
        match seats.filter(|seat| !seat.look().is_free()).count() {
            0 => self.frame.head().describe_hold(),
            readers => format!("{readers} reading"),
        }
    }
}

impl Repair for RwLockCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.frame.head().repair_hold(dead)?;
        self.frame.seats.repair(dead, |_| {})?;
        self.frame.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        self.frame.head().names(owner) || self.frame.seats.name(owner)
    }

    fn wake_all(&self) {
        self.frame.wake_all();
    }
}

/// A lock between threads of any processes that one writer or many readers hold, with a value inside.
///
/// # Blocking
///
/// [`read`](Self::read) and [`write`](Self::write) block, `try_` never, `_timeout` for so long. A writer that waits keeps new readers
/// out. A thread that reads and asks for another share while a writer waits, or asks to write, waits for itself, for ever.
///
/// # When a process dies
///
/// | killed | the others |
/// |---|---|
/// | reading | its share is back within about 100 ms |
/// | writing | get the lock within about 100 ms; guards say `owner_died` until a writer marks it consistent |
/// | waiting | notice nothing |
///
/// As in a [`Lock`](crate::Lock), the value is never torn. A *stopped* holder is alive and keeps the lock.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-rwlock-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::RwLock;
///
/// let limits = RwLock::options_with([10u32, 20]).namespace(&namespace).create("limits")?;
/// limits.write()?[1] = 30;
/// let (one, two) = (limits.read()?, limits.read()?);
/// assert_eq!(*one, *two);
/// # drop((one, two));
/// # limits.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct RwLock<T = ()> {
    station: Arc<Station<RwLockCore>>,
    _value: PhantomData<fn() -> T>,
}

handle!([T: NoUninit + CheckedBitPattern] RwLock<T>, "RwLock", RwLockCore, Kind::RwLock, lock::type_name::<T>());

impl RwLock {
    /// Makes a lock without a value under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Settings for a lock without a value.
    pub fn options() -> Options<Self> {
        Self::options_with(())
    }
}

impl<T: NoUninit + CheckedBitPattern> Options<RwLock<T>> {
    /// How many may read at once: 1 to 65,536, at 32 bytes each. One more waits. Default: 96.
    pub fn readers(mut self, count: usize) -> Self {
        if self.refusal.is_none_or(|(option, _)| option == "readers") {
            let is_bad = !(1..=MOST_READERS).contains(&count);
            self.refusal = is_bad.then_some(("readers", "a lock has 1 to 65,536"));
        }
        self.needed = (count, "readers");
        self
    }
}

impl<T: NoUninit + CheckedBitPattern> RwLock<T> {
    /// Settings for a lock whose value is `initial` at first.
    pub fn options_with(initial: T) -> Options<Self> {
        lock::with_value(initial).readers(DEFAULT_READERS)
    }

    fn at(station: Arc<Station<RwLockCore>>) -> Self {
        Self {
            station,
            _value: PhantomData,
        }
    }

    /// Acquires a share; blocks while somebody writes or waits to.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more.
    pub fn read(&self) -> Result<ReadGuard<'_, T>> {
        let guard = self.read_until(Deadline::NEVER)?;
        guard.ok_or_else(|| self.station.failed(ENDED))
    }

    /// Acquires a share if nobody writes or waits to.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    pub fn try_read(&self) -> Result<ReadGuard<'_, T>, TryAcquireError> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        let read = core
            .try_read(me)
            .or_else(|| self.station.again(|| core.try_read(me)));
        match read {
            Some((seated, word)) => Ok(self.reading(seated, word)?),
            None => Err(TryAcquireError::WouldBlock),
        }
    }

    /// Acquires a share; blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`AcquireTimeoutError`].
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_, T>, AcquireTimeoutError> {
        self.read_until(Deadline::after(timeout))?
            .ok_or(AcquireTimeoutError::Timeout)
    }

    fn read_until(&self, deadline: Deadline) -> Result<Option<ReadGuard<'_, T>>> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        if let Some((seated, word)) = core.try_read(me) {
            return self.reading(seated, word).map(Some);
        }
        let head = core.frame.head();
        let attempt = || match core.try_read(me) {
            Some(read) => Attempt::Done(Ok(read)),
            None => Attempt::Unsettled(&head.main), // a writer's release does not fence
        };
        let is_promising = || !head.look().is_locked();
        let read = self
            .station
            .wait(me, &head.main, deadline, attempt, is_promising)?;
        read.map(|(seated, word)| self.reading(seated, word))
            .transpose()
    }

    fn reading(&self, seated: Seated, word: Word) -> Result<ReadGuard<'_, T>> {
        let share = Share {
            station: &self.station,
            seated,
        };
        match lock::read(&self.station.mechanism.frame, word) {
            Some(value) => {
                self.station.sound(())?;
                Ok(ReadGuard {
                    _share: share,
                    value,
                    is_inconsistent: word.is_inconsistent(),
                })
            }
            None => Err(self.station.failed(lock::NO_VALUE)),
        }
    }

    /// Acquires the lock for writing; blocks while anybody holds it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). A dead holder is no error: see [`WriteGuard::owner_died`].
    pub fn write(&self) -> Result<WriteGuard<'_, T>> {
        let guard = self.write_until(Deadline::NEVER)?;
        guard.ok_or_else(|| self.station.failed(ENDED))
    }

    /// Acquires the lock for writing if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    pub fn try_write(&self) -> Result<WriteGuard<'_, T>, TryAcquireError> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let attempt = || {
            let core = &*self.station.mechanism;
            let want = self.want(core.frame.head().try_want(me)?);
            Some(core.try_enter(want.held)?.map(|held| (want, held)))
        };
        match attempt().or_else(|| self.station.again(attempt)) {
            Some(entered) => Ok(self.writing(entered)?),
            None => Err(TryAcquireError::WouldBlock),
        }
    }

    /// Acquires the lock for writing; blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`AcquireTimeoutError`].
    pub fn write_timeout(
        &self,
        timeout: Duration,
    ) -> Result<WriteGuard<'_, T>, AcquireTimeoutError> {
        self.write_until(Deadline::after(timeout))?
            .ok_or(AcquireTimeoutError::Timeout)
    }

    fn write_until(&self, deadline: Deadline) -> Result<Option<WriteGuard<'_, T>>> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        let head = core.frame.head();
        let wanted = match head.try_want(me) {
            Some(wanted) => Some(wanted),
            None => {
                let attempt = || match head.try_want(me) {
                    Some(wanted) => Attempt::Done(Ok(wanted)),
                    None => Attempt::Unsettled(&head.main),
                };
                let is_promising = || !head.look().is_locked();
                self.station
                    .wait(me, &head.main, deadline, attempt, is_promising)?
            }
        };
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        let want = self.want(wanted); // gives the word back if this ends here
        let entered = match core.try_enter(wanted) {
            Some(entered) => Some(entered.map_err(|damage| self.station.failed(damage))?),
            None => {
                let attempt = || match core.try_enter(wanted) {
                    Some(entered) => Attempt::Done(entered),
                    None => Attempt::Blocked(&head.other),
                };
                let is_promising = || !core.is_read();
                self.station
                    .wait(me, &head.other, deadline, attempt, is_promising)?
            }
        };
        entered
            .map(|held| self.writing(Ok((want, held))))
            .transpose()
    }

    fn want(&self, held: Held) -> Want<'_> {
        Want {
            station: &self.station,
            held,
        }
    }

    fn writing(&self, entered: Result<(Want<'_>, Held), Damage>) -> Result<WriteGuard<'_, T>> {
        let (want, held) = entered.map_err(|damage| self.station.failed(damage))?;
        core::mem::forget(want);
        if let Err(e) = self.station.sound(()) {
            drop(self.want(held));
            return Err(e);
        }
        match lock::read(&self.station.mechanism.frame, held.word) {
            Some(value) => Ok(WriteGuard {
                lock: self,
                held,
                value,
                is_changed: false,
                is_inconsistent: held.word.is_inconsistent(),
                _not_send: PhantomData,
            }),
            None => {
                drop(self.want(held));
                Err(self.station.failed(lock::NO_VALUE))
            }
        }
    }
}

/// The word, held by a writer that has not come so far as to have a guard. Dropping it frees the word as it was.
struct Want<'a> {
    station: &'a Station<RwLockCore>,
    held: Held,
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        if self.held.process.is_this() {
            let leaving = Leaving {
                is_inconsistent: self.held.word.is_inconsistent(),
                has_written: false,
            };
            // Ours no longer only if we are held for dead.
            let _ = self.station.mechanism.end_write(self.held, leaving);
        }
    }
}

/// A reader's share. Dropping it gives it back.
#[derive(Debug)]
struct Share<'a> {
    station: &'a Station<RwLockCore>,
    seated: Seated,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.seated.process.is_this() {
            // Ours no longer only if we are held for dead.
            let _ = self.station.mechanism.end_read(self.seated);
        }
    }
}

/// A share of an [`RwLock`], which goes back when this is dropped. The value was read when it was acquired.
#[derive(Debug)]
#[must_use = "the share goes back when this is dropped"]
pub struct ReadGuard<'a, T = ()> {
    _share: Share<'a>,
    value: T,
    is_inconsistent: bool,
}

impl<T> ReadGuard<'_, T> {
    /// Whether a writer died writing, or marked the lock inconsistent, and no writer has marked it consistent since.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.is_inconsistent
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A held [`RwLock`]. Dropping it stores the value, if it was borrowed mutably, and releases the lock.
#[must_use = "the lock is released when this is dropped"]
pub struct WriteGuard<'a, T: NoUninit + CheckedBitPattern = ()> {
    lock: &'a RwLock<T>,
    held: Held,
    value: T,
    is_changed: bool,
    is_inconsistent: bool,
    _not_send: PhantomData<*const ()>,
}

impl<T: NoUninit + CheckedBitPattern> WriteGuard<'_, T> {
    /// Whether a writer died writing, or [marked the lock inconsistent](Self::mark_inconsistent), and nobody has
    /// [marked it consistent](Self::mark_consistent) since.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.is_inconsistent
    }

    /// Says that what the lock protects is in order again: the next holder is not warned.
    pub fn mark_consistent(&mut self) {
        self.is_inconsistent = false;
    }

    /// Says that what the lock protects is not in order: the next holder is warned, also if this one panics.
    pub fn mark_inconsistent(&mut self) {
        self.is_inconsistent = true;
    }
}

impl<T: NoUninit + CheckedBitPattern> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: NoUninit + CheckedBitPattern> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: NoUninit + CheckedBitPattern> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        let station = &self.lock.station;
        if !self.held.process.is_this() {
            return; // a forked child's copy
        }
        if self.is_changed && station.mechanism.frame.head().is_held(self.held) {
            lock::write(&station.mechanism.frame, self.held.word, &self.value);
        }
        let leaving = Leaving {
            is_inconsistent: self.is_inconsistent,
            has_written: self.is_changed,
        };
        if !station.mechanism.end_write(self.held, leaving) {
            station.member.remember(lock::NOT_OURS);
        }
    }
}

impl<T: NoUninit + CheckedBitPattern + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard")
            .field("value", &self.value)
            .field("owner_died", &self.is_inconsistent)
            .finish_non_exhaustive()
    }
}
