//! An executor: submit, map, a callback that gets the future, wait, as_completed, shutdown.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example executor
//! ```

use std::sync::mpsc;

use ipc_core::{
    Event, Executor, PoolError,
    futures::{self, ReturnWhen},
};

type Failure = Box<dyn std::error::Error>;

fn cube(n: i64) -> i64 {
    n.pow(3)
}

fn slow(gate: Event) -> i64 {
    gate.wait().expect("it is there");
    0
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let executor = Executor::new(2)?;
    let cubes: Result<Vec<_>, _> = executor.map(cube, 1..=5)?.collect();
    println!("map: {:?}", cubes?);

    let (told, tells) = mpsc::channel();
    executor.submit(cube, (6,))?.on_done(move |future| {
        let _ = told.send(future.get());
    });
    println!("the callback got {}", tells.recv()??);

    let gate = Event::options().anonymous()?;
    let both = [
        executor.submit(slow, (gate.clone(),))?,
        executor.submit(cube, (2,))?,
    ];
    let (ready, open) = futures::wait(&both, ReturnWhen::FirstCompleted, None);
    println!("first completed: {ready:?}, open: {open:?}");
    gate.set()?;
    let (ready, open) = futures::wait(&both, ReturnWhen::AllCompleted, None);
    println!("all completed: {ready:?}, open: {open:?}");
    for future in futures::as_completed(both) {
        println!("completed: {}", future.get()?);
    }
    executor.shutdown(true, false)?;
    let late = executor.submit(cube, (1,));
    println!("after shutdown: {}", matches!(late, Err(PoolError::Closed)));
    Ok(())
}
