//! The thread that looks after the workers: it starts, replaces, judges and ends them.
//!
//! # When a worker dies
//!
//! Its place says what it did, its lease on a task becomes a dead letter, and its replies are in the queue. A letter that the place of a dead
//! worker names was begun by it: that was an attempt. A letter that no place names was not begun, and is put again as if nothing had happened.
//! What is found goes to the listener in a message *behind* all replies of the dead worker, so that a task whose reply was sent is known to be
//! done before anybody hears that its worker died.

use core::time::Duration;
use std::{
    collections::{HashMap, HashSet},
    mem,
    os::fd::AsFd,
    sync::Arc,
};

use super::{
    codec::{FunctionId, TASK_HEAD, TaskHead, TaskKind},
    control::{PoolPhase, Word},
    core::{Core, Report, id_of},
    errors::{PoolError, TaskError},
    place::{Claim, Place, State, TaskId},
    worker::{self, Terms},
};
use crate::{
    message::Bytes,
    os::{clock, process},
    process::{Exit, Process, Stdio},
};

/// What workers that are told to end have for that, before they are killed.
const GRACE_NS: u64 = 1_000_000_000;
/// How often to look at workers' memory.
const MEMORY_NS: u64 = 100_000_000;
/// How often to look for tasks whose workers died while they took them, at first and at last.
const LETTERS_NS: (u64, u64) = (5_000_000, 100_000_000);
/// A worker that lives so long has begun well.
const EARLY_NS: u64 = 1_000_000_000;
const FIRST_DELAY_NS: u64 = 5_000_000;

/// A worker, and what was decided about it.
#[derive(Debug)]
struct Worker {
    process: Process,
    place: usize,
    started_ns: u64,
    /// The claim word's, when it was started.
    sequence: u64,
    verdict: Option<(TaskId, TaskError)>,
    /// When it was first seen with this claim.
    seen: (Claim, u64),
    is_to_leave: bool,
}

/// All workers.
#[derive(Debug)]
pub(super) struct Crew {
    core: Arc<Core>,
    workers: Vec<Worker>,
    started: u64,
    /// Workers in a row that died as soon as they were started, and why the last one did.
    early: (u32, String),
    not_before_ns: u64,
    /// Requests to end that no worker has taken.
    retiring: HashSet<u32>,
    last_request: u32,
    /// What dead workers had begun.
    begun: HashMap<TaskId, TaskError>,
    /// Letters whose workers are not known to be dead yet.
    letters: Vec<(TaskId, Vec<u8>)>,
    /// When to look for letters again, and how long to wait then.
    look_again: Option<(u64, u64)>,
    memory_ns: u64,
    kill_ns: Option<u64>,
    has_told_end: bool,
    has_told_ended: bool,
    must_call: bool,
}

impl Crew {
    /// Starts the first workers.
    pub(super) fn start(core: &Arc<Core>) -> Result<Self, PoolError> {
        let mut crew = Self {
            core: Arc::clone(core),
            workers: Vec::new(),
            started: 0,
            early: (0, String::new()),
            not_before_ns: 0,
            retiring: HashSet::new(),
            last_request: 0,
            begun: HashMap::new(),
            letters: Vec::new(),
            look_again: None,
            memory_ns: 0,
            kill_ns: None,
            has_told_end: false,
            has_told_ended: false,
            must_call: false,
        };
        for _ in 0..core.station.control.wanted() {
            if let Err(e) = crew.start_one() {
                for worker in &crew.workers {
                    let _ = worker.process.kill();
                }
                return Err(e);
            }
        }
        Ok(crew)
    }

    /// Runs until all workers have ended for good.
    pub(super) fn run(mut self) {
        let core = Arc::clone(&self.core);
        while !self.has_told_ended || self.must_call {
            let until = self.next_look();
            if core.watch.wait_until(until).is_err() {
                // Somebody has closed what is ours: it looks as often as it would for letters.
                std::thread::sleep(Duration::from_nanos(LETTERS_NS.0));
            }
            self.bury_the_dead();
            self.judge();
            self.adjust();
            if self.must_call {
                self.must_call = !core.call_listener();
            }
        }
    }

    /// When something is due, on the monotonic clock.
    fn next_look(&self) -> u64 {
        let now = clock::monotonic_ns();
        let settings = &self.core.settings;
        let mut next = u64::MAX;
        if self.must_call {
            next = now + LETTERS_NS.0;
        }
        if let Some((at, _)) = self.look_again {
            next = next.min(at);
        }
        if let Some(at) = self.kill_ns {
            next = next.min(at);
        }
        if self.workers.len() < self.core.station.control.wanted() && !self.is_ending() {
            next = next.min(self.not_before_ns.max(now));
        }
        if settings.memory_limit.is_some() {
            next = next.min(self.memory_ns);
        }
        if let Some(limit) = settings.timeout {
            let limit = ns(limit);
            // A task that begins after this look is not late before the next one.
            next = next.min(now.saturating_add(limit));
            for worker in &self.workers {
                if let Some((_, late_ns)) = self.late(worker, limit) {
                    next = next.min(late_ns);
                }
            }
        }
        next
    }

    fn is_ending(&self) -> bool {
        self.has_told_end || self.core.tasks.is_closed()
    }

