//! The ring in private memory, and its operations in steps, for tests and models.

use std::sync::Arc;

use super::{
    cell::{Seen, State},
    geometry::{self, Geometry},
    publish::PublishRefusal,
    read::{ReadRefusal, Reader},
    ring::Ring,
};
use crate::{
    channel::geometry as channel,
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
    },
    prim::{AtomicU64, Relaxed, Release},
    region::Fresh,
    slab,
};

pub(super) fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

/// A ring for messages of up to `inline` bytes, and so many blocks of 16.
pub(super) fn geometry(capacity: usize, inline: usize, blocks: usize, lossless: bool) -> Geometry {
    Geometry {
        ring: channel::Geometry {
            capacity,
            inline_bytes: inline,
            slab: slab::Geometry {
                block_bytes: 16,
                blocks,
            },
            loans: slab::Geometry::NONE,
            notes: 1,
        },
        subscribers: if lossless { 2 } else { 0 },
        is_lossless: lossless,
        is_asymmetric: lossless,
    }
}

/// A broadcast on the heap, and three participants.
pub(super) struct World {
    pub(super) ring: Arc<Ring>,
    pub(super) participants: Participants,
    /// A bit of it kills one.
    pub(super) dead: Arc<AtomicU64>,
}

impl World {
    pub(super) fn new(geometry: Geometry) -> Arc<Self> {
        let dead = Arc::new(AtomicU64::new(0));
        let (ring, participants) = Ring::on_heap(geometry, 3, Arc::clone(&dead));
        Arc::new(Self {
            ring,
            participants,
            dead,
        })
    }

    /// Publishes a value, as often as it fits into `bytes` bytes.
    pub(super) fn publish(
        &self,
        slot: u32,
        value: u64,
        bytes: usize,
    ) -> Result<(), PublishRefusal> {
        let message = value.to_ne_bytes().into_iter().cycle().take(bytes);
        let message: Vec<u8> = message.collect();
        self.ring.publish_for_model(owner(slot), &message)
    }

    /// From here on `slot` is dead.
    pub(super) fn die(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Release); // O7
    }

    pub(super) fn sweep(&self) -> u32 {
        self.participants.sweep(&*self.ring).unwrap()
    }

    pub(super) fn join(&self, slot: u32) -> Reader {
        Reader::join(&self.ring, owner(slot), false)
            .unwrap()
            .unwrap()
    }
}

impl Ring {
    /// A ring and its participants, all attached, in private memory. A bit of `dead` kills one.
    pub(super) fn on_heap(
        geometry: Geometry,
        participants: u32,
        dead: Arc<AtomicU64>,
    ) -> (Arc<Self>, Participants) {
        let bytes = geometry::file_bytes(geometry, participants).unwrap();
        let mut fresh = Fresh::on_heap(bytes).unwrap();
        lifetime::place_header(&mut fresh, participants).unwrap();
        geometry::place(&mut fresh, geometry, participants).unwrap();
        let region = fresh.share();
        let everybody = lifetime::header_of(&region, participants, Probe::Oracle(dead));
        for slot in 0..participants {
            everybody.occupy_for_model(slot, 1).unwrap();
        }
        let ring = Self::over(&region, geometry, participants).unwrap();
        (Arc::new(ring), everybody)
    }

    /// A publish as the broadcast does it.
    pub(super) fn publish_for_model(
        &self,
        me: Owner,
        message: &[u8],
    ) -> Result<(), PublishRefusal> {
        match self.publish_next(me, self.tail(), message) {
            Some(after) => {
                self.announce(after);
                Ok(())
            }
            None => self.try_publish(me, message),
        }
    }

    /// A publish that got as far as writing to its cell.
    pub(super) fn claim_for_model(&self, me: Owner) -> Option<u64> {
        let (position, cell) = self.claim_first(me, self.tail()).ok()?;
        if self.is_lossless() {
            self.witnesses.write(self.index(position));
        }
        cell.length().store(8, Relaxed);
        Some(position)
    }

    /// A publish of a large message that got as far as its blocks.
    pub(super) fn store_for_model(&self, me: Owner) -> bool {
        self.slab.as_ref().unwrap().store(me, &[0; 16]).is_ok()
    }

    /// What a cell was seen to be.
    pub(super) fn seen_for_model(&self, index: u64) -> Seen {
        self.cell(index).unwrap().look().unwrap()
    }

    /// A claim for the blocks of the message in a cell, and no more. Whether it was to be had.
    pub(super) fn clearing_for_model(&self, me: Owner, index: u64) -> bool {
        let cell = self.cell(index).unwrap();
        let seen = cell.look().unwrap();
        matches!(seen.state, State::Large | State::Stale)
            && self.begin_clearing(me, cell, seen.ctl).is_some()
    }
}

impl Reader {
    /// A read as a subscriber does it.
    pub(super) fn read_for_model(&mut self) -> Result<u64, ReadRefusal> {
        let mut bytes = Vec::new();
        self.read()?.write_over(&mut bytes);
        let is_whole = bytes.chunks(8).all(|chunk| chunk == &bytes[..8]);
        assert!(is_whole, "torn: {bytes:?}");
        Ok(u64::from_ne_bytes(bytes[..8].try_into().unwrap()))
    }
}
