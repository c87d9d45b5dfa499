//! The reading side of a lane: frames out, without waiting.

use std::sync::Arc;

use super::{
    geometry::{Slots, UNIT, bare_frame, framed, padded},
    lane::{Lane, Near},
    leaving::{LONG, Leaving},
    role::State,
};
use crate::{
    error::Damage,
    message::SharedBytes,
    os::copy,
    prim::{self, Acquire, AtomicU64, Relaxed, Release},
};

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecvRefusal {
    Empty,
    /// Empty, and the writer's end is closed.
    EndOfFile,
    Damage(Damage),
}

impl From<Damage> for RecvRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A frame that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it begins.
    start: u64,
    /// Where its message begins.
    pub(super) message: u64,
    /// Bytes of its message.
    pub(super) length: usize,
    /// Where the next one begins.
    pub(super) end: u64,
}

/// Some frames that were published, all of one length, whose messages fill them.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) words: &'a [AtomicU64],
    pub(super) count: usize,
}

/// As [`frame_in_place`], out of the way of who seldom finds one.
#[cold]
#[inline(never)]
fn padded_frame(from: u64, head: u64, most: u64) -> Result<Frame, Damage> {
    frame_in_place(from, head, most)
}

/// A frame whose head is no length of what may lie behind it, so it has padding, or lies.
#[inline(always)]
fn frame_in_place(from: u64, head: u64, most: u64) -> Result<Frame, Damage> {
    let long = Damage("a message is longer than what was sent");
    let (padding, length) = padded(head).ok_or(long)?;
    if padding + length > most {
        return Err(long);
    }
    let message = from.wrapping_add(UNIT as u64 + padding);
    Ok(Frame {
        start: from,
        message,
        length: length as usize,
        end: message.wrapping_add(length.next_multiple_of(UNIT as u64)),
    })
}

/// Reads frames. There is one for a lane, as only who holds the reader's end makes it.
#[derive(Debug)]
pub(super) struct Reader {
    lane: Arc<Lane>,
    /// As the lane has them, two steps nearer.
    near: Near,
    /// Where the oldest frame begins that is not given back.
    head: u64,
    /// Up to where the writer has published, as far as is known.
    tail: u64,
    /// Bytes of the oldest message that were read as a part of a stream.
    part: usize,
    mask: usize,
    slots: Option<Slots>,
    /// Whether light fences do not reach (O5).
    must_fence: bool,
    /// Frames given back in a row for which this fenced in vain.
    idle: u32,
    leaving: Leaving,
}

impl Reader {
    /// Goes on where the last reader was. The caller holds the reader's end.
    pub(super) fn new(lane: &Arc<Lane>, must_fence: bool) -> Result<Self, Damage> {
        let [head, read_to] = &lane.head.0;
        let (head, read_to) = (head.load(Relaxed), read_to.load(Relaxed)); // O3: the last reader's
        if !head.is_multiple_of(UNIT as u64) {
            return Err(Damage("the receive counter stands within a frame"));
        }
        let mut reader = Self {
            near: Near::new(lane),
            lane: Arc::clone(lane),
            head,
            tail: head, // empty, as far as is known
            part: 0,
            mask: lane.geometry.capacity - 1,
            slots: Slots::new(lane.geometry),
            must_fence,
            idle: 0,
            leaving: Leaving::new(lane.geometry.capacity),
        };
        reader.look()?;
        // What was read of an earlier frame lies before `head`, and a frame is no longer than the ring.
        let read = read_to.wrapping_sub(head).wrapping_sub(UNIT as u64);
        if lane.geometry.fixed.is_none() && read <= reader.mask as u64 {
            reader.part = read as usize;
        }
        Ok(reader)
    }

    /// Where the oldest frame begins.
    #[inline(always)]
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Whether something is known to be there behind `from`, without a look.
    #[inline(always)]
    pub(super) fn knows_behind(&self, from: u64) -> bool {
        self.tail != from
    }

