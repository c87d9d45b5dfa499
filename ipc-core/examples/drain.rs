//! Three worker processes drain a bounded queue under a lock, until a flag says that nothing more will come.
//!
//! The lock makes "is there something?" and "take it" one step, as a program would that looks into more than the queue. (Our
//! queue alone would do without it: see the example `queue`.)
//!
//! ```console
//! $ cargo run --release -p ipc-core --example drain
//! ```

use std::{
    env, fs,
    process::{Child, Command},
    thread,
    time::Duration,
};

use ipc_core::{Event, Lock, Namespace, Plain, Queue, QueueOptions};

type Failure = Box<dyn std::error::Error>;

const WORKERS: u32 = 3;
const ITEMS: u64 = 30;
/// Fewer than the items, so that whoever puts them has to wait for the workers.
const CAPACITY: usize = 10;
const PAUSE: Duration = Duration::from_millis(2);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-drain-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [number, dir] => work(number, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

fn queue(namespace: &Namespace) -> QueueOptions<Plain<u64>> {
    Queue::options(CAPACITY).namespace(namespace)
}

fn work(number: &str, namespace: &Namespace) -> Result<(), Failure> {
    let items = queue(namespace).open("items")?;
    let turn = Lock::<()>::opener().namespace(namespace).open("turn")?;
    let no_more = Event::opener().namespace(namespace).open("no-more")?;
    println!("worker {number} starts");
    while !no_more.is_set() {
        let guard = turn.acquire()?;
        if items.is_empty() {
            drop(guard);
            no_more.wait_timeout(PAUSE)?;
        } else {
            let Plain(item) = items.get()?; // at once: who takes something holds the lock
            drop(guard);
            println!("worker {number} has item {item}");
            thread::sleep(PAUSE);
        }
    }
    println!("worker {number} ends");
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let items = queue(namespace).create("items")?;
    Lock::options().namespace(namespace).create("turn")?;
    let no_more = Event::options().namespace(namespace).create("no-more")?;
    let child = |number: u32| {
        let mut child = Command::new(env::current_exe()?);
        child.arg(number.to_string()).arg(namespace.path()).spawn()
    };
    let mut workers = (1..=WORKERS)
        .map(child)
        .collect::<Result<Vec<Child>, _>>()?;
    for item in 0..ITEMS {
        items.put(Plain(item))?;
    }
    while !items.is_empty() {
        thread::sleep(PAUSE);
    }
    no_more.set()?;
    for worker in &mut workers {
        assert!(worker.wait()?.success());
    }
    println!("the queue is empty");
    Ok(())
}
