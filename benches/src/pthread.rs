//! The peers of our locks that processes share: pthread's mutex, plain and robust, and POSIX semaphores.
#![allow(unsafe_code)]

use crate::{Shared, ZeroIsValid};
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;

/// What a mutex does when its owner dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It stays locked for ever.
    Sticks,
    /// The next owner gets it and is told (`PTHREAD_MUTEX_ROBUST`).
    IsNoticed,
}

/// Room for a C structure on a cache line of its own.
#[repr(C, align(64))]
struct Room<T>(UnsafeCell<T>);

// SAFETY: only libc's own functions for these structures look inside, and they are made for several threads.
unsafe impl<T> Sync for Room<T> {}
// SAFETY: integers, for which zero is a value; aligned to 64.
unsafe impl ZeroIsValid for Room<libc::pthread_mutex_t> {}
// SAFETY: integers, for which zero is a value; aligned to 64.
unsafe impl ZeroIsValid for Room<libc::sem_t> {}

/// A `PTHREAD_PROCESS_SHARED` mutex in memory that forked processes share.
pub struct Mutex(Shared<Room<libc::pthread_mutex_t>>);

impl Mutex {
    /// Makes an unlocked mutex.
    ///
    /// # Panics
    /// When the C library refuses.
    pub fn new(death: Death) -> Self {
        let mutex = Self(Shared::zeroed());
        let mut attributes = MaybeUninit::uninit();
        let robust = match death {
            Death::Sticks => libc::PTHREAD_MUTEX_STALLED,
            Death::IsNoticed => libc::PTHREAD_MUTEX_ROBUST,
        };
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: room for the attributes.
        let began = unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
        // SAFETY: initialised by the line above.
        let is_shared =
            unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), shared) };
        // SAFETY: as above.
        let is_robust =
            unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust) };
        // SAFETY: room for a mutex that nobody else knows yet.
        let made = unsafe { libc::pthread_mutex_init(mutex.0.0.get(), attributes.as_ptr()) };
        assert_eq!([began, is_shared, is_robust, made], [0; 4], "make a mutex");
        mutex
    }

    /// Locks, does `work`, unlocks.
    ///
    /// # Panics
    /// When the C library refuses, or an owner has died.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: `new` initialised it, and it lives as long as `self`.
        let locked = unsafe { libc::pthread_mutex_lock(self.0.0.get()) };
        assert_eq!(locked, 0, "lock the mutex");
        let result = work();
        // SAFETY: as above, and this thread has locked it.
        let unlocked = unsafe { libc::pthread_mutex_unlock(self.0.0.get()) };
        assert_eq!(unlocked, 0, "unlock the mutex");
        result
    }
}

impl fmt::Debug for Mutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// A POSIX semaphore in memory that forked processes share.
pub struct Semaphore(Shared<Room<libc::sem_t>>);

impl Semaphore {
    /// Makes a semaphore of so many permits.
    ///
    /// # Panics
    /// When the C library refuses.
    pub fn new(permits: u32) -> Self {
        let semaphore = Self(Shared::zeroed());
        // SAFETY: room for a semaphore that nobody else knows yet.
        let made = unsafe { libc::sem_init(semaphore.0.0.get(), 1, permits) };
        assert_eq!(made, 0, "make a semaphore");
        semaphore
    }

    /// Takes a permit and gives it back.
    ///
    /// # Panics
    /// When the C library refuses.
    #[inline]
    pub fn pass(&self) {
        // SAFETY: `new` initialised it, and it lives as long as `self`.
        let taken = unsafe { libc::sem_wait(self.0.0.get()) };
        // SAFETY: as above.
        let given = unsafe { libc::sem_post(self.0.0.get()) };
        assert_eq!([taken, given], [0; 2], "pass the semaphore");
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").finish_non_exhaustive()
    }
}
