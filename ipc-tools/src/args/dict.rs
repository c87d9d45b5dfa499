//! `ipc dict …`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueHint};

use super::values::{Make, duration, size};

/// What can be done with a dictionary.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Create(Create),
    Get(Get),
    Set(Set),
    Del(Del),
    Incr(Incr),
    Cas(Cas),
    Keys(Keys),
    Items(Items),
    Watch(Watch),
    Len(Len),
    Clear(Clear),
    Dump(Dump),
    Load(Load),
}

/// Create a dictionary of text to text, which is empty and grows by itself
#[derive(Debug, Args)]
#[command(after_help = "\
In Rust it is a Dict<String, String>.

Examples:
    ipc dict create config
    ipc dict create pages --limit 1GiB --mode 660 --if-missing")]
pub(crate) struct Create {
    /// The dictionary's name
    pub(crate) name: String,
    /// Memory that it may grow to, up to 64 GiB [default: 64MiB]
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub(crate) limit: Option<usize>,
    /// Memory that it has from the beginning, and never gives back [default: 256KiB, or the limit]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) initial: Option<usize>,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// How pairs look on standard output. Without a flag: a line each.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Look {
    /// Keys and values end with a NUL byte, as in find -print0
    #[arg(long, short = '0')]
    pub(crate) null: bool,
    /// A line of JSON each: {"schema":1,"key":…,"value":…}; for a change also "event":…
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the value of a key
///
/// Without such a key: exit code 1, and nothing on standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
A dictionary that a program has made is decoded by the types that it names: keys of String,
Bytes, u32, u64 and i64, and values of these and Vec<u8>, bool, usize, i32 and f64. Others are
refused (exit code 9). Numbers are decimal, bytes are as they are.

Examples:
    ipc dict get config rate
    ipc dict get pages front --raw > front.html
    rate=$(ipc dict get config rate) || rate=100")]
pub(crate) struct Get {
    /// The dictionary's name
    pub(crate) name: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) look: GetLook,
}

/// How a value looks on standard output. Without a flag: a line.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct GetLook {
    /// Nothing behind the value, not even a newline
    #[arg(long)]
    pub(crate) raw: bool,
    /// A line of JSON: {"schema":1,"key":…,"value":…}
    #[arg(long)]
    pub(crate) json: bool,
}

/// Set the value of a key: the argument, or else all of standard input without its last newline
#[derive(Debug, Args)]
#[command(after_help = "\
What `get` prints, `set` reads: `ipc dict get a KEY | ipc dict set b KEY` copies a value, whatever is in it.

Examples:
    ipc dict set config rate 100
    ipc dict set sessions \"$id\" \"$user\" --ttl 30m
    ipc dict set leader host \"$(hostname)\" --new --ttl 10s || ipc dict get leader host
    ipc dict set pages front --raw < front.html
    ipc dict set config options -- --verbose")]
pub(crate) struct Set {
    /// The dictionary's name
    pub(crate) name: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    /// The value; standard input is not read then
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: Option<OsString>,
    /// The pair expires after this long: 500ms, 2s, 1m. Without this it stays, also if the old one was to expire
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// Only if the key has no value; exit code 4 if it has one
    #[arg(long)]
    pub(crate) new: bool,
    /// All of standard input is the value, with its last newline
    #[arg(long, conflicts_with = "value")]
    pub(crate) raw: bool,
}

/// Remove keys
///
/// If there is no such key: exit code 1.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict del config rate
    ipc dict keys sessions guest- -0 | xargs -0 ipc dict del sessions")]
pub(crate) struct Del {
    /// The dictionary's name
    pub(crate) name: String,
    /// The keys
    #[arg(required = true, value_name = "KEY", allow_negative_numbers = true)]
    pub(crate) keys: Vec<OsString>,
}

/// Add to a number as one step, and print the sum
///
/// A key without a value counts as 0. A value that is no number, and a sum that is out of range, are errors (exit code 1), and the value stays as
/// it is. Text is a whole number of 64 bits with a sign; a time to live stays.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict incr counts visits
    ipc dict incr counts stock -3")]
pub(crate) struct Incr {
    /// The dictionary's name
    pub(crate) name: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    /// How much to add
    #[arg(default_value = "1", allow_negative_numbers = true)]
    pub(crate) by: String,
}

