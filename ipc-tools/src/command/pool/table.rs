//! What the processes of a run know of each other: whether jobs go on, and which worker has which place.

use ipc_core::{Array, CompareExchangeError, Namespace};
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

/// The table, in every process of the run: the course, and then the process id of the worker that has each place; 0 is nobody.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Table(Array<u32>);

impl Table {
    pub(super) fn new(namespace: &Namespace, places: usize) -> Outcome<Self> {
        let table = Array::filled(0, 1 + places).namespace(namespace);
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

    /// Takes a place for worker `pid` of `parent`, and says its number, from 1 on. `None` if there is none left.
    pub(super) fn claim(&self, pid: u32, parent: u32) -> ipc_core::Result<Option<usize>> {
        let is_alive = |pid| proc::stat(pid).is_some_and(|s| s.parent == parent && s.state != 'Z');
        for place in 1..self.0.len() {
            let owner = self.0.get(place)?;
            if owner != 0 && is_alive(owner) {
                continue;
            }
            match self.0.compare_exchange(place, owner, pid) {
                Ok(_) => return Ok(Some(place)),
                Err(CompareExchangeError::Failed(e)) => return Err(e),
                Err(_) => {} // another new worker was first
            }
        }
        Ok(None)
    }
}
