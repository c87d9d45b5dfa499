//! Joinable queues: a job is written and then reported as done, or comes back; and its dead letters.

use std::time::{Duration, Instant};

use ipc_core::{
    Bytes, Error, GetJobTimeoutError, Job, JoinableQueue, Kind, LeaseError, Namespace,
    QueueOptions, TryGetJobError,
};

use super::{
    any_queue::{AnyQueue, Item},
    rescue, set,
};
use crate::{
    args::{
        Place,
        queue::{Create, Dead, Get},
        values::Patience,
    },
    exit::{Failure, Outcome},
    outlet::Outlet,
    output,
    signals::{SLICE, Signals},
};

type Jobs = JoinableQueue<Bytes>;

/// `ipc queue create --joinable`.
pub(crate) fn create(place: &Place, args: &Create) -> Outcome {
    let mut options = Jobs::options(args.capacity).namespace(&place.namespace()?);
    options = set(options, args.memory, QueueOptions::memory);
    options = set(options, args.inline, QueueOptions::inline_bytes);
    options = set(options, args.lease_time, QueueOptions::lease_time);
    options = set(options, args.max_attempts, QueueOptions::max_attempts);
    options = set(options, args.leases, QueueOptions::leases);
    created!(options, args.make, &args.name);
    Ok(())
}

/// The joinable queue `name`; `None` if it is a queue of another kind, or none.
pub(crate) fn find(namespace: &Namespace, name: &str) -> Outcome<Option<Jobs>> {
    match namespace.inspect(name) {
        Ok(found) if found.kind == Kind::JoinableQueue => open(namespace, name).map(Some),
        _ => Ok(None), // who opens it says what is wrong
    }
}

fn open(namespace: &Namespace, name: &str) -> Outcome<Jobs> {
    match Jobs::options(1).namespace(namespace).open(name) {
        Err(e @ Error::WrongType { .. }) => {
            Err(Failure::from(e).after("the command line reads and writes queues of bytes"))
        }
        opened => Ok(opened?),
    }
}

/// `ipc queue get` from such a queue.
pub(crate) fn get(place: &Place, args: &Get, queue: &Jobs) -> Outcome {
    let signals = Signals::watch()?;
    let mut outlet = Outlet::new(args.look.format(), &signals)?;
    let source = Source {
        queue,
        signals: &signals,
        patience: args.wait.patience(),
    };
    let most = (!args.all).then_some(args.count);
    let mut current = None;
    let outcome = pump(&source, &mut outlet, most, &mut current);
    let failure = match outcome {
        Ok(()) => return Ok(()),
        Err(Failure::Closed(_)) if args.all => return Ok(()),
        Err(failure) => failure,
    };
    // What was written, reported as done, and never read is put anew; the job that was not done comes back by itself.
    let mut unread = outlet.undelivered();
    if current.is_some() {
        unread.pop();
    }
    Err(rescue::after(failure, place, queue, unread))
}

/// Writes `most` jobs, or else all until every job is finished. A job that is being written is `current`.
fn pump<'q>(
    source: &Source<'q>,
    outlet: &mut Outlet<'_, Item>,
    most: Option<u64>,
    current: &mut Option<Job<'q, Bytes>>,
) -> Outcome {
    while most.is_none_or(|most| outlet.messages() < most) {
        if most.is_none() {
            outlet.await_reader(false)?;
        } else {
            outlet.check()?;
        }
        let job = source.take(outlet)?;
        let item = Item::from(job.value().clone());
        *current = Some(job);
        outlet.deliver(vec![item])?;
        if let Some(job) = current.take() {
            done(job)?;
        }
    }
    outlet.settle()
}

fn done(job: Job<'_, Bytes>) -> Outcome {
    match job.task_done() {
        Ok(()) => Ok(()),
        Err(LeaseError::Failed(e)) => Err(e.into()),
        Err(e) => Err(Failure::Other(format!("a job was written, but {e}"))),
    }
}

/// The way out of a queue.
struct Source<'q> {
    queue: &'q Jobs,
    signals: &'q Signals,
    patience: Patience,
}

impl<'q> Source<'q> {
    /// Leases a job; waits for one.
    fn take(&self, outlet: &Outlet<'_, Item>) -> Outcome<Job<'q, Bytes>> {
        let start = Instant::now();
        loop {
            self.signals.check()?;
            match self.queue.try_get() {
                Err(TryGetJobError::Empty | TryGetJobError::NoLease)
                    if self.patience != Patience::None => {}
                other => return Ok(other?),
            }
            outlet.check()?;
            let left = match self.patience {
                Patience::For(time) => time.saturating_sub(start.elapsed()),
                _ => SLICE,
            };
            match self.queue.get_timeout(left.min(SLICE)) {
                Err(GetJobTimeoutError::Timeout) if left > Duration::ZERO => {}
                other => return Ok(other?),
            }
        }
    }
}

/// `ipc queue dead`.
pub(crate) fn dead(place: &Place, args: &Dead) -> Outcome {
    let queue = open(&place.namespace()?, &args.name)?;
    if args.requeue {
        queue.requeue_dead()?;
        return Ok(());
    }
    if args.take {
        return take_dead(args, &queue);
    }
    let mut encoded = Vec::new();
    for letter in queue.dead()?.into_iter().flatten() {
        let format = args.look.format();
        format.encode(letter.value.as_ref(), None, &mut encoded);
    }
    output::print(&encoded)
}

/// A letter is gone once the next one is taken, or this ends; written by then, or put back as a job.
fn take_dead(args: &Dead, queue: &Jobs) -> Outcome {
    loop {
        let letter = match queue.take_dead() {
            Ok(letter) => letter,
            Err(TryGetJobError::Empty) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let mut encoded = Vec::new();
        let format = args.look.format();
        format.encode(letter.value.as_ref(), None, &mut encoded);
        if let Err(failure) = output::print(&encoded) {
            let put = AnyQueue::try_put(queue, letter.value, 0);
            return Err(match put {
                Ok(()) => failure.after("the last dead letter is a job again"),
                Err(e) => failure.after(format!("the last dead letter is lost: {e}")),
            });
        }
    }
}
