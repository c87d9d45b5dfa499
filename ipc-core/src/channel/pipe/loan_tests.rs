//! Messages that are written and read in place: threads as peers, and lanes on the heap where deaths and lies are decided by the test.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
    geometry::{framed, head_of},
    on_heap::{World, geometry},
    reader::RecvRefusal,
    tests::Place,
};
use crate::{message::Bytes, prim::Relaxed};

const SHORTLY: Duration = Duration::from_millis(20);

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + seed) as u8).collect()
}

fn send_in_place(sender: &mut Sender<Bytes>, bytes: &[u8]) {
    let mut loan = sender.try_loan(bytes.len()).unwrap();
    loan.write_at(0, bytes);
    loan.send().unwrap();
}

fn recv_in_place(receiver: &mut Receiver<Bytes>) -> Vec<u8> {
    let message = receiver.try_recv_ref().unwrap();
    assert!(message.is_in_place());
    message.to_vec()
}

#[test]
fn loans_of_any_length_arrive_in_one_piece_on_a_cache_line() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(512);
    assert_eq!(sender.max_loan_bytes(), 256);
    for length in (0..=256).chain((0..=256).rev()) {
        let bytes = pattern(length, length);
        let mut loan = sender.try_loan(length).unwrap();
        assert_eq!((loan.len(), loan.is_empty()), (length, length == 0));
        assert!(loan.as_mut_ptr().addr().is_multiple_of(64));
        loan.write_at(0, &bytes);
        loan.send().unwrap();
        let message = receiver.recv_ref().unwrap();
        assert!(message.is_in_place() && message.as_ptr().addr().is_multiple_of(64));
        assert_eq!(message.to_vec(), bytes);
        message.done().unwrap();
    }
}

#[test]
fn either_way_of_sending_meets_either_way_of_receiving() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(512);
    for round in 0..200 {
        let bytes = pattern(round, round % 150);
        match round % 2 {
            0 => send_in_place(&mut sender, &bytes),
            _ => sender.send_bytes(&bytes).unwrap(),
        }
        let got = match round / 2 % 2 {
            0 => receiver.recv().unwrap().0,
            _ => receiver.recv_ref().unwrap().to_vec(),
        };
        assert_eq!(got, bytes);
    }
}

#[test]
fn a_message_that_goes_round_the_end_is_copied_and_says_so() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(128);
    sender.send_bytes(&[0; 80]).unwrap();
    receiver.recv().unwrap();
    let bytes = pattern(3, 100);
    sender.send_bytes(&bytes).unwrap();
    let message = receiver.recv_ref().unwrap();
    assert!(!message.is_in_place());
    assert_eq!(message.to_vec(), bytes);
    let mut some = [0; 10];
    message.read_at(33, &mut some);
    assert_eq!(some, bytes[33..43]);
    drop(message);
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_message_is_there_until_its_reference_is_dropped() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(128);
    send_in_place(&mut sender, &[1; 64]);
    assert!(matches!(sender.try_loan(64), Err(TrySendError::Full(()))));
    std::mem::forget(receiver.recv_ref().unwrap());
    let message = receiver.recv_ref().unwrap();
    assert!(matches!(sender.try_loan(64), Err(TrySendError::Full(()))));
    let timed_out = sender.loan_timeout(64, SHORTLY);
    assert!(matches!(timed_out, Err(SendTimeoutError::Timeout(()))));
    drop(message);
    send_in_place(&mut sender, &[2; 64]);
    assert_eq!(recv_in_place(&mut receiver), [2; 64]);
    assert!(matches!(receiver.try_recv_ref(), Err(TryRecvError::Empty)));
    let timed_out = receiver.recv_ref_timeout(SHORTLY);
    assert!(matches!(timed_out, Err(RecvTimeoutError::Timeout)));
}

#[test]
fn a_loan_that_is_dropped_or_cut_short_leaves_its_room() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(192);
    for _ in 0..10 {
        drop(sender.try_loan(64).unwrap());
        std::mem::forget(sender.try_loan(64).unwrap());
    }
    let mut loan = sender.try_loan(64).unwrap();
    loan.write_at(0, &pattern(0, 64));
    loan.truncate(100);
    assert_eq!(loan.len(), 64);
    loan.truncate(9);
    loan.send().unwrap();
    send_in_place(&mut sender, b"behind it");
    assert_eq!(recv_in_place(&mut receiver), pattern(0, 9));
    assert_eq!(recv_in_place(&mut receiver), b"behind it");
}

