//! A lossy ring in another structure: what is done to that, in the order in which it is done.
//!
//! Everything that the ring's own documents say holds, but it has no object of its own, is never closed, and lies where the other
//! structure says.

use std::sync::Arc;

use super::{
    geometry::{Geometry, Offsets},
    read::{ReadRefusal, Reader},
    ring::Ring,
    source::NextMessage,
};
use crate::{
    channel::{geometry as channel, target::Target},
    error::Damage,
    object::{
        participant::{Dead, Owner, Repair},
        seat::Visitor,
        source::Source,
        wait::WaitWord,
    },
    region::{Fresh, OutOfBounds, Planner, Region},
    slab,
};

/// Bytes of an entry that is no longer than two cache lines, and of a block for longer ones.
const INLINE_BYTES: usize = 112;
const BLOCK_BYTES: usize = 256;
/// The most entries that a log can keep.
pub(crate) const MOST_ENTRIES: usize = 1 << 20;

/// How large a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogGeometry(Geometry);

impl LogGeometry {
    /// Of a log that keeps so many entries, with half a block for each. `None` if that is none, or too many.
    pub(crate) fn new(entries: usize) -> Option<Self> {
        let ring = channel::Geometry {
            capacity: entries,
            inline_bytes: INLINE_BYTES,
            slab: slab::Geometry {
                block_bytes: BLOCK_BYTES,
                blocks: entries.div_ceil(2),
            },
            notes: 0,
            loans: slab::Geometry::NONE,
        };
        (1..=MOST_ENTRIES)
            .contains(&entries)
            .then_some(Self(Geometry {
                ring,
                subscribers: 0,
                is_lossless: false,
                is_asymmetric: false,
            }))
    }

    pub(crate) fn entries(self) -> usize {
        self.0.ring.capacity
    }
}

/// Where a log lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOffsets(Offsets);

impl LogOffsets {
    pub(crate) fn plan(planner: &mut Planner, geometry: LogGeometry) -> Option<Self> {
        Offsets::plan(planner, geometry.0).map(Self)
    }

    /// Begins its life.
    pub(crate) fn place(self, fresh: &mut Fresh, geometry: LogGeometry) -> Result<(), OutOfBounds> {
        self.0.place(fresh, geometry.0)
    }
}

/// What was done, last.
#[derive(Debug)]
pub(crate) struct Log(pub(super) Arc<Ring>);

/// How far the log goes behind an entry, which nobody was woken for yet.
#[derive(Debug)]
#[must_use]
pub(crate) struct Appended(u64);

impl Log {
    /// The log in `region`, which is new or was used before.
    pub(crate) fn over(
        region: &Arc<Region>,
        at: LogOffsets,
        geometry: LogGeometry,
    ) -> Result<Self, OutOfBounds> {
        Ring::at(region, at.0, geometry.0).map(|ring| Self(Arc::new(ring)))
    }

    /// Appends an entry, over the oldest if need be, without waiting. `None` if somebody stopped is in the way, or it is too long.
    pub(crate) fn append(&self, me: Owner, entry: &[u8]) -> Option<Appended> {
        let ring = &self.0;
        let end = ring.publish_at(me, ring.tail(), entry);
        end.ok().map(Appended)
    }

    /// Wakes who waits for an entry.
    pub(crate) fn announce(&self, appended: &Appended) {
        self.0.announce(appended.0);
    }

    /// Wakes who waits for an entry, after a read-modify-write that says that there will be none.
    pub(crate) fn announce_lack(&self) {
        self.0.gate().items.wake(u32::MAX);
    }

    pub(crate) fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.0.repair(dead)
    }

    pub(crate) fn names(&self, owner: Owner) -> bool {
        self.0.names(owner)
    }

    pub(crate) fn wake_all(&self) {
        self.0.wake_all();
    }

    /// Who is at work on an entry.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        self.0.visitors()
    }

    /// Where who waits for entries sleeps.
    pub(crate) fn word(&self) -> &WaitWord {
        &self.0.gate().items
    }

    /// Reads the entries from now on.
    pub(crate) fn reader(&self, me: Owner) -> Result<LogReader, Damage> {
        let reader = Reader::join(&self.0, me, false)?;
        reader
            .map(LogReader)
            .ok_or(Damage("a log knows its readers"))
    }
}

/// What there is to read in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is in the buffer.
    Read,
    /// So many entries were overwritten before this reader came to them.
    Missed(u64),
    None,
    /// None, but one is being appended, whose author may not see that somebody goes to sleep now.
    Coming,
}

/// Somebody who reads all entries. Nobody else knows of it, so a forked child's copy goes on on its own.
#[derive(Debug)]
pub(crate) struct LogReader(Reader);

impl LogReader {
    /// Has `buffer` be the next entry.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Entry, Damage> {
        let refusal = match self.0.read() {
            Ok(received) => {
                buffer.clear();
                return buffer
                    .receive(received)
                    .map(|()| Entry::Read)
                    .map_err(|_| Damage("bytes are no bytes"));
            }
            Err(refusal) => refusal,
        };
        match refusal {
            ReadRefusal::Lagged(missed) => Ok(Entry::Missed(missed)),
            ReadRefusal::Empty | ReadRefusal::Closed => Ok(Entry::None),
            ReadRefusal::BeingPublished => Ok(Entry::Coming),
            ReadRefusal::Damage(damage) => Err(damage),
        }
    }

    /// What says whether there is an entry for this reader, or it has gone.
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        Arc::new(NextMessage::of(&self.0))
    }

    /// Whether a read is worth a try. For who waits.
    pub(crate) fn is_promising(&self) -> bool {
        Reader::is_promising(&self.0.ring, self.0.next())
    }
}
