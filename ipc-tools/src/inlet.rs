//! Standard input, cut into messages as it arrives.

use std::{
    io::{self, Read},
    os::fd::AsFd,
};

use rustix::event::PollFlags;

use crate::{
    args::values::Format,
    exit::{Failure, Outcome},
    framing::Splitter,
    signals::Signals,
};

/// As much is read at once.
const PIECE: usize = 64 << 10;

/// Standard input.
#[derive(Debug)]
pub(crate) struct Inlet<'a> {
    pub(crate) signals: &'a Signals,
    pub(crate) format: Format,
    /// The longest message that whoever takes the records can use, in bytes.
    pub(crate) most_bytes: usize,
}

impl Inlet<'_> {
    /// Hands each record to `take` as soon as it is there, still encoded. `longer` says what to do about one that is too long.
    pub(crate) fn records(
        &self,
        take: impl FnMut(Vec<u8>) -> Outcome,
        longer: impl Fn() -> Failure,
    ) -> Outcome {
        self.records_of(&mut io::stdin().lock(), take, longer)
    }

    /// As [`records`](Self::records), of another file.
    pub(crate) fn records_of(
        &self,
        file: &mut (impl Read + AsFd),
        mut take: impl FnMut(Vec<u8>) -> Outcome,
        longer: impl Fn() -> Failure,
    ) -> Outcome {
        let mut splitter = Splitter::new(self.format);
        // Encodings make a message longer than its bytes, JSON at most sixfold.
        let longest = self.most_bytes.saturating_mul(6).saturating_add(PIECE);
        self.pieces_of(file, |piece| {
            splitter.feed(piece, &mut take)?;
            if splitter.pending_bytes() > longest {
                return Err(longer());
            }
            Ok(())
        })?;
        splitter.finish().map_or(Ok(()), take)
    }

    /// Hands on what is there, as it arrives: no line waits for another.
    pub(crate) fn pieces(&self, take: impl FnMut(&[u8]) -> Outcome) -> Outcome {
        self.pieces_of(&mut io::stdin().lock(), take)
    }

    fn pieces_of(
        &self,
        file: &mut (impl Read + AsFd),
        mut take: impl FnMut(&[u8]) -> Outcome,
    ) -> Outcome {
        let mut piece = vec![0; PIECE];
        loop {
            self.signals.wait_for(file.as_fd(), PollFlags::IN, None)?;
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => take(&piece[..length])?,
                // A descriptor that does not block is waited for above.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(e) => return Err(Failure::Input(e)),
            }
        }
    }
}
