//! Deaths and stops around sleeping in the kernel, which step kill sees as one instruction: between the commit and the
//! wake, after the wake and before the message was taken, and asleep.
//!
//! Each process is a [`Victim`], brought to its place by a fact that others can see, never by a delay. Sleepers use
//! `WaitStrategy::Sleep`, so that they do not spin past the place.
//!
//! The tests fork, and run one at a time: a fork in another thread in the middle of a test would be in its way.

use std::fs;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ipc_core::{
    Bytes, Namespace, ParticipantState, Queue, QueueOptions, Semaphore, WaitSet, WaitStrategy,
};
use ipc_tests::step::{End, Event, Operation, Victim};
use ipc_tests::trial_directory::TrialDirectory;

/// A survivor gets its message in this time. The promise is 100 ms behind the kernel's exit; the rest is for a busy
/// machine.
const BOUND: Duration = Duration::from_secs(2);
/// Asleep in a get, for as long as the test may last.
const LONG: Duration = Duration::from_secs(20);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Place {
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Place {
    fn new() -> Self {
        let directory = TrialDirectory::create().unwrap();
        let namespace = Namespace::at(directory.path()).unwrap();
        let place = Self {
            namespace,
            _directory: directory,
        };
        place.options().create("q").unwrap();
        place
    }

    fn options(&self) -> QueueOptions<Bytes> {
        Queue::options(4)
            .memory(8192)
            .namespace(&self.namespace)
            .wait(WaitStrategy::Sleep)
    }

    fn open(&self) -> Queue<Bytes> {
        self.options().open("q").unwrap()
    }

    /// Gets one message, and returns its first byte; 0 when none came.
    fn getter(&self) -> Victim {
        let arm = || -> Operation<'_> {
            let queue = self.open();
            Box::new(move || queue.get_timeout(LONG).map_or(0, |m| m.0[0].into()))
        };
        Victim::fork(arm).unwrap()
    }

    /// A getter that sleeps in the kernel.
    fn sleeper(&self) -> Victim {
        self.sleeping(self.getter())
    }

    fn sleeping(&self, mut victim: Victim) -> Victim {
        victim.resume().unwrap();
        wait_until(|| is_in_futex_wait(&victim));
        victim
    }

    /// Puts a message whose first byte is `id`.
    fn putter(&self, id: u8, length: usize) -> Victim {
        let arm = move || -> Operation<'_> {
            let queue = self.open();
            let mut message = Some(Bytes(vec![id; length]));
            Box::new(move || message.take().map_or(0, |m| queue.put(m).is_ok().into()))
        };
        Victim::fork(arm).unwrap()
    }

    fn alive(&self) -> usize {
        let seen = self.namespace.inspect("q").unwrap();
        let is_alive = |p: &&ipc_core::Participant| p.state == ParticipantState::Alive;
        seen.participants.iter().filter(is_alive).count()
    }

    fn len(&self) -> u64 {
        self.namespace.inspect("q").unwrap().queue.unwrap().len
    }
}

/// Waits for the queue and for permits; whether the queue was ready.
fn set_sleeper(place: &Place) -> Victim {
    let arm = || -> Operation<'_> {
        let permits = Semaphore::options(0).namespace(&place.namespace);
        let permits = permits.open_or_create("permits").unwrap();
        let mut set = WaitSet::new();
        set.set_wait_strategy(WaitStrategy::Sleep);
        set.add("permits", &permits).unwrap();
        set.add("queue", &place.open()).unwrap();
        Box::new(move || (set.wait_timeout(LONG).unwrap() == ["queue"]).into())
    };
    Victim::fork(arm).unwrap()
}

fn syscall_of(victim: &Victim) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{}/syscall", victim.pid())).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn is_in_futex_wait(victim: &Victim) -> bool {
    syscall_of(victim) == Some(libc::SYS_futex)
}

fn wait_until(fact: impl Fn() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < LONG, "it never came true");
        std::thread::yield_now();
    }
}

/// What a running victim's operation returned, within the bound.
fn result_in_time(victim: &mut Victim) -> u64 {
    let begin = Instant::now();
    let end = victim.wait_to_end().unwrap();
    let taken = begin.elapsed();
    assert!(taken < BOUND, "it took {taken:?}");
    match end {
        End::Completed(result) => result,
        other => panic!("{other:?}"),
    }
}

/// A process asleep, and one that has just made true what the sleeper waits for and is killed before its wake.
/// A sleeper looks again every 100 ms, and may see it by itself just then: so it takes some tries.
fn waker_is_killed(place: &Place, sleeper: impl Fn() -> Victim, waker: Waker) -> Option<Victim> {
    let mut sleeper = sleeper();
    let mut waker_process = (waker.process)();
    let event = waker_process.run_to_syscall(|| place.len() == waker.len_afterwards);
    let is_in_window = event.unwrap() == Event::Stepped
        && syscall_of(&waker_process) == Some(libc::SYS_futex)
        && is_in_futex_wait(&sleeper);
    if is_in_window {
        waker_process.kill().unwrap();
        return Some(sleeper);
    }
    sleeper.kill().unwrap();
    None
}

struct Waker<'a> {
    process: &'a dyn Fn() -> Victim,
    len_afterwards: u64,
}

