//! Listeners and clients that are real processes, which are killed at each step of their meeting.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use ipc_core::{
    AcceptError, AcceptTimeoutError, Bytes, Client, ConnectError, Error, Event, Listener,
    Namespace, PeerError, RecvError, SendError,
};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const LONG: Duration = Duration::from_secs(20);

struct Stage {
    namespace: Namespace,
    directory: TrialDirectory,
}

impl Stage {
    fn new() -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        Self {
            namespace: Namespace::at(directory.path()).expect("a namespace"),
            directory,
        }
    }

    fn bind(&self) -> Listener<Bytes> {
        let options = Listener::options().namespace(&self.namespace);
        options.bind("here").unwrap()
    }

    fn connect(&self) -> Result<Client<Bytes>, ConnectError> {
        let options = Client::options().namespace(&self.namespace);
        options.connect_timeout("here", LONG)
    }

    /// A puppet that has done all this.
    fn after(&self, commands: &[&str]) -> Puppet {
        let mut puppet = Puppet::start(PUPPET, self.namespace.path());
        for command in commands {
            puppet.must(command);
        }
        puppet
    }

    fn sockets(&self) -> usize {
        let dir = self.namespace.path().join(".listeners");
        fs::read_dir(dir).unwrap().count()
    }

    /// Pipes, in use or forgotten.
    fn nameless(&self) -> usize {
        let dir = self.namespace.path().join(".ephemeral");
        fs::read_dir(dir).map_or(0, Iterator::count)
    }
}

/// What the next peer did wrong, which must be this process.
fn next_error(listener: &Listener<Bytes>, puppet: &Puppet) -> PeerError {
    match listener.accept_timeout(LONG) {
        Err(AcceptTimeoutError::Failed(AcceptError::Peer { peer, error })) => {
            assert_eq!(peer.pid, puppet.pid());
            error
        }
        other => panic!("{other:?}"),
    }
}

/// `pid uid gid` of a process like this one.
fn like_us(pid: u32) -> String {
    format!("{pid} {} {}", geteuid(), getegid())
}

#[test]
fn both_sides_know_each_other_from_the_kernel() {
    let stage = Stage::new();
    let mut listener = stage.after(&["listener bind"]);
    let mut client = stage.after(&[]);
    client.tell("listener connect");
    assert_eq!(listener.must("listener accept"), like_us(client.pid()));
    let theirs = client.answer();
    assert_eq!(theirs, format!("ok {}", like_us(listener.pid())));
    client.must("listener send hello");
    assert_eq!(listener.must("listener recv"), "hello");
    listener.must("listener send hello, too");
    listener.must("listener close");
    assert_eq!(client.must("listener recv"), "hello, too");
    assert_eq!(client.ask("listener recv"), "err EndOfFile");
}

#[test]
fn another_user_is_seen_as_what_it_is() {
    if !geteuid().is_root() {
        eprintln!("only root can become somebody else");
        return;
    }
    const USER: u32 = 54_321;
    const GROUP: u32 = 54_322;
    let stage = Stage::new();
    nix::unistd::chown(stage.directory.path(), None, Some(GROUP.into())).unwrap();
    let mode = fs::Permissions::from_mode(0o2770);
    fs::set_permissions(stage.directory.path(), mode).unwrap();
    // It cannot come to the program where that is built.
    let program = stage.directory.path().join(".puppet");
    // By another process: one that this one forks meanwhile must not have it open to write.
    let copied = Command::new("cp").arg(PUPPET).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut puppet = Command::new(&program);
    puppet.arg(stage.directory.path()).uid(USER).gid(GROUP);
    let mut other = Puppet::start_as(&mut puppet).unwrap();
    let us = like_us(std::process::id());

    // What is ours alone is refused.
    let ours_alone = stage.bind();
    let refused = other.ask("listener connect");
    assert!(
        refused.contains("PermissionDenied") || refused.contains("ForeignOwner"),
        "{refused}"
    );
    drop(ours_alone);

    let options = Listener::<Bytes>::options().namespace(&stage.namespace);
    let options = options.mode(0o660).group(GROUP);
    let listener = options.bind("here").unwrap();
    other.tell("listener connect");
    let mut accepted = listener.accept_timeout(LONG).unwrap();
    let found = accepted.peer;
    assert_eq!(
        (found.pid, found.uid, found.gid),
        (other.pid(), USER, GROUP)
    );
    assert_eq!(other.answer(), format!("ok {us}"));
    accepted.connection.send("welcome".into()).unwrap();
    assert_eq!(other.must("listener recv"), "welcome");
}

