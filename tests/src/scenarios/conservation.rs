//! One operation on a queue, and the books of who put and who got what.

use ipc_core::{Bytes, ParticipantState, Queue, TryPutError};

use super::act::{self, Act, CLOSED, DONE, FAILED, FULL};
use super::aftermath::{drain, ids, kept, sorted};
use super::campaigns::holds;
use super::message::{BLOCK, Id, length_of, message};
use super::trial::{
    FIRST_OF_OTHERS, FIRST_OF_REPAIRER, FIRST_OF_VICTIM, Setting, Trial, put_in_place,
};
use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

/// A victim does one thing to a queue in one setting.
#[derive(Debug, Clone)]
pub(super) struct Conservation {
    pub(super) name: &'static str,
    pub(super) setting: Setting,
    pub(super) act: Act,
    pub(super) campaigns: &'static [Campaign],
}

impl Scenario for Conservation {
    type State = Trial;

    fn name(&self) -> String {
        format!("queue/{}", self.name)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        holds(self.campaigns)
    }

    fn fresh(&self) -> Trial {
        Trial::new(self.setting)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        trial.shared()
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.arm(self.act, FIRST_OF_VICTIM)
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.note_messages();
        trial.arm(Act::Repair, FIRST_OF_REPAIRER)
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let left: Vec<(Id, bool)> = trial
            .messages()
            .iter()
            .map(|m| (m.id, m.is_claimed))
            .collect();
        let found = trial.noted_messages();
        self.check_victim(trial, found.as_ref().unwrap_or(&left), outcome)?;
        if let Some(found) = &found {
            check_repairer(found, &left)?;
        }
        self.check_closed(trial, outcome)?;
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        let queue = trial.survivor();
        queue.sweep().map_err(|e| e.to_string())?;
        if trial.participants(ParticipantState::Dead)? != 0
            || queue.sweep().map_err(|e| e.to_string())? != 0
        {
            return Err("a sweep leaves somebody dead".to_owned());
        }
        // A batch waits for room; with its first cell a lap behind, nobody else would make any.
        let laps = if self.act.letters().len() > 1 { 1 } else { 5 };
        for lap in 0..laps {
            let put = self.put_a_lap(trial, &queue, lap)?;
            self.get_a_lap(trial, &queue, lap == 4)?;
            if put == 0 {
                break; // the victim's cell is in the way
            }
        }
        Ok(())
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let Outcome::Completed(result) = outcome else {
            return Err("a resumed victim comes to its end".to_owned());
        };
        if result == FAILED {
            return Err("the resumed victim's operation failed".to_owned());
        }
        let (put, got) = trial.meanwhile.borrow().clone();
        let (before, left) = (ids(&trial.before), ids(&trial.messages()));
        let mine = match result {
            FULL | CLOSED => Vec::new(),
            _ => self.act.puts(FIRST_OF_VICTIM),
        };
        let taken = match self.act {
            Act::Peek => Vec::new(),
            _ => act::got(result),
        };
        let came = [&before[..], &put, &mine].concat();
        let went = [&got[..], &taken, &left].concat();
        if sorted(came.clone()) != sorted(went) {
            return Err(format!(
                "the books do not balance: {came:?} were put; others got {got:?}, the victim {taken:?}, {left:?} are left"
            ));
        }
        let in_order: Vec<Id> = trial
            .before
            .iter()
            .filter(|m| !m.is_claimed)
            .map(|m| m.id)
            .chain(put)
            .filter(|id| !taken.contains(id))
            .collect();
        let order = kept(&[got, left].concat(), &in_order);
        if order != in_order {
            return Err(format!(
                "out of order: {in_order:?} were put, {order:?} were got"
            ));
        }
        self.check_closed(trial, outcome)?;
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }
}

impl Conservation {
    /// Puts until it is refused, or a lap long. Returns how many.
    fn put_a_lap(&self, trial: &Trial, queue: &Queue<Bytes>, lap: usize) -> Result<usize, String> {
        let capacity = self.setting.capacity;
        let least = capacity - trial.before.len().min(capacity);
        let least = least.saturating_sub(self.act.letters().len().max(1));
        let mut count = 0;
        let most = match self.act.letters().len() {
            0 | 1 => capacity,
            batch => capacity - trial.before.len() - batch,
        };
        while count < most {
            let id = FIRST_OF_OTHERS + trial.meanwhile.borrow().0.len() as Id;
            let is_put = id == FIRST_OF_OTHERS
                && match (self.setting.memory, self.setting.loans) {
                    (0, 0) => false,
                    (0, _) => put_in_place(queue, &message(id, 'w')).is_ok(),
                    _ => queue.try_put(message(id, 'l')).is_ok(),
                };
            let put = match is_put {
                true => Ok(()),
                false => queue.try_put(message(id, 's')),
            };
            match put {
                Ok(()) => trial.meanwhile.borrow_mut().0.push(id),
                Err(TryPutError::Closed(_)) if queue.is_closed() => return Ok(count),
                Err(TryPutError::Full(_)) if lap > 0 || count >= least => break,
                Err(other) => return Err(format!("the put of {id} in lap {lap}: {other}")),
            }
            count += 1;
        }
        Ok(count)
    }

