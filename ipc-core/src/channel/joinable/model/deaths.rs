//! Workers that die.

use super::*;

#[test]
fn a_dead_workers_job_is_found_and_its_cell_reused() {
    explore(2, || {
        let w = world(1, terms(2));
        w.put(1);
        let (_taken, draft, ..) = w.jobs.fill_for_model(owner(0)).unwrap();
        draft.lease(1, false);
        w.die(0);
        let sweeper = Arc::clone(&w);
        let s = thread::spawn(move || sweeper.sweep_a_death());
        let (value, lease) = w.get_patiently(1);
        assert_eq!((value, lease.attempt), (1, 2));
        w.done(&lease);
        s.join().unwrap();
        w.put(2);
        assert_eq!(w.get(1).unwrap().0, 2);
    });
}

#[test]
fn a_cell_is_written_after_a_dead_worker_read_it() {
    explore(2, || {
        let w = world(1, terms(2));
        w.put(1);
        let producer = Arc::clone(&w);
        let p = thread::spawn(move || {
            let _ = producer.jobs.put_for_model(owner(3), &[2; 8]); // or no room
        });
        let (_, draft, ..) = w.jobs.fill_for_model(owner(0)).unwrap();
        draft.lease(1, false);
        w.die(0);
        w.sweep_a_death();
        p.join().unwrap();
    });
}

/// A sweeper that comes too late meets a later participant of the slot, which took the record by `take`.
fn a_late_sweeper_robs_nobody(is_returned: bool) {
    explore(3, move || {
        let w = world(1, terms(1));
        w.put(1);
        if is_returned {
            let (_, lease) = w.get(1).unwrap();
            w.jobs.give_back(&lease).unwrap().unwrap();
        }
        w.die(0);
        let late = Arc::clone(&w);
        let t = thread::spawn(move || {
            let _ = late.participants.sweep(&*late.jobs);
        });
        w.participants.sweep(&*w.jobs).unwrap();
        w.dead.store(0, Relaxed);
        w.participants.occupy_for_model(0, 2);
        let record = w.jobs.table.record(0).unwrap();
        if is_returned {
            let (seen, state) = record.look().unwrap();
            assert_eq!(state, State::Ready);
            let mine = w.jobs.take(owner(0), 0, seen, State::Taking).unwrap();
            t.join().unwrap();
            assert_eq!(record.look().unwrap().0, mine.unwrap(), "robbed");
        } else {
            let draft = w.jobs.hold(owner(0), Process::this()).unwrap();
            t.join().unwrap();
            assert_eq!(record.look().unwrap().0, draft.meta, "robbed");
        }
    });
}

#[test]
fn a_late_sweeper_leaves_a_later_participants_record() {
    a_late_sweeper_robs_nobody(false);
}

#[test]
fn a_late_sweeper_leaves_a_later_participants_returned_job() {
    a_late_sweeper_robs_nobody(true);
}
