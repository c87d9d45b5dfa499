//! Raw named blocks of POSIX shared memory, as Python, C and others have them.
//!
//! A block is a file in `/dev/shm` whose bytes are nobody's but the users': no header, no participants, no lock. So nothing here can know
//! who uses one, or repair what a dead process left half written: for that there are the other objects.
//!
//! Read in this order: `os/shm.rs` (how a block is made), `os/bytes.rs` (how bytes are copied), this file, `options`, `list`.

#![expect(unsafe_code, reason = "slices, for who vouches for the others")]

mod list;
mod options;

#[cfg(all(test, not(loom)))]
mod tests;

use core::{fmt, mem::MaybeUninit, slice};
use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytemuck::{CheckedBitPattern, NoUninit};

pub use list::SharedMemoryStat;
pub use options::SharedMemoryOptions;

use crate::{
    error::{Damage, Error, Result},
    object::lifetime::{self, Removal},
    os::{
        file::{self, Inode},
        shm,
    },
    region::{OutOfBounds, raw::RawBytes},
};

/// A named block of bytes in shared memory, which programs in other languages open by the same name: in Python,
/// `multiprocessing.shared_memory.SharedMemory(name=…)`.
///
/// The other objects of this library survive the death of their users; a block is memory and nothing else. Use it to meet a program that does
/// not have this library, and beside it an object of this library (an [`Event`](crate::Event), a [`Lock`](crate::Lock)) to say when the
/// bytes are ready.
///
/// # Reading and writing
///
/// Others may write at any time, so bytes are copied in and out, in bounds ([`read`](Self::read), [`write`](Self::write)) or as values
/// ([`get`](Self::get), [`set`](Self::set)). A value of 1, 2, 4 or 8 bytes at a multiple of its length is read and written in one piece; of
/// anything else a reader may see some bytes old and some new. Nothing is ordered: what is written first may be seen last. No call blocks.
///
/// # Lifetime
///
/// A block stays until its name is removed ([`unlink`](Self::unlink)), whoever dies, and after that for who has it open. Dropping a handle closes
/// it and removes nothing.
///
/// **Python's resource tracker** removes, when the Python program that started it ends, the name of every block that the program has created *or opened*, and did
/// not `unlink` itself (CPython issue 82300; up to 3.12). What has it open keeps it. A Python program that shall leave the name alone calls,
/// after it has opened the block,
/// `multiprocessing.resource_tracker.unregister("/" + shm.name, "shared_memory")`; from 3.13 on it opens with `track=False`.
///
/// # Sizes
///
/// A block is as large as its file. On Linux that is what its maker asked for; Python on other systems rounds up to whole pages of 4096
/// bytes, so ask [`size`](Self::size). All of a block that this library has made or opened for writing is reserved: no
/// access finds the file system full (Python reserves nothing, so its own do).
///
/// # When a process dies
///
/// Nobody notices. A write that was cut short is there in part. A process killed in [`create`](Self::create) may leave an empty or
/// unreserved block under the name: opening an empty one is an error; [`remove`](Self::remove) it.
///
/// # Example
///
/// ```
/// use ipc_core::SharedMemory;
///
/// let name = format!("frame-{}", std::process::id());
/// let block = SharedMemory::create(&name, 1 << 20)?;
/// block.write(64, b"pixels")?;
/// block.set(0, 6u32)?;
///
/// let same = SharedMemory::open(&name)?; // from any process
/// let length = same.get::<u32>(0)?;
/// assert_eq!(same.read_vec(64, length as usize)?, b"pixels");
/// block.unlink()?;
/// # Ok::<(), ipc_core::Error>(())
/// ```
///
/// Blocks are made by the crate [`shared_memory`](https://docs.rs/shared_memory).
#[derive(Clone)]
pub struct SharedMemory {
    block: Arc<Block>,
}

/// One mapping of a block.
struct Block {
    name: String,
    path: PathBuf,
    inode: Inode,
    file: File,
    bytes: RawBytes,
    size: usize,
}

