//! Reading an item without taking hold of it: look, copy, and ask whether it was still there.

use super::{
    Heap,
    item::{PART_HEADER, WHOLE_HEADER, words_of},
    words::{Head, Link, Part, Ref, State, Title},
};
use crate::{
    os::copy,
    prim::{self, Acquire, AtomicU64, Relaxed},
};

/// An item that somebody looks at. What is read in it counts only if [`Self::is_still`] says so afterwards.
///
/// What is not part of its caller takes it by value: so it need not be in memory for the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    heap: &'a Heap,
    name: Ref,
    head: Head,
    word: &'a AtomicU64,
    title: Title,
}

impl Heap {
    /// What `name` means now, if it means anything.
    #[inline(always)]
    pub(crate) fn view(&self, name: Ref) -> Option<View<'_>> {
        let block = self.words.get(name.word()..name.word() + 2)?;
        let head = Head(block[0].load(Acquire)); // O2
        let is_there = head.is_in_use() && name.is_of(head);
        is_there.then(|| View {
            heap: self,
            name,
            head,
            word: &block[0],
            title: Title(block[1].load(Relaxed)),
        })
    }
}

impl Heap {
    /// The words of an item that is one block, whatever its block holds by now. What is read there counts only if the caller knows that the
    /// item was still there.
    #[inline]
    pub(crate) fn words_of_block(&self, name: Ref, words: usize) -> Option<&[AtomicU64]> {
        let start = name.word() + WHOLE_HEADER / 8;
        self.words.get(start..start + words)
    }
}

impl<'a> View<'a> {
    #[inline]
    pub(crate) fn name(&self) -> Ref {
        self.name
    }

    pub(super) fn head_is(&self, state: State) -> bool {
        self.head.is(state)
    }

    /// The container's bits.
    #[inline]
    pub(crate) fn info(&self) -> u32 {
        self.title.info()
    }

    /// Words in the item, as it says.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.title.words()
    }

    /// The words of an item that is one block; `None` if it is more, or lies.
    #[inline(always)]
    pub(crate) fn whole(&self) -> Option<&'a [AtomicU64]> {
        if self.title.part() != Some(Part::Whole) {
            return None;
        }
        let start = self.name.word() + WHOLE_HEADER / 8;
        let end = start.checked_add(self.title.words())?;
        self.heap.words.get(start..end)
    }

    /// The first of them.
    #[inline]
    pub(crate) fn first_word(&self) -> u64 {
        let header = match self.title.part() {
            Some(Part::Whole) => WHOLE_HEADER,
            _ => PART_HEADER,
        };
        let word = self.heap.words.get(self.name.word() + header / 8);
        word.map_or(0, |word| word.load(Relaxed))
    }

    /// Appends `bytes` bytes from word `start` on to `out`. Whether there were so many.
    pub(crate) fn copy_out(self, start: usize, bytes: usize, out: &mut Vec<u8>) -> bool {
        match self.whole() {
            Some(words) => words
                .get(start..)
                .is_some_and(|words| copy::out_of_shared(words, bytes, out)),
            None => self.copy_out_long(start, bytes, out),
        }
    }

    #[cold]
    fn copy_out_long(self, start: usize, bytes: usize, out: &mut Vec<u8>) -> bool {
        // No item is longer than the heap, whatever it says.
        let most = self.words().min(self.heap.words.len());
        let end = start.checked_add(words_of(bytes));
        if self.title.part() != Some(Part::Root) || end.is_none_or(|end| end > most) {
            return false;
        }
        let (mut skip, mut left) = (start, bytes);
        let mut next = Some(self.name);
        while left > 0 {
            let Some((words, link)) = next.and_then(|name| self.piece(name)) else {
                return false;
            };
            let from = skip.min(words.len());
            skip -= from;
            let piece = left.min((words.len() - from) * 8);
            copy::out_of_shared(&words[from..], piece, out);
            left -= piece;
            next = link.next();
            if words.is_empty() {
                return false; // else a lying chain could go in circles
            }
        }
        true
    }

    /// The words in one block of several, and where it goes on.
    fn piece(self, name: Ref) -> Option<(&'a [AtomicU64], Link)> {
        let link = self.heap.link(name.block())?;
        let start = name.word() + PART_HEADER / 8;
        let words = self.heap.words.get(start..start + link.words())?;
        Some((words, link))
    }

    /// Whether `bytes` stand in the item from word `start` on.
    #[inline(always)]
    pub(crate) fn has_at(&self, start: usize, bytes: &[u8]) -> bool {
        match self.whole() {
            Some(words) => words
                .get(start..)
                .is_some_and(|words| copy::is_equal(words, bytes)),
            None => self.has_at_long(start, bytes),
        }
    }

    #[cold]
    fn has_at_long(self, start: usize, bytes: &[u8]) -> bool {
        let mut there = Vec::new();
        self.copy_out(start, bytes.len(), &mut there) && there == bytes
    }

    /// Whether all that was read in the item so far was the item.
    #[inline(always)]
    pub(crate) fn is_still(&self) -> bool {
        prim::acquire_fence(); // O2
        self.head.is_same_use(Head(self.word.load(Relaxed)))
    }
}
