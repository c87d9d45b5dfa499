//! Verbs for objects of every kind.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc ls
    ipc ls --json | jq -r '.objects[] | select(.queue.len > 100) | .name'")]
pub(crate) struct Ls {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc stat jobs
    ipc stat jobs --json | jq .objects[0].queue.len")]
pub(crate) struct Stat {
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show who holds an object, who waits for it, and who is attached
///
/// STATE is what a thread does with the object: holding, reading, waiting, notified, or sending and receiving on a pipe; lent is a
/// permit that was left taken and belongs to nobody. A process that does none of these is attached. One that died, and was not swept yet, is dead.
/// PROCESS is what the kernel says now: running, sleeping, stopped, …, or "-" when the process id is of another pid
/// namespace. SINCE is how long that has lasted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc who jobs
    ipc who deploy
    ipc who deploy --json | jq '.visits[] | select(.state == \"waiting\") | .pid'
    ipc who jobs --json | jq '.participants[] | select(.state == \"dead\")'")]
pub(crate) struct Who {
    /// The object's name
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Remove objects
///
/// An object that a living process is attached to is refused (exit code 6) without --force, and so is a file that is no object
/// (exit code 9). Who has a removed object open keeps it; its memory is free once the last of them is gone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc rm jobs results
    ipc rm --dry-run $(ipc ls --json | jq -r '.objects[].name')")]
pub(crate) struct Rm {
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Also remove what is in use or is no object
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Look for what dead processes left and for what keeps objects from working
///
/// Threads that hold what others wait for, in a circle, are reported with the whole circle. A process that waits for its
/// children, as `ipc lock run` does, is stuck with them. Where that is not certain, the circle is a note and no problem.
///
/// Exit code 10 when a problem is found and not repaired. --fix repairs what dead processes left behind and nothing else; it
/// never removes an object that has a name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc doctor
    ipc doctor --fix
    ipc doctor --json | jq '.findings[] | select(.is_problem)'")]
pub(crate) struct Doctor {
    /// Repair what can be repaired
    #[arg(long)]
    pub(crate) fix: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc completions bash > ~/.local/share/bash-completion/completions/ipc
    ipc completions fish > ~/.config/fish/completions/ipc.fish")]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
    ipc man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Directory to write them to; it is made if it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
}
