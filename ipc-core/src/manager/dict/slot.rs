//! The words of the table, and how a hash is divided.

use crate::slab::heap::Ref;

const TAG_BITS: u32 = 64 - Ref::BITS;

/// What the hash of a key says about where its pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) stripe: usize,
    /// Also where in the stripe's array the search begins, so that an array is made anew without a look at the keys.
    pub(super) tag: u16,
}

impl Hashed {
    #[inline]
    pub(super) fn of(hash: u64, stripe_bits: u32) -> Self {
        Self {
            stripe: (hash >> 48) as usize >> (16 - stripe_bits),
            tag: (hash >> 32) as u16,
        }
    }
}

/// Where the search for a tag begins in an array of so many slots.
#[inline]
pub(super) fn home(tag: u16, slots: usize) -> usize {
    (usize::from(tag) * slots) >> TAG_BITS
}

/// A place for a pair: `tag:16 | name:48`. Zero: there was never one. A name of nothing: there is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u64);

impl Slot {
    pub(super) const GONE: Self = Self(1 << 32);

    pub(super) fn new(tag: u16, name: Ref) -> Self {
        Self(u64::from(tag) << Ref::BITS | name.bits())
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) fn tag(self) -> u16 {
        (self.0 >> Ref::BITS) as u16
    }

    #[inline]
    pub(super) fn name(self) -> Option<Ref> {
        Ref::from_bits(self.0)
    }
}

/// A stripe's array: `eighths of its slots:16 | name:48`. Zero: it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root(pub(super) u64);

impl Root {
    pub(super) const NONE: Self = Self(0);
    /// Slots that an array has a multiple of.
    pub(super) const UNIT: usize = 8;
    /// The most slots of an array.
    pub(super) const MOST: usize = Self::UNIT * u16::MAX as usize;

    pub(super) fn new(slots: usize, name: Ref) -> Self {
        Self((slots / Self::UNIT) as u64 & 0xffff).with(name)
    }

    fn with(self, name: Ref) -> Self {
        Self(self.0 << Ref::BITS | name.bits())
    }

    #[inline]
    pub(super) fn slots(self) -> usize {
        (self.0 >> Ref::BITS) as usize * Self::UNIT
    }

    #[inline]
    pub(super) fn name(self) -> Option<Ref> {
        Ref::from_bits(self.0)
    }
}
