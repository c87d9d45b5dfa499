//! Messages that are written and read in place, in memory that lies: blocks of queues, and frames of pipes.

use std::fs;
use std::io::{Read, Write};

use ipc_core::{Bytes, Pipe, Queue, Receiver, Sender, wait};

use super::edit::{Edit, edit, value};
use super::layout::{Layout, SLOT, SLOTS, link, meta, set_word, word};
use super::trial::{Bench, Disturb, Outcome, TIMEOUT, Victim, strategy};
use crate::random::Random;

const CAPACITY: usize = 4;
const LOANS: usize = 3;
const BLOCK: usize = 4096;
const PARTICIPANTS: usize = 4;
/// Set in the length word of a cell that refers to a block.
const IN_LOAN: u64 = 1 << 62;

/// Bytes of a pipe's ring, and where its lane begins.
const RING: usize = 256;
const LANE: usize = (SLOTS + PARTICIPANTS * SLOT).next_multiple_of(128);
const FRAMES: usize = LANE + 384;
/// Set in the head of a frame with padding.
const PADDED: u64 = 1 << 63;

/// A queue's file, and where its blocks for loans are.
#[derive(Debug)]
pub struct Sample {
    pub(super) bytes: Vec<u8>,
    layout: Layout,
    meta: usize,
    links: usize,
    places: usize,
}

/// Files of queues with messages that were written in place: none, some, and all of which one is being taken by the dead.
///
/// # Errors
///
/// When the queue refuses what it should not, or its blocks are not where they should be.
pub fn samples(bench: &Bench) -> Outcome<Vec<Sample>> {
    let mut all = Vec::new();
    for count in 0..=LOANS {
        let queue = Queue::<Bytes>::options(CAPACITY)
            .memory(2048)
            .loans(LOANS, BLOCK)
            .participants(PARTICIPANTS as u32)
            .namespace(bench.namespace())
            .create("sample")?;
        for n in 0..count {
            let mut loan = queue.try_loan(BLOCK - n)?;
            loan.write_all(&vec![7; BLOCK - n])?;
            loan.try_put().map_err(|e| e.to_string())?;
        }
        let bytes = fs::read(bench.namespace().path().join("sample"))?;
        queue.unlink()?;
        let layout = Layout::of(&bytes);
        let meta = layout.end.next_multiple_of(128) + 128;
        let links = (meta + 8 * LOANS).next_multiple_of(128);
        let places = (links + 8 * LOANS).next_multiple_of(128);
        let data = (places + 8 * LOANS).next_multiple_of(BLOCK);
        let is_there = |n| {
            bytes[data + n * BLOCK..][..BLOCK - n]
                .iter()
                .all(|&b| b == 7)
        };
        if data + LOANS * BLOCK != bytes.len() || !(0..count).all(is_there) {
            return Err("the blocks are not where these tests look".into());
        }
        let mut sample = Sample {
            bytes,
            layout,
            meta,
            links,
            places,
        };
        if count == LOANS {
            let at = sample.layout.ctl(0);
            let reading = word(&sample.bytes, at) & !7 | 2;
            set_word(&mut sample.bytes, at, reading);
        }
        all.push(sample);
    }
    Ok(all)
}

impl Sample {
    /// A lie, mostly about the blocks.
    pub(super) fn lie(&self, random: &mut Random) -> Edit {
        let this = random.index(LOANS);
        let cell = random.index(CAPACITY);
        let owner = random.pick(&[0, 1, 2, 3, 0x3fff]);
        let near = random.pick(&[0, 1, 2, LOANS as u64, 0xff_ffff, u64::from(u32::MAX)]);
        let old = word(&self.bytes, self.meta + 8 * this);
        let generation = (old >> 18).wrapping_add(random.pick(&[0, 0, 1, u64::MAX]));
        let state = random.pick(&[0, 1, 1, 2, 15]);
        let length = (BLOCK as u64).wrapping_add(random.pick(&[0, 1, u64::MAX, 1 << 40]));
        let (at, value) = match random.below(10) {
            0..=2 => (self.meta + 8 * this, meta(generation, owner, state)),
            3 => (self.links + 8 * this, link(generation, near, near)),
            4 => (self.places + 8 * this, random.below(40)),
            5 => (self.layout.length(cell), IN_LOAN | length),
            6 => (self.layout.length(cell), random.number()),
            7 => (self.layout.ctl(cell) + 8, near << 32 | random.below(3)),
            8 => (72 + 8 * random.index(2), value(random, BLOCK as u64)),
            _ => return edit(random, &self.layout, &self.bytes),
        };
        Edit {
            offset: at,
            bytes: value.to_le_bytes().to_vec(),
        }
    }
}

