//! Who fences, where one side sleeps again and again: the other side, so that the kernel need not (O5 of [`super::lane`]).
//!
//! A heavy fence takes the kernel as long as a good part of a sleep; a fence of the other side's own, some nanoseconds, which it has
//! only while it publishes all the time to somebody awake. So who has slept some times asks for it, and who finds nobody asleep for long takes
//! it back.
//!
//! ```text
//!        sleeper asks     and its heavy fence is done
//! LIGHT ─────────────→ ASKED ─────────────────────→ FENCED
//!   ↑                                                 │ publisher, and fences
//!   └─────────────────────────────────────────────────┘
//! ```
//!
//! # Ordering
//!
//! Both sides look at this word behind their own half: the sleeper behind its announcement (and the fence there), the
//! publisher behind its store.
//!
//! * F1. *A sleeper that sees FENCED needs no heavy fence.* Whatever was published with a look at the word before the heavy fence of who
//!   asked is there since. A look behind it sees ASKED or FENCED, and is followed by a fence (either sees the other, as W1 of `object/wait`
//!   says), until the publisher takes it back.
//! * F2. *Taking back* is an exchange, and a fence. If the sleeper sees FENCED nevertheless, its announcement was there before that fence,
//!   and everything published behind it looks for sleepers behind it.
//! * Each step is an exchange of the one state by one side, so none undoes the other's. A sleeper that died having asked leaves ASKED, which
//!   is not relied upon; the next one asks again.

#![expect(unsafe_code, reason = "implements Shared")]

use core::sync::atomic::{AtomicU32 as LocalU32, Ordering};

use crate::{
    os::membarrier::Meeting,
    prim::{self, AtomicU32, Relaxed},
    region::Shared,
};

const LIGHT: u32 = 0;
const ASKED: u32 = 1;
pub(super) const FENCED: u32 = 2;

/// So many heavy fences are often.
pub(super) const OFTEN: u32 = 4;
/// So many publications in vain are a stream.
pub(super) const STREAM: u32 = 1024;

/// The word; one for each side that sleeps.
#[repr(transparent)]
#[derive(Debug)]
pub(super) struct Fencing(pub(super) AtomicU32);

// SAFETY: an atomic.
unsafe impl Shared for Fencing {
    fn zeroed() -> Self {
        Self(AtomicU32::new(LIGHT))
    }
}

impl Fencing {
    /// For who publishes.
    #[inline(always)]
    pub(super) fn is_asked_for(&self) -> bool {
        self.0.load(Relaxed) != LIGHT
    }

    /// For who has fenced when it published, so often in a row (`idle`) while nobody slept.
    #[cold]
    pub(super) fn note_idle(&self, idle: &mut u32) {
        *idle += 1;
        if *idle >= STREAM {
            *idle = 0;
            let _ = self.0.compare_exchange(FENCED, LIGHT, Relaxed, Relaxed);
            prim::full_fence_after_rmw(); // F2
        }
    }

    /// For who has announced that it sleeps: whether what it sees from here on is certain.
    pub(super) fn is_settled(&self) -> bool {
        self.0.load(Relaxed) == FENCED // F1
    }

    /// Makes it certain, for who has had to do so with `heavy` heavy fences before. Whether it is.
    pub(super) fn settle(&self, meeting: &Meeting, heavy: &LocalU32) -> bool {
        let seen = self.0.load(Relaxed);
        let is_often = heavy.fetch_add(1, Ordering::Relaxed) >= OFTEN;
        let has_asked = seen == ASKED
            || is_often
                && self
                    .0
                    .compare_exchange(LIGHT, ASKED, Relaxed, Relaxed)
                    .is_ok();
        let is_done = meeting.heavy_fence(); // F1
        if has_asked && is_done {
            let _ = self.0.compare_exchange(ASKED, FENCED, Relaxed, Relaxed);
        }
        is_done
    }
}
