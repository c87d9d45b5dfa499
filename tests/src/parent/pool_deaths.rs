//! What becomes of tasks whose workers die, stop or take too much, and of a pool that is ended.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{
    Array, Exit, Pool, PoolControl, PoolStatus, TaskError, WorkerState, WorkerStatus,
    active_children,
};
use nix::sys::signal::{SigHandler, Signal, kill, raise, signal};
use nix::unistd::Pid;

use super::pool::{assert_nothing_left, builder, end, namespace, shut};
use super::survival::sign;
use crate::puppet::wait_until;

/// How often each task was begun, for this process's tasks.
static BEGUN: OnceLock<Array<u64>> = OnceLock::new();

fn remember(begun: Array<u64>) {
    BEGUN.set(begun).unwrap();
}

fn count(number: usize) -> usize {
    BEGUN.get().unwrap().fetch_add(number, 1).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(number as u64 % 7 * 50) {
        std::hint::spin_loop();
    }
    number
}

fn shoot(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).is_ok()
}

/// Kills workers, whatever they do, until it is told to stop; waits between two as long as these numbers say. Whom.
fn hunt(pool: &Pool, is_over: &AtomicBool, seed: u64) -> BTreeSet<u32> {
    let mut random = seed;
    let mut shot = BTreeSet::new();
    while !is_over.load(Ordering::Relaxed) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        thread::sleep(Duration::from_micros(random >> 50));
        let workers = pool.status().unwrap().workers;
        let target = workers.get(random as usize % workers.len().max(1));
        // A pool whose workers all die as they begin would give up.
        let is_fair = |t: &&WorkerStatus| {
            t.pid != 0 && (t.state != WorkerState::Starting || random >> 60 == 0)
        };
        if let Some(target) = target.filter(is_fair)
            && shoot(target.pid)
        {
            shot.insert(target.pid);
        }
    }
    shot
}

/// Workers are killed at random moments: each task is over once, and begun no more often than is allowed.
pub fn kills(directory: &Path) {
    let rounds: u64 = std::env::var("IPC_TEST_MANY").map_or(2, |n| n.parse().unwrap());
    for seed in 0..rounds {
        for retries in [0, 1000] {
            hunted(directory, retries, seed);
        }
    }
}

fn hunted(directory: &Path, retries: u32, seed: u64) {
    const TASKS: usize = 2000;
    let begun: Array<u64> = Array::options([0; TASKS])
        .namespace(&namespace(directory))
        .anonymous()
        .unwrap();
    let pool = builder(directory)
        .workers(3)
        .retries(retries)
        .initializer(remember, (begun.clone(),))
        .build()
        .unwrap();
    let is_over = AtomicBool::new(false);
    let (results, shot) = thread::scope(|scope| {
        let hunter = scope.spawn(|| hunt(&pool, &is_over, seed));
        let results: Vec<_> = pool.imap(count, 0..TASKS).unwrap().collect();
        is_over.store(true, Ordering::Relaxed);
        (results, hunter.join().unwrap())
    });
    assert_eq!(results.len(), TASKS);
    let mut lost = 0;
    for (number, result) in results.into_iter().enumerate() {
        let times = begun.get(number).unwrap();
        match result {
            Ok(value) => assert_eq!(value, number),
            Err(TaskError::WorkerDied { pid, exit, attempt }) => {
                lost += 1;
                assert_eq!((retries, attempt), (0, 1));
                assert_eq!(exit, Exit::Signal(9));
                assert!(shot.contains(&pid), "{pid} was not shot");
            }
            Err(e) => panic!("task {number}: {e}"),
        }
        assert!(
            times <= 1 + u64::from(retries),
            "task {number}: {times} times"
        );
    }
    println!("{} shot, {lost} tasks lost of {TASKS}", shot.len());
    shut(pool);
    drop(begun); // now that no worker has it, which would not remove it
    assert_nothing_left(directory);
}

/// All workers are killed at once, again and again; the one task that each had is lost, and told at once.
pub fn massacre(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    let busy = |status: PoolStatus| -> Vec<_> {
        let workers = status.workers.into_iter();
        workers
            .filter(|w| w.state == WorkerState::Busy && w.busy_for > Some(Duration::from_millis(1)))
            .collect()
    };
    for _ in 0..3 {
        let held: Vec<_> = (0..2)
            .map(|_| {
                let sleep = || thread::sleep(Duration::from_secs(1000));
                pool.apply_async(sleep, ()).unwrap()
            })
            .collect();
        let next = pool.apply_async(|| 5, ()).unwrap();
        wait_until("both are busy", || busy(pool.status().unwrap()).len() == 2);
        let workers = busy(pool.status().unwrap());
        let start = Instant::now();
        assert!(workers.iter().all(|w| shoot(w.pid)));
        for result in held {
            let error = result.get().unwrap_err();
            let TaskError::WorkerDied { pid, exit, attempt } = error else {
                panic!("{error:?}");
            };
            assert!(workers.iter().any(|w| w.pid == pid));
            assert_eq!((exit, attempt), (Exit::Signal(9), 1));
        }
        let known = start.elapsed();
        assert_eq!(next.get().unwrap(), 5);
        println!(
            "known after {known:?}, the next task done after {:?}",
            start.elapsed()
        );
    }
    end(pool, directory);
}

