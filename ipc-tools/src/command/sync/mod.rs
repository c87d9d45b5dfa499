//! Locks, semaphores, events, barriers and conditions. One file a kind; `waiting` (waits that a signal ends) and `wrapped`
//! (a command that runs meanwhile) stand below them.

pub(super) mod barrier;
pub(super) mod cond;
pub(super) mod event;
pub(super) mod lock;
pub(super) mod sem;
pub(super) mod waiting;
pub(super) mod wrapped;
