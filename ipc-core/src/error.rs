//! What can go wrong with an object, and what the caller can do about it.
//!
//! Operations have small errors of their own, which give the caller's value back, beside the operation
//! ([`crate::TryPutError`] and its kin); all of them can carry an [`Error`].

use std::{io, path::PathBuf};

/// Shorthand for results with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why an object could not be created, opened or trusted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not one an object may have.
    #[error(
        "bad object name {name:?}: {why}; use 1 to 128 of A-Z a-z 0-9 . _ - and no leading dot"
    )]
    BadName {
        /// The name that was given.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// An option has a value that no object can have.
    #[error("bad {option}: {why}")]
    BadOption {
        /// The option, in the words of the builder.
        option: &'static str,
        /// What is wrong, and what would do.
        why: String,
    },
    /// `create` found an object of that name.
    #[error("{object} exists already; open it, or remove it first")]
    Exists {
        /// The object's path.
        object: String,
    },
    /// `open` found no object of that name.
    #[error("{object} not found; create it first, or check IPC_NAMESPACE and IPC_DIR")]
    NotFound {
        /// The object's path.
        object: String,
    },
    /// The object is of another kind, a lock instead of a queue, say.
    #[error("{object} is a {found}, not a {expected}; open it as what it is")]
    WrongKind {
        /// The object's path.
        object: String,
        /// What it is.
        found: String,
        /// What the caller opened it as.
        expected: String,
    },
    /// The object holds values of another type.
    #[error("{object} holds {found}, not {expected}; open it with the type it was created with")]
    WrongType {
        /// The object's path.
        object: String,
        /// The type it was created with.
        found: String,
        /// The type the caller asked for.
        expected: String,
    },
    /// Another version of this library, or another kind of machine, made the object.
    #[error(
        "{object} has layout {found}, this program understands {expected}; use programs built with the same version of ipc-core"
    )]
    IncompatibleLayout {
        /// The object's path.
        object: String,
        /// Its layout version and word size.
        found: String,
        /// Those of this program.
        expected: String,
    },
    /// The file or directory belongs to another user, who did not share it.
    #[error(
        "{object} belongs to user {uid}, who did not share it with you; use a namespace of your own, or ask for a group mode"
    )]
    ForeignOwner {
        /// The path.
        object: String,
        /// The owner's user id.
        uid: u32,
    },
    /// A symbolic link stands under the name; links are never followed.
    #[error("{object} is a symbolic link; links are refused, remove it")]
    Symlink {
        /// The path.
        object: String,
    },
    /// The file was not made by this library.
    #[error("{object} is not an ipc object: {why}; remove it, or choose another name")]
    NotAnObject {
        /// The path.
        object: String,
        /// What gives it away.
        why: &'static str,
    },
    /// The file is shorter than the object in it was when it was created.
    #[error(
        "{object} is truncated: it has {found} of {expected} bytes; remove it and create it again"
    )]
    Truncated {
        /// The object's path.
        object: String,
        /// The file's size in bytes.
        found: u64,
        /// The size in bytes it was created with.
        expected: u64,
    },
    /// The object's memory holds what no correct process writes.
    #[error("{object} is corrupt: {what}; remove it and create it again")]
    Corrupt {
        /// The object's path.
        object: String,
        /// What does not hold.
        what: &'static str,
    },
    /// The file system has no room for the object.
    #[error(
        "no space for {object}: it needs {needed} bytes, {available} are available; free some, choose a smaller size, or set IPC_DIR"
    )]
    NoSpace {
        /// The object's path.
        object: String,
        /// Bytes the object needs.
        needed: u64,
        /// Bytes that this user may still take there.
        available: u64,
    },
    /// As many processes are attached as the object has room for.
    #[error(
        "{object} already has its {max} participants; wait until one leaves, or create it with more"
    )]
    TooManyParticipants {
        /// The object's path.
        object: String,
        /// The limit set at its creation.
        max: u32,
    },
    /// As many threads wait as the object has room for.
    #[error("{object} already has its {max} waiters; create it with more")]
    TooManyWaiters {
        /// The object's path.
        object: String,
        /// The limit set at its creation.
        max: usize,
    },
    /// The operating system refused access.
    #[error("permission denied for {object}; check its owner and mode")]
    PermissionDenied {
        /// The path.
        object: String,
    },
    /// The directory is on a network file system, where neither locks nor mappings reach the other machines.
    #[error("{path} is on a network file system, which cannot hold shared memory; set IPC_DIR to a local directory", path = path.display())]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
    },
    /// Another process has been removing the object for longer than that takes.
    #[error("{object} is being removed by another process; try again")]
    BeingRemoved {
        /// The object's path.
        object: String,
    },
    /// A namespace is to be where something else is.
    #[error("{path} is not a directory; remove it, or set IPC_DIR to a directory", path = path.display())]
    NotADirectory {
        /// What should be a directory.
        path: PathBuf,
    },
    /// The object was not removed because it is in use.
    #[error(
        "{object} is in use by {participants} process(es); stop them, or remove it by force: they keep what they have open"
    )]
    InUse {
        /// The object's path.
        object: String,
        /// How many processes are attached.
        participants: u32,
    },
    /// There is nothing at this index.
    #[error("{object} has no index {index}: its length is {len}")]
    OutOfRange {
        /// The object's path.
        object: String,
        /// What was asked for.
        index: usize,
        /// How many elements there were at that moment.
        len: usize,
    },
    /// A forked child used what its parent has: a message that is being written or read in place.
    #[error(
        "{object}: what is written or read in place belongs to the parent process; take your own after the fork"
    )]
    OfParent {
        /// The object's path.
        object: String,
    },
    /// Bytes were asked for that shared memory does not have.
    #[error("{object} has {size} bytes, and none from {offset} to {offset} + {bytes}")]
    OutOfBounds {
        /// The block's path.
        object: String,
        /// Where they were to begin.
        offset: usize,
        /// How many they were to be.
        bytes: usize,
        /// How many there are.
        size: usize,
    },
    /// The bytes in shared memory are no value of the type that was asked for.
    #[error("{object} holds no {type_name} at {offset}; read it as what it was written as")]
    NotAValue {
        /// The block's path.
        object: String,
        /// Where the bytes begin.
        offset: usize,
        /// The type.
        type_name: &'static str,
    },
    /// Any other refusal by the operating system.
    #[error("could not {operation} {object}: {}", nix::errno::Errno::from_raw(*errno).desc())]
    Io {
        /// The path.
        object: String,
        /// What was tried.
        operation: &'static str,
        /// The operating system's error number.
        errno: i32,
    },
}

