//! The same for synchronisation objects: lies before they are opened, between the calls, and all the time while several
//! processes use them.
//!
//! Only calls that do not wait, or not for long, are made: what a lie says is held may stay held for ever.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, Namespace, RLock, RwLock, Semaphore,
    WaitStrategy, wait,
};

use super::edit::{Edit, value};
use super::layout::{IDENTITY, SLOT, SLOTS, word};
use super::trial::{Bench, Disturb, Outcome, TIMEOUT, under_attack};
use crate::random::Random;

const KINDS: [&str; 8] = [
    "lock",
    "rlock",
    "rwlock",
    "semaphore",
    "bounded",
    "event",
    "condition",
    "barrier",
];
const PARTICIPANTS: u32 = 4;
const HEAD: usize = (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(128);
const SEATS: usize = HEAD + 128;

/// A type of which not each pattern of bits is a value.
type Value = bool;

/// The file of an object of one kind, with somebody in it who is dead in a copy.
#[derive(Debug, Clone)]
pub struct SyncSnapshot {
    kind: &'static str,
    bytes: Vec<u8>,
}

/// One of each kind, free and in use, made in `namespace`.
///
/// # Errors
///
/// When an object refuses what it should not.
pub fn snapshots(namespace: &Namespace) -> Outcome<Vec<SyncSnapshot>> {
    let mut all = Vec::new();
    let path = namespace.path().join("snapshot");
    let mut take = |kind| -> Outcome {
        let bytes = fs::read(&path)?;
        all.push(SyncSnapshot { kind, bytes });
        Ok(())
    };
    macro_rules! made {
        ($kind:literal, $options:expr, |$object:ident| $use:expr) => {{
            let options = $options.participants(PARTICIPANTS).namespace(namespace);
            let $object = options.create("snapshot")?;
            take($kind)?;
            {
                let _used = $use;
                take($kind)?;
            }
            $object.unlink()?;
        }};
    }
    made!("lock", Lock::options_with(false), |lock| lock.acquire()?);
    made!("rlock", RLock::options(), |lock| (
        lock.acquire()?,
        lock.acquire()?
    ));
    made!("rwlock", RwLock::options_with(true).readers(3), |lock| lock
        .write()?);
    made!("rwlock", RwLock::options_with(true).readers(3), |lock| lock
        .read()?);
    made!("semaphore", Semaphore::options(2), |semaphore| semaphore
        .acquire()?);
    made!("bounded", BoundedSemaphore::options(3), |semaphore| {
        semaphore.acquire()?.forget();
        semaphore.acquire()?
    });
    made!("event", Event::options(), |event| event.set()?);
    made!("barrier", Barrier::options(2), |barrier| barrier.abort()?);
    made!("condition", Condition::options().waiters(3), |condition| {
        condition.notify(1)?
    });
    let bytes = waited_for(namespace)?;
    all.push(SyncSnapshot {
        kind: "condition",
        bytes,
    });
    Ok(all)
}

/// The file of a condition that somebody waits for.
fn waited_for(namespace: &Namespace) -> Outcome<Vec<u8>> {
    let options = Condition::options().waiters(3).participants(PARTICIPANTS);
    let condition = options.namespace(namespace).create("snapshot")?;
    let lock = Lock::options().namespace(namespace).anonymous()?;
    let bytes = thread::scope(|scope| -> Outcome<Vec<u8>> {
        scope.spawn(|| {
            lock.acquire()
                .and_then(|guard| condition.wait(guard).map(drop))
        });
        while condition.waiters() == 0 {
            thread::yield_now();
        }
        let bytes = fs::read(namespace.path().join("snapshot"));
        condition.notify_all()?; // also when it could not be read
        Ok(bytes?)
    })?;
    condition.unlink()?;
    Ok(bytes)
}

/// What a liar would write: mostly over the word, a seat or a wait word.
fn lie(random: &mut Random, file: &[u8]) -> Edit {
    let at = match random.below(10) {
        0..=2 => HEAD,
        3 => HEAD + 8 * random.index(4),
        4..=6 => SEATS + 8 * random.index((file.len() - SEATS) / 8).min(32),
        7 => IDENTITY + 8 * random.index((HEAD - IDENTITY) / 8),
        8 => 16 + 8 * random.index(6),
        _ => 8 * random.index(file.len() / 8),
    };
    lie_at(random, file, at)
}

fn lie_at(random: &mut Random, file: &[u8], at: usize) -> Edit {
    let old = word(file, at);
    let activity = random.below(7);
    let owner = random.pick(&[0, 1, 2, 3, 4, 5, 0x3fff]);
    let number = match random.below(4) {
        // A seat's word, a lock's word, a barrier's word.
        0 => old & !0x3_ffff | owner << 4 | activity,
        1 => (old >> 40 << 40) | (owner << 4) | random.below(16),
        2 => (old >> 16 << 16) | (owner << 2) | random.below(4),
        _ => value(random, old),
    };
    Edit {
        offset: at,
        bytes: number.to_le_bytes().to_vec(),
    }
}

/// One trial.
///
/// # Errors
///
/// When the trial cannot be made.
pub fn run(bench: &mut Bench, snapshots: &[SyncSnapshot], seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let snapshot = &snapshots[random.index(snapshots.len())];
    let mut bytes = snapshot.bytes.clone();
    let lies_before = !random.one_in(4);
    if lies_before {
        for _ in 0..1 + random.below(4) {
            lie(&mut random, &snapshot.bytes).apply(&mut bytes);
        }
    }
    let name = format!("victim-{seed}");
    let victim = bench.file(&name, &bytes)?;
    let namespace = bench.namespace().clone();
    bench.step(seed, "inspect", || namespace.inspect(&name));
    if random.one_in(4) {
        bench.step(seed, "namespace sweep", || namespace.sweep(&name));
    }
    let rounds = 4 + random.below(12);
    let mut trial = Trial {
        bench,
        seed,
        rounds,
        namespace,
        name,
        random,
    };
    let mut disturb = |random: &mut Random| {
        if random.one_in(3) || !lies_before {
            victim.lie(&lie(random, &snapshot.bytes), bytes.len());
        }
    };
    trial.run(snapshot.kind, &mut disturb)
}

/// Lies in an object's file all the time while `use_it` runs, which is told the object's kind and name.
///
/// # Errors
///
/// When the file cannot be made.
pub fn run_live<R>(
    bench: &Bench,
    snapshot: &SyncSnapshot,
    seed: u64,
    use_it: impl FnOnce(&str, &str) -> R,
) -> Outcome<R> {
    let SyncSnapshot { kind, bytes } = snapshot;
    let name = format!("live-{seed}");
    let victim = bench.file(&name, bytes)?;
    let lie = |random: &mut Random| {
        let any = lie(random, bytes);
        // Seldom over what only an open reads: little else would be seen than opens that fail.
        if any.offset < IDENTITY && !random.one_in(20) {
            return lie_at(random, bytes, HEAD);
        }
        any
    };
    let use_it = || use_it(kind, &name);
    Ok(under_attack(&victim, bytes, Random::new(seed), lie, use_it))
}

/// What one of several processes does while [`run_live`] lies: uses the object for so long. Says what came of it.
/// Which operation is running stands in the file `progress-SEED` beside the namespace.
///
/// # Errors
///
/// When there is no such kind.
pub fn endure(
    namespace: &Namespace,
    kind: &str,
    name: &str,
    seed: u64,
    duration: Duration,
) -> Outcome<String> {
    let progress = namespace.path().with_file_name(format!("progress-{seed}"));
    let mut bench = Bench::within(namespace.clone(), &progress)?;
    let mut trial = Trial {
        bench: &mut bench,
        seed,
        rounds: 8, // a handle remembers damage, so each serves only for a while
        namespace: namespace.clone(),
        name: name.to_owned(),
        random: Random::new(seed),
    };
    let end = Instant::now() + duration;
    while Instant::now() < end {
        trial.run(kind, &mut |_| {})?;
    }
    Ok(bench.report())
}

struct Trial<'a> {
    bench: &'a mut Bench,
    seed: u64,
    rounds: u64,
    namespace: Namespace,
    name: String,
    random: Random,
}

