//! What survivors do with what the dead leave.

use super::{
    cell::{Pass, State},
    ring::Ring,
};
use crate::{
    error::Damage,
    object::participant::{Dead, Owner, Repair},
    prim::{Relaxed, Release},
};

impl Repair for Ring {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        for cell in self.all_cells() {
            // O7: before `still`. Of no known state: left as it is, and found by who uses it.
            let Ok(seen) = cell.look() else {
                continue;
            };
            if !seen.ctl.is_claimed_by(dead.owner()) {
                continue;
            }
            if !dead.still() {
                return Ok(()); // another sweeper has finished
            }
            // Fails when another sweeper was first.
            let next = seen.ctl.abandoned();
            let _ = cell
                .ctl()
                .compare_exchange(seen.ctl.0, next.0, Release, Relaxed); // O8
        }
        if let Some(slab) = &self.slab {
            slab.repair(dead, |position| self.refers(position));
        }
        if let Some(loans) = &self.loans {
            loans.repair(dead, |position| self.refers(position));
        }
        self.cursors.seats.repair(dead, |_| {})?;
        self.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        let loans = self.loans.as_ref();
        self.cursors.seats.name(owner)
            || loans.is_some_and(|loans| loans.is_lent_to(owner, |position| self.refers(position)))
    }

    fn wake_all(&self) {
        self.wake_everybody();
    }
}

impl Ring {
    /// Whether the position refers to the chain that was published there.
    fn refers(&self, position: u64) -> bool {
        self.cell(position).is_ok_and(|cell| {
            // O7: the slab asks `still` after this.
            cell.look().is_ok_and(|seen| {
                seen.ctl.pass(self.lap(position)) == Pass::Same
                    && matches!(seen.state, State::Large | State::Clearing | State::Stale)
            })
        })
    }
}
