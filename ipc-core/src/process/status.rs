//! How a process ended, and why starting or joining one failed.

use core::fmt;

use crate::{
    error::Error,
    message::{DecodeError, EncodeError},
    os::child::End,
};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// It ended by itself: 0 after a function that returned, 1 after one that panicked, else what the program gave to `exit`.
    Code(i32),
    /// A signal with this number ended it: 9 for `SIGKILL`, 15 for `SIGTERM`, 6 for an abort.
    Signal(i32),
    /// Nobody can tell: the program ignores `SIGCHLD`, or somebody else has waited for the process.
    Unknown,
}

impl Exit {
    /// Whether it ended by itself, with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// As Python has it: the code, or −N for signal N. `None` if that is [unknown](Self::Unknown).
    #[must_use]
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(signal) => Some(-signal),
            Self::Unknown => None,
        }
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Signal(signal) => Some(signal),
            _ => None,
        }
    }
}

impl From<End> for Exit {
    fn from(end: End) -> Self {
        match end {
            End::Code(code) => Self::Code(code),
            End::Signal(signal) => Self::Signal(signal),
            End::Untold => Self::Unknown,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown status"),
        }
    }
}

/// Why a process was not started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program has not called [`init`](crate::init). Its children would begin like it, and start children in their turn, without end.
    #[error("the program did not call ipc_core::init(); call it first in main")]
    NotInitialised,
    /// The function is part of a library that is loaded at run time. Only the program's own can be found again.
    #[error(
        "{function} is not in the program's own file but in a library, where a new process cannot find it"
    )]
    NotInProgram {
        /// What the compiler calls it.
        function: &'static str,
    },
    /// The arguments' own `Serialize` failed.
    #[error("the arguments: {0}")]
    Encode(#[from] EncodeError),
    /// An option is wrong, or the system refused.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A panic in another process.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Panic {
    /// What the panic said.
    pub message: String,
    /// Where it was, as `file:line:column`. `None` if the program has a panic hook of its own by then.
    pub location: Option<String>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{} ({location})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Why there is no return value of a process.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Its function panicked.
    #[error("{process} panicked: {panic}")]
    Panicked {
        /// The process's name and number.
        process: String,
        /// What it said, and where.
        panic: Panic,
    },
    /// It ended before its function returned: by a signal, or because it called `exit`.
    #[error("{process} ended with {exit} before its function returned")]
    Ended {
        /// The process's name and number.
        process: String,
        /// How it ended.
        exit: Exit,
    },
    /// It ended without having begun: a program that is started again must call [`init`](crate::init) first.
    #[error(
        "{process} ended with {exit}: the program did not call ipc_core::init(); call it first in main"
    )]
    NotInitialised {
        /// The process's name and number.
        process: String,
        /// How it ended.
        exit: Exit,
    },
    /// It could not begin its function, or could not send what that returned.
    #[error("{process} failed: {why}")]
    Failed {
        /// The process's name and number.
        process: String,
        /// What it says.
        why: String,
    },
    /// What it returned cannot be decoded.
    #[error("the return value of {process}: {error}")]
    Decode {
        /// The process's name and number.
        process: String,
        /// What the decoder says.
        error: DecodeError,
    },
    /// This process was forked from the one that started it. Only that one can join it.
    #[error(
        "{process} is a child of the process that this one was forked from; only that one can join it"
    )]
    OfParent {
        /// The process's name and number.
        process: String,
    },
    /// The system refused.
    #[error(transparent)]
    System(#[from] Error),
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_python() {
        assert_eq!(Exit::from(End::Code(3)).code(), Some(3));
        assert_eq!(Exit::from(End::Signal(15)).code(), Some(-15));
        assert_eq!(Exit::from(End::Signal(34)).signal(), Some(34));
        assert_eq!(Exit::from(End::Untold).code(), None);
        assert!(Exit::Code(0).is_success() && !Exit::Unknown.is_success());
    }
}
