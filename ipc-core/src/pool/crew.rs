//! The thread that looks after the workers: it starts, replaces, judges and ends them.
//!
//! What becomes of the tasks of dead workers is in [`burial`], who is killed and why in [`judgement`].

mod burial;
mod judgement;

use core::time::Duration;
use std::{
    collections::{HashMap, HashSet},
    os::fd::AsFd,
    sync::Arc,
};

use self::burial::LETTERS_NS;
use super::{
    codec::{FunctionId, TASK_HEAD, TaskHead, TaskKind},
    control::{PoolPhase, Word},
    core::{Core, Report},
    errors::{PoolError, TaskError},
    place::{Claim, Place, TaskId},
    worker::{self, Terms},
};
use crate::{
    message::Bytes,
    os::clock,
    process::{Process, Stdio},
};

/// What workers that are told to end have for that, before they are killed.
const GRACE_NS: u64 = 1_000_000_000;
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
