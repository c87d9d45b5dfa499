//! The ring with its waiting and its errors: what all handles of a process on one queue share.

use std::sync::Arc;

use super::{
    claim::{Claim, Taking},
    get::{GetRefusal, Taken},
    put::PutRefusal,
    ring::Ring,
};
use crate::{
    channel::{
        errors::{GetError, Refused, Unmet},
        target::Target,
    },
    error::{Error, Result},
    message::{Message, Received},
    object::{
        lifetime::Object,
        membership::Membership,
        participant::Owner,
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, Waiting},
    },
    os::fork::Process,
    slab::Owned,
};

/// How many messages a get takes together, at the most. If it is killed, each of them is searched for.
const MOST_AT_ONCE: usize = 1024;
/// Messages of a batch for which there is room from the start, so that most batches allocate once.
const USUAL_BATCH: usize = 64;

#[derive(Debug)]
pub(in crate::channel) struct Inner {
    pub(in crate::channel) member: Membership,
    pub(in crate::channel) ring: Arc<Ring>,
    /// One for each side: a full queue says nothing about an empty one.
    put_patience: Patience,
    get_patience: Patience,
}

impl Inner {
    pub(in crate::channel) fn new(object: Arc<Object>, ring: Arc<Ring>) -> Self {
        Self {
            ring,
            put_patience: Patience::new(),
            get_patience: Patience::new(),
            member: Membership::new(object),
        }
    }

    /// Puts a short message if the next cell is free, and without a look at anything else. Gives up where
    /// [`Self::try_put`] might not.
    fn put_next(&self, bytes: &[u8]) -> bool {
        let Ok(me) = self.member.ready() else {
            return false;
        };
        let Some(after) = self.ring.put_next(me, self.ring.tail(), bytes) else {
            return false;
        };
        self.ring.announce_puts(after, 1);
        self.member.is_whole()
    }

    /// Puts without waiting.
    #[inline]
    pub(in crate::channel) fn try_put(&self, bytes: &[u8]) -> Result<(), Refused> {
        if self.put_next(bytes) {
            return Ok(());
        }
        self.search_put(bytes)
    }

    #[cold]
    #[inline(never)]
    fn search_put(&self, bytes: &[u8]) -> Result<(), Refused> {
        match self.attempt_put(bytes) {
            Err(Refused::GaveUp) if self.member.found_dead() => self.attempt_put(bytes),
            put => put,
        }
    }

    fn attempt_put(&self, bytes: &[u8]) -> Result<(), Refused> {
        let me = self.member.ready().map_err(Refused::Failed)?;
        match self.ring.try_put(me, bytes) {
            Ok(()) => self.member.check_whole().map_err(Refused::Failed),
            Err(refusal) => Err(self.refused(refusal, bytes.len())),
        }
    }

    /// Puts; waits while there is no room.
    #[inline]
    pub(in crate::channel) fn put(
        &self,
        bytes: &[u8],
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        if self.put_next(bytes) {
            return Ok(());
        }
        match self.attempt_put(bytes) {
            Err(Refused::GaveUp) => self.wait_to_put(bytes, strategy, deadline),
            put => put,
        }
    }

    #[cold]
    fn wait_to_put(
        &self,
        bytes: &[u8],
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        let put = |me| self.ring.try_put(me, bytes);
        let is_promising = || self.ring.may_have_room();
        self.wait_for_room(put, is_promising, bytes.len(), strategy, deadline)?;
        self.member.check_whole().map_err(Refused::Failed)
    }

    /// Calls `attempt` until it is not refused for want of room, sleeping in between.
    pub(super) fn wait_for_room<R>(
        &self,
        attempt: impl Fn(Owner) -> Result<R, PutRefusal>,
        is_promising: impl Fn() -> bool,
        len: usize,
        strategy: WaitStrategy,
        deadline: Deadline,
    ) -> Result<R, Refused> {
        let me = self.member.ready().map_err(Refused::Failed)?;
        let gate = self.ring.gate();
        let attempt = || match self.member.ready().map(&attempt) {
            Ok(Ok(done)) => Attempt::Done(Ok(done)),
            Ok(Err(PutRefusal::Full)) => Attempt::Blocked(&gate.space),
            Ok(Err(PutRefusal::BeingGot)) => Attempt::Unsettled(&gate.space),
            Ok(Err(PutRefusal::NoBlocks)) => Attempt::Blocked(&gate.blocks),
            Ok(Err(PutRefusal::Gathering)) => Attempt::Unsettled(&gate.blocks),
            Ok(Err(refusal)) => Attempt::Done(Err(self.refused(refusal, len))),
            Err(e) => Attempt::Done(Err(Refused::Failed(e))),
        };
        let look = || {
            self.member
                .object
                .look()
                .err()
                .map(|e| Err(Refused::Failed(Box::new(e))))
        };
        let waiting = Waiting {
            word: &gate.space,
            strategy,
            patience: &self.put_patience,
            deadline,
            notes: Notes::Table(&self.ring.notes, me),
        };
        waiting
            .until(attempt, is_promising, look)
            .unwrap_or(Err(Refused::GaveUp))
    }

