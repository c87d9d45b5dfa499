//! What a sweep does to the table.

use super::{
    find::probe,
    pair::{self, Pair},
    slot::{Root, Slot},
    table::Table,
};
use crate::{
    error::Damage,
    object::participant::{Dead, Owner, Repair},
    prim::{Acquire, AtomicU64},
    slab::heap::View,
};

impl Table {
    /// Whether the table has this item.
    fn refers_to(&self, item: &View<'_>) -> bool {
        let name = Some(item.name());
        if let Some(stripe) = pair::stripe_of_array(item) {
            let root = self.roots.get(stripe);
            return root.is_some_and(|root| Root(root.load(Acquire)).name() == name); // O1
        }
        let Some(pair) = Pair::of(*item) else {
            return false;
        };
        let mut key = Vec::new();
        if !pair.copy_key(&mut key) {
            return false; // half written
        }
        let hashed = self.hashed(&key);
        let slots = self.slots(self.root(hashed.stripe)).unwrap_or_default();
        let has = |slot: &AtomicU64| Slot(slot.load(Acquire)).name() == name; // O2
        probe(slots, hashed.tag).any(has)
    }
}

impl Repair for Table {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.heap.repair(dead, &|item| self.refers_to(item))?;
        self.notes.repair(dead, |_| {})?;
        for stripe in 0..self.geometry.stripes {
            let lock = self.lock_of(stripe);
            // Once too often, if another sweeper is as far: a watcher is told that it missed a change at the most.
            if lock.names(dead.owner()) && self.is_watched() && dead.still() {
                self.leave_untold(); // I5
            }
            lock.repair_hold(dead)?;
        }
        self.log.repair(dead)
    }

    fn names(&self, owner: Owner) -> bool {
        (0..self.geometry.stripes).any(|stripe| self.lock_of(stripe).names(owner))
            || self.log.names(owner)
    }

    fn wake_all(&self) {
        for stripe in 0..self.geometry.stripes {
            self.lock_of(stripe).main.wake_all();
        }
        self.heap.wake_all();
        self.log.wake_all();
    }
}
