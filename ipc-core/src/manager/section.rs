//! Several operations that nobody who asks first comes between.

use core::{fmt, ops::Deref};

use crate::sync::LockGuard;

/// A held lock of a [`Value`](crate::Value) or [`Array`](crate::Array) `D`, which is used through it. Dropping it releases the lock.
///
/// It keeps out who locks as well; who does not is not held up, and what they do takes effect between two operations of this
/// thread. It belongs to the thread that acquired the lock. A child process that is forked meanwhile does not hold it.
#[must_use = "the lock is released when this is dropped"]
pub struct Locked<'a, D> {
    pub(super) data: &'a D,
    pub(super) guard: LockGuard<'a>,
}

impl<D> Locked<'_, D> {
    /// Whether a holder died holding this lock, or [marked it inconsistent](Self::mark_inconsistent), and nobody has
    /// [marked it consistent](Self::mark_consistent) since. No value is torn then, but of several that belong together
    /// some may be old and some new.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.guard.owner_died()
    }

    /// Says that the data is in order again: the next holder is not warned.
    pub fn mark_consistent(&mut self) {
        self.guard.mark_consistent();
    }

    /// Says that the data is not in order: the next holder is warned, also if this one panics.
    pub fn mark_inconsistent(&mut self) {
        self.guard.mark_inconsistent();
    }
}

impl<D> Deref for Locked<'_, D> {
    type Target = D;

    #[inline(always)]
    fn deref(&self) -> &D {
        self.data
    }
}

impl<D: fmt::Debug> fmt::Debug for Locked<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("data", self.data)
            .field("owner_died", &self.owner_died())
            .finish_non_exhaustive()
    }
}

/// The three ways to lock what has a `row`, and what every handle on such an object can do: be cloned, sent, named, removed.
macro_rules! handle {
    ($handle:ident, $kind:expr, $example:literal) => {
        impl<T: NoUninit + CheckedBitPattern> $handle<T> {
            /// Acquires the lock; blocks while somebody else holds it. A thread that holds it already waits for itself, for ever.
            ///
            #[doc = $example]
            ///
            /// # Errors
            ///
            /// [`Error`](crate::Error) if the object cannot be used any more. A dead holder is no error: see
            /// [`Locked::owner_died`].
            pub fn lock(&self) -> Result<Locked<'_, Self>> {
                Ok(Locked {
                    data: self,
                    guard: self.row.lock.acquire()?,
                })
            }

            /// Acquires the lock if nobody holds it.
            ///
            /// # Errors
            ///
            /// [`TryAcquireError`].
            pub fn try_lock(&self) -> Result<Locked<'_, Self>, TryAcquireError> {
                Ok(Locked {
                    data: self,
                    guard: self.row.lock.try_acquire()?,
                })
            }

            /// Acquires the lock; blocks for at most `timeout`.
            ///
            /// # Errors
            ///
            /// [`AcquireTimeoutError`].
            pub fn lock_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Locked<'_, Self>, AcquireTimeoutError> {
                Ok(Locked {
                    data: self,
                    guard: self.row.lock.acquire_timeout(timeout)?,
                })
            }

            /// The object's name, unless it is anonymous.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                self.row.object().name()
            }

            /// Removes the object's name: nobody finds it any more; who has it open keeps it.
            ///
            /// # Errors
            ///
            /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now;
            /// [`Error::PermissionDenied`](crate::Error::PermissionDenied).
            pub fn unlink(&self) -> Result<()> {
                self.row.object().unlink()
            }

            /// Repairs what dead processes left, now instead of within about 100 ms. Returns how many there were.
            ///
            /// # Errors
            ///
            /// [`Error::Corrupt`](crate::Error::Corrupt).
            pub fn sweep(&self) -> Result<u32> {
                self.row.object().sweep()
            }
        }

        impl<T: NoUninit + CheckedBitPattern> Plot for $handle<T> {
            type Value = T;
            const KIND: Kind = $kind;

            fn over(row: Row<T>) -> Self {
                Self { row }
            }
        }

        impl<T> Clone for $handle<T> {
            fn clone(&self) -> Self {
                Self {
                    row: self.row.clone(),
                }
            }
        }

        impl<T> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("object", &self.row.object().label())
                    .field("state", &self.row.cells.describe())
                    .finish_non_exhaustive()
            }
        }

        impl<T> Serialize for $handle<T> {
            /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.row.object().ticket().serialize(serializer)
            }
        }

        impl<'de, T: NoUninit + CheckedBitPattern> Deserialize<'de> for $handle<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let ticket = Ticket::deserialize(deserializer)?;
                options::redeem(&ticket).map_err(de::Error::custom)
            }
        }
    };
}
pub(super) use handle;
