//! Shared futexes, with absolute deadlines on the monotonic clock.
//!
//! None is private: the kernel finds the word by its file, so processes that mapped it at different addresses meet.

#![cfg_attr(not(loom), allow(unsafe_code))]

use crate::prim::AtomicU32;

#[cfg(not(loom))]
mod kernel {
    use std::ptr;

    use super::AtomicU32;

    /// Sleeps while `word` holds `expected`, until `deadline_ns` on the monotonic clock. May return early.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline_ns: u64) {
        let deadline = libc::timespec {
            tv_sec: i64::try_from(deadline_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (deadline_ns % 1_000_000_000) as i64,
        };
        // SAFETY: the kernel only compares `word` and reads `deadline`; both outlive the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT_BITSET,
                expected,
                &raw const deadline,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
    }

    /// As [`wait`], without a limit. [`wake_bits`] with one of these bits ends it, too.
    pub(crate) fn wait_untimed(word: &AtomicU32, expected: u32, bits: u32) {
        // SAFETY: the kernel only compares `word`, which outlives the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT_BITSET,
                expected,
                ptr::null::<libc::timespec>(),
                ptr::null::<u32>(),
                bits,
            )
        };
    }

    /// Wakes everybody who sleeps on the word at this address with one of these bits. There may be nothing at the address.
    pub(crate) fn wake_bits(word: *const AtomicU32, bits: u32) {
        // SAFETY: FUTEX_WAKE_BITSET reads nothing through the pointer; it only names the futex.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word,
                libc::FUTEX_WAKE_BITSET,
                i32::MAX,
                ptr::null::<libc::timespec>(),
                ptr::null::<u32>(),
                bits,
            )
        };
    }

    /// As [`wait`], for a sleep that perhaps no wake ends: the models end it by themselves.
    pub(crate) fn nap(word: &AtomicU32, expected: u32, deadline_ns: u64) {
        wait(word, expected, deadline_ns);
    }

    /// Wakes up to `count` sleepers on `word`; returns how many.
    pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
        let count = count.min(i32::MAX as u32);
        // SAFETY: FUTEX_WAKE reads nothing through the pointer; it only names the futex.
        let rc = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
        u32::try_from(rc).unwrap_or(0)
    }

    /// Adds 1 to `word` and wakes every sleeper on it, as one step to any other futex call.
    pub(crate) fn add_one_and_wake_all(word: &AtomicU32) {
        let op = libc::FUTEX_OP_ADD << 28 | libc::FUTEX_OP_CMP_EQ << 24 | 1 << 12;
        // SAFETY: both addresses are `word`, an aligned u32 that outlives the call; the kernel changes it atomically.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE_OP,
                i32::MAX,
                0usize,
                word.as_ptr(),
                op,
            )
        };
        if rc == -1 {
            // A kernel without FUTEX_WAKE_OP (gVisor, say): the death watch closes the gap between the two steps.
            word.fetch_add(1, crate::prim::Relaxed);
            wake(word, u32::MAX);
        }
    }
}

/// Who sleeps is kept outside of what loom watches. Between two of loom's operations no other thread of a model runs, so the
/// comparison and going to sleep are one step. Who is woken comes after its waker, as with the kernel's own locks.
#[cfg(loom)]
mod model {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use loom::{
        sync::atomic::Ordering::AcqRel,
        thread::{self, Thread},
    };

    use super::AtomicU32;

    /// Everybody asleep in any model, longest first, with the word's address.
    static ASLEEP: Mutex<Vec<(usize, Thread)>> = Mutex::new(Vec::new());

    fn asleep() -> MutexGuard<'static, Vec<(usize, Thread)>> {
        ASLEEP.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(word: &AtomicU32) -> usize {
        core::ptr::from_ref(word).addr()
    }

    /// The kernel's comparison reads the newest value, as a read-modify-write does. That nobody wakes a sleeper, loom
    /// reports as a deadlock.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, _deadline_ns: u64) {
        if word.fetch_add(0, AcqRel) == expected {
            asleep().push((address(word), thread::current()));
            thread::park();
        }
    }

    /// Ends by itself.
    pub(crate) fn nap(_word: &AtomicU32, _expected: u32, _deadline_ns: u64) {
        thread::yield_now();
    }

    pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
        word.fetch_add(0, AcqRel); // a moment of its own
        wake_now(word, count)
    }

    fn wake_now(word: &AtomicU32, count: u32) -> u32 {
        let mut woken = 0;
        asleep().retain(|(there, sleeper)| {
            let is_woken = *there == address(word) && woken < count;
            if is_woken {
                sleeper.unpark();
                woken += 1;
            }
            !is_woken
        });
        woken
    }

    pub(crate) fn add_one_and_wake_all(word: &AtomicU32) {
        word.fetch_add(1, AcqRel);
        wake_now(word, u32::MAX);
    }
}

#[cfg(not(loom))]
pub(crate) use kernel::{add_one_and_wake_all, nap, wait, wait_untimed, wake, wake_bits};
#[cfg(loom)]
pub(crate) use model::{add_one_and_wake_all, nap, wait, wake};
