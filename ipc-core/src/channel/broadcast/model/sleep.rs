//! That no wake is lost.

use super::*;

#[test]
fn no_wake_is_lost_by_a_subscriber() {
    explore(3, || {
        let w = world(2, 0, false);
        let mut reader = w.join(1);
        let publisher = Arc::clone(&w);
        let t = thread::spawn(move || publisher.publish(0, 7, 8).unwrap());
        assert_eq!(w.read_asleep(&mut reader), Ok(7));
        t.join().unwrap();
    });
}

#[test]
fn all_subscribers_are_woken() {
    explore(2, || {
        let w = world(2, 0, false);
        let other = Arc::clone(&w);
        let mut readers = [w.join(1), w.join(2)];
        let (one, two) = readers.split_at_mut(1);
        w.publish(0, 1, 8).unwrap();
        assert_eq!(w.read_asleep(&mut one[0]), Ok(1));
        assert_eq!(w.read_asleep(&mut two[0]), Ok(1));
        let [mut one, mut two] = readers;
        let first = Arc::clone(&w);
        let a = thread::spawn(move || assert_eq!(first.read_asleep(&mut one), Ok(2)));
        let b = thread::spawn(move || other.publish(0, 2, 8).unwrap());
        assert_eq!(w.read_asleep(&mut two), Ok(2));
        a.join().unwrap();
        b.join().unwrap();
    });
}

fn a_publisher_is_woken(must_fence: bool, is_asymmetric: bool) {
    explore(3, move || {
        let mut shape = geometry(1, 8, 0, true);
        shape.is_asymmetric = is_asymmetric;
        let w = World::new(shape);
        let mut reader = Reader::join(&w.ring, owner(1), must_fence)
            .unwrap()
            .unwrap();
        w.publish(0, 1, 8).unwrap();
        let t = thread::spawn(move || {
            assert_eq!(reader.read_for_model(), Ok(1));
            reader // subscribed until the end
        });
        w.publish_asleep(0, 2, 8).unwrap();
        drop(t.join().unwrap());
    });
}

#[test]
fn no_wake_is_lost_by_a_publisher() {
    a_publisher_is_woken(false, true);
}

#[test]
fn a_fence_for_each_advance_does_without_the_kernels() {
    a_publisher_is_woken(true, false);
}

#[test]
fn a_publisher_that_waits_for_blocks_is_woken() {
    explore(1, || {
        let w = world(2, 1, true);
        let mut reader = w.join(1);
        w.publish(0, 1, 16).unwrap();
        let t = thread::spawn(move || {
            assert_eq!(reader.read_for_model(), Ok(1));
            reader
        });
        w.publish_asleep(0, 2, 16).unwrap();
        drop(t.join().unwrap());
    });
}

fn who_finds_blocks_being_published_is_woken(is_lossless: bool) {
    explore(1, move || {
        let w = world(2, 1, is_lossless);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            assert!(matches!(
                other.publish(0, 1, 16),
                Ok(()) | Err(PublishRefusal::NoBlocks | PublishRefusal::Gathering)
            ));
        });
        w.publish_asleep(1, 2, 16).unwrap();
        t.join().unwrap();
    });
}

#[test]
fn a_publisher_that_finds_blocks_being_published_is_woken() {
    who_finds_blocks_being_published_is_woken(false);
}

#[test]
fn where_nobody_subscribes_too() {
    who_finds_blocks_being_published_is_woken(true);
}

#[test]
fn who_leaves_wakes_a_publisher() {
    explore(3, || {
        let w = world(1, 0, true);
        let reader = w.join(1);
        w.publish(0, 1, 8).unwrap();
        let t = thread::spawn(move || drop(reader));
        w.publish_asleep(0, 2, 8).unwrap();
        t.join().unwrap();
    });
}
