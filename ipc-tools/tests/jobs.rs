//! Joinable queues: a line is gone once it was written, and not before.

mod support;

use std::process::Stdio;

use rustix::process::Signal;
use support::{Shell, end_of, signal, until};

fn with_jobs(more: &[&str]) -> Shell {
    let shell = Shell::new();
    let create = ["queue", "create", "q", "--capacity", "10", "--joinable"];
    shell.ok(&[&create[..], more].concat());
    shell
}

fn state(shell: &Shell) -> String {
    let stat = shell.json(&["stat", "q", "--json"]);
    stat["objects"][0]["sync"]["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn lines_come_out_once_and_the_end_is_seen() {
    let shell = with_jobs(&[]);
    shell.ok(&["queue", "put", "q", "one", "two", "three"]);
    assert_eq!(shell.ok(&["queue", "get", "q"]), "one\n");
    shell.ok(&["queue", "close", "q"]);
    assert_eq!(
        shell.ok(&["queue", "get", "q", "--all", "--lease"]),
        "two\nthree\n"
    );
    assert_eq!(shell.code(&["queue", "get", "q"]), 7);
    assert_eq!(
        shell.json(&["stat", "q", "--json"])["objects"][0]["kind"],
        "joinable queue"
    );
}

#[test]
fn a_killed_get_loses_nothing_and_the_line_is_a_dead_letter_after_its_attempts() {
    let shell = with_jobs(&["--max-attempts", "2", "--memory", "4MiB"]);
    let long = vec![b'x'; 1 << 20]; // more than a pipe holds
    assert!(
        shell
            .feed(&["queue", "put", "q", "--raw"], &long)
            .status
            .success()
    );
    for _ in 0..2 {
        let mut get = shell.ipc(&["queue", "get", "q", "--lease", "--raw"]);
        let mut child = get.stdout(Stdio::piped()).spawn().expect("ipc starts");
        until("it has the job", || state(&shell).starts_with("1 leased"));
        signal(&child, Signal::KILL);
        end_of(&mut child);
        shell.run(&["queue", "dead", "q"]); // who opens it repairs it
    }
    assert_eq!(shell.code(&["queue", "get", "q", "--no-wait"]), 6);
    assert!(state(&shell).contains(" 1 dead letters"));
    assert_eq!(shell.run(&["queue", "dead", "q", "--raw"]).stdout, long);
    shell.ok(&["queue", "dead", "q", "--requeue"]);
    assert_eq!(shell.run(&["queue", "get", "q", "--raw"]).stdout, long);
    assert!(state(&shell).starts_with("0 leased, 0 to be delivered again, 0 dead"));
}

#[test]
fn dead_letters_are_shown_and_taken() {
    let shell = with_jobs(&["--max-attempts", "1"]);
    shell.ok(&["queue", "put", "q", "given up"]);
    let full = shell.sh("ipc queue get q > /dev/full");
    assert!(!full.status.success());
    assert_eq!(shell.ok(&["queue", "dead", "q"]), "given up\n");
    assert_eq!(shell.ok(&["queue", "dead", "q", "--take"]), "given up\n");
    assert_eq!(shell.ok(&["queue", "dead", "q"]), "");
}

#[test]
fn what_leases_nothing_says_so() {
    let shell = Shell::with_queue("q", 10);
    assert_eq!(
        shell.code(&["queue", "get", "q", "--lease", "--no-wait"]),
        9
    );
    assert_eq!(shell.code(&["queue", "dead", "q"]), 9);
    assert_eq!(
        shell.code(&["queue", "create", "r", "-c", "1", "--lease-time", "1s"]),
        2
    );
    let jobs = with_jobs(&[]);
    assert_eq!(jobs.code(&["queue", "peek", "q"]), 9);
}
