//! What the processes of a run know of each other: which worker has which place, and which process group its job is.
//!
//! A killed worker's job is killed by the kernel, but not what the job has started: that is found here, by who takes the place, who runs the job
//! again, or who sees that the run was killed as a whole.

use ipc_core::{Array, CompareExchangeError, Namespace};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::{exit::Outcome, proc};

/// Whether jobs go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    On,
    /// No further one is started.
    Closing,
    /// And those that run are ended.
    Ending,
}

/// The table, in every process of the run: the course, and then for each place the process id of a worker and the
/// process group of its job; 0 is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Table(Array<u32>);

impl Table {
    pub(super) fn new(namespace: &Namespace, places: usize) -> Outcome<Self> {
        let table = Array::filled(0, 1 + 2 * places).namespace(namespace);
        Ok(Self(table.anonymous()?))
    }

    pub(super) fn set_course(&self, course: Course) -> ipc_core::Result<()> {
        self.0.set(0, course as u32)
    }

    pub(super) fn course(&self) -> ipc_core::Result<Course> {
        Ok(match self.0.get(0)? {
            0 => Course::On,
            1 => Course::Closing,
            _ => Course::Ending,
        })
    }

    /// Takes a place for worker `pid` of `parent`. `None` if there is none left.
    pub(super) fn claim(&self, pid: u32, parent: u32) -> ipc_core::Result<Option<usize>> {
        let is_alive = |pid| proc::stat(pid).is_some_and(|s| s.parent == parent && s.state != 'Z');
        for place in 0..self.places() {
            let owner = self.0.get(owner_of(place))?;
            if owner != 0 {
                if is_alive(owner) {
                    continue;
                }
                self.end_group(place)?;
            }
            match self.0.compare_exchange(owner_of(place), owner, pid) {
                Ok(_) => return Ok(Some(place)),
                Err(CompareExchangeError::Failed(e)) => return Err(e),
                Err(_) => {} // another new worker was first
            }
        }
        Ok(None)
    }

    /// Notes the process group of the job of a place; 0 when it has ended.
    pub(super) fn set_group(&self, place: usize, group: u32) -> ipc_core::Result<()> {
        self.0.set(group_of(place), group)
    }

    /// Ends what is left of the job of worker `pid`, which is dead.
    pub(super) fn bury(&self, pid: u32) -> ipc_core::Result<()> {
        for place in 0..self.places() {
            if self.0.get(owner_of(place))? == pid {
                self.end_group(place)?;
            }
        }
        Ok(())
    }

    /// Ends what is left of all jobs.
    pub(super) fn bury_all(&self) -> ipc_core::Result<()> {
        (0..self.places()).try_for_each(|place| self.end_group(place))
    }

    fn end_group(&self, place: usize) -> ipc_core::Result<()> {
        // Once: the number may be another's later.
        let group = self.0.swap(group_of(place), 0)?;
        if let Some(group) = Pid::from_raw(group.cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL); // fails if nothing is left
        }
        Ok(())
    }

    fn places(&self) -> usize {
        self.0.len() / 2
    }
}

fn owner_of(place: usize) -> usize {
    1 + 2 * place
}

fn group_of(place: usize) -> usize {
    2 + 2 * place
}
