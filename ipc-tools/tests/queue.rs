//! Messages in, messages out.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use support::{Shell, end_of, text};

#[test]
fn lines_come_out_as_they_went_in_also_empty_ones() {
    let shell = Shell::with_queue("q", 10);
    assert!(
        shell
            .feed(&["queue", "put", "q"], b"one\n\n two \nlast")
            .status
            .success()
    );
    assert_eq!(
        shell.ok(&["queue", "get", "q", "--count", "4"]),
        "one\n\n two \nlast\n"
    );
    assert!(shell.feed(&["queue", "put", "q"], b"").status.success());
    assert_eq!(shell.len("q"), 0);
}

#[test]
fn a_long_stream_goes_through_in_order() {
    let shell = Shell::with_queue("q", 1024);
    let line =
        "seq 200000 | ipc queue put q & ipc queue get q -c 200000 | cmp - <(seq 200000) && wait $!";
    let output = shell.sh(line);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn messages_can_be_arguments() {
    let shell = Shell::with_queue("q", 10);
    shell.ok(&["queue", "put", "q", "a b", "", "--", "--all"]);
    assert_eq!(shell.ok(&["queue", "get", "q", "-c3"]), "a b\n\n--all\n");
}

#[test]
fn binary_messages_go_through_with_nul_raw_hex_and_json() {
    let shell = Shell::with_queue("q", 10);
    let get = |flag| shell.run(&["queue", "get", "q", flag]).stdout;
    assert!(
        shell
            .feed(&["queue", "put", "q", "--null"], b"a\nb\0\0\xff")
            .status
            .success()
    );
    assert_eq!(get("--null"), b"a\nb\0");
    assert_eq!(get("--json"), b"{\"schema\":1,\"data\":\"\"}\n");
    assert_eq!(get("--json"), b"{\"schema\":1,\"hex\":\"ff\"}\n");
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert!(
        shell
            .feed(&["queue", "put", "q", "--raw"], &all)
            .status
            .success()
    );
    assert_eq!(get("--raw"), all);
    assert!(
        shell
            .feed(&["queue", "put", "q", "--hex"], b"00ff0A\n")
            .status
            .success()
    );
    assert_eq!(get("--hex"), b"00ff0a\n");
    let json = b"{\"data\":\"x\\ny\"}\n{\"schema\":1,\"hex\":\"8000\"}\n";
    assert!(
        shell
            .feed(&["queue", "put", "q", "--json"], json)
            .status
            .success()
    );
    assert_eq!(get("--raw"), b"x\ny");
    assert_eq!(get("--raw"), b"\x80\0");
}

#[test]
fn a_line_is_delivered_while_the_next_one_is_awaited() {
    let shell = Shell::with_queue("q", 10);
    let mut put = shell
        .ipc(&["queue", "put", "q"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = put.stdin.take().unwrap();
    stdin.write_all(b"now\nnot yet").unwrap();
    assert_eq!(
        shell.ok(&["queue", "get", "q", "--timeout", "20s"]),
        "now\n"
    );
    stdin.write_all(b", but now\n").unwrap();
    assert_eq!(
        shell.ok(&["queue", "get", "q", "--timeout", "20s"]),
        "not yet, but now\n"
    );
    drop(stdin);
    assert!(end_of(&mut put).success());
}

#[test]
fn a_message_is_printed_as_soon_as_it_comes() {
    let shell = Shell::with_queue("q", 10);
    let mut get = shell.ipc(&["queue", "get", "q", "--all"]).spawn().unwrap();
    let mut lines = BufReader::new(get.stdout.take().unwrap()).lines();
    for message in ["one", "two"] {
        shell.ok(&["queue", "put", "q", message]);
        assert_eq!(lines.next().unwrap().unwrap(), message);
    }
    shell.ok(&["queue", "close", "q"]);
    assert!(lines.next().is_none());
    assert!(end_of(&mut get).success());
}

#[test]
fn all_ends_well_when_the_queue_is_closed_and_empty() {
    let shell = Shell::with_queue("q", 10);
    shell.ok(&["queue", "put", "q", "a", "b"]);
    shell.ok(&["queue", "close", "q"]);
    assert_eq!(shell.ok(&["queue", "get", "q", "--all"]), "a\nb\n");
    assert_eq!(shell.ok(&["queue", "get", "q", "--all"]), "");
}

#[test]
fn peek_leaves_the_message() {
    let shell = Shell::with_queue("q", 10);
    shell.ok(&["queue", "put", "q", "a"]);
    assert_eq!(shell.ok(&["queue", "peek", "q"]), "a\n");
    assert_eq!(shell.ok(&["queue", "peek", "q", "--hex"]), "61\n");
    assert_eq!(shell.len("q"), 1);
}

#[test]
fn options_of_create_arrive() {
    let shell = Shell::new();
    shell.ok(&[
        "queue",
        "create",
        "q",
        "--capacity",
        "7",
        "--memory",
        "2MiB",
        "--participants",
        "3",
        "--mode",
        "640",
    ]);
    let stat = shell.json(&["stat", "q", "--json"]);
    let object = &stat["objects"][0];
    assert_eq!(stat["schema"], 1);
    assert_eq!(object["queue"]["capacity"], 7);
    assert!(object["queue"]["memory"].as_u64().unwrap() >= 2 << 20);
    assert_eq!(object["max_participants"], 3);
    assert_eq!(object["mode"], "0640");
    shell.ok(&["queue", "create", "q", "--capacity", "9", "--if-missing"]);
    assert_eq!(shell.code(&["queue", "create", "q", "--capacity", "9"]), 4);
}

#[test]
fn a_put_that_ends_early_says_how_many_messages_are_in() {
    let shell = Shell::with_queue("q", 2);
    let output = shell.feed(&["queue", "put", "q", "--no-wait"], b"1\n2\n3\n4\n");
    assert_eq!(output.status.code(), Some(6));
    assert!(
        text(&output.stderr).contains("2 message(s) were put"),
        "{output:?}"
    );
    assert_eq!(shell.numbers("q"), [1, 2]);
}

#[test]
fn the_exit_code_says_what_went_wrong() {
    let shell = Shell::with_queue("q", 1);
    let q = |verb: &str, rest: &[&str]| shell.code(&[&["queue", verb, "q"], rest].concat());
    assert_eq!(shell.code(&["queue", "get"]), 2);
    assert_eq!(shell.code(&["queue", "get", "not a name"]), 2);
    assert_eq!(q("get", &["--hex", "--json"]), 2);
    assert_eq!(q("get", &["--timeout", "soon"]), 2);
    assert_eq!(shell.code(&["queue", "get", "nobody"]), 3);
    assert_eq!(q("create", &["--capacity", "1"]), 4);
    assert_eq!(q("get", &["--timeout", "20ms"]), 5);
    assert_eq!(q("get", &["--timeout", "0s"]), 5);
    assert_eq!(q("get", &["--no-wait"]), 6);
    assert_eq!(q("peek", &[]), 6);
    assert_eq!(q("put", &["a", "--hex"]), 1);
    assert_eq!(
        q("put", &["x".repeat(90_000).as_str(), "--timeout", "1s"]),
        0
    );
    assert_eq!(q("put", &["one too many", "--timeout", "20ms"]), 5);
    assert_eq!(q("put", &["one too many", "--no-wait"]), 6);
    assert_eq!(q("close", &[]), 0);
    assert_eq!(q("put", &["too late"]), 7);
    assert_eq!(q("get", &["--count", "2"]), 7);
    assert_eq!(q("peek", &[]), 7);
}

#[test]
fn a_message_that_no_room_can_hold_is_an_error_and_not_a_wait() {
    let shell = Shell::with_queue("q", 10);
    let output = shell.feed(
        &["queue", "put", "q"],
        &[&b"small\n"[..], &vec![b'x'; 3 << 20]].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("1 message(s) were put"),
        "{output:?}"
    );
    // Without an end in sight it does not read on for ever either.
    let output = shell.sh("timeout 20 ipc queue put q < /dev/zero");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_queue_of_another_type_is_refused_by_name() {
    let shell = Shell::new();
    let namespace = ipc_core::Namespace::at(shell.dir()).unwrap();
    let queue = ipc_core::Queue::<String>::options(1)
        .namespace(&namespace)
        .create("q")
        .unwrap();
    let output = shell.run(&["queue", "get", "q"]);
    assert_eq!(output.status.code(), Some(9));
    assert!(text(&output.stderr).contains("String"), "{output:?}");
    assert!(
        text(&output.stderr).contains("queues of bytes"),
        "{output:?}"
    );
    drop(queue);
}

#[test]
fn ipc_queue_is_ipc_queue_under_any_name() {
    let shell = Shell::with_queue("q", 10);
    let run = |program: &str, args: &[&str]| shell.program(program, args).output().unwrap();
    assert!(
        run(env!("CARGO_BIN_EXE_ipc-queue"), &["put", "q", "a"])
            .status
            .success()
    );
    let link = shell.hidden("bin").join("ipc-queue");
    std::fs::create_dir(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ipc"), &link).unwrap();
    assert_eq!(run(link.to_str().unwrap(), &["get", "q"]).stdout, b"a\n");
    assert_eq!(
        run(link.to_str().unwrap(), &["get", "none"]).status.code(),
        Some(3)
    );
}

#[test]
fn the_command_line_can_name_the_place() {
    let shell = Shell::with_queue("q", 10);
    let elsewhere = shell.hidden("elsewhere");
    let dir = elsewhere.to_str().unwrap();
    assert_eq!(shell.code(&["--dir", dir, "queue", "peek", "q"]), 3);
    shell.ok(&["queue", "create", "there", "--capacity", "1", "--dir", dir]);
    assert!(elsewhere.join("there").exists());
    assert_eq!(shell.code(&["ls", "--dir", dir, "--namespace", "x"]), 2);
    assert_eq!(shell.code(&["ls", "--namespace", "no/name"]), 2);
}
