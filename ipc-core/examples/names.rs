//! Processes with names of their own and with those that they are given by default.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example names
//! ```

use std::{thread, time::Duration};

use ipc_core::{Process, current_process};

type Failure = Box<dyn std::error::Error>;

fn work(ms: u64) {
    let this = current_process();
    println!("{} starts", this.name());
    thread::sleep(Duration::from_millis(ms));
    println!("{} exits", this.name());
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let workers = [
        Process::builder().name("service").spawn(work, (60,))?,
        Process::builder().name("worker 1").spawn(work, (30,))?,
        Process::spawn(work, (30,))?, // Process-3
    ];
    for worker in &workers {
        worker.join()?;
    }
    println!("all of {} have exited", current_process().name());
    Ok(())
}
