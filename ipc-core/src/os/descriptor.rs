//! Descriptors that say when something has happened: eventfd, pidfd, and whatever else can be polled.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::clock;

/// A counter that is readable while it is not zero. Not inherited by programs that are executed.
#[derive(Debug)]
pub(crate) struct Bell(File);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        owned(fd).map(|fd| Self(fd.into()))
    }

    pub(crate) fn ring(&self) {
        // Refused only while it rings as loud as it can.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    pub(crate) fn silence(&self) {
        // Refused only while it is silent.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl std::os::fd::AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that is readable once the process has ended.
pub(crate) fn of_process(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: pidfd_open takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(RawFd::try_from(fd).unwrap_or(-1))
}

/// Whether the process is a child of this one that nobody has waited for.
pub(crate) fn is_own_child(process: BorrowedFd<'_>) -> bool {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let id = process.as_raw_fd().cast_unsigned();
    // SAFETY: `info` is writable, and WNOWAIT leaves the child to who waits for it.
    unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), flags) == 0 }
}

/// What to poll a descriptor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

/// Which of the descriptors are ready, or have ended or failed; sleeps while none is, until a time on the monotonic clock. May
/// return early.
pub(crate) fn poll<'a>(
    descriptors: impl Iterator<Item = (BorrowedFd<'a>, Interest)>,
    until_ns: u64,
) -> io::Result<Vec<bool>> {
    let entry = |(fd, interest): (BorrowedFd<'a>, Interest)| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
        },
        revents: 0,
    };
    let mut entries: Vec<_> = descriptors.map(entry).collect();
    let left = match until_ns {
        0 => 0, // now, without a look at the clock
        until => until.saturating_sub(clock::monotonic_ns()),
    };
    let timeout = clock::timespec(left);
    // SAFETY: the kernel reads and writes `entries` and reads `timeout`; both outlive the call.
    let rc = unsafe {
        libc::ppoll(
            entries.as_mut_ptr(),
            entries.len() as libc::nfds_t,
            &raw const timeout,
            ptr::null(),
        )
    };
    if rc < 0 {
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
        entries.iter_mut().for_each(|entry| entry.revents = 0);
    }
    Ok(entries.iter().map(|entry| entry.revents != 0).collect())
}
