//! A change of a list, thought out in private memory: which nodes are to be made, and which nodes and elements go.
//!
//! Every change is one splice: the elements in a range are replaced by others. Nodes outside of the path to them stay as they are, and are
//! shared by the old tree and the new one.

use core::ops::Range;

use super::{
    core::ListCore,
    tree::{Child, Lost, Node, width},
    walk::Budget,
};
use crate::slab::heap::Ref;

/// A node with fewer children than its width over this is put together with its neighbour, where a splice takes elements away.
const LEAST_SHARE: usize = 4;

/// An element or a node of the new tree.
#[derive(Debug)]
pub(super) enum Part {
    /// It is there.
    Kept(Child),
    /// It is to be made of these.
    Made(Vec<Part>),
}

impl Part {
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Kept(child) => child.count,
            Self::Made(parts) => parts.iter().map(Self::count).sum(),
        }
    }
}

/// The new tree, and what of the old one it does not need.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The new root, with its level; none for an empty list.
    pub(super) root: Option<(Part, u32)>,
    /// In the order in which they are to be freed: parents first.
    pub(super) nodes: Vec<Ref>,
    pub(super) elements: Vec<Ref>,
}

/// What a splice does.
#[derive(Debug)]
pub(super) struct Splice {
    pub(super) range: Range<u64>,
    /// Names of elements.
    pub(super) with: Vec<Ref>,
    /// Whether nodes that become small are put together. It takes more memory at first.
    pub(super) merges: bool,
}

fn element(name: Ref) -> Part {
    Part::Kept(Child { name, count: 1 })
}

/// Divides the children of one node, or of more, into as many nodes as they need.
fn pack(parts: Vec<Part>, level: u32, fills_up: bool) -> Vec<Part> {
    let nodes = parts.len().div_ceil(width(level));
    // What grows at its end is packed tight; else there is room for the next insertion.
    let each = if fills_up {
        width(level)
    } else {
        parts.len().div_ceil(nodes.max(1))
    };
    let mut rest = parts.into_iter();
    (0..nodes)
        .map(|_| Part::Made(rest.by_ref().take(each).collect()))
        .collect()
}

/// A tree over these parts of a level.
fn tower(parts: Vec<Part>, level: u32, fills_up: bool) -> Option<(Part, u32)> {
    let (mut parts, mut level) = (pack(parts, level, fills_up), level);
    while parts.len() > 1 {
        level += 1;
        parts = pack(parts, level, fills_up);
    }
    let mut root = parts.pop()?;
    // A root with one child is that child.
    while level > 0 {
        match root {
            Part::Made(mut children) if children.len() == 1 => {
                root = children.pop()?;
                level -= 1;
            }
            _ => break,
        }
    }
    Some((root, level))
}

impl Draft {
    /// A list of elements that are there, in another order. The old nodes go.
    pub(super) fn reordered(elements: Vec<Ref>, nodes: Vec<Ref>) -> Self {
        Self {
            root: tower(elements.into_iter().map(element).collect(), 0, true),
            nodes,
            elements: Vec::new(),
        }
    }

    /// The list after a splice. The range is within the list, and the caller has the lock.
    pub(super) fn spliced(core: &ListCore, splice: Splice) -> Result<Self, Lost> {
        let mut draft = Self::default();
        let with: Vec<Part> = splice.with.iter().copied().map(element).collect();
        let Some(top) = core.top()? else {
            draft.root = tower(with, 0, true);
            return Ok(draft);
        };
        let fills_up = splice.range.start == top.count()?;
        let mut work = Work {
            budget: Budget::of(&core.heap),
            core,
            draft: &mut draft,
            range: splice.range,
            with: (!with.is_empty()).then_some(with),
            merges: splice.merges,
            fills_up,
        };
        let parts = work.splice(&top, 0)?;
        draft.root = tower(parts, top.level, fills_up);
        Ok(draft)
    }
}

struct Work<'a, 'd> {
    budget: Budget,
    core: &'a ListCore,
    draft: &'d mut Draft,
    range: Range<u64>,
    /// Until they have found their place.
    with: Option<Vec<Part>>,
    merges: bool,
    fills_up: bool,
}

impl<'a> Work<'a, '_> {
    /// What the children of `node`, whose first element is the list's `first`, become. The node itself goes.
    fn splice(&mut self, node: &Node<'a>, first: u64) -> Result<Vec<Part>, Lost> {
        self.budget.spend(node)?;
        self.draft.nodes.push(node.name());
        let children = node.children()?;
        let mut parts = Vec::with_capacity(children.len() + 1);
        let mut begin = first;
        for child in children {
            let end = begin + child.count;
            let is_replaced = begin < self.range.end && end > self.range.start;
            // Elements to be put behind the last one of a node belong to it.
            let is_place = self.with.is_some() && self.range.start <= end;
            match node.level {
                0 => {
                    if is_place && self.range.start <= begin {
                        parts.append(&mut self.with.take().unwrap_or_default());
                    }
                    if is_replaced {
                        self.draft.elements.push(child.name);
                    } else {
                        parts.push(Part::Kept(child));
                    }
                    if self.range.start == end {
                        parts.append(&mut self.with.take().unwrap_or_default());
                    }
                }
                level if is_replaced || is_place => {
                    let below = self.core.below(node, child)?;
                    let inner = self.splice(&below, begin)?;
                    parts.extend(pack(inner, level - 1, self.fills_up));
                }
                _ => parts.push(Part::Kept(child)),
            }
            begin = end;
        }
        if self.merges && node.level > 0 {
            parts = self.merged(node, parts)?;
        }
        Ok(parts)
    }

    /// The same nodes, but that small ones that are new are put together with a neighbour.
    fn merged(&mut self, parent: &Node<'a>, parts: Vec<Part>) -> Result<Vec<Part>, Lost> {
        let level = parent.level - 1;
        let is_small = |part: &Part| match part {
            Part::Made(children) => children.len() < width(level) / LEAST_SHARE,
            Part::Kept(_) => false,
        };
        let mut merged: Vec<Part> = Vec::with_capacity(parts.len());
        for part in parts {
            let is_pair = |last: &Part| is_small(last) || is_small(&part);
            match merged.pop() {
                Some(last) if is_pair(&last) => {
                    let mut children = self.opened(parent, last)?;
                    children.append(&mut self.opened(parent, part)?);
                    merged.extend(pack(children, level, false));
                }
                last => {
                    merged.extend(last);
                    merged.push(part);
                }
            }
        }
        Ok(merged)
    }

    /// The children of a node, which goes if it is there.
    fn opened(&mut self, parent: &Node<'a>, part: Part) -> Result<Vec<Part>, Lost> {
        match part {
            Part::Made(children) => Ok(children),
            Part::Kept(child) => {
                let node = self.core.below(parent, child)?;
                self.draft.nodes.push(node.name());
                Ok(node.children()?.into_iter().map(Part::Kept).collect())
            }
        }
    }
}
