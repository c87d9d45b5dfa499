//! How a value becomes bytes and back.
//!
//! Values are encoded in the process that sends them, before anything shared is touched, so that an encoding error goes
//! to the caller and nowhere else. Received bytes are copied to private memory before they are parsed.

#![expect(
    unsafe_code,
    reason = "a received value is written where it is to stay, and nowhere before"
)]

mod room;

use core::{mem::MaybeUninit, slice};

use serde::{Serialize, de::DeserializeOwned};

use crate::{os::copy, prim::AtomicU64, region::plain};

pub(crate) use room::Room;

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
        /// That length, if it is a multiple of 8 and values in an array lie as their encodings would, one behind the other.
        const RUN: Option<usize> = None;
        /// Whether decoding runs code of the caller's.
        const RUNS_CODE: bool;

        /// Names the type in an object's header.
        fn type_name() -> String;

        /// Calls `with` on the encoded value.
        fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, super::EncodeError>;

        /// Puts the value that `received` encodes where it is to stay; on an error, nothing.
        fn decode(
            received: super::Received<'_>,
            to: &mut impl Place<Self>,
        ) -> Result<(), super::DecodeError>;

        /// The encodings of all `values`, where there is a [`Self::RUN`].
        fn encode_run(_values: &[Self]) -> &[u8] {
            &[]
        }

        /// Appends the values that `words` encode, which are `count`, up to the first that is none. Returns how many.
        fn decode_run(_words: &[super::AtomicU64], _count: usize, _to: &mut Vec<Self>) -> usize {
            0
        }
    }
}

/// Where a received value is to stay. A value that is returned through several layers is copied by each, and by pieces
/// that wait for one another.
pub trait Place<T> {
    /// Room for one value, which nobody sees before [`Self::keep`].
    fn room(&mut self) -> &mut MaybeUninit<T>;

    /// Keeps the value in the room.
    ///
    /// # Safety
    ///
    /// [`Self::room`] was called last, and what it returned holds a value now.
    unsafe fn keep(&mut self);

    /// Leaves `value` there.
    #[inline]
    fn put(&mut self, value: T) {
        self.room().write(value);
        // SAFETY: just written.
        unsafe { self.keep() };
    }
}

impl<T> Place<T> for MaybeUninit<T> {
    #[inline]
    fn room(&mut self) -> &mut MaybeUninit<T> {
        self
    }

    #[inline]
    unsafe fn keep(&mut self) {}
}

impl<T> Place<T> for Vec<T> {
    #[inline]
    fn room(&mut self) -> &mut MaybeUninit<T> {
        self.reserve(1);
        &mut self.spare_capacity_mut()[0]
    }

    #[inline]
    unsafe fn keep(&mut self) {
        // SAFETY: by the caller's promise the first spare element is a value.
        unsafe { self.set_len(self.len() + 1) };
    }
}

/// What can be given where a `T` is to be encoded: a `T`, or what is encoded as one without being one, as `str` is for `String`, a slice
/// for a `Vec`, and `[u8]` for [`Bytes`]. So nobody need make a `String` to look something up. Sealed.
pub trait EncodesAs<T>: borrowed::Borrowed<T> {}

impl<T, Q: borrowed::Borrowed<T> + ?Sized> EncodesAs<T> for Q {}

pub(crate) mod borrowed {
    use serde::{Serialize, de::DeserializeOwned};

    use super::{Bytes, EncodeError, Message, encode_serde};

    /// What dictionaries need of it.
    pub trait Borrowed<T> {
        /// Calls `with` on the bytes that the `T` is encoded as.
        fn encode_as<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError>;
    }

    impl<T: Message> Borrowed<T> for T {
        #[inline(always)]
        fn encode_as<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
            self.encode(with)
        }
    }

    impl Borrowed<String> for str {
        #[inline]
        fn encode_as<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
            encode_serde(self, with)
        }
    }

    impl<T: Serialize + DeserializeOwned> Borrowed<Vec<T>> for [T] {
        #[inline]
        fn encode_as<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
            encode_serde(self, with)
        }
    }

    impl Borrowed<Bytes> for [u8] {
        #[inline]
        fn encode_as<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
            Ok(with(self))
        }
    }
}

/// Most messages are so short: they are encoded and decoded on the stack.
const SHORT: usize = 256;

/// Bytes that arrived.
#[derive(Debug)]
pub enum Received<'a> {
    /// In memory that others may write though they should not: to be copied, once, and then looked at.
    Shared(SharedBytes<'a>),
    /// In private memory of somebody else's.
    Copied(&'a [u8]),
    /// In a buffer that is the receiver's to keep.
    Owned(Vec<u8>),
}

/// The start of some words of shared memory.
#[derive(Debug, Clone, Copy)]
pub struct SharedBytes<'a> {
    words: &'a [AtomicU64],
    length: usize,
}

impl<'a> SharedBytes<'a> {
    /// The first `length` bytes of `words`, if there are so many.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64], length: usize) -> Option<Self> {
        (length <= words.len() * 8).then_some(Self { words, length })
    }
}

impl Received<'_> {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Shared(bytes) => bytes.length,
            Self::Copied(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
        }
    }

    /// Fills `out`, if it has just the right length.
    #[inline]
    fn copy_to(&self, out: &mut [MaybeUninit<u8>]) -> bool {
        if out.len() != self.len() {
            return false;
        }
        match self {
            Self::Shared(bytes) => copy::out_to_slice(bytes.words, out),
            Self::Copied(bytes) => {
                out.write_copy_of_slice(bytes);
                true
            }
            Self::Owned(bytes) => {
                out.write_copy_of_slice(bytes);
                true
            }
        }
    }

    /// Leaves the bytes in `buffer`, and nothing of what it held.
    #[inline]
    pub(crate) fn write_over(self, buffer: &mut Vec<u8>) {
        match self {
            Self::Shared(SharedBytes { words, length }) => {
                buffer.clear();
                copy::out_of_shared(words, length, buffer);
            }
            Self::Copied(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(bytes);
            }
            Self::Owned(bytes) => *buffer = bytes,
        }
    }

    fn into_vec(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_over(&mut bytes);
        bytes
    }
}

