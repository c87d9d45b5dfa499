//! Waiting for many things between threads of one process. What happens when processes die is in the `tests` package.

use std::{
    io::Write,
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

mod cases;
mod steps;

use self::cases::{LONG, Place, SHORT, cases, clear_word, until_asleep, watched_of};
use super::*;
use crate::{Barrier, Event, LifoQueue, Lock, Pipe, Queue, RLock, RwLock};

fn is_readable(pollable: &Pollable, timeout: Duration) -> bool {
    let mut wanted = [PollFd::new(pollable.as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
}

#[test]
fn each_thing_is_ready_before_and_during_a_wait_or_not_at_all() {
    let place = Place::new("each");
    for mut case in cases(&place.0) {
        let name = case.name;
        let mut set = WaitSet::new();
        set.add(name, &*case.thing).unwrap();
        assert!(set.try_wait().unwrap().is_empty(), "{name}: not yet");
        assert!(wait(&[&*case.thing], SHORT).unwrap().is_empty(), "{name}");
        (case.make_ready)();
        assert_eq!(set.try_wait().unwrap(), [name]);
        assert_eq!(set.wait().unwrap(), [name], "nothing was taken");
        (case.take)();
        for strategy in [
            WaitStrategy::Sleep,
            WaitStrategy::Adaptive,
            WaitStrategy::Spin,
        ] {
            set.set_wait_strategy(strategy);
            assert!(set.wait_timeout(SHORT).unwrap().is_empty(), "{name}");
            let (mut make_ready, watched) = (case.make_ready, watched_of(&*case.thing));
            clear_word(&watched);
            let other = thread::spawn(move || {
                if strategy != WaitStrategy::Spin {
                    until_asleep(&watched);
                }
                make_ready();
                make_ready
            });
            assert_eq!(set.wait_timeout(LONG).unwrap(), [name]);
            case.make_ready = other.join().unwrap();
            (case.take)();
        }
        assert!(set.remove(&name) && set.is_empty());
        assert!(set.wait().unwrap().is_empty(), "nothing to wait for");
    }
}

#[test]
fn among_many_things_those_are_named_that_are_ready() {
    let place = Place::new("many");
    let mut cases = cases(&place.0);
    let mut set = WaitSet::new();
    for case in &cases {
        set.add(case.name, &*case.thing).unwrap();
    }
    for case in &mut cases {
        assert!(set.try_wait().unwrap().is_empty());
        (case.make_ready)();
        assert_eq!(set.wait_timeout(LONG).unwrap(), [case.name]);
        (case.take)();
    }
    for case in &mut cases {
        (case.make_ready)();
    }
    assert_eq!(set.wait().unwrap().len(), cases.len());
    let things: Vec<&dyn Waitable> = cases.iter().map(|case| &*case.thing).collect();
    assert!(wait(&things, None).unwrap().into_iter().eq(0..things.len()));
}

#[test]
fn each_object_has_a_descriptor_that_tells_of_it_once() {
    let place = Place::new("pollable");
    for mut case in cases(&place.0) {
        let name = case.name;
        let pollable = Pollable::new(&*case.thing).unwrap();
        assert!(!is_readable(&pollable, SHORT), "{name}: not yet");
        (case.make_ready)();
        assert!(is_readable(&pollable, LONG), "{name}");
        assert!(pollable.rearm().unwrap(), "{name}: still there");
        assert!(is_readable(&pollable, Duration::ZERO), "{name}");
        (case.take)();
        assert!(
            is_readable(&pollable, Duration::ZERO),
            "{name}: until rearmed"
        );
        assert!(!pollable.rearm().unwrap(), "{name}: taken");
        assert!(!is_readable(&pollable, SHORT), "{name}");
        (case.make_ready)();
        assert!(is_readable(&pollable, LONG), "{name}: again");
        (case.take)();
        assert!(!pollable.rearm().unwrap());
        drop(pollable); // armed
        (case.make_ready)();
        assert!(is_readable(
            &Pollable::new(&*case.thing).unwrap(),
            Duration::ZERO
        ));
        (case.take)();
    }
}

#[test]
fn locks_are_ready_while_nobody_holds_them() {
    let place = Place::new("locks");
    let lock = Lock::options().namespace(&place.0).create("lock").unwrap();
    let rlock = RLock::options()
        .namespace(&place.0)
        .create("rlock")
        .unwrap();
    let rwlock = RwLock::options().readers(1);
    let rwlock = rwlock.namespace(&place.0).create("rwlock").unwrap();
    let (writing, mut set) = (rwlock.writable(), WaitSet::new());
    for (key, thing) in [&lock as &dyn Waitable, &rlock, &rwlock, &writing]
        .into_iter()
        .enumerate()
    {
        set.add(key, thing).unwrap();
    }
    assert_eq!(set.try_wait().unwrap(), [0, 1, 2, 3]);
    let (one, two, three) = (
        lock.acquire().unwrap(),
        rlock.acquire().unwrap(),
        rwlock.write().unwrap(),
    );
    assert!(set.try_wait().unwrap().is_empty());
    assert!(set.wait_timeout(SHORT).unwrap().is_empty());
    drop(one);
    assert_eq!(set.wait().unwrap(), [0]);
    let one = lock.acquire().unwrap();
    drop(two);
    assert_eq!(set.wait().unwrap(), [1]);
    drop(three);
    assert_eq!(set.wait().unwrap(), [1, 2, 3]);
    let share = rwlock.read().unwrap(); // the only one
    assert_eq!(set.wait().unwrap(), [1]);
    drop((share, one));
    assert_eq!(set.wait().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn who_waits_for_a_held_lock_gets_to_know_of_its_release() {
    let place = Place::new("release");
    let lock = Lock::options().namespace(&place.0).create("lock").unwrap();
    let rwlock = RwLock::options().namespace(&place.0).create("rw").unwrap();
    let met = Barrier::options(2)
        .namespace(&place.0)
        .create("met")
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                let (held, share) = (lock.acquire().unwrap(), rwlock.read().unwrap());
                met.wait().unwrap();
                drop((held, share));
                met.wait().unwrap();
            }
        });
        for round in 0..20 {
            met.wait().unwrap();
            let writing = rwlock.writable();
            let thing: &dyn Waitable = if round % 2 == 0 { &lock } else { &writing };
            assert_eq!(wait(&[thing], LONG).unwrap(), [0]);
            met.wait().unwrap();
        }
    });
}

