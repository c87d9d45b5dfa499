//! The receiving end, as users have it.

#![expect(unsafe_code, reason = "one uninitialised value on the fast path")]

use core::{fmt, marker::PhantomData, mem::MaybeUninit};
use std::{sync::Arc, time::Duration};

use super::{
    core::PipeCore,
    end::{End, EndTicket, Place},
    errors::{RecvError, RecvTimeoutError, TakeError, TryRecvError, Unmet},
    lane::Side,
    reader::{Reader, RecvRefusal},
    receiving::{next, receive, receive_bytes, receive_many, unmet, without_deadline},
};
use crate::{
    error::Result,
    message::{Bytes, Message},
    object::{
        lifetime::Object,
        wait::{Deadline, WaitStrategy},
    },
};

/// The receiving end of a [`simplex`](crate::simplex) pipe, or one half of a [`Connection`](crate::Connection).
///
/// One process has it at a time, and one thread uses it at a time (`&mut self`). It is itself a message: serialised and
/// deserialised, it belongs to the process that has received it, with what was not received yet. Dropped, it closes; sends fail then with
/// `BrokenPipe`.
///
/// A forked child's copy is not its own: its calls fail with `InUse`, and dropping it closes nothing. To hand an end to a
/// forked child, serialise it before the fork and deserialise it in the child.
pub struct Receiver<T> {
    pub(super) end: End,
    pub(super) reader: Reader,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Receiver<T> {
    /// Receives the next message; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError::EndOfFile`] once the sending end is closed, or its process dead, and every message was received.
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        // Received where it is returned from: a value that comes through several layers is copied by each.
        let mut value = MaybeUninit::uninit();
        loop {
            match receive(&self.end, &mut self.reader, &mut value) {
                // SAFETY: `receive` leaves a value there unless it fails.
                Ok(()) => return Ok(unsafe { value.assume_init() }),
                // Here, so that what was waited for has a short way to the caller.
                Err(Unmet::GaveUp) if self.end.spin(|| self.reader.may_have_message()) => {}
                Err(unmet) => {
                    return self
                        .receive_slowly(unmet, Some(Deadline::NEVER))
                        .map_err(without_deadline);
                }
            }
        }
    }

    /// Receives the next message if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut value = MaybeUninit::uninit();
        match receive(&self.end, &mut self.reader, &mut value) {
            // SAFETY: `receive` leaves a value there unless it fails.
            Ok(()) => Ok(unsafe { value.assume_init() }),
            Err(unmet) => self.receive_slowly(unmet, None).map_err(|unmet| {
                unmet
                    .into_error()
                    .map_or(TryRecvError::Empty, TryRecvError::from)
            }),
        }
    }

    /// Receives the next message; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let deadline = Some(Deadline::after(timeout));
        let received = self.receive_slowly(Unmet::NotReady, deadline);
        received.map_err(|unmet| {
            unmet
                .into_error()
                .map_or(RecvTimeoutError::Timeout, RecvTimeoutError::from)
        })
    }

    #[cold]
    #[inline(never)]
    fn receive_slowly(&mut self, unmet: Unmet, deadline: Option<Deadline>) -> Result<T, Unmet> {
        let mut value = MaybeUninit::uninit();
        self.wait_until(unmet, deadline, |end, reader| {
            receive(end, reader, &mut value)
        })?;
        // SAFETY: `receive` leaves a value there unless it fails.
        Ok(unsafe { value.assume_init() })
    }

    /// Waits until a receive would not wait, for at most `timeout`. Whether it would not: there is a message, or the end of file.
    ///
    /// # Errors
    ///
    /// [`RecvError`], but no end of file.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, RecvError> {
        let deadline = (!timeout.is_zero()).then(|| Deadline::after(timeout));
        let polled = self.wait_until(Unmet::NotReady, deadline, |end, reader| {
            match next::<T>(reader, reader.head()) {
                Ok(_) | Err(RecvRefusal::EndOfFile) => Ok(()),
                Err(refusal) => Err(unmet(end, refusal)),
            }
        });
        match polled.map_err(Unmet::into_error) {
            Ok(()) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(e)) => Err(e),
        }
    }

    /// Receives up to `max` messages; blocks while there is none. Returns at least one, unless `max` is 0.
    ///
    /// The room of all of them is given back together: if this process is killed before, the next receiver gets them.
    ///
    /// # Errors
    ///
    /// [`RecvError`]. A message that cannot be decoded is an error only if it comes first.
    pub fn recv_many(&mut self, max: usize) -> Result<Vec<T>, RecvError> {
        let mut values = Vec::new();
        self.recv_many_into(&mut values, max).map(|_| values)
    }

    /// As [`recv_many`](Self::recv_many), behind what is in `values`. Returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`recv_many`](Self::recv_many).
    pub fn recv_many_into(&mut self, values: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        receive_many(&self.end, &mut self.reader, values, max)
            .or_else(|unmet| {
                self.wait_until(unmet, Some(Deadline::NEVER), |end, reader| {
                    receive_many(end, reader, values, max)
                })
            })
            .map_err(without_deadline)
    }

    /// The messages, as [`recv`](Self::recv) receives them, until the end of file.
    pub fn iter(&mut self) -> Messages<'_, T> {
        Messages(self)
    }
}

