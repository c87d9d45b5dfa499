//! The least that moves anything between two processes: one word, or slots with one state word each, and nothing else.
//!
//! # Layout
//! A slot is a state word on a cache line of its own, then the payload. `state` of slot `i` in lap `l` is `2l` (empty,
//! the writer's) or `2l + 1` (full, the reader's); the reader leaves `2(l + 1)`.
//!
//! # Ordering
//! O1: the writer stores "full" with Release after its copy; the reader loads it with Acquire before its own.
//! O2: the reader stores "empty" with Release after its copy; the writer loads it with Acquire before its own.
//!
//! It knows nothing of death, types or sleeping, and takes one writer and one reader: that is what makes it a floor.
#![allow(unsafe_code)]

use crate::crew::{Crew, Role, Rounds, Workers};
use crate::harness::Placement;
use crate::shared::{Pages, Shared, ZeroIsValid};
use std::fmt;
use std::hint;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const LINE: usize = 64;
/// Looks before a yield: long against any answer from a running peer, short against a time slice.
const LOOKS: u32 = 4096;

/// Looks for `is_so` without pause but the processor's own, yielding only when the peer seems to have lost its core.
pub fn spin_until(mut is_so: impl FnMut() -> bool) {
    loop {
        for _ in 0..LOOKS {
            if is_so() {
                return;
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}

/// `slots` payloads of `size` bytes in anonymous shared memory.
pub struct Ring {
    pages: Pages,
    slots: usize,
    size: usize,
}

impl Ring {
    /// Maps the slots, all empty. One slot makes a mailbox.
    pub fn new(slots: usize, size: usize) -> Self {
        let pages = Pages::zeroed(slots * (LINE + size.next_multiple_of(LINE)));
        Self { pages, slots, size }
    }

    /// The two ends. Each process uses one of them; there must be no second writer or reader.
    pub fn ends(self) -> (Writer, Reader) {
        let ring = Arc::new(self);
        (
            Writer {
                ring: Arc::clone(&ring),
                sent: 0,
            },
            Reader { ring, received: 0 },
        )
    }

    fn slot(&self, position: usize) -> (&AtomicU64, *mut u8) {
        let stride = LINE + self.size.next_multiple_of(LINE);
        let start = (position % self.slots) * stride;
        // SAFETY: `at` checks the bounds, slots start on cache lines, and zero is a valid state.
        let state = unsafe { self.pages.at(start).cast::<AtomicU64>().as_ref() };
        (state, self.pages.at(start + LINE).cast::<u8>().as_ptr())
    }

    fn lap(&self, position: usize) -> u64 {
        (position / self.slots) as u64
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("slots", &self.slots)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The writing end of a [`Ring`].
#[derive(Debug)]
pub struct Writer {
    ring: Arc<Ring>,
    sent: usize,
}

impl Writer {
    /// Copies `payload` into the next slot, spinning until it is empty.
    ///
    /// # Panics
    /// When `payload` is not exactly one slot long.
    pub fn put(&mut self, payload: &[u8]) {
        assert_eq!(payload.len(), self.ring.size);
        let (state, into) = self.ring.slot(self.sent);
        let empty = 2 * self.ring.lap(self.sent);
        spin_until(|| state.load(Ordering::Acquire) == empty); // O2
        // SAFETY: the slot is `size` bytes, and ours while it is empty (O2).
        unsafe { ptr::copy_nonoverlapping(payload.as_ptr(), into, payload.len()) };
        state.store(empty + 1, Ordering::Release); // O1
        self.sent += 1;
    }
}

/// The reading end of a [`Ring`].
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    received: usize,
}

impl Reader {
    /// Copies the next slot into `payload`, spinning until it is full.
    ///
    /// # Panics
    /// When `payload` is not exactly one slot long.
    pub fn get(&mut self, payload: &mut [u8]) {
        assert_eq!(payload.len(), self.ring.size);
        let (state, from) = self.ring.slot(self.received);
        let full = 2 * self.ring.lap(self.received) + 1;
        spin_until(|| state.load(Ordering::Acquire) == full); // O1
        // SAFETY: the slot is `size` bytes, and ours while it is full (O1).
        unsafe { ptr::copy_nonoverlapping(from, payload.as_mut_ptr(), payload.len()) };
        state.store(full + 1, Ordering::Release); // O2
        self.received += 1;
    }
}

/// Two words on cache lines of their own; each of two processes writes one and watches the other. A step is a round trip.
pub fn cache_line() -> Crew {
    let lines = Arc::new(Shared::<[Line; 2]>::zeroed());
    let side = |is_first: bool| {
        let lines = Arc::clone(&lines);
        let mut sent = 0;
        let step = move |_| {
            let [there, back] = &**lines;
            sent += 1;
            if is_first {
                there.0.store(sent, Ordering::Release);
                spin_until(|| back.0.load(Ordering::Acquire) == sent);
            } else {
                spin_until(|| there.0.load(Ordering::Acquire) == sent);
                back.0.store(sent, Ordering::Release);
            }
        };
        move |rounds: &mut Rounds| rounds.each(step)
    };
    let (here, there) = Placement::Apart.cores();
    Crew::start(
        Workers::Processes,
        vec![
            Role::new("ask", here, side(true)),
            Role::new("answer", there, side(false)),
        ],
    )
}

/// A word, and a neighbour for the prefetcher that takes lines in pairs.
#[repr(align(128))]
struct Line(AtomicU64);

// SAFETY: atomics, for which zero is a value; aligned to 128.
unsafe impl ZeroIsValid for [Line; 2] {}

/// Copies in and out of slots spread over `span` bytes, in one process: the memory traffic of a message, without the peer.
#[derive(Debug)]
pub struct CopyTwice {
    ring: Ring,
    source: Vec<u8>,
    target: Vec<u8>,
    position: usize,
}

impl CopyTwice {
    /// Messages of `size` bytes over a shared mapping of about `span` bytes. A span above the core's own caches makes
    /// every slot cold when its turn comes.
    pub fn new(size: usize, span: usize) -> Self {
        let slots = (span / size).max(2);
        Self {
            ring: Ring::new(slots, size),
            source: vec![1; size],
            target: vec![0; size],
            position: 0,
        }
    }

    /// Copies private memory into the next slot, and the slot into other private memory.
    pub fn step(&mut self) {
        let (_, slot) = self.ring.slot(self.position);
        self.position += 1;
        // SAFETY: source and slot are both `size` bytes, and nobody else knows the mapping.
        unsafe {
            ptr::copy_nonoverlapping(
                hint::black_box(self.source.as_ptr()),
                slot,
                self.source.len(),
            )
        };
        let target = hint::black_box(self.target.as_mut_ptr());
        // SAFETY: slot and target are both `size` bytes, and nobody else knows the mapping.
        unsafe { ptr::copy_nonoverlapping(hint::black_box(slot), target, self.ring.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got_in_order_over_many_laps() {
        let (mut writer, mut reader) = Ring::new(3, 5).ends();
        for byte in 0..=u8::MAX {
            writer.put(&[byte; 5]);
            let mut got = [0; 5];
            reader.get(&mut got);
            assert_eq!(got, [byte; 5]);
        }
    }
}
