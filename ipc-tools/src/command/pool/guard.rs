//! The process that ends what jobs have started when the run as a whole is killed.
//!
//! Workers and the first process of each job end with the parent, by the kernel. What a job has started itself does not: that is
//! for the guard, which nobody else signals.

use ipc_core::{Process, Stdio, WaitSet, parent_process};
use rustix::process::setsid;

use super::brood::Brood;
use crate::exit::{Failure, Outcome};

/// The guard, as the parent has it.
#[derive(Debug)]
pub(super) struct Guard(Process);

impl Guard {
    pub(super) fn post(brood: &Brood) -> Outcome<Self> {
        let builder = Process::builder().name("guard");
        let builder = builder
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::Null);
        let started = builder.spawn(watch, (brood.clone(),));
        let started = started.map_err(|e| Failure::Other(e.to_string()));
        Ok(Self(started?))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Fail if it is gone.
        let _ = self.0.kill();
        let _ = self.0.join();
    }
}

/// What it does until its parent ends.
fn watch(brood: Brood) {
    let _ = setsid(); // so that no terminal signals it
    let Some(parent) = parent_process() else {
        return;
    };
    let mut set = WaitSet::new();
    if set.add((), &parent).is_ok() && set.wait().is_ok() {
        brood.end(None);
    }
}
