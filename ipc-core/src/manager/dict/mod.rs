//! A dictionary that processes share.
//!
//! Read in this order: `slot` and `pair` (the words), `table` (layout, invariants, orderings) with `find`, `change`, `resize` and
//! `repair` (the algorithm, which never waits), over the heap of [`crate::slab::heap`]; `news` (what watchers are told); `inner` (waiting
//! and errors); this file, `edit`, `iter` and `watch` (the public face), `options`, `errors`.
#![forbid(unsafe_code)]

mod change;
mod edit;
mod errors;
mod find;
mod geometry;
mod inner;
mod iter;
mod landing;
mod news;
mod number;
pub(crate) mod options;
mod pair;
mod repair;
mod resize;
mod slot;
mod table;
mod watch;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod tests;

use core::{fmt, marker::PhantomData, time::Duration};
use std::sync::Arc;

pub use errors::DictError;
pub use iter::{DictIter, DictKeys};
pub use number::Number;
pub use options::DictOptions;
pub use watch::{DictChange, DictWatch, DictWatchIter};

use self::{
    inner::{Inner, Manner, Onlooker},
    iter::What,
    landing::{Buffer, Landing},
    table::Table,
};
use crate::{
    error::Result,
    message::{Bytes, EncodesAs, Message},
    object::{
        lifetime::{Object, Ticket},
        wait::WaitStrategy,
    },
};

/// A dictionary that processes share: what any of them puts into it, all see at once.
///
/// Any number of threads in any number of processes read and write, on a handle. A handle is cheap to clone and is itself a message, so it
/// can be sent to other processes, and be a value in another dictionary.
///
/// # Types
///
/// `K` and `V` are any `Serialize + DeserializeOwned` types, [`Plain`](crate::Plain) for `bytemuck` types, or [`Bytes`](crate::Bytes). Two
/// keys are the same if they encode to the same bytes. A dictionary remembers its types; opening it with others is an error. Pairs may be of
/// any length up to the dictionary's limit; keys up to 16 MiB. A key or a value of type `String`, `Vec<T>` or `Bytes` may be given as `str`, `[T]`
/// or `[u8]` ([`EncodesAs`](crate::EncodesAs)).
///
/// # Memory
///
/// A dictionary begins small and grows by itself, up to the [`limit`](DictOptions::limit) that it was created with; then, or when the file
/// system is full, operations fail with [`DictError::NoSpace`], and nothing has changed. It gives memory back to the file system when much of it
/// is free, and all at [`clear`](Self::clear). A pair takes at most 1.6 times its encoded bytes and 64 more. No single operation pauses for
/// growth: it is done in steps of up to 1 MiB.
///
/// # Blocking
///
/// Reading never waits for a writer, unless the same key is replaced a hundred times during one read. Writing locks one of many stripes for some
/// tens of nanoseconds, without a system call; who finds it locked spins for a few microseconds where that pays
/// ([`WaitStrategy`]) and then sleeps in the kernel. A writer that is *stopped* just there delays the writers of that stripe until it
/// goes on or dies (or until a [timeout](Self::set_timeout)), and no reader. No code of the caller's runs in the lock.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | in a lookup | nothing |
/// | in a change | the change is made, or was never begun; the memory that it had taken is free again |
/// | as it held a stripe | they lock it within about 100 ms |
/// | in [`clear`](Self::clear) | some pairs are gone |
/// | in a change that is watched | the change in their watches, or that they may have missed one |
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-dict-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Dict;
///
/// let counts: Dict<String, u64> = Dict::options().namespace(&namespace).create("counts")?;
/// counts.insert("apple", &3)?;
/// counts.add("apple", 2)?; // from any process
/// counts.add("pear", 1)?;
/// assert_eq!(counts.get("apple")?, Some(5));
/// assert_eq!(counts.remove("pear")?, Some(1));
/// assert_eq!(counts.iter().collect::<Vec<_>>(), [("apple".to_string(), 5)]);
/// # counts.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Lookups validate what they copied, as those of a seqlock (Boehm, "Can seqlocks get along with programming language memory models?",
/// 2012), by the generation in the name of a block. The hash is XXH3 (<https://xxhash.com>), with a seed of the dictionary's own.
pub struct Dict<K, V> {
    inner: Arc<Inner>,
    manner: Manner,
    _pair: PhantomData<fn() -> (K, V)>,
}

