//! Copying between private memory and memory that other processes may be writing.
//!
//! Copies are in assembly, so that no compiler can assume anything about the bytes; short ones in, and what is left over at the
//! end, are relaxed atomics. Under loom and on other processors those do everything, at a seventh of the speed at 4 KiB.
//!
//! Neither `rep movsb` nor the C library's `memcpy`, which uses it from some kilobytes on: where the target lies 1 to 15 bytes
//! ahead of the source within a page, AMD Zen 4 takes 18 µs for 64 KiB instead of 1.2.

#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use crate::prim::{AtomicU64, Relaxed};

/// What streams are made of, in bytes.
const STREAM_ALIGN: usize = 64;

/// Writes `bytes` over the start of `words`; what the last word holds behind them is unspecified. Returns whether they
/// fit.
#[inline]
pub(crate) fn into_shared(words: &[AtomicU64], bytes: &[u8]) -> bool {
    if bytes.len() > words.len() * 8 {
        return false;
    }
    let done = lines_in(words, bytes);
    let (whole, rest) = bytes[done..].as_chunks();
    let words = &words[done / 8..];
    // Pieces of 8, not 16: a load that spans two narrower stores, such as those that just made the message, waits for both
    // to reach the cache, which costs more than the whole copy.
    for (chunk, word) in whole.iter().zip(words) {
        word.store(u64::from_ne_bytes(*chunk), Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_ne_bytes(last), Relaxed);
    }
    true
}

/// As [`into_shared`], but what is aligned to [`STREAM_ALIGN`] goes past the caches to memory, and is in order with later
/// stores only after [`end_streams`].
pub(crate) fn stream_into_shared(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let length = bytes.len() / STREAM_ALIGN * STREAM_ALIGN;
    if bytes.len() > words.len() * 8 || !streams_in(words, &bytes[..length]) {
        return into_shared(words, bytes);
    }
    into_shared(&words[length / 8..], &bytes[length..])
}

/// Puts everything streamed before everything stored later.
pub(crate) fn end_streams() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: every x86-64 processor has it.
    unsafe {
        core::arch::x86_64::_mm_sfence();
    }
}

/// Appends the first `length` bytes of `words` to `out`. Returns whether there were so many.
pub(crate) fn out_of_shared(words: &[AtomicU64], length: usize, out: &mut Vec<u8>) -> bool {
    if length > words.len() * 8 {
        return false;
    }
    out.reserve(length);
    out_to_slice(words, &mut out.spare_capacity_mut()[..length]);
    // SAFETY: there were so many words, so all of the slice behind the old length was filled.
    unsafe {
        out.set_len(out.len() + length);
    }
    true
}

/// Fills `out` from the start of `words`. Returns whether they were so long; then all of `out` is initialised.
#[inline]
pub(crate) fn out_to_slice(words: &[AtomicU64], out: &mut [MaybeUninit<u8>]) -> bool {
    let Some(words) = words.get(..out.len().div_ceil(8)) else {
        return false;
    };
    let lines = lines_out(words, out);
    let (words, out) = (&words[lines / 8..], &mut out[lines..]);
    let pairs = pairs_out(words, out);
    for (chunk, word) in out[pairs..].chunks_mut(8).zip(&words[pairs / 8..]) {
        let bytes = word.load(Relaxed).to_ne_bytes();
        chunk.write_copy_of_slice(&bytes[..chunk.len()]);
    }
    true
}

/// Whether `words` begin with `bytes`.
#[inline]
pub(crate) fn is_equal(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let Some(words) = words.get(..bytes.len().div_ceil(8)) else {
        return false;
    };
    let (whole, rest) = bytes.as_chunks();
    let is_same = whole
        .iter()
        .zip(words)
        .all(|(chunk, word)| word.load(Relaxed) == u64::from_ne_bytes(*chunk));
    let last = || words[whole.len()].load(Relaxed).to_ne_bytes();
    is_same && (rest.is_empty() || last()[..rest.len()] == *rest)
}

