//! `ipc pool …`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueHint};

use super::{halt::Halt, values::duration};

/// More workers than this are a mistake.
const MOST_WORKERS: u32 = 1000;

/// What can be done with a pool.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Box<Run>),
    Status(Status),
    Scale(Scale),
    Drain(Drain),
}

/// Run a command for each line of standard input, several at a time
///
/// What a command prints comes out when it has ended, as a whole, and never between what others print. The exit code is the number of jobs that
/// failed, or 101 for more than 100. A job whose worker process was killed is run again.
#[derive(Debug, Args)]
#[command(after_help = "\
In the command, these stand for the line and parts of it; without any, the line is
the last argument:
    {}   the line                     {/}   without its directory
    {.}  without its extension        {//}  its directory
    {#}  the number of the job        {/.}  without directory and extension
    {%}  the number of the worker that runs it, from 1 on
No shell reads the command unless --shell is given, or no command at all: then each
line is a command line. Its standard input is /dev/null.

Exit codes: 0 all jobs succeeded, 1 to 100 so many failed, 101 more did, 2 bad usage,
126 and 127 the command cannot be run or is not there, 255 another error, 128+n
stopped by signal n. With --halt …,fail=1 that of the job that failed.

Ctrl-C, or SIGTERM: no further job is started, and those that run are sent SIGTERM,
and SIGKILL after --kill-after. Twice: they are killed at once.

Examples:
    ls *.png | ipc pool run -j 4 -- convert {} {.}.jpg
    find . -name '*.log' -print0 | ipc pool run -0 gzip -9
    seq 100 | ipc pool run --keep-order --shell 'echo {} squared is $(({} * {}))'
    ipc pool run --retry 2 --timeout 30s --joblog jobs.log -- curl -sfO {} < urls
    ipc pool run --joblog jobs.log --resume -- curl -sfO {} < urls
    ipc pool run --name crunch -- ./crunch < inputs &  ipc pool scale crunch 8")]
pub(crate) struct Run {
    /// How many jobs run at once [default: one a core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS)))]
    pub(crate) jobs: Option<u32>,
    /// A name for `ipc pool status`, `scale` and `drain` [default: none]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Run a job that fails up to N times more; only the last time counts, and is printed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retry: u32,
    /// A job that takes longer fails: it is sent SIGTERM, and SIGKILL after --kill-after
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// How long a job has to end after SIGTERM
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    pub(crate) kill_after: Duration,
    /// When to stop before the end of the input: `never`, or `soon,WHY` (those that run may end), or `now,WHY` (they are ended). WHY is `fail=N`,
    /// `success=N` or `done=N`: as soon as so many jobs are
    #[arg(long, value_name = "WHEN", value_parser = Halt::parse, default_value = "never")]
    pub(crate) halt: Halt,
    /// Print in the order of the input
    #[arg(long, short)]
    pub(crate) keep_order: bool,
    /// Show on standard error, if that is a terminal, how far it is
    #[arg(long)]
    pub(crate) progress: bool,
    /// Write a line for each job that is done and printed: Seq, Host, Starttime, JobRuntime, Send, Receive, Exitval, Signal, Command
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) joblog: Option<PathBuf>,
    /// Skip jobs that are in the --joblog, by their numbers
    #[arg(long, requires = "joblog")]
    pub(crate) resume: bool,
    /// Skip jobs that are in the --joblog and succeeded
    #[arg(long, requires = "joblog", conflicts_with = "resume")]
    pub(crate) resume_failed: bool,
    /// A line ends with a NUL byte, as in find -print0
    #[arg(long, short = '0')]
    pub(crate) null: bool,
    /// Only print what would be run
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Have `sh` read the command, with what stands for the line quoted
    #[arg(long)]
    pub(crate) shell: bool,
    /// Where the output of jobs is kept until it is printed, in files without names [env: TMPDIR] [default: /tmp]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) tmpdir: Option<PathBuf>,
    /// The command and its arguments; write -- before them
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

/// Show a pool and what its workers do
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc pool status crunch
    ipc pool status crunch --json | jq '.workers[] | select(.state == \"busy\")'")]
pub(crate) struct Status {
    /// The pool's name
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Change how many workers a pool has
///
/// Returns when the pool is told. Workers that are too many end after their tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc pool scale crunch 8")]
pub(crate) struct Scale {
    /// The pool's name
    pub(crate) name: String,
    /// How many workers it is to have
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS)))]
    pub(crate) workers: u32,
}

/// Have a pool take no more tasks, and end when those that it has are done
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc pool drain crunch --wait")]
pub(crate) struct Drain {
    /// The pool's name
    pub(crate) name: String,
    /// Wait until it has ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: give up (exit code 5) after this long: 500ms, 2s, 1m
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    pub(crate) timeout: Option<Duration>,
}
