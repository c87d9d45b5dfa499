//! One process's use of a list: reading until it is right, and changing under the lock.

use std::sync::Arc;

use super::{
    core::ListCore,
    edit::{Editor, Failure},
    errors::Refused,
    tree::{Info, Lost, RESTLESS},
    walk::Budget,
};
use crate::{
    error::{Damage, Error, Result},
    message::Message,
    object::{lifetime::Object, participant::Owner, wait::WaitStrategy},
    os::fork::Process,
    prim,
    slab::heap::{AllocError, Item, Ref},
    sync::{Lock, LockGuard},
};

/// How often a reader looks at a list that changes all the time, before it keeps the writers out.
const LOOKS: u32 = 20;

/// What all handles of a process on a list share.
#[derive(Debug, Clone)]
pub(super) struct UseOf {
    pub(super) lock: Lock,
    pub(super) core: Arc<ListCore>,
}

impl UseOf {
    pub(super) fn new(object: Arc<Object>, core: Arc<ListCore>, wait: WaitStrategy) -> Self {
        Self {
            lock: Lock::within(object, Arc::clone(&core.lock), wait),
            core,
        }
    }

    pub(super) fn object(&self) -> &Arc<Object> {
        &self.lock.member().object
    }

    #[inline]
    fn me(&self) -> Result<Owner> {
        let place = self.lock.member().place_of(Process::this());
        place.map_err(|e| *e)
    }

    #[inline]
    fn sound<R>(&self, done: R) -> Result<R> {
        match self.lock.member().check_whole() {
            Ok(()) => Ok(done),
            Err(e) => Err(*e),
        }
    }

    #[cold]
    fn damaged(&self, damage: Damage) -> Error {
        match self.sound(()) {
            Ok(()) => *self.lock.member().remember(damage),
            Err(e) => e,
        }
    }

    #[cold]
    pub(super) fn out_of_range(&self, index: usize, len: u64) -> Error {
        Error::OutOfRange {
            object: self.object().label().to_owned(),
            index,
            len: len as usize,
        }
    }

