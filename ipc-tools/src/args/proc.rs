//! `ipc proc …`.

use std::time::Duration;

use clap::{Args, Subcommand};
use rustix::process::Signal;

use super::values::{duration, signal};

/// What can be done with processes.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Ls(Ls),
    Kill(Kill),
    Wait(Wait),
}

/// List the processes that have objects of the namespace open
///
/// PROCESS is what the kernel says now: running, sleeping, stopped, …, gone, or "-" when the process id is of another pid namespace.
/// SINCE is how long it has had the first of its objects open. CHILDREN are those that it has started to run one of its functions, whether they have
/// objects open or not. OBJECTS says what it does with each, unless it is only attached. One that died, and was not swept yet, is dead.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc proc ls
    ipc proc ls --json | jq -r '.processes[] | select(.process == \"stopped\") | .pid'")]
pub(crate) struct Ls {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Send a signal to processes that have objects of the namespace open
///
/// Prints a line for each process that was sent it. Ends with 3, and sends nothing, if there is no such process among those of `ipc proc ls`;
/// who has its number by now gets nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc proc kill 4711
    ipc proc kill --signal KILL worker      # all of that name
    ipc proc kill -s STOP 4711; ipc proc kill -s CONT 4711")]
pub(crate) struct Kill {
    /// The signal, by name or number
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    pub(crate) signal: Signal,
    /// Process ids, or command names: all that have this name
    #[arg(required = true, value_name = "PROCESS")]
    pub(crate) processes: Vec<String>,
}

/// Wait until processes that have objects of the namespace open have ended
///
/// Ends with 3, and waits for nothing, if there is no such process among those of `ipc proc ls`. One that is dead, and was not swept yet, has ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc proc kill worker && ipc proc wait worker --timeout 5s || ipc proc kill -s KILL worker")]
pub(crate) struct Wait {
    /// Process ids, or command names: all that have this name now
    #[arg(required = true, value_name = "PROCESS")]
    pub(crate) processes: Vec<String>,
    /// Give up (exit code 5) when they have not all ended after this long: 500ms, 2s, 1m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}
