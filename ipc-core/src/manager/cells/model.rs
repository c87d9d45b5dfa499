//! Loom models of some values: one for each ordering. `mutate` in the tests shows that weakening any of them fails here.
//!
//! A dead participant is one that stops at a chosen step, after which the oracle that stands for its lock byte says so.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::{
    object::{
        lifetime,
        participant::{Participants, Probe},
    },
    prim::{Relaxed, Release, Witnesses},
};

const PARTICIPANTS: u32 = 3;
/// Of two words, so that it can be torn.
type Pair = [u64; 2];

/// Some values on the heap, three participants, and what they announce by a value.
struct World {
    cells: Cells,
    participants: Participants,
    dead: Arc<AtomicU64>,
    witnesses: Witnesses,
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

/// One value of so many bytes.
fn world(bytes: usize) -> Arc<World> {
    let geometry = Geometry { count: 1, bytes };
    let length = file_bytes(geometry, PARTICIPANTS).unwrap();
    let mut fresh = Fresh::on_heap(length).unwrap();
    lifetime::place_header(&mut fresh, PARTICIPANTS).unwrap();
    place(&mut fresh, geometry, PARTICIPANTS).unwrap();
    let region = fresh.share();
    let dead = Arc::new(AtomicU64::new(0));
    let probe = Probe::Oracle(Arc::clone(&dead));
    let participants = lifetime::header_of(&region, PARTICIPANTS, probe);
    for slot in 0..PARTICIPANTS {
        participants.occupy_for_model(slot, 1).unwrap();
    }
    Arc::new(World {
        cells: Cells::over(&region, geometry, PARTICIPANTS).unwrap(),
        participants,
        dead,
        witnesses: Witnesses::new(1),
    })
}

impl World {
    fn narrow(&self) -> Narrow<'_> {
        self.cells.narrow::<u64>(0).unwrap()
    }

    fn wide(&self) -> Wide<'_> {
        self.cells.wide(0).unwrap()
    }

    fn claim(&self, slot: u32) -> Option<wide::Claim> {
        self.wide().try_claim(owner(slot)).unwrap()
    }

    /// Adds one to the pair, if nobody else is writing.
    fn change(&self, slot: u32) -> bool {
        let Some(claim) = self.claim(slot) else {
            return false;
        };
        self.writes();
        let now = whole(self.wide().read(&claim).unwrap());
        assert!(self.wide().commit(claim, &[now + 1; 2]));
        true
    }

    /// The caller writes what nobody else may be using: its claim, or what it announces by a value.
    fn writes(&self) {
        // loom tells two moments of a thread apart only by an access to an atomic in between.
        AtomicU64::new(0).store(1, Relaxed);
        self.witnesses.write(0);
    }

    /// What a reader sees; `None` if it would look again.
    fn look(&self) -> Option<u64> {
        match self.wide().look::<Pair>().unwrap() {
            wide::Looked::Value(pair) => Some(whole(pair)),
            wide::Looked::Replaced => None,
            wide::Looked::Nonsense => panic!("any bits are a pair"),
        }
    }

    fn die(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Release);
    }

    /// Somebody new in the slot of the dead. `None` if another sweeper is not done with it.
    fn attach_again(&self, slot: u32) -> Option<Owner> {
        self.dead.fetch_and(!(1 << slot), Release);
        self.participants.occupy_for_model(slot, 1)
    }

    fn sweep(&self) {
        self.participants.sweep(&self.cells).unwrap();
    }
}

fn whole([one, two]: Pair) -> u64 {
    assert_eq!(one, two, "torn");
    one
}

/// All executions with at most so many switches that nothing asked for.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn what_was_done_before_a_value_was_set_is_seen_after_it_is_got() {
    explore(3, || {
        let w = world(8);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            other.writes();
            other.narrow().store(1);
        });
        if w.narrow().load() == 1 {
            w.writes();
        }
        t.join().unwrap();
    });
}

#[test]
fn what_was_done_before_a_change_is_seen_after_the_next_one() {
    explore(3, || {
        let w = world(8);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            other.writes();
            other.narrow().fetch_add(1);
        });
        if w.narrow().compare_exchange(1, 2).is_ok() {
            w.writes();
        }
        t.join().unwrap();
    });
}

#[test]
fn a_wide_value_is_read_whole_while_it_is_replaced_twice() {
    explore(3, || {
        let w = world(16);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            other.look(); // whole, or to be read again
        });
        assert!(w.change(0));
        assert!(w.change(0));
        t.join().unwrap();
        assert_eq!(w.look(), Some(2));
    });
}

#[test]
fn a_wide_value_that_is_read_is_never_older_than_its_version() {
    explore(3, || {
        let w = world(16);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            let version = other.wide().version();
            if let Some(number) = other.look() {
                assert!(number >= version, "{number} in version {version}");
            }
        });
        assert!(w.change(0));
        t.join().unwrap();
    });
}

#[test]
fn those_who_claim_a_value_come_one_after_the_other() {
    explore(3, || {
        let w = world(16);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || u64::from(other.change(0)));
        let mut changes = 0;
        if let Some(claim) = w.claim(1) {
            w.writes();
            assert!(w.wide().let_go(claim));
            changes += u64::from(w.change(1));
        }
        changes += t.join().unwrap();
        assert_eq!(w.look(), Some(changes));
    });
}

#[test]
fn what_a_claim_was_let_go_of_is_changed_after_it_was_read() {
    explore(3, || {
        let w = world(16);
        let claim = w.claim(0).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.change(1));
        w.writes();
        assert!(w.wide().let_go(claim));
        t.join().unwrap();
    });
}

#[test]
fn a_dead_writer_leaves_the_value_that_was() {
    explore(3, || {
        let w = world(16);
        assert!(w.change(0));
        let _claim = w.claim(0).unwrap();
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            assert!(matches!(other.look(), None | Some(1)));
            if other.change(1) {
                assert_eq!(other.look(), Some(2));
            }
        });
        w.writes();
        w.wide().write_half(9);
        w.die(0);
        w.sweep();
        t.join().unwrap();
    });
}

#[test]
fn a_slow_sweeper_does_not_rob_the_next_participant() {
    explore(3, || {
        let w = world(16);
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || slow.sweep());
        w.sweep();
        let claim = w.attach_again(0).and_then(|_| w.claim(0));
        s.join().unwrap();
        if let Some(claim) = claim {
            assert!(w.wide().commit(claim, &[1u64; 2]));
        }
    });
}

#[test]
fn a_slow_sweeper_does_not_free_the_claim_of_the_next_in_the_slot_of_the_dead() {
    explore(3, || {
        let w = world(16);
        let _claim = w.claim(0).unwrap();
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || slow.sweep());
        w.sweep();
        let claim = w.attach_again(0).and_then(|_| w.claim(0));
        s.join().unwrap();
        if let Some(claim) = claim {
            assert!(w.wide().commit(claim, &[1u64; 2]));
        }
    });
}
