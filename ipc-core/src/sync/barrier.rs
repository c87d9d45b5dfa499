//! A place where threads of any processes wait for one another.
//!
//! # The word
//!
//! `generation:40 | broken:8 | owner:14 | state:2`, with states OPEN, ACTING and BROKEN. `broken` remembers of the last eight
//! generations which ended without all having come, the youngest in the lowest bit.
//!
//! ```text
//!  OPEN(g) ──all have come──→ ACTING(g, me) ──action done──→ OPEN(g + 1)
//!     │                            │ dead, failed
//!     └──timeout, abort, a death───┴──→ BROKEN(g + 1) ──reset──→ OPEN(g + 1)
//! ```
//!
//! # Layout
//!
//! One seat a party. Its `turn` is the generation in which its owner arrived: an older one is free, whatever else it says. So
//! nobody need stand up.
//!
//! # Invariants
//!
//! * I1. A generation ends by one exchange of the word, by whoever is first.
//!
//! # Ordering
//!
//! * O1. Arriving is a seat exchange(Release), and who counts all seats looks(Acquire) at them; ending the generation is an
//!   exchange(Release) of the word, which those who wait look(Acquire) at. So what any party did before is seen by all after.
//!
//! # If a process dies
//!
//! Any that was attached: its sweep breaks the barrier, as it may have been one of the parties. Between ending a generation and
//! waking: its sweep wakes all.

use std::{sync::Arc, time::Duration};

use super::{
    frame::{Frame, Mechanism, Station},
    options::{Options, handle},
};
use crate::{
    error::{Damage, Error, Result},
    object::{
        Kind,
        participant::{Dead, OWNER_BITS, Owner, Repair},
        seat::{Activity, Notes, SeatCtl},
        wait::{Attempt, Deadline},
    },
    os::fork::Process,
    prim::{Acquire, Relaxed, Release},
};

const MOST_PARTIES: usize = 1 << 16;
/// How often to try an exchange that fails only where somebody else got on.
const RACES: u32 = 1000;

const STATE_BITS: u32 = 2;
const STATE: u64 = (1 << STATE_BITS) - 1;
const OPEN: u64 = 0;
const ACTING: u64 = 1;
const BROKEN: u64 = 2;
const HISTORY_SHIFT: u32 = STATE_BITS + OWNER_BITS;
const HISTORY: u64 = 0xff;
const GENERATION_SHIFT: u32 = HISTORY_SHIFT + 8;
const GENERATIONS: u64 = 1 << (64 - GENERATION_SHIFT);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn state(self) -> u64 {
        self.0 & STATE
    }

    fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    fn with_state(self, state: u64) -> Self {
        Self(self.0 >> HISTORY_SHIFT << HISTORY_SHIFT | state)
    }

    fn acting(self, me: Owner) -> Self {
        Self(self.with_state(ACTING).0 | me.bits() << STATE_BITS)
    }

    /// The next generation.
    fn next(self, was_broken: bool, state: u64) -> Self {
        let history = (self.0 >> HISTORY_SHIFT & HISTORY) << 1 & HISTORY | u64::from(was_broken);
        let generation = self.generation().wrapping_add(1) % GENERATIONS;
        Self(generation << GENERATION_SHIFT | history << HISTORY_SHIFT | state)
    }

    /// How generation `then` ended, seen from this one; `None` while it has not.
    fn outcome_of(self, then: u64) -> Option<bool> {
        let since = self.generation().wrapping_sub(then) % GENERATIONS;
        if since == 0 {
            return None;
        }
        let broken = self.0 >> HISTORY_SHIFT & HISTORY;
        // Who comes so late that nobody remembers is told the worse.
        Some(since <= 8 && broken >> (since - 1) & 1 == 0)
    }
}

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct BarrierCore {
    frame: Frame,
}

/// What came of an attempt to arrive.
pub(super) enum Arrival {
    At(usize, u64),
    /// All parties of this generation have come, and it has not ended yet.
    Full,
    Broken,
}

impl BarrierCore {
    fn word(&self) -> Word {
        Word(self.frame.head().word.load(Acquire)) // O1
    }

