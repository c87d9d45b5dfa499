//! How values and arrays are made or opened.

use core::{fmt, marker::PhantomData};
use std::sync::Arc;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::Value;
use crate::{
    error::{Error, Result},
    manager::cells::{self, Cells, Geometry, Row},
    object::{
        Kind, Namespace,
        lifetime::{Object, Species, Ticket},
        making::{self, Blueprint, Made, Making},
        wait::WaitStrategy,
    },
    region::{Fresh, OutOfBounds, plain},
};

/// What [`ValueOptions`] need of who is made of some values.
pub(in crate::manager) trait Plot: Sized {
    type Value: NoUninit + CheckedBitPattern;
    const KIND: Kind;

    fn over(row: Row<Self::Value>) -> Self;
}

/// What the values are at first.
#[derive(Debug, Clone)]
enum Initial<T> {
    These(Vec<T>),
    All(T, usize),
    /// It is not to be made.
    Nothing,
}

impl<T: Copy> Initial<T> {
    fn count(&self) -> Option<usize> {
        match self {
            Self::These(values) => Some(values.len()),
            Self::All(_, count) => Some(*count),
            Self::Nothing => None,
        }
    }

    fn get(&self, index: usize) -> Option<&T> {
        match self {
            Self::These(values) => values.get(index),
            Self::All(value, _) => Some(value),
            Self::Nothing => None,
        }
    }
}

/// Settings for a [`Value`], from [`Value::options`]; or for an [`Array`](crate::Array) `V`, from its `options`.
///
/// All but the namespace and the wait strategy matter only when the object is created; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-value-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Value;
///
/// let limit = Value::options(100u32).mode(0o660).namespace(&namespace).create("limit")?;
/// assert_eq!(limit.get()?, 100);
/// # limit.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
pub struct ValueOptions<T, V = Value<T>> {
    initial: Initial<T>,
    making: Making,
    _made: PhantomData<fn() -> V>,
}

impl<T, V> fmt::Debug for ValueOptions<T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueOptions")
            .field("making", &self.making)
            .finish_non_exhaustive()
    }
}

#[expect(private_bounds, reason = "nobody else makes values")]
impl<T: NoUninit + CheckedBitPattern, V: Plot<Value = T>> ValueOptions<T, V> {
    fn new(initial: Initial<T>) -> Self {
        Self {
            initial,
            making: Making::default(),
            _made: PhantomData,
        }
    }

    pub(in crate::manager) fn these(values: Vec<T>) -> Self {
        Self::new(Initial::These(values))
    }

    pub(in crate::manager) fn all(value: T, count: usize) -> Self {
        Self::new(Initial::All(value, count))
    }

    pub(in crate::manager) fn nothing() -> Self {
        Self::new(Initial::Nothing)
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

    /// What blocking calls on this handle do before they sleep.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Makes a new object.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::BadName`]; [`Error::PermissionDenied`].
    pub fn create(&self, name: &str) -> Result<V> {
        self.draw(|blueprint| self.making.create(name, blueprint, &cells::build))
    }

    /// Opens an existing object. Where these options say how many values there are, it must have as many.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<V> {
        let type_name = plain::type_name::<T>();
        let (object, cells) = self
            .making
            .open(name, species::<V>(&type_name), &cells::build)?;
        let found = cells.geometry().count;
        if let Some(expected) = self.initial.count().filter(|count| *count != found) {
            let of = |count| format!("{count} × {type_name}");
            return Err(Error::WrongType {
                object: object.label().to_owned(),
                found: of(found),
                expected: of(expected),
            });
        }
        finish((object, cells), self.making.wait)
    }

    /// Opens the object, or makes it if there is none. Processes that race here get the same object.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<V> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes an object without a name: other processes get it as a handle. It goes with its last living user, also when that
    /// one is killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<V> {
        self.draw(|blueprint| self.making.anonymous(blueprint, &cells::build))
    }

    /// Makes an object as `make` does from a blueprint.
    fn draw(&self, make: impl Fn(&Blueprint<'_>) -> Result<Made<Cells>>) -> Result<V> {
        let bad = |option, why: &str| Error::BadOption {
            option,
            why: why.to_owned(),
        };
        let count = self.initial.count();
        let geometry = Geometry {
            count: count.ok_or_else(|| bad("opener", "it only opens; create with `options`"))?,
            bytes: size_of::<T>(),
        };
        self.making.check()?;
        let participants = self.making.participants;
        let bytes = cells::file_bytes(geometry, participants)
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or_else(|| bad("length", "no address space has so much memory"))?;
        let place = |fresh: &mut Fresh| -> Result<(), OutOfBounds> {
            cells::place(fresh, geometry, participants)?;
            let cells = Cells::over(fresh.region(), geometry, participants);
            let cells = cells.map_err(|_| OutOfBounds)?;
            for index in 0..geometry.count {
                cells.begin(index, self.initial.get(index).ok_or(OutOfBounds)?);
            }
            Ok(())
        };
        let made = make(&Blueprint {
            species: species::<V>(&plain::type_name::<T>()),
            geometry: geometry.to_words(),
            bytes,
            place: &place,
        })?;
        finish(made, self.making.wait)
    }
}

fn species<V: Plot>(type_name: &str) -> Species<'_> {
    Species {
        kind: V::KIND,
        type_name: Some(type_name),
    }
}

fn finish<V: Plot>((object, cells): (Arc<Object>, Arc<Cells>), wait: WaitStrategy) -> Result<V> {
    let Geometry { count, bytes } = cells.geometry();
    if bytes != size_of::<V::Value>() || V::KIND == Kind::Value && count != 1 {
        return Err(Error::Corrupt {
            object: object.label().to_owned(),
            what: "its geometry is not that of its type",
        });
    }
    Ok(V::over(Row::new(object, cells, wait)))
}

/// Comes to the object that a handle was sent for.
pub(in crate::manager) fn redeem<V: Plot>(ticket: &Ticket) -> Result<V> {
    let type_name = plain::type_name::<V::Value>();
    let made = ticket.redeem(species::<V>(&type_name), &cells::build)?;
    finish(made, WaitStrategy::default())
}
