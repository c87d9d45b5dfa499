//! The nodes of a list, and how one reads them without the lock.
//!
//! A reader goes down from the root: it loads the name of a child, looks at what that is, and asks whether its parent is still in use. As a
//! writer frees a parent before its children, the child was in use as well when it was looked at. What it reads in the end is of the list as
//! it was when it loaded the root: nodes never change.

use super::core::ListCore;
use crate::{
    error::Damage,
    prim::{AtomicU64, Relaxed},
    slab::heap::{Ref, View},
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

/// A node that somebody looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    view: View<'a>,
    words: &'a [AtomicU64],
    pub(super) level: u32,
    pub(super) children: usize,
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
    pub(super) fn look_at<'a>(&'a self, parent: &Node<'a>, name: Ref) -> Result<View<'a>, Lost> {
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
}

/// What is found when nobody may change a list.
pub(super) const RESTLESS: Damage = Damage("a list changes in nobody's hand");

/// Appends an element's bytes to `out`.
#[inline]
pub(super) fn copy_out(view: &View<'_>, most: usize, out: &mut Vec<u8>) -> Result<(), Lost> {
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
