//! Crossbeam's `ArrayQueue`: the bounded queue of one process that ours is held against.

use crate::harness::Item;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;
use std::sync::Arc;

/// Tries until it works, as crossbeam's own users do: spin, and yield when that was not enough.
pub fn retry<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let backoff = Backoff::new();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        backoff.snooze();
    }
}

/// A queue of `capacity` items.
pub fn array_queue(capacity: usize) -> Arc<ArrayQueue<Item>> {
    Arc::new(ArrayQueue::new(capacity))
}

/// A put that waits for room.
pub fn array_put(queue: Arc<ArrayQueue<Item>>) -> impl FnMut(Item) {
    move |item| retry(|| queue.push(item).ok())
}

/// A get that waits for an item.
pub fn array_get(queue: Arc<ArrayQueue<Item>>) -> impl FnMut() -> Item {
    move || retry(|| queue.pop())
}
