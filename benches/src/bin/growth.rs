//! A dictionary that grows from 1,000 pairs: `growth [pairs]`, by default to 10 million, of 16-byte keys and 64-byte values.
//!
//! After each decade all that was asked of it is held against floors of the same moment: what a lookup of a random key takes against a
//! *chase*, where each read of eight bytes in shared memory of the same size says where the next one is; the longest insertion against the
//! longest time in which the kernel gave this process a MiB of such memory; and the longest lookup against the longest pause between two
//! looks at the clock with nothing between them, which is the machine's own. Every call is timed. A call during which this process lost its
//! core to another (as the kernel counts) is said to have done so: `chrt -f 20` keeps most others away.

use ipc_benches::sync::Name;
use ipc_benches::{Shared, ZeroIsValid, nth_core, pin_to};
use ipc_core::{Dict, Plain};
use std::error::Error;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Pairs at first.
const FIRST: u64 = 1000;
/// Bytes of a pair's key and value.
const BYTES: u64 = 16 + 64;
/// What a pair may take at the most: 1.6 times its bytes, and 64.
const MOST_A_PAIR: u64 = BYTES * 8 / 5 + 64;
/// Lookups, and reads of the chase, after each decade.
const LOOKS: u64 = 1 << 20;
/// Calls longer than this are looked into.
const SLOW: Duration = Duration::from_micros(100);
/// Words of a MiB.
const WORDS: usize = (1 << 20) / 8;

type Pairs = Dict<Plain<[u64; 2]>, Plain<[u64; 8]>>;

fn main() -> Result<(), Box<dyn Error>> {
    let most = match std::env::args().nth(1) {
        Some(pairs) => pairs.parse()?,
        None => 10_000_000,
    };
    pin_to(nth_core(0));
    let limit = usize::try_from(most * MOST_A_PAIR)?.max(1 << 20);
    let options = || Dict::options().limit(limit);
    let name = Name::of(|place, name| options().namespace(place).create(name).map(|_: Pairs| ()));
    let pairs = name.opener(|place, name| Dict::options().namespace(place).open(name))();
    println!(
        "keys of 16 B, values of 64 B, a limit of {} MiB\n\n\
         | pairs | bytes a pair | insert | longest insert | over 1 ms, 10 ms | longest MiB from the kernel | get | chase | get over chase \
         | longest get | longest pause of the machine |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        limit >> 20
    );
    let mut floor = Floor::default();
    let (mut from, mut to) = (0, FIRST.min(most));
    while from < to {
        println!("{}", decade(&pairs, &mut floor, from, to));
        (from, to) = (to, most.min(to * 10));
    }
    Ok(())
}

fn decade(pairs: &Pairs, floor: &mut Floor, from: u64, to: u64) -> Row {
    let mut inserts = Calls::new(pairs);
    for number in from..to {
        let (key, value) = (Plain(key(number)), Plain([number; 8]));
        inserts.time(|| pairs.set(&key, &value).expect("there is room"));
    }
    let allocated = pairs.stat().allocated;
    let kernel = floor.grow(allocated);
    let (get, gets) = look_up(pairs, to);
    Row {
        pairs: to,
        bytes_a_pair: allocated as f64 / to as f64,
        inserts: inserts.done(),
        kernel,
        get,
        gets,
        chase: floor.chase(),
        machine: longest_pause(),
    }
}

fn key(number: u64) -> [u64; 2] {
    [number, mixed(number)]
}

/// A number that follows from another, and looks random (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Lookups of random keys: what one takes, by the clock around all; and each by itself.
fn look_up(pairs: &Pairs, count: u64) -> (Duration, Summary) {
    let look = |nth: u64| {
        let number = mixed(nth) % count;
        let value = pairs.get(&Plain(key(number))).expect("get");
        assert_eq!(value.expect("it is there").0[7], number);
    };
    (0..LOOKS / 16).for_each(look); // the caches as they will be
    let began = Instant::now();
    (LOOKS..2 * LOOKS).for_each(look);
    let mean = began.elapsed() / LOOKS as u32;
    let mut calls = Calls::new(pairs);
    for nth in 2 * LOOKS..3 * LOOKS {
        calls.time(|| look(nth));
    }
    (mean, calls.done())
}

