//! Messages that tell who they are, and whether they are whole.

use ipc_core::Bytes;

/// A message is known by its number: never 0, and never used twice in a trial.
pub(super) type Id = u8;

/// The longest message that a cell of a trial's queue carries itself.
pub(super) const MOST_INLINE: usize = 104;
/// Bytes of a block of the memory for large messages.
pub(super) const BLOCK: usize = 512;
/// Bytes of a block for a message that is written in place.
pub(super) const LOAN: usize = 4096;

/// How long a message is, by a letter, so that the contents of a queue are a short string.
pub(super) fn length_of(letter: char) -> usize {
    match letter {
        's' => 24,        // in its cell
        'l' => 1500,      // three blocks
        'x' => 5 * BLOCK, // five blocks, to the last byte
        'w' => 40,        // written in place, in a block for one message
        _ => unreachable!("no message is called {letter}"),
    }
}

/// The message `id` with a length by letter.
pub(super) fn message(id: Id, letter: char) -> Bytes {
    message_of(id, length_of(letter))
}

/// The message `id` in `length` bytes: its number, and then bytes that follow from number, length and place.
pub(super) fn message_of(id: Id, length: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0..length).map(|at| byte(id, length, at)).collect();
    bytes[0] = id;
    Bytes(bytes)
}

/// Whose message this is; an error when a single byte of it is not that message's.
pub(super) fn id_of(bytes: &Bytes) -> Result<Id, String> {
    let Some(&id) = bytes.0.first() else {
        return Err("torn: an empty message".to_owned());
    };
    let length = bytes.0.len();
    match (1..length).find(|&at| bytes.0[at] != byte(id, length, at)) {
        None => Ok(id),
        Some(at) => Err(format!(
            "torn: message {id} of {length} bytes, at byte {at}"
        )),
    }
}

fn byte(id: Id, length: usize, at: usize) -> u8 {
    let mixed = (at as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(id) << 32 | length as u64)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 56) as u8
}
