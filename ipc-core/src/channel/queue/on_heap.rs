//! The ring in private memory, and its operations in steps, for tests and models.

use std::sync::Arc;

use super::{
    cell::Seen,
    geometry,
    get::{GetRefusal, Taken},
    put::PutRefusal,
    ring::Ring,
};
use crate::{
    channel::geometry::Geometry,
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
    },
    prim::{AtomicU64, Relaxed, Release},
    region::Fresh,
    slab::Block,
};

impl Ring {
    /// A ring and its participants, all attached, in private memory. A bit of `dead` kills one.
    pub(crate) fn on_heap(
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
            Self::over(&region, geometry, participants).unwrap(),
            everybody,
        )
    }

    /// A put as the queue does it.
    pub(crate) fn put_for_model(&self, me: Owner, message: &[u8]) -> Result<(), PutRefusal> {
        match self.put_next(me, self.tail(), message) {
            Some(after) => {
                self.announce_puts(after, 1);
                Ok(())
            }
            None => self.try_put(me, message),
        }
    }

    /// A get as the queue does it.
    pub(crate) fn get_for_model(&self, me: Owner) -> Result<Vec<u8>, GetRefusal> {
        let from = self.head();
        let taken = self.take_from(me, from)?;
        let mut out = Vec::new();
        let owned = self.read(me, &taken, &mut out)?;
        self.finish(&taken)?;
        self.announce_gets(self.behind(&taken, from), 1);
        self.give_blocks_back(owned.as_slice())?;
        Ok(out)
    }

    /// A get that got as far as its claim.
    pub(crate) fn take_for_model(&self, me: Owner) -> Result<Taken, GetRefusal> {
        self.take_from(me, self.head())
    }

    /// That, and as far as its copy.
    pub(crate) fn read_for_model(&self, me: Owner) -> Result<Taken, GetRefusal> {
        let taken = self.take_for_model(me)?;
        self.read(me, &taken, &mut Vec::new())?;
        Ok(taken)
    }

    /// A put that got as far as its claim.
    pub(crate) fn claim_for_model(&self, me: Owner) -> Option<u64> {
        let (position, _) = self.claim_put(me, self.tail()).ok()?;
        // Between claim and write, as in a real put; loom tells the two apart only by an access in between.
        self.cell(position).ok()?.length().store(8, Relaxed);
        self.witnesses.write(self.index(position));
        Some(position)
    }

    /// The rest of that put, but for telling anybody.
    pub(crate) fn fill_for_model(&self, position: u64, value: u64) {
        let cell = self.cell(position).unwrap();
        cell.payload()[0].store(value, Relaxed);
        cell.length().store(8, Relaxed);
        cell.done().store(cell.ctl().load(Relaxed), Release); // O1
    }

    /// All of the rest of that put.
    pub(crate) fn commit_for_model(&self, position: u64, value: u64) {
        self.fill_for_model(position, value);
        self.announce_puts(self.next(position), 1);
    }

    /// A put that finds the queue closed behind its claim.
    pub(crate) fn bury_for_model(&self, me: Owner) {
        let (position, cell) = self.claim_put(me, self.tail()).unwrap();
        self.bury(position, cell);
    }

    /// A large put that got as far as its blocks.
    pub(crate) fn store_for_model(&self, me: Owner) -> bool {
        self.slab.as_ref().unwrap().store(me, &[0; 16]).is_ok()
    }

    /// A put of a number that is written in place.
    pub(crate) fn put_lent_for_model(&self, me: Owner, value: u64) -> Result<(), PutRefusal> {
        let block = self.lend(me, 8)?;
        let loans = self.loans.as_ref().unwrap();
        loans.words(block)[0].store(value, Relaxed);
        self.put_lent(me, block, 8)
    }

    /// A get of a number where it lies; its block is the caller's.
    pub(crate) fn get_lent_for_model(&self, me: Owner) -> Result<(Block, u64), GetRefusal> {
        let from = self.head();
        let taken = self.take_from(me, from)?;
        let (block, length) = self.take_lent(me, &taken)?.unwrap();
        self.finish(&taken)?;
        self.announce_gets(self.behind(&taken, from), 1);
        assert_eq!(length, 8);
        Ok((
            block,
            self.loans.as_ref().unwrap().words(block)[0].load(Relaxed),
        ))
    }

    pub(super) fn first_seen_for_model(&self) -> Seen {
        self.cell(0).unwrap().look().unwrap()
    }
}
