//! One direction of a pipe: what both sides share. `writer` and `reader` beside it are the sides.
//!
//! # Layout
//!
//! A pipe's lanes lie behind the object's header and slots, each so:
//!
//! ```text
//!   0          128             256                           384                 384 + capacity
//!   ┌──────────┬───────────────┬─────────────────────────────┬───────────────────┐
//!   │ tail     │ head·read_to  │ gate: who, sleepers, fencing│ frames            │
//!   └──────────┴───────────────┴─────────────────────────────┴───────────────────┘
//!     writer     reader          who takes, closes or sleeps   writer → reader
//!
//!   frame:  0        8                             a multiple of 8
//!           ┌────────┬─────────────────────────────┐
//!           │ length │ message                     │   without `length` where all messages have the same
//!           └────────┴─────────────────────────────┘
//!           ┌────────┬─────────┬───────────────────┐
//!           │ head   │ padding │ message           │   of a message that was written in place: it begins on a multiple of 64
//!           └────────┴─────────┴───────────────────┘   and does not go round the end
//! ```
//!
//! `tail` and `head` count bytes since creation; byte `n` lies at `n & (capacity - 1)`, so that a frame may begin at the end
//! and go on at the start. Where all messages have the same length, of a few cache lines, each has a slot instead, and neighbours are
//! apart (`geometry::Slots`). `read_to` says up to which byte the frame at `head` was read as a part of a stream. Behind the last
//! lane are seats for notes of who waits.
//!
//! # Invariants
//!
//! * I1. `head <= tail <= head + capacity`; both are multiples of 8, and stand between frames.
//! * I2. Bytes `head..tail` belong to the reader, all others to the writer.
//! * I3. Only who holds the writer's end stores `tail`; only who holds the reader's, `head` and `read_to`. Each keeps a private
//!   copy and never reads its own again, so nobody can lie to it about that.
//! * I4. No message appears behind an end of file, until a new writer comes by name.
//!
//! # Ordering
//!
//! * O1. `tail` store(Release) → load(Acquire): the reader sees the frames before the count that includes them.
//! * O2. `head` store(Release) → load(Acquire): the writer reuses bytes only after they were copied out.
//! * O3. An end's word(Release) as somebody gives it up → exchange(Acquire) by who takes it: it goes on where the last one was.
//! * O4. An end's word(Release) CLOSED → load(Acquire), and only then the last look at `tail`: the end comes after the last
//!   message (I4).
//! * O5. Publishing is a plain store, and nothing orders it before the look for sleepers but a *light fence*, which costs nothing: the
//!   sleeper announces itself, calls a *heavy fence*, and looks again ([`crate::os::membarrier`]). If the heavy fence comes
//!   between their store and their look, it is as W1 of `object/wait` says; if it comes before or after both, no fence is needed.
//!   Who sleeps often has the other side fence instead ([`super::fencing`]).
//!   Where the creator could not have this, publishers fence. In a process that cannot have it in a pipe where others do,
//!   both: it fences when it publishes, and it only naps.
//! * O6. An end's word exchange(Release) → load(Acquire) → `Dead::still`: what a later participant of the slot took is not closed for
//!   the dead one (I3 of the participants).
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | writing a frame | bytes behind `tail` | nobody sees them; the next writer writes over them |
//! | after `tail`, before waking | messages, and a sleeper | its sweep wakes all |
//! | with a loan, not sent | bytes behind `tail` | as above |
//! | reading a frame, also in place | the frame | the next reader, who comes by name, reads it again |
//! | after `head`, before waking | room, and a sleeper | its sweep wakes all |
//! | holding or offering an end | that word | its sweep: CLOSED, which the peer sees as end of file or broken pipe |

#![expect(unsafe_code, reason = "implements Shared")]

use core::sync::atomic::AtomicU32 as LocalU32;
use std::sync::Arc;

use super::{
    fencing::Fencing,
    geometry::{Geometry, LaneOffsets},
    role::Role,
};
use crate::{
    object::wait::{Attempt, WaitWord},
    os::membarrier::Meeting,
    prim::{self, AtomicU64, Relaxed},
    region::{CacheLine, One, OutOfBounds, Region, Shared, Span},
};

/// Who is at the ends, and who sleeps there. One line, read by both and rarely written.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) writer: Role,
    pub(super) reader: Role,
    /// The reader sleeps here.
    pub(super) items: WaitWord,
    /// The writer sleeps here.
    pub(super) space: WaitWord,
    /// Who fences for the sleeping reader.
    pub(super) items_fencing: Fencing,
    /// Who fences for the sleeping writer.
    pub(super) space_fencing: Fencing,
}

#[cfg(not(loom))]
const _: () = assert!(
    core::mem::offset_of!(Gate, space_fencing) == 60 && size_of::<CacheLine<Gate>>() == 128
);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Gate {
    fn zeroed() -> Self {
        Self {
            writer: Role::zeroed(),
            reader: Role::zeroed(),
            items: WaitWord::zeroed(),
            space: WaitWord::zeroed(),
            items_fencing: Fencing::zeroed(),
            space_fencing: Fencing::zeroed(),
        }
    }
}

