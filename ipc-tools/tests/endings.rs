//! Ctrl-C, readers that go away, disks that are full: no message is lost.

mod support;

use std::{
    fs::File,
    io::{Read, Write},
    process::Stdio,
};

use rustix::process::Signal;
use support::{Shell, end_of, signal, text, until};

fn filled(count: u64) -> Shell {
    let shell = Shell::with_queue("q", 5000);
    let lines: String = (1..=count).map(|n| format!("{n}\n")).collect();
    assert!(
        shell
            .feed(&["queue", "put", "q"], lines.as_bytes())
            .status
            .success()
    );
    shell
}

#[test]
fn head_takes_its_lines_and_the_rest_stays() {
    let shell = filled(3000);
    let output = shell.sh("set -o pipefail; ipc queue get q --all | head -n 1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "1\n");
    assert_eq!(text(&output.stderr), "", "a broken pipe is quiet");
    let output = shell.sh("ipc queue get q --all | head -n 3");
    let taken: Vec<u64> = text(&output.stdout)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    // A reader that has read its last line and not yet ended is given one more, which goes back to the end of the queue.
    let starts = [2..5, 3..6].map(Iterator::collect::<Vec<u64>>);
    assert!(starts.contains(&taken), "{taken:?}");
    let mut all = shell.numbers("q");
    all.extend(taken);
    all.sort_unstable();
    assert_eq!(all, (2..=3000).collect::<Vec<_>>());
}

#[test]
fn head_on_a_closed_queue_loses_nothing_either() {
    let shell = filled(100);
    shell.ok(&["queue", "close", "q"]);
    let output = shell.sh("ipc queue get q --all | head -n 2");
    assert_eq!(text(&output.stdout), "1\n2\n");
    let left = shell.numbers("q");
    let rescued: Vec<String> = list(&shell)
        .into_iter()
        .filter(|name| name != "q")
        .collect();
    let rescued = rescued.iter().flat_map(|name| shell.numbers(name));
    let mut all: Vec<u64> = left.into_iter().chain(rescued).collect();
    all.sort_unstable();
    assert_eq!(all, (3..=100).collect::<Vec<_>>());
}

#[test]
fn a_loop_that_stops_reading_leaves_the_rest() {
    let shell = filled(500);
    let output =
        shell.sh("ipc queue get q --all | while read n; do echo $n; [ $n = 7 ] && break; done");
    assert_eq!(text(&output.stdout), "1\n2\n3\n4\n5\n6\n7\n");
    let mut left = shell.numbers("q");
    left.sort_unstable(); // one may have gone back to the end
    assert_eq!(left, (8..=500).collect::<Vec<_>>());
}

#[test]
fn what_is_unread_in_a_pipe_when_its_reader_goes_comes_back() {
    let shell = filled(4000);
    let mut get = shell.ipc(&["queue", "get", "q", "--all"]).spawn().unwrap();
    let mut stdout = get.stdout.take().unwrap();
    // Beyond the messages that are handed over one by one, up to the middle of one that comes in a batch.
    let lines: String = (1..=2000).map(|n| format!("{n}\n")).collect();
    let mut read = vec![0; lines.len() + 2];
    stdout.read_exact(&mut read).unwrap();
    assert!(read.starts_with(lines.as_bytes()));
    until("the pipe is full or the queue is empty", || {
        shell.len("q") == 0
    });
    drop(stdout);
    assert_eq!(end_of(&mut get).code(), Some(0));
    assert_eq!(shell.numbers("q"), (2001..=4000).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_ends_without_reading_gets_nothing() {
    let shell = filled(5);
    let output = shell.sh("ipc queue get q --count 3 | sleep 0.1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(shell.numbers("q"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_reader_that_waits_for_our_end_gets_its_messages() {
    let shell = filled(5);
    let mut get = shell
        .ipc(&["queue", "get", "q", "--count", "3"])
        .spawn()
        .unwrap();
    assert!(end_of(&mut get).success());
    let mut read = String::new();
    get.stdout
        .take()
        .unwrap()
        .read_to_string(&mut read)
        .unwrap();
    assert_eq!(read, "1\n2\n3\n");
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let shell = filled(10);
    for count in ["1", "5"] {
        let full = File::create("/dev/full").unwrap();
        let output = shell
            .ipc(&["queue", "get", "q", "--count", count])
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("went back"), "{output:?}");
    }
    assert_eq!(shell.numbers("q"), (1..=10).collect::<Vec<_>>());
    for verb in [&["ls"][..], &["stat", "q"], &["completions", "bash"]] {
        let full = File::create("/dev/full").unwrap();
        assert_eq!(
            shell.ipc(verb).stdout(full).status().unwrap().code(),
            Some(1),
            "{verb:?}"
        );
    }
}

#[test]
fn on_a_disk_that_fills_up_later_whole_messages_are_written_or_stay() {
    let shell = filled(5000);
    let output =
        shell.sh("ulimit -f 1; trap '' XFSZ; ipc queue get q --count 5000 > $IPC_DIR/.out");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let written = std::fs::read_to_string(shell.hidden("out")).unwrap();
    assert_eq!(written.len(), 1024);
    // The line that was cut off is in the queue whole.
    let whole = &written[..=written.rfind('\n').unwrap()];
    let mut all: Vec<u64> = whole.lines().map(|line| line.parse().unwrap()).collect();
    assert!(all.len() > 100);
    all.extend(shell.numbers("q"));
    assert_eq!(all, (1..=5000).collect::<Vec<_>>());
}

#[test]
fn what_cannot_go_back_into_a_closed_queue_gets_one_of_its_own() {
    let shell = filled(3);
    shell.ok(&["queue", "close", "q"]);
    let full = File::create("/dev/full").unwrap();
    let output = shell
        .ipc(&["queue", "get", "q", "--all"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let rescued = list(&shell)
        .into_iter()
        .find(|name| name.starts_with("q.rescued-"))
        .unwrap();
    assert!(text(&output.stderr).contains(&rescued), "{output:?}");
    assert_eq!(shell.ok(&["queue", "get", &rescued, "--all"]), "1\n");
    assert_eq!(shell.ok(&["queue", "get", "q", "--all"]), "2\n3\n");
}

#[test]
fn a_get_that_waits_ends_at_ctrl_c_and_loses_nothing() {
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let shell = Shell::with_queue("q", 10);
        let mut get = shell.waiting_get("q");
        signal(&get, number);
        assert_eq!(end_of(&mut get).code(), Some(code));
        shell.ok(&["queue", "put", "q", "1"]);
        assert_eq!(shell.numbers("q"), [1]);
    }
}

#[test]
fn a_get_whose_reader_does_not_read_ends_at_ctrl_c_and_the_message_goes_back() {
    let shell = Shell::with_queue("q", 10);
    let long = "x".repeat(500_000);
    assert!(
        shell
            .feed(&["queue", "put", "q"], long.as_bytes())
            .status
            .success()
    );
    let mut get = shell.ipc(&["queue", "get", "q"]).spawn().unwrap();
    until("the message is taken", || shell.len("q") == 0);
    signal(&get, Signal::INT);
    assert_eq!(end_of(&mut get).code(), Some(130));
    assert_eq!(
        shell.ok(&["queue", "get", "q", "--no-wait"]).trim_end(),
        long
    );
}

#[test]
fn ctrl_c_for_a_whole_pipeline_loses_nothing_that_nobody_read() {
    let shell = filled(50);
    let mut get = shell.ipc(&["queue", "get", "q", "--all"]).spawn().unwrap();
    let mut stdout = get.stdout.take().unwrap();
    let mut first = [0; 2];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"1\n");
    until("the second message is in the pipe", || shell.len("q") == 48);
    signal(&get, Signal::INT);
    drop(stdout);
    assert!(matches!(end_of(&mut get).code(), Some(0 | 130)));
    assert_eq!(shell.numbers("q"), (2..=50).collect::<Vec<_>>());
}

#[test]
fn a_put_that_waits_for_input_ends_at_ctrl_c_and_says_what_it_did() {
    let shell = Shell::with_queue("q", 10);
    let mut put = shell
        .ipc(&["queue", "put", "q"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = put.stdin.take().unwrap();
    stdin.write_all(b"1\n2\nunfinished").unwrap();
    until("two messages are in", || shell.len("q") == 2);
    signal(&put, Signal::INT);
    assert_eq!(end_of(&mut put).code(), Some(130));
    let mut said = String::new();
    put.stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("2 message(s) were put"), "{said}");
    assert_eq!(shell.numbers("q"), [1, 2]);
}

#[test]
fn a_put_that_waits_for_room_ends_at_ctrl_c_and_at_close() {
    let shell = Shell::with_queue("q", 1);
    shell.ok(&["queue", "put", "q", "1"]);
    let sleeps =
        || shell.json(&["stat", "q", "--json"])["objects"][0]["queue"]["has_sleeping_puts"] == true;
    let mut put = shell.ipc(&["queue", "put", "q", "2"]).spawn().unwrap();
    until("the put sleeps", || sleeps() && !shell.who("q").is_empty());
    signal(&put, Signal::TERM);
    assert_eq!(end_of(&mut put).code(), Some(143));
    let mut put = shell.ipc(&["queue", "put", "q", "3"]).spawn().unwrap();
    until("the put waits", || !shell.who("q").is_empty());
    shell.ok(&["queue", "close", "q"]);
    assert_eq!(end_of(&mut put).code(), Some(7));
    assert_eq!(shell.numbers("q"), [1]);
}

#[test]
fn a_get_notices_that_its_reader_is_gone_while_it_waits() {
    let shell = Shell::with_queue("q", 10);
    let mut get = shell.waiting_get("q");
    drop(get.stdout.take());
    assert_eq!(end_of(&mut get).code(), Some(0));
    shell.ok(&["queue", "put", "q", "1"]);
    assert_eq!(shell.numbers("q"), [1]);
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let shell = Shell::with_queue("q", 10);
    let line = "trap '' INT; ipc queue get q & until ipc who q | grep -q ipc; do :; done; \
                kill -INT $!; ipc queue put q a; wait $!";
    let output = shell.sh(line);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "a\n");
}

fn list(shell: &Shell) -> Vec<String> {
    let listing = shell.json(&["ls", "--json"]);
    let objects = listing["objects"].as_array().unwrap();
    objects
        .iter()
        .map(|o| o["name"].as_str().unwrap().to_owned())
        .collect()
}
