//! Synchronisation objects and the life of processes: each test has real ones, and kills, stops or forks them.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use ipc_core::{
    Activity, Barrier, BoundedSemaphore, Bytes, Condition, Event, Lock, Namespace, Queue, RLock,
    RwLock, Semaphore,
};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const PERMITS: u32 = 2;

/// One object of each kind, in a namespace of their own. This process has them open and holds nothing.
struct Stage {
    lock: Lock<u64>,
    _rlock: RLock,
    rwlock: RwLock<u64>,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Stage {
    fn new() -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let n = Namespace::at(directory.path()).expect("a namespace");
        Self {
            lock: Lock::options_with(0).namespace(&n).create("lock").unwrap(),
            _rlock: RLock::options().namespace(&n).create("rlock").unwrap(),
            rwlock: RwLock::options_with(0)
                .namespace(&n)
                .create("rwlock")
                .unwrap(),
            semaphore: Semaphore::options(PERMITS)
                .namespace(&n)
                .create("semaphore")
                .unwrap(),
            bounded: BoundedSemaphore::options(1)
                .namespace(&n)
                .create("bounded")
                .unwrap(),
            event: Event::options().namespace(&n).create("event").unwrap(),
            condition: Condition::options()
                .namespace(&n)
                .create("condition")
                .unwrap(),
            barrier: Barrier::options(3).namespace(&n).create("barrier").unwrap(),
            namespace: n,
            _directory: directory,
        }
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(PUPPET, self.namespace.path())
    }

    /// A puppet that has done this.
    fn after(&self, command: &str) -> Puppet {
        let mut puppet = self.puppet();
        puppet.must(command);
        puppet
    }

    /// A puppet that was told this, and sleeps in it, waiting for `object`.
    fn asleep(&self, object: &str, command: &str) -> Puppet {
        let mut puppet = self.puppet();
        self.put_to_sleep(&mut puppet, object, command);
        puppet
    }

    fn put_to_sleep(&self, puppet: &mut Puppet, object: &str, command: &str) {
        puppet.tell(command);
        wait_until("it sleeps", || {
            self.does(object, puppet.pid()) == Some(Activity::Waiting) && is_in_futex(puppet.pid())
        });
    }

    /// What a process does with an object, as `inspect` lists it.
    fn does(&self, object: &str, pid: u32) -> Option<Activity> {
        let seen = self.namespace.inspect(object).expect("it can be inspected");
        let slot = seen.participants.iter().find(|p| p.pid == pid)?.slot;
        let visit = seen.visits.iter().find(|v| v.slot == Some(slot))?;
        Some(visit.activity)
    }

    /// How many hold each object or wait for it, and how many are attached beside this process.
    fn visits(&self, object: &str) -> usize {
        self.namespace
            .inspect(object)
            .expect("it can be inspected")
            .visits
            .len()
    }

    /// Repairs everything, and asks that nothing is left of anybody dead.
    fn is_clean(&self) {
        for name in self.namespace.list().unwrap() {
            self.namespace.sweep(&name).unwrap();
            assert_eq!(self.visits(&name), 0, "{name}");
        }
    }
}

fn is_in_futex(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = text.split_whitespace().next().and_then(|n| n.parse().ok());
    number == Some(nix::libc::SYS_futex)
}

// ---- sleepers that are killed

#[test]
fn an_event_wakes_the_living_though_one_of_its_sleepers_was_killed() {
    let stage = Stage::new();
    let mut first = stage.asleep("event", "sync event wait");
    let mut victim = stage.asleep("event", "sync event wait");
    let mut last = stage.asleep("event", "sync event wait");
    victim.kill();
    // Returns though the killed one will never answer: POSIX's broadcast does not (glibc bug 21422).
    assert!(stage.event.set().unwrap());
    assert_eq!((first.answer(), last.answer()), ("ok".into(), "ok".into()));
    stage.is_clean();
}

