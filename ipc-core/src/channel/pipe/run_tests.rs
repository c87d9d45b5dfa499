//! Slices of messages, whose plain ones go in runs.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Pipe, RecvError, SendError, SendManyError, tests::Place};
use crate::{
    message::{Bytes, Message, Plain},
    object::wait::WaitStrategy,
};

/// A value of eight bytes that not all bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u64)]
enum Light {
    Red = 1,
    Green = 2,
}

#[test]
fn of_a_run_those_arrive_that_come_before_one_that_is_no_value() {
    let place = Place::new();
    let (receiver, mut sender) = place.simplex::<Plain<u64>>(64);
    sender.send_slice(&[1, 2, 3, 1].map(Plain)).unwrap();
    let lights = Pipe::<Plain<Light>> {
        object: Arc::clone(&receiver.end.member.object),
        core: Arc::clone(receiver.end.core()),
        wait: WaitStrategy::default(),
        _message: PhantomData,
    };
    drop(receiver);
    let mut receiver = lights.receiver().unwrap();
    let before = [Light::Red, Light::Green].map(Plain);
    assert_eq!(receiver.recv_many(9).unwrap(), before);
    assert!(matches!(receiver.recv_many(9), Err(RecvError::Decode(_))));
    assert_eq!(receiver.recv_many(9).unwrap(), [Plain(Light::Red)]);
}

/// Of any type: those of a multiple of eight bytes go in runs, the others one by one.
fn slices_arrive_in_order<T: Message + Clone + PartialEq + fmt::Debug + Send + Sync + 'static>(
    nth: impl Fn(usize) -> T,
) {
    const ALL: usize = 3_000;
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<T>(512);
    let all: Vec<T> = (0..ALL).map(nth).collect();
    let sent = all.clone();
    let producer = thread::spawn(move || {
        let mut rest = &sent[..];
        for length in (0..100).cycle() {
            let (slice, behind) = rest.split_at(length.min(rest.len()));
            sender.send_slice(slice).unwrap();
            rest = behind;
            if rest.is_empty() {
                return;
            }
        }
    });
    let mut got = Vec::new();
    for most in (1..80).cycle() {
        match receiver.recv_many_into(&mut got, most) {
            Ok(count) => assert!((1..=most).contains(&count)),
            Err(RecvError::EndOfFile) => break,
            Err(e) => panic!("{e}"),
        }
    }
    producer.join().unwrap();
    assert_eq!(got, all);
}

#[test]
fn slices_of_any_type_arrive_in_order_round_the_end() {
    slices_arrive_in_order(|i| Plain(i as u64));
    slices_arrive_in_order(|i| Plain([i as u64; 3])); // some of them go round the end
    slices_arrive_in_order(|i| Plain([i as u64; 8]));
    slices_arrive_in_order(|i| Plain([i as u8; 5]));
    slices_arrive_in_order(|_| Plain(()));
    slices_arrive_in_order(|i| Bytes(vec![i as u8; i % 40]));
    slices_arrive_in_order(|i| (i, i.to_string()));
}

#[test]
fn a_slice_says_how_much_of_it_was_sent() {
    let place = Place::new();
    let (receiver, mut sender) = place.simplex::<Plain<u64>>(64);
    let waiter = thread::spawn(move || sender.send_slice(&[Plain(7); 20]));
    let start = Instant::now();
    while receiver.end.lane().contents() != (8, 64) {
        assert!(start.elapsed() < Duration::from_secs(20), "it never filled");
        thread::yield_now();
    }
    drop(receiver);
    match waiter.join().unwrap() {
        Err(SendManyError { sent: 8, error }) => {
            assert!(matches!(error, SendError::BrokenPipe(())))
        }
        other => panic!("{other:?}"),
    }
}
