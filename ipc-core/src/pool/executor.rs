//! Python's `ProcessPoolExecutor`.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use super::{AsyncResult, Imap, Payload, Pool, errors::PoolError};
use crate::process::Function;

/// A pool with the names of Python's `concurrent.futures.ProcessPoolExecutor`.
///
/// Unlike there, the death of a worker fails one task and not the executor. Dropped, it waits for everything that was submitted, as
/// [`shutdown`](Self::shutdown)`(true, false)` does.
///
/// ```no_run
/// use ipc_core::{Executor, futures};
///
/// fn cube(n: i64) -> i64 {
///     n.pow(3)
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init();
///     let executor = Executor::new(2)?;
///     let results: Vec<_> = (0..3).map(|n| executor.submit(cube, (n,))).collect::<Result<_, _>>()?;
///     for result in futures::as_completed(results) {
///         println!("{}", result.get()?);
///     }
///     let cubes: Result<Vec<_>, _> = executor.map(cube, 0..4)?.collect();
///     assert_eq!(cubes?, [0, 1, 8, 27]);
///     executor.shutdown(true, false)?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Executor {
    /// `None` once somebody else waits for its end.
    pool: Mutex<Option<Pool>>,
    core: std::sync::Arc<super::core::Core>,
}

impl Executor {
    /// With so many workers.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`](crate::PoolBuilder::build).
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Pool::new(workers).map(Self::of)
    }

    /// Over a pool, with all its settings.
    #[must_use]
    pub fn of(pool: Pool) -> Self {
        Self {
            core: std::sync::Arc::clone(&pool.core),
            pool: Mutex::new(Some(pool)),
        }
    }

    /// Submits one call. As [`Pool::apply_async`].
    ///
    /// # Errors
    ///
    /// As [`Pool::apply_async`]; [`PoolError::Closed`] after a [`shutdown`](Self::shutdown).
    pub fn submit<F, A>(
        &self,
        function: F,
        arguments: A,
    ) -> Result<AsyncResult<F::Output>, PoolError>
    where
        F: Function<A, Output: Payload> + Copy,
        A: Payload,
    {
        super::apply(&self.core, &function, arguments)
    }

    /// The results of one call for each argument, in their order; the arguments are read as results are taken. As [`Pool::imap`].
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub fn map<F, I>(
        &self,
        function: F,
        arguments: I,
    ) -> Result<Imap<I::IntoIter, F::Output>, PoolError>
    where
        I: IntoIterator<Item: Payload>,
        F: Function<(I::Item,), Output: Payload> + Copy,
    {
        let id = super::submit::function_id::<F, (I::Item,)>(&function)?;
        Imap::new(&self.core, id, arguments.into_iter(), 1)
    }

    /// Takes no more. With `cancel`, also cancels what no worker has begun. With `wait`, returns when everything has ended; else a
    /// thread of this process sees to the end.
    ///
    /// # Errors
    ///
    /// [`PoolError::OfParent`] in a forked child, [`PoolError::InCallback`] where a callback waits for its own end; [`PoolError::Failed`]: no
    /// thread could be started.
    pub fn shutdown(&self, wait: bool, cancel: bool) -> Result<(), PoolError> {
        if !self.core.is_mine() {
            return Err(PoolError::OfParent);
        }
        self.core.close();
        if cancel {
            self.core.cancel_all();
        }
        if wait {
            return super::join(&self.core);
        }
        let pool = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(pool) = pool else {
            return Ok(()); // somebody sees to it already
        };
        let started = thread::Builder::new()
            .name("ipc-pool-end".into())
            .spawn(move || drop(pool.join()));
        started.map(drop).map_err(|e| {
            PoolError::Failed(crate::error::Error::from_io(
                "a pool",
                "start a thread of",
                &e,
            ))
        })
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if self.core.is_mine() {
            // A forked child leaves it alone, and so does who would wait for itself.
            let _ = self.shutdown(!self.core.is_listener(), false);
        }
    }
}