/// One trial: of a queue, or of a pipe.
///
/// # Errors
///
/// When the trial cannot be made.
pub fn run(bench: &mut Bench, samples: &[Sample], seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    match seed % 3 {
        0 => on_pipe(bench, seed, &mut random),
        _ => on_queue(bench, samples, seed, &mut random),
    }
}

fn on_queue(bench: &mut Bench, samples: &[Sample], seed: u64, random: &mut Random) -> Outcome {
    let sample = &samples[random.index(samples.len())];
    let mut bytes = sample.bytes.clone();
    if random.one_in(2) {
        sample.lie(random).apply(&mut bytes);
    }
    let name = format!("loans-{seed}");
    let victim = bench.file(&name, &bytes)?;
    let rounds = 10 + random.below(20);
    let mut disturb = |random: &mut Random| {
        if random.one_in(3) {
            victim.lie(&sample.lie(random), bytes.len());
        }
    };
    operate_queue(bench, seed, random, &name, rounds, &mut disturb);
    Ok(())
}

/// Opens the queue and runs so many operations, between which somebody lies.
pub(super) fn operate_queue(
    bench: &mut Bench,
    seed: u64,
    random: &mut Random,
    name: &str,
    rounds: u64,
    disturb: Disturb<'_>,
) {
    let options = Queue::<Bytes>::options(1).namespace(bench.namespace());
    let Some(queue) = bench.step(seed, "open", || options.open(name)) else {
        return;
    };
    let (mut loans, mut refs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        disturb(random);
        let len = random.index(BLOCK + 2);
        match random.below(10) {
            0..=2 => loans.extend(bench.step(seed, "try_loan", || queue.try_loan(len))),
            3..=4 => {
                if let Some(mut loan) = loans.pop() {
                    loan.write_at(loan.len() / 2, &vec![1; loan.len() / 3]);
                    bench.step(seed, "try_put", || loan.try_put().map_err(drop));
                }
            }
            5 => drop(loans.pop()),
            6 | 7 => refs.extend(bench.step(seed, "try_get_ref", || queue.try_get_ref())),
            8 => {
                if let Some(mut message) = refs.pop() {
                    bench.step(seed, "read", || message.read_to_end(&mut Vec::new()));
                    bench.step(seed, "done", || message.done());
                }
            }
            _ => more_on_queue(bench, seed, &queue, random, name),
        }
    }
    bench.step(seed, "drop", || {
        drop((loans, refs));
        Ok::<_, ()>(())
    });
}

fn more_on_queue(
    bench: &mut Bench,
    seed: u64,
    queue: &Queue<Bytes>,
    random: &mut Random,
    name: &str,
) {
    let namespace = bench.namespace().clone();
    match random.below(7) {
        0 => drop(bench.step(seed, "get", || queue.try_get())),
        1 => drop(bench.step(seed, "peek", || queue.peek())),
        2 => drop(bench.step(seed, "loan_timeout", || queue.loan_timeout(9, TIMEOUT))),
        3 => drop(bench.step(seed, "get_ref_timeout", || queue.get_ref_timeout(TIMEOUT))),
        4 => drop(bench.step(seed, "get_many", || queue.try_get_many(9))),
        5 => drop(bench.step(seed, "inspect", || namespace.inspect(name))),
        _ => drop(bench.step(seed, "sweep", || queue.sweep())),
    }
}

fn on_pipe(bench: &mut Bench, seed: u64, random: &mut Random) -> Outcome {
    let name = format!("pipe-{seed}");
    let pipe = create_pipe(bench, &name)?;
    let (mut sender, mut receiver) = (pipe.sender()?, pipe.receiver()?);
    let victim = bench.known(&name)?;
    for _ in 0..10 + random.below(30) {
        if random.one_in(4) {
            victim.lie(&lie_in_pipe(random), FRAMES + RING);
        }
        match random.below(3) {
            0 => receive(bench, seed, &mut receiver, random),
            _ => send(bench, seed, &mut sender, random),
        }
        let namespace = bench.namespace().clone();
        if random.one_in(8) {
            bench.step(seed, "inspect", || namespace.inspect(&name));
        }
    }
    Ok(())
}

