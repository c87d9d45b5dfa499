//! Telling watchers of changes: entries of the log, one for each change.
//!
//! Who begins to watch must be told of each change that it does not see for itself. So it says that somebody watches, and then locks each
//! stripe once: who had the lock before it, and did not know, has made a change that is seen behind the lock; who gets it later
//! knows. After that the dictionary is *settled*, for good, and the next watchers have nothing to do. Until then no writer pays more
//! than a look at a line that never changes.
//!
//! An entry: what happened (32 bits), bytes of the key (32 bits), the key, the value.

use super::{
    errors::DictError,
    inner::{Inner, Manner},
    pair::{NewPair, Pair},
    table::{Locked, Table, UNTOLD, WATCH},
};
use crate::{
    channel::broadcast::log::LogReader,
    error::Damage,
    prim::{Acquire, Relaxed, Release},
};

const BEGUN: u64 = 1;
const SETTLED: u64 = 2;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Set = 1,
    /// The value is too long for the log: to be read where it is.
    SetLarge,
    Removed,
    Expired,
}

const HEAD_BYTES: usize = 8;
const GARBAGE: Damage = Damage("an entry of the log is none");

/// An entry, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News<'a> {
    pub(super) event: Event,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> News<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut entry = Vec::with_capacity(HEAD_BYTES + self.key.len() + self.value.len());
        entry.extend_from_slice(&(self.event as u32).to_ne_bytes());
        entry.extend_from_slice(&(self.key.len() as u32).to_ne_bytes()); // a key is not that long
        entry.extend_from_slice(self.key);
        entry.extend_from_slice(self.value);
        entry
    }

    pub(super) fn decode(entry: &'a [u8]) -> Result<Self, Damage> {
        let (event, rest) = entry.split_first_chunk().ok_or(GARBAGE)?;
        let (key_bytes, rest) = rest.split_first_chunk().ok_or(GARBAGE)?;
        let key_bytes = u32::from_ne_bytes(*key_bytes) as usize;
        let (key, value) = rest.split_at_checked(key_bytes).ok_or(GARBAGE)?;
        let all = [Event::Set, Event::SetLarge, Event::Removed, Event::Expired];
        let event = u32::from_ne_bytes(*event);
        let event = all.into_iter().find(|e| *e as u32 == event);
        Ok(Self {
            event: event.ok_or(GARBAGE)?,
            key,
            value,
        })
    }
}

impl Table {
    /// Has every writer know that somebody watches. `pass` takes a stripe's lock and releases it.
    pub(super) fn settle<E>(&self, mut pass: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        let watch = &self.facts.0[WATCH];
        if watch.load(Acquire) == SETTLED {
            // O4
            return Ok(());
        }
        watch.store(BEGUN, Relaxed);
        for stripe in 0..self.stripes() {
            pass(stripe)?;
        }
        watch.store(SETTLED, Release); // O4
        Ok(())
    }

    #[cfg(all(test, loom))]
    pub(super) fn is_settled_for_model(&self) -> bool {
        self.facts.0[WATCH].load(Relaxed) == SETTLED
    }

    /// Whether changes are told of. Certain under a stripe's lock.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.facts.0[WATCH].load(Relaxed) != 0
    }

    /// How many changes nobody was told of.
    pub(super) fn untold(&self) -> u64 {
        self.facts.0[UNTOLD].load(Acquire) // O3
    }

    /// Counts a change that there is no entry for.
    #[cold]
    pub(super) fn leave_untold(&self) {
        self.facts.0[UNTOLD].fetch_add(1, Release); // O3
        self.log.announce_lack();
    }
}

impl Locked<'_> {
    /// Tells that a pair was put.
    #[inline]
    pub(super) fn tell_of_pair(&mut self, pair: NewPair<'_>) {
        if self.table.is_watched() {
            self.tell(News {
                event: Event::Set,
                key: pair.key,
                value: pair.value,
            });
        }
    }

    /// Tells that a key's pair was taken out.
    #[inline]
    pub(super) fn tell_of_end_of(&mut self, key: &[u8], was_valid: bool) {
        if self.table.is_watched() {
            self.tell(News {
                event: if was_valid {
                    Event::Removed
                } else {
                    Event::Expired
                },
                key,
                value: &[],
            });
        }
    }

    /// Tells that this pair was taken out.
    #[inline]
    pub(super) fn tell_of_end(&mut self, pair: &Pair<'_>) {
        if self.table.is_watched() {
            let mut key = Vec::new();
            if pair.copy_key(&mut key) {
                self.tell_of_end_of(&key, !pair.is_expired());
            } else {
                self.table.leave_untold();
            }
        }
    }

    #[cold]
    fn tell(&mut self, news: News<'_>) {
        let log = &self.table.log;
        let mut told = log.append(self.me, &news.encode());
        if told.is_none() && news.event == Event::Set {
            let without_value = News {
                event: Event::SetLarge,
                value: &[],
                ..news
            };
            told = log.append(self.me, &without_value.encode());
        }
        match told {
            Some(told) => self.told = Some(told),
            None => self.table.leave_untold(), // I5
        }
    }
}

impl Inner {
    /// Somebody who is told of each change from now on, and how many were left untold before.
    pub(super) fn begin_to_watch(&self, manner: Manner) -> Result<(LogReader, u64), DictError> {
        self.table.settle(|stripe| {
            self.change(manner, 0, |me, is_patient| {
                self.table.lock(me, stripe, is_patient).map(drop)
            })
        })?;
        let untold = self.table.untold();
        let me = self.member.ready()?;
        let reader = self.table.log.reader(me);
        let reader = reader.map_err(|damage| self.damaged(damage))?;
        Ok((reader, untold))
    }
}