    #[cold]
    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Damage(damage) => self.damaged(damage),
            Failure::Full { needed, available } => Error::NoSpace {
                object: self.object().label().to_owned(),
                needed,
                available,
            },
        }
    }

    /// Reads without the lock, again when it was late; and in the end with it.
    #[inline]
    pub(super) fn read<R>(&self, mut look: impl FnMut(&ListCore) -> Result<R, Lost>) -> Result<R> {
        self.me()?;
        for _ in 0..LOOKS {
            match look(&self.core) {
                Ok(read) => return self.sound(read),
                Err(Lost::Late) => prim::spin_loop(),
                Err(Lost::Damage(damage)) => return Err(self.damaged(damage)),
            }
        }
        let _held = self.hold()?;
        self.read_held(look)
    }

    /// The same, for who has the lock.
    pub(super) fn read_held<R>(
        &self,
        mut look: impl FnMut(&ListCore) -> Result<R, Lost>,
    ) -> Result<R> {
        look(&self.core).map_err(|lost| match lost {
            Lost::Late => self.damaged(RESTLESS),
            Lost::Damage(damage) => self.damaged(damage),
        })
    }

    /// Keeps other writers out. What the last one left when it died is in order by now.
    pub(super) fn hold(&self) -> Result<LockGuard<'_>> {
        let mut guard = self.lock.acquire()?;
        guard.mark_consistent();
        Ok(guard)
    }

    fn with_editor<R>(&self, me: Owner, edit: impl FnOnce(&Editor<'_>) -> R) -> R {
        let store = |info: Info, bytes: &[u8]| self.store_bytes(me, info, bytes);
        edit(&Editor {
            core: &self.core,
            me,
            store: &store,
        })
    }

    /// Makes an item; waits while somebody lets the heap grow.
    fn store_bytes(&self, me: Owner, info: Info, bytes: &[u8]) -> Result<Item, AllocError> {
        let heap = &self.core.heap;
        match heap.store(me, info.bits(), &[bytes]) {
            Err(AllocError::Busy) => {}
            done => return done,
        }
        let attempt = || match heap.store(me, info.bits(), &[bytes]) {
            Err(AllocError::Busy) => None,
            done => Some(Ok(done)),
        };
        match self.lock.wait_on(heap.growth(), attempt) {
            Ok(done) => done,
            Err(_) => Err(AllocError::Damage(NO_GROWTH)),
        }
    }

    /// Encodes a value and makes an element of it, which nothing refers to yet.
    pub(super) fn encode<T: Message>(&self, value: &T) -> Result<Item, Refused> {
        let me = self.me()?;
        let most = self.core.heap.geometry().bytes();
        let made = value.encode(|bytes| {
            let made = self.store_bytes(me, Info::of_element(bytes.len()), bytes);
            (made, bytes.len())
        });
        match made.map_err(Refused::Encode)? {
            (Ok(item), _) => Ok(item),
            (Err(AllocError::Full { .. }), len) if len > most => {
                Err(Refused::TooLarge { len, max: most })
            }
            (Err(AllocError::TooLarge), len) => Err(Refused::TooLarge { len, max: most }),
            (Err(AllocError::Full { needed, available }), _) => {
                Err(self.failed(Failure::Full { needed, available }).into())
            }
            (Err(AllocError::Damage(damage)), _) => Err(self.damaged(damage).into()),
            (Err(AllocError::Busy), _) => Err(self.damaged(NO_GROWTH).into()),
        }
    }

    /// Replaces what `range` says of the list's length by these elements, which are freed if that cannot be.
    pub(super) fn splice(
        &self,
        with: Vec<Item>,
        range: impl FnOnce(u64) -> Result<core::ops::Range<u64>>,
    ) -> Result<()> {
        let held = self.hold();
        let range = held.and_then(|held| {
            let len = self.read_held(ListCore::len)?;
            Ok((held, range(len)?))
        });
        let (held, range) = match range {
            Ok(found) => found,
            Err(e) => {
                self.discard(with)?;
                return Err(e);
            }
        };
        let done = self.splice_held(range, with);
        drop(held);
        self.sound(done)?
    }

    /// The same, for who has the lock.
    pub(super) fn splice_held(&self, range: core::ops::Range<u64>, with: Vec<Item>) -> Result<()> {
        let me = self.me()?;
        match self.with_editor(me, |editor| editor.splice(range, with)) {
            Ok(()) => Ok(()),
            Err((failure, with)) => {
                self.discard(with)?;
                Err(self.failed(failure))
            }
        }
    }

    /// For who finds two readings different while nobody may write.
    #[cold]
    pub(super) fn restless(&self) -> Error {
        self.damaged(RESTLESS)
    }

    /// Frees elements that did not become any.
    pub(super) fn discard(&self, items: Vec<Item>) -> Result<()> {
        let me = self.me()?;
        let done = self.with_editor(me, |editor| editor.discard(items));
        done.map_err(|damage| self.damaged(damage))
    }

    /// Names of all elements in order, and of all nodes, parents first; for who has the lock.
    pub(super) fn names(&self) -> Result<(Vec<Ref>, Vec<Ref>)> {
        self.read_held(|core| {
            let (mut elements, mut nodes) = (Vec::new(), Vec::new());
            let mut budget = Budget::of(&core.heap);
            core.for_each_name(&mut budget, &mut |name, is_node| {
                if is_node {
                    nodes.push(name);
                } else {
                    elements.push(name);
                }
            })
            .map_err(Lost::Damage)?;
            Ok((elements, nodes))
        })
    }

    /// Brings the elements into another order, for who has the lock.
    pub(super) fn reorder_held(&self, elements: Vec<Ref>, nodes: Vec<Ref>) -> Result<()> {
        let me = self.me()?;
        let done = self.with_editor(me, |editor| editor.reorder(elements, nodes));
        done.map_err(|failure| self.failed(failure))
    }

    /// Gives memory back that nothing is in.
    pub(super) fn give_back(&self) -> Result<()> {
        let me = self.me()?;
        let done = self.core.heap.give_all_back(me);
        done.map_err(|damage| self.damaged(damage))
    }
}

const NO_GROWTH: Damage = Damage("waiting for a list's memory failed");
