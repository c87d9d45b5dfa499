//! The shapes of traffic, for any transport: give two factories of closures and get a [`Crew`] to time.
//!
//! A factory runs inside its worker, after the fork and the pinning, and opens what it needs by name; the closure it
//! returns is the operation measured. For a queue between processes:
//! ```no_run
//! use ipc_benches::crew::Workers;
//! use ipc_benches::harness::{Item, one_to_one};
//! # struct Queue; impl Queue { fn open(_: &str) -> Self { Self } fn put(&self, _: Item) {} fn get(&self) -> Item { [0; 64] } }
//! let mut crew = one_to_one(
//!     Workers::Processes,
//!     || { let queue = Queue::open("bench"); move |item| queue.put(item) },
//!     || { let queue = Queue::open("bench"); move || queue.get() },
//! );
//! println!("{:?} for a thousand messages", crew.run(1000));
//! ```
//! Producers run on the even cores of [`cores`](crate::cores), consumers on the odd ones, so that every message crosses cores.
//! All closures wait in their own way until the operation succeeds.

use crate::crew::{Crew, Role, Rounds, Workers};
use crate::nth_core;
use std::hint::black_box;
use std::iter;

/// The small message: 64 bytes, of which the first eight number it.
pub type Item = [u8; 64];

/// The item with this number.
pub fn item(number: u64) -> Item {
    let mut item = [0; 64];
    item[..8].copy_from_slice(&number.to_ne_bytes());
    item
}

/// The number of this item.
///
/// # Panics
/// Never: an item has eight bytes.
pub fn number(item: &Item) -> u64 {
    u64::from_ne_bytes(*item.first_chunk().expect("an item has eight bytes"))
}

/// Where the two sides of a round trip run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On two cores.
    Apart,
    /// On one core: whoever waits must let the other run.
    Together,
}

impl Placement {
    /// The cores of the two sides.
    pub fn cores(self) -> (usize, usize) {
        match self {
            Self::Apart => (nth_core(0), nth_core(1)),
            Self::Together => (nth_core(0), nth_core(0)),
        }
    }
}

