//! Objects and the life of processes: races to create, crowds, fork, exec, pid namespaces, full file systems, deaths.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipc_core::{
    Bytes, Error, GetTimeoutError, Namespace, ParticipantState, PutTimeoutError, Queue,
    TryGetError, TryPutError,
};
use ipc_tests::puppet::{Puppet, once, wait_until};
use ipc_tests::trial_directory::TrialDirectory;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, Uid};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// A namespace of its own, and puppets in it.
struct Stage {
    directory: TrialDirectory,
    namespace: Namespace,
}

impl Stage {
    fn new() -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let namespace = Namespace::at(directory.path()).expect("a namespace");
        Self {
            directory,
            namespace,
        }
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(PUPPET, self.namespace.path())
    }

    /// A puppet that has `q` open.
    fn user(&self) -> Puppet {
        let mut puppet = self.puppet();
        puppet.must("open q");
        puppet
    }

    /// Makes `q`, which nobody has open then.
    fn make(&self, capacity: usize, participants: u32) {
        let options = Queue::<Bytes>::options(capacity).memory(4096);
        let options = options.participants(participants);
        options
            .namespace(&self.namespace)
            .create("q")
            .expect("a queue");
    }

    fn open(&self) -> Queue<Bytes> {
        self.try_open().expect("the queue can be opened")
    }

    fn try_open(&self) -> Result<Queue<Bytes>, Error> {
        Queue::options(1).namespace(&self.namespace).open("q")
    }

    /// Who is attached to `q`, and whether they live.
    fn users(&self) -> Vec<(u32, ParticipantState)> {
        let inspection = self.namespace.inspect("q").expect("q can be inspected");
        let mut all: Vec<_> = inspection
            .participants
            .iter()
            .map(|p| (p.pid, p.state))
            .collect();
        all.sort_unstable_by_key(|&(pid, _)| pid);
        all
    }

    fn living(&self) -> Vec<u32> {
        let is_alive = |&(pid, state): &_| (state == ParticipantState::Alive).then_some(pid);
        self.users().iter().filter_map(is_alive).collect()
    }

    fn leftovers(&self) -> usize {
        self.namespace
            .leftovers()
            .expect("they can be listed")
            .len()
    }
}

fn sorted<const N: usize>(mut pids: [u32; N]) -> Vec<u32> {
    pids.sort_unstable();
    pids.to_vec()
}

/// A process that a puppet forked; killed when dropped.
struct Grandchild(u32);

impl Grandchild {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0 as i32)
    }

    /// Kills it. Whoever is its parent may not have waited for it when this returns.
    fn kill(&self) {
        kill(self.pid(), Signal::SIGKILL).expect("it lives");
    }
}

impl Drop for Grandchild {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGKILL);
    }
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("every Linux has it")
        .into()
}

fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.chars().next().unwrap_or('?')
}

// ---- coming to be

#[test]
fn of_processes_that_race_to_create_one_wins_and_all_get_the_same_queue() {
    let stage = Stage::new();
    let mut racers = [stage.puppet(), stage.puppet()];
    for round in 0..100 {
        let start = (monotonic() + Duration::from_millis(2)).as_nanos();
        for racer in &mut racers {
            racer.tell(&format!("at {start} create c{round} 4 4"));
        }
        let answers = racers.each_mut().map(Puppet::answer);
        let winners = answers.iter().filter(|a| *a == "ok").count();
        let losers = answers
            .iter()
            .filter(|a| a.contains("exists already"))
            .count();
        assert_eq!((winners, losers), (1, 1), "round {round}: {answers:?}");

        let start = (monotonic() + Duration::from_millis(2)).as_nanos();
        for racer in &mut racers {
            racer.tell(&format!("at {start} open-or-create o{round} 4 4"));
        }
        let answers = racers.each_mut().map(Puppet::answer);
        assert_eq!(answers, ["ok", "ok"], "round {round}");
        racers[0].must("put same");
        assert_eq!(racers[1].must("try-get"), "same", "round {round}");
    }
    assert_eq!(stage.namespace.list().unwrap().len(), 200);
}

