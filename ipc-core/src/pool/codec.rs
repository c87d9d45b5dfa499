//! What travels between a pool and its workers, as bytes.
//!
//! ```text
//! task    0       8       12     16         24          32        36        37     38  40
//!         ┌───────┬───────┬──────┬──────────┬───────────┬─────────┬─────────┬──────┬───┬──────────────────────┐
//!         │ batch │ index │calls │ distance │ name hash │ attempt │ untried │ kind │ - │ arguments, one by one│
//!         └───────┴───────┴──────┴──────────┴───────────┴─────────┴─────────┴──────┴───┴──────────────────────┘
//! reply   0       8       12    16     17    24
//!         ┌───────┬───────┬─────┬──────┬─────┬──────────────────────────────┐
//!         │ batch │ index │ pid │ kind │  -  │ (tag, value or why), one each│
//!         └───────┴───────┴─────┴──────┴─────┴──────────────────────────────┘
//! ```
//!
//! Numbers are little-endian. What is longer than [`LARGE`] bytes is, of a task, in memory whose descriptor's number stands in place of the
//! arguments; of a reply, sent in parts.

use core::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

use super::{errors::TaskError, numbers, worker};
use crate::{
    os::image::{Body, Entry},
    process::{Function, Panic},
    region::identity::hash,
};

pub(super) const TASK_HEAD: usize = 40;
pub(super) const REPLY_HEAD: usize = 24;
/// Tasks longer than this do not travel in the queue, replies longer than this in parts.
pub(super) const LARGE: usize = 256 << 10;

/// A value that travels to a worker or back: any serde type that owns what it has. Implemented for all of them.
pub trait Payload: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Payload for T {}

/// What is to be done with a task's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskKind {
    Run,
    /// The arguments are in the parent's descriptor of this number.
    RunLarge,
    /// The worker is to end.
    Retire,
}

impl TaskKind {
    const ALL: [Self; 3] = [Self::Run, Self::RunLarge, Self::Retire];
}

/// How a task begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskHead {
    pub(super) batch: u64,
    pub(super) index: u32,
    /// How many calls of the function it is.
    pub(super) calls: u32,
    pub(super) function: FunctionId,
    /// From 1 on.
    pub(super) attempt: u32,
    /// How often a worker died before it had begun it.
    pub(super) untried: u8,
    pub(super) kind: TaskKind,
}

/// Where a function is in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
pub(super) struct FunctionId {
    distance: u64,
    name: u64,
}

/// The number at the start of `bytes`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

impl TaskHead {
    pub(super) fn write(&self, to: &mut [u8]) {
        to[..8].copy_from_slice(&self.batch.to_le_bytes());
        to[8..12].copy_from_slice(&self.index.to_le_bytes());
        to[12..16].copy_from_slice(&self.calls.to_le_bytes());
        to[16..24].copy_from_slice(&self.function.distance.to_le_bytes());
        to[24..32].copy_from_slice(&self.function.name.to_le_bytes());
        to[32..36].copy_from_slice(&self.attempt.to_le_bytes());
        to[36..40].copy_from_slice(&[self.untried, self.kind as u8, 0, 0]);
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [untried, kind, ..] = number::<4>(bytes, 36)?;
        Some(Self {
            batch: u64::from_le_bytes(number(bytes, 0)?),
            index: u32::from_le_bytes(number(bytes, 8)?),
            calls: u32::from_le_bytes(number(bytes, 12)?),
            function: FunctionId {
                distance: u64::from_le_bytes(number(bytes, 16)?),
                name: u64::from_le_bytes(number(bytes, 24)?),
            },
            attempt: u32::from_le_bytes(number(bytes, 32)?),
            untried,
            kind: *TaskKind::ALL.get(usize::from(kind))?,
        })
    }
}

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyKind {
    /// What the calls returned, as a whole.
    Whole,
    /// The same, and more is to come from this worker.
    Part,
    /// Why the worker could not begin the task, as text.
    Refusal,
    /// The parent's own: it has something to tell to its other thread.
    Call,
}

