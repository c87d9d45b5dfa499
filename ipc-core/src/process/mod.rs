//! Processes: this program is started again and runs one of its functions.
//!
//! | Python | here |
//! |---|---|
//! | `multiprocessing.freeze_support()` | [`init`], the first line of `main`; needed here |
//! | `Process(target=f, args=(a, b)).start()` | [`Process::spawn`]`(f, (a, b))` |
//! | `Process(name=…, daemon=…)` | [`Process::builder`]`().name(…).daemon(…)` |
//! | a subclass with `run` | [`Worker`], [`Process::start`] |
//! | `subprocess.Popen` | [`Process::command`] |
//! | `join()`, `join(timeout)` | [`Process::join`], which returns what the function did, [`Process::join_timeout`] |
//! | `is_alive()`, `exitcode` | [`Process::is_alive`], [`Process::exit_code`], [`Process::exit`] |
//! | `terminate()`, `kill()` | [`Process::terminate`], [`Process::kill`] |
//! | `name`, `pid`, `daemon`, `sentinel` | [`Process::name`], [`Process::pid`], [`Process::is_daemon`], [`Process::sentinel`] |
//! | `active_children()`, `current_process()`, `parent_process()`, `cpu_count()` | the same names |
//! | `log_to_stderr(level)` | `logging::to_stderr(level)`, with the feature `logging` |
//!
//! How a function is found again is in [`crate::os::image`], what parent and child tell each other in [`letter`], what a child does in
//! [`entry`], and what becomes of children in [`child`] and [`children`].

mod builder;
mod callable;
pub(crate) mod child;
mod children;
mod current;
mod entry;
mod letter;
#[cfg(feature = "logging")]
pub mod logging;
mod program;
mod start;
mod status;

/// Nothing is logged.
#[cfg(not(feature = "logging"))]
mod logging {
    pub(super) fn inherited() -> u8 {
        0
    }

    pub(super) fn inherit(_level: u8) {}

    pub(super) fn begins() {}

    pub(super) fn ends(_code: i32) {}
}

