//! One process that puts or gets until it is told to stop, or killed.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{
    Bytes, GetError, GetTimeoutError, Namespace, PutError, PutTimeoutError, Queue, TryGetError,
    TryPutError,
};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::journal::Journal;
use super::{listener, message, pipe};
use crate::random::Random;

/// The queue's name.
pub const QUEUE: &str = "soak";
/// The most messages in one batch.
pub const MOST_BATCH: u64 = 8;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Puts; sends; is a listener's client.
    Producer,
    /// Gets; receives; listens.
    Consumer,
}

impl Role {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// What it does that with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// A queue.
    Queue,
    /// The ends of a pipe.
    Pipe,
    /// A listener's pipes.
    Listener,
}

impl Subject {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Pipe => "pipe",
            Self::Listener => "listener",
        }
    }
}

/// What a worker is told on its command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Orders {
    /// What to do.
    #[arg(long)]
    pub role: Role,
    /// With what.
    #[arg(long)]
    pub subject: Subject,
    /// The namespace's directory.
    #[arg(long)]
    pub namespace: PathBuf,
    /// The journal, made by the supervisor.
    #[arg(long)]
    pub journal: PathBuf,
    /// Which worker of the round this is.
    #[arg(long)]
    pub incarnation: u32,
    /// Seed of its choices.
    #[arg(long)]
    pub seed: u64,
    /// One in so many messages does not fit into a cell; 0 for none.
    #[arg(long)]
    pub large_every: u64,
    /// The longest message, in bytes.
    #[arg(long)]
    pub longest: usize,
}

pub(super) type Outcome = Result<(), Box<dyn Error>>;

/// Works until told to stop. An error is a bug of the object, or a limit that should not be met.
pub fn work(orders: &Orders) -> Outcome {
    // Nobody would kill the workers of a supervisor that was killed.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let journal = Journal::open(&orders.journal)?;
    let namespace = Namespace::at(&orders.namespace)?;
    let random = Random::new(orders.seed);
    match (orders.subject, orders.role) {
        (Subject::Pipe, Role::Producer) => pipe::send(&namespace, &journal, orders, random)?,
        (Subject::Pipe, Role::Consumer) => pipe::receive(&namespace, &journal, random)?,
        (Subject::Listener, Role::Producer) => {
            listener::call(&namespace, &journal, orders, random)?
        }
        (Subject::Listener, Role::Consumer) => listener::serve(&namespace, &journal)?,
        (Subject::Queue, role) => {
            let queue = Queue::<Bytes>::options(1)
                .namespace(&namespace)
                .open(QUEUE)?;
            journal.set_attached();
            match role {
                Role::Producer => produce(&queue, &journal, orders, random)?,
                Role::Consumer => consume(&queue, &journal, random)?,
            }
        }
    }
    journal.set_leaving();
    Ok(())
}

fn produce(
    queue: &Queue<Bytes>,
    journal: &Journal,
    orders: &Orders,
    mut random: Random,
) -> Outcome {
    let mut next = 0;
    while !journal.is_asked_to_stop() {
        let count = if random.one_in(4) {
            1 + random.below(MOST_BATCH)
        } else {
            1
        };
        let messages = messages(orders, &mut random, next, next + count);
        journal.begin_put(next + count);
        next += put(queue, messages, &mut random)?;
        journal.end_put(next);
    }
    Ok(())
}

fn length(random: &mut Random, orders: &Orders) -> usize {
    let inline = random.pick(&[16, 24, 40, 100, 200, 232]);
    let is_large = orders.large_every > 0 && random.one_in(orders.large_every);
    if !is_large {
        return inline.min(orders.longest);
    }
    // Mostly short chains; now and then one that takes all of the memory.
    let most = if random.one_in(50) {
        orders.longest
    } else {
        orders.longest / 4
    };
    233 + random.index(most.saturating_sub(232))
}