#[test]
fn an_end_of_a_pipe_is_ready_with_a_message_with_room_and_at_the_end() {
    let place = Place::new("pipe");
    let options = || Pipe::<u64>::options().namespace(&place.0);
    let (mut receiver, mut sender) = options().simplex().unwrap();
    assert_eq!(wait(&[&receiver, &sender], SHORT).unwrap(), [1]);
    sender.send(1).unwrap();
    assert_eq!(wait(&[&receiver, &sender], None).unwrap(), [0, 1]);
    while sender.try_send(2).is_ok() {}
    assert!(wait(&[&sender], SHORT).unwrap().is_empty());
    let pollable = Pollable::new(&sender).unwrap();
    assert!(!is_readable(&pollable, SHORT));
    while receiver.try_recv().is_ok() {}
    assert!(is_readable(&pollable, LONG));
    assert_eq!(wait(&[&receiver, &sender], SHORT).unwrap(), [1]);
    let watched = watched_of(&receiver);
    clear_word(&watched);
    let waits = thread::spawn(move || wait(&[&receiver], LONG).unwrap());
    until_asleep(&watched);
    drop(sender);
    assert_eq!(waits.join().unwrap(), [0], "the end of file");

    let (one, other) = options().duplex().unwrap();
    assert_eq!(wait(&[&one, &one.writable()], None).unwrap(), [1]);
    let mut set = WaitSet::new();
    set.add("own end", &one).unwrap();
    set.add("peer's", &one.writable()).unwrap();
    drop(other);
    assert_eq!(set.wait().unwrap(), ["own end", "peer's"], "broken");
    drop(one);
    assert_eq!(set.wait().unwrap().len(), 2, "ends that are gone");
}

