//! Where a message goes that comes out of a channel.

use core::mem::{self, MaybeUninit};

use crate::message::{DecodeError, Message, Received};

/// Where a message goes.
pub(in crate::channel) trait Target {
    /// Whether [`Self::receive`] runs code of the caller's, which may fork.
    const RUNS_CODE: bool;

    /// An empty buffer for the bytes of a long message.
    fn buffer(&mut self) -> Vec<u8>;

    /// Takes a message.
    fn receive(&mut self, received: Received<'_>) -> Result<(), DecodeError>;
}

/// A value is decoded to its place.
impl<T: Message> Target for MaybeUninit<T> {
    const RUNS_CODE: bool = T::RUNS_CODE;

    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }

    #[inline]
    fn receive(&mut self, received: Received<'_>) -> Result<(), DecodeError> {
        T::decode(received, self)
    }
}

/// Bytes replace what the buffer held.
impl Target for Vec<u8> {
    const RUNS_CODE: bool = false;

    fn buffer(&mut self) -> Vec<u8> {
        self.clear();
        mem::take(self)
    }

    #[inline]
    fn receive(&mut self, received: Received<'_>) -> Result<(), DecodeError> {
        received.write_over(self);
        Ok(())
    }
}
