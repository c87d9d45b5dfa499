//! Some seconds of random kills and stops over all synchronisation objects at once, and their books.
//!
//! `IPC_SOAK_SECONDS=600 cargo test --release -p ipc-tests --test sync_soak` runs longer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_core::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, Namespace, ParticipantState, RLock, RwLock,
    Semaphore,
};
use ipc_tests::puppet::{PATIENCE, Puppet, wait_until};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const SECONDS: u64 = 5;
/// How long until all tasks are seen to their end, and the books to balance.
const ROUND: Duration = Duration::from_secs(1);
const WORKERS: usize = 4;
const PERMITS: u32 = 2;
const PARTIES: usize = 2;
/// How often a task does what it does: some milliseconds, so that the workers meet.
const TIMES: u64 = 3000;
/// As often, where nothing is noted in between.
const MANY_TIMES: u64 = 30_000;
/// For how many steps there is a task that most workers do.
const FASHION: u64 = 64;

/// The file whose number the `RLock` guards.
const GUARDED: &str = "guarded";

/// What a worker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    AddToLock,
    AddUnderRLock,
    AddToRwLock,
    PassSemaphore,
    PassBounded,
    PulseEvent,
    WaitForEvent,
    WaitForCondition,
    MeetAtBarrier,
}

impl Task {
    const ALL: [Self; 9] = [
        Self::AddToLock,
        Self::AddUnderRLock,
        Self::AddToRwLock,
        Self::PassSemaphore,
        Self::PassBounded,
        Self::PulseEvent,
        Self::WaitForEvent,
        Self::WaitForCondition,
        Self::MeetAtBarrier,
    ];

    fn command(self) -> String {
        match self {
            Self::AddToLock => format!("sync soak lock {TIMES}"),
            Self::AddUnderRLock => format!("sync soak rlock {TIMES}"),
            Self::AddToRwLock => format!("sync soak rwlock {TIMES}"),
            Self::PassSemaphore => format!("sync semaphore pass {MANY_TIMES}"),
            Self::PassBounded => format!("sync bounded pass {MANY_TIMES}"),
            Self::PulseEvent => format!("sync event pulse {MANY_TIMES}"),
            Self::WaitForEvent => "sync event wait".to_owned(),
            Self::WaitForCondition => "sync condition wait".to_owned(),
            Self::MeetAtBarrier => "sync barrier wait".to_owned(),
        }
    }

    /// Under what name the workers note how often they have done it, where they do.
    fn noted_as(self) -> Option<&'static str> {
        match self {
            Self::AddToLock => Some("lock"),
            Self::AddUnderRLock => Some("rlock"),
            Self::AddToRwLock => Some("rwlock"),
            _ => None,
        }
    }

    /// Whether it ends although nobody else does anything but end its own.
    fn ends_by_itself(self) -> bool {
        !matches!(
            self,
            Self::WaitForEvent | Self::WaitForCondition | Self::MeetAtBarrier
        )
    }
}

/// What became of the tasks of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    done: u64,
    /// Ended by a kill, somewhere between their beginning and their end.
    cut_short: u64,
    /// How often the killed noted that they had done it.
    noted: u64,
}

struct Worker {
    puppet: Puppet,
    /// What it was told and has not answered.
    task: Option<Task>,
    /// Whether it is known to have come to the barrier: its death breaks it.
    is_party: bool,
    stopped_until: Option<Instant>,
}

impl Worker {
    fn start(namespace: &Namespace) -> Self {
        Self {
            puppet: Puppet::start(env!("CARGO_BIN_EXE_puppet"), namespace.path()),
            task: None,
            is_party: false,
            stopped_until: None,
        }
    }
}

struct Soak {
    namespace: Namespace,
    /// Of [`GUARDED`] and of the workers' notes.
    directory: PathBuf,
    lock: Lock<u64>,
    /// Never used here, but attached.
    _rlock: RLock,
    rwlock: RwLock<u64>,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    workers: Vec<Worker>,
    tallies: BTreeMap<Task, Tally>,
    /// Of the permits that were given for the killed, those of which it turned out that none was missing.
    permits_taken_back: u64,
    stops: u64,
    /// Since the barrier's last reset.
    is_party_dead: bool,
    /// What most are told.
    fashion: Task,
    random: Random,
}

impl Soak {
    fn begin(directory: &TrialDirectory, random: Random) -> ipc_core::Result<Self> {
        let namespace = Namespace::at(directory.path().join("namespace"))?;
        let n = &namespace;
        fs::write(directory.path().join(GUARDED), "").expect("a file");
        Ok(Self {
            directory: directory.path().to_owned(),
            lock: Lock::options_with(0).namespace(n).create("lock")?,
            _rlock: RLock::options().namespace(n).create("rlock")?,
            rwlock: RwLock::options_with(0).namespace(n).create("rwlock")?,
            semaphore: Semaphore::options(PERMITS)
                .namespace(n)
                .create("semaphore")?,
            bounded: BoundedSemaphore::options(PERMITS as usize)
                .namespace(n)
                .create("bounded")?,
            event: Event::options().namespace(n).create("event")?,
            condition: Condition::options().namespace(n).create("condition")?,
            barrier: Barrier::options(PARTIES).namespace(n).create("barrier")?,
            workers: (0..WORKERS).map(|_| Worker::start(n)).collect(),
            tallies: BTreeMap::new(),
            permits_taken_back: 0,
            stops: 0,
            is_party_dead: false,
            fashion: Task::AddToLock,
            random,
            namespace,
        })
    }

