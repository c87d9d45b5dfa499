//! Writing, under a stripe's lock.

use super::{
    find::probe,
    pair::Pair,
    slot::{Hashed, Root, Slot, home},
    table::{HAS_EXPIRY, Locked, Refusal},
};
use crate::{
    error::Damage,
    os::clock,
    prim::{AtomicU64, Relaxed, Release},
    slab::heap::{Item, Ref},
};

/// Slots that a write looks at for pairs that have expired, where there are such pairs.
const EXPIRED_A_WRITE: usize = 4;

/// When to do it.
#[derive(Debug, Clone, Copy)]
pub(super) enum When<'a> {
    Always,
    /// There is no such key.
    Absent,
    /// The key has a value.
    Present,
    /// The pair is still this one.
    Is(Ref),
    /// The value is encoded so.
    Holds(&'a [u8]),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// What was there before is the caller's, to be read and discarded; and whether it was still valid.
    Yes(Option<(Item, bool)>),
    /// The condition is not met.
    Unmet,
}

const DANGLING: Damage = Damage("a slot of the table refers to no pair");
const NO_ARRAY: Damage = Damage("a stripe of the table refers to no array");

/// What a search under the lock found.
enum Found<'a> {
    /// The key's.
    Here(&'a AtomicU64, Pair<'a>),
    /// The first slot that it could have.
    Room(&'a AtomicU64),
    Nowhere,
}

impl<'a> Locked<'a> {
    pub(super) fn root(&self) -> Root {
        Root(self.table.roots[self.stripe].load(Relaxed)) // I1
    }

    pub(super) fn slots(&self) -> Result<&'a [AtomicU64], Damage> {
        match self.root() {
            Root::NONE => Ok(&[]),
            root => self.table.slots(root).ok_or(NO_ARRAY),
        }
    }

    /// Part of its callers, so that the pair need not go to them through memory.
    #[inline(always)]
    fn find(&self, hashed: Hashed, key: &[u8]) -> Result<Found<'a>, Damage> {
        let mut room = None;
        for word in probe(self.slots()?, hashed.tag) {
            let slot = Slot(word.load(Relaxed)); // I1
            if slot.is_empty() {
                return Ok(Found::Room(room.unwrap_or(word)));
            }
            let Some(name) = slot.name() else {
                room = room.or(Some(word));
                continue;
            };
            if slot.tag() == hashed.tag {
                let pair = self.table.pair(name).ok_or(DANGLING)?;
                if pair.has_key(key) {
                    return Ok(Found::Here(word, pair));
                }
            }
        }
        Ok(room.map_or(Found::Nowhere, Found::Room))
    }

    /// Has `item` be the pair of the key.
    #[inline]
    pub(super) fn put(
        &mut self,
        hashed: Hashed,
        key: &[u8],
        item: &Item,
        when: When<'_>,
    ) -> Result<Done, Refusal> {
        let slot = Slot::new(hashed.tag, item.name());
        let found = self.find(hashed, key)?;
        let is_met = found.meets(when);
        match found {
            _ if !is_met => Ok(Done::Unmet),
            Found::Here(word, pair) => {
                let is_valid = !pair.is_expired();
                let old = self.table.heap.claim(self.me, pair.view.name())?;
                word.store(slot.0, Release); // O2
                self.table.heap.publish(item);
                Ok(Done::Yes(Some((old, is_valid))))
            }
            Found::Room(_) | Found::Nowhere => {
                let word = self.make_room(hashed, found)?;
                let was_gone = !Slot(word.load(Relaxed)).is_empty();
                word.store(slot.0, Release); // O2
                self.table.heap.publish(item);
                self.used += 1;
                self.gone = self.gone.saturating_sub(usize::from(was_gone));
                Ok(Done::Yes(None))
            }
        }
    }

    /// Removes the key's pair.
    pub(super) fn take(
        &mut self,
        hashed: Hashed,
        key: &[u8],
        when: When<'_>,
    ) -> Result<Done, Refusal> {
        let found = self.find(hashed, key)?;
        let is_met = found.meets(when);
        match found {
            _ if !is_met => Ok(Done::Unmet),
            Found::Here(word, pair) => {
                let is_valid = !pair.is_expired();
                let old = self.take_out(word, pair.view.name())?;
                self.shrink();
                Ok(Done::Yes(Some((old, is_valid))))
            }
            _ => Ok(Done::Yes(None)),
        }
    }

    /// Empties a slot that has this pair.
    pub(super) fn take_out(&mut self, word: &AtomicU64, name: Ref) -> Result<Item, Damage> {
        let old = self.table.heap.claim(self.me, name)?;
        word.store(Slot::GONE.0, Relaxed); // no name, so nothing that its reader is to see
        self.used = self.used.saturating_sub(1);
        self.gone += 1;
        Ok(old)
    }

    /// The slot for a key that is not there.
    fn make_room(&mut self, hashed: Hashed, found: Found<'a>) -> Result<&'a AtomicU64, Refusal> {
        let slots = self.slots()?.len();
        if let Found::Room(word) = found {
            let is_new = Slot(word.load(Relaxed)).is_empty();
            // A slot that was never used must stay, or a search would go all the way round.
            if !is_new || (self.used + self.gone + 1) * 4 <= slots * 3 {
                return Ok(word);
            }
        }
        match self.grow() {
            Ok(()) => {}
            Err(Refusal::Full { .. } | Refusal::TooLarge) if self.used + self.gone + 1 < slots => {}
            Err(refusal) => return Err(refusal),
        }
        let slots = self.slots()?;
        let start = home(hashed.tag, slots.len());
        let (before, from) = slots.split_at(start);
        let is_room = |word: &&AtomicU64| Slot(word.load(Relaxed)).name().is_none();
        let mut all = from.iter().chain(before);
        all.find(is_room).ok_or(Refusal::Damage(Damage(
            "a stripe of the table has no empty slot",
        )))
    }

    /// A pair of the stripe, from slot `start` on, and its slot.
    pub(super) fn any(&self, start: usize) -> Result<Option<(&'a AtomicU64, Pair<'a>)>, Damage> {
        let slots = self.slots()?;
        let (before, from) = slots.split_at(start.min(slots.len()));
        for word in from.iter().chain(before) {
            if let Some(name) = Slot(word.load(Relaxed)).name() {
                let pair = self.table.pair(name).ok_or(DANGLING)?;
                return Ok(Some((word, pair)));
            }
        }
        Ok(None)
    }
}

