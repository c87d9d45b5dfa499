//! A row of values that several processes share.
//!
//! Memory and algorithm: [`super::cells`].

#[cfg(all(test, not(loom)))]
mod tests;

use core::{
    fmt,
    ops::{Bound, Range, RangeBounds},
};
use std::time::Duration;

use bytemuck::{CheckedBitPattern, NoUninit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    cells::Row,
    errors::CompareExchangeError,
    number::{PlainInteger, PlainNumber},
    section::{Locked, handle},
    value::options::{self, Plot, ValueOptions},
};
use crate::{
    error::Result,
    object::{Kind, lifetime::Ticket},
    sync::{AcquireTimeoutError, TryAcquireError},
};

/// A row of values of one type, whose number never changes, that several processes share; as `multiprocessing.Array`.
///
/// `T` is a `bytemuck` type, as for a [`Value`](crate::Value), and every element is one: what is said there of operations without a lock
/// and with it, and of the death of a process, is true of each element.
///
/// What goes over several elements ([`get_slice`](Self::get_slice), [`set_slice`](Self::set_slice), [`fill`](Self::fill),
/// [`iter`](Self::iter)) goes from one to the next: no element is torn, but others may change some of them meanwhile, and a process that
/// dies in the middle leaves some changed and some not. Who needs them to fit together uses the [`lock`](Self::lock).
///
/// An element of 1, 2, 4 or 8 bytes takes its size; one of any other size n takes 8 + 2n bytes, n rounded up to a multiple of 8.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-array-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Array;
///
/// let squares = Array::options([0u32, 1, 4, 0]).namespace(&namespace).create("squares")?;
/// squares.set(3, 9)?;
/// squares.fetch_add(0, 1)?;
/// assert_eq!(squares.to_vec()?, [1, 1, 4, 9]);
/// assert_eq!(squares.get(4).unwrap_err().to_string().split(' ').next_back(), Some("4"));
/// # squares.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct Array<T> {
    row: Row<T>,
}

handle!(
    Array,
    Kind::Array,
    "It is one lock for all elements. See [`Value`](crate::Value) for what it keeps out and what it does not."
);

impl<T: NoUninit + CheckedBitPattern> Array<T> {
    /// Makes an array of these values under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::create`].
    pub fn create(name: &str, values: impl Into<Vec<T>>) -> Result<Self> {
        Self::options(values).create(name)
    }

    /// Opens the array `name`, of whatever length.
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::opener().open(name)
    }

    /// Opens the array `name`, or makes it of these values. An existing one must have as many.
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::open_or_create`].
    pub fn open_or_create(name: &str, values: impl Into<Vec<T>>) -> Result<Self> {
        Self::options(values).open_or_create(name)
    }

    /// Makes an array without a name, to be sent as a handle.
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::anonymous`].
    pub fn anonymous(values: impl Into<Vec<T>>) -> Result<Self> {
        Self::options(values).anonymous()
    }

    /// Settings for an array of these values.
    pub fn options(values: impl Into<Vec<T>>) -> ValueOptions<T, Self> {
        ValueOptions::these(values.into())
    }

    /// Settings for an array of `len` times the same value.
    pub fn filled(value: T, len: usize) -> ValueOptions<T, Self> {
        ValueOptions::all(value, len)
    }

    /// Settings for opening an array of whatever length: where it is, and how calls on this handle wait. They cannot create.
    pub fn opener() -> ValueOptions<T, Self> {
        ValueOptions::nothing()
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index` as it is now, whole.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`](crate::Error::OutOfRange), which says the length; [`Error::Corrupt`](crate::Error::Corrupt) if the bytes there
    /// are no value of `T`: a [`set`](Self::set) repairs that. Else [`Error`](crate::Error) if the object cannot be used any more.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Result<T> {
        self.row.get(index)
    }

    /// Replaces the element at `index`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn set(&self, index: usize, value: T) -> Result<()> {
        self.row.set(index, value)
    }

    /// Replaces the element at `index`. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn swap(&self, index: usize, value: T) -> Result<T> {
        self.row.swap(index, value)
    }

    /// Replaces the element at `index` if it is `current`, byte by byte. Returns what it was.
    ///
    /// # Errors
    ///
    /// [`CompareExchangeError::Different`] with the element if it is another one.
    #[inline(always)]
    pub fn compare_exchange(
        &self,
        index: usize,
        current: T,
        new: T,
    ) -> Result<T, CompareExchangeError<T>> {
        self.row.compare_exchange(index, current, new)
    }

    /// The elements in `range`, as far as there are any (as Python's slices). Each is whole; others may change some of them while this
    /// reads the next.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>> {
        clamp(range, self.len())
            .map(|index| self.get(index))
            .collect()
    }

    /// All elements; see [`get_slice`](Self::get_slice).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.get_slice(..)
    }

    /// Replaces the elements from `start` on, one after the other: somebody who reads meanwhile may see some of them.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) if there are not so many, in which case none was replaced; else as [`get`](Self::get).
    pub fn set_slice(&self, start: usize, values: &[T]) -> Result<()> {
        if let Some(last) = values.len().checked_sub(1) {
            self.row.check_index(start.saturating_add(last))?;
        }
        let mut values = values.iter().zip(start..);
        values.try_for_each(|(value, index)| self.set(index, *value))
    }

    /// Sets all elements to `value`, one after the other.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn fill(&self, value: T) -> Result<()> {
        (0..self.len()).try_for_each(|index| self.set(index, value))
    }

    /// Reads one element after the other, each as it is when its turn comes.
    pub fn iter(&self) -> ArrayIter<'_, T> {
        ArrayIter {
            array: self,
            left: 0..self.len(),
        }
    }
}

