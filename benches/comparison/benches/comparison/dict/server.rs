//! Processes that a worker starts.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where a server runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On the core of who starts it.
    Here,
    /// Where the kernel likes.
    Anywhere,
}

/// A process that is killed when this is dropped, or when who started it dies.
pub(super) struct Child(pub(super) std::process::Child);

impl Child {
    pub(super) fn start(mut command: Command, place: Place) -> Self {
        let prepare = move || {
            set_pdeathsig(Signal::SIGKILL)?;
            if place == Place::Anywhere {
                ipc_benches::unpin();
            }
            Ok(())
        };
        // SAFETY: system calls only, and the cores are known by now.
        unsafe { command.pre_exec(prepare) };
        Self(command.spawn().expect("start a process"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
