//! An object is sent through a queue, and its method is called in the child.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example object
//! ```

use std::{env, fs};

use ipc_core::{Namespace, Process, Queue, current_process};
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

#[derive(Serialize, Deserialize)]
struct Fancy {
    name: String,
}

impl Fancy {
    fn do_something(&self) {
        println!(
            "doing something fancy in {} for {}",
            current_process().name(),
            self.name
        );
    }
}

fn work(queue: Queue<Fancy>) {
    queue.get().expect("there is one").do_something();
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let dir = env::temp_dir().join(format!("ipc-example-object-{}", std::process::id()));
    let queue = Queue::options(1)
        .namespace(&Namespace::at(&dir)?)
        .anonymous()?;
    let worker = Process::spawn(work, (queue.clone(),))?;
    queue.put(Fancy {
        name: "Fancy Dan".into(),
    })?;
    worker.join()?;
    drop(queue);
    fs::remove_dir_all(dir)?;
    Ok(())
}
