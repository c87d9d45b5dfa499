//! Listeners with threads as clients, and with peers that say what no client says.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    AcceptError, AcceptTimeoutError, Accepted, Client, ConnectError, Listener, ListenerOptions,
    PeerError, TryAcceptError,
    protocol::{Answer, MOST_BYTES, READY, Terms, Verdict},
};
use crate::{
    Error,
    channel::pipe::RecvError,
    channel::queue::Queue,
    message::{Bytes, Message},
    object::{
        Namespace,
        rendezvous::{SOCKETS, Sight},
    },
    os::socket::{self, Place as Address},
};

const LONG: Duration = Duration::from_secs(20);
const NOW: Duration = Duration::ZERO;

/// A namespace of its own, which goes with it.
struct Place(Namespace);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipc-listener-test-{}-{next}", std::process::id());
        Self(Namespace::at(std::env::temp_dir().join(name)).unwrap())
    }

    fn options<T: Message>(&self) -> ListenerOptions<T> {
        Listener::options().namespace(&self.0)
    }

    fn bind(&self) -> Listener<Bytes> {
        self.options().bind("here").unwrap()
    }

    fn connect<T: Message>(&self) -> Result<Client<T>, ConnectError> {
        Client::options()
            .namespace(&self.0)
            .connect_timeout("here", LONG)
    }

    /// Connects without a word, as no client does.
    fn intrude(&self) -> OwnedFd {
        let seen = Sight::of(&self.0.path().join("here")).unwrap();
        let (dir, name) = (self.0.path().join(SOCKETS), seen.socket("here"));
        let (dir, name) = (&dir, &*name);
        socket::connect_to(Address { dir, name }, LONG).unwrap()
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let dir = fs::read_dir(self.0.path().join(SOCKETS)).unwrap();
        dir.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.path());
    }
}

fn say(intruder: &OwnedFd, packet: &[u8]) {
    socket::send(intruder.as_fd(), packet, None).unwrap();
}

/// The listener's answer; `None` if it hung up.
fn hear(intruder: &OwnedFd) -> Option<(Answer, usize)> {
    let mut packet = [0; MOST_BYTES];
    socket::wait_readable(intruder.as_fd(), LONG).unwrap();
    let received = socket::receive(intruder.as_fd(), &mut packet).ok()?;
    let answer = Answer::read(&packet[..received.length]).ok()?;
    Some((answer, received.files.len()))
}

/// What is wrong with the next peer.
fn next_error<T: Message>(listener: &Listener<T>) -> PeerError {
    match listener.accept_timeout(LONG) {
        Err(AcceptTimeoutError::Failed(AcceptError::Peer { peer, error })) => {
            assert_eq!(peer.pid, std::process::id());
            error
        }
        other => panic!("{:?}", other.err()),
    }
}

fn accept<T: Message>(listener: &Listener<T>) -> Accepted<T> {
    listener.accept_timeout(LONG).unwrap()
}

/// Both ends of a connection that is made now.
fn meet(place: &Place, listener: &Listener<Bytes>) -> (Accepted<Bytes>, Client<Bytes>) {
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect().unwrap());
        (accept(listener), client.join().unwrap())
    })
}