    /// The frame at `from`, which is [`Self::head`] or the end of another, where all messages have this one length.
    #[inline(always)]
    pub(super) fn next_bare(&mut self, from: u64, length: usize) -> Result<Frame, RecvRefusal> {
        let size = bare_frame(length);
        if self.tail.wrapping_sub(from) < size {
            self.find_message(from)?;
            if self.tail.wrapping_sub(from) < size {
                return Err(Damage("a message is shorter than all are").into());
            }
        }
        Ok(Frame {
            start: from,
            message: from,
            length,
            end: from.wrapping_add(size),
        })
    }

    /// The messages of some frames from `from` on, as [`Self::next_bare`] finds them, that are known to be there and lie one behind the
    /// other: up to `most` of them, each so long, a multiple of [`UNIT`].
    #[inline]
    pub(super) fn run(&self, from: u64, length: usize, most: usize) -> Run<'_> {
        let at = self.index(from);
        let words = self.near.words.get(at..).unwrap_or_default();
        let known = self.tail.wrapping_sub(from) as usize;
        let count = (known.min(words.len() * UNIT) / length).min(most);
        for nth in 0..count {
            self.lane.witnesses.read(at + nth * length / UNIT);
        }
        Run {
            words: &words[..count * length / UNIT],
            count,
        }
    }

    /// As [`Self::next_bare`], where each frame says how long its message is.
    #[inline(always)]
    pub(super) fn next_framed(&mut self, from: u64) -> Result<Frame, RecvRefusal> {
        self.next_of(from, padded_frame)
    }

    /// The oldest frame, as [`Self::next_framed`] finds it, for who expects a message that was written in place.
    #[inline(always)]
    pub(super) fn next_in_place(&mut self) -> Result<Frame, RecvRefusal> {
        self.next_of(self.head, frame_in_place)
    }

    #[inline(always)]
    fn next_of(
        &mut self,
        from: u64,
        padded_frame: fn(u64, u64, u64) -> Result<Frame, Damage>,
    ) -> Result<Frame, RecvRefusal> {
        if self.tail == from {
            self.find_message(from)?;
        }
        let length = self.near.words[self.index(from)].load(Relaxed); // O1 came before
        // Both are multiples of 8 and differ (I1), so a message that fits does so with what fills its last unit.
        let most = self.tail.wrapping_sub(from) - UNIT as u64;
        if length > most {
            return Ok(padded_frame(from, length, most)?);
        }
        let length = length as usize;
        Ok(Frame {
            start: from,
            message: from.wrapping_add(UNIT as u64),
            length,
            end: from.wrapping_add(framed(length)),
        })
    }

    /// Looks how far the writer has come, as nothing is known behind `from`.
    #[cold]
    #[inline(never)]
    fn find_message(&mut self, from: u64) -> Result<(), RecvRefusal> {
        self.look()?;
        if self.tail != from {
            return Ok(());
        }
        if self.near.gate().writer.look().state()? != State::Closed {
            return Err(RecvRefusal::Empty);
        }
        self.look()?; // O4: behind the look at the end's word
        if self.tail == from {
            Err(RecvRefusal::EndOfFile)
        } else {
            Ok(())
        }
    }

    /// Has the processor fetch the head of the frame that comes next together with the message, where that was written in place: by itself
    /// it would fetch one after the other.
    #[inline(always)]
    pub(super) fn fetch_in_place(&self) {
        let begin = self.lane.geometry.usual_begin(self.head);
        for word in [self.head, begin].map(|at| self.near.words.get(self.index(at))) {
            word.into_iter().for_each(copy::fetch_ahead);
        }
    }

    /// Whether something was probably published behind what is known.
    #[inline(always)]
    pub(super) fn may_have_message(&self) -> bool {
        self.near.tail.0.load(Relaxed) != self.tail
    }

    fn look(&mut self) -> Result<(), Damage> {
        let tail = self.near.tail.0.load(Acquire); // O1
        // It only grows, up to a capacity ahead of what was read (I1).
        let ahead = tail.wrapping_sub(self.head);
        if ahead > self.mask as u64 + 1
            || ahead < self.tail.wrapping_sub(self.head)
            || !tail.is_multiple_of(UNIT as u64)
        {
            return Err(Damage("the send counter is where no writer can be"));
        }
        self.tail = tail;
        Ok(())
    }

    #[inline(always)]
    fn index(&self, position: u64) -> usize {
        let at = position as usize & self.mask;
        self.slots.map_or(at / UNIT, |slots| slots.word(at))
    }

    /// The message in the frame at [`Self::head`] or behind it; `None` if it has to be [gathered](Self::gather).
    #[inline(always)]
    pub(super) fn message(&self, frame: Frame) -> Option<SharedBytes<'_>> {
        let at = self.index(frame.message);
        self.lane.witnesses.read(at);
        let words = self.near.words.get(at..).unwrap_or_default();
        SharedBytes::new(words, frame.length).filter(|_| self.part == 0)
    }

    /// The words of the message in the frame at [`Self::head`], if it lies in one piece and none of it was read.
    #[inline(always)]
    pub(super) fn in_one_piece(&self, frame: &Frame) -> Option<&[AtomicU64]> {
        let at = self.index(frame.message);
        self.lane.witnesses.read(at);
        let words = self.near.words.get(at..)?;
        (self.part == 0 && frame.length <= words.len() * UNIT).then_some(words)
    }

    /// A message that goes round the end, or what is left of one that was read in part.
    pub(super) fn gather(&self, frame: Frame) -> Result<Vec<u8>, Damage> {
        let read = self.read_of(&frame)?;
        let mut bytes = vec![0; frame.length - read];
        self.copy_out(&frame, read, &mut bytes);
        Ok(bytes)
    }

    /// How much of the message in the frame was read as a part of a stream.
    pub(super) fn read_of(&self, frame: &Frame) -> Result<usize, Damage> {
        let is_first = frame.start == self.head;
        match self.part {
            part if part <= frame.length => Ok(if is_first { part } else { 0 }),
            _ if is_first => Err(Damage("more of a message was read than there is")),
            _ => Ok(0),
        }
    }

    /// Copies what is `skip` bytes into the message. The caller asks for no more than is in it.
    pub(super) fn copy_out(&self, frame: &Frame, skip: usize, to: &mut [u8]) {
        let words = &self.near.words;
        let from = frame.message.wrapping_add(skip as u64);
        let past = from as usize % UNIT;
        let (torn, whole) = to.split_at_mut(if past == 0 {
            0
        } else {
            (UNIT - past).min(to.len())
        });
        let word = words[self.index(from)].load(Relaxed).to_ne_bytes(); // O1 came before
        torn.copy_from_slice(&word[past..past + torn.len()]);
        let at = self.index(from.wrapping_add(torn.len() as u64));
        let before_end = words.get(at..).unwrap_or_default();
        let length = whole.len().min(before_end.len() * UNIT);
        let (first, second) = whole.split_at_mut(length);
        copy::out_to_bytes(before_end, first);
        copy::out_to_bytes(words, second); // no longer than the ring, as no message is
    }

    /// Gives back a frame whose message was read in place.
    #[inline]
    pub(super) fn give_back_in_place(&mut self, frame: &Frame) {
        if LONG.contains(&frame.length) && self.leaving.is_to_leave(frame.length) {
            let words = self.in_one_piece(frame).unwrap_or_default();
            copy::evict(&words[..words.len().min(frame.length / UNIT)]);
        }
        self.give_back(frame.end);
    }

    /// Gives back everything before `end`, where a frame ends, and wakes who waits for room.
    #[inline(always)]
    pub(super) fn give_back(&mut self, end: u64) {
        self.head = end;
        self.part = 0;
        self.near.head.0[0].store(end, Release); // O2
        self.lane.meeting.light_fence(); // O5
        let gate = self.near.gate();
        if self.must_fence || gate.space_fencing.is_asked_for() {
            prim::full_fence(); // O5, F1
            if !gate.space.has_sleepers() {
                return gate.space_fencing.note_idle(&mut self.idle);
            }
            self.idle = 0;
        }
        gate.space.wake_of_claim(u32::MAX);
    }

    /// Remembers, also for the next reader, that so much of the message in the oldest frame was read.
    pub(super) fn keep_part(&mut self, read: usize) {
        self.part = read;
        let read_to = self.head.wrapping_add((UNIT + read) as u64);
        self.near.head.0[1].store(read_to, Relaxed); // O3 hands it on
    }
}
