//! `ipc pipe …`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::values::{Look, Make, Wait, size};

/// What can be done with a pipe.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Create(Create),
    Send(Send),
    Recv(Recv),
    Cat(Cat),
}

/// Create a pipe, if it is to be other than `send`, `recv` and `cat` make it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc pipe create log --capacity 16MiB
    ipc pipe create talk --duplex --mode 660")]
pub(crate) struct Create {
    /// The pipe's name
    pub(crate) name: String,
    /// Bytes that each direction holds, a few more a message included; also limits the longest message [default: 64KiB]
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub(crate) capacity: Option<usize>,
    /// Two directions, for `ipc pipe cat`
    #[arg(long)]
    pub(crate) duplex: bool,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// Send messages into a pipe: the arguments, or else standard input line by line
///
/// Makes the pipe if there is none. Waits for a receiver only when the pipe is full: what was sent stays in the pipe. Ends with 7 when the
/// receiver has gone. One process may send at a time; another one gets 6.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    tail -f log | ipc pipe send log
    ipc pipe send log 'a message' 'and another'
    ipc pipe send image --raw < photo.png")]
pub(crate) struct Send {
    /// The pipe's name
    pub(crate) name: String,
    /// The messages; standard input is not read then
    #[arg(value_name = "MESSAGE")]
    pub(crate) messages: Vec<OsString>,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Receive messages from a pipe and print them, until the sender has gone and all is received
///
/// Makes the pipe if there is none, and removes it in the end. A message that was received and cannot be written is lost, as
/// with any pipe; this command says how many.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc pipe recv log
    ipc pipe recv log --count 10 --timeout 2s
    ipc pipe recv image --raw > photo.png")]
pub(crate) struct Recv {
    /// The pipe's name
    pub(crate) name: String,
    /// Receive this many and leave the rest, and the pipe
    #[arg(long, short, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Leave the pipe in its place when the sender has gone
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Connect standard input and output with another `ipc pipe cat`, as bytes, in both directions
///
/// The two that come first have the pipe; a third one gets 6. Makes the pipe if there is none; ends when both directions
/// have ended, and then removes the pipe.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc pipe cat talk          # in two terminals
    ipc pipe cat sum < numbers &  # answers come back
    awk '{ s += $1 } END { print s }' < <(ipc pipe cat sum < /dev/null)")]
pub(crate) struct Cat {
    /// The pipe's name
    pub(crate) name: String,
}