/// The longest time between two looks at the clock, of some million.
fn longest_pause() -> Duration {
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    for _ in 0..8 * LOOKS {
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}

/// A MiB of shared memory, present from the start.
#[repr(C, align(4096))]
struct Block([AtomicU64; WORDS]);

// SAFETY: atomics only, for which zero is a value; aligned to a page.
#[allow(unsafe_code)]
unsafe impl ZeroIsValid for Block {}

/// As much shared memory as the dictionary has, with random numbers in it.
#[derive(Default)]
struct Floor(Vec<Shared<Block>>);

impl Floor {
    /// Takes as many MiB from the kernel as that needs, one by one. The longest time for one.
    fn grow(&mut self, bytes: usize) -> Duration {
        let mut longest = Duration::ZERO;
        while self.0.len() < bytes.div_ceil(8 * WORDS) {
            let began = Instant::now();
            let block = Shared::<Block>::zeroed();
            longest = longest.max(began.elapsed());
            let first = (self.0.len() * WORDS) as u64;
            for (number, word) in (first..).zip(&block.0) {
                word.store(mixed(number), Ordering::Relaxed); // nobody else has it
            }
            self.0.push(block);
        }
        longest
    }

    /// What a read takes whose place the one before it says.
    fn chase(&self) -> Duration {
        let words = (self.0.len() * WORDS) as u64;
        let follow = |from: u64, reads: std::ops::Range<u64>| {
            reads.fold(from, |seen, nth| {
                let at = (seen.wrapping_add(nth) % words) as usize;
                self.0[at / WORDS].0[at % WORDS].load(Ordering::Relaxed)
            })
        };
        let warm = follow(0, 0..LOOKS / 16);
        let began = Instant::now();
        black_box(follow(warm, 0..LOOKS));
        began.elapsed() / LOOKS as u32
    }
}

/// What a decade came to.
struct Row {
    pairs: u64,
    bytes_a_pair: f64,
    inserts: Summary,
    kernel: Duration,
    get: Duration,
    gets: Summary,
    chase: Duration,
    machine: Duration,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = |time: Duration| format!("{} ns", time.as_nanos());
        let ratio = self.get.as_secs_f64() / self.chase.as_secs_f64();
        write!(f, "| {} | {:.0} ", self.pairs, self.bytes_a_pair)?;
        write!(f, "| {} | {} ", nanos(self.inserts.mean()), self.inserts)?;
        let (over_1, over_10) = (self.inserts.over_1_ms, self.inserts.over_10_ms);
        write!(f, "| {over_1}, {over_10} | {} ", micros(self.kernel))?;
        write!(f, "| {} | {} ", nanos(self.get), nanos(self.chase))?;
        write!(
            f,
            "| {ratio:.2} | {} | {} |",
            self.gets,
            micros(self.machine)
        )
    }
}

/// A call that took long.
#[derive(Clone, Copy, Default)]
struct Slow {
    time: Duration,
    /// Whether the dictionary took memory from the file system meanwhile.
    grew: bool,
    /// Whether this process lost its core meanwhile, and not of its own will.
    was_preempted: bool,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match (self.grew, self.was_preempted) {
            (_, true) => " (preempted)",
            (true, false) => " (grew)",
            (false, false) => "",
        };
        write!(f, "{}{why}", micros(self.time))
    }
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

/// Calls, each of them timed: one look at the clock between any two.
struct Calls<'a> {
    pairs: &'a Pairs,
    last: Instant,
    allocated: usize,
    preempted: u64,
    summary: Summary,
}

#[derive(Default)]
struct Summary {
    count: u32,
    all: Duration,
    longest: Slow,
    /// Of the calls in which it kept its core.
    longest_undisturbed: Slow,
    over_1_ms: u32,
    over_10_ms: u32,
}

impl Summary {
    fn mean(&self) -> Duration {
        self.all / self.count.max(1)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.longest_undisturbed)?;
        if self.longest.was_preempted {
            write!(f, ", {}", self.longest)?;
        }
        Ok(())
    }
}

impl<'a> Calls<'a> {
    fn new(pairs: &'a Pairs) -> Self {
        Self {
            pairs,
            allocated: pairs.stat().allocated,
            preempted: preemptions(),
            summary: Summary::default(),
            last: Instant::now(),
        }
    }

    #[inline]
    fn time(&mut self, call: impl FnOnce()) {
        call();
        let now = Instant::now();
        let time = now - self.last;
        self.last = now;
        self.summary.count += 1;
        self.summary.all += time;
        if time > SLOW || time > self.summary.longest.time {
            self.look_into(time);
        }
    }

    #[cold]
    fn look_into(&mut self, time: Duration) {
        let mut call = Slow {
            time,
            ..Slow::default()
        };
        if time > SLOW {
            let (allocated, preempted) = (self.pairs.stat().allocated, preemptions());
            call.grew = allocated != self.allocated;
            call.was_preempted = preempted != self.preempted;
            (self.allocated, self.preempted) = (allocated, preempted);
        }
        let summary = &mut self.summary;
        summary.over_1_ms += u32::from(time > Duration::from_millis(1));
        summary.over_10_ms += u32::from(time > Duration::from_millis(10));
        if time > summary.longest.time {
            summary.longest = call;
        }
        if !call.was_preempted && time > summary.longest_undisturbed.time {
            summary.longest_undisturbed = call;
        }
        self.last = Instant::now();
    }

    fn done(self) -> Summary {
        self.summary
    }
}

/// How often the kernel has taken this thread's core away.
fn preemptions() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
