//! One act on a queue of jobs in one setting, and the books of what it may have done to them.

use std::time::Duration;

use ipc_core::{Bytes, Job, TryGetJobError, TryPutError};

use super::super::act::{CLOSED, DONE, FAILED, FULL, got, packed};
use super::super::aftermath::sorted;
use super::super::message::{Id, message};
use super::super::trial::{FIRST_OF_REPAIRER, FIRST_OF_VICTIM};
use super::trial::{Jobs, Trial};
use crate::mapping::Shared;
use crate::scenarios::campaigns::holds;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Puts a job, by letter.
    Put(char),
    /// Gets one, and works on it when it ends.
    Get,
    /// Reports as done the job that it got before.
    Done,
    /// Gives it back.
    GiveBack,
    /// Makes a dead letter of it.
    GiveUp,
    /// Takes a dead letter out.
    TakeDead,
    /// Makes jobs of the dead letters.
    Requeue,
    /// Asks whether all are finished.
    Join,
    Close,
    /// Sweeps, gets one job and does it: all that a survivor would do next.
    Repair,
}

impl Act {
    /// The operation, with what it needs ready. `known` are the jobs that it may find.
    ///
    /// All that happens in it is stepped; so a job is checked by one comparison with what it should be.
    pub(super) fn operation<'a>(
        self,
        queue: &'a Jobs,
        first: Id,
        known: Vec<Bytes>,
    ) -> Operation<'a> {
        let id_of = move |job: &Bytes| known.contains(job).then(|| job.0[0]);
        match self {
            Self::Put(letter) => {
                let mut own = Some(message(first, letter));
                Box::new(move || own.take().map_or(FAILED, |own| put(queue, own)))
            }
            Self::Get => Box::new(move || {
                got_one(queue.try_get(), |job| {
                    let id = id_of(&job);
                    std::mem::forget(job); // it dies with its process
                    id
                })
            }),
            Self::Done => with_job(queue, |job| job.task_done().is_ok()),
            Self::GiveBack => with_job(queue, |job| job.give_back().is_ok()),
            Self::GiveUp => with_job(queue, |job| job.give_up().is_ok()),
            Self::TakeDead => {
                Box::new(move || got_one(queue.take_dead(), |letter| id_of(&letter.value)))
            }
            Self::Requeue => Box::new(move || queue.requeue_dead().map_or(FAILED, |_| DONE)),
            Self::Join => Box::new(move || match queue.join_timeout(Duration::ZERO) {
                Ok(true) => DONE,
                _ => FAILED,
            }),
            Self::Close => Box::new(move || {
                queue.close();
                DONE
            }),
            Self::Repair => Box::new(move || {
                let swept = queue.sweep().is_ok();
                let done = got_one(queue.try_get(), |job| {
                    let id = id_of(&job);
                    job.task_done().ok().and(id)
                });
                if swept { done } else { FAILED }
            }),
        }
    }

    /// Whether what it reports having got is gone for good.
    fn removes(self) -> bool {
        matches!(self, Self::Done | Self::TakeDead | Self::Repair)
    }
}

fn put(queue: &Jobs, own: Bytes) -> u64 {
    match queue.try_put(own) {
        Ok(()) => DONE,
        Err(TryPutError::Full(_)) => FULL,
        Err(TryPutError::Closed(_)) => CLOSED,
        Err(_) => FAILED,
    }
}

fn got_one<T>(got: Result<T, TryGetJobError>, id: impl FnOnce(T) -> Option<Id>) -> u64 {
    match got {
        Ok(it) => id(it).map_or(FAILED, |id| packed(&[id])),
        Err(TryGetJobError::Empty) => packed(&[]),
        Err(TryGetJobError::Closed) => CLOSED,
        Err(_) => FAILED,
    }
}

/// Gets a job first, and then steps through what is done with it.
fn with_job<'a>(queue: &'a Jobs, end: impl Fn(Job<'a, Bytes>) -> bool + 'a) -> Operation<'a> {
    let job = queue.try_get().expect("there is a job");
    let id = job.0[0];
    let mut job = Some(job);
    Box::new(move || {
        let has_ended = job.take().is_some_and(&end);
        if has_ended { packed(&[id]) } else { FAILED }
    })
}

