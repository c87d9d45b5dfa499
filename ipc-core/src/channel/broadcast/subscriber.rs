//! A subscriber, as users have it.

#![expect(unsafe_code, reason = "one uninitialised value on the fast path")]

use core::{fmt, marker::PhantomData, mem::MaybeUninit};
use std::{sync::Arc, time::Duration};

use super::{
    errors::{SubscriberError, SubscriberTimeoutError, TrySubscriberError, Unmet},
    inner::Inner,
    read::Reader,
};
use crate::{
    channel::target::Target,
    message::{Bytes, Message},
    object::{
        source::Watched,
        wait::{Deadline, WaitStrategy},
    },
};

/// Receives what is published on a [`Broadcast`](crate::Broadcast), from [`subscribe`](crate::Broadcast::subscribe) on.
///
/// One thread uses it at a time (`&mut self`); a process may have several. A [`WaitSet`](crate::WaitSet) or a
/// [`Pollable`](crate::Pollable) waits for it beside other things, and sees how far it has come. Dropped, it ends the subscription. A message is received once
/// by each subscriber: one that is killed has received it or has not, and nobody receives it in its place.
///
/// A forked child's copy of a subscriber of a *lossless* broadcast is not its own: its calls fail with
/// [`Forked`](SubscriberError::Forked), and dropping it ends nothing. Of a lossy one it goes on on its own.
pub struct Subscriber<T> {
    /// Before `inner`, so that the subscription ends while its process is still attached.
    pub(super) reader: Reader,
    pub(super) inner: Arc<Inner>,
    pub(super) wait: WaitStrategy,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Subscriber<T> {
    /// Receives the next message; blocks while there is none.
    ///
    /// # Errors
    ///
    /// [`SubscriberError::Closed`] once the broadcast is closed and everything was received; [`SubscriberError::Lagged`] in a lossy one.
    #[inline]
    pub fn recv(&mut self) -> Result<T, SubscriberError> {
        let received = self.receive(Some(Deadline::NEVER));
        received.map_err(without_deadline)
    }

    /// Receives the next message if there is one now. Never says Empty after a publish has returned whose message was not received.
    ///
    /// # Errors
    ///
    /// [`TrySubscriberError`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TrySubscriberError> {
        self.receive(None).map_err(|unmet| {
            let error = unmet.into_error();
            error.map_or(TrySubscriberError::Empty, TrySubscriberError::from)
        })
    }

    /// Receives the next message; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`SubscriberTimeoutError`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, SubscriberTimeoutError> {
        let received = self.receive(Some(Deadline::after(timeout)));
        received.map_err(|unmet| {
            let error = unmet.into_error();
            error.map_or(SubscriberTimeoutError::Timeout, Into::into)
        })
    }

    #[inline]
    fn receive(&mut self, deadline: Option<Deadline>) -> Result<T, Unmet> {
        // Received where it is returned from: a value that comes through several layers is copied by each.
        let mut value = MaybeUninit::uninit();
        match self.inner.read(&mut self.reader, &mut value) {
            Ok(()) => {}
            Err(Unmet::Error(e)) => return Err(Unmet::Error(e)),
            Err(_) => self.receive_slowly(deadline, &mut value)?,
        }
        // SAFETY: both leave a value there unless they fail.
        Ok(unsafe { value.assume_init() })
    }

    #[cold]
    #[inline(never)]
    fn receive_slowly(
        &mut self,
        deadline: Option<Deadline>,
        to: &mut impl Target,
    ) -> Result<(), Unmet> {
        let Some(deadline) = deadline else {
            // Perhaps a dead publisher holds something back.
            self.inner.member.found_dead();
            return self.inner.read(&mut self.reader, to);
        };
        self.inner
            .wait(self.wait, deadline, &mut self.reader, |inner, reader| {
                inner.read(reader, to)
            })
    }

    /// The messages, as [`recv`](Self::recv) receives them, until the broadcast is closed and everything was received.
    pub fn iter(&mut self) -> SubscriberIter<'_, T> {
        SubscriberIter(self)
    }
}

impl Subscriber<Bytes> {
    /// As [`recv`](Self::recv), into the caller's buffer, whose old contents go, also on an error. Returns the message's length.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_into(&mut self, buffer: &mut Vec<u8>) -> Result<usize, SubscriberError> {
        match self.inner.read(&mut self.reader, buffer) {
            Ok(()) => {}
            Err(Unmet::Error(e)) => return Err(*e),
            Err(_) => self
                .receive_slowly(Some(Deadline::NEVER), buffer)
                .map_err(without_deadline)?,
        }
        Ok(buffer.len())
    }
}

pub(super) fn without_deadline(unmet: Unmet) -> SubscriberError {
    match unmet.into_error() {
        Some(e) => e,
        None => unreachable!("a wait without a deadline does not give up"),
    }
}

impl<T> Subscriber<T> {
    pub(super) fn new(inner: Arc<Inner>, reader: Reader, wait: WaitStrategy) -> Self {
        Self {
            reader,
            inner,
            wait,
            _message: PhantomData,
        }
    }

    pub(crate) fn watched(&self) -> Watched {
        self.inner.watched(&self.reader)
    }

    /// How many messages it has not received, at the most: those that came to nothing count, those that it has missed do not.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.reader.behind()
    }

    /// What blocking calls do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.wait = strategy;
    }
}

/// The messages of a [`Subscriber`] until the broadcast is closed; from [`Subscriber::iter`].
#[derive(Debug)]
pub struct SubscriberIter<'a, T>(&'a mut Subscriber<T>);

impl<T: Message> Iterator for SubscriberIter<'_, T> {
    type Item = Result<T, SubscriberError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.recv() {
            Err(SubscriberError::Closed) => None,
            other => Some(other),
        }
    }
}

impl<T> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("object", &self.inner.member.object.label())
            .field("behind", &self.behind())
            .finish_non_exhaustive()
    }
}
