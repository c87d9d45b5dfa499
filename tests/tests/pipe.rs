//! Pipes between real processes, which are killed, stopped, forked and executed.
//!
//! Bounds are generous, for busy machines; what is promised is about 100 ms behind the kernel's exit.

use std::fs;
use std::io::Read;
use std::time::Duration;

use ipc_core::{
    Bytes, Connection, Namespace, ParticipantState, Pipe, RecvError, RecvTimeoutError, SendError,
    TakeError, WaitStrategy,
};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SHORTLY: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// A duplex pipe by name. This process has it open; nobody has an end.
struct Stage {
    pipe: Pipe<Bytes>,
    namespace: Namespace,
    _directory: TrialDirectory,
}

impl Stage {
    fn new(capacity: usize) -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let namespace = Namespace::at(directory.path()).expect("a namespace");
        let options = Pipe::options().capacity(capacity).wait(WaitStrategy::Sleep);
        Self {
            pipe: options.namespace(&namespace).create("pipe").unwrap(),
            namespace,
            _directory: directory,
        }
    }

    /// A puppet that has done this.
    fn after(&self, command: &str) -> Puppet {
        let mut puppet = Puppet::start(PUPPET, self.namespace.path());
        puppet.must(command);
        puppet
    }

    /// This process's end, and a puppet that has the other.
    fn peers(capacity: usize) -> (Self, Connection<Bytes>, Puppet) {
        let stage = Self::new(capacity);
        let first = stage.pipe.first().unwrap();
        let puppet = stage.after("pipe second");
        (stage, first, puppet)
    }

    fn wait_for_a_sleeper(&self, puppet: &Puppet) {
        let path = format!("/proc/{}/syscall", puppet.pid());
        wait_until("the puppet sleeps", || {
            fs::read_to_string(&path).is_ok_and(|s| s.starts_with("202 "))
        });
    }

    fn dead(&self) -> usize {
        let seen = self.namespace.inspect("pipe").unwrap().participants;
        let dead = seen.iter().filter(|p| p.state == ParticipantState::Dead);
        dead.count()
    }
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.0).unwrap()
}

#[test]
fn what_was_sent_comes_before_the_end_of_file_when_the_peer_closes() {
    let (_stage, mut first, mut puppet) = Stage::peers(1024);
    assert_eq!(first.peer(), Some(puppet.pid()));
    puppet.must("pipe send one");
    puppet.must("pipe send two");
    puppet.must("pipe close");
    assert_eq!(text(first.recv().unwrap()), "one");
    assert_eq!(text(first.recv().unwrap()), "two");
    assert!(matches!(first.recv(), Err(RecvError::EndOfFile)));
    assert!(matches!(
        first.send("x".into()),
        Err(SendError::BrokenPipe(_))
    ));
    assert_eq!(first.peer(), None);
}

#[test]
fn what_was_sent_comes_before_the_end_of_file_when_the_peer_is_killed() {
    let (stage, mut first, mut puppet) = Stage::peers(1024);
    puppet.must("pipe send one");
    puppet.kill();
    assert_eq!(text(first.recv().unwrap()), "one");
    assert!(matches!(
        first.recv_timeout(LONG),
        Err(RecvTimeoutError::Failed(RecvError::EndOfFile))
    ));
    assert!(matches!(
        first.send("x".into()),
        Err(SendError::BrokenPipe(_))
    ));
    assert_eq!(stage.dead(), 0);
}

#[test]
fn who_sleeps_in_a_receive_learns_that_its_peer_was_killed() {
    let stage = Stage::new(1024);
    let mut reader = stage.after("pipe first");
    let mut writer = stage.after("pipe second");
    reader.tell("pipe recv");
    stage.wait_for_a_sleeper(&reader);
    writer.kill();
    assert_eq!(reader.answer(), "err EndOfFile");
}

#[test]
fn who_sleeps_in_a_send_learns_that_its_peer_was_killed() {
    let stage = Stage::new(1024);
    let mut writer = stage.after("pipe first");
    let mut reader = stage.after("pipe second");
    writer.must("pipe fill message");
    writer.tell("pipe send another");
    stage.wait_for_a_sleeper(&writer);
    reader.kill();
    assert!(writer.answer().contains("broken pipe"));
}

#[test]
fn a_sleeper_is_woken_by_each_message_and_by_each_room() {
    let stage = Stage::new(64);
    let mut one = stage.after("pipe first");
    let mut other = stage.after("pipe second");
    for _ in 0..20 {
        one.tell("pipe recv");
        stage.wait_for_a_sleeper(&one);
        other.must("pipe send wake");
        assert_eq!(one.answer(), "ok wake");
        other.must("pipe fill full");
        other.tell("pipe send more");
        stage.wait_for_a_sleeper(&other);
        for _ in 0..4 {
            assert_eq!(one.must("pipe recv"), "full");
        }
        assert_eq!(other.answer(), "ok");
        assert_eq!(one.must("pipe recv"), "more");
    }
}

#[test]
fn two_processes_are_not_at_one_end() {
    let (stage, mut first, mut puppet) = Stage::peers(1024);
    let pid = puppet.pid();
    assert!(matches!(stage.pipe.second(), Err(TakeError::InUse { pid: at }) if at == pid));
    let mut third = Puppet::start(PUPPET, stage.namespace.path());
    let refused = third.ask("pipe first");
    assert!(
        refused.contains(&format!("process {}'s", std::process::id())),
        "{refused}"
    );
    puppet.kill();
    third.must("pipe second"); // it proves the death itself
    third.must("pipe send successor");
    assert_eq!(text(first.recv().unwrap()), "successor");
}

