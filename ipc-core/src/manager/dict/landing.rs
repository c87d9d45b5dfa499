//! Where a value goes that is read in the table.

use core::marker::PhantomData;

use super::{errors::DictError, inner::Inner, pair::Pair};
use crate::{
    error::Damage,
    message::{DecodeError, Message, Received, decoded},
};

/// A value on its way out. Code of the caller's never sees bytes that may not be the value's.
#[derive(Debug)]
pub(super) struct Landing<V> {
    /// Where decoding runs no code.
    value: Option<Result<V, DecodeError>>,
    bytes: Vec<u8>,
    is_whole: bool,
    _value: PhantomData<V>,
}

impl<V: Message> Landing<V> {
    pub(super) fn new() -> Self {
        Self {
            value: None,
            bytes: Vec::new(),
            is_whole: false,
            _value: PhantomData,
        }
    }

    /// Takes what the pair says now, instead of what was taken before.
    #[inline]
    pub(super) fn read(&mut self, pair: &Pair<'_>) {
        if !V::RUNS_CODE
            && let Some(bytes) = pair.value()
        {
            self.value = Some(decoded(Received::Shared(bytes)));
            return;
        }
        self.value = None;
        self.bytes.clear();
        self.is_whole = pair.copy_value(&mut self.bytes);
    }

    /// The value that was taken last.
    #[inline]
    pub(super) fn finish(self, inner: &Inner) -> Result<V, DictError> {
        match self.value {
            Some(value) => Ok(value?),
            None if self.is_whole => Ok(decoded(Received::Owned(self.bytes))?),
            None => Err(inner.damaged(TORN)),
        }
    }
}

/// What a pair whose blocks are not what they should be is.
pub(super) const TORN: Damage = Damage("a pair is not as long as it says");
