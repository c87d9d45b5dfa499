//! The ring with its waiting and its errors: what all handles of a process on one broadcast share.

use std::sync::Arc;

use super::{
    errors::{SubscribeError, SubscriberError, Unmet},
    publish::PublishRefusal,
    read::{BackRefusal, ReadRefusal, Reader},
    ring::Ring,
};
use crate::{
    channel::{errors::Refused, target::Target},
    error::{Error, Result},
    object::{
        lifetime::Object,
        membership::Membership,
        participant::Owner,
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, WaitWord, Waiting},
    },
    os::membarrier,
};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) member: Membership,
    pub(super) ring: Arc<Ring>,
    patience: Patience,
}

impl Inner {
    pub(super) fn new(object: Arc<Object>, ring: Arc<Ring>) -> Self {
        Self {
            ring,
            patience: Patience::new(),
            member: Membership::new(object),
        }
    }

    /// Publishes a short message if the next cell is open, and without a look at anything else. Gives up where
    /// [`Self::try_publish`] might not.
    #[inline]
    fn publish_next(&self, bytes: &[u8]) -> bool {
        let Ok(me) = self.member.ready() else {
            return false;
        };
        let Some(after) = self.ring.publish_next(me, self.ring.tail(), bytes) else {
            return false;
        };
        self.ring.announce(after);
        self.member.is_whole()
    }

    /// Publishes without waiting.
    #[inline]
    pub(super) fn try_publish(&self, bytes: &[u8]) -> Result<(), Refused> {
        if self.publish_next(bytes) {
            return Ok(());
        }
        match self.attempt(bytes) {
            Err(Refused::GaveUp) if self.member.found_dead() => self.attempt(bytes),
            published => published,
        }
    }

    #[cold]
    #[inline(never)]
    fn attempt(&self, bytes: &[u8]) -> Result<(), Refused> {
        let me = self.member.ready().map_err(Refused::Failed)?;
        match self.ring.try_publish(me, bytes) {
            Ok(()) => self.member.check_whole().map_err(Refused::Failed),
            Err(refusal) => Err(self.refused(refusal, bytes.len())),
        }
    }

    /// Publishes; waits while there is no room.
    #[inline]
    pub(super) fn publish(
        &self,
        bytes: &[u8],
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        if self.publish_next(bytes) {
            return Ok(());
        }
        match self.attempt(bytes) {
            Err(Refused::GaveUp) => self.wait_to_publish(bytes, strategy, deadline),
            published => published,
        }
    }

    #[cold]
    fn wait_to_publish(
        &self,
        bytes: &[u8],
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        let publish = |me| self.ring.try_publish(me, bytes);
        self.wait_for_room(publish, bytes.len(), strategy, deadline)?;
        self.member.check_whole().map_err(Refused::Failed)
    }

    /// Calls `attempt`, sleeping in between, until there is room or memory for a message of `len` bytes, or the deadline has passed.
    #[cold]
    pub(super) fn wait_for_room<R>(
        &self,
        attempt: impl Fn(Owner) -> Result<R, PublishRefusal>,
        len: usize,
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<R, Refused> {
        let me = self.member.ready().map_err(Refused::Failed)?;
        let waiting = Waiting {
            word: &self.ring.gate().space,
            strategy,
            patience: &self.patience,
            deadline,
            notes: Notes::Table(&self.ring.notes, me),
        };
        let is_promising = || self.ring.may_have_room();
        waiting
            .until(
                || self.attempt_waiting(&attempt, len),
                is_promising,
                || self.look().map(|e| Err(Refused::Failed(e))),
            )
            .unwrap_or(Err(Refused::GaveUp))
    }

    fn look(&self) -> Option<Box<Error>> {
        self.member.object.look().err().map(Box::new)
    }

    /// One try of a publisher that waits.
    fn attempt_waiting<R>(
        &self,
        attempt: impl Fn(Owner) -> Result<R, PublishRefusal>,
        len: usize,
    ) -> Attempt<'_, Result<R, Refused>> {
        self.ring.attempt_to_publish(|| {
            let me = self.member.ready().map_err(Refused::Failed);
            let refusal = match me.map(&attempt) {
                Ok(Ok(done)) => return Ok(Ok(done)),
                Ok(Err(refusal)) => refusal,
                Err(e) => return Ok(Err(e)),
            };
            if refusal.is_passing() {
                Err(refusal)
            } else {
                Ok(Err(self.refused(refusal, len)))
            }
        })
    }

