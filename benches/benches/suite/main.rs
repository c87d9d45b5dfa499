//! Floors, peers and the library, measured in one run that ends with the table of ratios.
//!
//! Groups ask one question each, and a figure names what it is held against. A figure named `floor_…` is the least that
//! the machine takes, one named `peer_…` is another system, `ipc_…` is ours.
#![allow(missing_docs)] // a program, not an API

mod broadcast;
mod dict;
mod family;
mod floors;
mod joinable;
mod loan;
mod ordered;
mod peers;
mod pipe;
mod pool;
mod process;
mod queue;
mod shared;
mod suite;
mod sync;
mod wait_set;

use criterion::Criterion;
use ipc_benches::report;
use std::time::Duration;
use suite::{Suite, WARM_UP};

/// Messages a queue holds, where nothing else is said.
const CAPACITY: usize = 1024;
/// Messages each of the two queues of a spinning round trip holds, and what the figures' names end in. The mailbox floor holds one.
/// From some hundred on, the queues outgrow the cores' first caches.
const ROUND_TRIPS: [(usize, &str); 3] = [(1, "_of_1"), (64, "_of_64"), (CAPACITY, "")];
/// Items a batch.
const BATCH: usize = 32;
/// Bytes of the file behind a queue of [`CAPACITY`] 64-byte messages, about: a cell takes two cache lines.
const OBJECT: usize = 128 * CAPACITY + (16 << 10);
/// The streams: bytes a message, group, messages on the way at most.
const STREAMS: [(usize, &str, usize); 4] = [
    (64, "stream_64B", 1024),
    (1 << 10, "stream_1KiB", 256),
    (64 << 10, "stream_64KiB", 16),
    (1 << 20, "stream_1MiB", 4),
];
/// Producers (and as many consumers) of one queue, and the group.
const CROWDS: [(usize, &str); 2] = [(2, "two_to_two"), (4, "four_to_four")];

fn main() {
    let criterion = Criterion::default()
        .output_directory(&report::directory())
        .warm_up_time(WARM_UP)
        .measurement_time(Duration::from_secs(2))
        .sample_size(15)
        .nresamples(5_000)
        .configure_from_args();
    let mut suite = Suite::new(criterion);
    floors::round_trips(&mut suite);
    peers::round_trips(&mut suite);
    queue::round_trips(&mut suite);
    pipe::round_trips(&mut suite);

    floors::one_to_one(&mut suite);
    peers::one_to_one(&mut suite);
    queue::one_to_one(&mut suite);
    joinable::one_to_one(&mut suite);
    ordered::one_to_one(&mut suite);
    peers::crowds(&mut suite);
    queue::crowds(&mut suite);
    peers::batches(&mut suite);
    queue::batches(&mut suite);
    peers::alone(&mut suite);
    queue::alone(&mut suite);
    joinable::alone(&mut suite);
    ordered::alone(&mut suite);

    pipe::one_by_one(&mut suite);
    pipe::batches(&mut suite);

    broadcast::publishers(&mut suite);

    floors::streams(&mut suite);
    peers::streams(&mut suite);
    queue::streams(&mut suite);

    loan::of_any_length(&mut suite);
    loan::filled_and_checked(&mut suite);

    floors::attach(&mut suite);
    queue::attach(&mut suite);

    dict::alone_all(&mut suite);
    dict::two_all(&mut suite);

    suite.measure_for(sync::TIME);
    sync::locks_alone(&mut suite);
    sync::locks_contended(&mut suite);
    sync::semaphores_alone(&mut suite);
    sync::events(&mut suite);
    sync::conditions(&mut suite);
    wait_set::round_trips(&mut suite);
    wait_set::ready(&mut suite);
    family::raw_blocks(&mut suite);
    family::families(&mut suite);
    shared::values(&mut suite);
    shared::lists(&mut suite);
    process::start_and_join(&mut suite);
    pool::pools(&mut suite);
    suite.finish();
}
