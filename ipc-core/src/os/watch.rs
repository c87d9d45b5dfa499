//! One thread that sleeps until any of many descriptors is ready, or until it is called.

use std::{io, os::fd::BorrowedFd};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::{clock, descriptor::Bell};

/// The key of the bell.
const CALL: u64 = u64::MAX;
/// Descriptors told of at a time.
const AT_A_TIME: usize = 64;
/// Who waits longer is called once in between.
const LONGEST_MS: u64 = 3_600_000;

/// Descriptors, each under a key, and a bell. A forked child shares what its parent watches, and must leave it alone.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: Epoll,
    bell: Bell,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let bell = Bell::new()?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, CALL))?;
        Ok(Self { epoll, bell })
    }

    /// Tells of a descriptor once, when it can be read or has ended. Any key but the highest.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        match self.epoll.add(fd, EpollEvent::new(once, key)) {
            Err(Errno::EEXIST) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Does not tell of it any more.
    pub(crate) fn forget(&self, fd: BorrowedFd<'_>) {
        let _ = self.epoll.delete(fd); // it may not be there
    }

    /// Has [`Self::wait`] return.
    pub(crate) fn call(&self) {
        self.bell.ring();
    }

    /// Sleeps until a descriptor is ready, or it is called. The keys of what is ready. An error means that somebody has closed what is ours.
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        self.wait_until(u64::MAX)
    }

    /// As [`Self::wait`], or until a time on the monotonic clock, to a millisecond, has come.
    pub(crate) fn wait_until(&self, until_ns: u64) -> io::Result<Vec<u64>> {
        let mut ready = [EpollEvent::empty(); AT_A_TIME];
        let left = until_ns.saturating_sub(clock::monotonic_ns());
        let timeout = match until_ns {
            u64::MAX => EpollTimeout::NONE,
            _ => {
                let ms = left.div_ceil(1_000_000).min(LONGEST_MS);
                EpollTimeout::try_from(ms as i32).unwrap_or(EpollTimeout::ZERO)
            }
        };
        let count = match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        let keys: Vec<u64> = ready[..count].iter().map(EpollEvent::data).collect();
        if keys.contains(&CALL) {
            self.bell.silence();
        }
        Ok(keys.into_iter().filter(|key| *key != CALL).collect())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::{io::Write, os::fd::AsFd};

    #[test]
    fn what_is_ready_is_told_once_and_a_call_ends_the_wait() {
        let watch = Watch::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        watch.add(reader.as_fd(), 7).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(watch.wait().unwrap(), [7]);
        watch.call();
        assert!(watch.wait().unwrap().is_empty());
        watch.forget(reader.as_fd());
        watch.add(reader.as_fd(), 8).unwrap();
        assert_eq!(watch.wait().unwrap(), [8]);
    }
}
