//! A type with a `run` method, whose values are workers.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example run
//! ```

use ipc_core::{Process, Worker, current_process};
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

#[derive(Serialize, Deserialize)]
struct Squarer {
    number: u64,
}

impl Worker for Squarer {
    type Output = u64;

    fn run(self) -> u64 {
        println!("in {}", current_process().name());
        self.number * self.number
    }
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let workers: Vec<Process<u64>> = (0..5)
        .map(|number| Process::start(Squarer { number }))
        .collect::<Result<_, _>>()?;
    for worker in &workers {
        println!("{} returned {}", worker.name(), worker.join()?);
    }
    Ok(())
}
