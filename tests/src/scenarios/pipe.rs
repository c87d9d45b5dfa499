//! What a victim does at an end of a pipe, and what the other end and the next holder find.
//!
//! Messages are read from the file too, without a line of the library's code: docs/format.md says where they are.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{
    Bytes, Namespace, ParticipantState, Pipe, Receiver, RecvError, RecvTimeoutError, Sender,
    TakeError, TryRecvError, TrySendError,
};

use super::sleeper::{is_asleep, wait_until};
use super::trial::place;
use crate::mapping::{Mapping, Shared};
use crate::step::{Campaign, End, Expectation, Operation, Outcome, Scenario, Victim};
use crate::trial_directory::TrialDirectory;

/// A message is its number, so often.
type Id = u8;

const NAME: &str = "pipe";
const PARTICIPANTS: u32 = 8;
const CAPACITY: usize = 128;
/// Bytes that have passed before, so that frames go round the end.
const PASSED: u64 = CAPACITY as u64 + 88;
const FIRST_OF_VICTIM: Id = 104;
const FIRST_OF_SURVIVOR: Id = 151;
/// A wait ends after this; no trial gets that far unless something is wrong.
const LONG: Duration = Duration::from_secs(20);

const DONE: u64 = 1 << 32;
/// There was no room, or no message.
const BLOCKED: u64 = DONE + 1;
const END_OF_FILE: u64 = DONE + 2;
const FAILED: u64 = u64::MAX;

const ALL: &[Campaign] = &[Campaign::Kill, Campaign::Stop, Campaign::Nested];
const KILL_AND_STOP: &[Campaign] = &[Campaign::Kill, Campaign::Stop];

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Sends so many messages, together if they are several.
    Send(usize),
    /// Receives up to so many.
    Recv(usize),
    /// Takes an end, by name.
    TakeSender,
    TakeReceiver,
    /// Takes the sender that the survivor has offered.
    Redeem,
    /// Offers its sender to nobody in particular.
    Offer,
    CloseSender,
    CloseReceiver,
}

impl Act {
    /// Whether the victim has the sending end, or comes to have it.
    fn is_at_sender(self) -> bool {
        !matches!(
            self,
            Self::Recv(_) | Self::TakeReceiver | Self::CloseReceiver
        )
    }

    /// What the victim sends if nothing hinders it.
    fn sends(self) -> Vec<Id> {
        match self {
            Self::Send(count) => (FIRST_OF_VICTIM..).take(count).collect(),
            _ => Vec::new(),
        }
    }
}

/// One act in one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnPipe {
    name: &'static str,
    act: Act,
    /// Messages in the pipe at first.
    before: usize,
    /// Another process sleeps at the other end.
    has_sleeper: bool,
    /// Messages are written and read where they lie.
    is_in_place: bool,
    campaigns: &'static [Campaign],
}

/// The pipe of one trial.
pub(super) struct Trial {
    /// The ends that the survivor has. Dropped before the directory goes.
    sender: RefCell<Option<Sender<Bytes>>>,
    receiver: RefCell<Option<Receiver<Bytes>>>,
    pipe: Pipe<Bytes>,
    sleeper: RefCell<Option<Victim>>,
    before: Vec<Id>,
    is_in_place: bool,
    /// What the survivor did while the victim was stopped.
    sent: RefCell<Vec<Id>>,
    got: RefCell<Vec<Id>>,
    is_stopped: Cell<bool>,
    file: Mapping,
    namespace: Namespace,
    _directory: TrialDirectory,
}

fn message(id: Id) -> Bytes {
    Bytes(vec![id; 1 + usize::from(id) % 12])
}

fn ticket_in(namespace: &Namespace) -> PathBuf {
    namespace.path().join(".ticket")
}

fn id_of(bytes: &[u8]) -> Result<Id, String> {
    match bytes.first() {
        Some(&id) if *bytes == message(id).0 => Ok(id),
        _ => Err(format!("torn: {bytes:?}")),
    }
}

/// The frames in the file, read as docs/format.md says.
fn oracle(file: &Mapping) -> Result<Vec<Id>, String> {
    const LANE: usize = (384 + PARTICIPANTS as usize * 64).next_multiple_of(128);
    let mut bytes = Vec::new();
    file.shared().copy_to(&mut bytes);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
    let (tail, mut at) = (number(LANE), number(LANE + 128));
    let place = |position: u64| LANE + 384 + position as usize % CAPACITY;
    let mut found = Vec::new();
    while at < tail {
        let head = number(place(at));
        let (padding, length) = match head >> 63 {
            0 => (0, head),
            _ => ((head << 1 >> 33) * 8, head & 0xffff_ffff),
        };
        at += 8 + padding;
        let message: Vec<u8> = (at..at + length).map(|n| bytes[place(n)]).collect();
        found.push(id_of(&message)?);
        at += length.next_multiple_of(8);
    }
    Ok(found)
}