/// A dictionary's figures, each read at its own instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DictStat {
    /// Pairs in it; those that have expired and are still there count.
    pub len: usize,
    /// Bytes that pairs and the table take, in whole blocks.
    pub used: usize,
    /// Bytes of memory that it has taken from the file system for them, those that are free included.
    pub allocated: usize,
    /// Bytes that it may take at the most.
    pub limit: usize,
}

impl<K: Message, V: Message> Dict<K, V> {
    /// Makes a dictionary under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`DictOptions::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Opens the dictionary `name`.
    ///
    /// # Errors
    ///
    /// See [`DictOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::options().open(name)
    }

    /// Opens the dictionary `name`, or makes it.
    ///
    /// # Errors
    ///
    /// See [`DictOptions::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Self> {
        Self::options().open_or_create(name)
    }

    /// Makes a dictionary without a name, which goes with its last user.
    ///
    /// # Errors
    ///
    /// See [`DictOptions::anonymous`].
    pub fn anonymous() -> Result<Self> {
        Self::options().anonymous()
    }

    /// Settings for a dictionary.
    pub fn options() -> DictOptions<K, V> {
        DictOptions::new()
    }

    fn over(object: Arc<Object>, table: Arc<Table>, manner: Manner) -> Self {
        Self {
            inner: Arc::new(Inner::new(object, table)),
            manner,
            _pair: PhantomData,
        }
    }

    /// The value of a key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`DictError`]. That the last writer died is no error.
    #[inline]
    pub fn get<Q: EncodesAs<K> + ?Sized>(&self, key: &Q) -> Result<Option<V>, DictError> {
        let (mut landing, mut failure) = (Landing::new(), None);
        // Little comes out of the closure: whatever does is copied by each layer.
        let is_there = key.encode_as(|key| {
            let got = self.inner.get(self.manner, key, &mut landing);
            got.unwrap_or_else(|e| {
                failure = Some(e);
                false
            })
        })?;
        match failure {
            None if is_there => landing.finish_found(&self.inner),
            None => Ok(None),
            Some(e) => Err(e),
        }
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn contains<Q: EncodesAs<K> + ?Sized>(&self, key: &Q) -> Result<bool, DictError> {
        key.encode_as(|key| self.inner.get(self.manner, key, &mut Onlooker))?
    }

    /// All pairs, in no order. Weakly consistent: a pair that is there all the time is seen once, with a value that it had during the
    /// iteration; one that comes or goes meanwhile may be seen or not. See [`snapshot`](Self::snapshot) for all at one time.
    ///
    /// Memory for one of many stripes is copied at a time. The iteration ends early where a pair cannot be decoded, or the object is damaged
    /// ([`DictIter::error`]).
    pub fn iter(&self) -> DictIter<'_, K, V> {
        DictIter::new(self, What::Pairs)
    }

    /// All keys, as [`iter`](Self::iter).
    pub fn keys(&self) -> DictKeys<'_, K, V> {
        DictKeys(DictIter::new(self, What::Keys))
    }

    /// All values, as [`iter`](Self::iter).
    pub fn values(&self) -> impl Iterator<Item = V> {
        self.iter().map(|(_, value)| value)
    }

    /// All pairs as they are at one moment, in no order. Writers in all processes wait until all is copied, about a millisecond for each ten
    /// thousand pairs; readers do not.
    ///
    /// # Errors
    ///
    /// [`DictError::Decode`], or as for any operation.
    pub fn snapshot(&self) -> Result<Vec<(K, V)>, DictError> {
        let (mut all, mut is_whole) = (Vec::new(), true);
        self.inner.snapshot(self.manner, |pair| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            is_whole &= pair.copy_key(&mut key) && pair.copy_value(&mut value);
            all.push((key, value));
        })?;
        if !is_whole {
            return Err(self.inner.damaged(landing::TORN));
        }
        let decode = |(key, value)| Ok((iter::decode(key)?, iter::decode(value)?));
        all.into_iter().map(decode).collect()
    }
}

