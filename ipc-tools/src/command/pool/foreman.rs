//! The run: lines become jobs, jobs are given to the crew, and what they have printed is printed, logged and counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use ipc_core::TaskError;
use rustix::{
    event::PollFlags,
    process::{Resource, Signal, getrlimit},
};
use serde_bytes::ByteBuf;

use super::{
    brake::Brake,
    crew::{Crew, Event},
    input::Input,
    joblog::{self, Joblog},
    order::Order,
    outputs::{Files, Printed, Printer, Store},
    progress::Progress,
    table::{Course, Table},
    template::{Filling, Template},
    worker::{End, Job, Report},
};
use crate::{
    args::{
        halt::{Tally, Verdict},
        pool::Run,
    },
    exit::{self, Failure, Outcome, say},
    output::human,
    signals::SLICE,
};

const SIGKILL: i32 = Signal::KILL.as_raw();
const SIGTERM: i32 = Signal::TERM.as_raw();
/// How often a job is run again because its worker was killed.
const MOST_LOSSES: u32 = 3;
/// So many jobs may be done and wait for one before them.
const MOST_WAITING: usize = 4096;
/// Descriptors that are left to everything but output that waits.
const OTHER_FILES: u64 = 256;

/// What does not change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) args: &'a Run,
    pub(super) template: &'a Template,
    pub(super) table: &'a Table,
    pub(super) crew: &'a Crew,
}

/// A job that is not done.
#[derive(Debug)]
struct Flight {
    line: Vec<u8>,
    files: Option<Files>,
    /// How often it has failed.
    failures: u32,
    /// How often its worker was killed.
    losses: u32,
}

/// A job that is done and not printed.
#[derive(Debug)]
struct Finished {
    line: Vec<u8>,
    report: Report,
    printed: Printed,
}

/// Whoever runs the run.
#[derive(Debug)]
pub(super) struct Foreman<'a> {
    plan: Plan<'a>,
    brake: Brake<'a>,
    input: Input,
    printer: Printer,
    log: Option<Joblog>,
    /// Jobs that an earlier run has done.
    skipped: BTreeSet<u64>,
    store: Store,
    progress: Progress,
    flights: BTreeMap<u64, Flight>,
    /// Those of them that are to be run again.
    again: VecDeque<u64>,
    /// How many of them the crew has.
    given: usize,
    order: Order<Finished>,
    most_files: usize,
    tally: Tally,
    verdict: Verdict,
    /// How many were given up.
    abandoned: u64,
}

impl<'a> Foreman<'a> {
    pub(super) fn new(
        plan: Plan<'a>,
        brake: Brake<'a>,
        log: Option<(Joblog, BTreeSet<u64>)>,
    ) -> Outcome<Self> {
        let (log, skipped) = log.unzip();
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let files = files.saturating_sub(OTHER_FILES).max(16);
        Ok(Self {
            plan,
            brake,
            input: Input::new(plan.args.null)?,
            printer: Printer::new()?,
            log,
            skipped: skipped.unwrap_or_default(),
            store: Store::new(super::directory(plan.args)),
            progress: Progress::new(plan.args.progress),
            flights: BTreeMap::new(),
            again: VecDeque::new(),
            given: 0,
            order: Order::new(plan.args.keep_order),
            most_files: usize::try_from(files).unwrap_or(usize::MAX),
            tally: Tally::default(),
            verdict: Verdict::GoOn,
            abandoned: 0,
        })
    }

    /// Runs all jobs, or as many as there are to be. Fails with the exit code that counts the failed ones.
    pub(super) fn run(&mut self) -> Outcome {
        let worked = self.work();
        if let Err(failure) = worked {
            let _ = self.wind_down(); // what failed first is what matters
            return Err(self.final_word(failure));
        }
        if let Some(signal) = self.brake.caught() {
            return Err(self.final_word(Failure::Signal(signal)));
        }
        match self.plan.args.halt.exit_code(self.tally) {
            0 => Ok(()),
            code => Err(Failure::Command(code)),
        }
    }

    fn work(&mut self) -> Outcome {
        loop {
            self.fill()?;
            let is_over = self.input.is_over() || self.verdict != Verdict::GoOn;
            if is_over && self.flights.is_empty() {
                return self.print_what_is_next();
            }
            self.wait()?;
            for event in self.plan.crew.events() {
                self.take(event)?;
            }
            self.print_what_is_next()?;
        }
    }

