//! How long messages are copied in: through the caches, or past them.
//!
//! Which is faster depends on where the reader runs. On one machine, for messages of 1 MiB, a reader that shares the
//! writer's caches got 37 GB/s through them and 15 past them; one on a core far away 3 and 20, as every line
//! that it has read must first be taken from it again. No system call tells the distance, so each process measures: the
//! writer's own time for a copy shows it, because it waits for the same lines.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::os::clock;

/// A way into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Cached,
    Streamed,
}

/// What the copies of one process have cost lately. Private memory; races between threads only lose a measurement.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Picoseconds a byte, zero while unknown.
    cached: AtomicU32,
    streamed: AtomicU32,
    copies: AtomicU32,
}

impl Routes {
    /// Shorter messages are never streamed: most fit into the caches, and reading the clock would cost more.
    const LONG: usize = 16 << 10;
    /// Of so many copies one takes the way that was slower, as the reader may have moved.
    const PROBE_EVERY: u32 = 128;

    /// Copies a message of `bytes` bytes by calling `copy` with the way to take.
    pub(super) fn travel<R>(&self, bytes: usize, copy: impl FnOnce(Route) -> R) -> R {
        if bytes < Self::LONG {
            return copy(Route::Cached);
        }
        let route = self.choose();
        let start = clock::monotonic_ns();
        let result = copy(route);
        self.learn(route, bytes, clock::monotonic_ns().saturating_sub(start));
        result
    }

    fn choose(&self) -> Route {
        let (cached, streamed) = (self.cached.load(Relaxed), self.streamed.load(Relaxed));
        let copies = self.copies.fetch_add(1, Relaxed).wrapping_add(1);
        let is_probe = copies.is_multiple_of(Self::PROBE_EVERY);
        if (streamed < cached) != is_probe {
            Route::Streamed
        } else {
            Route::Cached
        }
    }

    fn learn(&self, route: Route, bytes: usize, ns: u64) {
        let known = match route {
            Route::Cached => &self.cached,
            Route::Streamed => &self.streamed,
        };
        let before = u64::from(known.load(Relaxed));
        let now = (ns * 1000 / bytes as u64).max(1);
        let after = if before == 0 {
            now
        } else {
            // A copy that lost its core says nothing: no measurement counts for more than twice what was known.
            (before * 3 + now.min(before * 2)) / 4
        };
        known.store(u32::try_from(after).unwrap_or(u32::MAX), Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn routes_after(costs: impl Fn(Route) -> u64, copies: usize) -> (Routes, usize) {
        let routes = Routes::default();
        let mut streamed = 0;
        for _ in 0..copies {
            let route = routes.choose();
            streamed += usize::from(route == Route::Streamed);
            routes.learn(route, 1 << 20, costs(route));
        }
        (routes, streamed)
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_now_and_then() {
        let near = |route| match route {
            Route::Cached => 30_000,
            Route::Streamed => 70_000,
        };
        let far = |route| match route {
            Route::Cached => 350_000,
            Route::Streamed => 50_000,
        };
        let (routes, streamed) = routes_after(near, 1280);
        assert!((10..=20).contains(&streamed), "streamed {streamed} of 1280");
        // The reader moves away.
        let mut streamed = 0;
        for _ in 0..1280 {
            let route = routes.choose();
            streamed += usize::from(route == Route::Streamed);
            routes.learn(route, 1 << 20, far(route));
        }
        assert!(streamed > 1200, "streamed {streamed} of 1280");
    }

    #[test]
    fn a_copy_that_lost_its_core_does_not_turn_the_choice() {
        let near = |route| match route {
            Route::Cached => 30_000,
            Route::Streamed => 70_000,
        };
        let (routes, _) = routes_after(near, 1280);
        routes.learn(Route::Cached, 1 << 20, 4_000_000);
        assert_eq!(routes.choose(), Route::Cached);
    }

    #[test]
    fn short_messages_are_never_streamed_nor_measured() {
        let (routes, _) = routes_after(|_| 1, 300);
        let before = routes.copies.load(Relaxed);
        assert_eq!(routes.travel(4096, |route| route), Route::Cached);
        assert_eq!(routes.copies.load(Relaxed), before);
    }
}
