//! Pipes with threads as peers, and lanes on the heap, where deaths and lies are decided by the test.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64 as Number, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    Connection, Pipe, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, Sender, TakeError, TryRecvError, TrySendError,
    core::PipeCore,
    geometry::bare_frame,
    lane::Side,
    on_heap::{World, geometry, owner},
    reader::RecvRefusal,
    role::State,
    writer::SendRefusal,
};
use crate::{
    Error,
    error::Damage,
    message::{Bytes, Message, Plain},
    object::{Namespace, seat::Activity, wait::WaitStrategy},
    prim::Relaxed,
};

/// A namespace of its own, which goes with it.
pub(super) struct Place(Namespace);

impl Place {
    pub(super) fn new() -> Self {
        static NEXT: Number = Number::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipc-pipe-test-{}-{next}", std::process::id());
        Self(Namespace::at(std::env::temp_dir().join(name)).unwrap())
    }

    fn options<T: Message>(&self) -> PipeOptions<T> {
        Pipe::options().namespace(&self.0)
    }

    pub(super) fn simplex<T: Message>(&self, capacity: usize) -> (Receiver<T>, Sender<T>) {
        self.options().capacity(capacity).simplex().unwrap()
    }

    fn duplex<T: Message>(&self) -> (Connection<T>, Connection<T>) {
        self.options().duplex().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

/// Waits until somebody at this side has announced that it sleeps.
fn until_asleep(core: &PipeCore, side: Side) {
    let start = Instant::now();
    while !core.lanes[0].word(side).has_sleepers() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody sleeps");
        thread::yield_now();
    }
}

const SHORTLY: Duration = Duration::from_millis(20);

// ---- messages

#[test]
fn both_ends_of_a_duplex_pipe_send_and_receive() {
    let place = Place::new();
    let (mut one, mut other) = place.duplex::<(u32, String)>();
    one.send((1, "ping".into())).unwrap();
    other.send((2, "pong".into())).unwrap();
    assert_eq!(other.recv().unwrap(), (1, "ping".into()));
    assert_eq!(one.try_recv().unwrap(), (2, "pong".into()));
    assert!(matches!(one.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn messages_of_every_fixed_length_keep_their_order_and_their_bytes() {
    for length in (0..70).chain([100, 128, 129, 192, 256, 257, 300]) {
        let w = World::new(geometry(1024, Some(length), true), 2);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let message = |nth: usize| vec![nth as u8; length];
        let (mut sent, mut received) = (0, 0);
        for _ in 0..40 {
            while writer.fill_bare(&message(sent)).is_ok() {
                writer.publish();
                sent += 1;
            }
            while let Ok(frame) = reader.next_bare(reader.head(), length) {
                let mut bytes = Vec::new();
                reader.received(frame).unwrap().write_over(&mut bytes);
                assert_eq!(bytes, message(received), "{received} of length {length}");
                reader.give_back(frame.end);
                received += 1;
            }
            assert_eq!(received, sent);
        }
        let frame = bare_frame(length) as usize;
        assert_eq!(sent, 40 * (1024 / frame), "of length {length}");
    }
}

#[test]
fn messages_of_any_length_go_round_the_end() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(256);
    for length in (0..=248).chain((0..=248).rev()) {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
        sender.send_bytes(&bytes).unwrap();
        assert_eq!(receiver.recv().unwrap().0, bytes);
    }
}

#[test]
fn plain_values_of_any_size_go_round_the_end() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Plain<[u8; 21]>>(64);
    for i in 0..100 {
        sender.send(Plain([i; 21])).unwrap();
        if i > 0 {
            assert_eq!(receiver.recv().unwrap().0, [i - 1; 21]);
        }
    }
    let (mut receiver, mut sender) = place.simplex::<Plain<()>>(16);
    for _ in 0..2 {
        sender.send(Plain(())).unwrap();
    }
    assert!(matches!(
        sender.try_send(Plain(())),
        Err(TrySendError::Full(_))
    ));
    assert_eq!(receiver.recv_many(9).unwrap().len(), 2);
}

#[test]
fn a_message_longer_than_the_capacity_is_refused_and_comes_back() {
    let place = Place::new();
    let (_receiver, mut sender) = place.simplex::<Bytes>(64);
    assert_eq!(sender.max_message_bytes(), 56);
    sender.send(Bytes(vec![1; 56])).unwrap();
    match sender.try_send(Bytes(vec![2; 57])) {
        Err(TrySendError::TooLarge { value, len, max }) => {
            assert_eq!((value.0.len(), len, max), (57, 57, 56));
        }
        other => panic!("{other:?}"),
    }
    match sender.try_send(Bytes(vec![3; 56])) {
        Err(e @ TrySendError::Full(_)) => assert_eq!(e.into_value().0, [3; 56]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_that_is_no_value_is_an_error_and_gone() {
    let place = Place::new();
    let (receiver, mut sender) = place.simplex::<Plain<u8>>(64);
    sender.send_many([1, 2, 1].map(Plain)).unwrap();
    let truths = Pipe::<Plain<bool>> {
        object: Arc::clone(&receiver.end.member.object),
        core: Arc::clone(receiver.end.core()),
        wait: WaitStrategy::default(),
        _message: PhantomData,
    };
    drop(receiver);
    let mut receiver = truths.receiver().unwrap();
    assert_eq!(receiver.recv_many(9).unwrap(), [Plain(true)]);
    assert!(matches!(receiver.recv_many(9), Err(RecvError::Decode(_))));
    assert_eq!(receiver.recv_many(9).unwrap(), [Plain(true)]);
}

#[test]
fn a_batch_arrives_in_order() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Plain<u64>>(1024);
    let consumer = thread::spawn(move || {
        let mut all = Vec::new();
        while let Ok(mut some) = receiver.recv_many(50) {
            assert!((1..=50).contains(&some.len()));
            all.append(&mut some);
        }
        all
    });
    assert_eq!(sender.send_many((0..10_000).map(Plain)).unwrap(), 10_000);
    drop(sender);
    assert!(
        consumer
            .join()
            .unwrap()
            .into_iter()
            .eq((0..10_000).map(Plain))
    );
}

#[test]
fn a_batch_whose_iterator_panics_is_sent_as_far_as_it_came() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Plain<u64>>(1024);
    let values = (0..5).map(|i| {
        if i < 3 {
            Plain(i)
        } else {
            panic!("on purpose")
        }
    });
    let attempt = std::panic::AssertUnwindSafe(|| sender.send_many(values));
    assert!(std::panic::catch_unwind(attempt).is_err());
    assert!(
        serde_json::to_string(&sender).is_err(),
        "it has some to send"
    );
    drop(sender);
    assert_eq!(receiver.recv_many(9).unwrap(), [0, 1, 2].map(Plain));
}

#[test]
fn a_message_whose_decoding_panics_stays() {
    use serde::{Deserialize, Deserializer, Serialize};
    static FAILS: Number = Number::new(1);
    #[derive(Debug, Serialize)]
    struct Fragile(u8);
    impl<'de> Deserialize<'de> for Fragile {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            assert!(FAILS.swap(0, Ordering::Relaxed) == 0, "on purpose");
            u8::deserialize(from).map(Self)
        }
    }
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Fragile>(64);
    sender.send(Fragile(7)).unwrap();
    let attempt = std::panic::AssertUnwindSafe(|| receiver.recv());
    assert!(std::panic::catch_unwind(attempt).is_err());
    assert_eq!(receiver.recv().unwrap().0, 7);
}

#[test]
fn poll_says_whether_a_receive_would_wait() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<u8>(64);
    assert!(!receiver.poll(Duration::ZERO).unwrap());
    assert!(!receiver.poll(SHORTLY).unwrap());
    sender.send(1).unwrap();
    assert!(receiver.poll(SHORTLY).unwrap());
    assert_eq!(receiver.recv().unwrap(), 1);
    drop(sender);
    assert!(receiver.poll(SHORTLY).unwrap(), "the end of file is there");
    assert!(matches!(receiver.recv(), Err(RecvError::EndOfFile)));
}

// ---- waiting

#[test]
fn waits_end_at_their_deadline() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Plain<u64>>(16);
    for strategy in [
        WaitStrategy::Sleep,
        WaitStrategy::Spin,
        WaitStrategy::Adaptive,
    ] {
        receiver.set_wait_strategy(strategy);
        sender.set_wait_strategy(strategy);
        let start = Instant::now();
        let received = receiver.recv_timeout(SHORTLY);
        assert!(matches!(received, Err(RecvTimeoutError::Timeout)));
        sender.send_many([Plain(1), Plain(2)]).unwrap();
        match sender.send_timeout(Plain(3), SHORTLY) {
            Err(SendTimeoutError::Timeout(Plain(3))) => {}
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() >= 2 * SHORTLY);
        assert_eq!(receiver.recv_many(9).unwrap().len(), 2);
    }
}

