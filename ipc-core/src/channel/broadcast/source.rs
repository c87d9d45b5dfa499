//! Waiting for a subscriber among other things, or for room to publish.

use std::sync::Arc;

use super::{
    cell::{Pass, State},
    inner::Inner,
    publish::PublishRefusal,
    read::{Progress, Reader},
    ring::Ring,
};
use crate::{
    error::Damage,
    object::{
        source::{Readiness, Source, Watched},
        wait::WaitWord,
    },
    os::{fork::Process, membarrier::Meeting},
    prim::Relaxed,
};

impl Inner {
    /// A message for this subscriber, or that none will come.
    pub(super) fn watched(&self, reader: &Reader) -> Watched {
        let next = NextMessage::of(reader);
        Watched::new(Arc::new(next), &self.member.object)
    }

    /// Room for a short message, or that none will be taken.
    pub(super) fn watched_room(&self) -> Watched {
        let room = Room(Arc::clone(&self.ring));
        Watched::new(Arc::new(room), &self.member.object)
    }
}

/// A subscriber, which may go before this.
#[derive(Debug)]
pub(super) struct NextMessage {
    ring: Arc<Ring>,
    progress: Arc<Progress>,
    process: Option<Process>,
}

impl NextMessage {
    pub(super) fn of(reader: &Reader) -> Self {
        Self {
            ring: Arc::clone(&reader.ring),
            progress: Arc::clone(reader.progress()),
            process: reader.process(),
        }
    }
}

impl Source for NextMessage {
    fn word(&self) -> &WaitWord {
        &self.ring.gate().items
    }

    fn look(&self, _mark: u64) -> Readiness {
        let progress = &self.progress;
        if progress.has_backlog.load(Relaxed)
            || progress.has_left.load(Relaxed)
            || self.process.is_some_and(|process| !process.is_this())
        {
            return Readiness::Ready;
        }
        let next = progress.next.load(Relaxed);
        self.ring.look_for_message(next).unwrap_or(Readiness::Ready)
    }
}

#[derive(Debug)]
pub(super) struct Room(pub(super) Arc<Ring>);

impl Source for Room {
    fn word(&self) -> &WaitWord {
        &self.0.gate().space
    }

    fn look(&self, _mark: u64) -> Readiness {
        if self.0.is_closed() {
            return Readiness::Ready;
        }
        match self.0.look_for_room(self.0.tail()) {
            Err(PublishRefusal::Full) => Readiness::Blocked,
            Err(PublishRefusal::Busy) => Readiness::Unsettled,
            _ => Readiness::Ready,
        }
    }

    fn meeting(&self) -> Option<&Meeting> {
        self.0.geometry.is_asymmetric.then_some(&self.0.meeting) // O6
    }
}

impl Ring {
    /// What a subscriber would find that reads `next` next.
    fn look_for_message(&self, next: u64) -> Result<Readiness, Damage> {
        let mut position = next;
        for _ in 0..self.budget() {
            let lap = self.lap(position);
            let seen = self.cell(position)?.look()?;
            match (seen.ctl.pass(lap), seen.state) {
                (Pass::Same, State::Void) => position = self.next(position),
                (Pass::Same, State::Writing) => return Ok(Readiness::Unsettled),
                // Closed, or published before that: the read finds out.
                (Pass::Previous, _) if self.is_closed() => return Ok(Readiness::Ready),
                (Pass::Previous, _) => return Ok(Readiness::Blocked),
                // A message, or one that it has missed, or something is wrong.
                (Pass::Same | Pass::Later | Pass::Impossible, _) => return Ok(Readiness::Ready),
            }
        }
        Err(Damage("a subscriber never meets a message"))
    }
}
