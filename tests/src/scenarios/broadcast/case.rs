//! One act on a broadcast in one setting, and what must hold afterwards.

use ipc_core::Bytes;

use super::trial::{
    Act, BLOCKED, CAPACITY, DONE, FAILED, FIRST_OF_SURVIVOR, LAGGED, OF_VICTIM, Trial, done,
    publish, recv, recv_ref, try_publish,
};
use crate::mapping::Shared;
use crate::scenarios::campaigns::holds;
use crate::scenarios::message::{Id, message};
use crate::step::{Campaign, End, Expectation, Operation, Outcome, Scenario};

/// One act in one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnBroadcast {
    pub(super) name: &'static str,
    pub(super) act: Act,
    pub(super) is_lossless: bool,
    /// The messages that the survivor has not received, by their letters.
    pub(super) before: &'static str,
    /// Whether it has received them after all, so that nobody has still to.
    pub(super) is_read: bool,
    /// Another process sleeps in a receive.
    pub(super) has_sleeper: bool,
    pub(super) campaigns: &'static [Campaign],
}

impl Scenario for OnBroadcast {
    type State = Trial;

    fn name(&self) -> String {
        let kind = if self.is_lossless {
            "lossless"
        } else {
            "lossy"
        };
        format!("broadcast/{kind}/{}", self.name)
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
        let broadcast = trial.open(self.is_lossless);
        match self.act {
            Act::Publish('w') => {
                let message = message(OF_VICTIM, 'w');
                Box::new(move || try_publish(&broadcast, &message, 'w'))
            }
            Act::RecvRef => {
                let mut subscriber = broadcast.subscribe().expect("there is room for it");
                let message = message(OF_VICTIM, 'w');
                let published = try_publish(&broadcast, &message, 'w');
                assert_eq!(published, DONE, "there is room");
                let is_lossless = self.is_lossless;
                Box::new(move || recv_ref(&mut subscriber, &message, is_lossless))
            }
            Act::Publish(_) | Act::PublishInAMoment => {
                let (letter, is_waiting) = match self.act {
                    Act::Publish(letter) => (letter, false),
                    _ => ('s', true),
                };
                // Made here, as that takes more steps than all the rest.
                let mut message = message(OF_VICTIM, letter);
                Box::new(move || publish(&broadcast, is_waiting, std::mem::take(&mut message)))
            }
            Act::Recv => {
                let subscriber = broadcast.subscribe_from_oldest();
                let mut subscriber = subscriber.expect("there is room for it");
                // Behind what it was given when it subscribed.
                while subscriber.try_recv().is_ok() {}
                let published = broadcast.try_publish(Bytes(vec![OF_VICTIM]));
                published.expect("there is room");
                Box::new(move || recv(&mut subscriber))
            }
            Act::Subscribe => {
                let mut made = None;
                Box::new(move || done(broadcast.subscribe().map(|one| made = Some(one))))
            }
            Act::SubscribeFromOldest => {
                let mut made = None;
                Box::new(move || {
                    done(
                        broadcast
                            .subscribe_from_oldest()
                            .map(|one| made = Some(one)),
                    )
                })
            }
            Act::Unsubscribe => {
                let mut subscriber = Some(broadcast.subscribe().expect("there is room for it"));
                Box::new(move || {
                    drop(subscriber.take());
                    DONE
                })
            }
            Act::Close => Box::new(move || {
                broadcast.close();
                DONE
            }),
        }
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        let broadcast = trial.broadcast.clone();
        Box::new(move || done(broadcast.sweep()))
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        self.check_sleeper(trial, outcome)?;
        trial.settle()?;
        let got = trial.drain()?;
        self.check(trial, outcome, &got)?;
        trial.is_as_new()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        if trial.broadcast.sweep().map_err(|e| e.to_string())? != 0 {
            return Err("a stopped process was found dead".to_owned());
        }
        // Several laps, unless the victim holds them up.
        for id in (FIRST_OF_SURVIVOR..).take(3 * CAPACITY) {
            trial.got.borrow_mut().extend(trial.drain()?);
            let letter = trial.letter;
            match try_publish(&trial.broadcast, &message(id, letter), letter) {
                DONE => trial.sent.borrow_mut().push(id),
                FAILED if !trial.broadcast.is_closed() => return Err("a publish failed".to_owned()),
                _ => break,
            }
        }
        trial.got.borrow_mut().extend(trial.drain()?);
        Ok(())
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Completed(FAILED) => return Err("it failed".to_owned()),
            Outcome::Killed => return Err("a resumed victim comes to its end".to_owned()),
            Outcome::Completed(_) => {}
        }
        trial.settle()?;
        let got = [trial.got.borrow().clone(), trial.drain()?].concat();
        self.check(trial, outcome, &got)?;
        trial.is_as_new()
    }
}