#[test]
fn threads_hand_messages_to_and_fro_however_they_wait() {
    for strategy in [
        WaitStrategy::Sleep,
        WaitStrategy::Spin,
        WaitStrategy::Adaptive,
    ] {
        let place = Place::new();
        let options = place.options::<Plain<u64>>().capacity(16).wait(strategy);
        let (mut one, mut other) = options.duplex().unwrap();
        let echo = thread::spawn(move || {
            while let Ok(value) = other.recv() {
                other.send(value).unwrap();
            }
        });
        for i in 0..2_000 {
            one.send(Plain(i)).unwrap();
            assert_eq!(one.recv().unwrap(), Plain(i));
        }
        drop(one);
        echo.join().unwrap();
    }
}

#[test]
fn a_full_pipe_holds_its_sender_back() {
    for capacity in [16, 64, 4096] {
        let place = Place::new();
        let (mut receiver, mut sender) = place.simplex::<String>(capacity);
        let producer = thread::spawn(move || {
            for i in 0..20_000 {
                sender.send(format!("{i:04}")).unwrap();
            }
        });
        for (i, message) in receiver.iter().enumerate() {
            assert_eq!(message.unwrap(), format!("{i:04}"));
        }
        producer.join().unwrap();
    }
}

#[test]
fn closing_an_end_wakes_who_waits_at_the_other() {
    let place = Place::new();
    let (mut receiver, sender) = place.simplex::<u8>(64);
    receiver.set_wait_strategy(WaitStrategy::Sleep);
    let core = Arc::clone(receiver.end.core());
    let waiter = thread::spawn(move || receiver.recv());
    until_asleep(&core, Side::Reader);
    sender.close();
    assert!(matches!(waiter.join().unwrap(), Err(RecvError::EndOfFile)));

    let (receiver, mut sender) = place.simplex::<Plain<u64>>(16);
    sender.set_wait_strategy(WaitStrategy::Sleep);
    let core = Arc::clone(receiver.end.core());
    let waiter = thread::spawn(move || sender.send_many((0..3).map(Plain)));
    until_asleep(&core, Side::Writer);
    receiver.close();
    let stopped = waiter.join().unwrap().unwrap_err();
    assert_eq!(stopped.sent, 2);
    assert!(matches!(stopped.error, SendError::BrokenPipe(Plain(2))));
}

