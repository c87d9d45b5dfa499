//! How children end, and what of that the parent sees.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ipc_core::{Exit, JoinError, Process};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{ForkResult, Pid, fork};

use super::{assert_childless, status_of};
use crate::puppet::wait_until;

fn sleep() {
    loop {
        thread::park();
    }
}

fn fail(n: u32) -> u32 {
    assert!(n > 7, "{n} is too little");
    n
}

/// A panic comes back with message and place, and is on standard error, too.
pub fn panics(_: &Path) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let failing = Process::builder().stderr(writer).spawn(fail, (7,)).unwrap();
    let JoinError::Panicked { panic, process } = failing.join().unwrap_err() else {
        panic!("it panics");
    };
    assert_eq!(panic.message, "7 is too little");
    let place = panic.location.as_deref().unwrap();
    assert!(place.starts_with("tests/src/parent/ends.rs:"), "{place}");
    assert!(process.contains("Process-1"), "{process}");
    assert_eq!(failing.exit_code().unwrap(), Some(1));
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(
        said.contains("7 is too little") && said.contains("ends.rs"),
        "{said}"
    );

    // The last panic is told, not one that was caught before, nor one of another thread.
    let several = || {
        let caught = std::panic::catch_unwind(|| panic!("caught"));
        assert!(caught.is_err() && thread::spawn(|| panic!("elsewhere")).join().is_err());
        std::panic::panic_any(7_u8);
    };
    let several = Process::builder()
        .stderr(ipc_core::Stdio::Null)
        .spawn(several, ());
    let several: Process = several.unwrap();
    let Err(JoinError::Panicked { panic, .. }) = several.join() else {
        panic!("it panics");
    };
    assert_eq!(panic.message, "a panic without text");
    assert_eq!(Process::spawn(fail, (8,)).unwrap().join().unwrap(), 8);
}

/// Killed, terminated, and left alone afterwards.
pub fn signals(_: &Path) {
    let child = Process::spawn(sleep, ()).unwrap();
    assert!(child.is_alive());
    assert_eq!(child.exit_code().unwrap(), None);
    assert!(
        child
            .join_timeout(Duration::from_millis(20))
            .unwrap()
            .is_none()
    );
    child.terminate().unwrap();
    let JoinError::Ended { exit, .. } = child.join().unwrap_err() else {
        panic!("it was ended");
    };
    assert_eq!((exit, exit.code()), (Exit::Signal(15), Some(-15)));
    assert!(!child.is_alive());
    child.terminate().unwrap();
    child.kill().unwrap();

    let child = Process::spawn(sleep, ()).unwrap();
    child.kill().unwrap();
    let waited = child.join_timeout(Duration::from_secs(20)).unwrap_err();
    assert!(
        waited
            .to_string()
            .contains("signal 9 before its function returned"),
        "{waited}"
    );
    assert_eq!(child.exit_code().unwrap(), Some(-9));
    let real_time = Process::spawn(sleep, ()).unwrap();
    // SAFETY: our child, which nobody has waited for.
    unsafe { libc::kill(real_time.pid().cast_signed(), libc::SIGRTMIN() + 2) };
    assert!(real_time.join().is_err());
    assert_eq!(
        real_time.exit().unwrap(),
        Some(Exit::Signal(libc::SIGRTMIN() + 2))
    );
    assert_childless();
}

/// A stopped child is alive.
pub fn stopped(_: &Path) {
    let child = Process::spawn(|| raise(Signal::SIGSTOP).is_ok(), ()).unwrap();
    wait_until("it is stopped", || {
        status_of(child.pid(), "State").starts_with('T')
    });
    assert!(
        child
            .join_timeout(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
    assert!(child.is_alive());
    kill(Pid::from_raw(child.pid().cast_signed()), Signal::SIGCONT).unwrap();
    assert!(child.join().unwrap());
    let killed = Process::spawn(|| raise(Signal::SIGSTOP).is_ok(), ()).unwrap();
    wait_until("it is stopped", || {
        status_of(killed.pid(), "State").starts_with('T')
    });
    killed.kill().unwrap();
    assert!(killed.join().is_err());
}

#[allow(unconditional_recursion)]
fn overflow(depth: u64) -> u64 {
    let more = std::hint::black_box([depth; 64]);
    more[7] + overflow(depth + 1)
}

/// Functions that do not return.
pub fn exits(_: &Path) {
    type Way = fn();
    let ways: [(Way, Exit); 5] = [
        (|| (), Exit::Code(0)),
        (|| std::process::exit(0), Exit::Code(0)),
        (|| std::process::exit(3), Exit::Code(3)),
        // SAFETY: ends the process.
        (|| unsafe { libc::_exit(4) }, Exit::Code(4)),
        (|| std::process::abort(), Exit::Signal(6)),
    ];
    for (number, (_, exit)) in (0..).zip(ways) {
        let way = |number: usize| match number {
            0 => (),
            1 => std::process::exit(0),
            2 => std::process::exit(3),
            // SAFETY: ends the process.
            3 => unsafe { libc::_exit(4) },
            _ => std::process::abort(),
        };
        let ended = Process::spawn(way, (number,)).unwrap();
        match ended.join() {
            Ok(()) => assert_eq!(number, 0),
            Err(JoinError::Ended { exit: seen, .. }) => assert_eq!(seen, exit),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(ended.exit().unwrap(), Some(exit));
    }
    let quiet = Process::builder().stderr(ipc_core::Stdio::Null);
    let overflowing = quiet.spawn(overflow, (0,)).unwrap();
    assert!(matches!(overflowing.join(), Err(JoinError::Ended { .. })));
    assert_eq!(overflowing.exit_code().unwrap(), Some(-6));
}

/// Closes all that it did not open, and has the numbers used for other things.
fn close_all(file: PathBuf) -> usize {
    let limit = fs::read_dir("/proc/self/fd").unwrap().count() + 64;
    for number in 3..limit {
        // SAFETY: what is there is not used again.
        unsafe { libc::close(number as i32) };
    }
    let files: Vec<i32> = (0..limit)
        .map(|_| {
            let mut file = File::options()
                .create(true)
                .append(true)
                .open(&file)
                .unwrap();
            file.write_all(b"x").unwrap();
            file.into_raw_fd()
        })
        .collect();
    files.len()
}

/// A child that closes what it has not opened still returns, and what has the numbers now is left alone.
pub fn closed(directory: &Path) {
    let file = directory.join("file");
    for builder in [Process::builder(), Process::builder().daemon(true)] {
        let closing = builder.spawn(close_all, (file.clone(),)).unwrap();
        let count = closing.join().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "x".repeat(count));
        fs::remove_file(&file).unwrap();
    }
}

/// Forks, and both return.
fn fork_and_return() -> u32 {
    // SAFETY: the child has one thread and only returns.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => 13,
        ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None).unwrap();
            7
        }
    }
}

/// What a forked copy of the child returns is nobody's.
pub fn copies(_: &Path) {
    for _ in 0..10 {
        assert_eq!(
            Process::spawn(fork_and_return, ()).unwrap().join().unwrap(),
            7
        );
    }
    let (reader, writer) = std::io::pipe().unwrap();
    assert!(reader.as_raw_fd() > 2 && writer.as_raw_fd() > 2);
}
