//! How a pipe is made or opened.

use core::marker::PhantomData;
use std::sync::Arc;

use super::{
    Pipe,
    connection::Connection,
    core::PipeCore,
    errors::TakeError,
    geometry::{self, Geometry, LEAST_CAPACITY, MOST_CAPACITY, bare_frame},
    receiver::Receiver,
    sender::Sender,
};
use crate::{
    error::{Damage, Error, Result},
    message::Message,
    object::{
        Kind, Namespace,
        lifetime::Species,
        making::{self, Blueprint, Made, Making},
        wait::WaitStrategy,
    },
    os::membarrier,
    region::{Region, identity::Facts},
};

/// Bytes a direction, as the kernel gives its pipes.
const DEFAULT_CAPACITY: usize = 64 << 10;
/// Two ends, and some who look.
const DEFAULT_PARTICIPANTS: u32 = 8;

/// Settings for a pipe, from [`Pipe::options`].
///
/// All but the namespace and the wait strategy matter only when the pipe is made; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-pipe-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Bytes, Pipe};
///
/// let (mut receiver, mut sender) = Pipe::<Bytes>::options()
///     .capacity(1 << 20) // the longest message is 8 bytes shorter
///     .namespace(&namespace)
///     .simplex()?;
/// sender.send_bytes(b"a line")?;
/// assert_eq!(receiver.recv()?.0, b"a line");
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "options make nothing until `duplex`, `simplex`, `create`, `open`, `open_or_create` or `anonymous`"]
#[derive(Debug)]
pub struct PipeOptions<T> {
    capacity: Option<usize>,
    is_one_way: bool,
    making: Making,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> PipeOptions<T> {
    pub(super) fn new() -> Self {
        Self {
            capacity: None,
            is_one_way: false,
            making: Making {
                participants: DEFAULT_PARTICIPANTS,
                ..Making::default()
            },
            _message: PhantomData,
        }
    }

    /// Bytes in flight in each direction, up to 2 GiB, all of it memory in use. Rounded up to a power of two. A message takes its encoded
    /// length, rounded up to a multiple of 8, and 8 more; of [`Plain`](crate::Plain) types, no more, but for those of 33 to 256 bytes: they take the
    /// next power of two, at least 64, and 64 bytes of memory besides. A longer one than all of
    /// the capacity is refused ([`SendError::TooLarge`](crate::SendError::TooLarge)); [`Write`](std::io::Write) splits it.
    /// [Loans](crate::Sender::loan) may be half as long as the capacity.
    /// Default: 64 KiB, or as much as two messages of a [`Plain`](crate::Plain) type need.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// One direction only, for a pipe that ends are taken of by name: a sender and a receiver instead of two connections.
    pub fn one_way(mut self) -> Self {
        self.is_one_way = true;
        self
    }

    /// How many processes may be attached at once: 1 to 16,000, at 64 bytes each. Default: 8.
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

    /// What blocking calls on the ends do before they sleep.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Makes a pipe without a name, and takes both of its ends. It goes with its last living user.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn duplex(mut self) -> Result<(Connection<T>, Connection<T>)> {
        self.is_one_way = false;
        let pipe = self.anonymous()?;
        let ends = pipe.first().and_then(|first| Ok((first, pipe.second()?)));
        ends.map_err(untaken)
    }

    /// Makes a pipe of one direction without a name, and takes both of its ends. It goes with its last living user.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn simplex(mut self) -> Result<(Receiver<T>, Sender<T>)> {
        self.is_one_way = true;
        let pipe = self.anonymous()?;
        let ends = pipe
            .receiver()
            .and_then(|receiver| Ok((receiver, pipe.sender()?)));
        ends.map_err(untaken)
    }

    /// Makes a new pipe, of which nobody has an end yet.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::BadName`]; [`Error::PermissionDenied`].
    pub fn create(&self, name: &str) -> Result<Pipe<T>> {
        self.draw(|blueprint| self.making.create(name, blueprint, &build))
    }

    /// Opens an existing pipe.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<Pipe<T>> {
        let made = self.making.open(name, species(&T::type_name()), &build)?;
        self.finish(made)
    }

    /// Opens the pipe, or makes it if there is none. Processes that race here get the same pipe.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<Pipe<T>> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes a pipe without a name, of which nobody has an end yet. It goes with its last living user.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<Pipe<T>> {
        self.draw(|blueprint| self.making.anonymous(blueprint, &build))
    }

    /// Makes a pipe as `make` does from a blueprint.
    fn draw(&self, make: impl Fn(&Blueprint<'_>) -> Result<Made<PipeCore>>) -> Result<Pipe<T>> {
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
        self.finish(made)
    }

    fn finish(&self, made: Made<PipeCore>) -> Result<Pipe<T>> {
        let (object, core) = fitting::<T>(made)?;
        Ok(Pipe {
            object,
            core,
            wait: self.making.wait,
            _message: PhantomData,
        })
    }

    /// Whether a pipe can be made so, but for space and permission.
    pub(in crate::channel) fn check(&self) -> Result<()> {
        self.geometry().map(drop)
    }

    fn geometry(&self) -> Result<Geometry> {
        self.making.check()?;
        let needed = T::FIXED.map_or(LEAST_CAPACITY, |length| bare_frame(length) as usize);
        let least = needed.max(LEAST_CAPACITY);
        let usual = DEFAULT_CAPACITY.max(needed.saturating_mul(2));
        let capacity = self.capacity.unwrap_or(usual).max(least);
        if self.capacity == Some(0) || capacity > MOST_CAPACITY {
            return Err(Error::BadOption {
                option: "capacity",
                why: "a pipe holds 1 byte to 2 GiB in each direction".into(),
            });
        }
        Ok(Geometry {
            lanes: if self.is_one_way { 1 } else { 2 },
            capacity: capacity.next_power_of_two(),
            fixed: T::FIXED,
            is_asymmetric: membarrier::register(),
        })
    }
}

/// Nobody else can have come to a pipe without a name.
fn untaken(e: TakeError) -> Error {
    match e {
        TakeError::Failed(error) => error,
        _ => unreachable!("a new pipe's ends are nobody's"),
    }
}

pub(super) fn species(type_name: &str) -> Species<'_> {
    Species {
        kind: Kind::Pipe,
        type_name: Some(type_name),
    }
}

pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<PipeCore>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry)?;
    PipeCore::over(region, geometry, facts.participants).map(Arc::new)
}

/// A pipe whose frames are as `T` has them.
pub(super) fn fitting<T: Message>((object, core): Made<PipeCore>) -> Result<Made<PipeCore>> {
    if core.geometry.fixed == T::FIXED {
        Ok((object, core))
    } else {
        Err(Damage("its frames are not as its type has them").of(object.label()))
    }
}
