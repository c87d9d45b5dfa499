//! The kinds of objects there are.

use core::fmt;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`crate::Queue`].
    Queue,
    /// A [`crate::Lock`].
    Lock,
    /// A [`crate::RLock`].
    RLock,
    /// A [`crate::RwLock`].
    RwLock,
    /// A [`crate::Semaphore`].
    Semaphore,
    /// A [`crate::BoundedSemaphore`].
    BoundedSemaphore,
    /// An [`crate::Event`].
    Event,
    /// A [`crate::Condition`].
    Condition,
    /// A [`crate::Barrier`].
    Barrier,
    /// A [`crate::LifoQueue`].
    LifoQueue,
    /// A [`crate::PriorityQueue`].
    PriorityQueue,
    /// A [`crate::Pipe`].
    Pipe,
    /// A [`crate::JoinableQueue`].
    JoinableQueue,
    /// A [`crate::Listener`].
    Listener,
    /// A [`crate::Broadcast`].
    Broadcast,
    /// A [`crate::Manager`].
    Manager,
    /// A [`crate::Dict`].
    Dict,
    /// A [`crate::Value`].
    Value,
    /// A [`crate::Array`].
    Array,
    /// A [`crate::List`].
    List,
    /// A [`crate::Pool`].
    Pool,
    /// One that this version of the library does not know.
    Unknown(u32),
}

/// Number in the object's header, and name, of each kind.
const KINDS: [(Kind, u32, &str); 21] = [
    (Kind::Queue, 1, "queue"),
    (Kind::Lock, 2, "lock"),
    (Kind::RLock, 3, "recursive lock"),
    (Kind::RwLock, 4, "read-write lock"),
    (Kind::Semaphore, 5, "semaphore"),
    (Kind::BoundedSemaphore, 6, "bounded semaphore"),
    (Kind::Event, 7, "event"),
    (Kind::Condition, 8, "condition"),
    (Kind::Barrier, 9, "barrier"),
    (Kind::Pipe, 10, "pipe"),
    (Kind::LifoQueue, 11, "lifo queue"),
    (Kind::PriorityQueue, 12, "priority queue"),
    (Kind::JoinableQueue, 13, "joinable queue"),
    (Kind::Listener, 15, "listener"),
    (Kind::Broadcast, 14, "broadcast"),
    (Kind::Manager, 20, "manager"),
    (Kind::Dict, 18, "dict"),
    (Kind::Value, 16, "value"),
    (Kind::Array, 17, "array"),
    (Kind::List, 19, "list"),
    (Kind::Pool, 21, "pool"),
];

impl Kind {
    /// The number in the object's header.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Unknown(number) => number,
            known => KINDS
                .iter()
                .find(|(kind, ..)| *kind == known)
                .map_or(0, |&(_, number, _)| number),
        }
    }
}

impl From<u32> for Kind {
    fn from(number: u32) -> Self {
        KINDS
            .iter()
            .find(|(_, of_kind, _)| *of_kind == number)
            .map_or(Self::Unknown(number), |&(kind, ..)| kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KINDS.iter().find(|(kind, ..)| kind == self) {
            Some((_, _, name)) => f.pad(name),
            None => f.pad(&format!("unknown kind {}", self.number())),
        }
    }
}
