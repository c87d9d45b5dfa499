//! The subscriber's side.

use std::time::Duration;

use super::{
    super::{
        errors::{SubscriberError, SubscriberTimeoutError, TrySubscriberError, Unmet},
        inner::Inner,
        read::{Found, Reader},
        subscriber::{Subscriber, without_deadline},
    },
    of_parent,
};
use crate::{
    channel::loan::{Lent, MessageRef, ReadInPlace, Reading},
    error::{Damage, Result},
    message::Bytes,
    object::wait::Deadline,
};

/// The next message of a subscriber. Dropped, it is received.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    subscriber: &'a mut Subscriber<Bytes>,
    found: Found,
}

impl Reading for Next<'_> {
    fn bytes(&self) -> Lent<'_> {
        match &self.found {
            Found::InPlace { block, .. } => Lent::InPlace(self.subscriber.reader.words_of(*block)),
            Found::Copied(bytes) => Lent::Copied(bytes),
        }
    }

    fn done(self) -> Result<()> {
        let (reader, inner) = (&self.subscriber.reader, &self.subscriber.inner);
        let Found::InPlace { seen, .. } = self.found else {
            return Ok(());
        };
        if !reader.is_ours() {
            return Err(of_parent(inner));
        }
        if !reader.is_still(seen) {
            let damage = Damage("a message was overwritten while it was read in place");
            return Err(*inner.member.remember(damage));
        }
        inner.member.check().map_err(|e| *e)
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        // A forked child's copy is its parent's.
        if let Found::InPlace { block, .. } = self.found
            && self.subscriber.reader.is_ours()
        {
            self.subscriber.reader.pass(block);
        }
    }
}

impl ReadInPlace for Subscriber<Bytes> {
    type Reading<'a> = Next<'a>;
}

impl Subscriber<Bytes> {
    /// Receives the next message where it lies; blocks while there is none.
    ///
    /// In a **lossless** broadcast a message that was [written in place](crate::Broadcast::loan) is read in place, by any number of
    /// subscribers at once. It is received, and its memory may be used again, when the reference is dropped; if the reference is
    /// forgotten ([`std::mem::forget`]), it comes again. Publishers wait for who reads in place as for any slow subscriber: until it goes on
    /// if it is stopped, about 100 ms if it is dead.
    ///
    /// All other messages are copied, and received at once ([`MessageRef::is_in_place`]). So are all of a **lossy** broadcast: its publishers
    /// wait for nobody, so that what is read in place might change meanwhile.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_ref(&mut self) -> Result<MessageRef<'_, Self>, SubscriberError> {
        self.find_ref(Some(Deadline::NEVER))
            .map_err(without_deadline)
    }

    /// As [`recv_ref`](Self::recv_ref), if there is a message now.
    ///
    /// # Errors
    ///
    /// [`TrySubscriberError`].
    pub fn try_recv_ref(&mut self) -> Result<MessageRef<'_, Self>, TrySubscriberError> {
        self.find_ref(None).map_err(|unmet| {
            let error = unmet.into_error();
            error.map_or(TrySubscriberError::Empty, TrySubscriberError::from)
        })
    }

    /// As [`recv_ref`](Self::recv_ref); blocks for at most `timeout` while there is no message.
    ///
    /// # Errors
    ///
    /// [`SubscriberTimeoutError`].
    pub fn recv_ref_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<MessageRef<'_, Self>, SubscriberTimeoutError> {
        let found = self.find_ref(Some(Deadline::after(timeout)));
        found.map_err(|unmet| {
            let error = unmet.into_error();
            error.map_or(SubscriberTimeoutError::Timeout, Into::into)
        })
    }

    fn find_ref(&mut self, deadline: Option<Deadline>) -> Result<MessageRef<'_, Self>, Unmet> {
        let (inner, reader) = (&*self.inner, &mut self.reader);
        let found = match (find(inner, reader), deadline) {
            (Err(Unmet::GaveUp | Unmet::BeingPublished), None) => {
                // Perhaps a dead publisher holds something back.
                inner.member.found_dead();
                find(inner, reader)?
            }
            (Err(Unmet::GaveUp | Unmet::BeingPublished), Some(deadline)) => {
                inner.wait(self.wait, deadline, reader, find)?
            }
            (found, _) => found?,
        };
        let (len, subscriber) = (found.len(), self);
        Ok(MessageRef::new(Next { subscriber, found }, len))
    }
}

/// The next message, if it is there.
fn find(inner: &Inner, reader: &mut Reader) -> Result<Found, Unmet> {
    inner.member.check()?;
    if !reader.is_ours() {
        return Err(SubscriberError::Forked.into());
    }
    let found = reader.look_at_next();
    let found = found.map_err(|refusal| inner.unmet(refusal))?;
    inner.member.check_whole()?;
    Ok(found)
}