    fn place(&self, worker: &Worker) -> Option<Place<'_>> {
        self.core.station.control.place(worker.place)
    }

    /// If the worker is busy: its claim, and when it is late.
    fn late(&self, worker: &Worker, limit: u64) -> Option<(Claim, u64)> {
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

    fn report(&mut self, reports: impl IntoIterator<Item = Report>) {
        self.core.state().reports.extend(reports);
        self.must_call = true;
    }

    /// Starts a worker in a free place.
    fn start_one(&mut self) -> Result<(), PoolError> {
        let core = Arc::clone(&self.core);
        let control = &core.station.control;
        // As this process knows it: what the places say is not to be trusted.
        let is_free = |index: &usize| self.workers.iter().all(|w| w.place != *index);
        let free = (0..control.most_workers()).find(is_free);
        let Some((index, place)) = free.and_then(|index| Some((index, control.place(index)?)))
        else {
            return Ok(()); // all places are taken
        };
        self.started += 1;
        let name = match &core.settings.name {
            Some(pool) => format!("{pool}-{}", self.started),
            None => format!("PoolWorker-{}", self.started),
        };
        let terms = Terms {
            tasks: core.tasks.clone(),
            replies: core.replies.clone(),
            station: core.station.clone(),
            place: index,
            most_tasks: core.settings.most_tasks,
            initializer: core.settings.initializer.clone(),
        };
        place.assign();
        let assigned = place.look();
        let started = Process::builder()
            .name(name)
            .daemon(true)
            .stdin(Stdio::Null)
            .spawn(worker::serve, (terms,));
        let process = match started {
            Ok(process) => process,
            Err(e) => {
                place.free();
                return Err(e.into());
            }
        };
        place.set_pid(process.pid());
        if let Some(fd) = process.child().descriptor() {
            // One that cannot be watched is found dead by a later look.
            let _ = core.watch.add(fd.as_fd(), self.started);
        }
        control.set(Word::Started, self.started);
        self.workers.push(Worker {
            process,
            place: index,
            started_ns: clock::monotonic_ns(),
            sequence: assigned.sequence(),
            verdict: None,
            seen: (assigned, clock::monotonic_ns()),
            is_to_leave: false,
        });
        Ok(())
    }

    /// Finds out who has ended, what was lost with them, and reports it.
    fn bury_the_dead(&mut self) {
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
    fn note_early(&mut self, why: String) {
        self.early = (self.early.0 + 1, why);
        self.pause();
    }

    /// No worker is started before some time has passed, if the last ones did not get far.
    fn pause(&mut self) {
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
    fn judge(&mut self) {
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

    /// Starts and ends workers as the phase and the wanted number have it.
    fn adjust(&mut self) {
        let core = Arc::clone(&self.core);
        let control = &core.station.control;
        let phase = core.station.phase().unwrap_or(PoolPhase::Terminated);
        if phase >= PoolPhase::Terminated {
            self.end_all(TaskError::Terminated);
        }
        let is_over = {
            let mut state = core.state();
            state.is_closed |= phase >= PoolPhase::Closing;
            state.is_closed && state.is_idle() && state.reports.is_empty()
        };
        if is_over && !core.tasks.is_closed() {
            core.tasks.close();
        }
        if !self.is_ending() {
            self.adjust_number(control.wanted());
        } else if self.workers.is_empty() && !self.has_told_ended {
            self.has_told_ended = true;
            if core.station.member.object.name().is_some() {
                let _ = core.station.member.object.unlink(); // somebody may have done so
            }
            control.advance(PoolPhase::Ended);
            control.ring();
            self.report([Report::Ended]);
        }
    }

    fn adjust_number(&mut self, wanted: usize) {
        let has_begun = |worker: &Worker| {
            let place = self.place(worker);
            place.is_some_and(|place| place.look().sequence() != worker.sequence)
        };
        if self.early.0 > 0 && self.workers.iter().any(has_begun) {
            self.early.0 = 0;
        }
        let limit = 5 + wanted as u32;
        while self.workers.len().saturating_sub(self.retiring.len()) < wanted {
            if self.early.0 >= limit && self.workers.is_empty() {
                let why = format!(
                    "{} workers in a row did not get as far as a task; the last one: {}",
                    self.early.0, self.early.1
                );
                self.core.state().broken = Some(why.clone());
                self.core.station.control.advance(PoolPhase::Terminated);
                self.end_all(TaskError::Broken { why });
                return;
            }
            if clock::monotonic_ns() < self.not_before_ns {
                return;
            }
            let before = self.workers.len();
            if let Err(e) = self.start_one() {
                self.note_early(e.to_string());
            } else if self.workers.len() == before {
                return; // no place is free
            }
            self.pause();
        }
        for _ in wanted..self.workers.len().saturating_sub(self.retiring.len()) {
            self.last_request = self.last_request.wrapping_add(1);
            let mut request = vec![0; TASK_HEAD];
            let head = TaskHead {
                batch: 0,
                index: self.last_request,
                calls: 0,
                function: FunctionId::default(),
                attempt: 1,
                untried: 0,
                kind: TaskKind::Retire,
            };
            head.write(&mut request);
            if self.core.tasks.try_put(Bytes(request)).is_err() {
                return; // there will be room
            }
            self.retiring.insert(self.last_request);
        }
    }

    /// Tells all workers to end, and kills those that do not.
    fn end_all(&mut self, error: TaskError) {
        if !self.has_told_end {
            self.has_told_end = true;
            self.report([Report::End(error)]);
            self.core.tasks.close();
            for worker in &self.workers {
                let _ = worker.process.terminate();
            }
            self.kill_ns = Some(clock::monotonic_ns() + GRACE_NS);
        }
        if self.kill_ns.is_some_and(|at| clock::monotonic_ns() >= at) {
            for worker in &self.workers {
                let _ = worker.process.kill();
            }
            self.kill_ns = None;
        }
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
