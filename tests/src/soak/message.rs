//! Messages that show when they are torn.

use ipc_core::Bytes;

use crate::random::mix;

/// The shortest message: id and length.
pub const SHORTEST: usize = 16;

/// Names message `sequence` of producer `incarnation`.
pub fn id(incarnation: u32, sequence: u64) -> u64 {
    u64::from(incarnation) << 32 | sequence
}

/// Which producer sent it.
pub fn producer_of(id: u64) -> u32 {
    (id >> 32) as u32
}

/// Which of its producer's messages it is.
pub fn sequence_of(id: u64) -> u64 {
    id & u64::from(u32::MAX)
}

/// The message `id`, `length` bytes long (at least [`SHORTEST`]): every word of it follows from both.
pub fn make(id: u64, length: usize) -> Bytes {
    let length = length.max(SHORTEST);
    let mut bytes = Vec::with_capacity(length + 8);
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    for i in 2.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&word(id, length, i).to_le_bytes());
    }
    bytes.truncate(length);
    Bytes(bytes)
}

fn word(id: u64, length: usize, i: u64) -> u64 {
    mix(id ^ (length as u64) << 40 ^ i << 20)
}

/// The id of a whole message; what is wrong with any other.
pub fn check(bytes: &Bytes) -> Result<u64, String> {
    let word_at = |i: usize| -> Option<u64> {
        let bytes = bytes.0.get(8 * i..8 * i + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (Some(id), Some(length)) = (word_at(0), word_at(1)) else {
        return Err(format!("a message of {} bytes", bytes.0.len()));
    };
    if length != bytes.0.len() as u64 {
        return Err(format!(
            "message {id:#x} says {length} bytes and has {}",
            bytes.0.len()
        ));
    }
    if *bytes != make(id, bytes.0.len()) {
        return Err(format!("message {id:#x} of {length} bytes is torn"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_whether_it_is_whole() {
        for length in [16, 17, 24, 249, 5000] {
            let message = make(id(3, 77), length);
            assert_eq!(message.0.len(), length);
            assert_eq!(check(&message), Ok(id(3, 77)));
        }
        let mut torn = make(id(3, 77), 100);
        torn.0[60..].copy_from_slice(&make(id(3, 78), 100).0[60..]);
        assert!(check(&torn).is_err(), "halves of two messages");
        assert!(check(&Bytes(vec![0; 15])).is_err());
        assert!(check(&Bytes(make(1, 100).0[..64].to_vec())).is_err());
    }
}
