//! Sleeping until another process has done something, for every kind of object.
//!
//! # The word
//!
//! `sequence << 1 | SLEEPERS`: 32 bits on which the kernel compares and sleeps.
//!
//! # Why no wake is lost
//!
//! The waker publishes (a cell, a flag, a block), fences, and loads the word. The sleeper sets SLEEPERS (a
//! read-modify-write, hence it keeps the value it set), fences, looks for what was published, and sleeps only while the
//! word still holds that value.
//!
//! * W1. *Either sees the other.* Of two fences one is first. If the waker's is, the sleeper's look finds what was
//!   published. If the sleeper's is, the waker's load finds SLEEPERS.
//! * W2. *Who is between the look and the sleep does not sleep.* A waker that saw SLEEPERS changes the sequence before it
//!   wakes, and the kernel compares.
//! * W3. *One wake suffices for one thing published*, as all who sleep on one word wait for the same thing: whoever wakes
//!   takes it, or finds that somebody awake took it. Who wakes and leaves something behind wakes the next one. Waits with
//!   different wishes use different words, or are all woken.
//! * W4. *SLEEPERS is cleared only together with waking all*, in one system call (`FUTEX_WAKE_OP`) that no futex wait can
//!   interleave with, and only when a wake found fewer sleepers than it was for. The same addition moves the sequence on:
//!   who announced itself before that call and sleeps after it is refused, whoever announces itself meanwhile. So nobody
//!   sleeps under a word without SLEEPERS.
//!
//! # If a process dies
//!
//! * The waker, after publishing and before waking: its sweep wakes everybody ([`super::participant::Repair::wake_all`]).
//! * The sleeper, before it sleeps or asleep: SLEEPERS may stay set, which costs the next waker one system call.
//! * The woken one, before it took what it was woken for: its sweep wakes everybody. One that was *stopped* there keeps
//!   nobody waiting longer than [`WATCH_NS`], as every sleeper looks again at least so often.
//! * All others, while all sleep: a sleeper's look at the end of each [`WATCH_NS`] sweeps the dead; one look serves all.
//!
//! Spurious wakes are legal everywhere: a sleeper looks again and goes on.

#![expect(unsafe_code, reason = "implements Shared")]

use core::sync::atomic::{AtomicU32 as LocalU32, Ordering};
use std::time::Duration;

use crate::{
    os::{clock, futex, process},
    prim::{self, AtomicU32, Relaxed},
    region::Shared,
};

/// How long anybody sleeps before it looks for the dead: the bound on how long a death goes unnoticed while all sleep.
pub(crate) const WATCH_NS: u64 = 100_000_000;

const SLEEPERS: u32 = 1;
const SEQUENCE: u32 = 2;

/// One thing to wait for.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct WaitWord(AtomicU32);

// SAFETY: an atomic.
unsafe impl Shared for WaitWord {
    fn zeroed() -> Self {
        Self(AtomicU32::new(0))
    }
}

impl WaitWord {
    /// Wakes up to `count` sleepers. The caller has published what they wait for, by or before a read-modify-write.
    #[inline]
    pub(crate) fn wake(&self, count: u32) {
        prim::full_fence_after_rmw(); // W1
        if self.has_sleepers() {
            self.wake_sleepers(count);
        }
    }

    /// Wakes every sleeper.
    pub(crate) fn wake_all(&self) {
        self.wake(u32::MAX);
    }

    /// Whether somebody may sleep here.
    #[inline]
    pub(crate) fn has_sleepers(&self) -> bool {
        self.0.load(Relaxed) & SLEEPERS != 0
    }

    #[cold]
    fn wake_sleepers(&self, count: u32) {
        self.0.fetch_add(SEQUENCE, Relaxed); // W2
        if futex::wake(&self.0, count) < count {
            // From SLEEPERS set to clear and one further on, in one addition. (If somebody was faster, this sets it, which
            // costs the next waker a system call.)
            futex::add_and_wake_all(&self.0, SLEEPERS); // W4
        }
    }

    /// Announces a sleeper. What it waits for must be looked for between this and [`Self::sleep`].
    fn announce(&self) -> Announced {
        let seen = self.0.fetch_or(SLEEPERS, Relaxed) | SLEEPERS;
        prim::full_fence_after_rmw(); // W1
        Announced(seen)
    }

    fn sleep(&self, announced: Announced, until_ns: u64) {
        futex::wait(&self.0, announced.0, until_ns); // W2
    }
}

/// The value under which a sleeper announced itself.
#[derive(Debug)]
struct Announced(u32);

/// When a wait gives up, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(u64);

impl Deadline {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn after(timeout: Duration) -> Self {
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self(clock::monotonic_ns().saturating_add(timeout))
    }

    fn is_over(self, now: u64) -> bool {
        now >= self.0 && self.0 != u64::MAX
    }
}

/// What a blocking call does before it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Spins for a few microseconds where that has paid off lately, then sleeps in the kernel. The default.
    #[default]
    Adaptive,
    /// Never sleeps: polls, and lets other threads run in between. The lowest latency, for one core per waiting thread.
    Spin,
    /// Sleeps at once.
    Sleep,
}

