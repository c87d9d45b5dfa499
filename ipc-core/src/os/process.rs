//! What a process tells about itself, for people to read. Nothing here decides who is alive.

use std::{cell::Cell, fs, sync::OnceLock};

use super::fork::Process;

/// This process, as `ps` would show it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Me {
    pub(crate) pid: u32,
    /// Inode of the pid namespace in which `pid` means something; 0 when it cannot be read.
    pub(crate) pid_namespace: u64,
    /// Start time in clock ticks after boot; 0 when it cannot be read.
    pub(crate) start_ticks: u64,
    /// The command name, as the kernel keeps it: at most 15 bytes and a zero.
    pub(crate) name: [u8; 16],
}

impl Me {
    pub(crate) fn now() -> Self {
        let mut name = [0; 16];
        let comm = fs::read("/proc/self/comm").unwrap_or_default();
        let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
        let length = comm.len().min(15);
        name[..length].copy_from_slice(&comm[..length]);
        Self {
            pid: std::process::id(),
            pid_namespace: pid_namespace(),
            start_ticks: start_ticks(),
            name,
        }
    }
}

/// Inode of this process's pid namespace.
pub(crate) fn pid_namespace() -> u64 {
    nix::sys::stat::stat("/proc/self/ns/pid").map_or(0, |s| s.st_ino)
}

fn start_ticks() -> u64 {
    // Field 22; the name in field 2 may hold spaces, so count from its closing parenthesis.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after
        .split_ascii_whitespace()
        .nth(19)
        .and_then(|t| t.parse().ok())
        .unwrap_or(0)
}

/// Whether the calling thread is the one with which this process began.
pub(crate) fn is_first_thread() -> bool {
    nix::unistd::gettid() == nix::unistd::getpid()
}

/// How many cores the machine has. Not how many this thread may run on: its peers may run on the others.
pub(crate) fn cores() -> u32 {
    static CORES: OnceLock<u32> = OnceLock::new();
    *CORES.get_or_init(|| {
        let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
        online
            .ok()
            .flatten()
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1)
    })
}

/// Identifies this boot of the kernel; zero when it cannot be read.
pub(crate) fn boot_id() -> [u64; 2] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |range| {
        hex.get(range)
            .and_then(|h| u64::from_str_radix(h, 16).ok())
            .unwrap_or(0)
    };
    [half(0..16), half(16..32)]
}

/// Bytes of memory that a process has alone: what is resident and neither a file's nor shared. `None` if it cannot be told.
pub(crate) fn own_memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split_ascii_whitespace().skip(1);
    let mut next = || pages.next()?.parse::<u64>().ok();
    let (resident, shared) = (next()?, next()?);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page.ok().flatten().unwrap_or(4096);
    Some(resident.saturating_sub(shared) * page.unsigned_abs())
}

/// The user whose files this process makes.
pub(crate) fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether this process is a member of `group`.
pub(crate) fn is_in_group(group: u32) -> bool {
    nix::unistd::getegid().as_raw() == group
        || nix::unistd::getgroups().is_ok_and(|all| all.iter().any(|g| g.as_raw() == group))
}

/// This process, and this thread as the kernel numbers it in the process's pid namespace: at most 22 bits wide.
#[inline(always)]
pub(crate) fn this_thread() -> (Process, u32) {
    let process = Process::this();
    (process, thread_in(process))
}

/// The thread of [`this_thread`], for who knows already which process this is.
#[inline(always)]
pub(crate) fn thread_in(process: Process) -> u32 {
    thread_local! {
        /// A forked child's thread has another.
        static THREAD: Cell<Option<(Process, u32)>> = const { Cell::new(None) };
    }
    if let Some((at, id)) = THREAD.get()
        && at == process
    {
        return id;
    }
    let id = u32::try_from(nix::unistd::gettid().as_raw()).unwrap_or(0);
    THREAD.set(Some((process, id)));
    id
}
