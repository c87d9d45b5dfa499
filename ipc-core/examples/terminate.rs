//! A slow worker that is terminated.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example terminate
//! ```

use std::{thread, time::Duration};

use ipc_core::{Exit, JoinError, Process};

type Failure = Box<dyn std::error::Error>;

fn slow() {
    thread::sleep(Duration::from_secs(3600));
    println!("finished");
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let worker = Process::spawn(slow, ())?;
    println!("started: alive {}", worker.is_alive());
    worker.terminate()?;
    println!("terminated");
    match worker.join() {
        Err(JoinError::Ended {
            exit: Exit::Signal(signal),
            ..
        }) => println!("joined: signal {signal}"),
        other => return Err(format!("{other:?}").into()),
    }
    println!(
        "joined: alive {}, exit code {:?}",
        worker.is_alive(),
        worker.exit_code()?
    );
    Ok(())
}