#[test]
fn two_hundred_processes_attach_at_once() {
    let stage = Stage::new();
    stage.make(200, 200);
    let mut crowd: Vec<Puppet> = (0..200).map(|_| stage.puppet()).collect();
    // Each is up and waiting before the first one attaches.
    for puppet in &mut crowd {
        puppet.must("at 0 drop");
    }
    for puppet in &mut crowd {
        puppet.tell("open q");
    }
    for puppet in &mut crowd {
        assert_eq!(puppet.answer(), "ok");
    }
    for puppet in &mut crowd {
        puppet.must("try-put hello");
    }
    assert_eq!(stage.living().len(), 200);
    let refused = stage.try_open();
    assert!(
        matches!(refused, Err(Error::TooManyParticipants { max: 200, .. })),
        "{refused:?}"
    );
    crowd.pop();
    let queue = stage.open();
    assert_eq!(queue.len(), 200);
    assert_eq!(
        queue.sweep().unwrap(),
        0,
        "the opener found the dead one's slot"
    );
}

#[test]
fn one_too_many_is_told_the_limit_and_a_dead_ones_slot_is_free_again() {
    let stage = Stage::new();
    stage.make(4, 4);
    let mut users: Vec<Puppet> = (0..4).map(|_| stage.user()).collect();
    let mut fifth = stage.puppet();
    let refused = fifth.ask("open q");
    assert!(
        refused.starts_with("err") && refused.contains("4 participants"),
        "{refused}"
    );
    users[2].kill();
    fifth.must("open q");
    assert_eq!(stage.living().len(), 4);
}

#[test]
fn a_process_takes_one_slot_however_many_handles_and_threads_it_has() {
    let stage = Stage::new();
    stage.make(64, 2);
    let mut puppet = stage.user();
    puppet.must("threads 8 q");
    assert_eq!(stage.users(), [(puppet.pid(), ParticipantState::Alive)]);
    assert_eq!(puppet.must("len"), "8");
}

// ---- fork and exec

#[test]
fn a_forked_child_has_a_slot_of_its_own_and_leaves_its_parents_alone() {
    let stage = Stage::new();
    stage.make(16, 4);
    let mut parent = stage.user();
    parent.must("put before");
    // A child that ends in good order, its handles dropped.
    assert_eq!(parent.must("fork-and try-get"), "before");
    assert_eq!(stage.users(), [(parent.pid(), ParticipantState::Alive)]);
    // One that is killed.
    let child = Grandchild(parent.must("fork-hold put from the child").parse().unwrap());
    assert_eq!(stage.living(), sorted([parent.pid(), child.0]));
    child.kill();
    wait_until("the child's slot is dead", || {
        stage.living() == [parent.pid()]
    });
    assert_eq!(parent.must("sweep"), "1");
    assert_eq!(parent.must("try-get"), "from the child");
    parent.must("put still works");
    assert_eq!(parent.must("try-get"), "still works");
}

#[test]
fn a_child_forked_in_the_middle_of_a_put_of_many_leaves_its_parents_cells_alone() {
    let stage = Stage::new();
    stage.make(16, 4);
    let mut parent = stage.user();
    assert_eq!(
        parent.must("fork-in-put-many"),
        "0",
        "committed by the child"
    );
    assert_eq!(parent.must("try-get"), "one");
    assert_eq!(parent.must("try-get"), "two");
}

#[test]
fn a_child_outlives_its_parent_in_the_queue() {
    let stage = Stage::new();
    stage.make(16, 4);
    let mut parent = stage.user();
    let user = Grandchild(parent.must("fork-hold put from the child").parse().unwrap());
    let idle = Grandchild(parent.must("fork-hold drop").parse().unwrap());
    parent.kill();
    wait_until("the parent's slot is dead though its children live", || {
        stage.living() == [user.0]
    });
    assert!(
        state_of(idle.0) != '?',
        "a child that never used the queue lives"
    );
    let queue = stage.open();
    assert_eq!(stage.living(), sorted([user.0, std::process::id()]));
    assert_eq!(queue.try_get().unwrap(), Bytes::from("from the child"));
}

#[test]
fn children_forked_while_other_threads_attach_work() {
    let stage = Stage::new();
    stage.make(16, 64);
    let mut parent = stage.user();
    assert_eq!(
        parent.must("fork-while-threads-attach 150"),
        "0 of 150 children failed"
    );
    assert_eq!(stage.living(), [parent.pid()], "no child left a slot alive");
}

