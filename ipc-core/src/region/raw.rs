//! A region of bytes that have no structure of ours, and that others write as they like.

#![allow(unsafe_code)]

use core::{mem::MaybeUninit, slice};
use std::sync::Arc;

use bytemuck::CheckedBitPattern;

use super::{OutOfBounds, Region};
use crate::os::bytes;

/// All bytes of a region.
#[derive(Debug, Clone)]
pub(crate) struct RawBytes {
    region: Arc<Region>,
    is_writable: bool,
}

impl RawBytes {
    /// Over a region that is mapped writable only if `is_writable`.
    pub(crate) fn new(region: Arc<Region>, is_writable: bool) -> Self {
        Self {
            region,
            is_writable,
        }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Whether a peer cut the file short, so that some of this memory is no longer shared.
    pub(crate) fn is_cut(&self) -> bool {
        self.region.is_cut()
    }

    /// The address of the first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.region.base().as_ptr()
    }

    /// Writes `bytes` over those from `offset` on, and touches no others. Never if they may not be written.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let to = self.within(offset, bytes.len())?;
        if !self.is_writable {
            return Err(OutOfBounds);
        }
        // SAFETY: `within` looked, and the region is mapped writable.
        unsafe { bytes::write(to, bytes) };
        Ok(())
    }

    /// Fills `out` from `offset` on; then all of it is initialised.
    pub(crate) fn read(
        &self,
        offset: usize,
        out: &mut [MaybeUninit<u8>],
    ) -> Result<(), OutOfBounds> {
        let from = self.within(offset, out.len())?;
        // SAFETY: `within` looked.
        unsafe { bytes::read(from, out) };
        Ok(())
    }

    /// As [`Self::read`], over bytes that are there already.
    pub(crate) fn read_over(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfBounds> {
        // SAFETY: the same bytes; nothing but bytes is ever written to them, so that all stay initialised.
        let out = unsafe { slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len()) };
        self.read(offset, out)
    }

    /// The value at `offset`; `None` if its bytes are none.
    pub(crate) fn get<T: CheckedBitPattern>(
        &self,
        offset: usize,
    ) -> Result<Option<T>, OutOfBounds> {
        let mut room = MaybeUninit::<T::Bits>::uninit();
        // SAFETY: the room's own bytes; any byte may be written to uninitialised memory.
        let bytes =
            unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), size_of::<T::Bits>()) };
        self.read(offset, bytes)?;
        // SAFETY: all bytes are initialised, and `Bits` is any bytes.
        let bits = unsafe { room.assume_init_ref() };
        if !T::is_valid_bit_pattern(bits) {
            return Ok(None);
        }
        // SAFETY: `Bits` has the layout of `T`, and the bits are valid, as was just checked.
        Ok(Some(unsafe { room.as_ptr().cast::<T>().read() }))
    }

    fn within(&self, offset: usize, length: usize) -> Result<*mut u8, OutOfBounds> {
        let end = offset.checked_add(length).ok_or(OutOfBounds)?;
        if end > self.region.length() {
            return Err(OutOfBounds);
        }
        // SAFETY: not behind the region's end.
        Ok(unsafe { self.base().add(offset) })
    }
}
