//! Waiting for many things that other processes make ready, or that their deaths make so; and those who wait killed, stopped,
//! forked and executed.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ipc_core::{
    BoundedSemaphore, Broadcast, Bytes, Connection, Descriptor, Event, JoinableQueue, Lock,
    Namespace, Pipe, Pollable, ProcessExit, Queue, RLock, RwLock, Semaphore, TryRecvError, WaitSet,
    WaitStrategy, Waitable,
};
use ipc_tests::old_kernel::{has_futex_waitv, without_futex_waitv};
use ipc_tests::puppet::broadcast::News;
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::trial_directory::TrialDirectory;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SHORTLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

/// One object of each kind, by the names that puppets know.
struct Stage {
    lock: Lock<u64>,
    rlock: RLock,
    rwlock: RwLock<u64>,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    queue: Queue<Bytes>,
    pipe: Pipe<Bytes>,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Stage {
    fn new() -> Self {
        let directory = TrialDirectory::create().unwrap();
        let namespace = Namespace::at(directory.path().join("ns")).unwrap();
        let space = &namespace;
        Self {
            lock: Lock::options_with(0)
                .namespace(space)
                .create("lock")
                .unwrap(),
            rlock: RLock::options().namespace(space).create("rlock").unwrap(),
            rwlock: RwLock::options_with(0)
                .namespace(space)
                .create("rwlock")
                .unwrap(),
            semaphore: Semaphore::options(0)
                .namespace(space)
                .create("semaphore")
                .unwrap(),
            bounded: BoundedSemaphore::options(1)
                .namespace(space)
                .create("bounded")
                .unwrap(),
            event: Event::options().namespace(space).create("event").unwrap(),
            queue: Queue::options(1).namespace(space).create("queue").unwrap(),
            pipe: Pipe::options()
                .capacity(1024)
                .namespace(space)
                .create("pipe")
                .unwrap(),
            namespace,
            _directory: directory,
        }
    }

    /// A puppet that has done this.
    fn after(&self, commands: &[&str]) -> Puppet {
        let mut puppet = Puppet::start(PUPPET, self.namespace.path());
        for command in commands {
            puppet.must(command);
        }
        puppet
    }
}

/// How somebody waits.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Asleep on the objects' words.
    Words,
    /// Asleep in poll, beside a descriptor that is never ready.
    Descriptors,
    /// By a descriptor for the object.
    Pollable,
}

const WAYS: [Way; 3] = [Way::Words, Way::Descriptors, Way::Pollable];

/// Whether the call that the thread sleeps in is one that waits.
fn is_asleep(task: &str) -> bool {
    let call = fs::read_to_string(format!("/proc/{task}/syscall")).unwrap_or_default();
    let number = call.split_whitespace().next().and_then(|n| n.parse().ok());
    let waits = [
        libc::SYS_futex,
        libc::SYS_futex_waitv,
        libc::SYS_poll,
        libc::SYS_ppoll,
    ];
    number.is_some_and(|number| waits.contains(&number))
}