#[test]
fn exec_gives_the_slot_back() {
    let stage = Stage::new();
    stage.make(4, 1);
    let mut puppet = stage.user();
    puppet.must("put kept");
    assert_eq!(stage.living(), [puppet.pid()]);
    assert_eq!(puppet.must("exec"), "hello");
    assert_eq!(stage.living(), [0; 0], "the old image is dead");
    puppet.must("open q");
    assert_eq!(stage.living(), [puppet.pid()]);
    assert_eq!(puppet.must("try-get"), "kept");
}

// ---- who is alive

#[test]
fn a_killed_process_that_nobody_waited_for_is_dead() {
    let stage = Stage::new();
    stage.make(4, 4);
    let user = stage.user();
    user.signal(Signal::SIGKILL);
    wait_until("a zombie", || state_of(user.pid()) == 'Z');
    wait_until("its slot is dead", || stage.living().is_empty());
    assert_eq!(stage.users(), [(user.pid(), ParticipantState::Dead)]);
    assert_eq!(stage.namespace.sweep("q").unwrap(), 1);
    assert_eq!(state_of(user.pid()), 'Z', "still not waited for");
    assert_eq!(stage.namespace.inspect("q").unwrap().deaths, 1);
}

#[test]
fn a_stopped_process_is_alive() {
    let stage = Stage::new();
    stage.make(4, 4);
    let mut user = stage.user();
    user.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || state_of(user.pid()) == 'T');
    assert_eq!(stage.users(), [(user.pid(), ParticipantState::Alive)]);
    assert_eq!(stage.namespace.sweep("q").unwrap(), 0);
    user.signal(Signal::SIGCONT);
    user.must("put after all");
}

#[test]
fn after_everybody_died_the_next_opener_finds_the_messages() {
    let stage = Stage::new();
    stage.make(8, 4);
    let mut users = [stage.user(), stage.user()];
    let large = "x".repeat(1000);
    users[0].must("put one");
    users[1].must(&format!("put {large}"));
    users[0].must("put three");
    for user in &mut users {
        user.kill();
    }
    let queue = stage.open();
    assert_eq!(stage.living(), [std::process::id()]);
    for expected in ["one", &large, "three"] {
        assert_eq!(queue.try_get().unwrap(), Bytes::from(expected));
    }
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
}

/// A puppet in a pid namespace of its own; `None` where that is not allowed.
fn far_puppet(stage: &Stage) -> Option<Puppet> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=SIGKILL", PUPPET]);
    command.arg(stage.namespace.path()).stderr(Stdio::null());
    let mut puppet = Puppet::start_as(&mut command).ok()?;
    wait_until("it runs, or was refused", || {
        puppet.has_answer(Duration::ZERO) || state_of(puppet.pid()) != 'R'
    });
    let mut probe = Command::new("unshare");
    let is_allowed = probe
        .args(["--pid", "--fork", "true"])
        .stderr(Stdio::null());
    if !is_allowed.status().is_ok_and(|s| s.success()) {
        println!("skipped: pid namespaces cannot be made here");
        return None;
    }
    puppet.must("open q");
    Some(puppet)
}

#[test]
fn who_lives_is_known_across_pid_namespaces() {
    let stage = Stage::new();
    stage.make(8, 4);
    let Some(mut far) = far_puppet(&stage) else {
        return;
    };
    let mut near = stage.user();
    let inspection = stage.namespace.inspect("q").unwrap();
    assert_eq!(inspection.participants.len(), 2);
    assert_ne!(
        inspection.participants[0].pid_namespace,
        inspection.participants[1].pid_namespace
    );
    assert_eq!(
        inspection.participants[0].pid, 1,
        "the first of its namespace"
    );
    assert_eq!(far.must("sweep"), "0", "who is elsewhere is not dead");
    assert_eq!(near.must("sweep"), "0");
    near.must("put near");
    assert_eq!(far.must("get-timeout 5000"), "near");
    // One waits while the other dies, and the other way round.
    far.tell("get-timeout 10000");
    near.kill();
    wait_until("the far one alone", || stage.living() == [1]);
    let queue = stage.open();
    queue.try_put(Bytes::from("from here")).unwrap();
    assert_eq!(far.answer(), "ok from here");
    assert_eq!(far.must("sweep"), "0", "the opener swept");
    far.kill();
    wait_until("its death is seen from outside", || {
        stage.living() == [std::process::id()]
    });
    assert_eq!(queue.sweep().unwrap(), 1);
}

