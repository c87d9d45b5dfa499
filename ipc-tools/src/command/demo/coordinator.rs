//! The process that hires, kills and adds up.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use ipc_core::{GetTimeoutError, Queue, TryPutError};

use super::{
    Plan,
    chunks::read_again,
    crew::{Arena, Crew, Gone},
    ledger::Ledger,
    protocol::{CHUNKS, Chunk, REPORTS, Report},
    words::Counts,
};
use crate::{
    exit::{Failure, Outcome},
    signals::Signals,
};

/// So long it may be quiet before the coordinator looks what is wrong.
const QUIET: Duration = Duration::from_millis(50);
/// So long small files are counted again for the sake of the kills.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
/// More deaths that nobody ordered mean that the machine is in trouble.
const MOST_SURPRISES: u64 = 1000;

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) passes: u32,
    pub(super) elapsed: Duration,
    pub(super) bytes: u64,
    pub(super) messages: u64,
    /// Kills that cost a chunk, and those that came too late for that.
    pub(super) kills_in_hand: u32,
    pub(super) kills_too_late: u32,
    /// Processes that somebody else killed.
    pub(super) surprises: u64,
    pub(super) given_again: u64,
    pub(super) duplicates: u64,
}

/// The state of the demo.
pub(super) struct Coordinator<'a> {
    plan: &'a Plan<'a>,
    signals: &'a Signals,
    progress: &'a ProgressBar,
    chunks: Queue<Chunk>,
    reports: Queue<Report>,
    crew: Crew<'a>,
    ledger: Ledger,
    tally: Tally,
    // Last, so that it goes after the processes in it.
    arena: Arena,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        plan: &'a Plan<'a>,
        arena: Arena,
        signals: &'a Signals,
        progress: &'a ProgressBar,
    ) -> Outcome<Self> {
        let depth = plan.workers as usize * 4;
        let chunk = plan.chunk + 4096;
        let participants = plan.workers + 16;
        let chunks = Queue::options(depth)
            .memory(depth * chunk)
            .participants(participants)
            .namespace(&arena.0);
        // Few, so that news are fresh when it comes to a kill.
        let few = plan.workers as usize * 2;
        // Counts in their longest form take about three times the text.
        let reports = Queue::options(few)
            .memory(depth.max(8) * chunk * 4)
            .participants(participants);
        Ok(Self {
            plan,
            signals,
            progress,
            chunks: chunks.create(CHUNKS)?,
            reports: reports.namespace(&arena.0).create(REPORTS)?,
            crew: Crew::new(arena.0.path(), plan.args, plan.chunk, plan.times),
            ledger: Ledger::default(),
            tally: Tally::default(),
            arena,
        })
    }

    /// Counts the files often enough for all the kills, and hands the totals of every pass to `check`.
    pub(super) fn run(mut self, check: impl Fn(&Counts) -> Outcome) -> Outcome<Tally> {
        let start = Instant::now();
        for _ in 0..self.plan.workers {
            self.crew.hire()?;
        }
        while self.tally.passes < self.plan.args.repeat
            || self.wants_to_kill() && start.elapsed() < LONG_ENOUGH
        {
            self.tally.passes += 1;
            self.ledger = Ledger::new(self.tally.passes);
            self.crew.start_producer(self.tally.passes)?;
            while !self.ledger.is_complete() {
                self.step()?;
            }
            self.tally.bytes += self.ledger.bytes;
            self.tally.duplicates += self.ledger.duplicates;
            check(&self.ledger.totals)?;
            if self.ledger.counted() == 0 {
                break; // nothing to take, nobody to kill
            }
        }
        self.tally.elapsed = start.elapsed();
        for name in [CHUNKS, REPORTS] {
            self.tally.messages += self.arena.0.inspect(name)?.queue.map_or(0, |q| q.puts);
        }
        self.chunks.close();
        self.crew.dismiss()?;
        Ok(self.tally)
    }

    fn wants_to_kill(&self) -> bool {
        self.tally.kills_in_hand < self.plan.args.kill
    }

    /// Hears one report, or looks why there is none.
    fn step(&mut self) -> Outcome {
        self.signals.check()?;
        self.give_again()?;
        match self.reports.get_timeout(QUIET) {
            Ok(report) => {
                let taker = self.hear(report);
                if self.is_time_to_kill()
                    && let Some(worker) = self.somebody_at_work(taker)
                {
                    self.kill(worker)?;
                }
            }
            Err(GetTimeoutError::Timeout) => {
                self.replace_the_missing()?;
                if self.chunks.is_empty() {
                    self.ledger.give_stragglers_again();
                }
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Notes a report. Returns the worker that took a chunk.
    fn hear(&mut self, report: Report) -> Option<u64> {
        match report {
            Report::Sending(span) => self.ledger.sending(span),
            Report::AllSent { pass, chunks } => self.ledger.expect(pass, chunks),
            Report::Took { worker, span } => {
                // News that come after a worker's burial change nothing: its chunk is among the stragglers.
                if self.crew.employs(worker) {
                    self.ledger.took(worker, span);
                    return Some(worker);
                }
            }
            Report::Counted { span, counts } => {
                self.ledger.add(span, counts);
                self.progress
                    .set_position(self.tally.bytes + self.ledger.bytes);
            }
        }
        None
    }

    /// The kills are spread over the first pass.
    fn is_time_to_kill(&self) -> bool {
        let share = self.plan.chunks / u64::from(self.plan.args.kill + 1);
        let due = share * u64::from(self.tally.kills_in_hand + 1);
        self.wants_to_kill() && (self.tally.passes > 1 || self.ledger.counted() >= due)
    }

    /// The worker that took a chunk last, according to the latest news, if it was not heard of since.
    fn somebody_at_work(&mut self, taker: Option<u64>) -> Option<u64> {
        let worker = self.hear_all().or(taker)?;
        self.ledger.is_at_work(worker).then_some(worker)
    }

    /// Hears what is in the queue now. Returns the worker that took a chunk last.
    fn hear_all(&mut self) -> Option<u64> {
        let mut last = None;
        for _ in 0..self.reports.capacity() {
            let Ok(report) = self.reports.try_get() else {
                break;
            };
            last = self.hear(report).or(last);
        }
        last
    }

    fn kill(&mut self, worker: u64) -> Outcome {
        self.crew.kill(worker)?;
        let lost = self.bury(worker);
        if lost > 0 {
            self.tally.kills_in_hand += 1
        } else {
            self.tally.kills_too_late += 1
        }
        self.progress.set_message(format!(
            "{} killed",
            self.tally.kills_in_hand + self.tally.kills_too_late
        ));
        self.crew.hire()
    }

    /// Hears the last words of a dead worker, and gives its chunk out again. Returns how many chunks it had.
    fn bury(&mut self, worker: u64) -> u64 {
        // What it put stands among those that are in the queue now.
        self.hear_all();
        self.crew.forget(worker);
        let lost = self.ledger.bury(worker);
        self.tally.given_again += lost;
        lost
    }

    fn replace_the_missing(&mut self) -> Outcome {
        for gone in self.crew.missing()? {
            self.tally.surprises += 1;
            if self.tally.surprises > MOST_SURPRISES {
                return Err(Failure::Other(
                    "somebody keeps killing the processes of the demo".to_owned(),
                ));
            }
            match gone {
                Gone::Worker(id) => {
                    self.bury(id);
                    self.crew.hire()?;
                }
                // It starts again from the first chunk; what is there twice is added up once.
                Gone::Producer => self.crew.start_producer(self.tally.passes)?,
            }
        }
        Ok(())
    }

    /// Never waits: workers may themselves be waiting for the coordinator.
    fn give_again(&mut self) -> Outcome {
        while let Some(span) = self.ledger.next_again() {
            let path: &Path = &self.plan.args.files[span.file as usize];
            let unreadable =
                |e| Failure::Other(format!("could not read {} again: {e}", path.display()));
            let text = read_again(path, span).map_err(unreadable)?;
            match self.chunks.try_put(Chunk { span, text }) {
                Ok(()) => {}
                Err(TryPutError::Full(chunk)) => {
                    self.ledger.postpone(chunk.span);
                    break;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