/// As [`out_to_slice`], over bytes that are there already.
pub(crate) fn out_to_bytes(words: &[AtomicU64], out: &mut [u8]) -> bool {
    // SAFETY: the same bytes; nothing but bytes is ever written to them, so that all stay initialised.
    let out = unsafe { core::slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len()) };
    out_to_slice(words, out)
}

/// As [`into_shared`], from byte `offset` of `words` on, and without a change to any other byte. Nobody else writes to the
/// words meanwhile, or what they hold is anybody's guess.
pub(crate) fn into_shared_at(words: &[AtomicU64], offset: usize, bytes: &[u8]) -> bool {
    let is_within = offset
        .checked_add(bytes.len())
        .is_some_and(|end| end <= words.len() * 8);
    if !is_within {
        return false;
    }
    let (torn, rest) = bytes.split_at(bytes.len().min(offset.next_multiple_of(8) - offset));
    if !torn.is_empty() {
        patch(&words[offset / 8], offset % 8, torn);
    }
    let words = &words[offset.div_ceil(8)..];
    let (whole, last) = rest.split_at(rest.len() / 8 * 8);
    into_shared(words, whole);
    if !last.is_empty() {
        patch(&words[whole.len() / 8], 0, last);
    }
    true
}

/// Writes `bytes` over some of a word.
fn patch(word: &AtomicU64, at: usize, bytes: &[u8]) {
    let mut all = word.load(Relaxed).to_ne_bytes();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    word.store(u64::from_ne_bytes(all), Relaxed);
}

/// As [`out_to_bytes`], from byte `offset` of `words` on.
pub(crate) fn out_to_bytes_at(words: &[AtomicU64], offset: usize, out: &mut [u8]) -> bool {
    let is_within = offset
        .checked_add(out.len())
        .is_some_and(|end| end <= words.len() * 8);
    if !is_within {
        return false;
    }
    let torn = out.len().min(offset.next_multiple_of(8) - offset);
    let (torn, whole) = out.split_at_mut(torn);
    if !torn.is_empty() {
        let word = words[offset / 8].load(Relaxed).to_ne_bytes();
        torn.copy_from_slice(&word[offset % 8..][..torn.len()]);
    }
    out_to_bytes(&words[offset.div_ceil(8)..], whole)
}

/// Lets the processor fetch the cache line of `word` while the caller goes on.
#[inline(always)]
pub(crate) fn fetch_ahead(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a hint, which reads nothing.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(word).cast());
    }
    #[cfg(any(not(target_arch = "x86_64"), loom))]
    let _ = word;
}

/// As [`fetch_ahead`], to write: nobody else has the line then.
#[inline(always)]
pub(crate) fn fetch_to_write(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a hint, which reads and writes nothing; where it is unknown, it does nothing.
    unsafe {
        core::arch::asm!(
            "prefetchw [{}]",
            in(reg) core::ptr::from_ref(word),
            options(nostack, preserves_flags)
        );
    }
    #[cfg(any(not(target_arch = "x86_64"), loom))]
    let _ = word;
}

/// Has the processor write the cache lines of `words` to memory and forget them, so that who writes there next need not take them from
/// this one. Says nothing about order. Does nothing where the processor cannot do so line by line at once.
pub(crate) fn evict(words: &[AtomicU64]) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    if x86_64::can_evict() {
        // A line that is half of others' words is forgotten, too; nothing is lost by that.
        words.chunks(8).for_each(|line| x86_64::evict(&line[0]));
    }
    #[cfg(any(not(target_arch = "x86_64"), loom))]
    let _ = words;
}

/// The text in `words`, up to its first zero byte.
pub(crate) fn text_out(words: &[AtomicU64]) -> String {
    let mut bytes = Vec::new();
    out_of_shared(words, words.len() * 8, &mut bytes);
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(all(target_arch = "x86_64", not(loom)))]
use x86_64::{lines_in, lines_out, pairs_out, streams_in};

#[cfg(all(target_arch = "x86_64", not(loom)))]
mod x86_64 {
    use core::arch::asm;
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    use super::{AtomicU64, MaybeUninit};

    /// Up to here it does not pay to start the loop over lines.
    const SHORT: usize = 128;
    /// Bytes that the loop copies at a time.
    const LINE: usize = 64;