#[test]
fn each_client_has_a_pipe_of_its_own() {
    let place = Place::new();
    let listener = place.bind();
    assert_eq!(listener.name(), "here");
    let mut pairs: Vec<_> = (0..3).map(|_| meet(&place, &listener)).collect();
    for (number, (accepted, client)) in pairs.iter_mut().enumerate() {
        let text = format!("for {number}");
        client.connection.send(text.clone().into()).unwrap();
        accepted.connection.send(text.into()).unwrap();
    }
    for (number, (accepted, client)) in pairs.iter_mut().enumerate() {
        let text = Bytes::from(format!("for {number}"));
        assert_eq!(client.connection.recv().unwrap(), text);
        assert_eq!(accepted.connection.recv().unwrap(), text);
        assert_eq!(accepted.peer, client.peer);
        assert_eq!(accepted.peer.pid, std::process::id());
        assert_eq!(accepted.peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(accepted.peer.gid, nix::unistd::getegid().as_raw());
    }
    drop(listener); // connections stay
    let (accepted, client) = &mut pairs[0];
    client.connection.send("still".into()).unwrap();
    assert_eq!(accepted.connection.recv().unwrap(), "still".into());
    drop(pairs.remove(0));
    let (accepted, client) = pairs.remove(0);
    drop(client);
    let mut ours = accepted.connection;
    assert!(matches!(ours.recv(), Err(RecvError::EndOfFile)));
}

#[test]
fn a_name_is_one_listeners_and_free_when_that_is_closed() {
    let place = Place::new();
    let listener = place.bind();
    let second = place.options::<Bytes>().bind("here");
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    listener.close();
    assert!(place.0.list().unwrap().is_empty());
    assert!(place.sockets().is_empty());
    drop(place.bind());
    let queue = Queue::<Bytes>::options(1).namespace(&place.0);
    queue.create("here").unwrap();
    let bound = place.options::<Bytes>().bind("here");
    assert!(matches!(bound, Err(Error::Exists { .. })), "{bound:?}");
    let connected = place.connect::<Bytes>();
    let Err(ConnectError::Failed(Error::WrongKind { .. })) = connected else {
        panic!("{connected:?}");
    };
    assert!(matches!(
        place.options::<Bytes>().bind(".dot"),
        Err(Error::BadName { .. })
    ));
    let bad = place.options::<Bytes>().capacity(0).bind("other");
    assert!(matches!(bad, Err(Error::BadOption { .. })), "{bad:?}");
    assert_eq!(place.0.list().unwrap(), ["here"]);
}

#[test]
fn without_a_listener_a_client_is_told_so_or_waits_for_one() {
    let place = Place::new();
    let options = || Client::<Bytes>::options().namespace(&place.0);
    let refused = options().connect("here");
    let Err(ConnectError::NotListening { object }) = refused else {
        panic!("{refused:?}");
    };
    assert!(object.ends_with("/here"));
    let late = options().connect_timeout("here", Duration::from_millis(30));
    assert!(
        matches!(late, Err(ConnectError::Timeout { .. })),
        "{late:?}"
    );
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect::<Bytes>().unwrap());
        let listener = place.bind(); // before or after it looked
        let mut accepted = accept(&listener);
        accepted.connection.send("at last".into()).unwrap();
        let got = client.join().unwrap().connection.recv().unwrap();
        assert_eq!(got, "at last".into());
    });
}

#[test]
fn a_client_that_nobody_accepts_gives_up_in_time() {
    let place = Place::new();
    let listener = place.bind();
    let options = Client::<Bytes>::options().namespace(&place.0);
    let late = options.connect_timeout("here", Duration::from_millis(30));
    assert!(
        matches!(late, Err(ConnectError::Timeout { .. })),
        "{late:?}"
    );
    assert_eq!(next_error(&listener), PeerError::HungUp);
    assert!(matches!(listener.try_accept(), Err(TryAcceptError::Nobody)));
    let begin = Instant::now();
    let nobody = listener.accept_timeout(Duration::from_millis(20));
    assert!(matches!(nobody, Err(AcceptTimeoutError::Timeout)));
    assert!(begin.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_client_that_waits_learns_that_the_listener_is_closed() {
    let place = Place::new();
    let listener = place.bind();
    let client = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let options = Client::<Bytes>::options().namespace(&place.0);
            options.connect("here")
        });
        // It has connected once the listener has something to do.
        socket::wait_readable(listener.as_fd(), LONG).unwrap();
        drop(listener);
        client.join().unwrap()
    });
    let Err(ConnectError::NotListening { .. }) = client else {
        panic!("{client:?}");
    };
}

#[test]
fn a_client_of_another_type_is_told_and_so_is_the_listener() {
    let place = Place::new();
    let listener = place.options::<String>().bind("here").unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect::<u32>());
        let PeerError::WrongType { found, expected } = next_error(&listener) else {
            panic!("another error");
        };
        assert!(found.contains("u32") && expected.contains("String"));
        let refused = client.join().unwrap();
        let Err(ConnectError::Failed(Error::WrongType {
            found, expected, ..
        })) = refused
        else {
            panic!("{refused:?}");
        };
        assert!(found.contains("String") && expected.contains("u32"));
    });
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect::<String>().unwrap());
        accept(&listener)
            .connection
            .send("fine".to_owned())
            .unwrap();
        assert_eq!(client.join().unwrap().connection.recv().unwrap(), "fine");
    });
}

