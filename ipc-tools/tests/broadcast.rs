//! `ipc pub` and `ipc sub`, from process to process.

mod support;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
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

    /// Starts a `sub`, and waits until the lossless broadcast counts so many.
    fn sub(&self, args: &[&str], out: Stdio, count: usize) -> Child {
        let mut command = self.ipc(&[&["sub", "news"], args].concat());
        let child = command.stdout(out).spawn().unwrap();
        let counted = format!("lossless to {count} of ");
        until("it has subscribed", || {
            self.state("news").contains(&counted)
        });
        child
    }
}

#[test]
fn everybody_gets_everything_in_order_and_ends_when_it_is_closed() {
    let shell = Shell::new();
    // Into files: into a pipe they go at the pace of who reads it.
    let out = |n: usize| shell.hidden(&format!("out-{n}"));
    let mut subs: Vec<Child> = (1..=3)
        .map(|n| shell.sub(&[], File::create(out(n)).unwrap().into(), n))
        .collect();
    let lines: String = (0..5000).map(|n| format!("{n}\n")).collect();
    let published = shell.feed(&["pub", "news", "--close"], lines.as_bytes());
    assert!(published.status.success(), "{published:?}");
    for (n, child) in (1..).zip(&mut subs) {
        assert!(end_of(child).success());
        assert_eq!(fs::read_to_string(out(n)).unwrap(), lines);
    }
    assert_eq!(shell.code(&["pub", "news", "late"]), 7);
    assert_eq!(shell.ok(&["sub", "news"]), "");
    shell.ok(&["rm", "news"]);
}

#[test]
fn what_is_still_there_can_be_had_later_and_bytes_are_bytes() {
    let shell = Shell::new();
    shell.ok(&["pub", "news", "--capacity", "3", "a", "b b", "", "d"]);
    let oldest = ["sub", "news", "--oldest"];
    assert_eq!(
        shell.ok(&[&oldest[..], &["--count", "2"]].concat()),
        "b b\n\n"
    );
    let again = shell.run(&[&oldest[..], &["--no-wait"]].concat());
    assert_eq!(
        (again.status.code(), text(&again.stdout)),
        (Some(6), "b b\n\nd\n".to_owned())
    );
    assert_eq!(shell.code(&["sub", "news", "--timeout", "50ms"]), 5);
    let all: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let published = shell.feed(&["pub", "news", "--raw", "--close"], &all);
    assert!(published.status.success(), "{published:?}");
    assert!(
        shell
            .run(&[&oldest[..], &["--raw"]].concat())
            .stdout
            .ends_with(&all)
    );
}

#[test]
fn who_is_too_slow_in_a_lossy_broadcast_is_told() {
    let shell = Shell::new();
    shell.ok(&["pub", "news", "--lossy", "--capacity", "4", "first"]);
    let mut sub = shell.ipc(&["sub", "news", "--oldest"]).spawn().unwrap();
    let mut lines = BufReader::new(sub.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    signal(&sub, Signal::STOP);
    let numbers: String = (0..100).map(|n| format!("{n}\n")).collect();
    let published = shell.feed(&["pub", "news", "--close"], numbers.as_bytes());
    assert!(published.status.success(), "{published:?}");
    signal(&sub, Signal::CONT);
    let received: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(received, ["96", "97", "98", "99"]);
    let output = sub.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "ipc: 96 message(s) were missed\n");
}

#[test]
fn a_publisher_waits_for_a_stopped_subscriber_and_not_for_a_dead_one() {
    let shell = Shell::new();
    let mut sub = shell.sub(&["--capacity", "4"], Stdio::null(), 1);
    signal(&sub, Signal::STOP);
    shell.ok(&["pub", "news", "1", "2", "3", "4"]);
    let late = shell.run(&["pub", "news", "5", "--timeout", "50ms"]);
    assert_eq!(late.status.code(), Some(5), "{late:?}");
    assert_eq!(shell.code(&["pub", "news", "5", "--no-wait"]), 6);
    let mut waiting = shell
        .ipc(&["pub", "news"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    waiting.stdin.take().unwrap().write_all(b"5\n6\n").unwrap();
    signal(&sub, Signal::KILL);
    end_of(&mut sub);
    assert!(end_of(&mut waiting).success());
    assert_eq!(
        shell.run(&["sub", "news", "--oldest", "--no-wait"]).stdout,
        b"3\n4\n5\n6\n"
    );
}

#[test]
fn the_other_tools_know_it() {
    let shell = Shell::new();
    let mut sub = shell.sub(&[], Stdio::null(), 1);
    let seen = shell.ok(&["stat", "news"]);
    assert!(seen.contains("kind            broadcast\n"), "{seen}");
    assert!(seen.contains("1 reading"), "{seen}");
    let who = shell.json(&["who", "news", "--json"]);
    assert!(who.to_string().contains(&sub.id().to_string()), "{who}");
    assert!(shell.ok(&["ls"]).contains("broadcast"));
    signal(&sub, Signal::KILL);
    end_of(&mut sub);
    assert_eq!(shell.code(&["doctor"]), 10);
    shell.ok(&["doctor", "--fix"]);
    assert!(shell.state("news").contains("lossless to 0 of 64"));
}

#[test]
fn a_broadcast_of_another_sort_is_refused() {
    let shell = Shell::new();
    shell.ok(&["pub", "exact", "--subscribers", "1", "x"]);
    assert_eq!(shell.code(&["sub", "exact", "--lossy", "--no-wait"]), 9);
    let mut only = shell.ipc(&["sub", "exact"]).spawn().unwrap();
    until("it has subscribed", || {
        shell.state("exact").contains("lossless to 1 of 1")
    });
    assert_eq!(shell.code(&["sub", "exact"]), 6);
    signal(&only, Signal::TERM);
    assert_eq!(end_of(&mut only).code(), Some(143));
    shell.ok(&["queue", "create", "q", "--capacity", "1"]);
    assert_eq!(shell.code(&["pub", "q", "x"]), 9);
    assert_eq!(
        shell.code(&["pub", "exact", "--lossy", "--lossless", "x"]),
        2
    );
}
