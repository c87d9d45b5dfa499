//! What it takes to wake everybody at once: `herd [waiters] [rounds]`, by default 1,000 and 21.
//!
//! Threads of four processes, on whatever cores there are, wait for one [`Event`]. Measured is the time from the call of `set`
//! until the last of them runs, and how long the call itself takes. In turn, the same threads wait on one futex word, and one
//! `FUTEX_WAKE` wakes them all: that is the floor. Each round begins when all waiters sleep, as the kernel says.

use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::sync::Name;
use ipc_benches::{Shared, ZeroIsValid, futex_wait, futex_wake, nth_core, unpin};
use ipc_core::{Event, WaitStrategy};
use nix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Processes that the waiters are spread over.
const PROCESSES: usize = 4;
/// Plenty for a thread that only waits.
const STACK: usize = 64 << 10;
/// Until all of a herd run or sleep.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |a| a.parse());
    let (waiters, rounds) = (number(0, 1000)?, number(1, 21)?);
    let herd = Herd::start(waiters.next_multiple_of(PROCESSES));
    println!(
        "{} threads of {PROCESSES} processes, median of {rounds} rounds\n\n\
         | woken by | until all run | for each | the call |\n|---|--:|--:|--:|",
        herd.waiters
    );
    let mut taken: [Vec<Round>; 2] = Default::default();
    // The first of each also brings in the pages.
    for round in 0..2 * (rounds + 1) {
        let taken_so = herd.round(WAYS[round % 2]);
        if round >= 2 {
            taken[round % 2].push(taken_so);
        }
    }
    let mut medians = [0.0; 2];
    for ((way, taken), all) in WAYS.iter().zip(&taken).zip(&mut medians) {
        *all = median(taken.iter().map(|r| r.all));
        let call = median(taken.iter().map(|r| r.call));
        println!(
            "| {} | {:.3} ms | {:.2} µs | {:.3} ms |",
            way.name(),
            *all / 1e6,
            *all / 1e3 / herd.waiters as f64,
            call / 1e6
        );
    }
    let ratios = taken[1].iter().zip(&taken[0]).map(|(a, b)| a.all / b.all);
    println!(
        "\nEvent::set over FUTEX_WAKE: {:.2}, round by round",
        median(ratios)
    );
    Ok(())
}

/// How a herd is woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Futex,
    Event,
}

const WAYS: [Way; 2] = [Way::Futex, Way::Event];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Futex => "FUTEX_WAKE(INT_MAX)",
            Self::Event => "Event::set",
        }
    }
}

/// Nanoseconds of one round.
struct Round {
    all: f64,
    call: f64,
}

/// What the leader and the waiters share. Written with Release and read with Acquire, each.
#[repr(C, align(128))]
struct Field {
    /// Counts rounds: odd ones wait on the futex, even ones for the event.
    gate: AtomicU32,
    /// What waiters of odd rounds wait on.
    floor: AtomicU32,
    waiting: AtomicU32,
    running: AtomicU32,
    /// When the last of them ran.
    ended: AtomicU64,
    /// The kernel's numbers of the processes.
    pids: [AtomicU32; PROCESSES],
}

// SAFETY: atomics only, for which zero is a value; aligned to 128.
#[allow(unsafe_code)]
unsafe impl ZeroIsValid for Field {}

struct Herd {
    field: Arc<Shared<Field>>,
    event: Event,
    waiters: usize,
    rounds: std::cell::Cell<u32>,
    /// Ends the processes when it goes.
    _crew: Crew,
    _name: Name,
}