#[test]
fn a_closed_queue_is_ready_once_it_is_empty_and_takes_nothing() {
    let place = Place::new("closed");
    let queue: Queue<u32> = Queue::options(1).namespace(&place.0).create("q").unwrap();
    let lifo: LifoQueue<u32> = LifoQueue::options(1)
        .namespace(&place.0)
        .create("l")
        .unwrap();
    queue.put(1).unwrap();
    lifo.put(1).unwrap();
    let (room, more) = (queue.writable(), lifo.writable());
    let all: [&dyn Waitable; 4] = [&queue, &lifo, &room, &more];
    assert_eq!(wait(&all, None).unwrap(), [0, 1]);
    queue.close();
    lifo.close();
    assert_eq!(wait(&all, None).unwrap(), [0, 1, 2, 3]);
    queue.get().unwrap();
    lifo.get().unwrap();
    assert_eq!(wait(&all, None).unwrap(), [0, 1, 2, 3]);
}

#[test]
fn an_event_that_was_set_and_cleared_during_a_wait_has_happened() {
    let place = Place::new("pulse");
    let event = Event::options().namespace(&place.0).create("e").unwrap();
    let mut set = WaitSet::new();
    set.set_wait_strategy(WaitStrategy::Sleep);
    set.add(1, &event).unwrap();
    let other = event.clone();
    let pulses = thread::spawn(move || {
        loop {
            other.set().unwrap();
            other.clear().unwrap();
            thread::yield_now();
            if other.is_set() {
                break; // by who waits, in the end
            }
        }
    });
    assert_eq!(set.wait_timeout(LONG).unwrap(), [1]);
    while !pulses.is_finished() {
        event.set().unwrap();
        thread::yield_now();
    }
    event.clear().unwrap();
    assert!(set.try_wait().unwrap().is_empty(), "before this wait");
}

#[test]
fn times_and_clock_ticks_come_when_they_are_due_and_not_before() {
    let start = Instant::now();
    let (due, clock) = (start + 3 * SHORT, Interval::every(2 * SHORT));
    assert!(wait(&[&(start + 1000 * LONG)], SHORT).unwrap().is_empty());
    assert_eq!(wait(&[&due], None).unwrap(), [0]);
    assert!(start.elapsed() >= 3 * SHORT);
    assert_eq!(wait(&[&(start - LONG)], None).unwrap(), [0]);
    let mut set = WaitSet::new();
    set.add("tick", &clock).unwrap();
    set.add("never", &(start + 1000 * LONG)).unwrap();
    let mut ticks = 0;
    while ticks < 4 {
        assert_eq!(set.wait().unwrap(), ["tick"]);
        let more = clock.tick();
        assert!(more > 0);
        ticks += more;
    }
    assert!(start.elapsed() >= 2 * SHORT * u32::try_from(ticks).unwrap());
    assert!(Pollable::new(&clock).is_err());
}

