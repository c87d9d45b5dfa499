//! One act on a queue in one setting, and the books of who put and who got what.

use std::time::Duration;

use ipc_core::{Bytes, GetTimeoutError, PutTimeoutError, TryGetError, TryPutError};

use super::super::act::{CLOSED, DONE, FAILED, FULL, got, packed};
use super::super::aftermath::kept;
use super::super::message::{BLOCK, Id, length_of, message};
use super::super::trial::{FIRST_OF_REPAIRER, FIRST_OF_VICTIM, LARGEST};
use super::subject::{Kind, Subject};
use super::trial::{CAPACITY, Trial};
use crate::mapping::Shared;
use crate::scenarios::campaigns::holds;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

/// How long a call waits for who is stopped in the lock.
const SHORT: Duration = Duration::from_millis(5);

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Puts a message, by letter.
    Put(char),
    Get,
    Peek,
    Close,
    /// Asks how many there are, and whether it is empty or full.
    Look,
    /// Sweeps, puts one short message, gets one: all that a survivor would do next.
    Repair,
}

impl Act {
    /// Of the message that it puts.
    pub(super) fn letter(self) -> Option<char> {
        match self {
            Self::Put(letter) => Some(letter),
            Self::Repair => Some('s'),
            _ => None,
        }
    }

    fn takes(self) -> bool {
        matches!(self, Self::Get | Self::Repair)
    }

    /// The operation, with its message ready. `known` are the messages that it may find.
    pub(super) fn operation<'a>(
        self,
        queue: Subject,
        first: Id,
        known: Vec<Bytes>,
    ) -> Operation<'a> {
        let mut own = self.letter().map(|letter| message(first, letter));
        let received = move |message: Result<Bytes, TryGetError>| match message {
            Ok(message) if known.contains(&message) => packed(&message.0[..1]),
            Err(TryGetError::Empty) => packed(&[]),
            Err(TryGetError::Closed) => CLOSED,
            Ok(_) | Err(_) => FAILED,
        };
        match self {
            Self::Put(_) => Box::new(move || put(&queue, own.take())),
            Self::Get => Box::new(move || received(queue.try_get())),
            Self::Peek => Box::new(move || received(queue.peek())),
            Self::Close => Box::new(move || {
                queue.close();
                DONE
            }),
            Self::Look => Box::new(move || {
                let facts = [queue.is_empty(), queue.is_full()].map(u64::from);
                facts[0] << 8 | facts[1] << 9 | queue.len() as u64
            }),
            Self::Repair => Box::new(move || {
                let swept = queue.sweep();
                let put = put(&queue, own.take());
                let got = received(queue.try_get());
                match swept.is_ok() && put == DONE {
                    true => got,
                    false => FAILED,
                }
            }),
        }
    }
}

fn put(queue: &Subject, own: Option<Bytes>) -> u64 {
    let Some(message) = own else {
        return FAILED;
    };
    match queue.try_put(message) {
        Ok(()) => DONE,
        Err(TryPutError::Full(_)) => FULL,
        Err(TryPutError::Closed(_)) => CLOSED,
        Err(_) => FAILED,
    }
}

/// A victim does one thing to a queue in one setting.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) kind: Kind,
    name: &'static str,
    /// The messages in it, by their letters.
    pub(super) contents: &'static str,
    pub(super) act: Act,
    campaigns: &'static [Campaign],
    /// Blocks for large messages.
    pub(super) blocks: usize,
    pub(super) is_closed: bool,
    /// What an earlier victim did when it was killed in the lock. Nobody has repaired it.
    pub(super) left_in_lock: Option<Act>,
}

impl Case {
    pub(super) fn new(
        kind: Kind,
        name: &'static str,
        contents: &'static str,
        act: Act,
        campaigns: &'static [Campaign],
    ) -> Self {
        Self {
            kind,
            name,
            contents,
            act,
            campaigns,
            blocks: 16,
            is_closed: false,
            left_in_lock: None,
        }
    }

    pub(super) fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    pub(super) fn memory(mut self, blocks: usize) -> Self {
        self.blocks = blocks;
        self
    }

    pub(super) fn left_in_lock(mut self, act: Act) -> Self {
        self.left_in_lock = Some(act);
        self
    }

    /// The message that it puts.
    fn mine(&self) -> Vec<Id> {
        self.act
            .letter()
            .map(|_| FIRST_OF_VICTIM)
            .into_iter()
            .collect()
    }

    /// The result when nobody interferes, by what was there; `None` where more than one will do.
    fn expected(&self, before: &[Id]) -> Option<u64> {
        if self.left_in_lock.is_some() {
            return None;
        }
        let first = self.kind.order(before).into_iter().next();
        let empty = if self.is_closed { CLOSED } else { packed(&[]) };
        Some(match self.act {
            Act::Put(_) if self.is_closed => CLOSED,
            Act::Put(letter) if !self.has_room(letter) => FULL,
            Act::Put(_) | Act::Close => DONE,
            Act::Get | Act::Peek => first.map_or(empty, |id| packed(&[id])),
            Act::Look => {
                let (len, is_empty) = (before.len(), before.is_empty());
                let is_full = len == CAPACITY;
                u64::from(is_empty) << 8 | u64::from(is_full) << 9 | len as u64
            }
            Act::Repair => return None,
        })
    }

