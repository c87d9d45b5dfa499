//! Watching a dictionary.

mod source;
#[cfg(all(test, not(loom)))]
mod tests;

use core::{fmt, time::Duration};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Dict,
    errors::DictError,
    inner::Inner,
    iter,
    news::{Event, News},
};
use crate::{
    channel::broadcast::log::{Entry, LogReader},
    message::{EncodesAs, Message},
    object::{
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
};

/// Entries that are of no interest which a watcher passes over before it looks at its deadline again.
const ENTRIES_A_TRY: usize = 1000;

/// What happened to a watched dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DictChange<K, V> {
    /// The key has this value now, whether it had one before or not.
    Set {
        /// The key.
        key: K,
        /// The value. One that is too long to be kept for watchers is read when the watcher comes to it: so it is the key's latest.
        value: V,
    },
    /// The key was removed.
    Removed {
        /// The key.
        key: K,
    },
    /// The key's pair had expired, and its memory was taken back, which may be long after its time.
    Expired {
        /// The key.
        key: K,
    },
    /// So many changes, of any key, are not told of, at the most: they were overwritten before this watcher came to them; or a writer was
    /// killed, or stopped, in the middle. Who keeps a copy makes it anew.
    Missed(u64),
}

/// Which changes a watcher is told of.
enum Filter<K> {
    All,
    /// Of this key, as it is encoded.
    Key(Vec<u8>),
    If(Box<dyn Fn(&K) -> bool + Send>),
}

/// Tells of each change of a [`Dict`], from [`watch`](Dict::watch) on. [`Waitable`](crate::Waitable): it can be waited for beside other
/// things.
///
/// One thread uses it at a time (`&mut self`); any number of them in any number of processes watch a dictionary, and it knows nothing of
/// them: a watcher that is slow, stopped or killed delays nobody. All see the changes of a key in the order in which they were made. A writer that
/// is *stopped* as it tells of a change, which takes some 20 ns, has all watchers wait for it; who is killed there, for up to about 100 ms.
pub struct DictWatch<K, V> {
    dict: Dict<K, V>,
    reader: LogReader,
    filter: Filter<K>,
    /// Changes left untold, as far as this one has told of that. Shared with who waits for it beside other things.
    untold: Arc<AtomicU64>,
    patience: Patience,
    /// The last entry.
    entry: Vec<u8>,
}

impl<K: Message, V: Message> Dict<K, V> {
    /// Tells of each change from now on. What it tells first comes after what [`get`](Self::get) reads now; so to keep a copy, watch
    /// first and read then.
    ///
    /// The first watch of a dictionary locks all its stripes once, about 50 ns for each 64 KiB of its limit, and waits as a writer does; from
    /// then on each change, by any process, takes some 100 ns more and a copy of the pair.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ipc-doc-dict-watch-{}", std::process::id()));
    /// # let namespace = ipc_core::Namespace::at(&dir)?;
    /// use ipc_core::{Dict, DictChange};
    ///
    /// let config: Dict<String, u32> = Dict::options().namespace(&namespace).create("config")?;
    /// let mut watch = config.watch()?;
    /// config.insert("rate", &100)?; // by any process
    /// let change = watch.recv()?;
    /// assert_eq!(change, DictChange::Set { key: "rate".to_string(), value: 100 });
    /// # config.unlink()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn watch(&self) -> Result<DictWatch<K, V>, DictError> {
        self.watch_by(Filter::All)
    }

    /// As [`watch`](Self::watch), of one key. Changes of others still count as [missed](DictChange::Missed).
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch); [`DictError::Encode`].
    pub fn watch_key<Q: EncodesAs<K> + ?Sized>(
        &self,
        key: &Q,
    ) -> Result<DictWatch<K, V>, DictError> {
        let key = key.encode_as(<[u8]>::to_vec)?;
        self.watch_by(Filter::Key(key))
    }

    /// As [`watch`](Self::watch), of keys that begin with `prefix`.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    pub fn watch_prefix(&self, prefix: &str) -> Result<DictWatch<K, V>, DictError>
    where
        K: AsRef<str>,
    {
        let prefix = prefix.to_owned();
        self.watch_if(move |key| key.as_ref().starts_with(&prefix))
    }

    /// As [`watch`](Self::watch), of keys for which `is_wanted` says so, in the watcher's process.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    pub fn watch_if(
        &self,
        is_wanted: impl Fn(&K) -> bool + Send + 'static,
    ) -> Result<DictWatch<K, V>, DictError> {
        self.watch_by(Filter::If(Box::new(is_wanted)))
    }

    fn watch_by(&self, filter: Filter<K>) -> Result<DictWatch<K, V>, DictError> {
        let (reader, untold) = self.inner.begin_to_watch(self.manner)?;
        Ok(DictWatch {
            dict: self.clone(),
            reader,
            filter,
            untold: Arc::new(AtomicU64::new(untold)),
            patience: Patience::new(),
            entry: Vec::new(),
        })
    }
}

