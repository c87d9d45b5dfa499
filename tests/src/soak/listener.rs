//! A listener and its clients, of which any is killed at any time.
//!
//! One worker listens, and reads what its clients send in all the pipes that it has; the others are clients, each with one pipe, that send
//! until their listener is gone. The listener says back, now and then, how far it has come. In the end each client's messages have
//! come to one listener at most, in order and without a gap, and to a listener that nobody killed all that were sent for certain.

use std::collections::HashMap;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{
    AcceptError, Bytes, Client, ConnectError, Connection, Listener, Namespace, PeerError,
    RecvError, SendTimeoutError, TryAcceptError, TryRecvError,
};

use super::account::Remains;
use super::crew::{Crew, Disturbance, Outcome};
use super::journal::Journal;
use super::message::{self, producer_of, sequence_of};
use super::pipe::Figures;
use super::round::Plan;
use super::worker::{self, MOST_BATCH, Orders, Role, Subject};
use crate::random::Random;

const NAME: &str = "soak";
/// The longest message: short enough for any pipe that a listener makes.
const LONGEST: usize = 2000;
/// How long a client waits for the listener's word, and for room.
const MOMENT: Duration = Duration::from_millis(1);

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
    let orders = ["--large-every", "5", "--longest", &LONGEST.to_string()].map(str::to_owned);
    let random = Random::new(seed);
    let program = plan.program.clone();
    let mut crew = Crew::new(program, Subject::Listener, orders.to_vec(), random)?;
    let namespace = Namespace::at(crew.namespace())?;
    crew.start(Role::Consumer)?;
    for _ in 0..plan.producers {
        crew.start(Role::Producer)?;
    }
    let end = Instant::now() + duration;
    while Instant::now() < end {
        match crew.disturb(plan.kill_every)? {
            Disturbance::Kill => figures.kills += 1,
            Disturbance::Stop => figures.stops += 1,
        }
        crew.replace_retired()?;
        crew.watch()?;
    }
    // The last listener hears each of its clients to the end, whether they leave or die.
    crew.resume_all()?;
    for worker in &crew.workers {
        worker.remains.journal.ask_to_stop();
    }
    crew.wait_until("a listener's clients, or it, do not end", |crew| {
        crew.collect_ended()?;
        Ok(crew.workers.is_empty())
    })?;
    figures.messages += balance(&crew.remains)?;
    namespace.collect()?;
    let leftovers = namespace.leftovers()?;
    if !leftovers.is_empty() {
        return Err(format!("{leftovers:?} are left").into());
    }
    Ok(())
}

/// How many messages came.
fn balance(all: &[Remains]) -> Outcome<u64> {
    let clients: HashMap<u32, &Remains> = all
        .iter()
        .filter(|r| r.role == Role::Producer)
        .map(|r| (r.incarnation, r))
        .collect();
    let mut heard_by: HashMap<u32, u32> = HashMap::new();
    let mut count = 0;
    for listener in all.iter().filter(|r| r.role == Role::Consumer) {
        let mut next: HashMap<u32, u64> = HashMap::new();
        for id in listener.journal.entries() {
            count += 1;
            let (client, sequence) = (producer_of(id), sequence_of(id));
            let due = next.entry(client).or_default();
            if sequence != *due {
                return Err(format!("{sequence} of {client} came, not {due}").into());
            }
            *due += 1;
            let by = *heard_by.entry(client).or_insert(listener.incarnation);
            if by != listener.incarnation {
                return Err(format!("{client} was heard by {by}, and by another").into());
            }
        }
        for (client, next) in next {
            let journal = clients.get(&client).map(|client| &client.journal);
            let journal = journal.ok_or("a client that never was")?;
            let certain = if listener.is_killed {
                0
            } else {
                journal.acked()
            };
            if !(certain..=journal.begun()).contains(&next) {
                let (acked, begun) = (journal.acked(), journal.begun());
                return Err(format!(
                    "{next} messages of {client} came; it sent {acked} for certain, and began {begun}"
                )
                .into());
            }
        }
    }
    Ok(count)
}

// ---- what the workers do

