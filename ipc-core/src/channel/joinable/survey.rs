//! Whether all jobs are finished. No counter says so: it is looked for.

use super::{jobs::Jobs, record::State};
use crate::{
    error::Damage,
    object::seat::{Activity, Visitor},
    prim::{Acquire, Relaxed},
};

impl Jobs {
    /// Whether some job in the table has yet to be finished.
    pub(super) fn has_unfinished(&self) -> Result<bool, Damage> {
        for (_, record) in self.table.records() {
            let (_, state) = record.look()?;
            if state.is_unfinished() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether at some instant during this call there was no job at all that had yet to be finished.
    ///
    /// A job that is put by another one's worker before it finishes its own is seen: all cells are looked at, then all
    /// records, then all cells again, and no cell may have changed. So in the time of the look at the records nothing
    /// moved to one, and the only jobs that came to be there are requeued dead letters, which `returned` counts.
    pub(super) fn is_finished(&self) -> Result<bool, Damage> {
        let desk = self.table.desk();
        let returned = desk.returned.load(Acquire); // O5
        let Some(before) = self.ring.survey()? else {
            return Ok(false); // O2
        };
        if self.has_unfinished()? {
            return Ok(false); // O3
        }
        let after = self.ring.survey()?;
        Ok(after == Some(before) && desk.returned.load(Relaxed) == returned)
    }

    /// Who has a job, for people.
    pub(crate) fn holders(&self) -> impl Iterator<Item = Visitor> {
        let lease_ns = self.table.terms.lease_ns;
        self.table.records().filter_map(move |(_, record)| {
            let (meta, state) = record.look().ok()?;
            let since_ns = match lease_ns {
                0 => 0,
                time => record.deadline().load(Relaxed).saturating_sub(time),
            };
            (state == State::Leased).then_some(Visitor {
                owner_bits: meta.owner_bits(),
                thread: 0,
                since_ns,
                activity: Activity::Holding,
            })
        })
    }
}
