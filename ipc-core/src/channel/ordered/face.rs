//! What the handles of both ordered queues can do alike.

/// Implements, for a queue that is a tuple of `inner` and `wait`, all but what goes in and comes out.
macro_rules! face {
    ($name:ident, $label:literal, $kind:expr, $iter:ident, $item:ty) => {
        impl<T: $crate::message::Message> $name<T> {
            /// Makes a queue of `capacity` messages under `name`, with default [options](Self::options).
            ///
            /// # Errors
            ///
            /// See [`QueueOptions::create`](crate::QueueOptions::create).
            pub fn create(name: &str, capacity: usize) -> $crate::error::Result<Self> {
                Self::options(capacity).create(name)
            }

            /// Opens the queue `name`.
            ///
            /// # Errors
            ///
            /// See [`QueueOptions::open`](crate::QueueOptions::open).
            pub fn open(name: &str) -> $crate::error::Result<Self> {
                Self::options(1).open(name)
            }

            /// Opens the queue `name`, or makes it with `capacity`.
            ///
            /// # Errors
            ///
            /// See [`QueueOptions::open_or_create`](crate::QueueOptions::open_or_create).
            pub fn open_or_create(name: &str, capacity: usize) -> $crate::error::Result<Self> {
                Self::options(capacity).open_or_create(name)
            }

            /// Makes a queue without a name, which goes with its last user.
            ///
            /// # Errors
            ///
            /// See [`QueueOptions::anonymous`](crate::QueueOptions::anonymous).
            pub fn anonymous(capacity: usize) -> $crate::error::Result<Self> {
                Self::options(capacity).anonymous()
            }

            /// Settings for a queue of `capacity` messages, 16,777,216 at the most: after a process died, the next call looks at
            /// every cell.
            pub fn options(capacity: usize) -> $crate::channel::options::QueueOptions<T, Self> {
                $crate::channel::options::QueueOptions::new(capacity)
            }

            /// The messages, as [`get`](Self::get) gets them, until the queue is closed and empty.
            pub fn iter(&self) -> $iter<'_, T> {
                $iter(self)
            }
        }

        impl<T> $name<T> {
            pub(crate) fn watched_items(&self) -> $crate::object::source::Watched {
                self.inner.watched_items()
            }

            pub(crate) fn watched_room(&self) -> $crate::object::source::Watched {
                self.inner.watched_room()
            }

            /// How many messages are in the queue. Exact while nobody puts or gets. Takes time in proportion to the capacity.
            #[must_use]
            pub fn len(&self) -> usize {
                self.inner.pile.len()
            }

            /// Whether there is no message in the queue. Takes time in proportion to the capacity.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.inner.pile.is_empty()
            }

            /// Whether a put would find no room for a short message now.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.inner.pile.is_full()
            }

            /// How many messages the queue holds at the most.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.inner.pile.geometry().capacity
            }

            /// Bytes for messages that do not fit into a cell.
            #[must_use]
            pub fn memory(&self) -> usize {
                self.inner.pile.geometry().slab.bytes()
            }

            /// The longest message that the queue takes, in encoded bytes.
            #[must_use]
            pub fn max_message_bytes(&self) -> usize {
                self.inner.pile.geometry().most_bytes()
            }

            /// Closes the queue for all processes: puts fail from now on, gets drain what is there and then say Closed. Closing
            /// twice is fine.
            pub fn close(&self) {
                self.inner.pile.close();
            }

            /// Whether the queue is closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.inner.pile.is_closed()
            }

            /// The queue's name; `None` if it is anonymous.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                self.inner.member.object.name()
            }

            /// Removes the queue's name. Who has the queue open keeps it; its memory is freed with the last of them.
            ///
            /// # Errors
            ///
            /// [`Error::NotFound`](crate::Error::NotFound) if the name is gone or means another object by now.
            pub fn unlink(&self) -> $crate::error::Result<()> {
                self.inner.member.object.unlink()
            }

            /// Looks for dead participants now and repairs what they left. Returns how many there were. Waiting and attaching do
            /// this by themselves.
            ///
            /// # Errors
            ///
            /// [`Error::Corrupt`](crate::Error::Corrupt).
            pub fn sweep(&self) -> $crate::error::Result<u32> {
                self.inner.member.object.sweep()
            }

            /// What blocking calls on this handle do before they sleep.
            pub fn set_wait_strategy(&mut self, strategy: $crate::object::wait::WaitStrategy) {
                self.wait = strategy;
            }

            /// Waits for nothing but the lock.
            fn now(&self) -> $crate::channel::ordered::inner::Manner {
                $crate::channel::ordered::inner::Manner {
                    strategy: self.wait,
                    until: $crate::channel::ordered::inner::Until::Now,
                }
            }

            fn until(
                &self,
                deadline: $crate::object::wait::Deadline,
            ) -> $crate::channel::ordered::inner::Manner {
                $crate::channel::ordered::inner::Manner {
                    strategy: self.wait,
                    until: $crate::channel::ordered::inner::Until::Deadline(deadline),
                }
            }
        }

        impl<T: $crate::message::Message> $crate::channel::options::Container for $name<T> {
            type Message = T;
            type Structure = $crate::channel::ordered::pile::Pile;
            const KIND: $crate::object::Kind = $kind;
            const CELLS: $crate::channel::geometry::CellShape =
                $crate::channel::ordered::geometry::CELLS;

            fn file_bytes(
                geometry: $crate::channel::geometry::Geometry,
                participants: u32,
            ) -> Option<usize> {
                $crate::channel::ordered::geometry::file_bytes(geometry, participants)
            }

            fn place(
                fresh: &mut $crate::region::Fresh,
                geometry: $crate::channel::geometry::Geometry,
                participants: u32,
            ) -> Result<(), $crate::region::OutOfBounds> {
                $crate::channel::ordered::geometry::place(fresh, geometry, participants)
            }

            fn build(
                region: &std::sync::Arc<$crate::region::Region>,
                facts: &$crate::region::identity::Facts,
            ) -> Result<std::sync::Arc<Self::Structure>, $crate::error::Damage> {
                $crate::channel::ordered::build(region, facts)
            }

            fn over(
                object: std::sync::Arc<$crate::object::lifetime::Object>,
                pile: std::sync::Arc<Self::Structure>,
                wait: $crate::object::wait::WaitStrategy,
            ) -> Self {
                let inner = $crate::channel::ordered::inner::Inner::new(object, pile);
                Self {
                    inner: std::sync::Arc::new(inner),
                    wait,
                    _message: core::marker::PhantomData,
                }
            }
        }

        impl<T: $crate::message::Message> Iterator for $iter<'_, T> {
            type Item = Result<$item, $crate::channel::errors::GetError>;

            fn next(&mut self) -> Option<Self::Item> {
                match self.0.get() {
                    Err($crate::channel::errors::GetError::Closed) => None,
                    other => Some(other),
                }
            }
        }

        impl<'a, T: $crate::message::Message> IntoIterator for &'a $name<T> {
            type Item = Result<$item, $crate::channel::errors::GetError>;
            type IntoIter = $iter<'a, T>;

            fn into_iter(self) -> $iter<'a, T> {
                self.iter()
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self {
                    inner: std::sync::Arc::clone(&self.inner),
                    wait: self.wait,
                    _message: core::marker::PhantomData,
                }
            }
        }

        impl<T> core::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct($label)
                    .field("object", &self.inner.member.object.label())
                    .finish_non_exhaustive()
            }
        }

        impl<T> serde::Serialize for $name<T> {
            /// Encodes what another process needs to attach: the path, and a way through this process in case the name is gone.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.inner.member.object.ticket().serialize(serializer)
            }
        }

        impl<'de, T: $crate::message::Message> serde::Deserialize<'de> for $name<T> {
            /// Attaches to the queue.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let ticket = $crate::object::lifetime::Ticket::deserialize(deserializer)?;
                $crate::channel::options::redeem(&ticket).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use face;
