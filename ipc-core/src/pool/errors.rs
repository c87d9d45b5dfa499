//! Why a task has no result, and why a pool took none.

use core::time::Duration;

use crate::{
    error::Error,
    message::EncodeError,
    process::{Exit, Panic, SpawnError},
};

/// Why there is no return value of a task.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker goes on.
    #[error("the task panicked: {panic}")]
    Panicked {
        /// The worker's number.
        pid: u32,
        /// What it said, and where.
        panic: Panic,
    },
    /// The worker died in the middle of it: it was killed, or it called `exit`.
    #[error("worker {pid} ended with {exit} in attempt {attempt} of the task")]
    WorkerDied {
        /// The worker's number.
        pid: u32,
        /// How it ended.
        exit: Exit,
        /// Which attempt it was, from 1 on.
        attempt: u32,
    },
    /// It took longer than the pool allows, so its worker was killed.
    #[error(
        "attempt {attempt} of the task took longer than {limit:?}, and its worker {pid} was killed"
    )]
    TimedOut {
        /// The worker's number.
        pid: u32,
        /// How long it might take.
        limit: Duration,
        /// Which attempt it was, from 1 on.
        attempt: u32,
    },
    /// Its worker had more than twice as much memory as the pool allows, and was killed.
    #[error(
        "worker {pid} had {bytes} bytes of memory, more than twice {limit}, in attempt {attempt} of the task, and was killed"
    )]
    MemoryExceeded {
        /// The worker's number.
        pid: u32,
        /// How much memory it had.
        bytes: u64,
        /// What the pool allows.
        limit: u64,
        /// Which attempt it was, from 1 on.
        attempt: u32,
    },
    /// Its arguments or its return value could not be encoded or decoded: their own `Serialize` or `Deserialize` said so.
    #[error("the task could not be sent or received: {why}")]
    Unreadable {
        /// What could not, and why.
        why: String,
    },
    /// It was cancelled before it began.
    #[error("the task was cancelled")]
    Cancelled,
    /// The pool was terminated before it was done.
    #[error("the pool was terminated before the task was done")]
    Terminated,
    /// The pool cannot go on.
    #[error("the pool is broken: {why}")]
    Broken {
        /// What broke it.
        why: String,
    },
    /// A callback waits for a task. Callbacks run on the thread that hears of tasks being done, which would wait for itself.
    #[error("a callback cannot wait for a task of its own pool")]
    InCallback,
    /// The pool did not take it.
    #[error(transparent)]
    Refused(#[from] PoolError),
}

/// Why a pool was not made, or did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// It was closed or terminated, and takes no more tasks.
    #[error("the pool is closed")]
    Closed,
    /// It cannot be joined before it is closed or terminated: that would wait without end.
    #[error("the pool takes tasks; close or terminate it before joining it")]
    NotClosed,
    /// Its workers die as soon as they are started, or cannot be started.
    #[error("the pool is broken: {why}")]
    Broken {
        /// What broke it.
        why: String,
    },
    /// The function is part of a library that is loaded at run time. Only the program's own can be found again.
    #[error(
        "{function} is not in the program's own file but in a library, where a worker cannot find it"
    )]
    NotInProgram {
        /// What the compiler calls it.
        function: &'static str,
    },
    /// The arguments' own `Serialize` failed.
    #[error("the arguments: {0}")]
    Encode(#[from] EncodeError),
    /// A worker was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// This process was forked from the one that has the pool.
    #[error("the pool is of the process that this one was forked from; only that one can use it")]
    OfParent,
    /// A callback waits for the end of its own pool, whose end waits for the callback.
    #[error("a callback cannot join its own pool")]
    InCallback,
    /// An option is wrong, the system refused, or the pool's objects cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}
