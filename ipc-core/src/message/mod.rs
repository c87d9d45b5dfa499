//! How a value becomes bytes and back.
//!
//! Values are encoded in the process that sends them, before anything shared is touched, so that an encoding error goes
//! to the caller and nowhere else. Received bytes are copied to private memory before they are parsed.

use core::mem::MaybeUninit;

use serde::{Serialize, de::DeserializeOwned};

/// A value that can travel between processes.
///
/// Implemented for every `Serialize + DeserializeOwned` type (encoded with [postcard](https://docs.rs/postcard)), for
/// [`Plain`] (the bytes of the value as they are) and for [`Bytes`] (bytes and nothing else). Sealed.
pub trait Message: Sized + sealed::Sealed {}

impl<M: sealed::Sealed> Message for M {}

pub(crate) mod sealed {
    use super::Place;

    /// What channels need of a message.
    pub trait Sealed: Sized {
        /// Its length in bytes where all values have the same.
        const FIXED: Option<usize>;

        /// Names the type in an object's header.
        fn type_name() -> String;

        /// Calls `with` on the encoded value.
        fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, super::EncodeError>;

        /// Puts the value that `received` encodes where it is to stay: a value that is returned through several layers is
        /// copied by each.
        fn decode(
            received: super::Received<'_>,
            to: &mut impl Place<Self>,
        ) -> Result<(), super::DecodeError>;
    }
}

/// Where a received value is to stay.
pub trait Place<T> {
    /// Leaves the value there.
    fn put(&mut self, value: T);
}

impl<T> Place<T> for MaybeUninit<T> {
    #[inline(always)]
    fn put(&mut self, value: T) {
        self.write(value);
    }
}

impl<T> Place<T> for Vec<T> {
    #[inline(always)]
    fn put(&mut self, value: T) {
        self.push(value);
    }
}

/// Bytes that arrived, already private.
#[derive(Debug)]
pub enum Received<'a> {
    /// In somebody else's buffer.
    Borrowed(&'a [u8]),
    /// In a buffer that is the receiver's to keep.
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for Received<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// The value could not be encoded; its own `Serialize` said so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not encode the message: {0}")]
pub struct EncodeError(pub(crate) String);

/// The received bytes are no value of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not decode the message as {type_name}: {why}")]
pub struct DecodeError {
    /// The type that was expected.
    pub type_name: String,
    /// What the decoder says.
    pub why: String,
}

impl DecodeError {
    fn new<M: sealed::Sealed>(why: impl ToString) -> Self {
        Self {
            type_name: M::type_name(),
            why: why.to_string(),
        }
    }
}

/// A message of raw bytes, which the shell tools read and write line by line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Bytes(pub Vec<u8>);

impl<B: Into<Vec<u8>>> From<B> for Bytes {
    fn from(bytes: B) -> Self {
        Self(bytes.into())
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A message that is the bytes of a [`bytemuck`] type as they lie in memory: no encoding, and no decoding but a check that
/// the bytes are a valid value.
///
/// The type must mean the same in every process: no pointers, handles or descriptors.
///
/// ```
/// use bytemuck::{CheckedBitPattern, NoUninit};
///
/// #[derive(Clone, Copy, NoUninit, CheckedBitPattern)]
/// #[repr(u8)]
/// enum Light { Red, Green }
///
/// let light = ipc_core::Plain(Light::Green);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Plain<T>(pub T);

impl sealed::Sealed for Bytes {
    const FIXED: Option<usize> = None;

    fn type_name() -> String {
        "bytes".to_owned()
    }

    fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(with(&self.0))
    }

    fn decode(received: Received<'_>, to: &mut impl Place<Self>) -> Result<(), DecodeError> {
        to.put(Self(match received {
            Received::Borrowed(bytes) => bytes.to_vec(),
            Received::Owned(bytes) => bytes,
        }));
        Ok(())
    }
}

impl<T: bytemuck::NoUninit + bytemuck::CheckedBitPattern> sealed::Sealed for Plain<T> {
    const FIXED: Option<usize> = Some(size_of::<T>());

    fn type_name() -> String {
        format!(
            "plain {} ({} bytes)",
            core::any::type_name::<T>(),
            size_of::<T>()
        )
    }

    #[inline]
    fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(with(bytemuck::bytes_of(&self.0)))
    }

    #[inline]
    fn decode(received: Received<'_>, to: &mut impl Place<Self>) -> Result<(), DecodeError> {
        match bytemuck::checked::try_pod_read_unaligned(received.as_ref()) {
            Ok(value) => {
                to.put(Self(value));
                Ok(())
            }
            Err(e) => Err(DecodeError::new::<Self>(e)),
        }
    }
}

impl<T: Serialize + DeserializeOwned> sealed::Sealed for T {
    const FIXED: Option<usize> = None;

    fn type_name() -> String {
        format!("serde {}", core::any::type_name::<T>())
    }

    fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        // Most messages are short: try a buffer on the stack before one on the heap.
        let mut short = [0; 256];
        match postcard::to_slice(self, &mut short) {
            Ok(bytes) => Ok(with(bytes)),
            Err(postcard::Error::SerializeBufferFull) => {
                let bytes = postcard::to_stdvec(self).map_err(|e| EncodeError(e.to_string()))?;
                Ok(with(&bytes))
            }
            Err(e) => Err(EncodeError(e.to_string())),
        }
    }

    fn decode(received: Received<'_>, to: &mut impl Place<Self>) -> Result<(), DecodeError> {
        match postcard::take_from_bytes(received.as_ref()) {
            Ok((value, [])) => {
                to.put(value);
                Ok(())
            }
            Ok((_, rest)) => Err(DecodeError::new::<Self>(format!(
                "{} bytes are left over",
                rest.len()
            ))),
            Err(e) => Err(DecodeError::new::<Self>(e)),
        }
    }
}