    /// Gets until there is nothing; in the last lap, leaves some.
    fn get_a_lap(&self, trial: &Trial, queue: &Queue<Bytes>, is_last: bool) -> Result<(), String> {
        let capacity = self.setting.capacity;
        let spare = capacity - self.act.letters().len().min(capacity);
        let leave = if is_last { spare.min(2) } else { 0 };
        let most = (2 * capacity).min(queue.len().saturating_sub(leave));
        let most = if is_last { most } else { 2 * capacity };
        let got = drain(queue, most)?;
        let mut meanwhile = trial.meanwhile.borrow_mut();
        meanwhile.1.extend(got);
        let came = trial.before.len() + meanwhile.0.len();
        let of_others = |id: &&Id| !self.act.puts(FIRST_OF_VICTIM).contains(id);
        let went = meanwhile.1.iter().filter(of_others).count();
        let withheld = came.saturating_sub(went);
        if !is_last && withheld > self.act.most_gets() {
            return Err(format!(
                "{withheld} finished puts cannot be got while the victim is stopped: {meanwhile:?}"
            ));
        }
        Ok(())
    }

    fn check_closed(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let is_closed = trial.survivor().is_closed();
        let closes = self.act == Act::Close;
        let must_be = self.setting.is_closed || closes && !outcome.is_killed();
        let may_be = must_be || closes;
        match (must_be, may_be, is_closed) {
            (true, _, false) | (_, false, true) => {
                Err(format!("after {outcome:?}, closed: {is_closed}"))
            }
            _ => Ok(()),
        }
    }

    /// What the victim's death or end may have done to the messages.
    fn check_victim(
        &self,
        trial: &Trial,
        found: &[(Id, bool)],
        outcome: Outcome,
    ) -> Result<(), String> {
        let before = ids(&trial.before);
        let found: Vec<Id> = found.iter().map(|&(id, _)| id).collect();
        let mine = self.act.puts(FIRST_OF_VICTIM);
        let most = self.act.most_gets().min(before.len());
        let missing: Vec<Id> = before
            .iter()
            .copied()
            .filter(|id| !found.contains(id))
            .collect();
        let added: Vec<Id> = found
            .iter()
            .copied()
            .filter(|id| !before.contains(id))
            .collect();
        let stayed = kept(&before, &found);
        let wrong = |what: &str| {
            Err(format!(
                "{what}: {before:?} before, {found:?} after {outcome:?}"
            ))
        };
        if !mine.starts_with(&added) || found != [stayed, added.clone()].concat() {
            return wrong("the messages are not what was put");
        }
        if missing.len() > most || !self.is_patchy() && !is_among(&missing, &before[..most]) {
            return wrong("messages are lost");
        }
        let Outcome::Completed(result) = outcome else {
            return Ok(());
        };
        let expected = self.expected(&before);
        if result == FAILED || !self.is_patchy() && result != expected {
            return Err(format!("the result is {result:#x}, not {expected:#x}"));
        }
        let taken = act::got(result);
        let is_put = result == DONE && !mine.is_empty();
        match () {
            () if is_put && added != mine => wrong("a finished put is lost"),
            () if !is_put && !added.is_empty() => wrong("a refused put is there"),
            () if self.act == Act::Peek && !missing.is_empty() => wrong("a peek took"),
            () if self.act != Act::Peek && sorted(missing) != sorted(taken) => {
                wrong("what was got is not what went")
            }
            () => Ok(()),
        }
    }

    /// An earlier victim left something that the operation may, or may not, find in its way.
    fn is_patchy(&self) -> bool {
        self.setting.left_by.is_some()
    }

    /// The result when nobody interferes.
    fn expected(&self, before: &[Id]) -> u64 {
        let most = self.act.most_gets().min(before.len());
        match self.act {
            Act::Put(_) | Act::PutInPlace | Act::PutMany(_) if self.setting.is_closed => CLOSED,
            Act::Put(letter) if !self.has_room(letter) => FULL,
            Act::PutInPlace if !self.has_loan() || !self.has_room('s') => FULL,
            Act::GiveUpLoan if !self.has_loan() => FULL,
            Act::Put(_)
            | Act::PutInPlace
            | Act::GiveUpLoan
            | Act::PutMany(_)
            | Act::Close
            | Act::Repair => DONE,
            Act::Get | Act::GetRef | Act::GetMany(_) | Act::Peek if before.is_empty() => {
                if self.setting.is_closed {
                    CLOSED
                } else {
                    act::packed(&[])
                }
            }
            Act::Get | Act::GetRef | Act::GetMany(_) => act::packed(&before[..most]),
            Act::Peek => act::packed(&before[..1]),
            Act::Look => act::looked(before.len(), self.setting.capacity),
            Act::Sweep => 0,
        }
    }

    fn has_loan(&self) -> bool {
        self.setting.contents.matches('w').count() < self.setting.loans
    }

    fn has_room(&self, letter: char) -> bool {
        let blocks = |letter| match letter {
            's' | 'w' => 0,
            _ => length_of(letter).div_ceil(BLOCK),
        };
        let used: usize = self.setting.contents.chars().map(blocks).sum();
        self.setting.contents.len() < self.setting.capacity
            && used + blocks(letter) <= self.setting.memory / BLOCK
    }
}

fn is_among(some: &[Id], all: &[Id]) -> bool {
    some.iter().all(|id| all.contains(id))
}

/// A repairer puts one and gets one, and may have been killed anywhere.
fn check_repairer(found: &[(Id, bool)], left: &[(Id, bool)]) -> Result<(), String> {
    let found: Vec<Id> = found.iter().map(|&(id, _)| id).collect();
    let left: Vec<Id> = left.iter().map(|&(id, _)| id).collect();
    let put = kept(&left, &[FIRST_OF_REPAIRER]);
    let stayed = kept(&left, &found);
    let is_in_order = stayed == kept(&found, &stayed);
    let took = found.len() - stayed.len();
    let is_accounted_for = put.len() + stayed.len() == left.len();
    if put.len() <= 1 && took <= 1 && is_in_order && is_accounted_for {
        Ok(())
    } else {
        Err(format!(
            "a repairer found {found:?}, put one, got one and left {left:?}"
        ))
    }
}