/// A coarse classification of [`Error`], for exit codes and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that cannot be: a bad name or option.
    Usage,
    /// There is no such object.
    NotFound,
    /// There is one already.
    Exists,
    /// The operating system, or a rule of ours about owners, forbids it.
    Permission,
    /// What is there cannot be used by this program: damaged, or of another kind, type or version.
    Unusable,
    /// A limit was reached: space, participants, waiters.
    Exhausted,
    /// Somebody is using it.
    InUse,
    /// Anything else.
    Other,
}

impl Error {
    /// Which sort of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName { .. }
            | Self::BadOption { .. }
            | Self::NotADirectory { .. }
            | Self::OutOfBounds { .. }
            | Self::OutOfRange { .. } => ErrorKind::Usage,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Exists { .. } => ErrorKind::Exists,
            Self::ForeignOwner { .. }
            | Self::Symlink { .. }
            | Self::PermissionDenied { .. }
            | Self::NetworkFileSystem { .. } => ErrorKind::Permission,
            Self::WrongKind { .. }
            | Self::WrongType { .. }
            | Self::IncompatibleLayout { .. }
            | Self::NotAnObject { .. }
            | Self::NotAValue { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. } => ErrorKind::Unusable,
            Self::NoSpace { .. }
            | Self::TooManyParticipants { .. }
            | Self::TooManyWaiters { .. } => ErrorKind::Exhausted,
            Self::InUse { .. } | Self::BeingRemoved { .. } | Self::OfParent { .. } => {
                ErrorKind::InUse
            }
            Self::Io { .. } => ErrorKind::Other,
        }
    }

    /// Names the object and the step behind a refusal of the operating system.
    pub(crate) fn from_io(object: &str, operation: &'static str, e: &io::Error) -> Self {
        let object = object.to_owned();
        match e.raw_os_error() {
            Some(libc::ENOENT) => Self::NotFound { object },
            Some(libc::EEXIST) => Self::Exists { object },
            Some(libc::ELOOP) => Self::Symlink { object },
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Self::PermissionDenied { object },
            errno => Self::Io {
                object,
                operation,
                errno: errno.unwrap_or(libc::EIO),
            },
        }
    }
}

/// Something in shared memory that no correct process writes. The layer that knows the object's name makes it an
/// [`Error::Corrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

impl Damage {
    pub(crate) fn of(self, object: &str) -> Error {
        Error::Corrupt {
            object: object.to_owned(),
            what: self.0,
        }
    }
}
