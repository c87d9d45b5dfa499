//! Surviving a peer that cuts the file behind a mapping short.
//!
//! Objects are allocated in full, so a full file system never raises SIGBUS. A peer of the same user can still truncate
//! the file. The first touch behind its new end then raises SIGBUS; our handler puts a page of zeros there and notes it,
//! so that the access returns and the object's next check reports damage. Faults elsewhere go to the handler that was
//! there before.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::{mem::MaybeUninit, ptr, sync::Once};

use super::fork::hold_forks;

/// A range of addresses under guard, or a free place for one. Never deallocated: the handler may be looking at it.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
    was_hit: AtomicBool,
    is_taken: AtomicBool,
    next: AtomicPtr<Range>,
}

impl Range {
    /// Whether the range, if it is not just being changed, has `address`.
    fn holds(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        let is_stable = self.start.load(Ordering::Acquire) == start;
        start != 0 && is_stable && (start..end).contains(&address)
    }
}

static RANGES: AtomicPtr<Range> = AtomicPtr::new(ptr::null_mut());

/// Guards a mapping for as long as it lives.
pub(crate) struct Guard(&'static Range);

impl Guard {
    /// Starts guarding `length` bytes from `start` on.
    pub(crate) fn new(start: usize, length: usize) -> Self {
        static INSTALL: Once = Once::new();
        if !INSTALL.is_completed() {
            let _no_fork = hold_forks(); // a child must not find it half done
            INSTALL.call_once(install);
        }
        let range = ranges()
            .find(|r| !r.is_taken.swap(true, Ordering::AcqRel))
            .unwrap_or_else(add);
        range.was_hit.store(false, Ordering::Relaxed);
        range.end.store(start + length, Ordering::Relaxed);
        range.start.store(start, Ordering::Release);
        Self(range)
    }

    /// Tells whether any of it turned out to be cut off. Meaningful while the guard lives.
    pub(crate) fn flag(&self) -> &'static AtomicBool {
        &self.0.was_hit
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Relaxed);
        self.0.end.store(0, Ordering::Release);
        self.0.is_taken.store(false, Ordering::Release);
    }
}

fn ranges() -> impl Iterator<Item = &'static Range> {
    let at = |p: &AtomicPtr<Range>| {
        let range = p.load(Ordering::Acquire);
        // SAFETY: only `add` stores here, and only pointers to leaked boxes.
        unsafe { range.as_ref() }
    };
    std::iter::successors(at(&RANGES), move |r| at(&r.next))
}

fn add() -> &'static Range {
    let range = Box::leak(Box::new(Range {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        was_hit: AtomicBool::new(false),
        is_taken: AtomicBool::new(true),
        next: AtomicPtr::new(ptr::null_mut()),
    }));
    let mut first = RANGES.load(Ordering::Acquire);
    loop {
        range.next.store(first, Ordering::Relaxed);
        match RANGES.compare_exchange(first, range, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return range,
            Err(other) => first = other,
        }
    }
}

/// What handled SIGBUS before us. Written once, before our handler can run.
struct Previous(core::cell::UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written once under `Once`, before the handler that reads it is installed.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(core::cell::UnsafeCell::new(MaybeUninit::zeroed()));

fn install() {
    // SAFETY: an all-zero sigaction is a valid one.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = on_sigbus as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    let previous = PREVIOUS.0.get().cast::<libc::sigaction>();
    // SAFETY: with a null new action the call only writes `previous`, which nobody else uses yet.
    unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous) };
    // SAFETY: the handler is async-signal-safe: it reads atomics and calls mmap.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) };
}

extern "C" fn on_sigbus(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo.
    let fault = unsafe { &*info };
    if fault.si_code <= 0 {
        return pass_on(signal, info, context); // somebody sent it
    }
    // SAFETY: the address field is set for a SIGBUS that the kernel raised.
    let address = unsafe { fault.si_addr() } as usize;
    let hit = ranges().find(|r| r.holds(address));
    let Some(range) = hit else {
        return pass_on(signal, info, context);
    };
    let errno = nix::errno::Errno::last_raw(); // the interrupted code must find it unchanged
    let page = super::map::page_size();
    range.was_hit.store(true, Ordering::Release); // before anybody can read the zeros
    // SAFETY: replaces one page of our own mapping, whose file no longer reaches it.
    let mapped = unsafe {
        libc::mmap(
            (address / page * page) as *mut libc::c_void,
            page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    nix::errno::Errno::set_raw(errno);
    if mapped == libc::MAP_FAILED {
        pass_on(signal, info, context);
    }
}

/// Does what would have happened without us.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo.
    let was_sent = unsafe { (*info).si_code } <= 0;
    let previous = PREVIOUS.0.get().cast::<libc::sigaction>();
    // SAFETY: written by `install` before this handler existed, and never again.
    let previous = unsafe { &*previous };
    match previous.sa_sigaction {
        libc::SIG_IGN if was_sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: restoring the default action is async-signal-safe.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            // A faulting access would fault again; a signal that was sent must be sent again.
            // SAFETY: raising a signal is async-signal-safe.
            unsafe { libc::raise(signal) };
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: with SA_SIGINFO the field holds a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO the field holds a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(i32)>(handler) };
            handler(signal);
        }
    }
}