/// Runs one of several operations, in each of some rounds; between them somebody lies.
macro_rules! operate {
    ($self:ident, $disturb:ident, $type:ty, $object:ident, [$($what:literal => $run:expr),+ $(,)?]) => {{
        let strategy = $self.random.pick(&[WaitStrategy::Adaptive, WaitStrategy::Sleep, WaitStrategy::Spin]);
        let options = <$type>::opener().wait(strategy).namespace(&$self.namespace);
        let Some($object) = $self.bench.step($self.seed, "open", || options.open(&$self.name)) else {
            return Default::default();
        };
        const OPERATIONS: &[&str] = &[$($what,)+ "sweep", "inspect", "debug"];
        for _ in 0..$self.rounds {
            $disturb(&mut $self.random);
            match $self.random.pick(OPERATIONS) {
                "sweep" => drop($self.bench.step($self.seed, "sweep", || $object.sweep())),
                "inspect" => drop($self.bench.step($self.seed, "inspect", || $self.namespace.inspect(&$self.name))),
                "debug" => drop($self.bench.step($self.seed, "debug", || Ok::<_, ()>(format!("{:?}", $object)))),
                $($what => drop($self.bench.step($self.seed, $what, || $run)),)+
                _ => {}
            }
        }
        $self.bench.step($self.seed, "drop", || {
            drop($object);
            Ok::<_, ()>(())
        });
    }};
}

/// What no error can be had from.
fn fine<T>(value: T) -> Result<T, ()> {
    Ok(value)
}