impl SharedMemory {
    /// Makes a block of `size` bytes, all zero, under `name`, with default [options](Self::options). `name` has 1 to 250 bytes, none of
    /// which is `/`; a first `/` is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`] for a bad name or a size of 0; [`Error::NoSpace`], in which case nothing is left behind;
    /// [`Error::PermissionDenied`].
    pub fn create(name: &str, size: usize) -> Result<Self> {
        Self::options(size).create(name)
    }

    /// Opens the block `name`, whoever has made it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Truncated`] for an empty one; [`Error::NoSpace`] if what its maker did not reserve cannot be;
    /// [`Error::NotAnObject`] for what is no file; [`Error::PermissionDenied`].
    pub fn open(name: &str) -> Result<Self> {
        options::open(name, true)
    }

    /// As [`open`](Self::open), for looking only: [`write`](Self::write) and [`set`](Self::set) are refused, and nothing is reserved.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_read_only(name: &str) -> Result<Self> {
        options::open(name, false)
    }

    /// Opens the block, or makes it with `size` bytes if there is none. One that is there keeps its [size](Self::size).
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str, size: usize) -> Result<Self> {
        Self::options(size).open_or_create(name)
    }

    /// Settings for a block of `size` bytes.
    pub fn options(size: usize) -> SharedMemoryOptions {
        SharedMemoryOptions::new(size)
    }

    /// Removes the name of whatever block has it. Who has the block open keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::PermissionDenied`].
    pub fn remove(name: &str) -> Result<()> {
        lifetime::remove(&options::path_of(name)?.1, Removal::Forced)
    }

    /// The block's name, without a slash: what Python takes as `name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.block.name
    }

    /// In bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.block.size
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if there are not so many; [`Error::Truncated`] if a peer cut the block short.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let read = self.block.bytes.read_over(offset, bytes);
        self.block.done(read, offset, bytes.len())
    }

    /// A copy of `length` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_vec(&self, offset: usize, length: usize) -> Result<Vec<u8>> {
        self.block.check_bounds(offset, length)?;
        let mut bytes: Vec<u8> = Vec::with_capacity(length);
        let room: &mut [MaybeUninit<u8>] = &mut bytes.spare_capacity_mut()[..length];
        let read = self.block.bytes.read(offset, room);
        self.block.done(read, offset, length)?;
        // SAFETY: `read` has filled so many.
        unsafe { bytes.set_len(length) };
        Ok(bytes)
    }

    /// Writes `bytes` over those from `offset` on. The bytes beside them are not touched.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); [`Error::PermissionDenied`] if it was opened read-only.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        self.block.check_writable()?;
        let written = self.block.bytes.write(offset, bytes);
        self.block.done(written, offset, bytes.len())
    }

    /// The value that begins at `offset`, which need not be aligned, in the byte order of the machine.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); [`Error::NotAValue`] if the bytes are none.
    pub fn get<T: CheckedBitPattern>(&self, offset: usize) -> Result<T> {
        let got = self.block.bytes.get(offset);
        let value = got.as_ref().ok().copied().flatten();
        self.block.done(got.map(drop), offset, size_of::<T>())?;
        value.ok_or_else(|| Error::NotAValue {
            object: self.block.label(),
            offset,
            type_name: core::any::type_name::<T>(),
        })
    }

    /// Writes the bytes of `value` from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn set<T: NoUninit>(&self, offset: usize, value: T) -> Result<()> {
        self.write(offset, bytemuck::bytes_of(&value))
    }

    /// The address of the first byte, for volatile or atomic access and for other languages. It holds as long as a clone of this handle
    /// lives; of a handle that was opened read-only, nothing may be written there.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.block.bytes.base()
    }

    /// All of the block as it lies, without a copy.
    ///
    /// # Safety
    ///
    /// While the slice lives nobody writes to the block, in any process: the compiler takes the bytes for constant. That is a promise about all
    /// programs that can open the name, whatever bug they have.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped as long as `self` lives; the caller vouches for the rest.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.size()) }
    }

    /// As [`as_slice`](Self::as_slice), to write.
    ///
    /// # Safety
    ///
    /// While the slice lives nobody else reads or writes the block, in any process, through this handle or another; and this one was not
    /// opened read-only.
    #[must_use]
    #[expect(clippy::mut_from_ref, reason = "the caller vouches for that")]
    pub unsafe fn as_mut_slice(&self) -> &mut [u8] {
        // SAFETY: so many bytes are mapped as long as `self` lives; the caller vouches for the rest.
        unsafe { slice::from_raw_parts_mut(self.as_ptr(), self.size()) }
    }

    /// Removes the block's name if it still means this block. Who has it open keeps it; its memory is freed with the last of them.
    ///
    /// POSIX removes by name only. Programs that use this library look and remove under a lock, so that none of them removes the block that
    /// another has made under the name meanwhile; a program that uses bare `shm_unlink`, as Python does, can come in between.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the name is gone or means another block by now; [`Error::PermissionDenied`].
    pub fn unlink(&self) -> Result<()> {
        lifetime::remove_if(&self.block.path, Removal::Forced, Some(self.block.inode))
    }
}

