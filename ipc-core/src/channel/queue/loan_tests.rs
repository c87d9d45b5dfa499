//! Messages that are written and read in place: threads as peers, and the ring on the heap where deaths and lies are decided by the test.

use std::{
    io::{Read, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{get::GetRefusal, put::PutRefusal, ring::Ring};
use crate::{
    Namespace, Queue,
    channel::{
        errors::{GetError, PutError, PutTimeoutError, TryGetError, TryPutError},
        geometry::Geometry,
    },
    error::Error,
    message::Bytes,
    object::participant::{Owner, Participants},
    prim::{AtomicU64, Relaxed},
    slab,
};

const SHORTLY: Duration = Duration::from_millis(20);

/// A namespace of its own, which goes with it.
struct Place(Namespace);

impl Place {
    fn new() -> Self {
        let name = format!("ipc-queue-loan-{}", crate::os::file::unique());
        Self(Namespace::at(std::env::temp_dir().join(name)).unwrap())
    }

    fn queue(&self, capacity: usize, loans: usize, bytes: usize) -> Queue<Bytes> {
        let options = Queue::options(capacity).loans(loans, bytes);
        options.namespace(&self.0).create("frames").unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + seed) as u8).collect()
}

fn put_in_place(queue: &Queue<Bytes>, bytes: &[u8]) {
    let mut loan = queue.try_loan(bytes.len()).unwrap();
    loan.write_at(0, bytes);
    loan.try_put().unwrap();
}

impl Queue<Bytes> {
    fn lent(&self) -> usize {
        self.inner.ring.loans_used()
    }
}

#[test]
fn loans_of_any_length_arrive_in_place_on_a_page() {
    let place = Place::new();
    let queue = place.queue(3, 2, 5000);
    assert_eq!(queue.max_loan_bytes(), 8192, "whole pages");
    for length in (0..200).chain([4095, 4096, 5000, 8192]) {
        let bytes = pattern(length, length);
        let mut loan = queue.loan(length).unwrap();
        assert!(loan.as_mut_ptr().addr().is_multiple_of(4096));
        loan.write_at(0, &bytes);
        loan.put().unwrap();
        let message = queue.get_ref().unwrap();
        assert!(message.is_in_place() && message.len() == length);
        assert_eq!(message.to_vec(), bytes);
        assert_eq!(queue.lent(), 1);
        message.done().unwrap();
        assert_eq!(queue.lent(), 0);
    }
}

#[test]
fn either_way_of_putting_meets_every_way_of_getting() {
    let place = Place::new();
    let queue = place.queue(4, 2, 4096);
    for round in 0..100 {
        let length = [20, 300, 4000][round % 3];
        let bytes = pattern(round, length);
        match round % 2 {
            0 => put_in_place(&queue, &bytes),
            _ => queue.put_slice(&bytes).unwrap(),
        }
        assert_eq!(queue.peek().unwrap().0, bytes);
        let got = match round / 2 % 4 {
            0 => queue.get().unwrap().0,
            1 => queue.get_many(2).unwrap().remove(0).0,
            2 => {
                let mut buffer = b"old".to_vec();
                queue.get_into(&mut buffer).unwrap();
                buffer
            }
            _ => {
                let message = queue.get_ref().unwrap();
                assert_eq!(message.is_in_place(), round % 2 == 0);
                message.to_vec()
            }
        };
        assert_eq!(got, bytes);
        assert_eq!((queue.lent(), queue.inner.ring.memory_used()), (0, 0));
    }
}

#[test]
fn memory_bounds_loans_and_comes_back() {
    let place = Place::new();
    let queue = place.queue(8, 2, 4096);
    let loan = queue.loan(1).unwrap();
    put_in_place(&queue, b"one");
    assert!(matches!(queue.try_loan(1), Err(TryPutError::Full(()))));
    let timed_out = queue.loan_timeout(1, SHORTLY);
    assert!(matches!(timed_out, Err(PutTimeoutError::Timeout(()))));
    queue.put_slice(b"others need none").unwrap();
    drop(loan);
    let message = queue.get_ref().unwrap();
    put_in_place(&queue, b"two");
    assert!(matches!(queue.try_loan(1), Err(TryPutError::Full(()))));
    assert_eq!(message.to_vec(), b"one");
    drop(message);
    queue.try_loan(1).unwrap();
    assert_eq!(queue.get().unwrap().0, b"others need none");
    assert_eq!(queue.get().unwrap().0, b"two");
    assert_eq!(queue.lent(), 0);
    assert!(matches!(queue.try_get_ref(), Err(TryGetError::Empty)));
}

#[test]
fn who_reads_in_place_holds_nobody_up() {
    let place = Place::new();
    let queue = place.queue(1, 2, 4096);
    put_in_place(&queue, b"being read");
    let message = queue.get_ref().unwrap();
    for _ in 0..10 {
        queue.put_slice(b"x").unwrap();
        assert_eq!(queue.get().unwrap().0, b"x");
    }
    assert_eq!(message.to_vec(), b"being read");
}

#[test]
fn a_loan_that_finds_no_cell_comes_back() {
    let place = Place::new();
    let queue = place.queue(1, 2, 4096);
    queue.put_slice(b"first").unwrap();
    let mut loan = queue.loan(6).unwrap();
    loan.write_all(b"second").unwrap();
    let Err(TryPutError::Full(loan)) = loan.try_put() else {
        panic!("it is full")
    };
    let Err(PutTimeoutError::Timeout(mut loan)) = loan.put_timeout(SHORTLY) else {
        panic!("it is full")
    };
    assert_eq!(queue.get().unwrap().0, b"first");
    loan.truncate(3);
    loan.put().unwrap();
    let mut text = String::new();
    queue.get_ref().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), queue.lent()), ("sec", 0));
}

