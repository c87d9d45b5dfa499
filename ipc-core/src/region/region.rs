//! A span of memory that more than one process may be using.
//!
//! A [`Region`] owns the memory, mapped from a file or on the heap (for loom and for unit tests), and hands out
//! bounds-checked [`Span`]s of atomics, never a `&mut`. Only types made of atomics may be in it ([`Shared`]), so any byte
//! a peer writes at any time is a value, not undefined behaviour.
//!
//! Writing without atomics is possible only through [`Fresh`], which is a region that nobody else can reach yet.

#![allow(unsafe_code)]

use core::{
    fmt,
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};
use std::{
    fs::File,
    io,
    sync::{Arc, OnceLock},
};

use memmap2::MmapRaw;

use crate::{
    os::{file, sigbus::Guard},
    prim::{AtomicU8, AtomicU16, AtomicU32, AtomicU64},
};

/// Regions start on a boundary that suits everything we place in them.
const ALIGN: usize = 4096;

/// A type that may lie in memory which other processes write at any time.
///
/// # Safety
///
/// It consists of atomics and padding only, every bit pattern is valid, and `zeroed` is the value of all-zero bytes.
pub(crate) unsafe trait Shared: Sized {
    fn zeroed() -> Self;
}

// SAFETY: an atomic, and zero is zero.
unsafe impl Shared for AtomicU8 {
    fn zeroed() -> Self {
        Self::new(0)
    }
}

// SAFETY: an atomic, and zero is zero.
unsafe impl Shared for AtomicU16 {
    fn zeroed() -> Self {
        Self::new(0)
    }
}

// SAFETY: an atomic, and zero is zero.
unsafe impl Shared for AtomicU32 {
    fn zeroed() -> Self {
        Self::new(0)
    }
}

// SAFETY: an atomic, and zero is zero.
unsafe impl Shared for AtomicU64 {
    fn zeroed() -> Self {
        Self::new(0)
    }
}

// SAFETY: an array of what is Shared has neither padding nor patterns of its own.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {
    fn zeroed() -> Self {
        core::array::from_fn(|_| T::zeroed())
    }
}

/// The place asked for lies outside the region, or is not aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfBounds;

enum Backing {
    Mapped {
        guard: Guard,
        _map: MmapRaw,
    },
    #[cfg(any(test, loom))]
    Heap(std::alloc::Layout),
}

/// Memory shared by every holder of the region.
pub(crate) struct Region {
    base: NonNull<u8>,
    length: usize,
    backing: Backing,
    /// Of a mapped region, once its object knows it: for [`Self::reserve`] and [`Self::give_back`].
    file: OnceLock<Arc<File>>,
}

// SAFETY: a Region is an address range; what is placed in it are atomics.
unsafe impl Send for Region {}
// SAFETY: as for Send.
unsafe impl Sync for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Region {
    /// The memory of a mapped file.
    pub(crate) fn mapped(map: MmapRaw) -> Result<Arc<Self>, OutOfBounds> {
        let base = NonNull::new(map.as_mut_ptr()).ok_or(OutOfBounds)?;
        Ok(Arc::new(Self {
            base,
            length: map.len(),
            backing: Backing::Mapped {
                guard: Guard::new(base.addr().get(), map.len()),
                _map: map,
            },
            file: OnceLock::new(),
        }))
    }

    /// Tells the region its file.
    pub(crate) fn set_file(&self, file: Arc<File>) {
        let _ = self.file.set(file); // the same, if it was set
    }

    /// Allocates `length` bytes of the file behind the region from `offset` on, so that no later store there can find the file system
    /// full. What was there stays; what was not is zero. Memory of this process alone has all it needs.
    pub(crate) fn reserve(&self, offset: usize, length: usize) -> io::Result<()> {
        match self.file.get() {
            Some(of) => file::reserve(of, offset as u64, length as u64),
            None if self.is_mapped() => Err(io::ErrorKind::Unsupported.into()),
            None => Ok(()),
        }
    }

    /// Gives pages back to the file system, which read zero from now on, and must not be touched before they are reserved again.
    pub(crate) fn give_back(&self, offset: usize, length: usize) -> io::Result<()> {
        match self.file.get() {
            Some(of) => file::punch(of, offset as u64, length as u64),
            None => Ok(()),
        }
    }

    /// Bytes that this user may still take where the region's file is; 0 if nobody knows.
    pub(crate) fn available(&self) -> u64 {
        self.file
            .get()
            .and_then(|of| file::space_beside(of).ok())
            .unwrap_or(0)
    }

    fn is_mapped(&self) -> bool {
        matches!(self.backing, Backing::Mapped { .. })
    }

