//! A stack and a priority queue between two processes: one puts, the other gets.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example orders
//! ```

use std::{env, process::Command};

use ipc_core::{LifoQueue, PriorityQueue};

type Queues = (LifoQueue<String>, PriorityQueue<String>);
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    match env::args().nth(1) {
        Some(handles) => get(&serde_json::from_str(&handles)?),
        None => put(),
    }
}

fn get((stack, jobs): &Queues) -> Result<(), Failure> {
    for page in stack {
        println!("page {}", page?);
    }
    for job in jobs {
        let (priority, job) = job?;
        println!("{priority:2} {job}");
    }
    Ok(())
}

fn put() -> Result<(), Failure> {
    let stack = LifoQueue::anonymous(8)?;
    for page in ["one", "two", "three"] {
        stack.put(page.to_owned())?;
    }
    let jobs = PriorityQueue::anonymous(8)?;
    for (priority, job) in [
        (5, "sweep"),
        (10, "rest"),
        (5, "dust"),
        (-1, "put out the fire"),
        (5, "mop"),
    ] {
        jobs.put(priority, job.to_owned())?;
    }
    stack.close();
    jobs.close();
    let handles: Queues = (stack, jobs);
    let mut child = Command::new(env::current_exe()?)
        .arg(serde_json::to_string(&handles)?)
        .spawn()?;
    assert!(child.wait()?.success());
    Ok(())
}
