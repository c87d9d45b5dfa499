//! The pile in private memory, and its operations in steps, for tests and models.

use std::sync::Arc;

use super::{
    cell::Ctl,
    geometry,
    get::{GetRefusal, Taken},
    order::Discipline,
    pile::Pile,
    put::{Filled, PutRefusal},
};
use crate::{
    channel::geometry::Geometry,
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
    },
    prim::{AtomicU64, Relaxed},
    region::Fresh,
};

impl Pile {
    /// A pile and its participants, all attached, in private memory. A bit of `dead` kills one.
    pub(crate) fn on_heap(
        discipline: Discipline,
        geometry: Geometry,
        participants: u32,
        dead: Arc<AtomicU64>,
    ) -> (Self, Participants) {
        let bytes = geometry::file_bytes(geometry, participants).unwrap();
        let mut fresh = Fresh::on_heap(bytes).unwrap();
        lifetime::place_header(&mut fresh, participants).unwrap();
        geometry::place(&mut fresh, geometry, participants).unwrap();
        let region = fresh.share();
        let everybody = lifetime::header_of(&region, participants, Probe::Oracle(dead));
        for slot in 0..participants {
            everybody.occupy_for_model(slot, 1).unwrap();
        }
        (
            Self::over(&region, geometry, participants, discipline).unwrap(),
            everybody,
        )
    }

    /// A put as the queues do it, but for waiting.
    pub(crate) fn put_for_model(
        &self,
        me: Owner,
        priority: i64,
        message: &[u8],
    ) -> Result<(), PutRefusal> {
        let filled = self.fill(me, priority, message)?;
        let put = self.insert(me, &filled, false);
        if put.is_err() {
            self.abandon(&filled)?;
        }
        put
    }

    /// A get as the queues do it, but for waiting.
    pub(crate) fn get_for_model(&self, me: Owner) -> Result<(i64, Vec<u8>), GetRefusal> {
        let taken = self.take(me, false)?;
        let mut out = Vec::new();
        let owned = self.read(me, &taken, &mut out)?;
        self.finish(&taken)?;
        if let Some(owned) = owned {
            self.give_blocks_back(&owned)?;
        }
        Ok((taken.priority, out))
    }

    /// A get that got as far as its copy.
    pub(crate) fn read_for_model(&self, me: Owner) -> Result<Taken, GetRefusal> {
        let taken = self.take(me, false)?;
        self.read(me, &taken, &mut Vec::new())?;
        Ok(taken)
    }

    /// A put that got as far as its copy.
    pub(crate) fn fill_for_model(&self, me: Owner, value: u64) -> Result<Filled, PutRefusal> {
        self.fill(me, 0, &value.to_ne_bytes())
    }

    /// The claim word of a cell.
    pub(super) fn ctl_for_model(&self, index: u64) -> Ctl {
        Ctl(self.cell(index).unwrap().ctl().load(Relaxed))
    }
}
