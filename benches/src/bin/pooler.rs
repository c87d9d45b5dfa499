//! A program with a pool of two workers, and as many threads of rayon's, that does one step for each byte on its standard input and answers with that
//! byte: `m` maps [`NUMBERS`] numbers one by one, `d` in chunks as is usual, `w` does [`NAPS`] tasks of one millisecond each, `a` applies one function; in
//! capitals, threads do the same. `k` kills a worker at work, and waits until another one has done its task.
//!
//! It runs on all cores, wherever it was started.

use ipc_core::{Pool, WorkerState};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rayon::prelude::*;
use std::hint::{black_box, spin_loop};
use std::io::{Read, Write, stdin, stdout};
use std::thread::yield_now;
use std::time::{Duration, Instant};

const NUMBERS: u64 = 100_000;
const NAPS: u32 = 100;
const WORKERS: usize = 2;

fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn nap(n: u32) -> u32 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1) {
        spin_loop();
    }
    n
}

/// The first worker that works on it never comes back.
fn once(stamp: u64) -> u64 {
    let path = std::env::temp_dir().join(format!("ipc-pooler-{stamp}"));
    if std::fs::File::create_new(&path).is_ok() {
        loop {
            std::thread::park();
        }
    }
    let _ = std::fs::remove_file(path);
    stamp
}

fn main() {
    ipc_core::init();
    let mut all = CpuSet::new();
    for core in 0..CpuSet::count() {
        all.set(core).expect("there are so many");
    }
    sched_setaffinity(Pid::this(), &all).expect("it may run anywhere");
    let pool = Pool::builder().workers(WORKERS).retries(1);
    let pool = pool.build().expect("it can be started");
    let threads = rayon::ThreadPoolBuilder::new().num_threads(WORKERS);
    let threads = threads.build().expect("they can be started");
    let mut order = [0];
    while stdin().read_exact(&mut order).is_ok() {
        match order[0] {
            b'm' => check(&pool.map_chunked(square, 0..NUMBERS, 1).expect("values")),
            b'd' => check(&pool.map(square, 0..NUMBERS).expect("values")),
            b'w' => drop(pool.map_chunked(nap, 0..NAPS, 1).expect("values")),
            b'a' => assert_eq!(pool.apply(square, (4,)).expect("a value"), 16),
            b'k' => replace(&pool),
            b'M' => check(&threads.install(|| {
                let numbers = (0..NUMBERS as u32).into_par_iter().with_max_len(1);
                numbers.map(|n| square(n.into())).collect::<Vec<_>>()
            })),
            b'D' => check(&threads.install(|| {
                let numbers = (0..NUMBERS as u32).into_par_iter();
                numbers.map(|n| square(n.into())).collect::<Vec<_>>()
            })),
            b'W' => drop(threads.install(|| {
                let naps = (0..NAPS).into_par_iter().with_max_len(1);
                naps.map(nap).collect::<Vec<_>>()
            })),
            _ => assert_eq!(threads.install(|| square(black_box(4))), 16),
        }
        stdout().write_all(&order).expect("somebody listens");
        stdout().flush().expect("somebody listens");
    }
}

fn check(squares: &[u64]) {
    assert_eq!(squares.len(), NUMBERS as usize);
    assert_eq!(squares.last(), Some(&square(NUMBERS - 1)));
}

/// From the kill to the end of the task in another worker.
fn replace(pool: &Pool) {
    let stamp = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    let task = pool.apply_async(once, (stamp,)).expect("it is taken");
    let path = std::env::temp_dir().join(format!("ipc-pooler-{stamp}"));
    while !path.exists() {
        yield_now();
    }
    let workers = pool.status().expect("it is sound").workers;
    let busy = workers.iter().find(|w| w.state == WorkerState::Busy);
    let busy = busy.expect("one is at work").pid;
    kill(Pid::from_raw(busy.cast_signed()), Signal::SIGKILL).expect("it lives");
    assert_eq!(task.get().expect("it is tried again"), stamp);
}