/// How long this process's waits on one object spin, learnt from how the last ones ended. Private memory.
#[derive(Debug)]
pub(crate) struct Patience(LocalU32);

impl Patience {
    /// Looks before sleeping, at the most: some microseconds.
    const MOST: u32 = 256;
    /// Of so many waits that are not worth a spin, one tries nevertheless.
    const PROBE_EVERY: u32 = 64;

    pub(crate) fn new() -> Self {
        Self(LocalU32::new(Self::MOST / 4))
    }

    /// How often to look before sleeping this time.
    fn looks(&self) -> u32 {
        let learnt = self.0.load(Ordering::Relaxed);
        let (skipped, looks) = (learnt >> 16, learnt & 0xffff);
        if process::cores() == 1 {
            return 0; // nobody can do anything while we look
        }
        if looks > 0 {
            return looks;
        }
        let is_probe = skipped >= Self::PROBE_EVERY;
        self.0.store(
            if is_probe { 0 } else { skipped + 1 } << 16,
            Ordering::Relaxed,
        );
        if is_probe { Self::MOST / 8 } else { 0 }
    }

    fn learn(&self, has_paid_off: bool) {
        let looks = self.0.load(Ordering::Relaxed) & 0xffff;
        let next = if has_paid_off {
            (looks * 2).clamp(16, Self::MOST)
        } else {
            looks / 2
        };
        if next != looks {
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

/// How one call waits.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pub(crate) strategy: WaitStrategy,
    pub(crate) patience: &'a Patience,
    pub(crate) deadline: Deadline,
}

impl Waiting<'_> {
    /// Calls `attempt` until it returns something, sleeping on the word it names in between. `None` once the deadline
    /// has passed. `look` is called about every [`WATCH_NS`] and finds the dead.
    pub(crate) fn until<'w, R>(
        &self,
        mut attempt: impl FnMut() -> Attempt<'w, R>,
        mut look: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if self.strategy != WaitStrategy::Sleep
            && let Some(done) = self.spin(&mut attempt, &mut look)
        {
            return done;
        }
        let mut next_look = clock::monotonic_ns().saturating_add(WATCH_NS);
        loop {
            let word = match attempt() {
                Attempt::Done(value) => return Some(value),
                Attempt::Blocked(word) => word,
            };
            let announced = word.announce();
            let is_same = match attempt() {
                Attempt::Done(value) => return Some(value),
                Attempt::Blocked(other) => core::ptr::eq(other, word),
            };
            let now = clock::monotonic_ns();
            if self.deadline.is_over(now) {
                return None;
            }
            if !is_same {
                continue; // it waits for something else by now: announce there
            }
            // Not only when nobody woke us: a stream of wakes must not hide a death.
            if now >= next_look {
                next_look = now.saturating_add(WATCH_NS);
                if let Some(failure) = look() {
                    return Some(failure);
                }
            }
            word.sleep(announced, next_look.min(self.deadline.0));
        }
    }

    /// `Some` ends the wait; `None` is the signal to sleep.
    fn spin<'w, R>(
        &self,
        attempt: &mut impl FnMut() -> Attempt<'w, R>,
        look: &mut impl FnMut() -> Option<R>,
    ) -> Option<Option<R>> {
        let is_endless = self.strategy == WaitStrategy::Spin;
        let budget = if is_endless {
            u32::MAX
        } else {
            self.patience.looks()
        };
        let mut backoff = Backoff::default();
        let mut watch = 0;
        while is_endless || backoff.0 < budget {
            if let Attempt::Done(value) = attempt() {
                if !is_endless && backoff.0 > 0 {
                    self.patience.learn(true);
                }
                return Some(Some(value));
            }
            backoff.pause(is_endless);
            if is_endless && backoff.is_long() {
                let now = clock::monotonic_ns();
                if self.deadline.is_over(now) {
                    return Some(None);
                }
                if watch == 0 {
                    watch = now + WATCH_NS;
                } else if now >= watch {
                    watch = now + WATCH_NS;
                    if let Some(failure) = look() {
                        return Some(Some(failure));
                    }
                }
            }
        }
        if budget > 0 {
            self.patience.learn(false);
        }
        None
    }
}

/// What came of one try.
#[derive(Debug)]
pub(crate) enum Attempt<'w, R> {
    /// The wait is over.
    Done(R),
    /// Nothing yet; this word is woken when there may be.
    Blocked(&'w WaitWord),
}

/// Pauses that start as a few cycles and end as giving up the core.
#[derive(Debug, Default)]
struct Backoff(u32);

impl Backoff {
    const YIELD_AFTER: u32 = 64;

    fn pause(&mut self, may_yield: bool) {
        if may_yield && self.0 >= Self::YIELD_AFTER {
            prim::yield_now();
        } else {
            prim::spin_loop();
        }
        self.0 = self.0.checked_add(1).unwrap_or(Self::YIELD_AFTER + 1);
    }

    /// Rarely enough that reading the clock costs nothing.
    fn is_long(&self) -> bool {
        self.0 > Self::YIELD_AFTER && self.0.is_multiple_of(64)
    }
}
