//! Many trials over one scenario: one a point, until a victim gets to its end before its point.

mod walk;

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use self::walk::Walk;
use super::report::{EngineError, Failure, Granularity, Plan, Point, Report};
use super::route::Route;
use super::scenario::{Campaign, Outcome, Scenario};
use super::victim::{End, Event, Victim};
use super::watchdog;

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
        syscalls: HashMap::new(),
        report: Report::default(),
        name,
    };
    let granularity = match campaign {
        Campaign::Nested => Granularity::State,
        Campaign::Kill | Campaign::Stop => plan.granularity,
    };
    let done = trials
        .dry_run(granularity)
        .and_then(|route| match campaign {
            Campaign::Kill => trials.kill_everywhere(route),
            Campaign::Stop => trials.stop_everywhere(route),
            Campaign::Nested => trials.kill_repairers_everywhere(route),
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

/// A killed victim's object, with a repairer that has not yet begun.
struct Scene<State> {
    /// First: nobody may be at work when the object goes.
    repairer: Victim,
    /// Kept: it may have to stay a zombie.
    _victim: Victim,
    outcome: Outcome,
    walk: Walk,
    at: Point,
    state: State,
}

struct Trials<'s, S> {
    scenario: &'s S,
    plan: &'s Plan,
    /// Which code addresses hold `syscall`; the same in every victim.
    syscalls: HashMap<u64, bool>,
    report: Report,
    name: String,
}

impl<S: Scenario> Trials<'_, S> {
    /// Learns how long the operation is, and the way to each of its points.
    fn dry_run(&mut self, granularity: Granularity) -> io::Result<Route> {
        let state = self.scenario.fresh();
        let mut victim = self.fork_victim(&state)?;
        let mut states = HashSet::new();
        let shared = self.scenario.shared(&state);
        let mut route = Route::default();
        let event = self.record(&mut route, &mut victim, shared, granularity, |snapshot| {
            states.insert(snapshot.hash());
        })?;
        if event != Event::AtEnd {
            let steps = victim.steps();
            return Err(io::Error::other(format!(
                "the dry run did not end: {event:?} after {steps} instructions"
            )));
        }
        self.report.steps = victim.steps();
        self.report.distinct_states = states.len();
        Ok(route)
    }

    /// After a victim that had more points than the one of the dry run: how it goes on behind the last system call. Who
    /// was stepped there slowly may have met a death, or the end of its patience, where others that run there do not.
    fn lengthen(&mut self, route: &mut Route) -> io::Result<()> {
        let Some(passed) = route.cut_behind_syscalls() else {
            return Ok(());
        };
        let state = self.scenario.fresh();
        let mut victim = self.fork_victim(&state)?;
        if self.skip_to(&mut victim, passed)? == Event::Stepped {
            let shared = self.scenario.shared(&state);
            self.record(route, &mut victim, shared, self.plan.granularity, |_| {})?;
        }
        Ok(())
    }

    fn kill_everywhere(&mut self, mut route: Route) -> io::Result<()> {
        for target in 0.. {
            let (state, mut victim, walk) =
                self.victim_at(&route, target, self.plan.granularity)?;
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
            if target > route.points() {
                if walk != Walk::AtPoint {
                    break;
                }
                self.lengthen(&mut route)?;
            }
        }
        Ok(())
    }

    fn stop_everywhere(&mut self, mut route: Route) -> io::Result<()> {
        for target in 0.. {
            let (state, mut victim, walk) =
                self.victim_at(&route, target, self.plan.granularity)?;
            let at = Point {
                victim: (target, victim.steps()),
                repairer: None,
            };
            self.report.trials += 1;
            let found = match walk {
                Walk::AtPoint | Walk::AtEnd => self.stop_there(&state, &mut victim, at)?,
                Walk::Died(_) | Walk::TooLong => Err(walk.describe()),
            };
            if let Err(what) = found {
                self.report.failures.push(Failure { at, what });
            }
            if target > route.points() {
                if walk != Walk::AtPoint {
                    break;
                }
                self.lengthen(&mut route)?;
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

    fn kill_repairers_everywhere(&mut self, route: Route) -> io::Result<()> {
        for target in 0.. {
            let Some(repair) = self.dry_run_of_repair(&route, target)? else {
                return Ok(());
            };
            let mut walk = Walk::AtPoint;
            for repairer_target in 0.. {
                let victims = self.kill_repairer(&route, target, &repair, repairer_target)?;
                let Some(victims) = victims else {
                    return Ok(());
                };
                walk = victims;
                if repairer_target > repair.points() {
                    break;
                }
            }
            if walk != Walk::AtPoint && target > route.points() {
                break;
            }
        }
        Ok(())
    }

    /// Learns the way to each point of the repair behind a victim killed at its own.
    fn dry_run_of_repair(&mut self, route: &Route, target: u64) -> io::Result<Option<Route>> {
        let Some(mut scene) = self.repairer_behind(route, target)? else {
            return Ok(None);
        };
        let shared = self.scenario.shared(&scene.state);
        let mut route = Route::default();
        let granularity = self.plan.granularity;
        self.record(&mut route, &mut scene.repairer, shared, granularity, |_| {})?;
        Ok(Some(route))
    }

    /// One trial with two deaths; behind its last point the repairer gets to its end. Returns how the victim's walk ended,
    /// `None` when it died by itself.
    fn kill_repairer(
        &mut self,
        route: &Route,
        target: u64,
        repair: &Route,
        repairer_target: u64,
    ) -> io::Result<Option<Walk>> {
        let mut way = repair.way_to(repairer_target);
        let (mut scene, walk) = loop {
            let Some(mut scene) = self.repairer_behind(route, target)? else {
                return Ok(None);
            };
            let shared = self.scenario.shared(&scene.state);
            let repairer = &mut scene.repairer;
            let granularity = self.plan.granularity;
            let walk = match way.take() {
                Some(way) => self.follow(repairer, shared, &way)?,
                None if repairer_target > repair.points() => Some(self.run_to_end(repairer)?),
                None => Some(self.walk(repairer, shared, repair, repairer_target, granularity)?),
            };
            if let Some(walk) = walk {
                break (scene, walk);
            }
        };
        let at = Point {
            repairer: Some((repairer_target, scene.repairer.steps())),
            ..scene.at
        };
        match self.end_there(&mut scene.repairer, walk, at)? {
            Ok(_) => self.check(at, "the verification", || {
                self.scenario.verify(&scene.state, scene.outcome)
            }),
            Err(what) => self.fail(at, format!("the repairer: {what}")),
        }
        Ok(Some(scene.walk))
    }

    /// A repairer at its first instruction, behind a victim killed at its point (or at its end). `None`, and a failed
    /// trial, when the victim died by itself.
    fn repairer_behind(
        &mut self,
        route: &Route,
        target: u64,
    ) -> io::Result<Option<Scene<S::State>>> {
        let (state, mut victim, walk) = self.victim_at(route, target, Granularity::State)?;
        let at = Point {
            victim: (target, victim.steps()),
            repairer: None,
        };
        let outcome = match self.end_there(&mut victim, walk, at)? {
            Ok(outcome) => outcome,
            Err(what) => {
                self.fail(at, what);
                return Ok(None);
            }
        };
        Ok(Some(Scene {
            repairer: self.fork_repairer(&state)?,
            _victim: victim,
            outcome,
            walk,
            at,
            state,
        }))
    }

    /// A new object, and a victim of the dry run's kind that has passed `target` points.
    fn victim_at(
        &mut self,
        route: &Route,
        target: u64,
        granularity: Granularity,
    ) -> io::Result<(S::State, Victim, Walk)> {
        let mut way = route.way_to(target);
        loop {
            let state = self.scenario.fresh();
            let mut victim = self.fork_victim(&state)?;
            let shared = self.scenario.shared(&state);
            let walk = match way.take() {
                Some(way) => self.follow(&mut victim, shared, &way)?,
                None => Some(self.walk(&mut victim, shared, route, target, granularity)?),
            };
            if let Some(walk) = walk {
                return Ok((state, victim, walk));
            }
        }
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
            Walk::Died(_) | Walk::TooLong => return Ok(Err(walk.describe())),
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
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned())
}
