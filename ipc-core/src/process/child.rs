//! A child as its parent has it, and the table of all children with the thread that looks after them.
//!
//! # Nobody stays a zombie
//!
//! A child that nobody joins is waited for by the thread `ipc-children`, which sleeps until one ends. Who joins takes the child out of that
//! thread's hands first, so that one thread wakes and not two. Whoever comes first waits for the child under its lock and keeps how it ended.
//!
//! # Whose children these are
//!
//! The table is this process's own ([`PerProcess`]): a forked child has an empty one, and so neither joins nor ends its parent's. What handles
//! of its parent's it has refuse.
//!
//! # What ends with this process
//!
//! The kernel sends a child its signal of parting (`PR_SET_PDEATHSIG`) when the *thread* that started it ends. So who is to end with this
//! process is started by the thread `ipc-children`, which ends with the process and not before.

use std::{
    any::Any,
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    letter::Letter,
    status::{Exit, JoinError},
};
use crate::{
    error::{Error, Result},
    os::{
        child, clock,
        fork::{PerProcess, Process, hold_forks},
        thread,
        watch::Watch,
    },
};

/// Daemons that do not end at `SIGTERM` are killed after so long.
const GRACE: Duration = Duration::from_secs(1);
/// How long a wait for a child that a debugger holds on to pauses between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// Marks the key of a child that is to take its arguments.
const ARGUMENTS: u64 = 1 << 32;

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
            thread.watch.forget(fd.as_fd());
        }
        let exit = self.wait_and_reap(fd, until_ns);
        if let (Some(thread), Ok(None) | Err(_)) = (&thread, &exit) {
            let _ = thread.watch.add(fd.as_fd(), self.pid.into());
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
    fn reap(&self, fd: &OwnedFd) -> Result<Option<Exit>, JoinError> {
        let mut exit = locked(&self.exit);
        if exit.is_none() {
            let end = child::reap(fd.as_fd());
            let end = end.map_err(|e| Error::from_io(&self.label(), "wait for", &e))?;
            *exit = end.map(Exit::from);
        }
        let exit = *exit;
        if exit.is_some() {
            self.forget_arguments();
            Children::this().remove(self, fd.as_fd());
        }
        Ok(exit)
    }

    /// Drops the arguments: the child has its own, or will never have.
    fn forget_arguments(&self) {
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

type Job = Box<dyn FnOnce() + Send>;

/// What the thread `ipc-children` has.
#[derive(Debug)]
pub(super) struct Thread {
    watch: Watch,
    /// `None` once the thread is gone.
    jobs: Mutex<Option<Vec<Work>>>,
    /// This process, for its children to know when it ends.
    pub(super) this_process: OwnedFd,
    /// A number that no descriptor of a child's is in the way of.
    pub(super) spare: OwnedFd,
}

struct Work(Job);

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

impl Thread {
    fn start() -> std::io::Result<Arc<Self>> {
        let this_process = child::self_descriptor()?;
        let this = Arc::new(Self {
            watch: Watch::new()?,
            jobs: Mutex::new(Some(Vec::new())),
            spare: child::duplicate_above_streams(this_process.as_fd())?,
            this_process,
        });
        tell_the_exit()?;
        let its = Arc::clone(&this);
        thread::start("ipc-children", move || its.run())?;
        Ok(this)
    }

    fn run(&self) {
        while let Ok(ready) = self.watch.wait() {
            for key in ready {
                Children::this().look_after(key);
            }
            let jobs = locked(&self.jobs).replace(Vec::new());
            jobs.into_iter().flatten().for_each(|work| (work.0)());
        }
        // Somebody has closed every descriptor of this process's. Who waits for a job learns that it is gone.
        drop(locked(&self.jobs).take());
    }

    /// Has the thread do something, and waits for that.
    pub(super) fn make<R: Send + 'static>(
        &self,
        make: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (made, result) = mpsc::sync_channel(1);
        let job = move || drop(made.send(make()));
        locked(&self.jobs).as_mut()?.push(Work(Box::new(job)));
        self.watch.call();
        result.recv().ok()
    }
}

/// All children of this process that nobody has waited for.
#[derive(Debug, Default)]
pub(super) struct Children {
    living: Mutex<Vec<Arc<Child>>>,
    thread: Mutex<Option<Arc<Thread>>>,
    count: AtomicU32,
}

static CHILDREN: PerProcess<Children> = PerProcess::new();

impl Children {
    pub(super) fn this() -> &'static Self {
        CHILDREN.get()
    }

    /// The number of the next child.
    pub(super) fn next(&self) -> u32 {
        // Only a number: it orders nothing.
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The thread that looks after the children; started now if it was not.
    pub(super) fn thread(&self) -> std::io::Result<Arc<Thread>> {
        let mut thread = locked(&self.thread);
        match &*thread {
            Some(thread) => Ok(Arc::clone(thread)),
            None => Ok(Arc::clone(thread.insert(Thread::start()?))),
        }
    }

    /// Keeps a process that was just started, unless it cannot be looked after: then it is killed.
    pub(super) fn adopt(&self, pid: u32, newborn: Newborn) -> std::io::Result<Arc<Child>> {
        let adopted = self.try_adopt(pid, newborn);
        if adopted.is_err() {
            child::abandon(pid);
        }
        adopted
    }

    fn try_adopt(&self, pid: u32, newborn: Newborn) -> std::io::Result<Arc<Child>> {
        let thread = self.thread()?;
        let descriptor = child::descriptor_of(pid)?.map(Arc::new);
        let child = Arc::new(Child {
            name: newborn.name,
            pid,
            is_daemon: newborn.is_daemon,
            owner: Process::this(),
            descriptor,
            exit: Mutex::default(),
            letter: newborn.letter,
            kept: Mutex::new(newborn.kept),
            pipes: Mutex::new(newborn.pipes),
        });
        let Some(fd) = &child.descriptor else {
            child.forget_arguments();
            return Ok(child);
        };
        // In the table before anybody can see it end.
        locked(&self.living).push(Arc::clone(&child));
        let watched = thread.watch.add(fd.as_fd(), pid.into()).and_then(|()| {
            let kept = locked(&child.kept);
            match &*kept {
                Some(kept) => thread
                    .watch
                    .add(kept.taken.as_fd(), u64::from(pid) | ARGUMENTS),
                None => Ok(()), // there were none, or it has ended already
            }
        });
        if let Err(e) = watched {
            self.remove(&child, fd.as_fd());
            return Err(e);
        }
        Ok(child)
    }

    /// For the thread: a child has ended, or has its arguments.
    fn look_after(&self, key: u64) {
        let pid = (key & (ARGUMENTS - 1)) as u32;
        // One that was just waited for may still be there beside another that has its number now.
        let mut named = locked(&self.living).clone();
        named.retain(|child| child.pid == pid);
        for child in named {
            if key & ARGUMENTS != 0 {
                child.forget_arguments();
            } else if child.is_alive() {
                // The event was the other one's.
            } else if let Some(fd) = &child.descriptor
                && matches!(child.reap(fd), Ok(None))
                && let Ok(thread) = self.thread()
            {
                // A debugger has it: it is told again, until that lets go.
                std::thread::sleep(PAUSE);
                thread.watch.forget(fd.as_fd());
                let _ = thread.watch.add(fd.as_fd(), key);
            }
        }
    }

    /// Takes a child out of the table.
    fn remove(&self, child: &Child, fd: BorrowedFd<'_>) {
        let thread = locked(&self.thread).clone();
        if let Some(thread) = thread {
            thread.watch.forget(fd);
        }
        let mut living = locked(&self.living);
        let at = living
            .iter()
            .position(|c| std::ptr::eq(Arc::as_ptr(c), child));
        let removed = at.map(|at| living.swap_remove(at));
        drop(living);
        drop(removed); // the caller has it, too
    }

    /// The children that run.
    pub(super) fn active(&self) -> Vec<Arc<Child>> {
        let all = locked(&self.living).clone();
        let runs = |child: &Arc<Child>| matches!(child.exit(), Ok(None));
        all.into_iter().filter(runs).collect()
    }

    /// Ends the daemons and waits for all others.
    fn end(&self) {
        loop {
            let all = self.active();
            if all.is_empty() {
                return;
            }
            let (daemons, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|child| child.is_daemon);
            for daemon in &daemons {
                let _ = daemon.signal(Signal::SIGTERM);
            }
            for other in others {
                self.end_of(&other, u64::MAX);
            }
            let patience = clock::monotonic_ns().saturating_add(GRACE.as_nanos() as u64);
            for daemon in daemons {
                if !self.end_of(&daemon, patience) {
                    let _ = daemon.signal(Signal::SIGKILL);
                    self.end_of(&daemon, u64::MAX);
                }
            }
        }
    }

    /// Waits for a child, or loses it if it cannot be waited for. Whether it is gone.
    fn end_of(&self, child: &Child, until_ns: u64) -> bool {
        let waited = child.wait_until(until_ns);
        if let (Err(_), Some(fd)) = (&waited, &child.descriptor) {
            self.remove(child, fd.as_fd());
        }
        !matches!(waited, Ok(None))
    }
}

/// Has [`end_children`] called at the exit of this process and of every one that is forked from it.
fn tell_the_exit() -> std::io::Result<()> {
    static AT_EXIT: Once = Once::new();
    let _no_fork = hold_forks(); // a child must not find it half done
    let mut is_told = Ok(());
    AT_EXIT.call_once(|| is_told = child::at_exit(end_children));
    is_told
}

/// At a normal exit, as Python does. The locals of the thread that exits are gone by then.
extern "C" fn end_children() {
    Children::this().end();
}
