//! Waiting for a queue among other things.

use std::sync::Arc;

use super::{
    cell::{Pass, Seen, State},
    get::GetRefusal,
    inner::Inner,
    put::PutRefusal,
    ring::Ring,
};
use crate::{
    error::Damage,
    object::{
        source::{Readiness, Source, Watched},
        wait::WaitWord,
    },
};

impl Inner {
    /// A message, or that none will come.
    pub(super) fn watched_items(&self) -> Watched {
        let ring: Arc<Ring> = Arc::clone(&self.ring);
        Watched::new(ring, &self.member.object)
    }

    /// Room for a short message, or that none will be taken.
    pub(in crate::channel) fn watched_room(&self) -> Watched {
        let room = Room(Arc::clone(&self.ring));
        Watched::new(Arc::new(room), &self.member.object)
    }
}

impl Source for Ring {
    fn word(&self) -> &WaitWord {
        &self.gate().items
    }

    fn look(&self, _mark: u64) -> Readiness {
        match self.look_for_message() {
            Err(GetRefusal::Empty) => Readiness::Blocked,
            Err(GetRefusal::BeingPut) => Readiness::Unsettled,
            Ok(()) | Err(GetRefusal::Closed | GetRefusal::Damage(_)) => Readiness::Ready,
        }
    }
}

#[derive(Debug)]
struct Room(Arc<Ring>);

impl Source for Room {
    fn word(&self) -> &WaitWord {
        &self.0.gate().space
    }

    fn look(&self, _mark: u64) -> Readiness {
        if self.0.is_closed() {
            return Readiness::Ready;
        }
        match self.0.look_for_room(self.0.tail()) {
            Err(PutRefusal::Full) => Readiness::Blocked,
            Err(PutRefusal::BeingGot) => Readiness::Unsettled,
            _ => Readiness::Ready,
        }
    }
}

impl Ring {
    /// What a get would find, cell by cell as it would go, and without a claim.
    pub(in crate::channel) fn look_for_message(&self) -> Result<(), GetRefusal> {
        let is_closed = self.is_closed(); // I4: before the looks
        if self.has_orphans() {
            return Ok(()); // or the get finds that there are none any more
        }
        let mut position = self.head();
        let mut is_being_put = false;
        for _ in 0..self.budget() {
            let Seen { ctl, state } = self.cell(position)?.look()?;
            position = match (ctl.pass(self.lap(position)), state) {
                (Pass::Same, State::Full | State::Orphan) => return Ok(()),
                (Pass::Same, State::Free) | (Pass::Previous, _) => break,
                (Pass::Same, State::Writing) => {
                    is_being_put = true;
                    self.next(position)
                }
                (Pass::Same, State::Tomb | State::Reading) => self.next(position),
                (Pass::Later, _) => self.consumed_before(position, ctl),
                (Pass::Impossible, _) => {
                    return Err(Damage("the get counter is ahead of the cells").into());
                }
            };
        }
        Err(match is_closed {
            true if self.is_drained()? => GetRefusal::Closed,
            true => GetRefusal::BeingPut,
            false if is_being_put => GetRefusal::BeingPut,
            false => GetRefusal::Empty,
        })
    }
}
