//! Messages of a queue that are written and read where they lie: in blocks of a slab of their own, one for each message.
//!
//! # The way of a block
//!
//! ```text
//!          loan            put                    get_ref: claim, take over   cell FREE       drop
//! FREE ──────────→ OWNED ──────→ OWNED by the ═══════════════════════════→ OWNED ─────→ OWNED ─────→ FREE
//!                  by me         producer, a     by me, the cell too        by me, no
//!                                cell refers                                cell refers
//! ```
//!
//! By the slab's I3 the block is taken over before the cell is given back. So at any instant a block of the dead is either referred to by a
//! cell, and delivered, or lost, and freed. The message is taken when the cell becomes FREE, as by a plain get: a reference that is kept for
//! long holds a block, and nobody up.

use std::time::Duration;

use super::{Queue, claim::Claim, get::Taken, inner::Inner, put::PutRefusal, ring::Ring};
use crate::{
    channel::{
        contents::Parcel,
        errors::{
            GetError, GetTimeoutError, PutError, PutTimeoutError, Refused, TryGetError,
            TryPutError, Unmet,
        },
        loan::{Lent, Loan, MessageRef, ReadInPlace, Reading, WriteInPlace, Writing},
    },
    error::{Damage, Error, Result},
    message::Bytes,
    object::{participant::Owner, wait::Deadline},
    os::fork::Process,
    prim::AtomicU64,
    slab::{Block, Slab},
};

impl Ring {
    /// A block for a message of `len` bytes that the caller writes.
    pub(super) fn lend(&self, me: Owner, len: usize) -> Result<Block, PutRefusal> {
        let fits = |loans: &&Slab| len <= loans.geometry().block_bytes;
        let loans = self.loans.as_ref().filter(fits);
        let loans = loans.ok_or(PutRefusal::TooLarge)?;
        if self.is_closed() {
            return Err(PutRefusal::Closed);
        }
        loans.lend(me).ok_or(PutRefusal::NoBlocks)
    }

    /// Puts a message of `len` bytes that was written to a block of the caller's. On success the block is the caller's no longer.
    pub(super) fn put_lent(&self, me: Owner, block: Block, len: usize) -> Result<(), PutRefusal> {
        let loans = self.loans.as_ref().ok_or(PutRefusal::TooLarge)?;
        if self.is_closed() {
            return Err(PutRefusal::Closed);
        }
        let parcel = Parcel::Lent(loans, loans.chain_of(block, len));
        let after = self.post(me, self.tail(), &parcel)?;
        self.announce_puts(after, 1);
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

    /// How many blocks are lent, refer to a message, or are kept by who reads it.
    pub(crate) fn loans_used(&self) -> usize {
        self.loans.as_ref().map_or(0, Slab::used)
    }

    fn longest_loan(&self) -> usize {
        self.geometry.loans.block_bytes
    }
}

/// A block that this process has, and no cell refers to. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    inner: &'a Inner,
    block: Block,
    process: Process,
}

impl Held<'_> {
    fn words(&self) -> &[AtomicU64] {
        let loans = self.inner.ring.loans.as_ref();
        loans.map_or(&[], |loans| loans.words(self.block))
    }

    fn check(&self) -> Result<()> {
        if !self.process.is_this() {
            return Err(Error::OfParent {
                object: self.inner.member.object.label().to_owned(),
            });
        }
        self.inner.member.check().map_err(|e| *e)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // A forked child's copy is its parent's.
        if self.process.is_this()
            && let Err(damage) = self.inner.ring.give_back(self.block)
        {
            self.inner.member.remember(damage);
        }
    }
}

/// What a loan of a queue keeps.
#[derive(Debug)]
pub(crate) struct Blank<'a> {
    queue: &'a Queue<Bytes>,
    held: Held<'a>,
}

impl Writing for Blank<'_> {
    fn words(&self) -> &[AtomicU64] {
        self.held.words()
    }
}

/// What a reference to a message of a queue keeps.
#[derive(Debug)]
pub(crate) enum Got<'a> {
    InPlace(Held<'a>),
    Copied(Vec<u8>),
}

impl Reading for Got<'_> {
    fn bytes(&self) -> Lent<'_> {
        match self {
            Self::InPlace(held) => Lent::InPlace(held.words()),
            Self::Copied(bytes) => Lent::Copied(bytes),
        }
    }

    fn done(self) -> Result<()> {
        match &self {
            Self::InPlace(held) => held.check(),
            Self::Copied(_) => Ok(()),
        }
    }
}

impl WriteInPlace for Queue<Bytes> {
    type Writing<'a> = Blank<'a>;
}

impl ReadInPlace for Queue<Bytes> {
    type Reading<'a> = Got<'a>;
}

