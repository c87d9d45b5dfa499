//! `ipc queue …`.

use std::{ffi::OsString, time::Duration};

use clap::{Args, Subcommand};
use ipc_core::Kind;

use super::values::{Look, Make, Wait, duration, size};

/// What can be done with a queue.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Create(Create),
    Put(Put),
    Get(Get),
    Peek(Peek),
    Close(Close),
    Dead(Dead),
}

/// Create a queue of byte messages: first in, first out, unless told otherwise
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc queue create jobs --capacity 1024
    ipc queue create frames --capacity 16 --memory 64MiB --mode 660
    ipc queue create pages --capacity 64 --lifo
    ipc queue create tasks --priority
    ipc queue create work --joinable --lease-time 30s --max-attempts 5")]
pub(crate) struct Create {
    /// The queue's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) order: Order,
    /// How many messages it holds at the most
    #[arg(long, short, value_name = "N", default_value_t = 1024)]
    pub(crate) capacity: usize,
    /// Memory for messages longer than a cell; also the length of the longest message [default: 1MiB]
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<usize>,
    /// The longest message that a cell carries itself, up to 232 bytes, or 224 with --lifo or --priority [default: that]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) inline: Option<usize>,
    /// With --joinable: how long a worker may keep a job [default: no end]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "joinable")]
    pub(crate) lease_time: Option<Duration>,
    /// With --joinable: how often a job is delivered before it becomes a dead letter [default: 3]
    #[arg(long, value_name = "N", requires = "joinable")]
    pub(crate) max_attempts: Option<u32>,
    /// With --joinable: how many jobs may be worked on, wait for another attempt, or be dead letters at once
    /// [default: the capacity, but 32 to 1024]
    #[arg(long, value_name = "N", requires = "joinable")]
    pub(crate) leases: Option<usize>,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Which message comes out first. Without a flag: the oldest.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Order {
    /// Last in, first out
    #[arg(long)]
    lifo: bool,
    /// Lowest priority first, and first in, first out among equals; `put` gives messages their priority
    #[arg(long)]
    priority: bool,
    /// First in, first out, of jobs: one that is not reported as done is delivered again
    #[arg(long)]
    joinable: bool,
}

impl Order {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self { lifo: true, .. } => Kind::LifoQueue,
            Self { priority: true, .. } => Kind::PriorityQueue,
            Self { joinable: true, .. } => Kind::JoinableQueue,
            _ => Kind::Queue,
        }
    }
}

/// Put messages into a queue: the arguments, or else standard input line by line
///
/// A line is put as soon as it arrives, without its newline. When this command is stopped, when the queue is closed, or when
/// an error comes, it says how many messages were put; these are in the queue.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    seq 1000000 | ipc queue put jobs
    ipc queue put jobs 'a message' 'and another'
    find . -name '*.png' -print0 | ipc queue put jobs --null
    ipc queue put images --raw < photo.png
    ipc queue put tasks --priority -1 'put out the fire'
    tail -f log | ipc queue put lines --timeout 1s")]
pub(crate) struct Put {
    /// The queue's name
    pub(crate) name: String,
    /// The messages; standard input is not read then
    #[arg(value_name = "MESSAGE")]
    pub(crate) messages: Vec<OsString>,
    /// Priority of the messages in a priority queue: a whole number, the lowest comes first. A JSON message may have its
    /// own as "priority" [default: 0]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i64>,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Get messages out of a queue and print them: one, unless told otherwise
///
/// Nothing is lost when this command is stopped, when the reader of a pipe goes away, or when the disk is full: messages
/// that did not get through go back to the end of the queue (onto the top of a --lifo one, behind their equals in a --priority
/// one), or, if that is closed or full, into a queue NAME.rescued-PID.
#[derive(Debug, Args)]
#[command(after_help = "\
With --all, the first 1024 messages go into a pipe one by one, at the pace of its
reader, so that `| head -n 3` takes three. After that they go in batches, and what
the reader has read ahead is its own.

Examples:
    ipc queue get jobs
    ipc queue get jobs --all | sort -n
    ipc queue get jobs --count 10 --timeout 2s --json
    while job=$(ipc queue get jobs); do make \"$job\"; done")]
pub(crate) struct Get {
    /// The queue's name
    pub(crate) name: String,
    /// Get this many
    #[arg(
        long,
        short,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "all"
    )]
    pub(crate) count: u64,
    /// Get all, until the queue is closed and empty
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Fail unless the queue is --joinable, from which a line is gone only once it was written: if this command is killed before,
    /// somebody else gets it
    #[arg(long)]
    pub(crate) lease: bool,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Print the message that comes first and leave it in the queue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc queue peek jobs || echo 'nothing to do'")]
pub(crate) struct Peek {
    /// The queue's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// Print the dead letters of a --joinable queue: jobs that were delivered as often as is allowed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc queue dead work             # they stay
    ipc queue dead work --take > given-up
    ipc queue dead work --requeue   # with all their attempts before them")]
pub(crate) struct Dead {
    /// The queue's name
    pub(crate) name: String,
    /// Remove them
    #[arg(long, conflicts_with = "requeue")]
    pub(crate) take: bool,
    /// Print nothing and make them jobs again
    #[arg(long)]
    pub(crate) requeue: bool,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// Close queues for all processes: puts fail from now on, gets drain what is there
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc queue close jobs      # `ipc queue get jobs --all` ends once it is empty")]
pub(crate) struct Close {
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}
