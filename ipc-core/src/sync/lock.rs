//! Mutual exclusion between threads of any processes, with a value inside that is never torn.
//!
//! The algorithm is in [`super::hold`]: the word, its orderings, and what happens when a process dies. Layout: `value` holds
//! the protected value twice; all seats are notes.
//!
//! # Invariants
//!
//! * I1. Only who holds the word writes the value, and only the copy that is not valid.

use core::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};
use std::{sync::Arc, time::Duration};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::{
    errors::{AcquireTimeoutError, TryAcquireError},
    frame::{ENDED, Frame, Head, Mechanism, Station},
    hold::{Held, Leaving, Word},
    options::{Options, handle},
};
use crate::{
    error::{Damage, Error, Result},
    object::{
        Kind,
        participant::{Dead, Owner, Repair},
        seat::Visitor,
        wait::{Attempt, Deadline},
    },
    os::{copy, fork::Process},
    prim,
    region::plain,
};

/// How often to try before sleeping.
const TRIES: u32 = 20;
/// Pauses before the first try; twice as many before each next one, up to so many, which are about a microsecond.
const FIRST_PAUSES: u32 = prim::pauses(8);
const MOST_PAUSES: u32 = prim::pauses(64);

pub(super) const NOT_OURS: Damage = Damage("a lock was taken from its living holder");
pub(super) const NO_VALUE: Damage = Damage("a lock holds what is no value of its type");

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct LockCore {
    pub(super) frame: Frame,
}

impl Mechanism for LockCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        Ok(Self { frame })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn holder(&self) -> Option<Visitor> {
        self.frame.head().holder()
    }

    fn describe(&self) -> String {
        self.frame.head().describe_hold()
    }
}

impl Repair for LockCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.frame.head().repair_hold(dead)?;
        self.frame.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        self.frame.head().names(owner)
    }

    fn wake_all(&self) {
        self.frame.wake_all();
    }
}

/// Tries to take a word that others take and release all the time. Not often: who has just released it is the one that takes
/// it again at the least cost, and each try takes the line away from it.
#[cold]
pub(crate) fn compete(head: &Head, me: Owner) -> Option<Held> {
    let mut pauses = FIRST_PAUSES;
    for _ in 0..TRIES {
        for _ in 0..pauses {
            prim::spin_loop();
        }
        pauses = (pauses * 2).min(MOST_PAUSES);
        // With the line at hand, so that nobody else takes the word between the look and the exchange.
        copy::fetch_to_write(&head.word);
        if let Some(held) = head.try_hold(me) {
            return Some(held);
        }
    }
    None
}

impl Station<LockCore> {
    /// Takes the word; waits until the deadline. `Ok(None)` once that has passed.
    #[inline(always)]
    pub(super) fn hold(&self, deadline: Deadline) -> Result<Option<Held>> {
        let process = Process::this();
        let me = self.member.place_of(process).map_err(|e| *e)?;
        match self.head().try_hold_in(me, process) {
            Some(held) => Ok(Some(held)),
            None => self.wait_to_hold(me, deadline),
        }
    }

    #[cold]
    fn wait_to_hold(&self, me: Owner, deadline: Deadline) -> Result<Option<Held>> {
        let head = self.head();
        if self.spins()
            && let Some(held) = compete(head, me)
        {
            return Ok(Some(held));
        }
        let attempt = || match head.try_hold(me) {
            Some(held) => Attempt::Done(Ok(held)),
            None => Attempt::Unsettled(&head.main), // O3
        };
        self.wait(me, &head.main, deadline, attempt, || {
            !head.look().is_locked()
        })
    }

    /// Takes the word if that is possible now.
    #[inline(always)]
    pub(super) fn try_hold(&self) -> Result<Option<Held>> {
        let me = self.member.ready().map_err(|e| *e)?;
        let head = self.head();
        let held = head.try_hold(me);
        Ok(held.or_else(|| self.again(|| head.try_hold(me))))
    }

