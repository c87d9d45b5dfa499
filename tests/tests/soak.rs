//! Random kills and stops while processes use one queue, the ends of one pipe, and a listener's pipes.
//!
//! `IPC_SOAK_SECONDS=3600 cargo test -p ipc-tests --test soak` soaks each for an hour, all at once; so do, one at a time,
//! `cargo run --release -p ipc-tests --bin soak -- --seconds 3600`, `… -- pipe --seconds 3600`, `… -- listener --seconds 3600`.

use std::process::Command;

fn soak(subject: &str, seconds: u32) {
    let asked = std::env::var("IPC_SOAK_SECONDS").ok();
    let seconds = asked.unwrap_or_else(|| seconds.to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args([subject, "--seconds", &seconds])
        .output()
        .expect("the soak can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    assert!(
        text.lines().last().is_some_and(|l| l.contains("kills=")),
        "{text}"
    );
}

#[test]
fn nothing_is_lost_doubled_torn_or_stuck_while_processes_are_killed_at_random() {
    soak("queue", 20);
}

#[test]
fn a_pipe_loses_nothing_and_ends_while_its_ends_are_killed_at_random() {
    soak("pipe", 4);
}

#[test]
fn each_client_is_heard_to_its_end_while_it_and_listeners_are_killed_at_random() {
    soak("listener", 4);
}