/// What a client that is killed may have done by then.
const STEPS: [&str; 4] = [
    "listener raw-connect",
    "listener raw-say bytes",
    "listener raw-hear",
    "listener raw-say ready",
];

#[test]
fn a_client_killed_at_any_step_is_one_error_and_leaves_nothing() {
    for steps in 1..STEPS.len() {
        let stage = Stage::new();
        let listener = stage.bind();
        let mut client = stage.after(&STEPS[..1]);
        for (at, step) in STEPS.iter().enumerate().take(steps).skip(1) {
            if *step == "listener raw-hear" {
                client.tell(step);
                let nothing_yet = listener.accept_timeout(Duration::from_millis(20));
                assert!(matches!(nothing_yet, Err(AcceptTimeoutError::Timeout)));
                assert_eq!(client.answer(), "ok 1 1 36", "step {at}");
            } else {
                client.must(step);
            }
        }
        client.kill();
        assert_eq!(next_error(&listener, &client), PeerError::HungUp, "{steps}");
        assert_eq!(stage.nameless(), 0, "{steps}");
        let mut good = stage.after(&[]);
        good.tell("listener connect");
        let mut accepted = listener.accept_timeout(LONG).unwrap();
        good.answer();
        accepted.connection.send("next".into()).unwrap();
        assert_eq!(good.must("listener recv"), "next");
    }
}

#[test]
fn a_client_that_says_it_is_ready_and_is_not_ends_like_one_that_died() {
    let stage = Stage::new();
    let listener = stage.bind();
    let mut client = stage.after(&STEPS[..2]);
    client.tell(STEPS[2]);
    let nothing_yet = listener.accept_timeout(Duration::from_millis(20));
    assert!(matches!(nothing_yet, Err(AcceptTimeoutError::Timeout)));
    client.answer();
    client.must(STEPS[3]);
    let mut accepted = listener.accept_timeout(LONG).unwrap();
    assert_eq!(accepted.peer.pid, client.pid());
    // It has not taken its end: whoever accepted can close that.
    assert!(accepted.connection.close_untaken_peer().unwrap());
    assert!(matches!(
        accepted.connection.recv(),
        Err(RecvError::EndOfFile)
    ));
}

#[test]
fn a_client_killed_later_is_the_end_of_its_pipe_only() {
    let stage = Stage::new();
    let listener = stage.bind();
    let mut clients: Vec<_> = (0..2).map(|_| stage.after(&[])).collect();
    let mut accepted: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.tell("listener connect");
            let accepted = listener.accept_timeout(LONG).unwrap();
            client.answer();
            accepted.connection
        })
        .collect();
    clients[0].kill();
    assert!(matches!(accepted[0].recv(), Err(RecvError::EndOfFile)));
    let unsent = accepted[0].send("x".into());
    assert!(matches!(unsent, Err(SendError::BrokenPipe(_))));
    clients[1].must("listener send alive");
    assert_eq!(accepted[1].recv().unwrap(), "alive".into());
}

