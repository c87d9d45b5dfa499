//! What a worker tells about a job.

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::exit;

const SIGKILL: i32 = Signal::KILL.as_raw();
const SIGTERM: i32 = Signal::TERM.as_raw();

/// What became of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) end: End,
    pub(super) started_unix_ns: u64,
    pub(super) runtime_ns: u64,
    pub(super) slot: usize,
    /// Whether all that it has started has ended, so that nobody writes into its files any more.
    pub(super) is_alone: bool,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// There is no such program, or it cannot be executed: the exit code that says so.
    NotRun(u8),
    /// The worker was told to end it, or not to start it.
    Stopped,
    /// Its workers were killed.
    Lost,
    /// No job can be run so: why.
    Trouble(String),
}

impl Report {
    /// Of a job whose workers were killed.
    pub(super) fn of_lost() -> Self {
        Self {
            end: End::Lost,
            started_unix_ns: 0,
            runtime_ns: 0,
            slot: 0,
            is_alone: false,
        }
    }
}

impl End {
    pub(super) fn is_success(&self) -> bool {
        self.exit_code() == 0
    }

    /// As a shell has it: 0 only if all went well.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Code(code) => (*code & 0xff) as u8,
            Self::Signal(signal) => exit::of_signal(*signal),
            Self::TimedOut => exit::of_late(),
            Self::NotRun(code) => *code,
            Self::Lost | Self::Stopped | Self::Trouble(_) => exit::of_signal(SIGKILL),
        }
    }

    /// Exit code and signal, as GNU parallel logs them.
    pub(super) fn for_the_log(&self) -> (i32, i32) {
        match self {
            Self::Code(code) => (*code, 0),
            Self::Signal(signal) => (0, *signal),
            Self::TimedOut => (-1, SIGTERM),
            Self::NotRun(code) => (i32::from(*code), 0),
            Self::Lost | Self::Stopped | Self::Trouble(_) => (-1, SIGKILL),
        }
    }
}
