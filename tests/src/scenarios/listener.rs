//! What becomes of a name, of those who connect to it, and of what they leave, when a listener or a client dies in the middle.
//!
//! Between a listener and its clients there are system calls only, so the points are those; what they share is a file each that
//! nobody else looks into.

use std::cell::RefCell;
use std::mem;
use std::time::Duration;

use ipc_core::{
    AcceptError, AcceptTimeoutError, Bytes, Client, Error, Listener, Namespace, RecvError,
    RecvTimeoutError,
};
use nix::unistd::getppid;

use super::campaigns::{ALL, holds};
use super::sleeper::{is_in_call, running, wait_until};
use super::trial::place;
use crate::mapping::Shared;
use crate::step::{Campaign, End, Expectation, Operation, Outcome, Scenario, Victim};
use crate::trial_directory::TrialDirectory;

const NAME: &str = "here";
/// A wait ends after this; no trial gets that far unless something is wrong.
const LONG: Duration = Duration::from_secs(20);

const DONE: u64 = 1;
const IN_USE: u64 = 2;
const FAILED: u64 = u64::MAX;

/// What a listener says to who connects.
const HELLO: &[u8] = b"hello";
/// What the survivor answers: whether the listener is to go on.
const GO_ON: &[u8] = b"go on";
const THE_END: &[u8] = b"end";

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Listens where nobody has listened.
    Bind,
    /// Listens where somebody listened who was killed.
    BindAgain,
    /// Accepts somebody who has said hello.
    Accept,
    /// Connects to somebody who accepts.
    Connect,
}

pub(super) fn all() -> [Meeting; 4] {
    [
        Meeting::Bind,
        Meeting::BindAgain,
        Meeting::Accept,
        Meeting::Connect,
    ]
}

/// Where they meet.
pub(super) struct Place {
    /// Processes at work in the trial. Killed before the directory goes.
    others: RefCell<Vec<Victim>>,
    /// The survivor's, if it came in while the victim was stopped.
    listener: RefCell<Option<Listener<Bytes>>>,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Place {
    fn bind(&self) -> ipc_core::Result<Listener<Bytes>> {
        Listener::options().namespace(&self.namespace).bind(NAME)
    }

    /// A connection, with the first word said.
    fn connect(&self) -> Result<Client<Bytes>, String> {
        let options = Client::<Bytes>::options().namespace(&self.namespace);
        let mut client = options
            .connect_timeout(NAME, LONG)
            .map_err(|e| e.to_string())?;
        match client.connection.recv_timeout(LONG) {
            Ok(Bytes(word)) if word == HELLO => Ok(client),
            other => Err(format!("who connects hears {other:?}")),
        }
    }

    /// A process that connects until somebody says hello to it.
    fn a_client(&self) -> Victim {
        running(|| {
            let options = Client::<Bytes>::options().namespace(&self.namespace);
            Box::new(move || {
                loop {
                    let Ok(mut client) = options.connect_timeout(NAME, LONG) else {
                        return FAILED;
                    };
                    match client.connection.recv_timeout(LONG) {
                        Ok(Bytes(word)) if word == HELLO => return DONE,
                        // Whoever accepted is dead.
                        Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => {}
                        _ => return FAILED,
                    }
                }
            })
        })
    }

    /// A process that says hello to all who connect, until the survivor bids it end: then all others must be at their end.
    fn a_listener(&self) -> Victim {
        let listener = running(|| {
            let listener = self.bind().expect("nobody listens");
            let survivor = getppid().as_raw().unsigned_abs();
            Box::new(move || serve(&listener, survivor))
        });
        wait_until(|| is_in_call(listener.pid().as_raw(), libc::SYS_epoll_wait));
        listener
    }

    /// Whoever connects next is served, and the name is free again.
    fn check_that_one_can_listen(&self) -> Result<(), String> {
        if self.others.borrow().is_empty() {
            let client = self.a_client();
            self.others.borrow_mut().push(client);
        }
        let listener = self.bind().map_err(|e| format!("to bind it says {e}"))?;
        let mut accepted = loop {
            match listener.accept_timeout(LONG) {
                Ok(accepted) => break accepted,
                Err(AcceptTimeoutError::Failed(AcceptError::Peer { .. })) => {} // dead
                Err(e) => return Err(format!("to accept it says {e}")),
            }
        };
        let hello = accepted.connection.send(Bytes(HELLO.to_vec()));
        hello.map_err(|e| e.to_string())?;
        self.finish_others()
    }

    fn finish_others(&self) -> Result<(), String> {
        for mut other in self.others.take() {
            match other.wait_to_end().map_err(|e| e.to_string())? {
                End::Completed(DONE) => {}
                end => return Err(format!("the other process: {end:?}")),
            }
        }
        Ok(())
    }

    /// Connects to who listens, which says hello, and bids it go on or end.
    fn check_that_one_can_connect(&self, bid: &[u8]) -> Result<(), String> {
        let mut client = self.connect()?;
        let bidding = client.connection.send(Bytes(bid.to_vec()));
        bidding.map_err(|e| e.to_string())?;
        if bid == GO_ON {
            return Ok(());
        }
        // The end of file, not before the listener's end.
        match client.connection.recv_timeout(LONG) {
            Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => self.finish_others(),
            other => Err(format!("behind the end there is {other:?}")),
        }
    }

    /// Nothing is left but what a collection takes.
    fn check_that_nothing_is_left(&self) -> Result<(), String> {
        let space = &self.namespace;
        space.collect().map_err(|e| e.to_string())?;
        if space
            .list()
            .map_err(|e| e.to_string())?
            .contains(&NAME.to_owned())
        {
            space.unlink_unused(NAME).map_err(|e| e.to_string())?; // as the next to bind would
        }
        space.collect().map_err(|e| e.to_string())?;
        let left = space.leftovers().map_err(|e| e.to_string())?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} are left"))
        }
    }
}

