//! Going through a list: all of it, or a range.

use core::ops::Range;

use super::{
    core::ListCore,
    tree::{Child, Lost, Node, RESTLESS, copy_out},
};
use crate::{
    error::Damage,
    slab::heap::{Heap, Ref},
};

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

impl ListCore {
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
