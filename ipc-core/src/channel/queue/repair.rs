//! What survivors do with the cells of the dead.

use super::{
    cell::{Ctl, Pass, Seen, State},
    ring::Ring,
};
use crate::{
    error::Damage,
    object::participant::{Dead, Owner, Repair},
    prim::{Relaxed, Release},
};

impl Repair for Ring {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.repair_all_but(dead, |_| false)
    }

    fn names(&self, owner: Owner) -> bool {
        let loans = self.loans.as_ref();
        loans.is_some_and(|loans| loans.is_lent_to(owner, |position| self.refers(position)))
    }

    fn wake_all(&self) {
        let gate = self.gate();
        gate.items.wake_all();
        gate.space.wake_all();
        gate.blocks.wake_all();
    }
}

impl Ring {
    /// [`Repair::repair`], but for the blocks of messages that lie elsewhere by now, by the positions at which they were put.
    pub(in crate::channel) fn repair_all_but(
        &self,
        dead: &Dead<'_>,
        lies_elsewhere: impl Fn(u64) -> bool,
    ) -> Result<(), Damage> {
        let mut has_orphans = false;
        for cell in self.all_cells() {
            // O7: before `still`. Of no known state: left as it is, and found by who uses it.
            let Ok(Seen { ctl: seen, state }) = cell.look() else {
                continue;
            };
            let next = match state {
                State::Orphan => {
                    has_orphans = true; // perhaps of a sweeper that died before it counted (I3)
                    continue;
                }
                State::Writing if seen.is_claimed_by(dead.owner()) => Ctl::tomb(seen.lap()),
                State::Reading if seen.is_claimed_by(dead.owner()) => seen.orphan(),
                _ => continue,
            };
            if !dead.still() {
                self.count_orphans(has_orphans);
                return Ok(()); // another sweeper has finished
            }
            // Whoever did it: each that may free the slot counts what it has seen (I3).
            has_orphans |= next.state() == Some(State::Orphan);
            let _ = cell
                .ctl()
                .compare_exchange(seen.0, next.0, Release, Relaxed); // O8
        }
        self.count_orphans(has_orphans);
        if let Some(slab) = &self.slab {
            slab.repair(dead, |position| {
                self.refers(position) || lies_elsewhere(position)
            });
        }
        if let Some(loans) = &self.loans {
            loans.repair(dead, |position| self.refers(position));
        }
        self.notes.repair(dead, |_| {})
    }

    fn count_orphans(&self, are_there: bool) {
        if are_there {
            self.gate().orphans.fetch_add(1, Release); // O5, I3
        }
    }

    /// Whether the position refers to the chain that was published there.
    fn refers(&self, position: u64) -> bool {
        self.cell(position).is_ok_and(|cell| {
            // O7: the slab asks `still` after this.
            cell.look().is_ok_and(|seen| {
                seen.ctl.pass(self.lap(position)) == Pass::Same
                    && matches!(seen.state, State::Full | State::Reading | State::Orphan)
            })
        })
    }
}
