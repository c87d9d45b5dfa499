//! Who dies in the middle of something.

use super::*;

#[test]
fn what_a_dead_publisher_wrote_comes_before_the_next_write() {
    explore(3, || {
        let w = world(1, 0, true);
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            victim.ring.claim_for_model(owner(0));
            victim.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        let _ = w.publish(1, 9, 8); // or somebody is at work
        v.join().unwrap();
        s.join().unwrap();
    });
}

#[test]
fn a_slow_sweeper_does_not_rob_the_next_participant() {
    explore(3, || {
        let w = world(2, 0, false);
        w.ring.claim_for_model(owner(0));
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || slow.sweep());
        w.sweep();
        // Somebody new in the slot of the dead, if another sweeper is done with it.
        w.dead.fetch_and(!1, Release);
        let claimed = w.participants.occupy_for_model(0, 1);
        let claimed = claimed.and_then(|me| w.ring.claim_for_model(me));
        s.join().unwrap();
        if let Some(position) = claimed {
            let seen = w.ring.seen_for_model(position & 1);
            assert_eq!(seen.state, State::Writing);
        }
    });
}

#[test]
fn a_slow_sweeper_does_not_stop_the_next_participant_clearing() {
    explore(3, || {
        let w = world(2, 1, false);
        w.publish(1, 1, 16).unwrap();
        assert!(w.ring.clearing_for_model(owner(0), 0));
        w.die(0);
        let slow = Arc::clone(&w);
        let s = thread::spawn(move || slow.sweep());
        w.sweep();
        w.dead.fetch_and(!1, Release);
        let new = w.participants.occupy_for_model(0, 1);
        if let Some(me) = new {
            w.ring.clearing_for_model(me, 0);
        }
        s.join().unwrap();
        if new.is_some() {
            assert_eq!(w.ring.seen_for_model(0).state, State::Clearing);
        }
    });
}

#[test]
fn blocks_are_taken_over_after_what_the_dead_did_to_them() {
    explore(1, || {
        let w = world(2, 1, false);
        w.publish(1, 1, 16).unwrap();
        let victim = Arc::clone(&w);
        let v = thread::spawn(move || {
            // It may come too late.
            if victim.ring.seen_for_model(0).state == State::Large {
                victim.ring.clearing_for_model(owner(0), 0);
            }
            victim.die(0);
        });
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep());
        let _ = w.publish(2, 2, 16); // or no blocks
        v.join().unwrap();
        s.join().unwrap();
    });
}

#[test]
fn a_publisher_goes_on_when_a_subscriber_has_died() {
    explore(2, || {
        let w = world(1, 0, true);
        core::mem::forget(w.join(1));
        w.publish(0, 1, 8).unwrap();
        w.die(1);
        let sweeper = Arc::clone(&w);
        let t = thread::spawn(move || assert_eq!(sweeper.sweep(), 1));
        w.publish_asleep(0, 2, 8).unwrap();
        t.join().unwrap();
    });
}
