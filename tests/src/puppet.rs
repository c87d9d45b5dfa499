//! Processes on strings: each runs the program `puppet`, does what one line of text says, and answers with one line.
//!
//! An answer begins with `ok` or `err`. A puppet that is dropped is killed.

pub mod broadcast;
pub mod family;
pub mod frames;
pub mod joinable;
pub mod listener;
pub mod loan;
pub mod ordered;
pub mod pipe;
pub mod shared;
pub mod sync;
pub mod wait_set;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long an answer may take, on a busy machine, in a debug build.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A process that does as it is told.
#[derive(Debug)]
pub struct Puppet {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Puppet {
    /// Starts `program`, which is `puppet`, in the namespace of `directory`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(program: &str, directory: &Path) -> Self {
        Self::start_as(Command::new(program).arg(directory)).expect("a puppet can be started")
    }

    /// Starts `command`, which must come to run `puppet`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_as(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (commands, answers) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            child,
            commands: commands.expect("piped"),
            answers: BufReader::new(answers.expect("piped")),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it what to do.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the puppet listens");
    }

    /// What it answers to the oldest command that it has not answered.
    ///
    /// # Panics
    ///
    /// When it does not answer within [`PATIENCE`], or died.
    pub fn answer(&mut self) -> String {
        assert!(
            self.has_answer(PATIENCE),
            "puppet {} does not answer",
            self.pid()
        );
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("answers are lines of text");
        assert!(!line.is_empty(), "puppet {} is gone", self.pid());
        line.trim_end().to_owned()
    }

    /// Whether it answers within `patience`.
    pub fn has_answer(&self, patience: Duration) -> bool {
        if !self.answers.buffer().is_empty() {
            return true;
        }
        let mut wanted = [PollFd::new(
            self.answers.get_ref().as_fd(),
            PollFlags::POLLIN,
        )];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        poll(&mut wanted, patience).is_ok_and(|ready| ready > 0)
    }

    /// Tells it what to do and waits for the answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// As [`Self::ask`], and the answer must be `ok`; returns what follows.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn must(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        match answer.strip_prefix("ok") {
            Some(rest) => rest.trim_start().to_owned(),
            None => panic!("{command}: {answer}"),
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it was waited for.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("not waited for yet");
    }

    /// Kills it and waits until the kernel says that it is gone.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may be gone
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
///
/// # Panics
///
/// When it is not within [`PATIENCE`].
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(
            begin.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The arguments of a puppet that runs `commands` and ends.
pub fn once(directory: &Path, commands: &[&str]) -> Vec<OsString> {
    let directory: PathBuf = directory.into();
    let mut all = vec![directory.into_os_string()];
    for command in commands {
        all.extend(["--once".into(), command.into()]);
    }
    all
}
