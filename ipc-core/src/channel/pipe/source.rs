//! Waiting for an end of a pipe among other things.

use std::sync::Arc;

use super::{core::PipeCore, end::Place, lane::Side};
use crate::{
    object::{
        participant::Owner,
        source::{Readiness, Source},
        wait::WaitWord,
    },
    os::membarrier::Meeting,
    prim::Relaxed,
};

/// Room that a sender waits for where messages differ in length: what a write to a pipe of the kernel takes as a whole.
const MOST_ROOM: u64 = 4096;

/// An end as this process has it. The handle may go before this.
#[derive(Debug)]
pub(super) struct EndSource {
    pub(super) core: Arc<PipeCore>,
    pub(super) place: Place,
    pub(super) me: Owner,
}

impl EndSource {
    fn lane(&self) -> &super::lane::Lane {
        &self.core.lanes[self.place.lane]
    }

    /// Room for one message where all have the same length, else for [`MOST_ROOM`] or half the capacity.
    fn wanted_room(&self) -> u64 {
        let geometry = self.lane().geometry;
        match geometry.fixed {
            Some(length) => super::geometry::bare_frame(length),
            None => MOST_ROOM.min(geometry.capacity as u64 / 2),
        }
    }
}

impl Source for EndSource {
    fn word(&self) -> &WaitWord {
        self.lane().word(self.place.side)
    }

    fn look(&self, _mark: u64) -> Readiness {
        let lane = self.lane();
        if !lane.role(self.place.side).names(self.me) {
            return Readiness::Ready; // closed or handed on: whoever uses the handle learns of it
        }
        // The end's own counter: who lies about it has only this process look in vain.
        let is_ready = match self.place.side {
            Side::Reader => lane.may_have_message(lane.head.0[0].load(Relaxed)),
            Side::Writer => lane.may_have_room(lane.tail.0.load(Relaxed), self.wanted_room()),
        };
        match is_ready {
            true => Readiness::Ready,
            false => Readiness::Blocked,
        }
    }

    fn meeting(&self) -> Option<&Meeting> {
        let lane = self.lane();
        lane.geometry.is_asymmetric.then_some(&lane.meeting) // O5
    }
}
