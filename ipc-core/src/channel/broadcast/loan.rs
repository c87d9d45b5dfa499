//! Messages of a broadcast that are written and read where they lie: in blocks of a slab of their own, one for each message.
//!
//! # The way of a block
//!
//! ```text
//!          loan            publish: the cell refers            overwritten, or needed: cell CLEARING, take over    cell LOST
//! FREE ──────────→ OWNED ═════════════════════════→ OWNED by ════════════════════════════════════════→ OWNED ──────────→ FREE
//!                  by me                            the publisher                                      by who clears
//! ```
//!
//! The blocks of messages that were copied in go the same way, and what is said of them (I3, I5 of `ring`) holds for these. Between loan and
//! publish a block is like one of a publish that has not claimed yet: nothing refers to it, and a sweep frees it.
//!
//! # Who reads
//!
//! A subscriber of a lossless broadcast leaves its cursor at the message while it reads: by I5 the cell is not cleared. When it passes on,
//! O5 has its reads before whatever the next owner of the block writes. In a lossy broadcast a look is confirmed afterwards (O2, and O3 of
//! the slab), so only a copy can be given out.
//!
//! # Why who waits for a block is woken by a publish
//!
//! Who looks for a block between the claim of a cell and its commit sees WRITING, and no block to take. The publisher's fence lies before
//! that, so it needs another behind the commit: either it sees the sleeper then, or the sleeper sees LARGE.

mod reading;

use std::time::Duration;

use super::{
    Broadcast,
    clear::Memory,
    errors::{PublishError, PublishTimeoutError, TryPublishError},
    inner::Inner,
    publish::PublishRefusal,
    ring::Ring,
};
use crate::{
    channel::{
        contents::Parcel,
        errors::Refused,
        loan::{Loan, WriteInPlace, Writing},
    },
    error::{Damage, Error, Result},
    message::Bytes,
    object::{participant::Owner, wait::Deadline},
    os::fork::Process,
    prim::{self, AtomicU64},
    slab::{Block, Slab},
};

impl Ring {
    /// A block for a message of `len` bytes that the caller writes; that of the oldest message if none is free.
    pub(super) fn lend(&self, me: Owner, len: usize) -> Result<Block, PublishRefusal> {
        let fits = |loans: &&Slab| len <= loans.geometry().block_bytes;
        let loans = self.loans.as_ref().filter(fits);
        let loans = loans.ok_or(PublishRefusal::TooLarge)?;
        if self.is_closed() {
            return Err(PublishRefusal::Closed);
        }
        for _ in 0..=self.geometry.ring.capacity {
            if let Some(block) = loans.lend(me) {
                return Ok(block);
            }
            if !self.clear_oldest(me, Memory::Loans)? {
                break;
            }
        }
        Err(PublishRefusal::NoBlocks)
    }

    /// Publishes a message of `len` bytes that was written to a block of the caller's. On success the block is the caller's no longer.
    pub(super) fn publish_lent(
        &self,
        me: Owner,
        block: Block,
        len: usize,
    ) -> Result<(), PublishRefusal> {
        let loans = self.loans.as_ref().ok_or(PublishRefusal::TooLarge)?;
        if self.is_closed() {
            return Err(PublishRefusal::Closed);
        }
        let parcel = Parcel::Lent(loans, loans.chain_of(block, len));
        let after = self.post(me, self.tail(), &parcel)?;
        prim::full_fence(); // W1: a loaner that found this cell WRITING found nothing to take, and sleeps on `blocks`
        self.announce(after);
        Ok(())
    }

    /// Gives back a block that no cell refers to.
    pub(super) fn give_back(&self, block: Block) -> Result<(), Damage> {
        if let Some(loans) = &self.loans {
            loans.give_back(block)?;
            self.gate().blocks.wake(u32::MAX); // freeing ended in a compare-exchange
        }
        Ok(())
    }