fn create_pipe(bench: &Bench, name: &str) -> ipc_core::Result<Pipe<Bytes>> {
    let options = Pipe::<Bytes>::options()
        .one_way()
        .capacity(RING)
        .participants(PARTICIPANTS as u32);
    options.namespace(bench.namespace()).create(name)
}

/// The file of a pipe with some messages.
pub(super) fn pipe_file(bench: &Bench) -> Outcome<Vec<u8>> {
    let pipe = create_pipe(bench, "sample")?;
    let mut sender = pipe.sender()?;
    for len in [8, 60, 3] {
        sender.try_send(Bytes(vec![7; len]))?;
    }
    let bytes = fs::read(bench.namespace().path().join("sample"))?;
    pipe.unlink()?;
    Ok(bytes)
}

/// Opens the pipe, takes an end or both if they are to be had, and runs so many operations, between which somebody lies.
pub(super) fn operate_pipe(
    bench: &mut Bench,
    seed: u64,
    random: &mut Random,
    name: &str,
    rounds: u64,
    disturb: Disturb<'_>,
) {
    let namespace = bench.namespace().clone();
    let options = Pipe::<Bytes>::options()
        .wait(strategy(random))
        .namespace(&namespace);
    let Some(pipe) = bench.step(seed, "open", || options.open(name)) else {
        return;
    };
    let which = random.below(4);
    let mut sender = match which {
        0 => None,
        _ => bench.step(seed, "sender", || pipe.sender()),
    };
    let mut receiver = match which {
        1 => None,
        _ => bench.step(seed, "receiver", || pipe.receiver()),
    };
    for _ in 0..rounds {
        disturb(random);
        match (random.below(8), sender.as_mut(), receiver.as_mut()) {
            (0..=2, Some(sender), _) => send(bench, seed, sender, random),
            (3, Some(sender), _) => drop(bench.step(seed, "send_timeout", || {
                sender.send_timeout(Bytes(vec![1; 90]), TIMEOUT)
            })),
            (4 | 5, _, Some(receiver)) => receive(bench, seed, receiver, random),
            (6, _, Some(receiver)) => {
                drop(bench.step(seed, "recv_timeout", || receiver.recv_timeout(TIMEOUT)))
            }
            (7, Some(sender), _) => drop(bench.step(seed, "wait", || wait(&[sender], TIMEOUT))),
            _ => drop(bench.step(seed, "inspect", || namespace.inspect(name))),
        }
    }
    bench.step(seed, "drop", || {
        drop((sender, receiver, pipe));
        Ok::<_, ()>(())
    });
}

fn send(bench: &mut Bench, seed: u64, sender: &mut Sender<Bytes>, random: &mut Random) {
    let len = random.index(RING / 2 + 2);
    if random.one_in(3) {
        bench.step(seed, "try_send", || sender.try_send(Bytes(vec![1; len])));
    } else if let Some(mut loan) = bench.step(seed, "try_loan", || sender.try_loan(len)) {
        loan.write_at(len / 2, &vec![1; len / 3]);
        if !random.one_in(4) {
            bench.step(seed, "send", || loan.send());
        }
    }
}

fn receive(bench: &mut Bench, seed: u64, receiver: &mut Receiver<Bytes>, random: &mut Random) {
    if random.one_in(3) {
        bench.step(seed, "try_recv", || receiver.try_recv());
    } else if let Some(mut message) = bench.step(seed, "try_recv_ref", || receiver.try_recv_ref()) {
        bench.step(seed, "read", || message.read_to_end(&mut Vec::new()));
        bench.step(seed, "done", || message.done());
    }
}

/// A lie about a frame, or about how far the ends have come.
pub(super) fn lie_in_pipe(random: &mut Random) -> Edit {
    let frame = FRAMES + 8 * random.index(RING / 8);
    let head = PADDED | random.below(80) << 32 | random.below(300);
    let (offset, value) = match random.below(8) {
        0..=3 => (frame, head),
        4 => (frame, random.below(400)),
        5 => (frame, value(random, head)),
        6 => (LANE + 128 * random.index(2), 8 * random.below(100)),
        _ => (LANE + 256 + 8 * random.index(7), value(random, 1)),
    };
    Edit {
        offset,
        bytes: value.to_le_bytes().to_vec(),
    }
}

impl Bench {
    /// The file of an object that exists.
    fn known(&self, name: &str) -> Outcome<Victim> {
        Victim::of(self.namespace().path().join(name))
    }
}
