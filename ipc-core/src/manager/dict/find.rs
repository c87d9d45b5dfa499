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
pub(super) enum Look<'a> {
    Found(Sight<'a>),
    Absent,
    /// What was looked at changed meanwhile, or lies.
    Overtaken,
}

/// The key's pair, found in a table that may change meanwhile.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub(super) pair: Pair<'a>,
    is_expired: bool,
    at: &'a AtomicU64,
    root: Root,
}

impl Sight<'_> {
    /// Whether all that was read of the pair so far was the key's pair, and not gone; `None` if it changed meanwhile.
    #[inline(always)]
    pub(super) fn is_valid(&self) -> Option<bool> {
        // By then the fence of `is_still` is behind all that was read (O1).
        let is_still = self.pair.view.is_still() && self.at.load(Relaxed) == self.root.0;
        is_still.then_some(!self.is_expired)
    }
}

impl Table {
    /// As [`Self::look`], only where most pairs are: at the first slot with the key's tag, among the first few. Without a loop and a second
    /// try, the processor is through before the pair is there, and goes on with what comes next.
    #[inline(always)]
    pub(super) fn glance(&self, hashed: Hashed, key: &[u8]) -> Option<Sight<'_>> {
        let (at, root) = (&self.roots[hashed.stripe], self.root(hashed.stripe));
        let slot = Candidates::new(self.slots(root)?, hashed.tag).near()?;
        let pair = self.pair(slot.name()?)?;
        pair.has_key(key).then(|| Sight {
            is_expired: pair.is_expired(),
            pair,
            at,
            root,
        })
    }

    /// Looks for a key. What is read of its pair counts only if [`Sight::is_valid`] says so afterwards.
    pub(super) fn look(&self, hashed: Hashed, key: &[u8]) -> Look<'_> {
        let (at, root) = (&self.roots[hashed.stripe], self.root(hashed.stripe));
        let Some(slots) = self.slots(root) else {
            return self.absent(hashed.stripe, root);
        };
        for slot in Candidates::new(slots, hashed.tag) {
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
            return Look::Found(Sight {
                pair,
                is_expired,
                at,
                root,
            });
        }
        self.absent(hashed.stripe, root)
    }

    #[inline]
    fn absent(&self, stripe: usize, root: Root) -> Look<'_> {
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

    #[inline(always)]
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
        prim::acquire_fence(); // O1: of all slots
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

/// Slots that are compared at a time. Which of them has the key is hard to foretell, and each wrong guess of the processor's costs more
/// than comparing all.
const AT_A_TIME: usize = 4;

/// The slots that have a tag, in the order in which it is searched, up to the first that was never used.
struct Candidates<'a> {
    slots: &'a [AtomicU64],
    tag: u16,
    at: usize,
    /// Slots that were not looked at.
    left: usize,
}

impl<'a> Candidates<'a> {
    #[inline(always)]
    fn new(slots: &'a [AtomicU64], tag: u16) -> Self {
        Self {
            slots,
            tag,
            at: home(tag, slots.len()),
            left: slots.len(),
        }
    }

    /// The first one, if it is near; or a slot that was never used.
    #[inline(always)]
    fn near(&self) -> Option<Slot> {
        let slot = self.slot(self.at + self.unmarked())?;
        (slot.tag() == self.tag).then_some(slot)
    }

    #[inline(always)]
    fn slot(&self, at: usize) -> Option<Slot> {
        Some(Slot(self.slots.get(at)?.load(Acquire))) // O2
    }

    /// How many of the next slots do not matter. None are looked at where they do not follow one another.
    #[inline(always)]
    fn unmarked(&self) -> usize {
        let Some(next) = self.slots.get(self.at..self.at + AT_A_TIME) else {
            return 0;
        };
        let mut marks = 1 << AT_A_TIME;
        for (number, slot) in next.iter().enumerate() {
            // What is passed over needs no ordering; what is not is loaded again.
            let slot = Slot(slot.load(Relaxed));
            marks |= u32::from(slot.is_empty() | (slot.tag() == self.tag)) << number;
        }
        marks.trailing_zeros() as usize
    }
}

impl Iterator for Candidates<'_> {
    type Item = Slot;

    #[inline(always)]
    fn next(&mut self) -> Option<Slot> {
        loop {
            let skip = self.unmarked();
            // More than there are where it has come round again.
            self.left = self.left.checked_sub(skip).filter(|left| *left > 0)?;
            self.at += skip;
            if skip == AT_A_TIME {
                continue;
            }
            if self.at == self.slots.len() {
                self.at = 0;
            }
            let slot = self.slot(self.at)?;
            self.at += 1;
            self.left -= 1;
            if slot.is_empty() {
                return None;
            }
            if slot.tag() == self.tag {
                return Some(slot);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_candidates_are_all_slots_with_the_tag_up_to_one_that_was_never_used() {
        let mut random = 1_u64;
        let mut random = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let tags = [0, 1, 0x4000, 0x7fff, 0xc000, 0xffff];
        for round in 0..3000 {
            let slots: Vec<AtomicU64> = (0..8 * (1 + random(4)))
                .map(|_| match random(8 + round % 40) {
                    0 => 0,
                    1 => Slot::GONE.0,
                    any => u64::from(tags[any as usize % tags.len()]) << 48 | (1 + random(99)),
                })
                .map(AtomicU64::new)
                .collect();
            for tag in tags {
                let words = probe(&slots, tag).map(|slot| Slot(slot.load(Relaxed)));
                let used = words.take_while(|slot| !slot.is_empty());
                let wanted: Vec<Slot> = used.filter(|slot| slot.tag() == tag).collect();
                let found: Vec<Slot> = Candidates::new(&slots, tag).collect();
                assert_eq!(found, wanted, "{slots:x?}, {tag:x}");
                let near = Candidates::new(&slots, tag).near();
                if let Some(near) = near.filter(|slot| !slot.is_empty()) {
                    assert_eq!(Some(&near), wanted.first(), "{slots:x?}, {tag:x}");
                }
            }
        }
    }
}