    /// Frees the word. The caller has made sure that this is no forked child of its holder.
    #[inline(always)]
    pub(super) fn release(&self, held: Held, leaving: Leaving) {
        if !self.head().release(held, leaving, 1) {
            self.member.remember(NOT_OURS);
        }
    }
}

/// A lock between threads of any processes, with a value inside, as [`std::sync::Mutex`] between threads.
///
/// `T` is a `bytemuck` type (as for [`Plain`](crate::Plain)); without one, the lock protects something else.
///
/// # Blocking
///
/// [`acquire`](Self::acquire) blocks, `try_acquire` never, `acquire_timeout` for so long. An acquisition that succeeds at once
/// and a release that nobody waits for make no system call. Who waits spins for some microseconds where that pays
/// ([`WaitStrategy`](crate::WaitStrategy)), then sleeps. It is not fair: who
/// comes just then may be faster than who was woken. Not recursive: see [`RLock`](crate::RLock).
///
/// # When a process dies
///
/// | killed | the others |
/// |---|---|
/// | holding it | get the lock within about 100 ms; the guard says [`owner_died`](LockGuard::owner_died) |
/// | waiting, or after its release | notice nothing |
///
/// The value is never torn: it is what it was before the dead one acquired the lock. What it protected elsewhere may be
/// half-changed; so each next holder is told until one says [`mark_consistent`](LockGuard::mark_consistent). A *stopped* holder is
/// alive and keeps the lock.
///
/// A panic of the holder releases the lock, and poisons nothing.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-lock-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Lock;
///
/// let counter = Lock::options_with(0u64).namespace(&namespace).create("counter")?;
/// {
///     let mut count = counter.acquire()?;
///     if count.owner_died() {
///         // look at what the dead one was doing
///         count.mark_consistent();
///     }
///     *count += 1;
/// } // here the value is stored and the lock released
/// assert_eq!(*counter.acquire()?, 1);
/// # counter.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
///
/// The owner in the lock word is that of robust futexes (<https://docs.kernel.org/locking/robust-futexes.html>), without their list
/// of pointers: here survivors ask the kernel who lives.
pub struct Lock<T = ()> {
    pub(super) station: Arc<Station<LockCore>>,
    _value: PhantomData<fn() -> T>,
}

handle!([T: NoUninit + CheckedBitPattern] Lock<T>, "Lock", LockCore, Kind::Lock, type_name::<T>());

impl Lock {
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

impl<T: NoUninit + CheckedBitPattern> Lock<T> {
    /// Settings for a lock whose value is `initial` at first.
    pub fn options_with(initial: T) -> Options<Self> {
        with_value(initial)
    }

    pub(super) fn at(station: Arc<Station<LockCore>>) -> Self {
        Self {
            station,
            _value: PhantomData,
        }
    }

    /// Acquires the lock; blocks while somebody else holds it. A thread that holds it already waits for itself, for ever.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more. A dead holder is no error: see
    /// [`LockGuard::owner_died`].
    #[inline(always)]
    pub fn acquire(&self) -> Result<LockGuard<'_, T>> {
        match self.station.hold(Deadline::NEVER)? {
            Some(held) => self.guard(held),
            None => Err(self.station.failed(ENDED)),
        }
    }

    /// Acquires the lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    #[inline(always)]
    pub fn try_acquire(&self) -> Result<LockGuard<'_, T>, TryAcquireError> {
        match self.station.try_hold()? {
            Some(held) => Ok(self.guard(held)?),
            None => Err(TryAcquireError::WouldBlock),
        }
    }

    /// Acquires the lock; blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`AcquireTimeoutError`].
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_, T>, AcquireTimeoutError> {
        match self.station.hold(Deadline::after(timeout))? {
            Some(held) => Ok(self.guard(held)?),
            None => Err(AcquireTimeoutError::Timeout),
        }
    }

    /// Whether somebody holds the lock now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.station.mechanism.frame.head().look().is_locked()
    }

    /// The guard of who holds the word, with the value read.
    #[inline(always)]
    pub(super) fn guard(&self, held: Held) -> Result<LockGuard<'_, T>> {
        match read(&self.station.mechanism.frame, held.word) {
            Some(value) if self.station.member.is_whole() => Ok(LockGuard {
                lock: self,
                held,
                value,
                is_changed: false,
                is_inconsistent: held.word.is_inconsistent(),
                _not_send: PhantomData,
            }),
            _ => Err(self.unusable(held)),
        }
    }

    #[cold]
    fn unusable(&self, held: Held) -> Error {
        let leaving = Leaving {
            is_inconsistent: held.word.is_inconsistent(),
            has_written: false,
        };
        self.station.release(held, leaving);
        match self.station.sound(()) {
            Ok(()) => self.station.failed(NO_VALUE),
            Err(e) => e,
        }
    }
}

