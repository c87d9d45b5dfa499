//! Reading without a lock.

use super::{
    pair::Pair,
    slot::{Hashed, Root, Slot, home},
    table::Table,
};
use crate::{
    prim::{self, Acquire, AtomicU64, Relaxed},
    slab::heap::Ref,
};

/// What one look found.
#[derive(Debug)]
pub(super) enum Look<R> {
    Found(R),
    Absent,
    /// What was looked at changed meanwhile, or lies.
    Overtaken,
}

impl Table {
    /// Looks for a key, and calls `read` on its pair. What that returns counts only if nothing changed meanwhile.
    #[inline]
    pub(super) fn look<R>(
        &self,
        hashed: Hashed,
        key: &[u8],
        read: impl FnOnce(&Pair<'_>) -> R,
    ) -> Look<R> {
        let root = self.root(hashed.stripe);
        let Some(slots) = self.slots(root) else {
            return self.absent(hashed.stripe, root);
        };
        for slot in probe(slots, hashed.tag) {
            let slot = Slot(slot.load(Acquire)); // O2
            if slot.is_empty() {
                break;
            }
            if slot.tag() != hashed.tag {
                continue;
            }
            let Some(name) = slot.name() else {
                continue;
            };
            let Some(pair) = self.pair(name) else {
                return Look::Overtaken;
            };
            if !pair.has_key(key) {
                if pair.view.is_still() {
                    continue;
                }
                return Look::Overtaken;
            }
            let is_expired = pair.is_expired();
            let result = read(&pair);
            // By then the fence of `is_still` is behind all that was read.
            return match (pair.view.is_still(), self.is_still(hashed.stripe, root)) {
                (true, true) if is_expired => Look::Absent,
                (true, true) => Look::Found(result),
                _ => Look::Overtaken,
            };
        }
        self.absent(hashed.stripe, root)
    }

    #[inline]
    fn absent<R>(&self, stripe: usize, root: Root) -> Look<R> {
        prim::acquire_fence(); // O1
        let is_lie = root != Root::NONE && self.slots(root).is_none();
        if is_lie || !self.is_still(stripe, root) {
            return Look::Overtaken;
        }
        Look::Absent
    }

    /// Whether the stripe has the same array as before; behind a fence (O1).
    #[inline]
    fn is_still(&self, stripe: usize, root: Root) -> bool {
        self.roots[stripe].load(Relaxed) == root.0
    }

    #[inline]
    pub(super) fn pair(&self, name: Ref) -> Option<Pair<'_>> {
        Pair::of(self.heap.view(name)?)
    }

    /// Calls `read` on each pair of a stripe, without those that have expired, as far as `read` says that it was there. `None` if the stripe
    /// got another array meanwhile, or lies.
    pub(super) fn look_at_all(
        &self,
        stripe: usize,
        mut read: impl FnMut(u16, &Pair<'_>) -> bool,
    ) -> Option<()> {
        let root = self.root(stripe);
        if root == Root::NONE {
            return Some(());
        }
        for slot in self.slots(root)? {
            // Each time the pair was replaced, somebody else has come on; and a pair that is gone is not looked for.
            for _ in 0..REPLACED {
                let seen = Slot(slot.load(Acquire)); // O2
                let Some(name) = seen.name() else {
                    break;
                };
                let is_done = self
                    .pair(name)
                    .is_some_and(|pair| pair.is_expired() || read(seen.tag(), &pair));
                if is_done {
                    break;
                }
                if Slot(slot.load(Relaxed)) == seen {
                    return None;
                }
            }
        }
        prim::acquire_fence(); // O1
        self.is_still(stripe, root).then_some(())
    }
}

/// How often a pair may be replaced under the eyes of who looks at all.
const REPLACED: usize = 1000;

/// The slots in the order in which a tag is searched.
#[inline]
pub(super) fn probe(slots: &[AtomicU64], tag: u16) -> impl Iterator<Item = &AtomicU64> {
    let (before, from) = slots.split_at(home(tag, slots.len()));
    from.iter().chain(before)
}
