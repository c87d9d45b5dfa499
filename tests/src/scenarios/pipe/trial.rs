//! A pipe for one trial, and what a victim does at its ends.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{
    Bytes, Namespace, ParticipantState, Pipe, Receiver, RecvError, RecvTimeoutError, Sender,
    TryRecvError, TrySendError,
};

use super::case::OnPipe;
use crate::mapping::Mapping;
use crate::scenarios::sleeper::asleep;
use crate::scenarios::trial::place;
use crate::step::{Operation, Victim};
use crate::trial_directory::TrialDirectory;

/// A message is its number, so often.
pub(super) type Id = u8;

pub(super) const NAME: &str = "pipe";
pub(super) const PARTICIPANTS: u32 = 8;
pub(super) const CAPACITY: usize = 128;
/// Bytes that have passed before, so that frames go round the end.
pub(super) const PASSED: u64 = CAPACITY as u64 + 88;
pub(super) const FIRST_OF_VICTIM: Id = 104;
pub(super) const FIRST_OF_SURVIVOR: Id = 151;
/// A wait ends after this; no trial gets that far unless something is wrong.
pub(super) const LONG: Duration = Duration::from_secs(20);

pub(super) const DONE: u64 = 1 << 32;
/// There was no room, or no message.
pub(super) const BLOCKED: u64 = DONE + 1;
pub(super) const END_OF_FILE: u64 = DONE + 2;
pub(super) const FAILED: u64 = u64::MAX;

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
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
    pub(super) fn is_at_sender(self) -> bool {
        !matches!(
            self,
            Self::Recv(_) | Self::TakeReceiver | Self::CloseReceiver
        )
    }

    /// What the victim sends if nothing hinders it.
    pub(super) fn sends(self) -> Vec<Id> {
        match self {
            Self::Send(count) => (FIRST_OF_VICTIM..).take(count).collect(),
            _ => Vec::new(),
        }
    }
}

/// The pipe of one trial.
pub(super) struct Trial {
    /// The ends that the survivor has. Dropped before the directory goes.
    pub(super) sender: RefCell<Option<Sender<Bytes>>>,
    pub(super) receiver: RefCell<Option<Receiver<Bytes>>>,
    pub(super) pipe: Pipe<Bytes>,
    pub(super) sleeper: RefCell<Option<Victim>>,
    pub(super) before: Vec<Id>,
    pub(super) is_in_place: bool,
    /// What the survivor did while the victim was stopped.
    pub(super) sent: RefCell<Vec<Id>>,
    pub(super) got: RefCell<Vec<Id>>,
    pub(super) is_stopped: Cell<bool>,
    pub(super) file: Mapping,
    pub(super) namespace: Namespace,
    _directory: TrialDirectory,
}

pub(super) fn message(id: Id) -> Bytes {
    Bytes(vec![id; 1 + usize::from(id) % 12])
}

pub(super) fn ticket_in(namespace: &Namespace) -> PathBuf {
    namespace.path().join(".ticket")
}

pub(super) fn id_of(bytes: &[u8]) -> Result<Id, String> {
    match bytes.first() {
        Some(&id) if *bytes == message(id).0 => Ok(id),
        _ => Err(format!("torn: {bytes:?}")),
    }
}

/// The frames in the file, read as docs/format.md says.
pub(super) fn oracle(file: &Mapping) -> Result<Vec<Id>, String> {
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
    pub(super) fn new(case: &OnPipe) -> Self {
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
    pub(super) fn sleeper(&self) -> Victim {
        let arm = || -> Operation<'_> {
            let mut receiver = self.join().receiver().expect("nobody has it");
            receiver.set_wait_strategy(ipc_core::WaitStrategy::Sleep);
            Box::new(move || match receiver.recv_timeout(LONG) {
                Ok(bytes) => id_of(&bytes.0).map_or(FAILED, u64::from),
                Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => END_OF_FILE,
                Err(_) => FAILED,
            })
        };
        asleep(arm)
    }

    /// Comes to the pipe in a process of its own, without a sweep.
    pub(super) fn join(&self) -> Pipe<Bytes> {
        self.pipe.clone()
    }

    pub(super) fn arm(&self, act: Act) -> Operation<'static> {
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
    pub(super) fn take_sender(&self) -> Sender<Bytes> {
        match self.ticket() {
            Some(ticket) => serde_json::from_str(&ticket).expect("nobody has taken it"),
            None => self.join().sender().expect("nobody has it"),
        }
    }

    pub(super) fn ticket(&self) -> Option<String> {
        fs::read_to_string(ticket_in(&self.namespace)).ok()
    }

    /// Nobody dead is left, and nobody else: whatever the victim had is free again.
    pub(super) fn settle(&self) -> Result<(), String> {
        self.sleeper.replace(None);
        self.pipe.sweep().map_err(|e| e.to_string())?;
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        match seen.participants.as_slice() {
            [survivor] if survivor.state == ParticipantState::Alive => Ok(()),
            others => Err(format!("after a sweep: {others:?}")),
        }
    }

    /// Receives all that is there; says whether the end of file came behind it.
    pub(super) fn drain(&self) -> Result<(Vec<Id>, bool), String> {
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
    pub(super) fn fill(&self) -> Result<Vec<Id>, String> {
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
    pub(super) fn is_as_new(&self) -> Result<(), String> {
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

pub(super) fn done<T, E>(result: Result<T, E>) -> u64 {
    result.map_or(FAILED, |_| DONE)
}

pub(super) fn send(sender: &mut Sender<Bytes>, count: usize) -> u64 {
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

pub(super) fn send_in_place(sender: &mut Sender<Bytes>, id: Id) -> u64 {
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

pub(super) fn recv_in_place(receiver: &mut Receiver<Bytes>) -> u64 {
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
pub(super) fn recv(receiver: &mut Receiver<Bytes>, count: usize) -> u64 {
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
pub(super) fn received(result: u64) -> Vec<Id> {
    let bytes = result.to_be_bytes().into_iter();
    match result {
        BLOCKED => Vec::new(),
        _ => bytes.filter(|&id| id != 0).collect(),
    }
}
