//! The writing side of a lane: frames in, without waiting.

use std::sync::Arc;

use super::{
    geometry::{Slots, UNIT, bare_frame, framed, head_of},
    lane::{Lane, Near},
};
use crate::{
    error::Damage,
    os::copy,
    prim::{self, Acquire, AtomicU64, Relaxed, Release},
};

/// Why a frame was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendRefusal {
    /// There is no room now.
    Full,
    TooLarge,
    /// The reader's end is closed.
    Broken,
    Damage(Damage),
}

impl From<Damage> for SendRefusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// Room for a message in one piece, behind the frames that are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    padding: u64,
    /// Where the message begins.
    begin: u64,
}

/// Writes frames. There is one for a lane, as only who holds the writer's end makes it.
#[derive(Debug)]
pub(super) struct Writer {
    lane: Arc<Lane>,
    /// As the lane has them, two steps nearer.
    pub(super) near: Near,
    /// Where frames end that are not all published yet.
    filled: u64,
    /// Up to where the reader has made room, as far as is known.
    limit: u64,
    mask: usize,
    slots: Option<Slots>,
    /// Whether light fences do not reach (O5).
    must_fence: bool,
    /// Publications in a row for which this fenced in vain.
    pub(super) idle: u32,
}

impl Writer {
    /// Goes on where the last writer was. The caller holds the writer's end.
    pub(super) fn new(lane: &Arc<Lane>, must_fence: bool) -> Result<Self, Damage> {
        let capacity = lane.geometry.capacity as u64;
        let tail = lane.tail.0.load(Relaxed); // O3: the last writer's
        if !tail.is_multiple_of(UNIT as u64) {
            return Err(Damage("the send counter stands within a frame"));
        }
        let mut writer = Self {
            near: Near::new(lane),
            lane: Arc::clone(lane),
            filled: tail,
            limit: tail, // full, as far as is known
            mask: lane.geometry.capacity - 1,
            slots: Slots::new(lane.geometry),
            must_fence,
            idle: 0,
        };
        let head = lane.head.0[0].load(Acquire); // O2
        if tail.wrapping_sub(head) > capacity || !head.is_multiple_of(UNIT as u64) {
            return Err(Damage("the counters are apart by more than the capacity"));
        }
        writer.limit = head.wrapping_add(capacity);
        Ok(writer)
    }

    /// Writes a message of the one length that all have. It exists only once [`Self::publish`] was called.
    #[inline(always)]
    pub(super) fn fill_bare(&mut self, message: &[u8]) -> Result<(), SendRefusal> {
        let frame = bare_frame(message.len());
        self.reserve(frame)?;
        self.copy_in(self.filled, message);
        self.filled = self.filled.wrapping_add(frame);
        Ok(())
    }

    /// As [`Self::fill_bare`], of some messages that are one behind the other as their frames will be, each so long. Returns how many of
    /// them there was room for.
    #[inline]
    pub(super) fn fill_run(
        &mut self,
        messages: &[u8],
        length: usize,
    ) -> Result<usize, SendRefusal> {
        self.reserve(length as u64)?;
        let room = self.limit.wrapping_sub(self.filled) as usize;
        let count = room.min(messages.len()) / length;
        let bytes = &messages[..count * length];
        for nth in 0..count {
            let at = self.filled.wrapping_add((nth * length) as u64);
            self.lane.witnesses.write(self.index(at));
        }
        self.copy_in(self.filled, bytes);
        self.filled = self.filled.wrapping_add(bytes.len() as u64);
        Ok(count)
    }

    /// As [`Self::fill_bare`], with the message's length before it.
    #[inline(always)]
    pub(super) fn fill_framed(&mut self, message: &[u8]) -> Result<(), SendRefusal> {
        if message.len() > self.mask + 1 - UNIT {
            return Err(SendRefusal::TooLarge);
        }
        let frame = framed(message.len());
        self.reserve(frame)?;
        let at = self.index(self.filled);
        self.near.words[at].store(message.len() as u64, Relaxed); // O1 publishes it
        self.copy_in(self.filled.wrapping_add(UNIT as u64), message);
        self.filled = self.filled.wrapping_add(frame);
        Ok(())
    }

    /// Makes sure that there is room for a frame, and somebody to read it.
    #[inline(always)]
    fn reserve(&mut self, frame: u64) -> Result<(), SendRefusal> {
        if frame > self.limit.wrapping_sub(self.filled) {
            self.find_room(frame)?;
        }
        self.check_peer()
    }

    /// Whether somebody may receive what is sent.
    #[inline(always)]
    pub(super) fn check_peer(&self) -> Result<(), SendRefusal> {
        if self.near.gate().reader.glance().is_open() {
            Ok(())
        } else {
            Err(self.peer_is_gone())
        }
    }