impl Trial<'_> {
    fn run(&mut self, kind: &str, disturb: Disturb<'_>) -> Outcome {
        match kind {
            "lock" => self.lock(disturb),
            "rlock" => self.rlock(disturb),
            "rwlock" => self.rwlock(disturb),
            "semaphore" => self.semaphore(disturb),
            "bounded" => self.bounded(disturb),
            "event" => self.event(disturb),
            "condition" => self.condition(disturb)?,
            "barrier" => self.barrier(disturb),
            other => return Err(format!("{other} is none of {KINDS:?}").into()),
        }
        Ok(())
    }

    fn lock(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, Lock<Value>, lock, [
            "lock.try_acquire" => lock.try_acquire().map(drop),
            "lock.acquire_timeout" => lock.acquire_timeout(TIMEOUT).map(drop),
            "lock change" => lock.try_acquire().map(|mut value| *value ^= true),
            "lock mark" => lock.try_acquire().map(|mut value| value.mark_consistent()),
            "lock.is_held" => fine(lock.is_held()),
            "lock wait" => wait(&[&lock], TIMEOUT),
        ]);
    }

    fn rlock(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, RLock, lock, [
            "rlock.try_acquire" => lock.try_acquire().map(drop),
            "rlock nested" => lock.try_acquire().map(|_outer| lock.try_acquire().map(|g| g.depth())),
            "rlock.acquire_timeout" => lock.acquire_timeout(TIMEOUT).map(drop),
            "rlock mark" => lock.try_acquire().map(|guard| guard.mark_inconsistent()),
            "rlock wait" => wait(&[&lock], TIMEOUT),
        ]);
    }

    fn rwlock(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, RwLock<Value>, lock, [
            "rwlock.try_read" => lock.try_read().map(drop),
            "rwlock.read_timeout" => lock.read_timeout(TIMEOUT).map(drop),
            "rwlock.try_write" => lock.try_write().map(drop),
            "rwlock.write_timeout" => lock.write_timeout(TIMEOUT).map(drop),
            "rwlock change" => lock.try_write().map(|mut value| *value ^= true),
            "rwlock wait" => wait(&[&lock, &lock.writable()], TIMEOUT),
            "rwlock read beside write" => lock.try_read().map(|_share| lock.try_write().map(drop)),
        ]);
    }

    fn semaphore(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, Semaphore, semaphore, [
            "semaphore.try_acquire" => semaphore.try_acquire().map(drop),
            "semaphore forget" => semaphore.try_acquire().map(|permit| permit.forget()),
            "semaphore.acquire_timeout" => semaphore.acquire_timeout(TIMEOUT).map(drop),
            "semaphore.release" => semaphore.release(1),
            "semaphore.release many" => semaphore.release(u32::MAX),
            "semaphore.value" => fine(semaphore.value()),
            "semaphore wait" => wait(&[&semaphore], TIMEOUT),
        ]);
    }

    fn bounded(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, BoundedSemaphore, semaphore, [
            "bounded.try_acquire" => semaphore.try_acquire().map(drop),
            "bounded forget" => semaphore.try_acquire().map(|permit| permit.forget()),
            "bounded.acquire_timeout" => semaphore.acquire_timeout(TIMEOUT).map(drop),
            "bounded.release" => semaphore.release(),
            "bounded.value" => fine((semaphore.value(), semaphore.permits())),
            "bounded wait" => wait(&[&semaphore], TIMEOUT),
        ]);
    }

    fn event(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, Event, event, [
            "event.set" => event.set(),
            "event.clear" => event.clear(),
            "event.wait_timeout" => event.wait_timeout(TIMEOUT),
            "event.is_set" => fine(event.is_set()),
            "event wait" => wait(&[&event], TIMEOUT),
        ]);
    }

    fn condition(&mut self, disturb: Disturb<'_>) -> Outcome {
        // The lock is sound: what it protects is not what is lied about here.
        let lock = Lock::options_with(0u64)
            .namespace(&self.namespace)
            .anonymous()?;
        let mut operate = || {
            operate!(self, disturb, Condition, condition, [
                "condition.notify" => condition.notify(1),
                "condition.notify_all" => condition.notify_all(),
                "condition.wait_timeout" => lock.acquire()
                    .and_then(|guard| condition.wait_timeout(guard, TIMEOUT).map(drop)),
                "condition.wait_for_timeout" => lock.acquire()
                    .and_then(|guard| condition.wait_for_timeout(guard, TIMEOUT, |_| false).map(drop)),
                "condition.waiters" => fine(condition.waiters()),
            ]);
        };
        operate();
        Ok(())
    }

    fn barrier(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, Barrier, barrier, [
            "barrier.wait_timeout" => barrier.wait_timeout(TIMEOUT),
            "barrier.wait_timeout_with" => barrier.wait_timeout_with(TIMEOUT, || {}),
            "barrier.abort" => barrier.abort(),
            "barrier.reset" => barrier.reset(),
            "barrier.waiting" => fine((barrier.waiting(), barrier.is_broken(), barrier.parties())),
        ]);
    }
}
