//! Why a message was not sent or received. Whatever was not sent comes back to the caller.

use core::fmt;
use std::io;

use crate::{
    error::Error,
    message::{DecodeError, EncodeError},
};

/// The three ways of sending fail alike but for the one reason to give up.
macro_rules! send_error {
    ($(#[$doc:meta])* $name:ident $({ $(#[$gave_up_doc:meta])* $gave_up:ident, $why:literal })?) => {
        $(#[$doc])*
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$gave_up_doc])* $gave_up(T),)?
            /// The receiving end is closed, or its process died.
            BrokenPipe(T),
            /// The encoded message is longer than the pipe's capacity.
            TooLarge {
                /// The message.
                value: T,
                /// Its encoded length in bytes.
                len: usize,
                /// The longest that this pipe takes, in bytes.
                max: usize,
            },
            /// This end is another process's: it was handed over, or this is a forked child and the end its parent's.
            InUse {
                /// The message.
                value: T,
                /// The process whose end it is, in its own pid namespace.
                pid: u32,
            },
            /// The message's own `Serialize` failed. The pipe is untouched.
            Encode {
                /// The message.
                value: T,
                /// What it said.
                error: EncodeError,
            },
            /// The pipe cannot be used.
            Failed {
                /// The message.
                value: T,
                /// Why.
                error: Error,
            },
        }

        impl<T> $name<T> {
            /// The message that was not sent.
            pub fn into_value(self) -> T {
                match self {
                    $(Self::$gave_up(value) => value,)?
                    Self::BrokenPipe(value)
                    | Self::TooLarge { value, .. }
                    | Self::InUse { value, .. }
                    | Self::Encode { value, .. }
                    | Self::Failed { value, .. } => value,
                }
            }

            /// Pairs the message with the reason.
            #[cold]
            pub(super) fn new(value: T, refused: Refused) -> Self {
                match refused {
                    $(Refused::GaveUp => Self::$gave_up(value),)?
                    Refused::TooLarge { len, max } => Self::TooLarge { value, len, max },
                    Refused::InUse { pid } => Self::InUse { value, pid },
                    Refused::Encode(error) => Self::Encode { value, error },
                    Refused::Failed(error) => Self::Failed { value, error: *error },
                    #[allow(unreachable_patterns, reason = "where the caller never gives up")]
                    Refused::Broken | Refused::GaveUp => Self::BrokenPipe(value),
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$gave_up(_) => f.write_str($why),)?
                    Self::BrokenPipe(_) => f.write_str("broken pipe: nobody receives any more"),
                    Self::TooLarge { len, max, .. } => write!(
                        f,
                        "the message has {len} bytes, the pipe takes {max}; make it with more capacity"
                    ),
                    Self::InUse { pid, .. } => in_use(*pid, f),
                    Self::Encode { error, .. } => error.fmt(f),
                    Self::Failed { error, .. } => error.fmt(f),
                }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl<T> core::error::Error for $name<T> {}
    };
}

fn in_use(pid: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "this end of the pipe is process {pid}'s")
}

send_error! {
    /// Why [`Sender::send`](crate::Sender::send) failed.
    SendError
}
send_error! {
    /// Why [`Sender::try_send`](crate::Sender::try_send) did not send.
    TrySendError {
        /// There is no room now.
        Full, "the pipe is full"
    }
}
send_error! {
    /// Why [`Sender::send_timeout`](crate::Sender::send_timeout) did not send.
    SendTimeoutError {
        /// There was no room in time.
        Timeout, "the pipe stayed full until the timeout"
    }
}

/// A send's failure without the message. Small, because the compiler moves results around before it looks at them.
#[derive(Debug)]
pub(super) enum Refused {
    GaveUp,
    Broken,
    TooLarge { len: usize, max: usize },
    InUse { pid: u32 },
    Encode(EncodeError),
    Failed(Box<Error>),
}

impl From<NotMine> for Refused {
    #[cold]
    fn from(e: NotMine) -> Self {
        match e {
            NotMine::InUse { pid } => Self::InUse { pid },
            NotMine::Closed => Self::Broken,
            NotMine::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::GaveUp => io::ErrorKind::WouldBlock,
            Refused::Broken => io::ErrorKind::BrokenPipe,
            Refused::InUse { .. } => io::ErrorKind::ResourceBusy,
            Refused::TooLarge { .. } | Refused::Encode(_) => io::ErrorKind::InvalidInput,
            Refused::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, SendError::new((), refused))
    }
}

