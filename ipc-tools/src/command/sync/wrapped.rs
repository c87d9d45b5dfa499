//! A command that runs while something is held.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, Command},
};

use rustix::{
    event::PollFlags,
    process::{
        Pid, PidfdFlags, Signal, getpgid, getpgrp, getppid, pidfd_open, pidfd_send_signal,
        set_parent_process_death_signal,
    },
};

use crate::{
    args::sync::Exec,
    exit::{Failure, Outcome},
    proc,
    signals::Signals,
};

/// Runs the command to its end; signals that come meanwhile are passed on to it. Fails with its exit code.
pub(super) fn run(command: &[OsString], signals: &Signals) -> Outcome {
    signals.check()?;
    let mut child = start(command).map_err(|e| trouble("start a process", &e))?;
    let watched = watch(&child, signals);
    // Also if it cannot be watched: what it needs is held until it has ended.
    let status = child.wait();
    watched?;
    Failure::of_command(status.map_err(|e| trouble("wait for the command", &e))?)
}

/// This program again, as what becomes the command: only a process itself can ask to be told when its parent dies.
fn start(command: &[OsString]) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("ipc")
        .arg("exec")
        .arg(format!("--parent={}", std::process::id()))
        .arg("--")
        .args(command)
        .spawn()
}

/// `ipc exec`: becomes the command, which gets SIGTERM when the parent dies.
pub(crate) fn become_command(args: &Exec) -> Outcome {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|e| trouble("ask to be told when the parent dies", &e.into()))?;
    // It may have died before we asked.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(args.parent) {
        return Err(Failure::Signal(Signal::TERM.as_raw()));
    }
    let Some((program, rest)) = args.command.split_first() else {
        return Err(Failure::Other("there is no command".to_owned()));
    };
    let error = Command::new(program).args(rest).exec();
    let command = program.display().to_string();
    Err(Failure::NotRun { command, error })
}

/// Waits until the child has ended, and passes signals on.
fn watch(child: &Child, signals: &Signals) -> Outcome {
    let pid = Pid::from_child(child);
    let process = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|e| trouble("watch the command", &e.into()))?;
    loop {
        match signals.wait_for(process.as_fd(), PollFlags::IN, None) {
            Ok(ready) if ready.is_empty() => {}
            Ok(_) => return Ok(()),
            Err(Failure::Signal(_)) => {
                let number = signals.forget().and_then(Signal::from_named_raw);
                if let Some(signal) = number.filter(|&signal| !has_heard(pid, signal)) {
                    // Fails if it has just ended.
                    let _ = pidfd_send_signal(&process, signal);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Whether the child got the signal as we did: a terminal's Ctrl-C goes to its whole foreground group, and a command that
/// gets it twice may take that for impatience.
fn has_heard(child: Pid, signal: Signal) -> bool {
    let group = getpgrp();
    let is_foreground = proc::stat(std::process::id())
        .is_some_and(|me| me.foreground == group.as_raw_nonzero().get());
    signal == Signal::INT && is_foreground && getpgid(Some(child)) == Ok(group)
}

fn trouble(what: &str, e: &io::Error) -> Failure {
    Failure::Other(format!("could not {what}: {e}"))
}
