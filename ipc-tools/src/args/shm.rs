//! `ipc shm …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::values::{mode, size};

/// What can be done with a block of shared memory.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Create(Create),
    Dump(Dump),
    Load(Load),
    Rm(Rm),
    Ls(Ls),
}

/// Create a block of raw shared memory, all zero, which other programs open by its name
///
/// In Python: multiprocessing.shared_memory.SharedMemory(name=NAME); in C: shm_open("/NAME", …). The block stays until `ipc shm rm`. Blocks are
/// all users' in one place: --namespace and --dir mean nothing to them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc shm create frame --size 1MiB
    ipc shm create frame --size 4096 --mode 660 --if-missing")]
pub(crate) struct Create {
    /// The block's name, without a slash
    pub(crate) name: String,
    /// Its size in bytes, all of it memory in use
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub(crate) size: usize,
    /// Permissions, in octal [default: 600]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub(crate) mode: Option<u32>,
    /// Group that owns it, by number [default: yours]
    #[arg(long, value_name = "GID")]
    pub(crate) group: Option<u32>,
    /// Do nothing if there is one already, whatever its size
    #[arg(long)]
    pub(crate) if_missing: bool,
}

/// Print the bytes of a block, as they are or in hexadecimal
///
/// Only looks; whoever writes meanwhile may be seen half-way. An offset or count behind the block's end is bad usage (exit code 2).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc shm dump frame > frame.bin
    ipc shm dump frame --hex --offset 64 --count 256")]
pub(crate) struct Dump {
    /// The block's name
    pub(crate) name: String,
    /// Print lines of an offset, 16 bytes in hexadecimal, and the same as text
    #[arg(long)]
    pub(crate) hex: bool,
    /// Begin with this byte
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    pub(crate) offset: usize,
    /// So many bytes [default: all behind the offset]
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub(crate) count: Option<usize>,
}

/// Write a file, or else standard input, into a block
///
/// What is longer than the block is an error (exit code 1): a file is not begun then, of standard input what fits is written. The bytes behind it
/// stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc shm load frame frame.bin
    printf 'go' | ipc shm load frame --offset 64")]
pub(crate) struct Load {
    /// The block's name
    pub(crate) name: String,
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Begin with this byte of the block
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    pub(crate) offset: usize,
}

/// Remove blocks by name
///
/// Nobody can tell whether a block is in use. Who has it open keeps it; its memory is free once the last of them is gone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc shm rm frame
    ipc shm rm --dry-run $(ipc shm ls --json | jq -r '.blocks[].name')")]
pub(crate) struct Rm {
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// List the blocks of this machine, whoever has made them
///
/// RESERVED is how much of a block is in memory. Of one that another program has made, the rest may be found missing by who uses it
/// first when memory is full.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc shm ls
    ipc shm ls --json | jq -r '.blocks[] | select(.size > 1000000) | .name'")]
pub(crate) struct Ls {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
