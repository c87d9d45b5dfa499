//! Standard output for more than fits into memory, which a signal can interrupt.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use rustix::event::PollFlags;

use super::written;
use crate::{
    exit::{Failure, Outcome},
    signals::Signals,
};

/// So much is kept back before it is written.
const BATCH: usize = 64 << 10;
/// What a pipe that has room takes without blocking.
const PAGE: usize = 4096;

/// Standard output, behind a buffer.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    file: File,
    /// Writes to it take no time that a signal could want to end.
    is_regular: bool,
    signals: &'a Signals,
    buffer: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(signals: &'a Signals) -> Outcome<Self> {
        let open = || -> io::Result<(File, bool)> {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            let is_regular = file.metadata()?.is_file();
            Ok((file, is_regular))
        };
        let (file, is_regular) = open().map_err(Failure::Output)?;
        Ok(Self {
            file,
            is_regular,
            signals,
            buffer: Vec::new(),
        })
    }

    /// Has `write` append to what is to be written.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        self.signals.check()?;
        write(&mut self.buffer);
        if self.buffer.len() < BATCH {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what was kept back.
    pub(crate) fn flush(&mut self) -> Outcome {
        let mut done = 0;
        while let rest @ [_, ..] = &self.buffer[done..] {
            let most = if self.is_regular { BATCH } else { PAGE };
            if !self.is_regular {
                self.signals
                    .wait_for(self.file.as_fd(), PollFlags::OUT, None)?;
            }
            self.signals.check()?;
            match self.file.write(&rest[..rest.len().min(most)]) {
                Ok(0) => return Err(Failure::Output(io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                failed => written(failed.map(|_| ()))?,
            }
        }
        self.buffer.clear();
        Ok(())
    }
}
