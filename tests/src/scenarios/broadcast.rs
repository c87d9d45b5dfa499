//! What a victim does with a broadcast, and what another subscriber and the next publisher find.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ipc_core::{
    Broadcast, BroadcastOptions, Bytes, Namespace, ParticipantState, PublishTimeoutError,
    Subscriber, SubscriberError, TryPublishError, TrySubscriberError, WaitStrategy,
};

use super::message::{Id, LOAN, MOST_INLINE, id_of, message, message_of};
use super::sleeper::{is_asleep, wait_until};
use super::trial::place;
use crate::mapping::{Mapping, Shared};
use crate::step::{Campaign, End, Expectation, Operation, Outcome, Scenario, Victim};
use crate::trial_directory::TrialDirectory;

const NAME: &str = "news";
const CAPACITY: usize = 4;
/// Eight blocks.
const MEMORY: usize = 8 * 512;
/// Blocks for messages that are written in place, where a case has any.
const LOANS: usize = 2;
/// Messages that have passed before: it is in its third lap.
const PASSED: Id = 9;
const FIRST_OF_SURVIVOR: Id = 20;
const OF_VICTIM: Id = 101;
const FIRST_OF_REFILL: Id = 201;
const LARGEST: Id = 250;
/// A wait ends after this; no trial gets that far unless something is wrong.
const LONG: Duration = Duration::from_secs(20);

const DONE: u64 = 1 << 32;
/// There was no room, or no message.
const BLOCKED: u64 = DONE + 1;
const LAGGED: u64 = DONE + 2;
const FAILED: u64 = u64::MAX;

const ALL: &[Campaign] = &[Campaign::Kill, Campaign::Stop, Campaign::Nested];
const KILL_AND_STOP: &[Campaign] = &[Campaign::Kill, Campaign::Stop];
const KILL: &[Campaign] = &[Campaign::Kill];

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
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

/// One act in one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnBroadcast {
    name: &'static str,
    act: Act,
    is_lossless: bool,
    /// The messages that the survivor has not received, by their letters.
    before: &'static str,
    /// Whether it has received them after all, so that nobody has still to.
    is_read: bool,
    /// Another process sleeps in a receive.
    has_sleeper: bool,
    campaigns: &'static [Campaign],
}

/// The broadcast of one trial.
pub(super) struct Trial {
    /// The survivor's. Dropped before the directory goes.
    subscriber: RefCell<Subscriber<Bytes>>,
    broadcast: Broadcast<Bytes>,
    sleeper: RefCell<Option<Victim>>,
    before: Vec<Id>,
    /// How long what the survivor publishes is, by letter.
    letter: char,
    /// What the survivor published, received and missed while the victim was stopped.
    sent: RefCell<Vec<Id>>,
    got: RefCell<Vec<Id>>,
    missed: Cell<u64>,
    file: Mapping,
    namespace: Namespace,
    _directory: TrialDirectory,
}

