//! A pipe of one direction in private memory, for tests and models.

use std::sync::Arc;

use super::{
    core::PipeCore,
    geometry::{self, Geometry},
    lane::{Lane, Side},
    reader::{Frame, Reader, RecvRefusal},
    role::Ctl,
    writer::{SendRefusal, Writer},
};
use crate::{
    error::Damage,
    message::Received,
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
    },
    prim::AtomicU64,
    region::Fresh,
};

/// A pipe on the heap, and who is attached to it.
pub(super) struct World {
    pub(super) core: Arc<PipeCore>,
    pub(super) participants: Participants,
    /// A bit of it kills one.
    pub(super) dead: Arc<AtomicU64>,
}

pub(super) fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

/// One lane for messages of eight bytes, or of any length.
pub(super) fn geometry(capacity: usize, fixed: Option<usize>, is_asymmetric: bool) -> Geometry {
    Geometry {
        lanes: 1,
        capacity,
        fixed,
        is_asymmetric,
    }
}

impl World {
    pub(super) fn new(geometry: Geometry, participants: u32) -> Arc<Self> {
        let bytes = geometry::file_bytes(geometry, participants).unwrap();
        let mut fresh = Fresh::on_heap(bytes).unwrap();
        lifetime::place_header(&mut fresh, participants).unwrap();
        geometry::place(&mut fresh, geometry, participants).unwrap();
        let region = fresh.share();
        let dead = Arc::new(AtomicU64::new(0));
        let probe = Probe::Oracle(Arc::clone(&dead));
        let everybody = lifetime::header_of(&region, participants, probe);
        for slot in 0..participants {
            everybody.occupy_for_model(slot, 1).unwrap();
        }
        let core = PipeCore::over(&region, geometry, participants).unwrap();
        Arc::new(Self {
            core: Arc::new(core),
            participants: everybody,
            dead,
        })
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.core.lanes[0]
    }

    fn must_fence(&self) -> bool {
        !self.core.geometry.is_asymmetric
    }

    pub(super) fn take(&self, side: Side, slot: u32) -> Option<Ctl> {
        self.lane().role(side).take(owner(slot)).ok()
    }

    /// Takes the writer's end.
    pub(super) fn writer(&self, slot: u32) -> Option<(Ctl, Writer)> {
        let mine = self.take(Side::Writer, slot)?;
        let writer = Writer::new(&self.core.lanes[0], self.must_fence());
        Some((mine, writer.unwrap()))
    }

    /// Takes the reader's end.
    pub(super) fn reader(&self, slot: u32) -> Option<(Ctl, Reader)> {
        let mine = self.take(Side::Reader, slot)?;
        let reader = Reader::new(&self.core.lanes[0], self.must_fence());
        Some((mine, reader.unwrap()))
    }

    /// Closes an end as its holder does.
    pub(super) fn close(&self, side: Side, mine: Ctl) {
        assert!(self.lane().role(side).close(mine));
        self.lane().wake_all();
    }

    pub(super) fn sweep(&self) -> u32 {
        self.participants.sweep(&*self.core).unwrap()
    }
}

impl Writer {
    /// A send as a sender of numbers does it.
    pub(super) fn send_for_model(&mut self, value: u64) -> Result<(), SendRefusal> {
        self.fill_bare(&value.to_ne_bytes())?;
        self.publish();
        Ok(())
    }
}

impl Reader {
    pub(super) fn received(&self, frame: Frame) -> Result<Received<'_>, Damage> {
        match self.message(frame) {
            Some(message) => Ok(Received::Shared(message)),
            None => self.gather(frame).map(Received::Owned),
        }
    }

    /// A receive as a receiver of numbers does it.
    pub(super) fn recv_for_model(&mut self) -> Result<u64, RecvRefusal> {
        let frame = self.next_bare(self.head(), 8)?;
        let value = number(self.received(frame)?);
        self.give_back(frame.end);
        Ok(value)
    }
}

pub(super) fn number(received: Received<'_>) -> u64 {
    let mut bytes = Vec::new();
    received.write_over(&mut bytes);
    u64::from_ne_bytes(bytes.try_into().unwrap())
}