#[test]
fn when_a_listener_is_killed_connecting_is_refused_and_its_name_is_free() {
    let stage = Stage::new();
    let mut old = stage.after(&["listener bind"]);
    let taken = Listener::<Bytes>::options().namespace(&stage.namespace);
    assert!(matches!(taken.bind("here"), Err(Error::InUse { .. })));
    old.signal(Signal::SIGSTOP); // a stopped one is alive
    assert!(matches!(taken.bind("here"), Err(Error::InUse { .. })));
    assert!(stage.namespace.leftovers().unwrap().is_empty());
    old.kill();
    let refused = Client::<Bytes>::options()
        .namespace(&stage.namespace)
        .connect("here");
    assert!(
        matches!(refused, Err(ConnectError::NotListening { .. })),
        "{refused:?}"
    );
    assert_eq!(stage.sockets(), 1);
    let listener = stage.bind();
    assert_eq!(stage.sockets(), 1, "the dead one's is gone");
    thread::scope(|scope| {
        let client = scope.spawn(|| stage.connect().unwrap());
        listener.accept_timeout(LONG).unwrap();
        client.join().unwrap();
    });
}

#[test]
fn a_dead_listeners_name_and_socket_are_collected() {
    let stage = Stage::new();
    let event = Event::options().namespace(&stage.namespace);
    let event = event.create("event").unwrap();
    drop(event); // nobody uses it, and it stays
    let mut old = stage.after(&["listener bind"]);
    assert_eq!(stage.namespace.collect().unwrap().removed.len(), 0);
    assert_eq!(stage.sockets(), 1);
    old.kill();
    assert_eq!(stage.namespace.collect().unwrap().removed.len(), 2);
    assert_eq!(stage.sockets(), 0);
    assert_eq!(stage.namespace.list().unwrap(), ["event"]);
    assert_eq!(stage.namespace.leftovers().unwrap(), []);
}

#[test]
fn a_client_that_waits_for_a_killed_listener_is_told_or_finds_the_next() {
    let stage = Stage::new();
    let mut old = stage.after(&["listener bind"]);
    let mut one = stage.after(&[]);
    let mut other = stage.after(&[]);
    one.tell("listener connect");
    other.tell("listener connect 20000");
    let is_connected = |puppet: &Puppet| {
        // It sleeps until its listener answers: in poll.
        fs::read_to_string(format!("/proc/{}/syscall", puppet.pid()))
            .is_ok_and(|s| s.starts_with(&format!("{} ", libc::SYS_poll)))
    };
    wait_until("both wait for an answer", || {
        is_connected(&one) && is_connected(&other)
    });
    old.kill();
    let refused = one.answer();
    assert!(refused.starts_with("err NotListening"), "{refused}");
    let listener = stage.bind();
    let accepted = listener.accept_timeout(LONG).unwrap();
    assert_eq!(accepted.peer.pid, other.pid());
    other.answer();
}

#[test]
fn a_forked_child_does_not_keep_its_parents_listener_alive() {
    let stage = Stage::new();
    let mut holder = stage.after(&["listener bind"]);
    let refused = holder.ask("fork-and listener accept");
    assert!(refused.contains("another process"), "{refused}");
    // Its copy goes without taking anything along.
    holder.must("fork-and listener close-listener");
    let child = holder.must("fork-hold listener close");
    let mut client = stage.after(&[]);
    client.tell("listener connect");
    assert_eq!(holder.must("listener accept"), like_us(client.pid()));
    client.answer();
    holder.kill();
    let alive = fs::exists(format!("/proc/{child}")).unwrap();
    assert!(alive, "the child still has the socket open");
    let refused = client.ask("listener connect");
    assert!(refused.starts_with("err NotListening"), "{refused}");
    drop(stage.bind());
    let child = nix::unistd::Pid::from_raw(child.parse().unwrap());
    nix::sys::signal::kill(child, Signal::SIGKILL).unwrap();
}

#[test]
fn a_hundred_clients_each_have_their_own_pipe() {
    let stage = Stage::new();
    let listener = stage.bind();
    let commands = ["listener connect 20000", "listener recv"];
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut puppet = Puppet::start(PUPPET, stage.namespace.path());
            puppet.tell(commands[0]);
            puppet
        })
        .collect();
    let mut accepted: Vec<_> = (0..100)
        .map(|_| listener.accept_timeout(LONG).unwrap())
        .collect();
    for one in &mut accepted {
        let text = format!("for {}", one.peer.pid);
        one.connection.send(text.into()).unwrap();
    }
    for mut client in clients {
        client.answer();
        assert_eq!(client.must(commands[1]), format!("for {}", client.pid()));
    }
    drop(accepted);
    assert_eq!(stage.nameless(), 0);
}