    /// How many blocks are lent or refer to a message.
    pub(crate) fn loans_used(&self) -> usize {
        self.loans.as_ref().map_or(0, Slab::used)
    }
}

/// A block that this process has, and no cell refers to. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    broadcast: &'a Broadcast<Bytes>,
    block: Block,
    process: Process,
}

impl Held<'_> {
    fn inner(&self) -> &Inner {
        &self.broadcast.inner
    }

    fn check(&self) -> Result<()> {
        if !self.process.is_this() {
            return Err(of_parent(self.inner()));
        }
        self.inner().member.check().map_err(|e| *e)
    }
}

fn of_parent(inner: &Inner) -> Error {
    Error::OfParent {
        object: inner.member.object.label().to_owned(),
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // A forked child's copy is its parent's.
        if self.process.is_this()
            && let Err(damage) = self.inner().ring.give_back(self.block)
        {
            self.inner().member.remember(damage);
        }
    }
}

impl Writing for Held<'_> {
    fn words(&self) -> &[AtomicU64] {
        let loans = self.inner().ring.loans.as_ref();
        loans.map_or(&[], |loans| loans.words(self.block))
    }
}

impl WriteInPlace for Broadcast<Bytes> {
    type Writing<'a> = Held<'a>;
}

impl Broadcast<Bytes> {
    /// Lends memory in the broadcast for a message of `len` bytes; blocks while all of it is lent or has still to be received. [`Loan::publish`]
    /// publishes it.
    ///
    /// Needs a broadcast that was made with [`loans`](super::BroadcastOptions::loans). A message keeps its memory while it is in the ring;
    /// if all is taken, a loan takes that of the oldest, in a lossless broadcast only of messages that everybody has received. What
    /// a loan and its publish cost does not depend on `len`.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; `TooLarge` for more than [`max_loan_bytes`](Self::max_loan_bytes).
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ipc-doc-broadcast-loan-{}", std::process::id()));
    /// # let namespace = ipc_core::Namespace::at(&dir)?;
    /// use ipc_core::{Broadcast, Bytes};
    ///
    /// let frames = Broadcast::<Bytes>::options(8)
    ///     .loans(4, 1 << 20) // four frames of up to 1 MiB, being written or in the ring
    ///     .namespace(&namespace)
    ///     .create("frames")?;
    /// let mut viewer = frames.subscribe()?; // in any process, as many as there are
    /// let mut frame = frames.loan(1 << 20)?;
    /// frame.write_at(4096, b"body");
    /// frame.publish()?;
    ///
    /// let frame = viewer.recv_ref()?;
    /// let mut body = [0; 4];
    /// frame.read_at(4096, &mut body);
    /// assert_eq!((frame.len(), &body), (1 << 20, b"body"));
    /// assert!(frame.is_in_place());
    /// # drop(frame);
    /// # frames.unlink()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(&self, len: usize) -> Result<Loan<'_, Self>, PublishError<()>> {
        self.lend(len, Deadline::NEVER)
            .map_err(|refused| PublishError::new((), refused))
    }

    /// As [`loan`](Self::loan), if there is memory now.
    ///
    /// # Errors
    ///
    /// [`TryPublishError`].
    pub fn try_loan(&self, len: usize) -> Result<Loan<'_, Self>, TryPublishError<()>> {
        let held = match self.try_lend(len) {
            Err(Refused::GaveUp) if self.inner.member.found_dead() => self.try_lend(len),
            lent => lent,
        };
        held.map(|held| Loan::new(held, len))
            .map_err(|refused| TryPublishError::new((), refused))
    }

    /// As [`loan`](Self::loan); blocks for at most `timeout` while there is no memory.
    ///
    /// # Errors
    ///
    /// [`PublishTimeoutError`].
    pub fn loan_timeout(
        &self,
        len: usize,
        timeout: Duration,
    ) -> Result<Loan<'_, Self>, PublishTimeoutError<()>> {
        self.lend(len, Deadline::after(timeout))
            .map_err(|refused| PublishTimeoutError::new((), refused))
    }

    /// The longest [loan](Self::loan), in bytes; 0 if the broadcast has none.
    #[must_use]
    pub fn max_loan_bytes(&self) -> usize {
        self.inner.ring.geometry().ring.loans.block_bytes
    }

    fn hold(&self, block: Block) -> Held<'_> {
        Held {
            broadcast: self,
            block,
            process: Process::this(),
        }
    }

    fn try_lend(&self, len: usize) -> Result<Held<'_>, Refused> {
        let me = self.inner.member.ready().map_err(Refused::Failed)?;
        match self.inner.ring.lend(me, len) {
            Ok(block) => Ok(self.hold(block)),
            Err(PublishRefusal::TooLarge) => Err(Refused::TooLarge {
                len,
                max: self.max_loan_bytes(),
            }),
            Err(refusal) => Err(self.inner.refused(refusal, len)),
        }
    }

    fn lend(&self, len: usize, deadline: Deadline) -> Result<Loan<'_, Self>, Refused> {
        let held = match self.try_lend(len) {
            Err(Refused::GaveUp) => self.wait_to_lend(len, deadline)?,
            lent => lent?,
        };
        Ok(Loan::new(held, len))
    }

    #[cold]
    fn wait_to_lend(&self, len: usize, deadline: Deadline) -> Result<Held<'_>, Refused> {
        let lend = |me| self.inner.ring.lend(me, len).map(|block| self.hold(block));
        self.inner.wait_for_room(lend, len, self.wait, deadline)
    }
}

