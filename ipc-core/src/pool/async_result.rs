//! What will come back from a pool.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    batch::{Aftermath, Batch},
    codec::Payload,
    core::Core,
    errors::{PoolError, TaskError},
    ties::Ties,
};

/// The result of a task, or of several, of a [`Pool`](crate::Pool): Python's `AsyncResult`, and its `concurrent.futures.Future`.
///
/// It is a [`Future`], too, of any runtime. What comes back is decoded by whoever asks for it, anew each time. A result that is dropped changes
/// nothing: the task is done all the same.
///
/// # Blocking
///
/// [`get`](Self::get) and [`wait`](Self::wait) block, `_timeout` for so long. They end, whatever happens: a task whose worker dies has an
/// error, and so has every task of a pool that is dropped.
///
/// # Example
///
/// ```no_run
/// use ipc_core::{Pool, TaskError};
/// use std::time::Duration;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init();
///     let pool = Pool::new(2)?;
///     let result = pool.apply_async(square, (7,))?;
///     assert_eq!(result.get_timeout(Duration::from_secs(10))?, Some(49));
///     let failure = pool.apply_async(|| -> u8 { panic!("no") }, ())?;
///     assert!(matches!(failure.get(), Err(TaskError::Panicked { .. })));
///     Ok(())
/// }
/// ```
#[must_use = "it tells what became of the task"]
pub struct AsyncResult<R> {
    /// Gone once nothing can be cancelled any more. Who has a result keeps no queues.
    core: Weak<Core>,
    ties: Arc<Ties>,
    batch: Arc<Batch>,
    decode: fn(&Batch) -> Result<R, TaskError>,
}

/// It is not known yet: nothing has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task is not done yet")]
pub struct NotReady;

/// The only value of a batch.
fn single<R: Payload>(batch: &Batch) -> Result<R, TaskError> {
    let mut value = Err(TaskError::Cancelled);
    let _ = batch.outcomes(|_, outcome| {
        value = match outcome {
            Ok(reply) => reply.returns().next(),
            Err(e) => Err((**e).clone()),
        };
        Err(())
    });
    value
}

/// All values of a batch, or its first error.
fn all<R: Payload>(batch: &Batch) -> Result<Vec<R>, TaskError> {
    let mut values = Vec::with_capacity(batch.calls());
    batch.outcomes(|calls, outcome| -> Result<(), TaskError> {
        let reply = outcome.as_ref().map_err(|e| (**e).clone())?;
        let mut returns = reply.returns();
        for _ in 0..calls {
            values.push(returns.next()?);
        }
        Ok(())
    })?;
    Ok(values)
}

impl<R: Payload> AsyncResult<R> {
    pub(super) fn single(core: &Arc<Core>, batch: Arc<Batch>) -> Self {
        Self {
            core: Arc::downgrade(core),
            ties: Arc::clone(&core.ties),
            batch,
            decode: single,
        }
    }
}

impl<R: Payload> AsyncResult<Vec<R>> {
    pub(super) fn all(core: &Arc<Core>, batch: Arc<Batch>) -> Self {
        Self {
            core: Arc::downgrade(core),
            ties: Arc::clone(&core.ties),
            batch,
            decode: all,
        }
    }
}

impl<R> AsyncResult<R> {
    /// A forked child must not touch a lock; a callback must not wait for its own thread.
    fn check(&self, may_wait: bool) -> Result<(), TaskError> {
        if !self.ties.is_mine() {
            return Err(PoolError::OfParent.into());
        }
        if may_wait && self.ties.is_listener() && !self.batch.is_over() {
            return Err(TaskError::InCallback);
        }
        Ok(())
    }

    /// Waits for it.
    ///
    /// # Errors
    ///
    /// [`TaskError`]; of several tasks, that of the first one which failed.
    pub fn get(&self) -> Result<R, TaskError> {
        self.check(true)?;
        self.batch.wait(None);
        (self.decode)(&self.batch)
    }

