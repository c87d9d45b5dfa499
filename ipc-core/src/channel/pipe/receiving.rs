//! What a receive does that finds all as usual.

use core::mem::MaybeUninit;

use super::{
    end::End,
    errors::{RecvError, Unmet},
    geometry::is_slotted,
    reader::{Frame, Reader, RecvRefusal},
};
use crate::message::{DecodeError, Message, Place, Received};

/// Messages of a batch for which there is room from the start, so that most batches allocate once.
const USUAL_BATCH: usize = 64;

/// Receives a message if there is one and all is as usual.
#[inline(always)]
pub(super) fn receive<T: Message>(
    end: &End,
    reader: &mut Reader,
    to: &mut MaybeUninit<T>,
) -> Result<(), Unmet> {
    if !end.is_ready() {
        return Err(Unmet::NotReady);
    }
    let frame = next::<T>(reader, reader.head()).map_err(|refusal| unmet(end, refusal))?;
    let decoded = match reader.message(frame) {
        Some(message) => T::decode(Received::Shared(message), to),
        None => decode_gathered(end, reader, frame, to)?,
    };
    if T::RUNS_CODE && !end.is_ready() {
        return Err(Unmet::NotReady); // a child forked by that code: the message is its parent's
    }
    reader.give_back(frame.end);
    end.member.check_whole()?;
    decoded.map_err(|e| RecvError::Decode(e).into())
}

/// Receives up to `max` messages that are there.
#[inline]
pub(super) fn receive_many<T: Message>(
    end: &End,
    reader: &mut Reader,
    to: &mut Vec<T>,
    max: usize,
) -> Result<usize, Unmet> {
    if !end.is_ready() {
        return Err(Unmet::NotReady);
    }
    let (mut at, mut count) = (reader.head(), 0);
    // No look for more than what is known to be there, once there is some: the writer is at work on that line.
    while count < max && (count == 0 || reader.knows_behind(at)) {
        let frame = next::<T>(reader, at).map_err(|refusal| unmet(end, refusal))?;
        if count == 0 {
            to.reserve(max.min(USUAL_BATCH));
        }
        if let Some(length) = T::RUN
            && !is_slotted(length)
        {
            let run = reader.run(at, length, max - count);
            let decoded = T::decode_run(run.words, run.count, to);
            count += decoded;
            at = at.wrapping_add((decoded * length) as u64);
            if decoded > 0 {
                continue;
            }
        }
        let decoded = match reader.message(frame) {
            Some(message) => T::decode(Received::Shared(message), to),
            None => decode_gathered(end, reader, frame, to)?,
        };
        if let Err(e) = decoded {
            if count > 0 {
                break; // the next receive finds it first, and reports it
            }
            reader.give_back(frame.end);
            return Err(RecvError::Decode(e).into());
        }
        (at, count) = (frame.end, count + 1);
    }
    if T::RUNS_CODE && !end.is_ready() {
        return Err(Unmet::NotReady); // as above
    }
    if count > 0 {
        reader.give_back(at);
    }
    end.member.check_whole()?;
    Ok(count)
}

#[cold]
#[inline(never)]
fn decode_gathered<T: Message>(
    end: &End,
    reader: &Reader,
    frame: Frame,
    to: &mut impl Place<T>,
) -> Result<Result<(), DecodeError>, Unmet> {
    let bytes = reader.gather(frame).map_err(|damage| end.failed(damage))?;
    Ok(T::decode(Received::Owned(bytes), to))
}

/// Receives a message of bytes, or what is left of it, into a buffer.
#[inline]
pub(super) fn receive_bytes(
    end: &End,
    reader: &mut Reader,
    buffer: &mut [u8],
) -> Result<usize, Unmet> {
    if !end.is_ready() {
        return Err(Unmet::NotReady);
    }
    let frame = reader.next_framed(reader.head());
    let frame = frame.map_err(|refusal| unmet(end, refusal))?;
    let read = reader
        .read_of(&frame)
        .map_err(|damage| end.failed(damage))?;
    let (len, max) = (frame.length - read, buffer.len());
    let Some(room) = buffer.get_mut(..len) else {
        return Err(RecvError::TooLong { len, max }.into());
    };
    reader.copy_out(&frame, read, room);
    reader.give_back(frame.end);
    end.member.check_whole()?;
    Ok(len)
}

/// The frame at `from`, as its type says where it ends.
#[inline(always)]
pub(super) fn next<T: Message>(reader: &mut Reader, from: u64) -> Result<Frame, RecvRefusal> {
    match T::FIXED {
        Some(length) => reader.next_bare(from, length),
        None => reader.next_framed(from),
    }
}

#[cold]
pub(super) fn unmet(end: &End, refusal: RecvRefusal) -> Unmet {
    match refusal {
        RecvRefusal::Empty => Unmet::GaveUp,
        RecvRefusal::EndOfFile => RecvError::EndOfFile.into(),
        RecvRefusal::Damage(damage) => end.failed(damage).into(),
    }
}

pub(super) fn without_deadline(unmet: Unmet) -> RecvError {
    unmet
        .into_error()
        .unwrap_or_else(|| unreachable!("a wait without a deadline does not give up"))
}
