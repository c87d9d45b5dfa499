//! Copying between private memory and memory that other processes may be writing.
//!
//! Copies are in assembly, so that no compiler can assume anything about the bytes: pieces of 16 for short ones, and
//! `rep movsb` for longer ones, which runs at the speed of `memcpy`. A loop over relaxed atomics, which does the rest and
//! everything under loom and on other processors, runs at a seventh of that at 4 KiB.

#![cfg_attr(not(loom), allow(unsafe_code))]

use crate::prim::{AtomicU64, Relaxed};

/// Up to here pieces are as fast as a string instruction, which takes some cycles to start.
const SHORT: usize = 128;

/// Writes `bytes` over the start of `words`; what the last word holds behind them is unspecified. Returns whether they
/// fit.
#[inline]
pub(crate) fn into_shared(words: &[AtomicU64], bytes: &[u8]) -> bool {
    if bytes.len() > words.len() * 8 {
        return false;
    }
    if cfg!(loom) || bytes.len() <= SHORT {
        let done = pairs_in(words, bytes);
        if done < bytes.len() {
            rest_in(&words[done / 8..], &bytes[done..]);
        }
    } else {
        string_in(words, bytes);
    }
    true
}

/// Appends the first `length` bytes of `words` to `out`. Returns whether there were so many.
#[inline]
pub(crate) fn out_of_shared(words: &[AtomicU64], length: usize, out: &mut Vec<u8>) -> bool {
    if length > words.len() * 8 {
        return false;
    }
    out.reserve(length);
    if cfg!(loom) || length <= SHORT {
        let mut left = length;
        for word in &words[..length.div_ceil(8)] {
            let bytes = word.load(Relaxed).to_ne_bytes();
            let take = left.min(8);
            out.extend_from_slice(&bytes[..take]);
            left -= take;
        }
    } else {
        string_out(words, length, out);
    }
    true
}

/// Fills the start of `out` from `words`. Returns how many bytes were asked for and there.
#[inline]
pub(crate) fn out_to_slice(words: &[AtomicU64], length: usize, out: &mut [u8]) -> Option<usize> {
    let out = out.get_mut(..length)?;
    let words = words.get(..length.div_ceil(8))?;
    let done = pairs_out(words, out);
    if done < length {
        rest_out(&words[done / 8..], &mut out[done..]);
    }
    Some(length)
}

/// Stores `bytes` word by word.
fn rest_in(words: &[AtomicU64], bytes: &[u8]) {
    for (chunk, word) in bytes.chunks(8).zip(words) {
        let mut last = [0; 8];
        last[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(last), Relaxed);
    }
}

/// Fills `out` word by word.
fn rest_out(words: &[AtomicU64], out: &mut [u8]) {
    for (chunk, word) in out.chunks_mut(8).zip(words) {
        let bytes = word.load(Relaxed).to_ne_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}

/// Copies the whole 16-byte pieces of `bytes` and returns their length in bytes.
///
/// By pieces of 16, as the compiler copies values: a load that spans two narrower stores waits for both to reach the
/// cache, which costs more than the whole copy.
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline]
fn pairs_in(words: &[AtomicU64], bytes: &[u8]) -> usize {
    let length = bytes.len() / 16 * 16;
    if length > 0 {
        // SAFETY: the caller checked that `bytes` fits into `words`, which are atomics: a shared reference may be written
        // through. The assembly hides the access from the compiler as another process's would be.
        unsafe { pairs(bytes.as_ptr(), words.as_ptr().cast_mut().cast(), length) };
    }
    length
}

/// As [`pairs_in`], the other way.
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline]
fn pairs_out(words: &[AtomicU64], bytes: &mut [u8]) -> usize {
    let length = bytes.len() / 16 * 16;
    if length > 0 {
        // SAFETY: the caller cut `words` to hold all of `bytes`, which is exclusively ours.
        unsafe { pairs(words.as_ptr().cast(), bytes.as_mut_ptr(), length) };
    }
    length
}

/// Copies `length` bytes, a multiple of 16 and not 0.
///
/// # Safety
///
/// `from` is readable and `to` writable for `length` bytes; they do not overlap.
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline]
unsafe fn pairs(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "2:",
            "movups {piece}, [{from} + {at}]",
            "movups [{to} + {at}], {piece}",
            "add {at}, 16",
            "cmp {at}, {length}",
            "jb 2b",
            piece = out(xmm_reg) _,
            from = in(reg) from,
            to = in(reg) to,
            length = in(reg) length,
            at = inout(reg) 0usize => _,
            options(nostack)
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
fn pairs_in(_: &[AtomicU64], _: &[u8]) -> usize {
    0
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
fn pairs_out(_: &[AtomicU64], _: &mut [u8]) -> usize {
    0
}

#[cfg(all(target_arch = "x86_64", not(loom)))]
fn string_in(words: &[AtomicU64], bytes: &[u8]) {
    // SAFETY: `into_shared` checked that `bytes` fits; the words are atomics, so a shared reference may be written
    // through, and the assembly hides the access from the compiler as another process's would be.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") bytes.len() => _,
            inout("rsi") bytes.as_ptr() => _,
            inout("rdi") words.as_ptr().cast_mut() => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(all(target_arch = "x86_64", not(loom)))]
fn string_out(words: &[AtomicU64], length: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let spare = out.spare_capacity_mut().as_mut_ptr();
    // SAFETY: `out_of_shared` checked that `words` holds `length` bytes and reserved as many.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") length => _,
            inout("rsi") words.as_ptr() => _,
            inout("rdi") spare => _,
            options(nostack, preserves_flags)
        );
    }
    // SAFETY: the copy above initialised `length` bytes behind `start`.
    unsafe { out.set_len(start + length) };
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
fn string_in(words: &[AtomicU64], bytes: &[u8]) {
    rest_in(words, bytes);
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
fn string_out(words: &[AtomicU64], length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    for word in &words[..length.div_ceil(8)] {
        out.extend_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
    out.truncate(end);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    #[test]
    fn every_length_comes_back_as_it_went_in() {
        for length in (0..300).chain([4096, 4099]) {
            let shared = words(length / 8 + 1);
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8).collect();
            assert!(into_shared(&shared, &bytes));
            let mut out = b"before".to_vec();
            assert!(out_of_shared(&shared, length, &mut out));
            assert_eq!(&out[6..], &bytes[..], "length {length}");
            let mut array = vec![0; length + 3];
            assert_eq!(out_to_slice(&shared, length, &mut array), Some(length));
            assert_eq!(&array[..length], &bytes[..]);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let shared = words(2);
        assert!(!into_shared(&shared, &[0; 17]));
        assert!(!out_of_shared(&shared, 17, &mut Vec::new()));
        assert_eq!(out_to_slice(&shared, 17, &mut [0; 32]), None);
    }
}