// ---- ends

#[test]
fn the_end_of_file_comes_after_the_last_message() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<u8>(64);
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.peer(), None);
    assert_eq!(receiver.recv().unwrap(), 1);
    for _ in 0..2 {
        assert!(matches!(receiver.recv(), Err(RecvError::EndOfFile)));
        let now = receiver.try_recv();
        assert!(matches!(
            now,
            Err(TryRecvError::Failed(RecvError::EndOfFile))
        ));
    }
}

#[test]
fn a_send_to_a_closed_end_is_a_broken_pipe() {
    let place = Place::new();
    let (receiver, mut sender) = place.simplex::<u8>(64);
    assert_eq!(sender.peer(), Some(std::process::id()));
    drop(receiver);
    assert!(matches!(sender.send(7), Err(SendError::BrokenPipe(7))));
    assert!(matches!(
        sender.try_send(7),
        Err(TrySendError::BrokenPipe(7))
    ));
}

#[test]
fn the_halves_of_a_connection_close_on_their_own() {
    let place = Place::new();
    let (one, mut other) = place.duplex::<u8>();
    let (sender, mut receiver) = one.split();
    drop(sender);
    assert!(matches!(other.recv(), Err(RecvError::EndOfFile)));
    other.send(3).unwrap();
    assert_eq!(receiver.recv().unwrap(), 3);
}

#[test]
fn an_end_is_somebodys_until_it_is_closed() {
    let place = Place::new();
    let pipe = place.options::<u8>().create("p").unwrap();
    let first = pipe.first().unwrap();
    let by_name = || place.options::<u8>().open("p").unwrap();
    let me = std::process::id();
    assert!(matches!(by_name().first(), Err(TakeError::InUse { pid }) if pid == me));
    assert!(matches!(pipe.sender(), Err(TakeError::NoSuchEnd { .. })));
    let mut second = by_name().second().unwrap();
    drop(first);
    assert!(matches!(second.recv(), Err(RecvError::EndOfFile)));
    let mut again = by_name().first().unwrap();
    again.send(5).unwrap();
    assert_eq!(second.recv().unwrap(), 5, "by name, there can be a new one");
}