impl ReplyKind {
    const ALL: [Self; 4] = [Self::Whole, Self::Part, Self::Refusal, Self::Call];
}

/// How a reply begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplyHead {
    pub(super) batch: u64,
    pub(super) index: u32,
    pub(super) pid: u32,
    pub(super) kind: ReplyKind,
}

impl ReplyHead {
    pub(super) fn write(&self, to: &mut [u8]) {
        to[..8].copy_from_slice(&self.batch.to_le_bytes());
        to[8..12].copy_from_slice(&self.index.to_le_bytes());
        to[12..16].copy_from_slice(&self.pid.to_le_bytes());
        to[16..24].copy_from_slice(&(self.kind as u64).to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let kind = u64::from_le_bytes(number(bytes, 16)?);
        Some(Self {
            batch: u64::from_le_bytes(number(bytes, 0)?),
            index: u32::from_le_bytes(number(bytes, 8)?),
            pid: u32::from_le_bytes(number(bytes, 12)?),
            kind: *ReplyKind::ALL.get(usize::try_from(kind).ok()?)?,
        })
    }
}

/// Bytes that values are appended to.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    at: usize,
}

impl Writer {
    /// Over a buffer, whose first `head` bytes are left to the caller.
    pub(super) fn behind(mut buffer: Vec<u8>, head: usize) -> Self {
        if buffer.len() < head + 32 {
            buffer.resize(head + 32, 0);
        }
        Self {
            bytes: buffer,
            at: head,
        }
    }

    #[inline]
    pub(super) fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), String> {
        let mut serializer = postcard::Serializer { output: self };
        value.serialize(&mut serializer).map_err(|e| e.to_string())
    }

    /// As [`take_value`] reads it.
    #[inline]
    pub(super) fn push_value<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), String> {
        if numbers::put(value, |bytes| self.extend(bytes)) {
            return Ok(());
        }
        self.push(value)
    }

    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if end > self.bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }

    #[inline]
    fn push_byte(&mut self, byte: u8) {
        if self.at == self.bytes.len() {
            self.grow(1);
        }
        self.bytes[self.at] = byte;
        self.at += 1;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let longer = (self.bytes.len() * 2).max(self.at + more).max(256);
        self.bytes.resize(longer, 0);
    }

    pub(super) fn done(mut self) -> Vec<u8> {
        self.bytes.truncate(self.at);
        self.bytes
    }
}

