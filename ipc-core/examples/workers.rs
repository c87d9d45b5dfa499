//! Five workers started in a loop, each with its number.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example workers
//! ```

use ipc_core::{Process, active_children};

type Failure = Box<dyn std::error::Error>;

fn work(number: u32) {
    println!("worker {number}");
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let workers: Vec<Process> = (0..5)
        .map(|number| Process::spawn(work, (number,)))
        .collect::<Result<_, _>>()?;
    for worker in &workers {
        worker.join()?;
    }
    println!("{} are left", active_children().len());
    Ok(())
}
