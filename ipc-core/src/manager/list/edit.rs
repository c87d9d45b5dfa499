//! Changing a list: under its lock, and committed by one store of the root.
//!
//! In this order: new nodes are made; what goes is claimed; the root is stored; what is new is published; what went is freed. Whoever dies
//! on the way has the lock, so the tree stays as the root says until a sweep has asked it which of these items it refers to.

use super::{
    core::{ListCore, Root},
    draft::{Draft, Part, Splice},
    tree::{Child, Info, Lost, RESTLESS, WORDS},
};
use crate::{
    error::Damage,
    object::participant::Owner,
    slab::heap::{AllocError, Item, Ref},
};

/// Why a change was not made. The list is what it was.
#[derive(Debug)]
pub(super) enum Failure {
    Full { needed: u64, available: u64 },
    Damage(Damage),
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Damage(damage) => Self::Damage(damage),
            Lost::Late => Self::Damage(RESTLESS), // under the lock
        }
    }
}

/// Makes an item, waiting while somebody lets the heap grow.
pub(super) type Store<'a> = &'a dyn Fn(Info, &[u8]) -> Result<Item, AllocError>;

/// Who has the lock, and how it makes items.
pub(super) struct Editor<'a> {
    pub(super) core: &'a ListCore,
    pub(super) me: Owner,
    pub(super) store: Store<'a>,
}

impl Editor<'_> {
    /// Replaces some elements by others, which the caller owns, and gives up here. `None` for the caller's own sake is an error.
    pub(super) fn splice(
        &self,
        range: core::ops::Range<u64>,
        with: Vec<Item>,
    ) -> Result<(), (Failure, Vec<Item>)> {
        let takes_away = range.end - range.start > with.len() as u64;
        let draft = |merges| {
            let with = with.iter().map(Item::name).collect();
            let range = range.clone();
            Draft::spliced(
                self.core,
                Splice {
                    range,
                    with,
                    merges,
                },
            )
        };
        let attempt = |merges| {
            let draft = draft(merges)?;
            let made = self.make(&draft, !takes_away)?;
            Ok((draft, made))
        };
        let mut prepared = attempt(takes_away);
        if takes_away && matches!(prepared, Err(Failure::Full { .. })) {
            prepared = attempt(false); // with what a full list keeps for this
        }
        match prepared {
            Ok((draft, made)) => self
                .commit(draft, made, with)
                .map_err(|damage| (damage.into(), Vec::new())),
            Err(failure) => Err((failure, with)),
        }
    }

    /// Brings the elements into another order.
    pub(super) fn reorder(&self, elements: Vec<Ref>, nodes: Vec<Ref>) -> Result<(), Failure> {
        let draft = Draft::reordered(elements, nodes);
        let made = self.make(&draft, false)?;
        Ok(self.commit(draft, made, Vec::new())?)
    }

    /// Makes the draft's nodes. With `keeps_room`, only if there is memory left in the end to take an element away again.
    fn make(&self, draft: &Draft, keeps_room: bool) -> Result<Made, Failure> {
        let mut made = Made {
            root: None,
            items: Vec::new(),
        };
        let Some((root, level)) = &draft.root else {
            return Ok(made);
        };
        let mut result = self.make_part(root, *level, &mut made.items);
        if result.is_ok() && keeps_room {
            let begin = made.items.len();
            let room = (0..=*level).try_for_each(|_| {
                made.items.push(self.make_node(*level, &[])?);
                Ok(())
            });
            let spare = made.items.split_off(begin);
            self.discard(spare)?;
            result = room.and(result);
        }
        match result {
            Ok(child) => {
                made.root = Some(child.name);
                Ok(made)
            }
            Err(e) => {
                self.discard(made.items)?;
                Err(match e {
                    AllocError::Full { needed, available } => Failure::Full { needed, available },
                    AllocError::Damage(damage) => Failure::Damage(damage),
                    AllocError::TooLarge | AllocError::Busy => Failure::Damage(NO_ROOM),
                })
            }
        }
    }

    fn make_part(
        &self,
        part: &Part,
        level: u32,
        items: &mut Vec<Item>,
    ) -> Result<Child, AllocError> {
        let parts = match part {
            Part::Kept(child) => return Ok(*child),
            Part::Made(parts) => parts,
        };
        let children: Result<Vec<Child>, _> = parts
            .iter()
            .map(|part| self.make_part(part, level.saturating_sub(1), items))
            .collect();
        let item = self.make_node(level, &children?)?;
        let name = item.name();
        items.push(item);
        Ok(Child {
            name,
            count: part.count(),
        })
    }

    fn make_node(&self, level: u32, children: &[Child]) -> Result<Item, AllocError> {
        let mut words = [0u64; WORDS];
        let stride = if level == 0 { 1 } else { 2 };
        for (room, child) in words.chunks_exact_mut(stride).zip(children) {
            room[0] = child.name.bits();
            if let Some(count) = room.get_mut(1) {
                *count = child.count;
            }
        }
        let info = Info::Node {
            level,
            children: children.len(),
        };
        (self.store)(info, bytemuck::cast_slice(&words))
    }

    /// Makes the draft the list.
    fn commit(&self, draft: Draft, made: Made, with: Vec<Item>) -> Result<(), Damage> {
        let Self { core, me, .. } = *self;
        let heap = &core.heap;
        let claim = |name: &Ref| heap.claim(me, *name);
        let gone: Result<Vec<Item>, _> = draft
            .nodes
            .iter()
            .chain(&draft.elements)
            .map(claim)
            .collect();
        let gone = gone?; // what was claimed stays so: the list is damaged
        let root: Root = core.root();
        core.set_root(root.next(made.root));
        for item in made.items.iter().chain(&with) {
            heap.publish(item);
        }
        self.discard(gone)
    }

    /// Frees items that the list does not refer to.
    pub(super) fn discard(&self, items: Vec<Item>) -> Result<(), Damage> {
        items
            .into_iter()
            .try_for_each(|item| self.core.heap.discard(self.me, item))
    }
}

const NO_ROOM: Damage = Damage("a list's heap has no blocks of its nodes' size");

/// New nodes.
struct Made {
    root: Option<Ref>,
    items: Vec<Item>,
}
