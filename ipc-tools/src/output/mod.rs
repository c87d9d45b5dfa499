//! How data is shown: tables for people, JSON for programs.

pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod stream;
pub(crate) mod table;

use std::io::{self, Write};

use crate::exit::{Failure, Outcome};

/// Writes to standard output as it is.
pub(crate) fn print(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes text with colours to standard output, and leaves the colours out unless a person reads it and wants them.
pub(crate) fn print_styled(text: &str) -> Outcome {
    let mut out = anstream::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that goes away is not an output that fails.
pub(crate) fn written(result: io::Result<()>) -> Outcome {
    result.map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::Output(e),
    })
}
