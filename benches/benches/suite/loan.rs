//! Messages that are written and read in place. What one costs must not depend on its length: each figure is held against that of
//! 64 bytes. And what it is for: bytes that are filled and checked where they lie, against as many that are copied once.
#![allow(unsafe_code)]

use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::{Crew, Role, Rounds, Workers::Threads};
use ipc_benches::harness::solo;
use ipc_benches::nth_core;
use ipc_benches::queue::namespace;
use ipc_core::{Broadcast, Bytes, Pipe, Queue, Receiver, Sender, Subscriber, WaitStrategy};
use std::hint::black_box;

/// Bytes of a loan, and the figures: of a pipe, of a queue, of a broadcast.
const SIZES: [(usize, &str, &str, &str); 5] = [
    (64, "ipc_pipe_64B", "ipc_queue_64B", "ipc_broadcast_64B"),
    (
        4 << 10,
        "ipc_pipe_4KiB",
        "ipc_queue_4KiB",
        "ipc_broadcast_4KiB",
    ),
    (
        64 << 10,
        "ipc_pipe_64KiB",
        "ipc_queue_64KiB",
        "ipc_broadcast_64KiB",
    ),
    (
        1 << 20,
        "ipc_pipe_1MiB",
        "ipc_queue_1MiB",
        "ipc_broadcast_1MiB",
    ),
    (
        16 << 20,
        "ipc_pipe_16MiB",
        "ipc_queue_16MiB",
        "ipc_broadcast_16MiB",
    ),
];
/// Loans that there is memory for.
const LOANS: usize = 4;
/// Messages that a pipe has room for, where they may have any length: so many of 64 bytes go into the smallest pipe.
const PIPED: usize = 32;
/// Bytes of a message that is filled and checked, and the group.
const FILLED: [(usize, &str); 2] = [(64 << 10, "loan_64KiB"), (1 << 20, "loan_1MiB")];

fn pipe(size: usize, messages: usize) -> (Receiver<Bytes>, Sender<Bytes>) {
    let capacity = messages * size.max(128); // with what is before the message
    let options = Pipe::options().capacity(capacity).namespace(&namespace());
    let options = options.wait(WaitStrategy::Spin);
    options.simplex().expect("make a pipe")
}

fn queue(size: usize) -> Queue<Bytes> {
    let options = Queue::options(LOANS).loans(LOANS, size).memory(0);
    let options = options.namespace(&namespace()).wait(WaitStrategy::Spin);
    options.anonymous().expect("make a queue")
}

fn broadcast(size: usize) -> (Subscriber<Bytes>, Broadcast<Bytes>) {
    let options = Broadcast::options(LOANS).loans(LOANS, size).memory(0);
    let options = options.namespace(&namespace()).wait(WaitStrategy::Spin);
    let broadcast = options.anonymous().expect("make a broadcast");
    (broadcast.subscribe().expect("subscribe"), broadcast)
}

/// Writes what a message has to show for: its number, and the whole of it where it is filled.
type Write = fn(&mut [u8], u64);
type Read = fn(&[u8], u64);

fn number(bytes: &mut [u8], number: u64) {
    bytes[..8].copy_from_slice(&number.to_ne_bytes());
}

fn check_number(bytes: &[u8], number: u64) {
    assert_eq!(bytes[..8], number.to_ne_bytes(), "lost, doubled or torn");
}

fn fill(bytes: &mut [u8], number: u64) {
    bytes.fill(number as u8);
}

fn check(bytes: &[u8], number: u64) {
    let expected = u64::from_ne_bytes([number as u8; 8]);
    let (words, _) = bytes.as_chunks();
    let wrong = words.iter().fold(0, |wrong, word| {
        wrong | (u64::from_ne_bytes(*word) ^ expected)
    });
    assert_eq!(wrong, 0, "lost, doubled or torn");
}

fn send(sender: &mut Sender<Bytes>, size: usize, index: u64, write: Write) {
    let mut loan = sender.loan(size).expect("a loan of the pipe");
    // SAFETY: nobody but this benchmark has the pipe.
    write(black_box(unsafe { loan.as_mut_slice() }), index);
    loan.send().expect("send");
}

fn recv(receiver: &mut Receiver<Bytes>, size: usize, index: u64, read: Read) {
    let message = receiver.recv_ref().expect("receive");
    assert_eq!(message.len(), size);
    // SAFETY: as above.
    read(black_box(unsafe { message.as_slice() }), index);
}

fn put(queue: &Queue<Bytes>, size: usize, index: u64, write: Write) {
    let mut loan = queue.loan(size).expect("a loan of the queue");
    // SAFETY: nobody but this benchmark has the queue.
    write(black_box(unsafe { loan.as_mut_slice() }), index);
    loan.put().expect("put");
}

fn get(queue: &Queue<Bytes>, size: usize, index: u64, read: Read) {
    let message = queue.get_ref().expect("get");
    assert_eq!(message.len(), size);
    // SAFETY: as above.
    read(black_box(unsafe { message.as_slice() }), index);
}

fn publish(broadcast: &Broadcast<Bytes>, size: usize, index: u64, write: Write) {
    let mut loan = broadcast.loan(size).expect("a loan of the broadcast");
    // SAFETY: nobody but this benchmark has the broadcast.
    write(black_box(unsafe { loan.as_mut_slice() }), index);
    loan.publish().expect("publish");
}

