//! Queues of another order: last in first out, and by priority.

mod support;

use std::fs::File;

use support::{Shell, text};

fn with(order: &str, capacity: usize) -> Shell {
    let shell = Shell::new();
    let capacity = capacity.to_string();
    shell.ok(&["queue", "create", "q", "--capacity", &capacity, order]);
    shell
}

#[test]
fn the_last_line_in_is_the_first_out() {
    let shell = with("--lifo", 10);
    let put = shell.feed(&["queue", "put", "q"], b"1\n2\n3\n");
    assert!(put.status.success(), "{put:?}");
    assert_eq!(shell.ok(&["queue", "peek", "q"]), "3\n");
    assert_eq!(shell.ok(&["queue", "get", "q", "-c3"]), "3\n2\n1\n");
}

#[test]
fn the_lowest_priority_comes_first_and_equals_in_the_order_of_their_puts() {
    let shell = with("--priority", 10);
    let put = shell.feed(&["queue", "put", "q", "--priority", "5"], b"sweep\ndust\n");
    assert!(put.status.success(), "{put:?}");
    shell.ok(&["queue", "put", "q", "read"]); // 0
    shell.ok(&["queue", "put", "q", "-p", "-1", "put out the fire"]);
    shell.ok(&["queue", "put", "q", "--priority=5", "mop"]);
    shell.ok(&["queue", "close", "q"]);
    assert_eq!(shell.ok(&["queue", "peek", "q"]), "put out the fire\n");
    assert_eq!(
        shell.ok(&["queue", "get", "q", "--all"]),
        "put out the fire\nread\nsweep\ndust\nmop\n"
    );
}

#[test]
fn json_carries_priorities_in_and_out() {
    let shell = with("--priority", 10);
    let lines = b"{\"data\":\"default\"}\n{\"priority\":-7,\"hex\":\"ff\"}\n";
    let put = shell.feed(&["queue", "put", "q", "--json", "-p", "3"], lines);
    assert!(put.status.success(), "{put:?}");
    let first = "{\"schema\":1,\"priority\":-7,\"hex\":\"ff\"}\n";
    assert_eq!(shell.ok(&["queue", "peek", "q", "--json"]), first);
    let both = [
        first,
        "{\"schema\":1,\"priority\":3,\"data\":\"default\"}\n",
    ]
    .concat();
    assert_eq!(shell.ok(&["queue", "get", "q", "--json", "-c2"]), both);
    let output = shell.sh("ipc queue put q -p 9 x; ipc queue get q --json | ipc queue put q --json; ipc queue get q --json");
    let again = "{\"schema\":1,\"priority\":9,\"data\":\"x\"}\n";
    assert_eq!(text(&output.stdout), again, "{output:?}");
}

#[test]
fn a_queue_without_priorities_refuses_one() {
    let shell = Shell::with_queue("q", 10);
    let output = shell.run(&["queue", "put", "q", "--priority", "1", "x"]);
    assert_eq!(output.status.code(), Some(9));
    assert!(text(&output.stderr).contains("no priorities"), "{output:?}");
    let json = b"{\"priority\":1,\"data\":\"x\"}\n";
    let output = shell.feed(&["queue", "put", "q", "--json"], json);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(shell.len("q"), 0);
}

#[test]
fn a_queue_has_one_order_and_keeps_it() {
    let shell = with("--lifo", 10);
    let create = |more: &[&str]| {
        let all = [&["queue", "create", "q", "--capacity", "10"], more].concat();
        shell.code(&all)
    };
    assert_eq!(create(&["--lifo", "--priority"]), 2);
    assert_eq!(create(&["--lifo"]), 4);
    assert_eq!(create(&["--lifo", "--if-missing"]), 0);
    assert_eq!(create(&["--if-missing"]), 9);
    assert_eq!(create(&["--priority", "--if-missing"]), 9);
    shell.ok(&["event", "create", "e"]);
    let output = shell.run(&["queue", "get", "e"]);
    assert_eq!(output.status.code(), Some(9));
    assert!(text(&output.stderr).contains("event"), "{output:?}");
}

#[test]
fn the_exit_codes_are_those_of_any_queue() {
    for order in ["--lifo", "--priority"] {
        let shell = with(order, 1);
        let q = |verb: &str, rest: &[&str]| shell.code(&[&["queue", verb, "q"], rest].concat());
        assert_eq!(q("get", &["--timeout", "20ms"]), 5);
        assert_eq!(q("get", &["--no-wait"]), 6);
        assert_eq!(q("peek", &[]), 6);
        assert_eq!(q("put", &["one"]), 0);
        assert_eq!(q("put", &["one too many", "--timeout", "20ms"]), 5);
        assert_eq!(q("put", &["one too many", "--no-wait"]), 6);
        assert_eq!(q("close", &[]), 0);
        assert_eq!(q("put", &["too late"]), 7);
        assert_eq!(q("get", &["--count", "2"]), 7);
    }
}

#[test]
fn what_did_not_get_through_comes_out_first_again() {
    for (order, left) in [
        ("--lifo", "5\n4\n3\n2\n1\n"),
        ("--priority", "1\n2\n3\n4\n5\n"),
    ] {
        let shell = with(order, 10);
        let put = "for n in 1 2 3 4 5; do ipc queue put q $P $n; done";
        let put = put.replace("$P", if order == "--priority" { "-p $n" } else { "" });
        assert!(shell.sh(&put).status.success());
        let mut get = shell.ipc(&["queue", "get", "q", "--count", "5"]);
        let output = get
            .stdout(File::create("/dev/full").unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("went back"), "{output:?}");
        assert_eq!(shell.ok(&["queue", "get", "q", "-c5"]), left, "{order}");
    }
}

#[test]
fn what_cannot_go_back_is_rescued_into_a_queue_of_the_same_kind() {
    let shell = with("--priority", 10);
    shell.ok(&["queue", "put", "q", "-p", "7", "late"]);
    shell.ok(&["queue", "put", "q", "-p", "2", "soon"]);
    shell.ok(&["queue", "close", "q"]);
    let mut get = shell.ipc(&["queue", "get", "q", "--all"]);
    let output = get
        .stdout(File::create("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let listed = shell.json(&["ls", "--json"]);
    let objects = listed["objects"].as_array().unwrap();
    let rescued = objects.iter().find(|o| o["name"] != "q").unwrap();
    assert_eq!(rescued["kind"], "priority queue");
    let name = rescued["name"].as_str().unwrap();
    let soon = "{\"schema\":1,\"priority\":2,\"data\":\"soon\"}\n";
    assert_eq!(shell.ok(&["queue", "get", name, "--json"]), soon);
}

#[test]
fn ls_and_stat_know_them() {
    for (order, kind) in [("--lifo", "lifo queue"), ("--priority", "priority queue")] {
        let shell = with(order, 3);
        shell.ok(&["queue", "put", "q", "a", "b"]);
        let object = &shell.json(&["stat", "q", "--json"])["objects"][0];
        assert_eq!(object["kind"], kind);
        assert_eq!(object["queue"]["len"], 2);
        let table = shell.ok(&["ls"]);
        assert!(table.contains(kind) && table.contains("2/3"), "{table}");
    }
}

#[test]
fn a_long_stream_goes_through_a_stack_whole() {
    let shell = with("--lifo", 64);
    let line = "seq 20000 | ipc queue put q & ipc queue get q -c 20000 | sort -n | cmp - <(seq 20000) && wait $!";
    let output = shell.sh(line);
    assert!(output.status.success(), "{output:?}");
}
