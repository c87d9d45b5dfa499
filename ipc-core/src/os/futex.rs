//! Shared futexes, with absolute deadlines on the monotonic clock.
//!
//! None is private: the kernel finds the word by its file, so processes that mapped it at different addresses meet.

#![cfg_attr(not(loom), allow(unsafe_code))]

use crate::prim::AtomicU32;

/// On how many words the kernel lets one thread sleep.
pub(crate) const WORDS_AT_ONCE: usize = 128;
/// How long somebody sleeps at the most whom a change of some word does not wake.
#[cfg(not(loom))]
const SHORTLY_NS: u64 = 1_000_000;

#[cfg(not(loom))]
mod kernel {
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::ptr;

    use super::{AtomicU32, SHORTLY_NS, WORDS_AT_ONCE};
    use crate::os::clock;

    /// Set once the kernel has refused to let anybody sleep on several words.
    static HAS_NO_WAITV: AtomicBool = AtomicBool::new(false);

    /// One word of `futex_waitv`.
    #[repr(C)]
    struct WaitV {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }

    /// 32 bits, and shared.
    const SIZE_U32: u32 = 2;

    /// Sleeps while `word` holds `expected`, until `deadline_ns` on the monotonic clock. May return early.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline_ns: u64) {
        let deadline = clock::timespec(deadline_ns);
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

    /// Sleeps while each word holds what is expected, until `deadline_ns` on the monotonic clock. May return early; and does within
    /// [`SHORTLY_NS`] where the kernel (before 5.16) cannot sleep on several, or only on fewer: then a change of the rest does not
    /// end the sleep.
    pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], deadline_ns: u64) {
        let Some(&(first, expected)) = words.first() else {
            return clock::sleep_until(deadline_ns);
        };
        let has_waitv = || !HAS_NO_WAITV.load(Ordering::Relaxed);
        let shortly = || {
            clock::monotonic_ns()
                .saturating_add(SHORTLY_NS)
                .min(deadline_ns)
        };
        if words.len() == 1 {
            wait(first, expected, deadline_ns);
        } else if words.len() <= WORDS_AT_ONCE && has_waitv() {
            wait_v(words, deadline_ns);
        } else if has_waitv() {
            wait_v(&words[..WORDS_AT_ONCE], shortly());
        } else {
            wait(first, expected, shortly());
        }
    }

    /// As [`wait_any`], for a sleep that perhaps no wake ends.
    pub(crate) fn nap_any(words: &[(&AtomicU32, u32)], deadline_ns: u64) {
        wait_any(words, deadline_ns);
    }

    fn wait_v(words: &[(&AtomicU32, u32)], deadline_ns: u64) {
        let entry = |&(word, expected): &(&AtomicU32, u32)| WaitV {
            value: expected.into(),
            address: word.as_ptr().expose_provenance() as u64,
            flags: SIZE_U32,
            reserved: 0,
        };
        let entries: Vec<WaitV> = words.iter().map(entry).collect();
        let deadline = clock::timespec(deadline_ns);
        // SAFETY: the kernel only compares the words and reads `entries` and `deadline`; all outlive the call.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_futex_waitv,
                entries.as_ptr(),
                entries.len(),
                0,
                &raw const deadline,
                libc::CLOCK_MONOTONIC,
            )
        };
        let errno = std::io::Error::last_os_error().raw_os_error();
        if rc == -1 && !matches!(errno, Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT)) {
            if matches!(errno, Some(libc::ENOSYS | libc::EPERM)) {
                HAS_NO_WAITV.store(true, Ordering::Relaxed);
            }
            // Whatever it is, it must not make the caller run in circles.
            clock::sleep_until(
                clock::monotonic_ns()
                    .saturating_add(SHORTLY_NS)
                    .min(deadline_ns),
            );
        }
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

    /// As the kernel does it: word by word it compares and lines up, and whoever is woken meanwhile does not sleep.
    pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], _deadline_ns: u64) {
        let me = thread::current().id();
        let mine = || asleep().iter().filter(|(_, t)| t.id() == me).count();
        let mut lined_up = 0;
        for &(word, expected) in words {
            if word.fetch_add(0, AcqRel) != expected {
                break;
            }
            asleep().push((address(word), thread::current()));
            lined_up += 1;
        }
        if lined_up == words.len() || mine() < lined_up {
            thread::park(); // not at all, if somebody has woken us
        }
        asleep().retain(|(_, t)| t.id() != me);
    }

    /// Ends by itself.
    pub(crate) fn nap(_word: &AtomicU32, _expected: u32, _deadline_ns: u64) {
        thread::yield_now();
    }

    /// Ends by itself.
    pub(crate) fn nap_any(_words: &[(&AtomicU32, u32)], _deadline_ns: u64) {
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
pub(crate) use kernel::{
    add_one_and_wake_all, nap, nap_any, wait, wait_any, wait_untimed, wake, wake_bits,
};
#[cfg(loom)]
pub(crate) use model::{add_one_and_wake_all, nap, nap_any, wait, wait_any, wake};
