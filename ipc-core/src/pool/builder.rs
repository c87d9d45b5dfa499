//! How a pool is to be.

use core::time::Duration;
use std::sync::Arc;

use super::{
    Pool,
    codec::{FunctionId, Payload, TASK_HEAD, TaskHead, TaskKind, Writer, entry_of},
    control::MOST_WORKERS,
    core::{Core, Kept, Settings},
    crew::Crew,
    errors::PoolError,
    listener,
    station::Station,
};
use crate::{
    error::Error,
    message::EncodeError,
    object::{Namespace, lifetime::noting_tickets},
    os::thread,
    process::{Function, cpu_count},
};

/// Room for workers that a pool has at the least, should it be scaled up.
const USUAL_PLACES: usize = 128;
/// Callbacks run on such a stack.
const STACK: usize = 2 << 20;

/// Settings for a pool, from [`Pool::builder`].
#[derive(Debug, Clone)]
#[must_use = "settings start nothing until `build`"]
pub struct PoolBuilder {
    workers: Option<usize>,
    namespace: Option<Namespace>,
    settings: Settings,
    refusal: Option<PoolError>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers: None,
            namespace: None,
            settings: Settings {
                retries: 0,
                retries_timeouts: false,
                timeout: None,
                memory_limit: None,
                read_ahead: None,
                most_tasks: u64::MAX,
                initializer: None,
                kept: Kept::default(),
                name: None,
            },
            refusal: None,
        }
    }

    /// How many workers there are: 1 to 4,096. Default: [`cpu_count`], the cores that this process may use. It can be changed later
    /// ([`Pool::scale`]) up to 128, or to this number if that is higher.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// A name under which other processes find the pool, to look at it or to scale or drain it ([`PoolControl`](crate::PoolControl)). The name
    /// goes with the pool; one that a killed process has left is taken over. Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Where the pool's objects are, and the name is looked for. Default: [`Namespace::current`].
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// A function that each worker runs first, in its own process, with these arguments (a tuple). If it panics or exits, the worker is
    /// replaced; if that happens to several in a row, the pool is [broken](PoolError::Broken).
    pub fn initializer<F, A>(mut self, function: F, arguments: A) -> Self
    where
        F: Function<A, Output: Payload> + Copy,
        A: Payload,
    {
        let (encoded, has_handles) = noting_tickets(|| encode_initializer(&function, &arguments));
        match encoded {
            Ok(initializer) => self.settings.initializer = Some(initializer),
            Err(refusal) => self.refusal = Some(refusal),
        }
        if has_handles {
            self.settings.kept = Kept::new(arguments);
        }
        self
    }

    /// How many tasks a worker does before a new one takes its place: Python's `maxtasksperchild`. A chunk of a `map` is one task. Default,
    /// and what 0 means: without end.
    pub fn max_tasks_per_child(mut self, count: u64) -> Self {
        self.settings.most_tasks = if count == 0 { u64::MAX } else { count };
        self
    }

    /// How long a call of a function may take; a chunk of several calls may take so many times as long. The worker of a task that takes longer
    /// is killed, and the task fails with [`TaskError::TimedOut`](crate::TaskError::TimedOut). Also one whose worker is stopped. To a
    /// millisecond. Default: without end.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = Some(limit);
        self
    }

    /// How much memory of its own a worker may have, in bytes: what is resident, without files and shared memory, looked at ten times
    /// a second. One that has more ends behind its task, and one that has more than twice as much is killed; its task then fails with
    /// [`TaskError::MemoryExceeded`](crate::TaskError::MemoryExceeded). Default: no limit.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// How many more attempts a task has whose worker dies. It is begun at most once more than this number says. Default: 0, the
    /// task fails with [`TaskError::WorkerDied`](crate::TaskError::WorkerDied).
    pub fn retries(mut self, count: u32) -> Self {
        self.settings.retries = count;
        self
    }

    /// Whether a task that takes [too long](Self::timeout) has more [attempts](Self::retries), too. Default: no.
    pub fn retry_timeouts(mut self, is_allowed: bool) -> Self {
        self.settings.retries_timeouts = is_allowed;
        self
    }

    /// How many chunks [`imap`](Pool::imap) and its kin read ahead of what was taken from them. At least 1. Default: 8 for each worker, at
    /// least 32.
    pub fn read_ahead(mut self, chunks: usize) -> Self {
        self.settings.read_ahead = Some(chunks);
        self
    }

    /// Starts the workers. Returns when they are started, not when they have begun.
    ///
    /// # Errors
    ///
    /// [`PoolError::Spawn`]: [`init`](crate::init) was not called, or the system refused. [`PoolError::Failed`]: an option is wrong, a living
    /// process has a pool of this name, or there is no memory. [`PoolError::NotInProgram`], [`PoolError::Encode`]: the initializer's.
    pub fn build(self) -> Result<Pool, PoolError> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let workers = self.workers.unwrap_or_else(cpu_count);
        if !(1..=MOST_WORKERS).contains(&workers) {
            return Err(PoolError::Failed(Error::BadOption {
                option: "workers",
                why: format!("a pool has 1 to {MOST_WORKERS} workers"),
            }));
        }
        let most = workers.max(USUAL_PLACES);
        let namespace = self.namespace.as_ref();
        let name = self.settings.name.as_deref();
        let station = Station::create(namespace, name, most, workers)?;
        let made = Core::new(station.clone(), self.settings, namespace, most, workers);
        let started = made.map_err(PoolError::from).and_then(|core| {
            let core = Arc::new(core);
            let crew = Crew::start(&core)?;
            start_threads(&core, crew).map(|()| core)
        });
        if started.is_err() && station.member.object.name().is_some() {
            let _ = station.member.object.unlink(); // it is of no use
        }
        Ok(Pool { core: started? })
    }
}

