//! Ends the process, with a message, when something takes too long: a hang is a failure, and a hung survivor cannot
//! report it.
//!
//! A signal and not a thread, because the process forks and should have one thread when it does.
#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;

/// The exit status of a process that its watchdog ended.
pub const EXIT_STATUS: i32 = 3;

const MESSAGE_BYTES: usize = 512;
// Relaxed throughout: written before the alarm is set, read by a handler that the alarm runs in this process.
static MESSAGE: [AtomicU8; MESSAGE_BYTES] = [const { AtomicU8::new(0) }; MESSAGE_BYTES];
static MESSAGE_LEN: AtomicUsize = AtomicUsize::new(0);

/// Runs `work`; when it takes longer than `limit` (at least a second, counted in whole seconds), prints `what` on
/// stderr and ends the process with [`EXIT_STATUS`]. Not to be nested.
pub fn guard<R>(limit: Duration, what: &str, work: impl FnOnce() -> R) -> R {
    /// Also takes the alarm back when `work` unwinds.
    struct Disarm;
    impl Drop for Disarm {
        fn drop(&mut self) {
            alarm::cancel();
        }
    }
    install_handler();
    store_message(&format!(
        "\nwatchdog: no end after {} s: {what}\n",
        limit.as_secs()
    ));
    let _disarm = Disarm;
    alarm::set(u32::try_from(limit.as_secs().max(1)).unwrap_or(u32::MAX));
    work()
}

fn store_message(text: &str) {
    let len = text.len().min(MESSAGE_BYTES);
    for (slot, byte) in MESSAGE.iter().zip(text.bytes()) {
        slot.store(byte, Ordering::Relaxed);
    }
    MESSAGE_LEN.store(len, Ordering::Relaxed);
}

fn install_handler() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let action = SigAction::new(SigHandler::Handler(bark), SaFlags::empty(), SigSet::empty());
        // SAFETY: `bark` calls only async-signal-safe functions, and nothing else in these tests uses SIGALRM.
        unsafe { sigaction(Signal::SIGALRM, &action) }.expect("SIGALRM can be handled");
    });
}

extern "C" fn bark(_: libc::c_int) {
    let len = MESSAGE_LEN.load(Ordering::Relaxed);
    // SAFETY: MESSAGE is static, `len` was bounded by its size, and AtomicU8 has the layout of u8.
    unsafe { libc::write(2, MESSAGE.as_ptr().cast(), len) };
    // SAFETY: _exit runs no code of ours.
    unsafe { libc::_exit(EXIT_STATUS) }
}
