//! How figures get at our locks and events, which are made under a name and opened by name in each process that works with
//! them; and what the locks of a contended figure protect, so that all do the same work inside.

use crate::queue::{fresh_name, namespace};
use crate::{Shared, ZeroIsValid};
use ipc_core::Namespace;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of an object in [`namespace`]. Dropping this removes the name; who has the object open keeps it.
///
/// ```
/// use ipc_benches::sync::Name;
/// use ipc_core::Event;
///
/// let name = Name::of(|place, name| Event::options().namespace(place).create(name));
/// let open = name.opener(|place, name| Event::opener().namespace(place).open(name));
/// assert!(!open().is_set());
/// ```
#[derive(Debug)]
pub struct Name(String);

impl Name {
    /// Makes an object under a fresh name, open nowhere yet.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn of<T>(make: impl FnOnce(&Namespace, &str) -> ipc_core::Result<T>) -> Self {
        let name = Self(fresh_name());
        drop(make(&namespace(), &name.0).expect("make an object"));
        name
    }

    /// What a worker does to open the object.
    pub fn opener<T, O>(&self, open: O) -> impl FnOnce() -> T + Clone + Send + use<T, O>
    where
        O: FnOnce(&Namespace, &str) -> ipc_core::Result<T> + Clone + Send,
    {
        let name = self.0.clone();
        move || open(&namespace(), &name).expect("open the object")
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // A name that stays is no reason to panic in a drop.
        let _ = namespace().unlink(&self.0);
    }
}

/// Plain counters, on a cache line of their own.
#[repr(C, align(64))]
struct Counters([AtomicU64; 4]);

// SAFETY: atomics only, for which zero is a value; aligned to 64.
#[allow(unsafe_code)]
unsafe impl ZeroIsValid for Counters {}

/// Four words in memory that forked processes share, for who holds the lock around them.
#[derive(Clone, Debug)]
pub struct Words(Arc<Shared<Counters>>);

impl Words {
    /// All zero.
    pub fn new() -> Self {
        Self(Arc::new(Shared::zeroed()))
    }

    /// Adds one to each, as to plain words. Returns what they are then: how often this was done.
    #[inline]
    pub fn add(&self) -> u64 {
        let add = |word: &AtomicU64| {
            let sum = word.load(Ordering::Relaxed) + 1; // the lock orders it
            word.store(sum, Ordering::Relaxed);
            sum
        };
        self.0.0.iter().map(add).fold(0, u64::max)
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::new()
    }
}
