//! Who this process is, and who started it.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, OnceLock},
};

use crate::os::{child, fork::hold_forks};

/// This process and its parent, as its parent told it.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) name: String,
    /// Which child of which child it is. Nothing for the first.
    pub(super) identity: Vec<u32>,
    pub(super) is_daemon: bool,
    pub(super) parent: Option<ParentProcess>,
    /// How the kernel calls it.
    pub(super) command_name: Vec<u8>,
    /// The program's file.
    pub(super) program: (u64, u64),
}

static CURRENT: OnceLock<Current> = OnceLock::new();

impl Current {
    /// This process, or the one that it was forked from.
    pub(super) fn get() -> &'static Self {
        if let Some(current) = CURRENT.get() {
            return current;
        }
        let first = Self {
            name: "MainProcess".into(),
            identity: Vec::new(),
            is_daemon: false,
            parent: None,
            command_name: child::command_name(),
            program: child::own_program().unwrap_or_default(),
        };
        let _no_fork = hold_forks(); // a child must not find it half done
        CURRENT.get_or_init(|| first)
    }

    /// For the child that its parent told this.
    pub(super) fn set(self) {
        let _ = CURRENT.set(self); // nobody has asked before
    }
}

/// This process, from [`current_process`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentProcess(());

/// This process: Python's `current_process`.
///
/// ```
/// assert_eq!(ipc_core::current_process().name(), "MainProcess");
/// assert_eq!(ipc_core::current_process().pid(), std::process::id());
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    CurrentProcess(())
}

impl CurrentProcess {
    /// Its name: that which it was started with, or `MainProcess`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &Current::get().name
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it was started as a daemon, which ends with its parent.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        Current::get().is_daemon
    }
}

/// The process that started this one, from [`parent_process`].
#[derive(Debug, Clone)]
pub struct ParentProcess {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(crate) descriptor: Arc<OwnedFd>,
}

/// The process that started this one by [`Process::spawn`](crate::Process::spawn) or its kin: Python's `parent_process`. `None` in a process that was started
/// in another way.
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    Current::get().parent.clone()
}

impl ParentProcess {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, which is another's once it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs. To wait for its end, add this to a [`WaitSet`](crate::WaitSet).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !child::has_ended(self.descriptor.as_fd())
    }
}

/// How many cores this process may use: by its affinity and the quota of its control group, at least 1. Python's `cpu_count` counts all of
/// the machine's.
#[must_use]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
