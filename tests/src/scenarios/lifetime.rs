//! How a queue comes to be, how a process comes to it and leaves it, and how its name goes.

use std::cell::RefCell;
use std::{fs, mem};

use ipc_core::{Bytes, Error, Namespace, ParticipantState, Queue};

use super::message::message;
use super::trial::{self, FIRST_OF_OTHERS, FIRST_OF_VICTIM, NAME, Setting, Trial};
use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};
use crate::trial_directory::TrialDirectory;

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
const EXISTS: u64 = 2;
const FAILED: u64 = u64::MAX;

impl Scenario for VisitOf {
    type State = Trial;

    fn name(&self) -> String {
        format!("queue/{}", self.0)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        vec![
            (Campaign::Kill, Expectation::Holds),
            (Campaign::Stop, Expectation::Holds),
        ]
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
        let (before, left) = (trial::ids(&trial.before), trial::ids(&trial.messages()));
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
        let got = trial::drain(&queue, 9)?;
        if got.last() != Some(&FIRST_OF_OTHERS) && got.last() != Some(&FIRST_OF_VICTIM) {
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
    let left = trial::ids(&trial.messages());
    let got = trial::drain(&queue, 9)?;
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

/// How a victim makes a queue where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Birth {
    /// Under a name.
    Create,
    /// Under a name, unless there is one.
    OpenOrCreate,
    /// Without a name; then it puts, gets, and drops its last handle.
    AnonymousLife,
}

/// The place where a queue is made.
#[derive(Debug)]
pub(super) struct Cradle {
    /// What the survivor made while the victim was stopped.
    queue: RefCell<Option<Queue<Bytes>>>,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Cradle {
    fn options(&self) -> ipc_core::QueueOptions<Bytes> {
        trial::options(&Setting::with(""), &self.namespace)
    }

    /// Everything in the namespace that is no named queue.
    fn litter(&self) -> Result<Vec<String>, String> {
        let list = |dir: &std::path::Path| -> Vec<String> {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| name != NAME && name != ".ephemeral")
                .collect()
        };
        let root = self.namespace.path();
        Ok([list(root), list(&root.join(".ephemeral"))].concat())
    }

    /// Leaves nothing behind but a queue, whole and empty, or none.
    fn check(&self, outcome: Outcome, is_named: bool) -> Result<(), String> {
        self.namespace.collect().map_err(|e| e.to_string())?;
        let litter = self.litter()?;
        if !litter.is_empty() {
            return Err(format!("after a collection there is {litter:?}"));
        }
        let exists = match self.options().open(NAME) {
            Ok(_) => true,
            Err(Error::NotFound { .. }) => false,
            Err(other) => return Err(format!("to open it says {other}")),
        };
        if !exists && is_named && !outcome.is_killed() {
            return Err("a finished creation left no queue".to_owned());
        }
        let queue = self.options().open_or_create(NAME);
        let queue = queue.map_err(|e| e.to_string())?;
        queue.sweep().map_err(|e| e.to_string())?;
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        if seen.participants.len() != 1 {
            return Err(format!("{:?} are attached", seen.participants));
        }
        let room = (1..=9).take_while(|&id| queue.try_put(message(id, 's')).is_ok());
        let room: Vec<_> = room.collect();
        let got = trial::drain(&queue, 9)?;
        if room.len() != queue.capacity() || got != room {
            return Err(format!("{room:?} were put, a survivor gets {got:?}"));
        }
        Ok(())
    }
}

impl Scenario for Birth {
    type State = Cradle;

    fn name(&self) -> String {
        match self {
            Self::Create => "queue/create".to_owned(),
            Self::OpenOrCreate => "queue/open-or-create-new".to_owned(),
            Self::AnonymousLife => "queue/anonymous-life".to_owned(),
        }
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        vec![
            (Campaign::Kill, Expectation::Holds),
            (Campaign::Stop, Expectation::Holds),
        ]
    }

    fn fresh(&self) -> Cradle {
        let (directory, namespace) = trial::place();
        Cradle {
            queue: RefCell::default(),
            namespace,
            _directory: directory,
        }
    }

    /// None: nobody can reach the file before it has its name, and afterwards only system calls change anything.
    fn shared<'a>(&self, _: &'a Cradle) -> Vec<Shared<'a>> {
        Vec::new()
    }

    fn arm<'a>(&'a self, cradle: &'a Cradle) -> Operation<'a> {
        let options = cradle.options();
        let keep = |queue| match queue {
            Ok(queue) => {
                mem::forget::<Queue<Bytes>>(queue); // it dies with its handle
                DONE
            }
            Err(Error::Exists { .. }) => EXISTS,
            Err(_) => FAILED,
        };
        match self {
            Self::Create => Box::new(move || keep(options.create(NAME))),
            Self::OpenOrCreate => Box::new(move || keep(options.open_or_create(NAME))),
            Self::AnonymousLife => {
                let mut own = Some(message(FIRST_OF_VICTIM, 's'));
                let mut live = move || {
                    let queue = options.anonymous().ok()?;
                    queue.try_put(own.take()?).ok()?;
                    queue.try_get().ok()
                };
                Box::new(move || live().map_or(FAILED, |_| DONE))
            }
        }
    }

    fn verify(&self, cradle: &Cradle, outcome: Outcome) -> Result<(), String> {
        if !matches!(outcome, Outcome::Killed | Outcome::Completed(DONE)) {
            return Err(format!("the victim: {outcome:?}"));
        }
        if *self == Self::AnonymousLife && !outcome.is_killed() && !cradle.litter()?.is_empty() {
            return Err("the last user is gone, its queue is not".to_owned());
        }
        cradle.check(outcome, *self != Self::AnonymousLife)
    }

    fn while_stopped(&self, cradle: &Cradle) -> Result<(), String> {
        cradle.namespace.collect().map_err(|e| e.to_string())?;
        let queue = cradle.options().open_or_create(NAME);
        let queue = queue.map_err(|e| e.to_string())?;
        let put = queue.try_put(message(FIRST_OF_OTHERS, 's'));
        put.map_err(|e| e.to_string())?;
        *cradle.queue.borrow_mut() = Some(queue);
        Ok(())
    }

    fn verify_after_stop(&self, cradle: &Cradle, outcome: Outcome) -> Result<(), String> {
        match (self, outcome) {
            (_, Outcome::Completed(DONE)) | (Self::Create, Outcome::Completed(EXISTS)) => {}
            _ => return Err(format!("the resumed victim: {outcome:?}")),
        }
        let queue = cradle.queue.take().ok_or("others were at work")?;
        let named = cradle.options().open(NAME).map_err(|e| e.to_string())?;
        let got = trial::drain(&named, 9)?;
        if got != [FIRST_OF_OTHERS] {
            return Err(format!(
                "others put {FIRST_OF_OTHERS}, the name has {got:?}"
            ));
        }
        drop(queue);
        cradle.check(outcome, true)
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
        left_by: Some((super::act::Act::Get, 1)),
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
