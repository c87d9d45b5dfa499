//! How a process is to be started, and starting it.

use std::{
    any::Any,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use nix::sys::signal::Signal;

use super::{
    Process,
    callable::{Function, Worker, work},
    child::{Child, Children, Kept, Newborn, Pipes, Thread},
    current::Current,
    entry::{self, entry_of},
    letter::{Letter, Order, ParentDeath},
    logging,
    status::{Exit, SpawnError},
};
use crate::{
    error::Error,
    message::Message,
    object::lifetime,
    os::{
        child::{self, Environment, Start},
        image::Entry,
    },
};

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

/// What is to be started, beside the settings.
struct Launch<'a> {
    entry: &'static Entry,
    distance: usize,
    number: u32,
    name: &'a str,
    arguments: &'a [u8],
}

/// A change of the environment.
#[derive(Debug, Clone)]
enum Change {
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
    name: Option<String>,
    is_daemon: bool,
    environment: Vec<Change>,
    streams: [Stdio; 3],
    directory: Option<PathBuf>,
    parent_death: Option<ParentDeath>,
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

    /// Starts this program again.
    fn launch<A: Message + Send + 'static, R: Message>(
        &self,
        entry: &'static Entry,
        arguments: A,
        stem: &str,
    ) -> Result<Process<R>, SpawnError> {
        if !entry::is_initialised() {
            return Err(SpawnError::NotInitialised);
        }
        let distance = entry.distance().ok_or(SpawnError::NotInProgram {
            function: entry.name(),
        })?;
        let children = Children::this();
        let number = children.next();
        let name = self.name_for(stem, number);
        let (bytes, has_handles) = lifetime::noting_tickets(|| arguments.encode(<[u8]>::to_vec));
        let bytes = bytes?;
        // Those with handles in them stay until the child has its own.
        let kept = has_handles.then(|| Box::new(arguments) as Box<dyn Any + Send>);
        let launch = Launch {
            entry,
            distance,
            number,
            name: &name,
            arguments: &bytes,
        };
        let started = self.try_launch(children, &launch, kept);
        match started {
            Ok(child) => Ok(Process::of_function(child)),
            Err(e) => {
                let label = format!("process {name:?}");
                Err(SpawnError::Failed(Error::from_io(&label, "start", &e)))
            }
        }
    }

    fn try_launch(
        &self,
        children: &Children,
        launch: &Launch<'_>,
        kept: Option<Box<dyn Any + Send>>,
    ) -> io::Result<Arc<Child>> {
        let thread = children.thread()?;
        let letter = Letter::new()?;
        let (kept, teller) = kept.map(keep).transpose()?.unzip();
        let taken = kept.as_ref().map(|kept| kept.taken.as_raw_fd());
        letter.send(
            &self.order(launch, letter.number(), taken)?,
            launch.arguments,
        )?;
        // What the child needs takes numbers that the parent has and the child does not need.
        let spare = thread.spare.as_raw_fd();
        let mut passed = vec![
            (letter.number(), spare),
            (thread.this_process.as_raw_fd(), letter.number()),
        ];
        passed.extend(teller.as_ref().map(AsRawFd::as_raw_fd).zip(taken));
        let streams = self.opened_streams()?;
        let start = Start {
            environment: self.environment(spare, letter.nonce())?,
            streams: streams
                .each_ref()
                .map(|fd| fd.as_ref().map(AsRawFd::as_raw_fd)),
            passed,
        };
        let pid = match self.parting() {
            None => start.now()?,
            Some(_) => by(&thread, move || start.now())?,
        };
        let newborn = Newborn {
            name: launch.name.to_owned(),
            is_daemon: self.is_daemon,
            letter: Some(letter),
            kept,
            pipes: Pipes::default(),
        };
        children.adopt(pid, newborn)
    }

    fn order(&self, launch: &Launch<'_>, number: i32, taken: Option<i32>) -> io::Result<Order> {
        let current = Current::get();
        let mut identity = current.identity.clone();
        identity.push(launch.number);
        let directory = self.directory.as_ref();
        // Looked at here, where the error is of use.
        if let Some(directory) = directory
            && !std::fs::metadata(directory)?.is_dir()
        {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Order {
            program: current.program,
            function: launch.entry.name().to_owned(),
            distance: launch.distance,
            name: launch.name.to_owned(),
            identity,
            is_daemon: self.is_daemon,
            parent_death: self.policy(),
            parent_name: current.name.clone(),
            parent_pid: std::process::id(),
            number,
            taken,
            directory: directory.cloned(),
            command_name: current.command_name.clone(),
            log_level: logging::inherited(),
        })
    }

    /// Its streams where they are not inherited, with numbers that no standard stream has.
    fn opened_streams(&self) -> io::Result<[Option<Arc<OwnedFd>>; 3]> {
        let mut opened = [None, None, None];
        for (to, stream) in opened.iter_mut().zip(&self.streams) {
            *to = match stream {
                Stdio::Inherit => None,
                Stdio::Descriptor(fd) if fd.as_raw_fd() > 2 => Some(Arc::clone(fd)),
                Stdio::Descriptor(fd) => {
                    Some(Arc::new(child::duplicate_above_streams(fd.as_fd())?))
                }
                Stdio::Null => {
                    let null = OpenOptions::new()
                        .read(true)
                        .write(true)
                        .open("/dev/null")?;
                    Some(Arc::new(child::above_streams(null.into())?))
                }
            };
        }
        Ok(opened)
    }

    /// All variables, and the one that tells the child what it is.
    fn environment(&self, number: i32, nonce: u64) -> io::Result<Environment> {
        let mut environment = Environment::default();
        if self.environment.is_empty() {
            for (key, value) in std::env::vars_os().filter(|(key, _)| key != entry::VARIABLE) {
                environment.push(&key, &value)?;
            }
        } else {
            let mut all: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
            for change in &self.environment {
                match change {
                    Change::Clear => all.clear(),
                    Change::Remove(key) => drop(all.remove(key)),
                    Change::Set(key, value) => drop(all.insert(key.clone(), value.clone())),
                }
            }
            all.remove(OsStr::new(entry::VARIABLE));
            for (key, value) in &all {
                environment.push(key, value)?;
            }
        }
        let calling = entry::calling(number, nonce);
        environment.push(entry::VARIABLE.as_ref(), calling.as_ref())?;
        Ok(environment)
    }

    fn name_for(&self, stem: &str, number: u32) -> String {
        self.name.clone().unwrap_or_else(|| {
            let ancestors = Current::get().identity.iter();
            let numbers: Vec<String> = ancestors.chain([&number]).map(u32::to_string).collect();
            format!("{stem}-{}", numbers.join(":"))
        })
    }

    fn policy(&self) -> ParentDeath {
        let default = match self.is_daemon {
            true => ParentDeath::Kill,
            false => ParentDeath::Continue,
        };
        self.parent_death.unwrap_or(default)
    }

    fn parting(&self) -> Option<Signal> {
        entry::parting_signal(self.policy())
    }
}

fn keep(arguments: Box<dyn Any + Send>) -> io::Result<(Kept, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let kept = Kept {
        taken: child::above_streams(reader.into())?,
        _arguments: arguments,
    };
    Ok((kept, child::above_streams(writer.into())?))
}

/// Has the thread that ends with this process start something.
fn by<R: Send + 'static>(
    thread: &Thread,
    start: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let gone = || Err(io::Error::from_raw_os_error(libc::EBADF));
    thread.make(start).unwrap_or_else(gone)
}
