//! A message on its way, which its owner may lose interest in: undone when dropped.

use core::mem;

use super::{get::Taken, inner::Inner, put::Filled};
use crate::{error::Damage, object::participant::Owner, os::fork::Process};

/// A put that may be waiting: for room, or, with its message in a cell already, for the lock. Dropped so, it gives up the cell.
#[derive(Debug)]
pub(super) struct Putting<'a> {
    pub(super) inner: &'a Inner,
    pub(super) filled: Option<Filled>,
}

impl Drop for Putting<'_> {
    fn drop(&mut self) {
        if let Some(filled) = &self.filled {
            // What makes it fail is found by who uses the cell or its blocks next.
            let _ = self.inner.pile.abandon(filled);
        }
    }
}

/// A message that is claimed and not committed. Dropped so, by an error or by a panic of the message's own code, it is
/// left to the next get: nobody would take it from a living process.
///
/// A child that was forked by the message's own code has a copy of this. The claim is its parent's, so it leaves it alone.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) inner: &'a Inner,
    pub(super) me: Owner,
    pub(super) process: Process,
    pub(super) taken: Taken,
}

impl Claim<'_> {
    /// Delivers the message. The caller has made sure that this is no forked child.
    pub(super) fn commit(self) -> Result<(), Damage> {
        let finished = self.inner.pile.finish(&self.taken);
        mem::forget(self);
        finished
    }
}

impl Drop for Claim<'_> {
    #[cold]
    fn drop(&mut self) {
        if self.process.is_this() {
            // Fails only for a cell that was never claimed.
            let _ = self.inner.pile.put_back(&self.taken);
        }
    }
}
