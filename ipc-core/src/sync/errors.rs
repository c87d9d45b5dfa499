//! Why a call on a synchronisation object did not do what it was asked to.

use crate::error::Error;

/// Why a call that does not wait did not acquire.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// Somebody else has it.
    #[error("it would block: somebody else has it")]
    WouldBlock,
    /// The object cannot be used any more.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why a call that waits so long did not acquire.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// It was not to be had in time.
    #[error("it stayed taken until the timeout")]
    Timeout,
    /// The object cannot be used any more.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why a release was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Nothing is taken that could be released.
    #[error("released more often than acquired")]
    OverReleased,
    /// The semaphore cannot count any higher.
    #[error("the semaphore cannot count beyond 2,147,483,647")]
    Overflow,
    /// The object cannot be used any more.
    #[error(transparent)]
    Failed(#[from] Error),
}
