//! What a liar would write: seldom noise, mostly a control word with a plausible wrong value.

use super::layout::{CENSUS, IDENTITY, Layout, SLOT, SLOTS, ctl, link, meta, word};
use crate::random::Random;

/// Bytes to be written over those of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub offset: usize,
    /// What.
    pub bytes: Vec<u8>,
}

impl Edit {
    fn word(offset: usize, value: u64) -> Self {
        Self {
            offset,
            bytes: value.to_le_bytes().to_vec(),
        }
    }

    fn half(offset: usize, value: u64) -> Self {
        Self {
            offset,
            bytes: (value as u32).to_le_bytes().to_vec(),
        }
    }

    /// Writes it into a file's bytes.
    pub fn apply(&self, file: &mut [u8]) {
        let end = file.len().min(self.offset + self.bytes.len());
        if self.offset < end {
            file[self.offset..end].copy_from_slice(&self.bytes[..end - self.offset]);
        }
    }
}

/// One to six edits of the file whose healthy content is `file`.
pub fn edits(random: &mut Random, layout: &Layout, file: &[u8]) -> Vec<Edit> {
    let count = if random.one_in(2) {
        1
    } else {
        1 + random.below(6)
    };
    (0..count).map(|_| edit(random, layout, file)).collect()
}

/// One edit of the file whose content is, or once was, `file`.
pub fn edit(random: &mut Random, layout: &Layout, file: &[u8]) -> Edit {
    match random.below(20) {
        0..=4 => cell(random, layout, file),
        5..=6 => length(random, layout),
        7..=9 => counter(random, layout, file),
        10 => gate(random, layout),
        11..=13 if layout.blocks > 0 => block(random, layout, file),
        14 => slot(random, layout, file),
        15 => header(random, file),
        16 => noise(random, file.len()),
        17 => Edit {
            offset: random.index(file.len()),
            bytes: vec![random.number() as u8],
        },
        _ => {
            let at = random.index(layout.cells + 256) / 8 * 8;
            Edit::word(at, value(random, word(file, at)))
        }
    }
}

/// A wrong value for a word that holds `old`.
pub(super) fn value(random: &mut Random, old: u64) -> u64 {
    match random.below(10) {
        0 => 0,
        1 => u64::MAX,
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => old ^ (1 << random.below(64)),
        5 => 1 << random.below(64),
        6 => u64::MAX << random.below(64),
        7 => random.below(32),
        8 => old.rotate_left(32),
        _ => random.number(),
    }
}

/// Nobody, the first participants, one without a slot.
fn owner(random: &mut Random) -> u64 {
    random.pick(&[0, 1, 2, 3, 4, 5, 0x3fff])
}

fn cell(random: &mut Random, layout: &Layout, file: &[u8]) -> Edit {
    let index = random.index(layout.capacity);
    let at = random.pick(&[layout.ctl(index), layout.ctl(index), layout.done(index)]);
    let old = word(file, at);
    let lap = match random.below(6) {
        0 => (old >> 21) + 1,
        1 => (old >> 21).wrapping_sub(1),
        2 => random.number(),
        _ => old >> 21,
    };
    if random.one_in(6) {
        return Edit::word(at, value(random, old));
    }
    let (turn, owner, state) = (random.below(16), owner(random), random.below(8));
    Edit::word(at, ctl(lap, turn, owner, state))
}

/// The length word of a cell, or the word that names its blocks.
fn length(random: &mut Random, layout: &Layout) -> Edit {
    const IN_BLOCKS: u64 = 1 << 63;
    let index = random.index(layout.capacity);
    let at = layout.length(index);
    let bytes = (layout.blocks * layout.block_bytes) as u64;
    let value = match random.below(9) {
        0 => layout.inline_bytes as u64 + random.below(3),
        1 => 233,
        2 => IN_BLOCKS | bytes,
        3 => IN_BLOCKS | (bytes + 1),
        4 => IN_BLOCKS | random.below(2 * bytes + 2),
        5 => IN_BLOCKS,
        6 => return Edit::word(layout.ctl(index) + 8, block_name(random, layout)),
        _ => value(random, 0),
    };
    Edit::word(at, value)
}