    /// Something happens to one worker.
    fn step(&mut self) {
        self.resume(Instant::now());
        if self.random.one_in(FASHION) {
            self.fashion = self.random.pick(&Task::ALL);
        }
        let which = self.random.index(WORKERS);
        if self.workers[which].task.is_none() {
            let any = self.random.pick(&Task::ALL);
            let task = self.random.pick(&[any, self.fashion]);
            self.workers[which].puppet.tell(&task.command());
            self.workers[which].task = Some(task);
        }
        self.keep_going();
        match self.random.below(8) {
            0 | 1 => self.kill(which),
            2 => self.stop(which),
            _ => {
                let patience = Duration::from_millis(self.random.below(4));
                if self.workers[which].puppet.has_answer(patience) {
                    self.collect(which);
                }
            }
        }
    }

    /// What the workers do not do for one another.
    fn keep_going(&mut self) {
        self.condition.notify(1).unwrap();
        if self.random.one_in(8) {
            self.event.set().unwrap();
            self.event.clear().unwrap();
        }
        if self.semaphore.value() > PERMITS
            && let Ok(permit) = self.semaphore.try_acquire()
        {
            permit.forget();
            self.permits_taken_back += 1;
        }
        if self.random.one_in(4) {
            self.mend_barrier();
        }
    }

    fn mend_barrier(&mut self) {
        if self.is_party_dead {
            self.barrier.sweep().unwrap();
            assert!(self.barrier.is_broken(), "a party died");
        }
        if self.barrier.is_broken() {
            self.barrier.reset().unwrap();
            self.is_party_dead = false;
        }
    }

    fn kill(&mut self, which: usize) {
        let mut killed =
            std::mem::replace(&mut self.workers[which], Worker::start(&self.namespace));
        killed.puppet.kill();
        self.is_party_dead |= killed.is_party;
        for task in Task::ALL {
            if let Some(notes) = self.notes(task, &killed) {
                self.tallies.entry(task).or_default().noted += number_in(&notes);
                let _ = fs::remove_file(notes); // the process id may come again; perhaps there are none
            }
        }
        let Some(task) = killed.task else { return };
        self.tallies.entry(task).or_default().cut_short += 1;
        if task == Task::PassSemaphore {
            // A semaphore does not know whose permit it was: perhaps one too many now, but never one too few.
            self.semaphore.release(1).unwrap();
        }
    }

    fn stop(&mut self, which: usize) {
        let worker = &mut self.workers[which];
        if worker.stopped_until.is_none() {
            let pause = Duration::from_micros(self.random.below(60_000));
            worker.puppet.signal(Signal::SIGSTOP);
            worker.stopped_until = Some(Instant::now() + pause);
            self.stops += 1;
        }
    }

    /// Lets those go on that were to be stopped until `now`.
    fn resume(&mut self, now: Instant) {
        for worker in &mut self.workers {
            if worker.stopped_until.is_some_and(|until| until <= now) {
                worker.puppet.signal(Signal::SIGCONT);
                worker.stopped_until = None;
            }
        }
    }

    /// Waits for what a worker answers.
    fn collect(&mut self, which: usize) {
        let worker = &mut self.workers[which];
        let Some(task) = worker.task else { return };
        if !worker.puppet.has_answer(PATIENCE) {
            let pid = worker.puppet.pid();
            panic!("puppet {pid} is stuck: {task:?}\n{}", self.state());
        }
        let answer = worker.puppet.answer();
        let is_broken = task == Task::MeetAtBarrier && answer == "err Broken";
        assert!(is_broken || answer.starts_with("ok"), "{task:?}: {answer}");
        worker.task = None;
        worker.is_party |= task == Task::MeetAtBarrier;
        self.tallies.entry(task).or_default().done += 1;
    }

    fn collect_all(&mut self, is_meant: impl Fn(Task) -> bool) {
        for which in 0..WORKERS {
            if self.workers[which].task.is_some_and(&is_meant) {
                self.collect(which);
            }
        }
    }

    /// Nobody is stuck: each that lives gets to its end, by itself or by one call that lets all go on who wait.
    fn settle(&mut self) {
        self.resume(Instant::now() + Duration::from_secs(3600));
        self.collect_all(Task::ends_by_itself);

        self.event.set().unwrap();
        self.collect_all(|task| task == Task::WaitForEvent);
        self.event.clear().unwrap();

        self.condition.sweep().unwrap(); // or the dead would be counted
        wait_until("all who are to wait do so, or have gone on", || {
            let pending = self.workers.iter().filter(|worker| {
                worker.task == Some(Task::WaitForCondition)
                    && !worker.puppet.has_answer(Duration::ZERO)
            });
            pending.count() == self.condition.waiters()
        });
        self.condition.notify_all().unwrap();
        self.collect_all(|task| task == Task::WaitForCondition);

        self.barrier.abort().unwrap();
        self.collect_all(|task| task == Task::MeetAtBarrier);
        self.barrier.reset().unwrap();
        self.is_party_dead = false;
        self.meet();
    }

