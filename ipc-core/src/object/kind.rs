//! The kinds of objects there are.

use core::fmt;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`crate::Queue`].
    Queue,
    /// One that this version of the library does not know.
    Unknown(u32),
}

impl Kind {
    /// The number in the object's header.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Queue => 1,
            Self::Unknown(number) => number,
        }
    }
}

impl From<u32> for Kind {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Queue,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue => f.pad("queue"),
            Self::Unknown(number) => f.pad(&format!("unknown kind {number}")),
        }
    }
}