#[test]
fn a_notification_reaches_a_living_waiter_though_the_oldest_was_killed() {
    let stage = Stage::new();
    let mut victim = stage.asleep("condition", "sync condition wait");
    let mut living = stage.asleep("condition", "sync condition wait");
    victim.kill();
    assert!(stage.condition.notify(1).unwrap() <= 1);
    assert_eq!(living.answer(), "ok 0 false");
    stage.is_clean();
}

#[test]
fn a_notification_is_handed_on_when_the_notified_one_is_killed_before_it_woke() {
    let stage = Stage::new();
    let mut victim = stage.asleep("condition", "sync condition wait");
    let mut living = stage.asleep("condition", "sync condition wait");
    victim.signal(Signal::SIGSTOP);
    assert_eq!(stage.condition.notify(1).unwrap(), 1);
    assert_eq!(
        stage.does("condition", victim.pid()),
        Some(Activity::Notified)
    );
    assert_eq!(
        stage.does("condition", living.pid()),
        Some(Activity::Waiting)
    );
    victim.kill();
    assert_eq!(living.answer(), "ok 0 false");
    stage.is_clean();
}

#[test]
fn a_notification_is_handed_on_when_the_notified_one_is_killed_while_it_waits_for_the_lock() {
    let stage = Stage::new();
    let mut victim = stage.asleep("condition", "sync condition wait");
    let mut living = stage.asleep("condition", "sync condition wait");
    // As most notifiers do, this one has the lock.
    let guard = stage.lock.acquire().unwrap();
    assert_eq!(stage.condition.notify(1).unwrap(), 1);
    wait_until("the notified one wants the lock", || {
        stage.does("lock", victim.pid()) == Some(Activity::Waiting)
    });
    victim.kill();
    drop(guard);
    assert_eq!(living.answer(), "ok 0 false");
    stage.is_clean();
}

#[test]
fn a_stopped_waiter_that_was_notified_keeps_its_notification() {
    let stage = Stage::new();
    let mut stopped = stage.asleep("condition", "sync condition wait");
    let mut other = stage.asleep("condition", "sync condition wait");
    stopped.signal(Signal::SIGSTOP);
    assert_eq!(stage.condition.notify(1).unwrap(), 1);
    assert_eq!(stage.condition.sweep().unwrap(), 0, "nobody is dead");
    assert_eq!(
        stage.does("condition", other.pid()),
        Some(Activity::Waiting)
    );
    stopped.signal(Signal::SIGCONT);
    assert_eq!(stopped.answer(), "ok 0 false");
    assert_eq!(stage.condition.notify_all().unwrap(), 1);
    assert_eq!(other.answer(), "ok 0 false");
}

#[test]
fn a_barrier_breaks_for_all_when_one_that_waits_there_is_killed() {
    let stage = Stage::new();
    let mut first = stage.asleep("barrier", "sync barrier wait");
    let mut victim = stage.asleep("barrier", "sync barrier wait");
    assert_eq!(stage.barrier.waiting(), 2);
    victim.kill();
    assert_eq!(first.answer(), "err Broken");
    assert!(stage.barrier.is_broken());
    assert_eq!(
        first.ask("sync barrier wait"),
        "err Broken",
        "who comes later is told too"
    );
    stage.barrier.reset().unwrap();
    let mut all = [first, stage.puppet(), stage.puppet()];
    for party in &mut all {
        party.tell("sync barrier wait");
    }
    let mut indexes: Vec<String> = all.iter_mut().map(Puppet::answer).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, ["ok 0", "ok 1", "ok 2"]);
}

#[test]
fn a_barrier_breaks_when_a_party_is_killed_on_its_way_there() {
    let stage = Stage::new();
    let mut victim = stage.after("sync barrier open");
    let mut first = stage.asleep("barrier", "sync barrier wait");
    let mut second = stage.asleep("barrier", "sync barrier wait");
    victim.kill();
    assert_eq!(first.answer(), "err Broken");
    assert_eq!(second.answer(), "err Broken");
}

