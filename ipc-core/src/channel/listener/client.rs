//! How a client comes to a private pipe.

use core::marker::PhantomData;
use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{
    ClientOptions, PeerCredentials,
    errors::ConnectError,
    protocol::{Answer, Discord, MOST_BYTES, PROTOCOL, READY, Terms, Verdict},
};
use crate::{
    channel::pipe::{Connection, Pipe, TakeError},
    error::{Error, Result},
    message::Message,
    object::{
        Namespace,
        rendezvous::{SOCKETS, Sight},
        wait::WaitStrategy,
    },
    os::socket::{self, Place, Received},
};

/// So often does who waits for a listener look whether its process lives.
const WATCH: Duration = Duration::from_millis(100);
/// Pauses between looks for a listener that is to come.
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(16);

/// A connection that a [`Listener`](crate::Listener) accepted, from the client's side.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-client-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Client, ConnectError};
///
/// let nobody = Client::<String>::options().namespace(&namespace).connect("service");
/// assert!(matches!(nobody, Err(ConnectError::NotListening { .. })));
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Client<T> {
    /// The client's end of the pipe; the listener's process has the other.
    pub connection: Connection<T>,
    /// Who listens: the process that bound the listener, as the kernel knows it.
    pub peer: PeerCredentials,
}

impl<T: Message> Client<T> {
    /// Connects to the listener `name`, which must be there. Blocks until that accepts: for as long as its process lives.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: `NotListening` at once if there is no listener, or within about 100 ms when its process dies meanwhile.
    pub fn connect(name: &str) -> Result<Self, ConnectError> {
        Self::options().connect(name)
    }

    /// Connects to the listener `name`; waits for at most `timeout` for it to come up, and to accept. Looks for a listener that is not there
    /// every 16 ms.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn connect_timeout(name: &str, timeout: Duration) -> Result<Self, ConnectError> {
        Self::options().connect_timeout(name, timeout)
    }

    /// Settings for a connection.
    pub fn options() -> ClientOptions<T> {
        ClientOptions::new()
    }
}

/// A client on its way.
#[derive(Debug)]
pub(super) struct Approach<T> {
    namespace: Namespace,
    name: String,
    path: PathBuf,
    wait: WaitStrategy,
    /// `None`: for as long as the listener lives.
    until: Option<Instant>,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Approach<T> {
    pub(super) fn new(namespace: Namespace, name: &str, wait: WaitStrategy) -> Result<Self> {
        Ok(Self {
            path: namespace.file_of(name)?,
            namespace,
            name: name.to_owned(),
            wait,
            until: None,
            _message: PhantomData,
        })
    }

    /// Connects to a listener that is there.
    pub(super) fn once(self) -> Result<Client<T>, ConnectError> {
        self.attempt()
    }

    /// Connects to a listener that is there, or comes.
    pub(super) fn until(mut self, timeout: Duration) -> Result<Client<T>, ConnectError> {
        self.until = Instant::now().checked_add(timeout);
        let mut pause = SHORT;
        loop {
            match self.attempt() {
                Err(ConnectError::NotListening { .. }) => {}
                other => return other,
            }
            let left = self.slice()?;
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONG);
        }
    }

    fn attempt(&self) -> Result<Client<T>, ConnectError> {
        let seen = match Sight::of(&self.path) {
            Ok(seen) => seen,
            Err(Error::NotFound { .. }) => return Err(self.not_listening()),
            Err(e) => return Err(e.into()),
        };
        if seen.protocol() != u64::from(PROTOCOL) {
            return Err(self.incompatible(format!("listener protocol {}", seen.protocol())));
        }
        let socket = self.connect(&seen)?;
        let peer = socket::peer(socket.as_fd()).map_err(|e| self.io("examine", &e))?;
        let ours = Terms::ours(&T::type_name());
        // A listener that has closed is heard to have done so.
        let _ = socket::send(socket.as_fd(), &ours.hello(), None);
        let (answer, file) = self.hear(&seen, &socket)?;
        self.check(&ours, &answer)?;
        let file = file.ok_or_else(|| self.garbage())?;
        let connection = self.take(&answer.file_name, file)?;
        // To a listener that has closed meanwhile, or given this client up, the pipe is nothing, either.
        socket::send(socket.as_fd(), &READY, None).map_err(|_| self.not_listening())?;
        Ok(Client {
            connection,
            peer: peer.into(),
        })
    }

