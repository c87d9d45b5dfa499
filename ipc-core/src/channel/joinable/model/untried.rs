//! Jobs that a worker claimed and left again: without an attempt, or in the middle of one.

use super::*;
use crate::channel::joinable::lease::Claimed;

/// A job of the ring, claimed.
fn claimed(w: &World, slot: u32) -> crate::channel::queue::get::Taken {
    match w.jobs.claim(owner(slot)) {
        Ok(Claimed::Fresh(taken)) => taken,
        _ => panic!("a job is in the ring"),
    }
}

#[test]
fn no_wake_is_lost_by_who_waits_for_a_job_that_is_left_untried() {
    explore(3, || {
        let w = world(1, terms(1));
        w.put(1);
        let taken = claimed(&w, 0);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.jobs.ring.leave_untried(&taken).unwrap());
        let items = &w.jobs.ring.gate().items;
        let (value, lease) = w.asleep(items, || w.get(1).ok());
        assert_eq!((value, lease.attempt), (1, 1), "it was not tried before");
        w.done(&lease);
        t.join().unwrap();
    });
}

#[test]
fn who_finds_no_record_leaves_its_job_to_others_untried() {
    explore(2, || {
        let w = world(2, terms(1));
        w.put(1);
        w.put(2);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.get(0));
        let mine = w.get(1);
        let theirs = t.join().unwrap();
        // There is one record: one of the two has a job.
        let (first, lease) = match (mine, theirs) {
            (Ok(got), Err(Refusal::NoRecord)) | (Err(Refusal::NoRecord), Ok(got)) => got,
            other => panic!("{other:?}"),
        };
        assert_eq!(lease.attempt, 1);
        w.done(&lease);
        let (second, lease) = w.get(2).unwrap();
        assert_eq!((first + second, lease.attempt), (3, 1));
    });
}

#[test]
fn a_record_is_reused_for_another_job_after_a_get_was_given_up() {
    explore(2, || {
        let w = world(2, terms(1));
        w.put(1);
        w.put(2);
        let (first, second) = (claimed(&w, 0), claimed(&w, 1));
        let other = Arc::clone(&w);
        let t = thread::spawn(move || {
            if let Some(draft) = other.jobs.hold(owner(0), Process::this()) {
                other.jobs.move_short(&draft, &first).unwrap();
                drop(draft); // nothing but the record hands this on
            }
        });
        if let Some(draft) = w.jobs.hold(owner(1), Process::this()) {
            w.jobs.move_short(&draft, &second).unwrap();
        }
        t.join().unwrap();
    });
}