impl Block {
    fn label(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// What an access has come to.
    fn done(&self, access: Result<(), OutOfBounds>, offset: usize, bytes: usize) -> Result<()> {
        access.map_err(|OutOfBounds| self.out_of_bounds(offset, bytes))?;
        if self.bytes.is_cut() {
            return Err(self.cut());
        }
        Ok(())
    }

    fn check_bounds(&self, offset: usize, bytes: usize) -> Result<()> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(self.out_of_bounds(offset, bytes)),
        }
    }

    fn check_writable(&self) -> Result<()> {
        if self.bytes.is_writable() {
            Ok(())
        } else {
            Err(Error::PermissionDenied {
                object: self.label(),
            })
        }
    }

    #[cold]
    fn out_of_bounds(&self, offset: usize, bytes: usize) -> Error {
        Error::OutOfBounds {
            object: self.label(),
            offset,
            bytes,
            size: self.size,
        }
    }

    #[cold]
    fn cut(&self) -> Error {
        match file::facts(&self.file).map(|facts| facts.bytes) {
            Ok(found) if found < self.size as u64 => Error::Truncated {
                object: self.label(),
                found,
                expected: self.size as u64,
            },
            // Longer again; or never reserved, and opened read-only on a file system that is full.
            _ => Damage("some of its memory was not there when it was used").of(&self.label()),
        }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("name", &self.name())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

/// A block on its way to another process.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ticket {
    name: String,
    inode: Inode,
    is_writable: bool,
    pid: u32,
    descriptor: i32,
}

impl Ticket {
    /// Comes to the block: by its name, or, once that is gone, through the sender while it lives.
    fn redeem(&self) -> Result<SharedMemory> {
        let (name, path) = options::path_of(&self.name)?;
        let is_it = |file: &File| file::facts(file).is_ok_and(|f| f.inode == self.inode);
        let by_name = shm::open(name, self.is_writable).ok().filter(is_it);
        let file = by_name.or_else(|| {
            file::open_of_process(self.pid, self.descriptor)
                .ok()
                .filter(is_it)
        });
        let file = file.ok_or_else(|| Error::NotFound {
            object: path.to_string_lossy().into_owned(),
        })?;
        options::over(name, path, file, self.is_writable)
    }
}

impl serde::Serialize for SharedMemory {
    /// Encodes what another process needs to open it: the name, and a way through this process in case the name is gone.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let block = &self.block;
        let ticket = Ticket {
            name: block.name.clone(),
            inode: block.inode,
            is_writable: block.bytes.is_writable(),
            pid: std::process::id(),
            descriptor: block.file.as_raw_fd(),
        };
        ticket.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for SharedMemory {
    /// Opens the block.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        ticket.redeem().map_err(serde::de::Error::custom)
    }
}

/// Where a block of that name is.
fn place(name: &str) -> PathBuf {
    Path::new(shm::DIRECTORY).join(name)
}
