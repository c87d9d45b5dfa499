//! Jobs a second of `ipc pool run` over `true`, against `xargs -P` and GNU parallel if it is there. Rounds take turns, and what counts is the ratio.
//!
//! `cargo build --release -p ipc-tools && cargo run --release -p ipc-benches --bin jobs [JOBS] [ROUNDS]`

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

const WORKERS: &str = "2";

/// Who runs jobs, and how many for each that `ipc pool run` runs.
struct Runner {
    name: &'static str,
    command: Vec<String>,
    share: usize,
    rates: Vec<f64>,
}

fn main() {
    let mut arguments = env::args().skip(1).map(|n| n.parse().expect("a number"));
    let jobs: usize = arguments.next().unwrap_or(10_000);
    let rounds: usize = arguments.next().unwrap_or(3);
    let ipc: PathBuf = env::current_exe()
        .expect("this program has a file")
        .with_file_name("ipc");
    let ipc = ipc.to_str().expect("its path is text");
    let runner = |name, command: &str, share| Runner {
        name,
        command: command.split(' ').map(str::to_owned).collect(),
        share,
        rates: Vec::new(),
    };
    let mut runners = vec![
        runner(
            "ipc pool run",
            &format!("{ipc} pool run -j{WORKERS} true"),
            1,
        ),
        runner("xargs", &format!("xargs -P{WORKERS} -n1 true"), 1),
    ];
    if Command::new("parallel").arg("--version").output().is_ok() {
        runners.push(runner("parallel", &format!("parallel -j{WORKERS} true"), 5));
    }
    for _ in 0..rounds {
        for runner in &mut runners {
            let count = jobs / runner.share;
            runner.rates.push(rate(&runner.command, count));
        }
    }
    let ours = median(&mut runners[0].rates);
    for runner in &mut runners {
        let rate = median(&mut runner.rates);
        println!(
            "{:<14} {rate:>7.0} jobs/s; ours is {:.2} x",
            runner.name,
            ours / rate
        );
    }
}

/// Jobs a second.
fn rate(command: &[String], jobs: usize) -> f64 {
    let start = Instant::now();
    let mut run = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", command[0]));
    let lines: String = (0..jobs).map(|n| format!("{n}\n")).collect();
    let mut stdin = run.stdin.take().expect("a pipe was asked for");
    stdin.write_all(lines.as_bytes()).expect("it reads");
    drop(stdin);
    assert!(run.wait().expect("it ends").success());
    jobs as f64 / start.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
