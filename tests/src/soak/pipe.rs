//! A pipe whose ends go from process to process, because those that have them are killed.
//!
//! At any time one worker sends and one receives. Whoever is killed is replaced at once; the next one takes the end once the death is
//! proven. In the end all messages that were sent for certain have come, in order, but for what a killed receiver had in hand, and
//! the end of file behind them.

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{
    Bytes, Namespace, Pipe, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    Sender, TakeError, TryRecvError, TrySendError,
};

use super::account::Remains;
use super::crew::{Crew, Disturbance, Outcome, PATIENCE};
use super::journal::Journal;
use super::message::{self, producer_of, sequence_of};
use super::round::Plan;
use super::worker::{self, MOST_BATCH, Orders, Role, Subject};
use crate::random::Random;

const PIPE: &str = "soak";
/// The sender, the receiver, the supervisor, and one that nobody has swept yet.
const PARTICIPANTS: u32 = 4;

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    /// Rounds.
    pub rounds: u64,
    /// Messages received.
    pub messages: u64,
    /// Processes killed.
    pub kills: u64,
    /// Processes stopped for a while.
    pub stops: u64,
    /// Messages that died with a receiver to which they had been returned.
    pub lost: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rounds={} messages={} kills={} stops={} lost_in_window={}",
            self.rounds, self.messages, self.kills, self.stops, self.lost
        )
    }
}

/// Runs rounds until the time is over, or one fails.
///
/// # Errors
///
/// Says what does not hold, with the round's seed.
pub fn soak(plan: &Plan, mut report: impl FnMut(&Figures)) -> Result<Figures, Box<dyn Error>> {
    let end = Instant::now() + plan.duration;
    let mut figures = Figures::default();
    while Instant::now() < end {
        let seed = plan.seed.wrapping_add(figures.rounds);
        let left = end.saturating_duration_since(Instant::now());
        let duration = plan.round.min(left.max(Duration::from_millis(200)));
        round(plan, seed, duration, &mut figures)
            .map_err(|e| format!("round with seed {seed}: {e}"))?;
        figures.rounds += 1;
        report(&figures);
    }
    Ok(figures)
}

fn round(plan: &Plan, seed: u64, duration: Duration, figures: &mut Figures) -> Outcome {
    let mut random = Random::new(seed);
    let capacity = random.pick(&[128, 512, 4096, 65_536]);
    let large_every = match capacity {
        ..1024 => 0, // a large message is larger than that
        _ => random.pick(&[0, 1, 3, 20]),
    };
    let orders = ["--large-every", &large_every.to_string()].map(str::to_owned);
    let longest = (capacity / 2 - 8).to_string();
    let orders = [&orders[..], &["--longest".to_owned(), longest]].concat();
    let mut crew = Crew::new(plan.program.clone(), Subject::Pipe, orders, random)?;
    let namespace = Namespace::at(crew.namespace())?;
    let options = Pipe::<Bytes>::options()
        .one_way()
        .capacity(capacity)
        .participants(PARTICIPANTS)
        .namespace(&namespace);
    let pipe = options.create(PIPE)?;
    crew.start(Role::Producer)?;
    crew.start(Role::Consumer)?;
    let end = Instant::now() + duration;
    while Instant::now() < end {
        match crew.disturb(plan.kill_every)? {
            Disturbance::Kill => figures.kills += 1,
            Disturbance::Stop => figures.stops += 1,
        }
        crew.replace_retired()?;
        crew.watch()?;
    }
    figures.kills += crew.kill_all()?;
    let drained = drain(&pipe).map_err(|e| format!("capacity {capacity}: {e}"))?;
    crew.remains.sort_by_key(|one| one.incarnation);
    let (count, lost) = balance(&crew.remains, &drained)?;
    figures.messages += count;
    figures.lost += lost;
    if namespace.inspect(PIPE)?.participants.len() != 1 {
        return Err("a participant is left".into());
    }
    Ok(())
}