/// What a look through a whole stripe does, under its lock.
impl<'a> Locked<'a> {
    /// The key's pair, if it has not expired.
    pub(super) fn read(&self, hashed: Hashed, key: &[u8]) -> Result<Option<Pair<'a>>, Damage> {
        match self.find(hashed, key)? {
            Found::Here(_, pair) if !pair.is_expired() => Ok(Some(pair)),
            _ => Ok(None),
        }
    }

    /// Calls `read` on each pair that has not expired.
    pub(super) fn read_all(&self, read: &mut impl FnMut(&Pair<'_>)) -> Result<(), Damage> {
        for word in self.slots()? {
            if let Some(name) = Slot(word.load(Relaxed)).name() {
                let pair = self.table.pair(name).ok_or(DANGLING)?;
                if !pair.is_expired() {
                    read(&pair);
                }
            }
        }
        Ok(())
    }

    /// Removes all pairs, or all that have expired. Returns how many.
    pub(super) fn clear(&mut self, only_expired: bool) -> Result<usize, Damage> {
        let mut removed = 0;
        for word in self.slots()? {
            let Some(name) = Slot(word.load(Relaxed)).name() else {
                continue;
            };
            let pair = self.table.pair(name);
            let is_to_go = !only_expired || pair.ok_or(DANGLING)?.is_expired();
            if is_to_go {
                let item = self.take_out(word, name)?;
                if let Some(pair) = &pair {
                    self.tell_of_end(pair);
                }
                self.table.heap.discard(self.me, item)?;
                removed += 1;
            }
        }
        if only_expired {
            self.shrink();
        } else {
            self.drop_array()?;
        }
        Ok(removed)
    }

    /// Takes a few pairs out that have expired, where there may be such pairs.
    #[inline]
    pub(super) fn take_some_expired(&mut self) -> Result<Vec<Item>, Damage> {
        let may_be_some = self.table.facts.0[HAS_EXPIRY].load(Relaxed) != 0;
        if may_be_some {
            self.look_for_expired()
        } else {
            Ok(Vec::new())
        }
    }

    #[cold]
    fn look_for_expired(&mut self) -> Result<Vec<Item>, Damage> {
        let slots = self.slots()?;
        // Somewhere else each time: the time is as good as a random number.
        let start = clock::unix_ns() as usize / 100 % slots.len().max(1);
        let mut expired = Vec::new();
        for word in slots.iter().skip(start).take(EXPIRED_A_WRITE) {
            let Some(name) = Slot(word.load(Relaxed)).name() else {
                continue;
            };
            let pair = self.table.pair(name).ok_or(DANGLING)?;
            if pair.is_expired() {
                expired.push(self.take_out(word, name)?);
                self.tell_of_end(&pair);
            }
        }
        Ok(expired)
    }
}

impl Found<'_> {
    #[inline(always)]
    fn meets(&self, when: When<'_>) -> bool {
        let pair = match self {
            Found::Here(_, pair) if !pair.is_expired() => Some(pair),
            _ => None,
        };
        match when {
            When::Always => true,
            When::Absent => pair.is_none(),
            When::Present => pair.is_some(),
            When::Is(name) => pair.is_some_and(|pair| pair.view.name() == name),
            When::Holds(value) => pair.is_some_and(|pair| pair.has_value(value)),
        }
    }
}
