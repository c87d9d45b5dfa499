//! Looking into the ring without changing it.

use super::{
    cell::{Cell, Ctl, Pass, Seen, State},
    put::PutRefusal,
    ring::Ring,
};
use crate::{
    error::Damage,
    object::seat::{Activity, Visitor},
    os::copy,
    prim::{self, Relaxed},
};

impl Ring {
    /// Appends the oldest message to `out` and leaves it where it is. Returns whether there was one.
    pub(crate) fn peek(&self, out: &mut Vec<u8>) -> Result<bool, Damage> {
        if self.has_orphans()
            && let Some((position, _)) = self.oldest_orphan()?
            && self.copy_if_there(position, out)?
        {
            return Ok(true);
        }
        let mut position = self.head();
        for _ in 0..self.budget() {
            let Seen { ctl, state } = self.cell(position)?.look()?;
            position = match (ctl.pass(self.lap(position)), state) {
                (Pass::Same, State::Free) | (Pass::Previous | Pass::Impossible, _) => break,
                (Pass::Same, _) if self.copy_if_there(position, out)? => return Ok(true),
                (Pass::Same, _) => self.next(position),
                (Pass::Later, _) => self.consumed_before(position, ctl),
            };
        }
        Ok(false)
    }

    /// Appends the message at `position`, if there is one that nobody claims meanwhile.
    fn copy_if_there(&self, position: u64, out: &mut Vec<u8>) -> Result<bool, Damage> {
        let cell = self.cell(position)?;
        for _ in 0..3 {
            let Seen { ctl, state } = cell.look()?; // O6
            if ctl.pass(self.lap(position)) != Pass::Same
                || !matches!(state, State::Full | State::Orphan)
            {
                break;
            }
            let start = out.len();
            let is_copied = self.copy_unclaimed(cell, out);
            prim::acquire_fence(); // O6
            if cell.ctl().load(Relaxed) == ctl.0 {
                return is_copied.map(|()| true);
            }
            out.truncate(start);
        }
        Ok(false)
    }

    /// The first message in the order of the queue that is to be delivered again.
    pub(super) fn oldest_orphan(&self) -> Result<Option<(u64, Ctl)>, Damage> {
        let mut oldest: Option<(u64, Ctl)> = None;
        for (index, cell) in (0u64..).zip(self.all_cells()) {
            let Seen { ctl, state } = cell.look()?;
            let position = ctl.lap() << self.shift | index;
            if state == State::Orphan && oldest.is_none_or(|(other, _)| position < other) {
                oldest = Some((position, ctl));
            }
        }
        Ok(oldest)
    }

    fn copy_unclaimed(&self, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<(), Damage> {
        self.contents(cell)?.peek(cell.payload(), out)
    }

    /// Messages that were put and not yet got. Exact while nobody puts or gets. Looks at every cell.
    pub(crate) fn len(&self) -> usize {
        self.all_states().filter(|&state| is_message(state)).count()
    }

    /// Who is at work on a cell. Which thread, and since when, nobody writes down.
    pub(crate) fn holders(&self) -> impl Iterator<Item = Visitor> {
        self.all_cells().filter_map(|cell| {
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
        })
    }

    /// Whether a get would find nothing now.
    pub(crate) fn is_empty(&self) -> bool {
        let position = self.head();
        let is_free = |cell: Cell<'_>| cell.ctl().load(Relaxed) == Ctl::free(self.lap(position)).0;
        let is_quick = !self.has_orphans() && self.cell(position).is_ok_and(is_free);
        is_quick || !self.all_states().any(is_message)
    }

    /// Whether a put of a short message would find no cell now.
    pub(crate) fn is_full(&self) -> Result<bool, Damage> {
        match self.look_for_room(self.tail()) {
            Err(PutRefusal::Damage(damage)) => Err(damage),
            room => Ok(room.is_err()),
        }
    }

    /// Whether a get is worth a try. For who waits.
    #[inline]
    pub(crate) fn may_have_message(&self) -> bool {
        let position = self.head();
        let is_put = |cell: Cell<'_>| {
            // So that the claim word and the start of the message come across together with the done word, and not after
            // it has been seen: an eighth to a fifth off a round trip between distant cores. It takes the line from the
            // producer now and then, which costs a stream of messages up to a tenth where the consumer is the faster.
            copy::fetch_ahead(cell.ctl());
            Ctl(cell.done().load(Relaxed)).is_put_in(self.lap(position))
        };
        self.cell(position).is_ok_and(is_put) || self.has_orphans() || self.is_closed()
    }

    /// Whether a put is worth a try. For who waits.
    pub(crate) fn may_have_room(&self) -> bool {
        let position = self.tail();
        let is_taken = |cell: Cell<'_>| {
            let seen = Ctl(cell.ctl().load(Relaxed));
            seen.pass(self.lap(position)) == Pass::Previous && seen.state() != Some(State::Tomb)
        };
        !self.cell(position).is_ok_and(is_taken) || self.is_closed()
    }
}

fn is_message(state: State) -> bool {
    matches!(state, State::Full | State::Orphan)
}
