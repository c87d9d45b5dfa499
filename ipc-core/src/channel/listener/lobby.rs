//! Where those who have connected wait until they have said what a client says.
//!
//! Nothing here waits for one peer: each is listened to when it has said something. A peer that says nothing stays until its time is up, or
//! until the lobby is full and it is the one that has been there longest.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use super::{
    PeerCredentials,
    errors::PeerError,
    protocol::{MOST_BYTES, READY},
};
use crate::{
    error::Error,
    os::socket::{self, Watch},
};

/// So many peers are listened to at once. A client that is alive says its hello at once.
const MOST: usize = 64;
/// Of the listening socket in the watch; peers have others.
const DOOR: u64 = 0;

/// What the listener answers to a hello.
pub(super) enum Reply<C> {
    /// An answer and a file; and what the listener keeps until the peer is ready.
    Welcome(Vec<u8>, OwnedFd, C),
    /// An answer, and what is wrong.
    Refusal(Vec<u8>, PeerError),
    /// An answer, and why there is no pipe.
    NoPipe(Vec<u8>, Error),
    Garbage,
}

/// Why the listener cannot go on, whoever connects.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Pipe(Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Pipe(e)
    }
}

/// Who has connected and is no connection yet.
#[derive(Debug)]
struct Peer<C> {
    id: u64,
    socket: OwnedFd,
    credentials: PeerCredentials,
    until: Instant,
    /// Once it was answered.
    kept: Option<C>,
}

/// What became of a peer.
pub(super) type Outcome<C> = (PeerCredentials, Result<C, PeerError>);

/// The listening socket, and those who came in by it.
#[derive(Debug)]
pub(super) struct Lobby<C> {
    door: OwnedFd,
    /// In the order in which they came.
    peers: VecDeque<Peer<C>>,
    last_id: u64,
    patience: Duration,
    /// To whom is given up.
    farewell: Vec<u8>,
}

impl<C> Lobby<C> {
    pub(super) fn new(
        door: OwnedFd,
        watch: &Watch,
        patience: Duration,
        farewell: Vec<u8>,
    ) -> io::Result<Self> {
        watch.add(door.as_fd(), DOOR)?;
        Ok(Self {
            door,
            peers: VecDeque::new(),
            last_id: DOOR,
            patience,
            farewell,
        })
    }

    /// Goes on with whoever has something to say, until one peer is a connection or none will be. `answer` is asked about hellos.
    /// `Ok(None)` if nothing came of it now.
    pub(super) fn step(
        &mut self,
        watch: &Watch,
        mut answer: impl FnMut(&[u8]) -> Reply<C>,
    ) -> Result<Option<Outcome<C>>, Trouble> {
        if let Some(outcome) = self.dismiss_slow(watch) {
            return Ok(Some(outcome));
        }
        for id in watch.wait(Some(Duration::ZERO))? {
            let outcome = if id == DOOR {
                self.let_in(watch)?
            } else {
                self.listen_to(id, watch, &mut answer)?
            };
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        Ok(None)
    }

    /// When the next peer's time is up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.peers.iter().map(|peer| peer.until).min()
    }

    fn let_in(&mut self, watch: &Watch) -> io::Result<Option<Outcome<C>>> {
        let Some(socket) = socket::accept(self.door.as_fd())? else {
            return Ok(None);
        };
        let credentials = socket::peer(socket.as_fd())?.into();
        self.last_id += 1;
        watch.add(socket.as_fd(), self.last_id)?;
        self.peers.push_back(Peer {
            id: self.last_id,
            socket,
            credentials,
            until: Instant::now() + self.patience,
            kept: None,
        });
        if self.peers.len() <= MOST {
            return Ok(None);
        }
        Ok(self.dismiss(0, watch, PeerError::TooSlow))
    }

    fn dismiss_slow(&mut self, watch: &Watch) -> Option<Outcome<C>> {
        let first = self.peers.front()?; // all have the same time
        if first.until > Instant::now() {
            return None;
        }
        self.dismiss(0, watch, PeerError::TooSlow)
    }

    fn dismiss(&mut self, at: usize, watch: &Watch, error: PeerError) -> Option<Outcome<C>> {
        if matches!(error, PeerError::TooSlow | PeerError::Garbage) {
            self.tell(at, &self.farewell);
        }
        let (credentials, _) = self.leave(at, watch)?;
        Some((credentials, Err(error)))
    }

    /// Who is gone need not be told.
    fn tell(&self, at: usize, packet: &[u8]) {
        if let Some(peer) = self.peers.get(at) {
            let _ = socket::send(peer.socket.as_fd(), packet, None);
        }
    }

    /// Sees a peer out, and returns what was kept for it.
    fn leave(&mut self, at: usize, watch: &Watch) -> Option<(PeerCredentials, Option<C>)> {
        let peer = self.peers.remove(at)?;
        watch.remove(peer.socket.as_fd());
        socket::hang_up(peer.socket);
        Some((peer.credentials, peer.kept))
    }

    fn listen_to(
        &mut self,
        id: u64,
        watch: &Watch,
        answer: impl FnOnce(&[u8]) -> Reply<C>,
    ) -> Result<Option<Outcome<C>>, Trouble> {
        let Some(at) = self.peers.iter().position(|peer| peer.id == id) else {
            return Ok(None); // it left in this very round
        };
        let mut packet = [0; MOST_BYTES];
        let said = match socket::receive(self.peers[at].socket.as_fd(), &mut packet) {
            Ok(received) if received.length > 0 => &packet[..received.length],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Ok(_) | Err(_) => return Ok(self.dismiss(at, watch, PeerError::HungUp)),
        };
        if self.peers[at].kept.is_some() {
            return Ok(self.finish(at, said == READY, watch));
        }
        let reply = answer(said);
        self.reply(at, reply, watch)
    }

    /// Answers the peer, which waits for it.
    fn reply(
        &mut self,
        at: usize,
        reply: Reply<C>,
        watch: &Watch,
    ) -> Result<Option<Outcome<C>>, Trouble> {
        let error = match reply {
            Reply::Welcome(packet, file, kept) => {
                let peer = &mut self.peers[at];
                let sent = socket::send(peer.socket.as_fd(), &packet, Some(file.as_fd()));
                if sent.is_ok() {
                    peer.kept = Some(kept);
                    return Ok(None);
                }
                PeerError::HungUp
            }
            Reply::Refusal(packet, error) => {
                self.tell(at, &packet);
                error
            }
            Reply::NoPipe(packet, error) => {
                self.tell(at, &packet);
                self.leave(at, watch);
                return Err(error.into());
            }
            Reply::Garbage => PeerError::Garbage,
        };
        Ok(self.dismiss(at, watch, error))
    }

    /// Whether the peer has said that it is ready decides what becomes of it.
    fn finish(&mut self, at: usize, is_ready: bool, watch: &Watch) -> Option<Outcome<C>> {
        if !is_ready {
            return self.dismiss(at, watch, PeerError::Garbage);
        }
        let (credentials, kept) = self.leave(at, watch)?;
        Some((credentials, kept.ok_or(PeerError::Garbage)))
    }

    /// Turns everybody away, and nobody comes in any more.
    pub(super) fn close(self, watch: &Watch) {
        for socket in self
            .peers
            .into_iter()
            .map(|peer| peer.socket)
            .chain([self.door])
        {
            watch.remove(socket.as_fd());
            socket::hang_up(socket);
        }
    }
}
