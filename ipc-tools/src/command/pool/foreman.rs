//! The run: lines become jobs, jobs are given to the crew, and what they have printed is printed, logged and counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use ipc_core::TaskError;
use rustix::event::PollFlags;
use serde_bytes::ByteBuf;

use super::{
    brake::Brake,
    brood::Brood,
    crew::{Crew, Event},
    desk::Desk,
    input::Input,
    joblog::Joblog,
    outputs::Files,
    progress::Progress,
    report::{End, Report},
    table::{Course, Table},
    template::Template,
    worker::Job,
};
use crate::{
    args::{
        halt::{Tally, Verdict},
        pool::Run,
    },
    exit::{Failure, Outcome, say},
    output::human,
    signals::SLICE,
};

/// How often a job is run again because its worker was killed.
const MOST_LOSSES: u32 = 3;

/// What does not change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) args: &'a Run,
    pub(super) template: &'a Template,
    pub(super) table: &'a Table,
    pub(super) brood: &'a Brood,
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

/// Whoever runs the run.
#[derive(Debug)]
pub(super) struct Foreman<'a> {
    plan: Plan<'a>,
    brake: Brake<'a>,
    input: Input,
    desk: Desk<'a>,
    /// Jobs that an earlier run has done.
    skipped: BTreeSet<u64>,
    progress: Progress,
    flights: BTreeMap<u64, Flight>,
    /// Those of them that are to be run again.
    again: VecDeque<u64>,
    /// How many of them the crew has.
    given: usize,
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
        Ok(Self {
            plan,
            brake,
            input: Input::new(plan.args.null)?,
            desk: Desk::new(plan.args, plan.template, log)?,
            skipped: skipped.unwrap_or_default(),
            progress: Progress::new(plan.args.progress),
            flights: BTreeMap::new(),
            again: VecDeque::new(),
            given: 0,
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
            if !self.desk.has_room() {
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

    /// Gives the crew a job, with new files: what is left of an earlier attempt may still write into the old ones.
    fn give(&mut self, number: u64) -> Outcome {
        let Some(flight) = self.flights.get_mut(&number) else {
            return Ok(());
        };
        let files = flight.files.insert(self.desk.files()?);
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

    /// Gives out no more jobs, as the pool takes none. It does those that it has.
    fn be_drained(&mut self) -> Outcome {
        if self.verdict == Verdict::GoOn {
            say("the pool was drained: what is left of the input is not run");
            self.verdict = Verdict::Soon;
            for number in std::mem::take(&mut self.again) {
                self.finish(number, Report::of_lost())?;
            }
        }
        Ok(())
    }

    /// Waits for an event, for input if some is wanted, or for a signal.
    fn wait(&mut self) -> Outcome {
        let wants_input = self.verdict == Verdict::GoOn
            && self.given < self.plan.crew.appetite()
            && self.desk.has_room();
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
                self.plan.brood.end(Some(pid));
                flight.losses += 1;
                if self.verdict == Verdict::Now {
                    return self.abandon(number);
                }
                if !goes_on {
                    return self.finish(number, Report::of_lost());
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
            self.desk.add(number, flight.line, files, report)?;
        }
        self.stop(self.plan.args.halt.verdict(self.tally))
    }

    fn print_what_is_next(&mut self) -> Outcome {
        let unfinished = self.flights.first_key_value().map(|(number, _)| *number);
        self.desk
            .print_up_to(unfinished, &self.progress, &mut self.brake)?;
        self.progress
            .show(self.tally, self.flights.len(), self.input.total());
        Ok(())
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
                failure.after(format!("{left} job(s) were given out and not finished"))
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
