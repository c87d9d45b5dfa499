//! Dictionaries of the types that the command line knows, behind one face.
//!
//! A further type is a line in `datum` (`known!`), and one in [`keys_of`] or [`values_of`].

use std::time::Duration;

use ipc_core::{Bytes, Dict, DictChange, DictError, DictWatch, Error, Namespace};

use super::datum::{Datum, Known, Sort};
use crate::{
    exit::{Failure, Outcome},
    signals::SLICE,
};

/// What an alteration makes of a value; `None` is none.
pub(super) type Change<'a> = &'a mut dyn FnMut(Option<Datum>) -> Option<Datum>;
/// Who is shown pairs or keys; what it fails with ends that.
pub(super) type Each<'a> = &'a mut dyn FnMut(Datum, Option<Datum>) -> Outcome;

/// What the verbs do with a dictionary. No call waits for longer than a [`SLICE`] before it fails with [`DictError::Timeout`], but for
/// [`each`](Self::each) and [`each_key`](Self::each_key).
pub(super) trait AnyDict {
    fn key_sort(&self) -> Sort;
    fn value_sort(&self) -> Sort;
    fn get(&self, key: &Datum) -> Result<Option<Datum>, DictError>;
    fn set(&self, key: &Datum, value: &Datum, ttl: Option<Duration>) -> Result<(), DictError>;
    fn insert_new(
        &self,
        key: &Datum,
        value: &Datum,
        ttl: Option<Duration>,
    ) -> Result<bool, DictError>;
    fn remove(&self, key: &Datum) -> Result<bool, DictError>;
    fn swap(
        &self,
        key: &Datum,
        old: Option<&Datum>,
        new: Option<&Datum>,
    ) -> Result<bool, DictError>;
    fn alter(&self, key: &Datum, change: Change<'_>) -> Result<Option<Datum>, DictError>;
    fn each(&self, each: Each<'_>) -> Outcome;
    fn each_key(&self, each: Each<'_>) -> Outcome;
    fn snapshot(&self) -> Result<Vec<(Datum, Datum)>, DictError>;
    fn clear(&self) -> Result<(), DictError>;
    fn watch(&self) -> Result<Box<dyn AnyWatch>, DictError>;
}

/// What happened to a dictionary.
pub(super) enum Event {
    Set(Datum, Datum),
    Removed(Datum),
    Expired(Datum),
    /// So many changes were not told of.
    Missed(u64),
}

/// Tells of a dictionary's changes.
pub(super) trait AnyWatch {
    /// The next change; `None` if there is none within a [`SLICE`].
    fn next(&mut self) -> Result<Option<Event>, DictError>;
}

impl<K: Known, V: Known> AnyWatch for DictWatch<K, V> {
    fn next(&mut self) -> Result<Option<Event>, DictError> {
        let change = match self.recv_timeout(SLICE) {
            Err(DictError::Timeout) => return Ok(None),
            change => change?,
        };
        Ok(Some(match change {
            DictChange::Set { key, value } => Event::Set(key.shown(), value.shown()),
            DictChange::Removed { key } => Event::Removed(key.shown()),
            DictChange::Expired { key } => Event::Expired(key.shown()),
            DictChange::Missed(count) => Event::Missed(count),
            // What a later version of the library tells of.
            _ => return Ok(None),
        }))
    }
}

/// Of a datum that was read for `sort`, which is this type's.
fn own<T: Known>(datum: &Datum) -> T {
    T::of(datum.clone()).expect("it was read as one of these")
}

impl<K: Known + 'static, V: Known + 'static> AnyDict for Dict<K, V> {
    fn key_sort(&self) -> Sort {
        K::SORT
    }

    fn value_sort(&self) -> Sort {
        V::SORT
    }

    fn get(&self, key: &Datum) -> Result<Option<Datum>, DictError> {
        Ok(self.get(&own::<K>(key))?.map(V::shown))
    }

    fn set(&self, key: &Datum, value: &Datum, ttl: Option<Duration>) -> Result<(), DictError> {
        match ttl {
            Some(ttl) => self
                .insert_with_ttl(&own::<K>(key), &own::<V>(value), ttl)
                .map(|_| ()),
            None => self.set(&own::<K>(key), &own::<V>(value)),
        }
    }

    fn insert_new(
        &self,
        key: &Datum,
        value: &Datum,
        ttl: Option<Duration>,
    ) -> Result<bool, DictError> {
        self.insert_new(&own::<K>(key), &own::<V>(value), ttl)
    }

    fn remove(&self, key: &Datum) -> Result<bool, DictError> {
        Ok(self.remove(&own::<K>(key))?.is_some())
    }

    fn swap(
        &self,
        key: &Datum,
        old: Option<&Datum>,
        new: Option<&Datum>,
    ) -> Result<bool, DictError> {
        let (old, new) = (old.map(own::<V>), new.map(own::<V>));
        self.compare_and_swap(&own::<K>(key), old.as_ref(), new.as_ref())
    }

    fn alter(&self, key: &Datum, change: Change<'_>) -> Result<Option<Datum>, DictError> {
        let altered = self.alter(&own::<K>(key), |value| {
            change(value.map(V::shown)).map(|datum| own(&datum))
        })?;
        Ok(altered.map(V::shown))
    }

    fn each(&self, each: Each<'_>) -> Outcome {
        let patient = patient(self);
        let mut pairs = patient.iter();
        pairs.try_for_each(|(key, value)| each(key.shown(), Some(value.shown())))?;
        ended(pairs.error())
    }

    fn each_key(&self, each: Each<'_>) -> Outcome {
        let patient = patient(self);
        let mut keys = patient.keys();
        keys.try_for_each(|key| each(key.shown(), None))?;
        ended(keys.error())
    }

    fn snapshot(&self) -> Result<Vec<(Datum, Datum)>, DictError> {
        let pairs = self.snapshot()?.into_iter();
        Ok(pairs
            .map(|(key, value)| (key.shown(), value.shown()))
            .collect())
    }

    fn clear(&self) -> Result<(), DictError> {
        self.clear()
    }

    fn watch(&self) -> Result<Box<dyn AnyWatch>, DictError> {
        Ok(Box::new(self.watch()?))
    }
}

/// An iteration that has given up cannot go on.
fn patient<K, V>(dict: &Dict<K, V>) -> Dict<K, V> {
    let mut patient = dict.clone();
    patient.set_timeout(None);
    patient
}

fn ended(error: Option<&DictError>) -> Outcome {
    match error {
        Some(e) => Err(e.clone().into()),
        None => Ok(()),
    }
}

/// Opens the dictionary `name`, whatever its types are, if they are known.
pub(super) fn open(namespace: &Namespace, name: &str) -> Outcome<Box<dyn AnyDict>> {
    match opened::<String, String>(namespace, name) {
        Err(Error::WrongType {
            object,
            found,
            expected,
        }) => {
            let opened = match found.split_once(" to ") {
                Some((key, value)) => keys_of(key, value, namespace, name),
                None => None,
            };
            let unknown = || {
                Failure::from(Error::WrongType { object, found, expected }).after(
                "the command line knows keys of String, Bytes, u32, u64 and i64, and values of these and Vec<u8>, bool, usize, i32 and f64",
            )
            };
            Ok(opened.ok_or_else(unknown)??)
        }
        opened => Ok(opened?),
    }
}

type Opened = ipc_core::Result<Box<dyn AnyDict>>;

fn opened<K: Known + 'static, V: Known + 'static>(namespace: &Namespace, name: &str) -> Opened {
    let mut dict = Dict::<K, V>::options().namespace(namespace).open(name)?;
    dict.set_timeout(Some(SLICE));
    Ok(Box::new(dict))
}

/// Evaluates an expression with `$type` standing for the one of these types that is called `$name`, if there is one.
macro_rules! of_name {
    ($name:expr, [$($known:ty),* $(,)?], $type:ident => $body:expr) => {
        match $name {
            $(
                name if name == <$known>::name() => {
                    type $type = $known;
                    $body
                }
            )*
            _ => None,
        }
    };
}

fn keys_of(key: &str, value: &str, namespace: &Namespace, name: &str) -> Option<Opened> {
    of_name!(key, [String, Bytes, u32, u64, i64], K => {
        values_of::<K>(value, namespace, name)
    })
}

fn values_of<K: Known + 'static>(value: &str, namespace: &Namespace, name: &str) -> Option<Opened> {
    of_name!(
        value,
        [String, Bytes, Vec<u8>, bool, u32, u64, usize, i32, i64, f64],
        V => Some(opened::<K, V>(namespace, name))
    )
}
