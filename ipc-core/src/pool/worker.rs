//! What a worker does: it leases tasks, runs them, sends what they return, and only then says that they are done.
//!
//! # If it is killed
//!
//! | after | what is left | who deals with it |
//! |---|---|---|
//! | it has leased a task, before its place says BUSY | a lease without an owner | the parent: the task was not begun, and is put again |
//! | that, before the reply is in the queue | the same, and a place that says which task | the parent: one more attempt, or an error |
//! | that, before `task_done` | the same, and a reply | the parent: the reply counts, the lease is forgotten |
//! | `task_done` | nothing | |
//!
//! A long reply goes in parts, which the parent puts together; what is not complete is forgotten.

use core::{any::Any, cell::Cell, mem, time::Duration};
use std::{
    cell::RefCell,
    io::Read,
    panic::{self, PanicHookInfo, resume_unwind},
};

use serde::{Deserialize, Serialize};

use super::{
    codec::{FunctionId, LARGE, REPLY_HEAD, ReplyHead, ReplyKind, TASK_HEAD, TaskHead, TaskKind},
    place::{Claim, Condemned, Doing, Place, TaskId},
    station::Station,
};
use crate::{
    channel::{
        errors::PutError,
        joinable::{Job, JoinableQueue, errors::GetJobError},
        queue::Queue,
    },
    message::Bytes,
    os::{clock, file, image::Entry},
    process::{Panic, current_process, parent_process},
};

/// How long a worker waits for being killed.
const LAST_WAIT: Duration = Duration::from_secs(2);

thread_local! {
    /// What the next reply is written into.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static LAST_PANIC: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A buffer that was used before.
pub(super) fn buffer() -> Vec<u8> {
    BUFFER.take()
}

/// What a panic said that was just caught on this thread.
pub(super) fn panic_of(payload: Box<dyn Any + Send>) -> Panic {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    // What it carries may panic when it is dropped.
    mem::forget(payload);
    let message = text.unwrap_or_else(|| "a panic without text".into());
    let noted = LAST_PANIC.take().filter(|noted| noted.message == message);
    noted.unwrap_or(Panic {
        message,
        location: None,
    })
}

/// Has panics noted with their places, before the program's own hook says them on standard error.
fn note_panics() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let text = info
            .payload()
            .downcast_ref::<&str>()
            .map(ToString::to_string);
        let text = text.or_else(|| info.payload().downcast_ref::<String>().cloned());
        LAST_PANIC.set(Some(Panic {
            message: text.unwrap_or_else(|| "a panic without text".into()),
            location: info.location().map(ToString::to_string),
        }));
        previous(info);
    }));
}

/// What a worker is told when it is started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) tasks: JoinableQueue<Bytes>,
    pub(super) replies: Queue<Bytes>,
    pub(super) station: Station,
    pub(super) place: usize,
    /// How many tasks it does before it ends.
    pub(super) most_tasks: u64,
    /// A function and one task for it, without a head that says anything.
    pub(super) initializer: Option<(FunctionId, Vec<u8>)>,
}

/// The function of a worker's process.
pub(super) fn serve(terms: Terms) {
    note_panics();
    if let Some((function, task)) = &terms.initializer {
        initialise(*function, task.clone());
    }
    let Some(place) = terms.station.control.place(terms.place) else {
        panic!("the pool has no place for this worker");
    };
    let worker = Worker {
        pid: current_process().pid(),
        terms: &terms,
        place,
        last: Cell::new(None),
    };
    match worker.work() {
        Ok(()) => {}
        Err(Ending::Condemned) => {
            // Its parent is about to kill it, unless somebody else has written there.
            std::thread::sleep(LAST_WAIT);
            panic!("the worker was told to end by somebody who did not end it");
        }
        Err(Ending::Failed(why)) => panic!("the worker cannot go on: {why}"),
    }
}

/// Runs the initializer, whose panic is this worker's.
fn initialise(function: FunctionId, task: Vec<u8>) {
    let Some(entry) = function.entry() else {
        panic!("the program has no such initializer");
    };
    let reply = entry.run(task, &mut || {});
    let reply = reply.unwrap_or_else(|why| panic!("the initializer: {why}"));
    if let Err(why) = super::codec::passed(&reply) {
        // It was said on standard error already.
        resume_unwind(Box::new(why));
    }
}

/// Why a worker ends before its time.
enum Ending {
    Condemned,
    Failed(String),
}

impl From<Condemned> for Ending {
    fn from(Condemned: Condemned) -> Self {
        Self::Condemned
    }
}

