//! How synchronisation objects are made or opened.

use core::marker::PhantomData;
use std::sync::Arc;

use super::frame::{self, Geometry, Mechanism};
use crate::{
    error::{Error, Result},
    object::{
        Kind, Namespace,
        lifetime::{Object, Species, Ticket},
        making::{self, Blueprint, Made, Making},
        wait::WaitStrategy,
    },
    region::{Fresh, OutOfBounds},
};

/// What [`Options`] need of a primitive.
pub(crate) trait Primitive: Sized {
    type Mechanism: Mechanism;
    const KIND: Kind;

    /// What it holds, as the object remembers it.
    fn type_name() -> String;

    fn over(object: Arc<Object>, mechanism: Arc<Self::Mechanism>, wait: WaitStrategy) -> Self;
}

/// Gives a fresh object its first state.
type Begin = Box<dyn Fn(&frame::Frame) + Send + Sync>;

/// Settings for a synchronisation object, from its `options`.
///
/// All but the namespace and the wait strategy matter only when the object is created; an existing one keeps its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-sync-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Event;
///
/// let started = Event::options().participants(1000).namespace(&namespace).create("started")?;
/// started.set()?;
/// # started.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
pub struct Options<T> {
    making: Making,
    /// Seats that the primitive needs, with the option that says so.
    pub(super) needed: (usize, &'static str),
    /// Whether waiters are noted beside those seats.
    pub(super) has_notes: bool,
    pub(super) value_bytes: usize,
    pub(super) begin: Option<Begin>,
    /// What is wrong with what the primitive itself was asked for.
    pub(super) refusal: Option<(&'static str, &'static str)>,
    _primitive: PhantomData<fn() -> T>,
}

impl<T> core::fmt::Debug for Options<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Options")
            .field("making", &self.making)
            .finish_non_exhaustive()
    }
}

#[expect(private_bounds, reason = "nobody else makes primitives")]
impl<T: Primitive> Options<T> {
    pub(super) fn new() -> Self {
        Self {
            making: Making::default(),
            needed: (0, ""),
            has_notes: true,
            value_bytes: 0,
            begin: None,
            refusal: None,
            _primitive: PhantomData,
        }
    }

    /// How many processes may be attached at once: 1 to 16,000, at 96 bytes each. Default: 128. As many waiters are listed
    /// by name; more may wait.
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
    pub fn create(&self, name: &str) -> Result<T> {
        self.draw(|blueprint| self.making.create(name, blueprint, &frame::build))
    }

    /// Opens an existing object.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::WrongType`]; [`Error::TooManyParticipants`]; and those that say
    /// why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<T> {
        let made = self
            .making
            .open(name, species::<T>(&T::type_name()), &frame::build)?;
        Ok(self.finish(made))
    }

    /// Opens the object, or makes it if there is none. Processes that race here get the same object.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<T> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes an object without a name: other processes get it as a handle. It goes with its last living user, also when that
    /// one is killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<T> {
        self.draw(|blueprint| self.making.anonymous(blueprint, &frame::build))
    }

    /// Makes an object as `make` does from a blueprint.
    fn draw(&self, make: impl Fn(&Blueprint<'_>) -> Result<Made<T::Mechanism>>) -> Result<T> {
        let bad = |option, why: &str| Error::BadOption {
            option,
            why: why.to_owned(),
        };
        if let Some((option, why)) = self.refusal {
            return Err(bad(option, why));
        }
        self.making.check()?;
        let geometry = Geometry {
            needed: self.needed.0,
            notes: if self.has_notes {
                self.making.participants as usize
            } else {
                0
            },
            value_bytes: self.value_bytes,
        };
        let participants = self.making.participants;
        let bytes = frame::file_bytes(geometry, participants)
            .ok_or_else(|| bad(self.needed.1, "no address space has so much memory"))?;
        let place = |fresh: &mut Fresh| -> Result<(), OutOfBounds> {
            frame::place(fresh, geometry, participants)?;
            if let Some(begin) = &self.begin {
                begin(&frame::Frame::over(fresh.region(), geometry, participants)?);
            }
            Ok(())
        };
        let made = make(&Blueprint {
            species: species::<T>(&T::type_name()),
            geometry: geometry.to_words(),
            bytes,
            place: &place,
        })?;
        Ok(self.finish(made))
    }

    fn finish(&self, (object, mechanism): Made<T::Mechanism>) -> T {
        T::over(object, mechanism, self.making.wait)
    }
}

