//! Private pipes for whoever connects to a name.
//!
//! Read in this order: `protocol` (what is said), `lobby` (those who have connected and are no connections yet), this file (the
//! listener), `client`, `options`, `errors`; and `object/rendezvous.rs` (where a listener's socket is, and the proof that its listener lives).

mod client;
mod errors;
mod lobby;
pub(crate) mod options;
mod protocol;

#[cfg(all(test, not(loom)))]
mod tests;

use core::fmt;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use client::Client;
pub use errors::{AcceptError, AcceptTimeoutError, ConnectError, PeerError, TryAcceptError};
pub use options::{ClientOptions, ListenerOptions};

use self::{
    lobby::{Lobby, Reply, Trouble},
    protocol::{Discord, Terms, Verdict},
};
use super::pipe::{Connection, PipeOptions, TakeError};
use crate::{
    error::{Error, Result},
    message::Message,
    object::{lifetime::Object, rendezvous},
    os::{
        fork,
        socket::{self, Credentials, Place, Watch},
    },
};

/// Listens under a name, and gives each process that connects to it a private duplex [pipe](crate::Pipe).
///
/// A name is one listener's at a time; [`bind`](Self::bind) says [`Error::InUse`](crate::Error::InUse) to a second one. A listener can be
/// used by several threads at once. Its pipes carry messages of one type.
///
/// # Who connects
///
/// The kernel says which process connected, and as which user and group ([`Accepted::peer`]). Only who has the listener's
/// [mode](ListenerOptions::mode) and group may connect.
///
/// # Blocking
///
/// [`accept`](Self::accept) blocks until somebody connects, `accept_timeout` for so long, `try_accept` not at all. No peer is waited for:
/// one that connects and says nothing keeps nobody else from being accepted, and is given up after
/// [some seconds](ListenerOptions::handshake_timeout). What one peer does wrong is an [`AcceptError::Peer`], after which the listener goes on. To be
/// told by epoll or another runtime when to accept: [`as_fd`](Self::as_fd).
///
/// A connection costs some tens of system calls and a file in memory; after that its pipe is as fast as any.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | the listener's, and there are connections | their pipes: end of file, `BrokenPipe` |
/// | the listener's, while a client connects | the client: [`ConnectError::NotListening`], within about 100 ms; with a timeout it waits for the next listener |
/// | the listener's | who connects: `NotListening`; who binds: the name is free |
/// | a client, before it was accepted | the listener: [`PeerError::HungUp`] |
/// | a client, after that | its pipe: end of file, `BrokenPipe` |
///
/// A *stopped* listener is alive: clients wait for it. A forked child's copy of a listener is not its own: it accepts nothing, and does not
/// keep the name. What a killed listener leaves, its name and its socket, goes with the next `bind`, or with
/// [`Namespace::collect`](crate::Namespace::collect) (`ipc doctor --fix`).
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-listener-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Client, Listener};
///
/// let listener = Listener::<String>::options().namespace(&namespace).bind("greeter")?;
///
/// // In any process:
/// # let there = namespace.clone();
/// let client = std::thread::spawn(move || -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     let mut client = Client::<String>::options().namespace(&there).connect("greeter")?;
///     client.connection.send("Ada".into())?;
///     Ok(client.connection.recv()?)
/// });
///
/// let mut accepted = listener.accept()?;
/// assert_eq!(accepted.peer.pid, std::process::id());
/// let name = accepted.connection.recv()?;
/// accepted.connection.send(format!("hello {name}"))?;
/// assert_eq!(client.join().unwrap().unwrap(), "hello Ada");
/// # drop(listener);
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<T> {
    object: Arc<Object>,
    pipes: PipeOptions<T>,
    terms: Terms,
    type_name: String,
    watch: Watch,
    /// `None` only while it is dropped.
    lobby: Mutex<Option<Lobby<Connection<T>>>>,
    socket: PathBuf,
    /// Of the process that bound it.
    epoch: u32,
}

