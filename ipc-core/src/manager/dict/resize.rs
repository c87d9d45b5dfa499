//! A stripe's array, made anew.

use super::{
    pair,
    slot::{Root, Slot, home},
    table::{Locked, Refusal},
};
use crate::{
    error::Damage,
    prim::{AtomicU64, Relaxed, Release},
};

impl Locked<'_> {
    /// Gives the stripe an array with more room; of the same size, if most of the old one was of slots that are not in use any more.
    #[cold]
    pub(super) fn grow(&mut self) -> Result<(), Refusal> {
        let slots = self.slots()?.len();
        let wanted = if (self.used + 1) * 2 > slots {
            slots * 2
        } else {
            slots
        };
        self.rebuild(wanted)
    }

    /// Gives the stripe a smaller array, if it is much too large. Not if there is no memory for that.
    pub(super) fn shrink(&mut self) {
        let slots = self.root().slots();
        if slots > 4 * Root::UNIT && self.used * 8 < slots {
            let _ = self.rebuild(self.used * 2);
        }
    }

    /// Gives the stripe an array of about `wanted` slots.
    fn rebuild(&mut self, wanted: usize) -> Result<(), Refusal> {
        let heap = &self.table.heap;
        let most = heap.most_in_one_block().min(Root::MOST);
        let least = wanted.max(self.used + 1).max(Root::UNIT).min(most);
        let room = heap.room_for(least).unwrap_or(least).min(most);
        let slots = room / Root::UNIT * Root::UNIT;
        if slots <= self.used {
            return Err(Refusal::TooLarge);
        }
        let info = pair::info_of_array(self.stripe);
        let (array, new) = heap.blank(self.me, info, slots)?;
        for slot in self.slots()? {
            let slot = Slot(slot.load(Relaxed));
            if slot.name().is_some() {
                place(new, slot);
            }
        }
        self.change_root(Root::new(slots, array.name()))?;
        heap.publish(&array);
        self.gone = 0;
        Ok(())
    }

    /// Takes the array away from a stripe that has no pairs.
    pub(super) fn drop_array(&mut self) -> Result<(), Damage> {
        self.change_root(Root::NONE)?;
        (self.used, self.gone) = (0, 0);
        Ok(())
    }

    fn change_root(&self, next: Root) -> Result<(), Damage> {
        let heap = &self.table.heap;
        let old = match self.root().name() {
            Some(name) => Some(heap.claim(self.me, name)?),
            None => None,
        };
        self.table.roots[self.stripe].store(next.0, Release); // O1
        match old {
            Some(old) => heap.discard(self.me, old),
            None => Ok(()),
        }
    }
}

/// Puts a slot into an array that nobody else sees yet, and that has room.
fn place(slots: &[AtomicU64], slot: Slot) {
    let (before, from) = slots.split_at(home(slot.tag(), slots.len()));
    let mut all = from.iter().chain(before);
    if let Some(word) = all.find(|word| Slot(word.load(Relaxed)).is_empty()) {
        word.store(slot.0, Relaxed);
    }
}
