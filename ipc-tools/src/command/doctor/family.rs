//! Whose child a process is, and whether its parent waits for it.

use std::{cell::RefCell, collections::HashMap};

use crate::{command::HOLDER, proc};

/// Longer chains of parents than any that people make.
const MOST_ANCESTORS: usize = 64;

/// What was learned about processes of our pid namespace, each looked at once.
#[derive(Debug, Default)]
pub(super) struct Family {
    ancestors: RefCell<HashMap<u32, Vec<u32>>>,
    waits: RefCell<HashMap<u32, bool>>,
}

impl Family {
    /// Whether `child` descends from `parent`; if so, whether it is certain that `thread` of `parent` goes on only when it has
    /// ended.
    pub(super) fn waits_for(&self, parent: u32, thread: u32, child: u32) -> Option<bool> {
        let mut ancestors = self.ancestors.borrow_mut();
        let line = ancestors
            .entry(child)
            .or_insert_with(|| ancestors_of(child));
        let generations = line.iter().position(|&ancestor| ancestor == parent)?;
        let between = line.iter().take(generations);
        Some(is_waiting(parent, thread) && between.copied().all(|pid| self.has_waiting(pid)))
    }

    /// Whether some thread of a process waits for a child.
    fn has_waiting(&self, pid: u32) -> bool {
        let mut waits = self.waits.borrow_mut();
        *waits.entry(pid).or_insert_with(|| {
            proc::threads(pid)
                .iter()
                .any(|&thread| is_waiting(pid, thread))
        })
    }
}

/// Whether a thread does nothing until a child has ended: as the kernel says, or because it is one of ours that holds
/// something for so long.
fn is_waiting(pid: u32, thread: u32) -> bool {
    proc::waits_for_a_child(pid, thread)
        || proc::thread_name(pid, thread).as_deref() == Some(HOLDER)
}

/// From the parent on.
fn ancestors_of(pid: u32) -> Vec<u32> {
    let parent = |pid: &u32| {
        proc::stat(*pid)
            .map(|stat| stat.parent)
            .filter(|&pid| pid > 0)
    };
    std::iter::successors(parent(&pid), parent)
        .take(MOST_ANCESTORS)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_known_and_a_parent_that_waits_too() {
        let me = std::process::id();
        let mut shell = Command::new("sh")
            .args(["-c", "read line; true"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let child = shell.id();
        let family = Family::default();
        assert_eq!(family.waits_for(child, child, me), None);
        assert_eq!(family.waits_for(1, 1, child).is_some(), me != 1);
        // A thread whose name says so.
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::Builder::new()
            .name(HOLDER.to_owned())
            .spawn(move || {
                tell.send(rustix::thread::gettid()).unwrap();
                let _ = ended.recv();
            });
        let thread = told.recv().unwrap().as_raw_nonzero().get().unsigned_abs();
        assert_eq!(family.waits_for(me, thread, child), Some(true));
        assert_eq!(family.waits_for(me, me, child), Some(false));
        drop(end);
        holder.unwrap().join().unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