fn follow(subscriber: &mut Subscriber<Bytes>, size: usize, index: u64, read: Read) {
    let message = subscriber.recv_ref().expect("receive");
    assert!(message.len() == size && message.is_in_place());
    // SAFETY: as above.
    read(black_box(unsafe { message.as_slice() }), index);
}

fn broadcast_alone(size: usize, write: Write, read: Read) -> Crew {
    solo(move || {
        let (mut subscriber, broadcast) = broadcast(size);
        move |index| {
            publish(&broadcast, size, index, write);
            follow(&mut subscriber, size, index, read);
        }
    })
}

fn pipe_alone(size: usize, messages: usize, write: Write, read: Read) -> Crew {
    solo(move || {
        let (mut receiver, mut sender) = pipe(size, messages);
        move |index| {
            send(&mut sender, size, index, write);
            recv(&mut receiver, size, index, read);
        }
    })
}

fn queue_alone(size: usize, write: Write, read: Read) -> Crew {
    solo(move || {
        let queue = queue(size);
        move |index| {
            put(&queue, size, index, write);
            get(&queue, size, index, read);
        }
    })
}

/// One thread that writes, one that reads.
fn two<P, G>(write: P, read: G) -> Crew
where
    P: FnMut(u64) + Send + 'static,
    G: FnMut(u64) + Send + 'static,
{
    let write = move |rounds: &mut Rounds| rounds.each(write);
    let read = move |rounds: &mut Rounds| rounds.each(read);
    Crew::start(
        Threads,
        vec![
            Role::new("write", nth_core(0), write),
            Role::new("read", nth_core(1), read),
        ],
    )
}

fn pipe_of_two(size: usize, messages: usize, write: Write, read: Read) -> Crew {
    let (mut receiver, mut sender) = pipe(size, messages);
    two(
        move |index| send(&mut sender, size, index, write),
        move |index| recv(&mut receiver, size, index, read),
    )
}

fn queue_of_two(size: usize, write: Write, read: Read) -> Crew {
    let queue = queue(size);
    let other = queue.clone();
    two(
        move |index| put(&queue, size, index, write),
        move |index| get(&other, size, index, read),
    )
}

fn broadcast_of_two(size: usize, write: Write, read: Read) -> Crew {
    let (mut subscriber, broadcast) = broadcast(size);
    two(
        move |index| publish(&broadcast, size, index, write),
        move |index| follow(&mut subscriber, size, index, read),
    )
}

/// What a loan, sending it and receiving it by reference costs, whatever its length: by one thread, and between two.
pub(crate) fn of_any_length(suite: &mut Suite) {
    let one = || Throughput::Elements(1);
    for (size, of_pipe, of_queue, of_broadcast) in SIZES {
        let bases: &[&str] = if size == 64 { &[] } else { &[SIZES[0].1] };
        suite.figure(("loan_alone", of_pipe), bases, one(), move || {
            pipe_alone(size, PIPED, number, check_number)
        });
        suite.figure(("loan_of_two", of_pipe), bases, one(), move || {
            pipe_of_two(size, PIPED, number, check_number)
        });
        let bases: &[&str] = if size == 64 { &[] } else { &[SIZES[0].2] };
        suite.figure(("loan_alone", of_queue), bases, one(), move || {
            queue_alone(size, number, check_number)
        });
        suite.figure(("loan_of_two", of_queue), bases, one(), move || {
            queue_of_two(size, number, check_number)
        });
        let bases: &[&str] = if size == 64 { &[] } else { &[SIZES[0].3] };
        suite.figure(("loan_alone", of_broadcast), bases, one(), move || {
            broadcast_alone(size, number, check_number)
        });
        suite.figure(("loan_of_two", of_broadcast), bases, one(), move || {
            broadcast_of_two(size, number, check_number)
        });
    }
}

/// Bytes a second that are filled in place and checked in place. `floor_copy` fills private memory, copies it once and checks the copy.
pub(crate) fn filled_and_checked(suite: &mut Suite) {
    for (size, group) in FILLED {
        let bytes = || Throughput::Bytes(size as u64);
        suite.figure((group, "floor_copy"), &[], bytes(), move || {
            solo(move || {
                let (mut from, mut to) = (vec![0; size], vec![0; size]);
                move |index| {
                    fill(black_box(&mut from), index);
                    to.copy_from_slice(black_box(&from));
                    check(black_box(&to), index);
                }
            })
        });
        let floor = &["floor_copy"];
        suite.figure((group, "ipc_pipe_alone"), floor, bytes(), move || {
            pipe_alone(size, LOANS, fill, check)
        });
        suite.figure((group, "ipc_queue_alone"), floor, bytes(), move || {
            queue_alone(size, fill, check)
        });
        suite.figure((group, "ipc_broadcast_alone"), floor, bytes(), move || {
            broadcast_alone(size, fill, check)
        });
        suite.figure((group, "ipc_pipe_of_two"), floor, bytes(), move || {
            pipe_of_two(size, LOANS, fill, check)
        });
        suite.figure((group, "ipc_queue_of_two"), floor, bytes(), move || {
            queue_of_two(size, fill, check)
        });
    }
}