/// A worker that calls `exit`, and one that overflows its stack; with and without another attempt.
pub fn exits(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    let died = pool
        .apply(|| -> u8 { std::process::exit(3) }, ())
        .unwrap_err();
    let TaskError::WorkerDied { exit, .. } = died else {
        panic!("{died:?}");
    };
    assert_eq!(exit, Exit::Code(3));
    let well = pool
        .apply(|| -> u8 { std::process::exit(0) }, ())
        .unwrap_err();
    assert!(
        matches!(
            well,
            TaskError::WorkerDied {
                exit: Exit::Code(0),
                ..
            }
        ),
        "{well:?}"
    );
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    end(pool, directory);
    let marks: Array<u64> = Array::options([0; 4])
        .namespace(&namespace(directory))
        .anonymous()
        .unwrap();
    let pool = builder(directory).retries(2).build().unwrap();
    // The third attempt succeeds.
    let third = |marks: Array<u64>| match marks.fetch_add(0, 1).unwrap() {
        2 => 3,
        _ => std::process::exit(9),
    };
    assert_eq!(pool.apply(third, (marks.clone(),)).unwrap(), 3);
    let never = |marks: Array<u64>| -> u8 {
        marks.fetch_add(1, 1).unwrap();
        std::process::exit(9)
    };
    let died = pool.apply(never, (marks.clone(),)).unwrap_err();
    assert!(
        matches!(died, TaskError::WorkerDied { attempt: 3, .. }),
        "{died:?}"
    );
    assert_eq!(marks.get(1).unwrap(), 3);
    assert_eq!(pool.status().unwrap().retried, 4);
    drop(marks);
    end(pool, directory);
}

/// Tasks that take too long, also stopped ones.
pub fn late(directory: &Path) {
    let limit = Duration::from_millis(100);
    let pool = builder(directory).timeout(limit).build().unwrap();
    let forever = || -> u8 {
        loop {
            std::hint::spin_loop();
        }
    };
    let start = Instant::now();
    let spins = pool.apply_async(forever, ()).unwrap();
    let stops = pool
        .apply_async(|| raise(Signal::SIGSTOP).map_or(1, |()| 2), ())
        .unwrap();
    let others = pool.map_async(|n: u32| n, 0..100).unwrap();
    for result in [spins, stops] {
        let error = result.get().unwrap_err();
        assert!(
            matches!(error, TaskError::TimedOut { attempt: 1, .. }),
            "{error:?}"
        );
    }
    assert!(start.elapsed() >= limit);
    assert_eq!(others.get().unwrap().len(), 100);
    // So many calls have so many times as long.
    let naps = |n: u32| {
        thread::sleep(Duration::from_millis(30));
        n
    };
    assert_eq!(pool.map_chunked(naps, 0..6, 6).unwrap().len(), 6);
    end(pool, directory);

    let pool = builder(directory)
        .timeout(limit)
        .retries(2)
        .retry_timeouts(true);
    let pool = pool.build().unwrap();
    let error = pool.apply(forever, ()).unwrap_err();
    assert!(
        matches!(error, TaskError::TimedOut { attempt: 3, .. }),
        "{error:?}"
    );
    assert_eq!(pool.status().unwrap().retried, 2);
    end(pool, directory);
}

fn grow(mebibytes: usize) -> usize {
    let block = vec![1_u8; mebibytes << 20];
    let filled = std::hint::black_box(&block)
        .iter()
        .filter(|b| **b == 1)
        .count();
    // Kept for as long as it takes to be seen.
    thread::sleep(Duration::from_millis(400));
    std::mem::forget(block);
    filled >> 20
}

/// Tasks that leak, a little and a lot.
pub fn leaks(directory: &Path) {
    let pool = builder(directory).memory_limit(64 << 20).build().unwrap();
    let first = pool.apply(std::process::id, ()).unwrap();
    assert!(first > 0);
    assert_eq!(pool.apply(grow, (90,)).unwrap(), 90, "its task is finished");
    wait_until("its worker has gone", || {
        let status = pool.status().unwrap();
        status.workers_started == 3 && status.workers.len() == 2
    });
    let error = pool.apply(grow, (200,)).unwrap_err();
    let TaskError::MemoryExceeded { bytes, limit, .. } = error else {
        panic!("{error:?}");
    };
    assert!(limit == 64 << 20 && bytes > 2 * limit);
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    end(pool, directory);
}

/// Deaf to what asks it to end.
fn resist() {
    #[expect(unsafe_code, reason = "a signal is ignored")]
    // SAFETY: no handler is involved.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.unwrap();
}