struct Worker<'a> {
    pid: u32,
    terms: &'a Terms,
    place: Place<'a>,
    /// The function that was run last.
    last: Cell<Option<(FunctionId, &'static Entry)>>,
}

impl Worker<'_> {
    /// Does tasks until it has done so many, or there are to be no more.
    fn work(&self) -> Result<(), Ending> {
        let mut idle = self.place.begin()?;
        for _ in 0..self.terms.most_tasks {
            let mut job = match self.terms.tasks.get() {
                Ok(job) => job,
                Err(GetJobError::Closed) => return Ok(()),
                Err(e) => return Err(Ending::Failed(e.to_string())),
            };
            let task = job.take_bytes();
            let Some(head) = TaskHead::read(&task) else {
                return Err(Ending::Failed("a task has no head".into()));
            };
            if head.kind == TaskKind::Retire {
                self.place.retire(idle, doing(&head))?;
                return done(job);
            }
            let busy = self.place.take(idle, doing(&head))?;
            self.reply(&head, task)?;
            done(job)?;
            idle = self.finish(busy)?;
            if self.place.is_to_leave() {
                self.place.retire(idle, Doing::default())?;
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish(&self, busy: Claim) -> Result<Claim, Condemned> {
        self.place.finish(busy)
    }

    /// Runs the task and sends what it returned.
    fn reply(&self, head: &TaskHead, task: Vec<u8>) -> Result<(), Ending> {
        let ran = self.run(head, task);
        let (kind, mut bytes) = match ran {
            Ok(reply) => (ReplyKind::Whole, reply),
            Err(why) => {
                let mut text = vec![0; REPLY_HEAD];
                text.extend_from_slice(why.as_bytes());
                (ReplyKind::Refusal, text)
            }
        };
        let reply = ReplyHead {
            batch: head.batch,
            index: head.index,
            pid: self.pid,
            kind,
        };
        let sent = match bytes.len() <= REPLY_HEAD + LARGE {
            true => {
                reply.write(&mut bytes);
                self.terms.replies.put_slice(&bytes)
            }
            false => self.send_in_parts(reply, &bytes[REPLY_HEAD..]),
        };
        BUFFER.set(bytes);
        match sent {
            Ok(()) | Err(PutError::Closed(())) => Ok(()),
            Err(e) => Err(Ending::Failed(e.to_string())),
        }
    }

    fn send_in_parts(&self, reply: ReplyHead, bytes: &[u8]) -> Result<(), PutError<()>> {
        let mut message = vec![0; REPLY_HEAD];
        let last = bytes.len().div_ceil(LARGE) - 1;
        for (number, part) in bytes.chunks(LARGE).enumerate() {
            let kind = match number == last {
                true => reply.kind,
                false => ReplyKind::Part,
            };
            ReplyHead { kind, ..reply }.write(&mut message);
            message.truncate(REPLY_HEAD);
            message.extend_from_slice(part);
            self.terms.replies.put_slice(&message)?;
        }
        Ok(())
    }

    fn run(&self, head: &TaskHead, task: Vec<u8>) -> Result<Vec<u8>, String> {
        let entry = match self.last.get() {
            Some((function, entry)) if function == head.function => entry,
            _ => {
                let entry = head.function.entry();
                let entry = entry.ok_or("the program has no such function")?;
                self.last.set(Some((head.function, entry)));
                entry
            }
        };
        let task = match head.kind {
            TaskKind::RunLarge => fetch(task)?,
            _ => task,
        };
        entry.run(task, &mut || {})
    }
}

fn doing(head: &TaskHead) -> Doing {
    Doing {
        task: TaskId {
            batch: head.batch,
            index: head.index,
            attempt: head.attempt,
        },
        since_ns: clock::monotonic_ns(),
    }
}

/// The task is done, and is delivered to nobody else.
fn done(job: Job<'_, Bytes>) -> Result<(), Ending> {
    job.task_done().map_err(|e| Ending::Failed(e.to_string()))
}

/// Reads arguments that are in the parent's memory.
fn fetch(mut task: Vec<u8>) -> Result<Vec<u8>, String> {
    let number = task.get(TASK_HEAD..).and_then(<[u8]>::first_chunk);
    let number = number.copied().map(i32::from_le_bytes);
    let (number, parent) = number
        .zip(parent_process())
        .ok_or("its arguments are nowhere")?;
    task.truncate(TASK_HEAD);
    file::open_of_process(parent.pid(), number)
        .and_then(|mut from| from.read_to_end(&mut task))
        .map_err(|e| format!("its arguments could not be read: {e}"))?;
    Ok(task)
}