impl<K: Message, V: Message> DictWatch<K, V> {
    /// The next change; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`DictError::Decode`] if a key or value is none of the type, whose change is passed over; [`DictError::Failed`].
    pub fn recv(&mut self) -> Result<DictChange<K, V>, DictError> {
        self.wait(self.dict.manner.strategy, Deadline::NEVER)
    }

    /// The next change, if there is one now.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<DictChange<K, V>>, DictError> {
        let inner = Arc::clone(&self.dict.inner);
        loop {
            match self.attempt(&inner) {
                Attempt::Done(change) => return change.map(Some),
                Attempt::Unsettled(_) if self.reader.is_promising() => {}
                // Perhaps a dead writer holds something back.
                Attempt::Unsettled(_) if inner.member.found_dead() => {}
                Attempt::Unsettled(_) | Attempt::Blocked(_) => return Ok(None),
            }
        }
    }

    /// The next change; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv); [`DictError::Timeout`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<DictChange<K, V>, DictError> {
        self.wait(self.dict.manner.strategy, Deadline::after(timeout))
    }

    /// The changes, as [`recv`](Self::recv) receives them, without end.
    pub fn iter(&mut self) -> DictWatchIter<'_, K, V> {
        DictWatchIter(self)
    }

    fn wait(
        &mut self,
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<DictChange<K, V>, DictError> {
        let inner = Arc::clone(&self.dict.inner);
        let me = inner.member.ready()?;
        let patience = core::mem::replace(&mut self.patience, Patience::new());
        let waiting = Waiting {
            word: inner.table.log.word(),
            strategy,
            patience: &patience,
            deadline,
            notes: Notes::Table(&inner.table.notes, me),
        };
        let waited = waiting.until(|| self.attempt(&inner), || true, || inner.look().map(Err));
        self.patience = patience;
        waited.unwrap_or(Err(DictError::Timeout))
    }

    fn attempt<'w>(
        &mut self,
        inner: &'w Inner,
    ) -> Attempt<'w, Result<DictChange<K, V>, DictError>> {
        let word = inner.table.log.word();
        for _ in 0..ENTRIES_A_TRY {
            match self.next(inner, word) {
                Ok(Next::Nothing(attempt)) => return attempt,
                Ok(Next::Other) => {}
                Ok(Next::Change(change)) => return Attempt::Done(Ok(change)),
                Err(e) => return Attempt::Done(Err(e)),
            }
        }
        Attempt::Unsettled(word)
    }

    /// The next entry, whoever's it is.
    fn next<'w, R>(
        &mut self,
        inner: &Inner,
        word: &'w WaitWord,
    ) -> Result<Next<'w, K, V, R>, DictError> {
        inner.member.check()?;
        let untold = inner.table.untold();
        let told = self.untold.load(Ordering::Relaxed); // this thread's
        if untold != told {
            let missed = untold.wrapping_sub(told);
            self.untold.store(untold, Ordering::Relaxed);
            return Ok(Next::Change(DictChange::Missed(missed)));
        }
        let read = self.reader.read(&mut self.entry);
        match read.map_err(|damage| inner.damaged(damage))? {
            Entry::None => Ok(Next::Nothing(Attempt::Blocked(word))),
            Entry::Coming => Ok(Next::Nothing(Attempt::Unsettled(word))),
            Entry::Missed(missed) => Ok(Next::Change(DictChange::Missed(missed))),
            Entry::Read => {
                inner.member.check_whole()?;
                Ok(self.change(inner)?.map_or(Next::Other, Next::Change))
            }
        }
    }

    /// What the last entry tells; `None` if that is of no interest.
    fn change(&self, inner: &Inner) -> Result<Option<DictChange<K, V>>, DictError> {
        let news = News::decode(&self.entry).map_err(|damage| inner.damaged(damage))?;
        if let Filter::Key(wanted) = &self.filter
            && news.key != wanted
        {
            return Ok(None);
        }
        let key = iter::decode::<K>(news.key.to_vec())?;
        if let Filter::If(is_wanted) = &self.filter
            && !is_wanted(&key)
        {
            return Ok(None);
        }
        Ok(Some(match news.event {
            Event::Set => DictChange::Set {
                key,
                value: iter::decode(news.value.to_vec())?,
            },
            Event::SetLarge => match self.dict.get(&key)? {
                Some(value) => DictChange::Set { key, value },
                None => DictChange::Missed(1), // it has gone since
            },
            Event::Removed => DictChange::Removed { key },
            Event::Expired => DictChange::Expired { key },
        }))
    }
}

/// What came of a look at the log.
enum Next<'w, K, V, R> {
    Change(DictChange<K, V>),
    /// An entry of no interest.
    Other,
    Nothing(Attempt<'w, R>),
}

impl<K, V> fmt::Debug for DictWatch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DictWatch")
            .field("dict", &self.dict)
            .finish_non_exhaustive()
    }
}

/// Iterates over changes, from [`DictWatch::iter`].
#[derive(Debug)]
pub struct DictWatchIter<'a, K, V>(&'a mut DictWatch<K, V>);

impl<K: Message, V: Message> Iterator for DictWatchIter<'_, K, V> {
    type Item = Result<DictChange<K, V>, DictError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.recv())
    }
}