/// A pool that is terminated, or dropped, with tasks and without, with workers that do not hear it.
pub fn ends(directory: &Path) {
    let sleep = || thread::sleep(Duration::from_secs(1000));
    let pool = builder(directory).build().unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| pool.apply_async(sleep, ()).unwrap())
        .collect();
    let mut stream = pool.imap(|n: u32| n, 0..).unwrap();
    pool.terminate();
    pool.join().unwrap();
    for task in tasks {
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    }
    assert!(stream.next().unwrap().is_err());
    drop((stream, pool));
    assert_nothing_left(directory);

    let pool = builder(directory).initializer(resist, ()).build().unwrap();
    pool.apply(|| (), ()).unwrap();
    let task = pool.apply_async(sleep, ()).unwrap();
    let start = Instant::now();
    drop(pool);
    assert!(matches!(task.get(), Err(TaskError::Terminated)));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "they are killed in the end"
    );
    assert_nothing_left(directory);
    for _ in 0..5 {
        drop(builder(directory).build().unwrap()); // whose workers have hardly begun
    }
    assert_nothing_left(directory);
}

/// How many short-lived workers: each does one task.
pub fn short(directory: &Path) {
    let many: usize = std::env::var("IPC_TEST_MANY").map_or(60, |n| n.parse().unwrap());
    let pool = builder(directory).max_tasks_per_child(1).build().unwrap();
    let pids = pool
        .map_chunked(|_: usize| std::process::id(), 0..many, 1)
        .unwrap();
    assert_eq!(pids.len(), many);
    let status = pool.status().unwrap();
    assert_eq!(status.workers_lost, 0);
    assert!(status.workers_started >= many as u64);
    end(pool, directory);
}

fn sign_pid(directory: PathBuf) {
    sign(&directory, &format!("worker-{}", std::process::id()));
}

/// Has a pool with a name, busy and waiting tasks, and waits to be killed.
pub fn killed(directory: &Path) {
    let pool = builder(directory)
        .name("shop")
        .initializer(sign_pid, (directory.to_owned(),))
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            pool.apply_async(|| thread::sleep(Duration::from_secs(1000)), ())
                .unwrap()
        })
        .collect();
    wait_until("both are busy", || {
        let workers = pool.status().unwrap().workers;
        workers.iter().all(|w| w.state == WorkerState::Busy)
    });
    sign(directory, "parent");
    tasks[99].wait();
}

/// Comes after one that was killed: its name is taken over, and nothing of it stays.
pub fn successor(directory: &Path) {
    let pool = builder(directory).name("shop").build().unwrap();
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    pool.close();
    pool.join().unwrap();
    drop(pool);
    namespace(directory).collect().unwrap();
    assert_nothing_left(directory);
}

/// Writes into a pool's object what nobody should, until it is told to stop.
fn lie(path: &Path, is_over: &AtomicBool, seed: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let words = file.metadata().unwrap().len() / 8;
    // Behind the slots of participants, which are not the pool's own.
    let first = (384 + 64 * (128 + 64)) / 8;
    let mut random = seed;
    while !is_over.load(Ordering::Relaxed) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = match random >> 62 {
            // The page, and the places of workers that there are.
            0..=2 => first + (random >> 40) % 96,
            _ => first + (random >> 40) % (words - first),
        };
        let lie = match random >> 33 & 3 {
            0 => random,
            1 => random >> 60,
            2 => 0,
            _ => u64::MAX,
        };
        file.write_all_at(&lie.to_le_bytes(), at * 8).unwrap();
        thread::sleep(Duration::from_micros(random >> 54));
    }
}

/// Somebody writes nonsense into a pool's object all the time: tasks fail or not, and everything ends.
pub fn lies(directory: &Path) {
    let path = directory.join("objects").join("shop");
    let (mut done, mut failed) = (0, 0);
    for seed in 0..6 {
        let pool = builder(directory)
            .name("shop")
            .timeout(Duration::from_millis(300))
            .retries(3)
            .build()
            .unwrap();
        let control = PoolControl::open_in(&namespace(directory), "shop").unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let liar = scope.spawn(|| lie(&path, &is_over, seed));
            let tasks: Vec<_> = (0..300)
                .filter_map(|n: u64| pool.apply_async(move_on, (n,)).ok())
                .collect();
            for task in &tasks {
                let _ = (control.status(), control.is_alive());
                match task.get() {
                    Ok(_) => done += 1,
                    Err(_) => failed += 1,
                }
            }
            let _ = (control.scale(2), control.drain());
            let _ = namespace(directory).inspect("shop");
            is_over.store(true, Ordering::Relaxed);
            liar.join().unwrap();
        });
        drop((control, pool));
        let _ = std::fs::remove_file(&path); // what it says of itself may be nonsense
    }
    println!("{done} tasks done, {failed} failed");
    assert!(active_children().is_empty());
}

fn move_on(n: u64) -> u64 {
    thread::sleep(Duration::from_micros(n % 5 * 200));
    n
}
