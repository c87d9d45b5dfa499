//! Ordering one side's store before its load at the other side's cost.
//!
//! Of two sides that each store, then load what the other stored, one must see the other. Usually both fence. Where one is in a
//! hurry and the other about to sleep, the hasty one only keeps the compiler from reordering, and the sleepy one has the kernel
//! run a fence on every processor where a thread of a registered process runs (`membarrier(2)`, "global expedited"): wherever it
//! falls between the hasty one's store and load, it does what a fence there would have done.

#![cfg_attr(not(loom), allow(unsafe_code))]

#[cfg(not(loom))]
mod kernel {
    const GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
    const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

    /// Whether others' heavy fences reach this process from now on. A program that it executes later is not registered.
    pub(crate) fn register() -> bool {
        membarrier(REGISTER_GLOBAL_EXPEDITED)
    }

    /// Where the fences of two sides meet, which takes no memory of its own.
    #[derive(Debug)]
    pub(crate) struct Meeting(());

    impl Meeting {
        pub(crate) fn new() -> Self {
            Self(())
        }

        /// The hasty side's, in a registered process.
        #[inline(always)]
        pub(crate) fn light_fence(&self) {
            core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
        }

        /// The sleepy side's. Whether the kernel did it.
        pub(crate) fn heavy_fence(&self) -> bool {
            membarrier(GLOBAL_EXPEDITED)
        }
    }

    /// The sleepy side's at several places at once, for the price of one. Whether the kernel did it.
    pub(crate) fn heavy_fence_at<'a>(mut places: impl Iterator<Item = &'a Meeting>) -> bool {
        places.next().is_none_or(Meeting::heavy_fence)
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: neither command touches memory of this process.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

/// What makes the pair work is that one of the two is first and the other comes after it, as for two changes of one word. A
/// fence in the model would stand in for the other side's, too.
#[cfg(loom)]
mod model {
    use loom::sync::atomic::{AtomicU32, Ordering::AcqRel};

    pub(crate) fn register() -> bool {
        true
    }

    #[derive(Debug)]
    pub(crate) struct Meeting(AtomicU32);

    impl Meeting {
        pub(crate) fn new() -> Self {
            Self(AtomicU32::new(0))
        }

        pub(crate) fn light_fence(&self) {
            self.0.fetch_add(0, AcqRel);
        }

        pub(crate) fn heavy_fence(&self) -> bool {
            self.0.fetch_add(0, AcqRel);
            true
        }
    }

    pub(crate) fn heavy_fence_at<'a>(mut places: impl Iterator<Item = &'a Meeting>) -> bool {
        places.all(Meeting::heavy_fence)
    }
}

#[cfg(not(loom))]
pub(crate) use kernel::{Meeting, heavy_fence_at, register};
#[cfg(loom)]
pub(crate) use model::{Meeting, heavy_fence_at, register};
