//! How a listener is bound, and how a client connects.

use core::marker::PhantomData;
use std::{path::Path, sync::Arc, time::Duration};

use super::{Client, ConnectError, Listener, client::Approach, protocol::PROTOCOL};
use crate::{
    channel::pipe::{Pipe, PipeOptions},
    error::{Damage, Error, Result},
    message::Message,
    object::{
        Kind, Namespace, family,
        lifetime::{self, Removal, Species},
        making::{Blueprint, Made, Making},
        participant::{Dead, Repair},
        rendezvous::{self, Sight},
        wait::WaitStrategy,
    },
    os::{clock, file},
    region::{Region, identity::Facts, identity::hash},
};

/// How long a peer that has connected may be silent.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often two who bind may get into each other's way.
const RACES: u32 = 100;
/// The process that listens, and one that repairs.
const PARTICIPANTS: u32 = 2;

/// Nothing in a listener's file is ever left half done.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Repair for Nothing {
    fn repair(&self, _dead: &Dead<'_>) -> Result<(), Damage> {
        Ok(())
    }

    fn wake_all(&self) {}
}

pub(crate) fn build(_region: &Arc<Region>, _facts: &Facts) -> Result<Arc<Nothing>, Damage> {
    Ok(Arc::new(Nothing))
}

/// Settings for a listener, from [`Listener::options`].
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-listener-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Listener;
///
/// let listener = Listener::<String>::options()
///     .capacity(1 << 20) // of each pipe, in each direction
///     .mode(0o660) // who is in the group may connect, too
///     .namespace(&namespace)
///     .bind("service")?;
/// # drop(listener);
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "options make nothing until `bind`"]
#[derive(Debug)]
pub struct ListenerOptions<T> {
    capacity: Option<usize>,
    participants: Option<u32>,
    handshake: Duration,
    making: Making,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> ListenerOptions<T> {
    pub(super) fn new() -> Self {
        Self {
            capacity: None,
            participants: None,
            handshake: HANDSHAKE,
            making: Making {
                participants: PARTICIPANTS,
                ..Making::default()
            },
            _message: PhantomData,
        }
    }

    /// Bytes in flight in each direction of each pipe. See [`PipeOptions::capacity`].
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// How many processes may be attached to each pipe. See [`PipeOptions::participants`].
    pub fn participants(mut self, count: u32) -> Self {
        self.participants = Some(count);
        self
    }

    /// How long a peer that has connected may be silent before it is given up. A client says what it has to say at once, unless
    /// its process is stopped. Default: 5 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake = timeout;
        self
    }

    /// Who may connect, and permissions of the pipes. Default: `0o600`, this user. Users of a group connect with `0o660` and
    /// [`group`](Self::group), in a directory that they may all enter.
    pub fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Group of the listener and of the pipes, by number. Default: this process's.
    pub fn group(mut self, gid: u32) -> Self {
        self.making.group = Some(gid);
        self
    }

