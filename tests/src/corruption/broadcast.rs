//! The same for broadcasts: lies before they are opened, and between the calls.
//!
//! Only calls that do not wait, or not for long, are made.

use std::fs;
use std::io::Read;

use ipc_core::{Broadcast, Bytes, Namespace, Subscriber};

use super::edit::{Edit, value};
use super::layout::{IDENTITY, SLOT, SLOTS, word};
use super::trial::{Bench, Disturb, Outcome, TIMEOUT, strategy};
use crate::random::Random;

const PARTICIPANTS: u32 = 4;
const CAPACITY: usize = 5;
const SUBSCRIBERS: usize = 2;
/// Where the tail is; then gate, cells, and in a lossless broadcast seats and cursors.
const TAIL: usize = (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(128);
const GATE: usize = TAIL + 128;
const CELLS: usize = GATE + 128;
const CELL: usize = 64;
const SEATS: usize = (CELLS + CAPACITY * CELL).next_multiple_of(128);
const CURSORS: usize = (SEATS + SUBSCRIBERS * 32).next_multiple_of(128);
/// Blocks for messages that are written in place, and bytes of each.
const LOANS: usize = 2;
const BLOCK: usize = 4096;
/// They are the last of the file ([`is_there`]).
const DATA: usize = LOANS * BLOCK;
/// Set in the length word of a cell that refers to such a block.
const IN_LOAN: u64 = 1 << 62;
/// A message in three blocks.
const LONG: usize = 1500;

/// The file of a broadcast, with somebody in it who is dead in a copy.
#[derive(Debug, Clone)]
pub struct BroadcastSnapshot {
    pub(super) is_lossless: bool,
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
/// When a broadcast refuses what it should not.
pub fn snapshots(namespace: &Namespace) -> Outcome<Vec<BroadcastSnapshot>> {
    let mut all = Vec::new();
    let path = namespace.path().join("snapshot");
    for is_lossless in [true, false] {
        let options = Broadcast::<Bytes>::options(CAPACITY)
            .memory(8 << 10)
            .inline_bytes(CELL - 16)
            .subscribers(SUBSCRIBERS)
            .participants(PARTICIPANTS)
            .loans(LOANS, BLOCK)
            .namespace(namespace);
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        let made = options.create("snapshot")?;
        let mut subscriber = made.subscribe()?;
        for count in 0..=2 * CAPACITY {
            let bytes = fs::read(&path)?;
            all.push(BroadcastSnapshot { is_lossless, bytes });
            let length = if count % 2 == 0 { 10 } else { LONG };
            if count % 3 == 2 {
                let mut loan = made.try_loan(BLOCK)?;
                loan.write_at(0, &[7; BLOCK]);
                loan.try_publish().map_err(|e| e.to_string())?;
                is_there(&fs::read(&path)?)?;
            } else {
                made.publish(Bytes(vec![count as u8; length]))?;
            }
            if count < CAPACITY {
                subscriber.recv()?;
            } else if count + 1 == 2 * CAPACITY {
                break; // full, if it is lossless
            }
        }
        made.unlink()?;
    }
    Ok(all)
}

/// Where blocks for loans begin is computed: whether the lies go there must be looked at.
fn is_there(file: &[u8]) -> Outcome {
    let blocks = file[file.len() - DATA..].chunks(BLOCK);
    if blocks.filter(|block| block.iter().all(|&b| b == 7)).count() == 0 {
        return Err("the blocks are not where these tests look".into());
    }
    Ok(())
}

/// A lie about a block for loans: whose it is, or what a cell says of it.
fn lie_about_loan(random: &mut Random, file: &[u8]) -> Edit {
    let cell = CELLS + CELL * random.index(CAPACITY);
    let near = random.pick(&[0, 1, 2, 0xff_ffff, u64::from(u32::MAX)]);
    let length = (BLOCK as u64).wrapping_add(random.pick(&[0, 1, u64::MAX, 1 << 40]));
    // Cursor, meta, links and places: behind the other slab, which ends with a page.
    let part = file.len() - DATA - BLOCK;
    let (offset, number) = match random.below(6) {
        0 | 1 => (cell + 8, IN_LOAN | length),
        2 => (cell + 16, near << 32 | random.below(6)),
        3 => (72 + 8 * random.index(2), value(random, BLOCK as u64)),
        _ => {
            let used = (part..part + BLOCK).step_by(8);
            let used: Vec<usize> = used.filter(|&at| word(file, at) != 0).collect();
            match used.get(random.index(used.len().max(1))) {
                Some(&at) => (at, value(random, word(file, at))),
                None => (cell, value(random, word(file, cell))),
            }
        }
    };
    Edit {
        offset,
        bytes: number.to_le_bytes().to_vec(),
    }
}

/// What a liar would write: mostly over the cells and the cursors.
pub(super) fn lie(random: &mut Random, file: &[u8]) -> Edit {
    if random.one_in(4) {
        return lie_about_loan(random, file);
    }
    let at = match random.below(16) {
        0 => TAIL,
        1 => GATE + 4 * random.index(8),
        2..=7 => CELLS + CELL * random.index(CAPACITY),
        8 | 9 => CELLS + CELL * random.index(CAPACITY) + 8 * random.index(4),
        10 => SEATS + 32 * random.index(SUBSCRIBERS),
        11 | 12 => CURSORS + 128 * random.index(SUBSCRIBERS) + 8 * random.index(2),
        13 => IDENTITY + 8 * random.index((TAIL - IDENTITY) / 8),
        14 => 16 + 8 * random.index(8),
        _ => 8 * random.index(file.len() / 8),
    };
    let at = at / 8 * 8;
    let old = word(file, at);
    let owner = random.pick(&[0, 1, 2, 3, 5, 0x3fff]);
    let number = match random.below(4) {
        // A claim word of this lap or the next; a seat's word.
        0 => (old >> 21).wrapping_add(random.below(2)) << 21 | owner << 3 | random.below(8),
        1 => old >> 18 << 18 | owner << 4 | random.below(8),
        2 => old.wrapping_add(random.below(2 * CAPACITY as u64)),
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
pub fn run(bench: &mut Bench, snapshots: &[BroadcastSnapshot], seed: u64) -> Outcome {
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
    operate(bench, seed, &mut random, &name, rounds, &mut disturb);
    debug_assert!(snapshot.is_lossless || snapshot.bytes.len() > CELLS);
    Ok(())
}

/// Opens the broadcast and runs so many operations, between which somebody lies.
pub(super) fn operate(
    bench: &mut Bench,
    seed: u64,
    random: &mut Random,
    name: &str,
    rounds: u64,
    disturb: Disturb<'_>,
) {
    let namespace = bench.namespace().clone();
    let options = Broadcast::<Bytes>::options(1)
        .wait(strategy(random))
        .namespace(&namespace);
    let Some(opened) = bench.step(seed, "open", || options.open(name)) else {
        return;
    };
    let mut subscriber: Option<Subscriber<Bytes>> = None;
    for _ in 0..rounds {
        disturb(random);
        let message = message(random);
        match (random.below(16), subscriber.as_mut()) {
            (0..=2, _) => drop(bench.step(seed, "try_publish", || opened.try_publish(message))),
            (3, _) => drop(bench.step(seed, "publish_timeout", || {
                opened.publish_timeout(message, TIMEOUT)
            })),
            (4, _) => drop(bench.step(seed, "sweep", || opened.sweep())),
            (5, _) => drop(bench.step(seed, "inspect", || namespace.inspect(name))),
            (6, _) => drop(bench.step(seed, "look", || {
                Ok::<_, ()>((opened.len(), opened.subscribers(), opened.is_closed()))
            })),
            (7, Some(_)) => drop(bench.step(seed, "unsubscribe", || {
                subscriber = None;
                Ok::<_, ()>(())
            })),
            (8, Some(one)) => drop(bench.step(seed, "recv_timeout", || one.recv_timeout(TIMEOUT))),
            (9..=11, Some(one)) => drop(bench.step(seed, "try_recv", || one.try_recv())),
            (12 | 13, _) => loan(bench, seed, &opened, random),
            (_, Some(one)) => recv_ref(bench, seed, one),
            // From the oldest on only where nobody can keep it waiting: before the first lie.
            (_, None) => subscriber = bench.step(seed, "subscribe", || opened.subscribe()),
        }
        if random.one_in(40) {
            bench.step(seed, "close", || {
                opened.close();
                Ok::<_, ()>(())
            });
        }
    }
    bench.step(seed, "drop", || {
        drop(subscriber);
        drop(opened);
        Ok::<_, ()>(())
    });
}

/// Lends memory and publishes it, or gives it back.
fn loan(bench: &mut Bench, seed: u64, opened: &Broadcast<Bytes>, random: &mut Random) {
    let len = random.index(BLOCK + 2);
    let lent = match random.below(8) {
        0 => bench.step(seed, "loan_timeout", || opened.loan_timeout(len, TIMEOUT)),
        _ => bench.step(seed, "try_loan", || opened.try_loan(len)),
    };
    if let Some(mut loan) = lent {
        loan.write_at(len / 2, &vec![1; len / 3]);
        if !random.one_in(4) {
            bench.step(seed, "try_publish a loan", || {
                loan.try_publish().map_err(drop)
            });
        }
    }
}

fn recv_ref(bench: &mut Bench, seed: u64, subscriber: &mut Subscriber<Bytes>) {
    if let Some(mut message) = bench.step(seed, "try_recv_ref", || subscriber.try_recv_ref()) {
        bench.step(seed, "read", || message.read_to_end(&mut Vec::new()));
        bench.step(seed, "done", || message.done());
    }
}
