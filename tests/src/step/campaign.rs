//! Many trials over one scenario: one a point, until a victim gets to its end before its point.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::report::{EngineError, Failure, Granularity, Plan, Point, Report};
use super::scenario::{Campaign, Outcome, Scenario};
use super::snapshot::Snapshot;
use super::victim::{Death, End, Event, Victim};
use super::watchdog;
use crate::mapping::Shared;

/// Runs one campaign: a dry run, then a trial for each point.
pub fn run<S: Scenario>(
    scenario: &S,
    campaign: Campaign,
    plan: &Plan,
) -> Result<Report, EngineError> {
    let begin = Instant::now();
    let name = scenario.name();
    let mut trials = Trials {
        scenario,
        plan,
        shortcuts: Vec::new(),
        syscalls: HashMap::new(),
        report: Report::default(),
        name,
    };
    let granularity = match campaign {
        Campaign::Nested => Granularity::State,
        Campaign::Kill | Campaign::Stop => plan.granularity,
    };
    let done = trials.dry_run(granularity).and_then(|()| match campaign {
        Campaign::Kill => trials.kill_everywhere(),
        Campaign::Stop => trials.stop_everywhere(),
        Campaign::Nested => trials.kill_repairers_everywhere(),
    });
    trials.report.elapsed = begin.elapsed();
    match done {
        Ok(()) => Ok(trials.report),
        Err(source) => Err(EngineError {
            scenario: trials.name,
            source,
        }),
    }
}

/// How a walk towards a point ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// The victim stands at the point.
    AtPoint,
    /// It stands at its end marker: the operation has fewer points.
    AtEnd,
    Died(Death),
    TooLong,
}

/// What a victim has passed when it comes to one of its system calls.
#[derive(Debug, Clone, Copy)]
struct Shortcut {
    points: u64,
    steps: u64,
}

struct Trials<'s, S> {
    scenario: &'s S,
    plan: &'s Plan,
    /// One for each system call of the dry run: up to there, a later victim need not be stepped.
    shortcuts: Vec<Shortcut>,
    /// Which code addresses hold `syscall`; the same in every victim.
    syscalls: HashMap<u64, bool>,
    report: Report,
    name: String,
}

