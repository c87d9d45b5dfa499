//! Ten processes that put and ten that get, over a queue for three, each with one message; then the queue is closed.
//!
//! Lines are printed under a lock, in two pieces: none gets into another's.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example crowd
//! ```

use std::{
    env, fs,
    io::{Write, stdout},
    process::{Child, Command},
};

use ipc_core::{Lock, Namespace, PutError, Queue, QueueOptions};

type Failure = Box<dyn std::error::Error>;

const CAPACITY: usize = 3;
const PAIRS: u32 = 10;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-crowd-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [part, number, dir] => work(part, number, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

fn queue(namespace: &Namespace) -> QueueOptions<String> {
    Queue::options(CAPACITY).namespace(namespace)
}

fn work(part: &str, number: &str, namespace: &Namespace) -> Result<(), Failure> {
    let queue = queue(namespace).open("queue")?;
    if part == "put" {
        queue.put(format!("message {number}"))?;
    } else {
        let output = Lock::<()>::opener().namespace(namespace).open("output")?;
        let message = queue.get()?;
        let _guard = output.acquire()?;
        print!("getter {number} ");
        stdout().flush()?;
        println!("has {message}");
    }
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let queue = queue(namespace).create("queue")?;
    Lock::options().namespace(namespace).create("output")?;
    let mut workers = Vec::<Child>::new();
    for number in 1..=PAIRS {
        for part in ["get", "put"] {
            let mut worker = Command::new(env::current_exe()?);
            worker.args([part, &number.to_string()]);
            workers.push(worker.arg(namespace.path()).spawn()?);
        }
    }
    for worker in &mut workers {
        assert!(worker.wait()?.success());
    }
    queue.close();
    let late = queue.put("too late".to_owned());
    println!(
        "put after close: {}",
        matches!(late, Err(PutError::Closed(_)))
    );
    Ok(())
}
