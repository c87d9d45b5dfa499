//! Sleeping until another process has done something, for every kind of object.
//!
//! # The word
//!
//! `sequence << 2 | MANY | ONE`: 32 bits on which the kernel compares and sleeps. ONE: somebody may sleep. MANY: more than
//! one may.
//!
//! # Why no wake is lost
//!
//! The waker takes possession of what it will publish by a read-modify-write (the claim of a cell, the freeing of a block,
//! the setting of a flag), fences, publishes, and loads the word. The sleeper announces itself in the word (a
//! read-modify-write, hence it keeps the value it set), fences, looks for what it waits for, and sleeps only while the word
//! still holds that value.
//!
//! * W1. *Either sees the other.* Of two fences one is first. If the sleeper's is, the waker's load finds it announced. If
//!   the waker's is, the sleeper's look finds the possession taken, and often the thing published. If it is not yet published,
//!   nothing is certain (the waker may already have looked at the word, while what it published is still on its way here):
//!   the look is [`Attempt::Unsettled`], and the sleeper only naps, at first for 50 µs, before it looks again. So a waker
//!   needs no fence between publishing and looking.
//! * W2. *Who is between the look and the sleep does not sleep.* A waker that saw somebody announced changes the sequence
//!   before it wakes, and the kernel compares.
//! * W3. *One wake suffices for one thing published*, as all who sleep on one word wait for the same thing: whoever wakes
//!   takes it, or finds that somebody awake took it. Who wakes and leaves something behind wakes the next one. Waits with
//!   different wishes use different words, or are all woken.
//! * W4. *Nobody sleeps on under a word without ONE.* A waker that finds ONE alone clears it and then wakes everybody: that
//!   is the one sleeper, and perhaps some that came between the two steps and announce themselves anew. So one that was
//!   woken leaves no announcement behind, and a round trip takes as few system calls as by hand. So does a waker that has
//!   something for everybody, whatever it finds. Any other that finds MANY wakes as
//!   many as it has something for, and when there were fewer, clears both together with waking all, in one system call
//!   (`FUTEX_WAKE_OP`) that no futex wait can interleave with.
//!
//! # If a process dies
//!
//! * The waker, after publishing and before waking: its sweep wakes everybody ([`super::participant::Repair::wake_all`]).
//! * The waker, between clearing ONE and waking: the same; [`WaitWord::wake_all`] does not ask who is announced. One that was
//!   *stopped* there keeps nobody waiting longer than [`WATCH_NS`].
//! * The sleeper, before it sleeps or asleep: its announcement may stay, which costs the next waker one system call.
//! * Who took possession and has not published: what its death leaves is repaired, and its sweep wakes everybody.
//! * The woken one, before it took what it was woken for: its sweep wakes everybody. One that was *stopped* there keeps
//!   nobody waiting longer than [`WATCH_NS`], as every sleeper looks again at least so often.
//! * All others, while all sleep: a sleeper's look at the end of each [`WATCH_NS`] sweeps the dead; one look serves all.
//!
//! Spurious wakes are legal everywhere: a sleeper looks again and goes on.

#![expect(unsafe_code, reason = "implements Shared")]

use core::sync::atomic::{AtomicU32 as LocalU32, Ordering};
use std::time::Duration;

use super::seat::{Note, Notes};
#[cfg(not(loom))]
use crate::os::alarm;
use crate::{
    os::{clock, futex, process},
    prim::{self, AtomicU32, Relaxed},
    region::Shared,
};

/// How long anybody sleeps before it looks for the dead: the bound on how long a death goes unnoticed while all sleep.
pub(crate) const WATCH_NS: u64 = 100_000_000;

