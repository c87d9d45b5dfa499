//! Files of queues in many states, all of them states that kills and closes can leave.

use std::error::Error;
use std::fs;

use ipc_core::{Bytes, Message, Namespace, Queue};

use super::layout::{self, Layout, State};
use crate::random::mix;

/// A queue's file.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The state it is in.
    pub name: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Where things lie.
    pub layout: Layout,
    /// Messages that a drain finds, those of the dead included.
    pub messages: usize,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A value for tests.
pub trait Sample: Message + Clone + PartialEq + std::fmt::Debug + Send + 'static {
    /// One that follows from `n`, small or longer than a cell.
    fn sample(n: u64, is_large: bool) -> Self;
}

impl Sample for Bytes {
    fn sample(n: u64, is_large: bool) -> Self {
        let length = if is_large {
            300 + n as usize % 1500
        } else {
            n as usize % 40
        };
        Bytes(vec![n as u8; length])
    }
}

/// A type whose encoding can be wrong in many ways.
pub type Structured = (String, Vec<Option<u64>>, char, bool);

impl Sample for Structured {
    fn sample(n: u64, is_large: bool) -> Self {
        let length = if is_large { 200 } else { 3 };
        (
            format!("message {n}"),
            vec![Some(mix(n)); length],
            'ß',
            n.is_multiple_of(2),
        )
    }
}

/// Sizes: capacity, memory, inline bytes.
const SIZES: [(usize, usize, usize); 3] = [(4, 4096, 104), (1, 2048, 232), (5, 0, 168)];

/// A queue in each of many states, made in `namespace`. The creator's slot looks like that of a dead participant.
///
/// # Errors
///
/// When the queue refuses what it should not.
pub fn snapshots<T: Sample>(namespace: &Namespace) -> Outcome<Vec<Snapshot>> {
    let mut all = Vec::new();
    for sizes in SIZES {
        for (name, fill) in [("empty", 0), ("middle", 1), ("full", 2)] {
            all.push(make::<T>(namespace, sizes, name, fill, false)?);
        }
        all.push(make::<T>(namespace, sizes, "closed", 1, true)?);
        let full = make::<T>(namespace, sizes, "full", 2, false)?;
        all.push(claimed(&full, "writers died", State::Writing, 0));
        all.push(claimed(
            &full,
            "readers died",
            State::Reading,
            full.messages,
        ));
        all.push(claimed(&full, "orphans", State::Orphan, full.messages));
    }
    Ok(all)
}

/// `fill`: 0 leaves it empty, 1 puts about half, 2 fills it up.
fn make<T: Sample>(
    namespace: &Namespace,
    (capacity, memory, inline_bytes): (usize, usize, usize),
    name: &'static str,
    fill: usize,
    is_closed: bool,
) -> Outcome<Snapshot> {
    let queue = Queue::<T>::options(capacity)
        .memory(memory)
        .inline_bytes(inline_bytes)
        .participants(4)
        .namespace(namespace)
        .create("snapshot")?;
    for n in 0..2 * capacity as u64 + 1 {
        // Some laps.
        put(&queue, n, false)?;
        queue.try_get()?;
    }
    let messages = (capacity * fill).div_ceil(2);
    for n in 0..messages as u64 {
        put(&queue, n, n == 1 || capacity == 1)?;
    }
    if is_closed {
        queue.close();
    }
    let bytes = fs::read(namespace.path().join("snapshot"))?;
    queue.unlink()?;
    let layout = Layout::of(&bytes);
    Ok(Snapshot {
        name,
        bytes,
        layout,
        messages,
    })
}

fn put<T: Sample>(queue: &Queue<T>, n: u64, is_large: bool) -> Outcome<()> {
    Ok(queue.try_put(T::sample(n, is_large && queue.memory() > 0))?)
}

/// `full`, but each other cell is claimed by the creator, which is dead in a copy of the file.
fn claimed(full: &Snapshot, name: &'static str, state: State, messages: usize) -> Snapshot {
    let mut copy = full.clone();
    let mut claims = 0;
    for index in (0..full.layout.capacity).step_by(2) {
        let at = full.layout.ctl(index);
        let lap = layout::word(&full.bytes, at) >> 21;
        let owner = u64::from(state != State::Orphan);
        let word = layout::ctl(lap, u64::from(state == State::Orphan), owner, state as u64);
        layout::set_word(&mut copy.bytes, at, word);
        if state == State::Writing {
            layout::set_word(&mut copy.bytes, full.layout.done(index), 0); // unfinished
        }
        claims += 1;
    }
    if state == State::Orphan {
        layout::set_word(&mut copy.bytes, full.layout.gate + 16, 1);
    }
    copy.name = name;
    copy.messages = messages.max(full.messages.saturating_sub(claims));
    copy
}
