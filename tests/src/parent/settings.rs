//! What a builder sets, and what children begin with.
#![allow(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use ipc_core::{
    Exit, JoinError, ParentDeath, Process, SpawnError, Stdio, current_process, logging,
};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use super::status_of;

/// Any text is a name.
pub fn names(_: &Path) {
    let long = "n".repeat(10_000);
    for name in [
        "",
        "näme",
        "two\nlines",
        "%s{}",
        "\u{0}",
        "MainProcess",
        &long,
    ] {
        let child = Process::builder()
            .name(name)
            .spawn(|| current_process().name().to_owned(), ());
        let child = child.unwrap();
        assert_eq!(child.name(), name);
        assert_eq!(child.join().unwrap(), name);
    }
    assert_eq!(Process::spawn(|| (), ()).unwrap().name(), "Process-8");
    let seen = Process::spawn(
        || {
            (
                std::env::args().collect::<Vec<_>>(),
                status_of(std::process::id(), "Name"),
            )
        },
        (),
    );
    let (arguments, name) = seen.unwrap().join().unwrap();
    assert!(arguments.iter().eq(&std::env::args().collect::<Vec<_>>()));
    assert_eq!(name, status_of(std::process::id(), "Name"));
}

fn look() -> (Vec<(String, String)>, String, String, usize) {
    let here = std::env::current_dir().unwrap();
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).unwrap();
    println!("said");
    let inherited = fs::read_dir("/proc/self/fd").unwrap().count();
    (
        std::env::vars().collect(),
        here.display().to_string(),
        input,
        inherited,
    )
}

/// Environment, working directory and standard streams.
pub fn environment(directory: &Path) {
    let (mut output, to) = std::io::pipe().unwrap();
    let (from, mut input) = std::io::pipe().unwrap();
    input.write_all(b"asked").unwrap();
    drop(input);
    let builder = Process::builder()
        .env_clear()
        .env("GONE", "1")
        .env("KEY", "a=b")
        .env("KEY", "a=c")
        .env_remove("GONE")
        .current_dir(directory)
        .stdin(from)
        .stdout(to);
    let child = builder.spawn(look, ()).unwrap();
    drop(builder);
    let (variables, here, asked, descriptors) = child.join().unwrap();
    assert_eq!(
        variables,
        [("KEY".to_owned(), "a=c".to_owned())],
        "and not how it was started"
    );
    assert_eq!(Path::new(&here), fs::canonicalize(directory).unwrap());
    assert_eq!(asked, "asked");
    // As any other program, and its letter and its parent.
    let listed = Command::new("ls").arg("/proc/self/fd").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap().lines().count();
    assert_eq!(descriptors, listed + 2);
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(said, "said\n");

    let silent = Process::builder()
        .stdin(Stdio::Null)
        .stdout(Stdio::Null)
        .spawn(look, ());
    let (variables, _, asked, _) = silent.unwrap().join().unwrap();
    assert!(variables.into_iter().eq(std::env::vars()));
    assert_eq!(asked, "");
    for bad in [
        Process::builder().current_dir("/nowhere"),
        Process::builder().env("A=B", "c"),
    ] {
        let refused = bad.spawn(|| (), ());
        assert!(matches!(refused, Err(SpawnError::Failed(_))), "{refused:?}");
    }
    // Streams of its own that have the numbers of others.
    let swapped = Process::builder()
        .stdout(std::io::stderr().lock_fd())
        .stderr(std::io::stdout().lock_fd());
    assert_eq!(swapped.spawn(|| 7, ()).unwrap().join().unwrap(), 7);
}

/// Another descriptor for a standard stream.
trait LockFd {
    fn lock_fd(&self) -> std::os::fd::OwnedFd;
}

impl<S: std::os::fd::AsFd> LockFd for S {
    fn lock_fd(&self) -> std::os::fd::OwnedFd {
        self.as_fd().try_clone_to_owned().unwrap()
    }
}

