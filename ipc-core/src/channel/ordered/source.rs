//! Waiting for an ordered queue among other things.

use std::sync::Arc;

use super::{get::GetRefusal, inner::Inner, pile::Pile};
use crate::object::{
    source::{Readiness, Source, Watched},
    wait::WaitWord,
};

impl Inner {
    /// A message, or that none will come.
    pub(super) fn watched_items(&self) -> Watched {
        let pile: Arc<Pile> = Arc::clone(&self.pile);
        Watched::new(pile, &self.member.object)
    }

    /// Room for a short message, or that none will be taken.
    pub(super) fn watched_room(&self) -> Watched {
        let room = Room(Arc::clone(&self.pile));
        Watched::new(Arc::new(room), &self.member.object)
    }
}

impl Source for Pile {
    fn word(&self) -> &WaitWord {
        &self.gate().items
    }

    fn look(&self, _mark: u64) -> Readiness {
        // Whoever waits has the lock when it looks, and that is why its waker needs no fence: see O4 of the lock.
        if !self.head().is_free_to_onlooker() {
            return Readiness::Unsettled;
        }
        let is_closed = self.is_closed();
        if self.order.claimed_length() > 0 || self.has_orphans() {
            return Readiness::Ready;
        }
        match self.nothing(is_closed) {
            Ok(GetRefusal::Empty) if is_closed => Readiness::Unsettled, // somebody is reading the last one
            Ok(GetRefusal::Empty | GetRefusal::Busy) => Readiness::Blocked,
            Ok(GetRefusal::Closed | GetRefusal::Damage(_)) | Err(_) => Readiness::Ready,
        }
    }
}

#[derive(Debug)]
struct Room(Arc<Pile>);

impl Source for Room {
    fn word(&self) -> &WaitWord {
        &self.0.gate().space
    }

    fn look(&self, _mark: u64) -> Readiness {
        if self.0.room.has_any() || self.0.is_closed() {
            Readiness::Ready
        } else {
            Readiness::Blocked // a cell is given back by a read-modify-write of the room's bits (W1)
        }
    }
}
