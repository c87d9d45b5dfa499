//! Why a call on a list did not do what it was asked to. A value that did not go in comes back to the caller.

use core::fmt;

use crate::{
    error::Error,
    message::{DecodeError, EncodeError},
};

/// Why nothing came out of a list.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// An element is no value of the list's type. It is still there.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// There is no such element ([`Error::OutOfRange`]), or the list cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why a value did not go into a list. The list is what it was.
#[non_exhaustive]
pub enum ListPutError<V> {
    /// The encoded value is longer than the list's memory.
    TooLarge {
        /// The value.
        value: V,
        /// Its encoded length in bytes.
        len: usize,
        /// More bytes than this no list of this size takes.
        max: usize,
    },
    /// The value's own `Serialize` failed.
    Encode {
        /// The value.
        value: V,
        /// What it said.
        error: EncodeError,
    },
    /// There is no such place ([`Error::OutOfRange`]), no memory ([`Error::NoSpace`]), or the list cannot be used.
    Failed {
        /// The value.
        value: V,
        /// Why.
        error: Error,
    },
}

impl<V> ListPutError<V> {
    /// The value that did not go in.
    pub fn into_value(self) -> V {
        match self {
            Self::TooLarge { value, .. }
            | Self::Encode { value, .. }
            | Self::Failed { value, .. } => value,
        }
    }

    /// Pairs the value with the reason.
    #[cold]
    pub(super) fn new(value: V, refused: Refused) -> Self {
        match refused {
            Refused::TooLarge { len, max } => Self::TooLarge { value, len, max },
            Refused::Encode(error) => Self::Encode { value, error },
            Refused::Failed(error) => Self::Failed { value, error },
        }
    }
}

impl<V> fmt::Display for ListPutError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max, .. } => write!(
                f,
                "the value has {len} bytes, the list holds {max}; create it with more memory"
            ),
            Self::Encode { error, .. } => error.fmt(f),
            Self::Failed { error, .. } => error.fmt(f),
        }
    }
}

impl<V> fmt::Debug for ListPutError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListPutError({self})")
    }
}

impl<V> core::error::Error for ListPutError<V> {}

/// A [`ListPutError`] without the value.
#[derive(Debug)]
pub(super) enum Refused {
    TooLarge { len: usize, max: usize },
    Encode(EncodeError),
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
