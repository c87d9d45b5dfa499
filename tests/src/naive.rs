//! The negative control: a bounded queue by the book (after Vyukov) that takes no account of death.
//!
//! A put takes a ticket (the tail), then writes the message, then commits. Nobody can tell whose ticket is missing, so
//! a death in between stops every later message, and loses them as far as a survivor can see. A harness that does not
//! find this finds nothing.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mapping::{Mapping, Shared};
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

const CAPACITY: u64 = 4;

/// One cell: free for the put of position p when `sequence` is p, full for its get when it is p + 1.
#[repr(C)]
struct Cell {
    sequence: AtomicU64,
    value: AtomicU64,
}

#[repr(C)]
struct Layout {
    head: AtomicU64,
    tail: AtomicU64,
    cells: [Cell; CAPACITY as usize],
}

/// The queue, in memory shared with forked processes. SeqCst throughout: its fault is not its orderings.
#[derive(Debug)]
pub struct NaiveQueue {
    memory: Mapping,
}

impl NaiveQueue {
    /// An empty queue of four cells.
    pub fn create() -> io::Result<Self> {
        let queue = Self {
            memory: Mapping::anonymous(size_of::<Layout>())?,
        };
        for (position, cell) in (0..).zip(&queue.layout().cells) {
            cell.sequence.store(position, Ordering::SeqCst);
        }
        Ok(queue)
    }

    /// Appends a message; false when full, or when a cell looks as if another were at work in it.
    pub fn try_put(&self, value: u64) -> bool {
        let layout = self.layout();
        loop {
            let position = layout.tail.load(Ordering::SeqCst);
            let cell = &layout.cells[(position % CAPACITY) as usize];
            if cell.sequence.load(Ordering::SeqCst) != position {
                return false;
            }
            if take_ticket(&layout.tail, position) {
                cell.value.store(value, Ordering::SeqCst);
                cell.sequence.store(position + 1, Ordering::SeqCst);
                return true;
            }
        }
    }

    /// Takes the oldest message; none when empty, or when a cell looks as if another were at work in it.
    pub fn try_get(&self) -> Option<u64> {
        let layout = self.layout();
        loop {
            let position = layout.head.load(Ordering::SeqCst);
            let cell = &layout.cells[(position % CAPACITY) as usize];
            if cell.sequence.load(Ordering::SeqCst) != position + 1 {
                return None;
            }
            if take_ticket(&layout.head, position) {
                let value = cell.value.load(Ordering::SeqCst);
                cell.sequence.store(position + CAPACITY, Ordering::SeqCst);
                return Some(value);
            }
        }
    }

    fn layout(&self) -> &Layout {
        // SAFETY: `create` mapped this many zeroed bytes, page-aligned, and every field is an atomic.
        unsafe { self.memory.start().cast::<Layout>().as_ref() }
    }

    fn shared(&self) -> Shared<'_> {
        self.memory.shared()
    }
}

fn take_ticket(counter: &AtomicU64, position: u64) -> bool {
    counter
        .compare_exchange(position, position + 1, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}

/// The operation of a victim on a naive queue that holds 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NaiveOperation {
    /// Puts 3.
    Put,
    /// Gets 1.
    Get,
}

impl Scenario for NaiveOperation {
    type State = NaiveQueue;

    fn name(&self) -> String {
        match self {
            Self::Put => "control/naive-queue-put".to_owned(),
            Self::Get => "control/naive-queue-get".to_owned(),
        }
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        vec![(Campaign::Kill, Expectation::Breaks)]
    }

    fn fresh(&self) -> NaiveQueue {
        let queue = NaiveQueue::create().expect("a queue can be made");
        assert!(
            queue.try_put(1) && queue.try_put(2),
            "an empty queue has room"
        );
        queue
    }

    fn shared<'a>(&self, queue: &'a NaiveQueue) -> Vec<Shared<'a>> {
        vec![queue.shared()]
    }

    fn arm<'a>(&'a self, queue: &'a NaiveQueue) -> Operation<'a> {
        match self {
            Self::Put => Box::new(|| queue.try_put(3).into()),
            Self::Get => Box::new(|| queue.try_get().unwrap_or(0)),
        }
    }

    fn verify(&self, queue: &NaiveQueue, outcome: Outcome) -> Result<(), String> {
        let survivor_put = queue.try_put(4);
        let left = drain(queue);
        if !survivor_put {
            return Err("stuck: a survivor cannot put, though there is room".to_owned());
        }
        let allowed: &[&[u64]] = match (self, outcome) {
            (Self::Put, Outcome::Completed(_)) => &[&[1, 2, 3, 4]],
            (Self::Put, Outcome::Killed) => &[&[1, 2, 4], &[1, 2, 3, 4]],
            (Self::Get, Outcome::Completed(_)) => &[&[2, 4]],
            // What a getter had taken may die with it.
            (Self::Get, Outcome::Killed) => &[&[2, 4], &[1, 2, 4]],
        };
        if !allowed.contains(&left.as_slice()) {
            return Err(format!("lost: a survivor gets {left:?}"));
        }
        let room = (10..20).take_while(|&value| queue.try_put(value)).count();
        if room as u64 != CAPACITY {
            return Err(format!(
                "lost capacity: {room} of {CAPACITY} cells are left"
            ));
        }
        let refilled = drain(queue);
        if refilled != [10, 11, 12, 13] {
            return Err(format!(
                "lost: after refilling, a survivor gets {refilled:?}"
            ));
        }
        Ok(())
    }
}

/// Gets until nothing comes; bounded, should the queue repeat itself.
fn drain(queue: &NaiveQueue) -> Vec<u64> {
    std::iter::from_fn(|| queue.try_get()).take(100).collect()
}
