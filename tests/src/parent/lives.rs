//! Many children, and children in odd circumstances.
#![allow(unsafe_code)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipc_core::{
    Exit, JoinError, Lock, Pool, PoolError, Process, Queue, TaskError, WaitSet, active_children,
    parent_process, wait,
};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::{assert_childless, holdings};
use crate::puppet::wait_until;

fn square(n: u64) -> u64 {
    n * n
}

/// Lives until it was told so often.
fn hear(told: Queue<()>, times: usize) {
    (0..times).for_each(|_| told.get().unwrap());
}

/// Eight threads start and join at once.
pub fn threads(_: &Path) {
    let start = |thread: u64| {
        move || {
            for n in 0..5 {
                let builder = Process::builder().daemon(n % 2 == 1);
                let child = builder.spawn(square, (thread * 10 + n,)).unwrap();
                assert_eq!(child.join().unwrap(), (thread * 10 + n).pow(2));
            }
        }
    };
    let threads: Vec<_> = (0..8).map(|n| thread::spawn(start(n))).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_childless();
    // Several join the same one.
    let begun = Queue::anonymous(4).unwrap();
    let one = Process::spawn(hear, (begun.clone(), 4)).unwrap(); // lives until all four have begun
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                begun.put(()).unwrap();
                one.join().unwrap();
            });
        }
    });
}

/// Short-lived ones, joined or dropped, leave nothing.
pub fn many(_: &Path) {
    let count = std::env::var("IPC_TEST_MANY").map_or(200, |n| n.parse().unwrap());
    Process::spawn(|| (), ()).unwrap().join().unwrap();
    let (_, before) = holdings();
    for batch in 0..count / 20 {
        let children: Vec<_> = (0..20)
            .map(|n| Process::spawn(square, (n,)).unwrap())
            .collect();
        for (n, child) in (0..).zip(children) {
            match (batch + n) % 3 {
                0 => drop(child),
                1 => drop(child.kill()),
                _ => assert_eq!(child.join().unwrap(), n * n),
            }
        }
    }
    wait_until("nobody is left", || {
        active_children().is_empty() && holdings().0 == 0
    });
    // One that nobody joins is no zombie either while its handle is there.
    let held = Process::spawn(square, (3,)).unwrap();
    wait_until("it is gone", || holdings().0 == 0);
    assert_eq!(held.join().unwrap(), 9);
    drop(held);
    wait_until("no descriptor is left", || holdings().1 == before);
}

/// The program's file is removed and replaced while it runs.
pub fn replaced(_: &Path) {
    let own = std::env::current_exe().unwrap();
    assert_eq!(Process::spawn(square, (2,)).unwrap().join().unwrap(), 4);
    fs::remove_file(&own).unwrap();
    assert_eq!(Process::spawn(square, (3,)).unwrap().join().unwrap(), 9);
    fs::write(&own, "#!/bin/sh\nexit 9\n").unwrap();
    assert_eq!(Process::spawn(square, (4,)).unwrap().join().unwrap(), 16);
    fs::remove_file(&own).unwrap();
}

/// A forked child leaves its parent's children alone and has its own.
pub fn forks(_: &Path) {
    let over = Queue::anonymous(1).unwrap();
    let child = Process::spawn(hear, (over.clone(), 1)).unwrap();
    let daemon = Process::builder()
        .daemon(true)
        .spawn(thread::park, ())
        .unwrap();
    // SAFETY: the copy uses what is made for that: the library's own locks are its own.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            for refused in [child.join(), child.terminate(), child.kill(), daemon.kill()] {
                assert!(
                    matches!(refused, Err(JoinError::OfParent { .. })),
                    "{refused:?}"
                );
            }
            assert!(child.is_alive() && active_children().is_empty());
            assert_eq!(Process::spawn(square, (5,)).unwrap().join().unwrap(), 25);
            let own = Process::builder().daemon(true).spawn(square, (6,)).unwrap();
            assert_eq!(own.join().unwrap(), 36);
            drop((child, daemon));
            std::process::exit(5); // waits for its own and ends its own
        }
        ForkResult::Parent { child: copy } => {
            assert_eq!(waitpid(copy, None).unwrap(), WaitStatus::Exited(copy, 5));
            assert!(daemon.is_alive());
            over.put(()).unwrap();
            child.join().unwrap();
            assert_eq!(active_children().len(), 1);
            daemon.terminate().unwrap();
            assert!(daemon.join().is_err());
        }
    }
}

