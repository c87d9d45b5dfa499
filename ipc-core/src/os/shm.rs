//! Named blocks of POSIX shared memory, which C, Python and others open by the same name.
//!
//! A block is made by the crate `shared_memory`, and is its no longer at once: what that crate drops it unlinks *by name*, also a
//! successor's or, after a fork, the parent's. It only sets the length, which a full file system does not refuse; so everything
//! else is done on a descriptor of our own.

use std::{fs::File, io, os::fd::AsFd};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate},
    sys::{mman::shm_open, stat::Mode},
};
use shared_memory::{ShmemConf, ShmemError};

use super::{file, map};

/// Where Linux has them.
pub(crate) const DIRECTORY: &str = "/dev/shm";

/// Makes a block of `bytes` bytes, which are not reserved yet; `None` if its name is gone, or means another block, already.
pub(crate) fn create(name: &str, bytes: usize) -> io::Result<Option<File>> {
    let made = ShmemConf::new().os_id(full(name)).size(bytes).create();
    let mut made = made.map_err(error_of)?;
    made.set_owner(false);
    let inode = map::inode_at(made.as_ptr().addr())?;
    match open(name, true) {
        Ok(file) if file::facts(&file)?.inode == inode => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens a block, never through a symbolic link.
pub(crate) fn open(name: &str, is_writable: bool) -> io::Result<File> {
    let access = if is_writable {
        OFlag::O_RDWR
    } else {
        OFlag::O_RDONLY
    };
    let flags = access | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match shm_open(full(name).as_str(), flags, Mode::empty()) {
        Ok(descriptor) => Ok(descriptor.into()),
        Err(Errno::EINVAL) => Err(Errno::EISDIR.into()), // what the C library makes of that
        Err(errno) => Err(errno.into()),
    }
}

/// Reserves what is behind the first `bytes` bytes of a file and was not until now, and does not make it longer.
pub(crate) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
    loop {
        match fallocate(file.as_fd(), FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn full(name: &str) -> String {
    format!("/{name}")
}

fn error_of(e: ShmemError) -> io::Error {
    match e {
        ShmemError::MappingIdExists => Errno::EEXIST.into(),
        ShmemError::MapCreateFailed(errno) | ShmemError::UnknownOsError(errno) => {
            io::Error::from_raw_os_error(errno.cast_signed())
        }
        _ => Errno::EINVAL.into(),
    }
}