use core::fmt;
use std::{
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;

pub use builder::{ProcessBuilder, Stdio};
pub use callable::{Function, Worker};
pub use current::{CurrentProcess, ParentProcess, cpu_count, current_process, parent_process};
pub use entry::init;
pub use letter::ParentDeath;
pub use status::{Exit, JoinError, Panic, SpawnError};

use self::{
    child::{Child, locked},
    children::Children,
    letter::State,
};
use crate::{
    error::{Error, Result},
    message::Message,
    object::wait::Deadline,
};

/// A process that this one has started, and what comes back from it.
///
/// [`spawn`](Self::spawn) starts this program again, in a new process that shares nothing with this one but the objects whose handles are among the
/// arguments. It works by `exec`, not by `fork` alone: threads and locks of this process are of no consequence. The program has to call
/// [`init`] first in `main`.
///
/// # What travels
///
/// The *function* is any function of the program, or a closure that captures nothing; it need not be marked in any way. *Arguments* and the *return value* are
/// any serde types, of any size. Handles of objects may be among the arguments, also of objects without a name: they are kept open here until
/// the child has its own. A handle that is returned must be of an object that somebody else has, too, as the child is gone when it arrives.
///
/// A closure that captures something does not compile:
///
/// ```compile_fail
/// # use ipc_core::Process;
/// let factor = std::process::id();
/// Process::spawn(move |n: u32| factor * n, (2,)); // give it as an argument
/// ```
///
/// # How it ends
///
/// | the function | [`join`](Self::join) returns | [`exit_code`](Self::exit_code) |
/// |---|---|---|
/// | returns a value | it | 0 |
/// | panics | [`JoinError::Panicked`] with message and place, which are on standard error, too | 1 |
/// | calls `exit(n)` | [`JoinError::Ended`] | n |
/// | is killed by signal n, aborts (6), overflows its stack (6) | [`JoinError::Ended`] | −n |
///
/// A handle that is dropped leaves the process running. Nobody stays a zombie: whom nobody joins a thread `ipc-children` waits for, which this
/// process has from its first child on. It blocks all signals.
///
/// # At the exit of this process
///
/// At a normal exit (`main` returns, or `exit` is called) daemons are terminated, and all others waited for. When this process is killed, daemons
/// are killed with it, by the kernel and wherever they are; others go on. [`ProcessBuilder::parent_death`] changes that.
///
/// # Signals, descriptors, fork
///
/// A child has no signal blocked, and ignores none but hangups, interrupts and quits if this process does so (it may have been started by `nohup`).
/// It has the standard streams of this process, unless told otherwise, and those descriptors that are inheritable; Rust opens none that are. Its
/// arguments (`std::env::args`) and its command name are those of this process.
///
/// Handles in a child that was *forked* from this process refuse to join or end what is not its own; a fork ends no children.
///
/// # Blocking
///
/// [`join`](Self::join) blocks. Starting takes about as long as starting any program of that size: the call returns when the new process executes
/// this program, not when it has begun the function.
///
/// # Example
///
/// ```no_run
/// use ipc_core::{Process, Queue};
///
/// fn squares(numbers: Queue<u64>, count: usize) -> u64 {
///     numbers.iter().take(count).map(|n| n.unwrap().pow(2)).sum()
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init(); // a child runs its function here and exits
///
///     let numbers = Queue::anonymous(100)?;
///     let worker = Process::spawn(squares, (numbers.clone(), 3))?;
///     for n in [3, 4, 5] {
///         numbers.put(n)?;
///     }
///     assert_eq!(worker.join()?, 50);
///     Ok(())
/// }
/// ```
pub struct Process<R = ()> {
    child: Arc<Child>,
    outcome: fn(&Child, Exit) -> Result<R, JoinError>,
}

impl Process {
    /// Starts this program again, in a new process, which runs `function` with these arguments (a tuple, with one element for each parameter) and
    /// ends.
    ///
    /// # Errors
    ///
    /// [`SpawnError::NotInitialised`]: `main` has not called [`init`]. [`SpawnError::NotInProgram`]: the function is a dynamic library's.
    /// [`SpawnError::Encode`]: the arguments' own. [`SpawnError::Failed`]: the system has no process, descriptor, thread or memory left, or an
    /// option is wrong.
    pub fn spawn<F, A>(function: F, arguments: A) -> Result<Process<F::Output>, SpawnError>
    where
        F: Function<A, Output: Message>,
        A: Message + Send + 'static,
    {
        const { callable::check::<F>() };
        Self::builder().spawn(function, arguments)
    }

    /// Starts a process that runs `worker`.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn start<W: Worker>(worker: W) -> Result<Process<W::Output>, SpawnError> {
        Self::builder().start(worker)
    }

    /// Starts another program, as a child like the others. Its [`join`](Self::join) returns how it ended.
    ///
    /// ```
    /// use ipc_core::{Exit, Process};
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "exit 3"]);
    /// assert_eq!(Process::command(command)?.join()?, Exit::Code(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpawnError::Failed`]: there is no such program, or the system refused.
    pub fn command(command: Command) -> Result<Process<Exit>, SpawnError> {
        Self::builder().command(command)
    }

    /// Settings for a process.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::default()
    }
}

impl Process<Exit> {
    fn of_command(child: Arc<Child>) -> Self {
        Self {
            child,
            outcome: |_, exit| Ok(exit),
        }
    }

    /// The pipe to its standard input, if [`command`](Process::command) was given one that asks for that; once.
    #[must_use]
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        locked(&self.child.pipes).stdin.take()
    }

    /// The pipe from its standard output, as [`take_stdin`](Self::take_stdin).
    #[must_use]
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        locked(&self.child.pipes).stdout.take()
    }

    /// The pipe from its standard error, as [`take_stdin`](Self::take_stdin).
    #[must_use]
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        locked(&self.child.pipes).stderr.take()
    }
}

