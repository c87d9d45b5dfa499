//! Clocks, in nanoseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on the monotonic clock, which every process of this machine shares.
pub(crate) fn monotonic_ns() -> u64 {
    // The monotonic clock exists on every Linux; a zero would only make a deadline look due.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        Duration::from(t).as_nanos().try_into().unwrap_or(u64::MAX)
    })
}

/// Nanoseconds since 1970, for people to read.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos().try_into().unwrap_or(u64::MAX))
}