    /// After a reset the barrier works for all of the living.
    fn meet(&mut self) {
        for worker in &mut self.workers {
            worker.puppet.tell(&Task::MeetAtBarrier.command());
            worker.is_party = true;
        }
        let answers = self.workers.iter_mut().map(|worker| worker.puppet.answer());
        let mut indexes: Vec<String> = answers.collect();
        indexes.sort_unstable();
        assert_eq!(indexes, ["ok 0", "ok 0", "ok 1", "ok 1"]);
    }

    /// Nobody is left in the objects but this process and up to `living` workers, who neither hold anything nor wait.
    fn check_attendance(&self, living: usize) {
        for name in self.namespace.list().unwrap() {
            self.namespace.sweep(&name).unwrap();
            let seen = self.namespace.inspect(&name).unwrap();
            let states = seen.participants.iter().map(|p| p.state);
            let alive = states.filter(|&state| state == ParticipantState::Alive);
            assert!(
                seen.visits.is_empty()
                    && alive.count() == seen.participants.len()
                    && (1..=1 + living).contains(&seen.participants.len()),
                "{seen:#?}"
            );
        }
    }

    /// What is in the objects is what the tasks have done.
    fn check_books(&self) {
        self.check_sum(Task::AddToLock, *self.lock.try_acquire().unwrap(), 1);
        let guarded = number_in(&self.directory.join(GUARDED));
        self.check_sum(Task::AddUnderRLock, guarded, 2);
        self.check_sum(Task::AddToRwLock, *self.rwlock.try_read().unwrap(), 1);
        let (value, first) = (u64::from(self.semaphore.value()), u64::from(PERMITS));
        let given = self.tally(Task::PassSemaphore).cut_short;
        assert!(
            first <= value && value + self.permits_taken_back <= first + given,
            "{value} permits, {} taken back\n{}",
            self.permits_taken_back,
            self.state()
        );
        assert_eq!(self.bounded.value(), PERMITS as usize, "{}", self.state());
        assert!(!self.event.is_set() && !self.barrier.is_broken());
        assert_eq!((self.condition.waiters(), self.barrier.waiting()), (0, 0));
    }

    /// All that was noted is in the sum, and beyond it at most what each of the killed did last.
    fn check_sum(&self, task: Task, sum: u64, each: u64) {
        let Tally {
            noted, cut_short, ..
        } = self.tally(task);
        let living = self.workers.iter().filter_map(|w| self.notes(task, w));
        let living: u64 = living.map(|notes| number_in(&notes)).sum();
        let least = each * (noted + living);
        assert!(
            (least..=least + each * cut_short).contains(&sum),
            "{task:?}: {sum}, but {least} were noted\n{}",
            self.state()
        );
    }

    /// Where a worker notes how often it has done a step of such a task.
    fn notes(&self, task: Task, worker: &Worker) -> Option<PathBuf> {
        let name = format!("{}-{}", task.noted_as()?, worker.puppet.pid());
        Some(self.directory.join(name))
    }

    fn tally(&self, task: Task) -> Tally {
        self.tallies.get(&task).copied().unwrap_or_default()
    }

    /// For people to read.
    fn state(&self) -> String {
        let names = self.namespace.list().unwrap_or_default();
        let objects = names.iter().map(|name| self.namespace.inspect(name));
        let objects: Vec<_> = objects.collect();
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|w| (w.puppet.pid(), w.task))
            .collect();
        format!("{workers:?}\n{:#?}\n{objects:#?}", self.tallies)
    }
}

/// 0 if there is none.
fn number_in(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[test]
fn books_balance_and_nobody_gets_stuck_while_workers_are_killed_and_stopped_at_random() {
    let seconds =
        std::env::var("IPC_SOAK_SECONDS").map_or(SECONDS, |s| s.parse().expect("seconds"));
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |d| d.as_nanos() as u64);
    println!("seed {seed}");
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    let mut soak = Soak::begin(&directory, Random::new(seed)).expect("the objects");
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let round_end = end.min(Instant::now() + ROUND);
        while Instant::now() < round_end {
            soak.step();
        }
        soak.settle();
        soak.check_attendance(WORKERS);
        soak.check_books();
    }
    soak.workers.clear(); // kills them
    soak.check_attendance(0);
    assert!(soak.barrier.is_broken(), "its parties died");
    println!("{} stops, {:#?}", soak.stops, soak.tallies);
    let (mut done, mut cut_short) = (0, 0);
    for tally in soak.tallies.values() {
        done += tally.done;
        cut_short += tally.cut_short;
    }
    assert!(done > 10 && cut_short > 10, "hardly anything was tried");
}
