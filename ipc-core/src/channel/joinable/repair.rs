//! What survivors do with the jobs of the dead.

use core::cell::OnceCell;
use std::collections::HashSet;

use super::{
    jobs::Jobs,
    record::{Record, State},
};
use crate::{
    error::Damage,
    object::participant::{Dead, Owner, Repair},
    prim::{Relaxed, Release},
};

impl Repair for Jobs {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        // The table first: of a job in both places the record counts (I2).
        if !self.return_jobs(dead)? {
            return Ok(()); // another sweeper has finished
        }
        // By now each job of the dead one that is in the table stays there until somebody takes over its blocks (I4).
        let positions = OnceCell::new();
        self.ring.repair_all_but(dead, |position| {
            positions
                .get_or_init(|| self.positions())
                .contains(&position)
        })
    }

    fn names(&self, owner: Owner) -> bool {
        let mut records = self.table.records();
        records.any(|(_, record)| record.look().is_ok_and(|(meta, _)| meta.is_of(owner)))
    }

    fn wake_all(&self) {
        self.ring.wake_all();
        let desk = self.table.desk();
        desk.finished.wake_all();
        desk.room.wake_all();
    }
}

impl Jobs {
    /// Takes all records from the dead. Whether there was need to.
    fn return_jobs(&self, dead: &Dead<'_>) -> Result<bool, Damage> {
        let mut has_returned = false;
        for (index, record) in self.table.records() {
            // O7: before `still`. Of no known state: left as it is, and found by who uses it.
            let Ok((seen, state)) = record.look() else {
                continue;
            };
            has_returned |= state == State::Ready; // perhaps of one that died before it counted (I3)
            if !seen.is_of(dead.owner()) {
                continue;
            }
            let next = match state {
                State::Leased | State::Taking => self.verdict(index)?,
                State::Removing => State::Dead,
                _ => State::Free,
            };
            let position = record.position().load(Relaxed);
            let is_still = state != State::Leased || self.ring.finish_for(dead, position);
            if !is_still || !dead.still() {
                self.count_returned(has_returned);
                return Ok(false);
            }
            // Whoever did it: each that may free the slot counts what it has seen (I3).
            has_returned |= next == State::Ready;
            let _ = record
                .meta()
                .compare_exchange(seen.0, seen.left(next).0, Relaxed, Relaxed); // O1, O4: goes on with what the dead one released
        }
        self.count_returned(has_returned);
        Ok(true)
    }

    fn count_returned(&self, are_there: bool) {
        if are_there {
            self.table.desk().returned.fetch_add(1, Release); // O5, I3
        }
    }

    /// Where the jobs in the table were put.
    fn positions(&self) -> HashSet<u64> {
        let is_job = |record: &Record<'_>| {
            record.look().is_ok_and(|(_, state)| {
                state.is_unfinished() || matches!(state, State::Dead | State::Removing)
            })
        };
        let records = self.table.records().map(|(_, record)| record);
        records
            .filter(is_job)
            .map(|record| record.position().load(Relaxed))
            .collect()
    }
}