#[test]
fn a_barrier_does_not_break_for_a_party_that_is_stopped_or_leaves_in_good_order() {
    let stage = Stage::new();
    let stopped = stage.after("sync barrier open");
    stopped.signal(Signal::SIGSTOP);
    drop(stage.barrier.clone());
    let mut first = stage.asleep("barrier", "sync barrier wait");
    assert_eq!(stage.barrier.sweep().unwrap(), 0);
    let mut second = stage.asleep("barrier", "sync barrier wait");
    let mut third = stage.puppet();
    third.tell("sync barrier wait");
    for party in [&mut first, &mut second, &mut third] {
        assert!(party.answer().starts_with("ok"));
    }
    assert!(!stage.barrier.is_broken());
}

// ---- holders that are killed, or stopped

/// A holder is killed while another process sleeps for what it holds; the other answers this.
fn inherits(object: &str, held: &str, wanted: &str, answer: &str) {
    let stage = Stage::new();
    let mut holder = stage.after(held);
    let mut waiter = stage.asleep(object, wanted);
    assert_eq!(
        stage.does(object, holder.pid()).is_some(),
        object != "semaphore"
    );
    holder.kill();
    assert_eq!(waiter.answer(), answer, "{held}, {wanted}");
    drop(waiter);
    stage.is_clean();
}

#[test]
fn a_sleeper_gets_the_lock_of_a_killed_holder_and_is_told() {
    inherits(
        "lock",
        "sync lock acquire",
        "sync lock acquire",
        "ok 0 true",
    );
}

#[test]
fn a_sleeper_gets_the_recursive_lock_of_a_killed_holder_and_is_told() {
    inherits(
        "rlock",
        "sync rlock acquire",
        "sync rlock acquire",
        "ok 1 true",
    );
}

#[test]
fn readers_and_writers_get_the_lock_of_a_killed_writer_and_are_told() {
    inherits(
        "rwlock",
        "sync rwlock write",
        "sync rwlock read",
        "ok 0 true",
    );
    inherits(
        "rwlock",
        "sync rwlock write",
        "sync rwlock write",
        "ok 0 true",
    );
}

#[test]
fn a_writer_gets_the_lock_of_a_killed_reader_and_has_nothing_to_fear() {
    inherits(
        "rwlock",
        "sync rwlock read",
        "sync rwlock write",
        "ok 0 false",
    );
}

#[test]
fn a_sleeper_gets_the_permit_of_a_killed_holder() {
    inherits(
        "bounded",
        "sync bounded acquire",
        "sync bounded acquire",
        "ok",
    );
}

#[test]
fn who_waits_shortly_again_and_again_gets_the_lock_of_a_killed_holder() {
    for patience in [Duration::ZERO, Duration::from_millis(20)] {
        let stage = Stage::new();
        stage.after("sync lock acquire").kill();
        wait_until("it is free", || {
            stage.lock.acquire_timeout(patience).is_ok()
        });
    }
}

/// One that sleeps so often that its sleeps have no limit, and a forked child of such a process, which has no thread that looks
/// after it.
#[test]
fn a_process_that_sleeps_often_gets_what_a_killed_holder_held_and_so_does_its_child() {
    for fork in ["", "fork-and "] {
        let stage = Stage::new();
        let mut waiter = stage.puppet();
        waiter.tell("sync often");
        assert_eq!(waiter.answer(), "ok true", "it has the thread");
        let mut holder = stage.after("sync bounded acquire");
        waiter.tell(&format!("{fork}sync bounded acquire"));
        wait_until("it waits", || {
            let seen = stage.namespace.inspect("bounded").unwrap();
            seen.visits.iter().any(|v| v.activity == Activity::Waiting)
        });
        holder.kill();
        assert_eq!(waiter.answer(), "ok", "{fork}");
    }
}