#[test]
fn who_says_nothing_holds_up_nobody_and_is_given_up() {
    let place = Place::new();
    let options = place.options::<Bytes>();
    let patience = Duration::from_millis(50);
    let listener = options.handshake_timeout(patience).bind("here").unwrap();
    let silent = place.intrude();
    let half_way = place.intrude();
    say(&half_way, &Terms::ours("bytes").hello());
    let mut seen = Vec::new();
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect::<Bytes>().unwrap());
        while seen.len() < 3 {
            match listener.accept_timeout(LONG) {
                Ok(_) => seen.push(None),
                Err(AcceptTimeoutError::Failed(AcceptError::Peer { error, .. })) => {
                    seen.push(Some(error));
                }
                Err(e) => panic!("{e}"),
            }
        }
        client.join().unwrap();
    });
    seen.sort_by_key(Option::is_some);
    let slow = || Some(PeerError::TooSlow);
    assert_eq!(seen, [None, slow(), slow()]);
    let heard = |peer| hear(peer).map(|(answer, _)| answer.verdict);
    assert_eq!(heard(&silent), Some(Verdict::GivenUp));
    assert_eq!(heard(&half_way), Some(Verdict::Welcome));
    assert_eq!(heard(&half_way), Some(Verdict::GivenUp));
    assert_eq!((heard(&silent), heard(&half_way)), (None, None));
}

#[test]
fn a_crowd_of_silent_peers_keeps_nobody_out() {
    let place = Place::new();
    let listener = place.bind();
    let _crowd: Vec<_> = (0..100).map(|_| place.intrude()).collect();
    let (mut accepted, mut given_up) = (0, 0);
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect::<Bytes>().unwrap());
        while accepted == 0 {
            match listener.accept_timeout(LONG) {
                Ok(_) => accepted += 1,
                Err(AcceptTimeoutError::Failed(AcceptError::Peer { error, .. })) => {
                    assert_eq!(error, PeerError::TooSlow);
                    given_up += 1;
                }
                Err(e) => panic!("{e}"),
            }
        }
        client.join().unwrap();
    });
    assert_eq!(given_up, 100 + 1 - 64);
}

#[test]
fn garbage_is_one_peers_error() {
    let place = Place::new();
    let listener = place.bind();
    let hello = Terms::ours("bytes").hello();
    let long = [&hello[..], &[0; 200][..]].concat();
    for packet in [&b"x"[..], &READY, &hello[..100], &long, &[0xff; 160]] {
        let intruder = place.intrude();
        say(&intruder, packet);
        assert_eq!(next_error(&listener), PeerError::Garbage);
        let (answer, files) = hear(&intruder).unwrap();
        assert_eq!((answer.verdict, files), (Verdict::GivenUp, 0));
        assert!(hear(&intruder).is_none());
    }
    let intruder = place.intrude();
    say(&intruder, &hello);
    say(&intruder, &hello); // instead of ready
    assert_eq!(next_error(&listener), PeerError::Garbage);
    drop(place.intrude());
    assert_eq!(next_error(&listener), PeerError::HungUp);
    meet(&place, &listener);
}

#[test]
fn who_speaks_another_protocol_is_told_both() {
    let place = Place::new();
    let listener = place.bind();
    let intruder = place.intrude();
    let mut hello = Terms::ours("bytes").hello();
    hello[8] = 9;
    say(&intruder, &hello);
    let PeerError::Incompatible { found, expected } = next_error(&listener) else {
        panic!("another error");
    };
    assert!(found.contains("protocol 9") && expected.contains("protocol 1"));
    let (answer, files) = hear(&intruder).unwrap();
    assert_eq!((answer.verdict, files), (Verdict::Incompatible, 0));
}

#[test]
fn files_that_a_peer_sends_are_closed() {
    let place = Place::new();
    let listener = place.bind();
    let (reader, writer) = std::io::pipe().unwrap();
    let intruder = place.intrude();
    let hello = Terms::ours("bytes").hello();
    socket::send(intruder.as_fd(), &hello, Some(writer.as_fd())).unwrap();
    drop(writer);
    assert!(matches!(listener.try_accept(), Err(TryAcceptError::Nobody)));
    let ends = std::io::read_to_string(reader).unwrap(); // else it would wait for ever
    assert_eq!(ends, "");
    assert_eq!(hear(&intruder).unwrap().1, 1);
}