impl Inner {
    fn hold(&self, block: Block) -> Held<'_> {
        Held {
            inner: self,
            block,
            process: Process::this(),
        }
    }

    fn try_lend(&self, len: usize) -> Result<Held<'_>, Refused> {
        let me = self.member.ready().map_err(Refused::Failed)?;
        match self.ring.lend(me, len) {
            Ok(block) => Ok(self.hold(block)),
            Err(refusal) => Err(self.loan_refused(refusal, len)),
        }
    }

    #[cold]
    fn loan_refused(&self, refusal: PutRefusal, len: usize) -> Refused {
        match refusal {
            PutRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.ring.longest_loan(),
            },
            refusal => self.refused(refusal, len),
        }
    }

    fn try_put_lent(&self, held: &Held<'_>, len: usize) -> Result<(), Refused> {
        held.check().map_err(|e| Refused::Failed(Box::new(e)))?;
        let me = self.member.ready().map_err(Refused::Failed)?;
        let put = self.ring.put_lent(me, held.block, len);
        put.map_err(|refusal| self.refused(refusal, len))
    }

    /// Gets a message where it lies, or a copy of it, without waiting.
    fn try_get_ref(&self) -> Result<(Got<'_>, usize), Unmet> {
        let me = self.member.ready()?;
        let from = self.ring.head();
        match self.ring.take_from(me, from) {
            Ok(taken) => self.take_ref(me, taken, from),
            Err(refusal) => Err(self.unmet(refusal)),
        }
    }

    fn take_ref(&self, me: Owner, taken: Taken, from: u64) -> Result<(Got<'_>, usize), Unmet> {
        let claim = Claim {
            inner: self,
            me,
            process: Process::this(),
            taken,
        };
        let lent = self.ring.take_lent(me, &taken);
        let lent = lent.map_err(|damage| self.member.remember(damage))?;
        let Some((block, len)) = lent else {
            let mut bytes = Vec::new();
            let owned = self.ring.read(me, &taken, &mut bytes);
            let owned = owned.map_err(|damage| self.member.remember(damage))?;
            self.deliver(claim, from, owned)?;
            let len = bytes.len();
            return Ok((Got::Copied(bytes), len));
        };
        self.deliver(claim, from, None)?;
        Ok((Got::InPlace(self.hold(block)), len))
    }
}

impl Queue<Bytes> {
    /// Lends memory in the queue for a message of `len` bytes; blocks while all is lent. [`Loan::put`] puts it.
    ///
    /// Needs a queue that was made with [`loans`](super::QueueOptions::loans). A block is taken until the reference to its message is
    /// dropped, or the message got by other means.
    ///
    /// # Errors
    ///
    /// [`PutError`]; `TooLarge` for more than [`max_loan_bytes`](Self::max_loan_bytes).
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ipc-doc-queue-loan-{}", std::process::id()));
    /// # let namespace = ipc_core::Namespace::at(&dir)?;
    /// use ipc_core::{Bytes, Queue};
    ///
    /// let frames = Queue::<Bytes>::options(8)
    ///     .loans(4, 1 << 20) // four frames of up to 1 MiB, being written, in the queue or being read
    ///     .namespace(&namespace)
    ///     .create("frames")?;
    /// let mut frame = frames.loan(1 << 20)?;
    /// frame.write_at(4096, b"body");
    /// frame.put()?;
    ///
    /// let frame = frames.get_ref()?; // in any process
    /// let mut body = [0; 4];
    /// frame.read_at(4096, &mut body);
    /// assert_eq!((frame.len(), &body), (1 << 20, b"body"));
    /// # drop(frame);
    /// # frames.unlink()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(&self, len: usize) -> Result<Loan<'_, Self>, PutError<()>> {
        self.lend(len, Deadline::NEVER)
            .map_err(|refused| PutError::new((), refused))
    }

    /// As [`loan`](Self::loan), if there is memory now.
    ///
    /// # Errors
    ///
    /// [`TryPutError`].
    pub fn try_loan(&self, len: usize) -> Result<Loan<'_, Self>, TryPutError<()>> {
        let held = match self.inner.try_lend(len) {
            Err(Refused::GaveUp) if self.inner.member.found_dead() => self.inner.try_lend(len),
            lent => lent,
        };
        held.map(|held| Loan::new(Blank { queue: self, held }, len))
            .map_err(|refused| TryPutError::new((), refused))
    }

    /// As [`loan`](Self::loan); blocks for at most `timeout` while all is lent.
    ///
    /// # Errors
    ///
    /// [`PutTimeoutError`].
    pub fn loan_timeout(
        &self,
        len: usize,
        timeout: Duration,
    ) -> Result<Loan<'_, Self>, PutTimeoutError<()>> {
        self.lend(len, Deadline::after(timeout))
            .map_err(|refused| PutTimeoutError::new((), refused))
    }

    /// The longest [loan](Self::loan), in bytes; 0 if the queue has none.
    #[must_use]
    pub fn max_loan_bytes(&self) -> usize {
        self.inner.ring.longest_loan()
    }

    fn lend(&self, len: usize, deadline: Deadline) -> Result<Loan<'_, Self>, Refused> {
        let held = match self.inner.try_lend(len) {
            Err(Refused::GaveUp) => self.wait_to_lend(len, deadline)?,
            lent => lent?,
        };
        Ok(Loan::new(Blank { queue: self, held }, len))
    }

    #[cold]
    fn wait_to_lend(&self, len: usize, deadline: Deadline) -> Result<Held<'_>, Refused> {
        let ring = &self.inner.ring;
        let lend = |me| ring.lend(me, len).map(|block| self.inner.hold(block));
        let is_promising = || ring.loans.as_ref().is_some_and(Slab::may_have_free);
        self.inner
            .wait_for_room(lend, is_promising, len, self.wait, deadline)
    }

    /// Gets the oldest message where it lies; blocks while there is none.
    ///
    /// The message is taken when this returns, as by [`get`](Self::get): if this process dies then, it is gone, and its memory free. Nobody
    /// waits for who reads it, but for its memory. Only what was written in place is read in place; other messages are copied
    /// ([`MessageRef::is_in_place`]).
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn get_ref(&self) -> Result<MessageRef<'_, Self>, GetError> {
        self.ref_until(Deadline::NEVER).map_err(Unmet::not_at_all)
    }

    /// As [`get_ref`](Self::get_ref), if there is a message now.
    ///
    /// # Errors
    ///
    /// [`TryGetError`].
    pub fn try_get_ref(&self) -> Result<MessageRef<'_, Self>, TryGetError> {
        let got = self.inner.try_get_ref();
        let got = got.or_else(|unmet| self.inner.retry(unmet, || self.inner.try_get_ref()));
        got.map(|(got, len)| MessageRef::new(got, len))
            .map_err(Unmet::not_now)
    }

    /// As [`get_ref`](Self::get_ref); blocks for at most `timeout` while there is no message.
    ///
    /// # Errors
    ///
    /// [`GetTimeoutError`].
    pub fn get_ref_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MessageRef<'_, Self>, GetTimeoutError> {
        self.ref_until(Deadline::after(timeout))
            .map_err(Unmet::not_in_time)
    }

    fn ref_until(&self, deadline: Deadline) -> Result<MessageRef<'_, Self>, Unmet> {
        let (got, len) = match self.inner.try_get_ref() {
            Err(Unmet::GaveUp | Unmet::BeingPut) => {
                let again = || self.inner.try_get_ref();
                self.inner.wait_to_get(self.wait, deadline, again)?
            }
            got => got?,
        };
        Ok(MessageRef::new(got, len))
    }
}

