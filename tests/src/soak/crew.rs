//! The workers of one round: started, stopped, killed and collected, and what is left of each.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::account::Remains;
use super::journal::Journal;
use super::worker::{Role, Subject};
use crate::random::Random;
use crate::trial_directory::TrialDirectory;

/// How long nothing may happen before somebody is said to be stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A process of the round.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    pub(super) remains: Remains,
    stopped_until: Option<Instant>,
}

/// All of them, dead or alive.
#[derive(Debug)]
pub(super) struct Crew {
    program: PathBuf,
    subject: Subject,
    /// More that each is told.
    orders: Vec<String>,
    pub(super) directory: TrialDirectory,
    pub(super) random: Random,
    pub(super) workers: Vec<Worker>,
    pub(super) remains: Vec<Remains>,
    incarnations: u32,
    /// What was done so far, and since when that has not changed.
    progress: (u64, Instant),
}

impl Crew {
    pub(super) fn new(
        program: PathBuf,
        subject: Subject,
        orders: Vec<String>,
        random: Random,
    ) -> Outcome<Self> {
        Ok(Self {
            program,
            subject,
            orders,
            directory: TrialDirectory::create()?,
            random,
            workers: Vec::new(),
            remains: Vec::new(),
            incarnations: 0,
            progress: (0, Instant::now()),
        })
    }

    /// Where the objects of the round are.
    pub(super) fn namespace(&self) -> PathBuf {
        self.directory.path().join("namespace")
    }

    pub(super) fn start(&mut self, role: Role) -> Outcome {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let path = self.directory.path().join(format!("journal-{incarnation}"));
        let journal = Journal::create(&path)?;
        let child = Command::new(&self.program)
            .args(["worker", "--role", role.word()])
            .args(["--subject", self.subject.word(), "--namespace"])
            .arg(self.namespace())
            .arg("--journal")
            .arg(&path)
            .args(["--incarnation", &incarnation.to_string()])
            .args(["--seed", &self.random.number().to_string()])
            .args(&self.orders)
            .stdin(Stdio::null())
            .spawn()?;
        self.workers.push(Worker {
            child,
            remains: Remains {
                incarnation,
                role,
                journal,
                is_killed: false,
            },
            stopped_until: None,
        });
        Ok(())
    }

    /// Waits for a random while, then kills a worker and starts its successor, or stops one.
    pub(super) fn disturb(&mut self, every: Duration) -> Outcome<Disturbance> {
        let pause = self.random.below(2 * every.as_micros() as u64);
        std::thread::sleep(Duration::from_micros(pause));
        self.resume(Instant::now())?;
        if self.random.one_in(8) {
            self.stop_one()?;
            return Ok(Disturbance::Stop);
        }
        let victim = self.random.index(self.workers.len());
        let role = self.kill(victim)?;
        self.start(role)?;
        Ok(Disturbance::Kill)
    }

    /// Kills a worker and waits until the kernel says that it is gone.
    pub(super) fn kill(&mut self, index: usize) -> Outcome<Role> {
        let mut worker = self.workers.swap_remove(index);
        let role = worker.remains.role;
        worker.child.kill()?;
        let status = worker.child.wait()?;
        worker.remains.is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        // One that just ended by itself was killed too late.
        if !worker.remains.is_killed && !status.success() {
            return Err(complaint(&worker, &format!("ended with {status}")));
        }
        self.remains.push(worker.remains);
        Ok(role)
    }

    /// Kills everybody: all are dying before the first is waited for. How many that were.
    pub(super) fn kill_all(&mut self) -> Outcome<u64> {
        for worker in &mut self.workers {
            let _ = worker.child.kill();
        }
        let count = self.workers.len();
        for index in (0..count).rev() {
            self.kill(index)?;
        }
        Ok(count as u64)
    }

