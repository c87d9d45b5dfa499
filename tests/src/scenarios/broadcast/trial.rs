//! A broadcast for one trial, and what a victim does with it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ipc_core::{
    Broadcast, BroadcastOptions, Bytes, Namespace, ParticipantState, PublishTimeoutError,
    Subscriber, SubscriberError, TryPublishError, TrySubscriberError, WaitStrategy,
};

use super::case::OnBroadcast;
use crate::mapping::Mapping;
use crate::scenarios::message::{Id, LOAN, MOST_INLINE, id_of, message, message_of};
use crate::scenarios::sleeper::asleep;
use crate::scenarios::trial::place;
use crate::step::{Operation, Victim};
use crate::trial_directory::TrialDirectory;

pub(super) const NAME: &str = "news";
pub(super) const CAPACITY: usize = 4;
/// Eight blocks.
pub(super) const MEMORY: usize = 8 * 512;
/// Blocks for messages that are written in place, where a case has any.
pub(super) const LOANS: usize = 2;
/// Messages that have passed before: it is in its third lap.
pub(super) const PASSED: Id = 9;
pub(super) const FIRST_OF_SURVIVOR: Id = 20;
pub(super) const OF_VICTIM: Id = 101;
pub(super) const FIRST_OF_REFILL: Id = 201;
pub(super) const LARGEST: Id = 250;
/// A wait ends after this; no trial gets that far unless something is wrong.
pub(super) const LONG: Duration = Duration::from_secs(20);

pub(super) const DONE: u64 = 1 << 32;
/// There was no room, or no message.
pub(super) const BLOCKED: u64 = DONE + 1;
pub(super) const LAGGED: u64 = DONE + 2;
pub(super) const FAILED: u64 = u64::MAX;

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Publishes a message of a length by letter.
    Publish(char),
    /// The same, and waits for a moment.
    PublishInAMoment,
    Recv,
    /// Receives a message where it lies, compares it, and passes on.
    RecvRef,
    Subscribe,
    SubscribeFromOldest,
    /// Drops its subscriber.
    Unsubscribe,
    Close,
}

/// The broadcast of one trial.
pub(super) struct Trial {
    /// The survivor's. Dropped before the directory goes.
    pub(super) subscriber: RefCell<Subscriber<Bytes>>,
    pub(super) broadcast: Broadcast<Bytes>,
    pub(super) sleeper: RefCell<Option<Victim>>,
    pub(super) before: Vec<Id>,
    /// How long what the survivor publishes is, by letter.
    pub(super) letter: char,
    /// What the survivor published, received and missed while the victim was stopped.
    pub(super) sent: RefCell<Vec<Id>>,
    pub(super) got: RefCell<Vec<Id>>,
    pub(super) missed: Cell<u64>,
    pub(super) file: Mapping,
    pub(super) namespace: Namespace,
    _directory: TrialDirectory,
}

pub(super) fn options(namespace: &Namespace, is_lossless: bool) -> BroadcastOptions<Bytes> {
    let options = Broadcast::options(CAPACITY)
        .memory(MEMORY)
        .inline_bytes(MOST_INLINE)
        .subscribers(4)
        .participants(8)
        .namespace(namespace)
        .wait(WaitStrategy::Sleep);
    if is_lossless {
        options
    } else {
        options.lossy()
    }
}

impl Trial {
    pub(super) fn new(case: &OnBroadcast) -> Self {
        let (directory, namespace) = place();
        let loans = if case.has_loans() { LOANS } else { 0 };
        let options = options(&namespace, case.is_lossless).loans(loans, LOAN);
        let broadcast = options.create(NAME).expect("a broadcast can be made");
        let file = Mapping::of_file(namespace.path().join(NAME)).expect("it can be mapped");
        for id in 0..PASSED {
            let passed = broadcast.try_publish(message(200 + id, 's'));
            passed.expect("nobody subscribes");
        }
        let mut subscriber = broadcast.subscribe().expect("nobody else does");
        let mut before = Vec::new();
        for (id, letter) in (1..).zip(case.before.chars()) {
            let published = try_publish(&broadcast, &message(id, letter), letter);
            assert_eq!(published, DONE, "there is room");
            before.push(id);
            if case.is_read {
                subscriber.try_recv().expect("it is there");
                before.clear();
            }
        }
        let trial = Self {
            subscriber: RefCell::new(subscriber),
            broadcast,
            sleeper: RefCell::default(),
            before,
            letter: if case.has_loans() { 'w' } else { 's' },
            sent: RefCell::default(),
            got: RefCell::default(),
            missed: Cell::new(0),
            file,
            namespace,
            _directory: directory,
        };
        if case.has_sleeper {
            let sleeper = trial.sleeper(case.is_lossless);
            trial.sleeper.replace(Some(sleeper));
        }
        trial
    }