impl<S: Scenario> Trials<'_, S> {
    /// Learns how long the operation is, and where its system calls are.
    fn dry_run(&mut self, granularity: Granularity) -> io::Result<()> {
        let state = self.scenario.fresh();
        let mut victim = self.fork_victim(&state)?;
        let mut snapshot = Snapshot::take(self.scenario.shared(&state));
        let mut states = HashSet::from([snapshot.hash()]);
        let what = format!("{}: the dry run", self.name);
        let event = watchdog::guard(self.walk_limit(), &what, || {
            let mut points = 0;
            loop {
                let was_syscall = self.is_at_syscall(&victim)?;
                if was_syscall {
                    let steps = victim.steps();
                    self.shortcuts.push(Shortcut { points, steps });
                }
                let event = victim.step()?;
                let changed = snapshot.has_changed();
                if changed {
                    states.insert(snapshot.hash());
                }
                points += u64::from(self.is_point(granularity, &victim, was_syscall || changed));
                if event != Event::Stepped || victim.steps() >= self.plan.max_steps {
                    return io::Result::Ok(event);
                }
            }
        })?;
        if event != Event::AtEnd {
            let steps = victim.steps();
            return Err(io::Error::other(format!(
                "the dry run did not end: {event:?} after {steps} instructions"
            )));
        }
        self.report.steps = victim.steps();
        self.report.distinct_states = states.len();
        Ok(())
    }

    fn kill_everywhere(&mut self) -> io::Result<()> {
        for target in 0.. {
            let state = self.scenario.fresh();
            let mut victim = self.fork_victim(&state)?;
            let walk = self.walk(
                &mut victim,
                self.scenario.shared(&state),
                target,
                self.plan.granularity,
            )?;
            let at = Point {
                victim: (target, victim.steps()),
                repairer: None,
            };
            match self.end_there(&mut victim, walk, at)? {
                Ok(outcome) => self.check(at, "the verification", || {
                    self.scenario.verify(&state, outcome)
                }),
                Err(what) => self.fail(at, what),
            }
            if walk != Walk::AtPoint {
                break;
            }
        }
        Ok(())
    }

    fn stop_everywhere(&mut self) -> io::Result<()> {
        for target in 0.. {
            let state = self.scenario.fresh();
            let mut victim = self.fork_victim(&state)?;
            let walk = self.walk(
                &mut victim,
                self.scenario.shared(&state),
                target,
                self.plan.granularity,
            )?;
            let at = Point {
                victim: (target, victim.steps()),
                repairer: None,
            };
            self.report.trials += 1;
            let found = match walk {
                Walk::AtPoint | Walk::AtEnd => self.stop_there(&state, &mut victim, at)?,
                Walk::Died(_) | Walk::TooLong => Err(describe(walk)),
            };
            if let Err(what) = found {
                self.report.failures.push(Failure { at, what });
            }
            if walk != Walk::AtPoint {
                break;
            }
        }
        Ok(())
    }

    fn stop_there(
        &self,
        state: &S::State,
        victim: &mut Victim,
        at: Point,
    ) -> io::Result<Result<(), String>> {
        if let Err(what) = self.guarded(at, "others' work", || self.scenario.while_stopped(state)) {
            return Ok(Err(format!("while the victim was stopped: {what}")));
        }
        let what = self.at_what(at, "the resumed victim");
        let end = watchdog::guard(self.plan.limit, &what, || victim.resume_to_end())?;
        Ok(match end {
            End::Completed(code) => self.guarded(at, "the verification", || {
                self.scenario
                    .verify_after_stop(state, Outcome::Completed(code))
            }),
            End::Died(death) => Err(format!("the resumed victim died by itself: {death:?}")),
        })
    }

    fn kill_repairers_everywhere(&mut self) -> io::Result<()> {
        for target in 0.. {
            for repairer_target in 0.. {
                let state = self.scenario.fresh();
                let mut victim = self.fork_victim(&state)?;
                let walk = self.walk(
                    &mut victim,
                    self.scenario.shared(&state),
                    target,
                    Granularity::State,
                )?;
                let mut at = Point {
                    victim: (target, victim.steps()),
                    repairer: None,
                };
                let outcome = match self.end_there(&mut victim, walk, at)? {
                    Ok(outcome) => outcome,
                    Err(what) => {
                        self.fail(at, what);
                        return Ok(());
                    }
                };
                let mut repairer = self.fork_repairer(&state)?;
                let shared = self.scenario.shared(&state);
                let repair = self.walk_on(
                    &mut repairer,
                    shared,
                    repairer_target,
                    self.plan.granularity,
                )?;
                at.repairer = Some((repairer_target, repairer.steps()));
                match self.end_there(&mut repairer, repair, at)? {
                    Ok(_) => self.check(at, "the verification", || {
                        self.scenario.verify(&state, outcome)
                    }),
                    Err(what) => self.fail(at, format!("the repairer: {what}")),
                }
                if repair != Walk::AtPoint {
                    if walk != Walk::AtPoint {
                        return Ok(());
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Brings a victim of the dry run's kind to where it has passed `target` points.
    fn walk(
        &mut self,
        victim: &mut Victim,
        shared: Vec<Shared<'_>>,
        target: u64,
        granularity: Granularity,
    ) -> io::Result<Walk> {
        let known = |shortcut: &Shortcut| shortcut.points < target;
        let syscalls = self.shortcuts.partition_point(known);
        let Some(last) = syscalls.checked_sub(1).map(|i| self.shortcuts[i]) else {
            return self.walk_on(victim, shared, target, granularity);
        };
        let what = format!("{}: a victim on its way to point {target}", self.name);
        let event = watchdog::guard(self.walk_limit(), &what, || {
            victim.skip_syscalls(syscalls, last.steps + 1)
        })?;
        match event {
            Event::Stepped => self.walk_on(victim, shared, target - last.points - 1, granularity),
            Event::AtEnd => Ok(Walk::AtEnd),
            Event::Died(death) => Ok(Walk::Died(death)),
        }
    }

    /// Steps a victim until it has passed `target` more points.
    fn walk_on(
        &mut self,
        victim: &mut Victim,
        shared: Vec<Shared<'_>>,
        target: u64,
        granularity: Granularity,
    ) -> io::Result<Walk> {
        let what = format!("{}: a victim, {target} points before its own", self.name);
        let by_state = granularity == Granularity::State;
        let mut snapshot = Snapshot::take(if by_state { shared } else { Vec::new() });
        let before = victim.steps();
        let walk = watchdog::guard(self.walk_limit(), &what, || {
            let mut passed = 0;
            while passed < target {
                let was_syscall = by_state && self.is_at_syscall(victim)?;
                match victim.step()? {
                    Event::Stepped => {}
                    Event::AtEnd => return Ok(Walk::AtEnd),
                    Event::Died(death) => return Ok(Walk::Died(death)),
                }
                if victim.steps() >= self.plan.max_steps {
                    return Ok(Walk::TooLong);
                }
                // Not lazy: the snapshot has to follow every change.
                let changed = snapshot.has_changed();
                passed += u64::from(self.is_point(granularity, victim, was_syscall || changed));
            }
            Ok(Walk::AtPoint)
        });
        self.report.total_steps += victim.steps() - before;
        walk
    }

    fn is_point(&self, granularity: Granularity, victim: &Victim, is_state: bool) -> bool {
        let stride = self.scenario.stride();
        is_state
            || granularity == Granularity::Instruction
            || stride.is_some_and(|stride| victim.steps().is_multiple_of(stride))
    }

    fn is_at_syscall(&mut self, victim: &Victim) -> io::Result<bool> {
        let address = victim.next_instruction();
        if let Some(known) = self.syscalls.get(&address) {
            return Ok(*known);
        }
        let found = victim.is_at_syscall()?;
        self.syscalls.insert(address, found);
        Ok(found)
    }

    /// Kills a victim at its point, or lets it exit at its end.
    fn end_there(
        &self,
        victim: &mut Victim,
        walk: Walk,
        at: Point,
    ) -> io::Result<Result<Outcome, String>> {
        match walk {
            Walk::AtPoint if self.plan.leave_zombies => victim.kill_unreaped()?,
            Walk::AtPoint => victim.kill()?,
            Walk::AtEnd => {
                let what = self.at_what(at, "the victim after its end");
                return Ok(
                    match watchdog::guard(self.plan.limit, &what, || victim.resume_to_end())? {
                        End::Completed(code) => Ok(Outcome::Completed(code)),
                        End::Died(death) => Err(format!("died after its operation: {death:?}")),
                    },
                );
            }
            Walk::Died(_) | Walk::TooLong => return Ok(Err(describe(walk))),
        }
        Ok(Ok(Outcome::Killed))
    }

    fn check(&mut self, at: Point, phase: &str, check: impl FnOnce() -> Result<(), String>) {
        self.report.trials += 1;
        if let Err(what) = self.guarded(at, phase, check) {
            self.report.failures.push(Failure { at, what });
        }
    }

    fn fail(&mut self, at: Point, what: String) {
        self.report.trials += 1;
        self.report.failures.push(Failure { at, what });
    }

    /// A check under the watchdog, with a panic as one more way to say no.
    fn guarded(
        &self,
        at: Point,
        phase: &str,
        check: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let what = self.at_what(at, phase);
        watchdog::guard(self.plan.limit, &what, || {
            catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| Err(message_of(&*panic)))
        })
    }

    fn fork_victim(&self, state: &S::State) -> io::Result<Victim> {
        let what = format!("{}: a victim's set-up", self.name);
        watchdog::guard(self.plan.limit, &what, || {
            Victim::fork(|| self.scenario.arm(state))
        })
    }

    fn fork_repairer(&self, state: &S::State) -> io::Result<Victim> {
        let what = format!("{}: a repairer's set-up", self.name);
        watchdog::guard(self.plan.limit, &what, || {
            Victim::fork(|| self.scenario.arm_repair(state))
        })
    }

    fn at_what(&self, at: Point, phase: &str) -> String {
        format!("{}: {phase}, {at}", self.name)
    }

    /// Stepping is slow, and the machine may be busy.
    fn walk_limit(&self) -> Duration {
        self.plan.limit * 6
    }
}

fn describe(walk: Walk) -> String {
    match walk {
        Walk::Died(death) => format!("died by itself in its operation: {death:?}"),
        Walk::TooLong => {
            "took more steps than the plan allows (did it panic, with a backtrace to print?)"
                .to_owned()
        }
        Walk::AtPoint | Walk::AtEnd => "was interrupted".to_owned(),
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned())
}
