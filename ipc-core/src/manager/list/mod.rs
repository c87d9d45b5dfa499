//! A list that several processes share.
//!
//! # Layout
//!
//! Behind the object's header and slots: a lock ([`crate::sync::within`]); the root word, `version:16 | name:48`, on a boundary of 128 bytes;
//! and a [heap](crate::slab::heap), which holds the elements and the nodes of the tree over them:
//!
//! ```text
//!                        root                     a node: 62 words
//!                          │                      level 0: names of up to 62 elements
//!             node, level 1 (name, count)*        above:   names of up to 31 nodes, each with its count of elements
//!               ╱                ╲                an element: its encoded bytes
//!     node, level 0 (name)*   node, level 0       info, in the item's title:
//!        │    │    │            │    │              element: bytes of its last word that are not its own
//!     element …                                     node:    children << 8 | (level + 1) << 3
//! ```
//!
//! # Invariants
//!
//! * I1. Nothing that the root refers to ever changes: a change makes new nodes on the path from the root to where it is, and shares the
//!   others with the tree that was.
//! * I2. A change is committed by one store of the root: it is there as a whole from then on, and was not before.
//! * I3. Only who has the lock changes the root, claims items that it refers to, or publishes; and releases the lock only when all that it
//!   refers to is published and all else of its doing is freed.
//! * I4. Parents are freed before their children. So a child is what its name says, if its parent is still in use afterwards.
//! * I5. Who takes elements away needs new nodes as well: who puts some in makes sure that there is memory for that left.
//!
//! # Ordering
//!
//! * O1. root store(Release) → load(Acquire): the nodes are all there. That they still are when they are read, the heap's O2 says.
//! * Between writers, the lock orders all.
//!
//! # If a process dies
//!
//! | while it | left behind | who repairs it |
//! |---|---|---|
//! | encoded an element | an item that nothing refers to | the sweep frees it |
//! | changed the list, before its commit | the lock held, new items, and old ones claimed | the sweep frees those, publishes these again, then frees the lock |
//! | changed the list, after its commit | the same, the other way round | the sweep publishes what the root refers to, and frees the rest, then the lock |
//! | read | nothing | nobody |

pub(crate) mod core;
mod draft;
mod edit;
mod errors;
mod iter;
mod options;
mod tree;
mod use_of;
mod walk;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use ::core::{
    fmt,
    marker::PhantomData,
    ops::{Range, RangeBounds},
};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::{core::ListCore, tree::Lost, use_of::UseOf};
use crate::{
    error::{Error, Result},
    manager::array::clamp,
    message::{Message, Received},
    object::{
        lifetime::{Object, Ticket},
        wait::WaitStrategy,
    },
};

pub use errors::{ListError, ListPutError};
pub use iter::ListIter;
pub use options::ListOptions;

/// A list that several processes share; as a list of `multiprocessing.Manager`, but without a server, and what is nested in it (a handle on
/// another object, say) is not a copy.
///
/// `T` is any serde type, [`Plain`](crate::Plain) or [`Bytes`](crate::Bytes), encoded of any length up to the list's memory. The list grows by
/// itself up to a [limit](ListOptions::limit), and gives memory back.
///
/// # What is atomic
///
/// Every operation: it takes effect at one moment, as a whole. So [`extend`](Self::extend) adds all or none, [`sort`](Self::sort) and
/// [`reverse`](Self::reverse) are seen done or not begun, and [`slice`](Self::slice), [`to_vec`](Self::to_vec), [`index`](Self::index) and
/// [`contains`](Self::contains) look at the list as it was at one moment. Only [`iter`](Self::iter) asks anew for each batch of elements.
///
/// # Blocking
///
/// What reads takes no lock, and waits for nobody, unless the list changes 20 times while it reads. What changes the list holds its lock
/// meanwhile: others who change it wait. `push`, `pop`, `insert`, `remove` and `set` take time in proportion to the logarithm of the length;
/// `extend`, `slice` and the like to the number of elements concerned; `sort`, `reverse` and `clear` to the length.
///
/// # When a process dies
///
/// | killed | the others |
/// |---|---|
/// | in any operation | find the list as before it or as after it; another one that changes the list may first wait for up to about 100 ms, and longer where the list is large: about a tenth of a second for each GiB |
///
/// A process that is *stopped* while it changes the list delays others who change it, not those who read.
///
/// # Memory
///
/// An element takes its encoded bytes, 16 more, rounded up to a block (32, 48, 64, … bytes, each at most a quarter more than the one below),
/// and 8 to 17 bytes in the index. A list that is full says [`Error::NoSpace`] and stays as it is; elements can be taken out of it.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-list-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::List;
///
/// let words = List::<String>::options().namespace(&namespace).create("words")?;
/// words.push("one".to_owned())?; // in any process
/// words.extend(["two".to_owned(), "three".to_owned()])?;
/// words.insert(0, "zero".to_owned())?;
/// words.reverse()?;
/// assert_eq!(words.to_vec()?, ["three", "two", "one", "zero"]);
/// assert_eq!(words.remove(1)?, "two");
/// assert_eq!(words.pop()?.as_deref(), Some("zero"));
/// assert_eq!(words.index(&"one".to_owned())?, Some(1));
/// # words.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The tree is a B-tree of element counts (a rope) whose changes copy the path from the root, as in Driscoll et al., *Making data structures
/// persistent* (<https://doi.org/10.1016/0022-0000(89)90034-2>), and whose old nodes are freed at once: readers find that out by themselves.
pub struct List<T> {
    of: UseOf,
    _elements: PhantomData<fn() -> T>,
}