// ---- waiting

fn wait_for_sleepers(stage: &Stage, gets: bool, puts: bool) {
    wait_until("they sleep", || {
        let stat = stage.namespace.inspect("q").unwrap().queue.unwrap();
        (stat.has_sleeping_gets || !gets) && (stat.has_sleeping_puts || !puts)
    });
}

#[test]
fn close_wakes_getters_in_other_processes() {
    let stage = Stage::new();
    stage.make(1, 8);
    let mut getters = [stage.user(), stage.user(), stage.user()];
    for getter in &mut getters {
        getter.tell("get");
    }
    for getter in &getters {
        wait_until("it sleeps", || state_of(getter.pid()) == 'S');
    }
    wait_for_sleepers(&stage, true, false);
    stage.open().close();
    for getter in &mut getters {
        let answer = getter.answer();
        assert!(
            answer.starts_with("err") && answer.contains("closed"),
            "{answer}"
        );
    }
}

#[test]
fn close_wakes_putters_in_other_processes() {
    let stage = Stage::new();
    stage.make(1, 8);
    let queue = stage.open();
    queue.try_put(Bytes::from("first")).unwrap();
    let mut putters = [stage.user(), stage.user()];
    for putter in &mut putters {
        putter.tell("put second");
    }
    wait_for_sleepers(&stage, false, true);
    queue.close();
    for putter in &mut putters {
        let answer = putter.answer();
        assert!(
            answer.starts_with("err") && answer.contains("closed"),
            "{answer}"
        );
    }
    assert_eq!(queue.try_get().unwrap(), Bytes::from("first"));
    assert!(matches!(queue.try_get(), Err(TryGetError::Closed)));
}

#[test]
fn the_death_of_a_consumer_is_noticed_by_those_who_sleep() {
    let stage = Stage::new();
    stage.make(4, 4);
    let mut waiter = stage.user();
    let mut victim = stage.user();
    waiter.tell("get");
    wait_for_sleepers(&stage, true, false);
    victim.kill();
    wait_until("the sleeper swept", || {
        stage.users() == [(waiter.pid(), ParticipantState::Alive)]
    });
    stage.open().try_put(Bytes::from("done")).unwrap();
    assert_eq!(waiter.answer(), "ok done");
}

/// Nanoseconds on a processor of the main thread of `pid`.
fn run_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    stat.split_whitespace().next()?.parse().ok()
}

#[test]
fn who_waits_costs_next_to_nothing() {
    let stage = Stage::new();
    stage.make(4, 8);
    let mut waiters = [stage.user(), stage.user(), stage.user()];
    for waiter in &mut waiters {
        waiter.tell("get");
    }
    wait_for_sleepers(&stage, true, false);
    for waiter in &waiters {
        wait_until("it sleeps", || state_of(waiter.pid()) == 'S');
    }
    let read = || waiters.each_ref().map(|w| run_time(w.pid()));
    let (begin, before) = (Instant::now(), read());
    std::thread::sleep(Duration::from_secs(3)); // what is measured
    let (took, after) = (begin.elapsed(), read());
    for (before, after) in before.into_iter().zip(after) {
        let (Some(before), Some(after)) = (before, after) else {
            println!("skipped: /proc/<pid>/schedstat is not there");
            return;
        };
        let share = (after - before) as f64 / took.as_nanos() as f64;
        println!("a blocked get takes {:.4} % of a core", 100.0 * share);
        assert!(share < 0.005, "{share}");
    }
}