/// What [`Listener::accept`] returns.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted<T> {
    /// The listener's end of the pipe; the peer has the other.
    pub connection: Connection<T>,
    /// Who connected.
    pub peer: PeerCredentials,
}

/// Which process is at the other end, from the kernel: as it was when it connected, or bound the listener.
///
/// The process may have died since, and another one may have its number by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Its process id, in this process's pid namespace; 0 if it is none of that.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl From<Credentials> for PeerCredentials {
    fn from(found: Credentials) -> Self {
        Self {
            pid: found.pid,
            uid: found.uid,
            gid: found.gid,
        }
    }
}

impl<T: Message> Listener<T> {
    /// Begins to listen under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`ListenerOptions::bind`].
    pub fn bind(name: &str) -> Result<Self> {
        Self::options().bind(name)
    }

    /// Settings for a listener.
    pub fn options() -> ListenerOptions<T> {
        ListenerOptions::new()
    }

    fn serve(
        object: &Arc<Object>,
        pipes: PipeOptions<T>,
        sockets: PathBuf,
        socket: String,
        options: &ListenerOptions<T>,
    ) -> Result<Self> {
        let failed = |e: io::Error| Error::from_io(object.label(), "listen at", &e);
        let watch = Watch::new().map_err(failed)?;
        let (mode, group) = options.sharing();
        let place = Place {
            dir: &sockets,
            name: &socket,
        };
        let door = socket::listen_at(place, mode, group).map_err(failed)?;
        let type_name = T::type_name();
        let terms = Terms::ours(&type_name);
        let farewell = terms.answer(Verdict::GivenUp, "");
        let lobby = Lobby::new(door, &watch, options.handshake(), farewell).map_err(failed)?;
        Ok(Self {
            object: Arc::clone(object),
            pipes,
            terms,
            type_name,
            watch,
            lobby: Mutex::new(Some(lobby)),
            socket: sockets.join(socket),
            epoch: fork::epoch(),
        })
    }

    /// Accepts the next who connects; blocks until somebody does.
    ///
    /// # Errors
    ///
    /// [`AcceptError`]: [`Peer`](AcceptError::Peer) concerns one peer only.
    pub fn accept(&self) -> Result<Accepted<T>, AcceptError> {
        loop {
            if let Some(accepted) = self.accept_until(None)? {
                return Ok(accepted);
            }
        }
    }

    /// Accepts the next who has connected, if somebody has.
    ///
    /// # Errors
    ///
    /// [`TryAcceptError`].
    pub fn try_accept(&self) -> Result<Accepted<T>, TryAcceptError> {
        let accepted = self.accept_until(Some(Instant::now()))?;
        accepted.ok_or(TryAcceptError::Nobody)
    }

    /// Accepts the next who connects; blocks for at most `timeout` until somebody does.
    ///
    /// # Errors
    ///
    /// [`AcceptTimeoutError`].
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Accepted<T>, AcceptTimeoutError> {
        // Too far in the future is never.
        let until = Instant::now().checked_add(timeout);
        let accepted = self.accept_until(until)?;
        accepted.ok_or(AcceptTimeoutError::Timeout)
    }

