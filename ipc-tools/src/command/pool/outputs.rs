//! What jobs have printed: kept in files without names, and printed as a whole.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use rustix::event::PollFlags;

use super::brake::Brake;
use crate::{
    exit::{Failure, Outcome},
    output::written,
};

/// As much is copied at once.
const PIECE: usize = 64 << 10;
/// What a pipe that has room takes without blocking.
const PAGE: usize = 4096;
/// Outputs up to this are kept in memory while they wait for their turn.
const SMALL: u64 = 4096;

/// The files of a job that runs.
#[derive(Debug)]
pub(super) struct Files {
    stdout: File,
    stderr: File,
}

/// One stream of a job that has ended.
#[derive(Debug)]
pub(super) enum Kept {
    Bytes(Vec<u8>),
    File { file: File, length: u64 },
}

/// What a job has printed.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) stdout: Kept,
    pub(super) stderr: Kept,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Outcome<Self> {
        let make = || {
            Ok((
                tempfile::tempfile_in(directory)?,
                tempfile::tempfile_in(directory)?,
            ))
        };
        let made: io::Result<_> = make();
        let (stdout, stderr) = made.map_err(|e| {
            let directory = directory.display();
            Failure::Other(format!(
                "could not make a file in {directory} for output: {e}"
            ))
        })?;
        Ok(Self { stdout, stderr })
    }

    /// By which the workers find them.
    pub(super) fn numbers(&self) -> (RawFd, RawFd) {
        (self.stdout.as_raw_fd(), self.stderr.as_raw_fd())
    }

    /// What is in them now.
    pub(super) fn printed(self) -> Outcome<Printed> {
        let kept = |file: File| -> io::Result<Kept> {
            let length = file.metadata()?.len();
            Ok(match length {
                0 => Kept::Bytes(Vec::new()),
                _ => Kept::File { file, length },
            })
        };
        let printed = || {
            Ok(Printed {
                stdout: kept(self.stdout)?,
                stderr: kept(self.stderr)?,
            })
        };
        printed().map_err(unreadable)
    }
}

fn unreadable(e: io::Error) -> Failure {
    Failure::Other(format!("could not read what a job has printed: {e}"))
}

impl Kept {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    fn shrink(&mut self) -> Outcome {
        if let Self::File { file, length } = self
            && *length <= SMALL
        {
            let mut bytes = vec![0; *length as usize];
            file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
            *self = Self::Bytes(bytes);
        }
        Ok(())
    }
}

impl Printed {
    /// Has it take no descriptors, if there is little of it.
    pub(super) fn shrink(&mut self) -> Outcome {
        self.stdout.shrink()?;
        self.stderr.shrink()
    }

    /// How many files it keeps open.
    pub(super) fn files(&self) -> usize {
        let is_file = |kept: &&Kept| matches!(kept, Kept::File { .. });
        [&self.stdout, &self.stderr]
            .iter()
            .filter(|it| is_file(it))
            .count()
    }
}

/// Our own standard output or error.
#[derive(Debug)]
struct Sink {
    file: File,
    /// Writes to it take no time that a signal could want to end.
    is_regular: bool,
}

impl Sink {
    fn new(of: impl AsFd) -> io::Result<Self> {
        let file = File::from(of.as_fd().try_clone_to_owned()?);
        let is_regular = file.metadata()?.is_file();
        Ok(Self { file, is_regular })
    }

    fn write(&mut self, mut bytes: &[u8], brake: &mut Brake<'_>) -> Outcome {
        let most = if self.is_regular { PIECE } else { PAGE };
        while !bytes.is_empty() {
            let is_ready = self.is_regular
                || brake.wait_for(&[(self.file.as_fd(), PollFlags::OUT)], None)? == [true];
            if !is_ready {
                continue;
            }
            match self.file.write(&bytes[..bytes.len().min(most)]) {
                Ok(0) => return Err(Failure::Output(io::ErrorKind::WriteZero.into())),
                Ok(count) => bytes = &bytes[count..],
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                failed => written(failed.map(|_| ()))?,
            }
        }
        Ok(())
    }

    fn print(&mut self, kept: &Kept, brake: &mut Brake<'_>) -> Outcome {
        let (file, length) = match kept {
            Kept::Bytes(bytes) => return self.write(bytes, brake),
            Kept::File { file, length } => (file, *length),
        };
        let mut piece = vec![0; PIECE.min(length as usize)];
        let mut at = 0;
        while at < length {
            let most = piece.len().min((length - at) as usize);
            match file.read_at(&mut piece[..most], at) {
                Ok(0) => return Ok(()), // what the job left running has cut it
                Ok(count) => {
                    self.write(&piece[..count], brake)?;
                    at += count as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(unreadable(e)),
            }
        }
        Ok(())
    }
}

/// Where outputs go.
#[derive(Debug)]
pub(super) struct Printer {
    stdout: Sink,
    stderr: Sink,
}

impl Printer {
    pub(super) fn new() -> Outcome<Self> {
        let new = || {
            Ok(Self {
                stdout: Sink::new(io::stdout())?,
                stderr: Sink::new(io::stderr())?,
            })
        };
        new().map_err(Failure::Output)
    }

    pub(super) fn print(&mut self, printed: &Printed, brake: &mut Brake<'_>) -> Outcome {
        self.stdout.print(&printed.stdout, brake)?;
        self.stderr.print(&printed.stderr, brake)
    }
}
