//! What a blocked waiter costs: `blocked [waiters] [seconds]`, by default 20 for 10 s.
//!
//! Processes block in `get` on one empty queue; as many sleep without a queue, and as many sleep but wake as often as a
//! waiter looks for the dead. Their CPU clocks are read twice, so many seconds apart. In the end the queue is closed, and
//! every waiter must say so: it was blocked all the time.

use ipc_benches::queue::{self, Named};
use ipc_core::{GetError, Plain, Queue, WaitStrategy};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::env;
use std::error::Error;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

/// Until everybody has started and blocked.
const SETTLE: Duration = Duration::from_secs(1);
/// How often a waiter looks for the dead.
const LOOK: Duration = Duration::from_millis(100);
/// Longer than anybody measures.
const FOREVER: Duration = Duration::from_secs(1_000_000);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["as", part, name] => play(part, name),
        [] => measure(20, 10),
        [waiters] => measure(waiters.parse()?, 10),
        [waiters, seconds] => measure(waiters.parse()?, seconds.parse()?),
        _ => Err("usage: blocked [waiters] [seconds]".into()),
    }
}

/// The parts that processes play, and what they stand for.
const PARTS: [(&str, &str); 5] = [
    ("adaptive", "blocked in get"),
    ("sleep", "blocked in get, WaitStrategy::Sleep"),
    ("timeout", "blocked in get_timeout"),
    ("waking", "asleep, awake every 100 ms"),
    ("asleep", "asleep"),
];

/// A child's life. Waiters end when the queue is closed, the others when they are killed.
fn play(part: &str, name: &str) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let open = |strategy| queue::open::<Plain<u64>>(name, strategy);
    let is_closed = match part {
        "adaptive" => matches!(open(WaitStrategy::Adaptive)?.get(), Err(GetError::Closed)),
        "sleep" => matches!(open(WaitStrategy::Sleep)?.get(), Err(GetError::Closed)),
        "timeout" => {
            let got = open(WaitStrategy::Adaptive)?.get_timeout(FOREVER);
            matches!(got, Err(ipc_core::GetTimeoutError::Closed))
        }
        "waking" => loop {
            thread::sleep(LOOK);
        },
        _ => loop {
            thread::sleep(FOREVER);
        },
    };
    is_closed
        .then_some(())
        .ok_or_else(|| "the wait ended before the queue was closed".into())
}

fn measure(waiters: usize, seconds: u64) -> Result<(), Failure> {
    println!(
        "{waiters} processes of each kind, {seconds} s\n\n\
         | process | CPU, % of a core | over waking | over asleep |\n|---|--:|--:|--:|"
    );
    let mut shares = Vec::new();
    for (part, _) in PARTS {
        shares.push(share(part, waiters, Duration::from_secs(seconds))?);
    }
    let [.., waking, asleep] = shares[..] else {
        return Err("no parts".into());
    };
    for ((_, what), share) in PARTS.iter().zip(&shares) {
        let over = |base: f64| match base {
            0.0 => "-".to_owned(),
            base => format!("{:.2}", share / base),
        };
        let (over_waking, over_asleep) = (over(waking), over(asleep));
        println!("| {what} | {share:.5} | {over_waking} | {over_asleep} |");
    }
    Ok(())
}

/// How much of a core each of `count` processes uses, in per cent.
fn share(part: &str, count: usize, time: Duration) -> Result<f64, Failure> {
    let options = Queue::<Plain<u64>>::options(64).participants(u32::try_from(count + 2)?);
    let queue = Named::create(options);
    let start = || {
        Command::new(env::current_exe()?)
            .args(["as", part, queue.name()])
            .spawn()
    };
    let mut children = (0..count).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    thread::sleep(SETTLE);
    let (began, before) = (Instant::now(), cpu_time(&children)?);
    thread::sleep(time);
    let (elapsed, after) = (began.elapsed(), cpu_time(&children)?);
    queue.open().close();
    for child in &mut children {
        if matches!(part, "waking" | "asleep") {
            child.kill()?;
            child.wait()?;
        } else if !child.wait()?.success() {
            return Err(format!("a waiter ({part}) failed").into());
        }
    }
    let used = (after - before).as_secs_f64() / count as f64;
    Ok(100.0 * used / elapsed.as_secs_f64())
}

/// Of all children that live, exact to the nanosecond.
fn cpu_time(children: &[Child]) -> Result<Duration, Failure> {
    let mut sum = Duration::ZERO;
    for child in children {
        let clock = clock_getcpuclockid(Pid::from_raw(child.id().try_into()?))?;
        sum += Duration::from(clock_gettime(clock)?);
    }
    Ok(sum)
}
