//! Why a message was not published, or not received. Whatever was not published comes back to the caller.

use crate::{channel::errors::put_error, error::Error, message::DecodeError};

put_error! {
    "broadcast",
    /// Why [`Broadcast::publish`](crate::Broadcast::publish) failed.
    PublishError
}
put_error! {
    "broadcast",
    /// Why [`Broadcast::try_publish`](crate::Broadcast::try_publish) did not publish.
    TryPublishError {
        /// There is no room now: a subscriber has not read far enough, or another publisher is in the middle of its work.
        Full, "the broadcast is full: a subscriber has still to read what would be overwritten"
    }
}
put_error! {
    "broadcast",
    /// Why [`Broadcast::publish_timeout`](crate::Broadcast::publish_timeout) did not publish.
    PublishTimeoutError {
        /// There was no room in time.
        Timeout, "the broadcast stayed full until the timeout: a subscriber has still to read what would be overwritten"
    }
}

/// Why [`Broadcast::publish_many`](crate::Broadcast::publish_many) stopped.
#[derive(Debug, thiserror::Error)]
#[error("after {published} messages: {error}")]
#[non_exhaustive]
pub struct PublishManyError<T> {
    /// How many messages this call published.
    pub published: usize,
    /// What happened to the next one.
    pub error: PublishError<T>,
}

/// Why [`Broadcast::subscribe`](crate::Broadcast::subscribe) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The lossless broadcast has as many subscribers as it was created for.
    #[error("the broadcast already has its {max} subscribers; create it for more")]
    TooMany {
        /// How many it was created for.
        max: usize,
    },
    /// The broadcast cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`Subscriber::recv`](crate::Subscriber::recv) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// So many messages were overwritten, or their memory was needed, before this subscriber came to them; those that publishers did
    /// not finish because they were killed may be among them. The next receive goes on with the oldest that is there. Of a
    /// lossy broadcast only.
    #[error("{0} messages were overwritten before this subscriber came to them")]
    Lagged(u64),
    /// The broadcast is closed, and every message was received.
    #[error("the broadcast is closed, and everything was received")]
    Closed,
    /// The message is no value of the broadcast's type. It is gone for this subscriber.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// This is a forked child, and the subscriber of the lossless broadcast its parent's.
    #[error("this subscriber is the parent process's; subscribe in this process")]
    Forked,
    /// The broadcast cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`Subscriber::try_recv`](crate::Subscriber::try_recv) received nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrySubscriberError {
    /// There is no message now.
    #[error("there is no new message")]
    Empty,
    /// As for a receive that waits.
    #[error(transparent)]
    Failed(#[from] SubscriberError),
}

/// Why [`Subscriber::recv_timeout`](crate::Subscriber::recv_timeout) received nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberTimeoutError {
    /// There was no message in time.
    #[error("there was no new message until the timeout")]
    Timeout,
    /// As for a receive that waits.
    #[error(transparent)]
    Failed(#[from] SubscriberError),
}

/// Why there is no message. Small, because the compiler moves results around before it looks at them.
#[derive(Debug)]
pub(super) enum Unmet {
    /// There was none, or none in time.
    GaveUp,
    /// There was none, but one is being published.
    BeingPublished,
    Error(Box<SubscriberError>),
}

impl From<SubscriberError> for Unmet {
    #[cold]
    fn from(e: SubscriberError) -> Self {
        Self::Error(Box::new(e))
    }
}

impl From<Box<Error>> for Unmet {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        SubscriberError::Failed(*e).into()
    }
}

impl Unmet {
    /// `None` if there was no message now, or in time.
    pub(super) fn into_error(self) -> Option<SubscriberError> {
        match self {
            Self::Error(e) => Some(*e),
            Self::GaveUp | Self::BeingPublished => None,
        }
    }
}
