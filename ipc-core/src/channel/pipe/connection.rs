//! One end of a duplex pipe: a sender and a receiver.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use super::{
    errors::{
        RecvError, RecvTimeoutError, SendError, SendManyError, SendTimeoutError, TryRecvError,
        TrySendError,
    },
    receiver::{Messages, Receiver},
    sender::Sender,
};
use crate::{
    error::Result,
    message::{Bytes, Message},
    object::wait::WaitStrategy,
};

/// One end of a duplex [`pipe`](crate::pipe): it sends to the other end and receives from it.
///
/// One process has it at a time, and one thread uses it at a time (`&mut self`); [`split`](Self::split) gives a thread each half. It is
/// itself a message: serialised and deserialised, it belongs to the process that has received it. See [`Sender`] and [`Receiver`].
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-connection-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Pipe;
///
/// let (mut ours, mut theirs) = Pipe::<String>::options().namespace(&namespace).duplex()?;
/// ours.send("ping".into())?;
/// assert_eq!(theirs.recv()?, "ping");
/// theirs.send("pong".into())?;
/// assert_eq!(ours.recv()?, "pong");
/// drop(theirs); // or its process dies
/// assert!(ours.recv().is_err() && ours.send("ping".into()).is_err());
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection<T> {
    pub(super) sender: Sender<T>,
    pub(super) receiver: Receiver<T>,
}

impl<T: Message> Connection<T> {
    /// Sends a message; blocks while there is no room. See [`Sender::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.sender.send(value)
    }

    /// Sends a message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the message.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(value)
    }

    /// Sends a message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message.
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.sender.send_timeout(value, timeout)
    }

    /// Sends all messages. See [`Sender::send_many`].
    ///
    /// # Errors
    ///
    /// [`SendManyError`].
    pub fn send_many(
        &mut self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<usize, SendManyError<T>> {
        self.sender.send_many(values)
    }

    /// Receives the next message; blocks while there is none. See [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.receiver.recv()
    }

    /// Receives the next message if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Receives the next message; blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Waits until a receive would not wait, for at most `timeout`. See [`Receiver::poll`].
    ///
    /// # Errors
    ///
    /// [`RecvError`], but no end of file.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, RecvError> {
        self.receiver.poll(timeout)
    }

    /// Receives up to `max` messages. See [`Receiver::recv_many`].
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    pub fn recv_many(&mut self, max: usize) -> Result<Vec<T>, RecvError> {
        self.receiver.recv_many(max)
    }

    /// The messages until the end of file.
    pub fn iter(&mut self) -> Messages<'_, T> {
        self.receiver.iter()
    }
}

impl Connection<Bytes> {
    /// Sends bytes that the caller keeps. See [`Sender::send_bytes`].
    ///
    /// # Errors
    ///
    /// [`SendError`].
    #[inline]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.sender.send_bytes(bytes)
    }

    /// Receives into the caller's buffer. See [`Receiver::recv_bytes_into`].
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.receiver.recv_bytes_into(buffer)
    }
}

impl<T> Connection<T> {
    pub(super) fn new(sender: Sender<T>, receiver: Receiver<T>) -> Self {
        Self { sender, receiver }
    }

    /// The two halves, for two threads. Each closes its own direction.
    #[must_use]
    pub fn split(self) -> (Sender<T>, Receiver<T>) {
        (self.sender, self.receiver)
    }

    /// Closes the end, as dropping it does. The other end gets what was sent and then the end of file.
    pub fn close(self) {
        drop(self);
    }

    /// The longest message that the pipe takes, in encoded bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.sender.max_message_bytes()
    }

    /// The process that has the other end, in its own pid namespace; `None` if it is closed, or nobody has come.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.receiver.peer()
    }

    /// Closes the other end unless a process has it. Returns whether this call did. See [`Receiver::close_untaken_peer`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the pipe cannot be used any more.
    pub fn close_untaken_peer(&self) -> Result<bool> {
        Ok(self.sender.close_untaken_peer()? | self.receiver.close_untaken_peer()?)
    }

    /// What blocking calls do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.sender.set_wait_strategy(strategy);
        self.receiver.set_wait_strategy(strategy);
    }
}

/// As of a [`Sender`]: short writes, whole up to 4 KiB.
impl Write for Connection<Bytes> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sender.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sender.flush()
    }
}

/// As of a [`Receiver`]: short reads, 0 at the end of file.
impl Read for Connection<Bytes> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receiver.read(buffer)
    }
}

impl<T> serde::Serialize for Connection<T> {
    /// Encodes both halves, and offers them to whoever decodes that.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.sender, &self.receiver).serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Connection<T> {
    /// Takes both halves over.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(Sender<T>, Receiver<T>)>::deserialize(deserializer)
            .map(|(sender, receiver)| Self::new(sender, receiver))
    }
}
