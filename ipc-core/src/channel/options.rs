//! How a queue is made or opened.

use core::marker::PhantomData;
use std::sync::Arc;

use super::{
    geometry::{CellShape, Geometry},
    joinable::terms::Terms,
    queue::Queue,
};
use crate::{
    error::{Damage, Error, Result},
    message::{Bytes, Message, sealed::Sealed},
    object::{
        Kind, Namespace,
        lifetime::{Object, Species, Ticket},
        making::{self, Blueprint, Made, Making},
        participant::Repair,
        wait::WaitStrategy,
    },
    region::{Fresh, OutOfBounds, Region, identity::Facts},
    slab,
};

/// What [`QueueOptions`] need of a queue, of whatever order.
pub(crate) trait Container: Sized {
    type Message: Message;
    type Structure: Repair + 'static;
    const KIND: Kind;
    const CELLS: CellShape;

    /// Bytes of the file that such a queue needs.
    fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize>;

    /// Begins the life of the parts.
    fn place(fresh: &mut Fresh, geometry: Geometry, participants: u32) -> Result<(), OutOfBounds>;

    /// The algorithm over an object's memory.
    fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Self::Structure>, Damage>;

    fn over(object: Arc<Object>, structure: Arc<Self::Structure>, wait: WaitStrategy) -> Self;

    /// The terms of lease, where there are any.
    fn terms(_asked: Terms, _capacity: usize) -> Result<Terms> {
        Ok(Terms::default())
    }

    /// As [`Self::file_bytes`], with what the terms need.
    fn bytes_with_terms(geometry: Geometry, participants: u32, _terms: Terms) -> Option<usize> {
        Self::file_bytes(geometry, participants)
    }

    /// Begins the life of what the terms need.
    fn place_terms(
        _fresh: &mut Fresh,
        _geometry: Geometry,
        _participants: u32,
        _terms: Terms,
    ) -> Result<(), OutOfBounds> {
        Ok(())
    }
}

/// Bytes for large messages where the type does not tell how long messages are.
const DEFAULT_MEMORY: usize = 1 << 20;

/// So many waiters are noted at the most: an empty small queue is to stay small.
const MOST_NOTES: usize = 64;

/// Settings for a [`Queue`], from [`Queue::options`]; or for a queue `Q` of another order, from its `options`.
///
/// All but the namespace and the wait strategy matter only when the queue is created; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Bytes, Queue};
///
/// let frames = Queue::<Bytes>::options(64)
///     .memory(16 << 20) // for messages that are longer than a cell
///     .participants(500)
///     .namespace(&namespace)
///     .create("frames")?;
/// assert_eq!(frames.capacity(), 64);
/// # frames.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
pub struct QueueOptions<T, Q = Queue<T>> {
    capacity: usize,
    memory: Option<usize>,
    inline_bytes: Option<usize>,
    /// How many loans, and bytes of each.
    loans: Option<(usize, usize)>,
    making: Making,
    pub(super) terms: Terms,
    _queue: PhantomData<fn() -> (T, Q)>,
}

