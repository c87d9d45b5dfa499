//! `ipc lock …`, `ipc sem …`, `ipc event …`, `ipc barrier …`, `ipc cond …`.

use std::{ffi::OsString, time::Duration};

use clap::{Args, Subcommand, ValueHint};

use super::values::{Make, Try, duration};

/// What can be done with a lock.
#[derive(Debug, Subcommand)]
pub(crate) enum LockVerb {
    Run(LockRun),
    Create(LockCreate),
}

/// What can be done with a semaphore.
#[derive(Debug, Subcommand)]
pub(crate) enum SemVerb {
    Create(SemCreate),
    Acquire(SemAcquire),
    Release(SemRelease),
    Value(SemValue),
    Run(SemRun),
}

/// What can be done with an event.
#[derive(Debug, Subcommand)]
pub(crate) enum EventVerb {
    Create(EventCreate),
    Set(EventSet),
    Clear(EventClear),
    Wait(EventWait),
}

/// What can be done with a barrier.
#[derive(Debug, Subcommand)]
pub(crate) enum BarrierVerb {
    Create(BarrierCreate),
    Wait(BarrierWait),
    Abort(BarrierAbort),
    Reset(BarrierReset),
}

/// What can be done with a condition.
#[derive(Debug, Subcommand)]
pub(crate) enum CondVerb {
    Create(CondCreate),
    Notify(CondNotify),
}

/// What is run while something is held.
#[derive(Debug, Args)]
pub(crate) struct Wrapped {
    /// Exit code when it is not to be had, instead of 6 (--nonblock) and 5 (--timeout)
    #[arg(long, short = 'E', value_name = "CODE")]
    pub(crate) conflict_exit_code: Option<u8>,
    /// The command and its arguments; write -- before them
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "COMMAND",
        value_hint = ValueHint::CommandWithArguments
    )]
    pub(crate) command: Vec<OsString>,
}

/// Run a command while holding a lock, as flock(1) does
///
/// Holds the lock alone, or with --shared together with others that do the same. A lock that is missing is made. Ends with
/// the command's exit code: 128+n when signal n killed it, 127 when there is no such command, 126 when it cannot be run.
#[derive(Debug, Args)]
#[command(after_help = "\
SIGINT, SIGTERM and SIGHUP are passed on to the command, and the lock is released
when it has ended. (Ctrl-C reaches the command from the terminal, so that one is
not passed on.) If `ipc` itself is killed with SIGKILL, the lock is to be had again
within about 100 ms, and the command is sent SIGTERM, which it may ignore. What the
command starts in the background goes on without the lock.

If an earlier holder was killed, a warning says so; --keep-inconsistent leaves it to
the next holder too.

NAME may also be a lock that a program made: a read-write lock without a value (the
kind made here), or a lock or recursive lock without a value, which cannot be shared.

Examples:
    ipc lock run deploy -- make install
    ipc lock run -n backup -- rsync -a /home /backup || echo 'runs already'
    ipc lock run -s -w 2s data -- sort data.txt
    ipc lock run -n -E 0 hourly -- ./job.sh      # a conflict is no failure")]
pub(crate) struct LockRun {
    /// The lock's name
    pub(crate) name: String,
    /// Hold it together with others that share it
    #[arg(long, short)]
    pub(crate) shared: bool,
    #[command(flatten)]
    pub(crate) attempt: Try,
    /// Also warn the next holder, if a holder was killed
    #[arg(long)]
    pub(crate) keep_inconsistent: bool,
    #[command(flatten)]
    pub(crate) wrapped: Wrapped,
}

/// Create a lock, with settings that `ipc lock run` has no flags for
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc lock create deploy --mode 660 --group 100
    ipc lock create data --participants 1000 --readers 500 --if-missing")]