    fn exchange(&self, seen: Word, next: Word) -> bool {
        let word = &self.frame.head().word;
        word.compare_exchange(seen.0, next.0, Release, Relaxed)
            .is_ok() // O1
    }

    /// Takes a seat in the present generation.
    pub(super) fn arrive(&self, me: Owner) -> Arrival {
        let word = self.word();
        match word.state() {
            OPEN => {}
            ACTING => return Arrival::Full,
            _ => return Arrival::Broken,
        }
        let generation = word.generation();
        for (index, seat) in self.frame.seats.all().iter().enumerate() {
            let seen = seat.look();
            if !is_free(seen, generation) {
                continue;
            }
            let mine = SeatCtl::free_in(generation).taken(me, Activity::Waiting);
            if seat.exchange(seen, mine) {
                seat.sign(Activity::Waiting);
                return Arrival::At(index, generation);
            }
        }
        Arrival::Full
    }

    fn arrived(&self, generation: u64) -> usize {
        let seats = self.frame.seats.all().iter();
        seats
            .filter(|seat| is_arrival(seat.look(), generation)) // O1
            .count()
    }

    fn have_all_come(&self, generation: u64) -> bool {
        self.arrived(generation) == self.frame.seats.all().len()
    }

    /// Ends the present generation if it is still `seen`.
    fn end(&self, seen: Word, was_broken: bool, state: u64) -> bool {
        let ended = self.exchange(seen, seen.next(was_broken, state)); // I1
        if ended {
            self.frame.head().main.wake(u32::MAX);
        }
        ended
    }

    /// For one that arrived in `generation`: ends it if all have come, after its action, if any. Whether the generation ended
    /// well; `None` while it has not ended.
    pub(super) fn try_pass(
        &self,
        me: Owner,
        generation: u64,
        action: &mut Option<Box<dyn FnOnce() + '_>>,
    ) -> Option<bool> {
        let seen = self.word();
        let outcome = seen.outcome_of(generation);
        if outcome.is_some() || seen.state() != OPEN || !self.have_all_come(generation) {
            return outcome;
        }
        if action.is_none() {
            self.end(seen, false, OPEN);
            // Ended now, by us or by somebody else, unless another's action is running.
            return self.word().outcome_of(generation);
        }
        let acting = seen.acting(me);
        if !self.exchange(seen, acting) {
            return None;
        }
        let mut breaks = BreaksUnlessDone(Some((self, acting)), Process::this());
        if let Some(action) = action.take() {
            action();
        }
        Some(breaks.done())
    }

    /// Breaks the present generation, whichever it is.
    fn abort(&self) {
        for _ in 0..RACES {
            let seen = self.word();
            if seen.state() == BROKEN || self.end(seen, true, BROKEN) {
                return;
            }
        }
    }

    /// Breaks `generation`, unless it has ended. Returns how it ended.
    pub(super) fn abort_generation(&self, generation: u64) -> Option<bool> {
        for _ in 0..RACES {
            let seen = self.word();
            let outcome = seen.outcome_of(generation);
            if outcome.is_some() || self.end(seen, true, BROKEN) {
                return outcome;
            }
        }
        None
    }

    pub(super) fn reset(&self) {
        for _ in 0..RACES {
            let seen = self.word();
            let done = match seen.state() {
                BROKEN => self.exchange(seen, seen.with_state(OPEN)),
                OPEN if self.arrived(seen.generation()) == 0 => true,
                _ => self.end(seen, true, OPEN),
            };
            if done {
                return;
            }
        }
    }
}

/// Whether nobody arrived on this seat in `generation`, or in a later one, if ours is over already.
fn is_free(seat: SeatCtl, generation: u64) -> bool {
    let ahead = seat.turn().wrapping_sub(generation) % GENERATIONS;
    seat.activity() != Some(Activity::Waiting) || ahead >= GENERATIONS / 2
}

/// Whether somebody arrived on this seat in `generation`.
fn is_arrival(seat: SeatCtl, generation: u64) -> bool {
    seat.activity() == Some(Activity::Waiting) && seat.turn() == generation
}

