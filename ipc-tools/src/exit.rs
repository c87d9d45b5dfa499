//! How a command can fail, what it says then, and the exit code: the only place that knows these numbers.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use ipc_core::{
    AcquireTimeoutError, BarrierError, DictError, ErrorKind, GetError, GetJobError,
    GetJobTimeoutError, GetTimeoutError, PoolError, PutTimeoutError, RecvError, TakeError,
    TryAcquireError, TryGetError, TryGetJobError, TryPutError,
};

/// What the shell sees in `$?`. A signal adds 128 to its number, as in every shell.
mod code {
    pub(super) const OK: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const NOT_FOUND: u8 = 3;
    pub(super) const EXISTS: u8 = 4;
    pub(super) const TIMEOUT: u8 = 5;
    pub(super) const WOULD_BLOCK: u8 = 6;
    pub(super) const CLOSED: u8 = 7;
    pub(super) const PERMISSION: u8 = 8;
    pub(super) const UNUSABLE: u8 = 9;
    pub(super) const PROBLEMS: u8 = 10;
    /// A command is there and cannot be run, or is not there: as in every shell.
    pub(super) const NOT_EXECUTABLE: u8 = 126;
    pub(super) const NO_COMMAND: u8 = 127;
    pub(super) const SIGNAL: u8 = 128;
    /// Jobs that took too long, as timeout(1) has it.
    pub(super) const LATE: u8 = 124;
    /// Where small numbers count jobs that failed.
    pub(super) const OF_A_RUN: u8 = 255;
}

