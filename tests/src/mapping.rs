//! Memory that a trial shares with its victims, or looks at while they change it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A shared mapping; unmapped when dropped. Processes forked later see the same bytes.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: NonZeroUsize,
}

impl Mapping {
    /// Maps `len` zeroed bytes, readable and writable, that only this process and those it forks can reach.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: without MAP_FIXED the kernel picks unused addresses, so no existing memory is touched.
        let start = unsafe { mmap_anonymous(None, len, prot, MapFlags::MAP_SHARED) }?;
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// Maps all of a file, read-only, to watch what others do to it. The file must not be empty, nor shrink later.
    pub fn of_file(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::of(&File::open(path)?, ProtFlags::PROT_READ)
    }

    /// As [`of_file`](Self::of_file), to write to it as well.
    pub fn of_file_to_write(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Self::of(&file, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    fn of(file: &File, prot: ProtFlags) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: without MAP_FIXED the kernel picks unused addresses, so no existing memory is touched.
        let start = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// The first byte; page-aligned.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The length in bytes; never zero.
    pub fn len(&self) -> NonZeroUsize {
        self.len
    }

    /// All of it, as bytes to watch.
    pub fn shared(&self) -> Shared<'_> {
        Shared {
            start: self.start.as_ptr(),
            len: self.len.get(),
            mapping: PhantomData,
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value mapped exactly these bytes, and every borrow of them ends before it is dropped.
        let unmapped = unsafe { munmap(self.start.cast(), self.len.get()) };
        debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
    }
}

/// Bytes that other processes may change at any time; the engine compares and copies them while no victim runs.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    start: *const u8,
    len: usize,
    mapping: PhantomData<&'a Mapping>,
}

impl Shared<'_> {
    /// Bytes mapped by somebody else.
    ///
    /// # Safety
    /// `len` bytes from `start` must stay readable for the lifetime of the result.
    pub unsafe fn from_raw(start: *const u8, len: usize) -> Self {
        Self {
            start,
            len,
            mapping: PhantomData,
        }
    }

    /// A part of it: at most `len` bytes from byte `from`.
    #[must_use]
    pub fn part(self, from: usize, len: usize) -> Self {
        let from = from.min(self.len);
        Self {
            start: self.start.wrapping_add(from),
            len: len.min(self.len - from),
            mapping: PhantomData,
        }
    }

    /// True when the bytes equal `copy`.
    pub fn is(&self, copy: &[u8]) -> bool {
        // SAFETY: both sides are readable for `len` bytes: `self` by its constructor, `copy` by the length check.
        self.len == copy.len()
            && unsafe { libc::memcmp(self.start.cast(), copy.as_ptr().cast(), self.len) } == 0
    }

    /// Overwrites `copy` with the bytes as they are now.
    pub fn copy_to(&self, copy: &mut Vec<u8>) {
        copy.resize(self.len, 0);
        // SAFETY: readable by the constructor; `copy` was just given that length; private memory does not overlap it.
        unsafe {
            self.start
                .copy_to_nonoverlapping(copy.as_mut_ptr(), self.len)
        };
    }
}
