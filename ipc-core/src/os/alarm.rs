//! Sleeping without a time limit, and being roused nevertheless; and the time without reading the clock.
//!
//! A futex wait with a time limit makes a round trip between two processes on one core a tenth slower (4.75 µs and 5.22 µs, in C,
//! on the VM this was written on), as the kernel sets a timer and removes it. So a process that sleeps often gets a thread
//! that rouses whoever has slept for one to two [`ROUND`]s, and that rests itself while nobody sleeps so.
//!
//! A process that asks often for [`clock::recent_ns`] has it kept up to date by the same thread, for [`TICKS`] rounds; then it
//! has to ask often again.
//!
//! The thread blocks all signals and touches nothing but this file's memory, the clock's and the futexes. A forked child gets its own,
//! once it needs one. Where no thread can be started, sleeps have limits, and the clock is read.
//!
//! # Ordering
//!
//! * A1. *Nobody sleeps while the thread rests.* The sleeper says that it sleeps, fences, and looks whether the thread rests. The
//!   thread says that it rests, fences, and looks for sleepers. One of them sees the other. So it is with who wants ticks.
//! * A thread that rouses who is just waking wakes somebody for nothing, perhaps in memory that is in other use by now.
//!   All futex users bear that. Who is roused between saying that it sleeps and sleeping is roused again in the next round.

#![allow(unsafe_code)]

use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use std::{
    cell::RefCell,
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::{clock, fork::Process, futex};

/// How often the thread looks at who sleeps.
const ROUND: Duration = Duration::from_millis(40);
/// After so many sleeps a process gets the thread: one that seldom sleeps has nothing from it.
const OFTEN: u32 = 1000;
/// For how many rounds it keeps the time.
const TICKS: u32 = 25;
const STACK: usize = 64 << 10;

/// States of the thread.
const ABSENT: u32 = 0;
const AWAKE: u32 = 1;
const RESTING: u32 = 2;

/// This process's, or an ancestor's. Never freed.
static ALARM: AtomicPtr<Alarm> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    static MINE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Sleeps while `word` holds `expected`, until it is woken or roused. Whether it was roused; `None` if it may not sleep without a
/// limit. May return early.
pub(crate) fn sleep(word: &AtomicU32, expected: u32) -> Option<bool> {
    let alarm = Alarm::of_this_process();
    if !alarm.is_set() {
        return None;
    }
    let slept = MINE.try_with(|mine| {
        let mut mine = mine.try_borrow_mut().ok()?;
        if !mine.as_ref().is_some_and(|p| ptr::eq(p.alarm, alarm)) {
            *mine = Some(alarm.register());
        }
        let place = mine.as_ref()?;
        Some(place.sleeper.sleep(alarm, word, expected))
    });
    slept.ok().flatten() // none in a thread that is ending
}

/// Has the thread keep the time for a while; starts it if need be.
pub(super) fn keep_time() {
    let alarm = Alarm::of_this_process();
    alarm.start();
    alarm.ticks.store(TICKS, Relaxed);
    fence(SeqCst); // A1
    alarm.rise();
}

/// The thread that rouses, and whom.
struct Alarm {
    process: Process,
    /// Sleeps before the thread was wanted.
    sleeps: AtomicU32,
    /// Rounds for which it is to keep the time.
    ticks: AtomicU32,
    is_started: AtomicBool,
    state: AtomicU32,
    sleepers: Mutex<Vec<Arc<Sleeper>>>,
}

impl Alarm {
    fn of_this_process() -> &'static Self {
        let seen = ALARM.load(Acquire);
        // SAFETY: ALARM is null or holds what was leaked below, here or in an ancestor.
        match unsafe { seen.as_ref() } {
            Some(alarm) if alarm.process.is_this() => alarm,
            _ => Self::new_of_this_process(seen),
        }
    }

    #[cold]
    fn new_of_this_process(seen: *mut Self) -> &'static Self {
        let new = Box::into_raw(Box::new(Self {
            process: Process::this(),
            sleeps: AtomicU32::new(0),
            ticks: AtomicU32::new(0),
            is_started: AtomicBool::new(false),
            state: AtomicU32::new(ABSENT),
            sleepers: Mutex::default(),
        }));
        match ALARM.compare_exchange(seen, new, AcqRel, Acquire) {
            // SAFETY: just made, and leaked from here on.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: another thread of this process was faster with its own.
                unsafe { &*other }
            }
        }
    }

    /// Whether the thread is there; starts it if this is one sleep more than seldom.
    fn is_set(&'static self) -> bool {
        self.state.load(Acquire) != ABSENT || self.count_a_sleep()
    }

    #[cold]
    fn count_a_sleep(&'static self) -> bool {
        // Wraps around: where no thread could be started, it is tried again some day.
        if self.sleeps.fetch_add(1, Relaxed).wrapping_add(1) == OFTEN {
            self.start();
        }
        false
    }

    /// Starts the thread, unless that was done, or cannot be.
    fn start(&'static self) {
        if !self.is_started.swap(true, Relaxed) {
            let started = self.try_start();
            self.is_started.store(started.is_ok(), Relaxed);
        }
    }

    fn try_start(&'static self) -> std::io::Result<()> {
        // The program's signals are its own threads' to handle.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let started = thread::Builder::new()
            .name("ipc-alarm".into())
            .stack_size(STACK)
            .spawn(|| self.watch());
        mask.thread_set_mask()?;
        started.map(drop)
    }

    fn watch(&self) {
        loop {
            self.state.store(RESTING, Relaxed);
            fence(SeqCst); // A1
            if self.ticks.load(Relaxed) == 0 && !self.has_sleepers() {
                futex::wait(&self.state, RESTING, u64::MAX);
            }
            self.state.store(AWAKE, Relaxed);
            while {
                let keeps_time = self.tick();
                thread::sleep(ROUND);
                self.rouse();
                keeps_time || self.has_sleepers()
            } {}
        }
    }

    /// Keeps the time or, once nobody has wanted that for a while, stops keeping it. Whether it does: then the thread may not rest.
    fn tick(&self) -> bool {
        let ticks = self.ticks.load(Relaxed);
        clock::keep(ticks > 0);
        // Who wants more just now is not heard, and will ask again.
        self.ticks.store(ticks.saturating_sub(1), Relaxed);
        ticks > 0
    }

    fn has_sleepers(&self) -> bool {
        self.sleepers().iter().any(|s| s.is_asleep())
    }

    /// Ends the thread's rest.
    fn rise(&self) {
        if self.state.load(Relaxed) == RESTING {
            self.state.store(AWAKE, Relaxed);
            futex::wake(&self.state, 1);
        }
    }

    /// Rouses who has slept since the last round.
    fn rouse(&self) {
        for sleeper in &*self.sleepers() {
            sleeper.rouse();
        }
    }

    fn sleepers(&self) -> MutexGuard<'_, Vec<Arc<Sleeper>>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&'static self) -> Place {
        let mut sleepers = self.sleepers();
        let sleeper = Arc::new(Sleeper::new(sleepers.len()));
        sleepers.push(Arc::clone(&sleeper));
        Place {
            alarm: self,
            sleeper,
        }
    }
}