/// Of the signals that have names; some that have none are the C library's own.
fn bits(field: &str) -> u64 {
    let all = u64::from_str_radix(&status_of(std::process::id(), field), 16);
    all.unwrap() & ((1 << 31) - 1)
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// Blocked and ignored signals are the parent's own, but for those of a terminal.
pub fn dispositions(_: &Path) {
    for ignored in [
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGCONT,
        Signal::SIGINT,
    ] {
        // SAFETY: nobody else changes dispositions here.
        unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
    }
    SigSet::all().thread_block().unwrap();
    for builder in [Process::builder(), Process::builder().daemon(true)] {
        let seen = builder
            .spawn(|| (bits("SigIgn"), bits("SigBlk")), ())
            .unwrap();
        let (ignored, blocked) = seen.join().unwrap();
        // Rust ignores the one.
        assert_eq!(ignored, bit(Signal::SIGPIPE) | bit(Signal::SIGINT));
        assert_eq!(blocked, 0);
    }
    let child = Process::spawn(std::thread::park, ()).unwrap();
    child.terminate().unwrap();
    assert!(child.join().is_err());
    assert_eq!(child.exit().unwrap(), Some(Exit::Signal(15)));
}

/// Lines with levels and names, also of children.
pub fn logs(_: &Path) {
    logging::to_stderr(logging::Level::INFO).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let builder = Process::builder().stderr(writer);
    let crowd: Vec<Process> = (0..4)
        .map(|_| {
            let talk = || {
                for n in 0..200 {
                    tracing::warn!(n, "line of {}", current_process().name());
                    tracing::debug!("not this one");
                }
            };
            builder.spawn(talk, ()).unwrap()
        })
        .collect();
    drop(builder);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    for (number, process) in (1..).zip(&crowd) {
        process.join().unwrap();
        let prefix = format!("/Process-{number}] ");
        let lines = said.lines().filter_map(|line| line.split_once(&prefix));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines[0], ("[INFO", "the process begins"));
        assert_eq!(
            lines[1],
            ("[WARN", format!("line of Process-{number} n=0").as_str())
        );
        assert_eq!(
            lines.last(),
            Some(&("[INFO", "the process ends with exit code 0"))
        );
        assert_eq!(lines.len(), 202);
    }
    assert_eq!(said.lines().count(), 4 * 202, "whole lines only");
    logging::to_stderr(logging::Level::ERROR).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let quiet = Process::builder().name("a\nb").stderr(writer);
    quiet
        .spawn(|| tracing::error!("alone"), ())
        .unwrap()
        .join()
        .unwrap();
    drop(quiet);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "[ERROR/a\\nb] alone\n");
}

/// Other programs.
pub fn commands(directory: &Path) {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let child = Process::command(shell("exit 3")).unwrap();
    assert_eq!(child.join().unwrap(), Exit::Code(3));
    assert_eq!(child.exit_code().unwrap(), Some(3));
    let mut piped = shell("read line; echo \"$KEY $PWD $line\"");
    piped
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let builder = Process::builder()
        .env("KEY", "v")
        .current_dir(directory)
        .daemon(true);
    let child = builder.command(piped).unwrap();
    assert!(child.is_daemon() && child.is_alive());
    child.take_stdin().unwrap().write_all(b"asked\n").unwrap();
    let mut said = String::new();
    child
        .take_stdout()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let here = fs::canonicalize(directory).unwrap();
    assert_eq!(said, format!("v {} asked\n", here.display()));
    assert!(child.join().unwrap().is_success());
    let killed = Process::command(shell("exec sleep 1000")).unwrap();
    killed.kill().unwrap();
    assert_eq!(killed.join().unwrap(), Exit::Signal(9));
    let none = Process::command(Command::new("/nowhere/at/all"));
    assert!(
        matches!(
            none,
            Err(SpawnError::Failed(ipc_core::Error::NotFound { .. }))
        ),
        "{none:?}"
    );
}

/// Programs by their files, from the first thread and from another one.
pub fn programs(directory: &Path) {
    let here = fs::canonicalize(directory).unwrap();
    let said = directory.join("said");
    let start = || {
        let builder = Process::builder()
            .env("KEY", "v")
            .current_dir(directory)
            .parent_death(ParentDeath::Kill)
            .new_group()
            .stdin(Stdio::Null)
            .stdout(fs::File::create(&said).unwrap());
        let script =
            "read line; echo \"$KEY $PWD $0 $$\"; ps -o pgid= -p $$; kill -TERM $$; exit 3";
        let child = builder.program("/bin/sh", ["name", "-c", script, "zero"]);
        let child = child.unwrap();
        // Nothing that this process blocks or ignores is so there.
        assert_eq!(child.join().unwrap(), Exit::Signal(15));
        let (pid, text) = (child.pid(), fs::read_to_string(&said).unwrap());
        let (first, group) = text.split_once('\n').unwrap();
        assert_eq!(first, format!("v {} zero {pid}", here.display()));
        assert_eq!(group.trim(), pid.to_string());
        let none = builder.program("/nowhere/at/all", ["it"]);
        assert!(
            matches!(
                none,
                Err(SpawnError::Failed(ipc_core::Error::NotFound { .. }))
            ),
            "{none:?}"
        );
        let odd = builder.program("/bin/sh", ["a\0b"]);
        assert!(matches!(odd, Err(SpawnError::Failed(_))), "{odd:?}");
    };
    let mut before = SigSet::empty();
    before.add(Signal::SIGTERM);
    before.thread_block().unwrap();
    start();
    std::thread::scope(|scope| scope.spawn(start).join().unwrap());
    assert!(
        SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM),
        "the mask is as it was"
    );
    assert!(ipc_core::active_children().is_empty());
}

/// A program that starts and does not call `init`. What it starts is told so.
pub fn unborn(_: &Path) {
    let unborn = Process::builder()
        .env("IPC_TEST_NO_INIT", "1")
        .spawn(|| (), ())
        .unwrap();
    let error = unborn.join().unwrap_err();
    assert!(
        matches!(
            error,
            JoinError::NotInitialised {
                exit: Exit::Code(7),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("ipc_core::init()"), "{error}");
}

/// What the program does that has not called `init`.
pub fn without_init() -> i32 {
    let refused = Process::spawn(|| (), ());
    assert!(
        matches!(refused, Err(SpawnError::NotInitialised)),
        "{refused:?}"
    );
    7
}