#[test]
fn timeouts_return_in_time() {
    let stage = Stage::new();
    stage.make(1, 4);
    let queue = stage.open();
    for millis in [0, 1, 20, 150, 300] {
        let timeout = Duration::from_millis(millis);
        let begin = Instant::now();
        let got = queue.get_timeout(timeout);
        assert!(matches!(got, Err(GetTimeoutError::Timeout)), "{got:?}");
        let took = begin.elapsed();
        assert!(
            took >= timeout && took < timeout + Duration::from_secs(2),
            "{timeout:?}: {took:?}"
        );
    }
    queue.try_put(Bytes::from("full")).unwrap();
    for millis in [0, 1, 20, 150] {
        let timeout = Duration::from_millis(millis);
        let begin = Instant::now();
        let put = queue.put_timeout(Bytes::from("more"), timeout);
        assert!(matches!(put, Err(PutTimeoutError::Timeout(_))), "{put:?}");
        let took = begin.elapsed();
        assert!(
            took >= timeout && took < timeout + Duration::from_secs(2),
            "{timeout:?}: {took:?}"
        );
    }
}

// ---- handles on their way

#[test]
fn a_queue_travels_through_a_queue() {
    let stage = Stage::new();
    let (mut sender, mut receiver) = (stage.puppet(), stage.puppet());
    sender.must("anonymous 4");
    sender.must("send-handle post");
    receiver.must("receive-handle post");
    sender.must("put through the one that travelled");
    assert_eq!(
        receiver.must("get-timeout 5000"),
        "through the one that travelled"
    );
    receiver.must("put and back");
    assert_eq!(sender.must("get-timeout 5000"), "and back");
}

#[test]
fn an_anonymous_queue_is_passed_on_and_goes_with_its_last_user() {
    let stage = Stage::new();
    let mut maker = stage.puppet();
    maker.must("anonymous 4");
    assert_eq!(stage.namespace.list().unwrap(), [""; 0], "it has no name");
    let ticket = maker.must("ticket");
    // As an argument of a new process.
    let redeem = format!("redeem {ticket}");
    let output = Command::new(PUPPET)
        .args(once(
            stage.namespace.path(),
            &[&redeem, "put from an argument"],
        ))
        .output()
        .expect("a puppet");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\nok\n");
    assert_eq!(maker.must("try-get"), "from an argument");
    let mut other = stage.puppet();
    other.must(&redeem);
    maker.must("drop");
    other.must("put still there");
    assert_eq!(other.must("try-get"), "still there");
    assert_eq!(stage.leftovers(), 0);
    other.must("drop");
    let nameless = stage.namespace.path().join(".ephemeral");
    assert_eq!(
        fs::read_dir(nameless).unwrap().count(),
        0,
        "gone with its last user"
    );
    let late = maker.ask(&redeem);
    assert!(
        late.starts_with("err") && late.contains("not found"),
        "{late}"
    );
}

#[test]
fn an_anonymous_queue_of_the_killed_is_collected() {
    let stage = Stage::new();
    let (mut maker, mut user) = (stage.puppet(), stage.puppet());
    maker.must("anonymous 4");
    let ticket = maker.must("ticket");
    user.must(&format!("redeem {ticket}"));
    maker.kill();
    user.must("put the maker is gone");
    assert_eq!(stage.leftovers(), 0, "it is in use");
    user.kill();
    wait_until("it is left over", || stage.leftovers() == 1);
    let collected = stage.namespace.collect().unwrap();
    assert_eq!(collected.removed.len(), 1);
    assert!(collected.removed[0].bytes > 0);
    assert_eq!(stage.leftovers(), 0);
    let nameless = stage.namespace.path().join(".ephemeral");
    assert_eq!(fs::read_dir(nameless).unwrap().count(), 0);
}

#[test]
fn a_forked_child_that_ends_does_not_take_its_parents_anonymous_queue_away() {
    let stage = Stage::new();
    let mut parent = stage.puppet();
    parent.must("anonymous 4");
    parent.must("fork-and put from the child");
    assert_eq!(parent.must("try-get"), "from the child");
    let ticket = parent.must("ticket");
    let mut other = stage.puppet();
    other.must(&format!("redeem {ticket}"));
}