/// `head:32 | generation:32`.
fn block_name(random: &mut Random, layout: &Layout) -> u64 {
    let head = random.pick(&[
        0,
        1,
        layout.blocks as u64 - u64::from(layout.blocks > 0),
        layout.blocks as u64,
        0xff_ffff,
        u64::from(u32::MAX),
    ]);
    head << 32 | random.below(4)
}

fn counter(random: &mut Random, layout: &Layout, file: &[u8]) -> Edit {
    let at = random.pick(&[layout.head, layout.tail]);
    let old = word(file, at);
    let capacity = layout.capacity as u64;
    let near = random.below(4 * capacity + 4);
    let value = match random.below(8) {
        0 => old.wrapping_sub(near),
        1 => old.wrapping_add(near),
        2 => (old >> layout.shift()).wrapping_add(near) << layout.shift(),
        3 => word(file, layout.tail + layout.head - at),
        4 => u64::MAX - near,
        5 => 1 << 63,
        _ => value(random, old),
    };
    Edit::word(at, value)
}

fn gate(random: &mut Random, layout: &Layout) -> Edit {
    if random.one_in(3) {
        let orphans = random.pick(&[0, 1, 2, u64::MAX]);
        let which = 16 + 8 * random.index(2);
        return Edit::word(layout.gate + which, orphans);
    }
    let which = 4 * random.index(4);
    let any = random.number();
    let value = random.pick(&[0, 1, 2, 3, u64::MAX, any]);
    Edit::half(layout.gate + which, value)
}

/// An owner word, a link or a place of a block; or where allocation goes on.
fn block(random: &mut Random, layout: &Layout, file: &[u8]) -> Edit {
    let blocks = layout.blocks as u64;
    let this = random.below(blocks);
    let any = random.below(blocks);
    let other = random.pick(&[0, this, any, blocks, 0xff_ffff]);
    let at = |base: usize| base + 8 * this as usize;
    let generation =
        (word(file, at(layout.meta)) >> 18).wrapping_add(random.pick(&[0, 0, 0, 1, u64::MAX]));
    match random.below(8) {
        0 => Edit::word(layout.cursor, value(random, word(file, layout.cursor))),
        1 | 2 => {
            let (owner, state) = (owner(random), random.pick(&[0, 1, 1, 2, 15]));
            Edit::word(at(layout.meta), meta(generation, owner, state))
        }
        3..=5 => Edit::word(at(layout.links), link(generation, this, other)),
        6 => Edit::word(at(layout.places), value(random, word(file, layout.tail))),
        _ => Edit::word(
            at(layout.links),
            value(random, word(file, at(layout.links))),
        ),
    }
}

fn slot(random: &mut Random, layout: &Layout, file: &[u8]) -> Edit {
    let at = layout.slot(random.index(layout.participants));
    match random.below(4) {
        0 => {
            let at = CENSUS + 8 * random.index(4);
            Edit::word(at, value(random, word(file, at)))
        }
        1 => Edit::word(at + 8 * random.index(SLOT / 8), random.number()),
        _ => {
            let live = word(file, at) ^ random.pick(&[1, 2, 3]);
            Edit::word(at, live)
        }
    }
}

fn header(random: &mut Random, file: &[u8]) -> Edit {
    // Mostly the sizes, for which the file is checked most.
    let at = if random.one_in(3) {
        random.index(IDENTITY / 8) * 8
    } else {
        16 + 8 * random.index(6)
    };
    Edit::word(at, value(random, word(file, at)))
}

fn noise(random: &mut Random, length: usize) -> Edit {
    let any = random.index(length);
    let offset = random.pick(&[0, SLOTS, SLOTS + 256, any]) / 8 * 8;
    let count = random.index(64.min(length - offset));
    Edit {
        offset,
        bytes: (0..count).map(|_| random.number() as u8).collect(),
    }
}
