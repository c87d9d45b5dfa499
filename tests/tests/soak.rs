//! Random kills and stops while processes use one queue.
//!
//! `IPC_SOAK_SECONDS=3600 cargo test -p ipc-tests --test soak` soaks for an hour; so does
//! `cargo run --release -p ipc-tests --bin soak -- --seconds 3600`.

use std::process::Command;

#[test]
fn nothing_is_lost_doubled_torn_or_stuck_while_processes_are_killed_at_random() {
    let seconds = std::env::var("IPC_SOAK_SECONDS").unwrap_or_else(|_| "20".into());
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--seconds", &seconds])
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
