//! `ipc queue put`: a message is put before the next one is read, and one that was put is counted.

use std::{
    cell::Cell,
    os::unix::ffi::OsStringExt,
    time::{Duration, Instant},
};

use ipc_core::{Bytes, PutTimeoutError, TryPutError};

use super::any_queue::{AnyQueue, DEFAULT_PRIORITY};

use crate::{
    args::{
        Place,
        queue::Put,
        values::{Format, Patience},
    },
    exit::{Failure, Outcome},
    inlet::Inlet,
    signals::{SLICE, Signals},
};

pub(crate) fn run(place: &Place, args: Put) -> Outcome {
    let signals = Signals::watch()?;
    let queue = place.open_queue(&args.name)?;
    if args.priority.is_some() && !queue.has_priorities() {
        let message = format!("{} is a {}: it has no priorities", args.name, queue.kind());
        return Err(Failure::WrongKind(message));
    }
    let mut entry = Entry {
        queue: &*queue,
        priority: args.priority.unwrap_or(DEFAULT_PRIORITY),
        signals: &signals,
        format: args.look.format(),
        patience: args.wait.patience(),
        put: 0,
    };
    let outcome = if args.messages.is_empty() {
        entry.put_stdin()
    } else {
        args.messages
            .into_iter()
            .try_for_each(|message| entry.put_record(message.into_vec()))
    };
    outcome.map_err(|failure| failure.after(format!("{} message(s) were put", entry.put)))
}

/// The way into a queue.
struct Entry<'a> {
    queue: &'a dyn AnyQueue,
    /// Of a message that does not say another.
    priority: i64,
    signals: &'a Signals,
    format: Format,
    patience: Patience,
    /// Messages that are in the queue.
    put: u64,
}

impl Entry<'_> {
    fn put_stdin(&mut self) -> Outcome {
        let (queue, put) = (self.queue, Cell::new(self.put));
        let stdin = Inlet {
            signals: self.signals,
            format: self.format,
            most_bytes: queue.max_message_bytes(),
        };
        stdin.records(
            |record| {
                let outcome = self.put_record(record);
                put.set(self.put);
                outcome
            },
            || {
                Failure::Other(format!(
                    "message {} of the input is longer than the {} bytes that the queue takes; create it with more memory",
                    put.get() + 1,
                    queue.max_message_bytes()
                ))
            },
        )
    }

    fn put_record(&mut self, record: Vec<u8>) -> Outcome {
        self.signals.check()?;
        let number = self.put + 1;
        let (message, own) = if self.queue.has_priorities() {
            self.format.decode_with_priority(record, number)?
        } else {
            (self.format.decode(record, number)?, None)
        };
        let priority = own.unwrap_or(self.priority);
        match self.queue.try_put(Bytes(message), priority) {
            Ok(()) => {}
            Err(TryPutError::Full(message)) => self.wait_to_put(message, priority)?,
            Err(e) => return Err(e.into()),
        }
        self.put += 1;
        Ok(())
    }

    fn wait_to_put(&self, mut message: Bytes, priority: i64) -> Outcome {
        let start = Instant::now();
        loop {
            self.signals.check()?;
            let left = match self.patience {
                Patience::Endless => SLICE,
                Patience::For(time) => time.saturating_sub(start.elapsed()),
                Patience::None => return Err(TryPutError::Full(message).into()),
            };
            match self.queue.put_timeout(message, priority, left.min(SLICE)) {
                Ok(()) => return Ok(()),
                Err(PutTimeoutError::Timeout(unput)) if left > Duration::ZERO => message = unput,
                Err(e) => return Err(e.into()),
            }
        }
    }
}
