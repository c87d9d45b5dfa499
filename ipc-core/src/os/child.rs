//! Processes that this one starts, by descriptors (pidfd) that mean one process for good: whoever has its number later is not signalled and
//! not waited for.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    fs::File,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, ffi::OsStringExt, process::CommandExt},
    },
    process::Command,
    ptr,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sched::{CloneFlags, unshare},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::getppid,
};

use super::descriptor::{self, Interest};

/// Ends a child that nobody has waited for and that cannot be looked after.
pub(crate) fn abandon(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL); // a zombie keeps its number
    let _ = nix::sys::wait::waitpid(pid, None);
}

/// Where the program of this process is, also when its file was removed or replaced: a child that executes this has the same one.
const OWN_PROGRAM: &CStr = c"/proc/self/exe";

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
    /// Somebody else waited for it, or the kernel was told that nobody would.
    Untold,
}

/// How this program is to be started again. The descriptors are open until it was.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) environment: Environment,
    /// Whether it begins a process group of its own.
    pub(crate) leads_group: bool,
    /// What becomes its standard input, output and error, where that is not inherited.
    pub(crate) streams: [Option<RawFd>; 3],
    /// Descriptors of this process, in this order, and which number each gets in the child: one that the parent itself has for something
    /// that the child does not need (any more), so that nothing that the child inherits is in the way.
    pub(crate) passed: Vec<(RawFd, RawFd)>,
}

impl Start {
    /// Starts it, with no signal blocked and no signal ignored but those of a terminal: a program that was started to outlive its terminal
    /// has children that do, too.
    pub(crate) fn now(&self) -> io::Result<u32> {
        let mut actions = PosixSpawnFileActions::init()?;
        let streams = self.streams.iter().zip(0..);
        let streams = streams.filter_map(|(stream, number)| Some(((*stream)?, number)));
        for (descriptor, number) in streams.chain(self.passed.iter().copied()) {
            actions.add_dup2(descriptor, number)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        let mut heard = SigSet::all();
        for terminal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            heard.remove(terminal);
        }
        attributes.set_sigmask(&SigSet::empty())?;
        attributes.set_sigdefault(&heard)?;
        let mut flags =
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
        if self.leads_group {
            attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
            flags |= PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
        }
        attributes.set_flags(flags)?;
        let arguments: Vec<CString> = std::env::args_os().filter_map(c_string).collect();
        let pid = posix_spawn(
            OWN_PROGRAM,
            &actions,
            &attributes,
            &arguments,
            &self.environment.texts(),
        )?;
        Ok(pid.as_raw().cast_unsigned())
    }
}

fn c_string(text: OsString) -> Option<CString> {
    CString::new(text.into_vec()).ok() // what came from C has no zero inside
}

