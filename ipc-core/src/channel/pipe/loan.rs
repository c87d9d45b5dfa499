//! Messages of a pipe that are written and read where they lie.
//!
//! A loan is room behind the frames that are published, which is the writer's anyway (I2): whatever becomes of it before it is sent,
//! there is nothing to give back. A reference is the oldest frame, which is the reader's until `head` moves on.

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use std::time::Duration;

use super::{
    connection::Connection,
    end::End,
    errors::{
        RecvError, RecvTimeoutError, Refused, SendError, SendTimeoutError, TryRecvError,
        TrySendError, Unmet,
    },
    reader::{Frame, Reader},
    receiver::Receiver,
    receiving::{unmet, without_deadline},
    sender::{self, Sender},
    writer::{Piece, SendRefusal},
};
use crate::{
    channel::loan::{Lent, Loan, MessageRef, ReadInPlace, Reading, WriteInPlace, Writing},
    error::{Error, Result},
    message::Bytes,
    object::wait::Deadline,
    prim::AtomicU64,
};

/// What a loan of a pipe keeps.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    sender: &'a mut Sender<Bytes>,
    piece: Piece,
}

impl Writing for Room<'_> {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.sender.writer.piece(&self.piece)
    }
}

/// What a reference to a message in a pipe keeps.
#[derive(Debug)]
pub(crate) struct Oldest<'a> {
    receiver: &'a mut Receiver<Bytes>,
    found: Found,
}

/// A message that was found, and a copy of it unless it lies in one piece.
#[derive(Debug)]
struct Found {
    frame: Frame,
    copy: Option<Box<[u8]>>,
}

impl Found {
    #[inline]
    fn len(&self) -> usize {
        self.copy
            .as_ref()
            .map_or(self.frame.length, |copy| copy.len())
    }
}

impl Reading for Oldest<'_> {
    #[inline]
    fn bytes(&self) -> Lent<'_> {
        match &self.found.copy {
            Some(copy) => Lent::Copied(copy),
            // Found there when the reference was made, and the geometry is private: there it is.
            None => Lent::InPlace(
                self.receiver
                    .reader
                    .in_one_piece(&self.found.frame)
                    .unwrap_or_default(),
            ),
        }
    }

    #[inline]
    fn done(self) -> Result<()> {
        let member = &self.receiver.end.member;
        if !self.receiver.end.is_ready() {
            return Err(of_parent(&self.receiver.end));
        }
        member.check_whole().map_err(|e| *e)
    }
}

impl Drop for Oldest<'_> {
    #[inline]
    fn drop(&mut self) {
        // A forked child's copy is its parent's.
        if self.receiver.end.is_ready() {
            self.receiver.reader.give_back_in_place(&self.found.frame);
        }
    }
}

fn of_parent(end: &End) -> Error {
    Error::OfParent {
        object: end.member.object.label().to_owned(),
    }
}

impl WriteInPlace for Sender<Bytes> {
    type Writing<'a> = Room<'a>;
}

impl ReadInPlace for Receiver<Bytes> {
    type Reading<'a> = Oldest<'a>;
}

