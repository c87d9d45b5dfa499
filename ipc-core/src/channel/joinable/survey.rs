//! Whether all jobs are finished. No counter says so: it is looked for.

use super::{jobs::Jobs, record::State};
use crate::{
    error::Damage,
    object::seat::{Activity, Visitor},
    prim::{Acquire, Relaxed},
};

/// Whether all jobs are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Reached,
    /// There was a job: who finishes the last one tells who waits.
    Ahead,
    /// Cells changed, and are empty: by a put that came to nothing perhaps, of which nobody would tell.
    Unclear,
}

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
    /// moved to one, and the only jobs that came to be there are requeued dead letters, which `returned` counts before they are there.
    pub(super) fn look_for_end(&self) -> Result<End, Damage> {
        let desk = self.table.desk();
        let returned = desk.returned.load(Acquire); // O5
        let Some(before) = self.ring.survey()? else {
            return Ok(End::Ahead); // O2
        };
        if self.has_unfinished()? {
            return Ok(End::Ahead); // O3
        }
        Ok(match self.ring.survey()? {
            None => End::Ahead,
            Some(after) if after == before && desk.returned.load(Relaxed) == returned => {
                End::Reached
            }
            Some(_) => End::Unclear,
        })
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
