//! What can be asked of `ipc`, as clap parses and checks it.

pub(crate) mod broadcast;
pub(crate) mod demo;
pub(crate) mod dict;
pub(crate) mod halt;
pub(crate) mod objects;
pub(crate) mod pipe;
pub(crate) mod pool;
pub(crate) mod proc;
pub(crate) mod queue;
pub(crate) mod shm;
pub(crate) mod sync;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
    0  done                              6  would block, or in use
    1  error                             7  closed
    2  bad usage                         8  no permission
    3  not found                         9  corrupt, foreign or of another kind, type or version
    4  exists already                   10  problems found, or a barrier broken
    5  timeout                       128+n  stopped by signal n
`ipc lock run` and `ipc sem run` end with the exit code of their command, `ipc pool run` with
the number of jobs that failed.

Examples:
    ipc queue create jobs --capacity 1024
    seq 1000000 | ipc queue put jobs &
    ipc queue get jobs --count 1000000 | sort -n | tail -1
    ipc pipe recv log & seq 3 | ipc pipe send log
    ipc dict create config; ipc dict set config rate 100; ipc dict get config rate
    ipc lock run deploy -- make install
    ls *.png | ipc pool run -- convert {} {.}.jpg
    ipc ls; ipc who jobs; ipc doctor";

/// Shared-memory objects from the shell: create, use, inspect, repair.
///
/// Data goes to standard output, messages to standard error. Objects live in a namespace, which is a directory: $IPC_DIR,
/// or $IPC_NAMESPACE (default: "default") in shared memory.
#[derive(Debug, Parser)]
#[command(name = "ipc", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the objects are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub(crate) struct Place {
    /// Namespace in shared memory [env: IPC_NAMESPACE]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "dir")]
    pub(crate) namespace: Option<String>,
    /// Directory that holds the objects [env: IPC_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a queue, put messages in, get them out
    #[command(subcommand, visible_alias = "q")]
    Queue(queue::Verb),
    /// Send messages or a stream of bytes from one process to another
    #[command(subcommand)]
    Pipe(pipe::Verb),
    Pub(broadcast::Pub),
    Sub(broadcast::Sub),
    /// Create a dictionary that processes share, look into it and change it
    #[command(subcommand)]
    Dict(dict::Verb),
    /// Create raw blocks of shared memory, which Python and C open by name, and look into them
    #[command(subcommand)]
    Shm(shm::Verb),
    /// Run commands one at a time, or readers beside each other
    #[command(subcommand)]
    Lock(sync::LockVerb),
    /// Give out a fixed number of permits
    #[command(subcommand)]
    Sem(sync::SemVerb),
    /// Wait until something has happened
    #[command(subcommand)]
    Event(sync::EventVerb),
    /// Wait until all parties have come
    #[command(subcommand)]
    Barrier(sync::BarrierVerb),
    /// Notify programs that wait on a condition
    #[command(subcommand)]
    Cond(sync::CondVerb),
    /// Run a command for each line of standard input, several at a time
    #[command(subcommand)]
    Pool(pool::Verb),
    /// List the processes that have objects open, signal them, wait for their end
    #[command(subcommand)]
    Proc(proc::Verb),
    /// List the objects of the namespace
    Ls(objects::Ls),
    /// Show all there is to know about objects
    Stat(objects::Stat),
    /// Show who holds an object, who waits for it, and who is attached
    Who(objects::Who),
    /// Remove objects
    Rm(objects::Rm),
    /// Look for what dead processes left and for what keeps objects from working
    Doctor(objects::Doctor),
    /// Count the words of files with processes that get killed, and check that nothing is lost
    Demo(demo::Demo),
    /// Print completions for a shell
    Completions(objects::Completions),
    /// Write manual pages, one for each verb
    Man(objects::Man),
    #[command(hide = true)]
    DemoProducer(demo::Producer),
    #[command(hide = true)]
    DemoWorker(demo::Worker),
    #[command(hide = true)]
    Exec(sync::Exec),
    #[command(hide = true)]
    Leave(sync::Leave),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
