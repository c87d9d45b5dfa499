//! Pools of other processes: looking at one, and telling it something.

use std::time::{Duration, Instant};

use ipc_core::{PoolControl, PoolStatus};
use serde::Serialize;

use crate::{
    args::{
        Place,
        pool::{Drain, Scale, Status},
    },
    exit::{Failure, Outcome},
    output::{
        human, json, print_styled,
        table::{Cell, Table},
    },
    signals::{SLICE, Signals},
};

/// A pool, as plain data.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    phase: String,
    /// Whether its process lives and it has not ended.
    is_alive: bool,
    parent: u32,
    workers_wanted: usize,
    most_workers: usize,
    submitted: u64,
    done: u64,
    failed: u64,
    retried: u64,
    workers_started: u64,
    workers_lost: u64,
    workers: Vec<ShownWorker>,
}

#[derive(Debug, Serialize)]
struct ShownWorker {
    pid: u32,
    state: String,
    done: u64,
    /// Which attempt at its task it is; 0 without one.
    attempt: u32,
    busy_seconds: Option<f64>,
}

impl Shown {
    fn new(name: &str, is_alive: bool, found: PoolStatus) -> Self {
        let worker = |one: ipc_core::WorkerStatus| ShownWorker {
            pid: one.pid,
            state: one.state.to_string(),
            done: one.done,
            attempt: one.attempt,
            busy_seconds: one.busy_for.map(|time| time.as_secs_f64()),
        };
        Self {
            name: name.to_owned(),
            phase: found.phase.to_string(),
            is_alive,
            parent: found.parent_pid,
            workers_wanted: found.wanted,
            most_workers: found.most_workers,
            submitted: found.submitted,
            done: found.done,
            failed: found.failed,
            retried: found.retried,
            workers_started: found.workers_started,
            workers_lost: found.workers_lost,
            workers: found.workers.into_iter().map(worker).collect(),
        }
    }
}

/// `ipc pool status`.
pub(super) fn status(place: &Place, args: &Status) -> Outcome {
    let pool = PoolControl::open_in(&place.namespace()?, &args.name)?;
    let shown = Shown::new(&args.name, pool.is_alive()?, pool.status()?);
    if args.json {
        return json::print(&shown);
    }
    let phase = match shown.is_alive {
        true => shown.phase.clone(),
        false => format!("{}, and its process is gone", shown.phase),
    };
    let lines = [
        ("name", shown.name.clone()),
        ("phase", phase),
        ("parent", shown.parent.to_string()),
        (
            "tasks",
            format!(
                "{} done and {} failed of {}",
                shown.done, shown.failed, shown.submitted
            ),
        ),
        ("attempts again", shown.retried.to_string()),
        (
            "workers",
            format!(
                "{} of {} wanted; {} started, {} lost",
                shown.workers.len(),
                shown.workers_wanted,
                shown.workers_started,
                shown.workers_lost
            ),
        ),
    ];
    let lines = lines.map(|(what, text)| format!("{what:<16}{}\n", human::printable(&text)));
    print_styled(&lines.concat())?;
    let mut table = Table::new(&["PID", "STATE", "DONE", "ATTEMPT", "FOR"]);
    for worker in &shown.workers {
        let busy = worker.busy_seconds.map(Duration::from_secs_f64);
        table.row([
            Cell::from(worker.pid),
            Cell::from(&worker.state),
            Cell::from(worker.done),
            match worker.attempt {
                0 => Cell::from("-"),
                attempt => Cell::from(attempt),
            },
            Cell::from(busy.map_or_else(|| "-".to_owned(), human::age)),
        ]);
    }
    table.print()
}

/// `ipc pool scale`.
pub(super) fn scale(place: &Place, args: &Scale) -> Outcome {
    Ok(living(place, &args.name)?.scale(args.workers as usize)?)
}

/// `ipc pool drain`.
pub(super) fn drain(place: &Place, args: &Drain) -> Outcome {
    let signals = Signals::watch()?;
    let start = Instant::now();
    let pool = living(place, &args.name)?;
    pool.drain()?;
    let mut pause = Duration::from_millis(1);
    while args.wait && pool.is_alive()? {
        signals.check()?;
        let left = args
            .timeout
            .map_or(SLICE, |t| t.saturating_sub(start.elapsed()));
        if left.is_zero() {
            return Err(Failure::Timeout("the pool did not end"));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(SLICE);
    }
    Ok(())
}

fn living(place: &Place, name: &str) -> Outcome<PoolControl> {
    let pool = PoolControl::open_in(&place.namespace()?, name)?;
    match pool.is_alive()? {
        true => Ok(pool),
        false => Err(Failure::Closed(
            "the pool has ended, or its process is gone",
        )),
    }
}
