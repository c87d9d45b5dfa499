//! The same for joinable queues: lies before they are opened, and between the calls.
//!
//! Only calls that do not wait, or not for long, are made.

use std::fs;
use std::time::Duration;

use ipc_core::{Bytes, JoinableQueue, Namespace};

use super::edit::{Edit, value};
use super::layout::{IDENTITY, Layout, meta, word};
use super::trial::{Bench, Disturb, Outcome, TIMEOUT, strategy};
use crate::random::Random;

const PARTICIPANTS: u32 = 4;
const CAPACITY: usize = 4;
const LEASES: usize = 6;
/// Bytes of a cell's payload, and of a record with it.
const INLINE: usize = 104;
const RECORD: usize = 192;
/// A job in three blocks.
const LONG: usize = 1500;

type Jobs = JoinableQueue<Bytes>;

/// The file of a queue, with somebody in it who is dead in a copy.
#[derive(Debug, Clone)]
pub struct JoinableSnapshot {
    pub(super) bytes: Vec<u8>,
}

fn job(random: &mut Random) -> Bytes {
    let length = random.pick(&[0, 1, 90, LONG]);
    Bytes(vec![random.below(256) as u8; length])
}

/// Where the records are: behind the desk, which is behind all that a queue has.
fn records(file: &[u8]) -> usize {
    Layout::of(file).end.next_multiple_of(128) + 128
}

/// Some, with jobs in all states, made in `namespace`.
///
/// # Errors
///
/// When a queue refuses what it should not.
pub fn snapshots(namespace: &Namespace) -> Outcome<Vec<JoinableSnapshot>> {
    let mut all = Vec::new();
    let path = namespace.path().join("snapshot");
    for lease_time in [Duration::ZERO, Duration::from_millis(1)] {
        let queue = Jobs::options(CAPACITY)
            .leases(LEASES)
            .max_attempts(3)
            .lease_time(lease_time)
            .memory(16 << 10)
            .inline_bytes(INLINE)
            .participants(PARTICIPANTS)
            .namespace(namespace)
            .create("snapshot")?;
        let mut snap = || -> Outcome {
            let bytes = fs::read(&path)?;
            assert_eq!(records(&bytes) + RECORD * LEASES, bytes.len(), "the layout");
            all.push(JoinableSnapshot { bytes });
            Ok(())
        };
        snap()?;
        let put = |count: u8| {
            let length = if count.is_multiple_of(2) { 10 } else { LONG };
            queue.put(Bytes(vec![count; length]))
        };
        (0..4).try_for_each(put)?;
        snap()?;
        let leased = [queue.get()?, queue.get()?];
        snap()?;
        queue.get()?.give_back()?;
        snap()?;
        queue.get()?.give_up()?;
        (4..6).try_for_each(put)?;
        snap()?;
        drop(leased);
        queue.unlink()?;
    }
    Ok(all)
}

/// What a liar would write: mostly over the records, and the cells.
pub(super) fn lie(random: &mut Random, file: &[u8]) -> Edit {
    let layout = Layout::of(file);
    let desk = records(file) - 128;
    let record = desk + 128 + RECORD * random.index(LEASES);
    let at = match random.below(16) {
        0 | 1 => desk + 8 * random.index(3),
        2..=6 => record,
        7..=9 => record + 8 * random.index(7),
        10 | 11 => layout.ctl(random.index(CAPACITY)),
        12 => layout.meta + 8 * random.index(layout.blocks),
        13 => IDENTITY + 8 * random.index((layout.tail - IDENTITY) / 8),
        14 => 16 + 8 * random.index(12),
        _ => 8 * random.index(file.len() / 8),
    };
    let old = word(file, at);
    let owner = random.pick(&[0, 1, 2, 3, 5, 0x3fff]);
    let number = match random.below(4) {
        // A claim word, of this generation or a near one.
        0 | 1 => meta(
            (old >> 18).wrapping_add(random.below(2)),
            owner,
            random.below(9),
        ),
        2 => random.below(LEASES as u64 + 2),
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
pub fn run(bench: &mut Bench, snapshots: &[JoinableSnapshot], seed: u64) -> Outcome {
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
    let rounds = 8 + random.below(16);
    let mut disturb = |random: &mut Random| {
        if random.one_in(3) || !lies_before {
            victim.lie(&lie(random, &snapshot.bytes), bytes.len());
        }
    };
    operate(bench, seed, &mut random, &name, rounds, &mut disturb);
    Ok(())
}

/// Opens the queue and runs so many operations, between which somebody lies.
pub(super) fn operate(
    bench: &mut Bench,
    seed: u64,
    random: &mut Random,
    name: &str,
    rounds: u64,
    disturb: Disturb<'_>,
) {
    let options = Jobs::options(1)
        .wait(strategy(random))
        .namespace(bench.namespace());
    let Some(queue) = bench.step(seed, "open", || options.open(name)) else {
        return;
    };
    let mut held = Vec::new();
    for _ in 0..rounds {
        disturb(random);
        step(bench, seed, random, &queue, &mut held);
    }
    bench.step(seed, "drop jobs", || {
        drop(held);
        Ok::<_, ()>(())
    });
    bench.step(seed, "drop", || {
        drop(queue);
        Ok::<_, ()>(())
    });
}

/// One operation, on the queue or on a job that is held.
fn step<'q>(
    bench: &mut Bench,
    seed: u64,
    random: &mut Random,
    queue: &'q Jobs,
    held: &mut Vec<ipc_core::Job<'q, Bytes>>,
) {
    match random.below(16) {
        0..=2 => drop(bench.step(seed, "try_put", || queue.try_put(job(random)))),
        3..=5 => held.extend(bench.step(seed, "try_get", || queue.try_get())),
        6 => held.extend(bench.step(seed, "get_timeout", || queue.get_timeout(TIMEOUT))),
        7 => drop(bench.step(seed, "put_timeout", || {
            queue.put_timeout(job(random), TIMEOUT)
        })),
        8 => drop(bench.step(seed, "join_timeout", || queue.join_timeout(TIMEOUT))),
        9 => drop(bench.step(seed, "take_dead", || queue.take_dead())),
        10 => drop(bench.step(seed, "requeue_dead", || queue.requeue_dead())),
        11 => drop(bench.step(seed, "dead", || queue.dead())),
        12 => drop(bench.step(seed, "sweep", || queue.sweep())),
        13 => {
            let look = || {
                (
                    queue.len(),
                    queue.unfinished(),
                    queue.leased(),
                    queue.dead_len(),
                )
            };
            bench.step(seed, "look", || Ok::<_, ()>(look()));
            if random.one_in(4) {
                bench.step(seed, "close", || {
                    queue.close();
                    Ok::<_, ()>(())
                });
            }
        }
        _ if !held.is_empty() => {
            let mut job = held.swap_remove(random.index(held.len()));
            match random.below(4) {
                0 | 1 => drop(bench.step(seed, "task_done", || job.task_done())),
                2 => drop(bench.step(seed, "give_back", || job.give_back())),
                _ => {
                    bench.step(seed, "renew", || job.renew());
                    held.push(job);
                }
            }
        }
        _ => {}
    }
}
