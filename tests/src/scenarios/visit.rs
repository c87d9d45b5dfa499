//! How a process comes to a queue and leaves it, and how its name goes.

use std::mem;

use ipc_core::{Bytes, Error, ParticipantState, Queue};

use super::act::Act;
use super::aftermath;
use super::campaigns::{KILL_AND_STOP, holds};
use super::message::message;
use super::trial::{FIRST_OF_OTHERS, FIRST_OF_VICTIM, NAME, Setting, Trial};
use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

/// What a victim does to a queue that exists, and whose survivor is attached or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// Opens it, as a process that never knew it.
    Open,
    /// Opens it, or would make it.
    OpenOrCreate,
    /// Puts through a handle inherited by fork, and comes to its slot by that.
    AttachByUse,
    /// Drops its last handle.
    Detach,
    /// Removes its name.
    Unlink,
}

/// A visit, in one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct VisitOf(
    pub(super) &'static str,
    pub(super) Visit,
    pub(super) Setting,
);

const DONE: u64 = 1;
const FAILED: u64 = u64::MAX;

impl Scenario for VisitOf {
    type State = Trial;

    fn name(&self) -> String {
        format!("queue/{}", self.0)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        holds(KILL_AND_STOP)
    }

    fn fresh(&self) -> Trial {
        Trial::new(self.2)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        trial.shared()
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        let options = trial.options();
        if self.1 == Visit::AttachByUse {
            let queue = trial.survivor();
            let mut own = Some(message(FIRST_OF_VICTIM, 's'));
            let put = move || Some(queue.try_put(own.take()?).map_or(FAILED, |()| DONE));
            let mut put = put;
            return Box::new(move || put().unwrap_or(FAILED));
        }
        // The victim's copy of the survivor's handle; dropped in a child, it detaches nobody.
        drop(trial.queue.take());
        // Each dies with its handle.
        let open =
            |queue: Result<Queue<Bytes>, Error>| queue.map(mem::forget).map_or(FAILED, |()| DONE);
        match self.1 {
            Visit::Open => Box::new(move || open(options.open(NAME))),
            Visit::OpenOrCreate => Box::new(move || open(options.open_or_create(NAME))),
            Visit::Detach => {
                let mut handle = options.open(NAME).ok();
                Box::new(move || handle.take().map_or(FAILED, |_| DONE))
            }
            Visit::Unlink | Visit::AttachByUse => {
                let handle = options.open(NAME).expect("the queue can be opened");
                Box::new(move || handle.unlink().map_or(FAILED, |()| DONE))
            }
        }
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        if outcome == Outcome::Completed(FAILED) {
            return Err("the operation failed".to_owned());
        }
        if self.1 == Visit::Unlink {
            return verify_unlinked(trial, outcome);
        }
        let dead = trial.participants(ParticipantState::Dead)?;
        let is_gone = self.1 == Visit::Detach && !outcome.is_killed();
        let earlier = usize::from(self.2.left_by.is_some());
        if is_gone && dead > earlier {
            return Err("a process that has detached counts as dead".to_owned());
        }
        let (before, left) = (
            aftermath::ids(&trial.before),
            aftermath::ids(&trial.messages()),
        );
        let puts = self.1 == Visit::AttachByUse;
        let with_put = [&before[..], &[FIRST_OF_VICTIM]].concat();
        let must_have_put = puts && !outcome.is_killed();
        if !(left == before && !must_have_put || puts && left == with_put) {
            return Err(format!("{before:?} before, {left:?} after {outcome:?}"));
        }
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        let queue = trial.survivor();
        let put = queue.try_put(message(FIRST_OF_OTHERS, 's'));
        put.map_err(|e| e.to_string())?;
        let got = aftermath::drain(&queue, 9)?;
        // An orphan that is found by the last get comes behind.
        if !got.contains(&FIRST_OF_OTHERS) && !got.contains(&FIRST_OF_VICTIM) {
            return Err(format!("a survivor gets {got:?}"));
        }
        queue.sweep().map_err(|e| e.to_string())?;
        match trial.participants(ParticipantState::Dead) {
            Ok(1..) => Err("after a sweep, somebody is dead".to_owned()),
            Ok(0) | Err(_) => Ok(()), // its name may be gone
        }
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        if outcome != Outcome::Completed(DONE) {
            return Err(format!("the resumed victim: {outcome:?}"));
        }
        if self.1 == Visit::Unlink {
            return verify_unlinked(trial, outcome);
        }
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }
}

/// The name is there or not; the survivor's handle is good in any case, and so is the name.
fn verify_unlinked(trial: &Trial, outcome: Outcome) -> Result<(), String> {
    let queue = trial.survivor();
    let is_named = trial.options().open(NAME).is_ok();
    if is_named && !outcome.is_killed() {
        return Err("the name is still there".to_owned());
    }
    match queue.unlink() {
        Ok(()) if is_named => {}
        Err(Error::NotFound { .. }) if !is_named => {}
        other => {
            return Err(format!(
                "named: {is_named}, but to unlink it says {other:?}"
            ));
        }
    }
    let left = aftermath::ids(&trial.messages());
    let got = aftermath::drain(&queue, 9)?;
    if got != left {
        return Err(format!("{left:?} are left, a survivor gets {got:?}"));
    }
    let next = trial.options().create(NAME).map_err(|e| e.to_string())?;
    let put = next.try_put(message(FIRST_OF_OTHERS, 's'));
    put.map_err(|e| e.to_string())?;
    match queue.try_get() {
        Err(_) => Ok(()),
        Ok(_) => Err("a new queue under the name is the old one".to_owned()),
    }
}

/// The settings of visits.
pub(super) fn visits() -> Vec<VisitOf> {
    let shared = Setting::with("sl");
    let alone = Setting {
        survivor_is_attached: false,
        ..shared
    };
    let left = Setting {
        left_by: Some((Act::Get, 1)),
        ..shared
    };
    vec![
        VisitOf("open", Visit::Open, shared),
        VisitOf("open-as-first", Visit::Open, alone),
        VisitOf("open-and-sweep", Visit::Open, left),
        VisitOf("open-or-create-old", Visit::OpenOrCreate, shared),
        VisitOf("attach-by-put", Visit::AttachByUse, shared),
        VisitOf("detach", Visit::Detach, shared),
        VisitOf("detach-last", Visit::Detach, alone),
        VisitOf("unlink", Visit::Unlink, shared),
    ]
}