impl OnBroadcast {
    /// Whether the victim's message must have come, if that is known.
    fn comes(&self, outcome: Outcome) -> Option<bool> {
        match (self.act, outcome) {
            (Act::Recv | Act::RecvRef, _)
            | (Act::Publish(_) | Act::PublishInAMoment, Outcome::Completed(DONE)) => Some(true),
            (Act::Publish(_) | Act::PublishInAMoment, Outcome::Killed) => None,
            _ => Some(false),
        }
    }

    /// Everything came once, in one order, but for what was missed.
    fn check(&self, trial: &Trial, outcome: Outcome, got: &[Id]) -> Result<(), String> {
        let sent = trial.sent.borrow();
        let others: Vec<Id> = trial.before.iter().chain(sent.iter()).copied().collect();
        let missed = trial.missed.get();
        let wrong = |what: &str| {
            let all = format!("{got:?} came and {missed} were missed of {others:?}");
            Err(format!("{what}: {all}, after {outcome:?}"))
        };
        let of_others = got.iter().copied().filter(|&id| id != OF_VICTIM);
        let of_others: Vec<Id> = of_others.collect();
        let lost = others.len().saturating_sub(of_others.len());
        // In a lossy broadcast the memory of a younger one may have been needed, too: where the victim keeps subscribers waiting.
        let mut rest = others.iter();
        let is_in_order = of_others.iter().all(|id| rest.any(|other| other == id));
        if !is_in_order || lost as u64 > missed {
            return wrong("lost or out of order");
        }
        if missed > lost as u64 + 1 {
            return wrong("more are said to be missed than there were");
        }
        let came = got.iter().filter(|&&id| id == OF_VICTIM).count();
        let is_right = match self.comes(outcome) {
            Some(true) => came == 1,
            Some(false) => came == 0,
            None => came <= 1,
        };
        if !is_right {
            return wrong("the victim's message");
        }
        let first = got.first().copied().map_or(0, u64::from);
        match (self.act, outcome) {
            (Act::Recv | Act::RecvRef, Outcome::Completed(result))
                if result != u64::from(OF_VICTIM) && result != LAGGED =>
            {
                wrong(&format!(
                    "the victim received {result}, where {first} came first"
                ))
            }
            (Act::Publish(_), Outcome::Completed(BLOCKED))
                if !self.may_block() && sent.is_empty() =>
            {
                wrong("there was room")
            }
            _ => Ok(()),
        }
    }

    /// Whether anything is written in place.
    pub(super) fn has_loans(&self) -> bool {
        matches!(self.act, Act::Publish('w') | Act::RecvRef) || self.before.contains('w')
    }

    fn may_block(&self) -> bool {
        self.is_lossless && !self.is_read
    }

    /// The sleeper gets the victim's message; if it was not published, the survivor's.
    fn check_sleeper(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let mut sleeper = trial.sleeper.borrow_mut();
        let Some(sleeper) = sleeper.as_mut() else {
            return Ok(());
        };
        if outcome.is_killed() {
            trial.broadcast.sweep().map_err(|e| e.to_string())?;
            let published = trial.broadcast.try_publish(message(FIRST_OF_SURVIVOR, 's'));
            published.map_err(|e| e.to_string())?;
            trial.sent.borrow_mut().push(FIRST_OF_SURVIVOR);
        }
        match sleeper.wait_to_end() {
            Ok(End::Completed(id)) if id == u64::from(OF_VICTIM) => Ok(()),
            Ok(End::Completed(id)) if outcome.is_killed() && id == u64::from(FIRST_OF_SURVIVOR) => {
                Ok(())
            }
            other => Err(format!("the sleeper: {other:?}")),
        }
    }
}
