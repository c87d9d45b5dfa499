//! Plain values in shared memory: the bytes as they lie, checked on the way out.

#![allow(unsafe_code)]

use core::{mem::MaybeUninit, slice};

use bytemuck::CheckedBitPattern;

use crate::{os::copy, prim::AtomicU64};

/// How an object remembers that it holds values of `T`.
pub(crate) fn type_name<T>() -> String {
    format!(
        "plain {} ({} bytes)",
        core::any::type_name::<T>(),
        size_of::<T>()
    )
}

/// The value at the start of `words`; `None` if its bytes are not all there, or are no value.
#[inline(always)]
pub(crate) fn read<T: CheckedBitPattern>(words: &[AtomicU64]) -> Option<T> {
    let mut room = MaybeUninit::<T::Bits>::uninit();
    // SAFETY: the room's own bytes; any byte may be written to uninitialised memory.
    let bytes =
        unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), size_of::<T::Bits>()) };
    if !copy::out_to_slice(words, bytes) {
        return None;
    }
    // SAFETY: all bytes are initialised, and `Bits` is any bytes.
    let bits = unsafe { room.assume_init_ref() };
    if !T::is_valid_bit_pattern(bits) {
        return None;
    }
    // SAFETY: `Bits` has the layout of `T`, and the bits are valid, as was just checked.
    Some(unsafe { room.as_ptr().cast::<T>().read() })
}
