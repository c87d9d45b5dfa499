//! How a campaign is run, and what it found.

use std::time::Duration;
use std::{fmt, io};

use super::scenario::Expectation;

/// Which instructions are points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// Those that change the shared bytes, and system calls.
    State,
    /// Each one.
    Instruction,
}

/// How a campaign is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which instructions are points. A nested campaign takes the first victim by state in any case.
    pub granularity: Granularity,
    /// Verify while the killed victim is a zombie (dead, but not reaped: its pid still exists).
    pub leave_zombies: bool,
    /// A verification, or a resumed victim, that takes longer ends the process. Whole seconds.
    pub limit: Duration,
    /// A victim that takes more steps has failed.
    pub max_steps: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            granularity: Granularity::State,
            leave_zombies: false,
            limit: Duration::from_secs(20),
            max_steps: 2_000_000,
        }
    }
}

/// Where a trial interfered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The victim's point, and the number of instructions it had executed.
    pub victim: (u64, u64),
    /// The same for the repairer of a nested campaign.
    pub repairer: Option<(u64, u64)>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "point {} (after {} instructions)",
            self.victim.0, self.victim.1
        )?;
        match self.repairer {
            Some((point, steps)) => {
                write!(f, ", repairer's point {point} (after {steps} instructions)")
            }
            None => Ok(()),
        }
    }
}

/// A trial that did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where the victim was killed or stopped.
    pub at: Point,
    /// What was wrong afterwards.
    pub what: String,
}

/// What a campaign found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Instructions of the operation when nobody interferes.
    pub steps: u64,
    /// Different contents of the shared bytes on the way, the first one included.
    pub distinct_states: usize,
    /// Trials made: victims killed or stopped, and one that got to its end.
    pub trials: usize,
    /// Instructions stepped in all trials together.
    pub total_steps: u64,
    /// Trials that did not hold.
    pub failures: Vec<Failure>,
    /// The time it all took.
    pub elapsed: Duration,
}

impl Report {
    /// True when the campaign found what it should.
    pub fn meets(&self, expectation: Expectation) -> bool {
        match expectation {
            Expectation::Holds => self.failures.is_empty(),
            Expectation::Breaks => !self.failures.is_empty() && self.failures.len() < self.trials,
        }
    }
}

/// The engine itself could not work; says nothing about the scenario.
#[derive(Debug)]
pub struct EngineError {
    pub(super) scenario: String,
    pub(super) source: io::Error,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot step: {}", self.scenario, self.source)
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
