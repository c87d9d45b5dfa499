//! The same for dictionaries: lies before they are opened, and between the calls. Handles have a timeout, as a lie may be that somebody
//! alive holds a stripe.

use std::fs;

use ipc_core::{Bytes, Dict, Namespace};

use super::edit::{Edit, value};
use super::layout::{IDENTITY, SLOT, SLOTS, word};
use super::trial::{Bench, Outcome, TIMEOUT};
use crate::random::Random;

const PARTICIPANTS: u32 = 4;
const LIMIT: usize = 64 << 10;
const STRIPES: usize = 128;
/// Where the parts are.
const FACTS: usize = (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(128);
const ROOTS: usize = FACTS + 128;
const LOCKS: usize = ROOTS + 8 * STRIPES;
/// Behind the notes: the log of so many changes, with half as many blocks, of 256 bytes.
const LOG: usize = LOCKS + 64 * STRIPES + 128;
const CHANGES: usize = 4;
const CELL: usize = 128;
/// Behind tail, gate and cells come the blocks' cursor, and 128 bytes for each of three words a block.
const LOG_BLOCKS: usize = LOG + 256 + CELL * CHANGES + 4 * 128;
const GROWTH: usize = LOG_BLOCKS + CHANGES / 2 * 256;
/// Behind growth, waits, spare and scarce.
const CONTROL: usize = GROWTH + 4 * 128;
const CHUNKS: usize = 16;
const HEAP: usize = (CONTROL + 16 * CHUNKS).next_multiple_of(4096);
/// Keys that are used.
const KEYS: u64 = 12;

/// The file of a dictionary, with somebody in it who is dead in a copy.
#[derive(Debug, Clone)]
pub struct DictSnapshot(Vec<u8>);

fn key(random: &mut Random) -> Bytes {
    Bytes(vec![random.below(KEYS) as u8; 3])
}

fn content(random: &mut Random) -> Bytes {
    let length = random.pick(&[0, 1, 30, 300, 6000]);
    Bytes(vec![random.below(256) as u8; length])
}

/// Some with few pairs and many, short and long, made in `namespace`.
///
/// # Errors
///
/// When a dictionary refuses what it should not.
pub fn snapshots(namespace: &Namespace) -> Outcome<Vec<DictSnapshot>> {
    let mut all = Vec::new();
    let path = namespace.path().join("snapshot");
    let made: Dict<Bytes, Bytes> = Dict::options()
        .limit(LIMIT)
        .participants(PARTICIPANTS)
        .watch_capacity(CHANGES)
        .namespace(namespace)
        .create("snapshot")?;
    let mut watch = None;
    for number in 0..KEYS {
        all.push(DictSnapshot(fs::read(&path)?));
        let length = [10, 200, 6000][number as usize % 3];
        made.set(&Bytes(vec![number as u8; 3]), &Bytes(vec![7; length]))?;
        if number == KEYS / 2 {
            watch = Some(made.watch()?);
        }
        if number % 4 == 3 {
            made.remove(&Bytes(vec![number as u8; 3]))?;
        }
    }
    is_there(&fs::read(&path)?)?;
    drop(watch);
    made.unlink()?;
    Ok(all)
}

/// Where the parts begin is computed: whether the lies go there must be looked at.
fn is_there(file: &[u8]) -> Outcome {
    let roots = (0..STRIPES).filter(|stripe| word(file, ROOTS + 8 * stripe) != 0);
    let used = (0..CHUNKS).filter(|chunk| word(file, CONTROL + 16 * chunk) & 15 == 3);
    let told = (0..CHANGES).filter(|change| word(file, LOG + 256 + CELL * change) != 0);
    if told.count() < CHANGES || roots.count() < 4 || used.count() < 3 || file.len() != HEAP + LIMIT
    {
        return Err("the parts are not where these tests look".into());
    }
    Ok(())
}

/// What a liar would write: mostly over the words that are used.
fn lie(random: &mut Random, file: &[u8]) -> Edit {
    let (from, to) = match random.below(12) {
        0 | 1 => (ROOTS, LOCKS),
        2 => (LOCKS, LOG),
        3 => (LOG, GROWTH),
        4 => (GROWTH, HEAP),
        5..=9 => (HEAP, file.len()),
        10 => (IDENTITY, FACTS),
        _ => (0, file.len()),
    };
    let used: Vec<usize> = (from..to)
        .step_by(8)
        .filter(|at| word(file, *at) != 0)
        .collect();
    let at = match used.get(random.index(used.len().max(1))) {
        Some(at) if !random.one_in(8) => *at,
        _ => from + 8 * random.index((to - from) / 8),
    };
    let old = word(file, at);
    let owner = random.pick(&[0, 1, 2, 3, 0x2b5d, 0x3fff]);
    let number = match random.below(6) {
        // A head or a chunk's word, of another state or owner; a name nearby; another length.
        0 => old >> 4 << 4 | random.below(10),
        1 => old & !(0x3fff << 4) | owner << 4,
        2 => old.wrapping_add(random.below(64)),
        3 => old ^ 1 << random.below(64),
        4 => word(file, from + 8 * random.index((to - from) / 8)),
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
pub fn run(bench: &mut Bench, snapshots: &[DictSnapshot], seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let DictSnapshot(snapshot) = &snapshots[random.index(snapshots.len())];
    let mut bytes = snapshot.clone();
    let lies_before = !random.one_in(4);
    if lies_before {
        for _ in 0..1 + random.below(4) {
            lie(&mut random, snapshot).apply(&mut bytes);
        }
    }
    let name = format!("victim-{seed}");
    let victim = bench.file(&name, &bytes)?;
    let namespace = bench.namespace().clone();
    bench.step(seed, "inspect", || namespace.inspect(&name));
    if random.one_in(4) {
        bench.step(seed, "namespace sweep", || namespace.sweep(&name));
    }
    let options = Dict::<Bytes, Bytes>::options().namespace(&namespace);
    let Some(mut opened) = bench.step(seed, "open", || options.open(&name)) else {
        return Ok(());
    };
    opened.set_timeout(Some(TIMEOUT));
    let mut watch = None;
    for _ in 0..8 + random.below(16) {
        if random.one_in(3) || !lies_before {
            victim.lie(&lie(&mut random, snapshot), bytes.len());
        }
        let (key, value) = (key(&mut random), content(&mut random));
        match random.below(16) {
            0..=2 => drop(bench.step(seed, "get", || opened.get(&key))),
            3..=5 => drop(bench.step(seed, "insert", || opened.insert(&key, &value))),
            6 => drop(bench.step(seed, "remove", || opened.remove(&key))),
            7 => drop(bench.step(seed, "update", || {
                opened.update(&key, |value| value.0.truncate(5))
            })),
            8 => drop(bench.step(seed, "iterate", || Ok::<_, ()>(opened.iter().count()))),
            9 => drop(bench.step(seed, "snapshot", || opened.snapshot())),
            10 => drop(bench.step(seed, "look", || Ok::<_, ()>((opened.len(), opened.stat())))),
            11 => drop(bench.step(seed, "sweep", || opened.sweep())),
            12 => drop(bench.step(seed, "pop_item", || opened.pop_item())),
            13 => watch = bench.step(seed, "watch", || opened.watch()),
            14 => drop(watch.as_mut().map(|watch| {
                bench.step(seed, "watched", || watch.try_recv());
                bench.step(seed, "watched in time", || watch.recv_timeout(TIMEOUT));
            })),
            _ if random.one_in(3) => drop(bench.step(seed, "clear", || opened.clear())),
            _ => drop(bench.step(seed, "inspect", || namespace.inspect(&name))),
        }
    }
    bench.step(seed, "drop", || {
        drop(opened);
        Ok::<_, ()>(())
    });
    Ok(())
}
