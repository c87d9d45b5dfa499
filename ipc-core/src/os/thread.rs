//! Threads of the library's own.

use std::{io, thread};

use nix::sys::signal::{SigSet, SigmaskHow};

const STACK: usize = 128 << 10;

/// Starts a thread that blocks all signals: the program's are its own threads' to handle.
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start_with_stack(name, STACK, run)
}

/// As [`start`], for a thread that runs others' code.
pub(crate) fn start_with_stack(
    name: &str,
    stack: usize,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = thread::Builder::new()
        .name(name.into())
        .stack_size(stack)
        .spawn(run);
    mask.thread_set_mask()?;
    started.map(drop)
}
