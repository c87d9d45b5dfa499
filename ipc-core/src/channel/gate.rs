//! What the waiting sides of a queue sleep on, and what everybody must know.

#![expect(unsafe_code, reason = "implements Shared")]

use crate::{
    object::wait::WaitWord,
    prim::{AtomicU32, AtomicU64},
    region::Shared,
};

/// Who sleeps on what, and what everybody must know. One line, read by all and rarely written.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Gate {
    pub(in crate::channel) closed: AtomicU32,
    pub(crate) items: WaitWord,
    pub(crate) space: WaitWord,
    pub(crate) blocks: WaitWord,
    /// How often a repair pass, or a get that was given up, left orphans behind, so far.
    pub(in crate::channel) orphans: AtomicU64,
    /// Up to which of these a look at every cell found none any more.
    pub(in crate::channel) orphans_done: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(
    core::mem::offset_of!(Gate, orphans_done) == 24
        && size_of::<crate::region::CacheLine<Gate>>() == 128
);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Gate {
    fn zeroed() -> Self {
        Self {
            closed: AtomicU32::new(0),
            items: WaitWord::zeroed(),
            space: WaitWord::zeroed(),
            blocks: WaitWord::zeroed(),
            orphans: AtomicU64::new(0),
            orphans_done: AtomicU64::new(0),
        }
    }
}
