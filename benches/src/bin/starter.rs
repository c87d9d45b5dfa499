//! A small program that starts a process and joins it for each byte on its standard input, and answers with that byte: `t` for `/bin/true`, `o` for
//! itself, doing nothing, `s` for a function of its own, `d` for one in a daemon.
//!
//! What a program costs at its start depends on its size; the suite's own is a big one.

use ipc_core::Process;
use std::io::{Read, Write, stdin, stdout};
use std::process::{Command, Stdio};

const NOTHING: &str = "IPC_BENCHES_NOTHING";

fn nothing() {}

fn main() {
    ipc_core::init();
    if std::env::var_os(NOTHING).is_some() {
        return;
    }
    let daemons = Process::builder().daemon(true);
    let mut order = [0];
    while stdin().read_exact(&mut order).is_ok() {
        match order[0] {
            b't' => run(&mut Command::new("/bin/true")),
            b'o' => run(Command::new("/proc/self/exe").env(NOTHING, "1")),
            b's' => Process::spawn(nothing, ())
                .expect("it can be started")
                .join()
                .expect("it returns"),
            _ => daemons
                .spawn(nothing, ())
                .expect("it can be started")
                .join()
                .expect("it returns"),
        }
        stdout().write_all(&order).expect("somebody listens");
        stdout().flush().expect("somebody listens");
    }
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status();
    assert!(status.expect("it can be started").success());
}
