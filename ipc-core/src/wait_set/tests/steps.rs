//! What a joinable queue and a subscriber are ready for beyond one message: each step of a get, and each end.

use std::{thread, time::Duration};

use super::{
    super::{Pollable, WaitSet, WaitStrategy, wait},
    cases::{LONG, Place, SHORT, clear_word, until_asleep, watched_of},
    is_readable,
};
use crate::{
    Broadcast, JoinableQueue, TryGetJobError, TrySubscriberError, channel::joinable::DeadLetter,
};

fn queue(place: &Place, leases: usize) -> JoinableQueue<u32> {
    let options = JoinableQueue::options(4).leases(leases).max_attempts(1);
    options.namespace(&place.0).create("jobs").unwrap()
}

/// Whether the queue, which is not ready, becomes ready by what is done while somebody sleeps.
fn becomes_ready(jobs: &JoinableQueue<u32>, act: impl FnOnce()) -> bool {
    let mut set = WaitSet::new();
    set.set_wait_strategy(WaitStrategy::Sleep);
    set.add("jobs", jobs).unwrap();
    let pollable = Pollable::new(jobs).unwrap();
    assert!(set.wait_timeout(SHORT).unwrap().is_empty(), "not yet");
    assert!(!is_readable(&pollable, Duration::ZERO), "not yet");
    let watched = watched_of(jobs);
    clear_word(&watched);
    thread::scope(|scope| {
        let waits = scope.spawn(move || set.wait_timeout(LONG).unwrap() == ["jobs"]);
        until_asleep(&watched);
        act();
        waits.join().unwrap() && is_readable(&pollable, LONG)
    })
}

#[test]
fn a_job_is_ready_once_there_is_a_record_for_it() {
    let place = Place::new("record");
    let jobs = queue(&place, 1);
    jobs.put(1).unwrap();
    let job = jobs.get().unwrap();
    assert!(wait(&[&jobs], SHORT).unwrap().is_empty(), "no job");
    jobs.put(2).unwrap();
    assert!(becomes_ready(&jobs, || job.task_done().unwrap()));
    assert_eq!(*jobs.try_get().unwrap(), 2);
}

#[test]
fn who_waits_for_a_job_goes_from_step_to_step() {
    let place = Place::new("steps");
    let jobs = queue(&place, 1);
    jobs.put(1).unwrap();
    let job = jobs.get().unwrap();
    // Asleep for a job; woken by one; asleep for a record.
    assert!(becomes_ready(&jobs, || {
        jobs.put(2).unwrap();
        until_asleep(&watched_of(&jobs));
        job.task_done().unwrap();
    }));
}

#[test]
fn a_job_that_comes_back_makes_the_queue_ready() {
    let place = Place::new("back");
    let options = JoinableQueue::options(4).namespace(&place.0);
    let jobs: JoinableQueue<u32> = options.create("jobs").unwrap();
    jobs.put(1).unwrap();
    let job = jobs.get().unwrap();
    assert!(becomes_ready(&jobs, || drop(job)));
    assert_eq!(jobs.try_get().unwrap().attempt(), 2);
}

#[test]
fn a_closed_queue_is_ready_when_the_last_job_is_finished() {
    let place = Place::new("closed-jobs");
    let jobs = queue(&place, 2);
    jobs.put(1).unwrap();
    let job = jobs.get().unwrap();
    let end = jobs.finished();
    jobs.close();
    assert!(wait(&[&jobs, &end], SHORT).unwrap().is_empty());
    assert!(becomes_ready(&jobs, || job.task_done().unwrap()));
    assert_eq!(wait(&[&jobs, &end], None).unwrap(), [0, 1]);
    assert!(matches!(jobs.try_get(), Err(TryGetJobError::Closed)));
}

#[test]
fn a_queue_whose_get_would_fail_is_ready() {
    let place = Place::new("stuffed");
    let jobs = queue(&place, 1);
    jobs.put(1).unwrap();
    let job = jobs.get().unwrap();
    jobs.put(2).unwrap();
    assert!(becomes_ready(&jobs, || job.give_up().unwrap()));
    assert!(matches!(
        jobs.try_get(),
        Err(TryGetJobError::DeadLetters(1))
    ));
    let DeadLetter { value, .. } = jobs.take_dead().unwrap();
    assert_eq!(value, 1);
    assert_eq!(*jobs.try_get().unwrap(), 2);
}