/// Shorthand for what every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Object(#[from] ipc_core::Error),
    #[error("{0} before the timeout")]
    Timeout(&'static str),
    #[error("{0}")]
    WouldBlock(&'static str),
    #[error("{0}")]
    Closed(&'static str),
    #[error("{0}")]
    InUse(String),
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Exists(String),
    #[error("stopped by {}", signal_hook::low_level::signal_name(*.0).unwrap_or("a signal"))]
    Signal(i32),
    /// Whoever read our output went away, which is how `| head` says that it has enough.
    #[error("nobody reads the output any more")]
    BrokenPipe,
    #[error("could not write the output: {0}")]
    Output(io::Error),
    #[error("could not read the input: {0}")]
    Input(io::Error),
    #[error("{0}")]
    Other(String),
    /// Said already, one message each.
    #[error("{} of {of} failed", .failures.len())]
    Several { of: usize, failures: Vec<Failure> },
    #[error("{count} problem(s) found; `ipc doctor --fix` repairs {fixable} of them")]
    Problems { count: usize, fixable: usize },
    #[error("{0}")]
    WrongKind(String),
    #[error("{0}")]
    Broken(BarrierError),
    /// What a wrapped command said is all there is to say.
    #[error("the command ended with exit code {0}")]
    Command(u8),
    #[error("could not run {command}: {error}")]
    NotRun { command: String, error: io::Error },
    /// A failure for which the caller chose the exit code.
    #[error("{failure}")]
    As { code: u8, failure: Box<Failure> },
    #[error("{failure}; {done}")]
    After { done: String, failure: Box<Failure> },
}

impl Failure {
    /// Adds what had been done by then.
    pub(crate) fn after(self, done: impl Into<String>) -> Self {
        Self::After {
            done: done.into(),
            failure: Box::new(self),
        }
    }

    /// How `status` looks to the shell.
    pub(crate) fn of_command(status: ExitStatus) -> Outcome {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(Self::Command(u8::try_from(code).unwrap_or(code::ERROR))),
            (None, Some(number)) => Err(Self::Command(of_signal(number))),
            (None, None) => Err(Self::Command(code::ERROR)),
        }
    }

    /// Gives the failure to get what others have this exit code, if there is one.
    pub(crate) fn with_conflict_code(self, code: Option<u8>) -> Self {
        match (self, code) {
            (failure @ (Self::Timeout(_) | Self::WouldBlock(_)), Some(code)) => Self::As {
                code,
                failure: Box::new(failure),
            },
            (failure, _) => failure,
        }
    }

    /// Gives it another exit code where those up to 101 count jobs that failed, unless it has one that nobody takes for that.
    pub(crate) fn of_a_run(self) -> Self {
        if self.is_plain_in_a_run() {
            return self;
        }
        Self::As {
            code: code::OF_A_RUN,
            failure: Box::new(self),
        }
    }

    fn is_plain_in_a_run(&self) -> bool {
        match self {
            Self::After { failure, .. } => failure.is_plain_in_a_run(),
            Self::Signal(_) | Self::BrokenPipe | Self::Command(_) | Self::Usage(_) => true,
            Self::NotRun { .. } | Self::As { .. } => true,
            _ => false,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Object(e) => of_kind(e.kind()),
            Self::Timeout(_) => code::TIMEOUT,
            Self::WouldBlock(_) | Self::InUse(_) | Self::Full(_) => code::WOULD_BLOCK,
            Self::Usage(_) => code::USAGE,
            Self::NotFound(_) => code::NOT_FOUND,
            Self::Denied(_) => code::PERMISSION,
            Self::Exists(_) => code::EXISTS,
            Self::Closed(_) => code::CLOSED,
            Self::Signal(number) => of_signal(*number),
            Self::BrokenPipe => code::OK,
            Self::Output(_) | Self::Input(_) | Self::Other(_) => code::ERROR,
            Self::Several { failures, .. } => failures.first().map_or(code::ERROR, Self::code),
            Self::Problems { .. } | Self::Broken(_) => code::PROBLEMS,
            Self::WrongKind(_) => code::UNUSABLE,
            Self::Command(code) | Self::As { code, .. } => *code,
            Self::NotRun { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => code::NO_COMMAND,
                _ => code::NOT_EXECUTABLE,
            },
            Self::After { failure, .. } => failure.code(),
        }
    }
}

/// The exit code of a job whose program is not there, or cannot be executed.
pub(crate) fn of_not_run(is_missing: bool) -> u8 {
    match is_missing {
        true => code::NO_COMMAND,
        false => code::NOT_EXECUTABLE,
    }
}

/// That of a job that took too long.
pub(crate) fn of_late() -> u8 {
    code::LATE
}

/// How an end by a signal looks to the shell.
pub(crate) fn of_signal(number: i32) -> u8 {
    code::SIGNAL.wrapping_add(u8::try_from(number).unwrap_or(0))
}

fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => code::USAGE,
        ErrorKind::NotFound => code::NOT_FOUND,
        ErrorKind::Exists => code::EXISTS,
        ErrorKind::Permission => code::PERMISSION,
        ErrorKind::Unusable => code::UNUSABLE,
        ErrorKind::InUse => code::WOULD_BLOCK,
        _ => code::ERROR,
    }
}

/// Tells people what went wrong, and the shell which sort of thing it was.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::from(code::OK);
    };
    if !matches!(failure, Failure::BrokenPipe | Failure::Command(_)) {
        say(&failure);
    }
    ExitCode::from(failure.code())
}

/// Ends this process at once with a failure, whatever its threads are doing.
pub(crate) fn now(failure: &Failure) -> ! {
    say(failure);
    std::process::exit(i32::from(failure.code()))
}

/// What clap has to say: help and versions are no errors.
pub(crate) fn usage(e: &clap::Error) -> ExitCode {
    // Nothing is left to do when even that cannot be written.
    let _ = e.print();
    ExitCode::from(if e.use_stderr() {
        code::USAGE
    } else {
        code::OK
    })
}

/// A line for people, on standard error.
pub(crate) fn say(message: impl std::fmt::Display) {
    use std::io::Write;
    // With standard error gone there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "ipc: {message}");
}

