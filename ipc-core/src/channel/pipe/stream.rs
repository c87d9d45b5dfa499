//! A pipe of [`Bytes`] as a stream of bytes, where it does not matter where messages begin and end.

use std::io::{self, Read, Write};

use super::{
    end::End,
    errors::{RecvError, Refused, Unmet},
    geometry::framed,
    reader::Reader,
    receiver::Receiver,
    receiving::{unmet, without_deadline},
    sender::{self, Sender},
    writer::SendRefusal,
};
use crate::{message::Bytes, object::wait::Deadline};

/// What is written in one piece if the pipe is large enough, as OS pipes do.
const WHOLE: usize = 4096;

/// Waits until there is room for all of `bytes`, or for 4 KiB of them, and writes what fits, as one message. Up to 4 KiB, but
/// at most a quarter of the capacity, go in whole.
impl Write for Sender<Bytes> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0); // an empty message would be one all the same
        }
        let quarter = (self.end.core().geometry.capacity / 4).max(1);
        let least = bytes.len().min(WHOLE).min(quarter);
        if self.writer.room() < least {
            self.end.regain().map_err(Refused::from)?;
            let frame = framed(least);
            let found = match self.writer.find_room(frame) {
                Err(SendRefusal::Full) => {
                    sender::wait_for_room(&self.end, &mut self.writer, frame, Deadline::NEVER)?
                }
                found => found,
            };
            found.map_err(|refusal| self.refused(refusal, least))?;
        }
        // Not all at once, so that the reader has something to do meanwhile.
        let length = bytes.len().min(self.writer.room()).min(quarter.max(least));
        self.send_encoded(&bytes[..length], Deadline::NEVER)?;
        Ok(length)
    }

    /// Does nothing: whatever was written can be read already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Blocks while there is nothing, and then reads what is there, across messages. 0 is the end of file. What is left of a message
/// is there for the next read or receive.
impl Read for Receiver<Bytes> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.wait_until(Unmet::NotReady, Some(Deadline::NEVER), |end, reader| {
            read_some(end, reader, buffer)
        });
        match read.map_err(without_deadline) {
            Ok(length) => Ok(length),
            Err(RecvError::EndOfFile) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }
}

/// Reads at least a byte, if there is one.
fn read_some(end: &End, reader: &mut Reader, buffer: &mut [u8]) -> Result<usize, Unmet> {
    let (mut at, mut filled, mut part) = (reader.head(), 0, None);
    // As in a batch; but empty messages are no bytes.
    while filled < buffer.len() && (filled == 0 || reader.knows_behind(at)) {
        let frame = match reader.next_framed(at) {
            Ok(frame) => frame,
            Err(refusal) => {
                give_back(reader, at);
                return Err(unmet(end, refusal));
            }
        };
        let read = reader
            .read_of(&frame)
            .map_err(|damage| end.failed(damage))?;
        let left = frame.length - read;
        let now = left.min(buffer.len() - filled);
        reader.copy_out(&frame, read, &mut buffer[filled..][..now]);
        filled += now;
        if now < left {
            part = Some(read + now);
            break;
        }
        at = frame.end;
    }
    give_back(reader, at);
    if let Some(part) = part {
        reader.keep_part(part);
    }
    end.member.check_whole()?;
    Ok(filled)
}

fn give_back(reader: &mut Reader, end: u64) {
    if end != reader.head() {
        reader.give_back(end);
    }
}