impl Trial {
    fn new(case: &OnPipe) -> Self {
        let (directory, namespace) = place();
        let options = Pipe::options().capacity(CAPACITY).one_way();
        let options = options.participants(PARTICIPANTS).namespace(&namespace);
        let pipe = options.create(NAME).expect("a pipe can be made");
        let file = Mapping::of_file(namespace.path().join(NAME)).expect("it can be mapped");
        let mut sender = pipe.sender().expect("nobody has it");
        let mut receiver = pipe.receiver().expect("nobody has it");
        for _ in 0..PASSED / 8 {
            sender.send_bytes(b"").expect("there is room");
            receiver.recv().expect("it is there");
        }
        let before: Vec<Id> = (1..).take(case.before).collect();
        for &id in &before {
            match case.is_in_place {
                true => drop(send_in_place(&mut sender, id)),
                false => sender.try_send(message(id)).expect("there is room"),
            }
        }
        assert_eq!(
            oracle(&file).as_ref(),
            Ok(&before),
            "the oracle knows the layout"
        );
        let is_theirs = case.act.is_at_sender();
        // The sleeper must not see the end of file before the victim has come.
        let is_offered = case.act == Act::Redeem || case.has_sleeper;
        let keeps_sender = !is_theirs || is_offered;
        if is_offered {
            let ticket = serde_json::to_string(&sender).expect("it can be sent");
            fs::write(ticket_in(&namespace), ticket).expect("a file can be written");
        }
        let trial = Self {
            sender: RefCell::new(keeps_sender.then_some(sender)),
            receiver: RefCell::new((is_theirs && !case.has_sleeper).then_some(receiver)),
            pipe,
            sleeper: RefCell::default(),
            before,
            is_in_place: case.is_in_place,
            sent: RefCell::default(),
            got: RefCell::default(),
            is_stopped: Cell::new(false),
            file,
            namespace,
            _directory: directory,
        };
        if case.has_sleeper {
            let sleeper = trial.sleeper();
            trial.sleeper.replace(Some(sleeper));
        }
        trial
    }