/// Once nobody lives who had an end: what is left, and then the end of file.
fn drain(pipe: &Pipe<Bytes>) -> Outcome<Vec<u64>> {
    let mut receiver = pipe.receiver()?;
    let mut ids = Vec::new();
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(bytes) => ids.push(message::check(&bytes)?),
            Err(RecvTimeoutError::Failed(RecvError::EndOfFile)) => return Ok(ids),
            Err(e) => return Err(format!("behind {} messages: {e}", ids.len()).into()),
        }
    }
}

/// Goes through all that was received, in order. How many messages that were, and how many were lost in a receiver's hands.
fn balance(all: &[Remains], drained: &[u64]) -> Outcome<(u64, u64)> {
    let mut books = Books {
        senders: all.iter().filter(|r| r.role == Role::Producer).collect(),
        next: (0, 0),
        in_hand: 0,
        count: 0,
        lost: 0,
    };
    for one in all.iter().filter(|r| r.role == Role::Consumer) {
        books.enter(one.journal.entries())?;
        if one.is_killed {
            books.in_hand += one.journal.in_hand();
        }
    }
    books.enter(drained.iter().copied())?;
    books.skip_to((u32::MAX, 0))?;
    Ok((books.count, books.lost))
}

struct Books<'a> {
    /// By incarnation, which is the order in which they had the end.
    senders: Vec<&'a Remains>,
    /// The message that is due: whose, and which.
    next: (u32, u64),
    /// What the receivers that were killed since the last message may have had.
    in_hand: u64,
    count: u64,
    lost: u64,
}

impl Books<'_> {
    fn enter(&mut self, ids: impl Iterator<Item = u64>) -> Outcome {
        for id in ids {
            let (sender, sequence) = (producer_of(id), sequence_of(id));
            if (sender, sequence) < self.next {
                return Err(format!("{id:#x} came late or again; {:?} was due", self.next).into());
            }
            let begun = self.senders.iter().find(|r| r.incarnation == sender);
            if begun.is_none_or(|r| sequence >= r.journal.begun()) {
                return Err(format!("{id:#x} was never sent").into());
            }
            self.skip_to((sender, sequence))?;
            self.next = (sender, sequence + 1);
            self.in_hand = 0;
            self.count += 1;
        }
        Ok(())
    }

    /// Nothing before this one comes any more: what was sent for certain died with its receiver.
    fn skip_to(&mut self, (sender, sequence): (u32, u64)) -> Outcome {
        let missing: u64 = self
            .senders
            .iter()
            .filter(|r| (self.next.0..=sender).contains(&r.incarnation))
            .map(|r| {
                let from = if r.incarnation == self.next.0 {
                    self.next.1
                } else {
                    0
                };
                let to = if r.incarnation == sender {
                    sequence
                } else {
                    r.journal.acked()
                };
                to.saturating_sub(from)
            })
            .sum();
        if missing > self.in_hand {
            let (next, most) = (self.next, self.in_hand);
            let what = format!(
                "{missing} messages from {next:?} on are lost before {sender} {sequence}; killed receivers had at most {most} in hand"
            );
            return Err(what.into());
        }
        self.lost += missing;
        Ok(())
    }
}

// ---- what the workers do

