//! Why a call on shared data did not do what it was asked to.

use crate::error::Error;

/// Why a value was not exchanged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CompareExchangeError<T> {
    /// It is another one than was expected: this.
    #[error("the value is another one than was expected")]
    Different(T),
    /// The object cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}