    /// A process asleep in a receive.
    fn sleeper(&self) -> Victim {
        let arm = || -> Operation<'_> {
            let mut receiver = self.join().receiver().expect("nobody has it");
            receiver.set_wait_strategy(ipc_core::WaitStrategy::Sleep);
            Box::new(move || match receiver.recv_timeout(LONG) {
                Ok(bytes) => id_of(&bytes.0).map_or(FAILED, u64::from),
                Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => END_OF_FILE,
                Err(_) => FAILED,
            })
        };
        let mut sleeper = Victim::fork(arm).expect("a process can be made");
        sleeper.resume().expect("it can be resumed");
        wait_until(|| is_asleep(&sleeper));
        sleeper
    }

    /// Comes to the pipe in a process of its own, without a sweep.
    fn join(&self) -> Pipe<Bytes> {
        self.pipe.clone()
    }

    fn arm(&self, act: Act) -> Operation<'static> {
        let pipe = self.join();
        match act {
            Act::Send(_) if self.is_in_place => {
                let mut sender = self.take_sender();
                Box::new(move || send_in_place(&mut sender, FIRST_OF_VICTIM))
            }
            Act::Recv(_) if self.is_in_place => {
                let mut receiver = pipe.receiver().expect("nobody has it");
                Box::new(move || recv_in_place(&mut receiver))
            }
            Act::Send(count) => {
                let mut sender = self.take_sender();
                Box::new(move || send(&mut sender, count))
            }
            Act::Recv(count) => {
                let mut receiver = pipe.receiver().expect("nobody has it");
                Box::new(move || recv(&mut receiver, count))
            }
            Act::TakeSender => {
                let mut taken = None;
                let _ = pipe.sender().map(Sender::close); // it has its slot
                Box::new(move || done(pipe.sender().map(|end| taken = Some(end))))
            }
            Act::TakeReceiver => {
                let mut taken = None;
                let _ = pipe.receiver().map(Receiver::close);
                Box::new(move || done(pipe.receiver().map(|end| taken = Some(end))))
            }
            Act::Redeem => {
                let copy = self.sender.borrow();
                assert!(
                    serde_json::to_string(&*copy).is_err(),
                    "it is the parent's to give"
                );
                let ticket = self.ticket().expect("it was written");
                let mut taken: Option<Sender<Bytes>> = None;
                Box::new(move || done(serde_json::from_str(&ticket).map(|end| taken = Some(end))))
            }
            Act::Offer => {
                let sender = pipe.sender().expect("nobody has it");
                Box::new(move || done(serde_json::to_string(&sender)))
            }
            Act::CloseSender => {
                let mut end = Some(self.take_sender());
                Box::new(move || {
                    drop(end.take());
                    DONE
                })
            }
            Act::CloseReceiver => {
                let mut end = Some(pipe.receiver().expect("nobody has it"));
                Box::new(move || {
                    drop(end.take());
                    DONE
                })
            }
        }
    }

    /// The sender, by the ticket that the survivor has written, or by name.
    fn take_sender(&self) -> Sender<Bytes> {
        match self.ticket() {
            Some(ticket) => serde_json::from_str(&ticket).expect("nobody has taken it"),
            None => self.join().sender().expect("nobody has it"),
        }
    }

    fn ticket(&self) -> Option<String> {
        fs::read_to_string(ticket_in(&self.namespace)).ok()
    }

    /// Nobody dead is left, and nobody else: whatever the victim had is free again.
    fn settle(&self) -> Result<(), String> {
        self.sleeper.replace(None);
        self.pipe.sweep().map_err(|e| e.to_string())?;
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        match seen.participants.as_slice() {
            [survivor] if survivor.state == ParticipantState::Alive => Ok(()),
            others => Err(format!("after a sweep: {others:?}")),
        }
    }

    /// Receives all that is there; says whether the end of file came behind it.
    fn drain(&self) -> Result<(Vec<Id>, bool), String> {
        let mut receiver = self.receiver.borrow_mut();
        if receiver.is_none() {
            *receiver = Some(self.pipe.receiver().map_err(|e| e.to_string())?);
        }
        let receiver = receiver.as_mut().expect("just taken");
        let mut got = Vec::new();
        loop {
            match receiver.try_recv() {
                Ok(bytes) => got.push(id_of(&bytes.0)?),
                Err(TryRecvError::Empty) => return Ok((got, false)),
                Err(TryRecvError::Failed(RecvError::EndOfFile)) => return Ok((got, true)),
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// Sends until it is refused.
    fn fill(&self) -> Result<Vec<Id>, String> {
        let mut sender = self.sender.borrow_mut();
        let sender = sender.as_mut().ok_or("the survivor has no sender")?;
        let mut sent = Vec::new();
        for id in FIRST_OF_SURVIVOR.. {
            match sender.try_send(message(id)) {
                Ok(()) => sent.push(id),
                Err(TrySendError::Full(_)) => break,
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(sent)
    }

    /// Both ends can be taken and the whole capacity used.
    fn is_as_new(&self) -> Result<(), String> {
        *self.sender.borrow_mut() = None;
        if let Some(receiver) = &*self.receiver.borrow() {
            // What was offered, and not taken by who died.
            receiver.close_untaken_peer().map_err(|e| e.to_string())?;
        }
        *self.sender.borrow_mut() = Some(self.pipe.sender().map_err(|e| e.to_string())?);
        let sent = self.fill()?;
        let bytes = |id: &Id| 8 + message(*id).0.len().next_multiple_of(8);
        let used: usize = sent.iter().map(bytes).sum();
        if used + 24 <= CAPACITY {
            return Err(format!("only {used} bytes of {CAPACITY} can be used"));
        }
        match self.drain()? {
            (got, false) if got == sent => Ok(()),
            other => Err(format!("{sent:?} were sent, {other:?} came")),
        }
    }
}

fn done<T, E>(result: Result<T, E>) -> u64 {
    result.map_or(FAILED, |_| DONE)
}

fn send(sender: &mut Sender<Bytes>, count: usize) -> u64 {
    if count > 1 {
        let ids = (FIRST_OF_VICTIM..).take(count).collect::<Vec<_>>();
        return done(sender.send_many(ids.into_iter().map(message)));
    }
    match sender.try_send(message(FIRST_OF_VICTIM)) {
        Ok(()) => DONE,
        Err(TrySendError::Full(_)) => BLOCKED,
        Err(_) => FAILED,
    }
}

fn send_in_place(sender: &mut Sender<Bytes>, id: Id) -> u64 {
    let bytes = message(id).0;
    match sender.try_loan(bytes.len()) {
        Ok(mut loan) => {
            loan.write_at(0, &bytes);
            done(loan.send())
        }
        Err(TrySendError::Full(())) => BLOCKED,
        Err(_) => FAILED,
    }
}

fn recv_in_place(receiver: &mut Receiver<Bytes>) -> u64 {
    match receiver.try_recv_ref() {
        Ok(message) => {
            let id = id_of(&message.to_vec());
            match message.is_in_place() && message.done().is_ok() {
                true => id.map_or(FAILED, u64::from),
                false => FAILED,
            }
        }
        Err(TryRecvError::Empty) => BLOCKED,
        Err(_) => FAILED,
    }
}

/// What was received: one byte for each.
fn recv(receiver: &mut Receiver<Bytes>, count: usize) -> u64 {
    let received = match count {
        1 => match receiver.try_recv() {
            Ok(one) => vec![one],
            Err(TryRecvError::Empty) => return BLOCKED,
            Err(_) => return FAILED,
        },
        _ => match receiver.recv_many(count) {
            Ok(some) => some,
            Err(_) => return FAILED,
        },
    };
    let ids = received.iter().map(|bytes| id_of(&bytes.0).unwrap_or(0));
    ids.fold(0, |all, id| all << 8 | u64::from(id))
}

/// The numbers in what [`recv`] returned.
fn received(result: u64) -> Vec<Id> {
    let bytes = result.to_be_bytes().into_iter();
    match result {
        BLOCKED => Vec::new(),
        _ => bytes.filter(|&id| id != 0).collect(),
    }
}

impl Scenario for OnPipe {
    type State = Trial;

    fn name(&self) -> String {
        format!("pipe/{}", self.name)
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
        trial.arm(self.act)
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        let pipe = trial.join();
        let ticket = serde_json::to_string(&pipe).expect("it can be sent");
        let _: Result<Pipe<Bytes>, _> = serde_json::from_str(&ticket);
        Box::new(move || done(pipe.sweep()))
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        let slept = self.check_sleeper(trial, outcome)?;
        let left = oracle(&trial.file)?;
        trial.settle()?;
        self.check_peer(trial, outcome)?;
        let (got, _) = trial.drain()?;
        if got != left {
            return Err(format!("{left:?} are in the file, a survivor gets {got:?}"));
        }
        self.check_messages(trial, outcome, &[slept, got].concat())?;
        trial.is_as_new()
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        trial.is_stopped.set(true);
        if trial.pipe.sweep().map_err(|e| e.to_string())? != 0 {
            return Err("a stopped process was found dead".to_owned());
        }
        let is_held = !matches!(
            self.act,
            Act::TakeSender
                | Act::TakeReceiver
                | Act::CloseSender
                | Act::CloseReceiver
                | Act::Redeem
        );
        let robbed = if self.act.is_at_sender() {
            trial.pipe.sender().map(drop)
        } else {
            trial.pipe.receiver().map(drop)
        };
        match robbed {
            Err(TakeError::InUse { pid }) if is_held && pid != std::process::id() => {}
            _ if !is_held => {}
            other => return Err(format!("a stopped process's end: {other:?}")),
        }
        match self.act {
            Act::Send(_) => trial.got.replace(trial.drain()?.0),
            Act::Recv(_) => trial.sent.replace(trial.fill()?),
            _ => Vec::new(),
        };
        Ok(())
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        // An end that the survivor took while it was free is not there to be taken.
        let is_taking = matches!(self.act, Act::TakeSender | Act::TakeReceiver | Act::Redeem);
        match outcome {
            Outcome::Completed(FAILED) if !is_taking => return Err("it failed".to_owned()),
            Outcome::Killed => return Err("a resumed victim comes to its end".to_owned()),
            _ => {}
        }
        trial.settle()?;
        let (rest, _) = trial.drain()?;
        let got = [trial.got.borrow().clone(), rest].concat();
        self.check_messages(trial, outcome, &got)?;
        trial.is_as_new()
    }
}

impl OnPipe {
    /// What the sleeper got: a message, or the end of file once the victim is found dead.
    fn check_sleeper(&self, trial: &Trial, outcome: Outcome) -> Result<Vec<Id>, String> {
        let mut sleeper = trial.sleeper.borrow_mut();
        let Some(sleeper) = sleeper.as_mut() else {
            return Ok(Vec::new());
        };
        match sleeper.wait_to_end() {
            Ok(End::Completed(END_OF_FILE)) if outcome != Outcome::Completed(DONE) => {
                Ok(Vec::new())
            }
            Ok(End::Completed(END_OF_FILE)) if self.act == Act::CloseSender => Ok(Vec::new()),
            Ok(End::Completed(id)) if id == u64::from(FIRST_OF_VICTIM) => Ok(vec![FIRST_OF_VICTIM]),
            other => Err(format!("the sleeper: {other:?}")),
        }
    }

    /// The other end learns of the death, whatever the victim was doing.
    fn check_peer(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        if self.act == Act::Redeem {
            return Ok(()); // it may not have come to have it
        }
        if self.act.is_at_sender() {
            let state = trial
                .namespace
                .inspect(NAME)
                .map_err(|e| e.to_string())?
                .state;
            return match state.contains("sender closed") {
                true => Ok(()),
                false => Err(format!("after {outcome:?}: {state}")),
            };
        }
        let mut sender = trial.sender.borrow_mut();
        match sender.as_mut().map(|sender| sender.try_send(message(1))) {
            Some(Err(TrySendError::BrokenPipe(_))) => Ok(()),
            other => Err(format!("a send to the dead: {other:?}")),
        }
    }

    fn check_messages(&self, trial: &Trial, outcome: Outcome, got: &[Id]) -> Result<(), String> {
        let wrong = |expected: &[Id]| {
            let sent = trial.sent.borrow();
            format!("{got:?} came, not {expected:?}, after {outcome:?} and {sent:?}")
        };
        let mut expected = trial.before.clone();
        match (self.act, outcome) {
            (Act::Recv(_), Outcome::Completed(result)) => {
                let taken = received(result);
                if !expected.starts_with(&taken) || taken.is_empty() && !expected.is_empty() {
                    return Err(format!("the victim got {taken:?}"));
                }
                expected.drain(..taken.len());
            }
            (Act::Recv(most), Outcome::Killed) => {
                // It may have been delivered: then all that one call takes.
                let missing = expected.len().saturating_sub(got.len());
                if missing > most {
                    return Err(wrong(&expected));
                }
                expected.drain(..missing);
            }
            (Act::Send(_), Outcome::Completed(BLOCKED)) if !trial.is_stopped.get() => {}
            (Act::Send(_), Outcome::Completed(DONE)) => expected.extend(self.act.sends()),
            (Act::Send(_), _) => {
                let mine = self.act.sends();
                let came = got.len().saturating_sub(expected.len()).min(mine.len());
                expected.extend(&mine[..came]);
            }
            _ => {}
        }
        expected.extend(trial.sent.borrow().iter());
        if got == expected {
            Ok(())
        } else {
            Err(wrong(&expected))
        }
    }
}

/// Every scenario.
pub(super) fn all() -> Vec<OnPipe> {
    let case = |name, act, before, campaigns| OnPipe {
        name,
        act,
        before,
        has_sleeper: false,
        is_in_place: false,
        campaigns,
    };
    let in_place = |case: OnPipe| OnPipe {
        is_in_place: true,
        ..case
    };
    let with_sleeper = |case: OnPipe| OnPipe {
        has_sleeper: true,
        ..case
    };
    vec![
        case("send-into-empty", Act::Send(1), 0, ALL),
        case("send-into-middle", Act::Send(1), 3, KILL_AND_STOP),
        case("send-into-full", Act::Send(1), 7, KILL_AND_STOP),
        case("send-three", Act::Send(3), 1, ALL),
        with_sleeper(case(
            "send-with-sleeper",
            Act::Send(1),
            0,
            &[Campaign::Kill],
        )),
        case("recv-last", Act::Recv(1), 1, ALL),
        case("recv-from-middle", Act::Recv(1), 4, KILL_AND_STOP),
        case("recv-from-empty", Act::Recv(1), 0, &[Campaign::Kill]),
        case("recv-three", Act::Recv(3), 5, ALL),
        in_place(case("loan-into-empty", Act::Send(1), 0, ALL)),
        in_place(case("loan-behind-one", Act::Send(1), 1, KILL_AND_STOP)),
        in_place(case("loan-into-full", Act::Send(1), 2, KILL_AND_STOP)),
        in_place(with_sleeper(case(
            "loan-with-sleeper",
            Act::Send(1),
            0,
            &[Campaign::Kill],
        ))),
        in_place(case("ref-of-last", Act::Recv(1), 1, ALL)),
        in_place(case("ref-of-two", Act::Recv(1), 2, KILL_AND_STOP)),
        in_place(case("ref-from-empty", Act::Recv(1), 0, &[Campaign::Kill])),
        case("take-sender", Act::TakeSender, 2, ALL),
        case("take-receiver", Act::TakeReceiver, 2, KILL_AND_STOP),
        case("redeem", Act::Redeem, 2, ALL),
        case("offer", Act::Offer, 2, ALL),
        case("close-sender", Act::CloseSender, 2, ALL),
        with_sleeper(case(
            "close-with-sleeper",
            Act::CloseSender,
            0,
            &[Campaign::Kill],
        )),
        case("close-receiver", Act::CloseReceiver, 2, ALL),
    ]
}
