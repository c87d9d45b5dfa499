//! `ipc pool`.
//!
//! Reading path: [`template`] (the command) → [`worker`] (what runs a job) → [`foreman`] (what gives jobs out) → [`desk`] (what prints them when they come back). What they
//! need: `crew` (the pool), `input`, `outputs`, `order`, `joblog`, `progress`, `report`, `program`; [`table`] (what the processes know of each other), `brood` (what jobs have started), [`guard`] (the death of all), `brake` (Ctrl-C).

mod brake;
mod brood;
mod control;
mod crew;
mod desk;
mod foreman;
mod guard;
mod input;
mod joblog;
mod order;
mod outputs;
mod program;
mod progress;
mod report;
mod table;
mod template;
mod worker;

use std::{env, ffi::OsStr, path::PathBuf, time::Duration};

use serde_bytes::ByteBuf;

use self::{
    brake::Brake,
    brood::Brood,
    crew::Crew,
    foreman::{Foreman, Plan, stop_all},
    guard::Guard,
    input::Input,
    joblog::{Joblog, Resume},
    table::Table,
    template::{Filling, Template},
    worker::Setup,
};
use crate::{
    args::{
        Place,
        pool::{Run, Verb},
    },
    exit::{Failure, Outcome},
    output::stream::Stream,
    signals::Signals,
};

/// So many workers a pool can have at the least, if it is scaled.
const PLACES: usize = 128;
/// What jobs may take to be seen to have ended, beside the time that they have for it.
const ALLOWANCE: Duration = Duration::from_secs(2);

pub(crate) fn run(place: &Place, verb: Verb) -> Outcome {
    match verb {
        Verb::Run(args) => run_jobs(place, &args).map_err(Failure::of_a_run),
        Verb::Status(args) => control::status(place, &args),
        Verb::Scale(args) => control::scale(place, &args),
        Verb::Drain(args) => control::drain(place, &args),
    }
}

fn run_jobs(place: &Place, args: &Run) -> Outcome {
    let template = match args.command.as_slice() {
        [] => Template::lines(),
        command if args.shell => Template::shell(command),
        command => Template::direct(command),
    };
    let signals = Signals::watch()?;
    if args.dry_run {
        return show_jobs(args, &template, &signals);
    }
    let program = template.program().map(program_of_all).transpose()?;
    let namespace = place.namespace()?;
    let workers = args.jobs.map_or_else(ipc_core::cpu_count, |n| n as usize);
    let table = Table::new(&namespace, workers.max(PLACES))?;
    let brood = Brood::new();
    let setup = Setup {
        template: template.clone(),
        program: program.map(|path| ByteBuf::from(path.into_os_string().into_encoded_bytes())),
        timeout: args.timeout,
        kill_after: args.kill_after,
        table: table.clone(),
        brood: brood.clone(),
    };
    let log = args.joblog.as_deref();
    let log = log.map(|path| Joblog::open(path, resume(args)));
    let log = log.transpose()?;
    let _guard = Guard::post(&brood)?;
    let crew = Crew::new(workers, args.name.as_deref(), &namespace, setup)?;
    let stop = || stop_all(&table, &crew);
    let brake = Brake::new(&signals, args.kill_after + ALLOWANCE, &stop);
    let plan = Plan {
        args,
        template: &template,
        table: &table,
        brood: &brood,
        crew: &crew,
    };
    let outcome = Foreman::new(plan, brake, log).and_then(|mut foreman| foreman.run());
    let dismissed = crew.dismiss();
    if !matches!(outcome, Ok(()) | Err(Failure::Command(_))) {
        brood.end(None); // of jobs that were killed
    }
    outcome.and(dismissed)
}

fn resume(args: &Run) -> Resume {
    match (args.resume, args.resume_failed) {
        (true, _) => Resume::All,
        (_, true) => Resume::Succeeded,
        _ => Resume::No,
    }
}

/// `--dry-run`.
fn show_jobs(args: &Run, template: &Template, signals: &Signals) -> Outcome {
    let mut input = Input::new(args.null)?;
    let mut output = Stream::new(signals)?;
    loop {
        while let Some((number, line)) = input.next() {
            output.add(|text| {
                let slot = 1; // whose it would be is not known
                text.extend(template.describe(Filling {
                    line: &line,
                    number,
                    slot,
                }));
                text.push(b'\n');
            })?;
        }
        if input.is_over() {
            return output.flush();
        }
        if let Some(file) = input.awaited() {
            signals.wait_for(file, rustix::event::PollFlags::IN, None)?;
        }
        input.read()?;
    }
}

/// The program of all jobs.
fn program_of_all(program: &OsStr) -> Outcome<PathBuf> {
    program::find(program).map_err(|error| Failure::NotRun {
        command: program::described(program),
        error,
    })
}

/// Where the output of jobs is kept.
fn directory(args: &Run) -> PathBuf {
    args.tmpdir.clone().unwrap_or_else(env::temp_dir)
}