/// A victim does one thing to a queue in one setting.
#[derive(Debug, Clone)]
pub(super) struct Case {
    name: &'static str,
    /// The jobs in it, by letter.
    pub(super) contents: &'static str,
    pub(super) act: Act,
    campaigns: &'static [Campaign],
    pub(super) is_closed: bool,
    pub(super) max_attempts: u32,
    pub(super) lease_time: Duration,
    /// Whether the survivor has the first job, and its lease is over.
    pub(super) is_late: bool,
    /// What an earlier victim did before it died. Nobody has repaired it.
    pub(super) left_by: Option<Act>,
    /// Whether an earlier victim died in the middle of its get.
    pub(super) is_torn: bool,
}

impl Case {
    pub(super) fn new(
        name: &'static str,
        contents: &'static str,
        act: Act,
        campaigns: &'static [Campaign],
    ) -> Self {
        Self {
            name,
            contents,
            act,
            campaigns,
            is_closed: false,
            max_attempts: 100,
            lease_time: Duration::ZERO,
            is_late: false,
            left_by: None,
            is_torn: false,
        }
    }

    pub(super) fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    pub(super) fn attempts(mut self, count: u32) -> Self {
        self.max_attempts = count;
        self
    }

    pub(super) fn timed(mut self) -> Self {
        self.lease_time = Duration::from_secs(3600);
        self
    }

    pub(super) fn late(mut self) -> Self {
        (self.lease_time, self.is_late) = (Duration::from_nanos(1), true);
        self
    }

    pub(super) fn left_by(mut self, act: Act) -> Self {
        self.left_by = Some(act);
        self
    }

    pub(super) fn left_torn(mut self) -> Self {
        self.is_torn = true;
        self
    }

    /// The job that the victim puts.
    fn mine(&self) -> Vec<Id> {
        match self.act {
            Act::Put(_) => vec![FIRST_OF_VICTIM],
            _ => Vec::new(),
        }
    }

    /// What must be there and what may be, given what the victim has reported.
    fn check_books(&self, trial: &Trial, found: &[Id], outcome: Outcome) -> Result<(), String> {
        let was_repaired = trial.had_repairer();
        let (put, taken) = trial.meanwhile();
        let before = [&trial.before[..], &put].concat();
        let result = match outcome {
            Outcome::Completed(FAILED) => return Err("the operation failed".to_owned()),
            Outcome::Completed(result) => Some(result),
            Outcome::Killed => None,
        };
        let mut expected = [before, self.mine()].concat();
        expected.retain(|id| !taken.contains(id));
        let mut missing = expected.clone();
        missing.retain(|id| !found.contains(id));
        let extra = found.iter().any(|id| !expected.contains(id));
        let wrong = |what: &str| {
            Err(format!(
                "{what}: {expected:?} could be there, {found:?} is, after {outcome:?}"
            ))
        };
        if extra || found.len() != expected.len() - missing.len() {
            return wrong("a job is doubled or made up");
        }
        let removed = match result {
            Some(result) if self.act.removes() => got(result),
            Some(FULL | CLOSED) => self.mine(),
            _ => Vec::new(),
        };
        let may_miss = match (self.act, result) {
            (_, Some(_)) => removed.len(),
            (Act::Put(_) | Act::Done | Act::TakeDead | Act::Repair, None) => 1,
            _ => 0,
        } + usize::from(was_repaired);
        if missing.len() > may_miss {
            return wrong("a job is lost");
        }
        match removed.iter().all(|id| missing.contains(id)) {
            true => Ok(()),
            false => wrong("a job came back that was done"),
        }
    }

    fn conclude(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        trial.sweep_and_count()?;
        let found = trial.drain(self)?;
        self.check_books(trial, &sorted(found), outcome)?;
        trial.check_as_new(self.act == Act::Close || self.is_closed)
    }
}

impl Scenario for Case {
    type State = Trial;

    fn name(&self) -> String {
        format!("joinable/{}", self.name)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        holds(self.campaigns)
    }

    fn fresh(&self) -> Trial {
        Trial::new(self)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        trial.shared()
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.arm(self.act, FIRST_OF_VICTIM)
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.note_repairer();
        trial.arm(Act::Repair, FIRST_OF_REPAIRER)
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        self.conclude(trial, outcome)
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        trial.do_laps()
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        if outcome.is_killed() {
            return Err("a resumed victim comes to its end".to_owned());
        }
        self.conclude(trial, outcome)
    }
}
