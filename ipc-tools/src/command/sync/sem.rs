//! `ipc sem`.

use std::time::{Duration, Instant};

use ipc_core::{BoundedSemaphore, Kind, Namespace, ReleaseError, Semaphore};
use serde::Serialize;

use super::{
    waiting::{Target, acquire},
    wrapped,
};
use crate::{
    args::{
        Place,
        sync::{SemAcquire, SemCreate, SemRelease, SemRun, SemValue, SemVerb},
        values::Patience,
    },
    exit::{Failure, Outcome},
    output::{json, print},
    signals::{SLICE, Signals},
};

pub(crate) fn run(place: &Place, verb: &SemVerb) -> Outcome {
    match verb {
        SemVerb::Create(args) => create(place, args),
        SemVerb::Acquire(args) => take(place, args),
        SemVerb::Release(args) => release(place, args),
        SemVerb::Value(args) => show(place, args),
        SemVerb::Run(args) => run_with_permit(place, args)
            .map_err(|failure| failure.with_conflict_code(args.wrapped.conflict_exit_code)),
    }
}

/// A semaphore of either kind.
#[derive(Debug)]
enum AnySemaphore {
    Bounded(BoundedSemaphore),
    Counting(Semaphore),
}

impl AnySemaphore {
    fn open(namespace: &Namespace, name: &str) -> Outcome<Self> {
        match namespace.inspect(name)?.kind {
            Kind::BoundedSemaphore => Ok(Self::Bounded(
                BoundedSemaphore::opener().namespace(namespace).open(name)?,
            )),
            Kind::Semaphore => Ok(Self::Counting(
                Semaphore::opener().namespace(namespace).open(name)?,
            )),
            other => Err(Failure::WrongKind(format!(
                "{name} is a {other}, and no semaphore"
            ))),
        }
    }
}

fn create(place: &Place, args: &SemCreate) -> Outcome {
    let options = BoundedSemaphore::options(args.permits).namespace(&place.namespace()?);
    created!(options, args.make, &args.name);
    Ok(())
}

fn take(place: &Place, args: &SemAcquire) -> Outcome {
    let signals = Signals::watch()?;
    let namespace = place.namespace()?;
    let patience = args.attempt.patience();
    let semaphore = match AnySemaphore::open(&namespace, &args.name)? {
        AnySemaphore::Bounded(semaphore) => semaphore,
        AnySemaphore::Counting(semaphore) => return take_one(&semaphore, patience, &signals),
    };
    let target = Target {
        namespace: &namespace,
        name: &args.name,
        signals: &signals,
    };
    // Ours until it is certain that no signal stops us: who is told that we failed need not release it.
    target.hold(
        |stage| {
            let guard = acquire(
                patience,
                || semaphore.try_acquire(),
                |time| semaphore.acquire_timeout(time),
                || semaphore.acquire(),
            )?;
            if stage.holding(()) {
                guard.forget();
            }
            Ok(())
        },
        |()| signals.check(),
    )
}

/// Takes a permit that belongs to nobody from the first moment on. No thread waits for it, as one that is given up might just
/// have got it; a wait that comes up for air costs nothing here.
fn take_one(semaphore: &Semaphore, patience: Patience, signals: &Signals) -> Outcome {
    let start = Instant::now();
    let permit = loop {
        signals.check()?;
        let left = match patience {
            Patience::None => break semaphore.try_acquire()?,
            Patience::For(time) => time.saturating_sub(start.elapsed()),
            Patience::Endless => SLICE,
        };
        match semaphore.acquire_timeout(left.min(SLICE)) {
            Err(ipc_core::AcquireTimeoutError::Timeout) if left > Duration::ZERO => {}
            other => break other?,
        }
    };
    permit.forget();
    Ok(())
}

fn release(place: &Place, args: &SemRelease) -> Outcome {
    let released = match AnySemaphore::open(&place.namespace()?, &args.name)? {
        AnySemaphore::Bounded(semaphore) => semaphore.release(),
        AnySemaphore::Counting(semaphore) => semaphore.release(1),
    };
    released.map_err(|e| match e {
        ReleaseError::OverReleased => Failure::Other(format!(
            "no permit of {} was left taken, so none can be released; one that a process holds comes back when it is done",
            args.name
        )),
        ReleaseError::Failed(e) => e.into(),
        other => Failure::Other(other.to_string()),
    })
}

#[derive(Serialize)]
struct Value<'a> {
    name: &'a str,
    value: usize,
    /// How many there are in all; a counting semaphore has no such number.
    permits: Option<usize>,
}

fn show(place: &Place, args: &SemValue) -> Outcome {
    let (value, permits) = match AnySemaphore::open(&place.namespace()?, &args.name)? {
        AnySemaphore::Bounded(semaphore) => (semaphore.value(), Some(semaphore.permits())),
        AnySemaphore::Counting(semaphore) => (semaphore.value() as usize, None),
    };
    if args.json {
        let name = &args.name;
        return json::print(&Value {
            name,
            value,
            permits,
        });
    }
    print(format!("{value}\n").as_bytes())
}

fn run_with_permit(place: &Place, args: &SemRun) -> Outcome {
    let signals = Signals::watch()?;
    let namespace = place.namespace()?;
    let AnySemaphore::Bounded(semaphore) = AnySemaphore::open(&namespace, &args.name)? else {
        return Err(Failure::WrongKind(format!(
            "{} is a counting semaphore: a permit of it would be lost if this process were killed; \
             make a bounded one with `ipc sem create`",
            args.name
        )));
    };
    let target = Target {
        namespace: &namespace,
        name: &args.name,
        signals: &signals,
    };
    target.hold(
        |stage| {
            let _permit = acquire(
                args.attempt.patience(),
                || semaphore.try_acquire(),
                |time| semaphore.acquire_timeout(time),
                || semaphore.acquire(),
            )?;
            stage.holding(());
            Ok(())
        },
        |()| wrapped::run(&args.wrapped.command, &signals),
    )
}
