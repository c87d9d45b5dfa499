//! The negative control of the locks: a word that says that somebody holds it, and not who.
//!
//! Its value is written in place, so it is also torn. A harness that finds neither finds nothing.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mapping::{Mapping, Shared};
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

/// SeqCst throughout: its fault is not its orderings.
#[repr(C)]
struct Layout {
    is_held: AtomicU64,
    value: [AtomicU64; 2],
}

/// A victim acquires the lock, adds one to both words of its value, and releases it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NaiveLock;

fn layout(memory: &Mapping) -> &Layout {
    // SAFETY: `fresh` mapped a page of zeroed bytes, and every field is an atomic.
    unsafe { memory.start().cast::<Layout>().as_ref() }
}

/// Whether the lock was to be had.
fn change(lock: &Layout) -> bool {
    let got = lock
        .is_held
        .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
    if got.is_ok() {
        for word in &lock.value {
            word.fetch_add(1, Ordering::SeqCst);
        }
        lock.is_held.store(0, Ordering::SeqCst);
    }
    got.is_ok()
}

impl Scenario for NaiveLock {
    type State = Mapping;

    fn name(&self) -> String {
        "control/naive-lock".to_owned()
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        vec![(Campaign::Kill, Expectation::Breaks)]
    }

    fn fresh(&self) -> Mapping {
        Mapping::anonymous(size_of::<Layout>()).expect("a page can be mapped")
    }

    fn shared<'a>(&self, memory: &'a Mapping) -> Vec<Shared<'a>> {
        vec![memory.shared()]
    }

    fn arm<'a>(&'a self, memory: &'a Mapping) -> Operation<'a> {
        Box::new(|| change(layout(memory)).into())
    }

    fn verify(&self, memory: &Mapping, _: Outcome) -> Result<(), String> {
        let lock = layout(memory);
        let [first, second] = &lock.value;
        if first.load(Ordering::SeqCst) != second.load(Ordering::SeqCst) {
            return Err("the value is torn".to_owned());
        }
        if !change(lock) {
            return Err("stuck: a survivor cannot acquire what nobody alive holds".to_owned());
        }
        Ok(())
    }
}