/// What of a range lies below `len`.
pub(in crate::manager) fn clamp(range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    start.min(len)..end.min(len)
}

impl<T: PlainNumber> Array<T> {
    /// Adds to the element at `index`; an integer wraps around at its type's end. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_add(&self, index: usize, number: T) -> Result<T> {
        self.row.fetch_add(index, number)
    }

    /// Subtracts from the element at `index`; an integer wraps around at its type's end. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_sub(&self, index: usize, number: T) -> Result<T> {
        self.row.fetch_sub(index, number)
    }
}

impl<T: PlainInteger> Array<T> {
    /// Clears those bits of the element at `index` that are clear in `mask`. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_and(&self, index: usize, mask: T) -> Result<T> {
        self.row.fetch_and(index, mask)
    }

    /// Sets those bits of the element at `index` that are set in `mask`. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_or(&self, index: usize, mask: T) -> Result<T> {
        self.row.fetch_or(index, mask)
    }

    /// Turns over those bits of the element at `index` that are set in `mask`. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_xor(&self, index: usize, mask: T) -> Result<T> {
        self.row.fetch_xor(index, mask)
    }

    /// Lowers the element at `index` to `number`, unless it is lower. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn fetch_min(&self, index: usize, number: T) -> Result<T> {
        self.row.fetch_min(index, number)
    }

    /// Raises the element at `index` to `number`, unless it is higher. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn fetch_max(&self, index: usize, number: T) -> Result<T> {
        self.row.fetch_max(index, number)
    }
}

/// Reads the elements of an [`Array`], from [`Array::iter`].
#[derive(Debug, Clone)]
pub struct ArrayIter<'a, T> {
    array: &'a Array<T>,
    left: Range<usize>,
}

impl<T: NoUninit + CheckedBitPattern> Iterator for ArrayIter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left.next().map(|index| self.array.get(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<T: NoUninit + CheckedBitPattern> DoubleEndedIterator for ArrayIter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left.next_back().map(|index| self.array.get(index))
    }
}

impl<T: NoUninit + CheckedBitPattern> ExactSizeIterator for ArrayIter<'_, T> {}

impl<'a, T: NoUninit + CheckedBitPattern> IntoIterator for &'a Array<T> {
    type Item = Result<T>;
    type IntoIter = ArrayIter<'a, T>;

    fn into_iter(self) -> ArrayIter<'a, T> {
        self.iter()
    }
}
