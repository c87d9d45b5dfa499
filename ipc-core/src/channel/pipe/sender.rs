//! The sending end, as users have it.

use core::{fmt, marker::PhantomData};
use std::{sync::Arc, time::Duration};

use super::{
    core::PipeCore,
    end::{End, EndTicket, Place},
    errors::{Refused, SendError, SendManyError, SendTimeoutError, TakeError, TrySendError},
    geometry::is_slotted,
    lane::Side,
    writer::{SendRefusal, Writer},
};
use crate::{
    error::Result,
    message::{Bytes, Message},
    object::{
        lifetime::Object,
        source::Watched,
        wait::{Deadline, WaitStrategy},
    },
};

/// How many messages become visible together, at the most.
const GROUP: usize = 64;

/// The sending end of a [`simplex`](crate::simplex) pipe, or one half of a [`Connection`](crate::Connection).
///
/// One process has it at a time, and one thread uses it at a time (`&mut self`). It is itself a message: serialised and
/// deserialised, it belongs to the process that has received it, from where it was before. Dropped, it closes; the receiver gets what was
/// sent and then the end of file.
///
/// A forked child's copy is not its own: its calls fail with `InUse`, and dropping it closes nothing. To hand an end to a
/// forked child, serialise it before the fork and deserialise it in the child.
pub struct Sender<T> {
    pub(super) end: End,
    pub(super) writer: Writer,
    _message: PhantomData<fn() -> T>,
}

