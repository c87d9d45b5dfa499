//! `ipc queue get`: a message that is taken is written, or goes back.

use std::time::{Duration, Instant};

use ipc_core::{GetTimeoutError, TryGetError};

use super::{
    any_queue::{AnyQueue, Item},
    jobs, rescue,
};
use crate::{
    args::{Place, queue::Get, values::Patience},
    exit::{Failure, Outcome},
    outlet::Outlet,
    signals::{SLICE, Signals},
};

pub(crate) fn run(place: &Place, args: &Get) -> Outcome {
    if let Some(queue) = jobs::find(&place.namespace()?, &args.name)? {
        return jobs::get(place, args, &queue);
    }
    let signals = Signals::watch()?;
    let queue = place.open_queue(&args.name)?;
    if args.lease {
        return Err(Failure::WrongKind(format!(
            "{} leases no messages; create it with --joinable",
            args.name
        )));
    }
    let mut outlet = Outlet::new(args.look.format(), &signals)?;
    let source = Source {
        queue: &*queue,
        signals: &signals,
        patience: args.wait.patience(),
    };
    let most = (!args.all).then_some(args.count);
    match pump(&source, &mut outlet, most) {
        Err(Failure::Closed(_)) if args.all => Ok(()),
        Err(failure) => Err(rescue::after(failure, place, &*queue, outlet.undelivered())),
        Ok(()) => Ok(()),
    }
}

/// Moves `most` messages, or else all until the queue is closed and empty, which is the failure Closed.
fn pump(source: &Source<'_>, outlet: &mut Outlet<'_, Item>, most: Option<u64>) -> Outcome {
    while most.is_none_or(|most| outlet.messages() < most) {
        // Who asks for a number of messages takes them all; who asks for all may change his mind.
        if most.is_none() {
            outlet.await_reader(false)?
        } else {
            outlet.check()?
        }
        let left = most.map_or(usize::MAX, |most| {
            usize::try_from(most - outlet.messages()).unwrap_or(usize::MAX)
        });
        match source.take(outlet, outlet.appetite().min(left)) {
            Ok(messages) => outlet.deliver(messages)?,
            Err(closed @ Failure::Closed(_)) if most.is_none() => {
                outlet.await_reader(true)?;
                return Err(closed);
            }
            Err(failure) => return Err(failure),
        }
    }
    outlet.settle()
}

/// The way out of a queue.
struct Source<'a> {
    queue: &'a dyn AnyQueue,
    signals: &'a Signals,
    patience: Patience,
}

impl Source<'_> {
    /// Takes 1 to `most` messages; waits for the first.
    fn take(&self, outlet: &Outlet<'_, Item>, most: usize) -> Outcome<Vec<Item>> {
        let start = Instant::now();
        loop {
            self.signals.check()?;
            match self.queue.try_take(most) {
                Err(TryGetError::Empty) if self.patience != Patience::None => {}
                other => return Ok(other?),
            }
            outlet.check()?;
            let left = match self.patience {
                Patience::For(time) => time.saturating_sub(start.elapsed()),
                _ => SLICE,
            };
            match self.queue.take_timeout(left.min(SLICE)) {
                Err(GetTimeoutError::Timeout) if left > Duration::ZERO => {}
                other => return Ok(vec![other?]),
            }
        }
    }
}
