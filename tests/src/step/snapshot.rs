//! Tells when shared bytes changed.

use std::hash::{DefaultHasher, Hasher};

use crate::mapping::Shared;

/// A copy of some shared bytes, compared with the bytes themselves after each step.
///
/// A step costs one `memcmp`; only a change costs a copy. 64 KiB take a few microseconds.
#[derive(Debug)]
pub struct Snapshot<'a> {
    parts: Vec<(Shared<'a>, Vec<u8>)>,
}

impl<'a> Snapshot<'a> {
    /// Copies the bytes as they are now.
    pub fn take(parts: Vec<Shared<'a>>) -> Self {
        let mut parts: Vec<_> = parts.into_iter().map(|part| (part, Vec::new())).collect();
        for (part, copy) in &mut parts {
            part.copy_to(copy);
        }
        Self { parts }
    }

    /// True when a byte changed since the last call (or since [`Snapshot::take`]).
    pub fn has_changed(&mut self) -> bool {
        let mut changed = false;
        for (part, copy) in &mut self.parts {
            if !part.is(copy) {
                part.copy_to(copy);
                changed = true;
            }
        }
        changed
    }

    /// A hash of the bytes as last seen.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (_, copy) in &self.parts {
            hasher.write(copy);
        }
        hasher.finish()
    }
}
