//! Other processes of a trial that sleep in the kernel.

use std::fs;
use std::time::{Duration, Instant};

use crate::step::{Operation, Victim};

/// A process at work.
pub(super) fn running<'a>(arm: impl FnOnce() -> Operation<'a>) -> Victim {
    let mut process = Victim::fork(arm).expect("a process can be made");
    process.resume().expect("it can be resumed");
    process
}

/// A process that has come to sleep.
pub(super) fn asleep<'a>(arm: impl FnOnce() -> Operation<'a>) -> Victim {
    let sleeper = running(arm);
    wait_until(|| is_asleep(&sleeper));
    sleeper
}

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
