//! What becomes of children when their parent ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use ipc_core::{ParentDeath, Process};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::gettid;

use super::status_of;
use crate::puppet::wait_until;

/// Writes that this process is there, whole.
pub(super) fn sign(directory: &Path, name: &str) {
    let draft = directory.join(format!(".{name}"));
    fs::write(&draft, std::process::id().to_string()).unwrap();
    fs::rename(draft, directory.join(name)).unwrap();
}

/// Who has signed so.
///
/// # Panics
///
/// When nobody has in time.
pub fn signed(directory: &Path, name: &str) -> u32 {
    let file = directory.join(name);
    wait_until(name, || file.exists());
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn stay(directory: PathBuf, name: String) {
    sign(&directory, &name);
    loop {
        thread::park();
    }
}

fn start(builder: ipc_core::ProcessBuilder, directory: &Path, name: &str) {
    builder
        .spawn(stay, (directory.to_owned(), name.to_owned()))
        .unwrap();
}

/// A daemon with children of its own; all are daemons.
fn found(directory: PathBuf) {
    start(Process::builder().daemon(true), &directory, "grandchild");
    stay(directory, "founder".into());
}

fn stop(directory: PathBuf) {
    sign(&directory, "stopped");
    raise(Signal::SIGSTOP).unwrap();
}

/// Has forgotten what the kernel was to send it.
fn forget(directory: PathBuf) {
    nix::sys::prctl::set_pdeathsig(None).unwrap();
    SigSet::all().thread_block().unwrap();
    stay(directory, "forgetful".into());
}

/// The names with which those sign who end with their parent.
pub const DAEMONS: [&str; 7] = [
    "daemon",
    "founder",
    "grandchild",
    "stopped",
    "forgetful",
    "terminated",
    "program",
];

/// Starts all of them, from a thread that ends, and one who stays; and waits to be killed.
pub fn orphans(directory: &Path) {
    let here = directory.to_owned();
    let starting = thread::spawn(move || {
        let this = format!("/proc/self/task/{}", gettid());
        let daemon = || Process::builder().daemon(true);
        start(daemon(), &here, "daemon");
        daemon().spawn(found, (here.clone(),)).unwrap();
        daemon().spawn(stop, (here.clone(),)).unwrap();
        daemon().spawn(forget, (here.clone(),)).unwrap();
        let told = Process::builder().parent_death(ParentDeath::Terminate);
        start(told, &here, "terminated");
        start(Process::builder(), &here, "survivor");
        let mut program = Command::new("sh");
        program.args(["-c", "echo $$ > .p; mv .p program; exec sleep 1000"]);
        daemon().current_dir(&here).command(program).unwrap();
        this
    });
    let thread = starting.join().unwrap();
    wait_until("the thread that started them is gone", || {
        !Path::new(&thread).exists()
    });
    wait_until("one is stopped", || {
        status_of(signed(directory, "stopped"), "State").starts_with('T')
    });
    for name in DAEMONS {
        signed(directory, name);
    }
    sign(directory, "parent");
    loop {
        thread::park();
    }
}

fn last_words(directory: PathBuf) {
    wait_until("the parent's main has ended", || {
        directory.join("over").exists()
    });
    sign(&directory, "last");
}

/// Returns from `main` while a child works and a daemon sleeps.
pub fn leaves(directory: &Path) {
    start(Process::builder().daemon(true), directory, "daemon");
    signed(directory, "daemon");
    Process::spawn(last_words, (directory.to_owned(),)).unwrap();
    sign(directory, "over");
}

fn hear_nothing(directory: PathBuf) {
    SigSet::all().thread_block().unwrap();
    stay(directory, "daemon".into());
}

/// Returns from `main` while a daemon does not listen.
pub fn stubborn(directory: &Path) {
    let builder = Process::builder().daemon(true);
    builder
        .spawn(hear_nothing, (directory.to_owned(),))
        .unwrap();
    signed(directory, "daemon");
}
