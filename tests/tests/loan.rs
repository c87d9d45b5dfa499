//! Messages that are written and read in place by real processes, which are killed and forked meanwhile.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.

use std::fs;

use ipc_core::{Bytes, Namespace, Pipe, Queue, Receiver, RecvError, Sender};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::trial_directory::TrialDirectory;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// A directory for one test, and a namespace in it.
struct Stage {
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Stage {
    fn new() -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let namespace = Namespace::at(directory.path()).expect("a namespace");
        Self {
            namespace,
            _directory: directory,
        }
    }

    fn queue(&self, loans: usize) -> Queue<Bytes> {
        let options = Queue::options(4).loans(loans, 4096);
        options.namespace(&self.namespace).create("frames").unwrap()
    }

    fn pipe(&self) -> Pipe<Bytes> {
        let options = Pipe::options().one_way().capacity(256);
        options.namespace(&self.namespace).create("frames").unwrap()
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(PUPPET, self.namespace.path())
    }
}

fn put_in_place(queue: &Queue<Bytes>, bytes: &[u8]) {
    let mut loan = queue.loan(bytes.len()).unwrap();
    loan.write_at(0, bytes);
    loan.put().unwrap();
}

#[test]
fn the_loans_of_a_killed_process_come_back_and_wake_who_waits_for_them() {
    let stage = Stage::new();
    let queue = stage.queue(3);
    let mut holder = stage.puppet();
    assert_eq!(holder.must("loan hold-all"), "3");
    assert!(queue.try_loan(8).is_err());
    let mut waiter = stage.puppet();
    waiter.tell("loan wait");
    let path = format!("/proc/{}/syscall", waiter.pid());
    wait_until("the puppet sleeps", || {
        fs::read_to_string(&path).is_ok_and(|s| s.starts_with("202 "))
    });
    drop(holder); // killed
    assert_eq!(waiter.answer(), "ok 8");
    queue.sweep().unwrap();
    let all: Vec<_> = (0..3).map(|_| queue.try_loan(4096).unwrap()).collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn what_a_killed_process_was_reading_in_place_is_taken_and_its_memory_free() {
    let stage = Stage::new();
    let queue = stage.queue(1);
    put_in_place(&queue, b"taken");
    let mut reader = stage.puppet();
    assert_eq!(reader.must("loan hold-ref"), "taken");
    assert!(queue.is_empty() && queue.try_loan(8).is_err());
    drop(reader); // killed
    wait_until("its memory is free", || queue.try_loan(8).is_ok());
    put_in_place(&queue, b"next");
    assert_eq!(queue.get_ref().unwrap().to_vec(), b"next");
}

#[test]
fn a_forked_child_neither_puts_nor_frees_what_its_parent_writes_and_reads_in_place() {
    let stage = Stage::new();
    let _queue = stage.queue(1);
    assert_eq!(stage.puppet().must("loan fork-queue"), "parent 1");
}

#[test]
fn a_forked_child_neither_sends_nor_takes_what_its_parent_writes_and_reads_in_place() {
    let stage = Stage::new();
    let _pipe = stage.pipe();
    assert_eq!(stage.puppet().must("loan fork-pipe"), "parent true");
}

#[test]
fn a_killed_sender_had_not_sent_its_loan() {
    let stage = Stage::new();
    let pipe = stage.pipe();
    let mut receiver = pipe.receiver().unwrap();
    let mut puppet = stage.puppet();
    puppet.must("loan hold-piece");
    drop(puppet); // killed
    assert!(matches!(receiver.recv_ref(), Err(RecvError::EndOfFile)));
    let mut sender: Sender<Bytes> = pipe.sender().unwrap();
    let mut loan = sender.loan(128).unwrap();
    loan.write_at(100, b"next");
    loan.send().unwrap();
    let mut next = [0; 4];
    receiver.recv_ref().unwrap().read_at(100, &mut next);
    assert_eq!(&next, b"next");
}

#[test]
fn a_killed_receiver_had_not_taken_what_it_was_reading_in_place() {
    let stage = Stage::new();
    let pipe = stage.pipe();
    let mut sender = pipe.sender().unwrap();
    let mut loan = sender.loan(5).unwrap();
    loan.write_at(0, b"again");
    loan.send().unwrap();
    let mut puppet = stage.puppet();
    assert_eq!(puppet.must("loan hold-oldest"), "again");
    drop(puppet); // killed
    let mut receiver: Option<Receiver<Bytes>> = None;
    wait_until("the end is free", || {
        receiver = pipe.receiver().ok();
        receiver.is_some()
    });
    let message = receiver.as_mut().unwrap().recv_ref().unwrap();
    assert!(message.is_in_place());
    assert_eq!(message.to_vec(), b"again");
}
