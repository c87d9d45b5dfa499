//! What somebody may wait for together with other things, without taking it.
//!
//! Each structure says beside its own code what it is ready for, and on which word that is woken. An onlooker asks after it
//! has announced itself (W5 of [`super::wait`]).

use core::fmt;
use std::sync::Arc;

use super::{lifetime::Object, wait::WaitWord};
use crate::{error::Result, os::membarrier::Meeting};
use core::sync::atomic::Ordering;

/// What one look said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The operation would probably not wait: it would be done, or fail.
    Ready,
    /// It would wait; the word is woken when that may have changed.
    Blocked,
    /// The same, but what is waited for has begun, and who does it may not see that somebody goes to sleep now.
    Unsettled,
}

/// One wish about one object. Never waits, and a look changes nothing.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// What is woken when it may have become ready. Where that happens step by step on different words: the one for the next step.
    fn word(&self) -> &WaitWord;

    /// Where in the object's history a wait begins, for [`Self::look`].
    fn mark(&self) -> u64 {
        0
    }

    /// How things are, or were since the mark. What cannot be trusted is ready: the operation itself says why.
    fn look(&self, mark: u64) -> Readiness;

    /// The same, for an onlooker on this word. Where there are several, it is blocked only if the next step is woken there.
    fn look_from(&self, _word: &WaitWord, mark: u64) -> Readiness {
        self.look(mark)
    }

    /// Brings about what is due by time alone. Called about every [`WATCH_NS`](super::wait::WATCH_NS) while somebody waits.
    fn tend(&self) {}

    /// Where an onlooker needs a heavy fence between its announcement and its look.
    fn meeting(&self) -> Option<&Meeting> {
        None
    }
}

/// A wish, and the object that it is about, which stays open as long as this lives.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) source: Arc<dyn Source>,
    /// None in models, where nobody dies unseen.
    object: Option<Arc<Object>>,
}

impl Watched {
    pub(crate) fn new(source: Arc<dyn Source>, object: &Arc<Object>) -> Self {
        Self {
            source,
            object: Some(Arc::clone(object)),
        }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn for_model(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            object: None,
        }
    }

    pub(crate) fn look(&self, mark: u64) -> Readiness {
        if self.is_cut() {
            return Readiness::Ready;
        }
        self.source.look(mark)
    }

    /// As [`Self::look`], for an onlooker on this word.
    pub(crate) fn look_from(&self, word: &WaitWord, mark: u64) -> Readiness {
        if self.is_cut() {
            return Readiness::Ready;
        }
        self.source.look_from(word, mark)
    }

    fn is_cut(&self) -> bool {
        let is_cut = |object: &Arc<Object>| object.cut_flag().load(Ordering::Relaxed);
        self.object.as_ref().is_some_and(is_cut)
    }

    /// Does what is due by time, and looks for the dead, unless somebody did lately. Whether any were found.
    pub(crate) fn look_for_dead(&self) -> Result<bool> {
        self.source.tend();
        match &self.object {
            Some(object) => Ok(object.look()? > 0),
            None => Ok(false),
        }
    }
}
