//! What was published before a subscriber began.

use super::{Copied, Damage, Pass, Reader, Relaxed, State};

/// Why a subscriber cannot begin with what was published before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel::broadcast) enum BackRefusal {
    /// Somebody is publishing, and may not see that somebody else goes to sleep now.
    BeingPublished,
    Damage(Damage),
}

impl From<Damage> for BackRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl Reader {
    /// Lets it begin with the oldest message that is there. To be called before anything is read, and again as long as it says that
    /// something is being published.
    pub(in crate::channel::broadcast) fn look_back(&mut self) -> Result<(), BackRefusal> {
        let oldest = self.next.saturating_sub(self.ring.one_lap());
        if self.place.is_none() {
            self.go_on_at(self.first_there(oldest)?);
            return Ok(());
        }
        // Nobody keeps these messages for us: whatever is overwritten meanwhile, we begin behind it.
        self.backlog.clear();
        let (mut position, end) = (oldest, self.next);
        while position < end {
            let cell = self.ring.cell(position)?;
            let seen = cell.look()?;
            let lap = self.ring.lap(position);
            match (seen.ctl.pass(lap), seen.state) {
                (Pass::Same, State::Full | State::Large) => match self.copy(cell, seen)? {
                    Some(copied) => self.keep(copied),
                    None => self.backlog.clear(),
                },
                (Pass::Same, State::Void) => {}
                (Pass::Same, State::Writing) => return Err(BackRefusal::BeingPublished),
                (Pass::Same, _) | (Pass::Later, _) => self.backlog.clear(),
                (Pass::Previous | Pass::Impossible, _) => {
                    return Err(Damage("a message that was published is not there yet").into());
                }
            }
            position = self.ring.next(position);
        }
        self.tell_of_backlog();
        Ok(())
    }

    /// The first position from `from` on and before [`Self::next`] whose message is not lost.
    fn first_there(&self, from: u64) -> Result<u64, Damage> {
        let mut position = from;
        while position < self.next {
            let seen = self.ring.cell(position)?.look()?;
            let is_there = matches!(seen.state, State::Full | State::Large | State::Writing);
            if seen.ctl.pass(self.ring.lap(position)) == Pass::Same && is_there {
                break;
            }
            position = self.ring.next(position);
        }
        Ok(position)
    }

    fn keep(&mut self, copied: Copied) {
        let bytes = self.bytes_of(copied);
        self.backlog.push_back(Copied::Long(bytes));
    }

    /// The first of the messages from before it began.
    #[cold]
    pub(super) fn take_of_backlog(&mut self) -> Option<Copied> {
        let first = self.backlog.pop_front();
        self.tell_of_backlog();
        first
    }

    fn tell_of_backlog(&self) {
        let has_any = !self.backlog.is_empty();
        self.progress.has_backlog.store(has_any, Relaxed);
    }
}
