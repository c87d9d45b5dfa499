//! Our pipe: one writer and one reader, against rings for the same.
//!
//! `rtrb` is a ring between threads. `shaq3` is the ring of shaq 3.0 between processes, which has no way to sleep; singly, each
//! message is published at once, as ours are. Capacities are [`CAPACITY`] messages; of round trips [`FEW`], too, as a ring that
//! outgrows the first cache costs a transfer more.
#![allow(unsafe_code)]

use crate::suite::Suite;
use crate::{BATCH, CAPACITY};
use criterion::Throughput;
use ipc_benches::crew::{
    Crew, Role, Rounds,
    Workers::{self, Processes, Threads},
};
use ipc_benches::harness::{Item, Placement, item, number, round_trip};
use ipc_benches::nth_core;
use ipc_benches::queue::{fresh_name, namespace};
use ipc_core::{Pipe, Plain, Receiver, Sender, WaitStrategy};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fmt;
use std::fs::File;
use std::hint::{self, black_box};
use std::marker::PhantomData;
use std::sync::Arc;

/// Messages of a small ring.
const FEW: usize = 16;

/// What is sent: eight bytes, or 64.
trait Unit: Copy + fmt::Debug + Send + 'static {
    fn nth(index: u64) -> Self;
    fn index(&self) -> u64;
}

impl Unit for u64 {
    fn nth(index: u64) -> Self {
        index
    }

    fn index(&self) -> u64 {
        *self
    }
}

impl Unit for Item {
    fn nth(index: u64) -> Self {
        item(index)
    }

    fn index(&self) -> u64 {
        number(self)
    }
}

/// A pipe under a name, which goes with this.
struct Named<M: ipc_core::Message> {
    name: String,
    messages: PhantomData<fn() -> M>,
}

impl<M: ipc_core::Message> Named<M> {
    fn create(bytes: usize) -> Self {
        let name = fresh_name();
        let options = Pipe::<M>::options().one_way().capacity(bytes);
        drop(
            options
                .namespace(&namespace())
                .create(&name)
                .expect("make a pipe"),
        );
        Self {
            name,
            messages: PhantomData,
        }
    }

    fn open(name: &str, strategy: WaitStrategy) -> Pipe<M> {
        let options = Pipe::options().namespace(&namespace()).wait(strategy);
        options.open(name).expect("open the pipe")
    }

    fn sender(&self, strategy: WaitStrategy) -> impl FnOnce() -> Sender<M> + Send + use<M> {
        let name = self.name.clone();
        move || Self::open(&name, strategy).sender().expect("it is free")
    }

    fn receiver(&self, strategy: WaitStrategy) -> impl FnOnce() -> Receiver<M> + Send + use<M> {
        let name = self.name.clone();
        move || Self::open(&name, strategy).receiver().expect("it is free")
    }
}

impl<M: ipc_core::Message> Drop for Named<M> {
    fn drop(&mut self) {
        // A name that stays is no reason to panic in a drop.
        let options = Pipe::<M>::options().namespace(&namespace());
        let _ = options.open(&self.name).and_then(|pipe| pipe.unlink());
    }
}

