//! A child as its parent has it.
//!
//! Who joins it takes it out of the hands of the thread that looks after all of them ([`super::children`]) first, so that one thread wakes and
//! not two. Whoever comes first waits for it, under its lock, and keeps how it ended.

use std::{
    any::Any,
    fmt,
    os::fd::{AsFd, OwnedFd},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    children::Children,
    letter::Letter,
    status::{Exit, JoinError},
};
use crate::{
    error::{Error, Result},
    os::{child, clock, fork::Process, watch::Watch},
};

/// How long a wait for a child that a debugger holds on to pauses between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// The pipes to another program that were asked for.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// Arguments with handles in them, which are there until the child has its own, and what tells that.
pub(super) struct Kept {
    pub(super) taken: OwnedFd,
    pub(super) _arguments: Box<dyn Any + Send>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

/// A child of this process, or of the one that this was forked from.
#[derive(Debug)]
pub(crate) struct Child {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) is_daemon: bool,
    owner: Process,
    /// `None` if it was gone before it could be asked for.
    descriptor: Option<Arc<OwnedFd>>,
    exit: Mutex<Option<Exit>>,
    /// What it writes to, unless it is another program.
    pub(super) letter: Option<Letter>,
    kept: Mutex<Option<Kept>>,
    pub(super) pipes: Mutex<Pipes>,
}

/// What is known of a child before it is in the table.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) name: String,
    pub(super) is_daemon: bool,
    pub(super) letter: Option<Letter>,
    pub(super) kept: Option<Kept>,
    pub(super) pipes: Pipes,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done under any of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Child {
    pub(super) fn new(pid: u32, descriptor: Option<OwnedFd>, newborn: Newborn) -> Self {
        Self {
            name: newborn.name,
            pid,
            is_daemon: newborn.is_daemon,
            owner: Process::this(),
            descriptor: descriptor.map(Arc::new),
            exit: Mutex::default(),
            letter: newborn.letter,
            kept: Mutex::new(newborn.kept),
            pipes: Mutex::new(newborn.pipes),
        }
    }

    /// As people call it in errors.
    pub(super) fn label(&self) -> String {
        format!("process {:?} ({})", self.name, self.pid)
    }

    /// Refuses in a forked child.
    pub(super) fn check(&self) -> Result<(), JoinError> {
        match self.owner.is_this() {
            true => Ok(()),
            false => Err(JoinError::OfParent {
                process: self.label(),
            }),
        }
    }

    pub(crate) fn descriptor(&self) -> Option<&Arc<OwnedFd>> {
        self.descriptor.as_ref()
    }

    /// Whether it runs: a zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        let has_ended = |fd: &Arc<OwnedFd>| child::has_ended(fd.as_fd());
        // A forked child may find the lock taken for ever.
        let is_known = self.owner.is_this() && locked(&self.exit).is_some();
        !is_known && !self.descriptor.as_ref().is_none_or(has_ended)
    }

    /// How it ended; `None` while it runs.
    pub(super) fn exit(&self) -> Result<Option<Exit>, JoinError> {
        self.wait_until(0)
    }

    /// Waits until it has ended, or a time on the monotonic clock has come: 0 is now.
    pub(super) fn wait_until(&self, until_ns: u64) -> Result<Option<Exit>, JoinError> {
        self.check()?;
        let Some(fd) = &self.descriptor else {
            return Ok(Some(Exit::Unknown));
        };
        if let Some(exit) = *locked(&self.exit) {
            return Ok(Some(exit));
        }
        if until_ns == 0 {
            return match child::has_ended(fd.as_fd()) {
                true => self.reap(fd),
                false => Ok(None),
            };
        }
        // The thread need not wake for it, too.
        let thread = Children::this().thread().ok();
        if let Some(thread) = &thread {
            thread.forget(fd.as_fd());
        }
        let exit = self.wait_and_reap(fd, until_ns);
        if let (Some(thread), Ok(None) | Err(_)) = (&thread, &exit) {
            let _ = thread.watch_end(fd.as_fd(), self.pid);
        }
        exit
    }

    fn wait_and_reap(&self, fd: &OwnedFd, until_ns: u64) -> Result<Option<Exit>, JoinError> {
        loop {
            let has_ended = child::wait_until(fd.as_fd(), until_ns)
                .map_err(|e| Error::from_io(&self.label(), "wait for", &e))?;
            let exit = if has_ended { self.reap(fd)? } else { None };
            if exit.is_some() || clock::monotonic_ns() >= until_ns {
                return Ok(exit);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Keeps how it ended; `None` if a debugger still has it.
    pub(super) fn reap(&self, fd: &OwnedFd) -> Result<Option<Exit>, JoinError> {
        let exit = {
            let mut exit = locked(&self.exit);
            if exit.is_none() {
                let end = child::reap(fd.as_fd());
                let end = end.map_err(|e| Error::from_io(&self.label(), "wait for", &e))?;
                *exit = end.map(Exit::from);
            }
            *exit
        };
        if exit.is_some() {
            Children::this().remove(self, fd.as_fd());
            self.forget_arguments();
        }
        Ok(exit)
    }

    /// Has `watch` tell when the child has taken its arguments, if any are kept for it.
    pub(super) fn watch_arguments(&self, watch: &Watch, key: u64) -> std::io::Result<()> {
        match &*locked(&self.kept) {
            Some(kept) => watch.add(kept.taken.as_fd(), key),
            None => Ok(()), // there were none, or it has ended already
        }
    }

    /// Drops the arguments if the child has its own.
    pub(super) fn forget_taken_arguments(&self) {
        let has_told = |kept: &Kept| child::wait_until(kept.taken.as_fd(), 0);
        let is_taken = locked(&self.kept).as_ref().map(has_told);
        if matches!(is_taken, Some(Ok(true))) {
            self.forget_arguments();
        }
    }

    /// Drops the arguments: the child has its own, or will never have.
    pub(super) fn forget_arguments(&self) {
        let kept = locked(&self.kept).take();
        drop(kept); // may take locks of its own
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), JoinError> {
        self.check()?;
        match (&self.descriptor, *locked(&self.exit)) {
            (Some(fd), None) => child::signal(fd.as_fd(), signal)
                .map_err(|e| Error::from_io(&self.label(), "signal", &e).into()),
            _ => Ok(()),
        }
    }
}