fn options(namespace: &Namespace, is_lossless: bool) -> BroadcastOptions<Bytes> {
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
    fn new(case: &OnBroadcast) -> Self {
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
    fn sleeper(&self, is_lossless: bool) -> Victim {
        let arm = || -> Operation<'_> {
            let broadcast = self.open(is_lossless);
            let mut subscriber = broadcast.subscribe().expect("there is room for it");
            Box::new(move || {
                let received = subscriber.recv_timeout(LONG);
                received.map_or(FAILED, |m| id_of(&m).map_or(FAILED, u64::from))
            })
        };
        let mut sleeper = Victim::fork(arm).expect("a process can be made");
        sleeper.resume().expect("it can be resumed");
        wait_until(|| is_asleep(&sleeper));
        sleeper
    }

    /// Comes to the broadcast in a process of its own.
    fn open(&self, is_lossless: bool) -> Broadcast<Bytes> {
        let options = options(&self.namespace, is_lossless);
        options.open(NAME).expect("it is there")
    }

    /// Nobody dead is left, and nobody else but the survivor.
    fn settle(&self) -> Result<(), String> {
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
    fn drain(&self) -> Result<Vec<Id>, String> {
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
    fn has_all_loans(&self) -> Result<(), String> {
        let count = if self.letter == 'w' { LOANS } else { 0 };
        let loans = (0..count).map(|_| self.broadcast.try_loan(LOAN));
        let loans: Result<Vec<_>, _> = loans.collect();
        loans.map(drop).map_err(|e| format!("lost a loan: {e}"))
    }

    /// The whole ring can be used, and all of the memory. Everything was received.
    fn is_as_new(&self) -> Result<(), String> {
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

fn done<T, E>(result: Result<T, E>) -> u64 {
    result.map_or(FAILED, |_| DONE)
}

fn publish(broadcast: &Broadcast<Bytes>, is_waiting: bool, message: Bytes) -> u64 {
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
fn try_publish(broadcast: &Broadcast<Bytes>, message: &Bytes, letter: char) -> u64 {
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
fn recv_ref(subscriber: &mut Subscriber<Bytes>, expected: &Bytes, is_lossless: bool) -> u64 {
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

fn recv(subscriber: &mut Subscriber<Bytes>) -> u64 {
    match subscriber.try_recv() {
        Ok(message) => message.0.first().copied().map_or(FAILED, u64::from),
        Err(TrySubscriberError::Empty) => BLOCKED,
        Err(TrySubscriberError::Failed(SubscriberError::Lagged(_))) => LAGGED,
        Err(_) => FAILED,
    }
}

impl Scenario for OnBroadcast {
    type State = Trial;

    fn name(&self) -> String {
        let kind = if self.is_lossless {
            "lossless"
        } else {
            "lossy"
        };
        format!("broadcast/{kind}/{}", self.name)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        let holds = |&campaign| (campaign, Expectation::Holds);
        self.campaigns.iter().map(holds).collect()
    }

    fn fresh(&self) -> Trial {
        Trial::new(self)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        vec![trial.file.shared()]
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        let broadcast = trial.open(self.is_lossless);
        match self.act {
            Act::Publish('w') => {
                let message = message(OF_VICTIM, 'w');
                Box::new(move || try_publish(&broadcast, &message, 'w'))
            }
            Act::RecvRef => {
                let mut subscriber = broadcast.subscribe().expect("there is room for it");
                let message = message(OF_VICTIM, 'w');
                let published = try_publish(&broadcast, &message, 'w');
                assert_eq!(published, DONE, "there is room");
                let is_lossless = self.is_lossless;
                Box::new(move || recv_ref(&mut subscriber, &message, is_lossless))
            }
            Act::Publish(_) | Act::PublishInAMoment => {
                let (letter, is_waiting) = match self.act {
                    Act::Publish(letter) => (letter, false),
                    _ => ('s', true),
                };
                // Made here, as that takes more steps than all the rest.
                let mut message = message(OF_VICTIM, letter);
                Box::new(move || publish(&broadcast, is_waiting, std::mem::take(&mut message)))
            }
            Act::Recv => {
                let subscriber = broadcast.subscribe_from_oldest();
                let mut subscriber = subscriber.expect("there is room for it");
                // Behind what it was given when it subscribed.
                while subscriber.try_recv().is_ok() {}
                let published = broadcast.try_publish(Bytes(vec![OF_VICTIM]));
                published.expect("there is room");
                Box::new(move || recv(&mut subscriber))
            }
            Act::Subscribe => {
                let mut made = None;
                Box::new(move || done(broadcast.subscribe().map(|one| made = Some(one))))
            }
            Act::SubscribeFromOldest => {
                let mut made = None;
                Box::new(move || {
                    done(
                        broadcast
                            .subscribe_from_oldest()
                            .map(|one| made = Some(one)),
                    )
                })
            }
            Act::Unsubscribe => {
                let mut subscriber = Some(broadcast.subscribe().expect("there is room for it"));
                Box::new(move || {
                    drop(subscriber.take());
                    DONE
                })
            }
            Act::Close => Box::new(move || {
                broadcast.close();
                DONE
            }),
        }
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        let broadcast = trial.broadcast.clone();
        Box::new(move || done(broadcast.sweep()))
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        self.check_sleeper(trial, outcome)?;
        trial.settle()?;
        let got = trial.drain()?;
        self.check(trial, outcome, &got)?;
        trial.is_as_new()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        if trial.broadcast.sweep().map_err(|e| e.to_string())? != 0 {
            return Err("a stopped process was found dead".to_owned());
        }
        // Several laps, unless the victim holds them up.
        for id in (FIRST_OF_SURVIVOR..).take(3 * CAPACITY) {
            trial.got.borrow_mut().extend(trial.drain()?);
            let letter = trial.letter;
            match try_publish(&trial.broadcast, &message(id, letter), letter) {
                DONE => trial.sent.borrow_mut().push(id),
                FAILED if !trial.broadcast.is_closed() => return Err("a publish failed".to_owned()),
                _ => break,
            }
        }
        trial.got.borrow_mut().extend(trial.drain()?);
        Ok(())
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Completed(FAILED) => return Err("it failed".to_owned()),
            Outcome::Killed => return Err("a resumed victim comes to its end".to_owned()),
            Outcome::Completed(_) => {}
        }
        trial.settle()?;
        let got = [trial.got.borrow().clone(), trial.drain()?].concat();
        self.check(trial, outcome, &got)?;
        trial.is_as_new()
    }
}

impl OnBroadcast {
    /// Whether the victim's message must have come, if that is known.
    fn comes(&self, outcome: Outcome) -> Option<bool> {
        match (self.act, outcome) {
            (Act::Recv | Act::RecvRef, _)
            | (Act::Publish(_) | Act::PublishInAMoment, Outcome::Completed(DONE)) => Some(true),
            (Act::Publish(_) | Act::PublishInAMoment, Outcome::Killed) => None,
            _ => Some(false),
        }
    }

    /// Everything came once, in one order, but for what was missed.
    fn check(&self, trial: &Trial, outcome: Outcome, got: &[Id]) -> Result<(), String> {
        let sent = trial.sent.borrow();
        let others: Vec<Id> = trial.before.iter().chain(sent.iter()).copied().collect();
        let missed = trial.missed.get();
        let wrong = |what: &str| {
            let all = format!("{got:?} came and {missed} were missed of {others:?}");
            Err(format!("{what}: {all}, after {outcome:?}"))
        };
        let of_others = got.iter().copied().filter(|&id| id != OF_VICTIM);
        let of_others: Vec<Id> = of_others.collect();
        let lost = others.len().saturating_sub(of_others.len());
        // In a lossy broadcast the memory of a younger one may have been needed, too: where the victim keeps subscribers waiting.
        let mut rest = others.iter();
        let is_in_order = of_others.iter().all(|id| rest.any(|other| other == id));
        if !is_in_order || lost as u64 > missed {
            return wrong("lost or out of order");
        }
        if missed > lost as u64 + 1 {
            return wrong("more are said to be missed than there were");
        }
        let came = got.iter().filter(|&&id| id == OF_VICTIM).count();
        let is_right = match self.comes(outcome) {
            Some(true) => came == 1,
            Some(false) => came == 0,
            None => came <= 1,
        };
        if !is_right {
            return wrong("the victim's message");
        }
        let first = got.first().copied().map_or(0, u64::from);
        match (self.act, outcome) {
            (Act::Recv | Act::RecvRef, Outcome::Completed(result))
                if result != u64::from(OF_VICTIM) && result != LAGGED =>
            {
                wrong(&format!(
                    "the victim received {result}, where {first} came first"
                ))
            }
            (Act::Publish(_), Outcome::Completed(BLOCKED))
                if !self.may_block() && sent.is_empty() =>
            {
                wrong("there was room")
            }
            _ => Ok(()),
        }
    }

    /// Whether anything is written in place.
    fn has_loans(&self) -> bool {
        matches!(self.act, Act::Publish('w') | Act::RecvRef) || self.before.contains('w')
    }

    fn may_block(&self) -> bool {
        self.is_lossless && !self.is_read
    }

    /// The sleeper gets the victim's message; if it was not published, the survivor's.
    fn check_sleeper(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let mut sleeper = trial.sleeper.borrow_mut();
        let Some(sleeper) = sleeper.as_mut() else {
            return Ok(());
        };
        if outcome.is_killed() {
            trial.broadcast.sweep().map_err(|e| e.to_string())?;
            let published = trial.broadcast.try_publish(message(FIRST_OF_SURVIVOR, 's'));
            published.map_err(|e| e.to_string())?;
            trial.sent.borrow_mut().push(FIRST_OF_SURVIVOR);
        }
        match sleeper.wait_to_end() {
            Ok(End::Completed(id)) if id == u64::from(OF_VICTIM) => Ok(()),
            Ok(End::Completed(id)) if outcome.is_killed() && id == u64::from(FIRST_OF_SURVIVOR) => {
                Ok(())
            }
            other => Err(format!("the sleeper: {other:?}")),
        }
    }
}

/// Every scenario.
pub(super) fn all() -> Vec<OnBroadcast> {
    let case = |name, act, is_lossless, before, campaigns| OnBroadcast {
        name,
        act,
        is_lossless,
        before,
        is_read: false,
        has_sleeper: false,
        campaigns,
    };
    let read = |case: OnBroadcast| OnBroadcast {
        is_read: true,
        ..case
    };
    let with_sleeper = |case: OnBroadcast| OnBroadcast {
        has_sleeper: true,
        ..case
    };
    let mut all = vec![
        case("publish-into-full", Act::Publish('s'), true, "ssss", KILL),
        case(
            "publish-in-a-moment",
            Act::PublishInAMoment,
            true,
            "ssss",
            KILL,
        ),
        case("publish-over-unread", Act::Publish('s'), false, "ssss", ALL),
        case(
            "publish-over-unread-large",
            Act::Publish('l'),
            false,
            "lsss",
            KILL_AND_STOP,
        ),
        case("recv", Act::Recv, true, "s", ALL),
        case("recv", Act::Recv, false, "s", KILL_AND_STOP),
        case("subscribe", Act::Subscribe, true, "ss", ALL),
        case(
            "subscribe-from-oldest",
            Act::SubscribeFromOldest,
            true,
            "sl",
            KILL_AND_STOP,
        ),
        case("subscribe", Act::Subscribe, false, "ss", KILL),
        case("unsubscribe", Act::Unsubscribe, true, "ss", ALL),
        case("close", Act::Close, true, "ss", KILL),
        case("recv-ref", Act::RecvRef, true, "s", ALL),
        case("recv-ref", Act::RecvRef, false, "s", KILL_AND_STOP),
        case(
            "loan-over-unread",
            Act::Publish('w'),
            false,
            "wwss",
            KILL_AND_STOP,
        ),
        case("loan-into-full", Act::Publish('w'), true, "wwss", KILL),
    ];
    for is_lossless in [true, false] {
        all.extend([
            case("publish", Act::Publish('s'), is_lossless, "s", ALL),
            case("publish-large", Act::Publish('l'), is_lossless, "s", ALL),
            read(case(
                "publish-over-large",
                Act::Publish('s'),
                is_lossless,
                "lsss",
                ALL,
            )),
            read(case(
                "publish-large-over-large",
                Act::Publish('l'),
                is_lossless,
                "lsss",
                KILL_AND_STOP,
            )),
            read(case(
                "publish-for-want-of-memory",
                Act::Publish('x'),
                is_lossless,
                "sll",
                ALL,
            )),
            case("loan", Act::Publish('w'), is_lossless, "s", ALL),
            read(case(
                "publish-over-lent",
                Act::Publish('s'),
                is_lossless,
                "wsss",
                ALL,
            )),
            read(case(
                "loan-for-want-of-memory",
                Act::Publish('w'),
                is_lossless,
                "sww",
                ALL,
            )),
            with_sleeper(case(
                "publish-with-sleeper",
                Act::Publish('s'),
                is_lossless,
                "",
                KILL,
            )),
        ]);
    }
    all
}