impl Receiver<Bytes> {
    /// As [`recv`](Self::recv), into the caller's buffer. Returns the message's length.
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLong`] if the buffer is shorter; the message stays, and [`recv`](Self::recv) gets it.
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        receive_bytes(&self.end, &mut self.reader, buffer)
            .or_else(|unmet| {
                self.wait_until(unmet, Some(Deadline::NEVER), |end, reader| {
                    receive_bytes(end, reader, buffer)
                })
            })
            .map_err(without_deadline)
    }
}

impl<T> Receiver<T> {
    pub(super) fn take(
        object: Arc<Object>,
        core: &Arc<PipeCore>,
        lane: usize,
        turn: Option<u64>,
        strategy: WaitStrategy,
    ) -> Result<Self, TakeError> {
        let side = Side::Reader;
        let end = End::take(object, core, Place { lane, side }, turn, strategy)?;
        let reader = Reader::new(&core.lanes[lane], end.must_fence());
        let reader = reader.map_err(|damage| *end.failed(damage))?;
        Ok(Self {
            end,
            reader,
            _message: PhantomData,
        })
    }

    /// Calls `attempt`, waiting in between, until it is met or fails, or the deadline has passed; where there is none, tries again
    /// if somebody dead was found. `unmet` is how the caller has fared so far.
    #[cold]
    pub(super) fn wait_until<R>(
        &mut self,
        unmet: Unmet,
        deadline: Option<Deadline>,
        mut attempt: impl FnMut(&End, &mut Reader) -> Result<R, Unmet>,
    ) -> Result<R, Unmet> {
        if let Unmet::Error(_) = unmet {
            return Err(unmet);
        }
        self.end.regain()?;
        let (end, reader) = (&self.end, &mut self.reader);
        let mut met = match unmet {
            Unmet::NotReady => attempt(end, reader),
            unmet => Err(unmet),
        };
        if let Err(Unmet::GaveUp) = met {
            met = match deadline {
                None if end.member.found_dead() => attempt(end, reader),
                None => Err(Unmet::GaveUp),
                Some(deadline) => {
                    let (lane, from) = (end.lane(), reader.head());
                    let attempt = || match attempt(end, reader) {
                        Err(Unmet::GaveUp) => None,
                        met => Some(met),
                    };
                    let waited = end.wait(deadline, attempt, || lane.may_have_message(from))?;
                    waited.unwrap_or(Err(Unmet::GaveUp))
                }
            };
        }
        if let Err(Unmet::NotReady) = met {
            self.end.regain()?; // says whose end it is
        }
        met
    }

    /// Closes the end, as dropping it does. Sends fail from now on.
    pub fn close(self) {
        drop(self);
    }

    /// The process that has the sending end, in its own pid namespace; `None` if it is closed, or nobody has come.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.end.peer()
    }

    /// Closes the sending end unless a process has it: nobody came, or it is on its way to a process that will not arrive. Returns whether
    /// this call did.
    ///
    /// An end on its way belongs to who sent it. If that is this process, nobody else can know that the receiver died before it
    /// came: without this, receives would wait for it.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the pipe cannot be used any more.
    pub fn close_untaken_peer(&self) -> Result<bool> {
        self.end.close_untaken_peer()
    }

    /// What blocking calls do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.end.strategy = strategy;
    }

    pub(super) fn ticket(&self) -> Result<EndTicket, &'static str> {
        self.end.offer()
    }
}

/// The messages of a [`Receiver`] until the end of file; from [`Receiver::iter`].
#[derive(Debug)]
pub struct Messages<'a, T>(&'a mut Receiver<T>);

impl<T: Message> Iterator for Messages<'_, T> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.recv() {
            Err(RecvError::EndOfFile) => None,
            other => Some(other),
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("object", &self.end.member.object.label())
            .finish_non_exhaustive()
    }
}
