//! Why there is no job, and why a job could not be finished.

use crate::{error::Error, message::DecodeError};

/// Why [`JoinableQueue::get`](crate::JoinableQueue::get) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GetJobError {
    /// The queue is closed, and every job is finished.
    #[error("the queue is closed and every job is finished")]
    Closed,
    /// There are jobs, but dead letters fill all the room for jobs outside the queue.
    #[error("{0} dead letters leave no room to lease a job; take them out or requeue them")]
    DeadLetters(usize),
    /// The job is no value of the queue's type. It is a dead letter now.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`JoinableQueue::try_get`](crate::JoinableQueue::try_get) got nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryGetJobError {
    /// There is no job now; in a closed queue, none that nobody works on.
    #[error("the queue is empty")]
    Empty,
    /// There are jobs, but as many are leased as [`leases`](crate::QueueOptions::leases) allows.
    #[error(
        "as many jobs are leased as the queue allows; finish one, or create it with more leases"
    )]
    NoLease,
    /// The queue is closed, and every job is finished.
    #[error("the queue is closed and every job is finished")]
    Closed,
    /// There are jobs, but dead letters fill all the room for jobs outside the queue.
    #[error("{0} dead letters leave no room to lease a job; take them out or requeue them")]
    DeadLetters(usize),
    /// The job is no value of the queue's type. It is a dead letter now.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`JoinableQueue::get_timeout`](crate::JoinableQueue::get_timeout) got nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GetJobTimeoutError {
    /// There was no job in time, or none that could be leased.
    #[error("there was no job until the timeout")]
    Timeout,
    /// The queue is closed, and every job is finished.
    #[error("the queue is closed and every job is finished")]
    Closed,
    /// There are jobs, but dead letters fill all the room for jobs outside the queue.
    #[error("{0} dead letters leave no room to lease a job; take them out or requeue them")]
    DeadLetters(usize),
    /// The job is no value of the queue's type. It is a dead letter now.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why a [`Job`](crate::Job) could not be finished, given back or renewed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The lease was over, and the job is or was delivered to somebody else, or is a dead letter.
    #[error("the lease is lost: its time was over, and the job went to others")]
    Lost,
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`JoinableQueue::task_done`](crate::JoinableQueue::task_done) finished nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// This thread has no job that it has taken with [`Job::into_value`](crate::Job::into_value) and not finished.
    #[error("task_done was called more often than this thread has taken jobs")]
    TooOften,
    /// The lease was over, and the job is or was delivered to somebody else, or is a dead letter.
    #[error("the lease is lost: its time was over, and the job went to others")]
    Lost,
    /// The queue cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<LeaseError> for TaskDoneError {
    fn from(e: LeaseError) -> Self {
        match e {
            LeaseError::Lost => Self::Lost,
            LeaseError::Failed(e) => Self::Failed(e),
        }
    }
}

/// Why there is no job. Small, because the compiler moves results around before it looks at them.
#[derive(Debug)]
pub(super) enum Unmet {
    /// There was none, or none in time.
    GaveUp,
    /// There was none, but one is being put.
    BeingPut,
    /// There was none that nobody works on, in a closed queue.
    Outstanding,
    /// There was no room for one more leased job.
    NoRecord,
    /// The job had its last attempt before, and is a dead letter now.
    Buried,
    Error(Box<GetJobError>),
}

impl From<GetJobError> for Unmet {
    #[cold]
    fn from(e: GetJobError) -> Self {
        Self::Error(Box::new(e))
    }
}

impl From<Box<Error>> for Unmet {
    #[cold]
    fn from(e: Box<Error>) -> Self {
        GetJobError::Failed(*e).into()
    }
}

impl Unmet {
    /// As a call says that does not wait.
    pub(super) fn not_now(self) -> TryGetJobError {
        match self {
            Self::GaveUp | Self::BeingPut | Self::Outstanding | Self::Buried => {
                TryGetJobError::Empty
            }
            Self::NoRecord => TryGetJobError::NoLease,
            Self::Error(e) => match *e {
                GetJobError::Closed => TryGetJobError::Closed,
                GetJobError::DeadLetters(count) => TryGetJobError::DeadLetters(count),
                GetJobError::Decode(e) => TryGetJobError::Decode(e),
                GetJobError::Failed(e) => TryGetJobError::Failed(e),
            },
        }
    }

    /// As a call says that waits for so long.
    pub(super) fn not_in_time(self) -> GetJobTimeoutError {
        match self {
            Self::Error(e) => match *e {
                GetJobError::Closed => GetJobTimeoutError::Closed,
                GetJobError::DeadLetters(count) => GetJobTimeoutError::DeadLetters(count),
                GetJobError::Decode(e) => GetJobTimeoutError::Decode(e),
                GetJobError::Failed(e) => GetJobTimeoutError::Failed(e),
            },
            _ => GetJobTimeoutError::Timeout,
        }
    }

    /// As a call says that waits without end.
    pub(super) fn not_at_all(self) -> GetJobError {
        match self {
            Self::Error(e) => *e,
            _ => unreachable!("a wait without a deadline does not give up"),
        }
    }
}
