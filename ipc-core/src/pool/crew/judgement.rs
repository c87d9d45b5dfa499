//! Who is to end: who takes too long, or too much memory, or says what no living worker says.

use std::sync::Arc;

use super::{Crew, Worker, ns};
use crate::{
    os::{clock, process},
    pool::{
        errors::TaskError,
        place::{Claim, State, TaskId},
    },
};

/// How often to look at workers' memory.
const MEMORY_NS: u64 = 100_000_000;

impl Crew {
    /// If the worker is busy: its claim, and when it is late.
    pub(super) fn late(&self, worker: &Worker, limit: u64) -> Option<(Claim, u64)> {
        let place = self.place(worker)?;
        let seen = place.look();
        if worker.verdict.is_some() || seen.state() != Ok(State::Busy) {
            return None;
        }
        let doing = place.doing();
        let calls = self.core.calls_in(doing.task);
        let limit = limit.saturating_mul(u64::from(calls));
        let first_seen = match worker.seen {
            (claim, at) if claim == seen => at,
            _ => clock::monotonic_ns(),
        };
        let since = doing.since_ns.min(first_seen);
        Some((seen, since.saturating_add(limit)))
    }

    /// Notes what workers say that they do, and kills those that say what no living worker does.
    fn look_at_all(&mut self) {
        let now = clock::monotonic_ns();
        let control = Arc::clone(&self.core.station.control);
        for worker in &mut self.workers {
            let Some(place) = control.place(worker.place) else {
                continue;
            };
            let seen = place.look();
            if worker.seen.0 != seen {
                worker.seen = (seen, now);
            }
            if matches!(seen.state(), Err(_) | Ok(State::Free)) {
                let _ = worker.process.kill();
            }
        }
    }

    /// Kills who takes too long or too much memory.
    pub(super) fn judge(&mut self) {
        self.look_at_all();
        let core = Arc::clone(&self.core);
        if let Some(limit) = core.settings.timeout {
            let now = clock::monotonic_ns();
            for at in 0..self.workers.len() {
                let late = self.late(&self.workers[at], ns(limit));
                let Some((seen, _)) = late.filter(|(_, late_ns)| *late_ns <= now) else {
                    continue;
                };
                let pid = self.workers[at].process.pid();
                self.condemn(at, seen, |task| TaskError::TimedOut {
                    pid,
                    limit,
                    attempt: task.attempt,
                });
            }
        }
        if let Some(limit) = core.settings.memory_limit
            && clock::monotonic_ns() >= self.memory_ns
        {
            self.memory_ns = clock::monotonic_ns() + MEMORY_NS;
            for at in 0..self.workers.len() {
                self.weigh(at, limit);
            }
        }
    }

    /// Kills a worker if it still does what was seen.
    fn condemn(&mut self, at: usize, seen: Claim, error: impl FnOnce(TaskId) -> TaskError) {
        let worker = &self.workers[at];
        let Some(place) = self.place(worker).filter(|place| place.condemn(seen)) else {
            return;
        };
        let task = place.doing().task;
        let is_busy = seen.state() == Ok(State::Busy);
        let _ = worker.process.kill();
        if is_busy {
            self.workers[at].verdict = Some((task, error(task)));
        }
    }

    /// Has a worker end that has more memory of its own than is allowed: behind its task, or at once if it is twice as much.
    fn weigh(&mut self, at: usize, limit: u64) {
        let worker = &self.workers[at];
        let pid = worker.process.pid();
        let bytes = process::own_memory(pid).unwrap_or(0);
        let Some(place) = self.place(worker) else {
            return;
        };
        let seen = place.look();
        let is_idle = seen.state() == Ok(State::Idle);
        if worker.verdict.is_some() || bytes <= limit {
            return;
        }
        if is_idle || bytes > limit.saturating_mul(2) {
            self.condemn(at, seen, |task| TaskError::MemoryExceeded {
                pid,
                bytes,
                limit,
                attempt: task.attempt,
            });
        } else if !worker.is_to_leave {
            place.ask_to_leave();
            self.workers[at].is_to_leave = true;
        }
    }
}
