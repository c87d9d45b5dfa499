//! A lock that is part of another object, beside whatever that object is.
//!
//! # Layout
//!
//! That of a [`super::frame`] without a value: the word, and a note for each waiter.

use std::sync::Arc;

use super::{
    frame::{self, ENDED, Frame, Geometry, Mechanism, Station},
    lock::{Lock, LockCore},
};
use crate::{
    error::{Damage, Result},
    object::{
        lifetime::Object,
        membership::Membership,
        wait::{Attempt, Deadline, WaitStrategy, WaitWord},
    },
    region::{Fresh, OutOfBounds, Region},
};

fn geometry(participants: u32) -> Geometry {
    Geometry {
        needed: 0,
        notes: participants as usize,
        value_bytes: 0,
    }
}

/// Where the object's other parts may begin.
pub(crate) fn end(participants: u32) -> Option<usize> {
    frame::file_bytes(geometry(participants), participants)
}

/// Begins the life of the parts.
pub(crate) fn place(fresh: &mut Fresh, participants: u32) -> Result<(), OutOfBounds> {
    frame::place(fresh, geometry(participants), participants)
}

/// The algorithm over an object's memory.
pub(crate) fn core(region: &Arc<Region>, participants: u32) -> Result<Arc<LockCore>, Damage> {
    let frame = Frame::over(region, geometry(participants), participants)
        .map_err(|OutOfBounds| Damage("the file is smaller than its header says"))?;
    LockCore::over(frame).map(Arc::new)
}

impl LockCore {
    /// Wakes those who wait for something else than the lock ([`Lock::wait_for`]).
    #[inline(always)]
    pub(crate) fn wake_others(&self) {
        self.frame.head().other.wake_of_claim(u32::MAX);
    }
}

impl Lock {
    /// The handle of an object that has the lock in it.
    pub(crate) fn within(object: Arc<Object>, core: Arc<LockCore>, wait: WaitStrategy) -> Self {
        Self::at(Arc::new(Station::new(object, core, wait)))
    }

    /// This process's use of the object.
    #[inline(always)]
    pub(crate) fn member(&self) -> &Membership {
        &self.station.member
    }

    /// Calls `attempt`, sleeping in between, until it returns something. Others [wake](LockCore::wake_others) it, and it looks again
    /// now and then by itself.
    #[cold]
    pub(crate) fn wait_for<R>(
        &self,
        mut attempt: impl FnMut() -> Option<Result<R, Damage>>,
        is_promising: impl Fn() -> bool,
    ) -> Result<R> {
        let word = &self.station.head().other;
        let attempt = || match attempt() {
            Some(done) => Attempt::Done(done),
            None => Attempt::Unsettled(word), // who ends it does not fence before it looks for sleepers
        };
        self.wait(word, attempt, is_promising)
    }

    /// The same on a word of the object's own, which is woken by who has fenced before.
    #[cold]
    pub(crate) fn wait_on<'w, R>(
        &'w self,
        word: &'w WaitWord,
        mut attempt: impl FnMut() -> Option<Result<R, Damage>>,
    ) -> Result<R> {
        let attempt = || match attempt() {
            Some(done) => Attempt::Done(done),
            None => Attempt::Blocked(word),
        };
        self.wait(word, attempt, || true)
    }

    fn wait<'w, R>(
        &'w self,
        word: &'w WaitWord,
        attempt: impl FnMut() -> Attempt<'w, Result<R, Damage>>,
        is_promising: impl Fn() -> bool,
    ) -> Result<R> {
        let me = self.member().ready().map_err(|e| *e)?;
        let done = self
            .station
            .wait(me, word, Deadline::NEVER, attempt, is_promising)?;
        done.ok_or_else(|| self.station.failed(ENDED))
    }
}
