//! A crew of pinned workers, processes or threads, that all do `n` steps while one clock runs.
//!
//! # What the clock sees
//! Workers are started once and live as long as their [`Crew`]; what they open, they open before the first round.
//! A round begins when the last worker has come to the start line and ends when the last has done its steps. Each worker
//! reads `CLOCK_MONOTONIC` itself at both ends, so that neither starting a process nor waking the benchmark (which sleeps
//! meanwhile and costs no core) is part of the figure. Between rounds all workers sleep, so several crews may live at once
//! and take turns.
//!
//! # Ordering
//! O1: `round` is published with Release after `count`, `started` and `ended` are set, and read with Acquire.
//! O2: `arrived` and `finished` are counted with `AcqRel` and read with Acquire, so the clock words are seen whole.
//! They count up over all rounds and are never reset. The rest is Relaxed: it hangs on O1 and O2.
//!
//! # If a worker dies
//! A panicking process exits with 101; the benchmark looks for dead workers every 200 ms and stops with a panic of its own.
//! When the benchmark dies, its processes are killed (`PR_SET_PDEATHSIG`).
#![allow(unsafe_code)]

use crate::{Shared, ZeroIsValid, futex_wait, futex_wake, pin_to};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use std::ffi::CString;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a waiting benchmark looks for dead workers.
const LOOK: Duration = Duration::from_millis(200);
/// No round takes this long; past it the workers wait for each other in vain.
const STUCK: Duration = Duration::from_secs(120);

/// What the workers of a crew are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Forked processes: they share what was mapped shared, and open the rest by name.
    Processes,
    /// Threads of the benchmark, for peers that cannot cross processes.
    Threads,
}

/// One worker to be: its name in `ps`, its core, and what it does.
pub struct Role {
    name: &'static str,
    core: usize,
    main: Box<dyn FnOnce(&mut Rounds) + Send>,
}

