//! What a worker process of `ipc pool run` does: it starts the program of a job, and waits for its end.
//!
//! The job is a process group of its own, and its first process dies with the worker, by the kernel. Its output goes into files that the parent has made and
//! keeps open: whoever dies, nothing of it is lost that the parent was told of.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::RawFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt, net::UnixStream},
    },
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicBool},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ipc_core::{
    ErrorKind, Exit, ParentDeath, Process, ProcessBuilder, SpawnError, current_process,
    parent_process,
};
use rustix::{
    fs::OFlags,
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, kill_process_group, set_child_subreaper,
        test_kill_process_group, waitid,
    },
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGUSR1},
    flag, low_level,
};

use super::{
    brood::{self, Brood},
    program,
    report::{End, Report},
    table::{Course, Table},
    template::{Filling, Template},
};
use crate::exit;

/// Tells a worker to end its job.
pub(super) const END_YOUR_JOB: Signal = Signal::USR1;
/// How long a wait for what a job has started pauses between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// What is the same for all jobs of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) template: Template,
    /// Where the program is, if it is the same for all jobs.
    pub(super) program: Option<ByteBuf>,
    pub(super) timeout: Option<Duration>,
    pub(super) kill_after: Duration,
    pub(super) table: Table,
    pub(super) brood: Brood,
}

/// A job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) line: ByteBuf,
    /// The parent's descriptors of the files for its output.
    pub(super) stdout: RawFd,
    pub(super) stderr: RawFd,
}

/// This process.
#[derive(Debug)]
struct Worker {
    setup: Setup,
    parent: u32,
    place: usize,
    /// Whether orphans of its jobs become its children.
    has_orphans: bool,
    /// Settings of all jobs.
    jobs: ProcessBuilder,
    /// The process group of the job that runs.
    job: Mutex<Option<Pid>>,
    has_ended: Condvar,
}

static WORKER: OnceLock<Worker> = OnceLock::new();

/// The initializer of a worker.
pub(super) fn set_up(setup: Setup) {
    let parent = parent_process().expect("a worker has a parent").pid();
    let pid = current_process().pid();
    let place = setup.table.claim(pid, parent).expect("the table is usable");
    let nothing = File::open("/dev/null").expect("there is /dev/null");
    let jobs = Process::builder().parent_death(ParentDeath::Kill);
    let worker = Worker {
        has_orphans: set_child_subreaper(Some(rustix::process::getpid())).is_ok(),
        jobs: jobs
            .new_group()
            .name("job")
            .stdin(nothing)
            .env(brood::VARIABLE, setup.brood.mark(pid)),
        setup,
        parent,
        place: place.expect("there are as many places as workers"),
        job: Mutex::default(),
        has_ended: Condvar::new(),
    };
    WORKER.set(worker).expect("a worker is set up once");
    listen().expect("signals can be listened to");
}

/// Has the signals of a terminal ignored, which are the parent's affair, and its own one obeyed.
fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGHUP] {
        flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (mut bell, clapper) = UnixStream::pair()?;
    low_level::pipe::register(SIGUSR1, clapper)?;
    let obey = move || {
        while let Ok(1..) = bell.read(&mut [0; 16]) {
            if let Some(worker) = WORKER.get() {
                worker.end_job();
            }
        }
    };
    thread::Builder::new().name("ipc-stop".into()).spawn(obey)?;
    Ok(())
}

/// A task of the pool.
pub(super) fn run_job(job: Job) -> Report {
    let worker = WORKER.get().expect("the initializer came first");
    let begun = Instant::now();
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = worker.run(&job);
    Report {
        end,
        started_unix_ns: started.map_or(0, |t| t.as_nanos() as u64),
        runtime_ns: begun.elapsed().as_nanos() as u64,
        slot: worker.place,
        is_alone: worker.has_orphans && nobody_is_left(),
    }
}

/// Whether no process that a job has started is left: they are this process's children when their parents are gone.
fn nobody_is_left() -> bool {
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {} // one that had ended
            Ok(None) => return false,
            Err(e) => return e == Errno::CHILD,
        }
    }
}

impl Worker {
    fn run(&self, job: &Job) -> End {
        match self.try_run(job) {
            Ok(end) => end,
            Err(why) => End::Trouble(why),
        }
    }

