//! Runs every operation on a file that was lied in.
//!
//! A trial follows from its seed. Which trial and which operation is running stands in a file, so that whoever started
//! the process can tell, when it dies, where. Each operation must return within [`LIMIT_SECONDS`], or the process is ended
//! by SIGALRM. Calls that may block as long as they like run in threads of their own, which are left behind when they do;
//! in the end they must be asleep.

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{Namespace, Pollable, Queue, WaitStrategy, wait};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::alarm;

use super::edit::{Edit, edit, edits};
use super::snapshot::{Sample, Snapshot};
use crate::random::Random;

/// More than any call without a timeout takes, even in a debug build on a busy machine.
pub const LIMIT_SECONDS: u32 = 10;
/// How long calls wait that have a timeout.
pub(super) const TIMEOUT: Duration = Duration::from_millis(1);
/// How long a call that may block is waited for.
const PATIENCE: Duration = Duration::from_millis(5);

pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What somebody does between the operations of a trial.
pub(super) type Disturb<'d> = &'d mut dyn FnMut(&mut Random);

/// How somebody waits in a trial.
pub(super) fn strategy(random: &mut Random) -> WaitStrategy {
    random.pick(&[
        WaitStrategy::Adaptive,
        WaitStrategy::Sleep,
        WaitStrategy::Spin,
    ])
}

/// Where trials are run.
#[derive(Debug)]
pub struct Bench {
    namespace: Namespace,
    progress: File,
    slowest: (Duration, String),
    /// Operations that ended well, and that ended in an error.
    pub ended: (u64, u64),
}

impl Bench {
    /// `directory` gets a namespace and the file `progress`.
    ///
    /// # Errors
    ///
    /// When they cannot be made.
    pub fn new(directory: &Path) -> Outcome<Self> {
        let namespace = Namespace::at(directory.join("namespace"))?;
        Self::within(namespace, &directory.join("progress"))
    }

    /// In a namespace that exists, with the file `progress`.
    pub(super) fn within(namespace: Namespace, progress: &Path) -> Outcome<Self> {
        Ok(Self {
            namespace,
            progress: File::create(progress)?,
            slowest: Default::default(),
            ended: (0, 0),
        })
    }

    /// Where the objects are.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The operation that took longest.
    pub fn slowest(&self) -> &(Duration, String) {
        &self.slowest
    }

    /// What came of all operations, for people.
    pub fn report(&self) -> String {
        let ((good, bad), (took, which)) = (self.ended, &self.slowest);
        format!("ok={good} err={bad} slowest={took:?} ({which})")
    }

    /// Runs one operation under the alarm.
    pub(super) fn step<T, E>(
        &mut self,
        seed: u64,
        what: &str,
        run: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        let text = format!("{:<60}", format!("seed {seed}: {what}"));
        let _ = self.progress.write_all_at(text.as_bytes(), 0);
        alarm::set(LIMIT_SECONDS);
        let begin = Instant::now();
        let result = run();
        let took = begin.elapsed();
        alarm::cancel();
        if took > self.slowest.0 {
            self.slowest = (took, text.trim().to_owned());
        }
        match result {
            Ok(_) => self.ended.0 += 1,
            Err(_) => self.ended.1 += 1,
        }
        result.ok()
    }

    /// The file of a trial. A new inode each time, or the process would recall the object.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> Outcome<Victim> {
        let path = self.namespace.path().join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all_at(bytes, 0)?;
        Ok(Victim { path, file })
    }
}

/// An object's file that is lied in.
#[derive(Debug)]
pub(super) struct Victim {
    path: PathBuf,
    file: File,
}

impl Victim {
    /// The file of an object that its trial has made; removed as others are.
    pub(super) fn of(path: PathBuf) -> Outcome<Self> {
        let file = File::options().read(true).write(true).open(&path)?;
        Ok(Self { path, file })
    }

