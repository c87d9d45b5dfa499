//! How a process is to be started.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use nix::sys::signal::Signal;

use super::{
    Process,
    callable::{Function, Worker, check, work},
    child::{Newborn, Pipes},
    children::Children,
    entry::{self, entry_of},
    letter::ParentDeath,
    start::by,
    status::{Exit, SpawnError},
};
use crate::{error::Error, message::Message, os::child};

/// What a process's standard input, output or error is.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// That of this process. The default.
    #[default]
    Inherit,
    /// Nothing: reads find the end, what is written is gone.
    Null,
    /// A file, a pipe, a socket.
    Descriptor(Arc<OwnedFd>),
}

impl<D: Into<OwnedFd>> From<D> for Stdio {
    /// Any that can be a descriptor: a [`File`](std::fs::File), an end of a [`pipe`](std::io::pipe), a socket. A pipe's end stays open
    /// in this process as long as the builder that has it.
    fn from(descriptor: D) -> Self {
        Self::Descriptor(Arc::new(descriptor.into()))
    }
}

/// A change of the environment.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Clear,
    Set(OsString, OsString),
    Remove(OsString),
}

/// Settings for a process, from [`Process::builder`].
///
/// A builder can start any number of processes.
///
/// ```no_run
/// use ipc_core::{Process, current_process};
/// use std::io::Read;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init();
///     let (mut reader, writer) = std::io::pipe()?;
///     let crier = Process::builder()
///         .name("crier")
///         .env("GREETING", "hello")
///         .stdout(writer)
///         .spawn(|| println!("{} from {}", std::env::var("GREETING").unwrap(), current_process().name()), ())?;
///     crier.join()?;
///     let mut said = String::new();
///     reader.read_to_string(&mut said)?;
///     assert_eq!(said, "hello from crier\n");
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "settings start nothing until `spawn`, `start` or `command`"]
pub struct ProcessBuilder {
    pub(super) name: Option<String>,
    pub(super) is_daemon: bool,
    pub(super) environment: Vec<Change>,
    pub(super) streams: [Stdio; 3],
    pub(super) directory: Option<PathBuf>,
    parent_death: Option<ParentDeath>,
    pub(super) leads_group: bool,
}

impl ProcessBuilder {
    /// What [`current_process`](crate::current_process) says there, and what logs and errors call it. Any text; need not be unique. Default:
    /// `Process-3` for the third that this process starts, and `Process-3:1` for the first that this one starts.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it ends with this process: at a normal exit by `SIGTERM` (and one second later by `SIGKILL`), and also when this process is
    /// killed. Others are waited for at a normal exit. Default: no.
    pub fn daemon(mut self, is_daemon: bool) -> Self {
        self.is_daemon = is_daemon;
        self
    }

    /// What happens to it when this process is killed. Default: a daemon is killed, others go on.
    pub fn parent_death(mut self, what: ParentDeath) -> Self {
        self.parent_death = Some(what);
        self
    }

    /// Has it begin a process group of its own, with its number: signals of a terminal (Ctrl-C) do not reach it, and what is sent to the group
    /// reaches all that it starts itself, unless those leave. Default: the group of this process.
    pub fn new_group(mut self) -> Self {
        self.leads_group = true;
        self
    }

    /// Sets a variable of its environment, which is otherwise that of this process at the start.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (key, value) = (key.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.push(Change::Set(key, value));
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment
            .push(Change::Remove(key.as_ref().to_owned()));
        self
    }

    /// Empties its environment, but for what is [set](Self::env) afterwards.
    pub fn env_clear(mut self) -> Self {
        self.environment.push(Change::Clear);
        self
    }

    /// Its working directory. Default: that of this process.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Its standard input.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.streams[0] = stdin.into();
        self
    }

    /// Its standard output.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.streams[1] = stdout.into();
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.streams[2] = stderr.into();
        self
    }

    /// Starts this program again, in a new process, which runs `function` with these arguments and ends. See [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// [`SpawnError`].
    pub fn spawn<F, A>(&self, function: F, arguments: A) -> Result<Process<F::Output>, SpawnError>
    where
        F: Function<A, Output: Message>,
        A: Message + Send + 'static,
    {
        const { check::<F>() };
        self.launch(entry_of::<F, A>(&function), arguments, "Process")
    }

    /// Starts this program again, in a new process, which runs `worker` and ends. It is called after its type: `Greeter-1`.
    ///
    /// # Errors
    ///
    /// [`SpawnError`].
    pub fn start<W: Worker>(&self, worker: W) -> Result<Process<W::Output>, SpawnError> {
        let type_name = core::any::type_name::<W>();
        let type_name = type_name.split('<').next().unwrap_or(type_name);
        let stem = type_name.rsplit("::").next().unwrap_or(type_name);
        self.launch(entry_of::<_, (W,)>(&work::<W>), (worker,), stem)
    }

    /// Starts another program as a child that is looked after like the others. What is set here goes before what `command` says; its streams are
    /// those of the command where nothing is set here.
    ///
    /// # Errors
    ///
    /// [`SpawnError::Failed`]: there is no such program, or the system refused.
    pub fn command(&self, mut command: Command) -> Result<Process<Exit>, SpawnError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |e: io::Error| SpawnError::Failed(Error::from_io(&program, "start", &e));
        self.adapt(&mut command).map_err(failed)?;
        let children = Children::this();
        let thread = children.thread().map_err(failed)?;
        let name = self.name_for("Process", children.next());
        let mut start = move |signal| child::start_command(&mut command, signal);
        let started = match self.parting() {
            None => start(None),
            Some(signal) => by(&thread, move || start(Some(signal))),
        };
        let mut started = started.map_err(failed)?;
        let newborn = Newborn {
            name,
            is_daemon: self.is_daemon,
            letter: None,
            kept: None,
            pipes: Pipes {
                stdin: started.stdin.take(),
                stdout: started.stdout.take(),
                stderr: started.stderr.take(),
            },
        };
        let child = children.adopt(started.id(), newborn).map_err(failed)?;
        Ok(Process::of_command(child))
    }

    /// Brings the settings into another program's.
    fn adapt(&self, command: &mut Command) -> io::Result<()> {
        for change in &self.environment {
            match change {
                Change::Clear => command.env_clear(),
                Change::Set(key, value) => command.env(key, value),
                Change::Remove(key) => command.env_remove(key),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if self.leads_group {
            command.process_group(0);
        }
        let set = [Command::stdin, Command::stdout, Command::stderr];
        for (stream, set) in self.streams.iter().zip(set) {
            match stream {
                Stdio::Inherit => {}
                Stdio::Null => drop(set(command, std::process::Stdio::null())),
                Stdio::Descriptor(fd) => drop(set(command, fd.try_clone()?.into())),
            }
        }
        Ok(())
    }

    pub(super) fn policy(&self) -> ParentDeath {
        let default = match self.is_daemon {
            true => ParentDeath::Kill,
            false => ParentDeath::Continue,
        };
        self.parent_death.unwrap_or(default)
    }

    pub(super) fn parting(&self) -> Option<Signal> {
        entry::parting_signal(self.policy())
    }
}