/// Says hello to all who connect until the survivor bids an end. Whether all others have then ended.
fn serve(listener: &Listener<Bytes>, survivor: u32) -> u64 {
    let mut others = Vec::new();
    loop {
        let mut accepted = match listener.accept_timeout(LONG) {
            Ok(accepted) => accepted,
            Err(AcceptTimeoutError::Failed(AcceptError::Peer { .. })) => continue, // dead
            Err(_) => return FAILED,
        };
        let _ = accepted.connection.send(Bytes(HELLO.to_vec())); // or it is dead
        if accepted.peer.pid != survivor {
            others.push(accepted.connection);
            continue;
        }
        match accepted.connection.recv_timeout(LONG) {
            Ok(Bytes(word)) if word == GO_ON => {}
            Ok(Bytes(word)) if word == THE_END => break,
            _ => return FAILED,
        }
    }
    for mut other in others {
        match other.recv_timeout(LONG) {
            Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => {}
            _ => return FAILED,
        }
    }
    DONE
}

impl Meeting {
    fn is_listening(self) -> bool {
        self != Self::Connect
    }

    fn bind(place: &Place) -> Operation<'_> {
        let options = Listener::<Bytes>::options().namespace(&place.namespace);
        Box::new(move || match options.bind(NAME) {
            Ok(listener) => {
                mem::forget(listener); // it dies with its handle
                DONE
            }
            Err(Error::InUse { .. }) => IN_USE,
            Err(_) => FAILED,
        })
    }

    fn accept(place: &Place) -> Operation<'_> {
        let listener = place.bind().expect("nobody listens");
        let others = place.others.borrow();
        let client = others.first().expect("somebody connects").pid().as_raw();
        wait_until(|| is_in_call(client, libc::SYS_poll)); // for an answer to its hello
        Box::new(move || {
            listener.accept_timeout(LONG).map_or(FAILED, |accepted| {
                mem::forget(accepted);
                DONE
            })
        })
    }
}

impl Scenario for Meeting {
    type State = Place;

    fn name(&self) -> String {
        let what = match self {
            Self::Bind => "bind",
            Self::BindAgain => "bind-again",
            Self::Accept => "accept",
            Self::Connect => "connect",
        };
        format!("listener/{what}")
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        holds(ALL)
    }

    fn fresh(&self) -> Place {
        let (directory, namespace) = place();
        let place = Place {
            others: RefCell::default(),
            listener: RefCell::default(),
            namespace,
            _directory: directory,
        };
        match self {
            Self::Bind => {}
            Self::BindAgain => {
                let mut dead = place.a_listener();
                dead.kill().expect("it can be killed");
            }
            Self::Accept => {
                let client = place.a_client();
                place.others.borrow_mut().push(client);
            }
            Self::Connect => {
                let listener = place.a_listener();
                place.others.borrow_mut().push(listener);
            }
        }
        place
    }

    /// None: see above.
    fn shared<'a>(&self, _: &'a Place) -> Vec<Shared<'a>> {
        Vec::new()
    }

    fn arm<'a>(&'a self, place: &'a Place) -> Operation<'a> {
        match self {
            Self::Bind | Self::BindAgain => Self::bind(place),
            Self::Accept => Self::accept(place),
            Self::Connect => Box::new(move || {
                place.connect().map_or(FAILED, |client| {
                    mem::forget(client);
                    DONE
                })
            }),
        }
    }

    fn verify(&self, place: &Place, outcome: Outcome) -> Result<(), String> {
        if !matches!(outcome, Outcome::Killed | Outcome::Completed(DONE)) {
            return Err(format!("the victim: {outcome:?}"));
        }
        if self.is_listening() {
            place.check_that_one_can_listen()?;
        } else {
            place.check_that_one_can_connect(THE_END)?;
        }
        place.check_that_nothing_is_left()
    }

    fn while_stopped(&self, place: &Place) -> Result<(), String> {
        if !self.is_listening() {
            return place.check_that_one_can_connect(GO_ON);
        }
        match place.bind() {
            Ok(listener) if *self != Self::Accept => *place.listener.borrow_mut() = Some(listener),
            Err(Error::InUse { .. }) => {}
            other => return Err(format!("another that binds: {other:?}")),
        }
        Ok(())
    }

    fn verify_after_stop(&self, place: &Place, outcome: Outcome) -> Result<(), String> {
        let expected = match place.listener.take() {
            Some(_) => IN_USE,
            None => DONE,
        };
        if outcome != Outcome::Completed(expected) {
            return Err(format!("the resumed victim: {outcome:?}, not {expected}"));
        }
        self.verify(place, Outcome::Killed)
    }

    /// Whoever comes next does the same.
    fn arm_repair<'a>(&'a self, place: &'a Place) -> Operation<'a> {
        self.arm(place)
    }
}
