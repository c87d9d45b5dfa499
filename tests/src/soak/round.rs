//! The supervisor: starts workers, kills them, and asks for their books.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc_core::{
    Bytes, Inspection, Namespace, ParticipantState, Queue, QueueStat, TryGetError, TryPutError,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::account::{Remains, balance};
use super::journal::Journal;
use super::message;
use super::worker::{QUEUE, Role};
use crate::random::Random;
use crate::trial_directory::TrialDirectory;

/// How long nothing may happen before somebody is said to be stuck.
const PATIENCE: Duration = Duration::from_secs(15);
/// Slots beside those of the workers: the supervisor's.
const SPARE_SLOTS: usize = 1;

/// What to do, and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program that runs [`super::worker::work`] when its first argument is `worker`.
    pub program: PathBuf,
    /// How long, in all.
    pub duration: Duration,
    /// How long a round takes, about.
    pub round: Duration,
    /// Seed of all choices but the scheduler's.
    pub seed: u64,
    /// Producers at a time.
    pub producers: usize,
    /// Consumers at a time.
    pub consumers: usize,
    /// Mean time between two kills.
    pub kill_every: Duration,
}

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    /// Rounds.
    pub rounds: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Processes killed.
    pub kills: u64,
    /// Processes stopped for a while.
    pub stops: u64,
    /// Processes that ended because their journal was full.
    pub retired: u64,
    /// Messages that died with a consumer to which they had been returned.
    pub lost: u64,
    /// The most that could have been lost in this way.
    pub in_hand: u64,
    /// Messages delivered late, as a killed consumer had not finished taking them.
    pub late: u64,
    /// Messages that were put although their producer was killed before put returned.
    pub in_doubt: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "rounds={} messages={} kills={} stops={} retired={} lost_in_window={} window={} redelivered_late={} \
             put_though_killed={}",
            self.rounds,
            self.messages,
            self.kills,
            self.stops,
            self.retired,
            self.lost,
            self.in_hand,
            self.late,
            self.in_doubt
        )
    }
}

/// The queue of one round.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    capacity: usize,
    memory: usize,
    inline_bytes: usize,
    large_every: u64,
}

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Producers end, the queue is closed, consumers drain it.
    Drained,
    /// The queue is closed while all are at it.
    ClosedUnderLoad,
    /// Everybody is killed at once; the next opener finds what is left.
    Massacre,
}

/// Runs rounds until the time is over, or one fails.
///
/// # Errors
///
/// Says what does not hold, with the round's seed.
pub fn soak(plan: &Plan, mut report: impl FnMut(&Figures)) -> Result<Figures, Box<dyn Error>> {
    let end = Instant::now() + plan.duration;
    let mut figures = Figures::default();
    while Instant::now() < end {
        let seed = plan.seed.wrapping_add(figures.rounds);
        let left = end.saturating_duration_since(Instant::now());
        let duration = plan.round.min(left.max(Duration::from_millis(200)));
        let mut random = Random::new(seed);
        let sizes = sizes(&mut random);
        let ending = random.pick(&[Ending::Drained, Ending::ClosedUnderLoad, Ending::Massacre]);
        let round = Round::begin(plan, sizes, random)
            .and_then(|mut round| round.run(duration, ending, &mut figures));
        round.map_err(|e| format!("round with seed {seed}, {sizes:?}, {ending:?}: {e}"))?;
        figures.rounds += 1;
        report(&figures);
    }
    Ok(figures)
}

fn sizes(random: &mut Random) -> Sizes {
    Sizes {
        capacity: random.pick(&[1, 2, 3, 4, 7, 16, 64, 300]),
        memory: random.pick(&[1024, 2048, 4096, 8192, 65_536]),
        inline_bytes: random.pick(&[104, 168, 232]),
        large_every: random.pick(&[0, 1, 2, 5, 20]),
    }
}

struct Worker {
    child: Child,
    remains: Remains,
    stopped_until: Option<Instant>,
}

struct Round<'a> {
    plan: &'a Plan,
    sizes: Sizes,
    random: Random,
    directory: TrialDirectory,
    namespace: Namespace,
    workers: Vec<Worker>,
    remains: Vec<Remains>,
    incarnations: u32,
    /// Delivered so far, and since when it has not changed.
    progress: (u64, Instant),
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

