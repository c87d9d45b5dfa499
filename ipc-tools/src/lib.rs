//! The command-line tools of [`ipc_core`]: create, use, inspect and repair shared-memory objects from the shell.
//!
//! Reading path: `args` (what can be asked) → `command` (one file a verb) → `snapshot` (what `ipc-core` says, as plain
//! data) → `output` (how it is shown). `exit` is the one place that knows exit codes. What moves messages stands below
//! `command`: `framing` (bytes ⇄ messages), `inlet` (standard input), `outlet` (standard output that loses nothing), `signals` (Ctrl-C); `proc` is
//! what the kernel says about processes, and `processes` who has objects open.
#![forbid(unsafe_code)]

mod args;
mod command;
mod exit;
mod framing;
mod inlet;
mod outlet;
mod output;
mod proc;
mod processes;
mod signals;
mod snapshot;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
};

use clap::Parser;

/// Runs `ipc` with these arguments, the program's name first, and says how it ended.
///
/// A program that is called `ipc-VERB`, through a symbolic link for instance, is `ipc VERB`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ipc_core::init(); // a worker of a pool goes no further
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    let verb = program.and_then(|name| name.to_str()?.strip_prefix("ipc-").map(str::to_owned));
    match verb {
        Some(verb) => run_verb(&verb, arguments),
        None => finish(arguments),
    }
}

/// Runs `ipc VERB` with these arguments, the program's name first, and says how it ended.
///
/// A program that starts itself again for something else calls itself `ipc`, and is that then.
pub fn run_verb(verb: &str, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ipc_core::init();
    let mut arguments = arguments.into_iter();
    let program = arguments.next();
    let verb = (program.as_deref() != Some(OsStr::new("ipc"))).then(|| OsString::from(verb));
    finish(
        [OsString::from("ipc")]
            .into_iter()
            .chain(verb)
            .chain(arguments),
    )
}

fn finish(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match args::Cli::try_parse_from(arguments) {
        Ok(cli) => exit::report(command::run(cli)),
        Err(e) => exit::usage(&e),
    }
}
