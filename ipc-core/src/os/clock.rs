//! Clocks, in nanoseconds.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
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

/// What [`coarse_ns`] said in the last round of this process's alarm thread; 0 while that does not keep it.
static TICK: AtomicU64 = AtomicU64::new(0);
/// Calls that read the clock itself, and when they began to be counted.
static READS: AtomicU32 = AtomicU32::new(0);
static READS_BEGAN: AtomicU64 = AtomicU64::new(0);
/// So many calls within so long are often: below that, what the clock costs does not matter.
const OFTEN: u32 = 1000;
const OFTEN_NS: u64 = 100_000_000;

/// As [`coarse_ns`], and where that would take as long as what it dates, some tens of milliseconds behind: a process that asks often
/// has it from its alarm thread, in one load.
///
/// All is Relaxed: a time that is for people orders nothing, and a count that two threads spoil only starts later.
#[inline(always)]
pub(crate) fn recent_ns() -> u64 {
    match TICK.load(Relaxed) {
        0 => read_and_count(),
        tick => tick,
    }
}

#[cold]
fn read_and_count() -> u64 {
    let now = coarse_ns();
    let reads = READS.load(Relaxed);
    if reads == 0 {
        READS_BEGAN.store(now, Relaxed);
    }
    let is_often = reads >= OFTEN;
    READS.store(if is_often { 0 } else { reads + 1 }, Relaxed);
    if is_often && now.wrapping_sub(READS_BEGAN.load(Relaxed)) < OFTEN_NS {
        keep_time();
    }
    now
}

#[cfg(not(loom))]
use super::alarm::keep_time;

/// Models have no such thread.
#[cfg(loom)]
fn keep_time() {}

/// Has [`recent_ns`] say the time of this moment until the next call, or be exact again. For the alarm thread, and for a forked child,
/// which has none.
pub(super) fn keep(is_kept: bool) {
    TICK.store(if is_kept { coarse_ns() } else { 0 }, Relaxed);
}

/// Nanoseconds since 1970, for people to read.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos().try_into().unwrap_or(u64::MAX))
}
