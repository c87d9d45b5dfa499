//! The nodes of a list, and how one reads them without the lock.
//!
//! A reader goes down from the root: it loads the name of a child, looks at what that is, and asks whether its parent is still in use. As a
//! writer frees a parent before its children, the child was in use as well when it was looked at. What it reads in the end is of the list as
//! it was when it loaded the root: nodes never change.

use core::ops::Range;

use super::core::ListCore;
use crate::{
    error::Damage,
    prim::{AtomicU64, Relaxed},
    slab::heap::{Heap, Ref, View},
};

/// Words of a node, which with its head make 512 bytes.
pub(super) const WORDS: usize = 62;
/// Elements of a leaf.
pub(super) const LEAF: usize = WORDS;
/// Children of a node above the leaves: a name and a count each.
pub(super) const INNER: usize = WORDS / 2;
/// More than any heap needs.
const LEVELS: u32 = 12;

/// How many children a node of this level may have.
pub(super) fn width(level: u32) -> usize {
    if level == 0 { LEAF } else { INNER }
}

/// What an item is, in its info: an element, and how many bytes of its last word are not its own; or a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Info {
    Element {
        spare: usize,
    },
    /// Level 0 is a leaf's.
    Node {
        level: u32,
        children: usize,
    },
}

impl Info {
    pub(super) fn of_element(bytes: usize) -> Self {
        Self::Element {
            spare: bytes.next_multiple_of(8) - bytes,
        }
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Self::Element { spare } => spare as u32,
            Self::Node { level, children } => (children as u32) << 8 | (level + 1) << 3,
        }
    }

    #[inline]
    fn from_bits(bits: u32) -> Option<Self> {
        let (children, level, spare) = (bits >> 8, bits >> 3 & 0x1f, bits & 7);
        match (children, level.checked_sub(1), spare) {
            (0, None, spare) => Some(Self::Element {
                spare: spare as usize,
            }),
            (children @ 1.., Some(level @ 0..LEVELS), 0) => {
                let children = children as usize;
                (children <= width(level)).then_some(Self::Node { level, children })
            }
            _ => None,
        }
    }
}

/// What a node refers to: a node of the level below, or an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: Ref,
    /// Elements in it.
    pub(super) count: u64,
}

/// Why a read came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The list has changed: to be read again.
    Late,
    Damage(Damage),
}

const NO_NODE: Damage = Damage("a node of a list is none");
const NO_ELEMENT: Damage = Damage("an element of a list is none");
const ENDLESS: Damage = Damage("a list refers to more than its memory holds");

/// How much a walk may come to: no more than there is room for. Else nodes that lie, and refer to the same ones again and again, would be
/// walked for ever.
#[derive(Debug)]
pub(super) struct Budget {
    items: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn of(heap: &Heap) -> Self {
        let bytes = heap.geometry().bytes();
        Self {
            items: bytes / 32,
            bytes,
        }
    }

    /// For a node and its children.
    pub(super) fn spend(&mut self, node: &Node<'_>) -> Result<(), Lost> {
        let left = self.items.checked_sub(1 + node.children);
        self.items = left.ok_or(Lost::Damage(ENDLESS))?;
        Ok(())
    }

    fn spend_bytes(&mut self, bytes: usize) -> Result<(), Lost> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or(Lost::Damage(ENDLESS))?;
        Ok(())
    }
}

/// A node that somebody looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    view: View<'a>,
    words: &'a [AtomicU64],
    pub(super) level: u32,
    children: usize,
}

/// What is wrong counts only if the reader is not late.
fn wrong(view: &View<'_>, damage: Damage) -> Lost {
    if view.is_still() {
        Lost::Damage(damage)
    } else {
        Lost::Late
    }
}

impl<'a> Node<'a> {
    #[inline]
    fn of(view: View<'a>) -> Result<Self, Lost> {
        let node = || {
            let Info::Node { level, children } = Info::from_bits(view.info())? else {
                return None;
            };
            Some(Self {
                view,
                words: view.whole().filter(|words| words.len() == WORDS)?,
                level,
                children,
            })
        };
        node().ok_or_else(|| wrong(&view, NO_NODE))
    }

