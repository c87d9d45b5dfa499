//! Values of 1, 2, 4 or 8 bytes, each an atomic of that width.
//!
//! # Ordering
//!
//! * O1. Whatever writes is a Release, whatever reads an Acquire: what was done before a value was written is seen after it was read.
//!   That is for the users, who announce other things by a value.
//!
//! # If a process dies
//!
//! Nothing is ever half done.

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::{
    error::Damage,
    prim::{AcqRel, Acquire, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Release},
};
use core::sync::atomic::Ordering;

const READ: Ordering = Acquire; // O1
const WRITE: Ordering = Release; // O1
const CHANGE: Ordering = AcqRel; // O1

/// How often a value may change under the hands of one caller: more than any crowd does.
const RACES: u32 = 1 << 20;
const RESTLESS: Damage = Damage("a value of it never stays what it is");

/// The value, as a number.
#[inline(always)]
pub(super) fn bits_of<T: NoUninit>(value: &T) -> u64 {
    match *bytemuck::bytes_of(value) {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => 0, // no value of this module
    }
}

/// The value that the number is, if it is any.
#[inline(always)]
pub(super) fn value_of<T: CheckedBitPattern>(bits: u64) -> Option<T> {
    let read = bytemuck::checked::try_pod_read_unaligned;
    let value = match size_of::<T>() {
        1 => read(&(bits as u8).to_ne_bytes()),
        2 => read(&(bits as u16).to_ne_bytes()),
        4 => read(&(bits as u32).to_ne_bytes()),
        _ => read(&bits.to_ne_bytes()),
    };
    value.ok()
}

/// Where one value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Narrow<'a> {
    One(&'a AtomicU8),
    Two(&'a AtomicU16),
    Four(&'a AtomicU32),
    Eight(&'a AtomicU64),
}

/// Evaluates an expression with `$atomic` standing for the atomic, and `$bits` for its numbers.
macro_rules! each {
    ($narrow:expr, $atomic:ident, $bits:ident => $body:expr) => {
        match $narrow {
            Narrow::One($atomic) => {
                type $bits = u8;
                $body
            }
            Narrow::Two($atomic) => {
                type $bits = u16;
                $body
            }
            Narrow::Four($atomic) => {
                type $bits = u32;
                $body
            }
            Narrow::Eight($atomic) => {
                type $bits = u64;
                $body
            }
        }
    };
}

#[expect(
    clippy::unnecessary_cast,
    trivial_numeric_casts,
    reason = "of the widest to itself"
)]
impl Narrow<'_> {
    #[inline(always)]
    pub(super) fn load(self) -> u64 {
        each!(self, atomic, Bits => {
            let bits: Bits = atomic.load(READ);
            bits as u64
        })
    }

    #[inline(always)]
    pub(super) fn store(self, bits: u64) {
        each!(self, atomic, Bits => atomic.store(bits as Bits, WRITE));
    }

    #[inline(always)]
    pub(super) fn swap(self, bits: u64) -> u64 {
        each!(self, atomic, Bits => atomic.swap(bits as Bits, CHANGE) as u64)
    }

    /// What was there, as the error if it was not what was expected.
    #[inline(always)]
    pub(super) fn compare_exchange(self, expected: u64, new: u64) -> Result<u64, u64> {
        each!(self, atomic, Bits => {
            let exchanged = atomic.compare_exchange(expected as Bits, new as Bits, CHANGE, READ);
            exchanged.map(|bits| bits as u64).map_err(|bits| bits as u64)
        })
    }

    #[inline(always)]
    pub(super) fn fetch_add(self, bits: u64) -> u64 {
        each!(self, atomic, Bits => atomic.fetch_add(bits as Bits, CHANGE) as u64)
    }

    #[inline(always)]
    pub(super) fn fetch_and(self, bits: u64) -> u64 {
        each!(self, atomic, Bits => atomic.fetch_and(bits as Bits, CHANGE) as u64)
    }

    #[inline(always)]
    pub(super) fn fetch_or(self, bits: u64) -> u64 {
        each!(self, atomic, Bits => atomic.fetch_or(bits as Bits, CHANGE) as u64)
    }

    #[inline(always)]
    pub(super) fn fetch_xor(self, bits: u64) -> u64 {
        each!(self, atomic, Bits => atomic.fetch_xor(bits as Bits, CHANGE) as u64)
    }

    /// Replaces what is there by what `change` makes of it, unless that is nothing. What was there.
    #[inline(always)]
    pub(super) fn update(self, change: impl Fn(u64) -> Option<u64>) -> Result<u64, Damage> {
        let mut seen = self.load();
        for _ in 0..RACES {
            let Some(next) = change(seen) else {
                return Ok(seen);
            };
            match self.compare_exchange(seen, next) {
                Ok(was) => return Ok(was),
                Err(now) => seen = now,
            }
        }
        Err(RESTLESS)
    }
}
