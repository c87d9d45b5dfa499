//! How ends go from one process to another: as messages, as arguments, or, with the whole pipe, as a descriptor.

use core::marker::PhantomData;
use std::{fs::File, os::fd::BorrowedFd, path::Path, sync::Arc};

use super::{
    Pipe,
    core::PipeCore,
    end::EndTicket,
    errors::TakeError,
    lane::Side,
    options::{build, fitting, species},
    receiver::Receiver,
    sender::Sender,
};
use crate::{
    error::Result,
    message::Message,
    object::{lifetime::Object, wait::WaitStrategy},
};

impl<T> serde::Serialize for Sender<T> {
    /// Encodes what another process needs to take the end over, and offers it to whoever decodes that. Until then this process can still use
    /// it, and if this process dies, it is closed.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ticket = self.ticket().map_err(serde::ser::Error::custom)?;
        ticket.serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Sender<T> {
    /// Takes the end over.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = EndTicket::deserialize(deserializer)?;
        redeem::<T, _>(&ticket, Side::Writer, |object, core| {
            let (lane, turn) = (ticket.place.lane, Some(ticket.turn));
            Self::take(object, &core, lane, turn, WaitStrategy::default())
        })
        .map_err(serde::de::Error::custom)
    }
}

impl<T> serde::Serialize for Receiver<T> {
    /// As for a [`Sender`].
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ticket = self.ticket().map_err(serde::ser::Error::custom)?;
        ticket.serialize(serializer)
    }
}

impl<'de, T: Message> serde::Deserialize<'de> for Receiver<T> {
    /// As for a [`Sender`].
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = EndTicket::deserialize(deserializer)?;
        redeem::<T, _>(&ticket, Side::Reader, |object, core| {
            let (lane, turn) = (ticket.place.lane, Some(ticket.turn));
            Self::take(object, &core, lane, turn, WaitStrategy::default())
        })
        .map_err(serde::de::Error::custom)
    }
}

impl<T: Message> Pipe<T> {
    /// Where the pipe is, or was, and its file.
    pub(in crate::channel) fn place(&self) -> (&Path, BorrowedFd<'_>) {
        self.object.place()
    }

    /// Comes to the pipe in `file`, which is, or was, at `path`.
    pub(in crate::channel) fn of_file(path: &Path, file: File, wait: WaitStrategy) -> Result<Self> {
        let made = Object::of_file(path, file, species(&T::type_name()), &build)?;
        let (object, core) = fitting::<T>(made)?;
        object.sweep()?; // whoever made it may be dead by now
        Ok(Self {
            object,
            core,
            wait,
            _message: PhantomData,
        })
    }
}

/// Comes to the pipe of a ticket, which may be a lie, and has `take` take its end.
fn redeem<T: Message, E>(
    ticket: &EndTicket,
    side: Side,
    take: impl FnOnce(Arc<Object>, Arc<PipeCore>) -> Result<E, TakeError>,
) -> Result<E, TakeError> {
    let made = ticket.object.redeem(species(&T::type_name()), &build)?;
    let (object, core) = fitting::<T>(made)?;
    object.sweep()?; // what the dead offered is closed
    if ticket.place.side == side && ticket.place.lane < core.lanes.len() {
        take(object, core)
    } else {
        Err(TakeError::NoSuchEnd {
            why: "it was encoded as another end",
        })
    }
}