impl Sender<Bytes> {
    /// Lends memory in the pipe for a message of `len` bytes; blocks while there is no room. [`Loan::send`] sends it, and never waits.
    ///
    /// The message lies in one piece, so it may be at most [half the capacity](Self::max_loan_bytes), and may have to wait for more room
    /// than its bytes: for all that is left before the end of the ring. It costs 8 to 64 bytes beside its own.
    ///
    /// # Errors
    ///
    /// [`SendError`]; `TooLarge` for more than half the capacity.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ipc-doc-pipe-loan-{}", std::process::id()));
    /// # let namespace = ipc_core::Namespace::at(&dir)?;
    /// use ipc_core::{Bytes, Pipe};
    ///
    /// let (mut receiver, mut sender) = Pipe::<Bytes>::options()
    ///     .capacity(2 << 20) // for loans of up to 1 MiB
    ///     .namespace(&namespace)
    ///     .simplex()?;
    /// let mut frame = sender.loan(1 << 20)?;
    /// frame.write_at(0, b"head");
    /// frame.write_at(4096, b"body");
    /// frame.truncate(8192);
    /// frame.send()?;
    ///
    /// let frame = receiver.recv_ref()?;
    /// let mut body = [0; 4];
    /// frame.read_at(4096, &mut body);
    /// assert_eq!((frame.len(), &body), (8192, b"body"));
    /// # drop(frame);
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn loan(&mut self, len: usize) -> Result<Loan<'_, Self>, SendError<()>> {
        self.lend(len, Some(Deadline::NEVER))
            .map_err(|refused| SendError::new((), refused))
    }

    /// As [`loan`](Self::loan), if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError`].
    pub fn try_loan(&mut self, len: usize) -> Result<Loan<'_, Self>, TrySendError<()>> {
        self.lend(len, None)
            .map_err(|refused| TrySendError::new((), refused))
    }

    /// As [`loan`](Self::loan); blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`].
    pub fn loan_timeout(
        &mut self,
        len: usize,
        timeout: Duration,
    ) -> Result<Loan<'_, Self>, SendTimeoutError<()>> {
        self.lend(len, Some(Deadline::after(timeout)))
            .map_err(|refused| SendTimeoutError::new((), refused))
    }

    /// The longest [loan](Self::loan), in bytes: half the capacity.
    #[must_use]
    pub fn max_loan_bytes(&self) -> usize {
        self.end.core().geometry.most_in_one_piece()
    }

    #[inline]
    fn lend(&mut self, len: usize, deadline: Option<Deadline>) -> Result<Loan<'_, Self>, Refused> {
        let reserved = if self.end.is_ready() {
            self.writer.reserve_piece(len)
        } else {
            Err(SendRefusal::Full)
        };
        let piece = match reserved {
            Ok(piece) => piece,
            Err(refusal) => self.lend_slowly(len, refusal, deadline)?,
        };
        let sender = self;
        Ok(Loan::new(Room { sender, piece }, len))
    }

    #[cold]
    #[inline(never)]
    fn lend_slowly(
        &mut self,
        len: usize,
        refusal: SendRefusal,
        deadline: Option<Deadline>,
    ) -> Result<Piece, Refused> {
        self.end.regain()?;
        let mut reserved = match refusal {
            SendRefusal::Full => self.writer.reserve_piece(len),
            refusal => Err(refusal),
        };
        if reserved == Err(SendRefusal::Full) {
            reserved = match deadline {
                None if self.end.member.found_dead() => self.writer.reserve_piece(len),
                None => reserved,
                Some(deadline) => self.wait_for_piece(len, deadline)?,
            };
        }
        reserved.map_err(|refusal| self.refuse_piece(refusal, len))
    }

    fn wait_for_piece(
        &mut self,
        len: usize,
        deadline: Deadline,
    ) -> Result<Result<Piece, SendRefusal>, Refused> {
        let (end, writer) = (&self.end, &mut self.writer);
        match writer.piece_frame(len) {
            Ok(frame) => {
                let room = sender::wait_for_room(end, writer, frame, deadline)?;
                Ok(room.and_then(|()| writer.reserve_piece(len)))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn refuse_piece(&self, refusal: SendRefusal, len: usize) -> Refused {
        match refusal {
            SendRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.max_loan_bytes(),
            },
            refusal => self.refused(refusal, len),
        }
    }
}

impl Loan<'_, Sender<Bytes>> {
    /// Sends the message. Never waits: the room is taken already.
    ///
    /// # Errors
    ///
    /// [`SendError`]: `BrokenPipe` once the receiving end is closed or its process dead; `InUse` in a forked child.
    #[inline]
    pub fn send(self) -> Result<(), SendError<()>> {
        let len = self.len();
        let Room { sender, piece } = self.into_hold();
        sender
            .send_piece(&piece, len)
            .map_err(|refused| SendError::new((), refused))
    }
}

impl Sender<Bytes> {
    #[inline]
    fn send_piece(&mut self, piece: &Piece, len: usize) -> Result<(), Refused> {
        if !self.end.is_ready() {
            self.end.regain()?;
        }
        let peer = self.writer.check_peer();
        peer.map_err(|refusal| self.refused(refusal, len))?;
        self.writer.fill_piece(piece, len);
        self.writer.publish();
        self.end.member.check_whole().map_err(Refused::Failed)
    }
}