#[test]
fn messages_wait_for_the_next_receiver() {
    let place = Place::new();
    let pipe = place.options::<String>().one_way().create("p").unwrap();
    let mut sender = pipe.sender().unwrap();
    sender.send("one".into()).unwrap();
    sender.send("two".into()).unwrap();
    let mut receiver = pipe.receiver().unwrap();
    assert_eq!(receiver.recv().unwrap(), "one");
    drop((receiver, sender));
    assert_eq!(pipe.receiver().unwrap().recv().unwrap(), "two");
}

#[test]
fn nobody_waits_for_an_end_that_will_not_be_taken() {
    let place = Place::new();
    let pipe = place.options::<u8>().create("p").unwrap();
    let mut first = pipe.first().unwrap();
    assert!(matches!(first.try_recv(), Err(TryRecvError::Empty)));
    assert!(first.close_untaken_peer().unwrap());
    assert!(matches!(first.recv(), Err(RecvError::EndOfFile)));
    assert!(matches!(first.send(1), Err(SendError::BrokenPipe(1))));
    assert!(!first.close_untaken_peer().unwrap());
}

#[test]
fn an_end_travels_with_what_was_not_received() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<u8>(64);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    let ticket = serde_json::to_string(&receiver).unwrap();
    let mut other: Receiver<u8> = serde_json::from_str(&ticket).unwrap();
    assert_eq!(other.recv().unwrap(), 2);
    let me = std::process::id();
    assert!(matches!(receiver.recv(), Err(RecvError::InUse { pid }) if pid == me));
    drop(receiver);
    sender.send(3).unwrap();
    assert_eq!(other.recv().unwrap(), 3, "it is the new one's");
    let late = serde_json::from_str::<Receiver<u8>>(&ticket);
    assert!(late.is_err(), "a ticket is good once");
}

#[test]
fn an_end_that_was_offered_and_not_taken_is_still_its_owners() {
    let place = Place::new();
    let (mut one, mut other) = place.duplex::<u8>();
    let ticket = serde_json::to_string(&one).unwrap();
    assert_eq!(ticket, serde_json::to_string(&one).unwrap());
    one.send(1).unwrap();
    assert_eq!(other.recv().unwrap(), 1);
    assert!(matches!(one.try_recv(), Err(TryRecvError::Empty)));
    assert!(serde_json::from_str::<Connection<u8>>(&ticket).is_err());
    let ticket = serde_json::to_string(&one).unwrap();
    drop(one);
    assert!(
        matches!(other.try_recv(), Err(TryRecvError::Empty)),
        "it is on its way"
    );
    let mut one: Connection<u8> = serde_json::from_str(&ticket).unwrap();
    other.send(9).unwrap();
    assert_eq!(one.recv().unwrap(), 9);
    let ticket = serde_json::to_string(&one).unwrap();
    drop(one);
    assert!(other.close_untaken_peer().unwrap());
    assert!(matches!(other.recv(), Err(RecvError::EndOfFile)));
    assert!(serde_json::from_str::<Connection<u8>>(&ticket).is_err());
}

#[test]
fn a_pipe_remembers_what_it_is() {
    let place = Place::new();
    let pipe = place.options::<Plain<u64>>().create("p").unwrap();
    assert!(matches!(
        place.options::<String>().open("p"),
        Err(Error::WrongType { .. })
    ));
    assert!(matches!(
        place.options::<Plain<u64>>().create("p"),
        Err(Error::Exists { .. })
    ));
    assert_eq!((pipe.name(), pipe.capacity()), (Some("p"), 64 << 10));
    for capacity in [0, (2 << 30) + 1] {
        let made = place.options::<u8>().capacity(capacity).create("q");
        assert!(matches!(made, Err(Error::BadOption { .. })));
    }
    let travelled: Pipe<Plain<u64>> =
        serde_json::from_str(&serde_json::to_string(&pipe).unwrap()).unwrap();
    assert!(travelled.first().is_ok());
}

#[test]
fn a_look_from_outside_says_what_is_there_and_who_has_which_end() {
    let place = Place::new();
    let pipe = place.options::<Bytes>().one_way().create("p").unwrap();
    let mut sender = pipe.sender().unwrap();
    for length in [0, 1, 8] {
        sender.send_bytes(&vec![0; length]).unwrap();
    }
    let looked = place.0.inspect("p").unwrap();
    assert_eq!(
        looked.state,
        "3 messages, 40 of 65536 bytes, sender slot 0, receiver not taken"
    );
    let [visit] = &looked.visits[..] else {
        panic!("{:?}", looked.visits)
    };
    assert_eq!((visit.slot, visit.activity), (Some(0), Activity::Sending));
    assert_eq!(place.0.sweep("p").unwrap(), 0);
}

