//! How a dictionary is made or opened.

use core::marker::PhantomData;
use std::sync::Arc;

use super::{
    Dict,
    geometry::{self, Geometry},
    inner::Manner,
    table::Table,
};
use crate::{
    channel::broadcast::log::{LogGeometry, MOST_ENTRIES},
    error::{Damage, Error, Result},
    message::Message,
    object::{
        Kind, Namespace,
        lifetime::{Species, Ticket},
        making::{self, Blueprint, Made, Making},
        wait::WaitStrategy,
    },
    os::{clock, file},
    region::{Region, identity::Facts},
    slab::heap,
};

/// Bytes that a dictionary may grow to.
const DEFAULT_LIMIT: usize = 64 << 20;
/// Bytes that it has at first.
const DEFAULT_INITIAL: usize = 256 << 10;
/// Changes that are kept for watchers.
const DEFAULT_WATCH_CAPACITY: usize = 256;
/// So many waiters are noted at the most.
const MOST_NOTES: usize = 64;

/// Settings for a [`Dict`], from [`Dict::options`].
///
/// All but the namespace and the wait strategy matter only when the dictionary is created; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-dict-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Bytes, Dict};
///
/// let pages = Dict::<String, Bytes>::options()
///     .limit(1 << 30) // it may grow to 1 GiB
///     .initial(4 << 20) // and has 4 MiB from the beginning
///     .namespace(&namespace)
///     .create("pages")?;
/// assert!(pages.is_empty());
/// # pages.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
#[derive(Debug)]
pub struct DictOptions<K, V> {
    limit: usize,
    initial: Option<usize>,
    watch_capacity: usize,
    making: Making,
    _pair: PhantomData<fn() -> (K, V)>,
}

impl<K: Message, V: Message> DictOptions<K, V> {
    pub(super) fn new() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            initial: None,
            watch_capacity: DEFAULT_WATCH_CAPACITY,
            making: Making::default(),
            _pair: PhantomData,
        }
    }

    /// Bytes of memory for pairs, at the most: up to 64 GiB. Rounded up to whole chunks of 4 to 64 KiB, of which there are 16 at least.
    /// Memory is taken from the file system as it is needed, beyond [`initial`](Self::initial); what is for the limit itself is one
    /// part in 600 of it. Default: 64 MiB.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Bytes of memory for pairs that the dictionary has from its creation on, and never gives back. Default: 256 KiB, or the limit.
    pub fn initial(mut self, bytes: usize) -> Self {
        self.initial = Some(bytes);
        self
    }

    /// How many changes are kept for who [watches](Dict::watch): a watcher that is further behind is told how many it missed. 1 to
    /// 1,048,576, at 256 bytes each. Default: 256.
    pub fn watch_capacity(mut self, changes: usize) -> Self {
        self.watch_capacity = changes;
        self
    }

    /// How many processes may be attached at once: 1 to 16,000, at 64 bytes each. Default: 128.
    pub fn participants(mut self, count: u32) -> Self {
        self.making.participants = count;
        self
    }

    /// Permissions of the object's file. Default: `0o600`.
    pub fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Group of the object's file, by number. Default: the creator's.
    pub fn group(mut self, gid: u32) -> Self {
        self.making.group = Some(gid);
        self
    }

    /// Where the object is. Default: [`Namespace::current`].
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.making.namespace = Some(namespace.clone());
        self
    }

    /// What calls on this handle do before they sleep, where they must wait for another writer.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Makes a new dictionary.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::BadName`]; [`Error::PermissionDenied`].
    pub fn create(&self, name: &str) -> Result<Dict<K, V>> {
        self.draw(|blueprint, allocated| {
            self.making
                .create_growing(name, blueprint, allocated, &build)
        })
    }

    /// Opens an existing dictionary.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<Dict<K, V>> {
        let made = self
            .making
            .open(name, species(&type_name::<K, V>()), &build)?;
        Ok(self.finish(made))
    }

    /// Opens the dictionary, or makes it if there is none. Processes that race here get the same one.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<Dict<K, V>> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes a dictionary without a name: other processes get it as a handle. It goes with its last living user, also when that one is
    /// killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<Dict<K, V>> {
        self.draw(|blueprint, allocated| {
            self.making.anonymous_growing(blueprint, allocated, &build)
        })
    }

    /// Makes a dictionary as `make` does from a blueprint and the bytes to allocate.
    fn draw(
        &self,
        make: impl Fn(&Blueprint<'_>, usize) -> Result<Made<Table>>,
    ) -> Result<Dict<K, V>> {
        self.making.check()?;
        let too_large = || Error::BadOption {
            option: "limit",
            why: "a dictionary has at most 64 GiB".into(),
        };
        let initial = self.initial.unwrap_or(DEFAULT_INITIAL).min(self.limit);
        let heap = heap::Geometry::of(self.limit, initial).ok_or_else(too_large)?;
        let log = LogGeometry::new(self.watch_capacity).ok_or_else(|| Error::BadOption {
            option: "watch_capacity",
            why: format!("between 1 and {MOST_ENTRIES} changes can be kept"),
        })?;
        let participants = self.making.participants;
        let notes = MOST_NOTES.min(participants as usize);
        let shape = Geometry::new(heap, seed(), notes, log);
        let (at, bytes) = geometry::plan(shape, participants).ok_or_else(too_large)?;
        let type_name = type_name::<K, V>();
        let blueprint = Blueprint {
            species: species(&type_name),
            geometry: shape.to_words(),
            bytes,
            place: &|fresh| geometry::place(fresh, shape, participants),
        };
        make(&blueprint, at.heap.allocated(heap)).map(|made| self.finish(made))
    }

    fn finish(&self, (object, table): Made<Table>) -> Dict<K, V> {
        let manner = Manner {
            strategy: self.making.wait,
            timeout: None,
        };
        Dict::over(object, table, manner)
    }
}

/// A number that nobody can foresee, so that nobody can choose keys that all fall into one stripe.
fn seed() -> u64 {
    let text = file::unique();
    xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), clock::monotonic_ns())
}

/// How an object remembers what it holds.
fn type_name<K: Message, V: Message>() -> String {
    format!("{} to {}", K::type_name(), V::type_name())
}

fn species(type_name: &str) -> Species<'_> {
    Species {
        kind: Kind::Dict,
        type_name: Some(type_name),
    }
}

pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Table>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry)?;
    Table::over(region, geometry, facts.participants).map(Arc::new)
}

/// Comes to the dictionary that a handle was sent for.
pub(super) fn redeem<K: Message, V: Message>(ticket: &Ticket) -> Result<Dict<K, V>> {
    let (object, table) = ticket.redeem(species(&type_name::<K, V>()), &build)?;
    object.sweep()?;
    Ok(Dict::over(object, table, Manner::default()))
}