/// A thread's entry among those who may be roused.
struct Place {
    alarm: &'static Alarm,
    sleeper: Arc<Sleeper>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // A forked child leaves its parent's list alone, which somebody may have locked at the fork.
        if self.alarm.process.is_this() {
            let mut sleepers = self.alarm.sleepers();
            sleepers.retain(|other| !Arc::ptr_eq(other, &self.sleeper));
        }
    }
}

struct Sleeper {
    /// What it sleeps on.
    word: AtomicPtr<AtomicU32>,
    /// How often it has fallen asleep and woken: odd while it sleeps.
    turns: AtomicU32,
    /// The `turns` of the last round. The thread's.
    last: AtomicU32,
    is_roused: AtomicBool,
    /// Others on the same word, most of whom have other bits, sleep on when this one is roused.
    bit: u32,
}

impl Sleeper {
    fn new(number: usize) -> Self {
        Self {
            word: AtomicPtr::new(ptr::null_mut()),
            turns: AtomicU32::new(0),
            last: AtomicU32::new(0),
            is_roused: AtomicBool::new(false),
            bit: 1 << ((number + std::process::id() as usize) % 32),
        }
    }

    fn is_asleep(&self) -> bool {
        self.turns.load(Relaxed) % 2 == 1
    }

    /// Whether it was roused.
    fn sleep(&self, alarm: &Alarm, word: &AtomicU32, expected: u32) -> bool {
        self.is_roused.store(false, Relaxed);
        self.word.store(ptr::from_ref(word).cast_mut(), Relaxed);
        let turns = self.turns.load(Relaxed);
        self.turns.store(turns.wrapping_add(1), Release);
        fence(SeqCst); // A1
        alarm.rise();
        futex::wait_untimed(word, expected, self.bit);
        self.turns.store(turns.wrapping_add(2), Release);
        self.is_roused.load(Relaxed)
    }

    /// For the thread, once a round.
    fn rouse(&self) {
        let turns = self.turns.load(Acquire);
        if self.last.swap(turns, Relaxed) == turns && turns % 2 == 1 {
            self.is_roused.store(true, Relaxed);
            futex::wake_bits(self.word.load(Relaxed), self.bit);
        }
    }
}
