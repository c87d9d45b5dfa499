//! A pool of worker processes that survives them.
//!
//! | Python | here |
//! |---|---|
//! | `Pool(n)` | [`Pool::new`]`(n)` |
//! | `Pool(n, initializer, initargs, maxtasksperchild)` | [`Pool::builder`]`().workers(n).initializer(f, (a,)).max_tasks_per_child(k).build()` |
//! | `apply(f, (a, b))` | [`Pool::apply`]`(f, (a, b))` |
//! | `apply_async(f, args, callback=…, error_callback=…)` | [`Pool::apply_async`]`(f, args)?.callback(…).error_callback(…)` |
//! | `map(f, xs, chunksize)` | [`Pool::map`]`(f, xs)`, [`Pool::map_chunked`]`(f, xs, chunksize)` |
//! | `map_async`, `starmap`, `starmap_async` | the same names, and `…_chunked` |
//! | `imap`, `imap_unordered` | the same names; the input is read as it is needed |
//! | `close()`, `terminate()`, `join()` | the same names; a pool that is dropped is terminated, as by `with` |
//! | `AsyncResult`: `get`, `wait`, `ready`, `successful` | [`AsyncResult`], which is a `Future`, too |
//! | `ProcessPoolExecutor`: `submit`, `map`, `shutdown` | [`Executor`] |
//! | `concurrent.futures.wait`, `as_completed` | [`futures::wait`], [`futures::as_completed`] |
//!
//! Read in this order: `place` (who decides what a worker may do) and `control` (the pool's object), `codec` (what travels), `worker`, `batch` (each task is
//! over once), `core` (what is handed over when), `listener` and `crew` (this process's threads; what happens when a worker dies), `submit`, and the public
//! face: this file, `builder`, `async_result`, `imap`, `executor`, `futures`, `status`.

mod async_result;
mod batch;
mod builder;
mod codec;
pub(crate) mod control;
mod core;
mod crew;
mod errors;
mod executor;
pub mod futures;
mod imap;
mod listener;
mod place;
mod station;
mod status;
mod submit;
mod ties;
mod worker;

use ::core::fmt;
use std::sync::Arc;

pub use async_result::{AsyncResult, NotReady};
pub use builder::PoolBuilder;
pub use codec::Payload;
pub use control::PoolPhase;
pub use errors::{PoolError, TaskError};
pub use executor::Executor;
pub use imap::{Imap, ImapUnordered};
pub use status::{PoolControl, PoolStatus, WorkerState, WorkerStatus};

use self::{
    batch::Batch,
    core::Core,
    submit::{Submitter, function_id},
};
use crate::{error::Result, process::Function};

/// Worker processes that do tasks: Python's `multiprocessing.Pool`.
///
/// # What travels
///
/// The *function* is any function of the program, or a closure that captures nothing, as for [`Process::spawn`](crate::Process::spawn); the program has
/// to call [`init`](crate::init) first in `main`. *Arguments* and *return values* are any serde types, of any size. Handles of objects may be
/// among the arguments; they are kept open here until the task is done. A handle that is returned must be of an object that somebody else has, too.
///
/// # Errors of tasks
///
/// A [`TaskError`] is of one task, and says why that has no value. The others go on, and so does the pool.
///
/// | a worker | its task | the pool |
/// |---|---|---|
/// | panics in the function | [`TaskError::Panicked`], with message and place | the worker goes on |
/// | is killed, calls `exit`, overflows its stack | [another attempt](PoolBuilder::retries), else [`TaskError::WorkerDied`] | starts a new one at once |
/// | takes [too long](PoolBuilder::timeout), also as it is stopped | [`TaskError::TimedOut`] | kills it and starts a new one |
/// | has [too much memory](PoolBuilder::memory_limit) | is finished; [`TaskError::MemoryExceeded`] at twice as much | replaces it |
/// | dies before it has begun a task | none | starts a new one; is [broken](TaskError::Broken) when that happens to several in a row |
///
/// Each task is over exactly once, and its function is begun at most once more than there are retries. A chunk of several calls is one
/// task: its calls share what happens to the worker, but not panics.
///
/// # This process
///
/// Workers are daemons: when this process is killed, they are, too. It has two threads for a pool, which block all signals: one that hears of
/// tasks and calls callbacks, one that looks after workers; a third one where the pool has a [name](PoolBuilder::name). In a *forked* child the pool
/// refuses, and dropping it does nothing. A task may use a pool of its own.
///
/// Workers have no standard input. What they print goes where this process's output goes.
///
/// # Blocking
///
/// [`apply`](Self::apply), [`map`](Self::map) and [`starmap`](Self::starmap) wait for what they return, [`join`](Self::join) for the workers' end. Nothing else blocks: tasks
/// that the workers are not ready for wait in this process's memory. Dropping the pool terminates it, which takes one second at the most, unless
/// a callback runs on.
///
/// # Example
///
/// ```no_run
/// use ipc_core::Pool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init(); // a worker serves here, and exits
///
///     let pool = Pool::new(3)?;
///     assert_eq!(pool.map(square, 0..8)?, [0, 1, 4, 9, 16, 25, 36, 49]);
///     let sum = pool.apply_async(|a: i32, b: i32| a + b, (3, 4))?;
///     assert_eq!(sum.get()?, 7);
///     for square in pool.imap(square, 0..1_000_000)? {
///         if square? > 50 {
///             break;
///         }
///     }
///     pool.close();
///     pool.join()?;
///     Ok(())
/// }
/// ```
///
/// Tasks are leased as those of a [`JoinableQueue`](crate::JoinableQueue), and a worker says that one is done after it has sent the result.
pub struct Pool {
    core: Arc<Core>,
}