const ONE: u32 = 1;
const MANY: u32 = 2;
const SEQUENCE: u32 = 4;
/// How often to try an exchange that only other sleepers and wakers can spoil.
const RETRIES: u32 = 16;

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
    /// Wakes up to `count` sleepers. The caller has published what they wait for by a read-modify-write.
    #[inline]
    pub(crate) fn wake(&self, count: u32) {
        prim::full_fence_after_rmw(); // W1
        if self.has_sleepers() {
            self.wake_sleepers(count);
        }
    }

    /// As [`Self::wake`], for who fenced when it took possession (W1) and may have published by a plain store.
    #[inline]
    pub(crate) fn wake_of_claim(&self, count: u32) {
        if self.has_sleepers() {
            self.wake_sleepers(count);
        }
    }

    /// Wakes every sleeper, also one whose announcement another waker has cleared and then left asleep. The caller has
    /// published what they wait for by a read-modify-write.
    pub(crate) fn wake_all(&self) {
        prim::full_fence_after_rmw(); // W1
        self.0.fetch_add(SEQUENCE, Relaxed); // W2
        futex::wake(&self.0, u32::MAX);
    }

    /// Whether somebody may sleep here.
    #[inline]
    pub(crate) fn has_sleepers(&self) -> bool {
        self.0.load(Relaxed) & (ONE | MANY) != 0
    }

    #[cold]
    fn wake_sleepers(&self, count: u32) {
        for _ in 0..RETRIES {
            let seen = self.0.load(Relaxed);
            match seen & (ONE | MANY) {
                0 => return, // another waker is waking them all
                ONE => {}
                _ if count == u32::MAX => {}
                _ => break,
            }
            let cleared = (seen & !(ONE | MANY)).wrapping_add(SEQUENCE); // W2
            let exchange = self.0.compare_exchange(seen, cleared, Relaxed, Relaxed);
            if exchange.is_ok() {
                futex::wake(&self.0, u32::MAX); // W4
                return;
            }
        }
        self.0.fetch_add(SEQUENCE, Relaxed); // W2
        if futex::wake(&self.0, count) < count {
            // From ONE and MANY set to clear and one further on, in one addition. (If somebody was faster, this leaves the
            // announcement of nobody, which costs the next wakers system calls. All were woken, so none sleeps under it.)
            futex::add_one_and_wake_all(&self.0); // W4
        }
    }

    /// Announces a sleeper, which may have announced itself `last` already. What it waits for must be looked for between
    /// this and [`Self::sleep`].
    fn announce(&self, last: Option<Announced>) -> Announced {
        let mut announced = None;
        for _ in 0..RETRIES {
            let seen = self.0.load(Relaxed);
            let is_mine = last == Some(Announced(seen));
            let next = match seen & (ONE | MANY) {
                0 => seen | ONE,
                ONE if is_mine => seen,
                _ => seen | ONE | MANY,
            };
            let exchange = self.0.compare_exchange(seen, next, Relaxed, Relaxed);
            if exchange.is_ok() {
                announced = Some(Announced(next));
                break;
            }
        }
        let announced = announced
            .unwrap_or_else(|| Announced(self.0.fetch_or(ONE | MANY, Relaxed) | ONE | MANY));
        prim::full_fence_after_rmw(); // W1
        announced
    }

    fn sleep(&self, announced: Announced, until_ns: u64) {
        futex::wait(&self.0, announced.0, until_ns); // W2
    }

    /// Sleeps until it is woken, or roused to look for the dead. Whether the latter; `None` if it may not sleep so.
    #[cfg(not(loom))]
    fn sleep_untimed(&self, announced: Announced) -> Option<bool> {
        alarm::sleep(&self.0, announced.0) // W2
    }

    #[cfg(loom)]
    fn sleep_untimed(&self, _announced: Announced) -> Option<bool> {
        None
    }

    /// Sleeps so shortly that a wake may be missing.
    fn nap(&self, announced: Announced, until_ns: u64) {
        futex::nap(&self.0, announced.0, until_ns);
    }
}