#[test]
fn a_loan_waits_for_memory_and_a_put_for_a_cell() {
    let place = Place::new();
    let queue = place.queue(1, 1, 4096);
    let other = queue.clone();
    let t = thread::spawn(move || {
        for i in 0..200 {
            let mut loan = other.loan(2048).unwrap();
            loan.write_at(0, &pattern(i, 2048));
            loan.put().unwrap();
        }
        other.close();
    });
    for i in 0..200 {
        assert_eq!(queue.get_ref().unwrap().to_vec(), pattern(i, 2048));
    }
    assert!(matches!(queue.get_ref(), Err(GetError::Closed)));
    t.join().unwrap();
    assert_eq!(queue.lent(), 0);
}

#[test]
fn many_threads_share_the_loans() {
    let place = Place::new();
    let queue = place.queue(4, 3, 4096);
    thread::scope(|scope| {
        for t in 0..3 {
            let queue = &queue;
            scope.spawn(move || {
                for i in 0..300 {
                    let mut loan = queue.loan(512).unwrap();
                    loan.write_at(0, &pattern(t * 1000 + i, 512));
                    loan.put().unwrap();
                }
            });
        }
        for _ in 0..2 {
            let queue = &queue;
            scope.spawn(move || {
                for _ in 0..450 {
                    let message = queue.get_ref().unwrap().to_vec();
                    assert_eq!(message, pattern(message[0].into(), 512));
                }
            });
        }
    });
    assert_eq!(queue.lent(), 0);
}

#[test]
fn a_loan_finds_the_queue_closed() {
    let place = Place::new();
    let queue = place.queue(2, 2, 4096);
    let (one, other) = (queue.loan(8).unwrap(), queue.loan(8).unwrap());
    queue.close();
    assert!(matches!(one.put(), Err(PutError::Closed(()))));
    assert!(matches!(other.try_put(), Err(TryPutError::Closed(_))));
    assert!(matches!(queue.loan(8), Err(PutError::Closed(()))));
    assert_eq!(queue.lent(), 0);
}

#[test]
fn a_loan_longer_than_a_block_is_refused_and_so_is_one_of_a_queue_without() {
    let place = Place::new();
    let queue = place.queue(2, 2, 4096);
    let options = Queue::<Bytes>::options(2).namespace(&place.0);
    for (queue, most) in [(queue, 4096), (options.create("none").unwrap(), 0)] {
        assert_eq!(queue.max_loan_bytes(), most);
        match queue.loan(4097) {
            Err(PutError::TooLarge { len, max, .. }) => assert_eq!((len, max), (4097, most)),
            other => panic!("{other:?}"),
        }
    }
    let huge = options.loans(1 << 20, usize::MAX >> 8).create("huge");
    assert!(matches!(huge, Err(Error::BadOption { .. })));
}

#[test]
fn what_a_process_forgot_to_give_back_is_found_when_it_has_left() {
    let place = Place::new();
    let queue = place.queue(4, 3, 4096);
    put_in_place(&queue, b"forgotten");
    std::mem::forget(queue.get_ref().unwrap());
    put_in_place(&queue, b"stays");
    std::mem::forget(queue.loan(8).unwrap());
    drop(queue);
    let options = Queue::<Bytes>::options(1).namespace(&place.0);
    let queue = options.open("frames").unwrap();
    queue.sweep().unwrap();
    assert_eq!(queue.lent(), 1);
    assert_eq!(queue.get_ref().unwrap().to_vec(), b"stays");
    queue.loan(8).unwrap().put().unwrap();
    drop(queue); // with a message in the queue that it put: nothing is forgotten
    assert_eq!(place.0.inspect("frames").unwrap().participants.len(), 0);
}

