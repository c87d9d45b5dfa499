//! Finding out who has ended, and what was lost with them.
//!
//! # When a worker dies
//!
//! Its place says what it did, its lease on a task becomes a dead letter, and its replies are in the queue. A letter that the place of a dead
//! worker names was begun by it: that was an attempt. A letter that no place names was not begun, and is put again as if nothing had happened.
//! What is found goes to the listener in a message *behind* all replies of the dead worker, so that a task whose reply was sent is known to be
//! done before anybody hears that its worker died.

use std::{mem, os::fd::AsFd};

use super::{Crew, FIRST_DELAY_NS, Worker};
use crate::{
    message::Bytes,
    os::clock,
    pool::{
        codec::TaskKind,
        control::Word,
        core::{Report, id_of},
        errors::TaskError,
        place::{State, TaskId},
    },
    process::Exit,
};

/// How often to look for tasks whose workers died while they took them, at first and at last.
pub(super) const LETTERS_NS: (u64, u64) = (5_000_000, 100_000_000);
/// A worker that lives so long has begun well.
const EARLY_NS: u64 = 1_000_000_000;

impl Crew {
    /// Finds out who has ended, what was lost with them, and reports it.
    pub(super) fn bury_the_dead(&mut self) {
        let (dead, living) = mem::take(&mut self.workers)
            .into_iter()
            .partition::<Vec<_>, _>(|worker| !worker.process.is_alive());
        self.workers = living;
        let is_due = self
            .look_again
            .is_some_and(|(at, _)| clock::monotonic_ns() >= at);
        if dead.is_empty() && !is_due {
            return;
        }
        for worker in &dead {
            self.examine(worker);
        }
        self.schedule_looks(!dead.is_empty());
        let core = &self.core;
        if !dead.is_empty() {
            // What makes these fail is found by who uses the queues next.
            let _ = core.tasks.sweep();
            let _ = core.replies.sweep();
            let _ = core.station.member.object.sweep();
        }
        while let Ok(letter) = core.tasks.take_dead() {
            let Bytes(bytes) = letter.value;
            match id_of(&bytes) {
                Some((task, TaskKind::Retire)) => drop(self.retiring.remove(&task.index)),
                Some((task, _)) => self.letters.push((task, bytes)),
                None => {}
            }
        }
        self.deal_with_letters();
        for worker in &dead {
            self.report([Report::Gone(worker.process.pid())]);
        }
        for worker in dead {
            if let Some(place) = self.place(&worker) {
                place.free();
            }
        }
    }

    /// Until nothing is handed over, a task may come to light that was with a worker who died while it took it.
    fn schedule_looks(&mut self, has_died: bool) {
        let now = clock::monotonic_ns();
        let (first, last) = LETTERS_NS;
        self.look_again = match self.look_again {
            _ if has_died => Some((now + first, first)),
            Some(_) if self.core.state().in_flight == 0 => {
                self.begun.clear();
                None
            }
            Some((_, wait)) => {
                let wait = (2 * wait).min(last);
                Some((now + wait, wait))
            }
            None => None,
        };
    }

    /// What a dead worker had begun, and what its end means.
    fn examine(&mut self, worker: &Worker) {
        let exit = worker
            .process
            .exit()
            .ok()
            .flatten()
            .unwrap_or(Exit::Unknown);
        let pid = worker.process.pid();
        if let Some(fd) = worker.process.child().descriptor() {
            self.core.watch.forget(fd.as_fd());
        }
        let Some((seen, doing)) = self.place(worker).map(|p| (p.look(), p.doing())) else {
            return;
        };
        match (seen.state(), &worker.verdict) {
            (Ok(State::Retired), _) => drop(self.retiring.remove(&doing.task.index)),
            (Ok(State::Condemned), Some((task, error))) => {
                drop(self.begun.insert(*task, error.clone()));
            }
            (Ok(State::Busy), _) => {
                let error = TaskError::WorkerDied {
                    pid,
                    exit,
                    attempt: doing.task.attempt,
                };
                drop(self.begun.insert(doing.task, error));
            }
            _ => {}
        }
        if exit == Exit::Code(0) || self.has_told_end {
            return;
        }
        let control = &self.core.station.control;
        control.set(Word::Lost, control.get(Word::Lost) + 1);
        let now = clock::monotonic_ns();
        let is_early = seen.sequence() == worker.sequence && now - worker.started_ns < EARLY_NS;
        if is_early && worker.verdict.is_none() {
            let why = worker.process.join().err();
            let why = why.map_or_else(|| exit.to_string(), |e| e.to_string());
            self.note_early(why);
        } else {
            self.early.0 = 0;
        }
    }

    /// One more worker that did not get as far as a task.
    pub(super) fn note_early(&mut self, why: String) {
        self.early = (self.early.0 + 1, why);
        self.pause();
    }

    /// No worker is started before some time has passed, if the last ones did not get far.
    pub(super) fn pause(&mut self) {
        let delay = match self.early.0 {
            0 | 1 => 0,
            row => FIRST_DELAY_NS << row.min(6),
        };
        self.not_before_ns = clock::monotonic_ns() + delay;
    }

    /// Reports the tasks whose workers are known to be dead.
    fn deal_with_letters(&mut self) {
        let mut reports = Vec::new();
        for (task, bytes) in mem::take(&mut self.letters) {
            if let Some(error) = self.begun.remove(&task) {
                reports.push(Report::Lost(bytes, Some(error)));
            } else if self.is_in_hand(task) {
                self.letters.push((task, bytes)); // of one who is about to be known to be dead
            } else {
                reports.push(Report::Lost(bytes, None));
            }
        }
        if !reports.is_empty() {
            self.report(reports);
        }
    }

    /// Whether a worker that is taken for living has begun this task.
    fn is_in_hand(&self, task: TaskId) -> bool {
        self.workers.iter().any(|worker| {
            let verdict = worker.verdict.as_ref().is_some_and(|(of, _)| *of == task);
            let place = self.place(worker);
            verdict || place.is_some_and(|p| p.is_busy() && p.doing().task == task)
        })
    }
}
