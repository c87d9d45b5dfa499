//! How two processes share a contended lock: `shares [seconds]`, by default 2 for each lock.
//!
//! Both are pinned, each to a core of its own, and do nothing but acquire, add one to four words, and release. A fair lock
//! would give each of them half; how often the lock then changes hands is the other side of it.

use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::nth_core;
use ipc_benches::pthread::{Death, Mutex};
use ipc_benches::sync::{Name, Words};
use ipc_benches::{Shared, ZeroIsValid};
use ipc_core::{Lock, WaitStrategy};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let time = match std::env::args().nth(1) {
        Some(seconds) => Duration::from_secs_f64(seconds.parse()?),
        None => Duration::from_secs(2),
    };
    println!(
        "{time:?} for each lock\n\n\
         | lock | M acquisitions/s | first, % | second, % | the same one again, mean |\n|---|--:|--:|--:|--:|"
    );
    for (name, strategy) in [
        ("ipc_core::Lock", WaitStrategy::Adaptive),
        ("ipc_core::Lock, WaitStrategy::Sleep", WaitStrategy::Sleep),
    ] {
        Share::of(ours(strategy), time).print(name);
    }
    for (name, death) in [
        ("pthread, process-shared", Death::Sticks),
        ("pthread, process-shared, robust", Death::IsNoticed),
    ] {
        Share::of(pthread(death), time).print(name);
    }
    Ok(())
}

/// What the two workers count, each under the lock.
#[repr(C, align(64))]
struct Tally {
    taken: [AtomicU64; 2],
    /// Who was last, counted from one.
    last: AtomicU64,
    changes: AtomicU64,
}

// SAFETY: atomics only, for which zero is a value; aligned to 64.
#[allow(unsafe_code)]
unsafe impl ZeroIsValid for Tally {}

impl Tally {
    /// By the holder of the lock.
    fn count(&self, worker: usize) {
        let add = |word: &AtomicU64| {
            word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed); // the lock orders it
        };
        add(&self.taken[worker]);
        let me = worker as u64 + 1;
        if self.last.load(Ordering::Relaxed) != me {
            self.last.store(me, Ordering::Relaxed);
            add(&self.changes);
        }
    }
}

type Contended = (Crew, Arc<Shared<Tally>>);

fn contended<S: FnMut(&mut dyn FnMut() -> u64) -> u64>(
    lock: impl FnOnce() -> S + Clone + Send + 'static,
) -> Contended {
    let (words, tally) = (Words::new(), Arc::new(Shared::<Tally>::zeroed()));
    let role = |worker: usize| {
        let (lock, words, tally) = (lock.clone(), words.clone(), Arc::clone(&tally));
        Role::new("taker", nth_core(worker), move |rounds: &mut Rounds| {
            let mut with = lock();
            rounds.together(|| {
                with(&mut || {
                    tally.count(worker);
                    words.add()
                })
            })
        })
    };
    let crew = Crew::start(Workers::Processes, vec![role(0), role(1)]);
    (crew, tally)
}

fn ours(strategy: WaitStrategy) -> Contended {
    let name = Name::of(|place, name| Lock::options().namespace(place).create(name));
    let open = name.opener(move |place, name| {
        let options = Lock::<()>::opener().namespace(place).wait(strategy);
        options.open(name)
    });
    contended(|| {
        let lock = open();
        move |work| {
            let _guard = lock.acquire().expect("acquire the lock");
            work()
        }
    })
}

fn pthread(death: Death) -> Contended {
    let mutex = Arc::new(Mutex::new(death));
    contended(|| move |work| mutex.with(work))
}

struct Share {
    /// Millions a second.
    rate: f64,
    taken: [u64; 2],
    changes: u64,
}

impl Share {
    /// Of rounds that take about `time` together.
    fn of((mut crew, tally): Contended, time: Duration) -> Self {
        let taken = || tally.taken.each_ref().map(|t| t.load(Ordering::Relaxed));
        let changes = || tally.changes.load(Ordering::Relaxed);
        let mut count = 1000;
        let mut probe = crew.run(count);
        while probe < time / 20 {
            count *= 2;
            probe = crew.run(count);
        }
        let count = (count as f64 * time.as_secs_f64() / probe.as_secs_f64()).ceil() as u64;
        let (before, changed) = (taken(), changes());
        let elapsed = crew.run(count);
        let after = taken();
        let taken = [after[0] - before[0], after[1] - before[1]];
        Self {
            rate: (taken[0] + taken[1]) as f64 / elapsed.as_secs_f64() / 1e6,
            taken,
            changes: changes() - changed,
        }
    }

    fn print(&self, name: &str) {
        let all = self.taken[0] + self.taken[1];
        let [first, second] = self.taken.map(|t| 100.0 * t as f64 / all as f64);
        let again = all as f64 / self.changes.max(1) as f64;
        println!(
            "| {name} | {:.2} | {first:.1} | {second:.1} | {again:.1} |",
            self.rate
        );
    }
}
