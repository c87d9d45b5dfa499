//! Knowing that this process is a forked child of the one that took something.
//!
//! One page is `MADV_WIPEONFORK`: it reads zero in a child. The epoch on it is therefore the cheapest question a
//! fast path can ask (one load). `pthread_atfork` keeps a fork out of the few moments in which a descriptor that must
//! not be inherited is open (see [`crate::os::token`]).

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::{io, num::NonZero, ptr, sync::Once};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// The wiped page, or what stands in for it, or null before the first use. Its first word is 0 in a process that has not asked since
/// its fork.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The epoch of this process's youngest ancestor that asked; ordinary memory, so a child inherits it.
static LAST: AtomicU32 = AtomicU32::new(0);
/// Stands in for the page where the kernel gives none: wiped by a handler, which a raw `clone` does not call.
static NO_PAGE: AtomicU32 = AtomicU32::new(0);

/// A number that differs between a process and every ancestor it was forked from. Never 0.
#[inline(always)]
pub(crate) fn epoch() -> u32 {
    let page = PAGE.load(Ordering::Acquire);
    if !page.is_null() {
        // SAFETY: PAGE only ever holds a page that `new_page` mapped and nobody unmaps, or a static.
        let word = unsafe { &*page };
        let epoch = word.load(Ordering::Relaxed);
        if epoch != 0 {
            return epoch;
        }
    }
    first_epoch()
}

/// Where this process's [`epoch`] stands, which a forked child finds at the same place as 0 or as its own.
pub(crate) fn epoch_word() -> &'static AtomicU32 {
    epoch();
    // SAFETY: as in `epoch`, which has set it.
    unsafe { &*PAGE.load(Ordering::Acquire) }
}

/// A process, as opposed to its forked children, who find a copy of this in their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    #[inline(always)]
    pub(crate) fn this() -> Self {
        Self(epoch())
    }

    /// Whether it is the one of this [`epoch`].
    #[inline(always)]
    pub(crate) fn is_epoch(self, epoch: u32) -> bool {
        self.0 == epoch
    }

    #[inline(always)]
    pub(crate) fn is_this(self) -> bool {
        self.0 == epoch()
    }
}

#[cold]
fn first_epoch() -> u32 {
    let _guard = hold_forks();
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        page = new_page().unwrap_or_else(|_| (&raw const NO_PAGE).cast_mut());
        PAGE.store(page, Ordering::Release);
    }
    // SAFETY: mapped by `new_page`, here or in an ancestor, or a static; a wiped page is still mapped.
    let word = unsafe { &*page };
    if word.load(Ordering::Relaxed) == 0 {
        let next = (LAST.load(Ordering::Relaxed) + 1) & ((1 << 31) - 1);
        LAST.store(next.max(1), Ordering::Relaxed);
        word.store(next.max(1), Ordering::Relaxed);
    }
    word.load(Ordering::Relaxed)
}

fn new_page() -> io::Result<*mut AtomicU32> {
    let length = NonZero::new(super::map::page_size()).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a fresh anonymous mapping aliases nothing.
    let page = unsafe {
        mmap_anonymous(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    }?;
    // SAFETY: exactly the page mapped above, which holds nothing yet.
    let wiped = unsafe { madvise(page, length.get(), MmapAdvise::MADV_WIPEONFORK) };
    if let Err(e) = wiped {
        // SAFETY: as above.
        let _ = unsafe { munmap(page, length.get()) };
        return Err(e.into());
    }
    Ok(page.cast().as_ptr())
}

struct ForkLock(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a pthread mutex exists to be used from several threads.
unsafe impl Sync for ForkLock {}

static FORK_LOCK: ForkLock = ForkLock(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

extern "C" fn lock() {
    // SAFETY: initialised statically and never destroyed.
    unsafe { libc::pthread_mutex_lock(FORK_LOCK.0.get()) };
}

extern "C" fn unlock() {
    // SAFETY: as in `lock`; each caller holds it (in a child: the forking thread took it before the fork).
    unsafe { libc::pthread_mutex_unlock(FORK_LOCK.0.get()) };
}

extern "C" fn in_child() {
    super::clock::keep(false);
    NO_PAGE.store(0, Ordering::Relaxed);
    unlock();
}

/// While this lives, no other thread of this process is between `fork`'s two sides, and only one thread holds it.
#[derive(Debug)]
pub(crate) struct NoFork(());

/// Waits for a fork in progress and keeps later ones waiting. A raw `clone` does not wait.
pub(crate) fn hold_forks() -> NoFork {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the three handlers only lock and unlock FORK_LOCK, and store atomics.
        unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(in_child)) };
    });
    lock();
    NoFork(())
}

impl Drop for NoFork {
    fn drop(&mut self) {
        unlock();
    }
}
