//! Sleeping on the words of many objects.
//!
//! An onlooker (W5 of `object/wait`) announces itself on each word, fences once, looks at each object, and sleeps on all the words
//! together (`futex_waitv`). It takes nothing: whoever wants what is there takes it, or finds that another has.
//!
//! Where one object becomes ready step by step, each woken on another word (a job is there, then a record for it), the onlooker announces
//! itself on the word of the next step, and its look says whether that still is the next: else it naps, and begins again on the other.
//!
//! # If a process dies
//!
//! An onlooker owns nothing, and nobody counts on it: its announcements cost the next waker on each word one system call. While it
//! sleeps, it looks for the dead as every sleeper does.

use core::ptr;

use crate::{
    object::{
        source::{Readiness, Watched},
        wait::{self, Announced, WATCH_NS, WaitWord},
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
    last: Last,
}

/// What is known from the last vigil.
#[derive(Debug, Default)]
struct Last {
    announced: Option<Announced>,
    /// The address of the word on which that was.
    place: usize,
    /// Since when a wake may be missing.
    unsettled_since: Option<u64>,
}

impl Post {
    pub(super) fn new(watched: Watched) -> Self {
        let mark = watched.source.mark();
        Self {
            watched,
            mark,
            last: Last::default(),
        }
    }

    /// A wait begins: what was before is of no interest.
    pub(super) fn begin(&mut self) {
        self.mark = self.watched.source.mark();
        self.last.unsettled_since = None;
    }

    /// Whether it is ready, or was since the wait began.
    pub(super) fn is_ready(&self) -> bool {
        self.watched.look(self.mark) == Readiness::Ready
    }
}

/// An object on whose word somebody has announced itself.
#[derive(Debug)]
struct Sentry<'a> {
    watched: &'a Watched,
    mark: u64,
    word: &'a WaitWord,
    last: &'a mut Last,
}

impl<'a> Sentry<'a> {
    /// Announces an onlooker.
    fn begin(post: &'a mut Post) -> Self {
        let Post {
            watched,
            mark,
            last,
        } = post;
        let word = watched.source.word();
        let (announced, place) = (word.announce_onlooker(), ptr::from_ref(word).addr());
        if (announced, place) != (last.announced, last.place) {
            last.unsettled_since = None; // somebody was woken: what is on its way now is something new
        }
        (last.announced, last.place) = (announced, place);
        Self {
            watched,
            mark: *mark,
            word,
            last,
        }
    }

    /// Whether it is ready now that it was announced. `is_certain`: heavy fences reach everybody.
    fn look(&mut self, now: u64, is_certain: bool) -> bool {
        let seen = self.watched.look_from(self.word, self.mark);
        let is_sure = self.last.announced.is_some()
            && (is_certain || self.watched.source.meeting().is_none());
        match seen {
            Readiness::Blocked if is_sure => self.last.unsettled_since = None,
            _ => {
                self.last.unsettled_since.get_or_insert(now);
            }
        }
        seen == Readiness::Ready
    }

    /// Until when it may sleep at the most.
    fn nap(&self, now: u64) -> Option<u64> {
        let since = self.last.unsettled_since?;
        Some(now.saturating_add(now.saturating_sub(since).clamp(NAP_NS, WATCH_NS)))
    }
}

/// Announced on all words.
#[derive(Debug)]
pub(super) struct Vigil<'a> {
    sentries: Vec<Sentry<'a>>,
    is_certain: bool,
}

impl<'a> Vigil<'a> {
    /// Announces an onlooker everywhere.
    pub(super) fn begin(posts: impl Iterator<Item = &'a mut Post>) -> Self {
        let sentries: Vec<Sentry<'a>> = posts.map(Sentry::begin).collect();
        prim::full_fence_after_rmw(); // W1
        let meetings = sentries
            .iter()
            .filter_map(|sentry| sentry.watched.source.meeting());
        let is_certain = membarrier::heavy_fence_at(meetings);
        Self {
            sentries,
            is_certain,
        }
    }

    /// Whether any is ready. To be asked before [`Self::sleep`].
    pub(super) fn is_any_ready(&mut self, now: u64) -> bool {
        let is_certain = self.is_certain;
        let ready = self.sentries.iter_mut().filter_map(|sentry| {
            let is_ready = sentry.look(now, is_certain);
            is_ready.then_some(())
        });
        ready.count() > 0
    }

    /// Sleeps until somebody is woken on one of the words, or `bell` does not hold the value any more, but not beyond `until`.
    /// Of more words than the kernel takes at once, those from the `turn`th on, and then shortly.
    pub(super) fn sleep(self, turn: usize, bell: Option<(&AtomicU32, u32)>, now: u64, until: u64) {
        let naps = self.sentries.iter().filter_map(|sentry| sentry.nap(now));
        let nap = naps.min();
        let until = nap.map_or(until, |nap| nap.min(until));
        let words = self.sentries.iter().filter_map(|sentry| {
            let announced = sentry.last.announced?;
            Some((sentry.word, announced))
        });
        let count = self.sentries.len() + usize::from(bell.is_some());
        let start = if count > futex::WORDS_AT_ONCE {
            turn % self.sentries.len()
        } else {
            0
        };
        let rotated = words.clone().skip(start).chain(words.take(start));
        wait::sleep_on_any(rotated, bell, until, nap.is_some());
    }
}