impl Role {
    /// `main` opens what it needs and then calls [`Rounds::each`] with one step of its work.
    pub fn new(
        name: &'static str,
        core: usize,
        main: impl FnOnce(&mut Rounds) + Send + 'static,
    ) -> Self {
        Self {
            name,
            core,
            main: Box::new(main),
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role")
            .field("name", &self.name)
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// The words through which a benchmark and its workers agree.
#[repr(C, align(128))]
struct Control {
    round: AtomicU32,
    arrived: AtomicU32,
    finished: AtomicU32,
    is_over: AtomicBool,
    count: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
}

// SAFETY: atomics only, for which zero is a value; aligned to 128.
unsafe impl ZeroIsValid for Control {}

/// A worker's view of its crew: when to work, and how much.
#[derive(Debug)]
pub struct Rounds {
    control: Arc<Shared<Control>>,
    workers: u32,
}

impl Rounds {
    /// Does `step(0)`, `step(1)`, … `step(n - 1)` in every round, until the benchmark is over.
    pub fn each(&mut self, mut step: impl FnMut(u64)) {
        let mut round = 0;
        self.count_finished(round);
        while let Some(count) = self.next_round(&mut round) {
            let started = self.line_up(round);
            for index in 0..count {
                step(index);
            }
            self.finish(started, now(), round);
        }
    }

    /// As [`each`](Self::each) for the only worker of a crew, but the clock runs only while `step` is in the closure that it hands to
    /// its argument: for a cost that others cause, who work in between.
    pub fn each_in_part(&mut self, mut step: impl FnMut(&mut dyn FnMut(&mut dyn FnMut()))) {
        let mut round = 0;
        self.count_finished(round);
        while let Some(count) = self.next_round(&mut round) {
            let started = self.line_up(round);
            let mut taken = 0;
            for _ in 0..count {
                step(&mut |part| {
                    let begin = now();
                    part();
                    taken += now() - begin;
                });
            }
            self.finish(started, started + taken, round);
        }
    }

    /// As [`each`](Self::each), but the workers of the crew share the steps: they go on until they have done as many
    /// together as that would have been, whoever does more. `step` says how many all of them have done since the crew started.
    ///
    /// For locks that are not fair: otherwise one worker is through with its steps early, and the other meets nobody.
    pub fn together(&mut self, mut step: impl FnMut() -> u64) {
        let mut round = 0;
        let mut all = 0;
        self.count_finished(round);
        while let Some(count) = self.next_round(&mut round) {
            all += count * u64::from(self.workers);
            let started = self.line_up(round);
            while step() < all {}
            self.finish(started, now(), round);
        }
    }

    /// Waits at the start line until everybody is there; the time then.
    fn line_up(&self, round: u32) -> u64 {
        self.control.arrived.fetch_add(1, Ordering::AcqRel); // O2
        while self.control.arrived.load(Ordering::Acquire) < round * self.workers {
            thread::yield_now(); // the last worker may need this very core to arrive
        }
        now()
    }

    fn next_round(&self, round: &mut u32) -> Option<u64> {
        while self.control.round.load(Ordering::Acquire) == *round {
            futex_wait(&self.control.round, *round, None); // O1
        }
        *round += 1;
        let is_over = self.control.is_over.load(Ordering::Relaxed);
        (!is_over).then(|| self.control.count.load(Ordering::Relaxed))
    }

    fn finish(&self, started: u64, ended: u64, round: u32) {
        self.control.started.fetch_min(started, Ordering::Relaxed);
        self.control.ended.fetch_max(ended, Ordering::Relaxed);
        self.count_finished(round);
    }

    /// Being ready counts as round zero.
    fn count_finished(&self, round: u32) {
        let finished = self.control.finished.fetch_add(1, Ordering::AcqRel) + 1; // O2
        if finished == (round + 1) * self.workers {
            futex_wake(&self.control.finished, 1);
        }
    }
}

/// Nanoseconds on the clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("read the monotonic clock");
    u64::try_from(Duration::from(time).as_nanos()).expect("less than 500 years since boot")
}

#[derive(Debug)]
enum Worker {
    Process {
        name: &'static str,
        pid: Pid,
    },
    Thread {
        name: &'static str,
        thread: JoinHandle<()>,
    },
}

impl Worker {
    /// The name, if the worker is gone before its time.
    fn lost(&self) -> Option<&'static str> {
        match self {
            Self::Process { name, pid } => {
                let is_alive = matches!(
                    waitpid(*pid, Some(WaitPidFlag::WNOHANG)),
                    Ok(WaitStatus::StillAlive)
                );
                (!is_alive).then_some(name)
            }
            Self::Thread { name, thread } => thread.is_finished().then_some(name),
        }
    }
}

/// Running workers. Dropping it ends and reaps them.
#[derive(Debug)]
pub struct Crew {
    control: Arc<Shared<Control>>,
    workers: Vec<Worker>,
    rounds: u32,
    is_broken: bool,
}

impl Crew {
    /// Starts one worker for each role, and waits until all have opened what they need.
    ///
    /// # Panics
    /// When a process cannot be forked or a thread started, or when a worker died.
    pub fn start(kind: Workers, roles: Vec<Role>) -> Self {
        crate::cores(); // asked before a worker pins itself
        let control = Arc::new(Shared::<Control>::zeroed());
        let workers = u32::try_from(roles.len()).expect("a handful of workers");
        let start = |role: Role| {
            let rounds = Rounds {
                control: Arc::clone(&control),
                workers,
            };
            match kind {
                Workers::Processes => fork_worker(role, rounds),
                Workers::Threads => spawn_worker(role, rounds),
            }
        };
        let workers = roles.into_iter().map(start).collect();
        let mut crew = Self {
            control,
            workers,
            rounds: 0,
            is_broken: false,
        };
        crew.wait_for_all(); // round zero is being ready
        crew
    }

    /// Has every worker do `count` steps; the time from the start line to the last step.
    ///
    /// # Panics
    /// When a worker died, or when the round takes more than two minutes.
    pub fn run(&mut self, count: u64) -> Duration {
        self.control.count.store(count, Ordering::Relaxed);
        self.control.started.store(u64::MAX, Ordering::Relaxed);
        self.control.ended.store(0, Ordering::Relaxed);
        self.next_round();
        self.wait_for_all();
        let ended = self.control.ended.load(Ordering::Relaxed);
        Duration::from_nanos(ended - self.control.started.load(Ordering::Relaxed))
    }

    fn next_round(&mut self) {
        self.rounds += 1;
        self.control.round.store(self.rounds, Ordering::Release); // O1
        futex_wake(&self.control.round, u32::MAX >> 1);
    }

    fn wait_for_all(&mut self) {
        let all =
            (self.rounds + 1) * u32::try_from(self.workers.len()).expect("a handful of workers");
        let began = Instant::now();
        loop {
            let finished = self.control.finished.load(Ordering::Acquire); // O2
            if finished == all {
                return;
            }
            futex_wait(&self.control.finished, finished, Some(LOOK));
            if began.elapsed() > LOOK {
                self.check(began);
            }
        }
    }

