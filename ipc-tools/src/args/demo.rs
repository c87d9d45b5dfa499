//! `ipc demo`, and the processes that it starts.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::values::size;

/// Count the words of files with processes that get killed, and check that nothing is lost
///
/// A producer process cuts the files into chunks of text and puts them into a queue; worker processes get them, count, and
/// put the counts into another. Meanwhile workers are killed (SIGKILL) right after they took a chunk, and replaced; their
/// chunks are given out again. The totals are compared with those of a single process that reads the files by itself.
///
/// A kill counts when it cost the worker the chunk in its hand. Files that are too small for the kills asked for are counted
/// again and again, each time checked, for at most 10 seconds; if they are smaller than 64 KiB, each worker counts its chunk
/// several times, so that there is work to be killed in.
///
/// A word is a run of letters and digits (Unicode), in lower case. Bytes that are not UTF-8 separate words; a run longer than
/// 1024 bytes is cut there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc demo /usr/share/dict/words
    ipc demo --kill 20 --workers 8 --json *.txt")]
pub(crate) struct Demo {
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// How many workers to kill with a chunk in their hands
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) kill: u32,
    /// How many worker processes [default: one a core, at least 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) workers: Option<u32>,
    /// Count the files at least this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// The longest chunk: 4K to 256K
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = size)]
    pub(crate) chunk: usize,
    /// How many of the most frequent words to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The process that feeds chunks.
#[derive(Debug, Args)]
pub(crate) struct Producer {
    /// Which time the files are counted
    #[arg(long)]
    pub(crate) pass: u32,
    #[arg(long)]
    pub(crate) chunk: usize,
    /// The coordinator; this process ends with it
    #[arg(long)]
    pub(crate) parent: u32,
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// A process that counts chunks.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Tells workers apart; no two have the same
    #[arg(long)]
    pub(crate) id: u64,
    /// How often it counts each chunk
    #[arg(long)]
    pub(crate) times: u64,
    /// The coordinator; this process ends with it
    #[arg(long)]
    pub(crate) parent: u32,
}