impl From<GetError> for Failure {
    fn from(e: GetError) -> Self {
        match e {
            GetError::Closed => Self::Closed("the queue is closed and empty"),
            GetError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<TryGetError> for Failure {
    fn from(e: TryGetError) -> Self {
        match e {
            TryGetError::Empty => Self::WouldBlock("the queue is empty"),
            TryGetError::Closed => GetError::Closed.into(),
            TryGetError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<GetTimeoutError> for Failure {
    fn from(e: GetTimeoutError) -> Self {
        match e {
            GetTimeoutError::Timeout => Self::Timeout("no message came"),
            GetTimeoutError::Closed => GetError::Closed.into(),
            GetTimeoutError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<GetJobError> for Failure {
    fn from(e: GetJobError) -> Self {
        match e {
            GetJobError::Closed => Self::Closed("the queue is closed and every job is finished"),
            GetJobError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<TryGetJobError> for Failure {
    fn from(e: TryGetJobError) -> Self {
        match e {
            TryGetJobError::Empty => Self::WouldBlock("the queue is empty"),
            TryGetJobError::NoLease => {
                Self::WouldBlock("as many jobs are leased as the queue allows")
            }
            TryGetJobError::Closed => GetJobError::Closed.into(),
            TryGetJobError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<GetJobTimeoutError> for Failure {
    fn from(e: GetJobTimeoutError) -> Self {
        match e {
            GetJobTimeoutError::Timeout => Self::Timeout("no job came"),
            GetJobTimeoutError::Closed => GetJobError::Closed.into(),
            GetJobTimeoutError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl<T> From<TryPutError<T>> for Failure {
    fn from(e: TryPutError<T>) -> Self {
        match e {
            TryPutError::Full(_) => Self::WouldBlock("the queue is full"),
            TryPutError::Closed(_) => Self::Closed("the queue is closed"),
            TryPutError::Failed { error, .. } => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl<T> From<PutTimeoutError<T>> for Failure {
    fn from(e: PutTimeoutError<T>) -> Self {
        match e {
            PutTimeoutError::Timeout(_) => Self::Timeout("no room came free in the queue"),
            PutTimeoutError::Closed(_) => Self::Closed("the queue is closed"),
            PutTimeoutError::Failed { error, .. } => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<TakeError> for Failure {
    fn from(e: TakeError) -> Self {
        match e {
            TakeError::InUse { .. } => Self::InUse(e.to_string()),
            TakeError::NoSuchEnd { .. } => Self::WrongKind(e.to_string()),
            TakeError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<RecvError> for Failure {
    fn from(e: RecvError) -> Self {
        match e {
            RecvError::EndOfFile => Self::Closed("nobody sends any more"),
            RecvError::InUse { .. } => Self::InUse(e.to_string()),
            RecvError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<DictError> for Failure {
    fn from(e: DictError) -> Self {
        match e {
            DictError::Failed(e) => (*e).into(),
            DictError::NoSpace { .. } => Self::Full(e.to_string()),
            DictError::Decode(_) => Self::WrongKind(e.to_string()),
            DictError::Timeout => Self::Timeout("another writer of the dictionary was in the way"),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<TryAcquireError> for Failure {
    fn from(e: TryAcquireError) -> Self {
        match e {
            TryAcquireError::WouldBlock => Self::WouldBlock("somebody else has it"),
            TryAcquireError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<AcquireTimeoutError> for Failure {
    fn from(e: AcquireTimeoutError) -> Self {
        match e {
            AcquireTimeoutError::Timeout => Self::Timeout("it did not come free"),
            AcquireTimeoutError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(e: PoolError) -> Self {
        match e {
            PoolError::Failed(e) => e.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<BarrierError> for Failure {
    fn from(e: BarrierError) -> Self {
        match e {
            BarrierError::Timeout => {
                Self::Timeout("not all parties came").after("the barrier is broken now")
            }
            BarrierError::Failed(e) => e.into(),
            broken => Self::Broken(broken),
        }
    }
}
