//! The memory of a list, what its root refers to, and what a sweep does.

use core::cell::OnceCell;
use std::{collections::HashSet, sync::Arc};

use super::walk::Budget;
use crate::{
    error::Damage,
    object::{
        participant::{Dead, Owner, Repair},
        seat::Visitor,
    },
    prim::{Acquire, AtomicU64, Relaxed, Release},
    region::{CacheLine, Fresh, One, OutOfBounds, Planner, Region, identity::Facts},
    slab::heap::{self, Heap, Ref},
    sync::{
        frame::{self, Mechanism},
        lock::LockCore,
        within,
    },
};

/// Words of the geometry that say how the heap is divided.
pub(super) fn to_words(geometry: heap::Geometry) -> [u64; 8] {
    let mut words = [0; 8];
    words[0] = geometry.chunk_bytes as u64;
    words[1] = geometry.chunks as u64;
    words[2] = geometry.initial as u64;
    words
}

fn from_words(words: &[u64; 8]) -> Option<heap::Geometry> {
    let [chunk_bytes, chunks, initial] =
        [words[0], words[1], words[2]].map(|word| usize::try_from(word).ok());
    let geometry = heap::Geometry {
        chunk_bytes: chunk_bytes?,
        chunks: chunks?,
        initial: initial?,
    };
    geometry.is_plausible().then_some(geometry)
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    root: usize,
    heap: heap::Offsets,
    /// Bytes of the whole file.
    pub(super) end: usize,
}

impl Plan {
    pub(super) fn of(geometry: heap::Geometry, participants: u32) -> Option<Self> {
        let mut planner = Planner::behind(within::end(participants)?);
        let root = planner.place::<CacheLine<AtomicU64>>(1, 128)?;
        let heap = heap::Offsets::plan(&mut planner, geometry)?;
        Some(Self {
            root,
            heap,
            end: planner.end(),
        })
    }

    /// Bytes of the file that are allocated at creation.
    pub(super) fn allocated(self, geometry: heap::Geometry) -> usize {
        self.heap.allocated(geometry)
    }

    /// Begins the life of the parts.
    pub(super) fn place(
        self,
        fresh: &mut Fresh,
        geometry: heap::Geometry,
        participants: u32,
    ) -> Result<(), OutOfBounds> {
        within::place(fresh, participants)?;
        fresh.place::<CacheLine<AtomicU64>>(self.root, 1)?;
        self.heap.place(fresh, geometry)
    }
}

/// The algorithm over an object's memory.
pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<ListCore>, Damage> {
    let geometry = from_words(&facts.geometry).ok_or(Damage("its geometry is impossible"))?;
    ListCore::over(region, geometry, facts.participants).map(Arc::new)
}

/// The root word: `version:16 | name of the root node:48`; no name where the list is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Root(u64);

impl Root {
    pub(super) fn name(self) -> Option<Ref> {
        Ref::from_bits(self.0)
    }

    /// The next one, of this node.
    pub(super) fn next(self, name: Option<Ref>) -> Self {
        let version = (self.0 >> Ref::BITS).wrapping_add(1);
        Self(version << Ref::BITS | name.map_or(0, Ref::bits))
    }
}

/// A list's memory.
#[derive(Debug)]
pub(crate) struct ListCore {
    pub(super) lock: Arc<LockCore>,
    root: One<CacheLine<AtomicU64>>,
    pub(super) heap: Heap,
}

impl ListCore {
    pub(super) fn over(
        region: &Arc<Region>,
        geometry: heap::Geometry,
        participants: u32,
    ) -> Result<Self, Damage> {
        const TOO_SMALL: Damage = Damage("the file is smaller than its geometry says");
        let plan = Plan::of(geometry, participants).ok_or(TOO_SMALL)?;
        let root = region.one(plan.root).map_err(|OutOfBounds| TOO_SMALL)?;
        let heap = Heap::new(region, plan.heap, geometry).map_err(|OutOfBounds| TOO_SMALL)?;
        Ok(Self {
            lock: within::core(region, participants)?,
            root,
            heap,
        })
    }

    /// The root as it is now.
    #[inline]
    pub(super) fn root(&self) -> Root {
        Root(self.root.0.load(Acquire)) // O1
    }

    /// Whether it is still the root.
    #[inline]
    pub(super) fn is_root(&self, root: Root) -> bool {
        self.root.0.load(Relaxed) == root.0
    }

    /// Commits, for who holds the lock.
    #[inline]
    pub(super) fn set_root(&self, root: Root) {
        self.root.0.store(root.0, Release); // O1
    }

    /// Of all nodes and elements that the root refers to, the names' bits.
    fn reachable(&self) -> Result<HashSet<u64>, Damage> {
        let mut names = HashSet::new();
        let mut budget = Budget::of(&self.heap);
        self.for_each_name(&mut budget, &mut |name, _| {
            names.insert(name.bits());
        })?;
        Ok(names)
    }

    /// Who holds the lock or waits.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        frame::visitors(&*self.lock)
    }

    /// In a word or two, for people.
    pub(crate) fn describe(&self) -> String {
        let (used, allocated) = self.heap.usage();
        let limit = self.heap.geometry().bytes();
        let memory = format!("{used} of {allocated} bytes in use, at most {limit}");
        match self.count() {
            Some(1) => format!("1 element, {memory}, {}", self.lock.describe()),
            Some(count) => format!("{count} elements, {memory}, {}", self.lock.describe()),
            None => format!("{memory}, {}", self.lock.describe()),
        }
    }
}

impl Repair for ListCore {
    /// Who died holding the lock left the tree as it is until this frees the lock. Who died without it had put nothing into the tree that
    /// was not published, and owns nothing that was ever to be there.
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        let had_lock = self.lock.names(dead.owner());
        let names = OnceCell::new();
        self.heap.repair(dead, &|view| {
            had_lock
                && match names.get_or_init(|| self.reachable()) {
                    Ok(names) => names.contains(&view.name().bits()),
                    Err(_) => true, // nothing is taken from a list that is damaged
                }
        })?;
        // If the lock is free by now, another sweeper has finished, and the list may have changed while this one read it.
        if let Some(Err(damage)) = names.into_inner()
            && self.lock.names(dead.owner())
        {
            return Err(damage);
        }
        self.lock.repair(dead)
    }

    fn names(&self, owner: Owner) -> bool {
        self.lock.names(owner)
    }

    fn wake_all(&self) {
        self.heap.wake_all();
        self.lock.wake_all();
    }
}
