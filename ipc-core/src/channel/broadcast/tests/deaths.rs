//! Rings on the heap, where deaths and lies are decided by the test.

use super::*;

#[test]
fn a_dead_publishers_cell_is_passed_over_and_does_not_count_as_missed() {
    for is_lossless in [true, false] {
        let w = World::new(geometry(3, 8, 0, is_lossless));
        let mut reader = w.join(1);
        w.publish(1, 1, 8).unwrap();
        w.ring.claim_for_model(owner(0)).unwrap();
        w.publish(1, 2, 8).unwrap();
        assert_eq!(reader.read_for_model(), Ok(1));
        assert_eq!(reader.read_for_model(), Err(ReadRefusal::BeingPublished));
        w.die(0);
        assert_eq!(w.sweep(), 1);
        assert_eq!(reader.read_for_model(), Ok(2));
        assert_eq!(reader.read_for_model(), Err(ReadRefusal::Empty));
        (3..=5).for_each(|i| w.publish(1, i, 8).unwrap());
        assert_eq!(reader.read_for_model(), Ok(3));
    }
}

#[test]
fn a_dead_subscriber_is_dropped() {
    let w = World::new(geometry(2, 8, 0, true));
    core::mem::forget(w.join(0));
    let mut living = w.join(1);
    (1..=2).for_each(|i| w.publish(2, i, 8).unwrap());
    assert_eq!(
        [living.read_for_model(), living.read_for_model()],
        [Ok(1), Ok(2)]
    );
    assert_eq!(w.publish(2, 3, 8), Err(PublishRefusal::Full));
    w.die(0);
    assert_eq!((w.sweep(), w.ring.subscribers()), (1, 1));
    (3..=4).for_each(|i| w.publish(2, i, 8).unwrap());
    assert_eq!(w.publish(2, 5, 8), Err(PublishRefusal::Full));
}

#[test]
fn blocks_whose_clearing_was_cut_short_are_taken_by_the_next() {
    for is_lossless in [true, false] {
        let w = World::new(geometry(4, 8, 2, is_lossless));
        w.publish(0, 1, 32).unwrap();
        assert!(w.ring.clearing_for_model(owner(1), 0));
        w.die(1);
        assert_eq!(w.sweep(), 1);
        assert_eq!(w.ring.seen_for_model(0).state, State::Stale);
        w.die(0); // the blocks are still the message's
        assert_eq!(w.sweep(), 1);
        w.publish(2, 2, 32).unwrap();
        assert_eq!(w.ring.memory_used(), 32);
        let mut reader = w.join(2);
        reader.look_back().unwrap();
        assert_eq!(reader.read_for_model(), Ok(2));
    }
}

#[test]
fn blocks_of_the_dead_come_back_and_those_of_a_message_stay() {
    let w = World::new(geometry(4, 8, 3, false));
    assert!(w.ring.store_for_model(owner(0)));
    w.publish(0, 1, 32).unwrap();
    assert_eq!(w.ring.memory_used(), 48);
    w.die(0);
    assert_eq!(w.sweep(), 1);
    assert_eq!(w.ring.memory_used(), 32);
    let mut reader = w.join(2);
    reader.look_back().unwrap();
    assert_eq!(reader.read_for_model(), Ok(1));
}

// ---- lies

#[test]
fn a_lying_peer_is_reported_not_believed() {
    let w = World::new(geometry(2, 8, 2, false));
    let mut reader = w.join(1);
    w.publish(0, 1, 8).unwrap();
    let cell = w.ring.cell(0).unwrap();
    cell.length().store(9, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    cell.length().store(1 << 63 | 8, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    cell.ctl().store(Ctl::large(1).0, Relaxed);
    cell.length().store(1 << 63 | 33, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    cell.ctl().store(7, Relaxed);
    assert!(matches!(
        reader.read_for_model(),
        Err(ReadRefusal::Damage(_))
    ));
    let refused = w.publish(0, 1, 8).and_then(|()| w.publish(0, 1, 8));
    assert!(matches!(refused, Err(PublishRefusal::Damage(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the words say: an answer, in bounded time.
    #[test]
    fn any_words_end_in_an_answer(
        words in prop::collection::vec((0usize..8, any::<u64>(), 0u64..8), 1..6),
        tail in prop_oneof![any::<u64>(), 0u64..20],
        is_lossless: bool,
    ) {
        let w = World::new(geometry(4, 8, 4, is_lossless));
        let mut reader = w.join(1);
        (0..3).for_each(|i| w.publish(0, i, 8 + 24 * (i as usize % 2)).unwrap());
        for (at, word, state) in words {
            let cell = w.ring.cell(at as u64 % 4).unwrap();
            let lap = word % 4;
            let word = if word & 8 == 0 { word } else { lap << 21 | state };
            let target = if at < 4 { cell.ctl() } else { cell.length() };
            target.store(word, Relaxed);
        }
        w.ring.tail.0.store(tail, Relaxed);
        for i in 0..3 {
            let _ = w.publish(2, i, 8);
            let _ = w.publish(2, i, 40);
            let _ = reader.read();
            let _ = reader.look_back();
        }
        w.die(2);
        let _ = w.participants.sweep(&*w.ring);
        let _ = Reader::join(&w.ring, owner(0), true);
        let _ = w.ring.describe();
    }
}
