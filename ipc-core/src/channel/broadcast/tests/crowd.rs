//! Many publishers and subscribers at once.

use super::*;

/// Publishers that number their messages, and subscribers that check the order; the order of all is the same for all.
fn soak(broadcast: &Broadcast<(u64, u64)>, each: u64) -> Vec<Vec<(u64, u64)>> {
    let subscribers: Vec<_> = (0..3).map(|_| broadcast.subscribe().unwrap()).collect();
    thread::scope(|s| {
        let readers: Vec<_> = subscribers
            .into_iter()
            .map(|mut subscriber| s.spawn(move || read_in_order(&mut subscriber)))
            .collect();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                s.spawn(move || (0..each).for_each(|i| broadcast.publish((writer, i)).unwrap()))
            })
            .collect();
        writers.into_iter().for_each(|w| w.join().unwrap());
        broadcast.close();
        readers.into_iter().map(|r| r.join().unwrap()).collect()
    })
}

fn read_in_order(subscriber: &mut Subscriber<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut received: Vec<(u64, u64)> = Vec::new();
    for message in subscriber.iter() {
        match message {
            Ok(value) => received.push(value),
            Err(SubscriberError::Lagged(missed)) => assert!(missed > 0),
            Err(e) => panic!("{e}"),
        }
    }
    for writer in 0..3 {
        let mine = received.iter().filter(|(by, _)| *by == writer);
        assert!(mine.is_sorted_by(|a, b| a.1 < b.1));
    }
    received
}

#[test]
fn all_subscribers_see_one_order_without_a_gap() {
    let place = Place::new();
    let broadcast = place.options(4).anonymous().unwrap();
    let received = soak(&broadcast, 2000);
    assert_eq!(received[0].len(), 6000);
    assert!(received.iter().all(|one| *one == received[0]));
}

#[test]
fn what_slow_subscribers_do_not_miss_is_in_one_order() {
    let place = Place::new();
    let broadcast = place.options(4).lossy().anonymous().unwrap();
    let received = soak(&broadcast, 5000);
    // Of any two subscribers, what both have seen is in the same order.
    for one in &received {
        for other in &received {
            let common: Vec<_> = one.iter().filter(|m| other.contains(m)).take(500).collect();
            let mut places = common.iter().map(|m| other.iter().position(|o| *o == **m));
            assert!(places.by_ref().is_sorted());
        }
    }
}

#[test]
fn subscribers_that_come_and_go_miss_nothing_in_between() {
    let place = Place::new();
    let broadcast = place.lossless(3);
    thread::scope(|s| {
        s.spawn(|| {
            (0..20_000).for_each(|i| broadcast.publish(i).unwrap());
            broadcast.close();
        });
        for is_from_oldest in [false, true] {
            let broadcast = &broadcast;
            s.spawn(move || {
                loop {
                    let mut subscriber = if is_from_oldest {
                        broadcast.subscribe_from_oldest().unwrap()
                    } else {
                        broadcast.subscribe().unwrap()
                    };
                    let received: Vec<u64> =
                        subscriber.iter().take(50).map(Result::unwrap).collect();
                    assert!(
                        received.windows(2).all(|w| w[0] + 1 == w[1]),
                        "{received:?}"
                    );
                    if received.len() < 50 {
                        return;
                    }
                }
            });
        }
    });
}
