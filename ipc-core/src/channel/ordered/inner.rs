//! The pile with its waiting and its errors: what all handles of a process on one queue share.

#![expect(unsafe_code, reason = "a received value is uninitialised at first")]

use core::{mem::MaybeUninit, time::Duration};
use std::sync::Arc;

use super::{
    claim::{Claim, Putting},
    get::{GetRefusal, Taken},
    pile::Pile,
    put::PutRefusal,
};
use crate::{
    channel::{
        errors::{GetError, Refused, Unmet},
        target::Target,
    },
    error::Error,
    message::{Message, Received},
    object::{
        lifetime::Object,
        membership::Membership,
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, Waiting},
    },
    os::{fork::Process, process},
    slab::Owned,
};

/// How long calls that do not wait for messages or room wait for the lock: much longer than anybody holds it who runs.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) member: Membership,
    pub(super) pile: Arc<Pile>,
    /// One for each side: a full queue says nothing about an empty one.
    put_patience: Patience,
    get_patience: Patience,
}

/// How long a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// For nothing but the lock.
    Now,
    Deadline(Deadline),
}

/// How one call waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) strategy: WaitStrategy,
    pub(super) until: Until,
}

impl Manner {
    fn spins(self) -> bool {
        self.strategy != WaitStrategy::Sleep && process::cores() > 1
    }
}

/// What came of a try: a result, or what to wait for.
type Tried<'w, R, E> = Attempt<'w, Result<R, E>>;

impl Inner {
    pub(super) fn new(object: Arc<Object>, pile: Arc<Pile>) -> Self {
        Self {
            pile,
            put_patience: Patience::new(),
            get_patience: Patience::new(),
            member: Membership::new(object),
        }
    }

    pub(super) fn put(&self, priority: i64, bytes: &[u8], manner: Manner) -> Result<(), Refused> {
        let mut putting = Putting {
            inner: self,
            filled: None,
        };
        let attempt = |is_patient| self.attempt_put(&mut putting, priority, bytes, is_patient);
        let is_promising = || self.pile.may_have_room();
        self.in_manner(manner, &self.put_patience, attempt, is_promising)?
            .ok_or(Refused::GaveUp)
    }

