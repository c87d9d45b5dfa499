//! Clocks, in nanoseconds.

#![allow(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on the monotonic clock, which every process of this machine shares.
pub(crate) fn monotonic_ns() -> u64 {
    // The monotonic clock exists on every Linux; a zero would only make a deadline look due.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        Duration::from(t).as_nanos().try_into().unwrap_or(u64::MAX)
    })
}

/// As [`monotonic_ns`], some milliseconds behind, and several times as fast.
#[inline(always)]
pub(crate) fn coarse_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Not through nix, which costs more than the call.
    // SAFETY: `now` is writable. The clock exists on every Linux; without it, zero would be shown to people.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// A time as the kernel reads it.
pub(crate) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (ns % 1_000_000_000) as i64,
    }
}

/// Sleeps until a time on the monotonic clock. May return early.
#[cfg(not(loom))]
pub(crate) fn sleep_until(deadline_ns: u64) {
    let deadline = timespec(deadline_ns);
    // SAFETY: the kernel reads `deadline`, which outlives the call, and writes nothing.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const deadline,
            core::ptr::null_mut(),
        )
    };
}

/// Nanoseconds since 1970, for people to read.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos().try_into().unwrap_or(u64::MAX))
}
