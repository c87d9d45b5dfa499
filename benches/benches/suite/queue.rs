//! Our queue, between processes that open it by name.
//!
//! Without a suffix a figure spins ([`WaitStrategy::Spin`]), as floors and peers do. `unpinned` leaves the choice of cores
//! to the scheduler, as most users do: a pinned process sees one core, and [`WaitStrategy::Adaptive`] may draw conclusions.

use crate::suite::Suite;
use crate::{BATCH, CAPACITY, CROWDS, ROUND_TRIPS, STREAMS};
use criterion::Throughput;
use ipc_benches::crew::{Crew, Workers::Processes};
use ipc_benches::harness::{
    Item, Placement, batched, item, n_to_n, one_to_one as one_to_one_crew, round_trip, solo, stream,
};
use ipc_benches::queue::{Named, fresh_name, get, namespace, put};
use ipc_benches::unpin;
use ipc_core::{Bytes, Plain, Queue, WaitStrategy};
use std::hint::black_box;

/// Memory for the messages of a stream: at least and at most.
const STREAM_MEMORY: (usize, usize) = (8 << 20, 32 << 20);
/// Memory of the large queue that is attached to.
const LARGE: usize = 16 << 20;

pub(crate) fn items() -> Named<Plain<Item>> {
    Named::create(Queue::options(CAPACITY))
}

/// Whether the workers stay on the cores that the crew gave them.
#[derive(Clone, Copy)]
enum Cores {
    Pinned,
    Free,
}

impl Cores {
    /// In the worker, before it opens anything.
    fn settle(self) {
        if let Self::Free = self {
            unpin();
        }
    }
}

/// A 64-byte message there and back, through two queues.
pub(crate) fn round_trips(suite: &mut Suite) {
    use Cores::{Free, Pinned};
    use Placement::{Apart, Together};
    use WaitStrategy::{Adaptive, Sleep, Spin};
    let two_cores = &["floor_futex_two_cores", "peer_pipe_two_cores"][..];
    let one_core = &["floor_futex_one_core", "peer_pipe_one_core"][..];
    for (capacity, ending) in ROUND_TRIPS {
        let peer = format!("peer_array_queue{ending}");
        suite.figure(
            ("round_trip", &format!("ipc_spin{ending}")),
            &["floor_mailbox", &peer],
            Throughput::Elements(1),
            move || there_and_back(capacity, Spin, Apart, Pinned),
        );
    }
    let mut figure = |name, against, strategy, placement, cores| {
        suite.figure(
            ("round_trip", name),
            against,
            Throughput::Elements(1),
            move || there_and_back(CAPACITY, strategy, placement, cores),
        );
    };
    figure("ipc_adaptive_two_cores", two_cores, Adaptive, Apart, Pinned);
    figure("ipc_sleep_two_cores", two_cores, Sleep, Apart, Pinned);
    figure("ipc_adaptive_unpinned", two_cores, Adaptive, Apart, Free);
    figure(
        "ipc_adaptive_one_core",
        one_core,
        Adaptive,
        Together,
        Pinned,
    );
    figure("ipc_sleep_one_core", one_core, Sleep, Together, Pinned);
}

fn there_and_back(
    capacity: usize,
    strategy: WaitStrategy,
    placement: Placement,
    cores: Cores,
) -> Crew {
    let queue = || Named::create(Queue::options(capacity));
    let (there, back) = (queue(), queue());
    let ends = |out: &Named<_>, home: &Named<_>| {
        let (out, home) = (out.open_with(strategy), home.open_with(strategy));
        move || {
            cores.settle();
            (put(out()), get(home()))
        }
    };
    round_trip(
        Processes,
        placement,
        ends(&there, &back),
        ends(&back, &there),
    )
}

/// Items a second, one producer and one consumer.
pub(crate) fn one_to_one(suite: &mut Suite) {
    let figures = [
        ("ipc_spin", WaitStrategy::Spin, Cores::Pinned),
        ("ipc_adaptive", WaitStrategy::Adaptive, Cores::Pinned),
        ("ipc_adaptive_unpinned", WaitStrategy::Adaptive, Cores::Free),
    ];
    for (name, strategy, cores) in figures {
        suite.figure(
            ("one_to_one", name),
            &["floor_slots", "peer_array_queue"],
            Throughput::Elements(1),
            move || {
                let queue = items();
                let (producer, consumer) = (queue.open_with(strategy), queue.open_with(strategy));
                let producer = move || {
                    cores.settle();
                    put(producer())
                };
                let consumer = move || {
                    cores.settle();
                    get(consumer())
                };
                one_to_one_crew(Processes, producer, consumer)
            },
        );
    }
}

/// Items a second, several producers and as many consumers.
pub(crate) fn crowds(suite: &mut Suite) {
    for (pairs, group) in CROWDS {
        suite.figure(
            (group, "ipc_spin"),
            &["peer_array_queue", "peer_kanal", "one_to_one/ipc_spin"],
            Throughput::Elements(pairs as u64),
            move || {
                let queue = items();
                let open = queue.open_with(WaitStrategy::Spin);
                let other = open.clone();
                n_to_n(Processes, pairs, || put(open()), || get(other()))
            },
        );
    }
}