    /// Gives the crew jobs, as long as there are some and it wants some.
    fn fill(&mut self) -> Outcome {
        while self.verdict == Verdict::GoOn && self.given < self.plan.crew.appetite() {
            if let Some(number) = self.again.pop_front() {
                self.give(number)?;
                continue;
            }
            if !self.has_room() {
                return Ok(());
            }
            let Some((number, line)) = self.input.next() else {
                return Ok(());
            };
            if self.skipped.contains(&number) {
                continue;
            }
            let flight = Flight {
                line,
                files: None,
                failures: 0,
                losses: 0,
            };
            self.flights.insert(number, flight);
            self.give(number)?;
        }
        Ok(())
    }

    /// Whether what waits for its turn to be printed leaves room for more of that.
    fn has_room(&self) -> bool {
        let waiting = self.order.waiting();
        waiting.len() < MOST_WAITING
            && waiting.map(|one| one.printed.files()).sum::<usize>() < self.most_files
    }

    /// Gives the crew a job, with new files: what is left of an earlier attempt may still write into the old ones.
    fn give(&mut self, number: u64) -> Outcome {
        let Some(flight) = self.flights.get_mut(&number) else {
            return Ok(());
        };
        let files = flight.files.insert(self.store.take()?);
        let (stdout, stderr) = files.numbers();
        let line = ByteBuf::from(flight.line.clone());
        let job = Job {
            number,
            line,
            stdout,
            stderr,
        };
        if self.plan.crew.give(job)? {
            self.given += 1;
            return Ok(());
        }
        match flight.failures + flight.losses {
            0 => drop(self.flights.remove(&number)),
            _ => self.finish(number, Report::of_lost())?,
        }
        self.be_drained()
    }

    fn be_drained(&mut self) -> Outcome {
        say("the pool was drained: no further jobs are run");
        self.stop(Verdict::Soon)
    }

    /// Waits for an event, for input if some is wanted, or for a signal.
    fn wait(&mut self) -> Outcome {
        let wants_input = self.verdict == Verdict::GoOn
            && self.given < self.plan.crew.appetite()
            && self.has_room();
        let input = self.input.awaited().filter(|_| wants_input);
        let files = [Some(self.plan.crew.bell()), input];
        let files: Vec<_> = files
            .into_iter()
            .flatten()
            .map(|file| (file, PollFlags::IN))
            .collect();
        // A pool with a name may be drained while there is nothing to give it.
        let is_idle = self.given == 0 && self.plan.args.name.is_some();
        let ready = self.brake.wait_for(&files, is_idle.then_some(SLICE))?;
        if is_idle && self.plan.crew.is_drained()? {
            return self.be_drained();
        }
        if ready.get(1) == Some(&true) {
            self.input.read()?;
        }
        if self.brake.caught().is_some() {
            self.verdict = Verdict::Now; // the brake has stopped the rest
            self.forget_what_is_not_given();
        }
        Ok(())
    }

    /// Has no further jobs started, and perhaps those ended that run.
    fn stop(&mut self, verdict: Verdict) -> Outcome {
        if verdict <= self.verdict {
            return Ok(());
        }
        self.verdict = verdict;
        self.forget_what_is_not_given();
        match verdict {
            Verdict::GoOn => {}
            Verdict::Soon => self.plan.table.set_course(Course::Closing)?,
            Verdict::Now => stop_all(self.plan.table, self.plan.crew),
        }
        Ok(())
    }

    fn forget_what_is_not_given(&mut self) {
        for number in self.again.drain(..) {
            self.flights.remove(&number);
            self.abandoned += 1;
        }
    }

    fn take(&mut self, event: Event) -> Outcome {
        self.given -= 1;
        let number = event.number;
        let Some(flight) = self.flights.get_mut(&number) else {
            return Ok(());
        };
        let goes_on = self.verdict == Verdict::GoOn;
        match event.result {
            Ok(Report {
                end: End::Trouble(why),
                ..
            }) => Err(Failure::Other(why)),
            Ok(Report {
                end: End::Stopped, ..
            }) => self.abandon(number),
            Ok(report)
                if !report.end.is_success()
                    && goes_on
                    && flight.failures < self.plan.args.retry =>
            {
                flight.failures += 1;
                self.again.push_back(number);
                Ok(())
            }
            Ok(report) => self.finish(number, report),
            Err(TaskError::WorkerDied { pid, .. }) => {
                self.plan.table.bury(pid)?;
                flight.losses += 1;
                if !goes_on {
                    return self.abandon(number);
                }
                if flight.losses > MOST_LOSSES {
                    let losses = flight.losses;
                    say(format_args!(
                        "job {number} is given up: its worker was killed {losses} times"
                    ));
                    return self.finish(number, Report::of_lost());
                }
                self.again.push_back(number);
                Ok(())
            }
            Err(TaskError::Terminated | TaskError::Cancelled) => self.abandon(number),
            Err(e) => Err(Failure::Other(e.to_string())),
        }
    }