pub(crate) struct LockCreate {
    /// The lock's name
    pub(crate) name: String,
    /// How many may share it at once; one more waits [default: 96]
    #[arg(long, value_name = "N")]
    pub(crate) readers: Option<usize>,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Create a semaphore with a fixed number of permits
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc sem create builds --permits 4")]
pub(crate) struct SemCreate {
    /// The semaphore's name
    pub(crate) name: String,
    /// How many permits there are
    #[arg(long, short, value_name = "N")]
    pub(crate) permits: usize,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Take a permit and leave it taken, until somebody releases it
///
/// The permit belongs to nobody and does not come back by itself: `ipc sem run` holds one for as long as a command runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc sem acquire builds; make; ipc sem release builds
    ipc sem acquire -n builds || echo 'none left'
    ipc sem acquire -w 2s builds")]
pub(crate) struct SemAcquire {
    /// The semaphore's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) attempt: Try,
}

/// Release a permit that was left taken
///
/// Of a bounded semaphore (the kind that `ipc sem create` makes), only what `ipc sem acquire` or a program left taken can be
/// released: one more is an error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc sem release builds")]
pub(crate) struct SemRelease {
    /// The semaphore's name
    pub(crate) name: String,
}

/// Print how many permits are to be had
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc sem value builds
    ipc sem value builds --json | jq .permits")]
pub(crate) struct SemValue {
    /// The semaphore's name
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run a command while holding a permit
///
/// The permit comes back when the command has ended, and also when this process is killed. Ends with the command's exit
/// code, as `ipc lock run`, and passes signals on as that does.
#[derive(Debug, Args)]
#[command(after_help = "\
A counting semaphore, which only programs make, is refused: a permit of it would be
lost if this process were killed.

Examples:
    ipc sem run builds -- make
    ls *.png | xargs -P 0 -I{} ipc sem run builds -- convert {} {}.jpg
    ipc sem run -w 10s -E 99 builds -- make")]
pub(crate) struct SemRun {
    /// The semaphore's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) attempt: Try,
    #[command(flatten)]
    pub(crate) wrapped: Wrapped,
}

/// Create an event, which is not set
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc event create ready")]
pub(crate) struct EventCreate {
    /// The event's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Set an event: all who wait go on, and so does who comes later
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ./warm-up && ipc event set ready")]
pub(crate) struct EventSet {
    /// The event's name
    pub(crate) name: String,
}

/// Clear an event: who comes from now on waits
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc event clear ready")]
pub(crate) struct EventClear {
    /// The event's name
    pub(crate) name: String,
}

/// Wait until an event is set
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc event wait ready && ./client
    ipc event wait --timeout 500ms ready || echo 'not yet'")]
pub(crate) struct EventWait {
    /// The event's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

/// How long to wait for others. Without it: for ever.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// Give up (exit code 5) after this long: 500ms, 2s, 1m; a number alone is seconds
    #[arg(long, short = 'w', value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// Create a barrier
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc barrier create start --parties 4")]
pub(crate) struct BarrierCreate {
    /// The barrier's name
    pub(crate) name: String,
    /// How many have to come
    #[arg(long, short, value_name = "N")]
    pub(crate) parties: usize,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Wait until all parties have come, and print this one's number, from 0 on
///
/// A party that is killed, stopped by a signal or tired of waiting (--timeout, exit code 5) breaks the barrier: all others
/// end with exit code 10, until somebody resets it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc barrier wait start && ./worker
    [ \"$(ipc barrier wait start)\" = 0 ] && echo 'only one of us says this'
    ipc barrier wait --timeout 30s start || ipc barrier reset start")]
pub(crate) struct BarrierWait {
    /// The barrier's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) limit: Limit,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Break a barrier: all who wait, and all who come, fail until it is reset
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ./prepare || ipc barrier abort start")]
pub(crate) struct BarrierAbort {
    /// The barrier's name
    pub(crate) name: String,
}

/// Make a barrier as new; those who wait at it fail
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc barrier reset start")]
pub(crate) struct BarrierReset {
    /// The barrier's name
    pub(crate) name: String,
}

/// Create a condition
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc cond create changed --waiters 1000")]
pub(crate) struct CondCreate {
    /// The condition's name
    pub(crate) name: String,
    /// How many threads may wait at once; one more is refused [default: 128]
    #[arg(long, value_name = "N")]
    pub(crate) waiters: Option<usize>,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Wake threads that wait on a condition, those first that have waited longest, and print how many
///
/// Waiting takes a lock that is held, so it is left to programs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc cond notify changed
    ipc cond notify changed --all")]
pub(crate) struct CondNotify {
    /// The condition's name
    pub(crate) name: String,
    /// Wake at the most this many
    #[arg(
        long,
        short,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "all"
    )]
    pub(crate) count: usize,
    /// Wake all
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Becomes a command that ends with its parent.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The parent's process id
    #[arg(long)]
    pub(crate) parent: u32,
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<OsString>,
}

/// Repairs what this process left in an object before it became this, and ends as if by a signal.
#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// The object's name
    pub(crate) name: String,
    /// The signal's number
    #[arg(long)]
    pub(crate) signal: i32,
}