/// Connects, and sends until the listener is gone, or until told to stop.
pub(super) fn call(
    namespace: &Namespace,
    journal: &Journal,
    orders: &Orders,
    mut random: Random,
) -> worker::Outcome {
    let options = Client::<Bytes>::options().namespace(namespace);
    let mut connection = loop {
        if journal.is_asked_to_stop() {
            return Ok(());
        }
        match options.connect_timeout(NAME, 20 * MOMENT) {
            Ok(client) => break client.connection,
            Err(
                ConnectError::NotListening { .. }
                | ConnectError::Timeout { .. }
                | ConnectError::HungUp { .. },
            ) => {
                thread::yield_now();
            }
            Err(e) => return Err(e.into()),
        }
    };
    journal.set_attached();
    let mut next = 0;
    while !journal.is_asked_to_stop() {
        let count = 1 + random.below(MOST_BATCH);
        let messages = worker::messages(orders, &mut random, next, next + count);
        journal.begin_put(next + count);
        let (sent, is_over) = send(&mut connection, messages)?;
        next += sent;
        journal.end_put(next);
        if is_over {
            break;
        }
        match connection.recv_timeout(MOMENT) {
            Ok(word) if message::check(&word)? >= message::id(orders.incarnation, next) => {
                return Err("the listener heard what nobody sent".into());
            }
            Ok(_) | Err(ipc_core::RecvTimeoutError::Timeout) => {}
            Err(ipc_core::RecvTimeoutError::Failed(RecvError::EndOfFile)) => break,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// How many were sent, and whether the other end is gone.
fn send(
    connection: &mut Connection<Bytes>,
    messages: Vec<Bytes>,
) -> Result<(u64, bool), Box<dyn Error>> {
    let mut sent = 0;
    for message in messages {
        match connection.send_timeout(message, MOMENT) {
            Ok(()) => sent += 1,
            Err(SendTimeoutError::Timeout(_)) => return Ok((sent, false)),
            Err(SendTimeoutError::BrokenPipe(_)) => return Ok((sent, true)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok((sent, false))
}

/// Listens, and reads in all pipes, until told to stop and until every client is gone, or until the journal is full.
pub(super) fn serve(namespace: &Namespace, journal: &Journal) -> worker::Outcome {
    let options = Listener::<Bytes>::options().namespace(namespace);
    let listener = loop {
        match options.bind(NAME) {
            Ok(listener) => break listener,
            Err(ipc_core::Error::InUse { .. }) => thread::yield_now(), // the last one is not proven dead
            Err(e) => return Err(e.into()),
        }
        if journal.is_asked_to_stop() {
            return Ok(());
        }
    };
    journal.set_attached();
    let mut pipes: Vec<Connection<Bytes>> = Vec::new();
    loop {
        match listener.try_accept() {
            Ok(accepted) => pipes.push(accepted.connection),
            Err(TryAcceptError::Nobody) if pipes.is_empty() && journal.is_asked_to_stop() => {
                return Ok(());
            }
            Err(TryAcceptError::Nobody) => thread::yield_now(),
            // It died, or it waited no longer.
            Err(TryAcceptError::Failed(AcceptError::Peer {
                error: PeerError::HungUp | PeerError::TooSlow,
                ..
            })) => {}
            Err(e) => return Err(e.into()),
        }
        let mut is_full = false;
        let mut failure = None;
        pipes.retain_mut(|pipe| {
            let heard = hear(pipe, journal);
            is_full |= matches!(heard, Ok(Heard::Full));
            match heard {
                Ok(heard) => heard != Heard::End,
                Err(e) => {
                    failure = Some(e);
                    true
                }
            }
        });
        if let Some(e) = failure {
            return Err(e);
        }
        if is_full {
            return Err("the journal is full; let a round be shorter".into());
        }
    }
}

/// What there was in a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Some,
    /// Its client is gone, and everything was read.
    End,
    /// There is no room to note more.
    Full,
}

fn hear(pipe: &mut Connection<Bytes>, journal: &Journal) -> Outcome<Heard> {
    let mut last = None;
    for _ in 0..MOST_BATCH {
        if !journal.begin_get(1) {
            return Ok(Heard::Full);
        }
        match pipe.try_recv() {
            Ok(bytes) => {
                let id = message::check(&bytes)?;
                journal.note(id);
                last = Some(id);
            }
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Failed(RecvError::EndOfFile)) => return Ok(Heard::End),
            Err(e) => return Err(e.into()),
        }
        journal.end_get();
    }
    if let Some(id) = last {
        match pipe.try_send(message::make(id, message::SHORTEST)) {
            Ok(())
            | Err(ipc_core::TrySendError::Full(_) | ipc_core::TrySendError::BrokenPipe(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Heard::Some)
}