/// Of a process that acquires so often that it does not read the clock for it, and of its forked child, which has no thread that would.
#[test]
fn it_is_known_since_when_a_lock_is_held_that_nobody_waits_for() {
    let stage = Stage::new();
    let since = || {
        let visits = stage.namespace.inspect("lock").unwrap().visits;
        visits.first().map(|visit| visit.since_unix_ns)
    };
    for fork in ["", "fork-and "] {
        let mut holder = stage.puppet();
        assert_eq!(
            holder.must("sync acquire-often"),
            "true",
            "it has the thread"
        );
        let before = UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        // Between two of them the thread writes down the time anew.
        wait_until("it is known", || {
            holder.must(&format!("{fork}sync lock acquire"));
            let known = since().expect("somebody holds it");
            if fork.is_empty() {
                holder.must("sync drop lock");
            }
            known > before
        });
    }
}

#[test]
fn a_waiting_writer_that_is_killed_keeps_no_reader_out() {
    let stage = Stage::new();
    let mut reader = stage.after("sync rwlock read");
    let mut writer = stage.puppet();
    stage.put_to_sleep(&mut writer, "rwlock", "sync rwlock write");
    let mut second = stage.asleep("rwlock", "sync rwlock read");
    writer.kill();
    assert_eq!(second.answer(), "ok 0 false");
    reader.must("sync drop rwlock");
}

#[test]
fn each_next_holder_is_told_of_a_death_until_one_says_that_all_is_well() {
    let stage = Stage::new();
    let mut dies = stage.puppet();
    dies.must("sync lock acquire");
    dies.must("sync lock change 7");
    dies.kill();
    for (command, told) in [
        ("sync lock acquire", "0 true"),
        ("sync lock acquire-and-mark", "0 false"),
        ("sync lock acquire", "0 false"),
    ] {
        let mut next = stage.puppet();
        assert_eq!(
            next.must(command),
            told,
            "what the dead one had begun to write is gone"
        );
        next.must("sync drop lock");
    }
}

#[test]
fn a_permit_that_was_left_taken_outlives_its_taker() {
    let stage = Stage::new();
    let mut lender = stage.after("sync bounded acquire");
    lender.must("sync bounded forget");
    lender.kill();
    stage.bounded.sweep().unwrap();
    assert_eq!(stage.bounded.value(), 0);
    stage.bounded.release().unwrap();
    assert_eq!(stage.bounded.value(), 1);
    assert!(stage.bounded.release().is_err());
}

#[test]
fn a_stopped_holder_is_not_robbed() {
    let stage = Stage::new();
    let mut holder = stage.after("sync lock acquire");
    holder.must("sync lock change 5");
    holder.signal(Signal::SIGSTOP);
    let mut other = stage.puppet();
    assert!(
        other
            .ask("sync lock acquire-timeout 300")
            .starts_with("err it stayed taken")
    );
    assert_eq!(stage.lock.sweep().unwrap(), 0);
    assert!(other.ask("sync lock try").starts_with("err it would block"));
    stage.put_to_sleep(&mut other, "lock", "sync lock acquire");
    holder.signal(Signal::SIGCONT);
    holder.must("sync drop lock");
    assert_eq!(other.answer(), "ok 5 false");
}

#[test]
fn a_panic_of_the_holder_releases_the_lock_and_poisons_nothing() {
    let stage = Stage::new();
    let mut panics = stage.after("sync lock panic");
    let guard = stage.lock.try_acquire().expect("it was released");
    assert!(!guard.owner_died());
    drop(guard);
    panics.must("sync lock add 1");
    assert_eq!(*stage.lock.acquire().unwrap(), 1);
}

// ---- forks

