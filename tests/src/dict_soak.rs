//! What the workers of the dictionary's soak put into it, and how anybody can tell that it was they.

use ipc_core::{Bytes, Dict, DictError};

/// The dictionary that is hammered.
pub type Shelf = Dict<u32, Bytes>;

/// Keys that are used.
pub const KEYS: u64 = 3000;
/// Of these, so many are never removed.
pub const LASTING: u32 = 50;

/// A value of a key that says who wrote it, of a length that a random number tells.
pub fn value(key: u32, writer: u64, random: u64) -> Bytes {
    let length = match random % 100 {
        0 => 20_000 + random % 60_000,
        1..=9 => random % 3000,
        _ => random % 200,
    };
    let mut bytes = [u64::from(key), writer, random, length]
        .map(u64::to_le_bytes)
        .concat();
    bytes.extend((0..length).map(|i| (i * 7 + random) as u8));
    Bytes(bytes)
}

/// Whether a value is one that [`value`] made for the key.
///
/// # Errors
///
/// If it is not.
pub fn check(key: u32, found: &Bytes) -> Result<(), String> {
    let word = |at: usize| {
        let bytes = found.0.get(8 * at..8 * at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let made = word(1)
        .zip(word(2))
        .map(|(writer, random)| value(key, writer, random));
    if made.as_ref() == Some(found) {
        Ok(())
    } else {
        Err(format!("the value of {key} is torn, or another's"))
    }
}

/// Whether workers are to end.
///
/// # Errors
///
/// As for any lookup.
pub fn is_over(counts: &Dict<String, u64>) -> Result<bool, DictError> {
    counts.contains(&"over".to_owned())
}