#[test]
fn a_lying_listener_is_reported_not_believed() {
    let place = Place::new();
    let listener = place.bind();
    let terms = Terms::ours("bytes");
    let welcome = terms.answer(Verdict::Welcome, "0123");
    let (reader, _writer) = std::io::pipe().unwrap();
    // What stands behind the socket answers by itself, file or no file.
    let seen = Sight::of(&place.0.path().join("here")).unwrap();
    let (dir, name) = (place.0.path().join(SOCKETS), seen.socket("here"));
    for (packet, with_file) in [
        (&b"x"[..], false),
        (&welcome, false),
        (&welcome, true), // no pipe of ours, nor a regular file
        (&terms.answer(Verdict::NoPipe, ""), false),
        (&terms.answer(Verdict::GivenUp, ""), false),
        (&terms.answer(Verdict::WrongType, ""), false),
    ] {
        fs::remove_file(dir.join(&name)).unwrap();
        let (dir, name) = (&dir, &*name);
        let door = socket::listen_at(Address { dir, name }, 0o600, None).unwrap();
        let refused = thread::scope(|scope| {
            let client = scope.spawn(|| place.connect::<Bytes>());
            let peer = loop {
                socket::wait_readable(door.as_fd(), LONG).unwrap();
                if let Some(peer) = socket::accept(door.as_fd()).unwrap() {
                    break peer;
                }
            };
            let file = with_file.then(|| reader.as_fd());
            socket::send(peer.as_fd(), packet, file).unwrap();
            client.join().unwrap()
        });
        assert!(
            matches!(
                refused,
                Err(ConnectError::Garbage { .. }
                    | ConnectError::Refused { .. }
                    | ConnectError::HungUp { .. }
                    | ConnectError::Failed(Error::NotAnObject { .. }))
            ),
            "{refused:?}"
        );
    }
    drop(listener);
}

#[test]
fn the_descriptor_tells_when_there_is_something_to_do() {
    let place = Place::new();
    let listener = place.bind();
    let is_ready = || {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
    };
    assert!(!is_ready());
    let intruder = place.intrude();
    assert!(is_ready());
    assert!(matches!(listener.try_accept(), Err(TryAcceptError::Nobody)));
    assert!(!is_ready());
    say(&intruder, b"now");
    assert!(is_ready());
    assert_eq!(next_error(&listener), PeerError::Garbage);
    thread::scope(|scope| {
        let client = scope.spawn(|| place.connect::<Bytes>().unwrap());
        let accepted = loop {
            socket::wait_readable(listener.as_fd(), LONG).unwrap();
            match listener.try_accept() {
                Err(TryAcceptError::Nobody) => {}
                other => break other.unwrap(),
            }
        };
        assert_eq!(accepted.peer.pid, std::process::id());
        client.join().unwrap();
    });
    assert!(!is_ready());
}

#[test]
fn several_threads_accept_at_once() {
    let place = Place::new();
    let listener = place.bind();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let mut accepted = accept(&listener);
                    let number = accepted.connection.recv().unwrap();
                    accepted.connection.send(number).unwrap();
                }
            });
        }
        for client in 0..4_u8 {
            let place = &place;
            scope.spawn(move || {
                for call in 0..6_u8 {
                    let mut client = place
                        .connect::<Bytes>()
                        .unwrap_or_else(|e| panic!("{client} {call}: {e}"));
                    client.connection.send(vec![call].into()).unwrap();
                    assert_eq!(client.connection.recv().unwrap(), vec![call].into());
                }
            });
        }
    });
    assert!(matches!(
        listener.accept_timeout(NOW),
        Err(AcceptTimeoutError::Timeout)
    ));
}

#[test]
fn the_namespace_knows_listeners_and_leaves_living_ones_alone() {
    let place = Place::new();
    let listener = place.bind();
    assert_eq!(place.0.list().unwrap(), ["here"]);
    let seen = place.0.inspect("here").unwrap();
    assert_eq!(seen.kind.to_string(), "listener");
    assert_eq!(seen.type_name, "bytes");
    assert_eq!(seen.participants.len(), 1);
    assert!(place.0.leftovers().unwrap().is_empty());
    assert!(place.0.collect().unwrap().removed.is_empty());
    assert!(matches!(
        place.0.unlink_unused("here"),
        Err(Error::InUse { .. })
    ));
    assert_eq!(place.0.sweep("here").unwrap(), 0);
    // One of nobody's: no listener's file tells of it.
    let sockets = place.0.path().join(SOCKETS);
    let nobodys = sockets.join("0123456789abcdef-0123456789abcdef");
    drop(std::os::unix::net::UnixListener::bind(&nobodys).unwrap());
    let leftovers = place.0.leftovers().unwrap();
    assert_eq!(leftovers.len(), 1);
    assert_eq!(leftovers[0].path, nobodys);
    assert_eq!(place.0.collect().unwrap().removed, leftovers);
    assert_eq!(place.sockets().len(), 1);
    meet(&place, &listener);
}

#[test]
fn a_listener_whose_name_was_removed_gives_nothing_of_its_successor_away() {
    let place = Place::new();
    let old = place.bind();
    place.0.unlink("here").unwrap();
    let new = place.bind();
    drop(old);
    assert_eq!(place.0.list().unwrap(), ["here"]);
    assert_eq!(place.sockets().len(), 1);
    meet(&place, &new);
}