impl Herd {
    fn start(waiters: usize) -> Self {
        let listed = u32::try_from(waiters + PROCESSES + 1).expect("a few thousand waiters");
        let name = Name::of(|place, name| {
            let options = Event::options().namespace(place);
            options.participants(listed).create(name)
        });
        let open = name.opener(|place, name| {
            let options = Event::opener().namespace(place).wait(WaitStrategy::Sleep);
            options.open(name)
        });
        let field = Arc::new(Shared::<Field>::zeroed());
        let role = |process: usize| {
            let (open, field) = (open.clone(), Arc::clone(&field));
            Role::new("herd", nth_core(process), move |crew: &mut Rounds| {
                unpin();
                let event = open();
                for _ in 0..waiters / PROCESSES {
                    let (event, field) = (event.clone(), Arc::clone(&field));
                    let life = move || wait_and_run(&event, &field);
                    let thread = thread::Builder::new().stack_size(STACK).spawn(life);
                    drop(thread.expect("start a waiter"));
                }
                field.pids[process].store(std::process::id(), Ordering::Release);
                crew.each(|_| {}); // until the leader ends
            })
        };
        let crew = Crew::start(Workers::Processes, (0..PROCESSES).map(role).collect());
        Self {
            field,
            event: open(),
            waiters,
            rounds: Default::default(),
            _crew: crew,
            _name: name,
        }
    }

    /// Lets all wait, and wakes them.
    fn round(&self, way: Way) -> Round {
        let field = &*self.field;
        let round = self.rounds.get() + 1;
        self.rounds.set(round);
        assert_eq!(way == Way::Futex, round % 2 == 1, "they take turns");
        field.waiting.store(0, Ordering::Release);
        field.running.store(0, Ordering::Release);
        self.event.clear().expect("clear the event");
        field.gate.store(round, Ordering::Release);
        futex_wake(&field.gate, u32::MAX >> 1);
        self.until("wait", &field.waiting);
        self.until_asleep();

        let began = now();
        match way {
            Way::Futex => {
                field.floor.store(round, Ordering::Release);
                futex_wake(&field.floor, u32::MAX >> 1);
            }
            Way::Event => assert!(self.event.set().expect("set the event")),
        }
        let called = now();
        self.until("run", &field.running);
        Round {
            all: (field.ended.load(Ordering::Acquire) - began) as f64,
            call: (called - began) as f64,
        }
    }

    /// Until `count` has reached the number of waiters.
    fn until(&self, what: &str, count: &AtomicU32) {
        let start = Instant::now();
        loop {
            let seen = count.load(Ordering::Acquire);
            if seen as usize == self.waiters {
                return;
            }
            assert!(start.elapsed() < LIMIT, "only {seen} {what}");
            thread::sleep(Duration::from_millis(1)); // keeps out of their way
        }
    }

    /// Until the kernel says that every thread of the herd sleeps. (The event's waiters wake now and then, to look for the dead.)
    fn until_asleep(&self) {
        let start = Instant::now();
        let is_running = |pid: &AtomicU32| {
            let tasks = fs::read_dir(format!("/proc/{}/task", pid.load(Ordering::Acquire)));
            tasks.expect("the herd lives").flatten().any(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit(") ").next().unwrap_or_default();
                state.starts_with('R')
            })
        };
        while self.field.pids.iter().any(is_running) {
            assert!(start.elapsed() < LIMIT, "the herd does not come to rest");
        }
    }
}

/// A waiter's life.
fn wait_and_run(event: &Event, field: &Field) {
    let mut word = 0;
    for round in 1.. {
        while field.gate.load(Ordering::Acquire) != round {
            futex_wait(&field.gate, round - 1, None);
        }
        field.waiting.fetch_add(1, Ordering::AcqRel);
        if round % 2 == 1 {
            while field.floor.load(Ordering::Acquire) == word {
                futex_wait(&field.floor, word, None);
            }
            word = round;
        } else {
            event.wait().expect("wait for the event");
        }
        field.ended.fetch_max(now(), Ordering::AcqRel);
        field.running.fetch_add(1, Ordering::AcqRel);
    }
}

/// Nanoseconds on the clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("read the monotonic clock");
    u64::try_from(Duration::from(time).as_nanos()).expect("less than 500 years since boot")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
