//! What jobs have printed: kept in files without names, and printed as a whole.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::FileExt,
    },
    path::PathBuf,
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
/// So many files are kept for jobs to come.
const MOST_SPARE: usize = 64;
/// Outputs up to this are kept in memory while they wait for their turn.
const SMALL: u64 = 4096;

/// The files of a job that runs.
#[derive(Debug)]
pub(super) struct Files {
    stdout: File,
    stderr: File,
}

/// Files for jobs. A new one costs a file system of a disk as much as a quarter of a short job.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// Empty ones that nobody else has open.
    spare: Vec<File>,
}

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            spare: Vec::new(),
        }
    }

    pub(super) fn take(&mut self) -> Outcome<Files> {
        Ok(Files {
            stdout: self.file()?,
            stderr: self.file()?,
        })
    }

    fn file(&mut self) -> Outcome<File> {
        if let Some(spare) = self.spare.pop() {
            return Ok(spare);
        }
        tempfile::tempfile_in(&self.directory).map_err(|e| {
            let directory = self.directory.display();
            Failure::Other(format!(
                "could not make a file in {directory} for output: {e}"
            ))
        })
    }

    /// Has outputs take no descriptors while they wait, if there is little of them.
    pub(super) fn shrink(&mut self, printed: &mut Printed, nobody_writes: bool) -> Outcome {
        for kept in [&mut printed.stdout, &mut printed.stderr] {
            let length = kept.length();
            if let Some(file) = kept.shrink()?
                && nobody_writes
            {
                self.keep(file, length);
            }
        }
        Ok(())
    }

    /// Takes back what nobody writes into any more.
    pub(super) fn give_back(&mut self, printed: Printed) {
        for kept in [printed.stdout, printed.stderr] {
            if let Kept::File { file, length } = kept {
                self.keep(file, length);
            }
        }
    }

    fn keep(&mut self, file: File, length: u64) {
        if self.spare.len() < MOST_SPARE && (length == 0 || file.set_len(0).is_ok()) {
            self.spare.push(file);
        }
    }
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
    /// By which the workers find them.
    pub(super) fn numbers(&self) -> (RawFd, RawFd) {
        (self.stdout.as_raw_fd(), self.stderr.as_raw_fd())
    }

    /// What is in them now.
    pub(super) fn printed(self) -> Outcome<Printed> {
        let kept = |file: File| -> io::Result<Kept> {
            let length = file.metadata()?.len();
            Ok(Kept::File { file, length })
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

    /// Takes the file, if there is little in it.
    fn shrink(&mut self) -> Outcome<Option<File>> {
        let Self::File { file, length } = self else {
            return Ok(None);
        };
        if *length > SMALL {
            return Ok(None);
        }
        let mut bytes = vec![0; *length as usize];
        file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
        match std::mem::replace(self, Self::Bytes(bytes)) {
            Self::File { file, .. } => Ok(Some(file)),
            Self::Bytes(_) => Ok(None),
        }
    }
}

impl Printed {
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