/// Items a second in batches, one producer and one consumer.
pub(crate) fn batches(suite: &mut Suite) {
    let figures = [
        (
            ("batch_32", BATCH),
            &[
                "one_to_one/ipc_spin",
                "peer_array_queue_singly",
                "peer_shaq_spsc",
                "peer_shaq_mpmc",
            ][..],
        ),
        (
            ("batch_64", 64),
            &["one_to_one/ipc_spin", "batch_32/ipc_spin"][..],
        ),
    ];
    for ((group, batch), against) in figures {
        suite.figure(
            (group, "ipc_spin"),
            against,
            Throughput::Elements(batch as u64),
            move || {
                let queue = items();
                let open = queue.open_with(WaitStrategy::Spin);
                let other = open.clone();
                let put = move || {
                    let queue = open();
                    move |items: &[Item]| {
                        let put = queue.put_many(items.iter().map(|item| Plain(*item)));
                        assert_eq!(put.expect("put a batch"), items.len());
                    }
                };
                let get = move || {
                    let queue = other();
                    move |max| black_box(queue.get_many(max).expect("get a batch")).len()
                };
                batched(Processes, batch, put, get)
            },
        );
    }
}

/// A put and a get by one thread.
pub(crate) fn alone(suite: &mut Suite) {
    let group = "put_get_alone";
    let against = &["peer_array_queue"];
    let one = || Throughput::Elements(1);
    suite.figure((group, "ipc_plain"), against, one(), || {
        solo(|| {
            let queue = items();
            let (mut put, mut get) = (put(queue.open()), get(queue.open()));
            move |index| {
                put(item(index));
                black_box(get());
            }
        })
    });
    // From and into buffers that stay.
    suite.figure((group, "ipc_slice"), against, one(), || {
        solo(|| {
            let queue = Named::<Bytes>::create(Queue::options(CAPACITY)).open();
            let mut buffer = Vec::new();
            move |index| {
                queue.put_slice(&item(index)).expect("put a slice");
                black_box(queue.get_into(&mut buffer).expect("get into a buffer"));
            }
        })
    });
    // Two allocations a message: one is put, the other got.
    suite.figure((group, "ipc_bytes"), against, one(), || {
        solo(|| {
            let queue = Named::<Bytes>::create(Queue::options(CAPACITY)).open();
            move |index| {
                queue.put(Bytes::from(item(index))).expect("put bytes");
                black_box(queue.get().expect("get bytes"));
            }
        })
    });
}

/// Bytes a second: `ipc_slice` from and into buffers that stay, `ipc_bytes` with a fresh `Vec` for each put and each get.
/// As many messages are on the way as in the floor's slots.
pub(crate) fn streams(suite: &mut Suite) {
    let open = |size: usize, on_the_way: usize| {
        let memory = (2 * size * on_the_way).clamp(STREAM_MEMORY.0, STREAM_MEMORY.1);
        Named::<Bytes>::create(Queue::options(on_the_way).memory(memory))
    };
    for (size, group, on_the_way) in STREAMS {
        let against = &["floor_copy_twice", "floor_slots"];
        let bytes = || Throughput::Bytes(size as u64);
        suite.figure((group, "ipc_slice"), against, bytes(), move || {
            let queue = open(size, on_the_way);
            let producer = queue.open_with(WaitStrategy::Spin);
            let consumer = producer.clone();
            let put = move || {
                let queue = producer();
                move |message: &[u8]| queue.put_slice(message).expect("put a slice")
            };
            let get = move || {
                let (queue, mut buffer) = (consumer(), Vec::new());
                move || {
                    let length = queue.get_into(&mut buffer).expect("get into a buffer");
                    black_box(&buffer);
                    length
                }
            };
            stream(Processes, size, put, get)
        });
        suite.figure((group, "ipc_bytes"), against, bytes(), move || {
            let queue = open(size, on_the_way);
            let producer = queue.open_with(WaitStrategy::Spin);
            let consumer = producer.clone();
            let put = move || {
                let queue = producer();
                move |message: &[u8]| queue.put(Bytes::from(message)).expect("put bytes")
            };
            let get = move || {
                let queue = consumer();
                move || black_box(queue.get().expect("get bytes")).0.len()
            };
            stream(Processes, size, put, get)
        });
    }
}

/// Opening a queue in a process that does not have it open, and making one: the time counts, not the rate.
pub(crate) fn attach(suite: &mut Suite) {
    let group = "attach";
    let one = || Throughput::Elements(1);
    suite.figure((group, "ipc_open"), &["floor_open"], one(), || {
        solo(|| {
            let queue = items();
            move |_| drop(queue.open())
        })
    });
    suite.figure((group, "ipc_open_16MiB"), &["floor_open"], one(), || {
        solo(|| {
            let queue = Named::<Bytes>::create(Queue::options(CAPACITY).memory(LARGE));
            move |_| drop(queue.open())
        })
    });
    suite.figure((group, "ipc_create"), &["floor_create"], one(), || {
        solo(|| {
            let (name, options) = (fresh_name(), Queue::<Plain<Item>>::options(CAPACITY));
            let options = options.namespace(&namespace());
            move |_| {
                let queue = options.create(&name).expect("make a queue");
                queue.unlink().expect("remove its name");
            }
        })
    });
}
