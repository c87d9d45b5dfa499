//! `ipc pub` and `ipc sub`.

use std::time::Duration;

use ipc_core::{
    Broadcast, Bytes, PublishTimeoutError, SubscribeError, Subscriber, SubscriberError,
    SubscriberTimeoutError, TrySubscriberError,
};

use super::{
    flow::{Entry, Exit, Sink, Source, Unsent},
    set,
};
use crate::{
    args::{
        Place,
        broadcast::{Pub, Shape, Sub},
    },
    exit::{Failure, Outcome, say},
    outlet::Outlet,
    signals::Signals,
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
        sink: &broadcast,
        signals: &signals,
        patience: args.wait.patience(),
        sent: 0,
    };
    let outcome = entry.send_all(args.look.format(), args.messages);
    let published = entry.sent;
    outcome.map_err(|failure| failure.after(format!("{published} message(s) were published")))?;
    if args.close {
        broadcast.close();
    }
    Ok(())
}

impl Sink for &Broadcast<Bytes> {
    const FULL: &'static str = "a subscriber is too far behind";
    const TAKES: [&'static str; 2] = ["the broadcast", "memory"];

    fn most_bytes(&self) -> usize {
        self.max_message_bytes()
    }

    fn put(&mut self, message: Bytes, timeout: Duration) -> Result<(), Unsent> {
        self.publish_timeout(message, timeout).map_err(|e| match e {
            PublishTimeoutError::Timeout(message) => {
                let late = "a subscriber stayed too far behind, and no room came free";
                Unsent::NoRoom(message, Failure::Timeout(late))
            }
            PublishTimeoutError::Closed(_) => {
                Unsent::Failed(Failure::Closed("the broadcast is closed"))
            }
            PublishTimeoutError::Failed { error, .. } => Unsent::Failed(error.into()),
            other => Unsent::Failed(Failure::Other(other.to_string())),
        })
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
    let mut exit = Exit {
        source: subscriber,
        signals: &signals,
        patience: args.wait.patience(),
    };
    let mut outlet = Outlet::new(args.look.format(), &signals)?;
    match exit.pump(&mut outlet, args.count) {
        Ok(()) => Ok(()),
        Err(Failure::Closed(_)) if args.count.is_none() => Ok(()),
        Err(failure) => Err(match outlet.undelivered().len() {
            0 => failure,
            lost => failure.after(format!("{lost} message(s) were received and not written")),
        }),
    }
}

fn tell_of(missed: u64) {
    say(format_args!("{missed} message(s) were missed"));
}

impl Source for Subscriber<Bytes> {
    const EMPTY: &'static str = "nothing new was published";

    fn next(&mut self, timeout: Duration) -> Outcome<Option<Bytes>> {
        loop {
            return match self.recv_timeout(timeout) {
                Ok(message) => Ok(Some(message)),
                Err(SubscriberTimeoutError::Failed(SubscriberError::Lagged(missed))) => {
                    tell_of(missed);
                    continue;
                }
                Err(SubscriberTimeoutError::Timeout) => Ok(None),
                Err(SubscriberTimeoutError::Failed(e)) => Err(e.into()),
                Err(other) => Err(Failure::Other(other.to_string())),
            };
        }
    }

    fn ready(&mut self) -> Option<Bytes> {
        loop {
            match self.try_recv() {
                Ok(message) => return Some(message),
                Err(TrySubscriberError::Failed(SubscriberError::Lagged(missed))) => tell_of(missed),
                Err(_) => return None,
            }
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
