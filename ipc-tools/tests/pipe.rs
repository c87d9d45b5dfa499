//! `ipc pipe`, from process to process.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use rustix::process::Signal;
use support::{Shell, end_of, signal, text, until};

impl Shell {
    /// What `ipc ls` says of it; nothing while there is no such object.
    fn state(&self, name: &str) -> String {
        let objects = self.json(&["ls", "--json"]);
        let mut objects = objects["objects"].as_array().unwrap().iter();
        let object = objects.find(|object| object["name"] == name);
        let state = object.map(|object| object["sync"]["state"].as_str().unwrap());
        state.unwrap_or_default().to_owned()
    }

    fn has_receiver(&self, name: &str) -> bool {
        self.state(name).contains("receiver slot")
    }

    fn has(&self, name: &str) -> bool {
        !self.state(name).is_empty()
    }
}

#[test]
fn lines_go_through_in_order_whoever_comes_first_and_the_pipe_goes_with_the_last() {
    let shell = Shell::new();
    for line in [
        "ipc pipe recv log | cmp - <(seq 100000) & seq 100000 | ipc pipe send log && wait $!",
        "seq 1000 | ipc pipe send log && ipc pipe recv log | cmp - <(seq 1000)",
        "seq 10 | ipc pipe send log && ipc pipe recv log --keep | cmp - <(seq 10) && ipc rm log",
    ] {
        let output = shell.sh(line);
        assert!(output.status.success(), "{line}: {output:?}");
        assert!(!shell.has("log"), "{line}");
    }
}

#[test]
fn messages_can_be_arguments_and_bytes() {
    let shell = Shell::new();
    shell.ok(&["pipe", "send", "p", "a b", ""]);
    assert_eq!(shell.ok(&["pipe", "recv", "p", "--count", "1"]), "a b\n");
    assert_eq!(shell.ok(&["pipe", "recv", "p"]), "\n");
    let all: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let sent = shell.feed(&["pipe", "send", "p", "--raw"], &all);
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(shell.run(&["pipe", "recv", "p", "--raw"]).stdout, all);
}

#[test]
fn one_process_has_an_end_at_a_time() {
    let shell = Shell::new();
    let mut first = shell
        .ipc(&["pipe", "recv", "p"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("it has the end", || shell.has_receiver("p"));
    let second = shell.run(&["pipe", "recv", "p"]);
    assert_eq!(second.status.code(), Some(6), "{second:?}");
    assert!(text(&second.stderr).contains(&first.id().to_string()));
    shell.ok(&["pipe", "send", "p", "x"]);
    assert!(end_of(&mut first).success());
    assert_eq!(shell.code(&["pipe", "recv", "p", "--no-wait"]), 6);
    assert_eq!(shell.code(&["pipe", "recv", "p", "--timeout", "50ms"]), 5);
}

#[test]
fn what_a_killed_sender_had_sent_comes_and_then_the_end() {
    let shell = Shell::new();
    let mut recv = shell
        .ipc(&["pipe", "recv", "p"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut send = shell
        .ipc(&["pipe", "send", "p"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    send.stdin
        .as_mut()
        .unwrap()
        .write_all(b"one\ntwo\n")
        .unwrap();
    let mut lines = BufReader::new(recv.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    signal(&send, Signal::KILL);
    assert!(!end_of(&mut send).success());
    assert!(lines.next().is_none());
    assert!(end_of(&mut recv).success());
}

#[test]
fn a_sender_ends_when_its_receiver_was_killed_and_the_next_one_gets_the_rest() {
    let shell = Shell::new();
    shell.ok(&["pipe", "create", "p", "--capacity", "4KiB"]);
    let mut recv = shell
        .ipc(&["pipe", "recv", "p"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("it has the end", || shell.has_receiver("p"));
    signal(&recv, Signal::STOP); // so that the pipe fills up
    let mut send = shell
        .ipc(&["pipe", "send", "p"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = send.stdin.take().unwrap();
    let numbers: String = (0..2000).map(|n| format!("{n}\n")).collect();
    let feeder = std::thread::spawn(move || stdin.write_all(numbers.as_bytes()));
    until("some is sent", || {
        !shell.state("p").starts_with("0 messages")
    });
    signal(&recv, Signal::KILL);
    end_of(&mut recv);
    assert_eq!(end_of(&mut send).code(), Some(7));
    let _ = feeder.join().unwrap(); // it may not have got rid of all
    let rest = shell.ok(&["pipe", "recv", "p"]);
    let rest: Vec<u64> = rest.lines().map(|line| line.parse().unwrap()).collect();
    assert!(!rest.is_empty() && rest.is_sorted(), "{rest:?}");
    let next = rest[0] + rest.len() as u64 - 1;
    assert_eq!(*rest.last().unwrap(), next, "one after the other");
}

#[test]
fn two_cats_talk_both_ways() {
    let shell = Shell::new();
    let line = "seq 200000 > in; (ipc pipe cat talk < in > one; echo one $? >> codes) & \
                (echo hello | ipc pipe cat talk > two; echo two $? >> codes); wait; \
                cmp one <(echo hello) && cmp two in && sort codes";
    let output = shell.sh(&format!("cd {} && {line}", shell.dir().display()));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "one 0\ntwo 0\n");
    assert!(!shell.has("talk"));
}

#[test]
fn a_pipe_of_another_sort_is_refused() {
    let shell = Shell::new();
    shell.ok(&["pipe", "create", "duplex", "--duplex"]);
    assert_eq!(shell.code(&["pipe", "recv", "duplex"]), 9);
    shell.ok(&["pipe", "create", "simplex"]);
    assert_eq!(shell.code(&["pipe", "cat", "simplex"]), 9);
    assert_eq!(shell.code(&["pipe", "create", "simplex"]), 4);
    shell.ok(&["queue", "create", "q", "--capacity", "1"]);
    assert_eq!(shell.code(&["pipe", "send", "q", "x"]), 9);
}
