//! The table with its waiting and its errors: what all handles of a process on one dictionary share. Keys and values are bytes here.

use core::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use std::sync::Arc;

use super::{
    change::{Done, When},
    errors::DictError,
    find::Look,
    pair::{MOST_KEY, NewPair, Pair},
    slot::{Hashed, Root},
    table::{HAS_EXPIRY, Refusal, Table},
};
use crate::{
    error::Damage,
    object::{
        lifetime::Object,
        membership::Membership,
        participant::Owner,
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, Waiting},
    },
    os::process,
    prim::{self, Relaxed},
    slab::heap::Item,
};

/// How often a reader looks before it waits for the stripe: each time somebody was faster than it.
const LOOKS: u32 = 100;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) member: Membership,
    pub(super) table: Arc<Table>,
    patience: Patience,
    /// Where the next search for any pair begins. A hint.
    cursor: AtomicUsize,
}

/// How calls wait.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    pub(super) strategy: WaitStrategy,
    /// For a stripe, or for who lets the heap grow; `None` without end.
    pub(super) timeout: Option<Duration>,
}

/// What reads a pair. Not a closure: that would not always be part of its caller, and the pair would go to it through memory, which takes
/// as long as all the rest, as loads wait for narrower stores to reach the cache.
pub(super) trait Reader {
    /// Reads what the pair says now, instead of what was read before.
    fn read(&mut self, pair: &Pair<'_>);

    /// The same, where that is not often done.
    fn read_copy(&mut self, pair: Pair<'_>);
}

/// Reads nothing.
#[derive(Debug)]
pub(super) struct Onlooker;

impl Reader for Onlooker {
    #[inline(always)]
    fn read(&mut self, _: &Pair<'_>) {}

    fn read_copy(&mut self, _: Pair<'_>) {}
}

/// An item that is in no table yet: discarded, unless it is taken.
struct Made<'a> {
    table: &'a Table,
    me: Owner,
    item: Option<Item>,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            let _ = self.table.heap.discard(self.me, item); // what it says, the next operation says
        }
    }
}

impl Inner {
    pub(super) fn new(object: Arc<Object>, table: Arc<Table>) -> Self {
        Self {
            member: Membership::new(object),
            table,
            patience: Patience::new(),
            cursor: AtomicUsize::new(0),
        }
    }

    /// Has `reader` read the key's pair, perhaps several times; what it read last counts. Whether there is one.
    #[inline(always)]
    pub(super) fn get(
        &self,
        manner: Manner,
        key: &[u8],
        reader: &mut impl Reader,
    ) -> Result<bool, DictError> {
        self.member.check()?;
        let hashed = self.table.hashed(key);
        if let Some(sight) = self.table.glance(hashed, key) {
            reader.read(&sight.pair);
            if let Some(is_there) = sight.is_valid() {
                self.member.check_whole()?;
                return Ok(is_there);
            }
        }
        self.get_on(manner, hashed, key, reader)
    }

    #[inline(never)]
    fn get_on(
        &self,
        manner: Manner,
        hashed: Hashed,
        key: &[u8],
        reader: &mut dyn Reader,
    ) -> Result<bool, DictError> {
        for _ in 0..LOOKS {
            let found = match self.table.look(hashed, key) {
                Look::Found(sight) => {
                    reader.read(&sight.pair);
                    sight.is_valid()
                }
                Look::Absent => Some(false),
                Look::Overtaken => None,
            };
            if let Some(is_there) = found {
                self.member.check_whole()?;
                return Ok(is_there);
            }
            prim::spin_loop();
        }
        self.get_locked(manner, hashed, key, reader)
    }

    #[cold]
    fn get_locked(
        &self,
        manner: Manner,
        hashed: Hashed,
        key: &[u8],
        reader: &mut dyn Reader,
    ) -> Result<bool, DictError> {
        self.change(manner, 0, |me, is_patient| {
            let locked = self.table.lock(me, hashed.stripe, is_patient)?;
            let pair = locked.read(hashed, key)?;
            Ok(pair.map(|pair| reader.read_copy(pair)).is_some())
        })
    }