impl<K: Message> Dict<K, Bytes> {
    /// As [`get`](Self::get), into the caller's buffer, whose old contents go, also on an error. Whether there is one.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ipc-doc-dict-into-{}", std::process::id()));
    /// # let namespace = ipc_core::Namespace::at(&dir)?;
    /// use ipc_core::{Bytes, Dict};
    ///
    /// let pages: Dict<String, Bytes> = Dict::options().namespace(&namespace).create("pages")?;
    /// pages.set("front", &b"<html>"[..])?;
    /// let mut page = Vec::new(); // for all pages
    /// assert!(pages.get_into("front", &mut page)?);
    /// assert_eq!(page, b"<html>");
    /// # pages.unlink()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_into<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, DictError> {
        buffer.clear();
        let mut buffer = Buffer::new(buffer);
        let is_there = key.encode_as(|key| self.inner.get(self.manner, key, &mut buffer))??;
        buffer.finish(is_there, &self.inner)
    }
}

impl<K, V> Dict<K, V> {
    /// How many pairs there are; those that have expired and are still there count. Takes time in proportion to the number of stripes, one for
    /// each 64 KiB of the limit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.table.len()
    }

    /// Whether there are no pairs, as [`len`](Self::len) says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all pairs, and gives their memory back to the file system. Not at one moment: who reads meanwhile sees some of them, and a
    /// pair that is inserted meanwhile stays or goes.
    ///
    /// # Errors
    ///
    /// [`DictError::Failed`].
    pub fn clear(&self) -> Result<(), DictError> {
        self.inner.clear(self.manner, false).map(|_| ())
    }

    /// Removes all pairs that have expired, and returns how many. Each insertion removes some by itself, and all where there is no space.
    ///
    /// # Errors
    ///
    /// [`DictError::Failed`].
    pub fn remove_expired(&self) -> Result<usize, DictError> {
        self.inner.clear(self.manner, true)
    }

    /// How large the dictionary is. Takes time in proportion to that.
    #[must_use]
    pub fn stat(&self) -> DictStat {
        self.inner.table.stat()
    }

    /// The dictionary's name; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.member.object.name()
    }

    /// Removes the dictionary's name. Who has it open keeps it; its memory is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now.
    pub fn unlink(&self) -> Result<()> {
        self.inner.member.object.unlink()
    }

    /// Looks for dead participants now and repairs what they left. Returns how many there were. Waiting and attaching do this by
    /// themselves. Takes time in proportion to the memory in use, about a tenth of a second for a GiB.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn sweep(&self) -> Result<u32> {
        self.inner.member.object.sweep()
    }

    /// What calls on this handle do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.manner.strategy = strategy;
    }

    /// How long calls on this handle wait for who is in the way: a writer of the same stripe, or who lets the memory grow. After that they fail
    /// with [`DictError::Timeout`]. `None`, the default: as long as that takes.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.manner.timeout = timeout;
    }
}

impl<K, V> Clone for Dict<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            manner: self.manner,
            _pair: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for Dict<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dict")
            .field("object", &self.inner.member.object.label())
            .finish_non_exhaustive()
    }
}

impl<K, V> serde::Serialize for Dict<K, V> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.member.object.ticket().serialize(serializer)
    }
}

impl<'de, K: Message, V: Message> serde::Deserialize<'de> for Dict<K, V> {
    /// Attaches to the dictionary.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        options::redeem(&ticket).map_err(serde::de::Error::custom)
    }
}
