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
/// fence in the model would stand in for the other side's, too. Each hasty thread has a word of its own: their light fences order
/// nothing between them.
#[cfg(loom)]
mod model {
    use std::sync::Mutex;

    use loom::{
        sync::atomic::{
            AtomicU32,
            Ordering::{AcqRel, SeqCst},
            fence,
        },
        thread::{self, ThreadId},
    };

    /// More hasty threads than a model has.
    const MOST: usize = 3;

    pub(crate) fn register() -> bool {
        true
    }

    #[derive(Debug)]
    pub(crate) struct Meeting {
        words: [AtomicU32; MOST],
        /// Whose the words are, outside of what loom watches.
        hasty: Mutex<Vec<ThreadId>>,
    }

    impl Meeting {
        pub(crate) fn new() -> Self {
            Self {
                words: core::array::from_fn(|_| AtomicU32::new(0)),
                hasty: Mutex::default(),
            }
        }

        pub(crate) fn light_fence(&self) {
            self.words[self.index_of_mine()].fetch_add(0, AcqRel);
        }

        fn index_of_mine(&self) -> usize {
            let (me, mut hasty) = (thread::current().id(), self.hasty.lock());
            let hasty = hasty.as_mut().unwrap_or_else(|e| e.get_mut());
            let known = hasty.iter().position(|&one| one == me);
            known.unwrap_or_else(|| {
                hasty.push(me);
                hasty.len() - 1
            })
        }

        pub(crate) fn heavy_fence(&self) -> bool {
            for word in &self.words {
                word.fetch_add(0, AcqRel);
            }
            fence(SeqCst); // the kernel fences its caller, too, when it is through with the others
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
