//! Copying to and from any bytes of memory that others may be writing, without touching the bytes beside them.
//!
//! Values of 1, 2, 4 and 8 bytes at multiples of their length go in one piece each. As in [`super::copy`], the processor's own
//! instructions do it, so that no compiler can assume anything about bytes that others write in pieces of other lengths.

#![allow(unsafe_code)]

use core::mem::MaybeUninit;

/// From here on it pays to copy more than a piece at a time.
const LONG: usize = 32;
/// The largest piece.
const WORD: usize = 8;

/// Writes `bytes` from `to` on.
///
/// # Safety
///
/// So many bytes from `to` on are mapped and writable.
pub(crate) unsafe fn write(to: *mut u8, bytes: &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        // SAFETY: within what the caller vouches for.
        let to = unsafe { to.add(at) };
        let rest = &bytes[at..];
        let bulk = bulk(to, rest.len());
        at += if bulk > 0 {
            // SAFETY: the caller's promise; aligned, as `bulk` looked.
            unsafe { words_in(to, &rest[..bulk]) };
            bulk
        } else {
            let piece = piece(to, rest.len());
            // SAFETY: as above, and aligned to the piece's length.
            unsafe { piece_in(to, &rest[..piece]) };
            piece
        };
    }
}

/// Fills `out` from `from` on.
///
/// # Safety
///
/// So many bytes from `from` on are mapped and readable.
pub(crate) unsafe fn read(from: *const u8, out: &mut [MaybeUninit<u8>]) {
    let mut at = 0;
    while at < out.len() {
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(at) };
        let rest = &mut out[at..];
        let bulk = bulk(from, rest.len());
        at += if bulk > 0 {
            // SAFETY: the caller's promise; aligned, as `bulk` looked.
            unsafe { words_out(from, &mut rest[..bulk]) };
            bulk
        } else {
            let piece = piece(from, rest.len());
            // SAFETY: as above, and aligned to the piece's length.
            unsafe { piece_out(from, &mut rest[..piece]) };
            piece
        };
    }
}

/// How many bytes at `shared` are to go as words: none, unless they are many and aligned.
fn bulk(shared: *const u8, length: usize) -> usize {
    if length < LONG || !shared.addr().is_multiple_of(WORD) {
        return 0;
    }
    length / WORD * WORD
}

/// The length of the largest piece that begins at `shared`, with `length` bytes to go.
fn piece(shared: *const u8, length: usize) -> usize {
    let aligned = 1 << shared.addr().trailing_zeros().min(WORD.trailing_zeros());
    let fitting = 1 << length.min(WORD).ilog2();
    aligned.min(fitting)
}

#[cfg(all(target_arch = "x86_64", not(loom)))]
use x86_64::{piece_in, piece_out, words_in, words_out};

#[cfg(all(target_arch = "x86_64", not(loom)))]
mod x86_64 {
    use core::{arch::asm, mem::MaybeUninit, slice};

    use crate::{os::copy, prim::AtomicU64};

    /// One store of a register.
    macro_rules! store {
        ($store:literal, $class:ident, $value:expr, $to:expr) => {
            // SAFETY: writable, as the caller of the function vouches for.
            unsafe {
                asm!($store, in(reg) $to, in($class) $value, options(nostack, preserves_flags))
            }
        };
    }

    /// One load to a register, whose upper bits become zero.
    macro_rules! load {
        ($load:literal, $word:ident, $from:expr) => {
            // SAFETY: readable, as the caller of the function vouches for.
            unsafe {
                asm!($load, out(reg) $word, in(reg) $from, options(nostack, preserves_flags, readonly))
            }
        };
    }

    /// # Safety
    ///
    /// The bytes from `to` on are writable, and aligned to their number, which is 1, 2, 4 or 8.
    pub(super) unsafe fn piece_in(to: *mut u8, bytes: &[u8]) {
        if let [byte] = *bytes {
            store!("mov byte ptr [{}], {}", reg_byte, byte, to);
        } else if let Ok(bytes) = bytes.try_into() {
            store!(
                "mov word ptr [{}], {:x}",
                reg,
                u16::from_ne_bytes(bytes),
                to
            );
        } else if let Ok(bytes) = bytes.try_into() {
            store!(
                "mov dword ptr [{}], {:e}",
                reg,
                u32::from_ne_bytes(bytes),
                to
            );
        } else if let Ok(bytes) = bytes.try_into() {
            store!("mov qword ptr [{}], {}", reg, u64::from_ne_bytes(bytes), to);
        }
    }

    /// # Safety
    ///
    /// As many bytes as `out` has are readable from `from` on, and aligned to their number, which is 1, 2, 4 or 8.
    pub(super) unsafe fn piece_out(from: *const u8, out: &mut [MaybeUninit<u8>]) {
        let word: u64;
        match out.len() {
            1 => load!("movzx {:e}, byte ptr [{}]", word, from),
            2 => load!("movzx {:e}, word ptr [{}]", word, from),
            4 => load!("mov {:e}, dword ptr [{}]", word, from),
            _ => load!("mov {}, qword ptr [{}]", word, from),
        }
        let length = out.len();
        out.write_copy_of_slice(&word.to_ne_bytes()[..length]);
    }

    /// # Safety
    ///
    /// The bytes from `to` on are writable, and aligned to 8; they are a multiple of 8.
    pub(super) unsafe fn words_in(to: *mut u8, bytes: &[u8]) {
        // SAFETY: the caller's promise; any bytes are atomics.
        let words: &[AtomicU64] = unsafe { slice::from_raw_parts(to.cast(), bytes.len() / 8) };
        copy::into_shared(words, bytes);
    }

