//! A daemon and another child. The program waits for the daemon for a tenth of a second only, and at its exit for the other one; then the daemon
//! is ended.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example daemon
//! ```

use std::{thread, time::Duration};

use ipc_core::{Process, current_process};

type Failure = Box<dyn std::error::Error>;

fn work(ms: u64) {
    println!("{} starts", current_process().name());
    thread::sleep(Duration::from_millis(ms));
    println!("{} exits", current_process().name()); // the daemon does not come to this
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let daemon = Process::builder()
        .name("daemon")
        .daemon(true)
        .spawn(work, (3_600_000,))?;
    Process::builder().name("other").spawn(work, (400,))?;
    let ended = daemon.join_timeout(Duration::from_millis(100))?;
    println!("the daemon has ended in time: {}", ended.is_some());
    println!("the daemon is alive: {}", daemon.is_alive());
    println!("main ends");
    Ok(())
}
