//! Rings: shaq between processes; rtrb and crossbeam between threads.

use crate::traffic::{Link, Load, check, fill, message, retry};
use crossbeam_queue::ArrayQueue;
use ipc_benches::crew::Workers::{Processes, Threads};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::num::NonZero;
use std::sync::Arc;

fn memory_file() -> Arc<File> {
    let file = memfd_create("shaq", MFdFlags::MFD_CLOEXEC).expect("make a file in memory");
    Arc::new(File::from(file))
}

/// A shared array of words, as the rings move it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Words<const N: usize>([u64; N]);

/// shaq 3, which cannot sleep. Each message, or each batch, is published at once; messages are written and read in place.
pub(crate) fn shaq3<const N: usize>(load: Load) -> Link {
    let file = memory_file();
    let size = shaq3::spsc::minimum_file_size::<Words<N>>(load.capacity);
    // SAFETY: the file is new; the producer made here is dropped before another joins.
    let made = unsafe { shaq3::spsc::Producer::<Words<N>>::create(&file, size) };
    drop(made.expect("make a shaq queue"));
    let other = Arc::clone(&file);
    let put = move || {
        // SAFETY: the only producer, of the same type as the consumer.
        let joined = unsafe { shaq3::spsc::Producer::<Words<N>>::join(&file) };
        let mut producer = joined.expect("join as the producer");
        move |first| {
            load.batches(first, |first| {
                for number in first..first + load.batch as u64 {
                    let place = retry(|| {
                        // SAFETY: the place is filled below, before it is committed.
                        let place = unsafe { producer.reserve() };
                        if place.is_none() {
                            producer.commit();
                            producer.sync();
                        }
                        place
                    });
                    // SAFETY: a place for one message, ours until it is committed, in a file, whose bytes are never uninitialised.
                    fill(unsafe { &mut (*place.as_ptr()).0 }, number);
                }
                producer.commit();
            })
        }
    };
    let get = move || {
        // SAFETY: the only consumer, of the same type as the producer.
        let joined = unsafe { shaq3::spsc::Consumer::<Words<N>>::join(&other) };
        let mut consumer = joined.expect("join as the consumer");
        move |first| {
            load.batches(first, |first| {
                for number in first..first + load.batch as u64 {
                    loop {
                        if let Some(message) = consumer.try_read() {
                            check(&message.0, number);
                            break;
                        }
                        consumer.finalize();
                        consumer.sync();
                        std::hint::spin_loop();
                    }
                }
                consumer.finalize();
            })
        }
    };
    Link::new(Processes, put, get)
}

/// shaq 4, whose consumer can sleep; here it does not.
pub(crate) fn shaq4<const N: usize>(load: Load) -> Link {
    let file = memory_file();
    let size = shaq::spsc::minimum_file_size::<Words<N>>(load.capacity);
    // SAFETY: the file is new; the producer made here is dropped before another joins.
    let made = unsafe { shaq::spsc::Producer::<Words<N>>::create(&file, size) };
    drop(made.expect("make a shaq queue"));
    let other = Arc::clone(&file);
    let put = move || {
        // SAFETY: the only producer, of the same type as the consumer.
        let joined = unsafe { shaq::spsc::Producer::<Words<N>>::join(&file) };
        let mut producer = joined.expect("join as the producer");
        move |first| {
            load.batches(first, |first| {
                let mut next = first;
                while next < first + load.batch as u64 {
                    let mut batch = producer.write_batch();
                    while next < first + load.batch as u64 {
                        // SAFETY: the place is filled at once.
                        let Some(place) = (unsafe { batch.try_as_mut() }) else {
                            break;
                        };
                        // SAFETY: a place for one message, ours until the batch is published, in a file, whose bytes are never
                        // uninitialised.
                        fill(unsafe { &mut (*place.as_mut_ptr()).0 }, next);
                        next += 1;
                    }
                    drop(batch); // published
                }
            })
        }
    };
    let get = move || {
        // SAFETY: the only consumer, of the same type as the producer.
        let joined = unsafe { shaq::spsc::Consumer::<Words<N>>::join(&other) };
        let mut consumer = joined.expect("join as the consumer");
        move |first| {
            load.batches(first, |first| {
                let mut next = first;
                while next < first + load.batch as u64 {
                    let left = load.batch - (next - first) as usize;
                    let most = NonZero::new(left).expect("some are left");
                    let Some(batch) = consumer.try_reserve_read_batch(most) else {
                        std::hint::spin_loop();
                        continue;
                    };
                    for message in batch.iter() {
                        check(&message.0, next);
                        next += 1;
                    }
                }
            })
        }
    };
    Link::new(Processes, put, get)
}

/// rtrb, between threads.
pub(crate) fn rtrb<const N: usize>(load: Load) -> Link {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<[u64; N]>::new(load.capacity);
    let put = move || {
        move |first| {
            load.batches(first, |first| {
                if load.batch == 1 {
                    let mut words = message::<N>(first);
                    return retry(|| match producer.push(words) {
                        Ok(()) => Some(()),
                        Err(rtrb::PushError::Full(back)) => {
                            words = back;
                            None
                        }
                    });
                }
                retry(|| (producer.slots() >= load.batch).then_some(()));
                let chunk = producer.write_chunk_uninit(load.batch).expect("room");
                let messages = (first..first + load.batch as u64).map(message::<N>);
                assert_eq!(chunk.fill_from_iter(messages), load.batch);
            })
        }
    };
    let get = move || {
        move |first| {
            load.batches(first, |first| {
                if load.batch == 1 {
                    return check(&retry(|| consumer.pop().ok()), first);
                }
                retry(|| (consumer.slots() >= load.batch).then_some(()));
                let chunk = consumer.read_chunk(load.batch).expect("messages");
                for (number, message) in (first..).zip(chunk) {
                    check(&message, number);
                }
            })
        }
    };
    Link::new(Threads, put, get)
}

/// crossbeam's `ArrayQueue`, between threads.
pub(crate) fn array_queue<const N: usize>(load: Load) -> Link {
    let queue = Arc::new(ArrayQueue::<[u64; N]>::new(load.capacity));
    let other = Arc::clone(&queue);
    let put = move || {
        move |first| {
            load.batches(first, |number| {
                let words = message::<N>(number);
                retry(|| queue.push(words).ok());
            })
        }
    };
    let get =
        move || move |first| load.batches(first, |number| check(&retry(|| other.pop()), number));
    Link::new(Threads, put, get)
}

/// crossbeam's bounded channel, between threads: spins a little, then sleeps.
pub(crate) fn channel<const N: usize>(load: Load) -> Link {
    let (sender, receiver) = crossbeam_channel::bounded::<[u64; N]>(load.capacity);
    let put = move || {
        move |first| {
            load.batches(first, |number| {
                sender.send(message::<N>(number)).expect("send")
            })
        }
    };
    let get = move || {
        move |first| {
            load.batches(first, |number| {
                check(&receiver.recv().expect("receive"), number)
            })
        }
    };
    Link::new(Threads, put, get)
}
