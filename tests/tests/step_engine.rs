//! The engine itself: what it sees of a victim, and how victims end.
//!
//! These fork from a test thread, among others; so their victims take no lock after the fork (but malloc's, which
//! glibc makes good in the child).
#![allow(unsafe_code)]

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipc_tests::mapping::Mapping;
use ipc_tests::step::{Death, End, Event, Operation, Snapshot, Victim, watchdog};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{getpid, getppid, pause};

fn word(memory: &Mapping) -> &AtomicU64 {
    // SAFETY: a mapping is page-aligned, at least a page long, and both processes use the word atomically.
    unsafe { memory.start().cast::<AtomicU64>().as_ref() }
}

/// The state letter of a process in /proc, none when it is gone.
fn state_of(victim: &Victim) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", victim.pid())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn wait_until(fact: impl Fn() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "it never came true"
        );
        std::thread::yield_now();
    }
}

#[test]
fn each_store_and_each_system_call_is_seen_once() {
    let memory = Mapping::anonymous(8).unwrap();
    let operation = || {
        for value in 1..=3 {
            word(&memory).store(value, Ordering::SeqCst);
        }
        getppid();
        word(&memory).load(Ordering::SeqCst)
    };
    let mut victim = Victim::fork(|| Box::new(operation) as Operation<'_>).unwrap();
    let mut snapshot = Snapshot::take(vec![memory.shared()]);
    let (mut seen, mut syscalls, mut event) = (Vec::new(), 0, Event::Stepped);
    while event == Event::Stepped {
        syscalls += u32::from(victim.is_at_syscall().unwrap());
        event = victim.step().unwrap();
        if snapshot.has_changed() {
            seen.push(word(&memory).load(Ordering::SeqCst));
        }
    }
    assert_eq!((event, seen, syscalls), (Event::AtEnd, vec![1, 2, 3], 1));
    assert_eq!(victim.step().unwrap(), Event::AtEnd, "it stays there");
    assert_eq!(victim.resume_to_end().unwrap(), End::Completed(3));
    assert_eq!(state_of(&victim), None);
}

#[test]
fn a_victim_stopped_in_its_middle_goes_on_when_resumed() {
    let memory = Mapping::anonymous(8).unwrap();
    let operation = || {
        word(&memory).store(1, Ordering::SeqCst);
        word(&memory).fetch_add(10, Ordering::SeqCst)
    };
    let mut victim = Victim::fork(|| Box::new(operation) as Operation<'_>).unwrap();
    while word(&memory).load(Ordering::SeqCst) == 0 {
        assert_eq!(victim.step().unwrap(), Event::Stepped);
    }
    word(&memory).store(5, Ordering::SeqCst);
    assert_eq!(victim.resume_to_end().unwrap(), End::Completed(5));
    assert_eq!(word(&memory).load(Ordering::SeqCst), 15);
}

#[test]
fn a_killed_victim_is_a_zombie_until_it_is_reaped() {
    let mut victim = Victim::fork(|| Box::new(|| 0)).unwrap();
    assert_eq!(state_of(&victim), Some('t'));
    victim.kill_unreaped().unwrap();
    assert_eq!(state_of(&victim), Some('Z'));
    victim.kill().unwrap();
    assert_eq!(kill(victim.pid(), None), Err(Errno::ESRCH));
}

#[test]
fn a_victim_asleep_in_a_system_call_can_be_killed_there() {
    let memory = Mapping::anonymous(8).unwrap();
    let operation = || -> u64 {
        word(&memory).store(1, Ordering::SeqCst);
        pause();
        word(&memory).store(2, Ordering::SeqCst);
        0
    };
    let mut victim = Victim::fork(|| Box::new(operation) as Operation<'_>).unwrap();
    victim.resume().unwrap();
    wait_until(|| word(&memory).load(Ordering::SeqCst) == 1 && state_of(&victim) == Some('S'));
    victim.kill().unwrap();
    assert_eq!(word(&memory).load(Ordering::SeqCst), 1);
}

#[test]
fn a_victim_that_dies_by_itself_is_told_from_one_that_ended() {
    let dies = || raise(Signal::SIGKILL).map_or(1u64, |()| 2);
    let mut victim = Victim::fork(|| Box::new(dies) as Operation<'_>).unwrap();
    assert_eq!(
        victim.resume_to_end().unwrap(),
        End::Died(Death::Signaled(Signal::SIGKILL))
    );
    let mut victim = Victim::fork(|| Box::new(dies) as Operation<'_>).unwrap();
    let event = loop {
        match victim.step().unwrap() {
            Event::Stepped => {}
            event => break event,
        }
    };
    assert_eq!(event, Event::Died(Death::Signaled(Signal::SIGKILL)));
    let leaves = || kill(getpid(), Signal::SIGTERM).map_or(1u64, |()| 2);
    let mut victim = Victim::fork(|| Box::new(leaves) as Operation<'_>).unwrap();
    assert_eq!(
        victim.resume_to_end().unwrap(),
        End::Died(Death::Signaled(Signal::SIGTERM))
    );
}

#[test]
fn a_panic_in_a_victim_is_an_exit_with_its_own_status() {
    let panics = || -> u64 { panic!("on purpose") };
    let mut victim = Victim::fork(|| Box::new(panics) as Operation<'_>).unwrap();
    assert_eq!(
        victim.resume_to_end().unwrap(),
        End::Died(Death::Exited(101))
    );
    let set_up = Victim::fork(|| panic!("on purpose"));
    assert!(set_up.is_err_and(|error| error.to_string().contains("set-up: Exited(101)")));
}

#[test]
fn the_watchdog_ends_a_process_that_hangs() {
    let hangs = || -> u64 {
        watchdog::guard(Duration::from_secs(1), "this test hangs on purpose", || {
            loop {
                pause();
            }
        })
    };
    let mut victim = Victim::fork(|| Box::new(hangs) as Operation<'_>).unwrap();
    assert_eq!(
        victim.resume_to_end().unwrap(),
        End::Died(Death::Exited(watchdog::EXIT_STATUS))
    );
}
