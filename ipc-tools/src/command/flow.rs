//! Messages that go in by standard input or arguments, and come out to standard output: what `pipe` has in common with `pub` and `sub`.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    time::{Duration, Instant},
};

use ipc_core::Bytes;

use crate::{
    args::values::{Format, Patience},
    exit::{Failure, Outcome},
    inlet::Inlet,
    outlet::Outlet,
    signals::{SLICE, Signals},
};

/// Why a message did not go in.
pub(super) enum Unsent {
    /// There was no room in time, and then that is what happened; the message.
    NoRoom(Bytes, Failure),
    Failed(Failure),
}

/// What messages go into.
pub(super) trait Sink {
    /// What is said when there is no room and nobody wants to wait.
    const FULL: &'static str;
    /// What takes so many bytes a message, and how it would take more.
    const TAKES: [&'static str; 2];

    fn most_bytes(&self) -> usize;

    fn put(&mut self, message: Bytes, timeout: Duration) -> Result<(), Unsent>;
}

/// The way in.
pub(super) struct Entry<'a, S> {
    pub(super) sink: S,
    pub(super) signals: &'a Signals,
    pub(super) patience: Patience,
    /// Messages that went in.
    pub(super) sent: u64,
}

impl<S: Sink> Entry<'_, S> {
    /// These, or if there are none all of standard input.
    pub(super) fn send_all(&mut self, format: Format, messages: Vec<OsString>) -> Outcome {
        if messages.is_empty() {
            return self.send_stdin(format);
        }
        let mut messages = messages.into_iter();
        messages.try_for_each(|message| self.send_record(format, message.into_vec()))
    }

    fn send_stdin(&mut self, format: Format) -> Outcome {
        let most_bytes = self.sink.most_bytes();
        let stdin = Inlet {
            signals: self.signals,
            format,
            most_bytes,
        };
        let [what, how] = S::TAKES;
        stdin.records(
            |record| self.send_record(format, record),
            || {
                Failure::Other(format!(
                    "a message of the input is longer than the {most_bytes} bytes that {what} takes; create it with more {how}"
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

    pub(super) fn send_bytes(&mut self, message: Vec<u8>) -> Outcome {
        let (start, mut message) = (Instant::now(), Bytes(message));
        loop {
            self.signals.check()?;
            let left = self.patience.left(start);
            match self.sink.put(message, left.min(SLICE)) {
                Ok(()) => return Ok(()),
                Err(Unsent::NoRoom(unsent, _)) if left > Duration::ZERO => message = unsent,
                Err(Unsent::NoRoom(..)) if self.patience == Patience::None => {
                    return Err(Failure::WouldBlock(S::FULL));
                }
                Err(Unsent::NoRoom(_, failure) | Unsent::Failed(failure)) => return Err(failure),
            }
        }
    }
}

/// What messages come out of.
pub(super) trait Source {
    /// What is said when there is none and nobody wants to wait.
    const EMPTY: &'static str;

    /// The next one, waited for so long; the failure Closed behind the last.
    fn next(&mut self, timeout: Duration) -> Outcome<Option<Bytes>>;

    /// The next one, if it is there. What hinders it otherwise, the next call of [`next`](Self::next) finds again.
    fn ready(&mut self) -> Option<Bytes>;
}

/// The way out.
pub(super) struct Exit<'a, S> {
    pub(super) source: S,
    pub(super) signals: &'a Signals,
    pub(super) patience: Patience,
}

impl<S: Source> Exit<'_, S> {
    /// Moves `most` messages, or else all until no more will come, which is the failure Closed.
    pub(super) fn pump(&mut self, outlet: &mut Outlet<'_>, most: Option<u64>) -> Outcome {
        while most.is_none_or(|most| outlet.messages() < most) {
            outlet.await_reader(false)?;
            let left = most.map_or(usize::MAX, |most| {
                usize::try_from(most - outlet.messages()).unwrap_or(usize::MAX)
            });
            match self.take(outlet, outlet.appetite().min(left)) {
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

    /// Takes 1 to `most` messages; waits for the first.
    fn take(&mut self, outlet: &Outlet<'_>, most: usize) -> Outcome<Vec<Bytes>> {
        let start = Instant::now();
        let first = loop {
            self.signals.check()?;
            outlet.check()?;
            let left = self.patience.left(start);
            match self.source.next(left.min(SLICE))? {
                Some(message) => break message,
                None if left > Duration::ZERO => {}
                None if self.patience == Patience::None => {
                    return Err(Failure::WouldBlock(S::EMPTY));
                }
                None => return Err(Failure::Timeout("no message came")),
            }
        };
        let mut messages = vec![first];
        while messages.len() < most {
            match self.source.ready() {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        Ok(messages)
    }
}