    /// Waits for it for at most `timeout`; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<R>, TaskError> {
        self.check(true)?;
        match self.batch.wait(Some(timeout)) {
            true => (self.decode)(&self.batch).map(Some),
            false => Ok(None),
        }
    }

    /// Waits until it is [ready](Self::ready). In a callback of its own pool, and in a forked child, returns at once.
    pub fn wait(&self) {
        if self.check(true).is_ok() {
            self.batch.wait(None);
        }
    }

    /// Waits until it is [ready](Self::ready), for at most `timeout`. Whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.check(true).is_ok() && self.batch.wait(Some(timeout))
    }

    /// Whether it is there, or why not. Python's `ready` and `done`.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.check(false).is_ok() && self.batch.is_over()
    }

    /// Whether every task has returned a value.
    ///
    /// # Errors
    ///
    /// [`NotReady`].
    pub fn successful(&self) -> Result<bool, NotReady> {
        match self.ready() {
            true => Ok((self.decode)(&self.batch).is_ok()),
            false => Err(NotReady),
        }
    }

    /// Cancels it, unless a worker has it by now, or soon: tasks are handed over a few ahead. Whether it did. Python's `cancel`.
    pub fn cancel(&self) -> bool {
        let cancel = || self.core.upgrade().is_some_and(|c| c.cancel(&self.batch));
        self.check(false).is_ok() && (self.cancelled() || cancel())
    }

    /// Whether it was [cancelled](Self::cancel).
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.ready() && matches!((self.decode)(&self.batch), Err(TaskError::Cancelled))
    }

    /// Whether a worker has it, or soon: it can no longer be cancelled, and is not done.
    #[must_use]
    pub fn running(&self) -> bool {
        let is_running = || {
            self.core
                .upgrade()
                .is_some_and(|c| c.is_running(&self.batch))
        };
        self.check(false).is_ok() && !self.batch.is_over() && is_running()
    }

    /// Whether a wait for it would return at once, as it is ready or cannot be waited for.
    pub(super) fn is_due(&self) -> bool {
        self.check(false).is_err() || self.batch.is_over()
    }

    /// When the futures of this pool are told: registers, and says whether it is ready.
    pub(super) fn register(&self, waker: &core::task::Waker) -> bool {
        self.check(false).is_err() || self.batch.register(waker)
    }

    pub(super) fn unregister(&self, waker: &core::task::Waker) {
        if self.check(false).is_ok() {
            self.batch.unregister(waker);
        }
    }
}

impl<R: Send + 'static> AsyncResult<R> {
    /// Has `callback` called once it is ready: Python's `add_done_callback`. It runs on the pool's own thread in this process, or at once on this
    /// one if it is ready now. While it runs nothing else of the pool is heard of, so it should be short; its panic harms nothing.
    pub fn on_done(&self, callback: impl FnOnce(&Self) + Send + 'static) {
        if self.check(false).is_err() {
            return;
        }
        let this = self.clone();
        if let Some(callback) = self.batch.on_over(Box::new(move || callback(&this))) {
            Aftermath::of(callback).run();
        }
    }

    /// Has `callback` called with the value, if there is one: the `callback` of Python's `apply_async`. As [`on_done`](Self::on_done).
    pub fn callback(self, callback: impl FnOnce(R) + Send + 'static) -> Self {
        self.on_done(move |this| {
            if let Ok(value) = this.get() {
                callback(value);
            }
        });
        self
    }

    /// Has `callback` called with the error, if there is one: the `error_callback` of Python's `apply_async`. As [`on_done`](Self::on_done).
    pub fn error_callback(self, callback: impl FnOnce(TaskError) + Send + 'static) -> Self {
        self.on_done(move |this| {
            if let Err(error) = this.get() {
                callback(error);
            }
        });
        self
    }
}

impl<R> Future for AsyncResult<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(e) = self.check(false) {
            return Poll::Ready(Err(e));
        }
        match self.batch.register(context.waker()) {
            true => Poll::Ready((self.decode)(&self.batch)),
            false => Poll::Pending,
        }
    }
}

impl<R> Clone for AsyncResult<R> {
    fn clone(&self) -> Self {
        Self {
            core: Weak::clone(&self.core),
            ties: Arc::clone(&self.ties),
            batch: Arc::clone(&self.batch),
            decode: self.decode,
        }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("is_ready", &self.ready())
            .finish_non_exhaustive()
    }
}
