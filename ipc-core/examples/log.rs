//! Logs of several processes on standard error, with their names.
//!
//! ```console
//! $ cargo run --release -p ipc-core --features logging --example log
//! ```

use ipc_core::{Process, logging};

type Failure = Box<dyn std::error::Error>;

fn work() {
    println!("at work");
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    logging::to_stderr(logging::Level::INFO)?;
    for _ in 0..2 {
        Process::spawn(work, ())?.join()?;
    }
    Ok(())
}
