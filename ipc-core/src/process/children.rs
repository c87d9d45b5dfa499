//! The table of all children, and the thread that looks after them.
//!
//! # Nobody stays a zombie
//!
//! A child that nobody joins is waited for by the thread `ipc-children`, which sleeps until one ends.
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
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use nix::sys::signal::Signal;

use super::child::{Child, Newborn, PAUSE, locked};
use crate::os::{
    child, clock,
    fork::{PerProcess, hold_forks},
    thread,
    watch::Watch,
};

/// Daemons that do not end at `SIGTERM` are killed after so long.
const GRACE: Duration = Duration::from_secs(1);
/// Marks the key of a child that is to take its arguments.
const ARGUMENTS: u64 = 1 << 32;

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
                // What was kept for a child is dropped here: that it panics must not end this thread.
                let look = AssertUnwindSafe(|| Children::this().look_after(key));
                let _ = panic::catch_unwind(look);
            }
            let jobs = locked(&self.jobs).replace(Vec::new());
            for Work(job) in jobs.into_iter().flatten() {
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
            }
        }
        // Somebody has closed every descriptor of this process's. Who waits for a job learns that it is gone.
        drop(locked(&self.jobs).take());
    }

    /// Has the thread wait for a child that ends.
    pub(super) fn watch_end(&self, fd: BorrowedFd<'_>, pid: u32) -> std::io::Result<()> {
        self.watch.add(fd, pid.into())
    }

    /// Has it wait for that one no more.
    pub(super) fn forget(&self, fd: BorrowedFd<'_>) {
        self.watch.forget(fd);
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
        let descriptor = child::descriptor_of(pid)?;
        let child = Arc::new(Child::new(pid, descriptor, newborn));
        let Some(fd) = child.descriptor() else {
            child.forget_arguments();
            return Ok(child);
        };
        // In the table before anybody can see it end.
        locked(&self.living).push(Arc::clone(&child));
        let watched = thread
            .watch_end(fd.as_fd(), pid)
            .and_then(|()| child.watch_arguments(&thread.watch, u64::from(pid) | ARGUMENTS));
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
                child.forget_taken_arguments();
            } else if child.is_alive() {
                // The event was the other one's.
            } else if let Some(fd) = child.descriptor()
                && matches!(child.reap(fd), Ok(None))
                && let Ok(thread) = self.thread()
            {
                // A debugger has it: it is told again, until that lets go.
                std::thread::sleep(PAUSE);
                thread.forget(fd.as_fd());
                let _ = thread.watch_end(fd.as_fd(), pid);
            }
        }
    }

    /// Takes a child out of the table.
    pub(super) fn remove(&self, child: &Child, fd: BorrowedFd<'_>) {
        let thread = locked(&self.thread).clone();
        if let Some(thread) = thread {
            thread.forget(fd);
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
        if let (Err(_), Some(fd)) = (&waited, child.descriptor()) {
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
