//! What is sent, how that is checked, and how a link between two workers becomes a crew: the same for everybody.
//!
//! A message is some words, each of which follows from the message's number. Whoever sends fills all of them, and whoever receives
//! checks all of them: in place where a system gives out its memory, else in a buffer of its own.

use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::harness::Placement;
use std::any::Any;
use std::hint;

/// Does a step's messages, the first of which has this number.
pub(crate) type Step = Box<dyn FnMut(u64)>;
/// Runs in the worker, and opens what that needs.
pub(crate) type Open = Box<dyn FnOnce() -> Step + Send>;

/// One direction between two workers.
pub(crate) struct Link {
    pub(crate) workers: Workers,
    pub(crate) put: Open,
    pub(crate) get: Open,
    /// What must be there until both workers have opened it.
    keeps: Option<Box<dyn Any>>,
}

impl Link {
    pub(crate) fn new<P, G>(
        workers: Workers,
        put: impl FnOnce() -> P + Send + 'static,
        get: impl FnOnce() -> G + Send + 'static,
    ) -> Self
    where
        P: FnMut(u64) + 'static,
        G: FnMut(u64) + 'static,
    {
        Self {
            workers,
            put: Box::new(|| Box::new(put())),
            get: Box::new(|| Box::new(get())),
            keeps: None,
        }
    }

    /// Keeps something until both workers have opened it.
    pub(crate) fn keeping(self, what: impl Any) -> Self {
        Self {
            keeps: Some(Box::new(what)),
            ..self
        }
    }
}

/// What goes through a link: messages of so many bytes, so many a step, in batches of so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) bytes: usize,
    pub(crate) step: usize,
    pub(crate) batch: usize,
    /// Messages on their way at most.
    pub(crate) capacity: usize,
    /// Whether who waits sleeps in the kernel, where a system has both.
    pub(crate) sleeps: bool,
}

impl Load {
    pub(crate) fn words(self) -> usize {
        self.bytes / 8
    }

    /// Calls `each` with the number of the first message of each batch of a step.
    #[inline]
    pub(crate) fn batches(self, first: u64, mut each: impl FnMut(u64)) {
        for batch in 0..self.step / self.batch {
            each(first + (batch * self.batch) as u64);
        }
    }
}

/// Fills a message.
#[inline]
pub(crate) fn fill(words: &mut [u64], number: u64) {
    for (at, word) in words.iter_mut().enumerate() {
        *word = number.wrapping_add(at as u64);
    }
}

/// A message of fixed length.
#[inline]
pub(crate) fn message<const N: usize>(number: u64) -> [u64; N] {
    let mut words = [0; N];
    fill(&mut words, number);
    words
}

/// Checks all of a message.
#[inline]
pub(crate) fn check(words: &[u64], number: u64) {
    let wrong = words.iter().enumerate().fold(0, |wrong, (at, word)| {
        wrong | (word ^ number.wrapping_add(at as u64))
    });
    assert_eq!(
        wrong, 0,
        "message {number} is torn, lost, doubled or out of order"
    );
}

/// Tries without pause but the processor's own, as the other end runs on a core of its own.
#[inline]
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        hint::spin_loop();
    }
}

/// A sender on one core and a receiver on the other.
pub(crate) fn one_way(link: Link, load: Load) -> Crew {
    let _until_started = link.keeps;
    let does = |open: Open| {
        move |rounds: &mut Rounds| {
            let mut step = open();
            rounds.each(|index| step(index * load.step as u64));
        }
    };
    let [(put, here), (get, there)] = [(link.put, 0), (link.get, 1)];
    let [here, there] = [here, there].map(ipc_benches::nth_core);
    Crew::start(
        link.workers,
        vec![
            Role::new("put", here, does(put)),
            Role::new("get", there, does(get)),
        ],
    )
}

/// A message there and one back; a step is a round trip.
pub(crate) fn round_trip(there: Link, back: Link) -> Crew {
    let _until_started = [there.keeps, back.keeps];
    let workers = there.workers;
    let ask = |rounds: &mut Rounds| {
        let (mut put, mut get) = ((there.put)(), (back.get)());
        rounds.each(|index| {
            put(index);
            get(index);
        });
    };
    let answer = |rounds: &mut Rounds| {
        let (mut get, mut put) = ((there.get)(), (back.put)());
        rounds.each(|index| {
            get(index);
            put(index);
        });
    };
    let (here, far) = Placement::Apart.cores();
    let roles = vec![
        Role::new("ask", here, ask),
        Role::new("answer", far, answer),
    ];
    Crew::start(workers, roles)
}