/// Forks among threads that put, get, lock and map all the while: each copy uses the handles, and starts a process of its own.
pub fn forks_among_threads(_: &Path) {
    const COPIES: u32 = 20;
    let (numbers, heard) = (Queue::anonymous(64).unwrap(), Queue::anonymous(64).unwrap());
    let (lock, is_over): (Lock, _) = (Lock::options().anonymous().unwrap(), AtomicBool::new(false));
    let pool = Pool::new(2).unwrap();
    let until_over = |work: &dyn Fn()| {
        while !is_over.load(Ordering::Relaxed) {
            work();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            until_over(&|| {
                numbers.put(1_u64).unwrap();
                assert_eq!(numbers.get().unwrap(), 1);
            });
        });
        scope.spawn(|| until_over(&|| drop(lock.acquire().unwrap())));
        scope.spawn(|| until_over(&|| assert_eq!(pool.map(square, 0..10).unwrap()[9], 81)));
        for copy in 0..COPIES {
            // SAFETY: the copy uses what is made for that: the library's own locks are its own.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    drop(lock.acquire().unwrap());
                    let square = Process::spawn(square, (u64::from(copy),)).unwrap();
                    heard.put(square.join().unwrap()).unwrap();
                    assert!(matches!(
                        pool.apply(|| (), ()),
                        Err(TaskError::Refused(PoolError::OfParent))
                    ));
                    // SAFETY: ends the copy without what the parent's threads have left half done.
                    unsafe { libc::_exit(0) };
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
                    let expected = u64::from(copy).pow(2);
                    assert_eq!(heard.get().unwrap(), expected);
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    pool.close();
    pool.join().unwrap();
    assert_childless();
}

/// Sentinels in a set, also of the parent.
pub fn sets(_: &Path) {
    let quick = Process::spawn(square, (2,)).unwrap();
    let slow = Process::spawn(thread::park, ()).unwrap();
    let mut set = WaitSet::new();
    set.add("quick", &quick).unwrap();
    set.add("slow", &slow.sentinel()).unwrap();
    assert_eq!(
        set.wait_timeout(Duration::from_secs(20)).unwrap(),
        ["quick"]
    );
    assert_eq!(quick.join().unwrap(), 4);
    assert_eq!(set.try_wait().unwrap(), ["quick"], "it stays ended");
    set.remove(&"quick");
    slow.kill().unwrap();
    assert_eq!(set.wait_timeout(Duration::from_secs(20)).unwrap(), ["slow"]);
    assert_eq!(wait(&[&slow], None).unwrap(), [0]);

    let watch = || {
        let parent = parent_process().unwrap();
        let begun = wait(&[&parent], Some(Duration::from_millis(20))).unwrap();
        begun.is_empty() && parent.is_alive()
    };
    assert!(Process::spawn(watch, ()).unwrap().join().unwrap());
    let names: Vec<_> = active_children()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    assert_eq!(names, [""; 0]);
}

/// A program that ignores `SIGCHLD` has values, and no exit codes.
pub fn unheard(_: &Path) {
    // SAFETY: nobody else changes dispositions here.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    for builder in [Process::builder(), Process::builder().daemon(true)] {
        let child = builder.spawn(square, (7,)).unwrap();
        assert_eq!(child.join().unwrap(), 49);
        assert_eq!(child.exit().unwrap(), Some(Exit::Unknown));
        assert_eq!(child.exit_code().unwrap(), None);
        child.kill().unwrap();
    }
    assert_childless();
}