    pub(super) fn name(&self) -> Ref {
        self.view.name()
    }

    /// The child at this place.
    #[inline]
    fn child(&self, at: usize) -> Result<Child, Lost> {
        let word = |at: usize| self.words[at % WORDS].load(Relaxed);
        let (name, count) = match self.level {
            0 => (word(at), 1),
            _ => (word(2 * at), word(2 * at + 1)),
        };
        match Ref::from_bits(name) {
            Some(name) if (1..=u64::from(u32::MAX)).contains(&count) => Ok(Child { name, count }),
            _ => Err(wrong(&self.view, NO_NODE)),
        }
    }

    /// All children, in order.
    pub(super) fn children(&self) -> Result<Vec<Child>, Lost> {
        let all: Result<Vec<_>, _> = (0..self.children).map(|at| self.child(at)).collect();
        if self.view.is_still() {
            all
        } else {
            Err(Lost::Late)
        }
    }

    /// Elements below it.
    #[inline]
    pub(super) fn count(&self) -> Result<u64, Lost> {
        if self.level == 0 {
            return Ok(self.children as u64);
        }
        let mut sum = 0;
        for at in 0..self.children {
            sum += self.child(at)?.count;
        }
        Ok(sum)
    }

    /// The child with this element, and how many elements of it come before.
    #[inline]
    fn find(&self, index: u64) -> Result<(Child, u64), Lost> {
        if self.level == 0 {
            return match usize::try_from(index) {
                Ok(at) if at < self.children => Ok((self.child(at)?, 0)),
                _ => Err(wrong(&self.view, NO_NODE)),
            };
        }
        let mut left = index;
        for at in 0..self.children {
            let child = self.child(at)?;
            if left < child.count {
                return Ok((child, left));
            }
            left -= child.count;
        }
        Err(wrong(&self.view, NO_NODE))
    }
}

impl ListCore {
    /// The root node; `None` if the list is empty.
    #[inline]
    pub(super) fn top(&self) -> Result<Option<Node<'_>>, Lost> {
        let root = self.root();
        let Some(name) = root.name() else {
            return Ok(None);
        };
        let view = self.heap.view(name);
        // Asked after the look, which is an Acquire: if it is still the root, that was the root node.
        if !self.is_root(root) {
            return Err(Lost::Late);
        }
        Node::of(view.ok_or(Lost::Damage(NO_NODE))?).map(Some)
    }

    /// What a child of `parent` is.
    #[inline]
    fn look_at<'a>(&'a self, parent: &Node<'a>, name: Ref) -> Result<View<'a>, Lost> {
        let view = self.heap.view(name);
        if !parent.view.is_still() {
            return Err(Lost::Late);
        }
        view.ok_or(Lost::Damage(NO_NODE))
    }

    /// A node of the level below `parent`.
    #[inline]
    pub(super) fn below<'a>(&'a self, parent: &Node<'a>, child: Child) -> Result<Node<'a>, Lost> {
        let node = Node::of(self.look_at(parent, child.name)?)?;
        if node.level + 1 == parent.level {
            Ok(node)
        } else {
            Err(wrong(&node.view, NO_NODE))
        }
    }

    /// How many elements there are now.
    pub(super) fn len(&self) -> Result<u64, Lost> {
        match self.top()? {
            Some(node) => {
                let count = node.count()?;
                if node.view.is_still() {
                    Ok(count)
                } else {
                    Err(Lost::Late)
                }
            }
            None => Ok(0),
        }
    }

    /// The same for people, who take what there is.
    pub(super) fn count(&self) -> Option<u64> {
        (0..100).find_map(|_| self.len().ok())
    }

    /// Appends the bytes of the element at `index` to `out`; or how many elements there are, if it is not there.
    #[inline]
    pub(super) fn copy_element(
        &self,
        index: u64,
        out: &mut Vec<u8>,
    ) -> Result<Result<(), u64>, Lost> {
        let Some(mut node) = self.top()? else {
            return Ok(Err(0));
        };
        let count = node.count()?;
        if index >= count {
            return if node.view.is_still() {
                Ok(Err(count))
            } else {
                Err(Lost::Late)
            };
        }
        let mut index = index;
        loop {
            let (child, left) = node.find(index)?;
            if node.level == 0 {
                let view = self.look_at(&node, child.name)?;
                return copy_out(&view, self.heap.geometry().bytes(), out).map(Ok);
            }
            node = self.below(&node, child)?;
            index = left;
        }
    }

    /// Calls `visit` on the bytes of each element in `range`, as far as there are any, in order; until it says that this is enough.
    pub(super) fn visit(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(u64, Vec<u8>) -> bool,
    ) -> Result<(), Lost> {
        let Some(node) = self.top()? else {
            return Ok(());
        };
        let mut walk = Walk {
            core: self,
            range,
            budget: Budget::of(&self.heap),
            visit,
        };
        walk.go(node, 0).map(|_| ())
    }

    /// All names that the root refers to, parents first, and whether each is a node's. Nobody changes the list meanwhile.
    pub(super) fn for_each_name(
        &self,
        budget: &mut Budget,
        visit: &mut dyn FnMut(Ref, bool),
    ) -> Result<(), Damage> {
        let walked = match self.top() {
            Ok(Some(node)) => self.names_below(node, budget, visit),
            Ok(None) => Ok(()),
            Err(lost) => Err(lost),
        };
        walked.map_err(|lost| match lost {
            Lost::Damage(damage) => damage,
            Lost::Late => RESTLESS,
        })
    }

    fn names_below(
        &self,
        node: Node<'_>,
        budget: &mut Budget,
        visit: &mut dyn FnMut(Ref, bool),
    ) -> Result<(), Lost> {
        budget.spend(&node)?;
        visit(node.name(), true);
        for child in node.children()? {
            if node.level == 0 {
                visit(child.name, false);
            } else {
                self.names_below(self.below(&node, child)?, budget, visit)?;
            }
        }
        Ok(())
    }
}