impl Receiver<Bytes> {
    /// Receives the next message where it lies; blocks while there is none.
    ///
    /// The message is received, and its room given back, when the reference is dropped. If this process dies before, the next receiver gets
    /// the message; so does this one if the reference is forgotten ([`std::mem::forget`]).
    ///
    /// A loan is always read in place. A message that was sent otherwise may go round the end of the ring, and what is left of one that was
    /// [read](std::io::Read) in part does not begin where it should: these are copied ([`MessageRef::is_in_place`]).
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    #[inline]
    pub fn recv_ref(&mut self) -> Result<MessageRef<'_, Self>, RecvError> {
        let found = loop {
            match find(&self.end, &mut self.reader) {
                Ok(found) => break found,
                // Here, as in `recv`.
                Err(Unmet::GaveUp) if self.end.spin(|| self.reader.may_have_message()) => {
                    self.reader.fetch_in_place();
                }
                Err(unmet) => break self.find_slowly(unmet)?,
            }
        };
        Ok(self.refer_to(found))
    }

    #[cold]
    #[inline(never)]
    fn find_slowly(&mut self, unmet: Unmet) -> Result<Found, RecvError> {
        self.wait_until(unmet, Some(Deadline::NEVER), find)
            .map_err(without_deadline)
    }

    #[inline]
    fn refer_to(&mut self, found: Found) -> MessageRef<'_, Self> {
        let (len, receiver) = (found.len(), self);
        MessageRef::new(Oldest { receiver, found }, len)
    }

    /// As [`recv_ref`](Self::recv_ref), if there is a message now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    pub fn try_recv_ref(&mut self) -> Result<MessageRef<'_, Self>, TryRecvError> {
        self.find_ref(None).map_err(|unmet| {
            unmet
                .into_error()
                .map_or(TryRecvError::Empty, TryRecvError::from)
        })
    }

    /// As [`recv_ref`](Self::recv_ref); blocks for at most `timeout` while there is no message.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    pub fn recv_ref_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<MessageRef<'_, Self>, RecvTimeoutError> {
        let deadline = Deadline::after(timeout);
        self.find_ref(Some(deadline)).map_err(|unmet| {
            unmet
                .into_error()
                .map_or(RecvTimeoutError::Timeout, RecvTimeoutError::from)
        })
    }

    #[inline]
    fn find_ref(&mut self, deadline: Option<Deadline>) -> Result<MessageRef<'_, Self>, Unmet> {
        let found = match find(&self.end, &mut self.reader) {
            Ok(found) => found,
            Err(unmet) => self.wait_until(unmet, deadline, find)?,
        };
        Ok(self.refer_to(found))
    }
}

/// The oldest message, which stays where it is.
#[inline]
fn find(end: &End, reader: &mut Reader) -> Result<Found, Unmet> {
    if !end.is_ready() {
        return Err(Unmet::NotReady);
    }
    let frame = reader.next_in_place();
    let frame = frame.map_err(|refusal| unmet(end, refusal))?;
    let copy = match reader.in_one_piece(&frame) {
        Some(_) => None,
        None => Some(gather(end, reader, frame)?),
    };
    end.member.check_whole()?;
    Ok(Found { frame, copy })
}

#[cold]
#[inline(never)]
fn gather(end: &End, reader: &Reader, frame: Frame) -> Result<Box<[u8]>, Unmet> {
    let gathered = reader.gather(frame).map_err(|damage| end.failed(damage))?;
    Ok(gathered.into())
}

impl Connection<Bytes> {
    /// Lends memory for a message of `len` bytes. See [`Sender::loan`].
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn loan(&mut self, len: usize) -> Result<Loan<'_, Sender<Bytes>>, SendError<()>> {
        self.sender.loan(len)
    }

    /// Receives the next message where it lies. See [`Receiver::recv_ref`]. The other end may be sent to meanwhile once the connection is
    /// [split](Self::split).
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    pub fn recv_ref(&mut self) -> Result<MessageRef<'_, Receiver<Bytes>>, RecvError> {
        self.receiver.recv_ref()
    }
}
