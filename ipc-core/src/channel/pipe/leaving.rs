//! Whether what was read in place leaves the reader's caches with it.
//!
//! Where the two cores are far apart, a writer that fills a loan waits for each of its cache lines, as the reader still has it: 2.4 GB/s
//! on one machine, of everything that is written in place. If the reader has its processor evict the lines when it gives the message back, the
//! writer finds them in memory: 12 GB/s there. Where the cores share a cache, that costs more than it gains. No system call tells the
//! distance, so each reader measures, as the writers of a slab do ([`crate::slab`]): here over some rounds of the ring, as what leaves is
//! written to a round later. Evicting takes 80 ps a byte itself, so it is not even tried where reading costs little more than that: so that
//! what is sent by reference, and hardly looked at, costs the same whatever its length.

use core::ops::RangeInclusive;

use crate::os::clock;

/// Bytes of messages that may leave. At 1 KiB there was nothing to gain; much longer ones are in no cache by then.
pub(super) const LONG: RangeInclusive<usize> = 16 << 10..=4 << 20;
/// Picoseconds a byte from which on something can be gained.
const DEAR: u64 = 160;
/// Rounds of the ring in which all messages leave, or all stay; the second half of them is measured.
const ROUNDS: u64 = 4;
/// Bytes of the longest such time.
const MOST: u64 = 64 << 20;
/// Messages in such a time, at the least: so that reading the clock twice costs nothing that counts.
const MESSAGES: u32 = 512;
/// Of so many times one is the way that was slower, as the writer may have moved.
const PROBE_EVERY: u32 = 64;

/// What reading has cost lately, and what is tried now.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Picoseconds a byte if messages stay, and if they leave; zero while unknown.
    costs: [u64; 2],
    is_on: bool,
    /// Bytes and messages until something else may be tried.
    left: u64,
    messages: u32,
    time: u64,
    /// Bytes since the second half began.
    measured: u64,
    /// When the second half began; zero before that.
    since: u64,
    times: u32,
}

impl Leaving {
    pub(super) fn new(capacity: usize) -> Self {
        let time = (ROUNDS * capacity as u64).min(MOST);
        Self {
            costs: [0; 2],
            is_on: false,
            left: time,
            messages: MESSAGES,
            time,
            measured: 0,
            since: 0,
            times: 0,
        }
    }

    /// A message of so many bytes is about to be given back. Whether its lines are to leave.
    pub(super) fn is_to_leave(&mut self, bytes: usize) -> bool {
        self.step(bytes, clock::monotonic_ns)
    }

    fn step(&mut self, bytes: usize, now: impl FnOnce() -> u64) -> bool {
        let is_to_leave = self.is_on;
        self.left = self.left.saturating_sub(bytes as u64);
        self.messages = self.messages.saturating_sub(1);
        if self.since == 0 {
            if self.left <= self.time / 2 && self.messages <= MESSAGES / 2 {
                self.since = now();
            }
            return is_to_leave;
        }
        self.measured += bytes as u64;
        if self.left == 0 && self.messages == 0 {
            self.learn(now().saturating_sub(self.since));
        }
        is_to_leave
    }

    fn learn(&mut self, ns: u64) {
        let before = self.costs[usize::from(self.is_on)];
        let now = (ns.saturating_mul(1000) / self.measured.max(1)).max(1);
        self.costs[usize::from(self.is_on)] = if before == 0 {
            now
        } else {
            // A time in which there was nothing to read says nothing: none counts for more than twice what was known.
            (before + now.min(before * 2)) / 2
        };
        self.times = self.times.wrapping_add(1);
        let [stay, leave] = self.costs;
        let is_probe = self.times.is_multiple_of(PROBE_EVERY);
        // Where nobody waits for lines, both cost the same, and messages stay. What is not known yet is tried.
        self.is_on = stay >= DEAR && (leave + leave / 4 < stay) != is_probe;
        (self.left, self.messages) = (self.time, MESSAGES);
        (self.measured, self.since) = (0, 0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const BYTES: usize = 64 << 10;

    /// How many of the messages left, where one takes `stay` or `leave` nanoseconds.
    fn left_of(
        leaving: &mut Leaving,
        clock: &mut u64,
        messages: usize,
        [stay, leave]: [u64; 2],
    ) -> usize {
        let mut left = 0;
        for _ in 0..messages {
            *clock += if leaving.is_on { leave } else { stay };
            left += usize::from(leaving.step(BYTES, || *clock));
        }
        left
    }

    /// Messages in one time.
    const TIME: usize = MESSAGES as usize;

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_now_and_then() {
        let (near, far) = ([12_000, 18_000], [27_000, 5_000]);
        let (mut leaving, mut clock) = (Leaving::new(1 << 20), 1);
        let messages = TIME * 640;
        let left = left_of(&mut leaving, &mut clock, messages, near);
        assert!((TIME * 5..TIME * 20).contains(&left), "{left} left");
        let left = left_of(&mut leaving, &mut clock, messages, far); // the writer moves away
        assert!(left > TIME * 560, "{left} left");
    }

    #[test]
    fn what_costs_little_is_left_alone() {
        let (mut leaving, mut clock) = (Leaving::new(1 << 20), 1);
        let left = left_of(&mut leaving, &mut clock, TIME * 640, [100, 1_000_000]);
        assert_eq!(left, 0);
    }

    #[test]
    fn messages_stay_where_that_makes_no_difference() {
        let (mut leaving, mut clock) = (Leaving::new(1 << 20), 1);
        let left = left_of(&mut leaving, &mut clock, TIME * 640, [50_000, 48_000]);
        assert!(left < TIME * 20, "{left} left");
    }
}
