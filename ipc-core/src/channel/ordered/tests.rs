//! The pile on the heap: the algorithm alone, one thread, deaths decided by the test. Then the faces, in a directory.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;

use super::{
    cell::{Ctl, State},
    get::GetRefusal,
    order::Discipline,
    pile::Pile,
    put::PutRefusal,
};
use crate::{
    GetError, GetTimeoutError, LifoQueue, Namespace, PriorityQueue, PutTimeoutError, TryGetError,
    TryPutError,
    channel::geometry::Geometry,
    error::Damage,
    object::participant::{Owner, Participants},
    prim::{AtomicU64, Relaxed},
    slab,
};

struct World {
    pile: Pile,
    participants: Participants,
    dead: Arc<AtomicU64>,
}

fn world(discipline: Discipline, capacity: usize, blocks: usize) -> World {
    let slab = slab::Geometry {
        block_bytes: 512,
        blocks,
    };
    let geometry = Geometry {
        capacity,
        inline_bytes: 48,
        slab,
        notes: 1,
        loans: slab::Geometry::NONE,
    };
    let dead = Arc::new(AtomicU64::new(0));
    let (pile, participants) = Pile::on_heap(discipline, geometry, 4, Arc::clone(&dead));
    World {
        pile,
        participants,
        dead,
    }
}

fn lifo(capacity: usize) -> World {
    world(Discipline::LastFirst, capacity, 8)
}

fn priority(capacity: usize) -> World {
    world(Discipline::LowestFirst, capacity, 8)
}

fn owner(slot: u32) -> Owner {
    Owner::of_slot(slot).unwrap()
}

impl World {
    fn put(&self, priority: i64, bytes: &[u8]) -> Result<(), PutRefusal> {
        self.pile.put_for_model(owner(0), priority, bytes)
    }

    fn get(&self) -> Result<Vec<u8>, GetRefusal> {
        self.pile.get_for_model(owner(1)).map(|(_, bytes)| bytes)
    }

    fn peek(&self) -> Result<Vec<u8>, GetRefusal> {
        let mut out = Vec::new();
        self.pile.peek(owner(1), false, &mut out).map(|_| out)
    }

    fn kill(&self, slot: u32) {
        self.dead.fetch_or(1 << slot, Relaxed);
        assert_eq!(self.participants.sweep(&self.pile).unwrap(), 1);
        self.dead.fetch_and(!(1 << slot), Relaxed);
        self.participants.occupy_for_model(slot, 1).unwrap();
    }

    fn cell_word(&self, index: u64) -> &AtomicU64 {
        self.pile.cell(index).unwrap().ctl()
    }
}

#[test]
fn the_youngest_comes_first_at_any_capacity() {
    for capacity in [1, 2, 3, 63, 64, 65, 130] {
        let w = lifo(capacity);
        for _ in 0..3 {
            for i in 0..capacity as u8 {
                w.put(0, &[i]).unwrap();
            }
            assert!(w.pile.is_full());
            assert_eq!(w.put(0, b"more"), Err(PutRefusal::Full));
            assert_eq!(w.pile.len(), capacity);
            for i in (0..capacity as u8).rev() {
                assert_eq!(w.peek().unwrap(), [i]);
                assert_eq!(w.get().unwrap(), [i]);
            }
            assert_eq!(w.get(), Err(GetRefusal::Empty));
            assert!(w.pile.is_empty());
        }
        assert_eq!(w.pile.puts(), 3 * capacity as u64);
    }
}

#[test]
fn the_lowest_priority_comes_first_and_the_oldest_among_equals() {
    let w = priority(8);
    for (priority, text) in [
        (3, "e"),
        (i64::MIN, "a"),
        (3, "f"),
        (0, "d"),
        (-1, "b"),
        (-1, "c"),
    ] {
        w.put(priority, text.as_bytes()).unwrap();
    }
    w.put(i64::MAX, b"g").unwrap();
    for text in ["a", "b", "c", "d", "e", "f", "g"] {
        assert_eq!(w.get().unwrap(), text.as_bytes());
    }
}

#[test]
fn messages_of_every_length_come_back() {
    let w = lifo(2);
    for length in (0..=600).chain([1024, 4095, 4096]) {
        let message: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        w.put(0, &message).unwrap();
        assert_eq!(w.peek().unwrap(), message);
        assert_eq!(w.get().unwrap(), message);
    }
    assert_eq!(w.put(0, &[0; 4097]), Err(PutRefusal::TooLarge));
    assert_eq!(w.pile.memory_used(), 0);
}