#[test]
fn an_unlinked_queue_stays_usable_and_can_be_passed_on() {
    let stage = Stage::new();
    stage.make(4, 4);
    let (mut one, mut two) = (stage.user(), stage.puppet());
    let ticket = one.must("ticket");
    two.must("unlink q");
    assert_eq!(stage.namespace.list().unwrap(), [""; 0]);
    assert!(matches!(stage.try_open(), Err(Error::NotFound { .. })));
    one.must("put in a queue without a name");
    two.must(&format!("redeem {ticket}"));
    assert_eq!(two.must("try-get"), "in a queue without a name");
    // A new queue of that name is another one.
    stage.make(4, 4);
    one.must("put in the old one");
    assert!(matches!(stage.open().try_get(), Err(TryGetError::Empty)));
    assert_eq!(two.must("try-get"), "in the old one");
}

#[test]
fn an_object_in_use_is_not_removed_by_who_asks_for_unused_ones() {
    let stage = Stage::new();
    stage.make(4, 4);
    let mut user = stage.user();
    let refused = stage.namespace.unlink_unused("q");
    assert!(
        matches!(
            refused,
            Err(Error::InUse {
                participants: 1,
                ..
            })
        ),
        "{refused:?}"
    );
    user.kill();
    wait_until("it can be removed", || {
        stage.namespace.unlink_unused("q").is_ok()
    });
    assert!(stage.namespace.list().unwrap().is_empty());
}

// ---- names, owners, modes

#[test]
fn bad_names_are_refused_by_every_way_in() {
    let stage = Stage::new();
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../q",
        "a b",
        "ä",
        "a\0b",
        &"x".repeat(129),
    ] {
        let options = Queue::<Bytes>::options(1).namespace(&stage.namespace);
        for refused in [
            options.create(bad),
            options.open(bad),
            options.open_or_create(bad),
        ] {
            assert!(
                matches!(refused, Err(Error::BadName { .. })),
                "{bad:?}: {refused:?}"
            );
        }
        assert!(
            matches!(stage.namespace.inspect(bad), Err(Error::BadName { .. })),
            "{bad:?}"
        );
        assert!(
            matches!(stage.namespace.unlink(bad), Err(Error::BadName { .. })),
            "{bad:?}"
        );
    }
    for good in ["a", "A-b_c.9", &"x".repeat(128)] {
        let options = Queue::<Bytes>::options(1).namespace(&stage.namespace);
        options.create(good).expect(good);
    }
    assert_eq!(stage.namespace.list().unwrap().len(), 3);
}

#[test]
fn directories_are_made_for_their_owner_alone() {
    let stage = Stage::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let deep = stage.directory.path().join("one").join("two");
    let namespace = Namespace::at(&deep).unwrap();
    let queue = Queue::<Bytes>::options(1).namespace(&namespace);
    let (_named, _nameless) = (queue.create("q").unwrap(), queue.anonymous().unwrap());
    for path in [deep.parent().unwrap(), &deep, &deep.join(".ephemeral")] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    assert_eq!(mode(&deep.join("q")), 0o600);
    let name = format!("trial-{}", std::process::id());
    let named = Namespace::named(&name).unwrap();
    assert_eq!(mode(named.path()), 0o700);
    assert_eq!(mode(named.path().parent().unwrap()), 0o700);
    fs::remove_dir(named.path()).unwrap();
}