    #[cold]
    fn peer_is_gone(&self) -> SendRefusal {
        match self.near.gate().reader.look().state() {
            Ok(_) => SendRefusal::Broken,
            Err(damage) => damage.into(),
        }
    }

    /// Looks how far the reader has come.
    #[cold]
    #[inline(never)]
    pub(super) fn find_room(&mut self, frame: u64) -> Result<(), SendRefusal> {
        let capacity = self.mask as u64 + 1;
        if frame > capacity {
            return Err(SendRefusal::TooLarge);
        }
        let reader = self.near.gate().reader.look();
        if !reader.is_open() {
            return Err(self.peer_is_gone());
        }
        let head = self.near.head.0[0].load(Acquire); // O2
        let known = self.limit.wrapping_sub(capacity);
        let used = self.filled.wrapping_sub(head);
        // It only grows, up to what was published (I1), which is no more than what is filled.
        if head.wrapping_sub(known) > self.filled.wrapping_sub(known)
            || !head.is_multiple_of(UNIT as u64)
        {
            return Err(Damage("the receive counter is where no reader can be").into());
        }
        self.limit = head.wrapping_add(capacity);
        if frame > capacity - used {
            Err(SendRefusal::Full)
        } else {
            Ok(())
        }
    }

    /// Bytes of the longest message that fits now, known without a look.
    pub(super) fn room(&self) -> usize {
        let bytes = self.limit.wrapping_sub(self.filled) as usize;
        bytes.saturating_sub(UNIT)
    }

    #[inline(always)]
    fn index(&self, position: u64) -> usize {
        let at = position as usize & self.mask;
        self.slots.map_or(at / UNIT, |slots| slots.word(at))
    }

    /// Copies to where byte `position` is, and round the end.
    #[inline(always)]
    fn copy_in(&self, position: u64, bytes: &[u8]) {
        let at = self.index(position);
        self.lane.witnesses.write(at);
        let words = self.near.words.get(at..).unwrap_or_default();
        if !copy::into_shared(words, bytes) {
            let (first, second) = bytes.split_at(words.len() * UNIT);
            copy::into_shared(words, first);
            copy::into_shared(&self.near.words, second); // no longer than the ring: `reserve` has seen to it
        }
    }

    /// Makes sure that there is room for a message in one piece. Nothing is taken: what lies behind the frames is the writer's.
    #[inline]
    pub(super) fn reserve_piece(&mut self, length: usize) -> Result<Piece, SendRefusal> {
        let frame = self.piece_frame(length)?;
        self.reserve(frame)?;
        let padding = self.lane.geometry.padding(self.filled, length);
        let begin = self.filled.wrapping_add(UNIT as u64 + padding);
        self.lane.witnesses.write(self.index(begin));
        Ok(Piece { padding, begin })
    }

    /// Bytes that the frame of such a message takes if it comes next.
    #[inline]
    pub(super) fn piece_frame(&self, length: usize) -> Result<u64, SendRefusal> {
        let geometry = self.lane.geometry;
        if length > geometry.most_in_one_piece() {
            return Err(SendRefusal::TooLarge);
        }
        Ok(framed(length) + geometry.padding(self.filled, length))
    }

    /// The words of a piece, and those behind it up to the ring's end.
    #[inline]
    pub(super) fn piece(&self, piece: &Piece) -> &[AtomicU64] {
        let at = self.index(piece.begin);
        self.near.words.get(at..).unwrap_or_default()
    }

    /// The message of `length` bytes, no longer than was reserved, is written. It exists only once [`Self::publish`] was called.
    #[inline]
    pub(super) fn fill_piece(&mut self, piece: &Piece, length: usize) {
        let at = self.index(self.filled);
        self.near.words[at].store(head_of(piece.padding, length), Relaxed); // O1 publishes it
        self.filled = piece
            .begin
            .wrapping_add(length.next_multiple_of(UNIT) as u64);
    }

    /// Whether there are frames that are not published. A private note of that would be one store more for each message; a lie about
    /// it makes them published twice or not at all, as their reader likes.
    #[inline]
    pub(super) fn has_unpublished(&self) -> bool {
        self.near.tail.0.load(Relaxed) != self.filled
    }

    /// Makes what was written exist, and wakes who waits for it.
    #[inline(always)]
    pub(super) fn publish(&mut self) {
        self.near.tail.0.store(self.filled, Release); // O1
        self.lane.meeting.light_fence(); // O5
        let gate = self.near.gate();
        if self.must_fence || gate.items_fencing.is_asked_for() {
            prim::full_fence(); // O5, F1
            if !gate.items.has_sleepers() {
                return gate.items_fencing.note_idle(&mut self.idle);
            }
            self.idle = 0;
        }
        gate.items.wake_of_claim(u32::MAX);
    }

    /// Where the next frame begins.
    pub(super) fn filled(&self) -> u64 {
        self.filled
    }
}
