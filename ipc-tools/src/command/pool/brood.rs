//! Whatever jobs have started, by a variable in its environment.
//!
//! A killed worker's job is killed by the kernel, but not what the job has started. That is found by what it has inherited: no list that somebody has to keep could be
//! complete when he is killed.

use std::{collections::BTreeSet, process, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::proc;

/// Jobs have this in their environment.
pub(super) const VARIABLE: &str = "IPC_POOL_RUN";
/// Between two looks: who executes a program has no environment for a moment.
const PAUSE: Duration = Duration::from_millis(5);
/// Who starts processes faster than they are killed is let go.
const MOST_LOOKS: u32 = 200;

/// The jobs of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Brood {
    /// The parent, by its number and when it started.
    run: String,
    session: i32,
}

impl Brood {
    /// That of this process.
    pub(super) fn new() -> Self {
        let this = process::id();
        let stat = proc::stat(this);
        let (started, session) = stat.map_or((0, 0), |stat| (stat.started, stat.session));
        Self {
            run: format!("{this}.{started}."),
            session,
        }
    }

    /// What the variable says to jobs of this worker.
    pub(super) fn mark(&self, worker: u32) -> String {
        format!("{}{worker}", self.run)
    }

    /// Ends what jobs of a worker have left that is dead; of all workers without one. What is in a session of its own has left.
    pub(super) fn end(&self, worker: Option<u32>) {
        let mark = worker.map_or_else(|| self.run.clone(), |worker| self.mark(worker) + "\0");
        let mark = format!("{VARIABLE}={mark}").into_bytes();
        let mut empty = 0;
        for _ in 0..MOST_LOOKS {
            let groups = self.groups(&mark);
            for group in groups.iter().filter_map(|group| Pid::from_raw(*group)) {
                let _ = kill_process_group(group, Signal::KILL); // it may be gone
            }
            empty = if groups.is_empty() { empty + 1 } else { 0 };
            if empty == 2 {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn groups(&self, mark: &[u8]) -> BTreeSet<i32> {
        let is_ours = |pid: u32| {
            let stat = proc::stat(pid)?;
            let is_alive = !matches!(stat.state, 'Z' | 'X');
            let is_ours = is_alive && stat.session == self.session && proc::has_variable(pid, mark);
            is_ours.then_some(stat.group)
        };
        proc::all().into_iter().filter_map(is_ours).collect()
    }
}