impl Mechanism for BarrierCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        if frame.seats.all().is_empty() {
            return Err(Damage("a barrier has no parties"));
        }
        Ok(Self { frame })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn describe(&self) -> String {
        let word = self.word();
        if word.state() == BROKEN {
            return "broken".to_owned();
        }
        let (here, parties) = (
            self.arrived(word.generation()),
            self.frame.seats.all().len(),
        );
        format!("{here} of {parties} waiting")
    }

    fn is_current(&self, ctl: SeatCtl) -> bool {
        is_arrival(ctl, self.word().generation())
    }
}

impl Repair for BarrierCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        for _ in 0..RACES {
            let seen = self.word();
            if seen.state() > BROKEN {
                return Err(Damage("a barrier is in no known state"));
            }
            if seen.state() == BROKEN
                || !dead.still()
                || self.exchange(seen, seen.next(true, BROKEN))
            {
                break;
            }
        }
        self.frame.notes.repair(dead, |_| {})
    }

    fn wake_all(&self) {
        self.frame.wake_all();
    }
}

/// Why nobody passed a [`Barrier`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// Somebody died, gave up, failed in its action, aborted or reset the barrier.
    #[error("the barrier is broken; reset it when all parties are ready again")]
    Broken,
    /// It took longer than the timeout, as not all parties came or an action ran on; the barrier is broken for all. (Where more
    /// came than there are parties, one may not even get in by then; that breaks nothing.)
    #[error(
        "it took longer than the timeout, so the barrier is broken; reset it when all parties are ready again"
    )]
    Timeout,
    /// The object cannot be used any more.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A barrier for threads of any processes, as Python's `Barrier`: all parties wait until the last one has come.
///
/// # Blocking
///
/// [`wait`](Self::wait) blocks until as many have called it as there are parties. It can be used again and again.
///
/// # When a process dies
///
/// The barrier breaks within about 100 ms: all who wait, and all who come, get [`BarrierError::Broken`] until somebody
/// [resets](Self::reset) it. That holds for every process that has the barrier open, whether it is waiting or still on its way: without
/// it, the others would wait for ever. A process that is done with a barrier drops its handles.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-barrier-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Barrier;
///
/// let start = Barrier::options(2).namespace(&namespace).create("start")?;
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| start.wait().unwrap());
///     let mine = start.wait().unwrap();
///     assert_eq!(mine + other.join().unwrap(), 1, "indexes 0 and 1");
/// });
/// # start.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct Barrier {
    station: Arc<Station<BarrierCore>>,
}

handle!([] Barrier, "Barrier", BarrierCore, Kind::Barrier, String::new());

