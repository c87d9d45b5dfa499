//! The words of a heap that say whose something is, and the names of blocks.

use super::classes::{Class, GRAIN};
use crate::object::participant::{OWNER_BITS, Owner};

const STATE_BITS: u32 = 4;
const STATE: u64 = (1 << STATE_BITS) - 1;
const OWNER: u64 = (1 << OWNER_BITS) - 1;
const GENERATION_SHIFT: u32 = STATE_BITS + OWNER_BITS;
/// What stands for the owner of a free block: with the chunk's part of the generation it tells a head from what else may lie there.
const NOBODY: u64 = 0x2b5d;
/// Of a head's generation, what counts the uses of the block; above it is the generation of its chunk.
const USES_BITS: u32 = 22;
const USES: u64 = (1 << USES_BITS) - 1;
const CHUNK_GENERATION: u64 = (1 << (64 - GENERATION_SHIFT - USES_BITS)) - 1;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's.
    Free,
    /// Somebody's, who writes it, or has just published it.
    Owned,
    /// The container refers to it.
    Published,
    /// Somebody is taking it out of the container, or has.
    Claimed,
    /// Nobody's, on its way out of its class.
    Retired,
}

impl State {
    fn number(self) -> u64 {
        // Zeroed memory is no head.
        match self {
            Self::Free => 9,
            Self::Owned => 1,
            Self::Published => 2,
            Self::Claimed => 3,
            Self::Retired => 4,
        }
    }
}

/// The first word of a block: `chunk generation:24 | uses:22 | owner:14 | state:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(pub(super) u64);

impl Head {
    fn new(generation: u64, owner: u64, state: State) -> Self {
        Self(generation << GENERATION_SHIFT | owner << STATE_BITS | state.number())
    }

    /// Of a block in a chunk that begins this generation. Uses begin anywhere, so that names come again late.
    pub(super) fn first(chunk_generation: u64) -> Self {
        let uses = chunk_generation.wrapping_mul(0x9e37) & USES;
        let chunk = chunk_generation & CHUNK_GENERATION;
        Self::new(chunk << USES_BITS | uses, NOBODY, State::Free)
    }

    fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// The part of the generation that names carry.
    #[inline]
    pub(super) fn short_generation(self) -> u16 {
        self.generation() as u16
    }

    #[inline]
    pub(super) fn is(self, state: State) -> bool {
        self.0 & STATE == state.number()
    }

    /// Whether something is in it that a container may refer to.
    #[inline]
    pub(super) fn is_in_use(self) -> bool {
        (1..=3).contains(&(self.0 & STATE))
    }

    /// Whether it is a free block's, in this generation of its chunk.
    #[inline]
    pub(super) fn is_free_in(self, chunk_generation: u64) -> bool {
        self.0 & (OWNER << STATE_BITS | STATE) == NOBODY << STATE_BITS | State::Free.number()
            && self.generation() >> USES_BITS == chunk_generation & CHUNK_GENERATION
    }

    #[inline]
    pub(super) fn is_same_use(self, other: Self) -> bool {
        self.generation() == other.generation()
    }

    pub(super) fn is_owned_by(self, owner: Owner) -> bool {
        self.0 >> STATE_BITS & OWNER == owner.bits()
            && [State::Owned, State::Claimed, State::Retired]
                .iter()
                .any(|state| self.is(*state))
    }

    #[inline]
    pub(super) fn become_of(self, owner: Owner, state: State) -> Self {
        Self::new(self.generation(), owner.bits(), state)
    }

    #[inline]
    pub(super) fn published(self) -> Self {
        Self::new(self.generation(), NOBODY, State::Published)
    }

    /// Free, for the next use.
    #[inline]
    pub(super) fn freed(self) -> Self {
        let generation = self.generation();
        let next = generation & !USES | generation.wrapping_add(1) & USES;
        Self::new(next, NOBODY, State::Free)
    }

