//! How a cell says where its message is: in the cell itself, or in a chain of blocks.

use crate::{
    error::Damage,
    os::copy,
    prim::{AtomicU64, Relaxed},
    slab::{Chain, Slab},
};

/// Set in the length word when the payload is a chain of blocks.
const IN_SLAB: u64 = 1 << 63;

/// A message on its way in: encoded, and in blocks if it is large.
#[derive(Debug)]
pub(super) enum Parcel<'a> {
    Inline(&'a [u8]),
    Large(&'a Slab, Chain),
}

impl Parcel<'_> {
    /// Writes the message into a cell's payload and length. The cell is claimed for `position`.
    #[inline]
    pub(super) fn write(&self, payload: &[AtomicU64], length: &AtomicU64, position: u64) {
        match self {
            Parcel::Inline(bytes) => {
                copy::into_shared(payload, bytes);
                length.store(bytes.len() as u64, Relaxed);
            }
            Parcel::Large(slab, chain) => {
                let place = u64::from(chain.head) << 32 | u64::from(chain.generation);
                payload[0].store(place, Relaxed);
                length.store(chain.length as u64 | IN_SLAB, Relaxed);
                slab.set_place(*chain, position);
            }
        }
    }
}

/// What a cell holds.
#[derive(Debug)]
pub(super) enum Contents<'a> {
    Inline(usize),
    Large(&'a Slab, Chain),
}

impl<'a> Contents<'a> {
    /// Interprets a cell's payload and length, which may be lies.
    pub(super) fn of(
        payload: &[AtomicU64],
        length: &AtomicU64,
        slab: Option<&'a Slab>,
    ) -> Result<Self, Damage> {
        let word = length.load(Relaxed);
        let length = usize::try_from(word & !IN_SLAB)
            .map_err(|_| Damage("a message has an impossible length"))?;
        if word & IN_SLAB == 0 {
            return if length <= payload.len() * 8 {
                Ok(Self::Inline(length))
            } else {
                Err(Damage("a message is longer than its cell"))
            };
        }
        let slab = slab.ok_or(Damage("a message is in blocks, but the queue has none"))?;
        if length > slab.geometry().bytes() {
            return Err(Damage("a message is longer than the memory for messages"));
        }
        let place = payload[0].load(Relaxed);
        let chain = Chain {
            head: (place >> 32) as u32,
            generation: place as u32,
            length,
        };
        Ok(Self::Large(slab, chain))
    }

    /// Appends a message that nobody has claimed to `out`, which a look afterwards must confirm.
    pub(super) fn peek(&self, payload: &[AtomicU64], out: &mut Vec<u8>) -> Result<(), Damage> {
        match *self {
            Self::Inline(length) => {
                copy::out_of_shared(payload, length, out);
                Ok(())
            }
            Self::Large(slab, chain) => slab.peek(chain, out).ok_or(Damage(
                "a message's chain of blocks is shorter than the message",
            )),
        }
    }
}