/// One step on one core.
pub fn solo<S>(step: impl FnOnce() -> S + Send + 'static) -> Crew
where
    S: FnMut(u64),
{
    Crew::start(
        Workers::Processes,
        vec![Role::new("solo", nth_core(0), move |rounds| {
            rounds.each(step())
        })],
    )
}

/// One producer, one consumer; a step is one item through. The order is checked.
pub fn one_to_one<P, G>(
    kind: Workers,
    put: impl FnOnce() -> P + Send + 'static,
    get: impl FnOnce() -> G + Send + 'static,
) -> Crew
where
    P: FnMut(Item),
    G: FnMut() -> Item,
{
    let produce = move |rounds: &mut Rounds| {
        let mut put = put();
        rounds.each(|index| put(item(index)));
    };
    let consume = move |rounds: &mut Rounds| {
        let mut get = get();
        rounds.each(|index| {
            assert_eq!(
                number(&black_box(get())),
                index,
                "items are lost, doubled or out of order"
            )
        });
    };
    Crew::start(
        kind,
        vec![
            Role::new("put", nth_core(0), produce),
            Role::new("get", nth_core(1), consume),
        ],
    )
}

/// `pairs` producers and `pairs` consumers of one queue; a step is one item from each producer.
pub fn n_to_n<P, G>(
    kind: Workers,
    pairs: usize,
    put: impl FnOnce() -> P + Clone + Send + 'static,
    get: impl FnOnce() -> G + Clone + Send + 'static,
) -> Crew
where
    P: FnMut(Item),
    G: FnMut() -> Item,
{
    let producer = |(n, put): (usize, _)| {
        Role::new("put", nth_core(2 * n), move |rounds| produce(rounds, put))
    };
    let consumer = |(n, get): (usize, _)| {
        Role::new("get", nth_core(2 * n + 1), move |rounds| {
            consume(rounds, get)
        })
    };
    let producers = iter::repeat_n(put, pairs).enumerate().map(producer);
    let consumers = iter::repeat_n(get, pairs).enumerate().map(consumer);
    Crew::start(kind, producers.chain(consumers).collect())
}

fn produce<P: FnMut(Item)>(rounds: &mut Rounds, put: impl FnOnce() -> P) {
    let mut put = put();
    rounds.each(|index| put(item(index)));
}

fn consume<G: FnMut() -> Item>(rounds: &mut Rounds, get: impl FnOnce() -> G) {
    let mut get = get();
    rounds.each(|_| {
        black_box(get());
    });
}

/// One producer, one consumer; a step is `batch` items in one call, got in as many calls as it takes.
///
/// `get(max)` waits for the first item, takes at most `max` and says how many it took.
pub fn batched<P, G>(
    kind: Workers,
    batch: usize,
    put: impl FnOnce() -> P + Send + 'static,
    get: impl FnOnce() -> G + Send + 'static,
) -> Crew
where
    P: FnMut(&[Item]),
    G: FnMut(usize) -> usize,
{
    let produce = move |rounds: &mut Rounds| {
        let mut put = put();
        let items: Vec<Item> = (0..batch as u64).map(item).collect();
        rounds.each(|_| put(black_box(&items)));
    };
    let consume = move |rounds: &mut Rounds| {
        let mut get = get();
        rounds.each(|_| {
            let mut left = batch;
            while left > 0 {
                left -= get(left);
            }
        });
    };
    Crew::start(
        kind,
        vec![
            Role::new("put", nth_core(0), produce),
            Role::new("get", nth_core(1), consume),
        ],
    )
}

/// One producer, one consumer; a step is one message of `size` bytes, from private memory into private memory.
///
/// `get` says how long the message was that it copied out.
pub fn stream<P, G>(
    kind: Workers,
    size: usize,
    put: impl FnOnce() -> P + Send + 'static,
    get: impl FnOnce() -> G + Send + 'static,
) -> Crew
where
    P: FnMut(&[u8]),
    G: FnMut() -> usize,
{
    let produce = move |rounds: &mut Rounds| {
        let mut put = put();
        let message = vec![1; size];
        rounds.each(|_| put(black_box(&message)));
    };
    let consume = move |rounds: &mut Rounds| {
        let mut get = get();
        rounds.each(|_| {
            assert_eq!(
                get(),
                size,
                "a message came out shorter or longer than it went in"
            )
        });
    };
    Crew::start(
        kind,
        vec![
            Role::new("put", nth_core(0), produce),
            Role::new("get", nth_core(1), consume),
        ],
    )
}

/// A client that puts an item and gets the answer, and a server that answers each with itself; a step is one round trip.
///
/// Both factories return their `(put, get)`; the client's put reaches the server's get, and the other way round.
pub fn round_trip<P, G, Q, H>(
    kind: Workers,
    placement: Placement,
    client: impl FnOnce() -> (P, G) + Send + 'static,
    server: impl FnOnce() -> (Q, H) + Send + 'static,
) -> Crew
where
    P: FnMut(Item),
    G: FnMut() -> Item,
    Q: FnMut(Item),
    H: FnMut() -> Item,
{
    let ask = move |rounds: &mut Rounds| {
        let (mut put, mut get) = client();
        rounds.each(|index| {
            put(item(index));
            assert_eq!(
                number(&get()),
                index,
                "the answer belongs to another question"
            );
        });
    };
    let answer = move |rounds: &mut Rounds| {
        let (mut put, mut get) = server();
        rounds.each(|_| put(get()));
    };
    let (here, there) = placement.cores();
    Crew::start(
        kind,
        vec![
            Role::new("ask", here, ask),
            Role::new("answer", there, answer),
        ],
    )
}
