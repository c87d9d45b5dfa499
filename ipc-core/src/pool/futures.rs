//! Waiting for several results: Python's `concurrent.futures.wait` and `as_completed`.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use super::AsyncResult;

/// When [`wait`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnWhen {
    /// When one is ready.
    FirstCompleted,
    /// When one has failed, or all are ready.
    FirstException,
    /// When all are ready.
    AllCompleted,
}

/// A bell that results ring.
#[derive(Debug, Default)]
struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rung.notify_all();
    }
}

impl Bell {
    fn rings(&self) -> u64 {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has rung more often than that, or a time has come. Whether it has.
    fn wait(&self, seen: u64, until: Option<Instant>) -> bool {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        while *rings == seen {
            rings = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self
                    .rung
                    .wait(rings)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    let waited = self.rung.wait_timeout(rings, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

/// Waits for results. The indices of those that are ready, and of those that are not, each in order. Without a `timeout` it waits as long as
/// it takes. In a callback of the results' own pool it must not be called without one.
///
/// ```no_run
/// use ipc_core::{Pool, futures::{self, ReturnWhen}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # ipc_core::init();
/// let pool = Pool::new(2)?;
/// let results = [pool.apply_async(|| 1, ())?, pool.apply_async(|| 2, ())?];
/// let (ready, open) = futures::wait(&results, ReturnWhen::FirstCompleted, None);
/// assert!(!ready.is_empty() && ready.len() + open.len() == 2);
/// # Ok(())
/// # }
/// ```
pub fn wait<R>(
    results: &[AsyncResult<R>],
    when: ReturnWhen,
    timeout: Option<Duration>,
) -> (Vec<usize>, Vec<usize>) {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    for result in results {
        result.register(&waker);
    }
    loop {
        let seen = bell.rings();
        let (ready, open): (Vec<_>, Vec<_>) =
            (0..results.len()).partition(|i| results[*i].is_due());
        let has_failed = || ready.iter().any(|i| results[*i].successful() != Ok(true));
        let is_enough = match when {
            _ if open.is_empty() => true,
            ReturnWhen::FirstCompleted => !ready.is_empty(),
            ReturnWhen::FirstException => has_failed(),
            ReturnWhen::AllCompleted => false,
        };
        if is_enough || !bell.wait(seen, until) {
            for result in results {
                result.unregister(&waker);
            }
            return (ready, open);
        }
    }
}

/// The results in the order in which they are ready. Blocks while none is.
///
/// ```no_run
/// use ipc_core::{Pool, futures};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # ipc_core::init();
/// let pool = Pool::new(2)?;
/// let results = vec![pool.apply_async(|| 1, ())?, pool.apply_async(|| 2, ())?];
/// let values: Result<Vec<i32>, _> = futures::as_completed(results).map(|result| result.get()).collect();
/// assert_eq!(values?.len(), 2);
/// # Ok(())
/// # }
/// ```
pub fn as_completed<R>(results: impl IntoIterator<Item = AsyncResult<R>>) -> AsCompleted<R> {
    AsCompleted {
        open: results.into_iter().collect(),
    }
}

/// From [`as_completed`].
#[derive(Debug)]
#[must_use = "it waits as it is asked for the next one"]
pub struct AsCompleted<R> {
    open: Vec<AsyncResult<R>>,
}

impl<R> Iterator for AsCompleted<R> {
    type Item = AsyncResult<R>;

    fn next(&mut self) -> Option<AsyncResult<R>> {
        if self.open.is_empty() {
            return None;
        }
        let (ready, _) = wait(&self.open, ReturnWhen::FirstCompleted, None);
        // Who waits in a forked child, or for nothing, gets the first one, which says why.
        Some(self.open.remove(ready.first().copied().unwrap_or(0)))
    }
}
