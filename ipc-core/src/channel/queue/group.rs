//! Several messages on their way in.

use core::mem;

use super::inner::Inner;
use crate::{channel::errors::Refused, object::participant::Owner, os::fork::Process};

/// How many puts become visible together, at the most. Groups of 8 gained nothing over single puts where the consumer
/// follows close behind; larger ones than 32 were not tried.
const GROUP: usize = 32;

/// Puts that become visible together: cells that are filled one by one and then committed in a row, so that a consumer
/// that follows close behind does not take a cache line away in the middle of each put. Dropped, it commits what it has.
#[derive(Debug)]
pub(in crate::channel) struct Group<'a> {
    inner: &'a Inner,
    /// Who filled the cells.
    me: Option<(Owner, Process)>,
    filled: [u64; GROUP],
    count: usize,
    /// The position behind the last one.
    next: u64,
}

impl<'a> Group<'a> {
    pub(in crate::channel) fn new(inner: &'a Inner) -> Self {
        Self {
            inner,
            me: None,
            filled: [0; GROUP],
            count: 0,
            next: inner.ring.tail(),
        }
    }

    /// Adds a message; at once visible if it is long, or not where it was expected to go.
    #[inline]
    pub(in crate::channel) fn put(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let me = self.inner.member.ready().map_err(Refused::Failed)?;
        let filler = Some((me, Process::this()));
        if self.count == GROUP || self.me != filler {
            self.commit()?;
            self.me = filler;
        }
        match self.inner.ring.fill_next(me, self.next, bytes) {
            Some(after) => {
                self.filled[self.count] = self.next;
                self.count += 1;
                self.next = after;
                Ok(())
            }
            None => self.put_at_once(me, bytes),
        }
    }

    #[cold]
    fn put_at_once(&mut self, me: Owner, bytes: &[u8]) -> Result<(), Refused> {
        self.commit()?;
        let ring = &self.inner.ring;
        let put = ring.put_at(me, self.next, bytes);
        let after = put.map_err(|refusal| self.inner.refused(refusal, bytes.len()))?;
        ring.announce_puts(after, 1);
        self.next = after;
        self.inner.member.check_whole().map_err(Refused::Failed)
    }

    /// Makes the messages visible, in order, and wakes who waits for them.
    pub(in crate::channel) fn commit(&mut self) -> Result<(), Refused> {
        let filled = mem::take(&mut self.count);
        // A child that was forked by the caller's iterator leaves its parent's cells alone.
        let filler = self
            .me
            .filter(|(_, process)| filled > 0 && process.is_this());
        let Some((me, _)) = filler else {
            return Ok(());
        };
        for &position in &self.filled[..filled] {
            let done = self.inner.ring.commit(me, position);
            done.map_err(|damage| Refused::Failed(self.inner.member.remember(damage)))?;
        }
        self.inner.ring.announce_puts(self.next, filled as u32);
        self.inner.member.check_whole().map_err(Refused::Failed)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // What makes it fail is remembered, and found by the next call.
        let _ = self.commit();
    }
}