    fn has_room(&self, letter: char) -> bool {
        let blocks = |letter| match letter {
            's' => 0,
            _ => length_of(letter).div_ceil(BLOCK),
        };
        let used: usize = self.contents.chars().map(blocks).sum();
        self.contents.len() < CAPACITY && used + blocks(letter) <= self.blocks
    }

    /// What the victim's death or end may have done to the messages.
    fn check_victim(&self, trial: &Trial, found: &[Id], outcome: Outcome) -> Result<(), String> {
        let before = &trial.before;
        let mine = self.mine();
        let without = |of: &[Id], those: &[Id]| -> Vec<Id> {
            of.iter()
                .copied()
                .filter(|id| !those.contains(id))
                .collect()
        };
        let (missing, added) = (without(before, found), without(found, before));
        let wrong = |what: &str| {
            Err(format!(
                "{what}: {before:?} before, {found:?} after {outcome:?}"
            ))
        };
        if !mine.starts_with(&added) || found != [kept(before, found), added.clone()].concat() {
            return wrong("the messages are not what was put");
        }
        // A repairer may get what it put, and then nothing is missing.
        let present = [
            &before[..],
            if self.act == Act::Repair { &mine } else { &[] },
        ]
        .concat();
        let first = self.kind.order(&present).into_iter().next();
        let may_miss = self.act.takes() && missing.len() == 1 && missing.first() == first.as_ref();
        if !missing.is_empty() && !may_miss {
            return wrong("messages are lost");
        }
        let Outcome::Completed(result) = outcome else {
            return Ok(());
        };
        let expected = self.expected(before);
        if result == FAILED || expected.is_some_and(|expected| expected != result) {
            return Err(format!("the result is {result:#x}, not {expected:#x?}"));
        }
        let taken = got(result);
        let is_put = self.act.letter().is_some() && ![FULL, CLOSED].contains(&result);
        let added_and_taken = [added, kept(&taken, &mine)].concat();
        match () {
            () if is_put && added_and_taken != mine => wrong("a finished put is lost"),
            () if !is_put && !added_and_taken.is_empty() => wrong("a refused put is there"),
            () if self.act.takes() && kept(&taken, before) != missing => {
                wrong("what was got is not what went")
            }
            () => Ok(()),
        }
    }

    fn check_closed(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let is_closed = trial.queue.is_closed();
        let closes = self.act == Act::Close;
        let must_be = self.is_closed || closes && !outcome.is_killed();
        if must_be && !is_closed || is_closed && !must_be && !closes {
            return Err(format!("after {outcome:?}, closed: {is_closed}"));
        }
        Ok(())
    }
}

/// A repairer puts one, unless there is no room, and gets one; and may have been killed anywhere.
fn check_repairer(kind: Kind, found: &[Id], left: &[Id]) -> Result<(), String> {
    let present = [found, &[FIRST_OF_REPAIRER]].concat();
    let firsts = [found, &present].map(|ids| kind.order(ids).into_iter().next());
    let missing = found.iter().filter(|id| !left.contains(id));
    let missing: Vec<Option<Id>> = missing.copied().map(Some).collect();
    let may_miss = missing.len() <= 1 && missing.iter().all(|id| firsts.contains(id));
    if kept(left, &present) == left && may_miss {
        return Ok(());
    }
    Err(format!(
        "a repairer found {found:?}, put one, got one and left {left:?}"
    ))
}

impl Scenario for Case {
    type State = Trial;

    fn name(&self) -> String {
        format!("{}/{}", self.kind.name(), self.name)
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
        trial.arm(self, self.act, FIRST_OF_VICTIM)
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.note_messages();
        trial.arm(self, Act::Repair, FIRST_OF_REPAIRER)
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let left = trial.messages();
        let found = trial.noted_messages();
        self.check_victim(trial, found.as_ref().unwrap_or(&left), outcome)?;
        if let Some(found) = &found {
            check_repairer(self.kind, found, &left)?;
        }
        self.check_closed(trial, outcome)?;
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        trial.queue.sweep().map_err(|e| e.to_string())?;
        if !trial.is_locked() {
            return trial.do_laps();
        }
        // Its holder is stopped: others return in time.
        let put = trial.queue.put_timeout(message(LARGEST, 's'), SHORT);
        let got = trial.queue.get_timeout(SHORT);
        match (put, got) {
            (Err(PutTimeoutError::Timeout(_)), Err(GetTimeoutError::Timeout)) => Ok(()),
            (Err(PutTimeoutError::Closed(_)), Err(GetTimeoutError::Timeout)) => Ok(()),
            other => Err(format!("with the lock held, others say {other:?}")),
        }
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let Outcome::Completed(result) = outcome else {
            return Err("a resumed victim comes to its end".to_owned());
        };
        if result == FAILED {
            return Err("the resumed victim's operation failed".to_owned());
        }
        let mine = match result {
            FULL | CLOSED => Vec::new(),
            _ => self.mine(),
        };
        let taken = match self.act {
            Act::Peek => Vec::new(),
            _ => got(result),
        };
        trial.balance(&mine, &taken)?;
        self.check_closed(trial, outcome)?;
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }
}
