//! Atomics and fences: `core`'s, or loom's under `--cfg loom`.
//!
//! Every algorithm imports these names from here and nowhere else.

pub(crate) use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

#[cfg(not(loom))]
pub(crate) use core::{
    hint::spin_loop,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64},
};
#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64},
    thread::yield_now as spin_loop,
};

/// Lets another thread or process run.
pub(crate) fn yield_now() {
    #[cfg(not(loom))]
    std::thread::yield_now();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// A full fence where the caller's last atomic access was a read-modify-write.
///
/// On x86-64 every such access is a full fence already, so only the compiler must be held back.
#[inline(always)]
pub(crate) fn full_fence_after_rmw() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    #[cfg(all(not(target_arch = "x86_64"), not(loom)))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    #[cfg(loom)]
    model::full_fence();
}

/// A full fence, for paths where no read-modify-write precedes.
pub(crate) fn full_fence() {
    #[cfg(not(loom))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    #[cfg(loom)]
    model::full_fence();
}

/// Keeps later loads behind earlier ones.
#[inline(always)]
pub(crate) fn acquire_fence() {
    #[cfg(not(loom))]
    core::sync::atomic::fence(Acquire);
    #[cfg(loom)]
    loom::sync::atomic::fence(Acquire);
}

/// Keeps earlier loads and stores before later stores.
pub(crate) fn release_fence() {
    #[cfg(not(loom))]
    core::sync::atomic::fence(Release);
    #[cfg(loom)]
    loom::sync::atomic::fence(Release);
}

/// So many pauses; none under loom, where a pause would show the thread the newest values and hide what it may not rely on.
pub(crate) const fn pauses(count: u32) -> u32 {
    if cfg!(loom) { 0 } else { count }
}

/// Lets loom see what it cannot see in relaxed accesses: that memory is written while somebody else may be reading it.
///
/// One witness stands for each piece of memory that changes hands. In a real build it is nothing.
#[derive(Debug)]
pub(crate) struct Witnesses {
    #[cfg(loom)]
    cells: Vec<loom::cell::UnsafeCell<()>>,
}

impl Witnesses {
    #[cfg_attr(not(loom), expect(unused_variables, reason = "nothing is watched"))]
    pub(crate) fn new(count: usize) -> Self {
        Self {
            #[cfg(loom)]
            cells: (0..count)
                .map(|_| loom::cell::UnsafeCell::new(()))
                .collect(),
        }
    }

    /// The caller is reading piece `index`.
    #[inline(always)]
    #[cfg_attr(not(loom), expect(unused_variables, reason = "nothing is watched"))]
    pub(crate) fn read(&self, index: usize) {
        #[cfg(loom)]
        self.cells[index].with(|_| ());
    }

    /// The caller is writing piece `index`.
    #[inline(always)]
    #[cfg_attr(not(loom), expect(unused_variables, reason = "nothing is watched"))]
    pub(crate) fn write(&self, index: usize) {
        #[cfg(loom)]
        self.cells[index].with_mut(|_| ());
    }
}

#[cfg(loom)]
#[expect(unsafe_code, reason = "the model's cells are watched, not used")]
// SAFETY: nothing is ever read or written through them; loom itself reports who would race.
unsafe impl Sync for Witnesses {}

#[cfg(loom)]
#[expect(unsafe_code, reason = "as for Sync")]
// SAFETY: as for Sync.
unsafe impl Send for Witnesses {}

/// What models make of fences.
#[cfg(loom)]
pub(crate) mod model {
    use core::{cell::Cell, sync::atomic::Ordering};

    use loom::sync::atomic::{AtomicU32, fence};

    loom::lazy_static! {
        static ref ORDER: AtomicU32 = AtomicU32::new(0);
    }
    std::thread_local! {
        static ARE_STEPS: Cell<bool> = const { Cell::new(false) };
    }

    /// Has loom also try what happens between an access and the full fence behind it, in all models of this thread from now on. By
    /// itself it takes both for one step; and as a full fence synchronises with all later ones, it then hides what the access lacks.
    pub(crate) fn fences_are_steps() {
        ARE_STEPS.set(true);
    }

    pub(super) fn full_fence() {
        if ARE_STEPS.get() {
            // Of two accesses to one place loom tries both orders.
            ORDER.fetch_add(1, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }
}
