//! The heap in private memory, for tests and models.

use std::sync::Arc;

use super::{Geometry, Heap, Offsets, View};
use crate::{
    object::{
        lifetime,
        participant::{Dead, Owner, Participants, Probe, Repair},
    },
    prim::AtomicU64,
    region::Fresh,
};

/// A heap and a container of one reference.
#[derive(Debug)]
pub(super) struct Fixture {
    pub(super) heap: Heap,
    /// The same, as another process has it.
    #[cfg(loom)]
    pub(super) others: Heap,
    pub(super) everybody: Participants,
    /// What the container refers to: the bits of a name, or nothing.
    pub(super) slot: AtomicU64,
}

impl Fixture {
    /// All participants are attached. A bit of `dead` kills one.
    pub(super) fn new(geometry: Geometry, participants: u32, dead: Arc<AtomicU64>) -> Self {
        let (mut planner, _) = lifetime::plan(participants).unwrap();
        let at = Offsets::plan(&mut planner, geometry).unwrap();
        let mut fresh = Fresh::on_heap(planner.end()).unwrap();
        lifetime::place_header(&mut fresh, participants).unwrap();
        at.place(&mut fresh, geometry).unwrap();
        let region = fresh.share();
        let everybody = lifetime::header_of(&region, participants, Probe::Oracle(dead));
        for slot in 0..participants {
            everybody.occupy_for_model(slot, 1).unwrap();
        }
        Self {
            heap: Heap::new(&region, at, geometry).unwrap(),
            #[cfg(loom)]
            others: Heap::new(&region, at, geometry).unwrap(),
            everybody,
            slot: AtomicU64::new(0),
        }
    }

    pub(super) fn owner(number: u32) -> Owner {
        Owner::of_slot(number).unwrap()
    }

    pub(super) fn refers(&self, view: &View<'_>) -> bool {
        self.slot.load(crate::prim::Relaxed) == view.name().bits()
    }
}

impl Repair for Fixture {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), crate::error::Damage> {
        self.heap.repair(dead, &|view| self.refers(view))
    }

    fn wake_all(&self) {
        self.heap.wake_all();
    }
}
