//! What survivors do with the cells, the order and the lock of the dead.

use super::{
    cell::{Seen, State},
    pile::Pile,
};
use crate::{
    error::Damage,
    object::participant::{Dead, Owner, Repair},
    prim::{Relaxed, Release},
};

impl Repair for Pile {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        for (index, cell) in self.all_cells() {
            // O3: before `still`. Of no known state: left as it is, and found by who uses it.
            let Ok(Seen { ctl: seen, state }) = cell.look() else {
                continue;
            };
            let next = match state {
                // The dead may have been about to clear the bit, or to claim the cell (I1 of the room).
                State::Free => {
                    self.room.give_if_taken(index);
                    continue;
                }
                State::Writing if seen.owner_bits() == dead.owner().bits() => seen.freed(),
                State::Reading if seen.owner_bits() == dead.owner().bits() => seen.returned(),
                _ => continue,
            };
            if !dead.still() {
                return Ok(()); // another sweeper has finished
            }
            let exchange = cell
                .ctl()
                .compare_exchange(seen.0, next.0, Release, Relaxed); // O2, O4
            if exchange.is_ok() && state == State::Writing {
                self.room.give(index);
            }
        }
        self.count_orphans();
        self.head().repair_hold(dead)?;
        if let Some(slab) = &self.slab {
            slab.repair(dead, |position| self.refers(position));
        }
        self.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        self.head().names(owner)
    }

    fn wake_all(&self) {
        let gate = self.gate();
        self.head().main.wake_all();
        gate.items.wake_all();
        gate.space.wake_all();
        gate.blocks.wake_all();
    }
}

impl Pile {
    /// Whether the position refers to the chain that was published there.
    fn refers(&self, position: u64) -> bool {
        let index = position & ((1 << self.shift) - 1);
        self.cell(index).is_ok_and(|cell| {
            // O3: the slab asks `still` after this.
            cell.look().is_ok_and(|seen| {
                self.position(index, seen.ctl) == position
                    && matches!(seen.state, State::Full | State::Reading)
            })
        })
    }
}
