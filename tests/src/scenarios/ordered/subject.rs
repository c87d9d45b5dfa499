//! Both queues as one, and the order that each should have.

use std::time::Duration;

use ipc_core::{
    Bytes, GetTimeoutError, LifoQueue, Namespace, PriorityQueue, PutTimeoutError, TryGetError,
    TryPutError, WaitStrategy,
};

use super::super::message::{Id, id_of};

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Lifo,
    Priority,
}

/// The priority that a trial gives to a message: lower and higher than its neighbours', and some equal.
pub(super) fn priority_of(id: Id) -> i64 {
    [2, -1, 2, 0][usize::from(id % 4)]
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lifo => "lifo",
            Self::Priority => "priority",
        }
    }

    /// In which order messages come out that were put in the order of `ids`.
    pub(super) fn order(self, ids: &[Id]) -> Vec<Id> {
        let mut ordered = ids.to_vec();
        match self {
            Self::Lifo => ordered.reverse(),
            Self::Priority => ordered.sort_by_key(|&id| priority_of(id)),
        }
        ordered
    }
}

/// A handle.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Lifo(LifoQueue<Bytes>),
    Priority(PriorityQueue<Bytes>),
}

/// Evaluates an expression with `$queue` standing for the handle, whatever it is.
macro_rules! either {
    ($subject:expr, $queue:ident => $body:expr) => {
        match $subject {
            Subject::Lifo($queue) => $body,
            Subject::Priority($queue) => $body,
        }
    };
}

/// How a queue is made, or opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) name: &'a str,
    pub(super) capacity: usize,
    pub(super) memory: usize,
    pub(super) inline: usize,
    pub(super) participants: u32,
    pub(super) namespace: &'a Namespace,
}

impl Subject {
    pub(super) fn make(kind: Kind, making: Making<'_>) -> ipc_core::Result<Self> {
        macro_rules! made {
            ($queue:ident) => {
                $queue::options(making.capacity)
                    .memory(making.memory)
                    .inline_bytes(making.inline)
                    .participants(making.participants)
                    .namespace(making.namespace)
                    // Stepping through a spin takes minutes and shows nothing.
                    .wait(WaitStrategy::Sleep)
                    .open_or_create(making.name)?
            };
        }
        Ok(match kind {
            Kind::Lifo => Self::Lifo(made!(LifoQueue)),
            Kind::Priority => Self::Priority(made!(PriorityQueue)),
        })
    }

    pub(super) fn try_put(&self, message: Bytes) -> Result<(), TryPutError<Bytes>> {
        match self {
            Self::Lifo(queue) => queue.try_put(message),
            Self::Priority(queue) => queue.try_put(priority(&message), message),
        }
    }

    pub(super) fn put_timeout(
        &self,
        message: Bytes,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<Bytes>> {
        match self {
            Self::Lifo(queue) => queue.put_timeout(message, timeout),
            Self::Priority(queue) => queue.put_timeout(priority(&message), message, timeout),
        }
    }

    pub(super) fn try_get(&self) -> Result<Bytes, TryGetError> {
        match self {
            Self::Lifo(queue) => queue.try_get(),
            Self::Priority(queue) => queue.try_get().map(with_its_own),
        }
    }

    pub(super) fn get_timeout(&self, timeout: Duration) -> Result<Bytes, GetTimeoutError> {
        match self {
            Self::Lifo(queue) => queue.get_timeout(timeout),
            Self::Priority(queue) => queue.get_timeout(timeout).map(with_its_own),
        }
    }

    pub(super) fn peek(&self) -> Result<Bytes, TryGetError> {
        match self {
            Self::Lifo(queue) => queue.peek(),
            Self::Priority(queue) => queue.peek().map(with_its_own),
        }
    }

    pub(super) fn len(&self) -> usize {
        either!(self, queue => queue.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        either!(self, queue => queue.is_empty())
    }

    pub(super) fn is_full(&self) -> bool {
        either!(self, queue => queue.is_full())
    }

    pub(super) fn max_message_bytes(&self) -> usize {
        either!(self, queue => queue.max_message_bytes())
    }

    pub(super) fn close(&self) {
        either!(self, queue => queue.close());
    }

    pub(super) fn is_closed(&self) -> bool {
        either!(self, queue => queue.is_closed())
    }

    pub(super) fn sweep(&self) -> ipc_core::Result<u32> {
        either!(self, queue => queue.sweep())
    }

    /// Gets until there is nothing, checking each message; at most `most`, should the queue repeat itself.
    pub(super) fn drain(&self, most: usize) -> Result<Vec<Id>, String> {
        let mut ids = Vec::new();
        for _ in 0..most {
            match self.try_get() {
                Ok(message) => ids.push(id_of(&message)?),
                Err(TryGetError::Empty | TryGetError::Closed) => break,
                Err(other) => return Err(format!("a survivor's get, after {ids:?}: {other}")),
            }
        }
        Ok(ids)
    }
}

fn priority(message: &Bytes) -> i64 {
    message.0.first().map_or(0, |&id| priority_of(id))
}

/// A message that came with the priority it was put with; else none that anybody knows.
fn with_its_own((of_message, message): (i64, Bytes)) -> Bytes {
    if of_message == priority(&message) {
        message
    } else {
        Bytes(Vec::new())
    }
}