    fn stop_one(&mut self) -> Outcome {
        let index = self.random.index(self.workers.len());
        let until = Instant::now() + Duration::from_micros(self.random.below(60_000));
        let worker = &mut self.workers[index];
        signal(&worker.child, Signal::SIGSTOP)?;
        worker.stopped_until = Some(until);
        Ok(())
    }

    fn resume(&mut self, now: Instant) -> Outcome {
        for worker in &mut self.workers {
            if worker.stopped_until.is_some_and(|until| until <= now) {
                signal(&worker.child, Signal::SIGCONT)?;
                worker.stopped_until = None;
            }
        }
        Ok(())
    }

    pub(super) fn resume_all(&mut self) -> Outcome {
        let far = Instant::now() + Duration::from_secs(3600);
        self.resume(far)
    }

    /// Replaces those that ended by themselves. How many that were.
    pub(super) fn replace_retired(&mut self) -> Outcome<u64> {
        let ended = self.collect_ended()?;
        for &role in &ended {
            self.start(role)?;
        }
        Ok(ended.len() as u64)
    }

    pub(super) fn collect_ended(&mut self) -> Outcome<Vec<Role>> {
        let mut roles = Vec::new();
        let mut index = 0;
        while index < self.workers.len() {
            let worker = &mut self.workers[index];
            match worker.child.try_wait()? {
                None => index += 1,
                Some(status) if status.success() => {
                    let worker = self.workers.swap_remove(index);
                    roles.push(worker.remains.role);
                    self.remains.push(worker.remains);
                }
                Some(status) => return Err(complaint(worker, &format!("ended with {status}"))),
            }
        }
        Ok(roles)
    }

    /// Whether somebody of this role is at work.
    pub(super) fn has(&self, role: Role) -> bool {
        self.workers.iter().any(|w| w.remains.role == role)
    }

    /// Complains when nothing was done for too long.
    pub(super) fn watch(&mut self) -> Outcome {
        let (done, since) = self.progress;
        let now: u64 = self
            .remains
            .iter()
            .chain(self.workers.iter().map(|w| &w.remains))
            .map(|r| r.journal.count() + r.journal.acked())
            .sum();
        if now != done {
            self.progress = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(self.stuck("nothing was put or got"));
        }
        Ok(())
    }

    /// Waits until `is_over`, and meanwhile does what `until` says.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        mut is_over: impl FnMut(&mut Self) -> Outcome<bool>,
    ) -> Outcome {
        let begin = Instant::now();
        while !is_over(self)? {
            if begin.elapsed() > PATIENCE {
                return Err(self.stuck(what));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn stuck(&self, what: &str) -> Box<dyn Error> {
        let states: Vec<String> = self.workers.iter().map(state).collect();
        let states = states.join("\n");
        format!("stuck: {what} for {PATIENCE:?}\n{states}").into()
    }
}

/// What [`Crew::disturb`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbance {
    Kill,
    Stop,
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

fn signal(child: &Child, signal: Signal) -> Outcome {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    // The child is not waited for yet, so the number is still its own.
    Ok(kill(pid, signal).map_err(io::Error::from)?)
}

fn complaint(worker: &Worker, what: &str) -> Box<dyn Error> {
    let Remains {
        role, incarnation, ..
    } = worker.remains;
    format!("{role:?} {incarnation} {what}").into()
}

/// A worker as the kernel sees it, for people to read.
fn state(worker: &Worker) -> String {
    let read = |what: &str| {
        fs::read_to_string(format!("/proc/{}/{what}", worker.child.id())).unwrap_or_default()
    };
    let status = read("status");
    let state = status
        .lines()
        .find(|l| l.starts_with("State"))
        .unwrap_or_default();
    let Remains {
        role,
        incarnation,
        journal,
        ..
    } = &worker.remains;
    format!(
        "{role:?} {incarnation}: pid {}, {state}, syscall {}, in {}, begun {} acked {} asked {} got {}",
        worker.child.id(),
        read("syscall").trim(),
        read("wchan"),
        journal.begun(),
        journal.acked(),
        journal.asked(),
        journal.count()
    )
}
