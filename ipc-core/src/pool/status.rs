//! What a pool does, for its own process and for others.

use core::time::Duration;

use super::{
    control::{PoolPhase, Word},
    place::{Place, State},
    station::Station,
};
use crate::{
    error::{Error, Result},
    object::Namespace,
    os::clock,
};

/// What a pool does, each figure read at its own instant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The process that has it.
    pub parent_pid: u32,
    /// Whether it takes tasks.
    pub phase: PoolPhase,
    /// How many workers there are to be.
    pub wanted: usize,
    /// How many workers there can be.
    pub most_workers: usize,
    /// Tasks that it took. A chunk of a map is one task.
    pub submitted: u64,
    /// Tasks that came back from a worker, those that panicked included.
    pub done: u64,
    /// Tasks that did not: lost with a worker, cancelled, or dropped at the end.
    pub failed: u64,
    /// Attempts beyond the first.
    pub retried: u64,
    /// Workers that were started.
    pub workers_started: u64,
    /// Workers that died other than by ending well.
    pub workers_lost: u64,
    /// The workers that there are.
    pub workers: Vec<WorkerStatus>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It begins, or runs the initializer.
    Starting,
    /// It waits for a task.
    Idle,
    /// It works on one.
    Busy,
    /// It ends.
    Ending,
}

impl core::fmt::Display for WorkerState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Ending => "ending",
        })
    }
}

/// A worker of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its number.
    pub pid: u32,
    /// What it does.
    pub state: WorkerState,
    /// Tasks that it has done.
    pub done: u64,
    /// Which task it works on: the number of its batch, and its number there.
    pub task: Option<(u64, u32)>,
    /// Which attempt at that it is, from 1 on.
    pub attempt: u32,
    /// For how long it has worked on it.
    pub busy_for: Option<Duration>,
}

impl WorkerStatus {
    /// `None` if nobody is there, or nothing that can be.
    fn of(place: Place<'_>) -> Option<Self> {
        let (state, doing) = (place.look().state().ok()?, place.doing());
        let state = match state {
            State::Free => return None,
            State::Starting => WorkerState::Starting,
            State::Idle => WorkerState::Idle,
            State::Busy => WorkerState::Busy,
            State::Retired | State::Condemned => WorkerState::Ending,
        };
        let is_busy = state == WorkerState::Busy;
        let since = clock::monotonic_ns().saturating_sub(doing.since_ns);
        Some(Self {
            pid: place.pid(),
            state,
            done: place.done(),
            task: is_busy.then_some((doing.task.batch, doing.task.index)),
            attempt: if is_busy { doing.task.attempt } else { 0 },
            busy_for: is_busy.then(|| Duration::from_nanos(since)),
        })
    }
}

impl PoolStatus {
    pub(super) fn of(station: &Station) -> Result<Self> {
        let phase = station.phase()?;
        let control = &station.control;
        Ok(Self {
            parent_pid: control.get(Word::Parent) as u32,
            phase,
            wanted: control.wanted(),
            most_workers: control.most_workers(),
            submitted: control.get(Word::Submitted),
            done: control.get(Word::Done),
            failed: control.get(Word::Failed),
            retried: control.get(Word::Retried),
            workers_started: control.get(Word::Started),
            workers_lost: control.get(Word::Lost),
            workers: control.places().filter_map(WorkerStatus::of).collect(),
        })
    }
}

/// A pool of another process, or of this one, by its name: to look at it, and to tell it how many workers to have, or to end.
///
/// ```no_run
/// use ipc_core::PoolControl;
///
/// let pool = PoolControl::open("thumbnails")?;
/// println!("{} of {} tasks done", pool.status()?.done, pool.status()?.submitted);
/// pool.scale(8)?;
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PoolControl {
    station: Station,
}

impl PoolControl {
    /// Opens the pool `name` in the [current](Namespace::current) namespace.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] and its kin.
    pub fn open(name: &str) -> Result<Self> {
        Station::open(None, name).map(|station| Self { station })
    }

    /// Opens the pool `name` of this namespace.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(namespace: &Namespace, name: &str) -> Result<Self> {
        Station::open(Some(namespace), name).map(|station| Self { station })
    }

    /// What it does. Of one whose process was killed, what it did last; see [`is_alive`](Self::is_alive).
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) and its kin.
    pub fn status(&self) -> Result<PoolStatus> {
        PoolStatus::of(&self.station)
    }

    /// Whether the process that has the pool lives, and the pool has not ended.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    pub fn is_alive(&self) -> Result<bool> {
        let object = &self.station.member.object;
        object.sweep()?;
        let parent = self.station.control.get(Word::Parent) as u32;
        let is_there = object.cards().iter().any(|c| c.is_alive && c.pid == parent);
        Ok(is_there && self.station.phase()? < PoolPhase::Ended)
    }

    /// Has it have so many workers, from 1 to [`most_workers`](PoolStatus::most_workers). New ones are started at once; those that are too many end
    /// behind the tasks that are handed over already.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`](crate::Error::BadOption): it cannot have so many.
    pub fn scale(&self, workers: usize) -> Result<()> {
        scale(&self.station, workers)
    }

    /// Has it take no more tasks, and end when those that it has are done.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    pub fn drain(&self) -> Result<()> {
        self.station.member.ready().map_err(|e| *e)?;
        self.station.control.advance(PoolPhase::Closing);
        self.station.control.ring();
        Ok(())
    }
}

pub(super) fn scale(station: &Station, workers: usize) -> Result<()> {
    station.member.ready().map_err(|e| *e)?;
    let most = station.control.most_workers();
    if !(1..=most).contains(&workers) {
        return Err(Error::BadOption {
            option: "workers",
            why: format!("this pool can have 1 to {most} workers"),
        });
    }
    station.control.want(workers);
    Ok(())
}