#[test]
fn a_forked_child_releases_nothing_that_its_parent_holds() {
    for (object, acquire, drops) in [
        ("lock", "sync lock acquire", "sync drop lock"),
        ("rlock", "sync rlock acquire", "sync drop rlock"),
        ("rwlock", "sync rwlock write", "sync drop rwlock"),
        ("rwlock", "sync rwlock read", "sync drop rwlock"),
        ("bounded", "sync bounded acquire", "sync drop bounded"),
        ("bounded", "sync bounded acquire", "sync bounded forget"),
        ("semaphore", "sync semaphore acquire", "sync drop semaphore"),
    ] {
        let stage = Stage::new();
        let mut parent = stage.after(acquire);
        let before = stage.does(object, parent.pid());
        let state = stage.namespace.inspect(object).unwrap().state;
        parent.must(&format!("fork-and {drops}"));
        // One that has a slot of its own by now, and one that only ends.
        parent.must(&format!("fork-and sync {object} open"));
        parent.must("fork-and sync event open");
        stage.namespace.sweep(object).unwrap();
        assert_eq!(
            stage.does(object, parent.pid()),
            before,
            "{acquire}, {drops}"
        );
        assert_eq!(
            stage.namespace.inspect(object).unwrap().state,
            state,
            "{acquire}, {drops}"
        );
        if drops.starts_with("sync drop") {
            parent.must(drops);
            assert_eq!(stage.visits(object), 0, "the parent itself can");
        }
    }
}

/// A process acquires something and forks; it is killed and swept, and its child, which is still there with its copy of
/// the guard, comes to the object anew. It gets the slot of its parent.
fn child_in_its_parents_slot(stage: &Stage, acquire: &str, object: &str) -> Puppet {
    let mut puppet = stage.after(acquire);
    let child: u32 = puppet
        .must("fork-and-listen")
        .parse()
        .expect("a process id");
    let slot_of = |pid: u32| {
        let seen = stage.namespace.inspect(object).unwrap();
        seen.participants
            .iter()
            .find(|p| p.pid == pid)
            .map(|p| p.slot)
    };
    let parents = slot_of(puppet.pid());
    puppet.kill(); // the parent: the child has its pipes
    stage.namespace.sweep(object).unwrap();
    assert_eq!(slot_of(child), None);
    puppet.must(match object {
        "lock" => "sync lock add 1",
        "rwlock" => "sync rwlock add 1",
        "semaphore" => "sync semaphore release",
        other => panic!("{other} is not in this test"),
    });
    assert!(
        parents.is_some() && slot_of(child) == parents,
        "its parent's slot is its own now"
    );
    puppet
}

#[test]
fn a_child_that_has_its_dead_parents_slot_releases_no_permit_of_its_parents() {
    let stage = Stage::new();
    let mut child = child_in_its_parents_slot(&stage, "sync semaphore acquire", "semaphore");
    // The parent took one, which its death lost; the child then released one.
    assert_eq!(stage.semaphore.value(), PERMITS);
    child.must("sync drop semaphore");
    assert_eq!(
        stage.semaphore.value(),
        PERMITS,
        "what the child never took"
    );
    child.must("end");
}

#[test]
fn a_child_that_has_its_dead_parents_slot_writes_nothing_under_its_parents_lock() {
    let stage = Stage::new();
    let mut child = child_in_its_parents_slot(&stage, "sync lock acquire", "lock");
    child.must("sync lock change 40");
    child.must("sync drop lock");
    assert_eq!(
        child.ask("sync lock add 1"),
        "ok",
        "its handle is not damaged either"
    );
    assert_eq!(*stage.lock.acquire().unwrap(), 2);
    child.must("end");
}

#[test]
fn a_child_that_has_its_dead_parents_slot_ends_no_write_of_its_parents() {
    let stage = Stage::new();
    let mut child = child_in_its_parents_slot(&stage, "sync rwlock write", "rwlock");
    child.must("sync drop rwlock");
    assert_eq!(child.ask("sync rwlock add 1"), "ok");
    assert_eq!(*stage.rwlock.read().unwrap(), 2);
    child.must("end");
}

// ---- at work together

#[test]
fn two_processes_count_exactly_under_each_lock() {
    const ROUNDS: u64 = 3000;
    for object in ["lock", "rwlock"] {
        let stage = Stage::new();
        let mut both = [stage.puppet(), stage.puppet()];
        for puppet in &mut both {
            puppet.tell(&format!("sync {object} add {ROUNDS}"));
        }
        for puppet in &mut both {
            assert_eq!(puppet.answer(), "ok");
        }
        let value = match object {
            "lock" => *stage.lock.acquire().unwrap(),
            _ => *stage.rwlock.read().unwrap(),
        };
        assert_eq!(value, 2 * ROUNDS, "{object}");
        drop(both);
        stage.is_clean();
    }
}

