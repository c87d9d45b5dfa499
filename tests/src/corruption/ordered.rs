//! The same for queues in another order than first in, first out: lies before they are opened, and between the calls.
//!
//! Only calls that do not wait, or not for long, are made.

use std::fs;

use ipc_core::{Bytes, LifoQueue, Namespace, PriorityQueue, wait};

use super::edit::{Edit, value};
use super::layout::{IDENTITY, SLOT, SLOTS, word};
use super::trial::{Bench, Disturb, Outcome, TIMEOUT, strategy};
use crate::random::Random;

const PARTICIPANTS: u32 = 4;
const CAPACITY: usize = 5;
/// Where the lock is; then gate, counts, taken bits, entries, cells.
const LOCK: usize = (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(128);
const COUNTS: usize = LOCK + 256;
const ENTRIES: usize = COUNTS + 256;
const CELLS: usize = ENTRIES + (CAPACITY * 24).next_multiple_of(128);
const CELL: usize = 64;
/// A message in three blocks.
const LONG: usize = 1500;

/// The file of a queue, with somebody in it who is dead in a copy.
#[derive(Debug, Clone)]
pub struct OrderedSnapshot {
    pub(super) is_lifo: bool,
    pub(super) bytes: Vec<u8>,
}

fn message(random: &mut Random) -> Bytes {
    let length = random.pick(&[0, 1, 30, LONG]);
    Bytes(vec![random.below(256) as u8; length])
}

/// Some of both kinds, empty and full, made in `namespace`.
///
/// # Errors
///
/// When a queue refuses what it should not.
pub fn snapshots(namespace: &Namespace) -> Outcome<Vec<OrderedSnapshot>> {
    let mut all = Vec::new();
    let path = namespace.path().join("snapshot");
    macro_rules! made {
        ($queue:ident, $is_lifo:literal, |$made:ident, $priority:ident, $message:ident| $put:expr) => {{
            let options = $queue::<Bytes>::options(CAPACITY)
                .memory(16 << 10)
                .inline_bytes(CELL - 32)
                .participants(PARTICIPANTS)
                .namespace(namespace);
            let $made = options.create("snapshot")?;
            for count in 0..=CAPACITY {
                let bytes = fs::read(&path)?;
                all.push(OrderedSnapshot {
                    is_lifo: $is_lifo,
                    bytes,
                });
                if count < CAPACITY {
                    let length = if count % 2 == 0 { 10 } else { LONG };
                    let $message = Bytes(vec![count as u8; length]);
                    let $priority = (count % 3) as i64;
                    $put?;
                }
            }
            $made.unlink()?;
        }};
    }
    made!(LifoQueue, true, |queue, priority, message| {
        debug_assert!(priority >= 0);
        queue.put(message)
    });
    made!(PriorityQueue, false, |queue, priority, message| queue
        .put(priority, message));
    Ok(all)
}

/// What a liar would write: mostly over the lock, the order and the cells.
pub(super) fn lie(random: &mut Random, file: &[u8]) -> Edit {
    let at = match random.below(16) {
        0 => LOCK,
        1 => LOCK + 128 + 8 * random.index(4),
        2 | 3 => COUNTS + 8 * random.index(2),
        4 => COUNTS + 128,
        5..=7 => ENTRIES + 8 * random.index(3 * CAPACITY),
        8..=11 => CELLS + CELL * random.index(CAPACITY),
        12 => CELLS + CELL * random.index(CAPACITY) + 8 * random.index(5),
        13 => IDENTITY + 8 * random.index((LOCK - IDENTITY) / 8),
        14 => 16 + 8 * random.index(8),
        _ => 8 * random.index(file.len() / 8),
    };
    let old = word(file, at);
    let owner = random.pick(&[0, 1, 2, 3, 5, 0x3fff]);
    let number = match random.below(4) {
        // A claim word, a lock's word.
        0 => old >> 21 << 21 | random.below(3) << 17 | owner << 3 | random.below(6),
        1 => old >> 40 << 40 | owner << 4 | random.below(16),
        2 => random.below(CAPACITY as u64 + 2),
        _ => value(random, old),
    };
    Edit {
        offset: at,
        bytes: number.to_le_bytes().to_vec(),
    }
}

/// One trial.
///
/// # Errors
///
/// When the trial cannot be made.
pub fn run(bench: &mut Bench, snapshots: &[OrderedSnapshot], seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let snapshot = &snapshots[random.index(snapshots.len())];
    let mut bytes = snapshot.bytes.clone();
    let lies_before = !random.one_in(4);
    if lies_before {
        for _ in 0..1 + random.below(4) {
            lie(&mut random, &snapshot.bytes).apply(&mut bytes);
        }
    }
    let name = format!("victim-{seed}");
    let victim = bench.file(&name, &bytes)?;
    let namespace = bench.namespace().clone();
    bench.step(seed, "inspect", || namespace.inspect(&name));
    if random.one_in(4) {
        bench.step(seed, "namespace sweep", || namespace.sweep(&name));
    }
    let rounds = 6 + random.below(14);
    let mut disturb = |random: &mut Random| {
        if random.one_in(3) || !lies_before {
            victim.lie(&lie(random, &snapshot.bytes), bytes.len());
        }
    };
    let operate = if snapshot.is_lifo {
        operate_lifo
    } else {
        operate_priority
    };
    operate(bench, seed, &mut random, &name, rounds, &mut disturb);
    Ok(())
}

macro_rules! operate {
    ($name:ident, $queue:ident, |$opened:ident, $priority:ident, $message:ident| $try_put:expr, $put_timeout:expr) => {
        /// Opens the queue and runs so many operations, between which somebody lies.
        pub(super) fn $name(
            bench: &mut Bench,
            seed: u64,
            random: &mut Random,
            name: &str,
            rounds: u64,
            disturb: Disturb<'_>,
        ) {
            let namespace = bench.namespace().clone();
            let options = $queue::<Bytes>::options(1)
                .wait(strategy(random))
                .namespace(&namespace);
            let Some($opened) = bench.step(seed, "open", || options.open(name)) else {
                return;
            };
            for _ in 0..rounds {
                disturb(random);
                let ($priority, $message) = (random.below(5) as i64, message(random));
                debug_assert!($priority >= 0);
                match random.below(13) {
                    0..=2 => drop(bench.step(seed, "try_put", || $try_put)),
                    3..=5 => drop(bench.step(seed, "try_get", || $opened.try_get())),
                    6 => drop(bench.step(seed, "put_timeout", || $put_timeout)),
                    7 => drop(bench.step(seed, "get_timeout", || $opened.get_timeout(TIMEOUT))),
                    8 => drop(bench.step(seed, "peek", || $opened.peek())),
                    9 => drop(bench.step(seed, "sweep", || $opened.sweep())),
                    10 => drop(bench.step(seed, "inspect", || namespace.inspect(name))),
                    11 => drop(bench.step(seed, "wait", || {
                        wait(&[&$opened, &$opened.writable()], TIMEOUT)
                    })),
                    _ => {
                        let look = || ($opened.len(), $opened.is_empty(), $opened.is_full());
                        bench.step(seed, "look", || Ok::<_, ()>(look()));
                        if random.one_in(4) {
                            bench.step(seed, "close", || Ok::<_, ()>($opened.close()));
                        }
                    }
                }
            }
            bench.step(seed, "drop", || {
                drop($opened);
                Ok::<_, ()>(())
            });
        }
    };
}

operate!(
    operate_lifo,
    LifoQueue,
    |queue, priority, message| queue.try_put(message),
    queue.put_timeout(message, TIMEOUT)
);
operate!(
    operate_priority,
    PriorityQueue,
    |queue, priority, message| queue.try_put(priority, message),
    queue.put_timeout(priority, message, TIMEOUT)
);
