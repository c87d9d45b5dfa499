//! Other systems, each in its strongest fair form: pinned like ours, 64-byte messages, the same capacity.
//!
//! `ArrayQueue` and kanal live in one process, so they run between threads; shaq and pipes run between processes, as we do.
#![allow(unsafe_code)]

use crate::suite::Suite;
use crate::{BATCH, CAPACITY, CROWDS, ROUND_TRIPS, STREAMS};
use criterion::Throughput;
use ipc_benches::array_queue::{array_get, array_put, array_queue, retry};
use ipc_benches::crew::Workers::{Processes, Threads};
use ipc_benches::harness::{
    Item, Placement, batched, item, n_to_n, one_to_one as one_to_one_crew, round_trip, solo, stream,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::num::NonZeroUsize;
use std::sync::Arc;

fn kanal_put(queue: kanal::Sender<Item>) -> impl FnMut(Item) {
    move |item| queue.send(item).expect("the receiver is there")
}

fn kanal_get(queue: kanal::Receiver<Item>) -> impl FnMut() -> Item {
    move || queue.recv().expect("the sender is there")
}

/// A file in memory that crosses the fork; each worker maps it by itself.
fn memory_file() -> Arc<File> {
    let file = memfd_create("shaq", MFdFlags::MFD_CLOEXEC).expect("make a file in memory");
    Arc::new(File::from(file))
}

fn shaq_one() -> Arc<File> {
    let file = memory_file();
    let size = shaq::spsc::minimum_file_size::<Item>(CAPACITY);
    // SAFETY: the file is new; the producer made here is dropped before another joins.
    drop(unsafe { shaq::spsc::Producer::<Item>::create(&file, size) }.expect("make a shaq queue"));
    file
}

fn shaq_one_producer(file: &File) -> shaq::spsc::Producer<Item> {
    // SAFETY: the harness makes one producer a queue, and both ends hold `Item`s.
    unsafe { shaq::spsc::Producer::join(file) }.expect("join as the producer")
}

fn shaq_one_consumer(file: &File) -> shaq::spsc::Consumer<Item> {
    // SAFETY: the harness makes one consumer a queue, and both ends hold `Item`s.
    unsafe { shaq::spsc::Consumer::join(file) }.expect("join as the consumer")
}

fn shaq_one_put(file: &File) -> impl FnMut(Item) + use<> {
    let mut producer = shaq_one_producer(file);
    move |item| retry(|| producer.try_write(item).ok())
}

fn shaq_one_get(file: &File) -> impl FnMut() -> Item + use<> {
    let mut consumer = shaq_one_consumer(file);
    move || retry(|| consumer.try_read())
}

fn shaq_many() -> Arc<File> {
    let file = memory_file();
    let size = shaq::mpmc::minimum_file_size::<Item>(CAPACITY);
    // SAFETY: the file is new, and this is its only initialisation.
    drop(unsafe { shaq::mpmc::Producer::<Item>::create(&file, size) }.expect("make a shaq queue"));
    file
}

fn shaq_many_producer(file: &File) -> shaq::mpmc::Producer<Item> {
    // SAFETY: every end of this queue holds `Item`s.
    unsafe { shaq::mpmc::Producer::join(file) }.expect("join as a producer")
}

fn shaq_many_consumer(file: &File) -> shaq::mpmc::Consumer<Item> {
    // SAFETY: every end of this queue holds `Item`s.
    unsafe { shaq::mpmc::Consumer::join(file) }.expect("join as a consumer")
}

fn shaq_many_put(file: &File) -> impl FnMut(Item) + use<> {
    let producer = shaq_many_producer(file);
    move |item| retry(|| producer.try_write(item).ok())
}

fn shaq_many_get(file: &File) -> impl FnMut() -> Item + use<> {
    let consumer = shaq_many_consumer(file);
    move || retry(|| consumer.try_read())
}

fn pipe_put(mut pipe: PipeWriter) -> impl FnMut(Item) {
    move |item| pipe.write_all(&item).expect("write to the pipe")
}

fn pipe_get(mut pipe: PipeReader) -> impl FnMut() -> Item {
    move || {
        let mut item = [0; 64];
        pipe.read_exact(&mut item).expect("read from the pipe");
        item
    }
}

/// A 64-byte message there and back.
pub(crate) fn round_trips(suite: &mut Suite) {
    let group = "round_trip";
    let one = || Throughput::Elements(1);
    let apart = Placement::Apart;
    for (capacity, ending) in ROUND_TRIPS {
        suite.figure(
            (group, &format!("peer_array_queue{ending}")),
            &["floor_mailbox"],
            one(),
            move || {
                let (there, back) = (array_queue(capacity), array_queue(capacity));
                let (asked, answer) = (Arc::clone(&there), Arc::clone(&back));
                let client = || (array_put(there), array_get(back));
                round_trip(Threads, apart, client, || {
                    (array_put(answer), array_get(asked))
                })
            },
        );
    }
    suite.figure(
        (group, "peer_shaq_spsc"),
        &["floor_mailbox"],
        one(),
        move || {
            let (there, back) = (shaq_one(), shaq_one());
            let (asked, answer) = (Arc::clone(&there), Arc::clone(&back));
            let client = move || (shaq_one_put(&there), shaq_one_get(&back));
            round_trip(Processes, apart, client, move || {
                (shaq_one_put(&answer), shaq_one_get(&asked))
            })
        },
    );
    let placements = [
        (
            "peer_pipe_two_cores",
            "floor_futex_two_cores",
            Placement::Apart,
        ),
        (
            "peer_pipe_one_core",
            "floor_futex_one_core",
            Placement::Together,
        ),
    ];
    for (name, floor, placement) in placements {
        suite.figure((group, name), &[floor], one(), move || {
            let (asked, ask) = pipe().expect("make a pipe");
            let (answered, answer) = pipe().expect("make a pipe");
            let client = || (pipe_put(ask), pipe_get(answered));
            round_trip(Processes, placement, client, || {
                (pipe_put(answer), pipe_get(asked))
            })
        });
    }
}

/// Items a second through one queue, one producer and one consumer.
pub(crate) fn one_to_one(suite: &mut Suite) {
    let group = "one_to_one";
    let one = || Throughput::Elements(1);
    suite.figure(
        (group, "peer_array_queue"),
        &["floor_slots"],
        one(),
        move || {
            let queue = array_queue(CAPACITY);
            let other = Arc::clone(&queue);
            one_to_one_crew(Threads, || array_put(queue), || array_get(other))
        },
    );
    suite.figure(
        (group, "peer_kanal"),
        &["floor_slots", "peer_array_queue"],
        one(),
        move || {
            let (sender, receiver) = kanal::bounded(CAPACITY);
            one_to_one_crew(Threads, || kanal_put(sender), || kanal_get(receiver))
        },
    );
    suite.figure(
        (group, "peer_shaq_spsc"),
        &["floor_slots", "peer_array_queue"],
        one(),
        move || {
            let file = shaq_one();
            let other = Arc::clone(&file);
            one_to_one_crew(
                Processes,
                move || shaq_one_put(&file),
                move || shaq_one_get(&other),
            )
        },
    );
    suite.figure(
        (group, "peer_shaq_mpmc"),
        &["floor_slots", "peer_array_queue"],
        one(),
        move || {
            let file = shaq_many();
            let other = Arc::clone(&file);
            one_to_one_crew(
                Processes,
                move || shaq_many_put(&file),
                move || shaq_many_get(&other),
            )
        },
    );
}

/// Items a second through one queue, several producers and as many consumers.
///
/// Without shaq: it publishes in order of reservation and spins blindly for its turn, as DPDK's ring does. With two
/// consumers on one core each waits out the other's time slice for every item, and a figure would take hours.
pub(crate) fn crowds(suite: &mut Suite) {
    for (pairs, group) in CROWDS {
        let all = || Throughput::Elements(pairs as u64);
        suite.figure((group, "peer_array_queue"), &[], all(), move || {
            let queue = array_queue(CAPACITY);
            let other = Arc::clone(&queue);
            n_to_n(Threads, pairs, || array_put(queue), || array_get(other))
        });
        suite.figure(
            (group, "peer_kanal"),
            &["peer_array_queue"],
            all(),
            move || {
                let (sender, receiver) = kanal::bounded(CAPACITY);
                n_to_n(Threads, pairs, || kanal_put(sender), || kanal_get(receiver))
            },
        );
    }
}

/// Items a second in batches of [`BATCH`], one producer and one consumer. `ArrayQueue` has no batches: it goes item by item.
pub(crate) fn batches(suite: &mut Suite) {
    let group = "batch_32";
    let batch = || Throughput::Elements(BATCH as u64);
    suite.figure(
        (group, "peer_array_queue_singly"),
        &[],
        batch(),
        move || {
            let queue = array_queue(CAPACITY);
            let other = Arc::clone(&queue);
            let put = || {
                let mut put = array_put(queue);
                move |items: &[Item]| items.iter().for_each(|item| put(*item))
            };
            let get = || {
                let mut get = array_get(other);
                move |max: usize| (0..max).map(|_| black_box(get())).count()
            };
            batched(Threads, BATCH, put, get)
        },
    );
    suite.figure(
        (group, "peer_shaq_spsc"),
        &["peer_array_queue_singly"],
        batch(),
        move || {
            let file = shaq_one();
            let other = Arc::clone(&file);
            batched(
                Processes,
                BATCH,
                move || shaq_one_put_many(&file),
                move || shaq_one_get_many(&other),
            )
        },
    );
    suite.figure(
        (group, "peer_shaq_mpmc"),
        &["peer_array_queue_singly"],
        batch(),
        move || {
            let file = shaq_many();
            let other = Arc::clone(&file);
            let put = move || {
                let producer = shaq_many_producer(&file);
                move |items: &[Item]| retry(|| producer.try_write_slice(items).then_some(()))
            };
            let get = move || {
                let consumer = shaq_many_consumer(&other);
                move |max| {
                    let max = NonZeroUsize::new(max).expect("the harness asks for at least one");
                    let items = retry(|| consumer.try_reserve_read_batch(max));
                    items.into_iter().map(black_box).count()
                }
            };
            batched(Processes, BATCH, put, get)
        },
    );
}

fn shaq_one_put_many(file: &File) -> impl FnMut(&[Item]) + use<> {
    let mut producer = shaq_one_producer(file);
    move |items| {
        let mut left = items;
        retry(|| {
            let mut batch = producer.write_batch();
            while let Some((first, rest)) = left.split_first() {
                if batch.try_write(*first).is_err() {
                    break;
                }
                left = rest;
            }
            left.is_empty().then_some(())
        });
    }
}

fn shaq_one_get_many(file: &File) -> impl FnMut(usize) -> usize + use<> {
    let mut consumer = shaq_one_consumer(file);
    move |max| {
        let max = NonZeroUsize::new(max).expect("the harness asks for at least one");
        // Counted inside: a batch borrows the consumer and cannot leave the closure.
        retry(|| {
            Some(
                consumer
                    .try_reserve_read_batch(max)?
                    .into_iter()
                    .map(black_box)
                    .count(),
            )
        })
    }
}

/// A put and a get by one thread: no cache line moves, only instructions count.
pub(crate) fn alone(suite: &mut Suite) {
    let group = "put_get_alone";
    let one = || Throughput::Elements(1);
    suite.figure((group, "peer_array_queue"), &[], one(), move || {
        let queue = array_queue(CAPACITY);
        solo(move || {
            let (mut put, mut get) = (array_put(Arc::clone(&queue)), array_get(queue));
            move |index| {
                put(item(index));
                black_box(get());
            }
        })
    });
    suite.figure(
        (group, "peer_shaq_mpmc"),
        &["peer_array_queue"],
        one(),
        move || {
            let file = shaq_many();
            solo(move || {
                let (mut put, mut get) = (shaq_many_put(&file), shaq_many_get(&file));
                move |index| {
                    put(item(index));
                    black_box(get());
                }
            })
        },
    );
}

/// Bytes a second through the kernel.
pub(crate) fn streams(suite: &mut Suite) {
    for (size, group, _) in STREAMS {
        let against = ["floor_copy_twice", "floor_slots"];
        suite.figure(
            (group, "peer_pipe"),
            &against,
            Throughput::Bytes(size as u64),
            move || {
                let (mut reader, mut writer) = pipe().expect("make a pipe");
                let put =
                    || move |message: &[u8]| writer.write_all(message).expect("write to the pipe");
                let get = move || {
                    let mut message = vec![0; size];
                    move || {
                        reader.read_exact(&mut message).expect("read from the pipe");
                        message.len()
                    }
                };
                stream(Processes, size, put, get)
            },
        );
    }
}