    /// Whether a peer cut the file short, so that some of this memory is no longer shared.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut_flag().load(Ordering::Relaxed)
    }

    /// What [`Self::is_cut`] looks at, for who looks often. Meaningful while the region lives.
    pub(crate) fn cut_flag(&self) -> &'static AtomicBool {
        match &self.backing {
            Backing::Mapped { guard, .. } => guard.flag(),
            #[cfg(any(test, loom))]
            Backing::Heap(_) => {
                static NEVER: AtomicBool = AtomicBool::new(false);
                &NEVER
            }
        }
    }

    /// The address of its first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// In bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// `count` values of `T`, `offset` bytes in.
    pub(crate) fn span<T: Shared>(
        self: &Arc<Self>,
        offset: usize,
        count: usize,
    ) -> Result<Span<T>, OutOfBounds> {
        let end = size_of::<T>()
            .checked_mul(count)
            .and_then(|bytes| bytes.checked_add(offset));
        let fits = end.is_some_and(|end| end <= self.length);
        let aligned = offset.is_multiple_of(align_of::<T>()) && align_of::<T>() <= ALIGN;
        if !(fits && aligned) {
            return Err(OutOfBounds);
        }
        // SAFETY: `offset <= end <= length`, so the result stays in the region.
        let first = unsafe { self.base.byte_add(offset) }.cast();
        Ok(Span {
            first,
            count,
            _region: Arc::clone(self),
        })
    }

    /// One value of `T`, `offset` bytes in.
    pub(crate) fn one<T: Shared>(self: &Arc<Self>, offset: usize) -> Result<One<T>, OutOfBounds> {
        self.span(offset, 1).map(One)
    }
}

#[cfg(any(test, loom))]
impl Drop for Region {
    fn drop(&mut self) {
        if let Backing::Heap(layout) = self.backing {
            // SAFETY: `Fresh::on_heap` allocated `base` with this layout.
            unsafe { std::alloc::dealloc(self.base.as_ptr(), layout) };
        }
    }
}

/// A region that nobody else can reach yet, all zero.
#[derive(Debug)]
pub(crate) struct Fresh(Arc<Region>);

impl Fresh {
    /// Takes a mapping of a file that has neither content nor name yet.
    pub(crate) fn mapped(map: MmapRaw) -> Result<Self, OutOfBounds> {
        Region::mapped(map).map(Self)
    }

    /// Zeroed memory of this process alone.
    #[cfg(any(test, loom))]
    pub(crate) fn on_heap(length: usize) -> Result<Self, OutOfBounds> {
        let layout = std::alloc::Layout::from_size_align(length, ALIGN).map_err(|_| OutOfBounds)?;
        if length == 0 {
            return Err(OutOfBounds);
        }
        // SAFETY: `layout` has a non-zero size.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(OutOfBounds)?;
        Ok(Self(Arc::new(Region {
            base,
            length,
            backing: Backing::Heap(layout),
            file: OnceLock::new(),
        })))
    }

    /// Begins the life of `count` values of `T` at `offset`, each the value of all-zero bytes.
    pub(crate) fn place<T: Shared>(
        &mut self,
        offset: usize,
        count: usize,
    ) -> Result<(), OutOfBounds> {
        let span = self.0.span::<T>(offset, count)?;
        // All-zero memory already holds `T::zeroed()`, by the contract of Shared; only loom's types need a constructor.
        if cfg!(loom) {
            for i in 0..count {
                // SAFETY: `span` checked that `count` values are in bounds.
                let at = unsafe { span.first.add(i) };
                // SAFETY: in bounds and aligned, and nobody else can reach the region yet.
                unsafe { at.write(T::zeroed()) };
            }
        }
        Ok(())
    }

    /// The region as it will be, for first values.
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.0
    }

    /// The region, from now on shared.
    pub(crate) fn share(self) -> Arc<Region> {
        self.0
    }
}

/// Some values in a region, which it keeps alive.
pub(crate) struct Span<T> {
    first: NonNull<T>,
    count: usize,
    _region: Arc<Region>,
}

// SAFETY: a Span gives access to atomics only (Shared).
unsafe impl<T: Shared> Send for Span<T> {}
// SAFETY: as for Send.
unsafe impl<T: Shared> Sync for Span<T> {}

impl<T: Shared> Deref for Span<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: bounds and alignment were checked by `span`, the region is alive, and T is valid for any bytes.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T> Clone for Span<T> {
    fn clone(&self) -> Self {
        Self {
            first: self.first,
            count: self.count,
            _region: Arc::clone(&self._region),
        }
    }
}

impl<T> fmt::Debug for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// One value in a region, which it keeps alive.
#[derive(Debug)]
pub(crate) struct One<T>(Span<T>);

impl<T> Clone for One<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Shared> Deref for One<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a One is a Span of exactly one.
        unsafe { self.0.first.as_ref() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_span_outside_its_region_is_refused() {
        let region = Fresh::on_heap(4096).unwrap().share();
        assert_eq!(region.span::<AtomicU64>(0, 512).unwrap().len(), 512);
        assert!(region.span::<AtomicU64>(0, 513).is_err());
        assert!(region.span::<AtomicU64>(4, 1).is_err(), "misaligned");
        assert!(region.span::<AtomicU64>(8, usize::MAX).is_err(), "overflow");
    }

    #[test]
    fn a_span_keeps_its_region() {
        let span = Fresh::on_heap(4096)
            .unwrap()
            .share()
            .span::<AtomicU64>(8, 1)
            .unwrap();
        span[0].store(7, crate::prim::Relaxed);
        assert_eq!(span[0].load(crate::prim::Relaxed), 7);
    }
}