    /// Where the listener is. Default: [`Namespace::current`].
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.making.namespace = Some(namespace.clone());
        self
    }

    /// What blocking calls on the connections do before they sleep.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.making.wait = strategy;
        self
    }

    /// Begins to listen under `name`, which a listener that is closed or whose process died gives up.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if another listener of this name lives; [`Error::Exists`] if the name is that of another kind of object;
    /// [`Error::BadOption`]; [`Error::BadName`]; [`Error::NoSpace`]; [`Error::PermissionDenied`]; [`Error::Io`].
    pub fn bind(&self, name: &str) -> Result<Listener<T>> {
        let namespace = self.place()?;
        if family::is_dir(namespace.path()) {
            return Err(Error::BadOption {
                option: "namespace",
                why: "the pipes of a listener would stay in the family as long as it lives; bind it beside the family".into(),
            });
        }
        let pipes = self.pipes(&namespace);
        pipes.check()?;
        let number = fresh_number();
        let path = namespace.file_of(name)?;
        let (object, _) = self.publish(name, &path, number)?;
        let socket = rendezvous::socket_name(name, number);
        let bound = rendezvous::make_directory(&namespace)
            .and_then(|sockets| Listener::serve(&object, pipes, sockets, socket, self));
        bound.inspect_err(|_| drop(object.unlink()))
    }

    /// Makes the listener's file, in the place of a dead listener's.
    fn publish(&self, name: &str, path: &Path, number: u64) -> Result<Made<Nothing>> {
        let bytes = lifetime::plan(PARTICIPANTS).map(|(planner, _)| planner.end());
        let blueprint = Blueprint {
            species: Species {
                kind: Kind::Listener,
                type_name: Some(&T::type_name()),
            },
            geometry: [u64::from(PROTOCOL), number, 0, 0, 0, 0, 0, 0],
            bytes: bytes.unwrap_or_default(),
            place: &|_| Ok(()),
        };
        for _ in 0..RACES {
            match self.making.create(name, &blueprint, &build) {
                Err(e @ Error::Exists { .. }) => clear(path, name, e)?,
                other => return other,
            }
        }
        self.making.create(name, &blueprint, &build)
    }

    fn pipes(&self, namespace: &Namespace) -> PipeOptions<T> {
        let mut pipes = Pipe::options()
            .namespace(namespace)
            .mode(self.making.mode)
            .wait(self.making.wait);
        if let Some(bytes) = self.capacity {
            pipes = pipes.capacity(bytes);
        }
        if let Some(count) = self.participants {
            pipes = pipes.participants(count);
        }
        if let Some(gid) = self.making.group {
            pipes = pipes.group(gid);
        }
        pipes
    }

    fn place(&self) -> Result<Namespace> {
        let chosen = self.making.namespace.clone();
        chosen.map_or_else(Namespace::current, Ok)
    }

    pub(super) fn sharing(&self) -> (u32, Option<u32>) {
        (self.making.mode, self.making.group)
    }

    pub(super) fn handshake(&self) -> Duration {
        self.handshake
    }
}

/// Makes way where a listener died; what else stands there stays, and `exists`.
fn clear(path: &Path, name: &str, exists: Error) -> Result<()> {
    let seen = match Sight::of(path) {
        Ok(seen) => seen,
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(_) => return Err(exists),
    };
    match lifetime::remove_if(path, Removal::Unused, Some(seen.inode)) {
        // Another one came meanwhile, or removed it, too.
        Err(Error::NotFound { .. }) => return Ok(()),
        other => other?,
    }
    if let Some(dir) = path.parent() {
        // Else it is collected some day.
        let _ = rendezvous::remove(&dir.join(rendezvous::SOCKETS).join(seen.socket(name)));
    }
    Ok(())
}

/// That no other listener has.
fn fresh_number() -> u64 {
    hash(&format!("{} {}", file::unique(), clock::monotonic_ns()))
}

/// Settings for a connection, from [`Client::options`].
#[must_use = "options connect nothing until `connect` or `connect_timeout`"]
#[derive(Debug)]
pub struct ClientOptions<T> {
    namespace: Option<Namespace>,
    wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> ClientOptions<T> {
    pub(super) fn new() -> Self {
        Self {
            namespace: None,
            wait: WaitStrategy::default(),
            _message: PhantomData,
        }
    }

    /// Where the listener is. Default: [`Namespace::current`].
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// What blocking calls on the connection do before they sleep.
    pub fn wait(mut self, strategy: WaitStrategy) -> Self {
        self.wait = strategy;
        self
    }

    /// Connects to the listener `name`. See [`Client::connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn connect(&self, name: &str) -> Result<Client<T>, ConnectError> {
        self.approach(name)?.once()
    }

    /// Connects to the listener `name`; waits for at most `timeout`. See [`Client::connect_timeout`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn connect_timeout(
        &self,
        name: &str,
        timeout: Duration,
    ) -> Result<Client<T>, ConnectError> {
        self.approach(name)?.until(timeout)
    }

    fn approach(&self, name: &str) -> Result<Approach<T>> {
        let chosen = self.namespace.clone();
        let namespace = chosen.map_or_else(Namespace::current, Ok)?;
        Approach::new(namespace, name, self.wait)
    }
}
