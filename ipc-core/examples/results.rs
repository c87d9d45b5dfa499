//! What an `AsyncResult` says before, while and after; and a worker's panic that comes back.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example results
//! ```

use std::time::Duration;

use ipc_core::{Event, Pool, TaskError};

type Failure = Box<dyn std::error::Error>;

fn answer(gate: Event) -> u32 {
    gate.wait().expect("it is there");
    42
}

fn divide(a: i32, b: i32) -> i32 {
    assert_ne!(b, 0, "cannot divide {a} by zero");
    a / b
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let pool = Pool::new(2)?;
    let gate = Event::options().anonymous()?;
    let result = pool.apply_async(answer, (gate.clone(),))?;
    println!("ready: {}", result.ready());
    let early = result.successful().expect_err("it is not done");
    println!("successful: {early}");
    match result.get_timeout(Duration::from_millis(50))? {
        None => println!("not there after 50 ms"),
        Some(n) => println!("too early: {n}"),
    }
    gate.set()?;
    result.wait();
    println!(
        "ready: {}, successful: {}",
        result.ready(),
        result.successful()?
    );
    println!("get: {}", result.get()?);

    let wrong = pool.apply_async(divide, (1, 0))?;
    match wrong.get() {
        Err(TaskError::Panicked { panic, .. }) => {
            let message = panic.message.lines().next().unwrap_or_default();
            println!("a worker panicked: {message}");
        }
        other => println!("unexpected: {other:?}"),
    }
    println!("successful: {}", wrong.successful()?);
    println!("the pool goes on: {}", pool.apply(divide, (6, 3))?);
    Ok(())
}
