//! Ctrl-C and its kin, noticed between two steps instead of in the middle of one.

use std::{
    fs,
    io::{self, Read},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag, low_level,
};

use crate::exit::{Failure, Outcome};

/// Waits in shared memory cannot be woken by a signal, so they come up for air this often.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Remembers the signals that ask this process to end.
#[derive(Debug)]
pub(crate) struct Signals {
    caught: Arc<AtomicUsize>,
    /// Readable once a signal came, so that a wait for a file ends too.
    bell: UnixStream,
}

impl Signals {
    /// From now on SIGINT, SIGTERM and SIGHUP are noted; one that was ignored from the start stays ignored.
    pub(crate) fn watch() -> Outcome<Self> {
        let install = || -> io::Result<Self> {
            let caught = Arc::new(AtomicUsize::new(0));
            let (bell, clapper) = UnixStream::pair()?;
            bell.set_nonblocking(true)?;
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                if !is_ignored(signal) {
                    // In this order: who hears the bell finds the number.
                    flag::register_usize(
                        signal,
                        Arc::clone(&caught),
                        signal.unsigned_abs() as usize,
                    )?;
                    low_level::pipe::register(signal, clapper.try_clone()?)?;
                }
            }
            Ok(Self { caught, bell })
        };
        install().map_err(|e| Failure::Other(format!("could not watch for signals: {e}")))
    }

    /// Fails once a signal came.
    #[inline]
    pub(crate) fn check(&self) -> Outcome {
        // Relaxed: the number is all there is to learn.
        match self.caught.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Failure::Signal(i32::try_from(signal).unwrap_or(0))),
        }
    }

    /// Forgets the signal that came last, and says which that was.
    pub(crate) fn forget(&self) -> Option<i32> {
        let mut rings = [0; 64];
        // In this order: a bell that is not heard now finds no number later, which does no harm.
        while matches!((&self.bell).read(&mut rings), Ok(1..)) {}
        let caught = self.caught.swap(0, Ordering::Relaxed);
        i32::try_from(caught).ok().filter(|&number| number > 0)
    }

    /// Waits until `file` is ready for `wanted`, or has failed, or `timeout` is over. Fails when a signal comes first.
    pub(crate) fn wait_for(
        &self,
        file: BorrowedFd<'_>,
        wanted: PollFlags,
        timeout: Option<Duration>,
    ) -> Outcome<PollFlags> {
        let ready = self.wait_for_any(&[(file, wanted)], timeout)?;
        Ok(ready[0])
    }

    /// As [`wait_for`](Self::wait_for), for any of several files. What each of them is ready for.
    pub(crate) fn wait_for_any(
        &self,
        files: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Option<Duration>,
    ) -> Outcome<Vec<PollFlags>> {
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let files = files.iter();
        let mut polled: Vec<PollFd<'_>> = files
            .map(|(file, wanted)| PollFd::from_borrowed_fd(*file, *wanted))
            .chain([PollFd::new(&self.bell, PollFlags::IN)])
            .collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Failure::Other(format!("could not wait: {e}"))),
        }
        self.check()?;
        polled.pop();
        Ok(polled.iter().map(PollFd::revents).collect())
    }
}

/// As people call it.
pub(crate) fn name(signal: Signal) -> &'static str {
    low_level::signal_name(signal.as_raw()).unwrap_or("a signal")
}

/// Whether this process was started with `signal` ignored, as by `nohup` or a script's `&`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