impl<'a> Loan<'a, Broadcast<Bytes>> {
    /// Publishes the message. Of a lossless broadcast, blocks while a subscriber has still to receive the message that would be overwritten.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; the loan is gone, and its memory free. [`Error::OfParent`](crate::Error::OfParent) in a forked child.
    pub fn publish(self) -> Result<(), PublishError<()>> {
        match self.publish_until(Some(Deadline::NEVER)) {
            Ok(()) => self.leave(),
            Err(refused) => Err(PublishError::new((), refused)),
        }
    }

    /// Publishes the message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TryPublishError`], with the loan.
    #[expect(clippy::result_large_err, reason = "the loan comes back in it")]
    pub fn try_publish(self) -> Result<(), TryPublishError<Self>> {
        match self.publish_until(None) {
            Ok(()) => self.leave(),
            Err(refused) => Err(TryPublishError::new(self, refused)),
        }
    }

    /// Publishes the message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`PublishTimeoutError`], with the loan.
    #[expect(clippy::result_large_err, reason = "as above")]
    pub fn publish_timeout(self, timeout: Duration) -> Result<(), PublishTimeoutError<Self>> {
        match self.publish_until(Some(Deadline::after(timeout))) {
            Ok(()) => self.leave(),
            Err(refused) => Err(PublishTimeoutError::new(self, refused)),
        }
    }

    fn publish_until(&self, deadline: Option<Deadline>) -> Result<(), Refused> {
        let (held, len) = (self.hold(), self.len());
        let (inner, wait) = (held.inner(), held.broadcast.wait);
        let publish = |me| inner.ring.publish_lent(me, held.block, len);
        let attempt = || {
            held.check().map_err(|e| Refused::Failed(Box::new(e)))?;
            let me = inner.member.ready().map_err(Refused::Failed)?;
            publish(me).map_err(|refusal| inner.refused(refusal, len))
        };
        match (attempt(), deadline) {
            (Err(Refused::GaveUp), Some(deadline)) => {
                inner.wait_for_room(publish, len, wait, deadline)
            }
            (Err(Refused::GaveUp), None) if inner.member.found_dead() => attempt(),
            (published, _) => published,
        }
    }

    /// The block is the broadcast's now.
    fn leave<E>(self) -> Result<(), E> {
        std::mem::forget(self.into_hold());
        Ok(())
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