/// Messages `next` to `end` of this worker, of all lengths that it may send.
pub(super) fn messages(orders: &Orders, random: &mut Random, next: u64, end: u64) -> Vec<Bytes> {
    let message = |sequence| {
        let length = length(random, orders);
        message::make(message::id(orders.incarnation, sequence), length)
    };
    (next..end).map(message).collect()
}

/// Returns how many were put.
fn put(
    queue: &Queue<Bytes>,
    mut messages: Vec<Bytes>,
    random: &mut Random,
) -> Result<u64, Box<dyn Error>> {
    if messages.len() > 1 {
        return match queue.put_many(messages) {
            Ok(count) => Ok(count as u64),
            Err(e) if matches!(e.error, PutError::Closed(_)) => Ok(e.put as u64),
            Err(e) => Err(e.into()),
        };
    }
    let Some(message) = messages.pop() else {
        return Ok(0);
    };
    let is_put = match random.below(3) {
        0 => match queue.put(message) {
            Ok(()) => true,
            Err(PutError::Closed(_)) => false,
            Err(e) => return Err(e.into()),
        },
        1 => match queue.try_put(message) {
            Ok(()) => true,
            Err(TryPutError::Full(_)) => {
                std::thread::yield_now();
                false
            }
            Err(TryPutError::Closed(_)) => false,
            Err(e) => return Err(e.into()),
        },
        _ => match queue.put_timeout(message, Duration::from_micros(random.below(20_000))) {
            Ok(()) => true,
            Err(PutTimeoutError::Timeout(_) | PutTimeoutError::Closed(_)) => false,
            Err(e) => return Err(e.into()),
        },
    };
    Ok(is_put.into())
}

fn consume(queue: &Queue<Bytes>, journal: &Journal, mut random: Random) -> Outcome {
    loop {
        let most = if random.one_in(4) {
            1 + random.index(MOST_BATCH as usize)
        } else {
            1
        };
        if !journal.begin_get(most) {
            journal.end_get();
            return Ok(()); // the supervisor replaces this one
        }
        let Some(messages) = get(queue, most, &mut random)? else {
            journal.end_get();
            return Ok(());
        };
        for bytes in &messages {
            journal.note(message::check(bytes)?);
        }
        journal.end_get();
        if random.one_in(64) {
            look(queue)?;
        }
    }
}

/// `None` once the queue is closed and empty.
fn get(
    queue: &Queue<Bytes>,
    most: usize,
    random: &mut Random,
) -> Result<Option<Vec<Bytes>>, Box<dyn Error>> {
    let got = if most > 1 && random.one_in(2) {
        queue.get_many(most)
    } else if most > 1 {
        return match queue.try_get_many(most) {
            Ok(messages) => Ok(Some(messages)),
            Err(TryGetError::Empty) => Ok(Some(Vec::new())),
            Err(TryGetError::Closed) => Ok(None),
            Err(e) => Err(e.into()),
        };
    } else {
        match random.below(3) {
            0 => queue.get().map(|message| vec![message]),
            1 => match queue.try_get() {
                Ok(message) => Ok(vec![message]),
                Err(TryGetError::Empty) => Ok(Vec::new()),
                Err(TryGetError::Closed) => Err(GetError::Closed),
                Err(e) => return Err(e.into()),
            },
            _ => match queue.get_timeout(Duration::from_micros(random.below(20_000))) {
                Ok(message) => Ok(vec![message]),
                Err(GetTimeoutError::Timeout) => Ok(Vec::new()),
                Err(GetTimeoutError::Closed) => Err(GetError::Closed),
                Err(e) => return Err(e.into()),
            },
        }
    };
    match got {
        Ok(messages) => Ok(Some(messages)),
        Err(GetError::Closed) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Looks must do no harm, and see whole messages.
fn look(queue: &Queue<Bytes>) -> Outcome {
    match queue.peek() {
        Ok(bytes) => drop(message::check(&bytes)?),
        Err(TryGetError::Empty | TryGetError::Closed) => {}
        Err(e) => return Err(e.into()),
    }
    if queue.len() > queue.capacity() {
        return Err("more messages than the capacity".into());
    }
    Ok(())
}
