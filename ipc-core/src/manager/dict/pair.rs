//! How a pair lies in its item: `[expiry] key value`, each from a word on.
//!
//! The item's bits say the rest: `key bytes:24 | unused bytes at the end:3 | kind:2`, kinds PAIR, TEMPORARY (with an expiry, in
//! nanoseconds since 1970) and ARRAY (of slots: `stripe` instead of the key's length).

use crate::{
    message::SharedBytes,
    slab::heap::{INFO_BITS, View, words_of},
};

const KIND_BITS: u32 = 2;
const UNUSED_BITS: u32 = 3;
const SHIFT: u32 = KIND_BITS + UNUSED_BITS;
const PAIR: u32 = 0;
const TEMPORARY: u32 = 1;
const ARRAY: u32 = 2;
/// The longest key, in encoded bytes.
pub(super) const MOST_KEY: usize = (1 << (INFO_BITS - SHIFT)) - 1;

/// A pair on its way into the heap.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewPair<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// In nanoseconds since 1970; 0 for ever.
    pub(super) expiry: u64,
}

impl NewPair<'_> {
    /// The item's bits. The key is not too long.
    #[inline]
    pub(super) fn info(&self) -> u32 {
        let unused = self.value.len().wrapping_neg() as u32 & 7;
        let kind = if self.expiry == 0 { PAIR } else { TEMPORARY };
        (self.key.len() as u32) << SHIFT | unused << KIND_BITS | kind
    }
}

/// The bits of a stripe's array.
pub(super) fn info_of_array(stripe: usize) -> u32 {
    (stripe as u32) << SHIFT | ARRAY
}

/// A pair in the heap, looked at. What is not part of its caller takes it by value, as in [`View`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) view: View<'a>,
    key_bytes: usize,
    value_at: usize,
    pub(super) value_bytes: usize,
    is_temporary: bool,
}

impl<'a> Pair<'a> {
    /// `None` if the item is no pair.
    #[inline(always)]
    pub(super) fn of(view: View<'a>) -> Option<Self> {
        let info = view.info();
        let kind = info & ((1 << KIND_BITS) - 1);
        let is_temporary = match kind {
            PAIR => false,
            TEMPORARY => true,
            _ => return None,
        };
        let key_bytes = (info >> SHIFT) as usize;
        let unused = (info >> KIND_BITS & 7) as usize;
        let value_at = usize::from(is_temporary) + words_of(key_bytes);
        let value_words = view.words().checked_sub(value_at)?;
        Some(Self {
            view,
            key_bytes,
            value_at,
            value_bytes: (value_words * 8).checked_sub(unused)?,
            is_temporary,
        })
    }

    fn key_at(&self) -> usize {
        usize::from(self.is_temporary)
    }

    #[inline(always)]
    pub(super) fn has_key(&self, key: &[u8]) -> bool {
        self.key_bytes == key.len() && self.view.has_at(self.key_at(), key)
    }

    pub(super) fn has_value(self, value: &[u8]) -> bool {
        self.value_bytes == value.len() && self.view.has_at(self.value_at, value)
    }

    /// Appends the key to `out`. Whether it is all there.
    pub(super) fn copy_key(self, out: &mut Vec<u8>) -> bool {
        self.view.copy_out(self.key_at(), self.key_bytes, out)
    }

    /// Appends the value to `out`. Whether it is all there.
    pub(super) fn copy_value(self, out: &mut Vec<u8>) -> bool {
        self.view.copy_out(self.value_at, self.value_bytes, out)
    }

    /// The value, where it is in one piece.
    #[inline(always)]
    pub(super) fn value(&self) -> Option<SharedBytes<'a>> {
        let words = self.view.whole()?.get(self.value_at..)?;
        SharedBytes::new(words, self.value_bytes)
    }

    /// In nanoseconds since 1970; 0 for ever.
    #[inline(always)]
    pub(super) fn expiry(&self) -> u64 {
        if self.is_temporary {
            self.view.first_word()
        } else {
            0
        }
    }

    #[inline(always)]
    pub(super) fn is_expired(&self) -> bool {
        self.is_temporary && is_past(self.expiry())
    }
}

pub(super) fn is_past(expiry: u64) -> bool {
    expiry != 0 && crate::os::clock::unix_ns() >= expiry
}

/// The stripe whose array an item is.
pub(super) fn stripe_of_array(view: &View<'_>) -> Option<usize> {
    let info = view.info();
    let is_array = info & ((1 << KIND_BITS) - 1) == ARRAY;
    is_array.then_some((info >> SHIFT) as usize)
}
