//! Where jobs go that are done: what they have printed is printed when it is their turn, and then they are logged.

use rustix::process::{Resource, getrlimit};

use super::{
    brake::Brake,
    joblog::{self, Joblog},
    order::Order,
    outputs::{Files, Printed, Printer, Store},
    progress::Progress,
    report::Report,
    template::{Filling, Template},
};
use crate::{args::pool::Run, exit::Outcome};

/// So many jobs may be done and wait for one before them.
const MOST_WAITING: usize = 4096;
/// Descriptors that are left to everything but output that waits.
const OTHER_FILES: u64 = 256;

/// A job that is done and not printed.
#[derive(Debug)]
struct Finished {
    line: Vec<u8>,
    report: Report,
    printed: Printed,
}

/// What waits for its turn, and what is needed then.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    template: &'a Template,
    keeps_order: bool,
    order: Order<Finished>,
    most_files: usize,
    printer: Printer,
    log: Option<Joblog>,
    store: Store,
}

impl<'a> Desk<'a> {
    pub(super) fn new(args: &Run, template: &'a Template, log: Option<Joblog>) -> Outcome<Self> {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let files = files.saturating_sub(OTHER_FILES).max(16);
        Ok(Self {
            template,
            keeps_order: args.keep_order,
            order: Order::new(args.keep_order),
            most_files: usize::try_from(files).unwrap_or(usize::MAX),
            printer: Printer::new()?,
            log,
            store: Store::new(super::directory(args)),
        })
    }

    /// Files for a job.
    pub(super) fn files(&mut self) -> Outcome<Files> {
        self.store.take()
    }

    /// Whether what waits leaves room for more of that.
    pub(super) fn has_room(&self) -> bool {
        let waiting = self.order.waiting();
        waiting.len() < MOST_WAITING
            && waiting.map(|one| one.printed.files()).sum::<usize>() < self.most_files
    }

    /// Takes a job that is done.
    pub(super) fn add(
        &mut self,
        number: u64,
        line: Vec<u8>,
        files: Files,
        report: Report,
    ) -> Outcome {
        let mut printed = files.printed()?;
        if self.keeps_order {
            self.store.shrink(&mut printed, report.is_alone)?;
        }
        let finished = Finished {
            line,
            report,
            printed,
        };
        self.order.add(number, finished);
        Ok(())
    }

    /// Prints and logs what need not wait for job `unfinished`, the first that is not done.
    pub(super) fn print_up_to(
        &mut self,
        unfinished: Option<u64>,
        progress: &Progress,
        brake: &mut Brake<'_>,
    ) -> Outcome {
        while let Some((number, finished)) = self.order.next(unfinished) {
            progress.suspend(|| self.printer.print(&finished.printed, brake))?;
            self.log(number, &finished)?;
            if finished.report.is_alone {
                self.store.give_back(finished.printed);
            }
        }
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
            command: &self.template.describe(Filling {
                line: &finished.line,
                number,
                slot: report.slot,
            }),
        })
    }
}
