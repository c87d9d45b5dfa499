//! What can go wrong in an operation on a dictionary.

use crate::{
    error::Error,
    message::{DecodeError, EncodeError},
};

/// Why an operation on a [`Dict`](crate::Dict) failed. The dictionary is as it was before.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DictError {
    /// The key or the value could not be encoded.
    #[error(transparent)]
    Encode(EncodeError),
    /// What is there is no value of the type. It stays there.
    #[error(transparent)]
    Decode(DecodeError),
    /// The dictionary is as large as its limit, or the file system is full.
    #[error(
        "no space in the dictionary: {needed} bytes are needed, of which the file system has {available}; remove something, or create it with a higher limit"
    )]
    NoSpace {
        /// Bytes of the memory that is missing, at least.
        needed: u64,
        /// Bytes that this user may still take on the file system.
        available: u64,
    },
    /// The encoded pair is longer than the dictionary could ever hold, or its key longer than 16 MiB.
    #[error(
        "a pair of {len} bytes is too large, at most {max}; create the dictionary with a higher limit"
    )]
    TooLarge {
        /// Encoded bytes of the pair.
        len: usize,
        /// The most that it could hold.
        max: usize,
    },
    /// Another writer was in the way for longer than the handle's [timeout](crate::Dict::set_timeout).
    #[error("another writer of the dictionary is in the way, and lives; try again")]
    Timeout,
    /// The object cannot be used any more, or not by this process.
    #[error(transparent)]
    Failed(Box<Error>),
}

impl From<Box<Error>> for DictError {
    fn from(e: Box<Error>) -> Self {
        Self::Failed(e)
    }
}

impl From<Error> for DictError {
    fn from(e: Error) -> Self {
        Self::Failed(Box::new(e))
    }
}

impl From<EncodeError> for DictError {
    fn from(e: EncodeError) -> Self {
        Self::Encode(e)
    }
}

impl From<DecodeError> for DictError {
    fn from(e: DecodeError) -> Self {
        Self::Decode(e)
    }
}
