//! The table in private memory, for tests and models.

use std::sync::Arc;

use super::{
    change::{Done, When},
    find::{Look, Sight},
    geometry::{self, Geometry},
    pair::NewPair,
    table::{Refusal, Table},
};
use crate::{
    object::{
        lifetime,
        participant::{Owner, Participants, Probe},
    },
    prim::AtomicU64,
    region::Fresh,
};

impl Table {
    /// A table and its participants, all attached, in private memory. A bit of `dead` kills one.
    pub(super) fn on_heap(
        geometry: Geometry,
        participants: u32,
        dead: Arc<AtomicU64>,
    ) -> (Self, Participants) {
        let (_, bytes) = geometry::plan(geometry, participants).unwrap();
        let mut fresh = Fresh::on_heap(bytes).unwrap();
        lifetime::place_header(&mut fresh, participants).unwrap();
        geometry::place(&mut fresh, geometry, participants).unwrap();
        let region = fresh.share();
        let everybody = lifetime::header_of(&region, participants, Probe::Oracle(dead));
        for slot in 0..participants {
            everybody.occupy_for_model(slot, 1).unwrap();
        }
        let table = Self::over(&region, geometry, participants).unwrap();
        (table, everybody)
    }

    pub(super) fn get_for_model(&self, key: &[u8]) -> Option<Vec<u8>> {
        let hashed = self.hashed(key);
        let read = |sight: Sight<'_>| {
            let mut value = Vec::new();
            sight.pair.copy_value(&mut value);
            Some(sight.is_valid()?.then_some(value))
        };
        if let Some(value) = self.glance(hashed, key).and_then(read) {
            return value;
        }
        loop {
            let value = match self.look(hashed, key) {
                Look::Found(sight) => read(sight),
                Look::Absent => Some(None),
                Look::Overtaken => None,
            };
            if let Some(value) = value {
                return value;
            }
            crate::prim::spin_loop();
        }
    }

    pub(super) fn set_for_model(
        &self,
        me: Owner,
        key: &[u8],
        value: &[u8],
        when: When<'_>,
    ) -> Result<bool, Refusal> {
        let new = NewPair {
            key,
            value,
            expiry: 0,
        };
        let hashed = self.hashed(key);
        let item = self.heap.store(me, new.info(), &[key, value])?;
        let mut locked = loop {
            match self.lock(me, hashed.stripe, false) {
                Ok(locked) => break locked,
                Err(Refusal::Held(_)) => crate::prim::yield_now(),
                Err(refusal) => return Err(refusal),
            }
        };
        let done = locked.put(hashed, key, &item, when);
        locked.tell_of_pair(new);
        drop(locked);
        match done {
            Ok(Done::Yes(old)) => {
                if let Some((old, _)) = old {
                    self.heap.discard(me, old)?;
                }
                Ok(true)
            }
            unmet => {
                self.heap.discard(me, item)?;
                unmet.map(|_| false)
            }
        }
    }

    /// Has every writer know that somebody watches.
    pub(super) fn watch_for_model(&self, me: Owner) {
        let passed = self.settle(|stripe| {
            loop {
                match self.lock(me, stripe, false) {
                    Ok(_) => return Ok(()),
                    Err(Refusal::Held(_)) => crate::prim::yield_now(),
                    Err(refusal) => return Err(refusal),
                }
            }
        });
        passed.unwrap();
    }

    pub(super) fn remove_for_model(&self, me: Owner, key: &[u8]) -> Result<bool, Refusal> {
        let hashed = self.hashed(key);
        let mut locked = loop {
            match self.lock(me, hashed.stripe, false) {
                Ok(locked) => break locked,
                Err(Refusal::Held(_)) => crate::prim::yield_now(),
                Err(refusal) => return Err(refusal),
            }
        };
        let done = locked.take(hashed, key, When::Present)?;
        drop(locked);
        match done {
            Done::Yes(Some((old, _))) => {
                self.heap.discard(me, old)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