    fn attempt_put<'w>(
        &'w self,
        putting: &mut Putting<'_>,
        priority: i64,
        bytes: &[u8],
        is_patient: bool,
    ) -> Tried<'w, (), Refused> {
        let put = || -> Result<(), PutOutcome> {
            let me = self.member.ready().map_err(PutOutcome::Unusable)?;
            if putting.filled.is_none() {
                putting.filled = Some(self.pile.fill(me, priority, bytes)?);
            }
            if let Some(filled) = &putting.filled {
                self.pile.insert(me, filled, is_patient)?;
            }
            putting.filled = None; // it is the queue's
            self.member.check_whole().map_err(PutOutcome::Unusable)
        };
        let gate = self.pile.gate();
        let mut put = put;
        match put() {
            Ok(()) => Attempt::Done(Ok(())),
            Err(PutOutcome::Unusable(e)) => Attempt::Done(Err(Refused::Failed(e))),
            Err(PutOutcome::Refused(refusal)) => match refusal {
                PutRefusal::Full => Attempt::Blocked(&gate.space),
                PutRefusal::NoBlocks => Attempt::Blocked(&gate.blocks),
                PutRefusal::Gathering => Attempt::Unsettled(&gate.blocks),
                PutRefusal::Busy => Attempt::Unsettled(&self.pile.head().main),
                refusal => Attempt::Done(Err(self.refused(refusal, bytes.len()))),
            },
        }
    }

    #[cold]
    fn refused(&self, refusal: PutRefusal, len: usize) -> Refused {
        match refusal {
            PutRefusal::Full | PutRefusal::NoBlocks | PutRefusal::Gathering | PutRefusal::Busy => {
                Refused::GaveUp
            }
            PutRefusal::Closed => Refused::Closed,
            PutRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.pile.geometry().most_bytes(),
            },
            PutRefusal::Damage(damage) => Refused::Failed(self.member.remember(damage)),
        }
    }

    /// Gets the message that comes first, and its priority.
    pub(super) fn get<T: Message>(&self, manner: Manner) -> Result<(i64, T), Unmet> {
        let mut value = MaybeUninit::uninit();
        let priority = self.get_into(manner, &mut value)?;
        // SAFETY: `get_into` leaves a value there unless it fails.
        Ok((priority, unsafe { value.assume_init() }))
    }

    fn get_into(&self, manner: Manner, to: &mut impl Target) -> Result<i64, Unmet> {
        let items = &self.pile.gate().items;
        let attempt = |is_patient| match self.claim(is_patient) {
            Ok(claim) => match self.receive(claim, to) {
                Err(Unmet::GaveUp | Unmet::BeingPut) => Attempt::Blocked(items),
                received => Attempt::Done(received),
            },
            Err(refusal) => self.met(refusal),
        };
        let is_promising = || self.pile.may_have_message();
        let got = self.in_manner(manner, &self.get_patience, attempt, is_promising)?;
        if got.is_none() && matches!(manner.until, Until::Deadline(_)) {
            items.wake_of_claim(1); // whoever woke us, if anybody did, leaves what is there to another
        }
        got.ok_or(Unmet::GaveUp)
    }

    fn claim(&self, is_patient: bool) -> Result<Claim<'_>, GetOutcome> {
        let me = self.member.ready().map_err(GetOutcome::Unusable)?;
        let taken: Taken = self.pile.take(me, is_patient)?;
        Ok(Claim {
            inner: self,
            me,
            process: Process::this(),
            taken,
        })
    }

    /// What to do about a get that did not happen.
    fn met<R>(&self, outcome: GetOutcome) -> Tried<'_, R, Unmet> {
        match outcome {
            GetOutcome::Unusable(e) => Attempt::Done(Err(e.into())),
            GetOutcome::Refused(refusal) => match refusal {
                GetRefusal::Empty => Attempt::Blocked(&self.pile.gate().items),
                GetRefusal::Busy => Attempt::Unsettled(&self.pile.head().main),
                GetRefusal::Closed => Attempt::Done(Err(GetError::Closed.into())),
                GetRefusal::Damage(damage) => {
                    Attempt::Done(Err(self.member.remember(damage).into()))
                }
            },
        }
    }

    fn receive<G: Target>(&self, claim: Claim<'_>, to: &mut G) -> Result<i64, Unmet> {
        let bytes = match self.pile.short(&claim.taken) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.receive_large(claim, to),
            Err(damage) => return Err(self.member.remember(damage).into()),
        };
        let received = to.receive(Received::Shared(bytes));
        if G::RUNS_CODE && !claim.process.is_this() {
            return Err(Unmet::GaveUp); // a child of it: the message is its parent's
        }
        let priority = self.deliver(claim, None)?;
        received.map_err(GetError::Decode)?;
        Ok(priority)
    }

    #[cold]
    fn receive_large<G: Target>(&self, claim: Claim<'_>, to: &mut G) -> Result<i64, Unmet> {
        let mut bytes = to.buffer();
        let owned = self.pile.read(claim.me, &claim.taken, &mut bytes);
        let owned = owned.map_err(|damage| self.member.remember(damage))?;
        let received = to.receive(Received::Owned(bytes));
        if G::RUNS_CODE && !claim.process.is_this() {
            return Err(Unmet::GaveUp); // as above
        }
        let priority = self.deliver(claim, owned)?;
        received.map_err(GetError::Decode)?;
        Ok(priority)
    }

    /// Commits a get.
    fn deliver(&self, claim: Claim<'_>, owned: Option<Owned>) -> Result<i64, Box<Error>> {
        let priority = claim.taken.priority;
        let finished = claim.commit().and_then(|()| match owned {
            Some(owned) => self.pile.give_blocks_back(&owned),
            None => Ok(()),
        });
        finished.map_err(|damage| self.member.remember(damage))?;
        self.member.check_whole()?;
        Ok(priority)
    }

    /// Copies the message that comes first, which stays.
    pub(super) fn peek<T: Message>(&self, manner: Manner) -> Result<(i64, T), Unmet> {
        let mut bytes = Vec::new();
        let attempt = |is_patient| {
            bytes.clear();
            let peeked = match self.member.ready() {
                Ok(me) => self.pile.peek(me, is_patient, &mut bytes),
                Err(e) => return Attempt::Done(Err(e.into())),
            };
            match peeked {
                Ok(priority) => Attempt::Done(Ok(priority)),
                Err(refusal) => self.met(refusal.into()),
            }
        };
        let peeked = self.in_manner(manner, &self.get_patience, attempt, || true)?;
        let priority = peeked.ok_or(Unmet::GaveUp)?;
        self.member.check()?;
        let mut value = Vec::with_capacity(1);
        T::decode(Received::Owned(bytes), &mut value).map_err(GetError::Decode)?;
        Ok((priority, value.remove(0)))
    }

    /// Calls `attempt` until it is done. `None` once the time is over. The first one competes for the lock a little (it is
    /// called with whether to); the next ones are a wait's, which has a patience of its own.
    fn in_manner<'w, R, E: From<Box<Error>>>(
        &'w self,
        manner: Manner,
        patience: &'w Patience,
        mut attempt: impl FnMut(bool) -> Tried<'w, R, E>,
        is_promising: impl Fn() -> bool,
    ) -> Result<Option<R>, E> {
        let (blocked_on, is_locked) = match attempt(manner.spins()) {
            Attempt::Done(result) => return result.map(Some),
            Attempt::Blocked(on) => (on, false),
            Attempt::Unsettled(on) => (on, true),
        };
        let mut attempt = || attempt(false);
        let me = self.member.ready()?;
        let waiting = |deadline| Waiting {
            word: blocked_on,
            strategy: manner.strategy,
            patience,
            deadline,
            notes: Notes::Table(&self.pile.notes, me),
        };
        let deadline = match manner.until {
            Until::Deadline(deadline) => deadline,
            Until::Now => return self.now(is_locked, &waiting, attempt),
        };
        let waited = waiting(deadline).until(
            || match attempt() {
                Attempt::Done(result) => Attempt::Done(result.map(Some)),
                Attempt::Blocked(on) => Attempt::Blocked(on),
                Attempt::Unsettled(on) => Attempt::Unsettled(on),
            },
            is_promising,
            || self.look(),
        );
        waited.unwrap_or(Ok(None))
    }

    /// Waits for nothing but the lock; tries again if somebody dead may be in the way.
    #[cold]
    fn now<'w, R, E: From<Box<Error>>>(
        &'w self,
        is_locked: bool,
        waiting: &impl Fn(Deadline) -> Waiting<'w>,
        mut attempt: impl FnMut() -> Tried<'w, R, E>,
    ) -> Result<Option<R>, E> {
        let lock = &self.pile.head().main;
        let mut wait_for_lock = || {
            let waiting = Waiting {
                word: lock,
                ..waiting(Deadline::after(LOCK_PATIENCE))
            };
            let waited = waiting.until(
                || match attempt() {
                    Attempt::Done(result) => Attempt::Done(result.map(Some)),
                    Attempt::Unsettled(on) => Attempt::Unsettled(on),
                    Attempt::Blocked(_) => Attempt::Done(Ok(None)),
                },
                || true,
                || self.look(),
            );
            waited.unwrap_or(Ok(None))
        };
        let tried = if is_locked { wait_for_lock()? } else { None };
        match tried {
            None if self.member.found_dead() => wait_for_lock(),
            tried => Ok(tried),
        }
    }

    /// Looks for the dead; `Some` if that fails.
    fn look<R, E: From<Box<Error>>>(&self) -> Option<Result<R, E>> {
        let looked = self.member.object.look();
        looked.err().map(|e| Err(E::from(Box::new(e))))
    }
}

/// Why a put came to nothing.
enum PutOutcome {
    Refused(PutRefusal),
    Unusable(Box<Error>),
}

impl From<PutRefusal> for PutOutcome {
    fn from(refusal: PutRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why a get came to nothing.
enum GetOutcome {
    Refused(GetRefusal),
    Unusable(Box<Error>),
}

impl From<GetRefusal> for GetOutcome {
    fn from(refusal: GetRefusal) -> Self {
        Self::Refused(refusal)
    }
}
