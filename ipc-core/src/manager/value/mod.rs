//! One value that several processes share.
//!
//! Memory and algorithm: [`super::cells`].

pub(in crate::manager) mod options;
#[cfg(all(test, not(loom)))]
mod tests;

use core::fmt;
use std::time::Duration;

use bytemuck::{CheckedBitPattern, NoUninit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::options::{Plot, ValueOptions};
use super::{
    cells::Row,
    errors::CompareExchangeError,
    number::{PlainInteger, PlainNumber},
    section::{Locked, handle},
};
use crate::{
    error::Result,
    object::{Kind, lifetime::Ticket},
    sync::{AcquireTimeoutError, TryAcquireError},
};

/// A value that several processes share, each of which reads and replaces it as a whole; as `multiprocessing.Value`, but
/// that `fetch_add` needs no lock to lose nothing.
///
/// `T` is a `bytemuck` type (as for [`Plain`](crate::Plain)): a number, a `repr(C)` struct of numbers, an array of them, of any size.
///
/// # Without a lock
///
/// All operations are atomic. Of a type of 1, 2, 4 or 8 bytes they are the processor's atomic operations: no system call, and nobody
/// waits for anybody. A value of another size is kept twice: a `get` copies it, again if it was replaced meanwhile, and waits for nobody
/// unless it is replaced a hundred times during one get; who writes waits while another writes, which takes as long as a copy. What a
/// process did before it wrote a value is seen by who has read that value (Release and Acquire).
///
/// # With a lock
///
/// Several operations that belong together go between [`lock`](Self::lock) and the drop of what it returns. The lock keeps out those who
/// lock too; an operation by somebody who does not comes in between, whatever the size of `T`.
///
/// # When a process dies
///
/// | killed | the others |
/// |---|---|
/// | in any operation | find the value before it or after it, whole; another writer of a value of another size than 1, 2, 4 or 8 bytes may first wait for up to about 100 ms |
/// | holding the lock | get it within about 100 ms, and are told ([`Locked::owner_died`]) |
///
/// A process that is *stopped* in the middle of writing a value of such another size delays others who write it, not those who read it.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-value-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Value;
///
/// let hits = Value::options(0u64).namespace(&namespace).create("hits")?;
/// hits.fetch_add(1)?; // in any process
/// assert_eq!(hits.get()?, 1);
/// {
///     let hits = hits.lock()?;
///     if hits.get()? > 0 {
///         hits.set(0)?;
///     }
/// }
/// assert_eq!(hits.swap(5)?, 0);
/// # hits.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
///
/// The two copies and their version are a sequence lock (<https://dl.acm.org/doi/10.1145/2247684.2247688>) whose readers need not wait for a
/// writer that stopped, with the owner in the version's word.
pub struct Value<T> {
    row: Row<T>,
}

handle!(
    Value,
    Kind::Value,
    "See [`Value`] for what it keeps out and what it does not."
);

impl<T: NoUninit + CheckedBitPattern> Value<T> {
    /// Makes a value under `name`, `initial` at first, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::create`].
    pub fn create(name: &str, initial: T) -> Result<Self> {
        Self::options(initial).create(name)
    }

    /// Opens the value `name`.
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::opener().open(name)
    }

    /// Opens the value `name`, or makes it, `initial` at first.
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::open_or_create`].
    pub fn open_or_create(name: &str, initial: T) -> Result<Self> {
        Self::options(initial).open_or_create(name)
    }

    /// Makes a value without a name, to be sent as a handle.
    ///
    /// # Errors
    ///
    /// See [`ValueOptions::anonymous`].
    pub fn anonymous(initial: T) -> Result<Self> {
        Self::options(initial).anonymous()
    }

    /// Settings for a value that is `initial` at first.
    pub fn options(initial: T) -> ValueOptions<T> {
        ValueOptions::all(initial, 1)
    }

    /// Settings for opening a value: where it is, and how calls on this handle wait. They cannot create.
    pub fn opener() -> ValueOptions<T> {
        ValueOptions::nothing()
    }

    /// The value as it is now, whole.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the bytes there are no value of `T`: a [`set`](Self::set) repairs that. Else as all
    /// operations: [`Error`](crate::Error) if the object cannot be used any more.
    #[inline(always)]
    pub fn get(&self) -> Result<T> {
        self.row.get(0)
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more.
    #[inline(always)]
    pub fn set(&self, value: T) -> Result<()> {
        self.row.set(0, value)
    }

    /// Replaces the value. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn swap(&self, value: T) -> Result<T> {
        self.row.swap(0, value)
    }

    /// Replaces the value if it is `current`, byte by byte (so a NaN is itself, and -0.0 is not 0.0). Returns what it was.
    ///
    /// # Errors
    ///
    /// [`CompareExchangeError::Different`] with the value if it is another one.
    ///
    /// # Example
    ///
    /// ```
    /// use ipc_core::{CompareExchangeError, Value};
    ///
    /// fn double(value: &Value<f64>) -> ipc_core::Result<f64> {
    ///     let mut seen = value.get()?;
    ///     loop {
    ///         match value.compare_exchange(seen, seen * 2.0) {
    ///             Ok(_) => return Ok(seen * 2.0),
    ///             Err(CompareExchangeError::Different(now)) => seen = now,
    ///             Err(CompareExchangeError::Failed(e)) => return Err(e),
    ///             Err(_) => unreachable!("there is no other reason yet"),
    ///         }
    ///     }
    /// }
    /// # let dir = std::env::temp_dir().join(format!("ipc-doc-double-{}", std::process::id()));
    /// # let namespace = ipc_core::Namespace::at(&dir)?;
    /// # assert_eq!(double(&Value::options(1.5).namespace(&namespace).anonymous()?)?, 3.0);
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), ipc_core::Error>(())
    /// ```
    #[inline(always)]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, CompareExchangeError<T>> {
        self.row.compare_exchange(0, current, new)
    }
}

impl<T: PlainNumber> Value<T> {
    /// Adds to the value; an integer wraps around at its type's end. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_add(&self, number: T) -> Result<T> {
        self.row.fetch_add(0, number)
    }

    /// Subtracts from the value; an integer wraps around at its type's end. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_sub(&self, number: T) -> Result<T> {
        self.row.fetch_sub(0, number)
    }
}

impl<T: PlainInteger> Value<T> {
    /// Clears those bits that are clear in `mask`. Returns what the value was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_and(&self, mask: T) -> Result<T> {
        self.row.fetch_and(0, mask)
    }

    /// Sets those bits that are set in `mask`. Returns what the value was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_or(&self, mask: T) -> Result<T> {
        self.row.fetch_or(0, mask)
    }

    /// Turns over those bits that are set in `mask`. Returns what the value was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline(always)]
    pub fn fetch_xor(&self, mask: T) -> Result<T> {
        self.row.fetch_xor(0, mask)
    }

    /// Lowers the value to `number`, unless it is lower. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn fetch_min(&self, number: T) -> Result<T> {
        self.row.fetch_min(0, number)
    }

    /// Raises the value to `number`, unless it is higher. Returns what it was.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn fetch_max(&self, number: T) -> Result<T> {
        self.row.fetch_max(0, number)
    }
}