impl Pool {
    /// With so many workers, and default [settings](Self::builder).
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// Settings for a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Has a worker call `function` with these arguments (a tuple), and waits for what it returns.
    ///
    /// # Errors
    ///
    /// [`TaskError`].
    pub fn apply<F, A>(&self, function: F, arguments: A) -> Result<F::Output, TaskError>
    where
        F: Function<A, Output: Payload> + Copy,
        A: Payload,
    {
        self.apply_async(function, arguments)?.get()
    }

    /// Has a worker call `function` with these arguments (a tuple).
    ///
    /// # Errors
    ///
    /// [`PoolError`]: the pool is closed or broken, or the arguments cannot be encoded.
    pub fn apply_async<F, A>(
        &self,
        function: F,
        arguments: A,
    ) -> Result<AsyncResult<F::Output>, PoolError>
    where
        F: Function<A, Output: Payload> + Copy,
        A: Payload,
    {
        apply(&self.core, &function, arguments)
    }

    /// Calls `function` with each argument, and waits for all values, which are in the order of the arguments. The arguments go in chunks,
    /// about four for each worker, as Python does it.
    ///
    /// # Errors
    ///
    /// The [`TaskError`] of the first argument that has one. All calls are made all the same.
    pub fn map<F, I>(&self, function: F, arguments: I) -> Result<Vec<F::Output>, TaskError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        self.map_async(function, arguments)?.get()
    }

    /// As [`map`](Self::map), in chunks of so many arguments.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn map_chunked<F, I>(
        &self,
        function: F,
        arguments: I,
        chunk: usize,
    ) -> Result<Vec<F::Output>, TaskError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        self.map_async_chunked(function, arguments, chunk)?.get()
    }

    /// As [`map`](Self::map), without waiting.
    ///
    /// # Errors
    ///
    /// As [`apply_async`](Self::apply_async).
    pub fn map_async<F, I>(
        &self,
        function: F,
        arguments: I,
    ) -> Result<AsyncResult<Vec<F::Output>>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let chunk = self.usual_chunk(arguments.len());
        self.map_async_chunked(function, arguments, chunk)
    }

    /// As [`map_chunked`](Self::map_chunked), without waiting.
    ///
    /// # Errors
    ///
    /// As [`apply_async`](Self::apply_async).
    pub fn map_async_chunked<F, I>(
        &self,
        function: F,
        arguments: I,
        chunk: usize,
    ) -> Result<AsyncResult<Vec<F::Output>>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        let function = function_id::<F, (I::Item,)>(&function)?;
        let submitter = Submitter::new(&self.core, function, false)?;
        let batch = submitter.all(arguments.into_iter(), chunk)?;
        Ok(AsyncResult::all(&self.core, batch))
    }

    /// As [`map`](Self::map), for a function of several arguments: each item is the tuple of them.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, function: F, arguments: I) -> Result<Vec<F::Output>, TaskError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<I::Item, Output: Payload> + Copy,
    {
        self.starmap_async(function, arguments)?.get()
    }

    /// As [`starmap`](Self::starmap), in chunks of so many tuples.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn starmap_chunked<F, I>(
        &self,
        function: F,
        arguments: I,
        chunk: usize,
    ) -> Result<Vec<F::Output>, TaskError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<I::Item, Output: Payload> + Copy,
    {
        self.starmap_async_chunked(function, arguments, chunk)?
            .get()
    }

    /// As [`starmap`](Self::starmap), without waiting.
    ///
    /// # Errors
    ///
    /// As [`apply_async`](Self::apply_async).
    pub fn starmap_async<F, I>(
        &self,
        function: F,
        arguments: I,
    ) -> Result<AsyncResult<Vec<F::Output>>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<I::Item, Output: Payload> + Copy,
    {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let chunk = self.usual_chunk(arguments.len());
        self.starmap_async_chunked(function, arguments, chunk)
    }

    /// As [`starmap_chunked`](Self::starmap_chunked), without waiting.
    ///
    /// # Errors
    ///
    /// As [`apply_async`](Self::apply_async).
    pub fn starmap_async_chunked<F, I>(
        &self,
        function: F,
        arguments: I,
        chunk: usize,
    ) -> Result<AsyncResult<Vec<F::Output>>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<I::Item, Output: Payload> + Copy,
    {
        let function = function_id::<F, I::Item>(&function)?;
        let submitter = Submitter::new(&self.core, function, false)?;
        let batch = submitter.all(arguments.into_iter(), chunk)?;
        Ok(AsyncResult::all(&self.core, batch))
    }

    /// Calls `function` with each argument; the results come in the order of the arguments, as they are asked for. The arguments are read in
    /// this thread, and only [so far](PoolBuilder::read_ahead) ahead: they may be without end.
    ///
    /// # Errors
    ///
    /// As [`apply_async`](Self::apply_async). Each item has an error of its own.
    pub fn imap<F, I>(
        &self,
        function: F,
        arguments: I,
    ) -> Result<Imap<I::IntoIter, F::Output>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        self.imap_chunked(function, arguments, 1)
    }

    /// As [`imap`](Self::imap), in chunks of so many arguments.
    ///
    /// # Errors
    ///
    /// As [`imap`](Self::imap).
    pub fn imap_chunked<F, I>(
        &self,
        function: F,
        arguments: I,
        chunk: usize,
    ) -> Result<Imap<I::IntoIter, F::Output>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        let function = function_id::<F, (I::Item,)>(&function)?;
        Imap::new(&self.core, function, arguments.into_iter(), chunk)
    }

    /// As [`imap`](Self::imap), but the results come as they are ready.
    ///
    /// # Errors
    ///
    /// As [`imap`](Self::imap).
    pub fn imap_unordered<F, I>(
        &self,
        function: F,
        arguments: I,
    ) -> Result<ImapUnordered<I::IntoIter, F::Output>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        self.imap_unordered_chunked(function, arguments, 1)
    }

    /// As [`imap_unordered`](Self::imap_unordered), in chunks of so many arguments.
    ///
    /// # Errors
    ///
    /// As [`imap`](Self::imap).
    pub fn imap_unordered_chunked<F, I>(
        &self,
        function: F,
        arguments: I,
        chunk: usize,
    ) -> Result<ImapUnordered<I::IntoIter, F::Output>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        let function = function_id::<F, (I::Item,)>(&function)?;
        ImapUnordered::new(&self.core, function, arguments.into_iter(), chunk)
    }

    /// Python's default: about four chunks for each worker.
    fn usual_chunk(&self, calls: usize) -> usize {
        calls.div_ceil(4 * self.workers()).max(1)
    }

    /// Takes no more tasks. The workers end when those that it has are done.
    pub fn close(&self) {
        if self.core.is_mine() {
            self.core.close();
        }
    }

    /// Ends the workers without waiting for their tasks, which fail with [`TaskError::Terminated`]. Workers are sent `SIGTERM`, and those
    /// that live on are killed one second later.
    pub fn terminate(&self) {
        if self.core.is_mine() {
            self.core.terminate();
        }
    }

    /// Waits until a pool that was [closed](Self::close) or [terminated](Self::terminate) has ended: all tasks are over, no worker is left.
    ///
    /// # Errors
    ///
    /// [`PoolError::NotClosed`], [`PoolError::OfParent`], [`PoolError::InCallback`].
    pub fn join(&self) -> Result<(), PoolError> {
        join(&self.core)
    }

    /// How many workers there are to be.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.core.station.control.wanted()
    }

    /// Has it have so many workers, from now on. New ones are started at once; those that are too many end behind the tasks that are handed
    /// over already.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`](crate::Error::BadOption): it cannot have so many; see [`PoolBuilder::workers`].
    pub fn scale(&self, workers: usize) -> Result<(), PoolError> {
        if !self.core.is_mine() {
            return Err(PoolError::OfParent);
        }
        status::scale(&self.core.station, workers)?;
        self.core.watch.call();
        Ok(())
    }

    /// What it does.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) and its kin.
    pub fn status(&self) -> Result<PoolStatus> {
        PoolStatus::of(&self.core.station)
    }

    /// Its [name](PoolBuilder::name).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.core.settings.name.as_deref()
    }
}

/// Submits one call.
fn apply<F, A>(
    core: &Arc<Core>,
    function: &F,
    arguments: A,
) -> Result<AsyncResult<F::Output>, PoolError>
where
    F: Function<A, Output: Payload> + Copy,
    A: Payload,
{
    let function = function_id::<F, A>(function)?;
    let submitter = Submitter::new(core, function, false)?;
    let batch: Arc<Batch> = submitter.all(::core::iter::once(arguments), 1)?;
    Ok(AsyncResult::single(core, batch))
}

fn join(core: &Core) -> Result<(), PoolError> {
    if !core.is_mine() {
        return Err(PoolError::OfParent);
    }
    if core.is_listener() {
        return Err(PoolError::InCallback);
    }
    let is_closed = core.state().is_closed || core.station.phase()? > PoolPhase::Running;
    if !is_closed {
        return Err(PoolError::NotClosed);
    }
    core.ties.wait_for_end();
    Ok(())
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.core.is_mine() {
            return; // a forked child's copy
        }
        self.core.terminate();
        if !self.core.is_listener() {
            self.core.ties.wait_for_end();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