    fn abandon(&mut self, number: u64) -> Outcome {
        self.flights.remove(&number);
        self.abandoned += 1;
        Ok(())
    }

    /// Counts a job that is done, and has it printed when it is its turn.
    fn finish(&mut self, number: u64, report: Report) -> Outcome {
        let Some(flight) = self.flights.remove(&number) else {
            return Ok(());
        };
        match report.end.exit_code() {
            0 => self.tally.succeeded += 1,
            code => {
                self.tally.failed += 1;
                self.tally.last_failure = code;
            }
        }
        if report.end == End::TimedOut
            && let Some(limit) = self.plan.args.timeout
        {
            let line = human::printable(&String::from_utf8_lossy(&flight.line));
            let limit = humantime::format_duration(limit);
            say(format_args!(
                "job {number} took longer than {limit}: {line}"
            ));
        }
        if let Some(files) = flight.files {
            let mut printed = files.printed()?;
            if self.plan.args.keep_order {
                self.store.shrink(&mut printed, report.is_alone)?;
            }
            let finished = Finished {
                line: flight.line,
                report,
                printed,
            };
            self.order.add(number, finished);
        }
        self.stop(self.plan.args.halt.verdict(self.tally))
    }

    fn print_what_is_next(&mut self) -> Outcome {
        loop {
            let unfinished = self.flights.first_key_value().map(|(number, _)| *number);
            let Some((number, finished)) = self.order.next(unfinished) else {
                break;
            };
            let (printer, brake) = (&mut self.printer, &mut self.brake);
            self.progress
                .suspend(|| printer.print(&finished.printed, brake))?;
            self.log(number, &finished)?;
            if finished.report.is_alone {
                self.store.give_back(finished.printed);
            }
        }
        self.progress
            .show(self.tally, self.flights.len(), self.input.total());
        Ok(())
    }

    fn log(&mut self, number: u64, finished: &Finished) -> Outcome {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let report = &finished.report;
        let (exit, signal) = report.end.for_the_log();
        log.add(&joblog::Line {
            number,
            started_unix_ns: report.started_unix_ns,
            runtime_ns: report.runtime_ns,
            printed: finished.printed.stdout.length(),
            exit,
            signal,
            command: &self.plan.template.describe(Filling {
                line: &finished.line,
                number,
                slot: report.slot,
            }),
        })
    }

    /// Has what runs end after a failure. Prints nothing any more.
    fn wind_down(&mut self) -> Outcome {
        stop_all(self.plan.table, self.plan.crew);
        let deadline = Instant::now() + self.plan.args.kill_after + super::ALLOWANCE;
        while self.given > 0 {
            let bell = (self.plan.crew.bell(), PollFlags::IN);
            self.brake.wait_for(&[bell], Some(SLICE))?;
            self.given -= self.plan.crew.events().len();
            if Instant::now() >= deadline {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is said at the end of a run that did not come to its own.
    fn final_word(&self, failure: Failure) -> Failure {
        let left = self.abandoned + self.flights.len() as u64;
        match failure {
            // Who has read enough may still want to know that jobs failed.
            Failure::BrokenPipe => match self.plan.args.halt.exit_code(self.tally) {
                0 => Failure::BrokenPipe,
                code => Failure::Command(code),
            },
            failure if left > 0 => {
                failure.after(format!("{left} job(s) were begun and not finished"))
            }
            failure => failure,
        }
    }
}

/// Has no further job started, and those that run end.
pub(super) fn stop_all(table: &Table, crew: &Crew) {
    // If the table cannot be used, no worker can start a job.
    let _ = table.set_course(Course::Ending);
    crew.end_jobs();
}

impl Report {
    /// Of a job whose workers were killed.
    fn of_lost() -> Self {
        Self {
            end: End::Lost,
            started_unix_ns: 0,
            runtime_ns: 0,
            slot: 0,
            is_alone: false,
        }
    }
}

impl End {
    fn is_success(&self) -> bool {
        self.exit_code() == 0
    }

    /// As a shell has it.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Code(code) => (*code & 0xff) as u8,
            Self::Signal(signal) => exit::of_signal(*signal),
            Self::TimedOut => exit::of_late(),
            Self::NotRun(code) => *code,
            Self::Lost | Self::Stopped | Self::Trouble(_) => exit::of_signal(SIGKILL),
        }
    }

    /// Exit code and signal, as GNU parallel logs them.
    fn for_the_log(&self) -> (i32, i32) {
        match self {
            Self::Code(code) => (*code, 0),
            Self::Signal(signal) => (0, *signal),
            Self::TimedOut => (-1, SIGTERM),
            Self::NotRun(code) => (i32::from(*code), 0),
            Self::Lost | Self::Stopped | Self::Trouble(_) => (-1, SIGKILL),
        }
    }
}
