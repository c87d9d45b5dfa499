//! How to come to a point without a step for each instruction before it.
//!
//! Stepping to each point of an operation takes steps by the square of its length, and a step costs some 30 us. So one
//! victim is stepped through the whole operation, and for each point the way there is written down: so many system
//! calls, then legs, each of them up to an execution of one instruction (a breakpoint) and a few steps on.

use std::collections::{HashMap, VecDeque};

/// How far before its point a victim may be stopped by a breakpoint.
const LAST_STEPS: usize = 64;
/// What an execution of the instruction with the breakpoint costs, in steps: into it, and over it.
const BREAK_COST: u64 = 3;

/// A part of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leg {
    /// At full speed to before the execution of the instruction at this address that has this number, counted from 1
    /// where the leg begins;
    pub(super) execution: Option<(u64, u64)>,
    /// then so many steps.
    pub(super) then: u64,
}

impl Leg {
    fn cost(&self) -> u64 {
        self.then + self.execution.map_or(0, |(_, count)| count * BREAK_COST)
    }
}

/// The way to one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// So many system calls at full speed,
    pub(super) syscalls: usize,
    /// then these.
    pub(super) legs: Vec<Leg>,
    /// How many instructions that is in all.
    pub(super) steps: u64,
    /// The last step changes the shared bytes: a victim for which it does not went another way.
    pub(super) is_change: bool,
}

/// A point that the stepped victim came to.
#[derive(Debug)]
struct Stop {
    syscalls: usize,
    /// The way there begins with the way to the stop before, not at the last system call.
    is_behind_stop: bool,
    leg: Leg,
    /// Of all its legs.
    cost: u64,
    steps: u64,
    is_change: bool,
}

/// What a victim has passed when it stands behind one of its system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// System calls, this one included.
    pub(super) count: usize,
    pub(super) points: u64,
    pub(super) steps: u64,
}

/// What one victim that was stepped from its first instruction to its last tells about the next ones.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// The first point behind point 0, the second…
    stops: Vec<Stop>,
    /// Where the victim stood behind each system call.
    syscalls: Vec<Passed>,
    since_syscall: Stretch,
    since_stop: Stretch,
}

/// What was executed since some place.
#[derive(Debug, Default)]
struct Stretch {
    executions: HashMap<u64, u64>,
    steps: u64,
    /// The last of them, with their numbers.
    last: VecDeque<(u64, u64)>,
}

impl Stretch {
    fn steps_over(&mut self, address: u64) {
        self.steps += 1;
        let count = self.executions.entry(address).or_default();
        *count += 1;
        if self.last.len() == LAST_STEPS {
            self.last.pop_front();
        }
        self.last.push_back((address, *count));
    }

    /// The cheapest way from its beginning to its end.
    fn leg(&self) -> Leg {
        let plain = Leg {
            execution: None,
            then: self.steps,
        };
        let broken = self
            .last
            .iter()
            .rev()
            .zip(1..)
            .map(|(&execution, then)| Leg {
                execution: Some(execution),
                then,
            });
        broken.chain([plain]).min_by_key(Leg::cost).unwrap_or(plain)
    }
}

impl Route {
    /// Forgets what comes behind the last system call; to be stepped again, by a victim that stands there.
    pub(super) fn cut_behind_syscalls(&mut self) -> Option<Passed> {
        let passed = *self.syscalls.last()?;
        self.stops.truncate(usize::try_from(passed.points).ok()?);
        self.since_syscall = Stretch::default();
        self.since_stop = Stretch::default();
        Some(passed)
    }

    /// The instruction at this address is about to be stepped.
    pub(super) fn steps_over(&mut self, address: u64) {
        self.since_syscall.steps_over(address);
        self.since_stop.steps_over(address);
    }

    /// The instruction that was stepped was a system call, after which the victim stands at its next point.
    pub(super) fn passed_syscall(&mut self, steps: u64) {
        self.syscalls.push(Passed {
            count: self.syscalls.len() + 1,
            points: self.points() + 1,
            steps,
        });
        self.since_syscall = Stretch::default();
    }

    /// After so many steps the victim stands at its next point.
    pub(super) fn is_at_point(&mut self, steps: u64, is_change: bool) {
        let syscalls = self.syscalls.len();
        let direct = self.since_syscall.leg();
        let before = self.stops.last().filter(|stop| stop.syscalls == syscalls);
        let on = before.map(|stop| (stop.cost, self.since_stop.leg()));
        let on = on.filter(|(cost, leg)| cost + leg.cost() < direct.cost());
        let (behind, leg) = on.unwrap_or((0, direct));
        self.stops.push(Stop {
            syscalls,
            is_behind_stop: on.is_some(),
            cost: behind + leg.cost(),
            leg,
            steps,
            is_change,
        });
        self.since_stop = Stretch::default();
    }

    /// How many points there are, point 0 left out.
    pub(super) fn points(&self) -> u64 {
        self.stops.len() as u64
    }

    /// The way to where `target` points are passed.
    pub(super) fn way_to(&self, target: u64) -> Option<Way> {
        let stops = self.stops.get(..usize::try_from(target).ok()?)?;
        let stop = stops.last()?;
        let mut legs = Vec::new();
        for stop in stops.iter().rev() {
            legs.push(stop.leg);
            if !stop.is_behind_stop {
                break;
            }
        }
        legs.reverse();
        Some(Way {
            syscalls: stop.syscalls,
            legs,
            steps: stop.steps,
            is_change: stop.is_change,
        })
    }

    /// The last system call on the way to where `target` points are passed.
    pub(super) fn syscall_before(&self, target: u64) -> Option<Passed> {
        let count = self
            .syscalls
            .partition_point(|passed| passed.points <= target);
        Some(self.syscalls[count.checked_sub(1)?])
    }
}
