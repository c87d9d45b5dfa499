//! The processes of the demo and the directory with their queues. All are gone when this is dropped, however that comes.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use ipc_core::Namespace;

use super::protocol::DIRECTORY;
use crate::{
    args::{Place, demo::Demo},
    exit::{Failure, Outcome},
};

/// A directory of our own, removed when dropped.
#[derive(Debug)]
pub(super) struct Arena(pub(super) Namespace);

impl Arena {
    pub(super) fn new(place: &Place) -> Outcome<Self> {
        let name = format!("{DIRECTORY}{}", std::process::id());
        let chosen = place.dir.clone().or_else(|| {
            std::env::var_os("IPC_DIR")
                .filter(|d| !d.is_empty())
                .map(PathBuf::from)
        });
        Ok(Self(match chosen {
            // Behind a dot, as no object: nobody lists it.
            Some(dir) => Namespace::at(dir.join(format!(".{name}")))?,
            None => Namespace::named(&name)?,
        }))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // What cannot be removed now is named after a process that is gone; a person can tell.
        let _ = fs::remove_dir_all(self.0.path());
    }
}

/// The child processes.
#[derive(Debug)]
pub(super) struct Crew<'a> {
    directory: PathBuf,
    args: &'a Demo,
    chunk: usize,
    times: u64,
    workers: HashMap<u64, Child>,
    producer: Option<Child>,
    next: u64,
}

/// Why somebody is not there any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Worker(u64),
    Producer,
}

impl<'a> Crew<'a> {
    pub(super) fn new(directory: &Path, args: &'a Demo, chunk: usize, times: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            args,
            chunk,
            times,
            workers: HashMap::new(),
            producer: None,
            next: 1,
        }
    }

    pub(super) fn hire(&mut self) -> Outcome {
        let id = self.next;
        self.next += 1;
        let mut command = self.command("demo-worker");
        command
            .arg(format!("--id={id}"))
            .arg(format!("--times={}", self.times));
        self.workers.insert(id, start(&mut command)?);
        Ok(())
    }

    pub(super) fn start_producer(&mut self, pass: u32) -> Outcome {
        let mut command = self.command("demo-producer");
        command
            .arg(format!("--pass={pass}"))
            .arg(format!("--chunk={}", self.chunk))
            .arg("--")
            .args(&self.args.files);
        self.producer = Some(start(&mut command)?);
        Ok(())
    }

    /// This program again.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("ipc")
            .arg("--dir")
            .arg(&self.directory)
            .arg(verb);
        command.arg(format!("--parent={}", std::process::id()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    pub(super) fn employs(&self, worker: u64) -> bool {
        self.workers.contains_key(&worker)
    }

    /// Kills a worker and waits until it is gone. It is employed until it is forgotten.
    pub(super) fn kill(&mut self, worker: u64) -> Outcome {
        let Some(child) = self.workers.get_mut(&worker) else {
            return Ok(());
        };
        child
            .kill()
            .and_then(|()| child.wait())
            .map_err(|e| trouble("kill a worker", &e))?;
        Ok(())
    }

    pub(super) fn forget(&mut self, worker: u64) {
        self.workers.remove(&worker);
    }

    /// Who was killed by somebody else and is not forgotten. Fails when a process failed by itself.
    pub(super) fn missing(&mut self) -> Outcome<Vec<Gone>> {
        let mut gone = Vec::new();
        for (id, child) in &mut self.workers {
            if let Some(status) = ended(child)? {
                survivable(status, false)?;
                gone.push(Gone::Worker(*id));
            }
        }
        if let Some(child) = &mut self.producer
            && let Some(status) = ended(child)?
        {
            self.producer = None;
            if survivable(status, true)? {
                gone.push(Gone::Producer);
            }
        }
        self.workers
            .retain(|id, _| !gone.contains(&Gone::Worker(*id)));
        Ok(gone)
    }

    /// Waits for the workers, whose queue is closed.
    pub(super) fn dismiss(mut self) -> Outcome {
        for (_, mut child) in self.workers.drain() {
            let status = child.wait().map_err(|e| trouble("wait for a worker", &e))?;
            survivable(status, true)?;
        }
        Ok(())
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        for child in self.workers.values_mut().chain(&mut self.producer) {
            // Fails if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(command: &mut Command) -> Outcome<Child> {
    command.spawn().map_err(|e| trouble("start a process", &e))
}

fn ended(child: &mut Child) -> Outcome<Option<ExitStatus>> {
    child
        .try_wait()
        .map_err(|e| trouble("look after a process", &e))
}

/// Whether a process that ended was killed, which is what the demo is about. One that failed has said why.
fn survivable(status: ExitStatus, may_end: bool) -> Outcome<bool> {
    match (status.signal(), status.success() && may_end) {
        (Some(_), _) => Ok(true),
        (None, true) => Ok(false),
        (None, false) => Err(Failure::Other(format!(
            "a process of the demo ended with {status}"
        ))),
    }
}

fn trouble(what: &str, e: &io::Error) -> Failure {
    Failure::Other(format!("could not {what}: {e}"))
}
