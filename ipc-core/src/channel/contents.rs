//! How a cell says where its message is: in the cell itself, in a chain of blocks, or in a block that was lent.

use crate::{
    error::Damage,
    os::copy,
    prim::{AtomicU64, Relaxed},
    slab::{Chain, Slab},
};

/// Set in the length word when the payload is a chain of blocks.
const IN_SLAB: u64 = 1 << 63;

/// Set in the length word when the payload is a block on its own, which was lent and written in place.
const IN_LOAN: u64 = 1 << 62;

/// A message on its way in: encoded, and in blocks if it is large.
#[derive(Debug)]
pub(super) enum Parcel<'a> {
    Inline(&'a [u8]),
    Large(&'a Slab, Chain),
    /// A chain of one block, of the slab of loans.
    Lent(&'a Slab, Chain),
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
            Parcel::Large(slab, chain) => refer(slab, *chain, IN_SLAB, payload, length, position),
            Parcel::Lent(slab, chain) => refer(slab, *chain, IN_LOAN, payload, length, position),
        }
    }
}

/// Writes a reference to blocks.
fn refer(
    slab: &Slab,
    chain: Chain,
    kind: u64,
    payload: &[AtomicU64],
    length: &AtomicU64,
    position: u64,
) {
    let place = u64::from(chain.head) << 32 | u64::from(chain.generation);
    payload[0].store(place, Relaxed);
    length.store(chain.length as u64 | kind, Relaxed);
    slab.set_place(chain, position);
}

/// What a cell holds.
#[derive(Debug)]
pub(super) enum Contents<'a> {
    Inline(usize),
    Large(&'a Slab, Chain),
    /// A chain of one block, of the slab of loans.
    Lent(&'a Slab, Chain),
}

/// Whether the payload is a block that was lent, for who looks at a cell that he has not claimed.
pub(super) fn is_lent(length: &AtomicU64) -> bool {
    length.load(Relaxed) & IN_LOAN != 0
}

impl<'a> Contents<'a> {
    /// Interprets a cell's payload and length, which may be lies.
    pub(super) fn of(
        payload: &[AtomicU64],
        length: &AtomicU64,
        slab: Option<&'a Slab>,
        loans: Option<&'a Slab>,
    ) -> Result<Self, Damage> {
        let word = length.load(Relaxed);
        let length = usize::try_from(word & !(IN_SLAB | IN_LOAN))
            .map_err(|_| Damage("a message has an impossible length"))?;
        if word & (IN_SLAB | IN_LOAN) == 0 {
            return if length <= payload.len() * 8 {
                Ok(Self::Inline(length))
            } else {
                Err(Damage("a message is longer than its cell"))
            };
        }
        let (slab, most) = match word & IN_LOAN {
            0 => (slab, slab.map_or(0, |slab| slab.geometry().bytes())),
            _ => (loans, loans.map_or(0, |slab| slab.geometry().block_bytes)),
        };
        let slab = slab.ok_or(Damage("a message is in blocks, but the queue has none"))?;
        if length > most {
            return Err(Damage("a message is longer than the memory for messages"));
        }
        let place = payload[0].load(Relaxed);
        let chain = Chain {
            head: (place >> 32) as u32,
            generation: place as u32,
            length,
        };
        Ok(match word & IN_LOAN {
            0 => Self::Large(slab, chain),
            _ => Self::Lent(slab, chain),
        })
    }

    /// Appends a message that nobody has claimed to `out`, which a look afterwards must confirm.
    pub(super) fn peek(&self, payload: &[AtomicU64], out: &mut Vec<u8>) -> Result<(), Damage> {
        match *self {
            Self::Inline(length) => {
                copy::out_of_shared(payload, length, out);
                Ok(())
            }
            Self::Large(slab, chain) | Self::Lent(slab, chain) => slab.peek(chain, out).ok_or(
                Damage("a message's chain of blocks is shorter than the message"),
            ),
        }
    }
}
