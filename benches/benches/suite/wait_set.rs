//! Waiting for any of many: what a set adds to a blocking get, and what it takes to learn what is ready.

use crate::suite::Suite;
use crate::{CAPACITY, queue::items};
use criterion::Throughput;
use ipc_benches::crew::{Crew, Workers::Processes};
use ipc_benches::harness::{Item, Placement, item, round_trip, solo};
use ipc_benches::queue::{Named, get, put};
use ipc_core::{Plain, Queue, WaitSet, WaitStrategy, Waitable, wait};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// How many queues, or pipes, there are to wait for.
const SIZES: [usize; 3] = [1, 8, 64];

/// A 64-byte message there and back, asleep on one core: the client waits for any of so many queues, of which the last brings its
/// answer. The server gets as usual.
pub(crate) fn round_trips(suite: &mut Suite) {
    let one = || Throughput::Elements(1);
    suite.figure(("wait_set_round_trip", "peer_get"), &[], one(), || {
        there_and_back(None)
    });
    for size in SIZES {
        suite.figure(
            ("wait_set_round_trip", &format!("ipc_of_{size}")),
            &["peer_get"],
            one(),
            move || there_and_back(Some(size)),
        );
    }
}

fn there_and_back(size: Option<usize>) -> Crew {
    let (there, back) = (items(), items());
    let others: Vec<Named<Plain<Item>>> = (1..size.unwrap_or(1)).map(|_| items()).collect();
    let open = |queue: &Named<Plain<Item>>| queue.open_with(WaitStrategy::Sleep);
    let (out, home) = (open(&there), open(&back));
    let others: Vec<_> = others.iter().map(open).collect();
    let client = move || {
        let (out, home) = (put(out()), home());
        let others: Vec<_> = others.into_iter().map(|open| open()).collect();
        let mut answer = answers(size.is_some(), home, others);
        (out, move || answer())
    };
    let (out, home) = (open(&back), open(&there));
    let server = move || (put(out()), get(home()));
    round_trip(Processes, Placement::Together, client, server)
}

/// Gets from a queue: as usual, or by a set with it and others.
fn answers(
    by_set: bool,
    home: Queue<Plain<Item>>,
    others: Vec<Queue<Plain<Item>>>,
) -> impl FnMut() -> Item {
    let mut set = WaitSet::new();
    set.set_wait_strategy(WaitStrategy::Sleep);
    for (key, queue) in others.iter().chain([&home]).enumerate() {
        set.add(key, queue).expect("it needs nothing");
    }
    move || {
        let _ = &others; // open as long as this
        if !by_set {
            return home.get().expect("it is open").0;
        }
        loop {
            if let Ok(answer) = home.try_get() {
                return answer.0;
            }
            black_box(set.wait().expect("it can wait"));
        }
    }
}

/// One wait of which one thing, the last, is ready: by a set, by the function that makes one for the occasion, and by `poll(2)` on as many
/// pipes of the kernel.
pub(crate) fn ready(suite: &mut Suite) {
    for size in SIZES {
        let group = format!("wait_ready_of_{size}");
        let one = || Throughput::Elements(1);
        suite.figure((&group, "peer_poll"), &[], one(), move || {
            solo(move || {
                let pipes = kernel_pipes(size);
                move |_| {
                    let mut all: Vec<PollFd<'_>> = pipes
                        .iter()
                        .map(|(reader, _)| PollFd::new(reader.as_fd(), PollFlags::POLLIN))
                        .collect();
                    let ready = poll(&mut all, PollTimeout::NONE).expect("they can be polled");
                    assert_eq!(black_box(ready), 1);
                }
            })
        });
        suite.figure((&group, "ipc_set"), &["peer_poll"], one(), move || {
            solo(move || {
                let queues = queues(size);
                let mut set = WaitSet::new();
                for (key, queue) in queues.iter().enumerate() {
                    set.add(key, queue).expect("it needs nothing");
                }
                move |_| {
                    let _ = &queues;
                    assert_eq!(black_box(set.wait().expect("it can wait")), [size - 1]);
                }
            })
        });
        suite.figure((&group, "ipc_wait"), &["peer_poll"], one(), move || {
            solo(move || {
                let queues = queues(size);
                move |_| {
                    let all: Vec<&dyn Waitable> = queues.iter().map(|q| q as _).collect();
                    let ready = wait(&all, None::<Duration>).expect("it can wait");
                    assert_eq!(black_box(ready), [size - 1]);
                }
            })
        });
    }
}

/// Pipes of which the last has a byte in it.
fn kernel_pipes(count: usize) -> Vec<(PipeReader, PipeWriter)> {
    let mut pipes: Vec<_> = (0..count)
        .map(|_| std::io::pipe().expect("make a pipe"))
        .collect();
    let (_, writer) = pipes.last_mut().expect("there is one");
    writer.write_all(b"x").expect("it has room");
    pipes
}

/// Queues of which the last has a message in it.
fn queues(count: usize) -> Vec<Queue<Plain<Item>>> {
    let make = |_| Named::create(Queue::options(CAPACITY.min(4))).open();
    let queues: Vec<Queue<Plain<Item>>> = (0..count).map(make).collect();
    let last = queues.last().expect("there is one");
    last.put(Plain(item(1))).expect("it has room");
    queues
}
