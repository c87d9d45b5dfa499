//! Objects for those who wait for descriptors.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::Arc,
};

use super::{
    lookout::Ward,
    waitable::{Thing, Waitable},
};
use crate::{
    error::{Error, Result},
    os::descriptor::Bell,
};

/// A descriptor that becomes readable when an object becomes [ready](Waitable): for `epoll`, `poll`, `select`, mio, tokio and the like.
///
/// # How to use it
///
/// Register it for reading. When it is readable, do what was waited for with the `try_` operation until that says that it would
/// wait; then call [`rearm`](Self::rearm), and go back to waiting. The descriptor itself is never read or written by others than this.
///
/// * It stays readable from when the object was ready until `rearm`, whatever happens to the object meanwhile. So *level-triggered* waits
///   may wake for nothing, and miss nothing.
/// * `rearm` makes it unreadable, looks at the object, and makes it readable again if that is ready. Each time it becomes readable is a new
///   edge. So *edge-triggered* waits miss nothing, whether they rearm before or after they have done what they could.
/// * It tells of one readiness, and then costs nothing until it is rearmed: neither its own process, nor those that put, send or set.
///
/// The examples `epoll` and `tokio` of this crate show it.
///
/// # What it costs
///
/// The first one of a process starts a thread, `ipc-lookout`, which sleeps in the kernel on the objects of up to 127 of these; then another
/// one, and so on. It wakes ten times a second while it watches anything, to look for the dead. Objects that nobody
/// watches cost nothing. Who makes a watched object ready makes one system call, as if somebody slept there.
///
/// # When a process dies
///
/// A death that makes the object ready (of the holder of a lock, of a worker with a job, or of a pipe's other end), or a lease that is over,
/// makes the descriptor readable within about 100 ms. Nobody else notices the death of who watches.
///
/// # Fork and exec
///
/// A forked child has the descriptor, but the thread is its parent's: [`rearm`](Self::rearm) fails there. Make another one. The descriptor
/// is closed by `exec`.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-pollable-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Pollable, Queue};
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
/// use std::os::fd::AsFd;
///
/// let queue: Queue<u32> = Queue::options(4).namespace(&namespace).create("numbers")?;
/// let pollable = Pollable::new(&queue)?;
/// queue.put(7)?;
///
/// let mut wanted = [PollFd::new(pollable.as_fd(), PollFlags::POLLIN)];
/// assert_eq!(poll(&mut wanted, PollTimeout::NONE)?, 1);
/// while let Ok(number) = queue.try_get() {
///     assert_eq!(number, 7);
/// }
/// assert!(!pollable.rearm()?);
/// assert_eq!(poll(&mut wanted, PollTimeout::ZERO)?, 0);
/// # queue.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pollable {
    ward: Ward,
    bell: Arc<Bell>,
}

impl Pollable {
    /// A descriptor for `object`, armed: readable once that is ready, or at once. The object stays open as long as this.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for what is no object: processes and descriptors can be polled themselves, and times are the timeouts of
    /// who polls. [`Error::Io`] if the system has no descriptor or thread to give.
    pub fn new(object: &dyn Waitable) -> Result<Self> {
        let Thing::Object(watched) = object.thing()? else {
            return Err(Error::BadOption {
                option: "object",
                why: "processes and descriptors can be polled as they are".to_owned(),
            });
        };
        let bell = Bell::new().map_err(|e| Error::from_io("a pollable", "make", &e))?;
        let bell = Arc::new(bell);
        let ward = Ward::new(watched, &bell)?;
        let pollable = Self { ward, bell };
        pollable.arm()?;
        Ok(pollable)
    }

    /// Makes the descriptor unreadable until the object is ready again, which it may be now. Returns whether it is. Never blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] in a forked child.
    pub fn rearm(&self) -> Result<bool> {
        if self.ward.is_of_this_process() {
            self.bell.silence();
        }
        self.arm()
    }

    fn arm(&self) -> Result<bool> {
        let is_ready = self.ward.arm()?;
        if is_ready {
            self.bell.ring();
        }
        Ok(is_ready)
    }
}

impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
