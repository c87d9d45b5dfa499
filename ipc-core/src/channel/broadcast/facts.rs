//! What a broadcast is like, its end, and how its handles travel.

use core::{fmt, marker::PhantomData};
use std::sync::Arc;

use super::{Broadcast, options};
use crate::{
    error::Result,
    message::Message,
    object::{lifetime::Ticket, source::Watched, wait::WaitStrategy},
};

impl<T> Broadcast<T> {
    pub(crate) fn watched_room(&self) -> Watched {
        self.inner.watched_room()
    }

    /// How many messages the ring holds at the most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.ring.geometry().ring.capacity
    }

    /// Bytes for messages that do not fit into a cell.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.inner.ring.geometry().ring.slab.bytes()
    }

    /// The longest message that the broadcast takes, in encoded bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.inner.ring.geometry().ring.most_bytes()
    }

    /// Whether publishers wait for the slowest subscriber.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.inner.ring.geometry().is_lossless
    }

    /// How many subscribers a lossless broadcast has, in all processes; one that died counts until a sweep. 0 in a lossy one, which does not
    /// know. Takes time in proportion to how many it was created for.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.inner.ring.subscribers()
    }

    /// How many messages are in the ring. Takes time in proportion to the capacity.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.ring.len()
    }

    /// Whether no message is in the ring. Takes time in proportion to the capacity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the broadcast for all processes: publishes fail from now on, subscribers receive what is there and are then told that it is
    /// closed. Closing twice is fine.
    pub fn close(&self) {
        self.inner.ring.close();
    }

    /// Whether the broadcast is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.ring.is_closed()
    }

    /// The broadcast's name; `None` if it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.member.object.name()
    }

    /// Removes the broadcast's name. Who has it open keeps it; its memory is freed with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now.
    pub fn unlink(&self) -> Result<()> {
        self.inner.member.object.unlink()
    }

    /// Looks for dead participants now and repairs what they left. Returns how many there were. Waiting and attaching do this by
    /// themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn sweep(&self) -> Result<u32> {
        self.inner.member.object.sweep()
    }

    /// What blocking calls on this handle, and on subscribers made from it later, do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.wait = strategy;
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            wait: self.wait,
            _message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("object", &self.inner.member.object.label())
            .finish_non_exhaustive()
    }
}

impl<T> serde::Serialize for Broadcast<T> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.member.object.ticket().serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Broadcast<T> {
    /// Attaches to the broadcast.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        options::redeem(&ticket).map_err(serde::de::Error::custom)
    }
}
