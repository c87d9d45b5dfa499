//! Locks, semaphores, events and their kin, for threads of any processes.
//!
//! Read in this order: `frame` (the memory they share, and how their handles wait), `hold` (a word that names its holder),
//! `lock` (the smallest complete primitive), then the others.

pub(crate) mod barrier;
pub(crate) mod bounded_semaphore;
pub(crate) mod condition;
mod errors;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod hold;
pub(crate) mod lock;
mod options;
#[cfg(feature = "raw-sync")]
mod raw_sync;
pub(crate) mod rlock;
pub(crate) mod rwlock;
pub(crate) mod semaphore;
pub(crate) mod source;
mod timer;
pub(crate) mod within;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(all(test, not(loom)))]
mod tests;

pub use barrier::{Barrier, BarrierError};
pub use bounded_semaphore::{BoundedSemaphore, BoundedSemaphoreGuard};
pub use condition::Condition;
pub use errors::{AcquireTimeoutError, ReleaseError, TryAcquireError};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use options::Options;
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::{Semaphore, SemaphoreGuard};
pub use timer::Timer;
