//! Waiting for primitives among other things.

use std::sync::Arc;

use super::{
    bounded_semaphore::BoundedSemaphoreCore,
    event::EventCore,
    frame::{Mechanism, Station},
    lock::LockCore,
    options::Primitive,
    rwlock::RwLockCore,
    semaphore::SemaphoreCore,
};
use crate::object::{
    source::{Readiness, Source, Watched},
    wait::WaitWord,
};

/// What a primitive is ready for when nothing else is said.
pub(crate) fn watched<P: Primitive<Mechanism: Source>>(primitive: &P) -> Watched {
    let station: &Station<P::Mechanism> = primitive.station();
    let source: Arc<P::Mechanism> = Arc::clone(&station.mechanism);
    Watched::new(source, &station.member.object)
}

/// That a read-write lock could be acquired for writing.
pub(crate) fn watched_for_writing<P: Primitive<Mechanism = RwLockCore>>(lock: &P) -> Watched {
    let station = lock.station();
    let source = Writing(Arc::clone(&station.mechanism));
    Watched::new(Arc::new(source), &station.member.object)
}

fn ready_if(is_ready: bool) -> Readiness {
    if is_ready {
        Readiness::Ready
    } else {
        Readiness::Blocked
    }
}

/// It could be acquired.
impl Source for LockCore {
    fn word(&self) -> &WaitWord {
        &self.frame.head().main
    }

    fn look(&self, _mark: u64) -> Readiness {
        if self.frame.head().look().is_locked() {
            Readiness::Unsettled // O3 of `hold`
        } else {
            Readiness::Ready
        }
    }
}

/// A share could be acquired.
impl Source for RwLockCore {
    fn word(&self) -> &WaitWord {
        &self.frame().head().main
    }

    fn look(&self, _mark: u64) -> Readiness {
        let frame = self.frame();
        if frame.head().look().is_locked() {
            return Readiness::Unsettled; // as above
        }
        ready_if(frame.seats.all().iter().any(|seat| seat.look().is_free()))
    }
}

#[derive(Debug)]
struct Writing(Arc<RwLockCore>);

impl Source for Writing {
    /// Also readers that leave wake it.
    fn word(&self) -> &WaitWord {
        self.0.word()
    }

    fn look(&self, _mark: u64) -> Readiness {
        let frame = self.0.frame();
        if frame.head().look().is_locked() {
            return Readiness::Unsettled; // as above
        }
        ready_if(frame.seats.all().iter().all(|seat| seat.look().is_free()))
    }
}

/// There is a permit.
impl Source for SemaphoreCore {
    fn word(&self) -> &WaitWord {
        &self.frame().head().main
    }

    fn look(&self, _mark: u64) -> Readiness {
        ready_if(self.value() > 0)
    }
}

/// There is a permit.
impl Source for BoundedSemaphoreCore {
    fn word(&self) -> &WaitWord {
        &self.frame().head().main
    }

    fn look(&self, _mark: u64) -> Readiness {
        let mut seats = self.frame().seats.all().iter();
        ready_if(seats.any(|seat| seat.look().is_free()))
    }
}

/// It is set, or was since the wait began.
impl Source for EventCore {
    fn word(&self) -> &WaitWord {
        &self.frame().head().main
    }

    fn mark(&self) -> u64 {
        EventCore::word(self)
    }

    fn look(&self, mark: u64) -> Readiness {
        ready_if(self.happened_since(mark))
    }
}