#[test]
fn another_user_is_refused() {
    const NOBODY: u32 = 65_534;
    if !Uid::effective().is_root() {
        println!("skipped: only root can act as another user");
        return;
    }
    let stage = Stage::new();
    stage.make(4, 4);
    // The program must be where the other user can run it.
    let program = stage.directory.path().join("puppet");
    fs::copy(PUPPET, &program).unwrap();
    let as_nobody = |commands: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(once(stage.namespace.path(), commands))
            .uid(NOBODY)
            .gid(NOBODY);
        command.stdin(Stdio::null()).output()
    };
    let set_mode = |path: PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(stage.directory.path().into(), 0o755);
    let Ok(output) = as_nobody(&["open q", "create mine 1 1", "unlink q"]) else {
        println!("skipped: the other user cannot run anything here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines() {
        assert!(line.starts_with("err permission denied"), "{line}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");
    // Readable and writable for all by mistake: still refused, as its owner did not share it.
    set_mode(stage.directory.path().join("q"), 0o666);
    let output = as_nobody(&["open q"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("err") && said.contains("belongs to user 0"),
        "{said}"
    );
    assert_eq!(stage.users(), []);
}

// ---- space

/// A memory file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(stage: &Stage, bytes: u64) -> Option<Self> {
        let path = stage.directory.path().join("small");
        fs::create_dir(&path).unwrap();
        let options = format!("size={bytes},mode=0700");
        match mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(&options[..]),
        ) {
            Ok(()) => Some(Self(path)),
            Err(e) => {
                println!("skipped: no file system can be mounted here: {e}");
                None
            }
        }
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.join(".filler")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_file_system_refuses_creation_and_nothing_else() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mount(&stage, 1 << 20) else {
        return;
    };
    let namespace = Namespace::at(&disk.0).unwrap();
    let options = |memory| {
        Queue::<Bytes>::options(16)
            .memory(memory)
            .namespace(&namespace)
    };
    let queue = options(200_000).create("early").unwrap();
    let before = namespace.space().unwrap().available;
    let refused = options(4 << 20).create("too-large");
    let Err(Error::NoSpace {
        needed, available, ..
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert!(needed > 4 << 20, "{needed}");
    assert!(available <= 1 << 20, "{available}");
    let refused = options(4 << 20).anonymous();
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    assert_eq!(
        namespace.list().unwrap(),
        ["early"],
        "nothing is left behind"
    );
    assert_eq!(namespace.leftovers().unwrap(), []);
    assert!(
        namespace.space().unwrap().available + 8192 >= before,
        "nor any space taken"
    );

    disk.fill();
    assert_eq!(namespace.space().unwrap().available, 0);
    let refused = options(0).create("late");
    assert!(
        matches!(refused, Err(Error::NoSpace { available: 0, .. })),
        "{refused:?}"
    );
    // Whoever is there works on, in every byte: a store to a page that the file system lacks would be SIGBUS.
    let longest = Bytes(vec![9; queue.max_message_bytes()]);
    for _ in 0..3 {
        queue.try_put(longest.clone()).unwrap();
        assert_eq!(queue.try_get().unwrap(), longest);
        for n in 0..16 {
            queue.try_put(Bytes(vec![n; 200])).unwrap();
        }
        assert!(matches!(
            queue.try_put(Bytes::default()),
            Err(TryPutError::Full(_))
        ));
        for n in 0..16 {
            assert_eq!(queue.try_get().unwrap(), Bytes(vec![n; 200]));
        }
    }
    // And others can come to it.
    let mut puppet = Puppet::start(PUPPET, &disk.0);
    puppet.must("open early");
    puppet.must("put from another process");
    assert_eq!(
        queue.try_get().unwrap(),
        Bytes::from("from another process")
    );
}

#[test]
fn ten_thousand_objects_live_in_one_namespace() {
    const OBJECTS: usize = 10_000;
    let stage = Stage::new();
    let options = |capacity| {
        let options = Queue::<Bytes>::options(capacity).memory(0).participants(1);
        options.namespace(&stage.namespace)
    };
    let mut begin = Instant::now();
    let whole = begin;
    let mut lap = |what: &str| {
        println!("{what}: {:?} for {OBJECTS}", begin.elapsed());
        begin = Instant::now();
    };
    for i in 0..OBJECTS {
        let queue = options(1).create(&format!("object-{i}")).unwrap();
        queue.try_put(Bytes::from(i.to_string())).unwrap();
    }
    lap("create and put");
    let names = stage.namespace.list().unwrap();
    assert_eq!(names.len(), OBJECTS);
    lap("list");
    for name in &names {
        assert_eq!(stage.namespace.inspect(name).unwrap().queue.unwrap().len, 1);
    }
    lap("inspect");
    for name in &names {
        let queue = options(1).open(name).unwrap();
        let number = name.strip_prefix("object-").unwrap();
        assert_eq!(queue.try_get().unwrap(), Bytes::from(number));
    }
    lap("open and get");
    for name in &names {
        stage.namespace.unlink(name).unwrap();
    }
    lap("unlink");
    assert!(stage.namespace.list().unwrap().is_empty());
    assert!(
        whole.elapsed() < Duration::from_secs(20),
        "{:?}",
        whole.elapsed()
    );
}
