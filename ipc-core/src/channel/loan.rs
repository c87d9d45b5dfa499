//! Messages that are written and read where they lie, without a copy: the one face of it that all channels share.
//!
//! A channel says in `WriteInPlace` and `ReadInPlace` what it keeps of a loan and of a reference; what becomes of them at the end is the channel's affair.
//!
//! # What is trusted
//!
//! The memory is shared: any process that can map the object can write to any byte of it at any time. So there is no plain reference
//! into it but by an `unsafe` call, whose caller vouches for the others. All else copies by instructions that the compiler makes no
//! assumptions about: a peer that lies can make the bytes wrong, and nothing worse.

#![expect(
    unsafe_code,
    reason = "gives out the memory to who vouches for all who can write to it"
)]

use core::{fmt, slice};
use std::io;

use crate::{error::Result, os::copy, prim::AtomicU64};

/// An end of a channel at which messages are written in place.
pub(crate) trait WriteInPlace {
    /// What a loan keeps. Dropped, it gives the memory back.
    type Writing<'a>: Writing;
}

/// An end of a channel at which messages are read in place.
pub(crate) trait ReadInPlace {
    /// What a reference to a message keeps. Dropped, it gives the memory back.
    type Reading<'a>: Reading;
}

/// Memory that is lent to be written.
pub(crate) trait Writing {
    /// The words that the message's bytes begin in, the first of them with the first byte. At least as many as the bytes need.
    fn words(&self) -> &[AtomicU64];
}

/// A message that is lent to be read.
pub(crate) trait Reading {
    fn bytes(&self) -> Lent<'_>;

    /// Gives the memory back, and says whether all was well.
    fn done(self) -> Result<()>;
}

/// Where a message's bytes are.
#[derive(Debug)]
pub(crate) enum Lent<'a> {
    /// In the channel, from the first byte of these words on.
    InPlace(&'a [AtomicU64]),
    Copied(&'a [u8]),
}

/// Memory in a channel `C` in which a message is written where its receiver will read it: from
/// [`Sender::loan`](crate::Sender::loan), [`Queue::loan`](crate::Queue::loan) and [`Broadcast::loan`](crate::Broadcast::loan).
///
/// What it costs does not depend on its length: nothing is cleared or copied. The bytes are at first what older messages left there,
/// and **what is not written over is sent**. They begin on a cache line (64 bytes); in a queue and a broadcast, on a page.
///
/// # Writing
///
/// [`write_at`](Self::write_at) and [`Write`](io::Write) copy, and trust nobody. [`as_mut_slice`](Self::as_mut_slice) is the memory
/// itself: `unsafe`, because it trusts every process that can map the object.
///
/// # End
///
/// `send`, `put` or `publish` makes the message exist, at once and whole. Dropped before, the loan gives its memory back and nothing was sent; so
/// does the death of its process, once it is found. A forked child's copy of a loan is its parent's: it sends nothing, gives nothing
/// back, and must not be written to.
#[expect(private_bounds, reason = "nobody else makes channels")]
pub struct Loan<'a, C: WriteInPlace> {
    hold: C::Writing<'a>,
    len: usize,
    /// Where [`io::Write`] goes on.
    at: usize,
}

#[expect(private_bounds, reason = "as above")]
impl<'a, C: WriteInPlace> Loan<'a, C> {
    #[inline]
    pub(in crate::channel) fn new(hold: C::Writing<'a>, len: usize) -> Self {
        Self { hold, len, at: 0 }
    }

    pub(in crate::channel) fn hold(&self) -> &C::Writing<'a> {
        &self.hold
    }

    #[inline]
    pub(in crate::channel) fn into_hold(self) -> C::Writing<'a> {
        self.hold
    }

    /// Bytes of the message.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes the message shorter: its first `len` bytes stay. Does nothing if it is no longer than that.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.at = self.at.min(self.len);
    }

    /// Copies `bytes` into the message, from byte `offset` on.
    ///
    /// # Panics
    ///
    /// If they go beyond the end of the message.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let is_within = offset <= self.len && bytes.len() <= self.len - offset;
        assert!(
            is_within,
            "{} bytes at {offset} do not fit into a loan of {}",
            bytes.len(),
            self.len
        );
        copy::into_shared_at(self.hold.words(), offset, bytes);
    }

    /// The address of the first byte, for code that writes to the memory by itself. Whoever does so is bound as by
    /// [`as_mut_slice`](Self::as_mut_slice).
    #[inline]
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.hold.words().as_ptr().cast_mut().cast()
    }

    /// The message's bytes where they lie.
    ///
    /// # Safety
    ///
    /// No process that can map the object writes to these bytes as long as the slice lives. This library's code never does, in any process;
    /// but a broken or hostile one can.
    #[inline]
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let (start, len) = (self.as_mut_ptr(), self.len);
        // SAFETY: so many bytes lie there, by the contract of `words`, always initialised and for as long as the loan lives; the caller
        // vouches that nobody else writes to them, and nobody else is to read them before they are sent.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }
}

