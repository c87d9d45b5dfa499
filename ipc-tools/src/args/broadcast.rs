//! `ipc pub` and `ipc sub`.

use std::ffi::OsString;

use clap::Args;

use super::values::{Look, Wait, size};

/// What a broadcast is to be, if it is made.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "If there is no such broadcast yet, it is made")]
pub(crate) struct Shape {
    /// so that publishers wait for the slowest subscriber; the default
    #[arg(long, conflicts_with = "lossy")]
    pub(crate) lossless: bool,
    /// so that publishers do not wait, and slow subscribers miss messages
    #[arg(long)]
    pub(crate) lossy: bool,
    /// for so many of the last messages [default: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) capacity: Option<usize>,
    /// with so many bytes for long messages; also limits the longest one [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<usize>,
    /// for so many subscribers at once, if it is lossless [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) subscribers: Option<usize>,
}

/// Publish messages to all who subscribe: the arguments, or else standard input line by line
///
/// Makes the broadcast if there is none. What nobody subscribes to goes to nobody, but the last messages stay for `ipc sub --oldest`.
/// Waits while a subscriber of a lossless broadcast is as many messages behind as it holds; one that died is dropped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    tail -f log | ipc pub log
    ipc pub news --lossy --capacity 16 'a message' 'and another'
    seq 1000 | ipc pub numbers --close     # every `ipc sub numbers` ends")]
pub(crate) struct Pub {
    /// The broadcast's name
    pub(crate) name: String,
    /// The messages; standard input is not read then
    #[arg(value_name = "MESSAGE")]
    pub(crate) messages: Vec<OsString>,
    /// Close it for all processes when all is published: subscribers end once they have received everything
    #[arg(long)]
    pub(crate) close: bool,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

/// Print everything that is published from now on, until the broadcast is closed
///
/// Makes the broadcast if there is none. Says on standard error how many messages it has missed in a lossy one, and goes on. In a lossless
/// one publishers wait for it, and so for who reads its output. `ipc rm` removes the broadcast.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc sub log
    ipc sub log --oldest --count 10 --timeout 2s
    ipc sub log --json | jq .data")]
pub(crate) struct Sub {
    /// The broadcast's name
    pub(crate) name: String,
    /// End after this many
    #[arg(long, short, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Begin with the oldest message that is still there
    #[arg(long)]
    pub(crate) oldest: bool,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) shape: Shape,
}
