//! Starting another program without copying this process for it: the new process borrows this one's memory until it executes the program, and the
//! thread that starts it waits for that, as `posix_spawn` has it. That knows no signal for the parent's end; this does.
//!
//! # What the child may do
//!
//! It runs in the parent's memory, on a stack of its own, beside the parent's other threads: only system calls that touch none of that. All signals are blocked
//! before it is there, as a handler of the parent's must not run in it, and it gives each of them its default action before it
//! unblocks any.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::RawFd,
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
};

/// The stack of the child: what `execve` and the calls before it need, with much to spare.
const STACK: usize = 64 << 10;
/// One more than the highest signal.
const SIGNALS: i32 = 65;

/// Another program, and how it is to be started.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) path: &'a CStr,
    /// Its own name first.
    pub(crate) arguments: &'a [CString],
    /// All of it.
    pub(crate) environment: &'a [&'a CStr],
    /// What becomes its standard input, output and error, where that is not inherited: none of them is one of those.
    pub(crate) streams: [Option<RawFd>; 3],
    pub(crate) directory: Option<&'a CStr>,
    /// Whether it begins a process group of its own.
    pub(crate) leads_group: bool,
    /// What it is sent when the thread that starts it ends.
    pub(crate) ends_by: Option<Signal>,
}

/// What the child reads, and the one thing that it writes.
struct Order<'a> {
    program: &'a Program<'a>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    parent: libc::pid_t,
    /// Why it did not come to execute the program. Relaxed: who reads it waits in the kernel until the child is gone.
    failure: AtomicI32,
}

impl Program<'_> {
    /// Starts it, and returns its number once it executes the program. Its signals are neither blocked nor, but for those of a terminal, ignored.
    pub(crate) fn start(&self) -> io::Result<u32> {
        let arguments = self.arguments.iter().map(|text| text.as_ptr());
        let environment = self.environment.iter().map(|text| text.as_ptr());
        let order = Order {
            program: self,
            arguments: arguments.chain([ptr::null()]).collect(),
            environment: environment.chain([ptr::null()]).collect(),
            parent: std::process::id().cast_signed(),
            failure: AtomicI32::new(0),
        };
        let mut before = SigSet::empty();
        pthread_sigmask(
            SigmaskHow::SIG_BLOCK,
            Some(&SigSet::all()),
            Some(&mut before),
        )?;
        let pid = borrow(&order);
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        let pid = pid?;
        match order.failure.load(Ordering::Relaxed) {
            0 => Ok(pid.cast_unsigned()),
            errno => {
                let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None); // it has exited
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
}

/// Has the child run in this process's memory until it has executed its program, or exited.
fn borrow(order: &Order<'_>) -> io::Result<libc::pid_t> {
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
    let top = stack
        .as_mut_ptr_range()
        .start
        .wrapping_add(stack.capacity());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone, aligned as u128 is, and ends where `top` says; by CLONE_VFORK both it and the order outlive the child's
    // use of them. What the child does there stands in the module's documentation.
    let pid = unsafe {
        libc::clone(
            child,
            top.cast(),
            flags,
            ptr::from_ref(order).cast_mut().cast(),
        )
    };
    Ok(Errno::result(pid)?)
}

/// The child. Never returns but by an exit of its own.
extern "C" fn child(order: *mut libc::c_void) -> libc::c_int {
    // SAFETY: what `borrow` has passed; nobody writes to it but through an atomic.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    let Err(errno) = become_program(order);
    order.failure.store(errno as i32, Ordering::Relaxed);
    127
}

/// Only system calls.
fn become_program(order: &Order<'_>) -> Result<core::convert::Infallible, Errno> {
    let program = order.program;
    for signal in 1..SIGNALS {
        be_heard(signal);
    }
    for (stream, number) in program.streams.iter().zip(0..) {
        if let Some(stream) = stream {
            // SAFETY: this process's own descriptors, of which nobody else knows.
            Errno::result(unsafe { libc::dup2(*stream, number) })?;
        }
    }
    if program.leads_group {
        // SAFETY: plain numbers.
        Errno::result(unsafe { libc::setpgid(0, 0) })?;
    }
    if let Some(directory) = program.directory {
        // SAFETY: a string that outlives this.
        Errno::result(unsafe { libc::chdir(directory.as_ptr()) })?;
    }
    if let Some(signal) = program.ends_by {
        // SAFETY: plain numbers.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) })?;
        // SAFETY: no arguments.
        if unsafe { libc::getppid() } != order.parent {
            return Err(Errno::ESRCH); // it ended before that
        }
    }
    let none = SigSet::empty();
    // SAFETY: a valid set; no handler is left that could run.
    Errno::result(unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ref(), ptr::null_mut()) })?;
    let (arguments, environment) = (order.arguments.as_ptr(), order.environment.as_ptr());
    // SAFETY: strings and arrays that end with null pointers, and outlive this.
    unsafe { libc::execve(program.path.as_ptr(), arguments, environment) };
    Err(Errno::last())
}

/// Gives a signal its default action, unless it is ignored and a terminal's: a program that was started to outlive its terminal has children that do,
/// too.
fn be_heard(signal: i32) {
    // SAFETY: zeroes are a valid one.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: writable. Fails for the C library's own signals, and for those that have no other action.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    let is_terminals = matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGQUIT);
    let stays = action.sa_sigaction == libc::SIG_DFL
        || (is_terminals && action.sa_sigaction == libc::SIG_IGN);
    if asked == 0 && !stays {
        action.sa_sigaction = libc::SIG_DFL;
        action.sa_flags = 0;
        // SAFETY: a valid action. This process has a table of its own: without CLONE_SIGHAND it is a copy.
        let _ = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn run(program: &Program<'_>) -> io::Result<i32> {
        use nix::sys::wait::{WaitStatus, waitpid};
        let pid = nix::unistd::Pid::from_raw(program.start()?.cast_signed());
        match waitpid(pid, None)? {
            WaitStatus::Exited(_, code) => Ok(code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_has_what_it_was_given() {
        let script = "test \"$A$0\" = bname && test \"$PWD\" = / && read -r stat < /proc/$$/stat && set -- $stat \
                      && test $5 = $$ && exit 5";
        let arguments = [c"name", c"-c", c"", c"name"].map(CStr::to_owned);
        let mut arguments = arguments.to_vec();
        arguments[2] = CString::new(script).unwrap();
        let program = Program {
            path: c"/bin/sh",
            arguments: &arguments,
            environment: &[c"A=b", c"PATH=/bin:/usr/bin"],
            streams: [None; 3],
            directory: Some(c"/"),
            leads_group: true,
            ends_by: Some(Signal::SIGKILL),
        };
        assert_eq!(run(&program).unwrap(), 5);
    }

    #[test]
    fn a_program_that_is_not_there_leaves_no_process() {
        let program = Program {
            path: c"/nowhere/at/all",
            arguments: &[],
            environment: &[],
            streams: [None; 3],
            directory: None,
            leads_group: false,
            ends_by: None,
        };
        assert_eq!(program.start().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
