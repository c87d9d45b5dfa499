//! Where a value goes that is read in the table.

use core::mem::take;

use super::{
    errors::DictError,
    inner::{Inner, Reader},
    pair::Pair,
};
use crate::{
    error::Damage,
    message::{DecodeError, Message, Received, Room, decoded},
};

/// A value on its way out. Code of the caller's never sees bytes that may not be the value's.
#[derive(Debug)]
pub(super) struct Landing<V> {
    /// Where decoding runs no code.
    room: Room<V>,
    failure: Option<DecodeError>,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl<V: Message> Landing<V> {
    #[cold]
    fn fail(&mut self, failure: DecodeError) {
        self.failure = Some(failure);
    }

    #[inline]
    pub(super) fn new() -> Self {
        Self {
            room: Room::new(),
            failure: None,
            bytes: Vec::new(),
            is_whole: false,
        }
    }

    /// The value that was taken last.
    #[inline]
    pub(super) fn finish(mut self, inner: &Inner) -> Result<V, DictError> {
        match self.room.take() {
            Some(value) => Ok(value),
            None => self.finish_bytes(inner),
        }
    }

    /// As [`Self::finish`], for who has more than one answer.
    #[inline(always)]
    pub(super) fn finish_found(&mut self, inner: &Inner) -> Result<Option<V>, DictError> {
        match self.room.take() {
            None => self.finish_bytes(inner).map(Some),
            some => Ok(some),
        }
    }

    #[inline(never)]
    fn finish_bytes(&mut self, inner: &Inner) -> Result<V, DictError> {
        match self.failure.take() {
            Some(failure) => Err(failure.into()),
            None if self.is_whole => Ok(decoded(Received::Owned(take(&mut self.bytes)))?),
            None => Err(inner.damaged(TORN)),
        }
    }
}

impl<V: Message> Reader for Landing<V> {
    #[inline(always)]
    fn read(&mut self, pair: &Pair<'_>) {
        if !V::RUNS_CODE
            && let Some(bytes) = pair.value()
        {
            // What the room holds counts, whatever failed before that.
            self.room.clear();
            if let Err(failure) = V::decode(Received::Shared(bytes), &mut self.room) {
                self.fail(failure);
            }
            return;
        }
        self.read_copy(*pair);
    }

    fn read_copy(&mut self, pair: Pair<'_>) {
        self.room.clear();
        self.failure = None;
        self.bytes.clear();
        self.is_whole = pair.copy_value(&mut self.bytes);
    }
}

/// A value's bytes on their way out, in a buffer of the caller's.
#[derive(Debug)]
pub(super) struct Buffer<'a> {
    bytes: &'a mut Vec<u8>,
    is_whole: bool,
}

impl<'a> Buffer<'a> {
    /// The buffer is empty.
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            is_whole: false,
        }
    }

    /// Leaves the bytes that were read last, if there is a value. Whether there is one.
    pub(super) fn finish(self, is_there: bool, inner: &Inner) -> Result<bool, DictError> {
        if is_there && self.is_whole {
            return Ok(true);
        }
        self.bytes.clear();
        if is_there {
            return Err(inner.damaged(TORN));
        }
        Ok(false)
    }
}

impl Reader for Buffer<'_> {
    #[inline(always)]
    fn read(&mut self, pair: &Pair<'_>) {
        self.read_copy(*pair);
    }

    fn read_copy(&mut self, pair: Pair<'_>) {
        self.bytes.clear();
        self.is_whole = pair.copy_value(self.bytes);
    }
}

/// What a pair whose blocks are not what they should be is.
pub(super) const TORN: Damage = Damage("a pair is not as long as it says");
