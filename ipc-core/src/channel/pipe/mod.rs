//! Pipes: two ends, each with one process at a time, and nothing but stores and loads between them.
//!
//! Read in this order: `lane` (the memory, the invariants, the orderings), `role` (who has an end), `fencing` (who fences), `writer` and
//! `reader` (the algorithm, which never waits), `leaving` (long messages and caches), `core` (repair), `end` (an end in a process: waiting,
//! handing on, closing), `sender`, `receiver`, `connection`, `stream`, `loan` and this file (the public face), `travel` (from process to
//! process), `options`, `errors`.

mod connection;
mod core;
mod end;
mod errors;
mod fencing;
mod geometry;
mod lane;
mod leaving;
mod loan;
pub(crate) mod options;
mod reader;
mod receiver;
mod receiving;
mod role;
mod sender;
mod source;
mod stream;
mod travel;
mod writer;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(any(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod run_tests;
#[cfg(all(test, not(loom)))]
mod tests;

use ::core::{fmt, marker::PhantomData};
use std::sync::Arc;

pub use connection::Connection;
pub use errors::{
    RecvError, RecvTimeoutError, SendError, SendManyError, SendTimeoutError, TakeError,
    TryRecvError, TrySendError,
};
pub use options::PipeOptions;
pub use receiver::{Messages, Receiver};
pub use sender::Sender;

use self::core::PipeCore;
use crate::{
    error::Result,
    message::Message,
    object::{
        lifetime::{Object, Ticket},
        wait::WaitStrategy,
    },
};

/// Makes a duplex pipe without a name, with default [options](Pipe::options): what one end sends, the other receives.
///
/// Both ends belong to this process, until one is sent to another as a message or an argument.
///
/// # Errors
///
/// See [`PipeOptions::create`].
pub fn pipe<T: Message>() -> Result<(Connection<T>, Connection<T>)> {
    Pipe::options().duplex()
}

/// Makes a pipe of one direction without a name, with default [options](Pipe::options).
///
/// # Errors
///
/// See [`PipeOptions::create`].
pub fn simplex<T: Message>() -> Result<(Receiver<T>, Sender<T>)> {
    Pipe::options().simplex()
}

/// A pipe as an object, whose ends are taken from it: this is how processes meet by name. [`pipe`] and [`simplex`] make one
/// and take both ends.
///
/// # Ends
///
/// Each end is one process's at a time. A second one gets [`TakeError::InUse`], with the first one's process id, never a torn message. It is
/// free again once it was closed or dropped, or its process died; who takes it by name goes on where the last one was.
///
/// # When a process dies
///
/// | killed | the other end sees |
/// |---|---|
/// | in a send | the message is there whole, or was never there; then the end of file |
/// | with a [loan](Sender::loan) that is not sent | its message was never there; its room is free |
/// | in a receive, before it took the message, or reading [in place](Receiver::recv_ref) | sends fail with `BrokenPipe`; who takes the end next gets the message |
/// | after that | the message is gone |
/// | while it slept | as if it had closed its end |
/// | with an end that it had sent on and nobody had taken | that end is closed |
///
/// Who waits, or finds the pipe empty or full, learns of a death within about 100 ms. A *stopped* process is alive: it keeps
/// its end, and its peer waits. An end that nobody has taken yet is not closed: its peer waits for somebody to come, or
/// closes it ([`Connection::close_untaken_peer`]).
///
/// # Speed
///
/// A send or receive that succeeds at once makes no system call and no read-modify-write, unless the other end sleeps. Ends that go to
/// sleep pay for that with a system call (`membarrier`), until they have done so some times: then the other end fences for them.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-pipe-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Pipe, RecvError};
///
/// let pipe: Pipe<(u32, String)> = Pipe::options().one_way().namespace(&namespace).create("log")?;
/// let mut sender = pipe.sender()?;
/// sender.send((1, "first".into()))?;
/// sender.close();
///
/// // In any process:
/// let mut receiver = Pipe::<(u32, String)>::options().namespace(&namespace).open("log")?.receiver()?;
/// assert_eq!(receiver.recv()?, (1, "first".into()));
/// assert!(matches!(receiver.recv(), Err(RecvError::EndOfFile)));
/// # pipe.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipe<T> {
    object: Arc<Object>,
    core: Arc<PipeCore>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Pipe<T> {
    /// Makes a duplex pipe under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`PipeOptions::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Opens the pipe `name`.
    ///
    /// # Errors
    ///
    /// See [`PipeOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::options().open(name)
    }

    /// Opens the pipe `name`, or makes a duplex one.
    ///
    /// # Errors
    ///
    /// See [`PipeOptions::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Self> {
        Self::options().open_or_create(name)
    }

    /// Settings for a pipe.
    pub fn options() -> PipeOptions<T> {
        PipeOptions::new()
    }

    /// Takes the first end of a duplex pipe: by custom, that of who made it.
    ///
    /// # Errors
    ///
    /// [`TakeError`].
    pub fn first(&self) -> Result<Connection<T>, TakeError> {
        self.connection(0)
    }

    /// Takes the second end of a duplex pipe.
    ///
    /// # Errors
    ///
    /// [`TakeError`].
    pub fn second(&self) -> Result<Connection<T>, TakeError> {
        self.connection(1)
    }

    /// The end that sends on a lane and receives from the other.
    fn connection(&self, lane: usize) -> Result<Connection<T>, TakeError> {
        self.check(self.core.lanes.len() == 2)?;
        // The sender first, so that of two who race one gets both.
        let sender = Sender::take(self.object(), &self.core, lane, None, self.wait)?;
        let receiver = Receiver::take(self.object(), &self.core, 1 - lane, None, self.wait)?;
        Ok(Connection::new(sender, receiver))
    }

    /// Takes the sending end of a pipe of one direction.
    ///
    /// # Errors
    ///
    /// [`TakeError`].
    pub fn sender(&self) -> Result<Sender<T>, TakeError> {
        self.check(self.is_one_way())?;
        Sender::take(self.object(), &self.core, 0, None, self.wait)
    }

    /// Takes the receiving end of a pipe of one direction.
    ///
    /// # Errors
    ///
    /// [`TakeError`].
    pub fn receiver(&self) -> Result<Receiver<T>, TakeError> {
        self.check(self.is_one_way())?;
        Receiver::take(self.object(), &self.core, 0, None, self.wait)
    }

    fn check(&self, has_end: bool) -> Result<(), TakeError> {
        let why = if self.is_one_way() {
            "it has a sender and a receiver"
        } else {
            "it has two connections"
        };
        has_end.then_some(()).ok_or(TakeError::NoSuchEnd { why })
    }
}