/// Writes one piece behind the other, up to the end of the message.
impl<C: WriteInPlace> io::Write for Loan<'_, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.len - self.at);
        self.write_at(self.at, &bytes[..length]);
        self.at += length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<C: WriteInPlace> fmt::Debug for Loan<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A message of a channel `C` that is read where it lies: from [`Receiver::recv_ref`](crate::Receiver::recv_ref),
/// [`Queue::get_ref`](crate::Queue::get_ref) and [`Subscriber::recv_ref`](crate::Subscriber::recv_ref), whatever way it was sent.
///
/// # Reading
///
/// [`read_at`](Self::read_at), [`Read`](io::Read) and [`to_vec`](Self::to_vec) copy, and trust nobody. [`as_slice`](Self::as_slice) is the
/// memory itself: `unsafe`, because it trusts every process that can map the object. A message that does not lie in one piece was copied to
/// private memory ([`is_in_place`](Self::is_in_place)); those of loans always do (but are copied by subscribers of a lossy
/// broadcast).
///
/// # End
///
/// Dropped, or [`done`](Self::done), it gives the memory back. What its process's death does, and whether the message was taken before, is
/// the channel's affair: see [`Receiver::recv_ref`](crate::Receiver::recv_ref), [`Queue::get_ref`](crate::Queue::get_ref) and
/// [`Subscriber::recv_ref`](crate::Subscriber::recv_ref). A forked
/// child's copy gives nothing back.
#[expect(private_bounds, reason = "nobody else makes channels")]
pub struct MessageRef<'a, C: ReadInPlace> {
    hold: C::Reading<'a>,
    len: usize,
    /// Where [`io::Read`] goes on.
    at: usize,
}

#[expect(private_bounds, reason = "as above")]
impl<'a, C: ReadInPlace> MessageRef<'a, C> {
    #[inline]
    pub(in crate::channel) fn new(hold: C::Reading<'a>, len: usize) -> Self {
        Self { hold, len, at: 0 }
    }

    /// Bytes of the message.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bytes are those in the channel; else they are a private copy.
    #[inline]
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        matches!(self.hold.bytes(), Lent::InPlace(_))
    }

    /// Fills `buffer` from byte `offset` of the message on.
    ///
    /// # Panics
    ///
    /// If it goes beyond the end of the message.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) {
        let is_within = offset <= self.len && buffer.len() <= self.len - offset;
        assert!(
            is_within,
            "no {} bytes at {offset} of a message of {}",
            buffer.len(),
            self.len
        );
        match self.hold.bytes() {
            Lent::InPlace(words) => {
                copy::out_to_bytes_at(words, offset, buffer);
            }
            Lent::Copied(bytes) => buffer.copy_from_slice(&bytes[offset..][..buffer.len()]),
        }
    }

    /// A copy of the message.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        match self.hold.bytes() {
            Lent::InPlace(words) => {
                let mut bytes = Vec::new();
                copy::out_of_shared(words, self.len, &mut bytes);
                bytes
            }
            Lent::Copied(bytes) => bytes.to_vec(),
        }
    }

    /// The address of the first byte, for code that reads the memory by itself. Whoever does so is bound as by
    /// [`as_slice`](Self::as_slice).
    #[inline]
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        match self.hold.bytes() {
            Lent::InPlace(words) => words.as_ptr().cast(),
            Lent::Copied(bytes) => bytes.as_ptr(),
        }
    }

    /// The message's bytes where they lie.
    ///
    /// # Safety
    ///
    /// No process that can map the object writes to these bytes as long as the slice lives. This library's code never does, in any process;
    /// but a broken or hostile one can.
    #[inline]
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes lie there, by the contract of `bytes`, always initialised and for as long as the reference lives; the
        // caller vouches that nobody writes to them.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// Gives the memory back, as dropping it does, and says whether all was well.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt): a peer did what no correct process does; what was read is not to be relied on.
    /// [`Error::OfParent`](crate::Error::OfParent) in a forked child.
    #[inline]
    pub fn done(self) -> Result<()> {
        self.hold.done()
    }
}

/// Reads one piece behind the other, up to the end of the message.
impl<C: ReadInPlace> io::Read for MessageRef<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.len - self.at);
        self.read_at(self.at, &mut buffer[..length]);
        self.at += length;
        Ok(length)
    }
}

impl<C: ReadInPlace> fmt::Debug for MessageRef<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("len", &self.len)
            .field("is_in_place", &self.is_in_place())
            .finish_non_exhaustive()
    }
}
