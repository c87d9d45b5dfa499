//! The liveness token: a lock that the kernel frees when, and only when, an address space is gone.
//!
//! An OFD lock belongs to an open file description. Ours is taken on a description of its own, which one mapped page
//! pins; the descriptor is then closed and the page is `MADV_DONTFORK`. So the lock survives `close`, `close_range` and
//! SIGSTOP, and ends with SIGKILL (also while the process is an unreaped zombie and its forked child lives) and `exec`.
//! No descriptor that holds a lock is ever inherited: see [`crate::os::fork::hold_forks`].

#![allow(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io,
    num::NonZero,
    os::fd::{AsRawFd, BorrowedFd},
    os::unix::fs::OpenOptionsExt,
    ptr::NonNull,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap},
};

use super::{
    file::Inode,
    fork::{self, NoFork},
};

#[derive(Debug, Clone, Copy)]
enum Mode {
    Shared,
    Exclusive,
    None,
}

fn one_byte(mode: Mode, byte: u64) -> libc::flock {
    let kind = match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
        Mode::None => libc::F_UNLCK,
    };
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        l_pid: 0, // the kernel insists on 0 for OFD locks
    }
}

/// Whether any description other than `file`'s holds a lock on `byte`.
pub(crate) fn is_locked(file: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    let mut lock = one_byte(Mode::Exclusive, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Locks of one object on a description that nobody else has; not yet pinned.
///
/// Holds off forks for as long as it exists.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
    page: Page,
    no_fork: NoFork,
}

impl Claim {
    /// Opens a new description of the file behind `file`, which must be `inode`, in the process whose fork epoch is
    /// `epoch`. (Somebody may have closed all descriptors and opened another file under the same number: locks on that
    /// one would prove nothing.)
    pub(crate) fn new(file: &File, inode: Inode, epoch: u32, no_fork: NoFork) -> io::Result<Self> {
        let file = reopen(file)?;
        if super::file::facts(&file)?.inode != inode {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let page = Page::of(&file, epoch)?;
        Ok(Self {
            file,
            page,
            no_fork,
        })
    }

    /// Takes `byte` unless another description has it in exclusive mode.
    pub(crate) fn try_shared(&self, byte: u64) -> io::Result<bool> {
        self.try_lock(Mode::Shared, byte)
    }

    /// Takes `byte` unless another description has it in any mode.
    pub(crate) fn try_exclusive(&self, byte: u64) -> io::Result<bool> {
        self.try_lock(Mode::Exclusive, byte)
    }

    pub(crate) fn release(&self, byte: u64) -> io::Result<()> {
        self.try_lock(Mode::None, byte).map(drop)
    }

    /// Ties the locks to this address space. The guard must outlive what a child may not find half done.
    pub(crate) fn pin(self) -> (Token, NoFork) {
        (Token { _page: self.page }, self.no_fork)
    }

    fn try_lock(&self, mode: Mode, byte: u64) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&one_byte(mode, byte))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A new description of the same inode, also when its name is gone.
fn reopen(file: &File) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Proof to every other process that this address space still exists.
#[derive(Debug)]
pub(crate) struct Token {
    _page: Page,
}

/// One inaccessible page that keeps a file description open, in this process but not in its children.
#[derive(Debug)]
struct Page {
    at: NonNull<libc::c_void>,
    length: usize,
    epoch: u32,
}

// SAFETY: a Page is an address that nobody reads or writes; unmapping it is fine from any thread.
unsafe impl Send for Page {}
// SAFETY: as for Send; it has no methods on `&self`.
unsafe impl Sync for Page {}

impl Page {
    fn of(file: &File, epoch: u32) -> io::Result<Self> {
        let length = super::map::page_size();
        let size = NonZero::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a fresh mapping without access rights aliases nothing.
        let at = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_NONE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )
        }?;
        let page = Self { at, length, epoch };
        // SAFETY: exactly the page mapped above. No lock is held yet, so a child that slipped in pins nothing.
        unsafe { madvise(at, length, MmapAdvise::MADV_DONTFORK) }?;
        Ok(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // In a child the page was never mapped: the address may belong to somebody else by now.
        if fork::epoch() == self.epoch {
            // SAFETY: mapped by `of` in this very process and not unmapped since.
            let _ = unsafe { munmap(self.at, self.length) };
        }
    }
}