/// Which side of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Side {
    Writer,
    Reader,
}

/// What both sides of a lane share, as one process sees it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) geometry: Geometry,
    pub(super) tail: One<CacheLine<AtomicU64>>,
    /// `head`, then `read_to`.
    pub(super) head: One<CacheLine<[AtomicU64; 2]>>,
    pub(super) gate: One<CacheLine<Gate>>,
    pub(super) words: Span<AtomicU64>,
    pub(super) meeting: Meeting,
    /// One for each word of the ring.
    pub(super) witnesses: prim::Witnesses,
}

impl Lane {
    pub(super) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        at: LaneOffsets,
    ) -> Result<Self, OutOfBounds> {
        Ok(Self {
            geometry,
            tail: region.one(at.tail)?,
            head: region.one(at.head)?,
            gate: region.one(at.gate)?,
            words: region.span(at.words, geometry.words())?,
            meeting: Meeting::new(),
            witnesses: prim::Witnesses::new(geometry.words()),
        })
    }

    #[inline(always)]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate.0
    }

    pub(super) fn role(&self, side: Side) -> &Role {
        match side {
            Side::Writer => &self.gate().writer,
            Side::Reader => &self.gate().reader,
        }
    }

    /// What a side sleeps on.
    pub(super) fn word(&self, side: Side) -> &WaitWord {
        match side {
            Side::Writer => &self.gate().space,
            Side::Reader => &self.gate().items,
        }
    }

    fn fencing(&self, side: Side) -> &Fencing {
        match side {
            Side::Writer => &self.gate().space_fencing,
            Side::Reader => &self.gate().items_fencing,
        }
    }

    /// Wakes both sides.
    pub(super) fn wake_all(&self) {
        self.gate().items.wake_all();
        self.gate().space.wake_all();
    }

    /// One try of a side that waits, and has had to do with `heavy` heavy fences so far. Once it has announced that it sleeps, it looks
    /// again behind one, unless the other side fences (O5).
    pub(super) fn attempt<R>(
        &self,
        side: Side,
        heavy: &LocalU32,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Attempt<'_, R> {
        let (word, fencing) = (self.word(side), self.fencing(side));
        // Not announced, or woken already: it does not sleep before it tries again.
        let is_awake = !word.has_sleepers();
        let mut is_certain = !self.geometry.is_asymmetric || fencing.is_settled(); // O5
        if is_awake || !is_certain {
            if let Some(done) = attempt() {
                return Attempt::Done(done);
            }
            if is_awake {
                return Attempt::Blocked(word);
            }
            is_certain = fencing.settle(&self.meeting, heavy); // O5
        }
        match attempt() {
            Some(done) => Attempt::Done(done),
            None if is_certain => Attempt::Blocked(word),
            None => Attempt::Unsettled(word),
        }
    }

    /// Whether a frame of so many bytes probably fits behind `filled`, or the reader is gone.
    pub(super) fn may_have_room(&self, filled: u64, frame: u64) -> bool {
        let used = filled.wrapping_sub(self.head.0[0].load(Relaxed));
        (self.geometry.capacity as u64).wrapping_sub(used) >= frame
            || !self.gate().reader.glance().is_open()
    }

    /// Whether something was probably published behind `from`, or the writer is gone.
    pub(super) fn may_have_message(&self, from: u64) -> bool {
        self.tail.0.load(Relaxed) != from || !self.gate().writer.glance().is_open()
    }

    /// Messages in the lane and their bytes, as they are now; for people.
    pub(super) fn contents(&self) -> (u64, u64) {
        let head = self.head.0[0].load(Relaxed);
        let tail = self.tail.0.load(Relaxed);
        let used = tail.wrapping_sub(head).min(self.geometry.capacity as u64);
        let frame = |at: u64| match self.geometry.fixed {
            Some(length) => super::geometry::bare_frame(length),
            None => {
                let word = self
                    .words
                    .get((at as usize & (self.geometry.capacity - 1)) / 8);
                let head = word.map_or(0, |word| word.load(Relaxed));
                let (padding, length) = super::geometry::padded(head).unwrap_or((0, head));
                padding + super::geometry::framed(length.min(used) as usize)
            }
        };
        let (mut at, mut count) = (0, 0);
        while at < used {
            at += frame(head.wrapping_add(at)); // at least 8, so this ends
            count += 1;
        }
        (count, used)
    }
}

/// The parts of a lane that each message needs.
#[derive(Debug)]
pub(super) struct Near {
    pub(super) tail: One<CacheLine<AtomicU64>>,
    pub(super) head: One<CacheLine<[AtomicU64; 2]>>,
    gate: One<CacheLine<Gate>>,
    pub(super) words: Span<AtomicU64>,
}

impl Near {
    pub(super) fn new(lane: &Lane) -> Self {
        Self {
            tail: lane.tail.clone(),
            head: lane.head.clone(),
            gate: lane.gate.clone(),
            words: lane.words.clone(),
        }
    }

    #[inline(always)]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate.0
    }
}