impl<T, Q> std::fmt::Debug for QueueOptions<T, Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueOptions")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[expect(private_bounds, reason = "nobody else makes queues")]
impl<T: Message, Q: Container<Message = T>> QueueOptions<T, Q> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            memory: None,
            inline_bytes: None,
            loans: None,
            making: Making::default(),
            terms: Terms::default(),
            _queue: PhantomData,
        }
    }

    /// Bytes for messages that do not fit into a cell; also the length of the longest message. Rounded up to whole blocks.
    ///
    /// Default: 1 MiB; for [`Plain`](crate::Plain) types enough for `capacity` of them, which is nothing if they fit into
    /// cells.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The longest message that a cell carries itself, up to 232 bytes. Longer ones cost blocks of
    /// [`memory`](Self::memory). Rounded up to 104, 168 or 232. Default: 232; for [`Plain`](crate::Plain) types
    /// their size, if that is less. Cells of a [`LifoQueue`](crate::LifoQueue) or [`PriorityQueue`](crate::PriorityQueue)
    /// carry 32, 96, 160 or 224.
    pub fn inline_bytes(mut self, bytes: usize) -> Self {
        self.inline_bytes = Some(bytes);
        self
    }

    /// How many processes may be attached at once: 1 to 16,000, at 64 bytes each. Default: 128.
    pub fn participants(mut self, count: u32) -> Self {
        self.making.participants = count;
        self
    }

    /// Permissions of the object's file. Default: `0o600`. Users of a group share an object with `0o660` and
    /// [`group`](Self::group), in a directory that they may all enter.
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

    /// What blocking calls on this handle do before they sleep.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Makes a new queue.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::BadName`]; [`Error::PermissionDenied`].
    pub fn create(&self, name: &str) -> Result<Q> {
        self.draw(|blueprint| self.making.create(name, blueprint, &Q::build))
    }

    /// Opens an existing queue.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<Q> {
        let made = self
            .making
            .open(name, species::<Q>(&T::type_name()), &Q::build)?;
        Ok(self.finish(made))
    }

    /// Opens the queue, or makes it if there is none. Processes that race here get the same queue.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<Q> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes a queue without a name: other processes get it as a handle. It goes with its last living user, also when that
    /// one is killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<Q> {
        self.draw(|blueprint| self.making.anonymous(blueprint, &Q::build))
    }

    /// Makes a queue as `make` does from a blueprint.
    fn draw(&self, make: impl Fn(&Blueprint<'_>) -> Result<Made<Q::Structure>>) -> Result<Q> {
        let shape = self.geometry()?;
        let terms = Q::terms(self.terms, shape.capacity)?;
        let mut words = shape.to_words();
        if terms != Terms::default() {
            words[5..].copy_from_slice(&terms.to_words()); // such a queue lends nothing
        }
        let participants = self.making.participants;
        let too_large = || Error::BadOption {
            option: "capacity",
            why: "no address space has so much memory".into(),
        };
        let made = make(&Blueprint {
            species: species::<Q>(&T::type_name()),
            geometry: words,
            bytes: Q::bytes_with_terms(shape, participants, terms).ok_or_else(too_large)?,
            place: &|fresh| {
                Q::place(fresh, shape, participants)?;
                Q::place_terms(fresh, shape, participants, terms)
            },
        })?;
        Ok(self.finish(made))
    }

    fn finish(&self, (object, structure): Made<Q::Structure>) -> Q {
        Q::over(object, structure, self.making.wait)
    }

    fn geometry(&self) -> Result<Geometry> {
        let bad = |option, why| Err(Error::BadOption { option, why });
        let cells = Q::CELLS;
        if self.capacity == 0 || self.capacity > cells.most_capacity {
            let why = format!("a {} holds 1 to {} messages", Q::KIND, cells.most_capacity);
            return bad("capacity", why);
        }
        self.making.check()?;
        let most = cells.most_inline();
        if self.inline_bytes.is_some_and(|n| n > most) {
            let why = format!("a cell carries at most {most} bytes");
            return bad("inline_bytes", why);
        }
        let inline_bytes = cells.round_up(self.inline_bytes.or(T::FIXED).unwrap_or(most));
        let memory = self.memory.unwrap_or_else(|| match T::FIXED {
            Some(length) if length <= inline_bytes => 0,
            Some(length) => length.saturating_mul(self.capacity),
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
            capacity: self.capacity,
            inline_bytes,
            slab,
            notes: MOST_NOTES.min(self.making.participants as usize),
            loans,
        })
    }
}

fn species<Q: Container>(type_name: &str) -> Species<'_> {
    Species {
        kind: Q::KIND,
        type_name: Some(type_name),
    }
}

impl QueueOptions<Bytes, Queue<Bytes>> {
    /// Memory for messages that are written in place ([`Queue::loan`]): `count` blocks of `bytes` bytes each, rounded up to whole pages of
    /// 4 KiB; all of it memory in use. A block is taken from the loan until the reference to the message is dropped. Up to 16 million.
    /// Default: none.
    pub fn loans(mut self, count: usize, bytes: usize) -> Self {
        self.loans = Some((count, bytes));
        self
    }
}

/// Comes to the queue that a handle was sent for.
pub(super) fn redeem<Q: Container>(ticket: &Ticket) -> Result<Q> {
    let (object, structure) = ticket.redeem(species::<Q>(&Q::Message::type_name()), &Q::build)?;
    object.sweep()?;
    Ok(Q::over(object, structure, WaitStrategy::default()))
}
