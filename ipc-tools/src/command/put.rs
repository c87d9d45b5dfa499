//! `ipc queue put`: a message is put before the next one is read, and one that was put is counted.

use std::{
    io::{self, Read},
    os::{fd::AsFd, unix::ffi::OsStringExt},
    time::{Duration, Instant},
};

use ipc_core::{Bytes, PutTimeoutError, Queue, TryPutError};
use rustix::event::PollFlags;

use crate::{
    args::{
        Place,
        queue::Put,
        values::{Format, Patience},
    },
    exit::{Failure, Outcome},
    framing::Splitter,
    signals::{SLICE, Signals},
};

/// As much of standard input is read at once.
const PIECE: usize = 64 << 10;

pub(crate) fn run(place: &Place, args: Put) -> Outcome {
    let signals = Signals::watch()?;
    let queue = place.open_queue(&args.name)?;
    let mut inlet = Inlet {
        queue: &queue,
        signals: &signals,
        format: args.look.format(),
        patience: args.wait.patience(),
        put: 0,
    };
    let outcome = if args.messages.is_empty() {
        inlet.put_stdin()
    } else {
        args.messages
            .into_iter()
            .try_for_each(|message| inlet.put_record(message.into_vec()))
    };
    outcome.map_err(|failure| failure.after(format!("{} message(s) were put", inlet.put)))
}

/// The way into a queue.
struct Inlet<'a> {
    queue: &'a Queue<Bytes>,
    signals: &'a Signals,
    format: Format,
    patience: Patience,
    /// Messages that are in the queue.
    put: u64,
}

impl Inlet<'_> {
    fn put_stdin(&mut self) -> Outcome {
        let mut stdin = io::stdin().lock();
        let mut splitter = Splitter::new(self.format);
        let mut piece = vec![0; PIECE];
        // Encodings make a message longer than its bytes, JSON at most sixfold.
        let longest = self
            .queue
            .max_message_bytes()
            .saturating_mul(6)
            .saturating_add(PIECE);
        loop {
            // Reads return what is there: no line waits for another.
            self.signals.wait_for(stdin.as_fd(), PollFlags::IN, None)?;
            match stdin.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => splitter.feed(&piece[..length], |record| self.put_record(record))?,
                // A descriptor that does not block is waited for above.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(e) => return Err(Failure::Input(e)),
            }
            if splitter.pending_bytes() > longest {
                return Err(Failure::Other(format!(
                    "message {} of the input is longer than the {} bytes that the queue takes; create it with more memory",
                    self.put + 1,
                    self.queue.max_message_bytes()
                )));
            }
        }
        splitter
            .finish()
            .map_or(Ok(()), |last| self.put_record(last))
    }

    fn put_record(&mut self, record: Vec<u8>) -> Outcome {
        self.signals.check()?;
        let message = Bytes(self.format.decode(record, self.put + 1)?);
        match self.queue.try_put(message) {
            Ok(()) => {}
            Err(TryPutError::Full(message)) => self.wait_to_put(message)?,
            Err(e) => return Err(e.into()),
        }
        self.put += 1;
        Ok(())
    }

    fn wait_to_put(&self, mut message: Bytes) -> Outcome {
        let start = Instant::now();
        loop {
            self.signals.check()?;
            let left = match self.patience {
                Patience::Endless => SLICE,
                Patience::For(time) => time.saturating_sub(start.elapsed()),
                Patience::None => return Err(TryPutError::Full(message).into()),
            };
            match self.queue.put_timeout(message, left.min(SLICE)) {
                Ok(()) => return Ok(()),
                Err(PutTimeoutError::Timeout(unput)) if left > Duration::ZERO => message = unput,
                Err(e) => return Err(e.into()),
            }
        }
    }
}