#[test]
fn a_handle_that_was_sent_to_another_process_is_the_same_lock() {
    let stage = Stage::new();
    let anonymous = Lock::options_with(1u64);
    let anonymous = anonymous.namespace(&stage.namespace).anonymous().unwrap();
    for lock in [&stage.lock, &anonymous] {
        let before = *lock.acquire().unwrap();
        let text = serde_json::to_string(lock).unwrap();
        let mut other = stage.after(&format!("sync redeem-lock {text}"));
        assert_eq!(*lock.acquire().unwrap(), before + 1);
        other.kill();
    }
}

#[test]
fn who_holds_and_who_waits_is_listed_with_process_and_thread() {
    let stage = Stage::new();
    for (object, hold, want, doing) in [
        (
            "lock",
            "sync lock acquire",
            "sync lock acquire",
            Activity::Holding,
        ),
        (
            "rlock",
            "sync rlock acquire",
            "sync rlock acquire",
            Activity::Holding,
        ),
        (
            "rwlock",
            "sync rwlock write",
            "sync rwlock read",
            Activity::Holding,
        ),
        (
            "rwlock",
            "sync rwlock read",
            "sync rwlock write",
            Activity::Reading,
        ),
        (
            "bounded",
            "sync bounded acquire",
            "sync bounded acquire",
            Activity::Holding,
        ),
    ] {
        let mut holder = stage.after(hold);
        let mut waiter = stage.asleep(object, want);
        let seen = stage.namespace.inspect(object).unwrap();
        let of = |puppet: &Puppet, activity: Activity| {
            let slot = seen
                .participants
                .iter()
                .find(|p| p.pid == puppet.pid())
                .unwrap()
                .slot;
            // The main thread's number is that of its process.
            let is_it = |v: &&ipc_core::Visit| {
                v.slot == Some(slot) && v.activity == activity && v.thread == puppet.pid()
            };
            seen.visits.iter().filter(is_it).count()
        };
        assert_eq!(of(&holder, doing), 1, "{hold}: {:?}", seen.visits);
        assert!(
            of(&waiter, Activity::Waiting) >= 1,
            "{want}: {:?}",
            seen.visits
        );
        holder.must(&format!("sync drop {object}"));
        assert!(waiter.answer().starts_with("ok"));
        waiter.must(&format!("sync drop {object}"));
        assert_eq!(stage.visits(object), 0, "{object}");
    }
}

#[test]
fn who_waits_at_a_queue_is_listed_until_it_goes_on_or_is_swept() {
    let stage = Stage::new();
    let queue: Queue<Bytes> = Queue::options(1)
        .namespace(&stage.namespace)
        .create("queue")
        .unwrap();
    let pids = || -> Vec<u32> {
        let seen = stage.namespace.inspect("queue").unwrap();
        let waiting = seen
            .visits
            .iter()
            .filter(|v| v.activity == Activity::Waiting && v.since_unix_ns > 0 && v.thread > 0);
        let slots = waiting.filter_map(|v| v.slot);
        slots
            .filter_map(|slot| seen.participants.iter().find(|p| p.slot == slot))
            .map(|p| p.pid)
            .collect()
    };
    let waiting_get = || {
        let mut puppet = stage.puppet();
        puppet.must("open queue");
        puppet.tell("get");
        puppet
    };
    let mut served = waiting_get();
    wait_until("it is listed", || pids() == [served.pid()]);
    queue.put("one".into()).unwrap();
    assert_eq!(served.answer(), "ok one");
    assert!(pids().is_empty());
    let mut killed = waiting_get();
    wait_until("it is listed", || pids() == [killed.pid()]);
    killed.kill();
    wait_until("its note is swept", || {
        queue.sweep().unwrap();
        pids().is_empty()
    });
}