impl<T: Message> Sender<T> {
    /// Sends a message; blocks while there is no room.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message; `BrokenPipe` once the receiving end is closed or its process dead. A message that was sent may
    /// still never be received, if the receiver closes or dies before it.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_until(&value, Deadline::NEVER)
            .map_err(|refused| SendError::new(value, refused))
    }

    /// Sends a message if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the message.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        value
            .encode(|bytes| self.try_send_encoded(bytes))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
            .map_err(|refused| TrySendError::new(value, refused))
    }

    /// Sends a message; blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message.
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(&value, Deadline::after(timeout))
            .map_err(|refused| SendTimeoutError::new(value, refused))
    }

    #[inline]
    fn send_until(&mut self, value: &T, deadline: Deadline) -> Result<(), Refused> {
        value
            .encode(|bytes| self.send_encoded(bytes, deadline))
            .unwrap_or_else(|e| Err(Refused::Encode(e)))
    }

    /// Sends all messages, in order, and blocks while there is no room. Returns how many there were.
    ///
    /// Cheaper than single sends: messages become visible in groups of up to 64, as far ahead as the iterator promises to go on
    /// ([`size_hint`](Iterator::size_hint)). One that promises more but waits for something makes the messages before that wait
    /// too. If this process is killed, up to 64 messages that were already taken from the iterator were never sent.
    ///
    /// # Errors
    ///
    /// [`SendManyError`] tells how many this call sent and gives the next one back. Pass `&mut iterator` to keep the rest.
    pub fn send_many(
        &mut self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<usize, SendManyError<T>> {
        let mut sent = 0;
        let mut values = values.into_iter();
        while let Some(value) = values.next() {
            let added = value.encode(|bytes| self.add(bytes));
            if let Err(refused) = added.unwrap_or_else(|e| Err(Refused::Encode(e))) {
                self.publish_all();
                let error = SendError::new(value, refused);
                return Err(SendManyError { sent, error });
            }
            sent += 1;
            if sent % GROUP == 0 || values.size_hint().0 == 0 {
                self.publish_all();
            }
        }
        self.publish_all();
        Ok(sent)
    }

    /// As [`send_many`](Self::send_many), of messages that the caller keeps. Where they are [`Plain`](crate::Plain) and their size is a
    /// multiple of 8 bytes, whole runs of them are copied at once.
    ///
    /// # Errors
    ///
    /// [`SendManyError`] tells how many were sent.
    pub fn send_slice(&mut self, values: &[T]) -> Result<(), SendManyError<()>> {
        let mut sent = 0;
        for group in values.chunks(GROUP) {
            let mut added = self.add_run(group);
            while let Some(value) = group.get(added) {
                let one = value.encode(|bytes| self.add(bytes));
                if let Err(refused) = one.unwrap_or_else(|e| Err(Refused::Encode(e))) {
                    self.publish_all();
                    let (sent, error) = (sent + added, SendError::new((), refused));
                    return Err(SendManyError { sent, error });
                }
                added += 1;
                added += self.add_run(&group[added..]);
            }
            sent += added;
            self.publish_all();
        }
        Ok(())
    }

    /// Writes as many of the first messages as is possible at once, and at the moment.
    #[inline]
    fn add_run(&mut self, values: &[T]) -> usize {
        match T::RUN {
            Some(length) if !is_slotted(length) && self.end.is_ready() => self
                .writer
                .fill_run(T::encode_run(values), length)
                .unwrap_or(0), // the next single one says why
            _ => 0,
        }
    }

    /// Writes a message, which becomes visible with others.
    #[inline(always)]
    fn add(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if self.end.is_ready() && fill::<T>(&mut self.writer, bytes).is_ok() {
            return Ok(());
        }
        self.publish_all();
        self.send_slowly(bytes, Deadline::NEVER)
    }

    /// Makes visible what was written. A child forked by the iterator leaves its parent's messages alone.
    fn publish_all(&mut self) {
        if self.writer.has_unpublished() && self.end.is_ready() {
            self.writer.publish();
        }
    }

    #[inline(always)]
    pub(super) fn send_encoded(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Refused> {
        if self.send_now(bytes) {
            Ok(())
        } else {
            self.send_slowly(bytes, deadline)
        }
    }

    /// Sends if all is as usual.
    #[inline(always)]
    fn send_now(&mut self, bytes: &[u8]) -> bool {
        let is_in = self.end.is_ready() && fill::<T>(&mut self.writer, bytes).is_ok();
        if is_in {
            self.writer.publish();
        }
        is_in && self.end.member.is_whole()
    }

    #[cold]
    #[inline(never)]
    fn send_slowly(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Refused> {
        self.end.regain()?;
        let (end, writer) = (&self.end, &mut self.writer);
        // Shared by the attempt and by the look whether it is worth one.
        let frame = end.core().geometry.frame(bytes.len());
        let filled = match fill::<T>(writer, bytes) {
            Err(SendRefusal::Full) => {
                let room = wait_for_room(end, writer, frame, deadline)?;
                room.and_then(|()| fill::<T>(writer, bytes))
            }
            filled => filled,
        };
        self.finish(filled, bytes.len())
    }

    #[inline]
    fn try_send_encoded(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if self.send_now(bytes) {
            Ok(())
        } else {
            self.try_slowly(bytes)
        }
    }

    #[cold]
    #[inline(never)]
    fn try_slowly(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.end.regain()?;
        let mut filled = fill::<T>(&mut self.writer, bytes);
        if filled == Err(SendRefusal::Full) && self.end.member.found_dead() {
            filled = fill::<T>(&mut self.writer, bytes);
        }
        self.finish(filled, bytes.len())
    }

    fn finish(&mut self, filled: Result<(), SendRefusal>, len: usize) -> Result<(), Refused> {
        filled.map_err(|refusal| self.refused(refusal, len))?;
        self.writer.publish();
        self.end.member.check_whole().map_err(Refused::Failed)
    }

    pub(super) fn refused(&self, refusal: SendRefusal, len: usize) -> Refused {
        match refusal {
            SendRefusal::Full => Refused::GaveUp,
            SendRefusal::Broken => Refused::Broken,
            SendRefusal::TooLarge => Refused::TooLarge {
                len,
                max: self.end.core().geometry.most_bytes(),
            },
            SendRefusal::Damage(damage) => Refused::Failed(self.end.failed(damage)),
        }
    }
}

/// Writes a message to where its type says.
#[inline(always)]
fn fill<T: Message>(writer: &mut Writer, bytes: &[u8]) -> Result<(), SendRefusal> {
    if T::FIXED.is_some() {
        writer.fill_bare(bytes)
    } else {
        writer.fill_framed(bytes)
    }
}

/// Waits until there is room for a frame, or there never will be.
pub(super) fn wait_for_room(
    end: &End,
    writer: &mut Writer,
    frame: u64,
    deadline: Deadline,
) -> Result<Result<(), SendRefusal>, Refused> {
    let lane = end.lane();
    let filled = writer.filled();
    let is_promising = || lane.may_have_room(filled, frame);
    let attempt = || match writer.find_room(frame) {
        Err(SendRefusal::Full) => None,
        found => Some(found),
    };
    let waited = end.wait(deadline, attempt, is_promising);
    Ok(waited
        .map_err(Refused::Failed)?
        .unwrap_or(Err(SendRefusal::Full)))
}

impl Sender<Bytes> {
    /// As [`send`](Self::send), for bytes that the caller keeps: they are copied once, into the pipe.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    #[inline]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.send_encoded(bytes, Deadline::NEVER)
            .map_err(|refused| SendError::new((), refused))
    }
}

impl<T> Sender<T> {
    pub(super) fn take(
        object: Arc<Object>,
        core: &Arc<PipeCore>,
        lane: usize,
        turn: Option<u64>,
        strategy: WaitStrategy,
    ) -> Result<Self, TakeError> {
        let side = Side::Writer;
        let end = End::take(object, core, Place { lane, side }, turn, strategy)?;
        let writer = Writer::new(&core.lanes[lane], end.must_fence());
        let writer = writer.map_err(|damage| *end.failed(damage))?;
        Ok(Self {
            end,
            writer,
            _message: PhantomData,
        })
    }

    /// Closes the end, as dropping it does. The receiver gets what was sent and then the end of file.
    pub fn close(self) {
        drop(self);
    }

    /// The longest message that the pipe takes, in encoded bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.end.core().geometry.most_bytes()
    }

    /// The process that has the receiving end, in its own pid namespace; `None` if it is closed, or nobody has come.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.end.peer()
    }

    /// Closes the receiving end unless a process has it: nobody came, or it is on its way to a process that will not arrive. Returns
    /// whether this call did.
    ///
    /// An end on its way belongs to who sent it. If that is this process, nobody else can know that the receiver died before it
    /// came: without this, sends would wait for it.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the pipe cannot be used any more.
    pub fn close_untaken_peer(&self) -> Result<bool> {
        self.end.close_untaken_peer()
    }

    /// What blocking calls do before they sleep.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.end.strategy = strategy;
    }

    pub(crate) fn watched(&self) -> Watched {
        self.end.watched()
    }

    pub(super) fn ticket(&self) -> Result<EndTicket, &'static str> {
        if self.writer.has_unpublished() {
            return Err("a batch of messages was interrupted; send another message first");
        }
        self.end.offer()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Of a batch whose iterator panicked.
        if self.writer.has_unpublished() && self.end.is_ready() {
            self.writer.publish();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("object", &self.end.member.object.label())
            .finish_non_exhaustive()
    }
}