// ---- streams

#[test]
fn a_stream_arrives_as_it_was_written() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(1024);
    let data: Vec<u8> = (0..300_000_u32).map(|i| (i ^ i >> 7) as u8).collect();
    let sent = data.clone();
    let writer = thread::spawn(move || {
        for (i, chunk) in sent.chunks(997).enumerate() {
            if i % 50 == 0 {
                sender.send_bytes(b"").unwrap(); // no bytes, and no end of file
            }
            sender.write_all(chunk).unwrap();
        }
    });
    let (mut got, mut buffer) = (Vec::new(), [0; 701]);
    loop {
        let length = 1 + got.len() % buffer.len();
        match receiver.read(&mut buffer[..length]).unwrap() {
            0 => break,
            read => got.extend_from_slice(&buffer[..read]),
        }
    }
    writer.join().unwrap();
    assert!(got == data);
}

#[test]
fn what_a_read_leaves_of_a_message_is_received_next() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(64);
    let mut buffer = [0; 3];
    for _ in 0..9 {
        sender.send_bytes(b"hello world").unwrap();
        sender.send_bytes(b"!").unwrap();
        assert_eq!(receiver.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"hel");
        let ticket = serde_json::to_string(&receiver).unwrap();
        receiver = serde_json::from_str(&ticket).unwrap(); // which knows what was read
        assert!(matches!(
            receiver.recv_bytes_into(&mut buffer),
            Err(RecvError::TooLong { len: 8, max: 3 })
        ));
        assert_eq!(receiver.recv().unwrap().0, b"lo world");
        assert_eq!(receiver.recv_bytes_into(&mut buffer).unwrap(), 1);
    }
}

#[test]
fn a_write_goes_in_whole_or_waits_up_to_a_quarter_of_the_capacity() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(64);
    assert_eq!(sender.write(&[1; 100]).unwrap(), 16, "a short write");
    sender.send_bytes(&[2; 15]).unwrap();
    drop(sender);
    let mut all = Vec::new();
    receiver.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 31);
    let (receiver, mut sender) = place.simplex::<Bytes>(64);
    drop(receiver);
    let broken = sender.write(&[1]).unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::BrokenPipe);
}

// ---- deaths and lies

#[test]
fn the_ends_of_the_dead_are_closed_and_those_of_the_living_are_not() {
    let w = World::new(geometry(64, Some(8), true), 4);
    let (_, mut writer) = w.writer(0).unwrap();
    let (_, mut reader) = w.reader(1).unwrap();
    writer.send_for_model(1).unwrap();
    assert_eq!(w.sweep(), 0);
    w.dead.fetch_or(1, Relaxed);
    assert!(w.take(Side::Writer, 2).is_none(), "dead, but not proven");
    assert_eq!(w.sweep(), 1);
    assert_eq!(reader.recv_for_model(), Ok(1));
    assert_eq!(reader.recv_for_model(), Err(RecvRefusal::EndOfFile));
    let (_, mut writer) = w.writer(2).unwrap();
    assert_eq!(reader.recv_for_model(), Err(RecvRefusal::Empty));
    w.dead.fetch_or(2, Relaxed);
    w.sweep();
    assert_eq!(writer.send_for_model(2), Err(SendRefusal::Broken));
}

#[test]
fn an_end_on_its_way_from_the_dead_is_closed() {
    let w = World::new(geometry(64, Some(8), true), 4);
    let (mine, _) = w.writer(0).unwrap();
    let role = w.lane().role(Side::Writer);
    assert!(role.offer(mine));
    w.dead.fetch_or(1, Relaxed);
    w.sweep();
    assert_eq!(role.look().state(), Ok(State::Closed));
    assert!(role.take_offered(mine.turn(), owner(1)).is_err());
}

#[test]
fn what_a_dead_writer_had_not_published_is_never_seen() {
    let w = World::new(geometry(64, Some(8), true), 4);
    let (_, mut writer) = w.writer(0).unwrap();
    let (_, mut reader) = w.reader(1).unwrap();
    writer.send_for_model(1).unwrap();
    writer.fill_bare(&[2; 8]).unwrap();
    w.dead.fetch_or(1, Relaxed);
    w.sweep();
    let (_, mut writer) = w.writer(2).unwrap();
    writer.send_for_model(3).unwrap();
    assert_eq!(reader.recv_for_model(), Ok(1));
    assert_eq!(reader.recv_for_model(), Ok(3));
}

