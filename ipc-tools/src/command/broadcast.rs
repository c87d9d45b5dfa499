//! `ipc pub` and `ipc sub`.

use std::{
    os::unix::ffi::OsStringExt,
    time::{Duration, Instant},
};

use ipc_core::{
    Broadcast, Bytes, PublishTimeoutError, SubscribeError, Subscriber, SubscriberError,
    SubscriberTimeoutError, TrySubscriberError,
};

use super::set;
use crate::{
    args::{
        Place,
        broadcast::{Pub, Shape, Sub},
        values::{Format, Patience},
    },
    exit::{Failure, Outcome, say},
    inlet::Inlet,
    outlet::Outlet,
    signals::{SLICE, Signals},
};

/// Messages that are kept where nobody says how many.
const DEFAULT_CAPACITY: usize = 1024;

fn open(place: &Place, name: &str, shape: Shape) -> Outcome<Broadcast<Bytes>> {
    let capacity = shape.capacity.unwrap_or(DEFAULT_CAPACITY);
    let options = Broadcast::options(capacity).namespace(&place.namespace()?);
    let options = set(options, shape.memory, |o, bytes| o.memory(bytes));
    let options = set(options, shape.subscribers, |o, n| o.subscribers(n));
    let options = if shape.lossy {
        options.lossy()
    } else {
        options
    };
    match options.open_or_create(name) {
        Err(e @ ipc_core::Error::WrongType { .. }) => {
            Err(Failure::from(e).after("the command line reads and writes broadcasts of bytes"))
        }
        Ok(found) if shape.lossy == found.is_lossless() && (shape.lossy || shape.lossless) => {
            let (is, wanted) = match shape.lossy {
                true => ("lossless", "lossy"),
                false => ("lossy", "lossless"),
            };
            Err(Failure::WrongKind(format!(
                "{name} is {is}, not {wanted}; use it as it is, or remove it first"
            )))
        }
        other => Ok(other?),
    }
}

pub(crate) fn publish(place: &Place, args: Pub) -> Outcome {
    let signals = Signals::watch()?;
    let broadcast = open(place, &args.name, args.shape)?;
    let mut entry = Entry {
        broadcast: &broadcast,
        signals: &signals,
        patience: args.wait.patience(),
        published: 0,
    };
    let format = args.look.format();
    let outcome = if args.messages.is_empty() {
        entry.publish_stdin(format)
    } else {
        let mut messages = args.messages.into_iter();
        messages.try_for_each(|message| entry.publish_record(format, message.into_vec()))
    };
    let published = entry.published;
    outcome.map_err(|failure| failure.after(format!("{published} message(s) were published")))?;
    if args.close {
        broadcast.close();
    }
    Ok(())
}

/// The way into a broadcast.
struct Entry<'a> {
    broadcast: &'a Broadcast<Bytes>,
    signals: &'a Signals,
    patience: Patience,
    published: u64,
}

impl Entry<'_> {
    fn publish_stdin(&mut self, format: Format) -> Outcome {
        let most_bytes = self.broadcast.max_message_bytes();
        let stdin = Inlet {
            signals: self.signals,
            format,
            most_bytes,
        };
        stdin.records(
            |record| self.publish_record(format, record),
            || {
                Failure::Other(format!(
                    "a message of the input is longer than the {most_bytes} bytes that the broadcast takes; create it with more memory"
                ))
            },
        )
    }

    fn publish_record(&mut self, format: Format, record: Vec<u8>) -> Outcome {
        let mut message = Bytes(format.decode(record, self.published + 1)?);
        let start = Instant::now();
        loop {
            self.signals.check()?;
            let left = self.patience.left(start);
            match self.broadcast.publish_timeout(message, left.min(SLICE)) {
                Ok(()) => break,
                Err(PublishTimeoutError::Timeout(unsent)) if left > Duration::ZERO => {
                    message = unsent;
                }
                Err(PublishTimeoutError::Timeout(_)) if self.patience == Patience::None => {
                    return Err(Failure::WouldBlock("a subscriber is too far behind"));
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.published += 1;
        Ok(())
    }
}

pub(crate) fn subscribe(place: &Place, args: &Sub) -> Outcome {
    let signals = Signals::watch()?;
    let broadcast = open(place, &args.name, args.shape)?;
    let subscriber = if args.oldest {
        broadcast.subscribe_from_oldest()?
    } else {
        broadcast.subscribe()?
    };
    let mut source = Source {
        subscriber,
        signals: &signals,
        patience: args.wait.patience(),
    };
    let mut outlet = Outlet::new(args.look.format(), &signals)?;
    match pump(&mut source, &mut outlet, args.count) {
        Ok(()) => Ok(()),
        Err(Failure::Closed(_)) if args.count.is_none() => Ok(()),
        Err(failure) => Err(match outlet.undelivered().len() {
            0 => failure,
            lost => failure.after(format!("{lost} message(s) were received and not written")),
        }),
    }
}

/// Moves `most` messages, or else all until the broadcast is closed, which is the failure Closed.
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

/// The way out of a broadcast.
struct Source<'a> {
    subscriber: Subscriber<Bytes>,
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
            match self.subscriber.recv_timeout(left.min(SLICE)) {
                Ok(message) => messages.push(message),
                Err(SubscriberTimeoutError::Failed(SubscriberError::Lagged(missed))) => {
                    say(format_args!("{missed} message(s) were missed"));
                }
                Err(SubscriberTimeoutError::Timeout) if left > Duration::ZERO => {}
                Err(SubscriberTimeoutError::Timeout) if self.patience == Patience::None => {
                    return Err(Failure::WouldBlock("nothing new was published"));
                }
                Err(SubscriberTimeoutError::Timeout) => {
                    return Err(Failure::Timeout("no message came"));
                }
                Err(SubscriberTimeoutError::Failed(e)) => return Err(e.into()),
                Err(other) => return Err(Failure::Other(other.to_string())),
            }
        }
        while messages.len() < most {
            match self.subscriber.try_recv() {
                Ok(message) => messages.push(message),
                Err(TrySubscriberError::Failed(SubscriberError::Lagged(missed))) => {
                    say(format_args!("{missed} message(s) were missed"));
                }
                // Whatever it is, the next call finds it again, when these are written.
                Err(TrySubscriberError::Empty | _) => break,
            }
        }
        Ok(messages)
    }
}

impl<T> From<PublishTimeoutError<T>> for Failure {
    fn from(e: PublishTimeoutError<T>) -> Self {
        match e {
            PublishTimeoutError::Timeout(_) => {
                Self::Timeout("a subscriber stayed too far behind, and no room came free")
            }
            PublishTimeoutError::Closed(_) => Self::Closed("the broadcast is closed"),
            PublishTimeoutError::Failed { error, .. } => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<SubscribeError> for Failure {
    fn from(e: SubscribeError) -> Self {
        match e {
            SubscribeError::TooMany { .. } => Self::InUse(e.to_string()),
            SubscribeError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<SubscriberError> for Failure {
    fn from(e: SubscriberError) -> Self {
        match e {
            SubscriberError::Closed => Self::Closed("the broadcast is closed"),
            SubscriberError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}
