//! Two workers a core do ten jobs: each puts what came of a job into a queue of results, says that the job is done, and ends at
//! its poison pill. The first job's worker is killed over it: somebody else does it again.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example joinable
//! ```

use std::{
    env,
    error::Error,
    process::{Child, Command, Stdio},
};

use ipc_core::{Bytes, JoinableQueue, Queue};

const JOBS: u32 = 10;

/// A pair to multiply; `None` is a pill.
type Task = Option<(u32, u32)>;
type Tasks = JoinableQueue<Task>;
type Results = Queue<Bytes>;

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1) {
        Some(handles) => work(&handles),
        None => lead(),
    }
}

fn lead() -> Result<(), Box<dyn Error>> {
    let tasks = Tasks::anonymous(100)?;
    let results = Results::anonymous(100)?;
    let handles = serde_json::to_string(&(&tasks, &results))?;

    // One takes a job and is killed over it.
    tasks.put(Some((0, 0)))?;
    let mut victim = start(&handles, true)?;
    while tasks.leased() == 0 {
        std::thread::yield_now();
    }
    victim.kill()?;
    victim.wait()?;

    let count = 2 * std::thread::available_parallelism()?.get();
    println!("Creating {count} consumers");
    let workers: Vec<Child> = (0..count)
        .map(|_| start(&handles, false))
        .collect::<Result<_, _>>()?;
    for i in 1..JOBS {
        tasks.put(Some((i, i)))?;
    }
    for _ in 0..count {
        tasks.put(None)?;
    }
    tasks.join()?;
    println!("all jobs are done");
    for mut worker in workers {
        assert!(worker.wait()?.success(), "a worker failed");
    }
    for _ in 0..JOBS {
        println!("Result: {}", String::from_utf8(results.get()?.0)?);
    }
    Ok(())
}

fn start(handles: &str, is_victim: bool) -> std::io::Result<Child> {
    let role = if is_victim { "victim" } else { "worker" };
    Command::new(env::current_exe()?)
        .args([handles, role])
        .stdin(Stdio::null())
        .spawn()
}

fn work(handles: &str) -> Result<(), Box<dyn Error>> {
    let (tasks, results): (Tasks, Results) = serde_json::from_str(handles)?;
    let is_victim = env::args().nth(2).as_deref() == Some("victim");
    for job in &tasks {
        let job = job?;
        if is_victim {
            loop {
                std::thread::park(); // until it is killed
            }
        }
        let Some((a, b)) = *job else {
            job.task_done()?;
            println!("{}: exiting", std::process::id());
            break;
        };
        let text = format!("{a} * {b} = {} (attempt {})", a * b, job.attempt());
        results.put(Bytes::from(text))?;
        job.task_done()?;
    }
    Ok(())
}
