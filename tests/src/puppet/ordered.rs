//! What a puppet does with a queue in another order than first in, first out: it produces or consumes until it is killed, and
//! keeps a journal, which survives it.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use ipc_core::{Bytes, LifoQueue, Namespace, PriorityQueue};

type Answer = Result<String, Box<dyn Error>>;

/// A message's number: its producer's above, its own below.
pub type Number = u64;

/// An entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// About to be put.
    Begun(Number),
    /// Put.
    Put(Number),
    /// Got, whole, and with its own priority.
    Got(Number),
    /// Got, and not what anybody put.
    Torn(Number),
}

const BYTES: usize = 9;

impl Entry {
    pub(super) fn to_bytes(self) -> [u8; BYTES] {
        let (tag, number) = match self {
            Self::Begun(number) => (b'b', number),
            Self::Put(number) => (b'p', number),
            Self::Got(number) => (b'g', number),
            Self::Torn(number) => (b't', number),
        };
        let mut bytes = [tag; BYTES];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&tag, number) = bytes.split_first()?;
        let number = Number::from_le_bytes(number.try_into().ok()?);
        Some(match tag {
            b'b' => Self::Begun(number),
            b'p' => Self::Put(number),
            b'g' => Self::Got(number),
            b't' => Self::Torn(number),
            _ => return None,
        })
    }
}

/// All entries of a journal.
///
/// # Errors
///
/// When it cannot be read.
pub fn read(journal: &Path) -> io::Result<Vec<Entry>> {
    let bytes = std::fs::read(journal)?;
    Ok(bytes.chunks(BYTES).filter_map(Entry::from_bytes).collect())
}

/// The priority of a message, for all to agree on.
pub fn priority_of(number: Number) -> i64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as i64 - 4
}

/// The message; each eighth is a long one.
pub fn message(number: Number) -> Bytes {
    let words = if number % 8 == 7 { 200 } else { 3 };
    let words = (0..words).map(|at: u64| number.wrapping_mul(2 * at + 1));
    Bytes(words.flat_map(u64::to_le_bytes).collect())
}

/// What was got, as an entry.
pub fn received(priority: Option<i64>, bytes: &Bytes) -> Entry {
    let first = bytes.0.first_chunk().copied().unwrap_or_default();
    let number = Number::from_le_bytes(first);
    let is_whole = *bytes == message(number);
    if is_whole && priority.is_none_or(|priority| priority == priority_of(number)) {
        Entry::Got(number)
    } else {
        Entry::Torn(number)
    }
}

/// Does as told: `produce` or `consume`, `lifo` or `priority`, who it is, and where its journal is.
///
/// # Errors
///
/// When the queue refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    let [act, kind, who, journal] = words[..] else {
        return Err(format!("what is {line:?}?").into());
    };
    let who: u64 = who.parse()?;
    let mut journal = OpenOptions::new().create(true).append(true).open(journal)?;
    match (act, kind) {
        ("produce", "lifo") => {
            let queue = LifoQueue::options(1).namespace(namespace).open(kind)?;
            produce(&mut journal, who, |_, message| Ok(queue.put(message)?))
        }
        ("produce", "priority") => {
            let queue = PriorityQueue::options(1).namespace(namespace).open(kind)?;
            produce(&mut journal, who, |priority, message| {
                Ok(queue.put(priority, message)?)
            })
        }
        ("consume", "lifo") => {
            let queue = LifoQueue::<Bytes>::options(1)
                .namespace(namespace)
                .open(kind)?;
            for message in &queue {
                note(&mut journal, received(None, &message?))?;
            }
            Ok(String::new())
        }
        ("consume", "priority") => {
            let queue = PriorityQueue::<Bytes>::options(1)
                .namespace(namespace)
                .open(kind)?;
            for message in &queue {
                let (priority, message) = message?;
                note(&mut journal, received(Some(priority), &message))?;
            }
            Ok(String::new())
        }
        _ => Err(format!("what is {line:?}?").into()),
    }
}

fn note(journal: &mut File, entry: Entry) -> io::Result<()> {
    journal.write_all(&entry.to_bytes())
}

/// Puts messages for as long as that goes.
fn produce(
    journal: &mut File,
    who: u64,
    put: impl Fn(i64, Bytes) -> Result<(), Box<dyn Error>>,
) -> Answer {
    for own in 0.. {
        let number = who << 32 | own;
        note(journal, Entry::Begun(number))?;
        put(priority_of(number), message(number))?;
        note(journal, Entry::Put(number))?;
    }
    Ok(String::new())
}
