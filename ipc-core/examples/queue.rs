//! Jobs to child processes and results back, over two queues without names.
//!
//! A queue handle is a message like any other: here it travels as an argument. One child is killed in the middle; its
//! siblings finish the work, and whatever it had taken and not answered is known by its number and done here.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example queue
//! ```

use std::{
    collections::BTreeSet,
    env,
    process::{Child, Command},
};

use ipc_core::{Plain, Queue};

type Jobs = Queue<Plain<u64>>;
type Results = Queue<Plain<[u64; 2]>>;
type Failure = Box<dyn std::error::Error>;

const JOBS: u64 = 20_000;

fn main() -> Result<(), Failure> {
    match env::args().nth(1) {
        Some(handles) => work(&handles),
        None => lead(),
    }
}

/// The steps of the Collatz sequence of `n`.
fn collatz(n: u64) -> u64 {
    let mut n = n;
    let mut steps = 0;
    while n > 1 {
        n = if n.is_multiple_of(2) {
            n / 2
        } else {
            3 * n + 1
        };
        steps += 1;
    }
    steps
}

fn work(handles: &str) -> Result<(), Failure> {
    let (jobs, results): (Jobs, Results) = serde_json::from_str(handles)?;
    for job in &jobs {
        let Plain(n) = job?;
        results.put(Plain([n, collatz(n)]))?;
    }
    Ok(())
}

fn lead() -> Result<(), Failure> {
    let jobs = Jobs::anonymous(256)?;
    let results = Results::anonymous(JOBS as usize)?;
    let handles = serde_json::to_string(&(&jobs, &results))?;
    let mut workers = (0..3)
        .map(|_| Command::new(env::current_exe()?).arg(&handles).spawn())
        .collect::<Result<Vec<Child>, _>>()?;

    for n in 1..=JOBS {
        jobs.put(Plain(n))?;
        if n == JOBS / 2 {
            workers[0].kill()?; // SIGKILL, wherever it is
        }
    }
    jobs.close();
    for worker in &mut workers {
        worker.wait()?;
    }
    results.close();

    let mut missing: BTreeSet<u64> = (1..=JOBS).collect();
    let mut longest = [0, 0];
    for result in &results {
        let Plain(result) = result?;
        assert!(missing.remove(&result[0]), "every answer comes once");
        longest = if result[1] > longest[1] {
            result
        } else {
            longest
        };
    }
    for n in &missing {
        longest = if collatz(*n) > longest[1] {
            [*n, collatz(*n)]
        } else {
            longest
        };
    }
    println!(
        "longest below {JOBS}: {} with {} steps",
        longest[0], longest[1]
    );
    println!("the killed worker had {} job(s) in hand", missing.len());
    assert_eq!(longest, [17_647, 278]);
    assert!(missing.len() <= 1);
    Ok(())
}
