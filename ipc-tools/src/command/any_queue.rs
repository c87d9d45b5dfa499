//! Queues of bytes of every kind, behind one face.
//!
//! A further kind is a line in [`KINDS`] and one in `of_kind!`, and its `impl AnyQueue`.

use std::time::Duration;

use ipc_core::{
    Bytes, Error, GetJobTimeoutError, GetTimeoutError, Job, JoinableQueue, Kind, LifoQueue,
    Namespace, PriorityQueue, PutTimeoutError, Queue, QueueOptions, TryGetError, TryGetJobError,
    TryPutError,
};

use super::set;
use crate::{
    args::values::Make,
    exit::{Failure, Outcome},
    outlet::Parcel,
};

/// Where a message goes that was given no priority.
pub(crate) const DEFAULT_PRIORITY: i64 = 0;

/// The kinds of queues there are.
const KINDS: [Kind; 4] = [
    Kind::Queue,
    Kind::LifoQueue,
    Kind::PriorityQueue,
    Kind::JoinableQueue,
];

/// Evaluates an expression with `$queue` standing for the type of queues of this kind.
macro_rules! of_kind {
    ($kind:expr, $queue:ident => $body:expr) => {
        match $kind {
            Kind::LifoQueue => {
                type $queue = LifoQueue<Bytes>;
                $body
            }
            Kind::PriorityQueue => {
                type $queue = PriorityQueue<Bytes>;
                $body
            }
            Kind::JoinableQueue => {
                type $queue = JoinableQueue<Bytes>;
                $body
            }
            _ => {
                type $queue = Queue<Bytes>;
                $body
            }
        }
    };
}

/// A message and its priority, which counts only in a priority queue.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) bytes: Bytes,
    pub(crate) priority: i64,
    /// Whether it came from, or is for, a queue that has priorities.
    pub(crate) has_priority: bool,
}

/// What the verbs do with a queue.
pub(crate) trait AnyQueue {
    fn kind(&self) -> Kind;
    fn name(&self) -> Option<&str>;
    fn max_message_bytes(&self) -> usize;
    fn close(&self);
    fn unlink(&self) -> ipc_core::Result<()>;

    fn try_put(&self, message: Bytes, priority: i64) -> Result<(), TryPutError<Bytes>>;

    fn put_timeout(
        &self,
        message: Bytes,
        priority: i64,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<Bytes>>;

    /// Takes 1 to `most` messages that are there.
    fn try_take(&self, most: usize) -> Result<Vec<Item>, TryGetError>;
    fn take_timeout(&self, timeout: Duration) -> Result<Item, GetTimeoutError>;
    fn peek(&self) -> Result<Item, TryGetError>;
}

impl dyn AnyQueue + '_ {
    pub(crate) fn has_priorities(&self) -> bool {
        self.kind() == Kind::PriorityQueue
    }

    /// Puts `items`, which came out in this order, so that they come out in this order, as far as the kind allows it. What could not go in,
    /// in the order in which it came out, and why.
    pub(crate) fn put_back(&self, mut items: Vec<Item>) -> Option<(Vec<Item>, String)> {
        let is_reversed = self.kind() == Kind::LifoQueue;
        if !is_reversed {
            items.reverse();
        }
        while let Some(item) = items.pop() {
            let Err(e) = self.try_put(item.bytes, item.priority) else {
                continue;
            };
            let why = e.to_string();
            let bytes = e.into_value();
            items.push(Item { bytes, ..item });
            if !is_reversed {
                items.reverse();
            }
            return Some((items, why));
        }
        None
    }

    /// Where messages go back to.
    pub(crate) fn place_for_returned(&self) -> &'static str {
        match self.kind() {
            Kind::LifoQueue => "onto the top of the queue",
            Kind::PriorityQueue => "into the queue, behind those of the same priority",
            _ => "to the end of the queue",
        }
    }
}