// ---- deaths and lies

struct World {
    ring: Ring,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

fn world() -> World {
    let geometry = Geometry {
        capacity: 4,
        inline_bytes: 48,
        slab: slab::Geometry {
            block_bytes: 512,
            blocks: 4,
        },
        notes: 1,
        loans: slab::Geometry::of_loans(2, 4096).unwrap(),
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (ring, participants) = Ring::on_heap(geometry, 4, Arc::clone(&dead));
    World {
        ring,
        participants,
        dead,
    }
}

impl World {
    fn kill(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Relaxed);
        assert_eq!(self.participants.sweep(&self.ring).unwrap(), 1);
        self.dead.fetch_and(!(1 << slot), Relaxed);
        self.participants.occupy_for_model(slot, 1).unwrap();
    }

    fn lent(&self) -> usize {
        self.ring.loans_used()
    }

    fn put(&self, slot: u32, value: u64) {
        self.ring.put_lent_for_model(owner(slot), value).unwrap();
    }
}

#[test]
fn the_loans_of_the_dead_come_back_and_their_messages_stay() {
    let w = world();
    w.put(0, 7);
    w.ring.lend(owner(0), 8).unwrap();
    assert!(matches!(
        w.ring.lend(owner(1), 8),
        Err(PutRefusal::NoBlocks)
    ));
    w.kill(0);
    assert_eq!(w.lent(), 1);
    assert_eq!(w.ring.get_for_model(owner(1)).unwrap(), 7u64.to_ne_bytes());
    assert_eq!(w.lent(), 0);
}

#[test]
fn a_message_that_the_dead_was_taking_in_place_is_delivered_again_and_one_that_it_had_is_gone() {
    let w = world();
    w.put(0, 1);
    w.put(0, 2);
    for _ in 0..5 {
        let taken = w.ring.take_for_model(owner(2)).unwrap();
        w.ring.take_lent(owner(2), &taken).unwrap().unwrap();
        w.kill(2); // its cell was not given back
    }
    assert_eq!((w.ring.orphans(), w.lent()), (1, 2));
    let (_, value) = w.ring.get_lent_for_model(owner(3)).unwrap();
    assert_eq!((value, w.lent()), (1, 2));
    w.kill(3); // with the reference
    assert_eq!(w.lent(), 1);
    let (block, value) = w.ring.get_lent_for_model(owner(1)).unwrap();
    assert_eq!(value, 2);
    w.ring.give_back(block).unwrap();
    assert_eq!((w.lent(), w.ring.len()), (0, 0));
}

#[test]
fn a_stopped_reader_keeps_its_message_and_holds_nobody_up() {
    let w = world();
    w.put(0, 1);
    let (block, _) = w.ring.get_lent_for_model(owner(1)).unwrap();
    for i in 0..20 {
        w.put(0, i);
        assert_eq!(w.ring.get_for_model(owner(2)).unwrap(), i.to_ne_bytes());
    }
    let words = w.ring.loans.as_ref().unwrap().words(block);
    assert_eq!(words[0].load(Relaxed), 1);
    w.ring.give_back(block).unwrap();
}

#[test]
fn what_a_peer_made_up_about_loans_is_reported_not_believed() {
    const IN_LOAN: u64 = 1 << 62;
    let refused = |lie: &dyn Fn(&Ring)| {
        for by_reference in [true, false] {
            let w = world();
            w.put(0, 7);
            lie(&w.ring);
            let got = match by_reference {
                true => w.ring.get_lent_for_model(owner(1)).map(drop),
                false => w.ring.get_for_model(owner(1)).map(drop),
            };
            assert!(matches!(got, Err(GetRefusal::Damage(_))), "{got:?}");
        }
    };
    for length in [4097 | IN_LOAN, u64::MAX, IN_LOAN | 1 << 61, 1 << 63 | 2049] {
        refused(&|ring| ring.cell(0).unwrap().length().store(length, Relaxed));
    }
    for place in [2 << 32, u64::MAX, 1 << 32, 1, 77] {
        refused(&|ring| ring.cell(0).unwrap().payload()[0].store(place, Relaxed));
    }
    let w = world();
    let block = w.ring.lend(owner(0), 8).unwrap();
    w.ring.loans.as_ref().unwrap().give_back(block).unwrap(); // as a liar would
    assert!(w.ring.give_back(block).is_err());
}