impl Barrier {
    /// Makes a barrier for `parties` under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str, parties: usize) -> Result<Self> {
        Self::options(parties).create(name)
    }

    /// Settings for a barrier for `parties`: 1 to 65,536, at 32 bytes each.
    pub fn options(parties: usize) -> Options<Self> {
        let mut options = Options::new();
        if !(1..=MOST_PARTIES).contains(&parties) {
            options.refusal = Some(("parties", "a barrier is for 1 to 65,536"));
        }
        options.needed = (parties, "parties");
        options
    }

    fn at(station: Arc<Station<BarrierCore>>) -> Self {
        Self { station }
    }

    /// Waits until all parties have come. Returns a number of its own for each, from 0 on.
    ///
    /// # Errors
    ///
    /// [`BarrierError`].
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::NEVER, None)
    }

    /// As [`wait`](Self::wait), for at most `timeout`; after that the barrier is broken for all.
    ///
    /// # Errors
    ///
    /// [`BarrierError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::after(timeout), None)
    }

    /// As [`wait`](Self::wait); one of the parties calls its `action` once all have come, and before any goes on. If it panics or
    /// its process is killed, the barrier is broken.
    ///
    /// Give every party an action: where some have none and one of these is the last to see that all have come, none runs.
    ///
    /// # Errors
    ///
    /// [`BarrierError`].
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::NEVER, Some(Box::new(action)))
    }

    /// As [`wait_with`](Self::wait_with) and [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Errors
    ///
    /// [`BarrierError`].
    pub fn wait_timeout_with(
        &self,
        timeout: Duration,
        action: impl FnOnce(),
    ) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::after(timeout), Some(Box::new(action)))
    }

    fn wait_until(
        &self,
        deadline: Deadline,
        action: Option<Box<dyn FnOnce() + '_>>,
    ) -> Result<usize, BarrierError> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        let main = &core.frame.head().main;
        let arrive = || match core.arrive(me) {
            Arrival::At(index, generation) => Attempt::Done(Ok(Some((index, generation)))),
            Arrival::Broken => Attempt::Done(Ok(None)),
            Arrival::Full => Attempt::Blocked(main),
        };
        let arrived = self
            .station
            .wait(me, main, deadline, arrive, || true)
            .map_err(BarrierError::Failed)?;
        let Some(arrival) = arrived else {
            return Err(BarrierError::Timeout); // more came than there are parties
        };
        let (index, generation) = arrival.ok_or(BarrierError::Broken)?;
        self.pass(me, (index, generation), deadline, action)
            .map(|()| index)
    }

    /// What one does that has arrived.
    fn pass(
        &self,
        me: Owner,
        (index, generation): (usize, u64),
        deadline: Deadline,
        action: Option<Box<dyn FnOnce() + '_>>,
    ) -> Result<(), BarrierError> {
        let core = &*self.station.mechanism;
        let notes = Notes::Own(&core.frame.seats.all()[index]);
        let main = &core.frame.head().main;
        let mut action = action;
        let attempt = || match core.try_pass(me, generation, &mut action) {
            Some(is_whole) => Attempt::Done(Ok(is_whole)),
            None => Attempt::Blocked(main),
        };
        let is_promising =
            || core.word().outcome_of(generation).is_some() || core.have_all_come(generation);
        let passed = self
            .station
            .wait_noted(main, deadline, notes, attempt, is_promising)?;
        match passed {
            Some(true) => Ok(()),
            Some(false) => Err(BarrierError::Broken),
            None => match core.abort_generation(generation) {
                Some(true) => Ok(()), // at the last moment
                Some(false) => Err(BarrierError::Broken),
                None => Err(BarrierError::Timeout),
            },
        }
    }

    /// Breaks the barrier for all who wait and all who come, until it is reset.
    ///
    /// # Errors
    ///
    /// [`Error`] if the object cannot be used any more.
    pub fn abort(&self) -> Result<()> {
        self.station.member.ready().map_err(|e| *e)?;
        self.station.mechanism.abort();
        Ok(())
    }

    /// Makes the barrier as new. Those who wait get [`BarrierError::Broken`].
    ///
    /// # Errors
    ///
    /// As [`abort`](Self::abort).
    pub fn reset(&self) -> Result<()> {
        self.station.member.ready().map_err(|e| *e)?;
        // First: who died before this is not to break what comes after it.
        self.station.member.object.sweep()?;
        self.station.mechanism.reset();
        self.station.member.check_whole().map_err(|e| *e)
    }

    /// How many threads must come.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.station.mechanism.frame.seats.all().len()
    }

    /// How many have come and wait for the others.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let core = &*self.station.mechanism;
        core.arrived(core.word().generation())
    }

    /// Whether the barrier is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.station.mechanism.word().state() == BROKEN
    }
}

/// Ends the generation whose action is running; broken, unless told that all is well.
///
/// A child that was forked by the action has a copy of this, and leaves the generation to its parent.
struct BreaksUnlessDone<'a>(Option<(&'a BarrierCore, Word)>, Process);

impl BreaksUnlessDone<'_> {
    /// Whether the generation ended well: nobody broke it meanwhile.
    fn done(&mut self) -> bool {
        let acting = self.0.take().filter(|_| self.1.is_this());
        acting.is_some_and(|(core, acting)| core.end(acting, false, OPEN))
    }
}

impl Drop for BreaksUnlessDone<'_> {
    fn drop(&mut self) {
        if let Some((core, acting)) = self.0.take().filter(|_| self.1.is_this()) {
            core.end(acting, true, BROKEN);
        }
    }
}
