//! Messages that are read where they lie.
//!
//! Only in a lossless broadcast, where the cursor stands at the message meanwhile: by I5 nobody takes its block. In a lossy one nobody
//! waits for subscribers, so a message that is being looked at may be gone the next moment: there it is copied.

use super::{Cell, Contents, Copied, Damage, ReadRefusal, Reader, Seen, State};
use crate::{
    prim::{AtomicU64, Relaxed},
    slab::Block,
};

/// The next message.
#[derive(Debug)]
pub(in crate::channel::broadcast) enum Found {
    /// Still to be passed over ([`Reader::pass`]).
    InPlace {
        block: Block,
        len: usize,
        /// Its cell, as long as all is well.
        seen: Seen,
    },
    /// The reader has passed over it.
    Copied(Vec<u8>),
}

impl Found {
    pub(in crate::channel::broadcast) fn len(&self) -> usize {
        match self {
            Self::InPlace { len, .. } => *len,
            Self::Copied(bytes) => bytes.len(),
        }
    }
}

impl Reader {
    /// The next message, where it lies if it was written in place.
    pub(in crate::channel::broadcast) fn look_at_next(&mut self) -> Result<Found, ReadRefusal> {
        if !self.backlog.is_empty()
            && let Some(copied) = self.take_of_backlog()
        {
            return Ok(Found::Copied(self.bytes_of(copied)));
        }
        let found = self.find(Self::refer)?;
        if let Found::Copied(_) = found {
            self.step();
        }
        Ok(found)
    }

    fn refer(&self, cell: Cell<'_>, seen: Seen) -> Result<Option<Found>, Damage> {
        if self.place.is_some()
            && seen.state == State::Large
            && let Contents::Lent(slab, chain) = self.ring.contents(cell)?
        {
            let (block, len) = (slab.single(chain)?, chain.length);
            return Ok(Some(Found::InPlace { block, len, seen }));
        }
        let copied = self.copy(cell, seen)?;
        Ok(copied.map(|copied| Found::Copied(self.bytes_of(copied))))
    }

    pub(super) fn bytes_of(&self, copied: Copied) -> Vec<u8> {
        match copied {
            Copied::Long(bytes) => bytes,
            Copied::Short(length) => {
                let mut bytes = Vec::with_capacity(length);
                crate::os::copy::out_of_shared(&self.words, length, &mut bytes);
                bytes
            }
        }
    }

    /// The words of a message that was found in place.
    pub(in crate::channel::broadcast) fn words_of(&self, block: Block) -> &[AtomicU64] {
        let loans = self.ring.loans.as_ref();
        loans.map_or(&[], |loans| loans.words(block))
    }

    /// Whether the next message still is what was found in place. A peer that broke I5 is found out, probably.
    pub(in crate::channel::broadcast) fn is_still(&self, seen: Seen) -> bool {
        let cell = self.ring.cell(self.next);
        // Relaxed: it was seen already, and no correct process changes it.
        cell.is_ok_and(|cell| cell.ctl().load(Relaxed) == seen.ctl.0)
    }

    /// Goes on behind a message that was found in place, whose block others may take from now on.
    pub(in crate::channel::broadcast) fn pass(&mut self, block: Block) {
        if let Some(loans) = &self.ring.loans {
            loans.read_until_now(block);
        }
        self.step();
    }
}
