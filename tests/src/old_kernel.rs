//! Processes for which the kernel is as old as we still support: it does not know `futex_waitv` (since 5.16).
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the process that `command` starts, and its children, see `errno` when they call `futex_waitv`: `ENOSYS`, as before Linux 5.16, or
/// `EPERM`, as from a container's filter that does not know the call.
pub fn without_futex_waitv(command: &mut Command, errno: i32) -> &mut Command {
    // SAFETY: what runs between fork and exec are two system calls, and it touches no memory but its own.
    unsafe { command.pre_exec(move || refuse_futex_waitv(errno)) }
}

/// Whether this process can call it.
pub fn has_futex_waitv() -> bool {
    // SAFETY: the kernel reads nothing when asked for no words at all.
    unsafe { libc::syscall(libc::SYS_futex_waitv, 0, 0, 0, 0, 0) };
    io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// A filter of the kernel's, which outlives an exec (<https://docs.kernel.org/userspace-api/seccomp_filter.html>).
fn refuse_futex_waitv(errno: i32) -> io::Result<()> {
    let op = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0), // the call's number
        libc::sock_filter {
            jf: 1,
            ..op(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                libc::SYS_futex_waitv as u32,
            )
        },
        op(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: takes no memory.
    let asked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel reads `filter` and `program`, which outlive the call.
    let asked = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    if asked == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
