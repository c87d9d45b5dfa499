//! Looking into the pile without changing it.

use super::{
    cell::{Seen, State},
    get::{GetRefusal, Next},
    pile::Pile,
};
use crate::{
    error::Damage,
    object::{
        participant::Owner,
        seat::{Activity, Visitor},
    },
    prim::{self, Relaxed},
};

/// How often a look tries a message that others take meanwhile.
const TRIES: u32 = 8;

impl Pile {
    /// Appends the message that comes first to `out` and leaves it where it is. Returns its priority.
    pub(crate) fn peek(
        &self,
        me: Owner,
        is_patient: bool,
        out: &mut Vec<u8>,
    ) -> Result<i64, GetRefusal> {
        for _ in 0..TRIES {
            let lock = self.try_lock(me, is_patient)?.ok_or(GetRefusal::Busy)?;
            let is_closed = self.is_closed();
            let next = self.next_in_order()?;
            lock.release();
            let Some(next) = next else {
                return Err(self.nothing(is_closed)?);
            };
            if self.copy_if_there(next, out)? {
                return Ok(next.priority);
            }
        }
        Err(GetRefusal::Busy)
    }

    /// Appends a message that was there a moment ago, if nobody claims it meanwhile.
    pub(super) fn copy_if_there(&self, next: Next, out: &mut Vec<u8>) -> Result<bool, Damage> {
        let cell = self.cell(next.index as u64)?;
        let start = out.len();
        let contents = self.contents(cell);
        let copied = contents.and_then(|contents| contents.peek(cell.payload(), out));
        prim::acquire_fence(); // O5
        if cell.ctl().load(Relaxed) == next.ctl.0 {
            return copied.map(|()| true);
        }
        out.truncate(start);
        Ok(false)
    }

    /// Messages that were put and not yet got. Exact while nobody puts or gets. Looks at every cell.
    pub(crate) fn len(&self) -> usize {
        self.all_states().filter(|&s| s == State::Full).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.all_states().any(|state| state == State::Full)
    }

    /// Whether a put of a short message would find no cell now.
    pub(crate) fn is_full(&self) -> bool {
        !self.room.has_any()
    }

    /// What the cells are that are in a known state.
    fn all_states(&self) -> impl Iterator<Item = State> {
        self.all_cells()
            .filter_map(|(_, cell)| cell.look().ok().map(|seen| seen.state))
    }

    /// Messages that were ever put, those that failed half-way included.
    pub(crate) fn puts(&self) -> u64 {
        self.order.puts()
    }

    /// Bytes of the memory for large messages that are in use.
    pub(crate) fn memory_used(&self) -> usize {
        self.slab
            .as_ref()
            .map_or(0, |s| s.used() * s.geometry().block_bytes)
    }

    /// Who holds the lock, and who is at work on a cell. Of the latter, which thread, and since when, nobody writes down.
    pub(crate) fn holders(&self) -> impl Iterator<Item = Visitor> {
        let cells = self.all_cells().filter_map(|(_, cell)| {
            let Seen { ctl, state } = cell.look().ok()?;
            let activity = match state {
                State::Writing => Activity::Holding,
                State::Reading => Activity::Reading,
                _ => return None,
            };
            Some(Visitor {
                owner_bits: ctl.owner_bits(),
                thread: 0,
                since_ns: 0,
                activity,
            })
        });
        self.head().holder().into_iter().chain(cells)
    }

    /// Whether a get is worth a try. For who waits.
    pub(crate) fn may_have_message(&self) -> bool {
        let is_locked = self.head().look().is_locked();
        !is_locked && (self.order.claimed_length() > 0 || self.has_orphans() || self.is_closed())
    }

    /// Whether a put is worth a try. For who waits.
    pub(crate) fn may_have_room(&self) -> bool {
        !self.head().look().is_locked() && (self.room.has_any() || self.is_closed())
    }
}