/// Why [`Sender::send_many`](crate::Sender::send_many) stopped.
#[derive(Debug, thiserror::Error)]
#[error("after {sent} messages: {error}")]
#[non_exhaustive]
pub struct SendManyError<T> {
    /// How many messages this call sent.
    pub sent: usize,
    /// What happened to the next one.
    pub error: SendError<T>,
}

/// Why [`Receiver::recv`](crate::Receiver::recv) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The sending end is closed or its process died, and every message was received.
    #[error("end of file: nobody sends any more")]
    EndOfFile,
    /// The message is longer than the caller's buffer. It stays. From
    /// [`recv_bytes_into`](crate::Receiver::recv_bytes_into) only.
    #[error("the message has {len} bytes, the buffer {max}; use a longer one")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The buffer's.
        max: usize,
    },
    /// The message is no value of the pipe's type. It is gone.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// This end is another process's: it was handed over, or this is a forked child and the end its parent's.
    #[error("this end of the pipe is process {pid}'s")]
    InUse {
        /// The process whose end it is, in its own pid namespace.
        pid: u32,
    },
    /// The pipe cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`Receiver::try_recv`](crate::Receiver::try_recv) received nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is no message now.
    #[error("the pipe is empty")]
    Empty,
    /// As for a receive that waits.
    #[error(transparent)]
    Failed(#[from] RecvError),
}

/// Why [`Receiver::recv_timeout`](crate::Receiver::recv_timeout) received nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// There was no message in time.
    #[error("the pipe stayed empty until the timeout")]
    Timeout,
    /// As for a receive that waits.
    #[error(transparent)]
    Failed(#[from] RecvError),
}

/// Why there is no message. Small, as [`Refused`] is.
#[derive(Debug)]
pub(super) enum Unmet {
    /// There was none, or none in time.
    GaveUp,
    /// The end is to be looked at first: [`super::end::End::regain`].
    NotReady,
    Error(Box<RecvError>),
}

impl Unmet {
    /// `None` if there was no message now, or in time.
    pub(super) fn into_error(self) -> Option<RecvError> {
        match self {
            Self::Error(e) => Some(*e),
            Self::GaveUp | Self::NotReady => None,
        }
    }
}

impl From<RecvError> for Unmet {
    #[cold]
    fn from(e: RecvError) -> Self {
        Self::Error(Box::new(e))
    }
}

impl From<Box<Error>> for Unmet {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        RecvError::Failed(*e).into()
    }
}

impl From<NotMine> for Unmet {
    #[cold]
    fn from(e: NotMine) -> Self {
        match e {
            NotMine::InUse { pid } => RecvError::InUse { pid }.into(),
            NotMine::Closed => RecvError::EndOfFile.into(),
            NotMine::Failed(error) => error.into(),
        }
    }
}

impl From<RecvError> for io::Error {
    fn from(e: RecvError) -> Self {
        let kind = match e {
            RecvError::EndOfFile => io::ErrorKind::UnexpectedEof,
            RecvError::InUse { .. } => io::ErrorKind::ResourceBusy,
            RecvError::Decode(_) | RecvError::TooLong { .. } => io::ErrorKind::InvalidData,
            RecvError::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

/// Why an end of a pipe could not be taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// Somebody has it, perhaps this process.
    #[error("this end of the pipe is process {pid}'s; wait until it closes, or take another end")]
    InUse {
        /// The process whose end it is, in its own pid namespace.
        pid: u32,
    },
    /// It was on its way to this process, and its sender closed it or died before it arrived.
    #[error("this end of the pipe was closed before it arrived")]
    Closed,
    /// A duplex pipe has two connections; a simplex pipe has a sender and a receiver.
    #[error("the pipe has no such end: {why}")]
    NoSuchEnd {
        /// What it has.
        why: &'static str,
    },
    /// The pipe cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why an end cannot be used by this process any more.
#[derive(Debug)]
pub(super) enum NotMine {
    InUse {
        pid: u32,
    },
    /// It was offered, and closed on its way.
    Closed,
    Failed(Box<Error>),
}

impl From<Box<Error>> for NotMine {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        Self::Failed(e)
    }
}
