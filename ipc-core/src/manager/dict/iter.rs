//! Going through all pairs.

use core::marker::PhantomData;
use std::vec;

use super::{
    Dict,
    errors::DictError,
    inner::{Inner, Manner},
    landing::TORN,
    pair::Pair,
};
use crate::message::{Message, Received, decoded};

/// How often a stripe is looked at before it is locked.
const LOOKS: usize = 20;

/// A pair's bytes.
type Bytes = (Vec<u8>, Vec<u8>);

/// What is to be read of each pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Pairs,
    Keys,
}

/// Pairs of one stripe.
#[derive(Debug, Default)]
struct Batch {
    pairs: Vec<(u16, Bytes)>,
    is_torn: bool,
}

impl Batch {
    /// Takes a pair. Whether it was there.
    fn read(&mut self, tag: u16, what: What, pair: &Pair<'_>) -> bool {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let is_whole =
            pair.copy_key(&mut key) && (what == What::Keys || pair.copy_value(&mut value));
        if !pair.view.is_still() {
            return false;
        }
        self.is_torn |= !is_whole;
        // It may have gone and come again, at another place.
        let same = self
            .pairs
            .iter()
            .position(|(t, (k, _))| *t == tag && *k == key);
        match same {
            Some(at) => self.pairs[at].1.1 = value,
            None => self.pairs.push((tag, (key, value))),
        }
        true
    }
}

impl Inner {
    /// The pairs of a stripe.
    fn pairs_of(
        &self,
        manner: Manner,
        stripe: usize,
        what: What,
    ) -> Result<Vec<(u16, Bytes)>, DictError> {
        self.member.check()?;
        for _ in 0..LOOKS {
            let mut batch = Batch::default();
            let read = |tag, pair: &Pair<'_>| batch.read(tag, what, pair);
            if self.table.look_at_all(stripe, read).is_some() {
                return self.checked(batch);
            }
        }
        let batch = self.change(manner, 0, |me, is_patient| {
            let mut batch = Batch::default();
            let locked = self.table.lock(me, stripe, is_patient)?;
            locked.read_all(&mut |pair| {
                batch.read(0, what, pair);
            })?;
            Ok(batch)
        })?;
        self.checked(batch)
    }

    fn checked(&self, batch: Batch) -> Result<Vec<(u16, Bytes)>, DictError> {
        self.member.check_whole()?;
        if batch.is_torn {
            return Err(self.damaged(TORN));
        }
        Ok(batch.pairs)
    }
}

/// All pairs, as they are when the iterator comes to them: see [`Dict::iter`].
#[derive(Debug)]
pub struct DictIter<'a, K, V> {
    dict: &'a Dict<K, V>,
    what: What,
    stripe: usize,
    batch: vec::IntoIter<(u16, Bytes)>,
    error: Option<DictError>,
    _pair: PhantomData<(K, V)>,
}

impl<'a, K: Message, V: Message> DictIter<'a, K, V> {
    pub(super) fn new(dict: &'a Dict<K, V>, what: What) -> Self {
        Self {
            dict,
            what,
            stripe: 0,
            batch: Vec::new().into_iter(),
            error: None,
            _pair: PhantomData,
        }
    }

    /// Why the iteration ended early; `None` if it did not.
    #[must_use]
    pub fn error(&self) -> Option<&DictError> {
        self.error.as_ref()
    }

    /// The next pair's bytes.
    fn next_bytes(&mut self) -> Result<Option<Bytes>, DictError> {
        let inner = &*self.dict.inner;
        while self.error.is_none() {
            if let Some((_, bytes)) = self.batch.next() {
                return Ok(Some(bytes));
            }
            if self.stripe == inner.table.stripes() {
                break;
            }
            let pairs = inner.pairs_of(self.dict.manner, self.stripe, self.what)?;
            self.batch = pairs.into_iter();
            self.stripe += 1;
        }
        Ok(None)
    }

    fn ended<T>(&mut self, next: Result<Option<T>, DictError>) -> Option<T> {
        next.unwrap_or_else(|e| {
            self.error = Some(e);
            None
        })
    }
}

pub(super) fn decode<T: Message>(bytes: Vec<u8>) -> Result<T, DictError> {
    Ok(decoded(Received::Owned(bytes))?)
}

impl<K: Message, V: Message> Iterator for DictIter<'_, K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        let next = self.next_bytes().and_then(|bytes| match bytes {
            Some((key, value)) => Ok(Some((decode(key)?, decode(value)?))),
            None => Ok(None),
        });
        self.ended(next)
    }
}

/// All keys, as they are when the iterator comes to them: see [`Dict::iter`].
#[derive(Debug)]
pub struct DictKeys<'a, K, V>(pub(super) DictIter<'a, K, V>);

impl<K: Message, V: Message> DictKeys<'_, K, V> {
    /// Why the iteration ended early; `None` if it did not.
    #[must_use]
    pub fn error(&self) -> Option<&DictError> {
        self.0.error()
    }
}

impl<K: Message, V: Message> Iterator for DictKeys<'_, K, V> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        let next = self.0.next_bytes().and_then(|bytes| match bytes {
            Some((key, _)) => Ok(Some(decode(key)?)),
            None => Ok(None),
        });
        self.0.ended(next)
    }
}
