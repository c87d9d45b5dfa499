//! What every object begins with: what it is, who made it, and how large its parts are.
//!
//! # Layout
//!
//! ```text
//!   0      8        12    16          24         28            32           96       104      120   128        256
//!   ┌──────┬────────┬─────┬───────────┬──────────┬─────────────┬────────────┬────────┬────────┬─────┬──────────┐
//!   │magic │version │kind │file bytes │word size │participants │geometry ×8 │created │boot id │hash │type name │
//!   └──────┴────────┴─────┴───────────┴──────────┴─────────────┴────────────┴────────┴────────┴─────┴──────────┘
//! ```
//!
//! All of it is written by the creator before the file has a name, and never again. An opener reads it once, checks it
//! ([`Identity::read`]) and works with its private copy ([`Facts`]) from then on.
//!
//! # Ordering
//!
//! None is needed: the file gets its name after the last store, and the system calls that publish and open it order the
//! two processes. Relaxed is enough throughout.

#![expect(unsafe_code, reason = "implements Shared")]

use core::array;

use super::Shared;
use crate::{
    os::copy,
    prim::{AtomicU32, AtomicU64, Relaxed},
};

/// The first eight bytes of every object, in every version.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ipc-obj1");
/// Changes with any shared layout: header, slots, or a structure.
pub(crate) const LAYOUT_VERSION: u32 = 1;
/// Pointer width in bytes, and a byte order mark above it.
pub(crate) const WORD: u32 = size_of::<usize>() as u32
    | if cfg!(target_endian = "little") {
        0x0100
    } else {
        0x0200
    };
/// Bytes of a type's name that are kept; the hash covers all of it.
const NAME_BYTES: usize = 128;

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Identity {
    magic: AtomicU64,
    version: AtomicU32,
    kind: AtomicU32,
    file_bytes: AtomicU64,
    word: AtomicU32,
    participants: AtomicU32,
    geometry: [AtomicU64; 8],
    created_unix_ns: AtomicU64,
    boot_id: [AtomicU64; 2],
    type_hash: AtomicU64,
    type_name: [AtomicU64; NAME_BYTES / 8],
}

// The layout is an ABI between processes: a change here is a new LAYOUT_VERSION, whose own place never changes.
#[cfg(not(loom))]
const _: () = assert!(
    core::mem::offset_of!(Identity, file_bytes) == 16
        && core::mem::offset_of!(Identity, geometry) == 32
        && core::mem::offset_of!(Identity, created_unix_ns) == 96
        && core::mem::offset_of!(Identity, type_hash) == 120
        && size_of::<Identity>() == 256
);

// SAFETY: atomics only, and no padding (the assertion above).
unsafe impl Shared for Identity {
    fn zeroed() -> Self {
        Self {
            magic: AtomicU64::new(0),
            version: AtomicU32::new(0),
            kind: AtomicU32::new(0),
            file_bytes: AtomicU64::new(0),
            word: AtomicU32::new(0),
            participants: AtomicU32::new(0),
            geometry: Shared::zeroed(),
            created_unix_ns: AtomicU64::new(0),
            boot_id: Shared::zeroed(),
            type_hash: AtomicU64::new(0),
            type_name: Shared::zeroed(),
        }
    }
}

/// The private copy of an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) version: u32,
    pub(crate) word: u32,
    pub(crate) kind: u32,
    pub(crate) file_bytes: u64,
    pub(crate) participants: u32,
    pub(crate) geometry: [u64; 8],
    pub(crate) created_unix_ns: u64,
    pub(crate) boot_id: [u64; 2],
    pub(crate) type_hash: u64,
    /// As much of the type's name as fits.
    pub(crate) type_name: String,
}

impl Identity {
    pub(crate) fn write(&self, facts: &Facts) {
        self.version.store(facts.version, Relaxed);
        self.kind.store(facts.kind, Relaxed);
        self.file_bytes.store(facts.file_bytes, Relaxed);
        self.word.store(facts.word, Relaxed);
        self.participants.store(facts.participants, Relaxed);
        for (to, from) in self.geometry.iter().zip(facts.geometry) {
            to.store(from, Relaxed);
        }
        self.created_unix_ns.store(facts.created_unix_ns, Relaxed);
        for (to, from) in self.boot_id.iter().zip(facts.boot_id) {
            to.store(from, Relaxed);
        }
        self.type_hash.store(facts.type_hash, Relaxed);
        let kept = shorten(&facts.type_name);
        copy::into_shared(&self.type_name, kept.as_bytes());
        self.magic.store(MAGIC, Relaxed);
    }

    /// A private copy, or `None` when no object begins here.
    pub(crate) fn read(&self) -> Option<Facts> {
        if self.magic.load(Relaxed) != MAGIC {
            return None;
        }
        Some(Facts {
            version: self.version.load(Relaxed),
            word: self.word.load(Relaxed),
            kind: self.kind.load(Relaxed),
            file_bytes: self.file_bytes.load(Relaxed),
            participants: self.participants.load(Relaxed),
            geometry: array::from_fn(|i| self.geometry[i].load(Relaxed)),
            created_unix_ns: self.created_unix_ns.load(Relaxed),
            boot_id: array::from_fn(|i| self.boot_id[i].load(Relaxed)),
            type_hash: self.type_hash.load(Relaxed),
            type_name: copy::text_out(&self.type_name),
        })
    }
}

/// The longest prefix that is kept.
pub(crate) fn shorten(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// FNV-1a: tells types apart; it defends against mistakes, not against malice.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            version: LAYOUT_VERSION,
            word: WORD,
            kind: 1,
            file_bytes: 4096,
            participants: 128,
            geometry: [1, 2, 3, 4, 5, 6, 7, 8],
            created_unix_ns: 9,
            boot_id: [10, 11],
            type_hash: 12,
            type_name: "alloc::string::String".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let identity = Identity::zeroed();
        assert_eq!(identity.read(), None);
        identity.write(&facts());
        assert_eq!(identity.read(), Some(facts()));
    }

    #[test]
    fn a_long_type_name_is_cut_between_characters() {
        let identity = Identity::zeroed();
        identity.write(&Facts {
            type_name: "é".repeat(100),
            ..facts()
        });
        assert_eq!(identity.read().unwrap().type_name, "é".repeat(64));
    }
}