/// A writer on one core and a reader on the other, `batch` messages a step, each put as `wrap` has it.
fn one_way<M: Unit, U, P, G>(
    kind: Workers,
    batch: usize,
    wrap: fn(M) -> U,
    put: impl FnOnce() -> P + Send + 'static,
    get: impl FnOnce() -> G + Send + 'static,
) -> Crew
where
    U: 'static,
    P: FnMut(&[U]),
    G: FnMut(usize, &mut dyn FnMut(M)),
{
    let produce = move |rounds: &mut Rounds| {
        let mut put = put();
        let mut messages: Vec<U> = (0..batch as u64).map(|i| wrap(M::nth(i))).collect();
        rounds.each(|step| {
            messages[0] = wrap(M::nth(step)); // the rest says nothing
            put(black_box(&messages));
        });
    };
    let consume = move |rounds: &mut Rounds| {
        let mut get = get();
        rounds.each(|step| {
            let mut got = 0;
            while got < batch {
                let before = got;
                get(batch - before, &mut |message| {
                    if got == 0 {
                        assert_eq!(message.index(), step, "lost, doubled or out of order");
                    }
                    black_box(message);
                    got += 1;
                });
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

/// Tries without pause but the processor's own, as the other end runs on a core of its own.
fn retry<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        hint::spin_loop();
    }
}

fn rtrb_crew<M: Unit>() -> Crew {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<M>::new(CAPACITY);
    one_way(
        Threads,
        1,
        |message| message,
        move || move |messages: &[M]| retry(|| producer.push(messages[0]).ok()),
        move || move |_, take: &mut dyn FnMut(M)| take(retry(|| consumer.pop().ok())),
    )
}

fn shaq_crew<M: Unit>(batch: usize) -> Crew {
    let file = memfd_create("shaq", MFdFlags::MFD_CLOEXEC).expect("make a file in memory");
    let file = Arc::new(File::from(file));
    let size = shaq3::spsc::minimum_file_size::<M>(CAPACITY);
    // SAFETY: the file is new; the producer made here is dropped before another joins.
    drop(unsafe { shaq3::spsc::Producer::<M>::create(&file, size) }.expect("make a shaq queue"));
    let other = Arc::clone(&file);
    let put = move || {
        // SAFETY: the only producer, of the same type as the consumer.
        let mut producer =
            unsafe { shaq3::spsc::Producer::<M>::join(&file) }.expect("join as the producer");
        move |messages: &[M]| {
            for message in messages {
                while producer.try_write(*message).is_err() {
                    producer.commit();
                    producer.sync();
                    hint::spin_loop();
                }
            }
            producer.commit();
        }
    };
    let get = move || {
        // SAFETY: the only consumer, of the same type as the producer.
        let mut consumer =
            unsafe { shaq3::spsc::Consumer::<M>::join(&other) }.expect("join as the consumer");
        move |most: usize, take: &mut dyn FnMut(M)| {
            let mut got = 0;
            while got == 0 {
                while got < most
                    && let Some(message) = consumer.try_read()
                {
                    take(*message);
                    got += 1;
                }
                if got == 0 {
                    consumer.sync();
                    hint::spin_loop();
                }
            }
            consumer.finalize();
        }
    };
    one_way(Processes, batch, |message| message, put, get)
}

fn pipe_crew<M: Unit>(batch: usize) -> Crew
where
    Plain<M>: ipc_core::Message,
{
    let pipe = Named::<Plain<M>>::create(CAPACITY * size_of::<M>());
    let (sender, receiver) = (
        pipe.sender(WaitStrategy::Spin),
        pipe.receiver(WaitStrategy::Spin),
    );
    let put = move || {
        let mut sender = sender();
        move |messages: &[Plain<M>]| match messages {
            [message] => sender.send(*message).expect("send"),
            _ => sender.send_slice(messages).expect("send a batch"),
        }
    };
    let get = move || {
        let (mut receiver, mut messages) = (receiver(), Vec::new());
        move |most: usize, take: &mut dyn FnMut(M)| {
            if most == 1 {
                return take(receiver.recv().expect("receive").0);
            }
            receiver
                .recv_many_into(&mut messages, most)
                .expect("receive a batch");
            messages.drain(..).for_each(|message| take(message.0));
        }
    };
    one_way(Processes, batch, Plain, put, get)
}

/// Messages a second, one way.
pub(crate) fn one_by_one(suite: &mut Suite) {
    let one = || Throughput::Elements(1);
    let group = "pipe_8B";
    suite.figure((group, "peer_rtrb"), &[], one(), rtrb_crew::<u64>);
    suite.figure((group, "peer_shaq3"), &[], one(), || shaq_crew::<u64>(1));
    suite.figure(
        (group, "ipc_pipe"),
        &["peer_rtrb", "peer_shaq3"],
        one(),
        || pipe_crew::<u64>(1),
    );
    let group = "pipe_64B";
    suite.figure((group, "peer_shaq3"), &[], one(), || shaq_crew::<Item>(1));
    suite.figure((group, "ipc_pipe"), &["peer_shaq3"], one(), || {
        pipe_crew::<Item>(1)
    });
}

/// The same, in batches of [`BATCH`].
pub(crate) fn batches(suite: &mut Suite) {
    let batch = || Throughput::Elements(BATCH as u64);
    let group = "pipe_8B_batch_32";
    suite.figure((group, "peer_shaq3"), &[], batch(), || {
        shaq_crew::<u64>(BATCH)
    });
    suite.figure((group, "ipc_pipe"), &["peer_shaq3"], batch(), || {
        pipe_crew::<u64>(BATCH)
    });
    let group = "pipe_64B_batch_32";
    suite.figure((group, "peer_shaq3"), &[], batch(), || {
        shaq_crew::<Item>(BATCH)
    });
    suite.figure((group, "ipc_pipe"), &["peer_shaq3"], batch(), || {
        pipe_crew::<Item>(BATCH)
    });
}

/// A 64-byte message there and back, through two pipes.
pub(crate) fn round_trips(suite: &mut Suite) {
    use Placement::{Apart, Together};
    use WaitStrategy::{Sleep, Spin};
    let figures = [
        ("ipc_pipe_spin", "floor_mailbox", Spin, Apart, FEW),
        ("ipc_pipe_1024_spin", "floor_mailbox", Spin, Apart, CAPACITY),
        (
            "ipc_pipe_two_cores",
            "floor_futex_two_cores",
            Sleep,
            Apart,
            FEW,
        ),
        (
            "ipc_pipe_one_core",
            "floor_futex_one_core",
            Sleep,
            Together,
            FEW,
        ),
    ];
    for (name, floor, strategy, placement, messages) in figures {
        suite.figure(
            ("round_trip", name),
            &[floor],
            Throughput::Elements(1),
            move || there_and_back(strategy, placement, messages),
        );
    }
}

fn there_and_back(strategy: WaitStrategy, placement: Placement, messages: usize) -> Crew {
    let pipe = || Named::<Plain<Item>>::create(messages * size_of::<Item>());
    let (there, back) = (pipe(), pipe());
    let ends = |out: &Named<Plain<Item>>, home: &Named<Plain<Item>>| {
        let (out, home) = (out.sender(strategy), home.receiver(strategy));
        move || {
            let (mut out, mut home) = (out(), home());
            (
                move |item| out.send(Plain(item)).expect("send"),
                move || home.recv().expect("receive").0,
            )
        }
    };
    round_trip(
        Processes,
        placement,
        ends(&there, &back),
        ends(&back, &there),
    )
}
