//! Other processes of a trial that sleep in the kernel.

use std::fs;
use std::time::{Duration, Instant};

use crate::step::Victim;

/// Whether a running process is in a futex call, where it sleeps or is about to.
pub(super) fn is_asleep(process: &Victim) -> bool {
    is_in_futex(process.pid().as_raw())
}

/// The same of any process.
pub(super) fn is_in_futex(pid: i32) -> bool {
    is_in_call(pid, libc::SYS_futex)
}

/// Whether a process is in this system call.
pub(super) fn is_in_call(pid: i32, wanted: i64) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = text.split_whitespace().next().and_then(|n| n.parse().ok());
    number == Some(wanted)
}

/// Waits until something is so.
///
/// # Panics
///
/// When it is not in good time.
pub(super) fn wait_until(fact: impl Fn() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it never came true"
        );
        std::thread::yield_now();
    }
}
