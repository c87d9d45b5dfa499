//! Which cores we may use, and staying on one.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::OnceLock;

/// The cores this process was given, in order. Asked once, before anything is pinned.
///
/// # Panics
/// When the kernel does not tell.
pub fn cores() -> &'static [usize] {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(|| {
        let set = sched_getaffinity(Pid::from_raw(0)).expect("read this process's cores");
        (0..CpuSet::count())
            .filter(|&core| set.is_set(core).unwrap_or(false))
            .collect()
    })
}

/// The `n`th core of [`cores`], counting round and round.
pub fn nth_core(n: usize) -> usize {
    cores()[n % cores().len()]
}

/// Keeps the calling thread on `core`.
///
/// # Panics
/// When the kernel refuses: an unpinned figure is a different figure.
pub fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core)
        .expect("a core number within the kernel's set");
    sched_setaffinity(Pid::from_raw(0), &set).expect("pin the thread to its core");
}

/// Lets the calling thread run on all of [`cores`] again, for figures in which the scheduler has its say.
///
/// # Panics
/// When the kernel refuses.
pub fn unpin() {
    let mut set = CpuSet::new();
    for &core in cores() {
        set.set(core)
            .expect("a core number within the kernel's set");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("unpin the thread");
}