#[test]
fn a_stopped_process_keeps_its_end() {
    let (stage, mut first, mut puppet) = Stage::peers(1024);
    puppet.signal(Signal::SIGSTOP);
    assert!(matches!(
        first.recv_timeout(SHORTLY),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(matches!(stage.pipe.second(), Err(TakeError::InUse { .. })));
    first.send("patience".into()).unwrap();
    puppet.signal(Signal::SIGCONT);
    assert_eq!(puppet.must("pipe recv"), "patience");
}

#[test]
fn an_end_goes_from_process_to_process() {
    let (_stage, mut first, mut puppet) = Stage::peers(1024);
    first.send("for whoever has it".into()).unwrap();
    let ticket = puppet.must("pipe ticket");
    let mut other = Puppet::start(PUPPET, _stage.namespace.path());
    other.must(&format!("pipe redeem {ticket}"));
    assert_eq!(other.must("pipe recv"), "for whoever has it");
    let refused = puppet.ask("pipe send mine");
    assert!(
        refused.contains(&format!("process {}'s", other.pid())),
        "{refused}"
    );
    puppet.kill();
    first.send("still there".into()).unwrap();
    assert_eq!(other.must("pipe recv"), "still there");
}

#[test]
fn an_end_that_nobody_took_goes_with_who_sent_it() {
    let (_stage, mut first, mut puppet) = Stage::peers(1024);
    let ticket = puppet.must("pipe ticket");
    puppet.must("pipe close");
    assert!(matches!(
        first.recv_timeout(SHORTLY),
        Err(RecvTimeoutError::Timeout)
    ));
    puppet.kill();
    assert!(matches!(first.recv(), Err(RecvError::EndOfFile)));
    assert!(serde_json::from_str::<Connection<Bytes>>(&ticket).is_err());
}

#[test]
fn an_anonymous_pipe_goes_from_its_maker_to_a_child() {
    let stage = Stage::new(1024);
    let options = Pipe::<Bytes>::options().namespace(&stage.namespace);
    let (mut ours, theirs) = options.duplex().unwrap();
    let mut puppet = Puppet::start(PUPPET, stage.namespace.path());
    puppet.must(&format!(
        "pipe redeem {}",
        serde_json::to_string(&theirs).unwrap()
    ));
    drop(theirs);
    ours.send("hello".into()).unwrap();
    assert_eq!(puppet.must("pipe recv"), "hello");
    puppet.kill();
    assert!(matches!(ours.recv(), Err(RecvError::EndOfFile)));
    drop(ours);
    assert!(stage.namespace.leftovers().unwrap().is_empty());
}

#[test]
fn a_forked_child_neither_uses_nor_closes_its_parents_end() {
    let (_stage, mut first, mut puppet) = Stage::peers(1024);
    first.send("for the parent".into()).unwrap();
    for command in ["pipe send x", "pipe recv", "pipe ticket"] {
        let refused = puppet.ask(&format!("fork-and {command}"));
        assert!(refused.starts_with("err"), "{command}: {refused}");
    }
    let refused = puppet.ask("fork-and pipe recv");
    assert!(refused.contains(&puppet.pid().to_string()), "{refused}");
    puppet.must("fork-and pipe close");
    puppet.must("pipe send from the parent");
    assert_eq!(text(first.recv().unwrap()), "from the parent");
    assert_eq!(puppet.must("pipe recv"), "for the parent");
}

#[test]
fn a_child_does_not_keep_the_end_of_its_dead_parent_open() {
    let (_stage, mut first, mut puppet) = Stage::peers(1024);
    let child = puppet.must("fork-hold pipe peer").parse().unwrap();
    puppet.kill();
    assert!(matches!(first.recv(), Err(RecvError::EndOfFile)));
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
}

#[test]
fn an_end_does_not_outlive_an_exec() {
    let (_stage, mut first, mut puppet) = Stage::peers(1024);
    assert_eq!(puppet.ask("exec"), "ok hello");
    assert!(matches!(first.recv(), Err(RecvError::EndOfFile)));
    puppet.must("pipe second");
    puppet.must("pipe send again");
    assert_eq!(text(first.recv().unwrap()), "again");
}

#[test]
fn a_stream_of_some_mebibytes_arrives_as_it_was_written() {
    let stage = Stage::new(64 << 10);
    let mut writer = stage.after("pipe first");
    let mut reader = stage.after("pipe second");
    reader.tell("pipe read");
    let written = writer.must(&format!("pipe write {}", 8 << 20));
    writer.must("pipe close");
    let read = reader.answer();
    assert_eq!(read.rsplit(' ').next(), Some(written.as_str()), "{read}");
}

#[test]
fn a_stream_ends_where_its_writer_was_killed() {
    let stage = Stage::new(4 << 10);
    let mut reader = stage.pipe.first().unwrap();
    let mut writer = stage.after("pipe second");
    writer.tell(&format!("pipe write {}", 64 << 20));
    let mut buffer = vec![0; 100_000];
    reader.read_exact(&mut buffer).unwrap();
    writer.kill();
    reader.read_to_end(&mut buffer).unwrap();
    let mut again = stage.after("pipe second");
    again.tell(&format!("pipe write {}", buffer.len()));
    let mut expected = vec![0; buffer.len()];
    reader.read_exact(&mut expected).unwrap();
    assert!(buffer == expected, "{} bytes", buffer.len());
}
