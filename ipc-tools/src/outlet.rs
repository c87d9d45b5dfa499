//! Standard output for messages, which knows which of them got through.
//!
//! A message got through when all its bytes were written and, if the output is a pipe, read: what is left in a pipe whose
//! reader went away can still be counted (FIONREAD), so it is known to the byte which messages nobody saw. This assumes that
//! nobody else writes to the same pipe.
//!
//! No wait here is beyond the reach of a signal: a pipe or terminal gets at most a page once it says that it has room.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileTypeExt,
    },
    time::{Duration, Instant},
};

use ipc_core::Bytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionread,
};

use crate::{
    args::values::Format,
    exit::{Failure, Outcome},
    signals::Signals,
};

/// What a pipe that has room takes without blocking.
const PAGE: usize = 4096;
/// So many messages go into a pipe one by one, so that a reader that wants only a few finds no more.
const HANDED_OVER_SINGLY: u64 = 1024;
/// How many messages are in our hands at once at the most: so many are lost if this process is killed.
const MOST_AT_ONCE: u64 = 64;
/// How long a reader gets to read the last messages, or to end with us at the same Ctrl-C.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// What can be written as a message.
pub(crate) trait Parcel {
    fn message(&self) -> &[u8];

    /// Where it has one.
    fn priority(&self) -> Option<i64> {
        None
    }
}

impl Parcel for Bytes {
    fn message(&self) -> &[u8] {
        self.as_ref()
    }
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Outlet<'a, P = Bytes> {
    file: File,
    sort: Sort,
    format: Format,
    signals: &'a Signals,
    /// What may not have got through, with the position in the stream where each message ends.
    in_flight: VecDeque<(P, u64)>,
    encoded: Vec<u8>,
    /// Bytes written so far.
    written: u64,
    /// Bytes that all messages up to now make.
    promised: u64,
    messages: u64,
}

/// What standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A file on a disk, or a device that never blocks.
    File,
    /// A terminal, a socket.
    Stream,
    Pipe,
}

impl<'a, P: Parcel> Outlet<'a, P> {
    pub(crate) fn new(format: Format, signals: &'a Signals) -> Outcome<Self> {
        let open = || -> io::Result<(File, Sort)> {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            let sort = file.metadata()?.file_type();
            let sort = match () {
                () if sort.is_fifo() => Sort::Pipe,
                () if sort.is_file() || sort.is_block_device() => Sort::File,
                () => Sort::Stream,
            };
            Ok((file, sort))
        };
        let (file, sort) = open().map_err(Failure::Output)?;
        Ok(Self {
            file,
            sort,
            format,
            signals,
            in_flight: VecDeque::new(),
            encoded: Vec::new(),
            written: 0,
            promised: 0,
            messages: 0,
        })
    }

    /// How many messages to take next.
    pub(crate) fn appetite(&self) -> usize {
        let most = if self.sort == Sort::Pipe && self.messages < HANDED_OVER_SINGLY {
            1
        } else {
            MOST_AT_ONCE
        };
        // The first write tells whether there is a disk behind this that is full.
        most.min(self.messages.max(1)) as usize
    }

    /// Fails if it is known that nobody would read another message.
    pub(crate) fn check(&self) -> Outcome {
        if self.sort == Sort::Pipe && is_abandoned(self.file.as_fd()) {
            Err(Failure::BrokenPipe)
        } else {
            Ok(())
        }
    }

    /// Waits until the reader of a pipe has read all there is, for as long as messages are handed over one by one or
    /// `is_last`. Other outputs are always ready.
    pub(crate) fn await_reader(&self, is_last: bool) -> Outcome {
        if self.sort != Sort::Pipe || (self.messages > HANDED_OVER_SINGLY && !is_last) {
            return self.check();
        }
        let mut pause = Duration::from_micros(10);
        loop {
            self.check()?;
            if self.unread() == 0 {
                return Ok(());
            }
            self.signals
                .wait_for(self.file.as_fd(), PollFlags::empty(), Some(pause))?;
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }

    /// Fails if the reader of a pipe goes away before it has read all; waits for that a moment and no longer, as there are
    /// programs that read only when we have ended.
    pub(crate) fn settle(&self) -> Outcome {
        if self.sort == Sort::Pipe && self.unread_at_last() > 0 {
            return Err(Failure::BrokenPipe);
        }
        Ok(())
    }

    /// Writes `messages`, all of them or as far as it goes.
    pub(crate) fn deliver(&mut self, messages: Vec<P>) -> Outcome {
        self.encoded.clear();
        let before = self.promised;
        for message in messages {
            self.format
                .encode(message.message(), message.priority(), &mut self.encoded);
            self.promised = before + self.encoded.len() as u64;
            self.in_flight.push_back((message, self.promised));
            self.messages += 1;
        }
        let encoded = std::mem::take(&mut self.encoded);
        let outcome = self.write(&encoded);
        self.encoded = encoded;
        self.forget_what_got_through(self.unread());
        outcome
    }

    fn write(&mut self, mut bytes: &[u8]) -> Outcome {
        while !bytes.is_empty() {
            let most = if self.sort == Sort::File {
                bytes.len()
            } else {
                bytes.len().min(PAGE)
            };
            if self.sort != Sort::File {
                self.signals
                    .wait_for(self.file.as_fd(), PollFlags::OUT, None)?;
            }
            match self.file.write(&bytes[..most]) {
                Ok(0) => return Err(Failure::Output(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.written += count as u64;
                    bytes = &bytes[count..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => self.signals.check()?,
                // Somebody set the descriptor so; the poll above does the waiting.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(Failure::BrokenPipe),
                Err(e) => return Err(Failure::Output(e)),
            }
        }
        Ok(())
    }

    /// How many messages were given to this output and are not known to have failed.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// After a failure: the messages that did not get through, oldest first.
    pub(crate) fn undelivered(mut self) -> Vec<P> {
        let unread = if self.sort == Sort::Pipe {
            self.unread_at_last()
        } else {
            0
        };
        self.forget_what_got_through(unread);
        self.in_flight
            .into_iter()
            .map(|(message, _)| message)
            .collect()
    }

    fn forget_what_got_through(&mut self, unread: u64) {
        let read = self.written.saturating_sub(unread);
        while self.in_flight.front().is_some_and(|(_, end)| *end <= read) {
            self.in_flight.pop_front();
        }
    }

    /// What the reader will never read: nothing while it lives. One Ctrl-C stops the reader, too, but not at the same instant.
    fn unread_at_last(&self) -> u64 {
        let deadline = Instant::now() + LAST_CHANCE;
        loop {
            match self.unread() {
                0 => return 0,
                unread if is_abandoned(self.file.as_fd()) => return unread,
                _ if Instant::now() > deadline => return 0,
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn unread(&self) -> u64 {
        if self.sort == Sort::Pipe {
            ioctl_fionread(&self.file).unwrap_or(0)
        } else {
            0
        }
    }
}

/// Whether a pipe has no reader left.
fn is_abandoned(pipe: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(pipe, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}