/// The value under which a sleeper announced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    fn is_over(self, now: u64) -> bool {
        now >= self.0 && !self.is_never()
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

    /// The spin of a wait for something that takes one look at memory, without an attempt. Whether it `is_there`. A wait
    /// that follows has learnt from it: it spins shortly or not at all.
    #[inline]
    pub(crate) fn spin(&self, strategy: WaitStrategy, is_there: impl Fn() -> bool) -> bool {
        let looks = match strategy {
            WaitStrategy::Adaptive => self.looks(),
            WaitStrategy::Spin => Self::MOST,
            WaitStrategy::Sleep => 0,
        };
        for _ in 0..looks {
            if is_there() {
                self.learn(true);
                return true;
            }
            prim::spin_loop();
        }
        if looks > 0 {
            self.learn(false);
        }
        false
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
    /// What is probably waited for.
    pub(crate) word: &'a WaitWord,
    pub(crate) strategy: WaitStrategy,
    pub(crate) patience: &'a Patience,
    pub(crate) deadline: Deadline,
    /// Where to write down that somebody waits, and who, before sleeping.
    pub(crate) notes: Notes<'a>,
}

impl<'w> Waiting<'w> {
    /// Calls `attempt` until it returns something, sleeping on the word it names in between. `None` once the deadline
    /// has passed. While it spins, it calls `attempt` only now and then where `is_promising` says no. `look` is called about
    /// every [`WATCH_NS`] and finds the dead.
    pub(crate) fn until<R>(
        &self,
        mut attempt: impl FnMut() -> Attempt<'w, R>,
        is_promising: impl Fn() -> bool,
        mut look: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if self.strategy != WaitStrategy::Sleep
            && let Some(done) = self.spin(&mut attempt, &is_promising, &mut look)
        {
            return done;
        }
        let mut watch = Watch::new(self.notes.begin());
        let mut word = self.word;
        let mut last: Option<(&WaitWord, Announced)> = None;
        let mut nap = Nap::default();
        loop {
            let again = last.filter(|(there, _)| core::ptr::eq(*there, word));
            let again = again.map(|(_, announced)| announced);
            let announced = word.announce(again);
            if again != Some(announced) {
                nap = Nap::default(); // somebody was woken: what is on its way now is something new
            }
            last = Some((word, announced));
            let (other, is_settled) = match attempt() {
                Attempt::Done(value) => return Some(value),
                Attempt::Blocked(other) => (other, true),
                Attempt::Unsettled(other) => (other, false),
            };
            let is_elsewhere = !core::ptr::eq(other, word);
            let begins = is_settled && !is_elsewhere && self.deadline.is_never() && watch.is_new();
            if !(begins && watch.begin_asleep(|| word.sleep_untimed(announced))) {
                // Some milliseconds do not matter to when one begins to look for the dead. (They do to when that is due: the
                // kernel, whose clock is exact, would wake us again and again until ours has come so far.)
                let now = if begins {
                    clock::coarse_ns()
                } else {
                    clock::monotonic_ns()
                };
                if self.deadline.is_over(now) {
                    return last_try(attempt, look);
                }
                if is_elsewhere {
                    word = other; // it waits for something else by now: announce there
                    continue;
                }
                if watch.is_due(now)
                    && let Some(failure) = look()
                {
                    return Some(failure);
                }
                let until = watch.next(now).min(self.deadline.0);
                if is_settled {
                    word.sleep(announced, until);
                } else {
                    word.nap(announced, until.min(now.saturating_add(nap.next())));
                }
            }
            word = match attempt() {
                Attempt::Done(value) => return Some(value),
                Attempt::Blocked(word) | Attempt::Unsettled(word) => word,
            };
        }
    }