/// Most values are numbers: their few bytes are copied without calling anybody.
impl Flavor for &mut Writer {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.push_byte(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let end = self.at + bytes.len();
        if end > self.bytes.len() {
            self.grow(bytes.len());
        }
        copy_short(&mut self.bytes[self.at..end], bytes);
        self.at = end;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Copies bytes to room of the same length: few of them one by one, as they were just written so, and a wider look at them would wait for that.
#[inline]
fn copy_short(to: &mut [u8], from: &[u8]) {
    macro_rules! copy {
        ($($length:literal: $($at:literal)*;)*) => {
            match (to, from) {
                $((to, from) if from.len() == $length && to.len() == $length => {
                    $(to[$at] = from[$at];)*
                })*
                (to, from) => to.copy_from_slice(from),
            }
        };
    }
    copy! { 1: 0; 2: 0 1; 3: 0 1 2; 4: 0 1 2 3; 5: 0 1 2 3 4; 6: 0 1 2 3 4 5; }
}

/// The value at the start of `bytes`, which go on behind it.
#[inline]
fn take_value<T: Payload>(bytes: &mut &[u8]) -> postcard::Result<T> {
    if let Some(number) = numbers::take(bytes) {
        return Ok(number);
    }
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    *bytes = rest;
    Ok(value)
}

/// The tags before what became of a call.
const RETURNED: u8 = 0;
const PANICKED: u8 = 1;
const UNREADABLE: u8 = 2;

/// How a worker runs calls of a function with the arguments `A`, each a tuple.
pub(super) struct Calls<A>(PhantomData<A>);

impl<F, A> Body<F> for Calls<A>
where
    F: Function<A> + Copy,
    F::Output: Payload,
    A: Payload,
{
    fn run(function: F, task: Vec<u8>, _taken: &mut dyn FnMut()) -> Result<Vec<u8>, String> {
        let head = TaskHead::read(&task).ok_or("the task has no head")?;
        let mut arguments = task.get(TASK_HEAD..).unwrap_or_default();
        let mut reply = Writer::behind(worker::buffer(), REPLY_HEAD);
        for _ in 0..head.calls {
            let these = match take_value::<A>(&mut arguments) {
                Ok(these) => these,
                Err(e) => {
                    // Where the next ones begin nobody knows. How many there are may be a lie: what is missing the parent sees.
                    reply.push(&(UNREADABLE, format!("its arguments: {e}")))?;
                    break;
                }
            };
            let before = reply.at;
            let called = catch_unwind(AssertUnwindSafe(|| function.call(these)));
            let pushed = match called {
                Ok(value) => {
                    // Its own code may panic, too.
                    let push = || {
                        reply.push_byte(RETURNED);
                        reply.push_value(&value)
                    };
                    catch_unwind(AssertUnwindSafe(push))
                }
                Err(payload) => Err(payload),
            };
            match pushed {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    reply.at = before;
                    reply.push(&(UNREADABLE, format!("its return value: {why}")))?;
                }
                Err(payload) => {
                    reply.at = before;
                    reply.push(&(PANICKED, worker::panic_of(payload)))?;
                }
            }
        }
        Ok(reply.done())
    }
}

/// Whether the first call in a reply has returned; what it said if it panicked.
pub(super) fn passed(reply: &[u8]) -> Result<(), String> {
    match reply.get(REPLY_HEAD..).and_then(<[u8]>::split_first) {
        Some((&RETURNED, _)) => Ok(()),
        Some((&PANICKED, bytes)) => {
            let panic = postcard::take_from_bytes::<Panic>(bytes);
            Err(panic.map_or_else(|e| e.to_string(), |(panic, _)| panic.message))
        }
        Some((_, bytes)) => {
            let why = postcard::take_from_bytes::<String>(bytes);
            Err(why.map_or_else(|e| e.to_string(), |(why, _)| why))
        }
        None => Err("nothing came back".into()),
    }
}

/// The record of a function that takes the tuple `A`.
pub(super) fn entry_of<F, A>(function: &F) -> &'static Entry
where
    F: Function<A, Output: Payload> + Copy,
    A: Payload,
{
    Entry::of::<F, Calls<A>>(function)
}

impl FunctionId {
    /// `None` if it is not in the program itself.
    pub(super) fn of(entry: &'static Entry) -> Option<Self> {
        Some(Self {
            distance: entry.distance()? as u64,
            name: hash(entry.name()),
        })
    }

    pub(super) fn entry(self) -> Option<&'static Entry> {
        let distance = usize::try_from(self.distance).ok()?;
        Entry::at_if(distance, |name| hash(name) == self.name)
    }
}

/// What became of each call, out of a reply's bytes.
pub(super) struct Returns<'a, R> {
    bytes: &'a [u8],
    pid: u32,
    _value: PhantomData<fn() -> R>,
}

impl<'a, R: Payload> Returns<'a, R> {
    pub(super) fn of(bytes: &'a [u8], pid: u32) -> Self {
        Self {
            bytes,
            pid,
            _value: PhantomData,
        }
    }

    fn take<T: DeserializeOwned>(&mut self) -> Result<T, TaskError> {
        let taken = postcard::take_from_bytes::<T>(self.bytes);
        let (value, rest) = taken.map_err(|e| self.unreadable(&e))?;
        self.bytes = rest;
        Ok(value)
    }