#[test]
fn a_loan_is_written_and_a_reference_read_as_a_file_is() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(128);
    let mut loan = sender.loan(11).unwrap();
    write!(loan, "{}-{}", "hello", "there").unwrap();
    assert!(loan.write_all(b"!").is_err(), "it is full");
    loan.send().unwrap();
    let mut message = receiver.recv_ref().unwrap();
    let mut text = String::new();
    message.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello-there");
}

#[test]
#[expect(unsafe_code, reason = "what the test is about")]
fn the_memory_itself_is_given_to_who_vouches_for_it() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(4096);
    let mut loan = sender.loan(1024).unwrap();
    // SAFETY: nobody else knows the pipe.
    unsafe { loan.as_mut_slice() }.copy_from_slice(&pattern(5, 1024));
    loan.send().unwrap();
    let message = receiver.recv_ref().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { message.as_slice() }, pattern(5, 1024));
}

#[test]
#[should_panic = "do not fit into a loan of 8"]
fn a_write_behind_the_end_of_a_loan_is_the_callers_mistake() {
    let place = Place::new();
    let (_receiver, mut sender) = place.simplex::<Bytes>(128);
    sender.loan(8).unwrap().write_at(usize::MAX, &[1, 2]);
}

#[test]
#[should_panic = "no 2 bytes at 7 of a message of 8"]
fn a_read_behind_the_end_of_a_message_is_the_callers_mistake() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(128);
    send_in_place(&mut sender, &[0; 8]);
    receiver.recv_ref().unwrap().read_at(7, &mut [0; 2]);
}

#[test]
fn a_loan_of_more_than_half_the_capacity_is_refused() {
    let place = Place::new();
    let (_receiver, mut sender) = place.simplex::<Bytes>(128);
    for len in [65, 120, usize::MAX] {
        match sender.loan(len) {
            Err(SendError::TooLarge { len: l, max, .. }) => assert_eq!((l, max), (len, 64)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_loan_finds_the_other_end_closed() {
    let place = Place::new();
    let (receiver, mut sender) = place.simplex::<Bytes>(128);
    let loan = sender.loan(8).unwrap();
    drop(receiver);
    assert!(matches!(loan.send(), Err(SendError::BrokenPipe(()))));
    assert!(matches!(sender.loan(8), Err(SendError::BrokenPipe(()))));
}

#[test]
fn what_was_lent_and_sent_comes_before_the_end_of_file() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(128);
    send_in_place(&mut sender, b"last");
    drop(sender);
    assert_eq!(recv_in_place(&mut receiver), b"last");
    assert!(matches!(receiver.recv_ref(), Err(RecvError::EndOfFile)));
}

#[test]
fn a_stream_reads_loans_too_and_leaves_the_rest_of_one() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(512);
    sender.send_bytes(b"0123").unwrap();
    send_in_place(&mut sender, b"456789");
    let mut some = [0; 7];
    receiver.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"0123456");
    let rest = receiver.recv_ref().unwrap();
    assert_eq!((rest.is_in_place(), rest.len()), (false, 3));
    assert_eq!(rest.to_vec(), b"789");
}

#[test]
fn threads_hand_loans_to_and_fro() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(4096);
    let t = thread::spawn(move || {
        for i in 0..2000 {
            let bytes = pattern(i, i * 31 % 2048);
            let mut loan = sender.loan(bytes.len()).unwrap();
            loan.write_at(0, &bytes);
            loan.send().unwrap();
        }
    });
    for i in 0..2000 {
        let message = receiver.recv_ref().unwrap();
        assert_eq!(message.to_vec(), pattern(i, i * 31 % 2048));
    }
    assert!(matches!(receiver.recv_ref(), Err(RecvError::EndOfFile)));
    t.join().unwrap();
}

#[test]
fn a_look_from_outside_counts_loans_as_messages() {
    let place = Place::new();
    let (mut receiver, mut sender) = place.simplex::<Bytes>(512);
    sender.send_bytes(b"plain").unwrap();
    send_in_place(&mut sender, &[1; 100]);
    send_in_place(&mut sender, &[1; 3]);
    let core = receiver.end.core().describe();
    assert!(core.starts_with("3 messages, "), "{core}");
    receiver.recv().unwrap();
    receiver.recv().unwrap();
    let core = receiver.end.core().describe();
    assert!(core.starts_with("1 message, "), "{core}");
}

