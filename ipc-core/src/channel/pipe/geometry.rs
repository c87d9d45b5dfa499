//! How large the parts of a pipe are, and where they lie.

use super::lane::Gate;
use crate::{
    channel::places::{GAP_WORDS, Places},
    error::Damage,
    object::{lifetime, seat::Seat},
    prim::AtomicU64,
    region::{CacheLine, Fresh, OutOfBounds, Planner},
};

/// What every frame is a multiple of, in bytes.
pub(super) const UNIT: usize = 8;
/// The least bytes of a lane's ring: a frame with a byte in it.
pub(super) const LEAST_CAPACITY: usize = 2 * UNIT;
/// The most: what a frame's head can say.
pub(super) const MOST_CAPACITY: usize = 1 << 31;

/// Set where sleepers fence for those who publish.
const IS_ASYMMETRIC: u64 = 1;
/// Set where every message has the same length.
const IS_FIXED: u64 = 2;

/// What a pipe is made of. Checked once; private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Directions: 1 or 2.
    pub(super) lanes: usize,
    /// Bytes of each direction's ring, a power of two.
    pub(super) capacity: usize,
    /// The length of all messages, if they have the same.
    pub(super) fixed: Option<usize>,
    /// Whether sleepers fence for those who publish (O5); else those do it.
    pub(super) is_asymmetric: bool,
}

impl Geometry {
    pub(super) fn to_words(self) -> [u64; 8] {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let mut words = [0; 8];
        words[0] = self.lanes as u64;
        words[1] = self.capacity as u64;
        words[2] = self.fixed.unwrap_or(0) as u64;
        words[3] = flag(self.is_asymmetric, IS_ASYMMETRIC) | flag(self.fixed.is_some(), IS_FIXED);
        words
    }

    pub(super) fn from_words(words: &[u64; 8]) -> Result<Self, Damage> {
        let [lanes, capacity, fixed] =
            [words[0], words[1], words[2]].map(|word| usize::try_from(word).unwrap_or(usize::MAX));
        let read = Self {
            lanes,
            capacity,
            fixed: (words[3] & IS_FIXED != 0).then_some(fixed),
            is_asymmetric: words[3] & IS_ASYMMETRIC != 0,
        };
        let is_plausible = (1..=2).contains(&lanes)
            && capacity.is_power_of_two()
            && (LEAST_CAPACITY..=MOST_CAPACITY).contains(&capacity)
            && read
                .fixed
                .is_none_or(|length| length <= capacity && bare_frame(length) <= capacity as u64);
        if is_plausible {
            Ok(read)
        } else {
            Err(Damage("its geometry is impossible"))
        }
    }

    /// The longest message, in bytes.
    pub(super) fn most_bytes(self) -> usize {
        self.fixed.unwrap_or(self.capacity - UNIT)
    }

    /// One seat for whoever waits at each end of each lane.
    fn notes(self) -> usize {
        2 * self.lanes
    }

    /// Bytes of the frame of a message of so many bytes.
    pub(super) fn frame(self, length: usize) -> u64 {
        self.fixed.map_or(framed(length), bare_frame)
    }

    /// Words of a lane's ring.
    pub(super) fn words(self) -> usize {
        match Slots::new(self) {
            Some(slots) => (self.capacity >> slots.shift) * slots.stride,
            None => self.capacity / UNIT,
        }
    }
}

/// Whether each message of a pipe whose messages are all so long has a slot of its own, and neighbours in the order of the pipe are not
/// neighbours in memory: see [`crate::channel::places`], to which the same applies. Shorter ones share lines, and longer ones have so many
/// that it does not matter where the first is.
#[inline(always)]
pub(super) const fn is_slotted(length: usize) -> bool {
    32 < length && length <= 256
}

/// Where the slots of a lane are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    /// Bytes of a slot, as a power of two.
    shift: u32,
    /// Words from one to the next.
    stride: usize,
    places: Places,
}

impl Slots {
    /// `None` if frames lie one behind the other.
    pub(super) fn new(geometry: Geometry) -> Option<Self> {
        let length = geometry.fixed.filter(|&length| is_slotted(length))?;
        let shift = bare_frame(length).trailing_zeros();
        Some(Self {
            shift,
            stride: (1 << shift) / UNIT + GAP_WORDS,
            places: Places::new(geometry.capacity >> shift),
        })
    }

    /// The first word of the slot that begins at byte `at` of the ring.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> usize {
        self.places.of(at >> self.shift) * self.stride
    }
}

/// Bytes of a bare frame, one of a pipe whose messages are all so long.
#[inline(always)]
pub(super) const fn bare_frame(length: usize) -> u64 {
    if is_slotted(length) {
        let slot = length.next_power_of_two() as u64;
        if slot < 64 { 64 } else { slot }
    } else if length == 0 {
        UNIT as u64 // so that each message moves the counters on
    } else {
        length.next_multiple_of(UNIT) as u64
    }
}

/// Bytes of a frame that begins with its message's length. Short of overflow, as no message is longer than a lane.
#[inline(always)]
pub(super) const fn framed(length: usize) -> u64 {
    (UNIT + length.next_multiple_of(UNIT)) as u64
}

/// Set in the head of a frame whose message does not begin right behind it: so that it lies in one piece, and on a boundary.
const PADDED: u64 = 1 << 63;
/// On what messages begin that are written in place, in bytes.
const PIECE_ALIGN: u64 = 64;
const LENGTH: u64 = (1 << 32) - 1;

