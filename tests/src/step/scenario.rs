//! What a trial does, and what must hold afterwards.

use super::campaign::run;
use super::report::{EngineError, Plan, Report};
use crate::mapping::Shared;

/// An operation, ready to run. It owns what the set-up made, and nothing of that is dropped when the operation ends
/// (a victim exits without destructors); to step through a drop, keep the value in an `Option` and take it.
pub type Operation<'a> = Box<dyn FnMut() -> u64 + 'a>;

/// How the operation of a victim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned this value; then the process exited without running any destructor, so nothing was detached.
    Completed(u64),
    /// It was killed before it returned.
    Killed,
}

impl Outcome {
    /// True unless the operation returned.
    pub fn is_killed(self) -> bool {
        self == Self::Killed
    }
}

/// What is done to the victims of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Campaign {
    /// Kill the victim at each point, then verify.
    Kill,
    /// Stop the victim at each point, let others work, resume it, then verify.
    Stop,
    /// Kill the victim at each point; for each, kill a repairer at each of its own points, then verify.
    Nested,
}

/// What a campaign should say about a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// No trial fails.
    Holds,
    /// A negative control: some trial must fail, but not each.
    Breaks,
}

/// One operation on one object in one known state.
///
/// The parent calls [`fresh`](Self::fresh), forks a victim that calls [`arm`](Self::arm) and runs what it returns,
/// and verifies what is left. A check that fails may return its reason or panic.
pub trait Scenario {
    /// The object as the survivor holds it. Victims inherit it by fork.
    type State;

    /// A name like `queue/put-inline-when-full`.
    fn name(&self) -> String;

    /// The campaigns it is made for, and what each should find.
    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        vec![(Campaign::Kill, Expectation::Holds)]
    }

    /// In the parent: a new object in the state that the operation is to meet.
    fn fresh(&self) -> Self::State;

    /// The bytes that processes share, for [`Granularity::State`](super::Granularity::State); about 64 KiB at most,
    /// for they are compared after each step.
    fn shared<'a>(&self, state: &'a Self::State) -> Vec<Shared<'a>>;

    /// Points every so many instructions, beside those where the shared bytes changed: for a window between a look and
    /// an act, which a stopped victim shows and no byte does.
    fn stride(&self) -> Option<u64> {
        None
    }

    /// In the victim: the set-up, such as opening the object. Returns the operation that is stepped.
    fn arm<'a>(&'a self, state: &'a Self::State) -> Operation<'a>;

    /// In the parent, with the victim (and the repairer, in a nested campaign) dead: what must hold. Must end in
    /// bounded time.
    fn verify(&self, state: &Self::State, outcome: Outcome) -> Result<(), String>;

    /// In the parent, with the victim stopped but alive ([`Campaign::Stop`]): what others do meanwhile.
    fn while_stopped(&self, _state: &Self::State) -> Result<(), String> {
        Ok(())
    }

    /// In the parent, after a victim that had been stopped got to its end and exited. Like [`verify`](Self::verify)
    /// unless the scenario says otherwise.
    fn verify_after_stop(&self, state: &Self::State, outcome: Outcome) -> Result<(), String> {
        self.verify(state, outcome)
    }

    /// In the repairer ([`Campaign::Nested`]): its set-up. Returns the repair that is stepped.
    fn arm_repair<'a>(&'a self, _state: &'a Self::State) -> Operation<'a> {
        panic!("{} has a nested campaign but no repair", self.name())
    }
}

/// A scenario with its type forgotten, to keep many in one list.
pub struct Entry {
    /// The scenario's name.
    pub name: String,
    /// Its campaigns.
    pub campaigns: Vec<(Campaign, Expectation)>,
    run: RunBoxed,
}

type RunBoxed = Box<dyn Fn(Campaign, &Plan) -> Result<Report, EngineError>>;

impl Entry {
    /// Wraps a scenario.
    pub fn new(scenario: impl Scenario + 'static) -> Self {
        Self {
            name: scenario.name(),
            campaigns: scenario.campaigns(),
            run: Box::new(move |campaign, plan| run(&scenario, campaign, plan)),
        }
    }

    /// Runs one campaign over it.
    pub fn run(&self, campaign: Campaign, plan: &Plan) -> Result<Report, EngineError> {
        (self.run)(campaign, plan)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("campaigns", &self.campaigns)
            .finish_non_exhaustive()
    }
}
