//! `ipc proc`.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::PollFlags,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::Serialize;

use crate::{
    args::{
        Place,
        proc::{Kill, Ls, Verb, Wait},
    },
    exit::{Failure, Outcome, say},
    output::{
        human, json, print,
        table::{Cell, Table},
    },
    processes::{self, Process, Use},
    signals::{self, Signals},
};

#[derive(Serialize)]
struct Listing {
    namespace: String,
    processes: Vec<Process>,
}

pub(crate) fn run(place: &Place, verb: &Verb) -> Outcome {
    match verb {
        Verb::Ls(args) => ls(place, args),
        Verb::Kill(args) => kill(place, args),
        Verb::Wait(args) => wait(place, args),
    }
}

fn ls(place: &Place, args: &Ls) -> Outcome {
    let namespace = place.namespace()?;
    let processes = processes::of_namespace(&namespace)?;
    if args.json {
        return json::print(&Listing {
            namespace: namespace.path().display().to_string(),
            processes,
        });
    }
    let mut table = Table::new(&[
        "PID", "NAME", "PROCESS", "SINCE", "PARENT", "CHILDREN", "OBJECTS",
    ]);
    for one in &processes {
        table.row(row(one));
    }
    table.print()
}

fn row(one: &Process) -> [Cell; 7] {
    let or_dash = |text: String| match text.as_str() {
        "" => "-".to_owned(),
        _ => text,
    };
    let numbers: Vec<String> = one.children.iter().map(u32::to_string).collect();
    let objects: Vec<String> = one.objects.iter().map(describe).collect();
    [
        Cell::from(one.pid),
        Cell::from(&one.name),
        match one.state {
            "dead" => Cell::bad(one.state),
            _ => Cell::from(one.process.unwrap_or("-")),
        },
        Cell::from(human::age(Duration::from_secs(one.since_seconds))),
        Cell::from(or_dash(one.parent.map_or(String::new(), |p| p.to_string()))),
        Cell::from(or_dash(numbers.join(","))),
        Cell::from(objects.join(", ")),
    ]
}

fn describe(one: &Use) -> String {
    match one.activity {
        "attached" => one.name.clone(),
        activity => format!("{} ({activity})", one.name),
    }
}

fn kill(place: &Place, args: &Kill) -> Outcome {
    let all = processes::of_namespace(&place.namespace()?)?;
    let mut failures = Vec::new();
    let chosen = chosen(&all, &args.processes)?;
    let of = chosen.len();
    for one in chosen {
        match send(one, args.signal) {
            Ok(()) => {
                let signal = signals::name(args.signal);
                print(format!("sent {signal} to {}\n", one.label()).as_bytes())?;
            }
            Err(failure) if of == 1 => return Err(failure),
            Err(failure) => {
                say(&failure);
                failures.push(failure);
            }
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::Several { of, failures }),
    }
}

fn send(to: &Process, signal: Signal) -> Outcome {
    let ended = || Failure::NotFound(format!("process {} has ended", to.label()));
    let process = opened(to)?.ok_or_else(ended)?;
    match pidfd_send_signal(&process, signal) {
        Ok(()) => Ok(()),
        Err(Errno::SRCH) => Err(ended()),
        Err(Errno::PERM) => Err(Failure::Denied(format!(
            "process {} is another user's",
            to.label()
        ))),
        Err(e) => Err(trouble("signal", to, e)),
    }
}

fn wait(place: &Place, args: &Wait) -> Outcome {
    let signals = Signals::watch()?;
    let start = Instant::now();
    let all = processes::of_namespace(&place.namespace()?)?;
    let mut opened_ones = Vec::new();
    for one in chosen(&all, &args.processes)? {
        opened_ones.extend(opened(one)?);
    }
    for process in &opened_ones {
        loop {
            let left = args.timeout.map(|t| t.saturating_sub(start.elapsed()));
            let ready = signals.wait_for(process.as_fd(), PollFlags::IN, left)?;
            if !ready.is_empty() {
                break;
            }
            if left == Some(Duration::ZERO) {
                return Err(Failure::Timeout("not all processes ended"));
            }
        }
    }
    Ok(())
}

/// Those that are meant, each once. Fails unless each word means one.
fn chosen<'a>(all: &'a [Process], words: &[String]) -> Outcome<Vec<&'a Process>> {
    let mut chosen: Vec<&Process> = Vec::new();
    for word in words {
        let is_meant = |one: &&Process| match word.parse::<u32>() {
            Ok(pid) => one.pid == pid,
            Err(_) => one.name == *word,
        };
        let meant: Vec<&Process> = all.iter().filter(is_meant).collect();
        if meant.is_empty() {
            return Err(Failure::NotFound(format!(
                "no process {} has an object of this namespace open",
                human::printable(word)
            )));
        }
        for one in meant {
            if !chosen.iter().any(|other| std::ptr::eq(*other, one)) {
                chosen.push(one);
            }
        }
    }
    // Names mean who lives, if anybody of that name does.
    if chosen.iter().any(|one| one.state == "alive") {
        chosen.retain(|one| one.state == "alive" || words.contains(&one.pid.to_string()));
    }
    Ok(chosen)
}

/// What means this process for good; `None` if it has ended.
fn opened(one: &Process) -> Outcome<Option<OwnedFd>> {
    if one.process.is_none() {
        return Err(Failure::Other(format!(
            "process {} is of another pid namespace",
            one.label()
        )));
    }
    if one.state == "dead" || !one.is_here() {
        return Ok(None);
    }
    let pid = Pid::from_raw(one.pid.cast_signed());
    let opened = pid.ok_or(Errno::SRCH);
    match opened.and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        // In this order: what was opened is who had the number before we looked again.
        Ok(process) => Ok(one.has_its_number().then_some(process)),
        Err(Errno::SRCH) => Ok(None),
        Err(e) => Err(trouble("watch", one, e)),
    }
}

fn trouble(what: &str, one: &Process, e: Errno) -> Failure {
    let e = io::Error::from(e);
    Failure::Other(format!("could not {what} process {}: {e}", one.label()))
}
