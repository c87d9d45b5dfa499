//! How a broadcast is made or opened.

use core::marker::PhantomData;
use std::sync::Arc;

use super::{
    Broadcast,
    geometry::{self, CELLS, Geometry, MOST_SUBSCRIBERS},
    ring::Ring,
};
use crate::{
    channel::geometry as channel,
    error::{Damage, Error, Result},
    message::{Bytes, Message},
    object::{
        Kind, Namespace,
        lifetime::{Species, Ticket},
        making::{self, Blueprint, Made, Making},
        wait::WaitStrategy,
    },
    os::membarrier,
    region::{Region, identity::Facts},
    slab,
};

/// Bytes for large messages where the type does not tell how long messages are.
const DEFAULT_MEMORY: usize = 1 << 20;
/// Subscribers of a lossless broadcast.
const DEFAULT_SUBSCRIBERS: usize = 64;
/// So many waiters are noted at the most: an empty small broadcast is to stay small.
const MOST_NOTES: usize = 64;

/// Settings for a [`Broadcast`], from [`Broadcast::options`].
///
/// All but the namespace and the wait strategy matter only when the broadcast is created; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-broadcast-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Broadcast, Bytes};
///
/// let frames = Broadcast::<Bytes>::options(16)
///     .lossy() // who is too slow misses frames
///     .memory(16 << 20) // for messages that are longer than a cell
///     .namespace(&namespace)
///     .create("frames")?;
/// assert!(!frames.is_lossless());
/// # frames.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
#[derive(Debug)]
pub struct BroadcastOptions<T> {
    capacity: usize,
    memory: Option<usize>,
    inline_bytes: Option<usize>,
    is_lossless: bool,
    subscribers: usize,
    /// How many loans, and bytes of each.
    loans: Option<(usize, usize)>,
    making: Making,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> BroadcastOptions<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            memory: None,
            inline_bytes: None,
            is_lossless: true,
            subscribers: DEFAULT_SUBSCRIBERS,
            loans: None,
            making: Making::default(),
            _message: PhantomData,
        }
    }

    /// Publishers wait for the slowest subscriber. The default.
    pub fn lossless(mut self) -> Self {
        self.is_lossless = true;
        self
    }

    /// Publishers do not wait: a subscriber that is too slow misses messages, and is told how many.
    pub fn lossy(mut self) -> Self {
        self.is_lossless = false;
        self
    }

    /// How many subscribers a lossless broadcast can have at once, in all processes: 1 to 4096, at 160 bytes each. Default: 64. A lossy one
    /// can have any number.
    pub fn subscribers(mut self, count: usize) -> Self {
        self.subscribers = count;
        self
    }

    /// Bytes for messages that do not fit into a cell; also the length of the longest message. Rounded up to whole blocks.
    ///
    /// Default: 1 MiB; for [`Plain`](crate::Plain) types the bytes of `capacity` of them and one more, which is nothing if they fit into
    /// cells.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The longest message that a cell carries itself, up to 240 bytes. Longer ones cost blocks of [`memory`](Self::memory).
    /// Rounded up to 48, 112, 176 or 240. Default: 240; for [`Plain`](crate::Plain) types their size, if that is less.
    pub fn inline_bytes(mut self, bytes: usize) -> Self {
        self.inline_bytes = Some(bytes);
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

    /// What blocking calls on the handle and its subscribers do before they sleep.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Makes a new broadcast.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::BadName`]; [`Error::PermissionDenied`].
    pub fn create(&self, name: &str) -> Result<Broadcast<T>> {
        self.draw(|blueprint| self.making.create(name, blueprint, &build))
    }

    /// Opens an existing broadcast.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<Broadcast<T>> {
        let made = self.making.open(name, species(&T::type_name()), &build)?;
        Ok(self.finish(made))
    }

    /// Opens the broadcast, or makes it if there is none. Processes that race here get the same one.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<Broadcast<T>> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes a broadcast without a name: other processes get it as a handle. It goes with its last living user, also when that one is
    /// killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<Broadcast<T>> {
        self.draw(|blueprint| self.making.anonymous(blueprint, &build))
    }

    /// Makes a broadcast as `make` does from a blueprint.
    fn draw(&self, make: impl Fn(&Blueprint<'_>) -> Result<Made<Ring>>) -> Result<Broadcast<T>> {
        let shape = self.geometry()?;
        let participants = self.making.participants;
        let too_large = || Error::BadOption {
            option: "capacity",
            why: "no address space has so much memory".into(),
        };
        let made = make(&Blueprint {
            species: species(&T::type_name()),
            geometry: shape.to_words(),
            bytes: geometry::file_bytes(shape, participants).ok_or_else(too_large)?,
            place: &|fresh| geometry::place(fresh, shape, participants),
        })?;
        Ok(self.finish(made))
    }

    fn finish(&self, (object, ring): Made<Ring>) -> Broadcast<T> {
        Broadcast::over(object, ring, self.making.wait)
    }

    fn geometry(&self) -> Result<Geometry> {
        let bad = |option, why| Err(Error::BadOption { option, why });
        if self.capacity == 0 || self.capacity > CELLS.most_capacity {
            let why = format!("a broadcast holds 1 to {} messages", CELLS.most_capacity);
            return bad("capacity", why);
        }
        if !(1..=MOST_SUBSCRIBERS).contains(&self.subscribers) {
            let why = format!("a lossless broadcast has 1 to {MOST_SUBSCRIBERS} subscribers");
            return bad("subscribers", why);
        }
        self.making.check()?;
        let most = CELLS.most_inline();
        if self.inline_bytes.is_some_and(|n| n > most) {
            let why = format!("a cell carries at most {most} bytes");
            return bad("inline_bytes", why);
        }
        let inline_bytes = CELLS.round_up(self.inline_bytes.or(T::FIXED).unwrap_or(most));
        let memory = self.memory.unwrap_or_else(|| match T::FIXED {
            Some(length) if length <= inline_bytes => 0,
            // One more than the ring holds: a message is copied before what it overwrites is given up.
            Some(length) => length.saturating_mul(self.capacity.saturating_add(1)),
            None => DEFAULT_MEMORY,
        });
        let Some(slab) = slab::Geometry::of(memory) else {
            return bad("memory", "more than 1 TiB for messages".to_owned());
        };
        let loans = match self.loans {
            None | Some((0, _)) => Some(slab::Geometry::NONE),
            Some((count, bytes)) => slab::Geometry::of_loans(count, bytes),
        };
        let Some(loans) = loans else {
            return bad("loans", "no address space has so much memory".to_owned());
        };
        Ok(Geometry {
            ring: channel::Geometry {
                capacity: self.capacity,
                inline_bytes,
                slab,
                loans,
                notes: MOST_NOTES.min(self.making.participants as usize),
            },
            subscribers: if self.is_lossless {
                self.subscribers
            } else {
                0
            },
            is_lossless: self.is_lossless,
            is_asymmetric: self.is_lossless && membarrier::register(),
        })
    }
}

impl BroadcastOptions<Bytes> {
    /// Memory for messages that are written in place ([`Broadcast::loan`]): `count` blocks of `bytes` bytes each, rounded up to whole pages
    /// of 4 KiB; all of it memory in use. A message keeps its block while it is in the ring, or until a loan needs it that everybody
    /// has received (in a lossy broadcast: that is the oldest). Up to 16 million. Default: none.
    pub fn loans(mut self, count: usize, bytes: usize) -> Self {
        self.loans = Some((count, bytes));
        self
    }
}

fn species(type_name: &str) -> Species<'_> {
    Species {
        kind: Kind::Broadcast,
        type_name: Some(type_name),
    }
}

pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Ring>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry)?;
    Ring::over(region, geometry, facts.participants).map(Arc::new)
}

/// Comes to the broadcast that a handle was sent for.
pub(super) fn redeem<T: Message>(ticket: &Ticket) -> Result<Broadcast<T>> {
    let (object, ring) = ticket.redeem(species(&T::type_name()), &build)?;
    object.sweep()?;
    Ok(Broadcast::over(object, ring, WaitStrategy::default()))
}
