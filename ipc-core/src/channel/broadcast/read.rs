//! The subscriber's side of the ring.

mod back;
mod in_place;

use core::sync::atomic::{AtomicBool, AtomicU64 as PrivateU64};
use std::{collections::VecDeque, sync::Arc};

use super::{
    cell::{Cell, Pass, Seen, State},
    cursors::Place,
    ring::Ring,
};
use crate::{
    channel::contents::Contents,
    error::Damage,
    message::{Received, SharedBytes},
    object::participant::Owner,
    os::fork::Process,
    prim::{self, AtomicU64, Relaxed},
};

pub(super) use back::BackRefusal;
pub(super) use in_place::Found;

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadRefusal {
    Empty,
    /// Empty, but somebody is publishing, and may not see that somebody else goes to sleep now.
    BeingPublished,
    /// So many messages were overwritten before this reader came to them.
    Lagged(u64),
    /// Closed, and everything was read.
    Closed,
    Damage(Damage),
}

impl From<Damage> for ReadRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A message, in private memory.
#[derive(Debug, PartialEq, Eq)]
enum Copied {
    /// So many bytes in the reader's own words.
    Short(usize),
    Long(Vec<u8>),
}

/// How far a subscriber has come, for who waits for it beside other things. Private memory, and a hint: so Relaxed.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) next: PrivateU64,
    /// Whether there are messages from before it began.
    pub(super) has_backlog: AtomicBool,
    /// Whether it is no more.
    pub(super) has_left: AtomicBool,
}

/// One subscriber.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) ring: Arc<Ring>,
    /// What it reads next.
    next: u64,
    progress: Arc<Progress>,
    /// Messages it did not come to in time, and has not told of.
    missed: u64,
    /// Where its cursor is, in a lossless broadcast.
    place: Option<Place>,
    /// Messages from before it began.
    backlog: VecDeque<Copied>,
    /// The last short message. Private memory, though it is made of what shared memory is.
    words: Box<[AtomicU64]>,
    /// Whether light fences do not reach (O6).
    must_fence: bool,
}

impl Reader {
    /// A subscriber from now on. `None` if there are too many.
    pub(super) fn join(
        ring: &Arc<Ring>,
        me: Owner,
        must_fence: bool,
    ) -> Result<Option<Self>, Damage> {
        let (place, next) = if ring.is_lossless() {
            match ring.join(me)? {
                Some((place, start)) => (Some(place), start),
                None => return Ok(None),
            }
        } else {
            (None, ring.find_tail()?)
        };
        let words = ring.geometry().ring.inline_bytes / 8;
        Ok(Some(Self {
            ring: Arc::clone(ring),
            next,
            progress: Arc::new(Progress {
                next: PrivateU64::new(next),
                has_backlog: AtomicBool::new(false),
                has_left: AtomicBool::new(false),
            }),
            missed: 0,
            place,
            backlog: VecDeque::new(),
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            must_fence,
        }))
    }