impl<'a> Round<'a> {
    fn begin(plan: &'a Plan, sizes: Sizes, random: Random) -> Outcome<Self> {
        let directory = TrialDirectory::create()?;
        let namespace = Namespace::at(directory.path().join("namespace"))?;
        let participants = plan.producers + plan.consumers + SPARE_SLOTS;
        Queue::<Bytes>::options(sizes.capacity)
            .memory(sizes.memory)
            .inline_bytes(sizes.inline_bytes)
            .participants(u32::try_from(participants)?)
            .namespace(&namespace)
            .create(QUEUE)?;
        Ok(Self {
            plan,
            sizes,
            random,
            directory,
            namespace,
            workers: Vec::new(),
            remains: Vec::new(),
            incarnations: 0,
            progress: (0, Instant::now()),
        })
    }

    fn run(&mut self, duration: Duration, ending: Ending, figures: &mut Figures) -> Outcome {
        for _ in 0..self.plan.producers {
            self.start(Role::Producer)?;
        }
        for _ in 0..self.plan.consumers {
            self.start(Role::Consumer)?;
        }
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let pause = self
                .random
                .below(2 * self.plan.kill_every.as_micros() as u64);
            std::thread::sleep(Duration::from_micros(pause));
            self.resume(Instant::now())?;
            if self.random.one_in(8) {
                self.stop_one()?;
                figures.stops += 1;
            } else {
                let victim = self.random.index(self.workers.len());
                let role = self.kill(victim)?;
                figures.kills += 1;
                self.start(role)?;
            }
            figures.retired += self.replace_retired()?;
            self.watch()?;
        }
        let drained = self.end(ending, figures)?;
        self.settle(&drained, figures)
    }

    fn start(&mut self, role: Role) -> Outcome {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let path = self.directory.path().join(format!("journal-{incarnation}"));
        let journal = Journal::create(&path)?;
        let role_name = match role {
            Role::Producer => "producer",
            Role::Consumer => "consumer",
        };
        let child = Command::new(&self.plan.program)
            .args(["worker", "--role", role_name, "--namespace"])
            .arg(self.namespace.path())
            .arg("--journal")
            .arg(&path)
            .args(["--incarnation", &incarnation.to_string()])
            .args(["--seed", &self.random.number().to_string()])
            .args(["--large-every", &self.sizes.large_every.to_string()])
            .args(["--longest", &self.longest().to_string()])
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

    fn longest(&self) -> usize {
        self.sizes.memory.max(self.sizes.inline_bytes)
    }

    /// Kills a worker and waits until the kernel says that it is gone.
    fn kill(&mut self, index: usize) -> Outcome<Role> {
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

    fn resume_all(&mut self) -> Outcome {
        let far = Instant::now() + Duration::from_secs(3600);
        self.resume(far)
    }

    /// Replaces those that ended because their journal was full.
    fn replace_retired(&mut self) -> Outcome<u64> {
        let ended = self.collect_ended()?;
        for &role in &ended {
            self.start(role)?;
        }
        Ok(ended.len() as u64)
    }

    fn collect_ended(&mut self) -> Outcome<Vec<Role>> {
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

    /// Complains when nothing was delivered for too long.
    fn watch(&mut self) -> Outcome {
        let (delivered, since) = self.progress;
        let now: u64 = self
            .remains
            .iter()
            .chain(self.workers.iter().map(|w| &w.remains))
            .map(|r| r.journal.count() + r.journal.acked())
            .sum();
        if now != delivered {
            self.progress = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(self.stuck("nothing was put or got"));
        }
        Ok(())
    }

    fn stuck(&self, what: &str) -> Box<dyn Error> {
        let states: Vec<String> = self.workers.iter().map(state).collect();
        let inspection = self.namespace.inspect(QUEUE);
        format!(
            "stuck: {what} for {PATIENCE:?}\n{}\n{inspection:#?}",
            states.join("\n")
        )
        .into()
    }

    /// Ends all workers. Returns what was left in the queue.
    fn end(&mut self, ending: Ending, figures: &mut Figures) -> Outcome<Vec<u64>> {
        if ending == Ending::Massacre {
            while !self.workers.is_empty() {
                let last = self.workers.len() - 1;
                // All are dying before the first is waited for.
                for worker in &mut self.workers {
                    let _ = worker.child.kill();
                }
                self.kill(last)?;
                figures.kills += 1;
            }
            return self.drain();
        }
        self.resume_all()?;
        if ending == Ending::ClosedUnderLoad {
            self.open()?.close();
        }
        for worker in &self.workers {
            worker.remains.journal.ask_to_stop();
        }
        if ending == Ending::Drained {
            self.wait_for("producers do not end", |w| w.remains.role == Role::Producer)?;
            self.open()?.close();
        }
        self.wait_for("workers of a closed queue do not end", |_| true)?;
        self.drain()
    }

    /// Waits until no worker is left to which `is_waited_for` applies.
    fn wait_for(&mut self, what: &str, is_waited_for: impl Fn(&Worker) -> bool) -> Outcome {
        let begin = Instant::now();
        while self.workers.iter().any(&is_waited_for) {
            self.collect_ended()?;
            let has = |role| self.workers.iter().any(|w| w.remains.role == role);
            if has(Role::Producer) && !has(Role::Consumer) {
                self.start(Role::Consumer)?; // their journals were full
            }
            if begin.elapsed() > PATIENCE {
                return Err(self.stuck(what));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn open(&self) -> ipc_core::Result<Queue<Bytes>> {
        Queue::options(1).namespace(&self.namespace).open(QUEUE)
    }

    fn drain(&self) -> Outcome<Vec<u64>> {
        let queue = self.open()?;
        let mut ids = Vec::new();
        let begin = Instant::now();
        loop {
            if begin.elapsed() > PATIENCE {
                return Err(self.stuck("a closed queue without users is never drained"));
            }
            match queue.try_get() {
                Ok(bytes) => ids.push(message::check(&bytes)?),
                Err(TryGetError::Empty) if !queue.is_closed() => return Ok(ids),
                Err(TryGetError::Closed) => return Ok(ids),
                Err(TryGetError::Empty) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Balances the books and looks whether the queue is as good as new.
    fn settle(&mut self, drained: &[u64], figures: &mut Figures) -> Outcome {
        let mut sums = balance(&self.remains, drained);
        let inspection = self.namespace.inspect(QUEUE)?;
        for complaint in complaints(&inspection) {
            sums.fail(complaint);
        }
        let attached = |r: &&Remains| r.is_killed && r.journal.is_attached();
        let least = self.remains.iter().filter(attached).count() as u64;
        let most = self.remains.iter().filter(|r| r.is_killed).count() as u64;
        if !(least..=most).contains(&inspection.deaths) {
            let deaths = inspection.deaths;
            sums.fail(format!(
                "{deaths} deaths were counted, of {least} to {most}"
            ));
        }
        let queue = self.open()?;
        if !queue.is_closed()
            && let Err(e) = fill(&queue)
        {
            sums.fail(e);
        }
        figures.messages += sums.delivered;
        figures.lost += sums.lost;
        figures.in_hand += sums.in_hand;
        figures.late += sums.late;
        figures.in_doubt += sums.in_doubt;
        if sums.failures.is_empty() {
            return Ok(());
        }
        sums.failures.truncate(20);
        Err(format!("{}\n{inspection:#?}", sums.failures.join("\n")).into())
    }
}

impl Drop for Round<'_> {
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

/// What an empty queue should not show.
fn complaints(inspection: &Inspection) -> Vec<String> {
    let mut found = Vec::new();
    let Some(QueueStat {
        len,
        memory_used,
        orphans,
        ..
    }) = inspection.queue
    else {
        return vec!["it is no queue".into()];
    };
    for (what, value) in [
        ("messages", len),
        ("bytes in use", memory_used),
        ("orphans", orphans),
    ] {
        if value != 0 {
            found.push(format!("{value} {what} are left in the drained queue"));
        }
    }
    for participant in &inspection.participants {
        if participant.state != ParticipantState::Alive || participant.pid != std::process::id() {
            found.push(format!("a participant is left: {participant:?}"));
        }
    }
    found
}

/// All cells and all memory can be used again.
fn fill(queue: &Queue<Bytes>) -> Result<(), String> {
    let capacity = queue.capacity();
    for i in 0..capacity {
        if let Err(e) = queue.try_put(message::make(i as u64, message::SHORTEST)) {
            return Err(format!("put {i} of {capacity} into an empty queue: {e}"));
        }
    }
    match queue.try_put(Bytes::default()) {
        Err(TryPutError::Full(_)) => {}
        other => return Err(format!("a put into a full queue: {other:?}")),
    }
    for i in 0..capacity {
        match queue.try_get() {
            Ok(bytes) if message::check(&bytes) == Ok(i as u64) => {}
            other => return Err(format!("get {i} of {capacity}: {other:?}")),
        }
    }
    let longest = message::make(0, queue.max_message_bytes());
    queue
        .try_put(longest.clone())
        .map_err(|e| format!("the longest message: {e}"))?;
    match queue.try_get() {
        Ok(bytes) if bytes == longest => Ok(()),
        other => Err(format!("getting the longest message: {other:?}")),
    }
}
