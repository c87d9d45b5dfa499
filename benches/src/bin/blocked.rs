//! What a blocked waiter costs: `blocked [waiters] [seconds]`, by default 20 for 10 s.
//!
//! Processes block in `get` on one empty queue, on an event, on a held lock, on a condition; as many sleep without any of them,
//! and as many sleep but wake as often as a waiter looks for the dead. Their CPU clocks are read twice, so many seconds apart.
//! In the end the queue is closed, the event set, the lock released, the condition notified, and every waiter must have
//! noticed: it was blocked all the time.

use ipc_benches::queue::{self, Named, namespace};
use ipc_benches::sync::Name;
use ipc_core::{Condition, Event, GetError, Lock, Plain, Queue, WaitStrategy};
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
        ["as", part, queue, event, turn, changed] => play(part, [queue, event, turn, changed]),
        [] => measure(20, 10),
        [waiters] => measure(waiters.parse()?, 10),
        [waiters, seconds] => measure(waiters.parse()?, seconds.parse()?),
        _ => Err("usage: blocked [waiters] [seconds]".into()),
    }
}

/// The parts that processes play, and what they stand for.
const PARTS: [(&str, &str); 8] = [
    ("adaptive", "blocked in get"),
    ("sleep", "blocked in get, WaitStrategy::Sleep"),
    ("timeout", "blocked in get_timeout"),
    ("event", "blocked in Event::wait"),
    ("lock", "blocked in Lock::acquire"),
    ("condition", "blocked in Condition::wait"),
    ("waking", "asleep, awake every 100 ms"),
    ("asleep", "asleep"),
];

/// What is waited for.
struct Objects {
    queue: Named<Plain<u64>>,
    event: Name,
    /// Becomes one when the lock is released, and when the condition is notified.
    turn: Name,
    changed: Name,
}

impl Objects {
    fn create(waiters: usize) -> Result<Self, Failure> {
        let users = u32::try_from(waiters + 2)?;
        Ok(Self {
            queue: Named::create(Queue::options(64).participants(users)),
            event: Name::of(|place, name| {
                let options = Event::options().participants(users);
                options.namespace(place).create(name)
            }),
            turn: Name::of(|place, name| {
                let options = Lock::options_with(0u32).participants(users);
                options.namespace(place).create(name)
            }),
            changed: Name::of(|place, name| {
                let options = Condition::options().waiters(waiters).participants(users);
                options.namespace(place).create(name)
            }),
        })
    }

    /// As a child's arguments.
    fn names(&self) -> [&str; 4] {
        let names = [&self.event, &self.turn, &self.changed].map(Name::as_str);
        let [event, turn, changed] = names;
        [self.queue.name(), event, turn, changed]
    }
}

fn event(name: &str) -> ipc_core::Result<Event> {
    Event::opener().namespace(&namespace()).open(name)
}

fn turn(name: &str) -> ipc_core::Result<Lock<u32>> {
    Lock::opener().namespace(&namespace()).open(name)
}

fn condition(name: &str) -> ipc_core::Result<Condition> {
    Condition::opener().namespace(&namespace()).open(name)
}

/// A child's life. Waiters end when they get what they wait for, the others when they are killed.
fn play(part: &str, names: [&str; 4]) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let [queue, set, lock, changed] = names;
    let open = |strategy| queue::open::<Plain<u64>>(queue, strategy);
    let has_come = match part {
        "adaptive" => matches!(open(WaitStrategy::Adaptive)?.get(), Err(GetError::Closed)),
        "sleep" => matches!(open(WaitStrategy::Sleep)?.get(), Err(GetError::Closed)),
        "timeout" => {
            let got = open(WaitStrategy::Adaptive)?.get_timeout(FOREVER);
            matches!(got, Err(ipc_core::GetTimeoutError::Closed))
        }
        "event" => {
            let event = event(set)?;
            event.wait()?;
            event.is_set()
        }
        "lock" => *turn(lock)?.acquire()? == 1,
        "condition" => {
            let turn = turn(lock)?;
            *condition(changed)?.wait(turn.acquire()?)? == 1
        }
        "waking" => loop {
            thread::sleep(LOOK);
        },
        _ => loop {
            thread::sleep(FOREVER);
        },
    };
    has_come
        .then_some(())
        .ok_or_else(|| "the wait ended too early".into())
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
    let objects = Objects::create(count)?;
    let turn = turn(objects.turn.as_str())?;
    // Those who wait for the condition need the lock first.
    let held = (part == "lock").then(|| turn.acquire()).transpose()?;
    let start = || {
        Command::new(env::current_exe()?)
            .args(["as", part])
            .args(objects.names())
            .spawn()
    };
    let mut children = (0..count).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    thread::sleep(SETTLE);
    let (began, before) = (Instant::now(), cpu_time(&children)?);
    thread::sleep(time);
    let (elapsed, after) = (began.elapsed(), cpu_time(&children)?);
    objects.queue.open().close();
    event(objects.event.as_str())?.set()?;
    *held.map_or_else(|| turn.acquire(), Ok)? = 1; // and released
    condition(objects.changed.as_str())?.notify_all()?;
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
