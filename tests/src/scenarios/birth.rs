//! How a queue comes to be.

use std::cell::RefCell;
use std::path::Path;
use std::{fs, mem};

use ipc_core::{Bytes, Error, Namespace, Queue, QueueOptions};

use super::aftermath;
use super::campaigns::{KILL_AND_STOP, holds};
use super::message::message;
use super::trial::{self, FIRST_OF_OTHERS, FIRST_OF_VICTIM, NAME, Setting};
use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};
use crate::trial_directory::TrialDirectory;

const DONE: u64 = 1;
const EXISTS: u64 = 2;
const FAILED: u64 = u64::MAX;

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
    fn options(&self) -> QueueOptions<Bytes> {
        trial::options(&Setting::with(""), &self.namespace)
    }

    /// Everything in the namespace that is no named queue.
    fn litter(&self) -> Result<Vec<String>, String> {
        let list = |dir: &Path| -> Vec<String> {
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
        let got = aftermath::drain(&queue, 9)?;
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
        holds(KILL_AND_STOP)
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
        let got = aftermath::drain(&named, 9)?;
        if got != [FIRST_OF_OTHERS] {
            return Err(format!(
                "others put {FIRST_OF_OTHERS}, the name has {got:?}"
            ));
        }
        drop(queue);
        cradle.check(outcome, true)
    }
}