#[test]
fn a_lease_that_is_over_makes_the_queue_ready_though_nobody_gets() {
    let place = Place::new("late");
    let options = JoinableQueue::<u32>::options(4).namespace(&place.0);
    let jobs = options.lease_time(3 * SHORT).create("jobs").unwrap();
    for by_pollable in [false, true] {
        jobs.put(1).unwrap();
        let job = jobs.get().unwrap();
        if by_pollable {
            let pollable = Pollable::new(&jobs).unwrap();
            assert!(is_readable(&pollable, LONG));
        } else {
            assert_eq!(wait(&[&jobs], LONG).unwrap(), [0]);
        }
        let again = jobs.try_get().unwrap();
        assert_eq!(again.attempt(), 2);
        assert!(job.task_done().is_err());
        again.task_done().unwrap();
        assert_eq!(wait(&[&jobs.finished()], None).unwrap(), [0]);
    }
}

#[test]
fn the_last_lease_that_is_over_ends_the_queue_though_nobody_joins() {
    let place = Place::new("late-end");
    let options = JoinableQueue::<u32>::options(4).namespace(&place.0);
    let options = options.lease_time(3 * SHORT).max_attempts(1);
    let jobs = options.create("jobs").unwrap();
    jobs.put(1).unwrap();
    let job = jobs.get().unwrap();
    assert_eq!(wait(&[&jobs.finished()], LONG).unwrap(), [0]);
    assert_eq!(jobs.dead_len(), 1);
    assert!(job.task_done().is_err());
}

#[test]
fn a_subscriber_is_ready_for_what_it_has_still_to_receive() {
    let place = Place::new("subscriber");
    let options = Broadcast::<u32>::options(2).namespace(&place.0);
    let broadcast = options.create("all").unwrap();
    broadcast.publish(1).unwrap();
    let mut late = broadcast.subscribe().unwrap();
    let mut early = broadcast.subscribe_from_oldest().unwrap();
    assert_eq!(wait(&[&late, &early], SHORT).unwrap(), [1], "one is old");
    broadcast.publish(2).unwrap();
    assert_eq!(wait(&[&late, &early], None).unwrap(), [0, 1]);
    assert_eq!(late.recv().unwrap(), 2);
    assert_eq!(early.recv().unwrap(), 1);
    assert_eq!(wait(&[&late, &early], SHORT).unwrap(), [1]);
    assert_eq!(early.recv().unwrap(), 2);
    assert!(wait(&[&late, &early], SHORT).unwrap().is_empty());

    let watched = watched_of(&late);
    clear_word(&watched);
    let closer = broadcast.clone();
    let closes = thread::spawn(move || {
        until_asleep(&watched);
        closer.close();
    });
    assert_eq!(wait(&[&late], LONG).unwrap(), [0], "the end");
    closes.join().unwrap();
    assert!(matches!(
        late.try_recv(),
        Err(TrySubscriberError::Failed(_))
    ));
    let mut set = WaitSet::new();
    set.add(0, &early).unwrap();
    drop(early);
    assert_eq!(set.wait().unwrap(), [0], "it is gone");
}

#[test]
fn a_subscriber_that_has_missed_something_is_ready_to_be_told() {
    let place = Place::new("lagged");
    let options = Broadcast::<u32>::options(2).lossy().namespace(&place.0);
    let broadcast = options.create("some").unwrap();
    let mut subscriber = broadcast.subscribe().unwrap();
    (0..9).for_each(|i| broadcast.publish(i).unwrap());
    assert_eq!(wait(&[&subscriber], None).unwrap(), [0]);
    assert!(subscriber.try_recv().is_err(), "seven of them are lost");
    for i in 7..9 {
        assert_eq!(wait(&[&subscriber], None).unwrap(), [0]);
        assert_eq!(subscriber.try_recv().unwrap(), i);
    }
    assert!(wait(&[&subscriber], SHORT).unwrap().is_empty());
}
