//! Objects in shared memory for processes that work together on one machine.
//!
//! Any process may be killed at any instruction: nobody else gets stuck, and no message is torn, doubled, or lost before
//! somebody took it.
//!
//! Reading path through the source: `region/region.rs` (memory others write) → `object/participant.rs` (who lives, and the
//! proof that one does not) → `channel/queue/ring.rs` (the pattern) → `object/wait.rs` (the hard argument). The module list
//! below is in order of layers: each uses only those above it.
//!
//! # Processes
//!
//! A program that calls [`init`] first in `main` can run any of its functions in a new process: [`Process`], which has Python's names for all
//! this. Objects need none of that: any process opens them by name, or has their handles from another.
//!
//! # Threads and signals
//!
//! Nothing here needs a thread of its own, nor a signal, but for two things. A process whose calls have slept in the kernel a thousand times,
//! or that acquires ten thousand locks in a second, gets a thread `ipc-alarm`, which makes sleeping cheaper and keeps the time at which locks
//! are acquired. It runs 25 times a second while somebody sleeps or acquires so often, else not at all. A process
//! that makes a [`Pollable`], or waits with a [`WaitSet`] for objects and descriptors together, gets threads `ipc-lookout`, which run ten
//! times a second while they watch anything. A process that starts others ([`Process`]) gets a thread `ipc-children`, which sleeps until one ends that
//! nobody joins, and one that was started to end with its parent a thread `ipc-parent`, which sleeps until that. A [`Pool`] has two threads, `ipc-pool` and `ipc-pool-crew`, and one more, `ipc-pool-orders`, if it has a name; they sleep while nothing happens.
//! All of them block all signals. Who calls what only a process with one thread may
//! (`unshare` of a user namespace, say) does so before that.
//!
//! # Features
//!
//! * `logging`: `logging::to_stderr` writes what the program says through `tracing` and `log` on standard error, with the names of processes.
//! * `raw-sync`: an [`Event`] is also an event of the crate `raw_sync` (`EventInit` and `EventImpl`), so that its users can
//!   switch by `use ipc_core::Event`. What an event does about death is the same there.

mod error;
mod prim;

mod os;

mod region;

mod object;

mod slab;

mod shared_memory;

mod sync;

mod message;

mod channel;

mod manager;

mod process;

mod wait_set;

mod pool;

mod inspect;

pub use channel::broadcast::{
    Broadcast, BroadcastOptions, PublishError, PublishManyError, PublishTimeoutError,
    SubscribeError, Subscriber, SubscriberError, SubscriberIter, SubscriberTimeoutError,
    TryPublishError, TrySubscriberError,
};
pub use channel::errors::{
    GetError, GetTimeoutError, PutError, PutManyError, PutTimeoutError, TryGetError, TryPutError,
};
pub use channel::joinable::errors::{
    GetJobError, GetJobTimeoutError, LeaseError, TaskDoneError, TryGetJobError,
};
pub use channel::joinable::{DeadLetter, Job, JobIter, JoinableQueue};
pub use channel::listener::{
    AcceptError, AcceptTimeoutError, Accepted, Client, ClientOptions, ConnectError, Incoming,
    Listener, ListenerOptions, PeerCredentials, PeerError, TryAcceptError,
};
pub use channel::loan::{Loan, MessageRef};
pub use channel::options::QueueOptions;
pub use channel::ordered::{LifoIter, LifoQueue, PriorityIter, PriorityQueue};
pub use channel::pipe::{
    Connection, Messages, Pipe, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendError,
    SendManyError, SendTimeoutError, Sender, TakeError, TryRecvError, TrySendError, pipe, simplex,
};
pub use channel::queue::{Iter, Queue};
pub use error::{Error, ErrorKind, Result};
pub use inspect::{
    FamilyStat, Inspection, JobStat, MemberStat, Participant, ParticipantState, QueueStat, Visit,
};
pub use manager::dict::{
    Dict, DictChange, DictError, DictIter, DictKeys, DictOptions, DictStat, DictWatch,
    DictWatchIter, Number,
};
pub use manager::family::{Manager, ManagerOptions};
pub use manager::{
    Array, ArrayIter, Attribute, AttributeError, Attributes, CompareExchangeError, List, ListError,
    ListIter, ListOptions, ListPutError, Locked, PlainInteger, PlainNumber, Value, ValueOptions,
};
pub use message::{Bytes, DecodeError, EncodeError, Message, Plain};
pub use object::{Collected, Kind, Leftover, Namespace, Space, seat::Activity, wait::WaitStrategy};
pub use pool::{
    AsyncResult, Executor, Imap, ImapUnordered, NotReady, Payload, Pool, PoolBuilder, PoolControl,
    PoolError, PoolPhase, PoolStatus, TaskError, WorkerState, WorkerStatus, futures,
};
#[cfg(feature = "logging")]
pub use process::logging;
pub use process::{
    CurrentProcess, Exit, Function, JoinError, Panic, ParentDeath, ParentProcess, Process,
    ProcessBuilder, SpawnError, Stdio, Worker, active_children, cpu_count, current_process, init,
    parent_process,
};
pub use shared_memory::{SharedMemory, SharedMemoryOptions, SharedMemoryStat};
pub use sync::{
    AcquireTimeoutError, Barrier, BarrierError, BoundedSemaphore, BoundedSemaphoreGuard, Condition,
    Event, Lock, LockGuard, Options, RLock, RLockGuard, ReadGuard, ReleaseError, RwLock, Semaphore,
    SemaphoreGuard, Timer, TryAcquireError, WriteGuard,
};
pub use wait_set::{
    Descriptor, Finished, Interval, Pollable, ProcessExit, WaitSet, Waitable, Writable, wait,
};