/// Opens the queue `name`, whatever kind it is of.
pub(crate) fn open(namespace: &Namespace, name: &str) -> Outcome<Box<dyn AnyQueue>> {
    let mut is_no_queue = None;
    for kind in KINDS {
        let opened = of_kind!(kind, Q => {
            let queue = Q::options(1).namespace(namespace).open(name);
            queue.map(|queue| Box::new(queue) as Box<dyn AnyQueue>)
        });
        match opened {
            Ok(queue) => return Ok(queue),
            Err(e @ Error::WrongKind { .. }) => is_no_queue = is_no_queue.or(Some(e)),
            Err(e @ Error::WrongType { .. }) => {
                return Err(
                    Failure::from(e).after("the command line reads and writes queues of bytes")
                );
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(is_no_queue.map_or_else(
        || Failure::Other("no kind of queue is known".into()),
        Into::into,
    ))
}

/// How a queue is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) capacity: usize,
    pub(crate) memory: Option<usize>,
    pub(crate) inline: Option<usize>,
    pub(crate) make: Make,
}

/// Makes a queue.
pub(crate) fn create(namespace: &Namespace, name: &str, plan: Plan) -> Outcome<Box<dyn AnyQueue>> {
    Ok(of_kind!(plan.kind, Q => {
        let mut options = Q::options(plan.capacity).namespace(namespace);
        options = set(options, plan.memory, QueueOptions::memory);
        options = set(options, plan.inline, QueueOptions::inline_bytes);
        Box::new(created!(options, plan.make, name))
    }))
}

/// What all kinds do alike.
macro_rules! same {
    ($kind:expr) => {
        fn kind(&self) -> Kind {
            $kind
        }

        fn name(&self) -> Option<&str> {
            self.name()
        }

        fn max_message_bytes(&self) -> usize {
            self.max_message_bytes()
        }

        fn close(&self) {
            self.close();
        }

        fn unlink(&self) -> ipc_core::Result<()> {
            self.unlink()
        }
    };
}

impl AnyQueue for Queue<Bytes> {
    same!(Kind::Queue);

    fn try_put(&self, message: Bytes, _: i64) -> Result<(), TryPutError<Bytes>> {
        self.try_put(message)
    }

    fn put_timeout(
        &self,
        message: Bytes,
        _: i64,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<Bytes>> {
        self.put_timeout(message, timeout)
    }

    fn try_take(&self, most: usize) -> Result<Vec<Item>, TryGetError> {
        let taken = self.try_get_many(most)?;
        Ok(taken.into_iter().map(Item::from).collect())
    }

    fn take_timeout(&self, timeout: Duration) -> Result<Item, GetTimeoutError> {
        self.get_timeout(timeout).map(Item::from)
    }

    fn peek(&self) -> Result<Item, TryGetError> {
        self.peek().map(Item::from)
    }
}

impl AnyQueue for LifoQueue<Bytes> {
    same!(Kind::LifoQueue);

    fn try_put(&self, message: Bytes, _: i64) -> Result<(), TryPutError<Bytes>> {
        self.try_put(message)
    }

    fn put_timeout(
        &self,
        message: Bytes,
        _: i64,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<Bytes>> {
        self.put_timeout(message, timeout)
    }

    fn try_take(&self, most: usize) -> Result<Vec<Item>, TryGetError> {
        one_by_one(most, || self.try_get().map(Item::from))
    }

    fn take_timeout(&self, timeout: Duration) -> Result<Item, GetTimeoutError> {
        self.get_timeout(timeout).map(Item::from)
    }

    fn peek(&self) -> Result<Item, TryGetError> {
        self.peek().map(Item::from)
    }
}

impl AnyQueue for PriorityQueue<Bytes> {
    same!(Kind::PriorityQueue);

    fn try_put(&self, message: Bytes, priority: i64) -> Result<(), TryPutError<Bytes>> {
        self.try_put(priority, message)
    }

    fn put_timeout(
        &self,
        message: Bytes,
        priority: i64,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<Bytes>> {
        self.put_timeout(priority, message, timeout)
    }

    fn try_take(&self, most: usize) -> Result<Vec<Item>, TryGetError> {
        one_by_one(most, || self.try_get().map(Item::from))
    }

    fn take_timeout(&self, timeout: Duration) -> Result<Item, GetTimeoutError> {
        self.get_timeout(timeout).map(Item::from)
    }

    fn peek(&self) -> Result<Item, TryGetError> {
        self.peek().map(Item::from)
    }
}

/// For who only puts, and for what must go back. Who gets leases the jobs: [`super::jobs`].
impl AnyQueue for JoinableQueue<Bytes> {
    same!(Kind::JoinableQueue);

    fn try_put(&self, message: Bytes, _: i64) -> Result<(), TryPutError<Bytes>> {
        self.try_put(message)
    }

    fn put_timeout(
        &self,
        message: Bytes,
        _: i64,
        timeout: Duration,
    ) -> Result<(), PutTimeoutError<Bytes>> {
        self.put_timeout(message, timeout)
    }

    fn try_take(&self, most: usize) -> Result<Vec<Item>, TryGetError> {
        one_by_one(most, || match self.try_get() {
            Ok(job) => Ok(finished(job)),
            Err(TryGetJobError::Closed) => Err(TryGetError::Closed),
            Err(TryGetJobError::Failed(e)) => Err(TryGetError::Failed(e)),
            Err(_) => Err(TryGetError::Empty),
        })
    }

    fn take_timeout(&self, timeout: Duration) -> Result<Item, GetTimeoutError> {
        match self.get_timeout(timeout) {
            Ok(job) => Ok(finished(job)),
            Err(GetJobTimeoutError::Closed) => Err(GetTimeoutError::Closed),
            Err(GetJobTimeoutError::Failed(e)) => Err(GetTimeoutError::Failed(e)),
            Err(_) => Err(GetTimeoutError::Timeout),
        }
    }

    fn peek(&self) -> Result<Item, TryGetError> {
        Err(TryGetError::Failed(Error::WrongKind {
            object: self.name().unwrap_or_default().to_owned(),
            found: self.kind().to_string(),
            expected: "queue whose messages can be looked at".to_owned(),
        }))
    }
}

/// What a job holds, which is not delivered again.
fn finished(job: Job<'_, Bytes>) -> Item {
    let item = Item::from(job.value().clone());
    // If the lease was over, somebody else gets it, too.
    let _ = job.task_done();
    item
}

/// Takes until there is none; fails only where that is at once, as what was taken must not be lost.
fn one_by_one(
    most: usize,
    mut take: impl FnMut() -> Result<Item, TryGetError>,
) -> Result<Vec<Item>, TryGetError> {
    let mut taken = vec![take()?];
    while taken.len() < most
        && let Ok(item) = take()
    {
        taken.push(item);
    }
    Ok(taken)
}

impl From<Bytes> for Item {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            priority: DEFAULT_PRIORITY,
            has_priority: false,
        }
    }
}

impl From<(i64, Bytes)> for Item {
    fn from((priority, bytes): (i64, Bytes)) -> Self {
        Self {
            bytes,
            priority,
            has_priority: true,
        }
    }
}

impl Parcel for Item {
    fn message(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    fn priority(&self) -> Option<i64> {
        self.has_priority.then_some(self.priority)
    }
}