impl<'a> Loan<'a, Queue<Bytes>> {
    /// Puts the message; blocks while every cell of the queue is taken.
    ///
    /// # Errors
    ///
    /// [`PutError`]; the loan is gone, and its memory free. [`Error::OfParent`](crate::Error::OfParent) in a forked child.
    pub fn put(self) -> Result<(), PutError<()>> {
        match self.put_until(Some(Deadline::NEVER)) {
            Ok(()) => Ok(self.leave()),
            Err(refused) => Err(PutError::new((), refused)),
        }
    }

    /// Puts the message if there is a cell now.
    ///
    /// # Errors
    ///
    /// [`TryPutError`], with the loan.
    pub fn try_put(self) -> Result<(), TryPutError<Self>> {
        match self.put_until(None) {
            Ok(()) => Ok(self.leave()),
            Err(refused) => Err(TryPutError::new(self, refused)),
        }
    }

    /// Puts the message; blocks for at most `timeout` while every cell is taken.
    ///
    /// # Errors
    ///
    /// [`PutTimeoutError`], with the loan.
    pub fn put_timeout(self, timeout: Duration) -> Result<(), PutTimeoutError<Self>> {
        match self.put_until(Some(Deadline::after(timeout))) {
            Ok(()) => Ok(self.leave()),
            Err(refused) => Err(PutTimeoutError::new(self, refused)),
        }
    }

    fn put_until(&self, deadline: Option<Deadline>) -> Result<(), Refused> {
        let (hold, len) = (self.hold(), self.len());
        let inner = hold.held.inner;
        match (inner.try_put_lent(&hold.held, len), deadline) {
            (Err(Refused::GaveUp), Some(deadline)) => {
                let put = |me| inner.ring.put_lent(me, hold.held.block, len);
                let is_promising = || inner.ring.may_have_room();
                inner.wait_for_room(put, is_promising, len, hold.queue.wait, deadline)
            }
            (Err(Refused::GaveUp), None) if inner.member.found_dead() => {
                inner.try_put_lent(&hold.held, len)
            }
            (put, _) => put,
        }
    }

    /// The block is the queue's now.
    fn leave(self) {
        std::mem::forget(self.into_hold());
    }
}