    #[cold]
    pub(super) fn refused(&self, refusal: PutRefusal, len: usize) -> Refused {
        match refusal {
            PutRefusal::Full
            | PutRefusal::BeingGot
            | PutRefusal::NoBlocks
            | PutRefusal::Gathering => Refused::GaveUp,
            PutRefusal::Closed => Refused::Closed,
            PutRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.ring.geometry().most_bytes(),
            },
            PutRefusal::Damage(damage) => Refused::Failed(self.member.remember(damage)),
        }
    }

    /// Gets the message that is next in order, if it is there already. Gives up where [`Self::try_get`] might not.
    #[inline]
    pub(super) fn get_next(&self, to: &mut impl Target) -> Result<(), Unmet> {
        let me = self.member.ready()?;
        let from = self.ring.head();
        match self.ring.take_at(me, from) {
            Ok(Some(taken)) => self.receive(me, taken, from, to),
            Ok(None) => Err(Unmet::GaveUp),
            Err(damage) => Err(self.member.remember(damage).into()),
        }
    }

    /// Gets a message without waiting.
    pub(super) fn try_get(&self, to: &mut impl Target) -> Result<(), Unmet> {
        let me = self.member.ready()?;
        let from = self.ring.head();
        match self.ring.take_from(me, from) {
            Ok(taken) => self.receive(me, taken, from, to),
            Err(refusal) => Err(self.unmet(refusal)),
        }
    }

    #[inline]
    fn receive<G: Target>(
        &self,
        me: Owner,
        taken: Taken,
        from: u64,
        to: &mut G,
    ) -> Result<(), Unmet> {
        let claim = Claim {
            inner: self,
            me,
            process: Process::this(),
            taken,
        };
        let bytes = match self.ring.short(&taken) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.receive_large(claim, from, to),
            Err(damage) => return Err(self.member.remember(damage).into()),
        };
        let received = to.receive(Received::Shared(bytes));
        if G::RUNS_CODE && !claim.process.is_this() {
            return Err(Unmet::GaveUp); // a child of it: the message is its parent's
        }
        self.deliver(claim, from, None)?;
        received.map_err(|e| GetError::Decode(e).into())
    }

    #[cold]
    #[inline(never)]
    fn receive_large<G: Target>(
        &self,
        claim: Claim<'_>,
        from: u64,
        to: &mut G,
    ) -> Result<(), Unmet> {
        let mut bytes = to.buffer();
        let owned = self.ring.read(claim.me, &claim.taken, &mut bytes);
        let owned = owned.map_err(|damage| self.member.remember(damage))?;
        let received = to.receive(Received::Owned(bytes));
        if G::RUNS_CODE && !claim.process.is_this() {
            return Err(Unmet::GaveUp); // as above
        }
        self.deliver(claim, from, owned)?;
        received.map_err(|e| GetError::Decode(e).into())
    }

    /// Commits a get.
    #[inline]
    pub(super) fn deliver(
        &self,
        claim: Claim<'_>,
        from: u64,
        owned: Option<Owned>,
    ) -> Result<(), Box<Error>> {
        let after = self.ring.behind(&claim.taken, from);
        claim
            .commit()
            .map_err(|damage| self.member.remember(damage))?;
        self.ring.announce_gets(after, 1);
        if let Some(owned) = owned {
            let given = self.ring.give_blocks_back(&[owned]);
            given.map_err(|damage| self.member.remember(damage))?;
        }
        self.member.check_whole()
    }

    /// Gets up to `max` messages without waiting.
    pub(super) fn try_get_many<T: Message>(&self, max: usize) -> Result<Vec<T>, Unmet> {
        let me = self.member.ready()?;
        let max = max.min(MOST_AT_ONCE);
        let mut taking = Taking::new(self, me);
        let mut values = Vec::new();
        while taking.taken.len() < max {
            let taken = match self.ring.take_at(me, taking.next) {
                Ok(Some(taken)) => taken,
                Ok(None) => match self.ring.search_get(me, taking.next) {
                    Ok(taken) => taken,
                    Err(refusal) if taking.is_over(refusal) => break,
                    Err(refusal) => return Err(self.unmet(refusal)),
                },
                Err(damage) => return Err(self.member.remember(damage).into()),
            };
            if values.capacity() == 0 {
                values.reserve(max.min(USUAL_BATCH));
                taking.taken.reserve(max.min(USUAL_BATCH));
            }
            taking.add(taken);
            let short = self.ring.short(&taken);
            let received = match short.map_err(|damage| self.member.remember(damage))? {
                Some(bytes) => Received::Shared(bytes),
                None => Received::Owned(self.read(&taken, &mut taking)?),
            };
            if let Err(e) = T::decode(received, &mut values) {
                return self.end_before(e.into(), taking).map(|()| values);
            }
        }
        self.deliver_all(taking)?;
        Ok(values)
    }

    #[cold]
    fn read(&self, taken: &Taken, taking: &mut Taking<'_>) -> Result<Vec<u8>, Box<Error>> {
        let mut bytes = Vec::new();
        let owned = self.ring.read(taking.me, taken, &mut bytes);
        let owned = owned.map_err(|damage| self.member.remember(damage))?;
        taking.owned.extend(owned);
        Ok(bytes)
    }

    /// Ends a batch whose last message cannot be decoded. That is an error if it is the only one; otherwise the next get
    /// finds it first, and reports it.
    #[cold]
    fn end_before(&self, e: GetError, mut taking: Taking<'_>) -> Result<(), Unmet> {
        let is_only_one = taking.taken.len() == 1;
        if !is_only_one {
            taking.give_up_last();
        }
        self.deliver_all(taking)?;
        if is_only_one { Err(e.into()) } else { Ok(()) }
    }

    /// Commits gets.
    fn deliver_all(&self, mut taking: Taking<'_>) -> Result<(), Unmet> {
        if !taking.process.is_this() {
            return Err(Unmet::GaveUp); // a child forked by the messages' code: they are its parent's
        }
        let (after, done) = (taking.next, taking.commit());
        done.map_err(|damage| self.member.remember(damage))
            .map(|count| self.ring.announce_gets(after, count))?;
        let given = self.ring.give_blocks_back(&taking.owned);
        given.map_err(|damage| self.member.remember(damage))?;
        Ok(self.member.check_whole()?)
    }

    /// Copies the oldest message, which stays.
    pub(super) fn peek(&self, to: &mut impl Target) -> Result<(), Unmet> {
        self.member.check()?;
        let mut bytes = to.buffer();
        let is_closed = self.ring.is_closed();
        let peeked = self.ring.peek(&mut bytes);
        self.member.check()?;
        let is_there = peeked.map_err(|damage| self.member.remember(damage))?;
        if is_there {
            let received = to.receive(Received::Owned(bytes));
            return received.map_err(|e| GetError::Decode(e).into());
        }
        let is_over = is_closed
            && self
                .ring
                .is_drained()
                .map_err(|damage| self.member.remember(damage))?;
        Err(if is_over {
            GetError::Closed.into()
        } else {
            Unmet::GaveUp
        })
    }

    pub(super) fn wait_to_get<R>(
        &self,
        strategy: WaitStrategy,
        deadline: Deadline,
        mut attempt: impl FnMut() -> Result<R, Unmet>,
    ) -> Result<R, Unmet> {
        let me = self.member.ready()?;
        let items = &self.ring.gate().items;
        let attempt = || match attempt() {
            Err(Unmet::GaveUp) => Attempt::Blocked(items),
            Err(Unmet::BeingPut) => Attempt::Unsettled(items),
            met => Attempt::Done(met),
        };
        let look = || {
            self.member
                .object
                .look()
                .err()
                .map(|e| Err(Box::new(e).into()))
        };
        let waiting = Waiting {
            word: items,
            strategy,
            patience: &self.get_patience,
            deadline,
            notes: Notes::Table(&self.ring.notes, me),
        };
        let is_promising = || self.ring.may_have_message();
        waiting
            .until(attempt, is_promising, look)
            .unwrap_or(Err(Unmet::GaveUp))
    }

    /// Spins for a short time, if that is how gets wait. Whether a get is worth a try then.
    #[inline]
    pub(super) fn spin_to_get(&self, strategy: WaitStrategy) -> bool {
        let is_promising = || self.ring.may_have_message();
        self.get_patience.spin(strategy, is_promising)
    }

    /// What a get that does not wait does when there was nothing: perhaps a dead process holds something back.
    #[cold]
    pub(super) fn retry<R>(
        &self,
        unmet: Unmet,
        mut again: impl FnMut() -> Result<R, Unmet>,
    ) -> Result<R, Unmet> {
        let retried = match unmet {
            Unmet::GaveUp | Unmet::BeingPut => again(),
            failure => Err(failure),
        };
        match retried {
            Err(Unmet::GaveUp | Unmet::BeingPut) if self.member.found_dead() => again(),
            met => met,
        }
    }

    #[cold]
    pub(super) fn unmet(&self, refusal: GetRefusal) -> Unmet {
        match refusal {
            GetRefusal::Empty => Unmet::GaveUp,
            GetRefusal::BeingPut => Unmet::BeingPut,
            GetRefusal::Closed => GetError::Closed.into(),
            GetRefusal::Damage(damage) => self.member.remember(damage).into(),
        }
    }
}