/// The variables of a process, one behind the other: hardly any memory is allocated for each, which every start would pay for.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Environment {
    /// Adds one variable, however odd; an error if there is a zero in it.
    pub(crate) fn push(&mut self, key: &OsStr, value: &OsStr) -> io::Result<()> {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        if key.contains(&0) || value.contains(&0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for part in [key, b"=", value, b"\0"] {
            self.text.extend_from_slice(part);
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    pub(crate) fn texts(&self) -> Vec<&CStr> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let parts = starts
            .zip(&self.ends)
            .map(|(start, end)| &self.text[start..*end]);
        parts
            .filter_map(|part| CStr::from_bytes_with_nul(part).ok())
            .collect() // all of them
    }
}

/// Starts another program. If `ends_by` is a signal, the thread that calls this must live as long as this process: at its end the
/// program is sent that signal, even when this process was killed.
pub(crate) fn start_command(
    command: &mut Command,
    ends_by: Option<Signal>,
) -> io::Result<std::process::Child> {
    if let Some(signal) = ends_by {
        let this = self_descriptor()?;
        let tie = move || {
            prctl::set_pdeathsig(signal)?;
            match has_ended(this.as_fd()) {
                true => Err(Errno::ESRCH.into()), // before it was tied
                false => Ok(()),
            }
        };
        // SAFETY: two system calls and no memory: `has_ended` keeps what it asks on the stack.
        unsafe { command.pre_exec(tie) };
    }
    command.spawn()
}

/// A descriptor for this process, above those of the standard streams.
pub(crate) fn self_descriptor() -> io::Result<OwnedFd> {
    above_streams(descriptor::of_process(std::process::id())?)
}

/// A descriptor for a child that nobody has waited for. `None` if there is no such child (any more).
pub(crate) fn descriptor_of(pid: u32) -> io::Result<Option<OwnedFd>> {
    match descriptor::of_process(pid) {
        Ok(fd) => Ok(Some(fd).filter(|fd| descriptor::is_own_child(fd.as_fd()))),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Gives a descriptor a number that no standard stream has.
pub(crate) fn above_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    duplicate_above_streams(fd.as_fd())
}

/// Another descriptor for the same file, whose number no standard stream has.
pub(crate) fn duplicate_above_streams(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Memory that goes with its last descriptor.
pub(crate) fn memory(name: &CStr) -> io::Result<File> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
    above_streams(fd).map(File::from)
}

/// Waits until a process has ended, or a time on the monotonic clock has come. Whether it has ended.
pub(crate) fn wait_until(process: BorrowedFd<'_>, until_ns: u64) -> io::Result<bool> {
    loop {
        let ready = descriptor::poll([(process, Interest::Readable)].into_iter(), until_ns)?;
        let is_over = until_ns != u64::MAX && super::clock::monotonic_ns() >= until_ns;
        if ready == [true] || is_over {
            return Ok(ready == [true]);
        }
    }
}

/// Whether a process has ended. Asks without memory of its own, and does not fail.
pub(crate) fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd {
        fd: process.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `asked` is one entry, and writable.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    ready == 1 && asked.revents & libc::POLLIN != 0
}

/// Takes what is left of a child that has ended. `None` while it lives, or a debugger still has it.
pub(crate) fn reap(child: BorrowedFd<'_>) -> io::Result<Option<End>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let (id, how) = (
        child.as_raw_fd().cast_unsigned(),
        libc::WEXITED | libc::WNOHANG,
    );
    let waited = loop {
        // Not through nix, which has no names for the real-time signals.
        // SAFETY: `info` is writable.
        let rc = unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), how) };
        match Errno::result(rc) {
            Err(Errno::EINTR) => {}
            other => break other,
        }
    };
    match waited {
        Ok(_) => {}
        Err(Errno::ECHILD) => return Ok(Some(End::Untold)),
        Err(e) => return Err(e.into()),
    }
    // SAFETY: zeroes are a valid one, and the kernel writes valid ones.
    let info = unsafe { info.assume_init() };
    // SAFETY: the field is one of SIGCHLD's, or still zero.
    let status = unsafe { info.si_status() };
    Ok(match info.si_code {
        libc::CLD_EXITED => Some(End::Code(status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(End::Signal(status)),
        _ => None,
    })
}

/// Sends a signal. A process that has ended gets none, which is no error.
pub(crate) fn signal(process: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let (fd, none) = (process.as_raw_fd(), ptr::null::<libc::siginfo_t>());
    // SAFETY: the kernel takes a null pointer for "as kill(2) would".
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, none, 0) };
    match Errno::result(rc) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Reads the beginning of whatever has this number.
pub(crate) fn look_into(number: RawFd, to: &mut [u8]) -> io::Result<()> {
    if number < 3 {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: only read; a number without a file is an error.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    match nix::sys::uio::pread(borrowed, to, 0)? == to.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The descriptor with this number, of which only this process's start can know that it was passed to it. From here on it is not
/// inherited. `None` if there is none.
pub(crate) fn passed(number: RawFd) -> Option<OwnedFd> {
    if number < 3 {
        return None;
    }
    // SAFETY: not closed before it is known to be ours; a number without a file is an error below.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: open, as was just seen; the caller knows from whom it has the number.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has the kernel send this process a signal when the thread that started it ends.
pub(crate) fn tie_to_parent(signal: Signal) -> io::Result<()> {
    Ok(prctl::set_pdeathsig(signal)?)
}

/// The number of the process that started this one, or of who has taken it over.
pub(crate) fn parent() -> u32 {
    getppid().as_raw().cast_unsigned()
}

/// Sends a signal to this process.
pub(crate) fn signal_self(signal: Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::getpid(), signal); // always allowed
}

/// How the kernel calls this process's first thread: at most 15 bytes.
pub(crate) fn command_name() -> Vec<u8> {
    let name = std::fs::read("/proc/self/comm").unwrap_or_default();
    name.strip_suffix(b"\n").unwrap_or(&name).to_vec()
}

/// Names the calling thread; the first thread's name is the process's.
pub(crate) fn set_command_name(name: &[u8]) {
    let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
    if let Ok(name) = CString::new(name) {
        let _ = prctl::set_name(&name); // for people only
    }
}

/// Calls `end` when this process exits, by `exit` or at the end of `main`. Not when it is killed or aborts.
pub(crate) fn at_exit(end: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the program's functions stay as long as the process.
    match unsafe { libc::atexit(end) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Removes a variable from the environment if nobody can be reading it, which is so while there is one thread. Whether it did.
pub(crate) fn remove_variable(key: &str) -> bool {
    // Changes nothing for a process with one thread, and is refused to all others: see unshare(2).
    let is_alone = unshare(CloneFlags::CLONE_VM).is_ok();
    if is_alone {
        // SAFETY: there is no other thread.
        unsafe { std::env::remove_var(key) };
    }
    is_alone
}

/// The device and the number of this program's file.
pub(crate) fn own_program() -> io::Result<(u64, u64)> {
    let facts = nix::sys::stat::stat(OWN_PROGRAM)?;
    Ok((facts.st_dev, facts.st_ino))
}
