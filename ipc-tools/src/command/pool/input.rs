//! The lines of standard input, read when somebody wants them.

use std::{
    collections::VecDeque,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd},
};

use crate::{
    args::values::Format,
    exit::{Failure, Outcome},
    framing::Splitter,
};

/// As much is read at once.
const PIECE: usize = 64 << 10;
/// No argument of a program may be longer, by Linux's MAX_ARG_STRLEN.
const LONGEST: usize = 128 << 10;

/// Standard input.
#[derive(Debug)]
pub(super) struct Input {
    file: std::fs::File,
    /// `None` at the end.
    splitter: Option<Splitter>,
    lines: VecDeque<Vec<u8>>,
    number: u64,
}

impl Input {
    pub(super) fn new(is_null_ended: bool) -> Outcome<Self> {
        let format = match is_null_ended {
            true => Format::Null,
            false => Format::Lines,
        };
        let file = io::stdin().as_fd().try_clone_to_owned();
        Ok(Self {
            file: file.map_err(Failure::Input)?.into(),
            splitter: Some(Splitter::new(format)),
            lines: VecDeque::new(),
            number: 0,
        })
    }

    /// The next line, if it has arrived, and its number.
    pub(super) fn next(&mut self) -> Option<(u64, Vec<u8>)> {
        let line = self.lines.pop_front()?;
        self.number += 1;
        Some((self.number, line))
    }

    /// How many lines there are, once that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.splitter
            .is_none()
            .then_some(self.number + self.lines.len() as u64)
    }

    /// Whether all lines have been taken.
    pub(super) fn is_over(&self) -> bool {
        self.splitter.is_none() && self.lines.is_empty()
    }

    /// What to wait for until there is a line.
    pub(super) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        (self.splitter.is_some() && self.lines.is_empty()).then_some(self.file.as_fd())
    }

    /// Reads what is there, or waits for something.
    pub(super) fn read(&mut self) -> Outcome {
        let Some(splitter) = &mut self.splitter else {
            return Ok(());
        };
        let mut piece = vec![0; PIECE];
        match self.file.read(&mut piece) {
            Ok(0) => {
                let last = self.splitter.take().and_then(Splitter::finish);
                self.lines.extend(last);
            }
            Ok(length) => splitter.feed(&piece[..length], |line| {
                self.lines.push_back(line);
                Ok(())
            })?,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(e) => return Err(Failure::Input(e)),
        }
        let pending = self.splitter.as_ref().map_or(0, Splitter::pending_bytes);
        if pending > LONGEST {
            let line = self.number + self.lines.len() as u64 + 1;
            return Err(Failure::Other(format!(
                "line {line} of the input is longer than {LONGEST} bytes, which no program takes"
            )));
        }
        Ok(())
    }
}