    /// Free, as before it was retired.
    pub(super) fn not_retired(self) -> Self {
        Self::new(self.generation(), NOBODY, State::Free)
    }
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkState {
    /// Not allocated.
    Hole,
    /// Allocated, of no class.
    Free,
    /// Somebody divides it into blocks.
    Formatting,
    /// Blocks.
    Used,
    /// Somebody takes its free blocks to make it free as a whole.
    Retiring,
}

/// A chunk's word: `generation:24 | turn:14 | class:8 | owner:14 | state:4`, all zero at first. A generation begins with each division into
/// blocks, a turn each time that somebody tries to take all of them: so who was late, and knew the chunk in another's hand, does not take
/// it for the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkCtl(pub(super) u64);

const CLASS_SHIFT: u32 = STATE_BITS + OWNER_BITS;
const TURN_SHIFT: u32 = CLASS_SHIFT + 8;
const TURN_BITS: u32 = 14;
const TURN: u64 = (1 << TURN_BITS) - 1;
const CHUNK_GENERATION_SHIFT: u32 = TURN_SHIFT + TURN_BITS;

impl ChunkCtl {
    fn new(generation: u64, turn: u64, class: Class, owner: u64, state: u64) -> Self {
        Self(
            generation << CHUNK_GENERATION_SHIFT
                | (turn & TURN) << TURN_SHIFT
                | u64::from(class) << CLASS_SHIFT
                | owner << STATE_BITS
                | state,
        )
    }