#[test]
fn sockets_and_processes_are_waited_for_beside_objects() {
    let place = Place::new("mixed");
    let mut cases = cases(&place.0);
    let (mut near, far) = UnixStream::pair().unwrap();
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut set = WaitSet::new();
    set.add("socket", &Descriptor::readable(&far).unwrap())
        .unwrap();
    set.add("child", &child).unwrap();
    set.add("process", &ProcessExit::of(child.id()).unwrap())
        .unwrap();
    for case in &cases {
        set.add(case.name, &*case.thing).unwrap();
    }
    assert!(set.wait_timeout(SHORT).unwrap().is_empty());
    for case in &mut cases {
        (case.make_ready)();
        assert_eq!(set.wait_timeout(LONG).unwrap(), [case.name], "before");
        (case.take)();
        assert!(set.wait_timeout(SHORT).unwrap().is_empty());
        let watched = watched_of(&*case.thing);
        clear_word(&watched);
        thread::scope(|scope| {
            scope.spawn(|| {
                until_asleep(&watched);
                (case.make_ready)();
            });
            assert_eq!(set.wait_timeout(LONG).unwrap(), [case.name], "during");
        });
        (case.take)();
    }
    near.write_all(b"x").unwrap();
    assert_eq!(set.wait().unwrap(), ["socket"]);
    assert!(set.remove(&"socket"));
    assert!(set.wait_timeout(SHORT).unwrap().is_empty());
    drop(child.stdin.take()); // its end of file, so it ends
    assert_eq!(set.wait_timeout(LONG).unwrap(), ["child", "process"]);
    let writable = Descriptor::writable(&near).unwrap();
    assert_eq!(wait(&[&writable], None).unwrap(), [0]);
    child.wait().unwrap();
    assert_eq!(wait(&[&child], None).unwrap(), [0], "waited for already");
    assert!(ProcessExit::of(u32::MAX).is_err());
}

#[test]
fn more_things_than_the_kernel_takes_at_once_are_waited_for_all_the_same() {
    let place = Place::new("crowd");
    let events: Vec<Event> = (0..20)
        .map(|i| {
            Event::options()
                .namespace(&place.0)
                .create(&i.to_string())
                .unwrap()
        })
        .collect();
    let mut set = WaitSet::new();
    for i in 0..300 {
        set.add(i, &events[if i == 299 { 19 } else { i % 19 }])
            .unwrap();
    }
    assert!(set.wait_timeout(SHORT).unwrap().is_empty());
    let watched = watched_of(&events[19]);
    clear_word(&watched);
    thread::scope(|scope| {
        scope.spawn(|| {
            until_asleep(&watched);
            events[19].set().unwrap();
        });
        assert_eq!(set.wait_timeout(LONG).unwrap(), [299]);
    });
    // As many descriptors share some threads.
    let pollables: Vec<Pollable> = events[..19]
        .iter()
        .cycle()
        .take(300)
        .map(|event| Pollable::new(event).unwrap())
        .collect();
    events[7].set().unwrap();
    for (i, pollable) in pollables.iter().enumerate() {
        let is_set = i % 19 == 7;
        assert_eq!(
            is_readable(pollable, if is_set { LONG } else { Duration::ZERO }),
            is_set
        );
    }
}

#[test]
fn who_waits_with_a_set_and_who_gets_share_what_is_put() {
    let place = Place::new("shared");
    let queues: Vec<Queue<u32>> = (0..3)
        .map(|i| {
            Queue::options(2)
                .namespace(&place.0)
                .create(&i.to_string())
                .unwrap()
        })
        .collect();
    const EACH: u32 = 2000;
    let got: u32 = thread::scope(|scope| {
        let by_set = || {
            let mut set = WaitSet::new();
            for (i, queue) in queues.iter().enumerate() {
                set.add(i, queue).unwrap();
            }
            let mut got = 0;
            while !set.is_empty() {
                for i in set.wait().unwrap() {
                    match queues[i].try_get() {
                        Ok(_) => got += 1,
                        Err(crate::TryGetError::Closed) => drop(set.remove(&i)),
                        Err(_) => {} // another was faster
                    }
                }
            }
            got
        };
        let takers: Vec<_> = [scope.spawn(by_set), scope.spawn(by_set)]
            .into_iter()
            .chain(
                queues
                    .iter()
                    .map(|queue| scope.spawn(|| u32::try_from(queue.iter().count()).unwrap())),
            )
            .collect();
        let putters: Vec<_> = queues
            .iter()
            .map(|queue| scope.spawn(|| (0..EACH).for_each(|i| queue.put(i).unwrap())))
            .collect();
        putters.into_iter().for_each(|p| p.join().unwrap());
        queues.iter().for_each(Queue::close);
        takers.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(got, 3 * EACH);
}
