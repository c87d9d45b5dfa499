//! What must be true of a queue in the end, whatever happened to it.

use ipc_core::{Bytes, ParticipantState, Queue, TryGetError, TryPutError};

use super::message::{Id, LOAN, id_of, message, message_of};
use super::oracle::Seen;
use super::trial::{FIRST_OF_REFILL, LARGEST, NAME, Trial};

impl Trial {
    /// The survivor repairs; then the dead are gone, and it is alone.
    pub(super) fn sweep_and_count(&self) -> Result<(), String> {
        let dead = self.participants(ParticipantState::Dead)?;
        let was_attached = self.queue.borrow().is_some();
        let swept = self.survivor().sweep().map_err(|e| e.to_string())?;
        if was_attached && swept as usize != dead {
            return Err(format!("{dead} participants are dead, {swept} were swept"));
        }
        let (alive, dead) = (
            self.participants(ParticipantState::Alive)?,
            self.participants(ParticipantState::Dead)?,
        );
        if (alive, dead) != (1, 0) {
            return Err(format!(
                "after the sweep {alive} participants are alive and {dead} dead"
            ));
        }
        Ok(())
    }

    pub(super) fn participants(&self, state: ParticipantState) -> Result<usize, String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        Ok(seen
            .participants
            .iter()
            .filter(|p| p.state == state)
            .count())
    }

    /// Everything that is left comes out, once and whole; then the queue is as good as new. Consumes the contents.
    pub(super) fn drain_and_refill(&self) -> Result<(), String> {
        let left = self.messages();
        let queue = self.survivor();
        if queue.len() != left.len() {
            return Err(format!(
                "{} messages are left, len() says {}",
                left.len(),
                queue.len()
            ));
        }
        let drained = drain(&queue, 2 * self.setting.capacity)?;
        if sorted(drained.clone()) != sorted(ids(&left)) {
            return Err(format!(
                "messages {:?} are left, a survivor gets {drained:?}",
                ids(&left)
            ));
        }
        let in_order = |seen: &&Seen| !seen.is_claimed;
        let ordered: Vec<Id> = left.iter().filter(in_order).map(|seen| seen.id).collect();
        if kept(&drained, &ordered) != ordered {
            return Err(format!(
                "out of order: {ordered:?} are left, a survivor gets {drained:?}"
            ));
        }
        if queue.is_closed() {
            check_closed(&queue)?;
        } else {
            self.refill(&queue)?;
        }
        self.check_unused()
    }

    fn refill(&self, queue: &Queue<Bytes>) -> Result<(), String> {
        let refill: Vec<Id> = (FIRST_OF_REFILL..).take(self.setting.capacity).collect();
        for &id in &refill {
            let put = queue.try_put(message(id, 's'));
            put.map_err(|e| format!("lost capacity: message {id} of {refill:?}: {e}"))?;
        }
        match queue.try_put(message(LARGEST, 's')) {
            Err(TryPutError::Full(_)) => {}
            other => return Err(format!("a put into a full queue: {other:?}")),
        }
        let got = drain(queue, 2 * self.setting.capacity)?;
        if got != refill {
            return Err(format!("refilled with {refill:?}, a survivor gets {got:?}"));
        }
        self.check_unused()?;
        let loans = (0..self.setting.loans).map(|_| queue.try_loan(LOAN));
        let loans = loans.collect::<Result<Vec<_>, _>>();
        drop(loans.map_err(|e| format!("lost memory: a loan: {e}"))?);
        let put = queue.try_put(message_of(LARGEST, queue.max_message_bytes()));
        put.map_err(|e| format!("lost memory: the largest message: {e}"))?;
        match drain(queue, 2)?.as_slice() {
            [LARGEST] => Ok(()),
            other => Err(format!("the largest message was put, not {other:?}")),
        }
    }

    fn check_unused(&self) -> Result<(), String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let stat = seen.queue.ok_or("a queue is a queue")?;
        match (stat.len, stat.memory_used, stat.loans_used, stat.orphans) {
            (0, 0, 0, 0) => Ok(()),
            (len, used, loans, orphans) => Err(format!(
                "lost: an empty queue has len {len}, {used} bytes of memory used, {loans} loans, {orphans} orphans"
            )),
        }
    }
}

/// Gets until there is nothing, checking each message; at most `most`, should the queue repeat itself.
pub(super) fn drain(queue: &Queue<Bytes>, most: usize) -> Result<Vec<Id>, String> {
    let mut ids = Vec::new();
    for _ in 0..most {
        match queue.try_get() {
            Ok(message) => ids.push(id_of(&message)?),
            Err(TryGetError::Empty | TryGetError::Closed) => break,
            Err(other) => return Err(format!("a survivor's get, after {ids:?}: {other}")),
        }
    }
    Ok(ids)
}

fn check_closed(queue: &Queue<Bytes>) -> Result<(), String> {
    match (queue.try_put(message(LARGEST, 's')), queue.try_get()) {
        (Err(TryPutError::Closed(_)), Err(TryGetError::Closed)) => Ok(()),
        other => Err(format!("a closed and empty queue says {other:?}")),
    }
}

pub(super) fn ids(messages: &[Seen]) -> Vec<Id> {
    messages.iter().map(|seen| seen.id).collect()
}

pub(super) fn sorted(mut ids: Vec<Id>) -> Vec<Id> {
    ids.sort_unstable();
    ids
}

/// Those of `ids` that are in `of`, in their order.
pub(super) fn kept(ids: &[Id], of: &[Id]) -> Vec<Id> {
    ids.iter().copied().filter(|id| of.contains(id)).collect()
}