    /// Whether the processor has `clflushopt`: leaf 7, bit 23 of `ebx`.
    pub(super) fn can_evict() -> bool {
        static CAN: OnceLock<bool> = OnceLock::new();
        *CAN.get_or_init(|| __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx >> 23 & 1 != 0)
    }

    /// Evicts the line of `word`, where that [can be done](can_evict).
    #[inline]
    pub(super) fn evict(word: &AtomicU64) {
        // SAFETY: what the line holds is in memory then, and nothing else changes; the caller has seen that the processor knows it.
        unsafe {
            asm!(
                "clflushopt [{}]",
                in(reg) core::ptr::from_ref(word),
                options(nostack, preserves_flags)
            );
        }
    }

    /// A loop over lines with this instruction to store half a line.
    macro_rules! copy_lines {
        ($store:literal, $from:expr, $to:expr, $length:expr) => {
            asm!(
                "2:",
                "vmovups ymm0, [{from} + {at}]",
                "vmovups ymm1, [{from} + {at} + 32]",
                concat!($store, " [{to} + {at}], ymm0"),
                concat!($store, " [{to} + {at} + 32], ymm1"),
                "add {at}, 64",
                "cmp {at}, {length}",
                "jb 2b",
                "vzeroupper",
                from = in(reg) $from,
                to = in(reg) $to,
                length = in(reg) $length,
                at = inout(reg) 0usize => _,
                // `vzeroupper` touches all of them.
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack)
            )
        };
    }

    /// Copies the first whole lines of a long message, and returns their length in bytes.
    #[inline]
    pub(super) fn lines_in(words: &[AtomicU64], bytes: &[u8]) -> usize {
        if bytes.len().min(words.len() * 8) <= SHORT {
            return 0;
        }
        let length = bytes.len().min(words.len() * 8) / LINE * LINE;
        // SAFETY: within both. The words are atomics: a shared reference may be written through. The assembly hides the
        // access from the compiler as another process's would be.
        unsafe { lines(bytes.as_ptr(), words.as_ptr().cast_mut().cast(), length) };
        length
    }

    /// As [`lines_in`], the other way.
    #[inline]
    pub(super) fn lines_out(words: &[AtomicU64], bytes: &mut [MaybeUninit<u8>]) -> usize {
        if bytes.len().min(words.len() * 8) <= SHORT {
            return 0;
        }
        let length = bytes.len().min(words.len() * 8) / LINE * LINE;
        // SAFETY: within both, and `bytes` is exclusively ours.
        unsafe { lines(words.as_ptr().cast(), bytes.as_mut_ptr().cast(), length) };
        length
    }

    /// Copies the first whole 16-byte pieces, as the compiler copies values, and returns their length in bytes: a piece that
    /// is loaded again as a whole does not wait for its parts to reach the cache.
    #[inline]
    pub(super) fn pairs_out(words: &[AtomicU64], bytes: &mut [MaybeUninit<u8>]) -> usize {
        let length = bytes.len().min(words.len() * 8) / 16 * 16;
        if length > 0 {
            // SAFETY: as in `lines_out`.
            unsafe { pairs(words.as_ptr().cast(), bytes.as_mut_ptr().cast(), length) };
        }
        length
    }

    /// Copies whole lines past the caches, if the processor can and `words` are aligned; returns whether it did.
    pub(super) fn streams_in(words: &[AtomicU64], lines: &[u8]) -> bool {
        let can = words.as_ptr().addr().is_multiple_of(LINE)
            && lines.len().is_multiple_of(LINE)
            && !lines.is_empty()
            && lines.len() <= words.len() * 8
            && std::is_x86_feature_detected!("avx");
        if can {
            let to: *mut u8 = words.as_ptr().cast_mut().cast();
            // SAFETY: as in `lines_in`; aligned and AVX as just asked.
            unsafe { copy_lines!("vmovntps", lines.as_ptr(), to, lines.len()) };
        }
        can
    }

    /// Copies `length` bytes, a multiple of 64 and not 0.
    ///
    /// # Safety
    ///
    /// `from` is readable and `to` writable for `length` bytes; they do not overlap.
    unsafe fn lines(from: *const u8, to: *mut u8, length: usize) {
        if !std::is_x86_feature_detected!("avx") {
            // SAFETY: the caller's promise; a multiple of 64 is one of 16.
            return unsafe { pairs(from, to, length) };
        }
        // SAFETY: the caller's promise, and the processor has the instructions.
        unsafe { copy_lines!("vmovups", from, to, length) };
    }

    /// Copies `length` bytes, a multiple of 16 and not 0.
    ///
    /// # Safety
    ///
    /// As for [`lines`].
    #[inline]
    unsafe fn pairs(from: *const u8, to: *mut u8, length: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
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
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
use anywhere::{lines_in, lines_out, pairs_out, streams_in};

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
mod anywhere {
    use super::{AtomicU64, MaybeUninit};

    pub(super) fn lines_in(_: &[AtomicU64], _: &[u8]) -> usize {
        0
    }

    pub(super) fn lines_out(_: &[AtomicU64], _: &mut [MaybeUninit<u8>]) -> usize {
        0
    }

    pub(super) fn pairs_out(_: &[AtomicU64], _: &mut [MaybeUninit<u8>]) -> usize {
        0
    }

    pub(super) fn streams_in(_: &[AtomicU64], _: &[u8]) -> bool {
        false
    }
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
            let shared = words(length / 8 + 2);
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8).collect();
            assert!(into_shared(&shared, &bytes));
            assert_eq!(
                shared[length.div_ceil(8)].load(Relaxed),
                u64::MAX,
                "and nothing behind it"
            );
            let mut out = b"before".to_vec();
            assert!(out_of_shared(&shared, length, &mut out));
            assert_eq!(&out[6..], &bytes[..], "length {length}");
        }
    }

    #[test]
    fn a_stream_of_any_length_and_alignment_comes_back_as_it_went_in() {
        let shared = words(4096 / 8 + 8);
        for start in 0..8 {
            for length in (0..200).chain([4000, 4096]) {
                let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + start) as u8).collect();
                let shared = &shared[start..];
                let behind = shared
                    .get(length.div_ceil(8))
                    .map(|word| word.load(Relaxed));
                assert!(stream_into_shared(shared, &bytes));
                end_streams();
                let now = shared
                    .get(length.div_ceil(8))
                    .map(|word| word.load(Relaxed));
                assert_eq!(now, behind, "and nothing behind it");
                let mut out = Vec::new();
                assert!(out_of_shared(shared, length, &mut out));
                assert_eq!(out, bytes, "length {length} at {start}");
            }
        }
    }

    #[test]
    fn a_piece_goes_to_any_place_and_changes_nothing_beside_it() {
        for offset in 0..20 {
            for length in (0..40).chain([300, 301]) {
                let shared = words(42);
                let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8).collect();
                assert!(into_shared_at(&shared, offset, &bytes));
                let mut all = vec![0; 42 * 8];
                assert!(out_to_bytes(&shared, &mut all));
                let (before, rest) = all.split_at(offset);
                assert!(before.iter().chain(&rest[length..]).all(|&b| b == 255));
                assert_eq!(rest[..length], bytes, "{length} bytes at {offset}");
                let mut out = vec![0; length];
                assert!(out_to_bytes_at(&shared, offset, &mut out));
                assert_eq!(out, bytes, "{length} bytes at {offset}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let shared = words(2);
        assert!(!into_shared(&shared, &[0; 17]));
        assert!(!stream_into_shared(&shared, &[0; 17]));
        assert!(!out_of_shared(&shared, 17, &mut Vec::new()));
        assert!(!out_to_slice(&shared, &mut [MaybeUninit::uninit(); 17]));
        for offset in [16, 17, usize::MAX] {
            assert!(!into_shared_at(&shared, offset, &[0]));
            assert!(!out_to_bytes_at(&shared, offset, &mut [0]));
        }
        assert!(into_shared_at(&shared, 16, &[]) && out_to_bytes_at(&shared, 16, &mut []));
    }
}