/// Takes an end as soon as its last holder is proven dead. `None` when asked to stop meanwhile.
fn take<E>(journal: &Journal, mut end: impl FnMut() -> Result<E, TakeError>) -> Outcome<Option<E>> {
    while !journal.is_asked_to_stop() {
        match end() {
            Ok(end) => return Ok(Some(end)),
            Err(TakeError::InUse { .. }) => thread::yield_now(),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}

fn open(namespace: &Namespace) -> ipc_core::Result<Pipe<Bytes>> {
    Pipe::options().namespace(namespace).open(PIPE)
}

/// Sends until told to stop.
pub(super) fn send(
    namespace: &Namespace,
    journal: &Journal,
    orders: &Orders,
    mut random: Random,
) -> worker::Outcome {
    let pipe = open(namespace)?;
    journal.set_attached();
    let Some(mut sender) = take(journal, || pipe.sender())? else {
        return Ok(());
    };
    let mut next = 0;
    while !journal.is_asked_to_stop() {
        let count = match random.below(4) {
            0 => 1 + random.below(MOST_BATCH),
            _ => 1,
        };
        let messages = worker::messages(orders, &mut random, next, next + count);
        journal.begin_put(next + count);
        let sent = send_some(&mut sender, messages, &mut random)?;
        next += sent;
        journal.end_put(next);
        if sent == 0 {
            thread::yield_now(); // nobody receives, or there is no room
        }
    }
    Ok(())
}

/// How many were sent.
fn send_some(
    sender: &mut Sender<Bytes>,
    mut messages: Vec<Bytes>,
    random: &mut Random,
) -> Result<u64, Box<dyn Error>> {
    if messages.len() > 1 {
        return match sender.send_many(messages) {
            Ok(count) => Ok(count as u64),
            Err(e) if matches!(e.error, SendError::BrokenPipe(_)) => Ok(e.sent as u64),
            Err(e) => Err(e.into()),
        };
    }
    let Some(message) = messages.pop() else {
        return Ok(0);
    };
    let timeout = Duration::from_micros(random.below(20_000));
    let is_sent = match random.below(4) {
        0 => match sender.send(message) {
            Ok(()) => true,
            Err(SendError::BrokenPipe(_)) => false,
            Err(e) => return Err(e.into()),
        },
        1 => match sender.try_send(message) {
            Ok(()) => true,
            Err(TrySendError::BrokenPipe(_) | TrySendError::Full(_)) => false,
            Err(e) => return Err(e.into()),
        },
        2 => match sender.send_timeout(message, timeout) {
            Ok(()) => true,
            Err(SendTimeoutError::BrokenPipe(_) | SendTimeoutError::Timeout(_)) => false,
            Err(e) => return Err(e.into()),
        },
        _ => match sender.loan(message.0.len()) {
            Ok(mut loan) => {
                loan.write_at(0, &message.0);
                match loan.send() {
                    Ok(()) => true,
                    Err(SendError::BrokenPipe(())) => false,
                    Err(e) => return Err(e.into()),
                }
            }
            Err(SendError::BrokenPipe(_)) => false,
            Err(e) => return Err(e.into()),
        },
    };
    Ok(is_sent.into())
}

/// Receives until told to stop, or until the journal is full. The end of file only says that nobody sends now.
pub(super) fn receive(
    namespace: &Namespace,
    journal: &Journal,
    mut random: Random,
) -> worker::Outcome {
    let pipe = open(namespace)?;
    journal.set_attached();
    let Some(mut receiver) = take(journal, || pipe.receiver())? else {
        return Ok(());
    };
    while !journal.is_asked_to_stop() {
        let most = match random.below(4) {
            0 => 1 + random.index(MOST_BATCH as usize),
            _ => 1,
        };
        if !journal.begin_get(most) {
            break; // the supervisor replaces this one
        }
        match receive_some(&mut receiver, most, &mut random) {
            Ok(messages) => {
                for bytes in &messages {
                    journal.note(message::check(bytes)?);
                }
            }
            Err(e) if matches!(e.downcast_ref(), Some(RecvError::EndOfFile)) => thread::yield_now(),
            Err(e) => return Err(e),
        }
        journal.end_get();
    }
    journal.end_get();
    Ok(())
}

fn receive_some(
    receiver: &mut Receiver<Bytes>,
    most: usize,
    random: &mut Random,
) -> Result<Vec<Bytes>, Box<dyn Error>> {
    if most > 1 {
        return Ok(receiver.recv_many(most)?);
    }
    let timeout = Duration::from_micros(random.below(20_000));
    let got = match random.below(4) {
        0 => receiver.recv()?,
        1 => match receiver.try_recv() {
            Ok(got) => got,
            Err(TryRecvError::Empty) => return Ok(Vec::new()),
            Err(TryRecvError::Failed(e)) => return Err(e.into()),
            Err(e) => return Err(e.into()),
        },
        2 => match receiver.recv_timeout(timeout) {
            Ok(got) => got,
            Err(RecvTimeoutError::Timeout) => return Ok(Vec::new()),
            Err(RecvTimeoutError::Failed(e)) => return Err(e.into()),
            Err(e) => return Err(e.into()),
        },
        _ => {
            let message = receiver.recv_ref()?;
            let bytes = Bytes(message.to_vec());
            message.done()?;
            bytes
        }
    };
    Ok(vec![got])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::message::id;
    use crate::trial_directory::TrialDirectory;

    fn remains(directory: &TrialDirectory, role: Role, incarnation: u32) -> Remains {
        let path = directory.path().join(incarnation.to_string());
        Remains {
            incarnation,
            role,
            journal: Journal::create(&path).unwrap(),
            is_killed: true,
        }
    }

    /// Senders 1 and 2 sent two messages each for certain and were killed in the third; receivers 3 and 4 were killed when they had
    /// noted these, and asked for so many more.
    fn books(got: [&[u64]; 2], asked: usize, drained: &[u64]) -> Outcome<(u64, u64)> {
        let directory = TrialDirectory::create().unwrap();
        let mut all = Vec::new();
        for incarnation in [1, 2] {
            let sender = remains(&directory, Role::Producer, incarnation);
            sender.journal.end_put(2);
            sender.journal.begin_put(3);
            all.push(sender);
        }
        for (incarnation, ids) in (3..).zip(got) {
            let receiver = remains(&directory, Role::Consumer, incarnation);
            for &id in ids {
                assert!(receiver.journal.begin_get(1));
                receiver.journal.note(id);
                receiver.journal.end_get();
            }
            assert!(receiver.journal.begin_get(asked));
            all.push(receiver);
        }
        balance(&all, drained)
    }

    #[test]
    fn the_books_balance_when_each_certain_message_came_in_order() {
        let (a, b) = ([id(1, 0), id(1, 1)], [id(2, 0), id(2, 1)]);
        assert_eq!(books([&a, &b], 0, &[]).unwrap(), (4, 0));
        assert_eq!(books([&a, &b], 0, &[id(2, 2)]).unwrap(), (5, 0));
        let with_doubtful = [id(1, 0), id(1, 1), id(1, 2)];
        assert_eq!(books([&with_doubtful, &[]], 0, &b).unwrap(), (5, 0));
    }

    #[test]
    fn a_killed_receiver_excuses_as_much_as_it_asked_for() {
        let (a, rest) = ([id(1, 0)], [id(2, 0), id(2, 1)]);
        assert_eq!(books([&a, &rest], 1, &[]).unwrap(), (3, 1));
        assert_eq!(books([&a, &rest[1..]], 2, &[]).unwrap(), (2, 2));
        books([&a, &rest], 0, &[]).unwrap_err();
        books([&a, &rest[1..]], 1, &[]).unwrap_err();
        books([&a, &[]], 0, &[]).unwrap_err();
    }

    #[test]
    fn the_books_show_what_is_doubled_late_or_invented() {
        let a = [id(1, 0), id(1, 1)];
        books([&a, &[id(1, 1), id(2, 0), id(2, 1)]], 9, &[]).unwrap_err();
        books([&[id(2, 0), id(2, 1)], &a], 9, &[]).unwrap_err();
        books([&a, &[id(2, 3)]], 9, &[]).unwrap_err();
        books([&a, &[id(7, 0)]], 9, &[]).unwrap_err();
    }
}
