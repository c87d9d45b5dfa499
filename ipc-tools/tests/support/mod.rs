//! A namespace of its own for every test, and the real binaries in it.
#![allow(dead_code, reason = "not every test file needs all of this")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes on a machine that is busy.
const BOUND: Duration = Duration::from_secs(30);

/// A namespace directory, removed when dropped.
pub(crate) struct Shell {
    dir: PathBuf,
}

impl Shell {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!(
            "/dev/shm/ipc-tools-test-{}-{number}",
            std::process::id()
        ));
        fs::create_dir(&dir).unwrap();
        Self { dir }
    }

    /// With a queue of bytes.
    pub(crate) fn with_queue(name: &str, capacity: usize) -> Self {
        let shell = Self::new();
        shell.ok(&["queue", "create", name, "--capacity", &capacity.to_string()]);
        shell
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the directory, which is not listed.
    pub(crate) fn hidden(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".{name}"))
    }

    /// `ipc` with these arguments. A test that was started in the background passes ignored signals on: undo that.
    pub(crate) fn ipc(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_ipc"), args)
    }

    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT,TERM,HUP", program])
            .args(args);
        command
            .env("IPC_DIR", &self.dir)
            .env_remove("IPC_NAMESPACE");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `ipc` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.ipc(args).output().unwrap()
    }

    pub(crate) fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }

    /// Runs `ipc`, which must succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ipc` with this standard input.
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self.ipc(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end before it has read all.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// Runs a line of shell with `ipc` on the path.
    pub(crate) fn sh(&self, line: &str) -> Output {
        let bin = Path::new(env!("CARGO_BIN_EXE_ipc")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        self.program("bash", &["-c", line])
            .env("PATH", path)
            .output()
            .unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// How many messages are in a queue.
    pub(crate) fn len(&self, queue: &str) -> u64 {
        self.json(&["stat", queue, "--json"])["objects"][0]["queue"]["len"]
            .as_u64()
            .unwrap()
    }

    /// All messages that are in a queue now, sorted as numbers.
    pub(crate) fn numbers(&self, queue: &str) -> Vec<u64> {
        let output = self.run(&["queue", "get", queue, "--all", "--no-wait"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Starts a `get` that waits, and waits until it is attached.
    pub(crate) fn waiting_get(&self, queue: &str) -> Child {
        let child = self.ipc(&["queue", "get", queue]).spawn().unwrap();
        until("the get sleeps", || {
            self.who(queue).iter().any(|p| p["pid"] == child.id())
                && self.json(&["stat", queue, "--json"])["objects"][0]["queue"]["has_sleeping_gets"]
                    == true
        });
        child
    }

    pub(crate) fn who(&self, name: &str) -> Vec<Value> {
        self.json(&["who", name, "--json"])["participants"]
            .as_array()
            .unwrap()
            .clone()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Waits for a fact.
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !fact() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for the end of a child, and kills it when that does not come.
pub(crate) fn end_of(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