/// The value that `received` encodes.
#[inline]
pub(crate) fn decoded<M: Message>(received: Received<'_>) -> Result<M, DecodeError> {
    let mut value = MaybeUninit::uninit();
    M::decode(received, &mut value)?;
    // SAFETY: `decode` leaves a value there unless it fails.
    Ok(unsafe { value.assume_init() })
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
    #[cold]
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
#[repr(transparent)]
pub struct Plain<T>(pub T);

impl sealed::Sealed for Bytes {
    const FIXED: Option<usize> = None;
    const RUNS_CODE: bool = false;

    fn type_name() -> String {
        "bytes".to_owned()
    }

    fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(with(&self.0))
    }

    fn decode(received: Received<'_>, to: &mut impl Place<Self>) -> Result<(), DecodeError> {
        to.put(Self(received.into_vec()));
        Ok(())
    }
}

impl<T: bytemuck::NoUninit + bytemuck::CheckedBitPattern> sealed::Sealed for Plain<T> {
    const FIXED: Option<usize> = Some(size_of::<T>());
    const RUN: Option<usize> = match size_of::<T>() {
        0 => None,
        size if size % 8 == 0 => Some(size),
        _ => None,
    };
    const RUNS_CODE: bool = false;

    fn type_name() -> String {
        plain::type_name::<T>()
    }

    fn encode_run(values: &[Self]) -> &[u8] {
        // SAFETY: as `Self` is transparent, these are values of `T`, which has no uninitialised bytes.
        unsafe { slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
    }

    #[inline]
    fn decode_run(words: &[AtomicU64], count: usize, to: &mut Vec<Self>) -> usize {
        to.reserve(count);
        let room = to.spare_capacity_mut()[..count].as_mut_ptr();
        // SAFETY: the spare elements' own bytes; any byte may be written to uninitialised memory.
        let bytes = unsafe { slice::from_raw_parts_mut(room.cast(), count * size_of::<T>()) };
        if !copy::out_to_slice(words, bytes) {
            return 0;
        }
        // SAFETY: all bytes are initialised, and `Bits` is any bytes with the layout of `T`, which is that of `Self`.
        let bits = unsafe { slice::from_raw_parts(room.cast::<T::Bits>(), count) };
        let valid = bits.iter().take_while(|bits| T::is_valid_bit_pattern(bits));
        let valid = valid.count();
        // SAFETY: so many are values.
        unsafe { to.set_len(to.len() + valid) };
        valid
    }

    #[inline]
    fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(with(bytemuck::bytes_of(&self.0)))
    }

    #[inline]
    fn decode(received: Received<'_>, to: &mut impl Place<Self>) -> Result<(), DecodeError> {
        let room = to.room();
        // SAFETY: the room's own bytes; any byte may be written to uninitialised memory.
        let bytes = unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), size_of::<T>()) };
        if !received.copy_to(bytes) {
            return Err(not_so_long::<Self>(received.len()));
        }
        // SAFETY: all bytes are initialised, and `Bits` is any bytes with the layout of `T`, which is that of `Self`.
        let bits = unsafe { &*room.as_ptr().cast::<T::Bits>() };
        if !T::is_valid_bit_pattern(bits) {
            return Err(DecodeError::new::<Self>("the bytes are no value of it"));
        }
        // SAFETY: valid, as was just checked.
        unsafe { to.keep() };
        Ok(())
    }
}

#[cold]
fn not_so_long<M: sealed::Sealed>(length: usize) -> DecodeError {
    DecodeError::new::<M>(format!("{length} bytes are not its length"))
}

fn encode_serde<T: Serialize + ?Sized, R>(
    value: &T,
    with: impl FnOnce(&[u8]) -> R,
) -> Result<R, EncodeError> {
    let mut short = [0; SHORT];
    match postcard::to_slice(value, &mut short) {
        Ok(bytes) => Ok(with(bytes)),
        Err(postcard::Error::SerializeBufferFull) => {
            let bytes = postcard::to_stdvec(value).map_err(|e| EncodeError(e.to_string()))?;
            Ok(with(&bytes))
        }
        Err(e) => Err(EncodeError(e.to_string())),
    }
}

impl<T: Serialize + DeserializeOwned> sealed::Sealed for T {
    const FIXED: Option<usize> = None;
    const RUNS_CODE: bool = true;

    fn type_name() -> String {
        format!("serde {}", core::any::type_name::<T>())
    }

    #[inline]
    fn encode<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        encode_serde(self, with)
    }

    fn decode(received: Received<'_>, to: &mut impl Place<Self>) -> Result<(), DecodeError> {
        let mut short = [MaybeUninit::<u8>::uninit(); SHORT];
        let bytes = match &received {
            Received::Shared(bytes) if bytes.length <= SHORT => {
                let out = &mut short[..bytes.length];
                received.copy_to(out);
                // SAFETY: `out` is as long as the message, which `SharedBytes::new` saw in the words: all of it was filled.
                unsafe { out.assume_init_ref() }
            }
            Received::Copied(bytes) => bytes,
            _ => &received.into_vec(),
        };
        match postcard::take_from_bytes(bytes) {
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
