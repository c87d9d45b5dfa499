//! Memory that processes share: anonymous, for forked children, and of a file.
#![allow(unsafe_code)]

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::fmt;
use std::fs::File;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;

/// A type that processes may share: all its state is atomic, and all-zero bytes are a value of it.
///
/// # Safety
/// Zero bytes are a valid value, the type holds no pointer, and its alignment is at most a page.
pub unsafe trait ZeroIsValid: Sync {}

// SAFETY: a zero atomic is a valid atomic.
unsafe impl ZeroIsValid for std::sync::atomic::AtomicU32 {}
// SAFETY: a zero atomic is a valid atomic.
unsafe impl ZeroIsValid for std::sync::atomic::AtomicU64 {}

/// Zeroed pages, mapped shared and present from the start; unmapped by each process on drop.
pub(crate) struct Pages {
    start: NonNull<c_void>,
    len: NonZeroUsize,
}

impl Pages {
    pub(crate) fn zeroed(len: usize) -> Self {
        let len = NonZeroUsize::new(len).expect("a length above zero");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start =
            unsafe { mmap_anonymous(None, len, protection, flags) }.expect("map shared memory");
        Self { start, len }
    }

    /// The first `len` bytes of `file`, which has them.
    fn of(file: &File, len: usize) -> Self {
        let len = NonZeroUsize::new(len).expect("a length above zero");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, file, 0) }
            .expect("map the file");
        Self { start, len }
    }

    /// The address `offset` bytes in.
    pub(crate) fn at(&self, offset: usize) -> NonNull<c_void> {
        assert!(
            offset < self.len.get(),
            "offset {offset} is outside of the mapping"
        );
        // SAFETY: inside the mapping, by the check above.
        unsafe { self.start.byte_add(offset) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `zeroed` mapped exactly these pages, and whoever borrowed them borrowed `self`.
        let unmapped = unsafe { munmap(self.start, self.len.get()) };
        debug_assert!(unmapped.is_ok(), "unmap shared memory: {unmapped:?}");
    }
}

// SAFETY: the pages belong to no thread; what is done with them is `Shared`'s and `Ring`'s to argue.
unsafe impl Send for Pages {}
// SAFETY: as above; `&Pages` gives out addresses only.
unsafe impl Sync for Pages {}

/// Maps the first `len` bytes of `file`, reads the first of them, and unmaps: the least that attaching to a file takes.
///
/// # Panics
/// When the file cannot be mapped.
pub fn map_and_touch(file: &File, len: usize) -> u8 {
    let pages = Pages::of(file, len);
    // SAFETY: the first byte of the mapping; volatile, since others may write it.
    unsafe { pages.at(0).cast::<u8>().read_volatile() }
}

/// One `T` in shared memory, zero at first. Children forked while it exists see the same `T`.
pub struct Shared<T> {
    pages: Pages,
    holds: PhantomData<T>,
}

impl<T: ZeroIsValid> Shared<T> {
    /// Maps memory for one `T`.
    pub fn zeroed() -> Self {
        Self {
            pages: Pages::zeroed(size_of::<T>()),
            holds: PhantomData,
        }
    }
}

impl<T: ZeroIsValid> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping holds a `T`: big enough, page-aligned, valid as zeroes, and shared only atomically (all
        // by `ZeroIsValid` and `zeroed`).
        unsafe { self.pages.at(0).cast::<T>().as_ref() }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("start", &self.pages.start)
            .finish_non_exhaustive()
    }
}
