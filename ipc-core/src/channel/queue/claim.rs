//! A message on its way out: claimed in the ring, and not yet delivered.

use core::mem;

use super::{
    get::{GetRefusal, Taken},
    inner::Inner,
};
use crate::{error::Damage, object::participant::Owner, os::fork::Process, slab::Owned};

/// A message that is claimed and not committed. Dropped so, by an error or by a panic of the message's own code, it is
/// left to the next get: nobody would take it from a living process.
///
/// A child that was forked by the message's own code has a copy of this. The claim is its parent's, so it leaves it alone.
#[derive(Debug)]
pub(in crate::channel) struct Claim<'a> {
    pub(in crate::channel) inner: &'a Inner,
    pub(in crate::channel) me: Owner,
    pub(in crate::channel) process: Process,
    pub(in crate::channel) taken: Taken,
}

impl Claim<'_> {
    /// Delivers the message. The caller has made sure that this is no forked child.
    #[inline]
    pub(in crate::channel) fn commit(self) -> Result<(), Damage> {
        let finished = self.inner.ring.finish(&self.taken);
        mem::forget(self);
        finished
    }
}

impl Drop for Claim<'_> {
    #[cold]
    fn drop(&mut self) {
        if self.process.is_this() {
            // Fails only for a position that was never claimed.
            let _ = self.inner.ring.put_back(&self.taken);
        }
    }
}

/// Messages that are being taken together. Dropped with some not committed, it leaves these to the next get, as [`Claim`]
/// does.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    inner: &'a Inner,
    pub(super) me: Owner,
    pub(super) process: Process,
    pub(super) taken: Vec<Taken>,
    /// Their blocks.
    pub(super) owned: Vec<Owned>,
    /// Where the next one probably is.
    pub(super) next: u64,
}

impl<'a> Taking<'a> {
    pub(super) fn new(inner: &'a Inner, me: Owner) -> Self {
        Self {
            inner,
            me,
            process: Process::this(),
            taken: Vec::new(),
            owned: Vec::new(),
            next: inner.ring.head(),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, taken: Taken) {
        self.next = self.inner.ring.behind(&taken, self.next);
        self.taken.push(taken);
    }

    /// Whether there are messages, and `refusal` only says that there are no more.
    pub(super) fn is_over(&self, refusal: GetRefusal) -> bool {
        !self.taken.is_empty() && !matches!(refusal, GetRefusal::Damage(_))
    }

    /// Leaves the last message to the next get.
    pub(super) fn give_up_last(&mut self) {
        if let Some(last) = self.taken.pop()
            && self.process.is_this()
        {
            // Fails only for a position that was never claimed.
            let _ = self.inner.ring.put_back(&last);
        }
    }

    /// Delivers the messages, and says how many there were. The caller has made sure that this is no forked child.
    pub(super) fn commit(&mut self) -> Result<u32, Damage> {
        let taken = mem::take(&mut self.taken);
        taken
            .iter()
            .try_for_each(|one| self.inner.ring.finish(one))?;
        Ok(taken.len() as u32)
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        while !self.taken.is_empty() {
            self.give_up_last();
        }
    }
}