fn is_readable(pollable: &Pollable, timeout: Duration) -> bool {
    let mut wanted = [PollFd::new(pollable.as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
}

/// Whether the thing, which is not ready, becomes ready by what is done while somebody sleeps.
fn becomes_ready(thing: &(dyn Waitable + Sync), way: Way, act: impl FnOnce()) -> bool {
    let mut set = WaitSet::new();
    set.set_wait_strategy(WaitStrategy::Sleep);
    set.add("it", thing).unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let pollable = match way {
        Way::Words => None,
        Way::Descriptors => {
            set.add("silence", &Descriptor::readable(&reader).unwrap())
                .unwrap();
            None
        }
        Way::Pollable => Some(Pollable::new(thing).unwrap()),
    };
    assert!(
        set.wait_timeout(SHORTLY).unwrap().is_empty(),
        "{way:?}: not yet"
    );
    let (tell, told) = mpsc::channel();
    let waits = thread::spawn(move || {
        // SAFETY: gettid takes nothing.
        tell.send(unsafe { libc::gettid() }).unwrap();
        match pollable {
            Some(pollable) => is_readable(&pollable, LONG),
            None => set.wait_timeout(LONG).unwrap() == ["it"],
        }
    });
    let task = format!("self/task/{}", told.recv().unwrap());
    wait_until("somebody sleeps", || is_asleep(&task));
    act();
    waits.join().unwrap()
}

#[test]
fn what_another_process_does_makes_each_thing_ready() {
    for way in WAYS {
        let stage = Stage::new();
        let mut puppet = stage.after(&["open queue"]);
        let things: [(&(dyn Waitable + Sync), &str, &str); 6] = [
            (&stage.lock, "sync lock acquire", "sync drop lock"),
            (&stage.rlock, "sync rlock acquire", "sync drop rlock"),
            (&stage.rwlock, "sync rwlock write", "sync drop rwlock"),
            (&stage.bounded, "sync bounded acquire", "sync drop bounded"),
            (
                &stage.semaphore,
                "sync semaphore open",
                "sync semaphore release",
            ),
            (&stage.event, "sync event open", "sync event set"),
        ];
        for (thing, before, act) in things {
            puppet.must(before);
            let told = || drop(puppet.must(act));
            assert!(becomes_ready(thing, way, told), "{way:?}: {act}");
        }
        let put = || drop(puppet.must("put x"));
        assert!(becomes_ready(&stage.queue, way, put), "{way:?}");
        let room = stage.queue.writable();
        let get = || drop(puppet.must("get"));
        assert!(becomes_ready(&room, way, get), "{way:?}");
        puppet.must("sync rwlock read");
        let unshare = || drop(puppet.must("sync drop rwlock"));
        assert!(
            becomes_ready(&stage.rwlock.writable(), way, unshare),
            "{way:?}"
        );
    }
}

#[test]
fn the_death_of_a_holder_makes_what_it_held_ready() {
    for way in WAYS {
        let stage = Stage::new();
        let writing = stage.rwlock.writable();
        let things: [(&(dyn Waitable + Sync), &str); 5] = [
            (&stage.lock, "sync lock acquire"),
            (&stage.rlock, "sync rlock acquire"),
            (&stage.rwlock, "sync rwlock write"),
            (&writing, "sync rwlock read"),
            (&stage.bounded, "sync bounded acquire"),
        ];
        for (thing, before) in things {
            let mut holder = stage.after(&[before]);
            assert!(
                becomes_ready(thing, way, || holder.kill()),
                "{way:?}: {before}"
            );
        }
        assert!(stage.lock.acquire().unwrap().owner_died());
    }
}

#[test]
fn a_pipe_is_ready_with_a_message_with_room_and_once_its_peer_is_killed() {
    for way in WAYS {
        let stage = Stage::new();
        let mut first: Connection<Bytes> = stage.pipe.first().unwrap();
        let mut peer = stage.after(&["pipe second"]);
        assert!(becomes_ready(&first, way, || drop(
            peer.must("pipe send x")
        )));
        assert_eq!(first.try_recv().unwrap().0, b"x");
        while first.try_send(vec![0; 64].into()).is_ok() {}
        let room = first.writable();
        let receive = || {
            for _ in 0..10 {
                peer.must("pipe recv");
            }
        };
        assert!(becomes_ready(&room, way, receive), "{way:?}");
        while first.try_send(vec![0; 64].into()).is_ok() {}
        let mut all = WaitSet::new();
        all.add("end", &first).unwrap();
        all.add("broken", &room).unwrap();
        assert!(becomes_ready(&first, way, || peer.kill()), "{way:?}");
        assert!(matches!(first.try_recv(), Err(TryRecvError::Failed(_))));
        assert_eq!(all.wait_timeout(LONG).unwrap(), ["end", "broken"]);
    }
}

impl Stage {
    /// A queue with one record, whose jobs are tried so often.
    fn jobs(&self, max_attempts: u32) -> JoinableQueue<Bytes> {
        let options = JoinableQueue::options(1).leases(1);
        let options = options.max_attempts(max_attempts);
        options.namespace(&self.namespace).create("jobs").unwrap()
    }

    fn news(&self, is_lossless: bool) -> Broadcast<News> {
        let options = Broadcast::options(1).namespace(&self.namespace);
        let options = if is_lossless {
            options
        } else {
            options.lossy()
        };
        options.create("news").unwrap()
    }
}

#[test]
fn each_step_of_another_process_makes_a_joinable_queue_ready() {
    for way in WAYS {
        let stage = Stage::new();
        let (jobs, mut puppet) = (stage.jobs(3), stage.after(&[]));
        let (room, all) = (jobs.writable(), jobs.finished());
        let mut does = |thing: &(dyn Waitable + Sync), act: &str| {
            let act = format!("joinable {act} jobs");
            let is_ready = becomes_ready(thing, way, || drop(puppet.must(&act)));
            assert!(is_ready, "{way:?}: {act}");
        };
        does(&jobs, "put");
        does(&room, "take");
        does(&all, "done");
        // A job is there, and then a record for it.
        does(&jobs, "put");
        let mut other = stage.after(&["joinable take jobs", "joinable put jobs"]);
        let frees = || drop(other.must("joinable done jobs"));
        assert!(becomes_ready(&jobs, way, frees), "{way:?}");
        // None will come any more.
        other.must("joinable take jobs");
        jobs.close();
        let ends = || drop(other.must("joinable done jobs"));
        assert!(becomes_ready(&jobs, way, ends), "{way:?}");
    }
}

#[test]
fn the_death_of_a_worker_makes_its_job_ready_or_ends_it() {
    for way in WAYS {
        for max_attempts in [2, 1] {
            let stage = Stage::new();
            let jobs = stage.jobs(max_attempts);
            jobs.put("job".into()).unwrap();
            let mut worker = stage.after(&["joinable take jobs"]);
            let all = jobs.finished();
            let thing: &(dyn Waitable + Sync) = if max_attempts == 2 { &jobs } else { &all };
            assert!(becomes_ready(thing, way, || worker.kill()), "{way:?}");
            if max_attempts == 2 {
                assert_eq!(jobs.try_get().unwrap().attempt(), 2);
            } else {
                assert_eq!(jobs.take_dead().unwrap().value.0, b"job");
            }
        }
    }
}

#[test]
fn what_another_process_publishes_makes_each_subscriber_ready() {
    for way in WAYS {
        for is_lossless in [true, false] {
            let stage = Stage::new();
            let (news, mut puppet) = (stage.news(is_lossless), stage.after(&[]));
            let mut subscriber = news.subscribe().unwrap();
            for _ in 0..2 {
                let publish = || drop(puppet.must("broadcast publish 1 1"));
                assert!(becomes_ready(&subscriber, way, publish), "{way:?}");
                assert_eq!(subscriber.try_recv().unwrap().0, 1);
            }
            assert!(becomes_ready(&subscriber, way, || news.close()), "{way:?}");
        }
    }
}

#[test]
fn a_subscriber_that_receives_or_dies_makes_room_to_publish() {
    for way in WAYS {
        let stage = Stage::new();
        let news = stage.news(true);
        let mut reads = stage.after(&["broadcast subscribe"]);
        let room = news.writable();
        let full = (1, 0, Vec::new());
        news.try_publish(full.clone()).unwrap();
        let receive = || drop(reads.must("broadcast recv-timeout 20000"));
        assert!(becomes_ready(&room, way, receive), "{way:?}");
        news.try_publish(full).unwrap();
        assert!(becomes_ready(&room, way, || reads.kill()), "{way:?}");
    }
}

#[test]
fn the_end_of_any_process_is_seen_beside_an_object() {
    let stage = Stage::new();
    let mut puppet = stage.after(&[]);
    let exit = ProcessExit::of(puppet.pid()).unwrap();
    let mut set = WaitSet::new();
    set.add("event", &stage.event).unwrap();
    set.add("exit", &exit).unwrap();
    assert!(set.wait_timeout(SHORTLY).unwrap().is_empty());
    puppet.kill();
    assert_eq!(set.wait_timeout(LONG).unwrap(), ["exit"]);
    stage.event.set().unwrap();
    assert_eq!(set.wait().unwrap(), ["event", "exit"]);
}

/// Puppets that sleep in a set, and one that sleeps in a get beside them.
fn sleepers(stage: &Stage, silence: bool) -> (Puppet, Puppet) {
    let mut waits = stage.after(&["wait add event", "wait add queue"]);
    if silence {
        waits.must("wait add-silence");
    }
    waits.tell("wait for 20000");
    wait_until("the set sleeps", || is_asleep(&waits.pid().to_string()));
    let mut gets = stage.after(&["open queue"]);
    gets.tell("get");
    wait_until("the getter sleeps", || is_asleep(&gets.pid().to_string()));
    (waits, gets)
}

#[test]
fn nobody_waits_for_who_was_killed_or_stopped_in_a_set() {
    for silence in [false, true] {
        let stage = Stage::new();
        let (mut waits, mut gets) = sleepers(&stage, silence);
        waits.kill();
        stage.queue.put("one".into()).unwrap();
        assert_eq!(gets.answer(), "ok one");

        let (mut waits, mut gets) = sleepers(&stage, silence);
        waits.signal(Signal::SIGSTOP);
        for message in ["two", "three"] {
            stage.queue.put(message.into()).unwrap();
            assert_eq!(gets.answer(), format!("ok {message}"));
            if message == "two" {
                gets.tell("get");
            }
        }
        stage.event.set().unwrap();
        waits.signal(Signal::SIGCONT);
        assert_eq!(waits.answer(), "ok event");
        stage.event.clear().unwrap();
    }
}

#[test]
fn a_forked_child_waits_with_a_copy_of_its_own() {
    for silence in [false, true] {
        let stage = Stage::new();
        let mut parent = stage.after(&["wait add event", "wait add semaphore"]);
        if silence {
            parent.must("wait add-silence");
        }
        assert_eq!(parent.must("wait for 5"), "");
        assert_eq!(parent.must("fork-and wait for 5"), "");
        stage.event.set().unwrap();
        assert_eq!(parent.must("fork-and wait for 20000"), "event");
        assert_eq!(parent.must("wait for 20000"), "event");
        stage.event.clear().unwrap();
        parent.tell("fork-and wait for 20000");
        thread::sleep(SHORTLY); // asleep or not
        stage.semaphore.release(1).unwrap();
        assert_eq!(parent.answer(), "ok semaphore");
        assert_eq!(parent.must("wait for 20000"), "semaphore");
    }
}

#[test]
fn a_descriptor_is_its_process_own_through_fork_and_exec() {
    let stage = Stage::new();
    let mut parent = stage.after(&["wait pollable"]);
    assert_eq!(parent.must("wait poll 5"), "false");
    assert!(parent.ask("fork-and wait rearm").starts_with("err"));
    parent.must("fork-and wait drop-pollable");
    stage.event.set().unwrap();
    assert_eq!(
        parent.must("wait poll 20000"),
        "true",
        "what its children did is their own"
    );
    assert_eq!(parent.must("wait rearm"), "true");
    assert_eq!(
        parent.must("fork-and wait pollable"),
        "",
        "a child makes its own"
    );
    assert_eq!(parent.must("wait bells"), "1");
    assert_eq!(parent.must("exec"), "hello");
    assert_eq!(
        parent.must("wait bells"),
        "0",
        "none is left to the next program"
    );
}

#[test]
fn a_thousand_objects_are_polled_at_once() {
    const COUNT: u64 = 1000;
    let directory = TrialDirectory::create().unwrap();
    let namespace = Namespace::at(directory.path()).unwrap();
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is readable.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let event = |i: u64| {
        let options = Event::options().participants(2).namespace(&namespace);
        options.create(&i.to_string()).unwrap()
    };
    let events: Vec<Event> = (0..COUNT).map(event).collect();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let pollables: Vec<Pollable> = events.iter().map(|e| Pollable::new(e).unwrap()).collect();
    for (i, pollable) in (0..).zip(&pollables) {
        epoll
            .add(pollable, EpollEvent::new(EpollFlags::EPOLLIN, i))
            .unwrap();
    }
    let mut ready = [EpollEvent::empty(); 8];
    for round in 0..2 {
        for i in (0..COUNT).step_by(37) {
            events[i as usize].set().unwrap();
            let count = epoll
                .wait(&mut ready, EpollTimeout::try_from(LONG).unwrap())
                .unwrap();
            assert_eq!(count, 1, "round {round}");
            assert_eq!(ready[0].data(), i);
            events[i as usize].clear().unwrap();
            assert!(!pollables[i as usize].rearm().unwrap());
        }
    }
    // All of them again, while they are dropped one by one.
    for event in &events {
        event.set().unwrap();
    }
    for pollable in pollables {
        assert!(is_readable(&pollable, LONG));
    }
    // A process that another test is just starting has copies of the descriptors until it executes its program.
    wait_until("none is left", || {
        epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap() == 0
    });
}

/// Says to a run of these tests that it has no `futex_waitv`.
const OLD_KERNEL: &str = "IPC_TESTS_OLD_KERNEL";

#[test]
fn all_of_this_holds_where_the_kernel_lacks_futex_waitv() {
    if std::env::var_os(OLD_KERNEL).is_some() {
        assert!(!has_futex_waitv());
        return;
    }
    let tests = std::env::current_exe().unwrap();
    for errno in [libc::ENOSYS, libc::EPERM] {
        let mut again = Command::new(&tests);
        // Of the second run nothing differs but how the kernel says no.
        if errno == libc::EPERM {
            again.args(["holds_where", "makes_each_thing_ready"]);
        }
        let output = without_futex_waitv(again.env(OLD_KERNEL, "1"), errno).output();
        let output = output.expect("a kernel that filters system calls");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{errno}: {text}");
    }
}
