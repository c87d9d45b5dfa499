//! Our own queue as users have it: made under a name, and opened by name in each process that works with it.
//!
//! ```
//! use ipc_benches::crew::Workers;
//! use ipc_benches::harness::one_to_one;
//! use ipc_benches::queue::{Named, get, put};
//! use ipc_core::{Queue, WaitStrategy};
//!
//! let queue = Named::create(Queue::options(1024));
//! let (sender, receiver) = (queue.open_with(WaitStrategy::Spin), queue.open_with(WaitStrategy::Spin));
//! let mut crew = one_to_one(Workers::Processes, || put(sender()), || get(receiver()));
//! drop(queue); // its name; both workers have it open
//! println!("{:?} for a thousand messages", crew.run(1000));
//! ```

use crate::harness::Item;
use ipc_core::{Message, Namespace, Plain, Queue, QueueOptions, WaitStrategy};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the benchmarks' queues are, apart from anybody's own.
///
/// # Panics
/// When the directory cannot be made.
pub fn namespace() -> Namespace {
    Namespace::named("benches").expect("make the benchmarks' namespace")
}

/// A name that no other queue has, in this process or any other.
pub fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}", std::process::id())
}

/// A queue that exists under a name and is open nowhere yet. Dropping this removes the name; who has it open keeps it.
pub struct Named<T: Message> {
    name: String,
    messages: PhantomData<fn() -> T>,
}

impl<T: Message + 'static> Named<T> {
    /// Makes a queue with these options under a fresh name in [`namespace`].
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn create(options: QueueOptions<T>) -> Self {
        let name = fresh_name();
        let made = options.namespace(&namespace()).create(&name);
        drop(made.expect("make a queue"));
        Self {
            name,
            messages: PhantomData,
        }
    }

    /// What a worker does to open the queue.
    pub fn open_with(
        &self,
        strategy: WaitStrategy,
    ) -> impl FnOnce() -> Queue<T> + Clone + Send + use<T> {
        let name = self.name.clone();
        move || open(&name, strategy).expect("open the queue")
    }

    /// Opens the queue here and now.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn open(&self) -> Queue<T> {
        open(&self.name, WaitStrategy::default()).expect("open the queue")
    }

    /// The queue's name in [`namespace`].
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T: Message> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Named").field(&self.name).finish()
    }
}

impl<T: Message> Drop for Named<T> {
    fn drop(&mut self) {
        // A name that stays is no reason to panic in a drop.
        let _ = open::<T>(&self.name, WaitStrategy::default()).and_then(|queue| queue.unlink());
    }
}

/// Opens the queue `name` in [`namespace`].
///
/// # Errors
/// As [`QueueOptions::open`].
pub fn open<T: Message>(name: &str, strategy: WaitStrategy) -> ipc_core::Result<Queue<T>> {
    let options = Queue::options(1).namespace(&namespace()).wait(strategy);
    options.open(name)
}

/// Blocking puts of items.
pub fn put(queue: Queue<Plain<Item>>) -> impl FnMut(Item) {
    move |item| queue.put(Plain(item)).expect("put an item")
}

/// Blocking gets of items.
pub fn get(queue: Queue<Plain<Item>>) -> impl FnMut() -> Item {
    move || queue.get().expect("get an item").0
}
