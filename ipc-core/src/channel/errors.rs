//! Why a message did not go in or come out. Whatever did not go in comes back to the caller.

use crate::{
    error::Error,
    message::{DecodeError, EncodeError},
};

/// The three ways of putting something into a `$channel` fail alike but for the one reason to give up.
macro_rules! put_error {
    ($channel:literal, $(#[$doc:meta])* $name:ident $({ $(#[$gave_up_doc:meta])* $gave_up:ident, $why:literal })?) => {
        $(#[$doc])*
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$gave_up_doc])* $gave_up(T),)?
            #[doc = concat!("The ", $channel, " is closed.")]
            Closed(T),
            #[doc = concat!("The encoded message is longer than the ", $channel, "'s memory.")]
            TooLarge {
                /// The message.
                value: T,
                /// Its encoded length in bytes.
                len: usize,
                #[doc = concat!("The longest that this ", $channel, " takes, in bytes.")]
                max: usize,
            },
            #[doc = concat!("The message's own `Serialize` failed. The ", $channel, " is untouched.")]
            Encode {
                /// The message.
                value: T,
                /// What it said.
                error: $crate::message::EncodeError,
            },
            #[doc = concat!("The ", $channel, " cannot be used.")]
            Failed {
                /// The message.
                value: T,
                /// Why.
                error: $crate::error::Error,
            },
        }

        impl<T> $name<T> {
            /// The message, which did not go in.
            pub fn into_value(self) -> T {
                match self {
                    $(Self::$gave_up(value) => value,)?
                    Self::Closed(value)
                    | Self::TooLarge { value, .. }
                    | Self::Encode { value, .. }
                    | Self::Failed { value, .. } => value,
                }
            }

            /// Pairs the message with the reason.
            #[cold]
            pub(in crate::channel) fn new(value: T, refused: $crate::channel::errors::Refused) -> Self {
                match refused {
                    $($crate::channel::errors::Refused::GaveUp => Self::$gave_up(value),)?
                    $crate::channel::errors::Refused::TooLarge { len, max } => Self::TooLarge { value, len, max },
                    $crate::channel::errors::Refused::Encode(error) => Self::Encode { value, error },
                    $crate::channel::errors::Refused::Failed(error) => Self::Failed { value, error: *error },
                    #[allow(unreachable_patterns, reason = "where the caller never gives up")]
                    $crate::channel::errors::Refused::Closed | $crate::channel::errors::Refused::GaveUp => Self::Closed(value),
                }
            }
        }

        impl<T> core::fmt::Display for $name<T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$gave_up(_) => f.write_str($why),)?
                    Self::Closed(_) => f.write_str(concat!("the ", $channel, " is closed")),
                    Self::TooLarge { len, max, .. } => write!(
                        f,
                        concat!("the message has {} bytes, the ", $channel, " takes {}; create it with more memory"),
                        len, max
                    ),
                    Self::Encode { error, .. } => core::fmt::Display::fmt(error, f),
                    Self::Failed { error, .. } => core::fmt::Display::fmt(error, f),
                }
            }
        }

        impl<T> core::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl<T> core::error::Error for $name<T> {}
    };
}
pub(super) use put_error;

put_error! {
    "queue",
    /// Why [`Queue::put`](crate::Queue::put) failed.
    PutError
}
put_error! {
    "queue",
    /// Why [`Queue::try_put`](crate::Queue::try_put) did not put.
    TryPutError {
        /// There is no room now.
        Full, "the queue is full"
    }
}
put_error! {
    "queue",
    /// Why [`Queue::put_timeout`](crate::Queue::put_timeout) did not put.
    PutTimeoutError {
        /// There was no room in time.
        Timeout, "the queue stayed full until the timeout"
    }
}

/// A put's failure without the message. Small, because the compiler moves results around before it looks at them.
#[derive(Debug)]
pub(in crate::channel) enum Refused {
    GaveUp,
    Closed,
    TooLarge { len: usize, max: usize },
    Encode(EncodeError),
    Failed(Box<Error>),
}

impl From<Box<Error>> for Refused {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        Self::Failed(e)
    }
}

/// Why there is no message. Small, as [`Refused`] is.
#[derive(Debug)]
pub(in crate::channel) enum Unmet {
    /// There was none, or none in time.
    GaveUp,
    /// There was none, but one is being put.
    BeingPut,
    Error(Box<GetError>),
}

impl From<GetError> for Unmet {
    #[cold]
    fn from(e: GetError) -> Self {
        Self::Error(Box::new(e))
    }
}

impl From<Box<Error>> for Unmet {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        GetError::Failed(*e).into()
    }
}

impl Unmet {
    /// As a call says that does not wait.
    pub(in crate::channel) fn not_now(self) -> TryGetError {
        match self {
            Self::GaveUp | Self::BeingPut => TryGetError::Empty,
            Self::Error(e) => (*e).into(),
        }
    }

    /// As a call says that waits for so long.
    pub(in crate::channel) fn not_in_time(self) -> GetTimeoutError {
        match self {
            Self::GaveUp | Self::BeingPut => GetTimeoutError::Timeout,
            Self::Error(e) => (*e).into(),
        }
    }

    /// As a call says that waits without end.
    pub(in crate::channel) fn not_at_all(self) -> GetError {
        match self {
            Self::Error(e) => *e,
            Self::GaveUp | Self::BeingPut => {
                unreachable!("a wait without a deadline does not give up")
            }
        }
    }
}

/// Why [`Queue::put_many`](crate::Queue::put_many) stopped.
#[derive(Debug, thiserror::Error)]
#[error("after {put} messages: {error}")]
#[non_exhaustive]
pub struct PutManyError<T> {
    /// How many messages this call put.
    pub put: usize,
    /// What happened to the next one.
    pub error: PutError<T>,
}

/// Why [`Queue::get`](crate::Queue::get) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is closed, and every message was got.
    #[error("the queue is closed and empty")]
    Closed,
    /// The message is no value of the queue's type. It is gone.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`Queue::try_get`](crate::Queue::try_get) got nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryGetError {
    /// There is no message now.
    #[error("the queue is empty")]
    Empty,
    /// The queue is closed, and every message was got.
    #[error("the queue is closed and empty")]
    Closed,
    /// The message is no value of the queue's type. It is gone, unless this was a peek.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`Queue::get_timeout`](crate::Queue::get_timeout) got nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GetTimeoutError {
    /// There was no message in time.
    #[error("the queue stayed empty until the timeout")]
    Timeout,
    /// The queue is closed, and every message was got.
    #[error("the queue is closed and empty")]
    Closed,
    /// The message is no value of the queue's type. It is gone.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<GetError> for TryGetError {
    fn from(e: GetError) -> Self {
        match e {
            GetError::Closed => Self::Closed,
            GetError::Decode(e) => Self::Decode(e),
            GetError::Failed(e) => Self::Failed(e),
        }
    }
}

impl From<GetError> for GetTimeoutError {
    fn from(e: GetError) -> Self {
        match e {
            GetError::Closed => Self::Closed,
            GetError::Decode(e) => Self::Decode(e),
            GetError::Failed(e) => Self::Failed(e),
        }
    }
}