    /// `None` for what no correct process writes.
    pub(super) fn state(self) -> Option<ChunkState> {
        match self.0 & STATE {
            0 => Some(ChunkState::Hole),
            1 => Some(ChunkState::Free),
            2 => Some(ChunkState::Formatting),
            3 => Some(ChunkState::Used),
            4 => Some(ChunkState::Retiring),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_used_as(self, class: Class) -> bool {
        self.0 & STATE == 3 && self.class() == class
    }

    pub(super) fn is_owned_by(self, owner: Owner) -> bool {
        self.0 >> STATE_BITS & OWNER == owner.bits()
    }

    #[inline]
    pub(super) fn class(self) -> Class {
        (self.0 >> CLASS_SHIFT) as Class
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> CHUNK_GENERATION_SHIFT
    }

    fn turn(self) -> u64 {
        self.0 >> TURN_SHIFT & TURN
    }

    pub(super) fn hole(self) -> Self {
        Self::new(self.generation(), 0, 0, 0, 0)
    }

    /// Free for a generation that it had not yet.
    pub(super) fn freed(self) -> Self {
        Self::new(self.generation().wrapping_add(1), 0, 0, 0, 1)
    }

    pub(super) fn formatting(self, class: Class, me: Owner) -> Self {
        Self::new(self.generation(), 0, class, me.bits(), 2)
    }

    pub(super) fn used(self) -> Self {
        Self::new(self.generation(), self.turn(), self.class(), 0, 3)
    }

    pub(super) fn retiring(self, me: Owner) -> Self {
        let turn = self.turn().wrapping_add(1);
        Self::new(self.generation(), turn, self.class(), me.bits(), 4)
    }
}

/// Who lets the heap grow or shrink: `turn:50 | owner:14`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth(pub(super) u64);

impl Growth {
    pub(super) fn is_held(self) -> bool {
        self.0 & OWNER != 0
    }

    pub(super) fn is_held_by(self, owner: Owner) -> bool {
        self.0 & OWNER == owner.bits()
    }

    pub(super) fn held(self, me: Owner) -> Self {
        Self((self.0 >> OWNER_BITS).wrapping_add(1) << OWNER_BITS | me.bits())
    }

    pub(super) fn free(self) -> Self {
        Self(self.0 & !OWNER)
    }
}

/// The name of an item, in 48 bits: `generation:16 | block:32`. The block is in grains from the start of the heap.
///
/// It means the item as long as that exists. Later it means nothing, or, after a whole multiple of 65,536 uses of the same block, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ref(u64);

impl Ref {
    /// Bits of the name.
    pub(crate) const BITS: u32 = 48;

    /// What [`Self::bits`] gave; other bits of the word are the caller's. `None` if it names nothing.
    #[inline]
    pub(crate) fn from_bits(word: u64) -> Option<Self> {
        let bits = word & ((1 << Self::BITS) - 1);
        (bits as u32 != 0).then_some(Self(bits))
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn new(block: u32, head: Head) -> Self {
        Self(u64::from(head.short_generation()) << 32 | u64::from(block))
    }

    pub(super) fn block(self) -> u32 {
        self.0 as u32
    }

    /// The index of the block's first word.
    #[inline]
    pub(super) fn word(self) -> usize {
        self.0 as u32 as usize * (GRAIN / 8)
    }

    #[inline]
    pub(super) fn is_of(self, head: Head) -> bool {
        (self.0 >> 32) as u16 == head.short_generation()
    }
}

/// A hint: up to 32 blocks of a chunk that may be free, `chunk:24 | half:8 | blocks:32`. Zero is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot(pub(super) u64);

impl Lot {
    pub(super) fn new(chunk: usize, half: usize, blocks: u32) -> Self {
        Self((chunk as u64) << 40 | (half as u64) << 32 | u64::from(blocks))
    }

    pub(super) fn chunk(self) -> usize {
        (self.0 >> 40) as usize
    }

    pub(super) fn half(self) -> usize {
        (self.0 >> 32 & 0xff) as usize
    }

    pub(super) fn blocks(self) -> u32 {
        self.0 as u32
    }

    /// The first block's number in the chunk, and the rest.
    pub(super) fn split(self) -> Option<(usize, Self)> {
        let blocks = self.blocks();
        if blocks == 0 {
            return None;
        }
        let first = blocks.trailing_zeros();
        let rest = blocks & (blocks - 1);
        let rest = Self(self.0 & !u64::from(u32::MAX) | u64::from(rest));
        Some((self.half() * 32 + first as usize, rest))
    }
}

/// The second word of an item's first block: `words:33 | info:29 | kind:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Title(pub(super) u64);

/// Bits of an item that are its container's.
pub(crate) const INFO_BITS: u32 = 29;
const INFO: u64 = (1 << INFO_BITS) - 1;
const WORDS_SHIFT: u32 = INFO_BITS + 2;

/// What part of an item a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// The first of several.
    Root,
    /// Another.
    Member,
}

impl Title {
    pub(super) const MOST_WORDS: usize = (1 << (64 - WORDS_SHIFT)) - 1;

    pub(super) fn new(words: usize, info: u32, is_whole: bool) -> Self {
        let kind = if is_whole { 1 } else { 2 };
        Self((words as u64) << WORDS_SHIFT | (u64::from(info) & INFO) << 2 | kind)
    }

    /// Of a block that is not the first: it names that.
    pub(super) fn member(root: Ref) -> Self {
        Self(root.bits() << 2 | 3)
    }

    #[inline]
    pub(super) fn part(self) -> Option<Part> {
        match self.0 & 3 {
            1 => Some(Part::Whole),
            2 => Some(Part::Root),
            3 => Some(Part::Member),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn words(self) -> usize {
        (self.0 >> WORDS_SHIFT) as usize
    }

    #[inline]
    pub(super) fn info(self) -> u32 {
        (self.0 >> 2 & INFO) as u32
    }

    pub(super) fn root(self) -> Option<Ref> {
        Ref::from_bits(self.0 >> 2)
    }
}

/// The third word of a block of an item that has several: `grains:16 | next:48`. How much of the item it has, and where it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link(pub(super) u64);

impl Link {
    /// `words` is even.
    pub(super) fn new(words: usize, next: Option<Ref>) -> Self {
        Self((words as u64 / 2) << Ref::BITS | next.map_or(0, Ref::bits))
    }

    pub(super) fn words(self) -> usize {
        (self.0 >> Ref::BITS) as usize * 2
    }

    pub(super) fn next(self) -> Option<Ref> {
        Ref::from_bits(self.0)
    }
}