/// What an object that holds a `T` remembers of it: nothing if that is nothing.
pub(super) fn type_name<T>() -> String {
    match size_of::<T>() {
        0 => String::new(),
        _ => plain::type_name::<T>(),
    }
}

/// Settings for a primitive that holds a value.
pub(super) fn with_value<T, P: super::options::Primitive>(initial: T) -> Options<P>
where
    T: NoUninit,
{
    let mut options = Options::new();
    options.value_bytes = size_of::<T>();
    if size_of::<T>() > super::frame::MOST_VALUE {
        options.refusal = Some((
            "value",
            "a lock holds at most 1 MiB; keep more in a region of its own",
        ));
    }
    let bytes = bytemuck::bytes_of(&initial).to_vec();
    options.begin = Some(Box::new(move |frame| {
        copy::into_shared(frame.value(false), &bytes);
    }));
    options
}

/// The valid copy of the value; `None` if it is none.
#[inline(always)]
pub(super) fn read<T: CheckedBitPattern>(frame: &Frame, word: Word) -> Option<T> {
    // A lock without a value reads nothing, and does not ask where.
    let words = match size_of::<T>() {
        0 => &[],
        _ => frame.value(word.is_second()),
    };
    plain::read(words)
}

/// Writes the copy that is not valid yet.
#[inline]
pub(super) fn write<T: NoUninit>(frame: &Frame, word: Word, value: &T) {
    copy::into_shared(frame.value(!word.is_second()), bytemuck::bytes_of(value));
}

/// A held [`Lock`]. Dropping it stores the value, if it was borrowed mutably, and releases the lock.
///
/// It belongs to the thread that acquired the lock. A child process that is forked meanwhile does not hold the lock.
#[must_use = "the lock is released when this is dropped"]
pub struct LockGuard<'a, T: NoUninit + CheckedBitPattern = ()> {
    pub(super) lock: &'a Lock<T>,
    pub(super) held: Held,
    pub(super) value: T,
    is_changed: bool,
    is_inconsistent: bool,
    _not_send: PhantomData<*const ()>,
}

impl<T: NoUninit + CheckedBitPattern> LockGuard<'_, T> {
    /// Whether a holder died holding this lock, or [marked it inconsistent](Self::mark_inconsistent), and nobody has
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

    fn leaving(&self) -> Leaving {
        Leaving {
            is_inconsistent: self.is_inconsistent,
            has_written: self.is_changed,
        }
    }
}

impl<T: NoUninit + CheckedBitPattern> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: NoUninit + CheckedBitPattern> DerefMut for LockGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: NoUninit + CheckedBitPattern> Drop for LockGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.held.process.is_this() {
            return; // a forked child's copy
        }
        if self.is_changed && self.lock.station.head().is_held(self.held) {
            // A value that a panic left half-changed is stored as well, as by std's Mutex; only its warning differs.
            write(
                &self.lock.station.mechanism.frame,
                self.held.word,
                &self.value,
            ); // I1
        }
        self.lock.station.release(self.held, self.leaving());
    }
}

impl<T: NoUninit + CheckedBitPattern + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("value", &self.value)
            .field("owner_died", &self.is_inconsistent)
            .finish_non_exhaustive()
    }
}
