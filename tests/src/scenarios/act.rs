//! What a victim does to a queue.

use ipc_core::{Bytes, Queue, TryGetError, TryPutError};

use super::message::{Id, message};
use super::trial::put_in_place;
use crate::step::Operation;

/// One operation on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Puts one message, by letter.
    Put(char),
    /// Puts one that it writes in place.
    PutInPlace,
    /// Writes one in place, and does not put it.
    GiveUpLoan,
    /// Gets one, reads it in place if it is there, and gives its memory back.
    GetRef,
    /// Puts several with one call.
    PutMany(&'static str),
    /// Gets one.
    Get,
    /// Gets up to so many with one call.
    GetMany(usize),
    /// Copies the oldest.
    Peek,
    /// Closes the queue.
    Close,
    /// Asks how many there are, and whether it is empty or full.
    Look,
    /// Repairs what the dead left.
    Sweep,
    /// Sweeps, puts one short message, gets one: all that a survivor would do next.
    Repair,
}

/// The result of an operation that returns no message.
pub(super) const DONE: u64 = 1;
/// It was refused: no room.
pub(super) const FULL: u64 = 2;
/// It was refused, or ended: closed.
pub(super) const CLOSED: u64 = 3;
/// It failed, or the message it got was torn.
pub(super) const FAILED: u64 = u64::MAX;
/// Results that carry messages have this bit, and a number a byte below it: the first in the lowest byte.
const MESSAGES: u64 = 1 << 62;

/// The messages that a result names.
pub(super) fn got(result: u64) -> Vec<Id> {
    if result == FAILED || result & MESSAGES == 0 {
        return Vec::new();
    }
    let bytes = (result & !MESSAGES).to_le_bytes();
    bytes.into_iter().take_while(|&id| id != 0).collect()
}

/// The result of an operation that got these messages.
pub(super) fn packed(ids: &[Id]) -> u64 {
    let bytes = ids.iter().zip((0..).step_by(8));
    bytes.fold(MESSAGES, |packed, (&id, shift)| {
        packed | u64::from(id) << shift
    })
}

/// The result of a look at a queue of so many messages.
pub(super) fn looked(len: usize, capacity: usize) -> u64 {
    look(len, len == 0, len == capacity)
}

fn look(len: usize, is_empty: bool, is_full: bool) -> u64 {
    u64::from(is_empty) << 8 | u64::from(is_full) << 9 | len as u64
}

impl Act {
    /// The letters of the messages that it puts.
    pub(super) fn letters(self) -> Vec<char> {
        match self {
            Self::Put(letter) => vec![letter],
            Self::PutInPlace => vec!['w'],
            Self::PutMany(letters) => letters.chars().collect(),
            Self::Repair => vec!['s'],
            _ => Vec::new(),
        }
    }

    /// The messages that it puts, if their numbers start at `first`.
    pub(super) fn puts(self, first: Id) -> Vec<Id> {
        (first..).take(self.letters().len()).collect()
    }

    /// How many messages it gets at the most.
    pub(super) fn most_gets(self) -> usize {
        match self {
            Self::Get | Self::GetRef | Self::Repair => 1,
            Self::GetMany(most) => most,
            _ => 0,
        }
    }

    /// The operation, with its messages ready. `known` are the messages that it may find.
    ///
    /// All that happens in it is stepped; so a message is checked by one comparison with what it should be.
    pub(super) fn operation<'a>(
        self,
        queue: Queue<Bytes>,
        first: Id,
        known: Vec<Bytes>,
    ) -> Operation<'a> {
        let own = (first..).zip(self.letters());
        let mut own: Vec<Bytes> = own.map(|(id, letter)| message(id, letter)).collect();
        let known: Vec<Bytes> = known.into_iter().chain(own.clone()).collect();
        let pack = move |messages: &[Bytes]| pack(messages, &known);
        match self {
            Self::Put(_) => Box::new(move || put(&queue, &mut own)),
            Self::PutInPlace => Box::new(move || match put_in_place(&queue, &own[0]) {
                Ok(()) => DONE,
                Err(TryPutError::Full(())) => FULL,
                Err(TryPutError::Closed(())) => CLOSED,
                Err(_) => FAILED,
            }),
            Self::GiveUpLoan => Box::new(move || match queue.try_loan(40) {
                Ok(mut loan) => {
                    loan.write_at(9, b"scrawl");
                    DONE
                }
                Err(TryPutError::Full(())) => FULL,
                Err(_) => FAILED,
            }),
            Self::GetRef => Box::new(move || match queue.try_get_ref() {
                Ok(message) => {
                    let copy = Bytes(message.to_vec());
                    match message.done() {
                        Ok(()) => pack(&[copy]),
                        Err(_) => FAILED,
                    }
                }
                Err(error) => refusal(&error),
            }),
            Self::PutMany(_) => Box::new(move || match queue.put_many(own.drain(..)) {
                Ok(_) => DONE,
                Err(_) => FAILED,
            }),
            Self::Get => Box::new(move || match queue.try_get() {
                Ok(message) => pack(&[message]),
                Err(error) => refusal(&error),
            }),
            Self::GetMany(most) => Box::new(move || match queue.try_get_many(most) {
                Ok(messages) => pack(&messages),
                Err(error) => refusal(&error),
            }),
            Self::Peek => Box::new(move || match queue.peek() {
                Ok(message) => pack(&[message]),
                Err(error) => refusal(&error),
            }),
            Self::Close => Box::new(move || {
                queue.close();
                DONE
            }),
            Self::Look => Box::new(move || {
                let (is_empty, is_full) = (queue.is_empty(), queue.is_full());
                look(queue.len(), is_empty, is_full)
            }),
            Self::Sweep => Box::new(move || queue.sweep().map_or(FAILED, u64::from)),
            Self::Repair => Box::new(move || {
                let swept = queue.sweep();
                let put = put(&queue, &mut own);
                let got = queue.try_get();
                match swept.is_ok() && put != FAILED && !matches!(got, Err(TryGetError::Failed(_)))
                {
                    true => DONE,
                    false => FAILED,
                }
            }),
        }
    }
}

fn put(queue: &Queue<Bytes>, own: &mut Vec<Bytes>) -> u64 {
    let Some(message) = own.pop() else {
        return FAILED;
    };
    match queue.try_put(message) {
        Ok(()) => DONE,
        Err(TryPutError::Full(_)) => FULL,
        Err(TryPutError::Closed(_)) => CLOSED,
        Err(_) => FAILED,
    }
}

fn refusal(error: &TryGetError) -> u64 {
    match error {
        TryGetError::Empty => MESSAGES,
        TryGetError::Closed => CLOSED,
        _ => FAILED,
    }
}

fn pack(messages: &[Bytes], known: &[Bytes]) -> u64 {
    let mut ids = [0; 7];
    for (id, message) in ids.iter_mut().zip(messages) {
        if !known.contains(message) {
            return FAILED;
        }
        *id = message.0[0];
    }
    packed(&ids)
}