/// The head of a frame: the message's length, or `1 | padding / 8:31 | length:32`.
#[inline]
pub(super) const fn head_of(padding: u64, length: usize) -> u64 {
    match padding {
        0 => length as u64,
        _ => PADDED | (padding / UNIT as u64) << 32 | length as u64,
    }
}

/// Bytes between the head and the message, and bytes of the message; `None` where the message follows its head.
#[inline]
pub(super) const fn padded(head: u64) -> Option<(u64, u64)> {
    if head & PADDED == 0 {
        return None;
    }
    Some(((head & !PADDED) >> 32 << 3, head & LENGTH))
}

impl Geometry {
    /// The longest message that always finds room in one piece once all others are gone, wherever the next frame begins.
    pub(super) fn most_in_one_piece(self) -> usize {
        self.capacity / 2
    }

    /// Bytes between the head of a frame at `position` and its message, for one that is to lie in one piece.
    ///
    /// A message of up to half a ring fits: if it does so behind the frame's head, with less than [`PIECE_ALIGN`] before it; else the
    /// head lies in the second half, and the first is long enough.
    #[inline]
    pub(super) fn padding(self, position: u64, length: usize) -> u64 {
        let capacity = self.capacity as u64;
        let behind = position.wrapping_add(UNIT as u64);
        let usual = self.usual_begin(position);
        if (usual & (capacity - 1)) + length as u64 <= capacity {
            usual.wrapping_sub(behind)
        } else {
            gap(behind, capacity)
        }
    }

    /// Where the message of a frame at `position` begins that lies in one piece, unless it would go round the end there.
    #[inline]
    pub(super) fn usual_begin(self, position: u64) -> u64 {
        let behind = position.wrapping_add(UNIT as u64);
        behind.wrapping_add(gap(behind, PIECE_ALIGN.min(self.capacity as u64 / 2)))
    }
}

/// Bytes from a position to the next multiple of a power of two.
#[inline]
fn gap(position: u64, boundary: u64) -> u64 {
    boundary.wrapping_sub(position) & (boundary - 1)
}

/// Where the parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) lanes: [LaneOffsets; 2],
    /// How many of these there are.
    count: usize,
    pub(super) notes: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneOffsets {
    pub(super) tail: usize,
    pub(super) head: usize,
    pub(super) gate: usize,
    pub(super) words: usize,
}

pub(super) fn plan(geometry: Geometry, participants: u32) -> Option<Offsets> {
    let (mut planner, _) = lifetime::plan(participants)?;
    let mut lanes = [LaneOffsets::default(); 2];
    let count = geometry.lanes.min(lanes.len());
    for lane in &mut lanes[..count] {
        *lane = plan_lane(&mut planner, geometry)?;
    }
    Some(Offsets {
        lanes,
        count,
        notes: planner.place::<Seat>(geometry.notes(), 128)?,
        end: planner.end(),
    })
}

fn plan_lane(planner: &mut Planner, geometry: Geometry) -> Option<LaneOffsets> {
    Some(LaneOffsets {
        tail: planner.place::<CacheLine<AtomicU64>>(1, 1)?,
        head: planner.place::<CacheLine<[AtomicU64; 2]>>(1, 1)?,
        gate: planner.place::<CacheLine<Gate>>(1, 1)?,
        words: planner.place::<AtomicU64>(geometry.words(), 128)?,
    })
}

/// Bytes of the file that such a pipe needs.
pub(super) fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
    plan(geometry, participants).map(|at| at.end)
}

/// Begins the life of the parts.
pub(super) fn place(
    fresh: &mut Fresh,
    geometry: Geometry,
    participants: u32,
) -> Result<(), OutOfBounds> {
    let at = plan(geometry, participants).ok_or(OutOfBounds)?;
    for lane in &at.lanes[..at.count] {
        fresh.place::<CacheLine<AtomicU64>>(lane.tail, 1)?;
        fresh.place::<CacheLine<[AtomicU64; 2]>>(lane.head, 1)?;
        fresh.place::<CacheLine<Gate>>(lane.gate, 1)?;
        fresh.place::<AtomicU64>(lane.words, geometry.words())?;
    }
    fresh.place::<Seat>(at.notes, geometry.notes())
}

impl Offsets {
    pub(super) fn lanes(&self) -> &[LaneOffsets] {
        &self.lanes[..self.count]
    }

    pub(super) fn note_count(geometry: Geometry) -> usize {
        geometry.notes()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn half_a_ring_fits_in_one_piece_wherever_the_frame_begins() {
        for capacity in [16, 32, 64, 128, 256, 4096] {
            let geometry = Geometry {
                lanes: 1,
                capacity,
                fixed: None,
                is_asymmetric: true,
            };
            for position in (0..3 * capacity as u64).step_by(UNIT) {
                for length in (0..=capacity / 2).step_by(if capacity > 256 { 61 } else { 1 }) {
                    let padding = geometry.padding(position, length);
                    let begin = (position + UNIT as u64 + padding) as usize % capacity;
                    let end = begin + length.next_multiple_of(UNIT);
                    assert!(end <= capacity, "{length} at {position} of {capacity}");
                    assert!(framed(length) + padding <= capacity as u64);
                    assert!(begin.is_multiple_of(64.min(capacity / 2)));
                    let head = head_of(padding, length);
                    let (gap, long) = padded(head).unwrap_or((0, head));
                    assert_eq!((gap, long), (padding, length as u64));
                }
            }
        }
    }
}
