//! Why nobody was accepted, and why a connection was not made.

use super::PeerCredentials;
use crate::error::Error;

/// What kept one peer from becoming a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Its pipes carry another type. It was told so.
    #[error("it wants to send {found}, not {expected}; connect with the type of the listener")]
    WrongType {
        /// Its type.
        found: String,
        /// The listener's.
        expected: String,
    },
    /// It is built with another version of this library, or for another kind of machine. It was told so.
    #[error(
        "it speaks {found}, this program {expected}; use programs built with the same version of ipc-core"
    )]
    Incompatible {
        /// Its versions.
        found: String,
        /// This program's.
        expected: String,
    },
    /// It said something that no client says.
    #[error("it said what no client says")]
    Garbage,
    /// It did not say in time what a client says at once, or others pressed in meanwhile.
    #[error("it connected and was silent for too long")]
    TooSlow,
    /// It closed its end or died before the connection was made.
    #[error("it hung up before the connection was made")]
    HungUp,
}

/// Why [`Listener::accept`](crate::Listener::accept) did not return a connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// This peer is no client of ours. Others are not concerned: go on accepting.
    #[error("process {} of user {} was not accepted: {error}", .peer.pid, .peer.uid)]
    Peer {
        /// Who it is.
        peer: PeerCredentials,
        /// What is the matter with it.
        error: PeerError,
    },
    /// This is a forked child's copy; only the process that bound the listener accepts.
    #[error(
        "this listener is another process's, from which this one was forked; bind one of your own"
    )]
    Forked,
    /// The listener cannot be used, or no pipe can be made. The peer, if there was one, was told.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Why [`Listener::try_accept`](crate::Listener::try_accept) did not return a connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcceptError {
    /// Nobody has connected who was not accepted yet.
    #[error("nobody has connected")]
    Nobody,
    /// As for an accept that waits.
    #[error(transparent)]
    Failed(#[from] AcceptError),
}

/// Why [`Listener::accept_timeout`](crate::Listener::accept_timeout) did not return a connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptTimeoutError {
    /// Nobody connected in time.
    #[error("nobody connected before the timeout")]
    Timeout,
    /// As for an accept that waits.
    #[error(transparent)]
    Failed(#[from] AcceptError),
}

/// Why [`Client::connect`](crate::Client::connect) made no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no listener of this name, or it was closed, or its process died.
    #[error("nobody listens at {object}; start its listener, or wait for it with a timeout")]
    NotListening {
        /// The listener's path.
        object: String,
    },
    /// No listener of this name accepted in time.
    #[error("nobody accepted at {object} before the timeout")]
    Timeout {
        /// The listener's path.
        object: String,
    },
    /// The listener gave this client up before the connection was made: it took too long, say.
    #[error("the listener at {object} hung up before the connection was made; try again")]
    HungUp {
        /// The listener's path.
        object: String,
    },
    /// The listener could not make a pipe: it has no space, say.
    #[error("the listener at {object} could not make a pipe; its process knows why")]
    Refused {
        /// The listener's path.
        object: String,
    },
    /// Who listens there said something that no listener says.
    #[error("whoever listens at {object} is no listener of this library")]
    Garbage {
        /// The listener's path.
        object: String,
    },
    /// The listener, or the pipe that it made, cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}
