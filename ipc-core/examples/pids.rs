//! The same program with threads and with processes: one process number against many.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example pids
//! ```

use std::{collections::BTreeSet, process, thread};

use ipc_core::Process;

type Failure = Box<dyn std::error::Error>;

const WORKERS: usize = 4;

fn work(number: usize) -> (usize, u32) {
    (number, process::id())
}

fn show(what: &str, results: &[(usize, u32)]) {
    let pids: BTreeSet<u32> = results.iter().map(|(_, pid)| *pid).collect();
    println!(
        "{what}: {} results, {} process(es)",
        results.len(),
        pids.len()
    );
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let threads: Vec<_> = (0..WORKERS)
        .map(|number| thread::spawn(move || work(number)))
        .collect();
    let results: Vec<_> = threads
        .into_iter()
        .map(|t| t.join().expect("no panic"))
        .collect();
    show("threads", &results);

    let processes: Vec<_> = (0..WORKERS)
        .map(|number| Process::spawn(work, (number,)))
        .collect::<Result<_, _>>()?;
    let results: Vec<_> = processes
        .iter()
        .map(Process::join)
        .collect::<Result<_, _>>()?;
    show("processes", &results);
    Ok(())
}