    #[cold]
    fn unreadable(&mut self, why: &postcard::Error) -> TaskError {
        self.bytes = &[];
        TaskError::Unreadable {
            why: format!("its return value: {why}"),
        }
    }

    /// What became of the next one. Nonsense is an error of its own.
    #[inline]
    pub(super) fn next(&mut self) -> Result<R, TaskError> {
        let Some((&tag, rest)) = self.bytes.split_first() else {
            return Err(TaskError::Unreadable {
                why: "its return value: nothing is there".into(),
            });
        };
        self.bytes = rest;
        match tag {
            RETURNED => take_value(&mut self.bytes).map_err(|e| self.unreadable(&e)),
            PANICKED => {
                let panic = self.take::<Panic>()?;
                Err(TaskError::Panicked {
                    pid: self.pid,
                    panic,
                })
            }
            _ => {
                let why = self.take()?;
                Err(TaskError::Unreadable { why })
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were_written() {
        let task = TaskHead {
            batch: 1 << 40,
            index: 7,
            calls: 3,
            function: FunctionId {
                distance: 99,
                name: u64::MAX,
            },
            attempt: 2,
            untried: 1,
            kind: TaskKind::RunLarge,
        };
        let mut bytes = [0; TASK_HEAD];
        task.write(&mut bytes);
        assert_eq!(TaskHead::read(&bytes), Some(task));
        assert_eq!(TaskHead::read(&bytes[..39]), None);
        bytes[37] = 9;
        assert_eq!(TaskHead::read(&bytes), None, "no such kind");
        let reply = ReplyHead {
            batch: 5,
            index: 6,
            pid: 77,
            kind: ReplyKind::Part,
        };
        let mut bytes = [0; REPLY_HEAD];
        reply.write(&mut bytes);
        assert_eq!(ReplyHead::read(&bytes), Some(reply));
    }

    #[test]
    fn a_function_is_run_from_its_bytes_call_by_call() {
        let entry = entry_of::<_, (u32,)>(&|n: u32| {
            assert!(n != 2, "two");
            n * 10
        });
        let function = FunctionId::of(entry).expect("it is in the program");
        let mut task = Writer::behind(Vec::new(), TASK_HEAD);
        for n in 1..=3_u32 {
            task.push_value(&(n,)).expect("a number");
        }
        let mut task = task.done();
        let head = TaskHead {
            batch: 0,
            index: 0,
            calls: u32::MAX,
            function,
            attempt: 1,
            untried: 0,
            kind: TaskKind::Run,
        };
        head.write(&mut task);
        let found = function.entry().expect("it is there");
        let reply = found.run(task, &mut || {}).expect("it has a head");
        let mut returns = Returns::<u32>::of(&reply[REPLY_HEAD..], 8);
        assert_eq!(returns.next().unwrap(), 10);
        let panicked = returns.next().unwrap_err();
        assert!(
            matches!(&panicked, TaskError::Panicked { pid: 8, panic } if panic.message == "two")
        );
        assert_eq!(returns.next().unwrap(), 30);
        assert!(matches!(returns.next(), Err(TaskError::Unreadable { .. })));
        assert!(matches!(returns.next(), Err(TaskError::Unreadable { .. })));
    }

    #[test]
    fn bytes_are_copied_whatever_their_number() {
        for length in 0..40 {
            let from: Vec<u8> = (1..=length).collect();
            let mut to = vec![0; from.len()];
            copy_short(&mut to, &from);
            assert_eq!(to, from);
        }
    }

    #[test]
    fn long_values_have_room() {
        let mut writer = Writer::behind(Vec::new(), 8);
        let long = "x".repeat(100_000);
        writer.push(&long).expect("a text");
        let bytes = writer.done();
        let back: String = postcard::from_bytes(&bytes[8..]).expect("a text");
        assert_eq!(back, long);
    }
}
