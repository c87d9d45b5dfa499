//! Dead letters: jobs that were delivered as often as is allowed, or are no value of the queue's type.

use super::{
    jobs::Jobs,
    record::{Record, State},
};
use crate::{
    channel::contents::Contents,
    error::Damage,
    prim::{self, Relaxed},
};

/// A dead letter's bytes, and what is known of it.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) position: u64,
    pub(super) attempts: u64,
    pub(super) bytes: Vec<u8>,
}

impl Jobs {
    /// Copies of all dead letters, which stay, in the order in which they were put.
    pub(super) fn copy_dead(&self) -> Result<Vec<Copied>, Damage> {
        let mut found = Vec::new();
        for (_, record) in self.table.records() {
            found.extend(self.copy_if_dead(record)?);
        }
        found.sort_by_key(|letter| letter.position);
        Ok(found)
    }

    /// `None` if it is none, or somebody takes it meanwhile.
    fn copy_if_dead(&self, record: Record<'_>) -> Result<Option<Copied>, Damage> {
        let (seen, state) = record.look()?; // O6
        if state != State::Dead {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let copied = Contents::of(record.payload(), record.length(), self.ring.slab(), None)
            .and_then(|contents| contents.peek(record.payload(), &mut bytes));
        let letter = Copied {
            position: record.position().load(Relaxed),
            attempts: record.attempts().load(Relaxed),
            bytes,
        };
        prim::acquire_fence(); // O6
        if record.meta().load(Relaxed) != seen.0 {
            return Ok(None);
        }
        copied.map(|()| Some(letter))
    }
}
