//! Ring and table in private memory, and their operations in steps, for tests and models.

use std::sync::Arc;

use super::{
    jobs::{self, Jobs, Lease},
    lease::{Claimed, Draft, Refusal},
    survey::End,
    table,
    terms::Terms,
};
use crate::{
    channel::{
        geometry::Geometry,
        options::Container,
        queue::{self, Queue, get::Taken, put::PutRefusal, ring::Ring},
    },
    error::Damage,
    message::Bytes,
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
    },
    os::fork::Process,
    prim::AtomicU64,
    region::Fresh,
};

/// What a get has found.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) lease: Lease,
    pub(super) bytes: Vec<u8>,
}

impl Jobs {
    /// Jobs and their participants, all attached, in private memory. A bit of `dead` kills one.
    pub(super) fn on_heap(
        geometry: Geometry,
        terms: Terms,
        participants: u32,
        dead: Arc<AtomicU64>,
    ) -> (Self, Participants) {
        let bytes = jobs::file_bytes(geometry, participants, terms).unwrap();
        let mut fresh = Fresh::on_heap(bytes).unwrap();
        lifetime::place_header(&mut fresh, participants).unwrap();
        Queue::<Bytes>::place(&mut fresh, geometry, participants).unwrap();
        let queue = queue::geometry::file_bytes(geometry, participants).unwrap();
        table::place(&mut fresh, queue, geometry, terms).unwrap();
        let region = fresh.share();
        let everybody = lifetime::header_of(&region, participants, Probe::Oracle(dead));
        for slot in 0..participants {
            everybody.occupy_for_model(slot, 1).unwrap();
        }
        let ring = Ring::over(&region, geometry, participants).unwrap();
        let made = Self::over(&region, Arc::new(ring), geometry, participants, terms);
        (made.unwrap(), everybody)
    }

    pub(super) fn put_for_model(&self, me: Owner, message: &[u8]) -> Result<(), PutRefusal> {
        self.ring.put_for_model(me, message)
    }

    /// A get as the queue does it.
    pub(super) fn get_for_model(&self, me: Owner) -> Result<Got, Refusal> {
        match self.claim(me)? {
            Claimed::Fresh(taken) => self.receive_for_model(me, &taken),
            Claimed::Returned(index, meta) => {
                let draft = self.draft(index, meta)?;
                let attempt = draft.count_attempt();
                let mut bytes = Vec::new();
                let (_, is_large) = self.read_with(me, &draft, Vec::new, |received| {
                    received.write_over(&mut bytes);
                    Ok(())
                })?;
                let lease = draft.lease(attempt, is_large);
                Ok(Got { lease, bytes })
            }
        }
    }

    /// A get from the ring that got as far as a filled record.
    pub(super) fn fill_for_model(
        &self,
        me: Owner,
    ) -> Result<(Taken, Draft<'_>, bool, Vec<u8>), Refusal> {
        let Claimed::Fresh(taken) = self.claim(me)? else {
            panic!("a returned job");
        };
        self.fill_taken_for_model(me, &taken)
            .map(|(draft, is_large, bytes)| (taken, draft, is_large, bytes))
    }

    fn fill_taken_for_model(
        &self,
        me: Owner,
        taken: &Taken,
    ) -> Result<(Draft<'_>, bool, Vec<u8>), Refusal> {
        let draft = self.hold_for(me, Process::this(), taken)?;
        let (is_large, bytes) = self.copy_for_model(me, &draft, taken).inspect_err(|_| {
            let _ = self.ring.put_back(taken);
        })?;
        Ok((draft, is_large, bytes))
    }

    fn copy_for_model(
        &self,
        me: Owner,
        draft: &Draft<'_>,
        taken: &Taken,
    ) -> Result<(bool, Vec<u8>), Refusal> {
        let mut bytes = Vec::new();
        let is_short = self.ring.short(taken)?;
        if let Some(short) = is_short {
            crate::message::Received::Shared(short).write_over(&mut bytes);
        }
        let is_large =
            !self.move_short(draft, taken)? && self.move_large(me, draft, taken, &mut bytes)?;
        Ok((is_large, bytes))
    }

    /// What a get does once it has claimed a job in the ring.
    pub(super) fn receive_for_model(&self, me: Owner, taken: &Taken) -> Result<Got, Refusal> {
        let from = self.ring.head();
        let (draft, is_large, bytes) = self.fill_taken_for_model(me, taken)?;
        let lease = draft.lease(taken.failures() + 1, is_large);
        self.ring.finish(taken)?;
        self.ring.announce_gets(self.ring.behind(taken, from), 1);
        Ok(Got { lease, bytes })
    }

    pub(super) fn is_finished(&self) -> Result<bool, Damage> {
        Ok(self.look_for_end()? == End::Reached)
    }

    pub(super) fn finish_for_model(&self, lease: &Lease) -> bool {
        self.finish(lease).unwrap().is_ok()
    }

    /// Makes a lease end at once.
    pub(super) fn end_lease_for_model(&self, lease: &Lease) {
        let record = self.table.record(lease.index).unwrap();
        record.deadline().store(0, crate::prim::Relaxed);
    }
}
