//! `ipc pipe`.

use std::{
    io::{self, Write},
    os::unix::ffi::OsStringExt,
    thread,
    time::{Duration, Instant},
};

use ipc_core::{
    Bytes, Connection, Pipe, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendTimeoutError,
    Sender, TakeError, TryRecvError,
};

use super::set;
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
        sender: pipe.sender()?,
        signals: &signals,
        patience: args.wait.patience(),
        sent: 0,
    };
    let format = args.look.format();
    let outcome = if args.messages.is_empty() {
        entry.send_stdin(format)
    } else {
        let mut messages = args.messages.into_iter();
        messages.try_for_each(|message| entry.send_record(format, message.into_vec()))
    };
    outcome.map_err(|failure| failure.after(format!("{} message(s) were sent", entry.sent)))
}

/// The way into a pipe.
struct Entry<'a> {
    sender: Sender<Bytes>,
    signals: &'a Signals,
    patience: Patience,
    /// Messages that are in the pipe, or beyond.
    sent: u64,
}

impl Entry<'_> {
    fn send_stdin(&mut self, format: Format) -> Outcome {
        let most_bytes = self.sender.max_message_bytes();
        let stdin = Inlet {
            signals: self.signals,
            format,
            most_bytes,
        };
        stdin.records(
            |record| self.send_record(format, record),
            || {
                Failure::Other(format!(
                    "a message of the input is longer than the {most_bytes} bytes that the pipe takes; create it with more capacity"
                ))
            },
        )
    }

    fn send_record(&mut self, format: Format, record: Vec<u8>) -> Outcome {
        let message = format.decode(record, self.sent + 1)?;
        self.send_bytes(message)?;
        self.sent += 1;
        Ok(())
    }

    fn send_bytes(&mut self, message: Vec<u8>) -> Outcome {
        let (start, mut message) = (Instant::now(), Bytes(message));
        loop {
            self.signals.check()?;
            let left = self.patience.left(start);
            match self.sender.send_timeout(message, left.min(SLICE)) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(unsent)) if left > Duration::ZERO => message = unsent,
                Err(SendTimeoutError::Timeout(_)) if self.patience == Patience::None => {
                    return Err(Failure::WouldBlock("the pipe is full"));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn recv(place: &Place, args: &Recv) -> Outcome {
    let signals = Signals::watch()?;
    let pipe = options(place, false)?.open_or_create(&args.name)?;
    let mut source = Source {
        receiver: pipe.receiver()?,
        signals: &signals,
        patience: args.wait.patience(),
    };
    let mut outlet = Outlet::new(args.look.format(), &signals)?;
    match pump(&mut source, &mut outlet, args.count) {
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

/// Moves `most` messages, or else all until nobody sends any more, which is the failure Closed.
fn pump(source: &mut Source<'_>, outlet: &mut Outlet<'_>, most: Option<u64>) -> Outcome {
    while most.is_none_or(|most| outlet.messages() < most) {
        outlet.await_reader(false)?;
        let left = most.map_or(usize::MAX, |most| {
            usize::try_from(most - outlet.messages()).unwrap_or(usize::MAX)
        });
        match source.take(outlet, outlet.appetite().min(left)) {
            Ok(messages) => outlet.deliver(messages)?,
            Err(closed @ Failure::Closed(_)) => {
                outlet.await_reader(true)?;
                return Err(closed);
            }
            Err(failure) => return Err(failure),
        }
    }
    outlet.settle()
}

/// The way out of a pipe.
struct Source<'a> {
    receiver: Receiver<Bytes>,
    signals: &'a Signals,
    patience: Patience,
}

impl Source<'_> {
    /// Takes 1 to `most` messages; waits for the first.
    fn take(&mut self, outlet: &Outlet<'_>, most: usize) -> Outcome<Vec<Bytes>> {
        let start = Instant::now();
        let mut messages = Vec::new();
        while messages.is_empty() {
            self.signals.check()?;
            outlet.check()?;
            let left = self.patience.left(start);
            match self.receiver.recv_timeout(left.min(SLICE)) {
                Ok(message) => messages.push(message),
                Err(RecvTimeoutError::Timeout) if left > Duration::ZERO => {}
                Err(RecvTimeoutError::Timeout) if self.patience == Patience::None => {
                    return Err(Failure::WouldBlock("the pipe is empty"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::Timeout("no message came"));
                }
                Err(RecvTimeoutError::Failed(e)) => return Err(e.into()),
                Err(other) => return Err(Failure::Other(other.to_string())),
            }
        }
        while messages.len() < most {
            match self.receiver.try_recv() {
                Ok(message) => messages.push(message),
                // Whatever it is, the next call finds it again, when these are written.
                Err(TryRecvError::Empty | _) => break,
            }
        }
        Ok(messages)
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
        sender,
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