#[test]
fn memory_bounds_large_messages_and_comes_back() {
    let w = world(Discipline::LastFirst, 8, 4);
    w.put(0, &[1; 1000]).unwrap();
    w.put(0, &[2; 1000]).unwrap();
    assert_eq!(w.put(0, &[3; 513]), Err(PutRefusal::NoBlocks));
    w.put(0, b"short ones need no blocks").unwrap();
    assert_eq!(w.get().unwrap(), b"short ones need no blocks");
    assert_eq!(w.get().unwrap(), [2; 1000]);
    w.put(0, &[3; 513]).unwrap();
    assert_eq!(w.pile.len(), 2);
}

#[test]
fn a_dead_producers_cell_and_blocks_are_free_again() {
    let w = lifo(1);
    w.pile.fill(owner(2), 0, &[1; 600]).unwrap();
    assert_eq!(w.put(0, b"x"), Err(PutRefusal::Full));
    assert_eq!(w.pile.memory_used(), 2 * 512);
    w.kill(2);
    assert_eq!(w.pile.memory_used(), 0);
    w.put(0, b"x").unwrap();
}

#[test]
fn a_dead_consumers_message_is_where_it_was_however_often_it_takes() {
    let w = priority(4);
    for (priority, length) in [(2, 10), (1, 2000), (1, 20)] {
        w.put(priority, &vec![9; length]).unwrap();
    }
    for _ in 0..20 {
        w.pile.read_for_model(owner(2)).unwrap();
        w.kill(2);
    }
    w.put(1, &[9; 30]).unwrap();
    for length in [2000, 20, 30, 10] {
        assert_eq!(w.get().unwrap(), vec![9; length]);
    }
    assert_eq!(w.get(), Err(GetRefusal::Empty));
    assert_eq!(w.pile.memory_used(), 0);
}

#[test]
fn who_dies_in_the_lock_leaves_an_order_that_is_made_anew() {
    for w in [lifo(4), priority(4)] {
        w.put(1, b"a").unwrap();
        w.put(2, b"b").unwrap();
        let lock = w.pile.try_lock(owner(2), false).unwrap().unwrap();
        w.pile.order.remake(Vec::new()); // half a change
        std::mem::forget(lock);
        assert_eq!(w.get(), Err(GetRefusal::Busy));
        assert_eq!(w.put(0, b"c"), Err(PutRefusal::Busy));
        w.kill(2);
        w.put(2, b"c").unwrap();
        let got: Vec<_> = (0..3).map(|_| w.get().unwrap()).collect();
        assert_eq!(got.len(), 3);
        assert_eq!(w.get(), Err(GetRefusal::Empty));
    }
}

#[test]
fn a_message_that_is_given_up_is_where_it_was() {
    let w = lifo(4);
    w.put(0, b"first").unwrap();
    w.put(0, b"second").unwrap();
    let taken = w.pile.read_for_model(owner(1)).unwrap();
    w.put(0, b"third").unwrap();
    w.pile.put_back(&taken).unwrap();
    for text in ["third", "second", "first"] {
        assert_eq!(w.get().unwrap(), text.as_bytes());
    }
}

#[test]
fn a_cell_goes_through_its_states() {
    let w = lifo(1);
    let seen = || w.pile.ctl_for_model(0);
    let free = Ctl(0);
    assert_eq!(seen(), free);
    let filled = w.pile.fill_for_model(owner(2), 1).unwrap();
    assert_eq!(seen(), free.writing(owner(2)));
    w.pile.insert(owner(2), &filled, false).unwrap();
    assert_eq!(seen(), free.full());
    w.pile.read_for_model(owner(1)).unwrap();
    assert_eq!(seen(), free.reading(owner(1)));
    w.kill(1);
    assert_eq!(
        (seen(), seen().state()),
        (free.returned(), Some(State::Full))
    );
    w.get().unwrap();
    assert_eq!(seen(), free.freed());
}

