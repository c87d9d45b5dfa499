//! What the makers and openers of all kinds of objects can choose, and how they come to their object.

use std::{path::PathBuf, sync::Arc};

use super::{
    lifetime::{self, Build, Object, Recipe, Species},
    namespace::Namespace,
    participant::{MAX_PARTICIPANTS, Repair},
    wait::WaitStrategy,
};
use crate::{
    error::{Error, Result},
    region::{Fresh, OutOfBounds},
};

const DEFAULT_PARTICIPANTS: u32 = 128;
/// The most participants that may be asked for.
const MOST_PARTICIPANTS: u32 = 16_000;
const _: () = assert!(MOST_PARTICIPANTS <= MAX_PARTICIPANTS);
/// How often opening or creating may lose to others who create and remove.
const RACES: u32 = 100;

/// The options that all kinds share.
#[derive(Debug, Clone)]
pub(crate) struct Making {
    pub(crate) participants: u32,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) namespace: Option<Namespace>,
    pub(crate) wait: WaitStrategy,
}

impl Default for Making {
    fn default() -> Self {
        Self {
            participants: DEFAULT_PARTICIPANTS,
            mode: 0o600,
            group: None,
            namespace: None,
            wait: WaitStrategy::default(),
        }
    }
}

/// What a new object is to be, beside its options.
pub(crate) struct Blueprint<'a> {
    pub(crate) species: Species<'a>,
    pub(crate) geometry: [u64; 8],
    /// Size of the whole file.
    pub(crate) bytes: usize,
    /// Begins the life of the structure behind the header.
    pub(crate) place: &'a dyn Fn(&mut Fresh) -> Result<(), OutOfBounds>,
}

/// An object, and the structure in it.
pub(crate) type Made<S> = (Arc<Object>, Arc<S>);

impl Making {
    pub(crate) fn check(&self) -> Result<()> {
        if (1..=MOST_PARTICIPANTS).contains(&self.participants) {
            Ok(())
        } else {
            Err(Error::BadOption {
                option: "participants",
                why: "an object has room for 1 to 16,000 processes".into(),
            })
        }
    }

    /// As [`Self::create`], but only the first `allocated` bytes are allocated.
    pub(crate) fn create_growing<S: Repair + 'static>(
        &self,
        name: &str,
        blueprint: &Blueprint<'_>,
        allocated: usize,
        build: Build<'_, S>,
    ) -> Result<Made<S>> {
        let path = self.place()?.file_of(name)?;
        self.create_at(path, false, blueprint, allocated, build)
    }

    /// As [`Self::anonymous`], but only the first `allocated` bytes are allocated.
    pub(crate) fn anonymous_growing<S: Repair + 'static>(
        &self,
        blueprint: &Blueprint<'_>,
        allocated: usize,
        build: Build<'_, S>,
    ) -> Result<Made<S>> {
        let namespace = self.place()?;
        lifetime::collect_sometimes(&namespace);
        let path = namespace.ephemeral_file()?;
        self.create_at(path, true, blueprint, allocated, build)
    }

    /// Makes a new object.
    pub(crate) fn create<S: Repair + 'static>(
        &self,
        name: &str,
        blueprint: &Blueprint<'_>,
        build: Build<'_, S>,
    ) -> Result<Made<S>> {
        let path = self.place()?.file_of(name)?;
        self.create_at(path, false, blueprint, blueprint.bytes, build)
    }

    /// Comes to an existing object.
    pub(crate) fn open<S: Repair + 'static>(
        &self,
        name: &str,
        species: Species<'_>,
        build: Build<'_, S>,
    ) -> Result<Made<S>> {
        let path = self.place()?.file_of(name)?;
        let made = Object::open(&path, species, build)?;
        made.0.sweep()?; // what the dead held is free again for whoever comes
        Ok(made)
    }

    /// Makes an object without a name.
    pub(crate) fn anonymous<S: Repair + 'static>(
        &self,
        blueprint: &Blueprint<'_>,
        build: Build<'_, S>,
    ) -> Result<Made<S>> {
        let namespace = self.place()?;
        lifetime::collect_sometimes(&namespace);
        let path = namespace.ephemeral_file()?;
        self.create_at(path, true, blueprint, blueprint.bytes, build)
    }

    fn create_at<S: Repair + 'static>(
        &self,
        path: PathBuf,
        is_ephemeral: bool,
        blueprint: &Blueprint<'_>,
        allocated: usize,
        build: Build<'_, S>,
    ) -> Result<Made<S>> {
        let recipe = Recipe {
            geometry: blueprint.geometry,
            participants: self.participants,
            bytes: blueprint.bytes,
            allocated: allocated.min(blueprint.bytes),
            mode: self.mode,
            group: self.group,
            place: blueprint.place,
        };
        Object::create(path, is_ephemeral, blueprint.species, &recipe, build)
    }

    fn place(&self) -> Result<Namespace> {
        self.namespace.clone().map_or_else(Namespace::current, Ok)
    }
}

/// Opens, or creates if there is nothing. Processes that race here get the same object.
pub(crate) fn open_or_create<T>(
    open: impl Fn() -> Result<T>,
    create: impl Fn() -> Result<T>,
) -> Result<T> {
    for _ in 0..RACES {
        match open() {
            Err(Error::NotFound { .. }) => {}
            other => return other,
        }
        match create() {
            Err(Error::Exists { .. }) => {} // somebody was faster
            other => return other,
        }
    }
    open()
}