fn species<T: Primitive>(type_name: &str) -> Species<'_> {
    Species {
        kind: T::KIND,
        type_name: Some(type_name),
    }
}

/// Comes to the object that a handle was sent for.
pub(super) fn redeem<T: Primitive>(ticket: &Ticket) -> Result<T> {
    let (object, mechanism) = ticket.redeem(species::<T>(&T::type_name()), &frame::build)?;
    Ok(T::over(object, mechanism, WaitStrategy::default()))
}

/// What every handle on a primitive can do: be cloned, sent, named, removed.
macro_rules! handle {
    ([$($generics:tt)*] $handle:ty, $label:literal, $mechanism:ty, $kind:expr, $type_name:expr) => {
        impl<$($generics)*> $crate::sync::options::Primitive for $handle {
            type Mechanism = $mechanism;
            const KIND: $crate::object::Kind = $kind;

            fn type_name() -> String {
                $type_name
            }

            fn over(
                object: std::sync::Arc<$crate::object::lifetime::Object>,
                mechanism: std::sync::Arc<$mechanism>,
                wait: $crate::object::wait::WaitStrategy,
            ) -> Self {
                let station = $crate::sync::frame::Station::new(object, mechanism, wait);
                Self::at(std::sync::Arc::new(station))
            }
        }

        impl<$($generics)*> $handle {
            /// Opens the object `name`.
            ///
            /// # Errors
            ///
            /// See [`Options::open`](crate::Options::open).
            pub fn open(name: &str) -> $crate::error::Result<Self> {
                $crate::sync::options::Options::<Self>::new().open(name)
            }

            /// Settings for opening an object: where it is, and how calls on this handle wait. They cannot create.
            pub fn opener() -> $crate::sync::options::Options<Self> {
                let mut options = $crate::sync::options::Options::new();
                options.refusal = Some(("opener", "it only opens; create with `options`"));
                options
            }

            /// The object's name, unless it is anonymous.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                self.station.member.object.name()
            }

            /// Removes the object's name: nobody finds it any more; who has it open keeps it.
            ///
            /// # Errors
            ///
            /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now;
            /// [`Error::PermissionDenied`](crate::Error::PermissionDenied).
            pub fn unlink(&self) -> $crate::error::Result<()> {
                self.station.member.object.unlink()
            }

            /// Repairs what dead processes left, now instead of within about 100 ms. Returns how many there were.
            ///
            /// # Errors
            ///
            /// [`Error::Corrupt`](crate::Error::Corrupt).
            pub fn sweep(&self) -> $crate::error::Result<u32> {
                self.station.member.object.sweep()
            }
        }

        impl<$($generics)*> Clone for $handle {
            fn clone(&self) -> Self {
                Self::at(std::sync::Arc::clone(&self.station))
            }
        }

        impl<$($generics)*> core::fmt::Debug for $handle {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct($label)
                    .field("object", &self.station.member.object.label())
                    .field("state", &$crate::sync::frame::Mechanism::describe(&*self.station.mechanism))
                    .finish_non_exhaustive()
            }
        }

        impl<$($generics)*> serde::Serialize for $handle {
            /// Encodes what another process needs to attach: the path, and a way through this process in case the name is
            /// gone.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.station.member.object.ticket().serialize(serializer)
            }
        }

        impl<'de, $($generics)*> serde::Deserialize<'de> for $handle {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let ticket = $crate::object::lifetime::Ticket::deserialize(deserializer)?;
                $crate::sync::options::redeem(&ticket).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use handle;