    /// A process asleep in a receive.
    pub(super) fn sleeper(&self, is_lossless: bool) -> Victim {
        let arm = || -> Operation<'_> {
            let broadcast = self.open(is_lossless);
            let mut subscriber = broadcast.subscribe().expect("there is room for it");
            Box::new(move || {
                let received = subscriber.recv_timeout(LONG);
                received.map_or(FAILED, |m| id_of(&m).map_or(FAILED, u64::from))
            })
        };
        asleep(arm)
    }

    /// Comes to the broadcast in a process of its own.
    pub(super) fn open(&self, is_lossless: bool) -> Broadcast<Bytes> {
        let options = options(&self.namespace, is_lossless);
        options.open(NAME).expect("it is there")
    }

    /// Nobody dead is left, and nobody else but the survivor.
    pub(super) fn settle(&self) -> Result<(), String> {
        self.sleeper.replace(None);
        self.broadcast.sweep().map_err(|e| e.to_string())?;
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        match seen.participants.as_slice() {
            [survivor] if survivor.state == ParticipantState::Alive => {}
            others => return Err(format!("after a sweep: {others:?}")),
        }
        match (self.broadcast.is_lossless(), self.broadcast.subscribers()) {
            (true, 1) | (false, 0) => Ok(()),
            (_, count) => Err(format!("after a sweep there are {count} subscribers")),
        }
    }

    /// Receives all that is there.
    pub(super) fn drain(&self) -> Result<Vec<Id>, String> {
        let mut got = Vec::new();
        loop {
            match self.subscriber.borrow_mut().try_recv() {
                Ok(message) => got.push(id_of(&message)?),
                Err(TrySubscriberError::Empty) => return Ok(got),
                Err(TrySubscriberError::Failed(SubscriberError::Closed)) => return Ok(got),
                Err(TrySubscriberError::Failed(SubscriberError::Lagged(missed)))
                    if !self.broadcast.is_lossless() =>
                {
                    self.missed.set(self.missed.get() + missed);
                }
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// All blocks for messages that are written in place are to be had.
    pub(super) fn has_all_loans(&self) -> Result<(), String> {
        let count = if self.letter == 'w' { LOANS } else { 0 };
        let loans = (0..count).map(|_| self.broadcast.try_loan(LOAN));
        let loans: Result<Vec<_>, _> = loans.collect();
        loans.map(drop).map_err(|e| format!("lost a loan: {e}"))
    }

    /// The whole ring can be used, and all of the memory. Everything was received.
    pub(super) fn is_as_new(&self) -> Result<(), String> {
        if self.broadcast.is_closed() {
            return Ok(());
        }
        self.has_all_loans()?;
        let refill: Vec<Id> = (FIRST_OF_REFILL..).take(CAPACITY).collect();
        for &id in &refill {
            let published = self.broadcast.try_publish(message(id, 's'));
            published.map_err(|e| format!("lost capacity: message {id}: {e}"))?;
        }
        if self.broadcast.is_lossless() {
            match self.broadcast.try_publish(message(LARGEST, 's')) {
                Err(TryPublishError::Full(_)) => {}
                other => return Err(format!("into a full broadcast: {other:?}")),
            }
        }
        let got = self.drain()?;
        if got != refill {
            return Err(format!("refilled with {refill:?}, a survivor gets {got:?}"));
        }
        let largest = message_of(LARGEST, self.broadcast.max_message_bytes());
        let published = self.broadcast.try_publish(largest);
        published.map_err(|e| format!("lost memory: the largest message: {e}"))?;
        match self.drain()?.as_slice() {
            [LARGEST] => Ok(()),
            other => Err(format!("the largest message was published, not {other:?}")),
        }
    }
}

pub(super) fn done<T, E>(result: Result<T, E>) -> u64 {
    result.map_or(FAILED, |_| DONE)
}

pub(super) fn publish(broadcast: &Broadcast<Bytes>, is_waiting: bool, message: Bytes) -> u64 {
    if is_waiting {
        return match broadcast.publish_timeout(message, Duration::from_millis(1)) {
            Ok(()) => DONE,
            Err(PublishTimeoutError::Timeout(_)) => BLOCKED,
            Err(_) => FAILED,
        };
    }
    match broadcast.try_publish(message) {
        Ok(()) => DONE,
        Err(TryPublishError::Full(_)) => BLOCKED,
        Err(_) => FAILED,
    }
}

/// Publishes what a letter calls for in that way, if there is room now.
pub(super) fn try_publish(broadcast: &Broadcast<Bytes>, message: &Bytes, letter: char) -> u64 {
    if letter != 'w' {
        return publish(broadcast, false, message.clone());
    }
    let mut loan = match broadcast.try_loan(message.0.len()) {
        Ok(loan) => loan,
        Err(TryPublishError::Full(())) => return BLOCKED,
        Err(_) => return FAILED,
    };
    loan.write_at(0, &message.0);
    match loan.try_publish() {
        Ok(()) => DONE,
        Err(TryPublishError::Full(_)) => BLOCKED,
        Err(_) => FAILED,
    }
}

/// Receives a message, in place where there is no other way, which is to be `expected`.
pub(super) fn recv_ref(
    subscriber: &mut Subscriber<Bytes>,
    expected: &Bytes,
    is_lossless: bool,
) -> u64 {
    match subscriber.try_recv_ref() {
        Ok(message) => {
            let is_right = message.to_vec() == expected.0 && message.is_in_place() == is_lossless;
            match message.done() {
                Ok(()) if is_right => u64::from(OF_VICTIM),
                _ => FAILED,
            }
        }
        Err(TrySubscriberError::Empty) => BLOCKED,
        Err(TrySubscriberError::Failed(SubscriberError::Lagged(_))) => LAGGED,
        Err(_) => FAILED,
    }
}

pub(super) fn recv(subscriber: &mut Subscriber<Bytes>) -> u64 {
    match subscriber.try_recv() {
        Ok(message) => message.0.first().copied().map_or(FAILED, u64::from),
        Err(TrySubscriberError::Empty) => BLOCKED,
        Err(TrySubscriberError::Failed(SubscriberError::Lagged(_))) => LAGGED,
        Err(_) => FAILED,
    }
}