impl<T> Pipe<T> {
    fn object(&self) -> Arc<Object> {
        Arc::clone(&self.object)
    }

    /// Whether it has one direction, with a sender and a receiver, instead of two connections.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.core.lanes.len() == 1
    }

    /// Bytes in flight in each direction, at the most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core.geometry.capacity
    }

    /// The pipe's name; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.object.name()
    }

    /// Removes the pipe's name. Who has the pipe open keeps it; its memory is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now.
    pub fn unlink(&self) -> Result<()> {
        self.object.unlink()
    }

    /// Looks for dead participants now and closes their ends. Returns how many there were. Waiting and attaching do this by
    /// themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn sweep(&self) -> Result<u32> {
        self.object.sweep()
    }
}

impl<T> Clone for Pipe<T> {
    fn clone(&self) -> Self {
        Self {
            object: Arc::clone(&self.object),
            core: Arc::clone(&self.core),
            wait: self.wait,
            _message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Pipe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("object", &self.object.label())
            .field("state", &self.core.describe())
            .finish_non_exhaustive()
    }
}

impl<T> serde::Serialize for Pipe<T> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone. No
    /// end goes with it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.ticket().serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Pipe<T> {
    /// Attaches to the pipe.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let attach = || -> Result<Self> {
            let made = ticket.redeem(options::species(&T::type_name()), &options::build)?;
            let (object, core) = options::fitting::<T>(made)?;
            object.sweep()?;
            Ok(Self {
                object,
                core,
                wait: WaitStrategy::default(),
                _message: PhantomData,
            })
        };
        attach().map_err(serde::de::Error::custom)
    }
}