/// What is found when nobody may change a list.
pub(super) const RESTLESS: Damage = Damage("a list changes in nobody's hand");

/// Appends an element's bytes to `out`.
#[inline]
fn copy_out(view: &View<'_>, most: usize, out: &mut Vec<u8>) -> Result<(), Lost> {
    let length = match Info::from_bits(view.info()) {
        Some(Info::Element { spare }) => (view.words() * 8).checked_sub(spare),
        _ => None,
    };
    let begin = out.len();
    let is_copied = length.is_some_and(|length| length <= most && view.copy_out(0, length, out));
    if !view.is_still() {
        out.truncate(begin);
        return Err(Lost::Late);
    }
    if is_copied {
        Ok(())
    } else {
        Err(Lost::Damage(NO_ELEMENT))
    }
}

/// One way through a tree.
struct Walk<'a, 'v> {
    core: &'a ListCore,
    range: Range<u64>,
    budget: Budget,
    visit: &'v mut dyn FnMut(u64, Vec<u8>) -> bool,
}

impl<'a> Walk<'a, '_> {
    /// Below `node`, whose first element is the list's `first`. Whether there is more to be visited.
    fn go(&mut self, node: Node<'a>, first: u64) -> Result<bool, Lost> {
        self.budget.spend(&node)?;
        let mut begin = first;
        for child in node.children()? {
            let end = begin + child.count;
            if begin >= self.range.end {
                return Ok(false);
            }
            if end > self.range.start && !self.go_into(&node, child, begin)? {
                return Ok(false);
            }
            begin = end;
        }
        Ok(true)
    }

    fn go_into(&mut self, node: &Node<'a>, child: Child, begin: u64) -> Result<bool, Lost> {
        if node.level > 0 {
            return self.go(self.core.below(node, child)?, begin);
        }
        let view = self.core.look_at(node, child.name)?;
        let mut bytes = Vec::new();
        copy_out(&view, self.core.heap.geometry().bytes(), &mut bytes)?;
        self.budget.spend_bytes(bytes.len())?;
        Ok((self.visit)(begin, bytes))
    }
}
