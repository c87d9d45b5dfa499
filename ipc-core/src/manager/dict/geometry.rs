//! How large the parts of a dictionary are.

use super::table::Stripe;
use crate::{
    channel::broadcast::log::{LogGeometry, LogOffsets},
    error::Damage,
    object::{lifetime, seat::Seat},
    prim::AtomicU64,
    region::{Fresh, OutOfBounds},
    slab::heap,
};

/// Bytes of the heap for each stripe.
const BYTES_A_STRIPE: usize = 64 << 10;
const LEAST_STRIPES: usize = 128;
const MOST_STRIPES: usize = 1 << 16;
/// The most notes; more than participants are of no use.
const MOST_NOTES: usize = 1 << 14;

const IMPOSSIBLE: Damage = Damage("its geometry is impossible");

/// What a dictionary is made of. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(super) heap: heap::Geometry,
    /// A power of two.
    pub(super) stripes: usize,
    /// What keys are hashed with.
    pub(super) seed: u64,
    /// Seats in which waiters are noted, for people to read.
    pub(super) notes: usize,
    /// What watchers are told by.
    pub(super) log: LogGeometry,
}

impl Geometry {
    pub(super) fn new(heap: heap::Geometry, seed: u64, notes: usize, log: LogGeometry) -> Self {
        let stripes = (heap.bytes() / BYTES_A_STRIPE).next_power_of_two();
        Self {
            heap,
            stripes: stripes.clamp(LEAST_STRIPES, MOST_STRIPES),
            seed,
            notes,
            log,
        }
    }

    pub(super) fn to_words(self) -> [u64; 8] {
        [
            self.heap.chunk_bytes as u64,
            self.heap.chunks as u64,
            self.heap.initial as u64,
            self.stripes as u64,
            self.seed,
            self.notes as u64,
            self.log.entries() as u64,
            0,
        ]
    }

    pub(super) fn from_words(words: &[u64; 8]) -> Result<Self, Damage> {
        let size = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
        let read = Self {
            heap: heap::Geometry {
                chunk_bytes: size(words[0]),
                chunks: size(words[1]),
                initial: size(words[2]),
            },
            stripes: size(words[3]),
            seed: words[4],
            notes: size(words[5]),
            log: LogGeometry::new(size(words[6])).ok_or(IMPOSSIBLE)?,
        };
        let is_plausible = read.heap.is_plausible()
            && read.stripes.is_power_of_two()
            && (LEAST_STRIPES..=MOST_STRIPES).contains(&read.stripes)
            && read.notes <= MOST_NOTES;
        if is_plausible {
            Ok(read)
        } else {
            Err(IMPOSSIBLE)
        }
    }

    pub(super) fn stripe_bits(self) -> u32 {
        self.stripes.trailing_zeros()
    }
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) facts: usize,
    pub(super) roots: usize,
    pub(super) stripes: usize,
    pub(super) notes: usize,
    pub(super) log: LogOffsets,
    pub(super) heap: heap::Offsets,
}

/// Plans the whole file; returns also its size.
pub(super) fn plan(geometry: Geometry, participants: u32) -> Option<(Offsets, usize)> {
    let (mut planner, _) = lifetime::plan(participants)?;
    let at = Offsets {
        facts: planner.place::<[AtomicU64; 8]>(1, 128)?,
        roots: planner.place::<AtomicU64>(geometry.stripes, 128)?,
        stripes: planner.place::<Stripe>(geometry.stripes, 128)?,
        notes: planner.place::<Seat>(geometry.notes, 128)?,
        log: LogOffsets::plan(&mut planner, geometry.log)?,
        heap: heap::Offsets::plan(&mut planner, geometry.heap)?,
    };
    Some((at, planner.end()))
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
) -> Result<(), OutOfBounds> {
    let (at, _) = plan(geometry, participants).ok_or(OutOfBounds)?;
    fresh.place::<[AtomicU64; 8]>(at.facts, 1)?;
    fresh.place::<AtomicU64>(at.roots, geometry.stripes)?;
    fresh.place::<Stripe>(at.stripes, geometry.stripes)?;
    fresh.place::<Seat>(at.notes, geometry.notes)?;
    at.log.place(fresh, geometry.log)?;
    at.heap.place(fresh, geometry.heap)
}