    /// Those who connect, one after the other, and what was wrong with those who were not accepted. Never ends.
    pub fn incoming(&self) -> Incoming<'_, T> {
        Incoming(self)
    }

    /// `None` once `until` has passed.
    fn accept_until(&self, until: Option<Instant>) -> Result<Option<Accepted<T>>, AcceptError> {
        if fork::epoch() != self.epoch {
            return Err(AcceptError::Forked);
        }
        loop {
            let (outcome, slow) = {
                let mut lobby = self.lobby();
                let Some(lobby) = lobby.as_mut() else {
                    return Ok(None);
                };
                let outcome = lobby.step(&self.watch, |packet| self.answer(packet));
                (outcome, lobby.next_deadline())
            };
            match outcome.map_err(|trouble| self.failed(trouble))? {
                Some((peer, Ok(connection))) => return Ok(Some(Accepted { connection, peer })),
                Some((peer, Err(error))) => return Err(AcceptError::Peer { peer, error }),
                None => {}
            }
            let now = Instant::now();
            let next = until.into_iter().chain(slow).min();
            let left = next.map(|next| next.saturating_duration_since(now));
            let woken = self.watch.wait(left).map_err(Trouble::Io);
            let is_quiet = woken.map_err(|trouble| self.failed(trouble))?.is_empty();
            if is_quiet && until.is_some_and(|until| until <= now) {
                return Ok(None);
            }
        }
    }

    /// What to say to a client that said `packet`.
    fn answer(&self, packet: &[u8]) -> Reply<Connection<T>> {
        let Ok(theirs) = Terms::of_hello(packet) else {
            return Reply::Garbage;
        };
        let refusal = |verdict, error| Reply::Refusal(self.terms.answer(verdict, ""), error);
        match self.terms.check(&theirs) {
            Ok(()) => self.welcome().unwrap_or_else(|e| {
                let packet = self.terms.answer(Verdict::NoPipe, "");
                Reply::NoPipe(packet, e)
            }),
            Err(Discord::Type(found)) => refusal(
                Verdict::WrongType,
                PeerError::WrongType {
                    found,
                    expected: self.type_name.clone(),
                },
            ),
            Err(Discord::Versions(found)) => refusal(
                Verdict::Incompatible,
                PeerError::Incompatible {
                    found,
                    expected: self.terms.versions(),
                },
            ),
        }
    }

    /// Makes a pipe, of which the client is to take the second end.
    fn welcome(&self) -> Result<Reply<Connection<T>>> {
        let pipe = self.pipes.anonymous()?;
        let first = pipe.first().map_err(|e| match e {
            TakeError::Failed(e) => e,
            _ => unreachable!("a new pipe's ends are nobody's"),
        })?;
        let (path, file) = pipe.place();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let packet = self.terms.answer(Verdict::Welcome, &name);
        let file = file.try_clone_to_owned();
        let file = file.map_err(|e| Error::from_io(self.object.label(), "duplicate", &e))?;
        Ok(Reply::Welcome(packet, file, first))
    }

    fn failed(&self, trouble: Trouble) -> AcceptError {
        match trouble {
            Trouble::Io(e) => Error::from_io(self.object.label(), "accept at", &e).into(),
            Trouble::Pipe(e) => e.into(),
        }
    }

    fn lobby(&self) -> MutexGuard<'_, Option<Lobby<Connection<T>>>> {
        self.lobby.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Listener<T> {
    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.name().unwrap_or_default()
    }

    /// Stops listening, as dropping it does: the name is free. Connections stay.
    pub fn close(self) {
        drop(self);
    }
}

/// A descriptor that is readable when [`Listener::try_accept`] has something to do, for `poll`, `epoll` and their kin. Readable does not
/// mean that somebody is there to be accepted: call `try_accept` until it says [`TryAcceptError::Nobody`]. Nothing else is to be done with
/// it.
impl<T> AsFd for Listener<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        if fork::epoch() != self.epoch {
            return; // name and socket are the parent process's
        }
        // Fails if somebody else removed it, or has the name by now.
        let _ = self.object.unlink();
        let _ = rendezvous::remove(&self.socket);
        let lobby = self.lobby.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(lobby) = lobby.take() {
            lobby.close(&self.watch);
        }
    }
}

impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("object", &self.object.label())
            .finish_non_exhaustive()
    }
}

/// Those who connect to a [`Listener`]; from [`Listener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a, T>(&'a Listener<T>);

impl<T: Message> Iterator for Incoming<'_, T> {
    type Item = Result<Accepted<T>, AcceptError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.accept())
    }
}

impl<'a, T: Message> IntoIterator for &'a Listener<T> {
    type Item = Result<Accepted<T>, AcceptError>;
    type IntoIter = Incoming<'a, T>;

    fn into_iter(self) -> Incoming<'a, T> {
        self.incoming()
    }
}
