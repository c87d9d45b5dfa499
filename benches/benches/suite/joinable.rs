//! Our joinable queue, held against our queue: what a lease and its end cost.

use crate::CAPACITY;
use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::{Crew, Workers::Processes};
use ipc_benches::harness::{Item, item, one_to_one as one_to_one_crew, solo};
use ipc_benches::queue::{fresh_name, namespace};
use ipc_core::{JoinableQueue, Plain, QueueOptions, WaitStrategy};
use std::hint::black_box;
use std::time::Duration;

type Jobs = JoinableQueue<Plain<Item>>;

fn options() -> QueueOptions<Plain<Item>, Jobs> {
    Jobs::options(CAPACITY).namespace(&namespace())
}

/// With an end of the lease, which needs an exchange and the clock.
fn bounded() -> QueueOptions<Plain<Item>, Jobs> {
    options().lease_time(Duration::from_secs(3600))
}

fn put(jobs: Jobs) -> impl FnMut(Item) {
    move |item| jobs.put(Plain(item)).expect("put a job")
}

fn work(jobs: Jobs) -> impl FnMut() -> Item {
    move || {
        let job = jobs.get().expect("get a job");
        let item = job.0;
        job.task_done().expect("finish the job");
        item
    }
}

/// A put, a get and a `task_done` by one thread.
pub(crate) fn alone(suite: &mut Suite) {
    let figures = [
        ("ipc_joinable", options as fn() -> _),
        ("ipc_joinable_lease_time", bounded),
    ];
    for (name, options) in figures {
        suite.figure(
            ("put_get_alone", name),
            &["ipc_plain"],
            Throughput::Elements(1),
            move || {
                solo(move || {
                    let jobs = options().anonymous().expect("make a queue");
                    let (mut put, mut work) = (put(jobs.clone()), work(jobs));
                    move |index| {
                        put(item(index));
                        black_box(work());
                    }
                })
            },
        );
    }
}

/// Jobs a second, one producer and one worker.
pub(crate) fn one_to_one(suite: &mut Suite) {
    suite.figure(
        ("one_to_one", "ipc_joinable"),
        &["ipc_spin"],
        Throughput::Elements(1),
        producer_and_worker,
    );
}

fn producer_and_worker() -> Crew {
    let name = fresh_name();
    drop(options().create(&name).expect("make a queue"));
    let open = |name: String| {
        let options = options().wait(WaitStrategy::Spin);
        options.open(&name).expect("open the queue")
    };
    let (there, here) = (name.clone(), name.clone());
    let producer = move || put(open(there));
    let crew = one_to_one_crew(Processes, producer, move || work(open(here)));
    open(name).unlink().expect("remove its name"); // both workers have it open
    crew
}
