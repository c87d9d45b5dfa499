//! Items: made, published, claimed and freed as a whole, of however many blocks.

use super::{
    AllocError, Heap,
    alloc::Block,
    words::{Head, Link, Part, Ref, State, Title},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    os::copy,
    prim::{AtomicU64, Relaxed, Release},
};

/// Bytes of an item's block that are not its words: of one that is all of it, and of one of several.
pub(super) const WHOLE_HEADER: usize = 16;
pub(super) const PART_HEADER: usize = 32;

/// An item that the caller owns or has claimed.
#[must_use = "the memory is lost until this process dies"]
#[derive(Debug)]
pub(crate) struct Item {
    root: Block,
    members: Vec<Block>,
}

impl Item {
    /// The name under which a container refers to it.
    #[inline]
    pub(crate) fn name(&self) -> Ref {
        Ref::new(self.root.index, self.root.head)
    }
}

const NOT_PUBLISHED: Damage = Damage("what is referred to in the heap is not in use");
pub(super) const BROKEN: Damage = Damage("an item of the heap is not linked as it should be");

/// Words that `bytes` bytes take.
pub(crate) fn words_of(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

impl Heap {
    /// Makes an item of `parts`, each of which begins on a word, with [`super::INFO_BITS`] bits of the container's. All or nothing.
    #[inline]
    pub(crate) fn store(&self, me: Owner, info: u32, parts: &[&[u8]]) -> Result<Item, AllocError> {
        let words: usize = parts.iter().map(|part| words_of(part.len())).sum();
        if words * 8 + WHOLE_HEADER > self.classes.largest_part() {
            return self.store_long(me, info, parts, words);
        }
        let (item, room) = self.one_block(me, info, words)?;
        let mut at = 0;
        for part in parts {
            copy::into_shared(room.get(at..).unwrap_or_default(), part);
            at += words_of(part.len());
        }
        Ok(item)
    }

    /// Makes an item of `words` words of one block, which are zero.
    pub(crate) fn blank(
        &self,
        me: Owner,
        info: u32,
        words: usize,
    ) -> Result<(Item, &[AtomicU64]), AllocError> {
        let (item, room) = self.one_block(me, info, words)?;
        for word in room {
            word.store(0, Relaxed);
        }
        Ok((item, room))
    }

    #[inline]
    fn one_block(
        &self,
        me: Owner,
        info: u32,
        words: usize,
    ) -> Result<(Item, &[AtomicU64]), AllocError> {
        let class = self.classes.fitting(words * 8 + WHOLE_HEADER);
        let root = self.alloc(me, class.ok_or(AllocError::TooLarge)?)?;
        let start = root.word() + WHOLE_HEADER / 8;
        self.words[root.word() + 1].store(Title::new(words, info, true).0, Relaxed);
        let room = self.words.get(start..start + words).unwrap_or_default();
        let members = Vec::new();
        Ok((Item { root, members }, room))
    }

    #[cold]
    fn store_long(
        &self,
        me: Owner,
        info: u32,
        parts: &[&[u8]],
        words: usize,
    ) -> Result<Item, AllocError> {
        if words > Title::MOST_WORDS || words * 8 > self.geometry.bytes() {
            return Err(AllocError::TooLarge);
        }
        let shares = self.shares(words);
        let mut blocks: Vec<Block> = Vec::with_capacity(shares.len());
        for share in &shares {
            let class = self.classes.fitting(share * 8 + PART_HEADER);
            let class = class.ok_or(AllocError::TooLarge)?;
            match self.alloc(me, class) {
                Ok(block) => blocks.push(block),
                Err(e) => {
                    for block in blocks {
                        self.free(me, block)?;
                    }
                    return Err(e);
                }
            }
        }
        let root = Ref::new(blocks[0].index, blocks[0].head);
        for (at, (block, share)) in blocks.iter().zip(&shares).enumerate() {
            let title = match at {
                0 => Title::new(words, info, false),
                _ => Title::member(root),
            };
            let next = blocks.get(at + 1).map(|b| Ref::new(b.index, b.head));
            self.words[block.word() + 1].store(title.0, Relaxed);
            self.words[block.word() + 2].store(Link::new(*share, next).0, Relaxed);
        }
        self.fill(&blocks, &shares, parts);
        let members = blocks.split_off(1);
        Ok(Item {
            root: blocks[0],
            members,
        })
    }

    /// How many words each block of a long item has: whole chunks, and a rest that wastes little.
    fn shares(&self, words: usize) -> Vec<usize> {
        let most = (self.classes.largest() - PART_HEADER) / 16 * 2;
        let half = (self.classes.largest_part() - PART_HEADER) / 16 * 2;
        let mut shares = vec![most; words / most];
        let rest = words % most;
        // Three quarters of a chunk are better off in one.
        if rest > half && rest < most / 4 * 3 {
            shares.extend([half, (rest - half).next_multiple_of(2)]);
        } else if rest > 0 {
            shares.push(rest.next_multiple_of(2));
        }
        shares
    }

    fn fill(&self, blocks: &[Block], shares: &[usize], parts: &[&[u8]]) {
        let mut places = blocks.iter().zip(shares).map(|(block, share)| {
            let start = block.word() + PART_HEADER / 8;
            self.words.get(start..start + share).unwrap_or_default()
        });
        let mut room = places.next().unwrap_or_default();
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                if room.is_empty() {
                    room = places.next().unwrap_or_default();
                    if room.is_empty() {
                        return; // there are as many places as the parts need
                    }
                }
                let (now, later) = rest.split_at(rest.len().min(room.len() * 8));
                copy::into_shared(room, now);
                room = &room[words_of(now.len())..];
                rest = later;
            }
        }
    }

    /// Says that the container refers to the item now (I2).
    #[inline]
    pub(crate) fn publish(&self, item: &Item) {
        for block in item.members.iter().rev() {
            self.publish_block(*block);
        }
        self.publish_block(item.root);
    }

    #[inline]
    fn publish_block(&self, block: Block) {
        if let Some(word) = self.words.get(block.word()) {
            word.store(block.head.published().0, Release); // O4
        }
    }

    /// Takes hold of an item that the container refers to, and that only the caller may have it stop referring to.
    #[inline]
    pub(crate) fn claim(&self, me: Owner, name: Ref) -> Result<Item, Damage> {
        let (root, title) = self.claim_block(me, name)?;
        let mut members = Vec::new();
        match title.part() {
            Some(Part::Whole) => {}
            Some(Part::Root) => members = self.claim_members(me, root, title.words())?,
            _ => return Err(NOT_PUBLISHED),
        }
        Ok(Item { root, members })
    }

    #[inline]
    fn claim_block(&self, me: Owner, name: Ref) -> Result<(Block, Title), Damage> {
        let word = self.words.get(name.word()).ok_or(NOT_PUBLISHED)?;
        let found = Head(word.load(Relaxed));
        if !found.is(State::Published) || !name.is_of(found) {
            return Err(NOT_PUBLISHED);
        }
        let head = found.become_of(me, State::Claimed);
        // A store: nobody else changes the head of what the caller alone may take out.
        word.store(head.0, Release); // O4
        let index = name.block();
        let title = self.words.get(name.word() + 1).ok_or(NOT_PUBLISHED)?;
        Ok((Block { index, head }, Title(title.load(Relaxed))))
    }

    #[cold]
    fn claim_members(&self, me: Owner, root: Block, words: usize) -> Result<Vec<Block>, Damage> {
        let own = Ref::new(root.index, root.head);
        let mut members = Vec::new();
        let mut link = self.link(root.index).ok_or(BROKEN)?;
        let mut left = words;
        while let Some(next) = link.next() {
            // A block that was claimed is not claimed again: so no chain goes in circles.
            left = left.checked_sub(link.words()).ok_or(BROKEN)?;
            let (block, title) = self.claim_block(me, next)?;
            if title.part() != Some(Part::Member) || title.root() != Some(own) {
                return Err(BROKEN);
            }
            members.push(block);
            link = self.link(block.index).ok_or(BROKEN)?;
        }
        Ok(members)
    }

    pub(super) fn link(&self, index: u32) -> Option<Link> {
        let word = index as usize * 2 + 2;
        Some(Link(self.words.get(word)?.load(Relaxed)))
    }

    /// Gives an item's memory back. The container does not refer to it any more, or never did.
    #[inline]
    pub(crate) fn discard(&self, me: Owner, item: Item) -> Result<(), Damage> {
        self.free(me, item.root)?; // first, by I3
        for block in item.members {
            self.free(me, block)?;
        }
        Ok(())
    }

    /// Bytes of blocks that are in use, and bytes of chunks that are allocated. Takes time in proportion to the latter.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let (mut used, mut allocated) = (0, 0);
        for chunk in 0..self.geometry.chunks {
            let Some((ctl, size)) = self.divided(chunk, &mut allocated) else {
                continue;
            };
            let is_used = |head: &&AtomicU64| {
                !Head(head.load(Relaxed)).is_free_in(ctl.generation()) // a count, of no moment
            };
            used += size * self.heads(chunk, size).filter(is_used).count();
        }
        (used, allocated)
    }
}
