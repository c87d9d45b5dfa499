//! Who waits until all is finished, or for a record.

use super::*;

fn a_workers_put_is_joined(lease_ns: u64) {
    explore(2, move || {
        let w = world(
            2,
            Terms {
                lease_ns,
                ..terms(1)
            },
        );
        w.put(1);
        let (_, lease) = w.get(0).unwrap();
        let worker = Arc::clone(&w);
        let t = thread::spawn(move || {
            worker.put(2);
            worker.done(&lease);
        });
        assert!(!w.jobs.is_finished().unwrap(), "one of them is there");
        t.join().unwrap();
    });
}

#[test]
fn a_job_that_another_ones_worker_puts_is_joined() {
    a_workers_put_is_joined(0);
}

#[test]
fn a_job_that_another_ones_worker_puts_in_time_is_joined() {
    a_workers_put_is_joined(LONG);
}

#[test]
fn a_dead_letter_that_a_jobs_worker_requeues_is_joined() {
    explore(2, || {
        let w = world(2, terms(2));
        w.dead_letter(1);
        w.put(2);
        let (_, lease) = w.get(0).unwrap();
        assert_eq!(lease.index, 1, "behind the dead letter");
        let worker = Arc::clone(&w);
        let t = thread::spawn(move || {
            worker.jobs.requeue_dead(owner(0)).unwrap();
            worker.done(&lease);
        });
        assert!(!w.jobs.is_finished().unwrap(), "one of them is there");
        t.join().unwrap();
    });
}

/// No wake is lost by who joins while `end` ends the only job.
fn joined(terms: Terms, end: impl Fn(&Jobs, &Lease) + Copy + Sync + Send + 'static) {
    explore(2, move || {
        let w = world(1, terms);
        w.put(1);
        let (_, lease) = w.get(0).unwrap();
        let worker = Arc::clone(&w);
        let t = thread::spawn(move || end(&worker.jobs, &lease));
        w.join_asleep();
        t.join().unwrap();
    });
}

fn finish(jobs: &Jobs, lease: &Lease) {
    assert!(jobs.finish_for_model(lease));
}

#[test]
fn no_wake_is_lost_by_who_joins() {
    joined(terms(1), finish);
}

#[test]
fn no_wake_is_lost_by_who_joins_where_finishers_fence() {
    let is_asymmetric = false;
    joined(
        Terms {
            is_asymmetric,
            ..terms(1)
        },
        finish,
    );
}

#[test]
fn no_wake_is_lost_by_who_joins_where_leases_end() {
    let lease_ns = LONG;
    joined(
        Terms {
            lease_ns,
            ..terms(1)
        },
        finish,
    );
}

#[test]
fn no_wake_is_lost_by_who_joins_when_the_last_attempt_is_over() {
    let (lease_ns, max_attempts) = (LONG, 1);
    let terms = Terms {
        lease_ns,
        max_attempts,
        ..terms(1)
    };
    joined(terms, |jobs, lease| {
        jobs.end_lease_for_model(lease);
        assert!(jobs.expire().unwrap());
    });
}

#[test]
fn of_two_that_finish_at_once_one_wakes_who_joins() {
    explore(2, || {
        let w = world(2, terms(2));
        w.put(1);
        w.put(2);
        let leases = [w.get(0).unwrap().1, w.get(1).unwrap().1];
        let workers = leases.map(|lease| {
            let worker = Arc::clone(&w);
            thread::spawn(move || worker.done(&lease))
        });
        w.join_asleep();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn who_joins_is_woken_beside_a_put_that_comes_to_nothing() {
    explore(2, || {
        let w = world(1, terms(1));
        w.put(1);
        let (_, lease) = w.get(0).unwrap();
        let (worker, producer) = (Arc::clone(&w), Arc::clone(&w));
        let t = thread::spawn(move || worker.done(&lease));
        let p = thread::spawn(move || producer.jobs.ring.bury_for_model(owner(3)));
        w.join_asleep();
        t.join().unwrap();
        p.join().unwrap();
    });
}

/// Somebody may find it before who requeues it has told of it, and finish another one then.
#[test]
fn a_dead_letter_is_joined_from_when_it_can_be_found() {
    explore(3, || {
        let w = world(2, terms(2));
        w.dead_letter(1);
        w.put(2);
        let (_, lease) = w.get(0).unwrap();
        let worker = Arc::clone(&w);
        let t = thread::spawn(move || {
            assert!(worker.jobs.requeue(owner(1), 0).unwrap());
            worker.done(&lease);
            worker.jobs.announce_returned(1);
        });
        assert!(!w.jobs.is_finished().unwrap(), "one of them is there");
        t.join().unwrap();
    });
}

#[test]
fn no_wake_is_lost_by_who_waits_for_a_record() {
    explore(2, || {
        let w = world(1, terms(1));
        w.put(1);
        let draft = w.jobs.hold(owner(0), Process::this()).unwrap();
        let meta = draft.meta;
        core::mem::forget(draft);
        let other = Arc::clone(&w);
        let t = thread::spawn(move || other.jobs.let_go(0, meta));
        let room = &w.jobs.table.desk().room;
        let (value, _) = w.asleep(room, || w.get(1).ok());
        assert_eq!(value, 1);
        t.join().unwrap();
    });
}
