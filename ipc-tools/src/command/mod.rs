//! One file a verb. A command prints its data, and fails with what it could not do.

/// Makes what `options` describe as a [`crate::args::values::Make`] wants it. A macro, as options of different objects have
/// no type in common.
macro_rules! created {
    ($options:expr, $make:expr, $name:expr) => {{
        let mut options = $options;
        options = crate::command::set(options, $make.participants, |o, n| o.participants(n));
        options = crate::command::set(options, $make.mode, |o, mode| o.mode(mode));
        options = crate::command::set(options, $make.group, |o, gid| o.group(gid));
        if $make.if_missing {
            options.open_or_create($name)?
        } else {
            options.create($name)?
        }
    }};
}

mod any_queue;
mod broadcast;
mod close;
mod completions;
mod create;
mod demo;
mod dict;
mod doctor;
mod flow;
mod get;
mod jobs;
mod ls;
mod man;
mod peek;
mod pipe;
mod pool;
mod proc;
mod put;
mod rescue;
mod rm;
mod shm;
mod stat;
mod sync;
mod who;

use self::{any_queue::AnyQueue, sync::waiting::HOLDER};
use ipc_core::Namespace;

use crate::{
    args::{Cli, Place, Verb, queue},
    exit::{Failure, Outcome, say},
};

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Outcome {
    let place = &cli.place;
    match cli.verb {
        Verb::Queue(verb) => run_queue(place, verb),
        Verb::Pipe(verb) => pipe::run(place, verb),
        Verb::Pub(args) => broadcast::publish(place, args),
        Verb::Sub(args) => broadcast::subscribe(place, &args),
        Verb::Dict(verb) => dict::run(place, verb),
        Verb::Shm(verb) => shm::run(verb),
        Verb::Lock(verb) => sync::lock::run(place, &verb),
        Verb::Sem(verb) => sync::sem::run(place, &verb),
        Verb::Event(verb) => sync::event::run(place, &verb),
        Verb::Barrier(verb) => sync::barrier::run(place, &verb),
        Verb::Cond(verb) => sync::cond::run(place, &verb),
        Verb::Exec(args) => sync::wrapped::become_command(&args),
        Verb::Leave(args) => sync::waiting::leave(place, &args),
        Verb::Pool(verb) => pool::run(place, verb),
        Verb::Proc(verb) => proc::run(place, &verb),
        Verb::Ls(args) => ls::run(place, &args),
        Verb::Stat(args) => stat::run(place, &args),
        Verb::Who(args) => who::run(place, &args),
        Verb::Rm(args) => rm::run(place, &args),
        Verb::Doctor(args) => doctor::run(place, &args),
        Verb::Demo(args) => demo::run(place, &args),
        Verb::DemoProducer(args) => demo::producer::run(place, &args),
        Verb::DemoWorker(args) => demo::worker::run(place, &args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
    }
}

fn run_queue(place: &Place, verb: queue::Verb) -> Outcome {
    match verb {
        queue::Verb::Create(args) => create::run(place, &args),
        queue::Verb::Put(args) => put::run(place, args),
        queue::Verb::Get(args) => get::run(place, &args),
        queue::Verb::Peek(args) => peek::run(place, &args),
        queue::Verb::Close(args) => close::run(place, &args),
        queue::Verb::Dead(args) => jobs::dead(place, &args),
    }
}

impl Place {
    /// The namespace that the command line or else the environment names.
    fn namespace(&self) -> Outcome<Namespace> {
        Ok(match (&self.dir, &self.namespace) {
            (Some(dir), _) => Namespace::at(dir)?,
            (None, Some(name)) => Namespace::named(name)?,
            (None, None) => Namespace::current()?,
        })
    }

    fn open_queue(&self, name: &str) -> Outcome<Box<dyn AnyQueue>> {
        any_queue::open(&self.namespace()?, name)
    }
}

/// An option that was not given keeps its default.
fn set<O, V>(options: O, value: Option<V>, with: impl FnOnce(O, V) -> O) -> O {
    match value {
        Some(value) => with(options, value),
        None => options,
    }
}

/// Does `each` for all names; a failure is said at once and does not keep the others from being done.
fn for_all(names: &[String], mut each: impl FnMut(&str) -> Outcome) -> Outcome {
    if let [only] = names {
        return each(only);
    }
    let mut failures = Vec::new();
    for name in names {
        match each(name) {
            Ok(()) => {}
            Err(Failure::BrokenPipe) => return Err(Failure::BrokenPipe),
            Err(failure) => {
                say(&failure);
                failures.push(failure);
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Several {
            of: names.len(),
            failures,
        })
    }
}