    fn check(&mut self, began: Instant) {
        let lost = self.workers.iter().find_map(Worker::lost);
        self.is_broken = lost.is_some() || began.elapsed() > STUCK;
        assert!(
            lost.is_none(),
            "worker {lost:?} died before its work was done; see its message above"
        );
        assert!(
            !self.is_broken,
            "a round took more than {STUCK:?}: the workers wait for each other"
        );
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.control.is_over.store(true, Ordering::Relaxed);
        self.next_round();
        for worker in self.workers.drain(..) {
            match worker {
                Worker::Process { pid, .. } => {
                    if self.is_broken {
                        let _ = kill(pid, Signal::SIGKILL);
                    }
                    let _ = waitpid(pid, None);
                }
                // A thread that spins on a dead peer cannot be stopped; the panic under way ends it.
                Worker::Thread { .. } if self.is_broken => {}
                Worker::Thread { thread, .. } => {
                    let _ = thread.join();
                }
            }
        }
    }
}

fn fork_worker(role: Role, rounds: Rounds) -> Worker {
    let benchmark = nix::unistd::getpid();
    // SAFETY: other threads of the suite are workers that sleep between rounds (`start` waited for them; criterion is
    // built without rayon), so no lock is held across the fork, and the child may allocate and lock as usual.
    match unsafe { fork() }.expect("fork a worker") {
        ForkResult::Parent { child } => Worker::Process {
            name: role.name,
            pid: child,
        },
        ForkResult::Child => {
            let ended = catch_unwind(AssertUnwindSafe(|| work_as_child(role, rounds, benchmark)));
            let status = if ended.is_ok() { 0 } else { 101 };
            // SAFETY: `_exit` is always callable; it skips the parent's exit handlers, which are not ours to run.
            unsafe { libc::_exit(status) }
        }
    }
}

fn work_as_child(role: Role, mut rounds: Rounds, benchmark: Pid) {
    prctl::set_pdeathsig(Signal::SIGKILL).expect("ask to die with the benchmark");
    assert_eq!(
        getppid(),
        benchmark,
        "the benchmark died while this worker started"
    );
    let name = CString::new(role.name).expect("a role's name has no zero byte");
    prctl::set_name(&name).expect("set the process name");
    pin_to(role.core);
    (role.main)(&mut rounds);
}

fn spawn_worker(role: Role, mut rounds: Rounds) -> Worker {
    let Role { name, core, main } = role;
    let work = move || {
        pin_to(core);
        main(&mut rounds);
    };
    let thread = thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .expect("start a worker thread");
    Worker::Thread { name, thread }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nth_core;

    #[test]
    fn every_worker_does_every_step() {
        let steps = Arc::new(Shared::<AtomicU64>::zeroed());
        let role = |n| {
            let steps = Arc::clone(&steps);
            let step = move |index| {
                steps.fetch_add(index, Ordering::Relaxed);
            };
            Role::new("adder", nth_core(n), move |rounds: &mut Rounds| {
                rounds.each(step)
            })
        };
        for kind in [Workers::Processes, Workers::Threads] {
            steps.store(0, Ordering::Relaxed);
            let mut crew = Crew::start(kind, (0..3).map(role).collect());
            assert!(crew.run(5) > Duration::ZERO);
            assert_eq!(steps.load(Ordering::Relaxed), 3 * 10);
            crew.run(2);
            assert_eq!(steps.load(Ordering::Relaxed), 3 * 11);
        }
    }

    #[test]
    fn workers_share_the_steps() {
        let steps = Arc::new(Shared::<AtomicU64>::zeroed());
        let role = |n| {
            let steps = Arc::clone(&steps);
            let step = move || steps.fetch_add(1, Ordering::Relaxed) + 1;
            Role::new("counter", nth_core(n), move |rounds: &mut Rounds| {
                rounds.together(step)
            })
        };
        let mut crew = Crew::start(Workers::Processes, (0..2).map(role).collect());
        for all in [200, 400] {
            crew.run(100);
            let done = steps.load(Ordering::Relaxed);
            assert!((all..all + 4).contains(&done), "{done} of {all}");
        }
    }

    #[test]
    #[should_panic(expected = "died before its work was done")]
    fn a_dead_worker_is_noticed() {
        let roles = vec![
            Role::new("quitter", nth_core(0), |_: &mut Rounds| {}),
            Role::new("waiter", nth_core(1), |rounds: &mut Rounds| {
                rounds.each(|_| {})
            }),
        ];
        Crew::start(Workers::Processes, roles).run(1);
    }
}
