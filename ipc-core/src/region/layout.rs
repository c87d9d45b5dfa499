//! Where things lie in a region.

use super::Shared;

/// Keeps what one side writes off the cache lines that another side writes; two lines, because x86 fetches pairs.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct CacheLine<T>(pub(crate) T);

#[expect(unsafe_code, reason = "implements Shared")]
// SAFETY: T is Shared, and what alignment adds is padding.
unsafe impl<T: Shared> Shared for CacheLine<T> {
    fn zeroed() -> Self {
        Self(T::zeroed())
    }
}

/// Two things in one cache line of their own: what the same hand writes at the same time.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Together<A, B>(pub(crate) A, pub(crate) B);

#[expect(unsafe_code, reason = "implements Shared")]
// SAFETY: both are Shared, and what alignment adds is padding.
unsafe impl<A: Shared, B: Shared> Shared for Together<A, B> {
    fn zeroed() -> Self {
        Self(A::zeroed(), B::zeroed())
    }
}

/// Lays one thing behind another. Creator and openers run the same plan, so no offset is ever read from memory.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Planner {
    end: usize,
}

impl Planner {
    /// For what comes behind the first `end` bytes.
    pub(crate) fn behind(end: usize) -> Self {
        Self { end }
    }

    /// The next place for `count` values of `T` on a boundary of `align` bytes; `None` if no address space has it.
    pub(crate) fn place<T>(&mut self, count: usize, align: usize) -> Option<usize> {
        let align = align.max(align_of::<T>());
        let offset = self.end.checked_next_multiple_of(align)?;
        self.end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        Some(offset)
    }

    /// Bytes needed so far.
    pub(crate) fn end(&self) -> usize {
        self.end
    }
}
