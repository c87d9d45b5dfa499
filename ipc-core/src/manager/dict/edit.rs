//! Changing a dictionary.

use core::time::Duration;

use super::{
    Dict,
    change::When,
    errors::DictError,
    inner::Reader,
    landing::Landing,
    number::{self, Number},
    pair::{NewPair, Pair},
};
use crate::{
    message::{EncodesAs, Message},
    os::clock,
    slab::heap::Ref,
};

/// How often a change is tried whose key others change: each time one of them has come on, unless the memory lies.
const TRIES: u32 = 1 << 20;

/// A value, the pair that it is of, and when that expires.
type Seen<V> = (V, Ref, u64);

/// A value on its way out, with the pair that it is of and when that expires.
struct Seeing<V> {
    landing: Landing<V>,
    at: Option<(Ref, u64)>,
}

impl<V: Message> Reader for Seeing<V> {
    #[inline(always)]
    fn read(&mut self, pair: &Pair<'_>) {
        self.landing.read(pair);
        self.at = Some((pair.view.name(), pair.expiry()));
    }

    fn read_copy(&mut self, pair: Pair<'_>) {
        self.landing.read_copy(pair);
        self.at = Some((pair.view.name(), pair.expiry()));
    }
}

impl<K: Message, V: Message> Dict<K, V> {
    /// Puts a pair into the dictionary, and returns the value that the key had before. The pair stays until it is removed, also where
    /// the old one was to expire.
    ///
    /// # Errors
    ///
    /// [`DictError::NoSpace`]; [`DictError::TooLarge`]; [`DictError::Encode`]; [`DictError::Decode`] if the old value is none, in which case the
    /// new one is there.
    pub fn insert<Q: EncodesAs<K> + ?Sized, W: EncodesAs<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
    ) -> Result<Option<V>, DictError> {
        self.replace(key, value, 0)
    }

    /// As [`insert`](Self::insert), without a look at the old value.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    #[inline]
    pub fn set<Q: EncodesAs<K> + ?Sized, W: EncodesAs<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
    ) -> Result<(), DictError> {
        self.put_if(key, value, 0, When::Always, |_| ()).map(|_| ())
    }

    /// As [`insert`](Self::insert); the pair expires after `ttl`, by the system's clock: then it is as if it were not there, and its memory is
    /// free again some time later.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn insert_with_ttl<Q: EncodesAs<K> + ?Sized, W: EncodesAs<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
        ttl: Duration,
    ) -> Result<Option<V>, DictError> {
        self.replace(key, value, expiry_after(ttl))
    }

    /// Puts a pair into the dictionary if the key has no value; it expires after `ttl`, or never. Whether it was done.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn insert_new<Q: EncodesAs<K> + ?Sized, W: EncodesAs<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
        ttl: Option<Duration>,
    ) -> Result<bool, DictError> {
        let expiry = ttl.map_or(0, expiry_after);
        self.put_if(key, value, expiry, When::Absent, |_| ())
    }

    /// Has a pair expire after `ttl` from now, or never. Whether there is such a pair.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn set_ttl<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        ttl: Option<Duration>,
    ) -> Result<bool, DictError> {
        let expiry = ttl.map_or(0, expiry_after);
        self.change_value(key, |value| value.map(|(value, _)| (value, expiry)))
            .map(|(before, _)| before.is_some())
    }

    fn replace<Q: EncodesAs<K> + ?Sized, W: EncodesAs<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
        expiry: u64,
    ) -> Result<Option<V>, DictError> {
        let mut landing = None;
        self.put_if(key, value, expiry, When::Always, |pair| {
            landing.insert(Landing::new()).read(pair);
        })?;
        landing
            .map(|landing| landing.finish(&self.inner))
            .transpose()
    }

    #[inline]
    fn put_if<Q: EncodesAs<K> + ?Sized, W: EncodesAs<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
        expiry: u64,
        when: When<'_>,
        mut read: impl FnMut(&Pair<'_>),
    ) -> Result<bool, DictError> {
        key.encode_as(|key| {
            value.encode_as(|value| {
                let new = NewPair { key, value, expiry };
                self.inner.put(self.manner, new, when, &mut read)
            })
        })??
    }

    /// Removes a key, and returns its value.
    ///
    /// # Errors
    ///
    /// [`DictError::Decode`], in which case the pair is gone nevertheless, or as for any operation.
    pub fn remove<Q: EncodesAs<K> + ?Sized>(&self, key: &Q) -> Result<Option<V>, DictError> {
        let mut landing = None;
        key.encode_as(|key| {
            self.inner.take(self.manner, key, When::Present, |pair| {
                landing.insert(Landing::new()).read(pair);
            })
        })??;
        landing
            .map(|landing| landing.finish(&self.inner))
            .transpose()
    }

    /// Removes any pair, and returns it; `None` if the dictionary is empty.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub fn pop_item(&self) -> Result<Option<(K, V)>, DictError> {
        let (mut key, mut landing) = (Vec::new(), Landing::new());
        let is_taken = self.inner.take_any(self.manner, |pair| {
            key.clear();
            pair.copy_key(&mut key);
            landing.read(pair);
        })?;
        if !is_taken {
            return Ok(None);
        }
        Ok(Some((
            super::iter::decode(key)?,
            landing.finish(&self.inner)?,
        )))
    }

    /// The value of a key; if there is none, it is what `make` returns from now on. `make` runs outside of any lock: if another process is
    /// faster, the result is that one's value, and what `make` returned is dropped.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn get_or_insert_with<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        make: impl FnOnce() -> V,
    ) -> Result<V, DictError> {
        if let Some(value) = self.get(key)? {
            return Ok(value);
        }
        let value = make();
        for _ in 0..TRIES {
            if self.put_if(key, &value, 0, When::Absent, |_| ())? {
                return Ok(value);
            }
            // Each time somebody else has inserted, and somebody has removed again.
            if let Some(value) = self.get(key)? {
                return Ok(value);
            }
        }
        Err(DictError::Timeout)
    }

    /// Has `new` be the key's value if it is `expected` now (`None`: if it has none); a `new` of `None` removes the key. Values are the same if
    /// they encode to the same bytes. Whether it was done.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn compare_and_swap<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Result<bool, DictError> {
        match (expected, new) {
            (None, None) => Ok(!self.contains(key)?),
            (None, Some(new)) => self.put_if(key, new, 0, When::Absent, |_| ()),
            (Some(expected), Some(new)) => expected
                .encode(|expected| self.put_if(key, new, 0, When::Holds(expected), |_| ()))?,
            (Some(expected), None) => key.encode_as(|key| {
                expected.encode(|expected| {
                    let when = When::Holds(expected);
                    self.inner.take(self.manner, key, when, |_| ())
                })
            })??,
        }
    }

    /// Changes a value as one step, and returns the new one; `None` if the key has none. It expires when the old one would have.
    ///
    /// `change` runs outside of any lock, on a copy, and again if the value was changed meanwhile: so it may use this dictionary, and nobody
    /// waits for it. If it panics, or its process dies, the old value stays. Each time it runs again, another change was made; where very many
    /// change the same key, that can be often.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn update<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(&mut V),
    ) -> Result<Option<V>, DictError> {
        let changed = self.change_value(key, |value| {
            let (mut value, expiry) = value?;
            change(&mut value);
            Some((value, expiry))
        })?;
        Ok(changed.1)
    }

    /// Changes, inserts or removes a value as one step: `change` gets the value that is there, and returns the one that is to be there; `None` is
    /// no value. Returns the latter. For the rest see [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn alter<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>, DictError> {
        let changed = self.change_value(key, |value| {
            let (value, expiry) = value.map_or((None, 0), |(value, expiry)| (Some(value), expiry));
            Some((change(value)?, expiry))
        })?;
        Ok(changed.1)
    }

    /// Has `change` make a value and its expiry out of those that are there. Returns when the old one was to expire, and the new value.
    fn change_value<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<(V, u64)>) -> Option<(V, u64)>,
    ) -> Result<(Option<u64>, Option<V>), DictError> {
        for _ in 0..TRIES {
            let seen = self.see(key)?;
            let before = seen.as_ref().map(|(_, _, expiry)| *expiry);
            let when = seen
                .as_ref()
                .map_or(When::Absent, |(_, name, _)| When::Is(*name));
            let next = change(seen.map(|(value, _, expiry)| (value, expiry)));
            let is_done = match &next {
                Some((value, expiry)) => self.put_if(key, value, *expiry, when, |_| ())?,
                None if before.is_none() => true,
                None => key.encode_as(|key| self.inner.take(self.manner, key, when, |_| ()))??,
            };
            if is_done {
                return Ok((before, next.map(|(value, _)| value)));
            }
        }
        Err(DictError::Timeout)
    }

    fn see<Q: EncodesAs<K> + ?Sized>(&self, key: &Q) -> Result<Option<Seen<V>>, DictError> {
        let mut seeing = Seeing {
            landing: Landing::new(),
            at: None,
        };
        let is_there = key.encode_as(|key| self.inner.get(self.manner, key, &mut seeing))??;
        let Some((name, expiry)) = seeing.at.filter(|_| is_there) else {
            return Ok(None);
        };
        Ok(Some((seeing.landing.finish(&self.inner)?, name, expiry)))
    }

    /// Adds to a number as one step, and returns the sum. A key without a value counts as zero. Integers wrap around.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn add<Q: EncodesAs<K> + ?Sized>(&self, key: &Q, amount: V) -> Result<V, DictError>
    where
        V: Number,
    {
        let sum = self.alter(key, |value| {
            Some(number::sum(value.unwrap_or_else(number::zero), amount))
        })?;
        Ok(sum.unwrap_or(amount))
    }
}

/// In nanoseconds since 1970, and not 0.
fn expiry_after(ttl: Duration) -> u64 {
    let ttl = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
    clock::unix_ns().saturating_add(ttl).max(1)
}