#[test]
fn closing_drains_and_refuses_but_not_before_everybody_has_read() {
    let w = lifo(4);
    w.put(0, b"last").unwrap();
    let late = w.pile.fill_for_model(owner(0), 1).unwrap();
    w.pile.close();
    assert_eq!(w.put(0, b"late"), Err(PutRefusal::Closed));
    let late_put = w.pile.insert(owner(0), &late, false);
    assert_eq!(late_put, Err(PutRefusal::Closed));
    w.pile.abandon(&late).unwrap();
    w.pile.read_for_model(owner(2)).unwrap();
    assert_eq!(w.get(), Err(GetRefusal::Empty), "the reader may die");
    w.kill(2);
    assert_eq!(w.get().unwrap(), b"last");
    assert_eq!(w.get(), Err(GetRefusal::Closed));
    assert_eq!(w.peek(), Err(GetRefusal::Closed));
}

#[test]
fn a_sweep_clears_the_bit_of_a_free_cell_that_the_dead_had_the_right_of_way_to() {
    let w = lifo(1);
    assert_eq!(w.pile.room.take(), Some(0));
    assert_eq!(w.put(0, b"x"), Err(PutRefusal::Full));
    w.kill(2);
    w.put(0, b"x").unwrap();
    // A sweep that came late: the bit is clear, and the cell is not free.
    w.pile.room.give(0);
    assert_eq!(w.put(0, b"y"), Err(PutRefusal::Full));
    assert_eq!(w.get().unwrap(), b"x");
    w.put(0, b"z").unwrap();
}

#[test]
fn what_a_peer_made_up_is_reported_not_believed() {
    let is_damage =
        |got: &Result<Vec<u8>, GetRefusal>| matches!(got, Err(GetRefusal::Damage(Damage(_))));
    let truthful = || {
        let w = priority(4);
        w.put(0, b"truth").unwrap();
        w
    };

    let w = truthful();
    w.cell_word(0).store(7, Relaxed); // a state that is none
    assert!(is_damage(&w.get()));
    assert!(is_damage(&w.get()), "also when the order is made anew");

    let w = truthful();
    w.cell_word(0).store(0, Relaxed); // free, though in the order
    assert!(is_damage(&w.get()));
    assert_eq!(
        w.get(),
        Err(GetRefusal::Empty),
        "by then the order is as the cells are"
    );

    let w = truthful();
    w.pile.order.remake(vec![super::order::Entry {
        priority: 0,
        sequence: 0,
        index: 1 << 40,
    }]);
    assert!(is_damage(&w.get()));
    assert_eq!(w.get().unwrap(), b"truth");

    let w = truthful();
    w.pile.cell(0).unwrap().length().store(u64::MAX, Relaxed);
    assert!(is_damage(&w.get()));

    let w = truthful();
    w.cell_word(1).store(6, Relaxed); // where the next put goes
    assert!(matches!(w.put(0, b"x"), Err(PutRefusal::Damage(_))));
}

#[test]
fn the_parts_lie_where_the_description_of_the_format_says() {
    let geometry = Geometry {
        capacity: 1024,
        inline_bytes: 224,
        slab: slab::Geometry::of(1 << 20).unwrap(),
        notes: 64,
        loans: slab::Geometry::NONE,
    };
    let (at, end) = super::geometry::plan(geometry, 128).unwrap();
    assert_eq!([at.head, at.gate, at.counts], [8576, 8704, 8832]);
    assert_eq!([at.taken, at.entries, at.cells], [8960, 9088, 33_664]);
    assert_eq!([at.rest.notes, end], [295_808, 1_396_736]);
}

/// A message, as the model orders it: what comes first is the greatest.
type Known = (Reverse<i64>, Reverse<u64>, Vec<u8>);

/// What is to come out, as std would have it.
#[derive(Debug)]
enum Model {
    Stack(Vec<Known>),
    Heap(BinaryHeap<Known>),
}

impl Model {
    fn put(&mut self, message: Known) {
        match self {
            Self::Stack(stack) => {
                stack.push(message);
                stack.sort_by_key(|(_, sequence, _)| sequence.0); // one that came back is where it was
            }
            Self::Heap(heap) => heap.push(message),
        }
    }