    /// Comes to the listener's socket, which may not be there yet while its process lives.
    fn connect(&self, seen: &Sight) -> Result<OwnedFd, ConnectError> {
        let (dir, name) = (self.namespace.path().join(SOCKETS), seen.socket(&self.name));
        let place = Place {
            dir: &dir,
            name: &name,
        };
        loop {
            self.check_alive(seen)?;
            match socket::connect_to(place, self.slice()?) {
                Ok(socket) => return Ok(socket),
                Err(e) => match e.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        thread::sleep(SHORT);
                    }
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    _ => return Err(self.io("connect to", &e)),
                },
            }
        }
    }

    /// Waits for the listener's answer, and the file that comes with it.
    fn hear(
        &self,
        seen: &Sight,
        socket: &OwnedFd,
    ) -> Result<(Answer, Option<OwnedFd>), ConnectError> {
        let mut packet = [0; MOST_BYTES];
        loop {
            match socket::receive(socket.as_fd(), &mut packet) {
                // It would say what is the matter: so it closed, or is dying, or dead.
                Ok(Received { length: 0, .. }) => return Err(self.not_listening()),
                Ok(Received { length, files }) => {
                    let answer = Answer::read(&packet[..length]);
                    let answer = answer.map_err(|_| self.garbage())?;
                    return Ok((answer, files.into_iter().next()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(self.not_listening()),
            }
            // A forked child of a dead listener may keep the socket open: what is asked is whether the listener lives.
            self.check_alive(seen)?;
            socket::wait_readable(socket.as_fd(), self.slice()?)
                .map_err(|e| self.io("wait for", &e))?;
        }
    }

    fn check(&self, ours: &Terms, answer: &Answer) -> Result<(), ConnectError> {
        let object = || self.path.to_string_lossy().into_owned();
        match (answer.verdict, ours.check(&answer.terms)) {
            (_, Err(Discord::Versions(found))) => Err(self.incompatible(found)),
            (_, Err(Discord::Type(found))) => Err(Error::WrongType {
                object: object(),
                found,
                expected: T::type_name(),
            }
            .into()),
            (Verdict::Welcome, Ok(())) => Ok(()),
            (Verdict::GivenUp, Ok(())) => Err(self.hung_up()),
            (Verdict::NoPipe, Ok(())) => Err(ConnectError::Refused { object: object() }),
            (Verdict::WrongType | Verdict::Incompatible, Ok(())) => Err(self.garbage()),
        }
    }

    /// Takes the client's end of the pipe in a file of this name.
    fn take(&self, file_name: &str, file: OwnedFd) -> Result<Connection<T>, ConnectError> {
        let path = self.namespace.nameless(file_name);
        let pipe = Pipe::<T>::of_file(&path, File::from(file), self.wait)?;
        pipe.second().map_err(|e| match e {
            TakeError::Failed(e) => e.into(),
            TakeError::NoSuchEnd { .. } => self.garbage(),
            // The listener gave it to two, or somebody went behind its back.
            TakeError::InUse { .. } | TakeError::Closed => self.hung_up(),
        })
    }

    fn check_alive(&self, seen: &Sight) -> Result<(), ConnectError> {
        match seen.is_alive() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.not_listening()),
            Err(e) => Err(self.io("examine", &e)),
        }
    }

    /// How long to wait before the next look.
    fn slice(&self) -> Result<Duration, ConnectError> {
        let Some(until) = self.until else {
            return Ok(WATCH);
        };
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ConnectError::Timeout {
                object: self.path.to_string_lossy().into_owned(),
            }),
            left => Ok(left.min(WATCH)),
        }
    }

    fn not_listening(&self) -> ConnectError {
        let object = self.path.to_string_lossy().into_owned();
        ConnectError::NotListening { object }
    }

    fn hung_up(&self) -> ConnectError {
        let object = self.path.to_string_lossy().into_owned();
        ConnectError::HungUp { object }
    }

    fn garbage(&self) -> ConnectError {
        let object = self.path.to_string_lossy().into_owned();
        ConnectError::Garbage { object }
    }

    fn incompatible(&self, found: String) -> ConnectError {
        let error = Error::IncompatibleLayout {
            object: self.path.to_string_lossy().into_owned(),
            found,
            expected: Terms::ours("").versions(),
        };
        error.into()
    }

    fn io(&self, operation: &'static str, e: &io::Error) -> ConnectError {
        Error::from_io(&self.path.to_string_lossy(), operation, e).into()
    }
}
