//! Our queues that order what they hold, held against a mutex around the standard library's containers, which survives nothing.

use crate::CAPACITY;
use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::{Crew, Workers::Processes};
use ipc_benches::harness::{Item, item, one_to_one as one_to_one_crew, solo};
use ipc_benches::queue::{fresh_name, namespace};
use ipc_core::{LifoQueue, Plain, PriorityQueue, QueueOptions, WaitStrategy};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Mutex;

type Lifo = LifoQueue<Plain<Item>>;
type Priority = PriorityQueue<Plain<Item>>;

/// Messages in the queue while others come and go: none, and enough for a heap to be ten high.
const FILLINGS: [(usize, &str); 2] = [(0, ""), (1000, "_of_1000")];

fn lifo() -> QueueOptions<Plain<Item>, Lifo> {
    Lifo::options(CAPACITY).namespace(&namespace())
}

fn priority() -> QueueOptions<Plain<Item>, Priority> {
    Priority::options(CAPACITY).namespace(&namespace())
}

/// Priorities without an order, the same ones for everybody.
fn mixed(index: u64) -> i64 {
    (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64
}

/// A put and a get by one thread.
pub(crate) fn alone(suite: &mut Suite) {
    for (waiting, suffix) in FILLINGS {
        let mut figure = |name: &str, against: &[&str], start: fn(usize) -> Crew| {
            let name = format!("{name}{suffix}");
            let against: Vec<_> = against.iter().map(|n| format!("{n}{suffix}")).collect();
            let against: Vec<_> = against.iter().map(String::as_str).collect();
            let throughput = Throughput::Elements(1);
            suite.figure(
                ("put_get_ordered", &name),
                &against,
                throughput,
                move || start(waiting),
            );
        };
        figure("peer_mutex_vec", &[], vec_alone);
        figure("ipc_lifo", &["peer_mutex_vec"], lifo_alone);
        figure("peer_mutex_heap", &[], heap_alone);
        figure("ipc_priority", &["peer_mutex_heap"], priority_alone);
    }
}

fn vec_alone(waiting: usize) -> Crew {
    solo(move || {
        let stack = Mutex::new(Vec::with_capacity(CAPACITY));
        let push = move |stack: &Mutex<Vec<Item>>, item| stack.lock().expect("lock").push(item);
        (0..waiting as u64).for_each(|index| push(&stack, item(index)));
        move |index| {
            push(&stack, item(index));
            black_box(stack.lock().expect("lock").pop());
        }
    })
}

fn lifo_alone(waiting: usize) -> Crew {
    solo(move || {
        let queue = lifo().anonymous().expect("make a queue");
        let put = |queue: &Lifo, item| queue.put(Plain(item)).expect("put");
        (0..waiting as u64).for_each(|index| put(&queue, item(index)));
        move |index| {
            put(&queue, item(index));
            black_box(queue.get().expect("get"));
        }
    })
}

fn heap_alone(waiting: usize) -> Crew {
    solo(move || {
        // The index keeps equals in order, as ours does.
        let heap = Mutex::new(BinaryHeap::with_capacity(CAPACITY));
        let push = |heap: &Mutex<BinaryHeap<_>>, index| {
            let entry = Reverse((mixed(index), index, item(index)));
            heap.lock().expect("lock").push(entry);
        };
        (0..waiting as u64).for_each(|index| push(&heap, index));
        move |index| {
            push(&heap, index);
            black_box(heap.lock().expect("lock").pop());
        }
    })
}

fn priority_alone(waiting: usize) -> Crew {
    solo(move || {
        let queue = priority().anonymous().expect("make a queue");
        let put = |queue: &Priority, index| {
            queue.put(mixed(index), Plain(item(index))).expect("put");
        };
        (0..waiting as u64).for_each(|index| put(&queue, index));
        move |index| {
            put(&queue, index);
            black_box(queue.get().expect("get"));
        }
    })
}

/// Messages a second, one producer and one consumer; all with one priority, so that they come in order.
pub(crate) fn one_to_one(suite: &mut Suite) {
    suite.figure(
        ("one_to_one", "ipc_priority"),
        &["ipc_spin"],
        Throughput::Elements(1),
        producer_and_consumer,
    );
}

fn producer_and_consumer() -> Crew {
    let name = fresh_name();
    drop(priority().create(&name).expect("make a queue"));
    let open = |name: String| {
        let options = priority().wait(WaitStrategy::Spin);
        options.open(&name).expect("open the queue")
    };
    let (there, here) = (name.clone(), name.clone());
    let producer = move || {
        let queue = open(there);
        move |item| queue.put(0, Plain(item)).expect("put")
    };
    let consumer = move || {
        let queue = open(here);
        move || queue.get().expect("get").1.0
    };
    let crew = one_to_one_crew(Processes, producer, consumer);
    open(name).unlink().expect("remove its name"); // both workers have it open
    crew
}