#[test]
fn a_lying_peer_is_reported_not_believed() {
    let damaged = |e: Result<u64, RecvRefusal>| matches!(e, Err(RecvRefusal::Damage(_)));
    for lie in [1, 8 * 9, u64::MAX, 1 << 63] {
        let w = World::new(geometry(64, Some(8), true), 4);
        let (_, mut reader) = w.reader(1).unwrap();
        w.lane().tail.0.store(lie, Relaxed);
        assert!(damaged(reader.recv_for_model()), "tail {lie}");
        let w = World::new(geometry(64, Some(8), true), 4);
        let (_, mut writer) = w.writer(1).unwrap();
        (0..8).for_each(|i| writer.send_for_model(i).unwrap());
        w.lane().head.0[0].store(lie, Relaxed);
        let sent = writer.send_for_model(9);
        assert!(
            matches!(sent, Err(SendRefusal::Damage(_))),
            "head {lie}: {sent:?}"
        );
    }
    for lie in [9, 56, u64::MAX, 1 << 32] {
        let w = World::new(geometry(64, None, true), 4);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        writer.fill_framed(&[1; 8]).unwrap();
        writer.publish();
        w.lane().words[0].store(lie, Relaxed);
        let frame = reader.next_framed(0);
        assert!(matches!(frame, Err(RecvRefusal::Damage(_))), "length {lie}");
        w.core.describe();
    }
    for lie in [4, 15, 1 << 4 | 1 << 3] {
        let w = World::new(geometry(64, Some(8), true), 4);
        let (_, mut reader) = w.reader(1).unwrap();
        w.lane().role(Side::Writer).ctl.store(lie, Relaxed);
        let unknown = Damage("an end is in no known state");
        assert_eq!(reader.recv_for_model(), Err(RecvRefusal::Damage(unknown)));
        assert!(w.take(Side::Writer, 2).is_none());
    }
}

#[test]
fn the_next_holder_does_not_believe_the_counters_it_finds() {
    for (tail, head) in [(8, 16), (80, 0), (4, 0), (8, 4), (u64::MAX, 0)] {
        let w = World::new(geometry(64, Some(8), true), 4);
        w.lane().tail.0.store(tail, Relaxed);
        w.lane().head.0[0].store(head, Relaxed);
        let writer = super::writer::Writer::new(&w.core.lanes[0], false);
        let reader = super::reader::Reader::new(&w.core.lanes[0], false);
        assert!(writer.is_err() && reader.is_err(), "{tail} {head}");
    }
}

/// What a test of random lives does next.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Recv,
    NextWriter,
    NextReader,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0_usize..60).prop_map(Step::Send),
        5 => Just(Step::Recv),
        1 => Just(Step::NextWriter),
        1 => Just(Step::NextReader),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn a_lane_is_a_queue_of_bytes_whoever_has_its_ends(steps in steps()) {
        let w = World::new(geometry(128, None, true), 4);
        let (mut sends, mut writer) = w.writer(0).unwrap();
        let (mut receives, mut reader) = w.reader(1).unwrap();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send(length) => {
                    let bytes = vec![i as u8; length];
                    let used: usize = model.iter().map(|m| 8 + m.len().next_multiple_of(8)).sum();
                    let fits = used + 8 + length.next_multiple_of(8) <= 128;
                    let filled = writer.fill_framed(&bytes);
                    prop_assert_eq!(filled, if fits { Ok(()) } else { Err(SendRefusal::Full) });
                    if fits {
                        writer.publish();
                        model.push_back(bytes);
                    }
                }
                Step::Recv => match (reader.next_framed(reader.head()), model.pop_front()) {
                    (Ok(frame), Some(expected)) => {
                        let mut bytes = Vec::new();
                        let received = reader.received(frame).unwrap();
                        received.write_over(&mut bytes);
                        prop_assert_eq!(bytes, expected);
                        reader.give_back(frame.end);
                    }
                    (Err(RecvRefusal::Empty), None) => {}
                    other => prop_assert!(false, "{:?}", other),
                },
                Step::NextWriter => {
                    w.close(Side::Writer, sends);
                    (sends, writer) = w.writer(2).unwrap();
                }
                Step::NextReader => {
                    w.close(Side::Reader, receives);
                    (receives, reader) = w.reader(3).unwrap();
                }
            }
            prop_assert_eq!(w.lane().contents().0, model.len() as u64);
        }
    }
}