fn encode_initializer<F, A>(function: &F, arguments: &A) -> Result<(FunctionId, Vec<u8>), PoolError>
where
    F: Function<A, Output: Payload> + Copy,
    A: Payload,
{
    let entry = entry_of::<F, A>(function);
    let id = FunctionId::of(entry).ok_or(PoolError::NotInProgram {
        function: entry.name(),
    })?;
    let mut task = Writer::behind(Vec::new(), TASK_HEAD);
    task.push(arguments).map_err(EncodeError)?;
    let mut task = task.done();
    let head = TaskHead {
        batch: 0,
        index: 0,
        calls: 1,
        function: id,
        attempt: 1,
        untried: 0,
        kind: TaskKind::Run,
    };
    head.write(&mut task);
    Ok((id, task))
}

/// The threads that a pool has: one for replies, one for workers, and one for orders from outside where there can be any.
fn start_threads(core: &Arc<Core>, crew: Crew) -> Result<(), PoolError> {
    let failed = |e: std::io::Error| {
        core.terminate();
        PoolError::Failed(Error::from_io("a pool", "start a thread of", &e))
    };
    start_thread(core, "ipc-pool-crew", move |_| crew.run()).map_err(failed)?;
    start_thread(core, "ipc-pool", listener::listen).map_err(failed)?;
    if core.settings.name.is_some() {
        start_thread(core, "ipc-pool-orders", Core::take_orders).map_err(failed)?;
    }
    Ok(())
}

/// Starts a thread that lets go of the pool before anybody hears that it has ended.
fn start_thread(
    core: &Arc<Core>,
    name: &str,
    run: impl FnOnce(&Core) + Send + 'static,
) -> std::io::Result<()> {
    let (its, ties) = (Arc::clone(core), Arc::clone(&core.ties));
    ties.enter();
    let started = thread::start_with_stack(name, STACK, move || {
        run(&its);
        drop(its);
        ties.leave();
    });
    if started.is_err() {
        core.ties.leave();
    }
    started
}