impl<R: Message> Process<R> {
    fn of_function(child: Arc<Child>) -> Self {
        Self {
            child,
            outcome: returned,
        }
    }
}

impl<R> Process<R> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.child.name
    }

    /// Its number, which may be another process's once this one has ended. Nothing here goes by it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Whether it ends with this process.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.child.is_daemon
    }

    /// Whether it has not ended yet. A stopped process is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.child.is_alive()
    }

    /// Blocks until it has ended. Returns what its function returned, decoded anew at each call.
    ///
    /// # Errors
    ///
    /// [`JoinError`]: the function did not return, or what it returned did not arrive.
    pub fn join(&self) -> Result<R, JoinError> {
        match self.child.wait_until(u64::MAX)? {
            Some(exit) => (self.outcome)(&self.child, exit),
            None => unreachable!("there is no such time"),
        }
    }

    /// As [`join`](Self::join), for at most `timeout`; `None` if it runs on.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, JoinError> {
        let exit = self.child.wait_until(Deadline::after(timeout).ns())?;
        exit.map(|exit| (self.outcome)(&self.child, exit))
            .transpose()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// [`JoinError::OfParent`] in a forked child; [`JoinError::System`].
    pub fn exit(&self) -> Result<Option<Exit>, JoinError> {
        self.child.exit()
    }

    /// As Python has it: 0, what it exited with, or −N for signal N; `None` while it runs, or if that is [unknown](Exit::Unknown).
    ///
    /// # Errors
    ///
    /// As [`exit`](Self::exit).
    pub fn exit_code(&self) -> Result<Option<i32>, JoinError> {
        Ok(self.exit()?.and_then(Exit::code))
    }

    /// Sends it `SIGTERM`, which ends it unless its function has arranged for something else. Nothing happens to who has its number when it
    /// has ended already.
    ///
    /// # Errors
    ///
    /// [`JoinError::OfParent`] in a forked child; [`JoinError::System`]: it has changed its user.
    pub fn terminate(&self) -> Result<(), JoinError> {
        self.child.signal(Signal::SIGTERM)
    }

    /// Kills it. What that means for others is what this library is about: nobody else gets stuck.
    ///
    /// # Errors
    ///
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<(), JoinError> {
        self.child.signal(Signal::SIGKILL)
    }

    pub(crate) fn child(&self) -> &Child {
        &self.child
    }
}

impl<R> Clone for Process<R> {
    fn clone(&self) -> Self {
        Self {
            child: Arc::clone(&self.child),
            outcome: self.outcome,
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// What a function's process has left.
fn returned<R: Message>(child: &Child, exit: Exit) -> Result<R, JoinError> {
    let process = child.label();
    let unread = |e: std::io::Error| Error::from_io(&child.label(), "read the result of", &e);
    let Some(letter) = &child.letter else {
        return Err(JoinError::Ended { process, exit });
    };
    let (state, report) = letter.reported().map_err(unread)?;
    match state {
        Some(State::Returned) => {
            entry::decode(report).map_err(|error| JoinError::Decode { process, error })
        }
        Some(State::Panicked) => {
            let panic = postcard::from_bytes(&report);
            let panic = panic.map_err(|_| unread(std::io::ErrorKind::InvalidData.into()))?;
            Err(JoinError::Panicked { process, panic })
        }
        Some(State::Failed) => {
            let why = String::from_utf8_lossy(&report).into_owned();
            Err(JoinError::Failed { process, why })
        }
        Some(State::Sent) if exit.signal().is_none() => {
            Err(JoinError::NotInitialised { process, exit })
        }
        _ => Err(JoinError::Ended { process, exit }),
    }
}

/// The children of this process that run, of all kinds. Their `join` returns how they ended.
#[must_use]
pub fn active_children() -> Vec<Process<Exit>> {
    let all = Children::this().active().into_iter();
    all.map(Process::of_command).collect()
}
