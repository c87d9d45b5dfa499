//! One act at an end of a pipe in one setting, and what must hold afterwards.

use ipc_core::{Bytes, Pipe, TakeError, TrySendError};

use super::trial::{
    Act, BLOCKED, DONE, END_OF_FILE, FAILED, FIRST_OF_VICTIM, Id, NAME, Trial, done, message,
    oracle, received,
};
use crate::mapping::Shared;
use crate::scenarios::campaigns::holds;
use crate::step::{Campaign, End, Expectation, Operation, Outcome, Scenario};

/// One act in one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnPipe {
    pub(super) name: &'static str,
    pub(super) act: Act,
    /// Messages in the pipe at first.
    pub(super) before: usize,
    /// Another process sleeps at the other end.
    pub(super) has_sleeper: bool,
    /// Messages are written and read where they lie.
    pub(super) is_in_place: bool,
    pub(super) campaigns: &'static [Campaign],
}

impl Scenario for OnPipe {
    type State = Trial;

    fn name(&self) -> String {
        format!("pipe/{}", self.name)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        holds(self.campaigns)
    }

    fn fresh(&self) -> Trial {
        Trial::new(self)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        vec![trial.file.shared()]
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.arm(self.act)
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        let pipe = trial.join();
        let ticket = serde_json::to_string(&pipe).expect("it can be sent");
        let _: Result<Pipe<Bytes>, _> = serde_json::from_str(&ticket);
        Box::new(move || done(pipe.sweep()))
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let slept = self.check_sleeper(trial, outcome)?;
        let left = oracle(&trial.file)?;
        trial.settle()?;
        self.check_peer(trial, outcome)?;
        let (got, _) = trial.drain()?;
        if got != left {
            return Err(format!("{left:?} are in the file, a survivor gets {got:?}"));
        }
        self.check_messages(trial, outcome, &[slept, got].concat())?;
        trial.is_as_new()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        trial.is_stopped.set(true);
        if trial.pipe.sweep().map_err(|e| e.to_string())? != 0 {
            return Err("a stopped process was found dead".to_owned());
        }
        let is_held = !matches!(
            self.act,
            Act::TakeSender
                | Act::TakeReceiver
                | Act::CloseSender
                | Act::CloseReceiver
                | Act::Redeem
        );
        let robbed = if self.act.is_at_sender() {
            trial.pipe.sender().map(drop)
        } else {
            trial.pipe.receiver().map(drop)
        };
        match robbed {
            Err(TakeError::InUse { pid }) if is_held && pid != std::process::id() => {}
            _ if !is_held => {}
            other => return Err(format!("a stopped process's end: {other:?}")),
        }
        match self.act {
            Act::Send(_) => trial.got.replace(trial.drain()?.0),
            Act::Recv(_) => trial.sent.replace(trial.fill()?),
            _ => Vec::new(),
        };
        Ok(())
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        // An end that the survivor took while it was free is not there to be taken.
        let is_taking = matches!(self.act, Act::TakeSender | Act::TakeReceiver | Act::Redeem);
        match outcome {
            Outcome::Completed(FAILED) if !is_taking => return Err("it failed".to_owned()),
            Outcome::Killed => return Err("a resumed victim comes to its end".to_owned()),
            _ => {}
        }
        trial.settle()?;
        let (rest, _) = trial.drain()?;
        let got = [trial.got.borrow().clone(), rest].concat();
        self.check_messages(trial, outcome, &got)?;
        trial.is_as_new()
    }
}

impl OnPipe {
    /// What the sleeper got: a message, or the end of file once the victim is found dead.
    fn check_sleeper(&self, trial: &Trial, outcome: Outcome) -> Result<Vec<Id>, String> {
        let mut sleeper = trial.sleeper.borrow_mut();
        let Some(sleeper) = sleeper.as_mut() else {
            return Ok(Vec::new());
        };
        match sleeper.wait_to_end() {
            Ok(End::Completed(END_OF_FILE)) if outcome != Outcome::Completed(DONE) => {
                Ok(Vec::new())
            }
            Ok(End::Completed(END_OF_FILE)) if self.act == Act::CloseSender => Ok(Vec::new()),
            Ok(End::Completed(id)) if id == u64::from(FIRST_OF_VICTIM) => Ok(vec![FIRST_OF_VICTIM]),
            other => Err(format!("the sleeper: {other:?}")),
        }
    }

    /// The other end learns of the death, whatever the victim was doing.
    fn check_peer(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        if self.act == Act::Redeem {
            return Ok(()); // it may not have come to have it
        }
        if self.act.is_at_sender() {
            let state = trial
                .namespace
                .inspect(NAME)
                .map_err(|e| e.to_string())?
                .state;
            return match state.contains("sender closed") {
                true => Ok(()),
                false => Err(format!("after {outcome:?}: {state}")),
            };
        }
        let mut sender = trial.sender.borrow_mut();
        match sender.as_mut().map(|sender| sender.try_send(message(1))) {
            Some(Err(TrySendError::BrokenPipe(_))) => Ok(()),
            other => Err(format!("a send to the dead: {other:?}")),
        }
    }

    fn check_messages(&self, trial: &Trial, outcome: Outcome, got: &[Id]) -> Result<(), String> {
        let wrong = |expected: &[Id]| {
            let sent = trial.sent.borrow();
            format!("{got:?} came, not {expected:?}, after {outcome:?} and {sent:?}")
        };
        let mut expected = trial.before.clone();
        match (self.act, outcome) {
            (Act::Recv(_), Outcome::Completed(result)) => {
                let taken = received(result);
                if !expected.starts_with(&taken) || taken.is_empty() && !expected.is_empty() {
                    return Err(format!("the victim got {taken:?}"));
                }
                expected.drain(..taken.len());
            }
            (Act::Recv(most), Outcome::Killed) => {
                // It may have been delivered: then all that one call takes.
                let missing = expected.len().saturating_sub(got.len());
                if missing > most {
                    return Err(wrong(&expected));
                }
                expected.drain(..missing);
            }
            (Act::Send(_), Outcome::Completed(BLOCKED)) if !trial.is_stopped.get() => {}
            (Act::Send(_), Outcome::Completed(DONE)) => expected.extend(self.act.sends()),
            (Act::Send(_), _) => {
                let mine = self.act.sends();
                let came = got.len().saturating_sub(expected.len()).min(mine.len());
                expected.extend(&mine[..came]);
            }
            _ => {}
        }
        expected.extend(trial.sent.borrow().iter());
        if got == expected {
            Ok(())
        } else {
            Err(wrong(&expected))
        }
    }
}