    #[cold]
    pub(super) fn refused(&self, refusal: PublishRefusal, len: usize) -> Refused {
        match refusal {
            PublishRefusal::Full
            | PublishRefusal::Busy
            | PublishRefusal::NoBlocks
            | PublishRefusal::Gathering => Refused::GaveUp,
            PublishRefusal::Closed => Refused::Closed,
            PublishRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.ring.geometry().ring.most_bytes(),
            },
            PublishRefusal::Damage(damage) => Refused::Failed(self.member.remember(damage)),
        }
    }

    /// Begins a subscription, with the oldest message that is there if `is_from_oldest`.
    pub(super) fn subscribe(
        &self,
        is_from_oldest: bool,
        strategy: WaitStrategy,
    ) -> Result<Reader, SubscribeError> {
        let is_reached = membarrier::register();
        let must_fence = !(is_reached && self.ring.geometry().is_asymmetric);
        let join = || -> Result<Option<Reader>> {
            let me = self.member.ready().map_err(|e| *e)?;
            Reader::join(&self.ring, me, must_fence).map_err(|damage| *self.member.remember(damage))
        };
        let mut joined = join()?;
        if joined.is_none() && self.member.object.sweep()? > 0 {
            joined = join()?; // in the place of somebody dead
        }
        let mut reader = joined.ok_or(SubscribeError::TooMany {
            max: self.ring.geometry().subscribers,
        })?;
        if is_from_oldest {
            self.look_back(strategy, &mut reader)?;
        }
        Ok(reader)
    }

    /// Waits until everything that was published before is there, and has the subscriber begin with it.
    fn look_back(&self, strategy: WaitStrategy, reader: &mut Reader) -> Result<()> {
        let attempt = || match reader.look_back() {
            Ok(()) => Attempt::Done(Ok(())),
            Err(BackRefusal::BeingPublished) => Attempt::Unsettled(&self.ring.gate().items),
            Err(BackRefusal::Damage(damage)) => Attempt::Done(Err(self.member.remember(damage))),
        };
        let waiting = self.waiting_for_items(strategy, Deadline::NEVER);
        let waiting = waiting.map_err(|e| *e)?;
        match waiting.until(attempt, || true, || self.look().map(Err)) {
            Some(looked) => looked.map_err(|e| *e),
            None => Ok(()), // never, as there is no deadline
        }
    }

    /// The next message, if it is there.
    #[inline]
    pub(super) fn read(&self, reader: &mut Reader, to: &mut impl Target) -> Result<(), Unmet> {
        self.member.check()?;
        if !reader.is_ours() {
            return Err(SubscriberError::Forked.into());
        }
        match reader.read() {
            Ok(received) => {
                self.member.check_whole()?;
                let received = to.receive(received);
                received.map_err(|e| SubscriberError::Decode(e).into())
            }
            Err(refusal) => Err(self.unmet(refusal)),
        }
    }

    /// Calls `attempt`, sleeping in between, until it is met or fails, or the deadline has passed.
    #[cold]
    pub(super) fn wait<R>(
        &self,
        strategy: WaitStrategy,
        deadline: Deadline,
        reader: &mut Reader,
        mut attempt: impl FnMut(&Self, &mut Reader) -> Result<R, Unmet>,
    ) -> Result<R, Unmet> {
        let waiting = self.waiting_for_items(strategy, deadline)?;
        let items = &self.ring.gate().items;
        let next = reader.next();
        let attempt = || match attempt(self, reader) {
            Err(Unmet::GaveUp) => Attempt::Blocked(items),
            Err(Unmet::BeingPublished) => Attempt::Unsettled(items),
            met => Attempt::Done(met),
        };
        let is_promising = || Reader::is_promising(&self.ring, next);
        waiting
            .until(attempt, is_promising, || {
                self.look().map(|e| Err(Unmet::from(e)))
            })
            .unwrap_or(Err(Unmet::GaveUp))
    }

    fn waiting_for_items(
        &self,
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<Waiting<'_>, Box<Error>> {
        let me = self.member.ready()?;
        Ok(Waiting {
            word: &self.ring.gate().items,
            strategy,
            patience: &self.patience,
            deadline,
            notes: Notes::Table(&self.ring.notes, me),
        })
    }

    #[cold]
    pub(super) fn unmet(&self, refusal: ReadRefusal) -> Unmet {
        match refusal {
            ReadRefusal::Empty => Unmet::GaveUp,
            ReadRefusal::BeingPublished => Unmet::BeingPublished,
            ReadRefusal::Lagged(missed) => SubscriberError::Lagged(missed).into(),
            ReadRefusal::Closed => SubscriberError::Closed.into(),
            ReadRefusal::Damage(damage) => self.member.remember(damage).into(),
        }
    }
}

impl Ring {
    /// One try of a publisher that waits. Once it has announced that it sleeps, it looks again behind a heavy fence (O6).
    pub(super) fn attempt_to_publish<R>(
        &self,
        mut attempt: impl FnMut() -> Result<R, PublishRefusal>,
    ) -> Attempt<'_, R> {
        let mut refusal = match attempt() {
            Ok(done) => return Attempt::Done(done),
            Err(refusal) => refusal,
        };
        let mut is_certain = refusal.is_certain();
        let depends_on_subscribers = self.is_lossless() && is_certain;
        if depends_on_subscribers && self.word_of(refusal).has_sleepers() {
            is_certain = !self.geometry.is_asymmetric || self.meeting.heavy_fence(); // O6
            refusal = match attempt() {
                Ok(done) => return Attempt::Done(done),
                Err(refusal) => refusal,
            };
            is_certain &= refusal.is_certain();
        }
        let word = self.word_of(refusal);
        if is_certain {
            Attempt::Blocked(word)
        } else {
            Attempt::Unsettled(word)
        }
    }

    /// What is woken when there may be an end to the refusal.
    fn word_of(&self, refusal: PublishRefusal) -> &WaitWord {
        match refusal {
            PublishRefusal::NoBlocks | PublishRefusal::Gathering => &self.gate().blocks,
            _ => &self.gate().space,
        }
    }
}
