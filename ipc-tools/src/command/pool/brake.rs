//! Ctrl-C while jobs run: the first one stops the run in order, the second one at once.

use std::{
    fmt,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use rustix::event::PollFlags;

use crate::{
    exit::{Failure, Outcome},
    signals::Signals,
};

/// Waits that go on for a while after the first signal, and fail at the second.
pub(super) struct Brake<'a> {
    signals: &'a Signals,
    /// What is done at the first one.
    stop: &'a dyn Fn(),
    /// How long waits go on then.
    patience: Duration,
    caught: Option<(i32, Instant)>,
}

impl<'a> Brake<'a> {
    pub(super) fn new(signals: &'a Signals, patience: Duration, stop: &'a dyn Fn()) -> Self {
        Self {
            signals,
            stop,
            patience,
            caught: None,
        }
    }

    /// The signal that came.
    pub(super) fn caught(&self) -> Option<i32> {
        self.caught.map(|(signal, _)| signal)
    }

    /// Waits until one of the files is ready, or `timeout` is over, or a signal came. Which of them are ready. Fails at the second signal, and
    /// when none is ready for long after the first.
    pub(super) fn wait_for(
        &mut self,
        files: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Option<Duration>,
    ) -> Outcome<Vec<bool>> {
        let left = self
            .caught
            .map(|(_, when)| self.patience.saturating_sub(when.elapsed()));
        let timeout = left.into_iter().chain(timeout).min();
        match (self.signals.wait_for_any(files, timeout), self.caught) {
            (Ok(ready), caught) => {
                let ready: Vec<bool> = ready.iter().map(|flags| !flags.is_empty()).collect();
                match caught {
                    Some((signal, _)) if left == Some(Duration::ZERO) && !ready.contains(&true) => {
                        Err(Failure::Signal(signal))
                    }
                    _ => Ok(ready),
                }
            }
            (Err(Failure::Signal(signal)), None) => {
                self.caught = Some((self.signals.forget().unwrap_or(signal), Instant::now()));
                (self.stop)();
                Ok(vec![false; files.len()])
            }
            (Err(failure), _) => Err(failure),
        }
    }
}

impl fmt::Debug for Brake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brake")
            .field("caught", &self.caught)
            .finish_non_exhaustive()
    }
}