    pub(super) fn lie(&self, lie: &Edit, length: usize) {
        // Never beyond the end: a longer file is another matter.
        let end = lie.bytes.len().min(length.saturating_sub(lie.offset));
        let _ = self.file.write_all_at(&lie.bytes[..end], lie.offset as u64);
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// One trial: lies before the queue is opened, and while it is open.
///
/// # Errors
///
/// When the trial cannot be made, or an untouched queue does not work.
pub fn run<T: Sample>(bench: &mut Bench, snapshots: &[Snapshot], seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let snapshot = &snapshots[random.index(snapshots.len())];
    let mut bytes = snapshot.bytes.clone();
    let lies_before = !random.one_in(4);
    if lies_before {
        for lie in edits(&mut random, &snapshot.layout, &snapshot.bytes) {
            lie.apply(&mut bytes);
        }
    }
    let name = format!("victim-{seed}");
    let victim = bench.file(&name, &bytes)?;
    let namespace = bench.namespace.clone();
    bench.step(seed, "inspect", || namespace.inspect(&name));
    if random.one_in(4) {
        bench.step(seed, "namespace sweep", || namespace.sweep(&name));
    }
    let options = Queue::<T>::options(1).namespace(&namespace);
    let Some(queue) = bench.step(seed, "open", || options.open(&name)) else {
        bench.step(seed, "open or create", || options.open_or_create(&name));
        bench.step(seed, "unlink unused", || namespace.unlink_unused(&name));
        return Ok(());
    };
    for _ in 0..6 + random.below(20) {
        if random.one_in(3) || !lies_before {
            let lie = edit(&mut random, &snapshot.layout, &snapshot.bytes);
            victim.lie(&lie, bytes.len());
        }
        operate(bench, seed, &queue, &mut random, &name);
    }
    if random.one_in(4) {
        block(bench, seed, &queue, &mut random);
    }
    if random.one_in(2) {
        bench.step(seed, "unlink", || queue.unlink());
    }
    bench.step(seed, "drop", || {
        drop(queue);
        Ok::<_, ()>(())
    });
    Ok(())
}

/// One operation that returns by itself.
fn operate<T: Sample>(
    bench: &mut Bench,
    seed: u64,
    queue: &Queue<T>,
    random: &mut Random,
    name: &str,
) {
    let value = T::sample(random.below(1000), random.one_in(2));
    let most = random.pick(&[0, 1, 2, 5, usize::MAX]);
    let namespace = bench.namespace.clone();
    let fine = |_| Ok::<_, ()>(());
    match random.below(19) {
        0 | 1 => drop(bench.step(seed, "try_put", || queue.try_put(value))),
        2 | 3 => drop(bench.step(seed, "try_get", || queue.try_get())),
        4 => drop(bench.step(seed, "put_timeout", || queue.put_timeout(value, TIMEOUT))),
        5 => drop(bench.step(seed, "get_timeout", || queue.get_timeout(TIMEOUT))),
        6 => drop(bench.step(seed, "try_get_many", || queue.try_get_many(most))),
        7 => drop(bench.step(seed, "peek", || queue.peek())),
        8 => drop(bench.step(seed, "len", || fine(queue.len() as u64))),
        9 => drop(bench.step(seed, "is_full", || fine(queue.is_full().into()))),
        10 => drop(bench.step(seed, "is_empty", || fine(queue.is_empty().into()))),
        11 => drop(bench.step(seed, "sweep", || queue.sweep())),
        12 => drop(bench.step(seed, "inspect", || namespace.inspect(name))),
        13 => drop(bench.step(seed, "open again", || {
            Queue::<T>::options(1).namespace(&namespace).open(name)
        })),
        14 => drop(bench.step(seed, "spin", || {
            let mut spinning = queue.clone();
            spinning.set_wait_strategy(WaitStrategy::Spin);
            spinning.get_timeout(TIMEOUT)
        })),
        15 => drop(bench.step(seed, "list", || namespace.list())),
        16 => drop(bench.step(seed, "wait", || wait(&[queue, &queue.writable()], TIMEOUT))),
        17 => drop(bench.step(seed, "pollable", || {
            Pollable::new(queue).and_then(|pollable| pollable.rearm())
        })),
        _ if random.one_in(3) => {
            bench.step(seed, "close", || {
                queue.close();
                fine(0)
            });
        }
        _ => {}
    }
}

/// Operations that may block for ever, in a thread; then the queue is closed.
fn block<T: Sample>(bench: &mut Bench, seed: u64, queue: &Queue<T>, random: &mut Random) {
    let (sender, receiver) = mpsc::channel();
    let which = random.below(4);
    let user = queue.clone();
    thread::spawn(move || {
        match which {
            0 => drop(user.put(T::sample(1, true))),
            1 => drop(user.get()),
            2 => drop(user.put_many((0..4).map(|n| T::sample(n, n == 1)))),
            _ => drop(user.get_many(3)),
        }
        let _ = sender.send(());
    });
    let what = ["put", "get", "put_many", "get_many"][which as usize];
    let is_over = bench.step(seed, what, || receiver.recv_timeout(PATIENCE));
    bench.step(seed, "close", || {
        queue.close();
        Ok::<_, ()>(())
    });
    if is_over.is_none() {
        // It may stay blocked: the lie may say that somebody who lives holds all.
        bench.step(seed, what, || receiver.recv_timeout(PATIENCE));
    }
}

/// Whether threads left behind burn the processor instead of sleeping. Returns the share of one core.
pub fn idle_share() -> f64 {
    let cpu =
        || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    let (begin, before) = (Instant::now(), cpu());
    thread::sleep(Duration::from_millis(300));
    (cpu() - before).as_secs_f64() / begin.elapsed().as_secs_f64()
}

/// Lies all the time from one thread, while others use the queue.
///
/// # Errors
///
/// When the trial cannot be made.
pub fn run_live<T: Sample>(
    bench: &mut Bench,
    snapshots: &[Snapshot],
    seed: u64,
    duration: Duration,
) -> Outcome {
    let mut random = Random::new(seed);
    let snapshot = &snapshots[random.index(snapshots.len())];
    let name = format!("live-{seed}");
    let victim = bench.file(&name, &snapshot.bytes)?;
    let end = Instant::now() + duration;
    let attacker = Random::new(random.number());
    let lie = |random: &mut Random| edit(random, &snapshot.layout, &snapshot.bytes);
    under_attack(&victim, &snapshot.bytes, attacker, lie, || {
        let options = Queue::<T>::options(1).namespace(bench.namespace());
        while Instant::now() < end {
            let open = bench.step(seed, "live open", || options.open(&name));
            let Some(queue) = open else { continue };
            // A handle remembers damage, so each serves only for a while.
            for _ in 0..8 {
                operate(bench, seed, &queue, &mut random, &name);
            }
        }
    });
    Ok(())
}

/// Lies in a file all the time, from a thread of its own, while `use_it` runs.
pub(super) fn under_attack<R>(
    victim: &Victim,
    healthy: &[u8],
    mut random: Random,
    lie: impl Fn(&mut Random) -> Edit + Sync,
    use_it: impl FnOnce() -> R,
) -> R {
    let is_over = AtomicBool::new(false);
    let attack = || {
        // Relaxed: it only has to be seen some time.
        while !is_over.load(Ordering::Relaxed) {
            victim.lie(&lie(&mut random), healthy.len());
            // Now and then all is well again, or nothing but errors would be seen.
            if random.one_in(20) {
                let _ = victim.file.write_all_at(healthy, 0);
            }
        }
    };
    thread::scope(|scope| {
        let _stop = Stop(&is_over);
        scope.spawn(attack);
        use_it()
    })
}

/// Ends the attacker, also when an operation panics: the scope waits for it.
pub(super) struct Stop<'a>(pub(super) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