#[test]
fn a_sleeper_gets_the_message_of_a_waker_killed_before_its_wake() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for length in [10, 3000] {
        let in_window = (0..50).find_map(|_| {
            let place = Place::new();
            let waker = Waker {
                process: &|| place.putter(7, length),
                len_afterwards: 1,
            };
            let sleeper = waker_is_killed(&place, || place.sleeper(), waker)?;
            Some((place, sleeper))
        });
        let (_place, mut sleeper) = in_window.expect("one of many tries is fast enough");
        assert_eq!(result_in_time(&mut sleeper), 7);
    }
}

#[test]
fn a_sleeping_putter_gets_the_room_of_a_getter_killed_before_its_wake() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // The first waits for a cell; the second for the memory of one large message.
    for (messages, length) in [(4, 10), (1, 8000)] {
        let in_window = (0..50).find_map(|_| {
            let place = Place::new();
            let queue = place.open();
            for id in 0..messages {
                queue.put(Bytes(vec![id; length])).unwrap();
            }
            let waker = Waker {
                process: &|| place.getter(),
                len_afterwards: u64::from(messages) - 1,
            };
            let sleeper = || place.sleeping(place.putter(9, length));
            let sleeper = waker_is_killed(&place, sleeper, waker)?;
            Some((place, sleeper, queue))
        });
        let (_place, mut sleeper, queue) = in_window.expect("one of many tries is fast enough");
        assert_eq!(result_in_time(&mut sleeper), 1);
        let got = std::iter::from_fn(|| queue.try_get().ok().map(|m| m.0[0]));
        let got: Vec<u8> = got.collect();
        assert!(got.ends_with(&[9]), "{got:?}");
    }
}

/// Two sleepers in a get, and a message, the wake for which went to the first: it stands behind its wake, stopped, and
/// has not looked yet. Sleepers look again every 100 ms, so it takes some tries to wake the right one.
fn first_of_two_is_woken(place: &Place, queue: &Queue<Bytes>) -> (Victim, Victim) {
    for _ in 0..50 {
        let mut first = place.getter();
        // It asks for its thread's number, to note that it waits; then it sleeps.
        first.resume_into_syscall().unwrap();
        first.wait_behind_syscall().unwrap();
        first.resume_into_syscall().unwrap();
        wait_until(|| is_in_futex_wait(&first));
        let mut second = place.sleeper();
        queue.put(Bytes(vec![5])).unwrap();
        let woken = first.wait_behind_syscall().unwrap() == 0;
        if woken && is_in_futex_wait(&second) && place.len() == 1 {
            return (first, second);
        }
        // The second one was woken, or the first one's sleep was over: none of our affair here.
        first.kill().unwrap();
        assert_eq!(result_in_time(&mut second), 5);
    }
    panic!("it was never the first that was woken")
}

#[test]
fn another_sleeper_gets_the_message_when_the_woken_one_is_killed_before_it_took_it() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let queue = place.open();
    let (mut first, mut second) = first_of_two_is_woken(&place, &queue);
    first.kill().unwrap();
    assert_eq!(result_in_time(&mut second), 5);
}

#[test]
fn another_sleeper_gets_the_message_when_the_woken_one_is_stopped() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let queue = place.open();
    let (mut first, mut second) = first_of_two_is_woken(&place, &queue);
    assert_eq!(result_in_time(&mut second), 5);
    queue.put(Bytes(vec![6])).unwrap();
    first.resume().unwrap();
    assert_eq!(result_in_time(&mut first), 6);
}

#[test]
fn nobody_notices_the_death_of_a_sleeper() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let queue = place.open();
    place.sleeper().kill().unwrap();
    let mut second = place.sleeper();
    queue.put(Bytes(vec![5])).unwrap();
    assert_eq!(result_in_time(&mut second), 5);
    queue.put(Bytes(vec![6])).unwrap();
    assert_eq!(queue.get().unwrap().0, [6]);
    queue.sweep().unwrap();
    assert_eq!(place.alive(), 1);
}

/// A set that was woken for a message, stands behind its wake, and has not looked; and a getter that went to sleep after it.
fn set_is_woken(place: &Place, queue: &Queue<Bytes>) -> (Victim, Victim) {
    for _ in 0..50 {
        let mut set = set_sleeper(place);
        set.resume_into_syscall().unwrap();
        wait_until(|| syscall_of(&set) == Some(libc::SYS_futex_waitv));
        let getter = place.sleeper();
        queue.put(Bytes(vec![5])).unwrap();
        if set.wait_behind_syscall().unwrap() >= 0 {
            return (set, getter);
        }
        drop((set, getter)); // its sleep was over before
        let _ = queue.try_get();
    }
    panic!("it was never woken")
}

#[test]
fn a_getter_gets_its_message_while_a_set_that_was_woken_for_it_is_stopped_or_killed() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for is_killed in [false, true] {
        let place = Place::new();
        let queue = place.open();
        let (mut set, mut getter) = set_is_woken(&place, &queue);
        if is_killed {
            set.kill().unwrap();
        }
        assert_eq!(result_in_time(&mut getter), 5);
        let mut another = place.sleeper();
        queue.put(Bytes(vec![6])).unwrap();
        assert_eq!(result_in_time(&mut another), 6);
        if !is_killed {
            queue.put(Bytes(vec![7])).unwrap();
            set.resume().unwrap();
            assert_eq!(result_in_time(&mut set), 1);
        }
    }
}