    fn try_run(&self, job: &Job) -> Result<End, String> {
        let (stdout, stderr) = (self.output(job.stdout)?, self.output(job.stderr)?);
        let process = {
            let mut running = self.job();
            if self.course()? != Course::On {
                return Ok(End::Stopped);
            }
            let mut said = stderr.try_clone().map_err(text)?;
            match self.start(job, stdout, stderr) {
                Ok(process) => {
                    *running = Pid::from_raw(process.pid().cast_signed());
                    process
                }
                Err(e) => return not_run(&e, &mut said),
            }
        };
        let end = self.watch(&process);
        *self.job() = None;
        self.has_ended.notify_all();
        end
    }

    fn course(&self) -> Result<Course, String> {
        self.setup.table.course().map_err(text)
    }

    fn job(&self) -> MutexGuard<'_, Option<Pid>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the parent's files. Opened anew, so that its end is where the job writes, whoever writes beside it.
    fn output(&self, number: RawFd) -> Result<File, String> {
        let path = format!("/proc/{}/fd/{number}", self.parent);
        OpenOptions::new()
            .append(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(&path)
            .map_err(|e| format!("could not open {path}, where output is kept: {e}"))
    }

    fn start(&self, job: &Job, stdout: File, stderr: File) -> Result<Process<Exit>, NotRun> {
        let words = self.setup.template.fill(Filling {
            line: &job.line,
            number: job.number,
            slot: self.place,
        });
        let words: Vec<&OsStr> = words.iter().map(|word| OsStr::from_bytes(word)).collect();
        let program = match &self.setup.program {
            Some(path) => Path::new(OsStr::from_bytes(path)).to_owned(),
            None => program::find(words[0]).map_err(|error| NotRun::NotFound {
                program: program::described(words[0]),
                error,
            })?,
        };
        let jobs = self.jobs.clone().stdout(stdout).stderr(stderr);
        Ok(jobs.program(program, words)?)
    }

    /// Waits for the end of a job, and sees to it if that does not come.
    fn watch(&self, job: &Process<Exit>) -> Result<End, String> {
        let exit = match self.setup.timeout {
            None => Some(job.join()),
            Some(timeout) => job.join_timeout(timeout).transpose(),
        };
        if let Some(exit) = exit {
            let end = match exit.map_err(text)? {
                Exit::Code(code) => End::Code(code),
                Exit::Signal(signal) => End::Signal(signal),
                _ => return Err("how a job ended is not known".into()),
            };
            if end != End::Code(0) && self.course()? == Course::Ending {
                self.end_rest(group(job));
                return Ok(End::Stopped);
            }
            return Ok(end);
        }
        let _ = kill_process_group(group(job), Signal::TERM); // fails if it has just ended
        let late = job.join_timeout(self.setup.kill_after).map_err(text)?;
        if late.is_none() {
            let _ = kill_process_group(group(job), Signal::KILL);
            job.join().map_err(text)?;
        }
        self.end_rest(group(job));
        Ok(End::TimedOut)
    }

    /// Gives what a job has started, and what was sent SIGTERM with it, the time to end, too.
    fn end_rest(&self, group: Pid) {
        let deadline = Instant::now() + self.setup.kill_after;
        // What has ended and nobody has waited for counts as its member.
        while !nobody_is_left() && test_kill_process_group(group).is_ok() {
            if Instant::now() >= deadline {
                let _ = kill_process_group(group, Signal::KILL);
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Ends the job that runs, if one does.
    fn end_job(&self) {
        let running = self.job();
        let Some(group) = *running else {
            return;
        };
        let _ = kill_process_group(group, Signal::TERM);
        let same = |now: &mut Option<Pid>| *now == Some(group);
        let patience = self.setup.kill_after;
        let waited = self.has_ended.wait_timeout_while(running, patience, same);
        let (running, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *running == Some(group) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn group(job: &Process<Exit>) -> Pid {
    Pid::from_raw(job.pid().cast_signed()).expect("a process has a number")
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Why a job's program was not started.
#[derive(Debug, thiserror::Error)]
enum NotRun {
    #[error("could not run {program}: {error}")]
    NotFound { program: String, error: io::Error },
    #[error(transparent)]
    NotStarted(#[from] SpawnError),
}

/// As a shell has it: a message on the job's standard error, and an exit code.
fn not_run(e: &NotRun, stderr: &mut File) -> Result<End, String> {
    let is_missing = match e {
        NotRun::NotFound { error, .. } => error.kind() == io::ErrorKind::NotFound,
        NotRun::NotStarted(SpawnError::Failed(e)) => e.kind() == ErrorKind::NotFound,
        NotRun::NotStarted(e) => return Err(text(e)),
    };
    let _ = writeln!(stderr, "ipc: {e}"); // the exit code says it, too
    Ok(End::NotRun(exit::of_not_run(is_missing)))
}
