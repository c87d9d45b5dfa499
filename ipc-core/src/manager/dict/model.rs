//! Loom models of the table. The heap and the lock have models of their own.

use std::sync::Arc;

use loom::thread;

use super::{change::When, geometry::Geometry, table::Table};
use crate::{
    channel::broadcast::log::LogGeometry,
    object::participant::{Owner, Participants},
    prim::AtomicU64,
    slab::heap,
};

/// A table of one stripe, and three participants.
fn world(chunks: usize) -> (Arc<Table>, Participants) {
    let geometry = Geometry {
        heap: heap::Geometry {
            chunk_bytes: 512,
            chunks,
            initial: chunks,
        },
        stripes: 1,
        seed: 1,
        notes: 1,
        log: LogGeometry::new(1).unwrap(),
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (table, participants) = Table::on_heap(geometry, 3, dead);
    (Arc::new(table), participants)
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

impl Table {
    fn set(&self, slot: u32, key: u64, value: u64) {
        let set = self.set_for_model(
            owner(slot),
            &key.to_ne_bytes(),
            &[value.to_ne_bytes(); 2].concat(),
            When::Always,
        );
        set.unwrap();
    }

    fn all_for_model(&self) -> Option<Vec<(u64, u64)>> {
        let mut all = Vec::new();
        self.look_at_all(0, |_, pair| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            pair.copy_key(&mut key);
            pair.copy_value(&mut value);
            let is_there = pair.view.is_still();
            if is_there {
                assert_eq!(value[..8], value[8..], "torn");
                let [key, value] = [&key, &value].map(|of| of.first_chunk().unwrap());
                all.push((u64::from_ne_bytes(*key), u64::from_ne_bytes(*value)));
            }
            is_there
        })?;
        Some(all)
    }

    fn get(&self, key: u64) -> Option<u64> {
        let bytes = self.get_for_model(&key.to_ne_bytes())?;
        assert_eq!(bytes[..8], bytes[8..], "torn");
        Some(u64::from_ne_bytes(bytes[..8].try_into().unwrap()))
    }
}

/// Explores with at most so many preemptions, which bounds the time.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(model);
}

#[test]
fn who_finds_a_pair_sees_it_whole() {
    explore(2, || {
        let (table, _participants) = world(3);
        table.set(0, 1, 1);
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || writer.set(0, 2, 7));
        assert!(matches!(table.get(2), None | Some(7)));
        t.join().unwrap();
        assert_eq!(table.get(2), Some(7));
    });
}

#[test]
fn a_pair_that_is_replaced_is_always_there() {
    explore(2, || {
        let (table, _participants) = world(3);
        table.set(0, 1, 1);
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || {
            writer.set(0, 1, 2);
            writer.set(0, 1, 3);
        });
        let first = table.get(1).unwrap();
        assert!(table.get(1).unwrap() >= first, "back in time");
        t.join().unwrap();
        assert_eq!(table.get(1), Some(3));
    });
}

#[test]
fn a_pair_is_found_while_its_stripe_gets_another_array() {
    explore(2, || {
        let (table, _participants) = world(3);
        for key in 0..6 {
            table.set(0, key, 1);
        }
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || writer.set(0, 6, 1)); // the array of eight is too full for it
        assert_eq!(table.get(3), Some(1));
        t.join().unwrap();
        assert_eq!(table.get(6), Some(1));
    });
}

/// The block of the old array is written anew by who makes the next one of its size.
#[test]
fn a_reader_in_an_array_that_is_gone_does_not_believe_it() {
    explore(2, || {
        let (table, _participants) = world(3);
        for key in 0..6 {
            table.set(0, key, 1);
        }
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || {
            writer.set(0, 6, 1);
            // As long as an array of eight slots; and none that ends a search, as who reads that has acquired it.
            let item = writer.heap.store(owner(0), 0, &[&[0xee; 64]]).unwrap();
            writer.heap.discard(owner(0), item).unwrap();
        });
        assert_eq!(table.get(3), Some(1));
        t.join().unwrap();
    });
}

#[test]
fn who_looks_at_all_pairs_sees_those_that_stay() {
    explore(2, || {
        let (table, _participants) = world(3);
        for key in 0..6 {
            table.set(0, key, 1);
        }
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || {
            writer.set(0, 6, 1);
            let item = writer.heap.store(owner(0), 0, &[&[0xee; 64]]).unwrap();
            writer.heap.discard(owner(0), item).unwrap();
        });
        let all = loop {
            match table.all_for_model() {
                Some(all) => break all,
                None => thread::yield_now(),
            }
        };
        let there: Vec<u64> = all.iter().map(|(key, _)| *key).collect();
        assert!((0..6).all(|key| there.contains(&key)), "{there:?}");
        t.join().unwrap();
    });
}

#[test]
fn who_looks_at_all_pairs_sees_each_whole() {
    explore(2, || {
        let (table, _participants) = world(3);
        table.set(0, 1, 1);
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || writer.set(0, 2, 7));
        let all = table.all_for_model().unwrap_or_default();
        assert!(
            [&[(1, 1)][..], &[(1, 1), (2, 7)], &[(2, 7), (1, 1)]].contains(&&*all),
            "{all:?}"
        );
        t.join().unwrap();
    });
}

#[test]
fn two_writers_lose_nothing_of_each_others() {
    explore(1, || {
        let (table, _participants) = world(3);
        let other = Arc::clone(&table);
        let t = thread::spawn(move || other.set(1, 1, 1));
        table.set(0, 2, 2);
        t.join().unwrap();
        assert_eq!((table.get(1), table.get(2)), (Some(1), Some(2)));
        assert_eq!(table.len(), 2);
        assert!(
            table
                .remove_for_model(owner(0), &1u64.to_ne_bytes())
                .unwrap()
        );
        assert_eq!(table.get(1), None);
    });
}

/// What a dead writer's change is when survivors have said that nobody was told of it.
#[test]
fn who_is_told_that_it_missed_a_change_sees_it() {
    explore(2, || {
        let (table, _participants) = world(3);
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || {
            writer.set(0, 1, 7);
            writer.leave_untold();
        });
        while table.untold() == 0 {
            thread::yield_now();
        }
        assert_eq!(table.get(1), Some(7));
        t.join().unwrap();
    });
}

#[test]
fn who_watches_sees_a_change_or_its_writer_knows() {
    explore(2, || {
        let (table, _participants) = world(3);
        let writer = Arc::clone(&table);
        let t = thread::spawn(move || writer.set(0, 1, 7));
        table.watch_for_model(owner(1));
        let seen = table.get(1);
        t.join().unwrap();
        assert!(seen == Some(7) || table.log.len_for_model() == 1);
    });
}

/// The second one need not lock anything.
#[test]
fn who_watches_behind_another_sees_what_that_one_saw() {
    explore(2, || {
        let (table, _participants) = world(3);
        let first = Arc::clone(&table);
        let t = thread::spawn(move || {
            first.set(0, 1, 7);
            first.watch_for_model(owner(0));
        });
        while !table.is_settled_for_model() {
            thread::yield_now();
        }
        table.watch_for_model(owner(2));
        assert_eq!(table.get(1), Some(7));
        t.join().unwrap();
    });
}