    /// `Some` ends the wait; `None` is the signal to sleep.
    fn spin<R>(
        &self,
        attempt: &mut impl FnMut() -> Attempt<'w, R>,
        is_promising: &impl Fn() -> bool,
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
            if (is_promising() || backoff.is_time_to_try())
                && let Attempt::Done(value) = attempt()
            {
                if !is_endless && backoff.0 > 0 {
                    self.patience.learn(true);
                }
                return Some(Some(value));
            }
            backoff.pause(is_endless);
            if is_endless && backoff.is_time_for_the_clock() {
                let now = clock::monotonic_ns();
                if self.deadline.is_over(now) {
                    return Some(last_try(attempt, look));
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

/// For who gives up: somebody who waits again and again, each time for less than [`WATCH_NS`], would never find the dead else.
#[cold]
fn last_try<'w, R>(
    mut attempt: impl FnMut() -> Attempt<'w, R>,
    mut look: impl FnMut() -> Option<R>,
) -> Option<R> {
    if let Some(failure) = look() {
        return Some(failure);
    }
    match attempt() {
        Attempt::Done(value) => Some(value),
        Attempt::Blocked(_) | Attempt::Unsettled(_) => None,
    }
}

/// When a sleeper looks for the dead. Not only when nobody wakes it: a stream of wakes must not hide a death.
#[derive(Debug)]
struct Watch<'a> {
    note: Note<'a>,
    state: WatchState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchState {
    New,
    /// Has slept once, without a look at the clock.
    Begun {
        is_roused: bool,
    },
    /// Is due at a time on the monotonic clock.
    At(u64),
}

impl<'a> Watch<'a> {
    fn new(note: Note<'a>) -> Self {
        Self {
            note,
            state: WatchState::New,
        }
    }

    fn is_new(&self) -> bool {
        self.state == WatchState::New
    }

    /// The first sleep, if `sleep` can do it. Whether it could.
    fn begin_asleep(&mut self, sleep: impl FnOnce() -> Option<bool>) -> bool {
        let slept = sleep();
        if let Some(is_roused) = slept {
            self.state = WatchState::Begun { is_roused };
        }
        slept.is_some()
    }

    fn is_due(&self, now: u64) -> bool {
        match self.state {
            WatchState::New => false,
            WatchState::Begun { is_roused } => is_roused,
            WatchState::At(time) => now >= time,
        }
    }

    /// When it is due after now.
    fn next(&mut self, now: u64) -> u64 {
        let next = match self.state {
            WatchState::At(time) if now < time => time,
            _ => now.saturating_add(WATCH_NS),
        };
        if !matches!(self.state, WatchState::At(_)) {
            self.note.stamp(now);
        }
        self.state = WatchState::At(next);
        next
    }
}

/// What came of one try.
#[derive(Debug)]
pub(crate) enum Attempt<'w, R> {
    /// The wait is over.
    Done(R),
    /// Nothing yet; this word is woken when there may be.
    Blocked(&'w WaitWord),
    /// The same, but what is waited for has begun, and who does it may not see that somebody goes to sleep now.
    Unsettled(&'w WaitWord),
}

/// How long to sleep at the most, as a wake may be missing (W1).
#[derive(Debug)]
struct Nap(u64);

impl Default for Nap {
    fn default() -> Self {
        Self(Self::FIRST_NS)
    }
}

impl Nap {
    /// What is on its way arrives much sooner.
    const FIRST_NS: u64 = 50_000;

    /// Twice as long as the last time.
    fn next(&mut self) -> u64 {
        let now = self.0;
        self.0 = (now * 2).min(WATCH_NS);
        now
    }
}

/// Pauses that start as a few cycles and end as giving up the core.
#[derive(Debug, Default)]
struct Backoff(u32);

impl Backoff {
    const YIELD_AFTER: u32 = 64;

    #[inline]
    fn pause(&mut self, may_yield: bool) {
        if may_yield && self.0 >= Self::YIELD_AFTER {
            prim::yield_now();
        } else {
            prim::spin_loop();
        }
        self.0 = self.0.checked_add(1).unwrap_or(Self::YIELD_AFTER + 1);
    }

    /// Rarely enough not to disturb who is about to do what is waited for.
    fn is_time_to_try(&self) -> bool {
        self.0.wrapping_add(1).is_multiple_of(128)
    }

    /// After each pause that gave up the core, which takes longer than reading the clock, and where cores are busy a time slice.
    fn is_time_for_the_clock(&self) -> bool {
        self.0 > Self::YIELD_AFTER
    }
}