    /// Has the pair be in the table, if the condition is met. `read` is called on the pair that was there. Whether it was met.
    pub(super) fn put(
        &self,
        manner: Manner,
        new: NewPair<'_>,
        when: When<'_>,
        mut read: impl FnMut(&Pair<'_>),
    ) -> Result<bool, DictError> {
        let table = &*self.table;
        let bytes = new.key.len() + new.value.len();
        if new.key.len() > MOST_KEY {
            return Err(self.refused(Refusal::TooLarge, bytes));
        }
        let hashed = table.hashed(new.key);
        let expiry = new.expiry.to_ne_bytes();
        let parts = [&expiry[..], new.key, new.value];
        let parts = if new.expiry == 0 { &parts[1..] } else { &parts };
        if new.expiry != 0 {
            table.facts.0[HAS_EXPIRY].store(1, Relaxed);
        }
        let mut made: Option<Made<'_>> = None;
        self.change(manner, bytes, |me, is_patient| {
            let made = match &mut made {
                Some(made) => made,
                none => none.insert(Made {
                    table,
                    me,
                    item: Some(table.heap.store(me, new.info(), parts)?),
                }),
            };
            let Some(item) = &made.item else {
                return Ok(false); // it was put already
            };
            let mut locked = table.lock(me, hashed.stripe, is_patient)?;
            let done = locked.put(hashed, new.key, item, when)?;
            if let Done::Yes(_) = done {
                locked.tell_of_pair(new);
            }
            let expired = locked.take_some_expired()?;
            drop(locked);
            self.discard_all(me, expired)?;
            match done {
                Done::Unmet => Ok(false),
                Done::Yes(old) => {
                    made.item = None; // the table's
                    self.finish(me, old, &mut read)?;
                    Ok(true)
                }
            }
        })
    }

    /// Removes the key's pair, if the condition is met, and calls `read` on it. Whether it was met.
    pub(super) fn take(
        &self,
        manner: Manner,
        key: &[u8],
        when: When<'_>,
        mut read: impl FnMut(&Pair<'_>),
    ) -> Result<bool, DictError> {
        let hashed = self.table.hashed(key);
        self.change(manner, 0, |me, is_patient| {
            let mut locked = self.table.lock(me, hashed.stripe, is_patient)?;
            let done = locked.take(hashed, key, when)?;
            if let Done::Yes(Some((_, is_valid))) = done {
                locked.tell_of_end_of(key, is_valid);
            }
            drop(locked);
            match done {
                Done::Unmet => Ok(false),
                Done::Yes(old) => {
                    self.finish(me, old, &mut read)?;
                    Ok(true)
                }
            }
        })
    }

    /// Reads what was taken out of the table, and frees it.
    #[inline]
    fn finish(
        &self,
        me: Owner,
        old: Option<(Item, bool)>,
        read: &mut impl FnMut(&Pair<'_>),
    ) -> Result<(), Refusal> {
        let Some((item, is_valid)) = old else {
            return Ok(());
        };
        if is_valid && let Some(pair) = self.table.pair(item.name()) {
            read(&pair);
        }
        Ok(self.table.heap.discard(me, item)?)
    }

    fn discard_all(&self, me: Owner, items: Vec<Item>) -> Result<(), Refusal> {
        for item in items {
            self.table.heap.discard(me, item)?;
        }
        Ok(())
    }

    /// Removes any pair that has not expired, and calls `read` on it. Whether there was one.
    pub(super) fn take_any(
        &self,
        manner: Manner,
        mut read: impl FnMut(&Pair<'_>),
    ) -> Result<bool, DictError> {
        let stripes = self.table.geometry.stripes;
        let start = self.cursor.load(Ordering::Relaxed).min(stripes);
        for stripe in (start..stripes).chain(0..start) {
            while self.table.root(stripe) != Root::NONE {
                let taken = self.take_any_of(manner, stripe, &mut read)?;
                match taken {
                    None => break,
                    Some(false) => {} // it had expired
                    Some(true) => {
                        self.cursor.store(stripe, Ordering::Relaxed);
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Removes a pair of a stripe, if there is one. Whether it was valid.
    fn take_any_of(
        &self,
        manner: Manner,
        stripe: usize,
        read: &mut impl FnMut(&Pair<'_>),
    ) -> Result<Option<bool>, DictError> {
        self.change(manner, 0, |me, is_patient| {
            let mut locked = self.table.lock(me, stripe, is_patient)?;
            let Some((slot, pair)) = locked.any(0)? else {
                return Ok(None);
            };
            let is_valid = !pair.is_expired();
            let item = locked.take_out(slot, pair.view.name())?;
            locked.tell_of_end(&pair);
            locked.shrink();
            drop(locked);
            self.finish(me, Some((item, is_valid)), read)?;
            Ok(Some(is_valid))
        })
    }

    /// Removes all pairs that are in the table when it comes to them, one stripe after the other; or all that have expired. How many.
    pub(super) fn clear(&self, manner: Manner, only_expired: bool) -> Result<usize, DictError> {
        let mut removed = 0;
        for stripe in 0..self.table.geometry.stripes {
            if self.table.root(stripe) == Root::NONE {
                continue;
            }
            removed += self.change(manner, 0, |me, is_patient| {
                let mut locked = self.table.lock(me, stripe, is_patient)?;
                let removed = locked.clear(only_expired)?;
                drop(locked);
                Ok(removed)
            })?;
        }
        self.change(manner, 0, |me, _| Ok(self.table.heap.give_all_back(me)?))?;
        Ok(removed)
    }

    /// Locks every stripe, calls `read` on every pair, and unlocks them.
    pub(super) fn snapshot(
        &self,
        manner: Manner,
        mut read: impl FnMut(&Pair<'_>),
    ) -> Result<(), DictError> {
        let mut all = Vec::with_capacity(self.table.geometry.stripes);
        for stripe in 0..self.table.geometry.stripes {
            // In order of stripes: nobody waits for one while holding a later one.
            all.push(self.change(manner, 0, |me, is_patient| {
                self.table.lock(me, stripe, is_patient)
            })?);
        }
        for locked in &all {
            locked
                .read_all(&mut read)
                .map_err(|damage| self.member.remember(damage))?;
        }
        drop(all);
        Ok(self.member.check_whole()?)
    }

    /// Calls `attempt` until it is done. `bytes` are those of the pair, for errors.
    #[inline]
    pub(super) fn change<R>(
        &self,
        manner: Manner,
        bytes: usize,
        mut attempt: impl FnMut(Owner, bool) -> Result<R, Refusal>,
    ) -> Result<R, DictError> {
        let me = self.member.ready()?;
        // The next attempts are a wait's, which has a patience of its own.
        let is_patient = manner.strategy != WaitStrategy::Sleep && process::cores() > 1;
        let changed = match attempt(me, is_patient) {
            Ok(done) => done,
            Err(refusal) => self.insist(manner, bytes, me, refusal, &mut || attempt(me, false))?,
        };
        self.member.check_whole()?;
        Ok(changed)
    }

    #[cold]
    fn insist<R>(
        &self,
        manner: Manner,
        bytes: usize,
        me: Owner,
        first: Refusal,
        attempt: &mut impl FnMut() -> Result<R, Refusal>,
    ) -> Result<R, DictError> {
        let mut has_made_room = false;
        let mut refusal = first;
        loop {
            refusal = match refusal {
                Refusal::Held(_) | Refusal::Growing => {
                    match self.wait(manner, me, refusal, attempt)? {
                        Ok(done) => return Ok(done),
                        Err(refusal) => refusal,
                    }
                }
                Refusal::Full { .. } if !has_made_room => {
                    has_made_room = true;
                    self.make_room(manner)?;
                    match attempt() {
                        Ok(done) => return Ok(done),
                        Err(refusal) => refusal,
                    }
                }
                refusal => return Err(self.refused(refusal, bytes)),
            };
        }
    }

    /// Frees what belongs to nobody any more.
    fn make_room(&self, manner: Manner) -> Result<(), DictError> {
        self.member.found_dead();
        if self.table.facts.0[HAS_EXPIRY].load(Relaxed) != 0 {
            self.clear(manner, true)?;
        }
        Ok(())
    }

    /// Waits until the attempt is not refused because somebody is at work.
    fn wait<R>(
        &self,
        manner: Manner,
        me: Owner,
        refusal: Refusal,
        attempt: &mut impl FnMut() -> Result<R, Refusal>,
    ) -> Result<Result<R, Refusal>, DictError> {
        let table = &*self.table;
        let word_of = |refusal: &Refusal| match refusal {
            Refusal::Held(stripe) => Some(&table.lock_of(*stripe).main),
            Refusal::Growing => Some(table.heap.growth()),
            _ => None,
        };
        let waiting = Waiting {
            word: word_of(&refusal).unwrap_or(table.heap.growth()),
            strategy: manner.strategy,
            patience: &self.patience,
            deadline: manner.timeout.map_or(Deadline::NEVER, Deadline::after),
            notes: Notes::Table(&table.notes, me),
        };
        let ended = waiting.until(
            || match attempt() {
                Ok(done) => Attempt::Done(Ok(Ok(done))),
                Err(refusal) => match word_of(&refusal) {
                    Some(word) => Attempt::Unsettled(word),
                    None => Attempt::Done(Ok(Err(refusal))),
                },
            },
            || true,
            || self.look().map(Err),
        );
        ended.unwrap_or(Err(DictError::Timeout))
    }

    /// Looks for the dead; `Some` if that fails.
    pub(super) fn look(&self) -> Option<DictError> {
        let looked = self.member.object.look().map_err(DictError::from);
        let whole = || self.member.check_whole().map_err(DictError::from);
        looked.and_then(|_| whole()).err()
    }

    /// The object is damaged, as later calls will say, too.
    pub(super) fn damaged(&self, damage: Damage) -> DictError {
        DictError::Failed(self.member.remember(damage))
    }

    #[cold]
    fn refused(&self, refusal: Refusal, bytes: usize) -> DictError {
        match refusal {
            Refusal::Full { needed, available } => DictError::NoSpace {
                needed: needed.max(bytes as u64),
                available,
            },
            Refusal::TooLarge => DictError::TooLarge {
                len: bytes,
                max: self.table.geometry.heap.bytes(),
            },
            Refusal::Damage(damage) => self.damaged(damage),
            Refusal::Held(_) | Refusal::Growing => DictError::Timeout,
        }
    }
}