    fn get(&mut self) -> Option<Known> {
        match self {
            Self::Stack(stack) => stack.pop(),
            Self::Heap(heap) => heap.pop(),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(i64, usize),
    Get,
    Peek,
    DieWriting,
    DieReading,
    DieLocked,
    GiveUp,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 0..60usize, 1 => 500..1600usize];
    prop_oneof![
        6 => (-2i64..3, length).prop_map(|(priority, length)| Step::Put(priority, length)),
        5 => Just(Step::Get),
        1 => Just(Step::Peek),
        1 => Just(Step::DieWriting),
        1 => Just(Step::DieReading),
        1 => Just(Step::DieLocked),
        1 => Just(Step::GiveUp),
    ]
}

fn behaves(discipline: Discipline, capacity: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let w = world(discipline, capacity, 8);
    let mut model = match discipline {
        Discipline::LastFirst => Model::Stack(Vec::new()),
        Discipline::LowestFirst => Model::Heap(BinaryHeap::new()),
    };
    for (i, step) in (0u64..).zip(steps) {
        match step {
            Step::Put(priority, length) => {
                let message = vec![i as u8; length];
                match w.put(priority, &message) {
                    Ok(()) => model.put((Reverse(priority), Reverse(i), message)),
                    Err(PutRefusal::Full) => prop_assert_eq!(w.pile.len(), capacity),
                    Err(PutRefusal::NoBlocks) => prop_assert!(length > 48),
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
            }
            Step::Get => {
                let expected = model.get().map(|(_, _, message)| message);
                prop_assert_eq!(w.get().ok(), expected);
            }
            Step::Peek => {
                let expected = model.get();
                let message = expected.as_ref().map(|(_, _, message)| message.clone());
                prop_assert_eq!(w.peek().ok(), message);
                expected.into_iter().for_each(|message| model.put(message));
            }
            Step::DieWriting => {
                let _ = w.pile.fill(owner(2), 0, b"never"); // or full
                w.kill(2);
            }
            Step::DieReading => {
                let _ = w.pile.read_for_model(owner(3)); // or empty
                w.kill(3);
            }
            Step::DieLocked => {
                std::mem::forget(w.pile.try_lock(owner(3), false));
                w.pile.order.remake(Vec::new());
                w.kill(3);
            }
            Step::GiveUp => {
                if let Ok(taken) = w.pile.read_for_model(owner(1)) {
                    w.pile.put_back(&taken).unwrap();
                }
            }
        }
    }
    while let Some((Reverse(priority), _, message)) = model.get() {
        prop_assert!(!w.pile.is_empty());
        let got = w.pile.get_for_model(owner(1));
        let priority = if discipline == Discipline::LastFirst {
            got.as_ref().map_or(0, |g| g.0)
        } else {
            priority
        };
        prop_assert_eq!(got, Ok((priority, message)));
    }
    prop_assert_eq!(w.get(), Err(GetRefusal::Empty));
    prop_assert_eq!(w.pile.memory_used(), 0);
    for _ in 0..capacity {
        prop_assert_eq!(w.put(0, b"again"), Ok(()));
    }
    prop_assert_eq!(w.put(0, b"again"), Err(PutRefusal::Full));
    Ok(())
}

proptest! {
    #[test]
    fn behaves_like_a_stack_whoever_dies(
        capacity in 1usize..9,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        behaves(Discipline::LastFirst, capacity, steps)?;
    }

    #[test]
    fn behaves_like_a_stable_heap_whoever_dies(
        capacity in 1usize..9,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        behaves(Discipline::LowestFirst, capacity, steps)?;
    }
}

/// A namespace that goes in the end.
struct Place(Namespace);

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-ordered-{}", crate::os::file::unique()));
        Self(Namespace::at(dir).unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

#[test]
fn who_gets_from_an_empty_queue_waits_and_who_puts_into_a_full_one() {
    let place = Place::new();
    let queue = LifoQueue::<u32>::options(1)
        .namespace(&place.0)
        .create("lifo")
        .unwrap();
    let short = Duration::from_millis(20);
    assert!(matches!(
        queue.get_timeout(short),
        Err(GetTimeoutError::Timeout)
    ));
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    assert!(matches!(queue.peek(), Err(TryGetError::Empty)));
    std::thread::scope(|s| {
        let getter = s.spawn(|| [queue.get().unwrap(), queue.get().unwrap()]);
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        assert_eq!(getter.join().unwrap(), [1, 2]);
    });
    queue.put(3).unwrap();
    assert!(matches!(
        queue.put_timeout(4, short),
        Err(PutTimeoutError::Timeout(4))
    ));
    assert!(matches!(queue.try_put(4), Err(TryPutError::Full(4))));
    assert_eq!(queue.peek().unwrap(), 3);
    std::thread::scope(|s| {
        s.spawn(|| queue.put(4).unwrap());
        assert_eq!(queue.get().unwrap(), 3);
        assert_eq!(queue.get().unwrap(), 4);
        s.spawn(|| assert!(matches!(queue.get(), Err(GetError::Closed))));
        queue.close();
    });
}

#[test]
fn threads_lose_nothing_and_get_equals_in_order() {
    const EACH: u64 = 3000;
    let place = Place::new();
    let queue = PriorityQueue::<(u64, u64)>::options(16)
        .namespace(&place.0)
        .create("p")
        .unwrap();
    let got: Vec<(i64, (u64, u64))> = std::thread::scope(|s| {
        let producers: Vec<_> = (0..3u64)
            .map(|p| {
                let queue = &queue;
                s.spawn(move || (0..EACH).for_each(|i| queue.put(0, (p, i)).unwrap()))
            })
            .collect();
        let consumers: Vec<_> = (0..2)
            .map(|_| s.spawn(|| queue.iter().map(Result::unwrap).collect::<Vec<_>>()))
            .collect();
        producers.into_iter().for_each(|p| p.join().unwrap());
        queue.close();
        let got: Vec<Vec<_>> = consumers.into_iter().map(|c| c.join().unwrap()).collect();
        for one in &got {
            for p in 0..3 {
                assert!(
                    one.iter().filter(|m| m.1.0 == p).is_sorted(),
                    "one producer's, in order"
                );
            }
        }
        got.concat()
    });
    assert_eq!(got.len() as u64, 3 * EACH);
    let distinct: std::collections::BTreeSet<_> = got.iter().collect();
    assert_eq!(distinct.len(), got.len());
}

#[test]
fn a_handle_is_a_message_and_a_kind_is_told_from_another() {
    let place = Place::new();
    let lifo = LifoQueue::<String>::options(4)
        .namespace(&place.0)
        .create("q")
        .unwrap();
    let sent = serde_json::to_string(&lifo).unwrap();
    let received: LifoQueue<String> = serde_json::from_str(&sent).unwrap();
    received.put("through the other handle".into()).unwrap();
    assert_eq!(lifo.clone().get().unwrap(), "through the other handle");
    assert!(serde_json::from_str::<PriorityQueue<String>>(&sent).is_err());
    let other = PriorityQueue::<String>::options(4)
        .namespace(&place.0)
        .open("q");
    assert!(matches!(other, Err(crate::Error::WrongKind { .. })));
    let queue = crate::Queue::<String>::options(4)
        .namespace(&place.0)
        .open("q");
    assert!(matches!(queue, Err(crate::Error::WrongKind { .. })));
    assert!(
        PriorityQueue::<u8>::options(1 << 25)
            .namespace(&place.0)
            .anonymous()
            .is_err()
    );

    lifo.put("to be seen".into()).unwrap();
    let seen = place.0.inspect("q").unwrap();
    let stat = seen.queue.unwrap();
    assert_eq!(
        (stat.len, stat.capacity, stat.puts, stat.inline_bytes),
        (1, 4, 2, 224)
    );
    assert_eq!(
        (seen.kind, place.0.sweep("q").unwrap()),
        (crate::Kind::LifoQueue, 0)
    );
}

/// A message whose own code panics when it is decoded.
#[derive(Debug, serde::Serialize)]
struct Mine(u32);

static ARMED: AtomicBool = AtomicBool::new(false);

impl<'de> serde::Deserialize<'de> for Mine {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        assert!(
            !ARMED.swap(false, Ordering::Relaxed),
            "as the test wants it"
        );
        Ok(Self(number))
    }
}

#[test]
fn a_panic_of_the_messages_own_code_leaves_the_message() {
    let place = Place::new();
    let queue = LifoQueue::<Mine>::options(2)
        .namespace(&place.0)
        .create("mine")
        .unwrap();
    queue.put(Mine(7)).unwrap();
    ARMED.store(true, Ordering::Relaxed);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.get()));
    assert!(panicked.is_err());
    assert_eq!(queue.get().unwrap().0, 7);
    assert!(queue.is_empty());
}
