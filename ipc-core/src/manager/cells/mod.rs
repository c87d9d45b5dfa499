//! Some values of one plain type, each of which is read and replaced as a whole, and a lock beside them.
//!
//! # Layout
//!
//! Behind the object's header and slots: a lock ([`crate::sync::within`]), then, on a boundary of 128 bytes, the values: of 1, 2, 4 or 8
//! bytes each as it is ([`narrow`]), of any other size with a control word and twice ([`wide`]).
//!
//! Geometry: how many values, and bytes of one.

mod narrow;
mod row;
mod wide;

#[cfg(all(test, loom))]
mod model;

use std::sync::Arc;

use bytemuck::NoUninit;

use self::{
    narrow::{Narrow, bits_of},
    wide::Wide,
};
use crate::{
    error::Damage,
    object::{
        participant::{Dead, Owner, Repair},
        seat::Visitor,
    },
    prim::{AtomicU8, AtomicU16, AtomicU32, AtomicU64},
    region::{Fresh, OutOfBounds, Planner, Region, Shared, Span, identity::Facts},
    sync::{
        frame::{self, Mechanism},
        lock::LockCore,
        within,
    },
};

pub(super) use row::Row;

/// How many values there are, and how large each is. Read and checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Geometry {
    pub(super) fn to_words(self) -> [u64; 8] {
        let mut words = [0; 8];
        words[0] = self.count as u64;
        words[1] = self.bytes as u64;
        words
    }

    fn from_words(words: &[u64; 8]) -> Result<Self, Damage> {
        let [count, bytes] = [words[0], words[1]].map(|word| usize::try_from(word).ok());
        match (count, bytes) {
            (Some(count), Some(bytes)) => Ok(Self { count, bytes }),
            _ => Err(Damage("its geometry is impossible")),
        }
    }
}

/// Where the values lie, and where they end.
fn plan(geometry: Geometry, participants: u32) -> Option<(usize, usize)> {
    let mut planner = Planner::behind(within::end(participants)?);
    let at = match geometry.bytes {
        1 => planner.place::<AtomicU8>(geometry.count, 128),
        2 => planner.place::<AtomicU16>(geometry.count, 128),
        4 => planner.place::<AtomicU32>(geometry.count, 128),
        8 => planner.place::<AtomicU64>(geometry.count, 128),
        bytes => planner.place::<AtomicU64>(wide::words(bytes)?.checked_mul(geometry.count)?, 128),
    }?;
    Some((at, planner.end()))
}

/// Bytes of the file that so many values need.
pub(super) fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
    plan(geometry, participants).map(|(_, end)| end)
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
) -> Result<(), OutOfBounds> {
    within::place(fresh, participants)?;
    let (at, _) = plan(geometry, participants).ok_or(OutOfBounds)?;
    match geometry.bytes {
        1 => fresh.place::<AtomicU8>(at, geometry.count),
        2 => fresh.place::<AtomicU16>(at, geometry.count),
        4 => fresh.place::<AtomicU32>(at, geometry.count),
        8 => fresh.place::<AtomicU64>(at, geometry.count),
        bytes => {
            let words = wide::words(bytes).and_then(|words| words.checked_mul(geometry.count));
            fresh.place::<AtomicU64>(at, words.ok_or(OutOfBounds)?)
        }
    }
}

/// The algorithm over an object's memory.
pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Cells>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry)?;
    Cells::over(region, geometry, facts.participants).map(Arc::new)
}

#[derive(Debug)]
enum Store {
    One(Span<AtomicU8>),
    Two(Span<AtomicU16>),
    Four(Span<AtomicU32>),
    Eight(Span<AtomicU64>),
    /// So many words a value.
    Wide(Span<AtomicU64>, usize),
}

/// Some values, and a lock beside them.
#[derive(Debug)]
pub(crate) struct Cells {
    pub(super) lock: Arc<LockCore>,
    store: Store,
    geometry: Geometry,
}

impl Cells {
    pub(super) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        participants: u32,
    ) -> Result<Self, Damage> {
        const TOO_SMALL: Damage = Damage("the file is smaller than its geometry says");
        fn span<T: Shared>(
            region: &Arc<Region>,
            at: usize,
            count: usize,
        ) -> Result<Span<T>, Damage> {
            region.span(at, count).map_err(|OutOfBounds| TOO_SMALL)
        }
        let (at, _) = plan(geometry, participants).ok_or(TOO_SMALL)?;
        let count = geometry.count;
        Ok(Self {
            lock: within::core(region, participants)?,
            store: match geometry.bytes {
                1 => Store::One(span(region, at, count)?),
                2 => Store::Two(span(region, at, count)?),
                4 => Store::Four(span(region, at, count)?),
                8 => Store::Eight(span(region, at, count)?),
                bytes => {
                    let words = wide::words(bytes).ok_or(TOO_SMALL)?;
                    let all = words.checked_mul(count).ok_or(TOO_SMALL)?;
                    Store::Wide(span(region, at, all)?, words)
                }
            },
            geometry,
        })
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The value at `index`, which is a `T`, if it is that narrow.
    #[inline(always)]
    fn narrow<T>(&self, index: usize) -> Option<Narrow<'_>> {
        // The size is known where this is compiled, so that one comparison is left.
        match (size_of::<T>(), &self.store) {
            (1, Store::One(all)) => all.get(index).map(Narrow::One),
            (2, Store::Two(all)) => all.get(index).map(Narrow::Two),
            (4, Store::Four(all)) => all.get(index).map(Narrow::Four),
            (8, Store::Eight(all)) => all.get(index).map(Narrow::Eight),
            _ => None,
        }
    }

    /// The value at `index`, if it is wide.
    #[inline(always)]
    fn wide(&self, index: usize) -> Option<Wide<'_>> {
        let Store::Wide(all, words) = &self.store else {
            return None;
        };
        let begin = index.checked_mul(*words)?;
        all.get(begin..begin.checked_add(*words)?).map(Wide::over)
    }

    fn wides(&self) -> impl Iterator<Item = Wide<'_>> {
        let (all, words) = match &self.store {
            Store::Wide(all, words) => (&**all, *words),
            _ => (&[][..], 1),
        };
        all.chunks_exact(words).map(Wide::over)
    }

    /// Begins the life of the value at `index`, which nobody else can reach yet.
    pub(super) fn begin<T: NoUninit>(&self, index: usize, value: &T) {
        match (self.narrow::<T>(index), self.wide(index)) {
            (Some(narrow), _) => narrow.store(bits_of(value)),
            (None, Some(wide)) => wide.begin(value),
            (None, None) => {}
        }
    }

    /// Who holds the lock or waits.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        frame::visitors(&*self.lock)
    }

    /// In a word or two, for people.
    pub(crate) fn describe(&self) -> String {
        let Geometry { count, bytes } = self.geometry;
        format!("{count} × {bytes} bytes, {}", self.lock.describe())
    }
}

impl Repair for Cells {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.wides().try_for_each(|wide| wide.repair(dead))?;
        self.lock.repair(dead)
    }

    fn names(&self, owner: Owner) -> bool {
        self.lock.names(owner) || self.wides().any(|wide| wide.names(owner))
    }

    fn wake_all(&self) {
        self.lock.wake_all();
    }
}
