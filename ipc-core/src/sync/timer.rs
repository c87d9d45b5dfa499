//! A function that is called once, later, unless somebody cancels it.
//!
//! Nothing here is shared between processes: a timer is a thread of its own process, which waits on a private condition.

use core::fmt;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::error::{Error, Result};

/// What has become of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Pending,
    Begun,
    Cancelled,
}

/// What a timer and its thread share.
#[derive(Debug)]
struct Plan {
    call: Mutex<Call>,
    changed: Condvar,
}

impl Plan {
    fn call(&self) -> MutexGuard<'_, Call> {
        // Whoever panicked with it changed nothing: the function is called without it.
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves `Pending` for `next`. Whether it was pending.
    fn settle(&self, next: Call) -> bool {
        let mut call = self.call();
        let is_pending = *call == Call::Pending;
        if is_pending {
            *call = next;
            self.changed.notify_all();
        }
        is_pending
    }

    /// Waits for `delay`, or until the call is cancelled.
    fn wait(&self, delay: Duration) {
        let is_pending = |call: &mut Call| *call == Call::Pending;
        // Who waits beyond the clock's end is only to be cancelled.
        let _ = self
            .changed
            .wait_timeout_while(self.call(), delay, is_pending);
    }
}

/// Calls a function once after a delay, in a thread of its own, as Python's `threading.Timer`.
///
/// A timer belongs to this process: it ends with it, and a child that is forked does not have it. To let others know, let the
/// function [set an `Event`](crate::Event::set) or [notify a `Condition`](crate::Condition::notify).
///
/// # Blocking
///
/// Only [`join`](Self::join) blocks. The function is called as soon after the delay as the system runs the thread, never
/// before; time in which the machine is suspended does not count.
///
/// A timer that is dropped still calls its function, if the process lives for so long.
///
/// # Example
///
/// ```
/// use ipc_core::Timer;
/// use std::{sync::mpsc, time::Duration};
///
/// let (sender, receiver) = mpsc::channel();
/// let soon = Timer::start(Duration::from_millis(1), move || sender.send("now").unwrap())?;
/// assert_eq!(receiver.recv(), Ok("now"));
/// assert!(!soon.cancel(), "too late");
///
/// let never = Timer::start(Duration::MAX, || unreachable!())?;
/// assert!(never.cancel());
/// assert!(!never.join().unwrap());
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[must_use = "a timer that is dropped cannot be cancelled any more"]
pub struct Timer {
    plan: Arc<Plan>,
    thread: JoinHandle<bool>,
}

impl Timer {
    /// Calls `function` after `delay`, unless it is [cancelled](Self::cancel) before.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no thread to give.
    pub fn start(delay: Duration, function: impl FnOnce() + Send + 'static) -> Result<Self> {
        let plan = Arc::new(Plan {
            call: Mutex::new(Call::Pending),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&plan);
        let run = move || {
            theirs.wait(delay);
            let is_due = theirs.settle(Call::Begun);
            if is_due {
                function();
            }
            is_due
        };
        let thread = thread::Builder::new().name("ipc-timer".into()).spawn(run);
        let thread = thread.map_err(|e| Error::from_io("timer", "start a thread for", &e))?;
        Ok(Self { plan, thread })
    }

    /// Keeps the function from being called. Returns whether that was still to come: if not, it has begun, has ended, or was
    /// cancelled before.
    pub fn cancel(&self) -> bool {
        self.plan.settle(Call::Cancelled)
    }

    /// Waits until the function has returned, or the timer was cancelled. Returns whether the function was called.
    ///
    /// # Errors
    ///
    /// What the function panicked with.
    pub fn join(self) -> thread::Result<bool> {
        self.thread.join()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("call", &*self.plan.call())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Instant};

    #[test]
    fn a_timer_calls_once_and_not_before_its_time() {
        let (sender, receiver) = mpsc::channel();
        let (began, delay) = (Instant::now(), Duration::from_millis(30));
        let timer = Timer::start(delay, move || sender.send(began.elapsed()).unwrap()).unwrap();
        assert!(timer.join().unwrap());
        let calls: Vec<_> = receiver.iter().collect();
        assert!(matches!(calls[..], [after] if after >= delay), "{calls:?}");
    }

    #[test]
    fn a_cancelled_timer_ends_at_once_and_calls_nothing() {
        for delay in [Duration::from_secs(3600), Duration::MAX] {
            let timer = Timer::start(delay, || panic!("it was cancelled")).unwrap();
            assert!(timer.cancel());
            assert!(!timer.cancel(), "only once");
            assert!(!timer.join().unwrap());
        }
    }

    #[test]
    fn a_timer_that_has_begun_cannot_be_cancelled() {
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let call = move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        };
        let timer = Timer::start(Duration::ZERO, call).unwrap();
        has_begun.recv().unwrap();
        assert!(!timer.cancel());
        go_on.send(()).unwrap();
        assert!(timer.join().unwrap());
    }

    #[test]
    fn a_dropped_timer_still_calls() {
        let (sender, receiver) = mpsc::channel();
        let timer = Timer::start(Duration::from_millis(1), move || sender.send(7).unwrap());
        drop(timer.unwrap());
        assert_eq!(receiver.recv(), Ok(7));
    }

    #[test]
    fn who_joins_learns_of_a_panic() {
        let timer = Timer::start(Duration::ZERO, || panic!("on purpose")).unwrap();
        let panic = timer.join().unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    }
}