    /// The next message, which is the reader's from then on.
    #[inline]
    pub(super) fn read(&mut self) -> Result<Received<'_>, ReadRefusal> {
        let copied = if self.backlog.is_empty() {
            self.read_next()?
        } else {
            self.take_of_backlog().unwrap_or(Copied::Short(0))
        };
        Ok(match copied {
            Copied::Long(bytes) => Received::Owned(bytes),
            Copied::Short(length) => {
                let bytes = SharedBytes::new(&self.words, length);
                Received::Shared(bytes.ok_or(Damage("a message is longer than its cell"))?)
            }
        })
    }

    #[inline]
    fn read_next(&mut self) -> Result<Copied, ReadRefusal> {
        let copied = self.find(Self::copy)?;
        self.step();
        Ok(copied)
    }

    /// What `take` makes of the next message that is there: `None` if somebody has come for the cell meanwhile.
    #[inline]
    fn find<R>(
        &mut self,
        take: impl Fn(&Self, Cell<'_>, Seen) -> Result<Option<R>, Damage>,
    ) -> Result<R, ReadRefusal> {
        for _ in 0..self.ring.budget() {
            let lap = self.ring.lap(self.next);
            let seen = self.ring.cell(self.next)?.look()?;
            match (seen.ctl.pass(lap), seen.state) {
                (Pass::Same, State::Full | State::Large) if self.missed == 0 => {
                    if self.place.is_some() {
                        self.ring.witnesses.read(self.ring.index(self.next)); // I5
                    }
                    if let Some(taken) = take(self, self.ring.cell(self.next)?, seen)? {
                        return Ok(taken);
                    }
                }
                (Pass::Same, State::Void) => self.step(),
                (Pass::Same, State::Lost | State::Clearing | State::Stale) => self.miss()?,
                (Pass::Later, _) => self.fall_back()?,
                (Pass::Impossible, _) => {
                    return Err(Damage("a subscriber is ahead of the cells").into());
                }
                (Pass::Same | Pass::Previous, _) => return Err(self.nothing(seen, lap)?),
            }
        }
        Err(Damage("a subscriber never meets a message").into())
    }

    /// What there is to say where no message is next.
    #[cold]
    fn nothing(&mut self, seen: Seen, lap: u64) -> Result<ReadRefusal, Damage> {
        if self.missed > 0 {
            return Ok(ReadRefusal::Lagged(core::mem::take(&mut self.missed)));
        }
        if seen.ctl.pass(lap) == Pass::Same {
            return Ok(ReadRefusal::BeingPublished);
        }
        if !self.ring.is_closed() {
            return Ok(ReadRefusal::Empty);
        }
        prim::full_fence(); // O4: between the look at `closed` and the look at the cell
        let seen = self.ring.cell(self.next)?.look()?;
        Ok(match seen.ctl.pass(lap) {
            Pass::Previous => ReadRefusal::Closed,
            _ => ReadRefusal::BeingPublished, // or published; to be looked at again
        })
    }

    /// Copies the message in `cell`, which was `seen`, to private memory. `None` if somebody has come for the cell meanwhile.
    #[inline]
    fn copy(&self, cell: Cell<'_>, seen: Seen) -> Result<Option<Copied>, Damage> {
        let copied = self.copy_unchecked(cell, seen.state);
        prim::acquire_fence(); // O2
        if cell.ctl().load(Relaxed) == seen.ctl.0 {
            copied.map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline]
    fn copy_unchecked(&self, cell: Cell<'_>, state: State) -> Result<Copied, Damage> {
        if state == State::Large {
            return self.copy_large(cell);
        }
        let length = cell.length().load(Relaxed);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let words = cell.payload().get(..length.div_ceil(8));
        let words = words.ok_or(Damage("a message is longer than its cell"))?;
        for (word, shared) in self.words.iter().zip(words) {
            word.store(shared.load(Relaxed), Relaxed);
        }
        Ok(Copied::Short(length))
    }

    #[cold]
    fn copy_large(&self, cell: Cell<'_>) -> Result<Copied, Damage> {
        let contents = self.ring.contents(cell)?;
        if let Contents::Inline(_) = contents {
            return Err(Damage("a message that is in blocks is not in blocks"));
        }
        let mut bytes = Vec::new();
        contents.peek(cell.payload(), &mut bytes)?;
        Ok(Copied::Long(bytes))
    }

    #[inline]
    fn go_on_at(&mut self, next: u64) {
        self.next = next;
        self.progress.next.store(next, Relaxed);
    }

    /// Goes on to the next position.
    #[inline]
    fn step(&mut self) {
        self.go_on_at(self.ring.next(self.next));
        if let Some(place) = &self.place {
            self.ring.advance(place, self.next);
            if self.must_fence {
                prim::full_fence(); // O6
            } else {
                self.ring.meeting.light_fence(); // O6
            }
            let gate = self.ring.gate();
            gate.space.wake_of_claim(1);
            gate.blocks.wake_of_claim(u32::MAX);
        }
    }

    /// Passes over a message whose blocks were needed.
    #[cold]
    fn miss(&mut self) -> Result<(), Damage> {
        self.check_lossy()?;
        self.missed += 1;
        self.go_on_at(self.ring.next(self.next));
        Ok(())
    }

    /// Goes on with the oldest message that is there.
    #[cold]
    fn fall_back(&mut self) -> Result<(), ReadRefusal> {
        self.check_lossy()?;
        // From the hint: the way from here is up to a lap long, and publishers add to it meanwhile.
        let start = self.next.max(self.ring.tail());
        let (tail, _) = self.ring.first_unclaimed(start)?;
        let oldest = tail.saturating_sub(self.ring.one_lap());
        let missed = self.ring.distance(self.next, oldest);
        if oldest <= self.next {
            return Err(Damage("a message was overwritten, and none is younger").into());
        }
        self.go_on_at(oldest);
        let missed = self.missed.saturating_add(missed);
        self.missed = 0;
        Err(ReadRefusal::Lagged(missed))
    }

    /// In a lossless broadcast nothing is overwritten that a subscriber has still to read.
    fn check_lossy(&self) -> Result<(), Damage> {
        match &self.place {
            None => Ok(()),
            Some(_) => Err(Damage(
                "a message was overwritten before a subscriber had read it",
            )),
        }
    }

    /// Whether a read is worth a try. For who waits.
    #[inline]
    pub(super) fn is_promising(ring: &Ring, next: u64) -> bool {
        let has_come = |cell: Cell<'_>| {
            let seen = super::cell::Ctl(cell.ctl().load(Relaxed));
            seen.has_come_to(ring.lap(next)) && seen.state() != Some(State::Writing)
        };
        ring.cell(next).is_ok_and(has_come) || ring.is_closed()
    }

    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The process that alone may use it, in a lossless broadcast.
    pub(super) fn process(&self) -> Option<Process> {
        self.place.as_ref().map(Place::process)
    }

    /// Whether this process may use it. In a lossy broadcast nobody else knows of it, so that a forked child goes on on its own.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.place.as_ref().is_none_or(Place::is_ours)
    }

    /// How many positions lie between it and the end; for people.
    pub(super) fn behind(&self) -> u64 {
        let tail = self.ring.find_tail().unwrap_or(self.next);
        let ahead = if tail > self.next {
            self.ring.distance(self.next, tail)
        } else {
            0
        };
        ahead.min(self.ring.geometry().ring.capacity as u64) + self.backlog.len() as u64
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.progress.has_left.store(true, Relaxed);
        if let Some(place) = &self.place {
            self.ring.leave(place);
        }
    }
}