/// Replace a value as one step, if it is what was expected
///
/// If it is another one, nothing is changed: exit code 1. The new value does not expire.
#[derive(Debug, Args)]
#[command(
    override_usage = "ipc dict cas NAME KEY OLD NEW\n       ipc dict cas NAME KEY --absent NEW\n       ipc dict cas NAME KEY OLD --remove",
    after_help = "\
Examples:
    ipc dict cas config rate 100 200
    ipc dict cas leader host --absent \"$(hostname)\"
    ipc dict cas leader host \"$(hostname)\" --remove"
)]
pub(crate) struct Cas {
    /// The dictionary's name
    pub(crate) name: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    /// The value that is expected, and the one to be there
    #[arg(value_name = "OLD NEW", num_args = 1..=2, required_unless_present_all = ["absent", "remove"], allow_negative_numbers = true)]
    pub(crate) values: Vec<OsString>,
    /// Instead of OLD: the key has no value
    #[arg(long)]
    pub(crate) absent: bool,
    /// Instead of NEW: the key shall have no value
    #[arg(long)]
    pub(crate) remove: bool,
}

/// Print the keys, in no order
///
/// A key that comes or goes meanwhile may be printed or not; each other is printed once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict keys config
    ipc dict keys sessions guest- | sort
    ipc dict keys config -0 | xargs -0 -n1 ipc dict get config")]
pub(crate) struct Keys {
    /// The dictionary's name
    pub(crate) name: String,
    /// Only those that begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: OsString,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// Print all pairs, in no order: key, tab, value
///
/// A pair that comes or goes meanwhile may be printed or not; `ipc dict dump` prints all as they are at one moment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict items counts | sort -t $'\\t' -k2 -n
    ipc dict items config --json | jq -r .key")]
pub(crate) struct Items {
    /// The dictionary's name
    pub(crate) name: String,
    /// Only those whose keys begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: OsString,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// Print each change from now on: what happened, tab, key, tab, and the value if one was set
///
/// What happened is set, removed or expired (which is told when the pair's memory is taken back). Changes that were missed are counted on
/// standard error: because this was too slow, or a writer was killed in the middle. Ends with --count, or Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict watch config
    ipc dict watch config net. --json | jq -r .value
    ipc dict watch config --key rate --count 1 --timeout 10s")]
pub(crate) struct Watch {
    /// The dictionary's name
    pub(crate) name: String,
    /// Only of keys that begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: OsString,
    /// Only of this key
    #[arg(long, short, conflicts_with = "prefix", allow_negative_numbers = true)]
    pub(crate) key: Option<OsString>,
    /// End after this many
    #[arg(long, short, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Give up (exit code 5) where no change comes for longer than this: 500ms, 2s, 1m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// Print how many pairs there are
///
/// Those that have expired, and whose memory is not free yet, count. Works with dictionaries of all types, and attaches to nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict len config
    ipc dict len config --json | jq .len")]
pub(crate) struct Len {
    /// The dictionary's name
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Remove all pairs, and give their memory back
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc dict clear sessions")]
pub(crate) struct Clear {
    /// The dictionary's name
    pub(crate) name: String,
}

/// Print all pairs as they are at one moment, sorted by key, for `load`: a line of JSON each, {"key": value}
///
/// Programs that write wait until all is copied, about a millisecond for each ten thousand pairs; readers do not. When a pair expires is not printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Text is a JSON string, whatever it says: the text 5 is \"5\". Numbers and bool are JSON's own; floats that JSON
does not have are \"NaN\", \"inf\" and \"-inf\". A key is always a string. Bytes are a string: that text if they are UTF-8 and do
not begin with \"hex:\", else \"hex:\" and hexadecimal digits.

Examples:
    ipc dict dump config > config.jsonl
    ipc dict dump config | ssh other ipc dict load config -")]
pub(crate) struct Dump {
    /// The dictionary's name
    pub(crate) name: String,
}

/// Set pairs from a file, or from standard input with -: a line of JSON each, {"key": value}
///
/// A line is set before the next one is read. At the first that is wrong this ends with exit code 1, says which line that is, and how many pairs were
/// set; these stay. Other keys stay as they are; empty lines mean nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Where values are text, a JSON string is that text, and any other JSON is the text of that JSON as it
stands in the file: 5 and \"5\" are the same text. Otherwise values are as `ipc dict dump --help` says.

Examples:
    ipc dict load config config.jsonl
    jq -c 'to_entries[] | {(.key): .value}' config.json | ipc dict load config -")]
pub(crate) struct Load {
    /// The dictionary's name
    pub(crate) name: String,
    /// The file; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}
