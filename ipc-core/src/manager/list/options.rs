//! How lists are made or opened.

use core::{fmt, marker::PhantomData};

use super::{
    List,
    core::{ListCore, Plan, build, to_words},
};
use crate::{
    error::{Error, Result},
    message::Message,
    object::{
        Kind, Namespace,
        lifetime::{Species, Ticket},
        making::{self, Blueprint, Made, Making},
        wait::WaitStrategy,
    },
    region::{Fresh, OutOfBounds},
    slab::heap,
};

/// Bytes that a list may take at the most, unless asked otherwise.
const DEFAULT_LIMIT: usize = 256 << 20;
/// Bytes that are allocated at creation.
const INITIAL: usize = 64 << 10;

/// Settings for a [`List`], from [`List::options`].
///
/// All but the namespace and the wait strategy matter only when the list is created; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-list-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::List;
///
/// let names = List::<String>::options()
///     .limit(1 << 30) // it begins small, and grows up to this
///     .namespace(&namespace)
///     .create("names")?;
/// assert!(names.is_empty()?);
/// # names.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
pub struct ListOptions<T> {
    limit: usize,
    making: Making,
    _list: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for ListOptions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListOptions")
            .field("limit", &self.limit)
            .field("making", &self.making)
            .finish_non_exhaustive()
    }
}

impl<T: Message> ListOptions<T> {
    pub(super) fn new() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            making: Making::default(),
            _list: PhantomData,
        }
    }

    /// Bytes that the elements and the index over them may take, up to 64 GiB; at least 64 KiB. They are memory in use only as far as
    /// they are needed: 64 KiB at first. Default: 256 MiB.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// How many processes may be attached at once: 1 to 16,000, at 96 bytes each. Default: 128.
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

    /// What calls on this handle do before they sleep, when another one is changing the list.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Makes a new, empty list.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::BadName`]; [`Error::PermissionDenied`].
    pub fn create(&self, name: &str) -> Result<List<T>> {
        self.draw(|blueprint, allocated| {
            self.making
                .create_growing(name, blueprint, allocated, &build)
        })
    }

    /// Opens an existing list.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<List<T>> {
        let made = self.making.open(name, species(&T::type_name()), &build)?;
        Ok(self.finish(made))
    }

    /// Opens the list, or makes it if there is none. Processes that race here get the same list.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<List<T>> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes a list without a name: other processes get it as a handle. It goes with its last living user, also when that
    /// one is killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<List<T>> {
        self.draw(|blueprint, allocated| {
            self.making.anonymous_growing(blueprint, allocated, &build)
        })
    }

    /// Makes an object as `make` does from a blueprint and the bytes to be allocated.
    fn draw(
        &self,
        make: impl Fn(&Blueprint<'_>, usize) -> Result<Made<ListCore>>,
    ) -> Result<List<T>> {
        let bad = |why: &str| Error::BadOption {
            option: "limit",
            why: why.to_owned(),
        };
        self.making.check()?;
        let participants = self.making.participants;
        let geometry = heap::Geometry::of(self.limit, INITIAL)
            .ok_or_else(|| bad("a list holds at most 64 GiB"))?;
        let plan = Plan::of(geometry, participants)
            .ok_or_else(|| bad("no address space has so much memory"))?;
        let place = |fresh: &mut Fresh| -> Result<(), OutOfBounds> {
            plan.place(fresh, geometry, participants)
        };
        let type_name = T::type_name();
        let blueprint = Blueprint {
            species: species(&type_name),
            geometry: to_words(geometry),
            bytes: plan.end,
            place: &place,
        };
        Ok(self.finish(make(&blueprint, plan.allocated(geometry))?))
    }

    fn finish(&self, (object, core): Made<ListCore>) -> List<T> {
        List::over(object, core, self.making.wait)
    }
}

fn species(type_name: &str) -> Species<'_> {
    Species {
        kind: Kind::List,
        type_name: Some(type_name),
    }
}

/// Comes to the list that a handle was sent for.
pub(super) fn redeem<T: Message>(ticket: &Ticket) -> Result<List<T>> {
    let (object, core) = ticket.redeem(species(&T::type_name()), &build)?;
    Ok(List::over(object, core, WaitStrategy::default()))
}