    /// # Safety
    ///
    /// As many bytes as `out` has, a multiple of 8, are readable from `from` on, and aligned to 8.
    pub(super) unsafe fn words_out(from: *const u8, out: &mut [MaybeUninit<u8>]) {
        // SAFETY: the caller's promise; any bytes are atomics.
        let words: &[AtomicU64] = unsafe { slice::from_raw_parts(from.cast(), out.len() / 8) };
        copy::out_to_slice(words, out);
    }
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
use anywhere::{piece_in, piece_out, words_in, words_out};

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
mod anywhere {
    use core::{
        mem::MaybeUninit,
        sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
    };

    /// # Safety
    ///
    /// The bytes from `to` on are writable, and aligned to their number, which is 1, 2, 4 or 8.
    pub(super) unsafe fn piece_in(to: *mut u8, bytes: &[u8]) {
        if let [byte] = *bytes {
            // SAFETY: the caller's promise.
            unsafe { AtomicU8::from_ptr(to) }.store(byte, Relaxed);
        } else if let Ok(bytes) = bytes.try_into() {
            // SAFETY: as above.
            unsafe { AtomicU16::from_ptr(to.cast()) }.store(u16::from_ne_bytes(bytes), Relaxed);
        } else if let Ok(bytes) = bytes.try_into() {
            // SAFETY: as above.
            unsafe { AtomicU32::from_ptr(to.cast()) }.store(u32::from_ne_bytes(bytes), Relaxed);
        } else if let Ok(bytes) = bytes.try_into() {
            // SAFETY: as above.
            unsafe { AtomicU64::from_ptr(to.cast()) }.store(u64::from_ne_bytes(bytes), Relaxed);
        }
    }

    /// # Safety
    ///
    /// As many bytes as `out` has are readable from `from` on, and aligned to their number, which is 1, 2, 4 or 8.
    pub(super) unsafe fn piece_out(from: *const u8, out: &mut [MaybeUninit<u8>]) {
        let from = from.cast_mut();
        match out.len() {
            1 => {
                // SAFETY: the caller's promise; nothing is written.
                let byte = unsafe { AtomicU8::from_ptr(from) }.load(Relaxed);
                out.write_copy_of_slice(&byte.to_ne_bytes());
            }
            2 => {
                // SAFETY: as above.
                let word = unsafe { AtomicU16::from_ptr(from.cast()) }.load(Relaxed);
                out.write_copy_of_slice(&word.to_ne_bytes());
            }
            4 => {
                // SAFETY: as above.
                let word = unsafe { AtomicU32::from_ptr(from.cast()) }.load(Relaxed);
                out.write_copy_of_slice(&word.to_ne_bytes());
            }
            _ => {
                // SAFETY: as above.
                let word = unsafe { AtomicU64::from_ptr(from.cast()) }.load(Relaxed);
                out.write_copy_of_slice(&word.to_ne_bytes());
            }
        }
    }

    /// # Safety
    ///
    /// The bytes from `to` on are writable, and aligned to 8; they are a multiple of 8.
    pub(super) unsafe fn words_in(to: *mut u8, bytes: &[u8]) {
        for (at, word) in bytes.chunks(8).enumerate() {
            // SAFETY: the caller's promise.
            let to = unsafe { to.add(at * 8) };
            // SAFETY: as above.
            unsafe { piece_in(to, word) };
        }
    }

    /// # Safety
    ///
    /// As many bytes as `out` has, a multiple of 8, are readable from `from` on, and aligned to 8.
    pub(super) unsafe fn words_out(from: *const u8, out: &mut [MaybeUninit<u8>]) {
        for (at, word) in out.chunks_mut(8).enumerate() {
            // SAFETY: the caller's promise.
            let from = unsafe { from.add(at * 8) };
            // SAFETY: as above.
            unsafe { piece_out(from, word) };
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_to_any_place_and_change_nothing_beside_it() {
        let mut shared = vec![0u64; 700 / 8];
        let base: *mut u8 = shared.as_mut_ptr().cast();
        for offset in 0..17 {
            for length in (0..40).chain([255, 256, 257, 263, 264, 500]) {
                // SAFETY: 16 + 500 bytes and the one behind are within.
                unsafe { base.write_bytes(0xff, 700 / 8 * 8) };
                let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8 & 0x7f).collect();
                // SAFETY: as above.
                let there = unsafe { base.add(offset) };
                // SAFETY: as above.
                unsafe { write(there, &bytes) };
                let mut all = vec![MaybeUninit::uninit(); 600];
                // SAFETY: as above.
                unsafe { read(base, &mut all) };
                // SAFETY: `read` filled all of it.
                let all: Vec<u8> = all.iter().map(|b| unsafe { b.assume_init() }).collect();
                assert_eq!(all[offset..offset + length], bytes, "{length} at {offset}");
                let beside = all[..offset].iter().chain(&all[offset + length..]);
                assert!(
                    beside.into_iter().all(|&b| b == 0xff),
                    "{length} at {offset}"
                );
                let mut out = vec![MaybeUninit::uninit(); length];
                // SAFETY: as above.
                unsafe { read(there, &mut out) };
                // SAFETY: as above.
                let out: Vec<u8> = out.iter().map(|b| unsafe { b.assume_init() }).collect();
                assert_eq!(out, bytes, "{length} from {offset}");
            }
        }
    }

    #[test]
    fn an_aligned_value_is_one_piece() {
        let at = |address: usize| core::ptr::without_provenance::<u8>(address);
        for length in [1, 2, 4, 8] {
            assert_eq!(piece(at(64 + length), length), length);
        }
        assert_eq!(piece(at(64), 7), 4);
        assert_eq!(piece(at(65), 8), 1);
        assert_eq!(piece(at(66), 8), 2);
        assert_eq!(piece(at(64), 100), 8);
    }
}