/// Kills clients wherever they are while they connect and leave, for some time.
#[test]
fn clients_that_are_killed_anywhere_harm_nobody() {
    let stage = Stage::new();
    let listener = stage.bind();
    let mut random = Random::new(11);
    let (mut met, mut failed) = (0, 0);
    for _ in 0..60 {
        let mut victim = stage.after(&[]);
        victim.tell("listener connect-for-ever");
        let count = random.below(4);
        let mut seen = 0;
        while seen <= count {
            match listener.accept_timeout(LONG) {
                Ok(_) => seen += 1,
                Err(e) => panic!("{e}"),
            }
        }
        thread::sleep(Duration::from_micros(random.below(400)));
        victim.kill();
        // What it began is over, one way or the other.
        loop {
            match listener.try_accept() {
                Ok(mut late) => {
                    met += 1;
                    assert!(matches!(late.connection.recv(), Err(RecvError::EndOfFile)));
                }
                Err(ipc_core::TryAcceptError::Nobody) => break,
                Err(ipc_core::TryAcceptError::Failed(AcceptError::Peer { error, .. })) => {
                    failed += 1;
                    assert_eq!(error, PeerError::HungUp);
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
    eprintln!("{met} were accepted after their death, {failed} were not");
    stage.namespace.collect().unwrap();
    assert_eq!(stage.nameless(), 0);
    thread::scope(|scope| {
        let client = scope.spawn(|| stage.connect().unwrap());
        listener.accept_timeout(LONG).unwrap();
        client.join().unwrap();
    });
}

/// Kills listeners wherever they are while a client connects again and again.
#[test]
fn listeners_that_are_killed_anywhere_are_replaced() {
    let stage = Stage::new();
    let mut random = Random::new(12);
    let mut client = stage.after(&[]);
    for _ in 0..40 {
        let mut victim = stage.after(&[]);
        victim.must("listener bind");
        victim.tell("listener accept");
        client.tell("listener connect 20000");
        thread::sleep(Duration::from_micros(random.below(1500)));
        victim.kill();
        let mut next = stage.after(&["listener bind"]);
        next.tell("listener accept");
        let answer = client.answer();
        if answer == format!("ok {}", like_us(next.pid())) {
            next.answer();
            next.must("listener send hello");
            assert_eq!(client.must("listener recv"), "hello");
        } else {
            assert_eq!(answer, format!("ok {}", like_us(victim.pid())));
            assert_eq!(client.ask("listener recv"), "err EndOfFile");
        }
    }
    stage.namespace.collect().unwrap();
    assert_eq!(stage.namespace.leftovers().unwrap(), []);
}

/// Kills who binds and closes, again and again, wherever it is.
#[test]
fn a_name_is_free_wherever_its_listener_was_killed() {
    let stage = Stage::new();
    let mut random = Random::new(13);
    let mut left = [0; 2];
    for _ in 0..60 {
        let mut victim = stage.after(&["listener bind", "listener close-listener"]);
        victim.tell("listener bind-for-ever");
        thread::sleep(Duration::from_micros(random.below(3000)));
        victim.kill();
        let names = stage.namespace.list().unwrap().len();
        left[0] += names;
        left[1] += stage.sockets();
        let refused = Client::<Bytes>::options()
            .namespace(&stage.namespace)
            .connect("here");
        assert!(matches!(refused, Err(ConnectError::NotListening { .. })));
        drop(stage.bind());
        assert!(stage.namespace.list().unwrap().is_empty());
        // A socket stays only where its file had gone; nobody connects there.
        stage.namespace.collect().unwrap();
        assert_eq!(stage.sockets(), 0);
    }
    eprintln!("{} names and {} sockets were left", left[0], left[1]);
    assert!(left[0] > 0, "nobody was killed while it listened");
}
