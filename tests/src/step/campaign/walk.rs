//! How one victim is brought to a point: at full speed where the way is known, else step by step.

use std::io;
use std::time::Duration;

use super::Trials;
use crate::mapping::Shared;
use crate::step::report::Granularity;
use crate::step::route::{Passed, Route, Way};
use crate::step::scenario::Scenario;
use crate::step::snapshot::Snapshot;
use crate::step::victim::{Death, Event, Victim};
use crate::step::watchdog;

/// How a walk towards a point ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// The victim stands at the point.
    AtPoint,
    /// It stands at its end marker: the operation has fewer points.
    AtEnd,
    Died(Death),
    TooLong,
}

impl Walk {
    /// What is wrong with one that should have come to its point, or to its end.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Died(death) => format!("died by itself in its operation: {death:?}"),
            Self::TooLong => {
                "took more steps than the plan allows (did it panic, with a backtrace to print?)"
                    .to_owned()
            }
            Self::AtPoint | Self::AtEnd => "was interrupted".to_owned(),
        }
    }
}

impl<S: Scenario> Trials<'_, S> {
    /// Steps a victim to its end, or until it has taken too many steps: the rest of the route.
    pub(super) fn record(
        &mut self,
        route: &mut Route,
        victim: &mut Victim,
        shared: Vec<Shared<'_>>,
        granularity: Granularity,
        mut on_change: impl FnMut(&Snapshot<'_>),
    ) -> io::Result<Event> {
        let what = format!("{}: a victim that is stepped to its end", self.name);
        let mut snapshot = Snapshot::take(shared);
        on_change(&snapshot);
        watchdog::guard(self.walk_limit(), &what, || {
            loop {
                let was_syscall = self.is_at_syscall(victim)?;
                route.steps_over(victim.next_instruction());
                let event = victim.step()?;
                if was_syscall {
                    route.passed_syscall(victim.steps());
                }
                let changed = snapshot.has_changed();
                if changed {
                    on_change(&snapshot);
                }
                if self.is_point(granularity, victim, was_syscall || changed) {
                    route.is_at_point(victim.steps(), changed);
                }
                if event != Event::Stepped || victim.steps() >= self.plan.max_steps {
                    return io::Result::Ok(event);
                }
            }
        })
    }

    /// Brings a victim to a point on its way, mostly at full speed. `None` when it goes another way than the one that
    /// was stepped through: then another victim has to be walked there.
    pub(super) fn follow(
        &mut self,
        victim: &mut Victim,
        shared: Vec<Shared<'_>>,
        way: &Way,
    ) -> io::Result<Option<Walk>> {
        let what = format!(
            "{}: a victim on its way to instruction {}",
            self.name, way.steps
        );
        let arrives = watchdog::guard(self.walk_limit(), &what, || {
            if victim.skip_syscalls(way.syscalls)? != Event::Stepped {
                return io::Result::Ok(false);
            }
            let mut snapshot = Snapshot::take(shared);
            let mut changed = false;
            for leg in &way.legs {
                if let Some((address, count)) = leg.execution
                    && victim.run_to_execution(address, count)? != Some(Event::Stepped)
                {
                    return Ok(false);
                }
                for left in (0..leg.then).rev() {
                    if left == 0 {
                        snapshot.has_changed();
                    }
                    if victim.step()? != Event::Stepped {
                        return Ok(false);
                    }
                }
                changed = snapshot.has_changed();
            }
            Ok(changed || !way.is_change)
        })?;
        self.report.total_steps += way.legs.iter().map(|leg| leg.then).sum::<u64>();
        victim.count_from(way.steps);
        Ok(arrives.then_some(Walk::AtPoint))
    }

    /// Steps a victim from the last system call that the route knows to where it has passed `target` points.
    pub(super) fn walk(
        &mut self,
        victim: &mut Victim,
        shared: Vec<Shared<'_>>,
        route: &Route,
        target: u64,
        granularity: Granularity,
    ) -> io::Result<Walk> {
        let Some(passed) = route.syscall_before(target) else {
            return self.walk_on(victim, shared, target, granularity);
        };
        match self.skip_to(victim, passed)? {
            Event::Stepped => self.walk_on(victim, shared, target - passed.points, granularity),
            Event::AtEnd => Ok(Walk::AtEnd),
            Event::Died(death) => Ok(Walk::Died(death)),
        }
    }

    /// To the end of the operation, at full speed.
    pub(super) fn run_to_end(&self, victim: &mut Victim) -> io::Result<Walk> {
        let what = format!("{}: a victim on its way to its end", self.name);
        let event = watchdog::guard(self.walk_limit(), &what, || victim.run_to_syscall(|| false))?;
        Ok(match event {
            Event::Died(death) => Walk::Died(death),
            Event::AtEnd | Event::Stepped => Walk::AtEnd,
        })
    }

    /// To behind a system call, at full speed.
    pub(super) fn skip_to(&self, victim: &mut Victim, passed: Passed) -> io::Result<Event> {
        let what = format!("{}: a victim at full speed", self.name);
        let event = watchdog::guard(self.walk_limit(), &what, || {
            victim.skip_syscalls(passed.count)
        })?;
        victim.count_from(passed.steps);
        Ok(event)
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

    /// Stepping is slow, and the machine may be busy.
    pub(super) fn walk_limit(&self) -> Duration {
        self.plan.limit * 6
    }
}
