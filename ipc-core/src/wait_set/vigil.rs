//! Sleeping on the words of many objects.
//!
//! An onlooker (W5 of `object/wait`) announces itself on each word, fences once, looks at each object, and sleeps on all the words
//! together (`futex_waitv`). It takes nothing: whoever wants what is there takes it, or finds that another has.
//!
//! # If a process dies
//!
//! An onlooker owns nothing, and nobody counts on it: its announcements cost the next waker on each word one system call. While it
//! sleeps, it looks for the dead as every sleeper does.

use crate::{
    object::{
        source::{Readiness, Watched},
        wait::{self, Announced, WATCH_NS},
    },
    os::{futex, membarrier},
    prim::{self, AtomicU32},
};

/// The least to sleep where a wake may be missing; at the most, as long again as it has waited so.
const NAP_NS: u64 = 50_000;

/// One object in a vigil.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) watched: Watched,
    mark: u64,
    announced: Option<Announced>,
    /// Since when a wake may be missing.
    unsettled_since: Option<u64>,
}

impl Post {
    pub(super) fn new(watched: Watched) -> Self {
        let mark = watched.source.mark();
        Self {
            watched,
            mark,
            announced: None,
            unsettled_since: None,
        }
    }

    /// A wait begins: what was before is of no interest.
    pub(super) fn begin(&mut self) {
        self.mark = self.watched.source.mark();
        self.unsettled_since = None;
    }

    /// Whether it is ready, or was since the wait began.
    pub(super) fn is_ready(&self) -> bool {
        self.watched.look(self.mark) == Readiness::Ready
    }

    fn announce(&mut self) {
        let last = self.announced;
        self.announced = self.watched.source.word().announce_onlooker();
        if self.announced != last {
            self.unsettled_since = None; // somebody was woken: what is on its way now is something new
        }
    }

    /// Whether it is ready now that it was announced. `is_certain`: heavy fences reach everybody.
    fn look(&mut self, now: u64, is_certain: bool) -> bool {
        let seen = self.watched.look(self.mark);
        let is_sure =
            self.announced.is_some() && (is_certain || self.watched.source.meeting().is_none());
        match seen {
            Readiness::Blocked if is_sure => self.unsettled_since = None,
            _ => {
                self.unsettled_since.get_or_insert(now);
            }
        }
        seen == Readiness::Ready
    }

    /// Until when it may sleep at the most.
    fn nap(&self, now: u64) -> Option<u64> {
        let since = self.unsettled_since?;
        Some(now.saturating_add(now.saturating_sub(since).clamp(NAP_NS, WATCH_NS)))
    }
}

/// Announced on all words.
#[derive(Debug)]
pub(super) struct Vigil<'a> {
    posts: Vec<&'a mut Post>,
    is_certain: bool,
}

impl<'a> Vigil<'a> {
    /// Announces an onlooker everywhere.
    pub(super) fn begin(posts: impl Iterator<Item = &'a mut Post>) -> Self {
        let mut posts: Vec<&mut Post> = posts.collect();
        posts.iter_mut().for_each(|post| post.announce());
        prim::full_fence_after_rmw(); // W1
        let meetings = posts
            .iter()
            .filter_map(|post| post.watched.source.meeting());
        let is_certain = membarrier::heavy_fence_at(meetings);
        Self { posts, is_certain }
    }

    /// Whether any is ready. To be asked before [`Self::sleep`].
    pub(super) fn is_any_ready(&mut self, now: u64) -> bool {
        let is_certain = self.is_certain;
        let ready = self.posts.iter_mut().filter_map(|post| {
            let is_ready = post.look(now, is_certain);
            is_ready.then_some(())
        });
        ready.count() > 0
    }

    /// Sleeps until somebody is woken on one of the words, or `bell` does not hold the value any more, but not beyond `until`.
    /// Of more words than the kernel takes at once, those from the `turn`th on, and then shortly.
    pub(super) fn sleep(self, turn: usize, bell: Option<(&AtomicU32, u32)>, now: u64, until: u64) {
        let naps = self.posts.iter().filter_map(|post| post.nap(now));
        let nap = naps.min();
        let until = nap.map_or(until, |nap| nap.min(until));
        let words = self.posts.iter().filter_map(|post| {
            let announced = post.announced?;
            Some((post.watched.source.word(), announced))
        });
        let count = self.posts.len() + usize::from(bell.is_some());
        let start = if count > futex::WORDS_AT_ONCE {
            turn % self.posts.len()
        } else {
            0
        };
        let rotated = words.clone().skip(start).chain(words.take(start));
        wait::sleep_on_any(rotated, bell, until, nap.is_some());
    }
}