impl<T: Message> List<T> {
    /// Makes a list under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`ListOptions::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Opens the list `name`.
    ///
    /// # Errors
    ///
    /// See [`ListOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::options().open(name)
    }

    /// Opens the list `name`, or makes it.
    ///
    /// # Errors
    ///
    /// See [`ListOptions::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Self> {
        Self::options().open_or_create(name)
    }

    /// Makes a list without a name, to be sent as a handle.
    ///
    /// # Errors
    ///
    /// See [`ListOptions::anonymous`].
    pub fn anonymous() -> Result<Self> {
        Self::options().anonymous()
    }

    /// Settings for a list.
    pub fn options() -> ListOptions<T> {
        ListOptions::new()
    }

    fn over(object: Arc<Object>, core: Arc<ListCore>, wait: WaitStrategy) -> Self {
        Self {
            of: UseOf::new(object, core, wait),
            _elements: PhantomData,
        }
    }

    /// How many elements there are.
    ///
    /// # Errors
    ///
    /// [`Error`] if the list cannot be used any more.
    pub fn len(&self) -> Result<usize> {
        self.of.read(ListCore::len).map(|len| len as usize)
    }

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// The element at `index`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], which says the length; [`ListError::Decode`]; else [`Error`] if the list cannot be used any more.
    pub fn get(&self, index: usize) -> Result<T, ListError> {
        let mut bytes = Vec::new();
        let found = self.of.read(|core| {
            bytes.clear();
            core.copy_element(index as u64, &mut bytes)
        })?;
        match found {
            Ok(()) => decode(bytes),
            Err(len) => Err(self.of.out_of_range(index, len).into()),
        }
    }

    /// The elements in `range`, as far as there are any (as Python's slices), all as they were at one moment.
    ///
    /// # Errors
    ///
    /// [`ListError::Decode`]; [`Error`] if the list cannot be used any more.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ListError> {
        let range = clamp(range, usize::MAX);
        let range = range.start as u64..range.end as u64;
        let encoded = self.of.read(|core| encoded(core, range.clone()))?;
        encoded.into_iter().map(decode).collect()
    }

    /// All elements, as they were at one moment.
    ///
    /// # Errors
    ///
    /// As [`slice`](Self::slice).
    pub fn to_vec(&self) -> Result<Vec<T>, ListError> {
        self.slice(..)
    }

    /// Reads the elements in batches, from the first to the last. What others put in or take out before the place where it is shifts what
    /// it sees next, as in Python.
    pub fn iter(&self) -> ListIter<'_, T> {
        ListIter::new(self)
    }

    /// Where the first element is that equals `value`.
    ///
    /// # Errors
    ///
    /// As [`slice`](Self::slice).
    pub fn index(&self, value: &T) -> Result<Option<usize>, ListError>
    where
        T: PartialEq,
    {
        let mut found = Ok(None);
        self.of.read(|core| {
            found = Ok(None);
            core.visit(0..u64::MAX, &mut |index, bytes| {
                match decode::<T>(bytes) {
                    Ok(element) if element == *value => found = Ok(Some(index as usize)),
                    Ok(_) => return true,
                    Err(e) => found = Err(e),
                }
                false
            })
        })?;
        found
    }

    /// Whether an element equals `value`.
    ///
    /// # Errors
    ///
    /// As [`slice`](Self::slice).
    pub fn contains(&self, value: &T) -> Result<bool, ListError>
    where
        T: PartialEq,
    {
        self.index(value).map(|found| found.is_some())
    }

    /// Puts a value at the end.
    ///
    /// # Errors
    ///
    /// [`ListPutError`] with the value, and why: [`Error::NoSpace`], for one.
    pub fn push(&self, value: T) -> Result<(), ListPutError<T>> {
        self.put(value, |len| Ok(len..len))
    }

    /// Puts a value before the element at `index`, or at the end if that is the length.
    ///
    /// # Errors
    ///
    /// [`ListPutError`] with the value, and why: [`Error::OutOfRange`] if `index` is more than the length.
    pub fn insert(&self, index: usize, value: T) -> Result<(), ListPutError<T>> {
        self.put(value, |len| {
            let at = index as u64;
            if at <= len {
                Ok(at..at)
            } else {
                Err(self.of.out_of_range(index, len))
            }
        })
    }

    /// Replaces the element at `index`.
    ///
    /// # Errors
    ///
    /// [`ListPutError`] with the value, and why: [`Error::OutOfRange`] if there is none.
    pub fn set(&self, index: usize, value: T) -> Result<(), ListPutError<T>> {
        self.put(value, |len| self.range_of(index, len))
    }

    /// Puts all these values at the end, in order: all of them, or, on an error, none.
    ///
    /// # Errors
    ///
    /// [`ListPutError`] with the values, and why.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), ListPutError<Vec<T>>> {
        let values: Vec<T> = values.into_iter().collect();
        let mut items = Vec::with_capacity(values.len());
        for value in &values {
            match self.of.encode(value) {
                Ok(item) => items.push(item),
                Err(refused) => {
                    return Err(match self.of.discard(items) {
                        Ok(()) => ListPutError::new(values, refused),
                        Err(error) => ListPutError::Failed {
                            value: values,
                            error,
                        },
                    });
                }
            }
        }
        if items.is_empty() {
            return Ok(());
        }
        let done = self.of.splice(items, |len| Ok(len..len));
        done.map_err(|error| ListPutError::Failed {
            value: values,
            error,
        })
    }

    /// Takes the last element out; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ListError::Decode`], in which case it stays; [`Error`] if the list cannot be used any more.
    pub fn pop(&self) -> Result<Option<T>, ListError> {
        self.take(|len| Ok(len.checked_sub(1)))
    }

    /// Takes the element at `index` out. Those behind it move up.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], which says the length; [`ListError::Decode`], in which case the element stays; [`Error`] if the list
    /// cannot be used any more.
    pub fn remove(&self, index: usize) -> Result<T, ListError> {
        let mut len_then = 0;
        let taken = self.take(|len| {
            len_then = len;
            self.range_of(index, len).map(|range| Some(range.start))
        })?;
        taken.ok_or_else(|| self.of.out_of_range(index, len_then).into())
    }

    /// Takes all elements out, and gives the memory back.
    ///
    /// # Errors
    ///
    /// [`Error`] if the list cannot be used any more.
    pub fn clear(&self) -> Result<()> {
        self.of.splice(Vec::new(), |len| Ok(0..len))?;
        self.of.give_back()
    }

    /// Turns the order round.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] if there is no memory for another index, of 8 to 9 bytes an element: then the list is what it was. [`Error`] if the
    /// list cannot be used any more.
    pub fn reverse(&self) -> Result<()> {
        let held = self.of.hold()?;
        let (mut elements, nodes) = self.of.names()?;
        elements.reverse();
        self.of.reorder_held(elements, nodes)?;
        drop(held);
        Ok(())
    }

    /// Sorts the list; equal elements keep their order. `T`'s own comparison runs while others who change the list wait; it must not change
    /// the list itself.
    ///
    /// # Errors
    ///
    /// As [`reverse`](Self::reverse), and [`ListError::Decode`]. Should the comparison panic, the list is what it was.
    pub fn sort(&self) -> Result<(), ListError>
    where
        T: Ord,
    {
        self.sort_with(|values| {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*a].cmp(&values[*b]));
            order
        })
    }

    /// Sorts the list by what `key` says of each element; as [`sort`](Self::sort).
    ///
    /// # Errors
    ///
    /// As [`sort`](Self::sort).
    pub fn sort_by_key<K: Ord>(&self, mut key: impl FnMut(&T) -> K) -> Result<(), ListError> {
        self.sort_with(|values| {
            let keys: Vec<K> = values.iter().map(&mut key).collect();
            let mut order: Vec<usize> = (0..keys.len()).collect();
            order.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
            order
        })
    }

    fn sort_with(&self, order: impl FnOnce(Vec<T>) -> Vec<usize>) -> Result<(), ListError> {
        let held = self.of.hold()?;
        let encoded = self.of.read_held(|core| encoded(core, 0..u64::MAX))?;
        let values: Vec<T> = encoded.into_iter().map(decode).collect::<Result<_, _>>()?;
        let order = order(values);
        let (elements, nodes) = self.of.names()?;
        let sorted: Option<Vec<_>> = order.iter().map(|at| elements.get(*at).copied()).collect();
        let sorted = sorted.filter(|sorted| sorted.len() == elements.len());
        let sorted = sorted.ok_or_else(|| self.of.restless())?;
        self.of.reorder_held(sorted, nodes)?;
        drop(held);
        Ok(())
    }

    fn range_of(&self, index: usize, len: u64) -> Result<Range<u64>, Error> {
        let at = index as u64;
        if at < len {
            Ok(at..at + 1)
        } else {
            Err(self.of.out_of_range(index, len))
        }
    }

    /// Replaces what `range` says of the list's length by `value`.
    fn put(
        &self,
        value: T,
        range: impl FnOnce(u64) -> Result<Range<u64>>,
    ) -> Result<(), ListPutError<T>> {
        let done = match self.of.encode(&value) {
            Ok(item) => self.of.splice(vec![item], range).map_err(Into::into),
            Err(refused) => Err(refused),
        };
        done.map_err(|refused| ListPutError::new(value, refused))
    }

    /// Takes the element out whose index `which` says of the list's length.
    fn take(&self, which: impl FnOnce(u64) -> Result<Option<u64>>) -> Result<Option<T>, ListError> {
        let held = self.of.hold()?;
        let len = self.of.read_held(ListCore::len)?;
        let Some(at) = which(len)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let found = self.of.read_held(|core| {
            bytes.clear();
            core.copy_element(at, &mut bytes)
        })?;
        found.map_err(|len| self.of.out_of_range(at as usize, len))?;
        let value = decode(bytes)?; // before it goes: a value that cannot be had stays
        self.of.splice_held(at..at + 1, Vec::new())?;
        drop(held);
        Ok(Some(value))
    }

    /// The object's name, unless it is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.of.object().name()
    }

    /// Removes the object's name: nobody finds it any more; who has it open keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the name is gone or means another object by now; [`Error::PermissionDenied`].
    pub fn unlink(&self) -> Result<()> {
        self.of.object().unlink()
    }

    /// Repairs what dead processes left, now instead of within about 100 ms. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn sweep(&self) -> Result<u32> {
        self.of.object().sweep()
    }
}

/// The bytes of the elements in a range.
fn encoded(core: &ListCore, range: Range<u64>) -> Result<Vec<Vec<u8>>, Lost> {
    let mut all = Vec::new();
    core.visit(range, &mut |_, bytes| {
        all.push(bytes);
        true
    })?;
    Ok(all)
}

/// The value that an element's bytes encode.
fn decode<T: Message>(bytes: Vec<u8>) -> Result<T, ListError> {
    let mut place = Vec::with_capacity(1);
    T::decode(Received::Owned(bytes), &mut place)?;
    Ok(place.swap_remove(0)) // a decoder that succeeds leaves one value
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self {
            of: self.of.clone(),
            _elements: PhantomData,
        }
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("object", &self.of.object().label())
            .field("len", &self.of.core.count())
            .finish_non_exhaustive()
    }
}

impl<T> Serialize for List<T> {
    /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.of.object().ticket().serialize(serializer)
    }
}

impl<'de, T: Message> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        options::redeem(&ticket).map_err(de::Error::custom)
    }
}

impl<'a, T: Message> IntoIterator for &'a List<T> {
    type Item = Result<T, ListError>;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}
