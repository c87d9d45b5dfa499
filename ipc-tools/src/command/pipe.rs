//! `ipc pipe`.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use ipc_core::{
    Bytes, Connection, Pipe, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendTimeoutError,
    Sender, TakeError,
};

use super::{
    flow::{Entry, Exit, Sink, Source, Unsent},
    set,
};
use crate::{
    args::{
        Place,
        pipe::{Cat, Create, Recv, Send, Verb},
        values::{Format, Patience},
    },
    exit::{self, Failure, Outcome},
    inlet::Inlet,
    outlet::Outlet,
    signals::{SLICE, Signals},
};

pub(crate) fn run(place: &Place, verb: Verb) -> Outcome {
    match verb {
        Verb::Create(args) => create(place, &args),
        Verb::Send(args) => send(place, args),
        Verb::Recv(args) => recv(place, &args),
        Verb::Cat(args) => cat(place, &args),
    }
}

fn options(place: &Place, is_duplex: bool) -> Outcome<PipeOptions<Bytes>> {
    let options = Pipe::options().namespace(&place.namespace()?);
    Ok(if is_duplex {
        options
    } else {
        options.one_way()
    })
}

fn create(place: &Place, args: &Create) -> Outcome {
    let options = options(place, args.duplex)?;
    let options = set(options, args.capacity, PipeOptions::capacity);
    created!(options, args.make, &args.name);
    Ok(())
}

fn send(place: &Place, args: Send) -> Outcome {
    let signals = Signals::watch()?;
    let pipe = options(place, false)?.open_or_create(&args.name)?;
    let mut entry = Entry {
        sink: pipe.sender()?,
        signals: &signals,
        patience: args.wait.patience(),
        sent: 0,
    };
    let outcome = entry.send_all(args.look.format(), args.messages);
    outcome.map_err(|failure| failure.after(format!("{} message(s) were sent", entry.sent)))
}

impl Sink for Sender<Bytes> {
    const FULL: &'static str = "the pipe is full";
    const TAKES: [&'static str; 2] = ["the pipe", "capacity"];

    fn most_bytes(&self) -> usize {
        self.max_message_bytes()
    }

    fn put(&mut self, message: Bytes, timeout: Duration) -> Result<(), Unsent> {
        self.send_timeout(message, timeout).map_err(|e| match e {
            SendTimeoutError::Timeout(message) => {
                Unsent::NoRoom(message, Failure::Timeout("no room came free in the pipe"))
            }
            SendTimeoutError::BrokenPipe(_) => {
                Unsent::Failed(Failure::Closed("nobody receives any more"))
            }
            SendTimeoutError::InUse { .. } => Unsent::Failed(Failure::InUse(e.to_string())),
            SendTimeoutError::Failed { error, .. } => Unsent::Failed(error.into()),
            other => Unsent::Failed(Failure::Other(other.to_string())),
        })
    }
}

fn recv(place: &Place, args: &Recv) -> Outcome {
    let signals = Signals::watch()?;
    let pipe = options(place, false)?.open_or_create(&args.name)?;
    let mut exit = Exit {
        source: pipe.receiver()?,
        signals: &signals,
        patience: args.wait.patience(),
    };
    let mut outlet = Outlet::new(args.look.format(), &signals)?;
    match exit.pump(&mut outlet, args.count) {
        Ok(()) => Ok(()),
        Err(Failure::Closed(_)) if args.count.is_none() => {
            if args.keep {
                return Ok(());
            }
            Ok(pipe.unlink()?)
        }
        Err(failure) => {
            let lost = outlet.undelivered().len();
            Err(match lost {
                0 => failure,
                _ => failure.after(format!("{lost} message(s) were received and are lost")),
            })
        }
    }
}

impl Source for Receiver<Bytes> {
    const EMPTY: &'static str = "the pipe is empty";

    fn next(&mut self, timeout: Duration) -> Outcome<Option<Bytes>> {
        match self.recv_timeout(timeout) {
            Ok(message) => Ok(Some(message)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Failed(e)) => Err(e.into()),
            Err(other) => Err(Failure::Other(other.to_string())),
        }
    }

    fn ready(&mut self) -> Option<Bytes> {
        self.try_recv().ok()
    }
}

fn cat(place: &Place, args: &Cat) -> Outcome {
    let signals = Signals::watch()?;
    let pipe = options(place, true)?.open_or_create(&args.name)?;
    let connection: Connection<Bytes> = match pipe.first() {
        Err(TakeError::InUse { .. }) => pipe.second()?,
        taken => taken?,
    };
    let (sender, mut receiver) = connection.split();
    let received = thread::scope(|scope| {
        let signals = &signals;
        scope.spawn(move || {
            // The other direction goes on without this one, but not after a failure.
            if let Err(failure) = send_all(sender, signals) {
                exit::now(&failure);
            }
        });
        receive_all(&mut receiver, signals)
    });
    // The end of both directions, which only one of the two processes may be the first to see.
    received?;
    match pipe.unlink() {
        Err(ipc_core::Error::NotFound { .. }) => Ok(()),
        other => Ok(other?),
    }
}

/// Standard input, to its end.
fn send_all(sender: Sender<Bytes>, signals: &Signals) -> Outcome {
    let most_bytes = sender.max_message_bytes();
    let mut entry = Entry {
        sink: sender,
        signals,
        patience: Patience::Endless,
        sent: 0,
    };
    let stdin = Inlet {
        signals,
        format: Format::Raw,
        most_bytes,
    };
    stdin.pieces(|piece| {
        let mut parts = piece.chunks(most_bytes.max(1));
        match parts.try_for_each(|part| entry.send_bytes(part.to_vec())) {
            // Who does not listen may still talk.
            Err(Failure::Closed(_)) => Ok(()),
            other => other,
        }
    })
}

/// Standard output, until nobody sends any more.
fn receive_all(receiver: &mut Receiver<Bytes>, signals: &Signals) -> Outcome {
    let mut stdout = io::stdout().lock();
    loop {
        signals.check()?;
        let message = match receiver.recv_timeout(SLICE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => return Ok(()),
            Err(RecvTimeoutError::Failed(e)) => return Err(e.into()),
            Err(other) => return Err(Failure::Other(other.to_string())),
        };
        let written = stdout.write_all(&message.0).and_then(|()| stdout.flush());
        written.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Output(e),
        })?;
    }
}