#[test]
fn a_dead_writers_loan_is_nobodys_and_a_dead_readers_message_the_next_ones() {
    let w = World::new(geometry(256, None, false), 4);
    let (_, mut writer) = w.writer(0).unwrap();
    let piece = writer.reserve_piece(100).unwrap();
    writer.fill_piece(&piece, 100); // and dies before it publishes
    w.die_and_sweep(0);
    let (_, mut writer) = w.writer(1).unwrap();
    writer.fill_framed(b"whole").unwrap();
    writer.publish();
    let (_, mut reader) = w.reader(2).unwrap();
    let frame = reader.next_framed(reader.head()).unwrap();
    assert_eq!(frame.length, 5);
    assert!(reader.in_one_piece(&frame).is_some()); // and dies before it gives it back
    w.die_and_sweep(2);
    let (_, mut reader) = w.reader(3).unwrap();
    assert_eq!(reader.next_framed(reader.head()).unwrap().length, 5);
}

#[test]
fn a_head_that_lies_is_reported_not_believed() {
    for head in [
        u64::MAX,
        head_of(1 << 20, 8),
        head_of(8, 249),
        head_of(8, usize::try_from(u32::MAX).unwrap()),
        head_of(256, 0),
        1 << 63 | 241,
        1 << 62,
    ] {
        let w = World::new(geometry(256, None, false), 2);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        writer.fill_framed(&[7; 232]).unwrap();
        writer.publish();
        w.lane().words[0].store(head, Relaxed);
        match reader.next_framed(0) {
            Err(RecvRefusal::Damage(_)) => {}
            other => panic!("{head:#x}: {other:?}"),
        }
    }
}

#[test]
fn a_padded_frame_that_goes_round_the_end_is_a_lie_that_is_copied() {
    let w = World::new(geometry(256, None, false), 2);
    let (_, mut writer) = w.writer(0).unwrap();
    let (_, mut reader) = w.reader(1).unwrap();
    writer.fill_framed(&[0; 152]).unwrap();
    writer.publish();
    let first = reader.next_framed(0).unwrap();
    reader.give_back(first.end);
    writer.fill_framed(&[7; 200]).unwrap();
    writer.publish();
    w.lane().words[160 / 8].store(head_of(8, 150), Relaxed);
    let frame = reader.next_framed(reader.head()).unwrap();
    assert_eq!(reader.in_one_piece(&frame).map(<[_]>::len), None);
    assert_eq!(reader.gather(frame).unwrap(), [7; 150]);
    assert_eq!(framed(150) + 8, 168);
}

proptest! {
    /// Against a plain queue, whatever is sent and received in which way.
    #[test]
    fn loans_and_plain_messages_keep_their_order(
        capacity in prop::sample::select(vec![16usize, 32, 64, 256, 1024]),
        steps in prop::collection::vec((0usize..4, 0usize..600), 1..80),
    ) {
        let place = Place::new();
        let (mut receiver, mut sender) = place.simplex::<Bytes>(capacity);
        let mut model = std::collections::VecDeque::new();
        for (i, (kind, length)) in steps.into_iter().enumerate() {
            match kind {
                0 => {
                    let bytes = pattern(i, length % (capacity / 2 + 1));
                    match sender.try_loan(bytes.len()) {
                        Ok(mut loan) => {
                            loan.write_at(0, &bytes);
                            loan.send().unwrap();
                            model.push_back(bytes);
                        }
                        Err(TrySendError::Full(())) => prop_assert!(!model.is_empty()),
                        Err(e) => prop_assert!(false, "{e:?}"),
                    }
                }
                1 => {
                    let bytes = pattern(i, length % (capacity - 7));
                    match sender.try_send(Bytes(bytes.clone())) {
                        Ok(()) => model.push_back(bytes),
                        Err(TrySendError::Full(_)) => prop_assert!(!model.is_empty()),
                        Err(e) => prop_assert!(false, "{e:?}"),
                    }
                }
                2 => match receiver.try_recv_ref() {
                    Ok(message) => prop_assert_eq!(Some(message.to_vec()), model.pop_front()),
                    Err(_) => prop_assert!(model.is_empty()),
                },
                _ => match receiver.try_recv() {
                    Ok(message) => prop_assert_eq!(Some(message.0), model.pop_front()),
                    Err(_) => prop_assert!(model.is_empty()),
                },
            }
        }
    }
}
