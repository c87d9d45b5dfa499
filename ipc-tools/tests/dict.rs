//! `ipc dict`.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    process::{Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ipc_core::{Bytes, Dict, Namespace};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Shell, end_of, signal, text, until};

impl Shell {
    fn with_dict(name: &str) -> Self {
        let shell = Self::new();
        shell.ok(&["dict", "create", name]);
        shell
    }

    fn dict(&self, args: &[&str]) -> Output {
        self.run(&[&["dict"], args].concat())
    }

    fn did(&self, args: &[&str]) -> String {
        self.ok(&[&["dict"], args].concat())
    }

    /// What a command that fails says, and its exit code.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        let output = self.dict(args);
        assert_eq!(text(&output.stdout), "", "{args:?}");
        (output.status.code().unwrap(), text(&output.stderr))
    }

    fn load(&self, name: &str, lines: impl AsRef<[u8]>) -> Output {
        self.feed(&["dict", "load", name, "-"], lines.as_ref())
    }

    fn namespace(&self) -> Namespace {
        Namespace::at(self.dir()).unwrap()
    }

    /// The pairs, as `dump` prints them.
    fn pairs(&self, name: &str) -> BTreeMap<String, Value> {
        let dumped = self.did(&["dump", name]);
        let lines = dumped.lines().map(|line| {
            let pair: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            assert_eq!(pair.len(), 1, "{line}");
            pair.into_iter().next().unwrap()
        });
        lines.collect()
    }
}

#[test]
fn pairs_are_set_shown_and_removed() {
    let shell = Shell::with_dict("d");
    assert_eq!(shell.did(&["set", "d", "rate", "100"]), "");
    assert_eq!(shell.did(&["get", "d", "rate"]), "100\n");
    assert_eq!(shell.did(&["get", "d", "rate", "--raw"]), "100");
    let expected = json!({"schema": 1, "key": "rate", "value": "100"});
    let line = shell.did(&["get", "d", "rate", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    shell.did(&["set", "d", "rate", "-5"]);
    shell.did(&["set", "d", "name", "a b"]);
    assert_eq!(shell.did(&["keys", "d", "ra"]), "rate\n");
    assert_eq!(shell.did(&["items", "d", "na"]), "name\ta b\n");
    assert_eq!(shell.did(&["items", "d", "na", "-0"]), "name\0a b\0");
    assert_eq!(
        shell.did(&["keys", "d", "na", "--json"]),
        "{\"schema\":1,\"key\":\"name\"}\n"
    );
    let all = shell.did(&["items", "d"]);
    let mut all: Vec<&str> = all.lines().collect();
    all.sort_unstable();
    assert_eq!(all, ["name\ta b", "rate\t-5"]);
    assert_eq!(shell.did(&["len", "d"]), "2\n");
    assert_eq!(shell.json(&["dict", "len", "d", "--json"])["len"], 2);
    shell.did(&["del", "d", "rate"]);
    assert_eq!(shell.did(&["dump", "d"]), "{\"name\": \"a b\"}\n");
    shell.did(&["clear", "d"]);
    assert_eq!(shell.did(&["len", "d"]), "0\n");
    shell.did(&["create", "d", "--if-missing"]);
    let own = shell.program(env!("CARGO_BIN_EXE_ipc-dict"), &["set", "d", "a", "b"]);
    assert!({ own }.status().unwrap().success());
    assert_eq!(shell.did(&["get", "d", "a"]), "b\n");
}

#[test]
fn a_value_of_standard_input_comes_out_as_it_went_in() {
    let shell = Shell::with_dict("d");
    for value in [
        &b""[..],
        b"\n",
        b"a\n\nb\n",
        b"no newline",
        "\0\t\u{2603}".as_bytes(),
    ] {
        let raw = ["dict", "set", "d", "k", "--raw"];
        assert!(shell.feed(&raw, value).status.success());
        assert_eq!(shell.dict(&["get", "d", "k", "--raw"]).stdout, value);
        // `get` adds the newline that `set` takes away.
        let got = shell.dict(&["get", "d", "k"]).stdout;
        assert!(
            shell
                .feed(&["dict", "set", "d", "copy"], &got)
                .status
                .success()
        );
        assert_eq!(shell.dict(&["get", "d", "copy", "--raw"]).stdout, value);
    }
    let refused = shell.feed(&["dict", "set", "d", "k"], b"\xff");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("not UTF-8"), "{refused:?}");
}

#[test]
fn each_way_to_fail_has_its_exit_code_and_changes_nothing() {
    let shell = Shell::with_dict("d");
    shell.did(&["set", "d", "word", "one"]);
    shell.ok(&["event", "create", "event"]);
    for (args, code, says) in [
        (&["get", "d", "no"][..], 1, "no key \"no\""),
        (&["del", "d", "no"], 1, "no key \"no\""),
        (&["del", "d", "no", "never"], 1, "2 of 2 failed"),
        (&["incr", "d", "word"], 1, "is \"one\", not a whole number"),
        (
            &["cas", "d", "word", "two", "three"],
            1,
            "not what was expected",
        ),
        (
            &["cas", "d", "no", "two", "three"],
            1,
            "not what was expected",
        ),
        (
            &["cas", "d", "word", "--absent", "three"],
            1,
            "not what was expected",
        ),
        (
            &["cas", "d", "word", "two", "--remove"],
            1,
            "not what was expected",
        ),
        (
            &["cas", "d", "word", "--absent", "--remove"],
            1,
            "not what was expected",
        ),
        (&["cas", "d", "word", "two"], 2, "OLD and NEW"),
        (
            &["cas", "d", "word", "--absent", "two", "three"],
            2,
            "OLD and NEW",
        ),
        (&["incr", "d", "n", "1.5"], 2, "not a whole number"),
        (&["incr", "d", "n", "x"], 2, "not a whole number"),
        (
            &["set", "d", "word", "two", "--new"],
            4,
            "has a value already",
        ),
        (&["create", "d"], 4, "exists already"),
        (&["create", "big", "--limit", "65GiB"], 2, "at most 64 GiB"),
        (&["create", "a/b"], 2, "name"),
        (&["get", "none", "k"], 3, "not found"),
        (&["len", "none"], 3, "not found"),
        (&["load", "none", "-"], 3, "not found"),
        (
            &["load", "d", "/nonexistent"],
            1,
            "could not open /nonexistent",
        ),
        (&["load", "d", "/"], 1, "0 pair(s) were set"),
        (&["get", "event", "k"], 9, "event"),
        (&["len", "event"], 9, "event"),
    ] {
        let (found, message) = shell.refused(args);
        assert_eq!(found, code, "{args:?}: {message}");
        assert!(message.contains(says), "{args:?}: {message}");
    }
    assert_eq!(shell.did(&["dump", "d"]), "{\"word\": \"one\"}\n");
}

#[test]
fn numbers_are_added_to_and_swapped_only_if_they_fit() {
    let shell = Shell::with_dict("d");
    assert_eq!(shell.did(&["incr", "d", "n"]), "1\n");
    assert_eq!(shell.did(&["incr", "d", "n", "41"]), "42\n");
    assert_eq!(shell.did(&["incr", "d", "n", "-50"]), "-8\n");
    let most = i64::MAX.to_string();
    shell.did(&["set", "d", "n", &most]);
    let (code, message) = shell.refused(&["incr", "d", "n"]);
    assert!(code == 1 && message.contains("out of range"), "{message}");
    assert_eq!(shell.did(&["get", "d", "n"]), format!("{most}\n"));
    shell.did(&["cas", "d", "n", &most, "7"]);
    shell.did(&["cas", "d", "new", "--absent", "x"]);
    shell.did(&["cas", "d", "new", "x", "--remove"]);
    shell.did(&["cas", "d", "new", "--absent", "--remove"]);
    shell.did(&["set", "d", "other", "1", "--new"]);
    assert_eq!(
        shell.did(&["dump", "d"]),
        "{\"n\": \"7\"}\n{\"other\": \"1\"}\n"
    );
}

#[test]
fn a_pair_with_a_time_to_live_goes_and_keeps_it_when_it_is_added_to() {
    let shell = Shell::with_dict("d");
    shell.did(&["set", "d", "long", "1", "--ttl", "1h"]);
    assert_eq!(shell.did(&["get", "d", "long"]), "1\n");
    shell.did(&["set", "d", "short", "1", "--ttl", "1ms"]);
    until("it expires", || {
        shell.dict(&["get", "d", "short"]).status.code() == Some(1)
    });
    assert_eq!(shell.did(&["dump", "d"]), "{\"long\": \"1\"}\n");
    until("it is added to before it expires", || {
        shell.did(&["set", "d", "n", "1", "--ttl", "300ms"]);
        shell.did(&["incr", "d", "n"]) == "2\n"
    });
    until("it expires too", || {
        shell.dict(&["get", "d", "n"]).status.code() == Some(1)
    });
    shell.did(&["set", "d", "leader", "a", "--new", "--ttl", "1ms"]);
    until("a time to live ends for who was first", || {
        let again = shell.dict(&["set", "d", "leader", "b", "--new", "--ttl", "1h"]);
        again.status.success()
    });
    let third = shell.dict(&["set", "d", "leader", "c", "--new", "--ttl", "1ms"]);
    assert_eq!(third.status.code(), Some(4));
    assert_eq!(shell.did(&["get", "d", "leader"]), "b\n");
    shell.did(&["set", "d", "n", "1", "--ttl", "1ms"]);
    shell.did(&["set", "d", "n", "2"]);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(shell.did(&["get", "d", "n"]), "2\n", "it stays now");
}

#[test]
fn two_shells_that_count_at_once_lose_nothing() {
    let shell = Shell::with_dict("d");
    let count = "for i in $(seq 50); do ipc dict incr d hits || exit; done";
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!(shell.sh(count).status.success()));
        }
    });
    assert_eq!(shell.did(&["get", "d", "hits"]), "100\n");
}

#[test]
fn what_was_dumped_loads_as_it_was_however_odd() {
    let shell = Shell::with_dict("a");
    shell.ok(&["dict", "create", "b"]);
    let long = "x\n".repeat(1 << 19);
    let odd = [
        ("", "empty key"),
        ("empty value", ""),
        ("new\nline", "tab\tand\r\n"),
        ("\"quoted\\\"", "'\"\\"),
        ("\u{2603} \u{1f980} \u{7f}\u{1b}[31m", "\0\u{feff}"),
        ("5", "5"),
        ("json", r#"{"a": [1, 2.50, null]}"#),
        ("text of json", r#""text""#),
        ("long", &long),
    ];
    for (key, value) in odd {
        let set = shell.feed(&["dict", "set", "a", key, "--raw"], value.as_bytes());
        assert!(set.status.success(), "{key:?}: {set:?}");
        assert_eq!(text(&shell.dict(&["get", "a", key, "--raw"]).stdout), value);
    }
    let moved = shell.sh("set -o pipefail; ipc dict dump a | ipc dict load b -");
    assert!(moved.status.success(), "{moved:?}");
    assert_eq!(shell.did(&["dump", "a"]), shell.did(&["dump", "b"]));
    let expected = odd.map(|(key, value)| (key.to_owned(), value.into()));
    assert_eq!(shell.pairs("b"), expected.into());
    // The other way round, from a file.
    let file = shell.hidden("dump");
    fs::write(&file, shell.did(&["dump", "a"])).unwrap();
    shell.did(&["clear", "b"]);
    shell.did(&["load", "b", file.to_str().unwrap()]);
    assert_eq!(shell.did(&["len", "b"]), format!("{}\n", odd.len()));
}

#[test]
fn a_dump_shows_all_pairs_as_they_are_at_one_moment() {
    let shell = Shell::with_dict("d");
    let dict = Dict::<String, String>::options().namespace(&shell.namespace());
    let (dict, is_over) = (dict.open("d").unwrap(), AtomicBool::new(false));
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let set_all = |round: u64| {
        for key in &keys {
            dict.set(key, &round.to_string()).unwrap();
        }
    };
    set_all(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let rounds = (1..).take_while(|_| !is_over.load(Ordering::Relaxed));
            rounds.for_each(set_all);
        });
        for _ in 0..20 {
            let pairs = shell.pairs("d");
            let round = |key| pairs[key].as_str().unwrap().parse::<u64>().unwrap();
            let rounds: Vec<u64> = keys.iter().map(round).collect();
            // They are set in this order, round by round.
            let is_one_moment = rounds.is_sorted_by(|a, b| a >= b) && rounds[0] - rounds[19] <= 1;
            is_over.store(!is_one_moment, Ordering::Relaxed);
            assert!(is_one_moment, "{rounds:?}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_line_that_is_wrong_is_named_and_those_before_it_are_set() {
    let shell = Shell::with_dict("d");
    let good = "{\"a\": 1}\n\n {\"b\" : {\"c\": [2.50]} } \n";
    for wrong in [
        "x",
        "{",
        "{}",
        "[\"k\", 1]",
        "{\"k\": }",
        "{\"k\": 1, \"l\": 2}",
        "{\"k\": 1, \"k\": 2}",
        "{\"k\": 1} {\"l\": 2}",
        "{k: 1}",
        "{\"k\": \"\\ud800\"}",
        "{\"k\": 01}",
    ] {
        shell.did(&["clear", "d"]);
        let loaded = shell.load("d", format!("{good}{wrong}\n{{\"later\": 1}}\n"));
        assert_eq!(loaded.status.code(), Some(1), "{wrong}");
        let message = text(&loaded.stderr);
        assert!(message.contains("line 4: "), "{wrong}: {message}");
        assert!(message.contains("2 pair(s) were set"), "{wrong}: {message}");
        let expected = [("a", "1"), ("b", "{\"c\": [2.50]}")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.into()));
        assert_eq!(shell.pairs("d"), expected.into(), "{wrong}");
    }
    let bytes = shell.load("d", b"{\"k\": \"\xff\"}\n");
    assert_eq!(bytes.status.code(), Some(1));
    assert!(text(&bytes.stderr).contains("line 1"), "{bytes:?}");
    let last = shell.load("d", "{\"last\": null}");
    assert!(
        last.status.success(),
        "a last line needs no newline: {last:?}"
    );
    assert_eq!(shell.did(&["get", "d", "last"]), "null\n");
}

#[test]
fn a_full_dictionary_says_so_and_stays_as_it_is() {
    let shell = Shell::new();
    shell.ok(&["dict", "create", "d", "--limit", "64K"]);
    let value = "v".repeat(1000);
    let lines: Vec<String> = (0..200)
        .map(|n| format!("{{\"{n}\": \"{value}\"}}\n"))
        .collect();
    let loaded = shell.load("d", lines.concat());
    assert_eq!(loaded.status.code(), Some(6), "{loaded:?}");
    let (message, pairs) = (text(&loaded.stderr), shell.pairs("d"));
    assert!(message.contains("no space in the dictionary"), "{message}");
    let (next, len) = (pairs.len() + 1, pairs.len());
    let done = format!("line {next} was not set; {len} pair(s) were set");
    assert!(message.contains(&done), "{message}");
    assert!((0..pairs.len()).all(|n| pairs[&n.to_string()] == *value));
    let mut is_full = false;
    for n in 0..64 {
        let (key, value) = (format!("more {n}"), "v".repeat(4000));
        is_full |= shell.dict(&["set", "d", &key, &value]).status.code() == Some(6);
    }
    assert!(is_full);
    let much = shell.feed(
        &["dict", "set", "d", "much"],
        "v".repeat(1 << 20).as_bytes(),
    );
    assert_eq!(much.status.code(), Some(1), "{much:?}");
    assert!(text(&much.stderr).contains("too large"), "{much:?}");
    shell.did(&["del", "d", "0", "1"]);
    shell.did(&["set", "d", "0", &value]);
}

/// In a file system of 2 MiB, which `FULL` is; `LINES` are more than fit.
const IN_LITTLE_SPACE: &str = r#"
mount -t tmpfs -o size=2m none "$FULL" || exit 99
export IPC_DIR=$FULL
ipc dict create d --limit 64M || exit 10
ipc dict load d "$LINES"
code=$?
ipc dict dump d > "$DUMP" || exit 11
ipc dict del d 0 1 2 3 || exit 12
ipc dict set d 0 back || exit 13
test "$(ipc dict get d 0)" = back || exit 14
ipc dict clear d || exit 15
head -c 1000000 /dev/zero | tr '\0' v | ipc dict set d long || exit 16
exit $code
"#;

#[test]
fn a_full_file_system_says_so_and_what_was_there_stays() {
    let shell = Shell::new();
    let [full, lines, dump] = ["full", "lines", "dump"].map(|name| shell.hidden(name));
    fs::create_dir(&full).unwrap();
    let value = "v".repeat(1000);
    let line = |n| format!("{{\"{n}\": \"{value}\"}}\n");
    fs::write(&lines, (0..4000).map(line).collect::<String>()).unwrap();
    let script = shell.hidden("script");
    fs::write(&script, IN_LITTLE_SPACE).unwrap();
    let run = shell.sh(&format!(
        "FULL={} LINES={} DUMP={} unshare -rm bash {}",
        full.display(),
        lines.display(),
        dump.display(),
        script.display()
    ));
    let said = text(&run.stderr);
    if said.contains("unshare: ") || run.status.code() == Some(99) {
        eprintln!("not tested, as this user may mount nothing: {said}");
        return;
    }
    assert_eq!(run.status.code(), Some(6), "{run:?}");
    assert!(said.contains("no space in the dictionary"), "{said}");
    let dumped = fs::read_to_string(&dump).unwrap();
    assert!((500..2000).contains(&dumped.lines().count()), "{dumped}");
    let kept: BTreeMap<String, Value> = dumped
        .lines()
        .flat_map(|line| serde_json::from_str::<BTreeMap<_, _>>(line).unwrap())
        .collect();
    assert!((0..kept.len()).all(|n| kept[&n.to_string()] == *value));
}

/// Lines of `{"N": "text"}`, much more than one read.
fn many() -> Vec<String> {
    let value = "v".repeat(50);
    (0..200_000)
        .map(|n| format!("{{\"{n}\": \"{value}\"}}\n"))
        .collect()
}

#[test]
fn a_load_that_is_killed_has_set_every_line_up_to_one_and_no_further() {
    let (shell, lines) = (Shell::with_dict("d"), many());
    let mut load = shell.ipc(&["dict", "load", "d", "-"]);
    let mut load = load.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = load.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It is killed before it has read all.
            let _ = stdin.write_all(lines.concat().as_bytes());
        });
        let dict = Dict::<String, String>::options().namespace(&shell.namespace());
        let dict = dict.open("d").unwrap();
        until("it is at work", || dict.len() > 1000);
        signal(&load, Signal::KILL);
        end_of(&mut load);
    });
    let len: usize = shell.did(&["len", "d"]).trim().parse().unwrap();
    assert!((1000..200_000).contains(&len), "{len}");
    let pairs = shell.pairs("d");
    assert_eq!(pairs.len(), len);
    assert!((0..len).all(|n| pairs.contains_key(&n.to_string())));
    shell.did(&["set", "d", "new", "value"]);
    assert_eq!(shell.did(&["incr", "d", "n"]), "1\n");
    shell.ok(&["doctor"]);
}

#[test]
fn ctrl_c_ends_a_load_and_keeps_what_is_set() {
    let shell = Shell::with_dict("d");
    let mut load = shell.ipc(&["dict", "load", "d", "-"]);
    let mut load = load.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = load.stdin.take().unwrap();
    stdin.write_all(b"{\"a\": 1}\n{\"b\": 2}\n{\"half").unwrap();
    until("it waits for more", || shell.did(&["len", "d"]) == "2\n");
    signal(&load, Signal::INT);
    assert_eq!(end_of(&mut load).code(), Some(130));
    let mut message = String::new();
    load.stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    assert!(message.contains("2 pair(s) were set"), "{message}");
    assert_eq!(
        shell.did(&["dump", "d"]),
        "{\"a\": \"1\"}\n{\"b\": \"2\"}\n"
    );
}

#[test]
fn a_reader_that_goes_or_stops_reading_is_no_trouble() {
    let (shell, lines) = (Shell::with_dict("d"), many());
    assert!(shell.load("d", lines[..20_000].concat()).status.success());
    for verb in ["dump", "items", "keys"] {
        let line = format!("ipc dict {verb} d | head -n 1 | wc -l; echo ${{PIPESTATUS[0]}}");
        let output = shell.sh(&line);
        assert_eq!(text(&output.stdout), "1\n0\n", "{verb}");
        assert_eq!(text(&output.stderr), "", "{verb}");
        // Nobody reads: the pipe is full, and Ctrl-C is heard all the same.
        let mut stuck = shell.ipc(&["dict", verb, "d"]).spawn().unwrap();
        until("it writes", || {
            let unread = rustix::io::ioctl_fionread(stuck.stdout.as_ref().unwrap());
            unread.unwrap() > 4096
        });
        signal(&stuck, Signal::INT);
        assert_eq!(end_of(&mut stuck).code(), Some(130), "{verb}");
    }
}

/// Makes a dictionary of these types, and has the command line set and show a pair.
macro_rules! works {
    ($shell:expr, $($key:ty: $k:expr, $value:ty: $v:expr, $json:expr;)*) => {$({
        let options = Dict::<$key, $value>::options().namespace(&$shell.namespace());
        let dict = options.create("typed").unwrap();
        let [key, value] = [$k, $v];
        $shell.did(&["set", "typed", key, value]);
        assert_eq!($shell.did(&["get", "typed", key]), format!("{value}\n"));
        assert_eq!($shell.did(&["items", "typed"]), format!("{key}\t{value}\n"));
        let dumped = $shell.did(&["dump", "typed"]);
        assert_eq!(dumped, format!("{{\"{key}\": {}}}\n", $json));
        dict.clear().unwrap();
        assert!($shell.load("typed", &dumped).status.success());
        $shell.did(&["cas", "typed", key, value, value]);
        assert_eq!($shell.did(&["dump", "typed"]), dumped);
        assert_eq!(dict.iter().count(), 1);
        $shell.did(&["del", "typed", key]);
        assert!(dict.is_empty());
        dict.unlink().unwrap();
    })*};
}

#[test]
fn dictionaries_of_programs_are_decoded_by_their_types() {
    let shell = Shell::new();
    works! { shell,
        String: "k", u32: "4294967295", "4294967295";
        String: "k", u64: "18446744073709551615", "18446744073709551615";
        String: "k", usize: "7", "7";
        String: "k", i32: "-7", "-7";
        String: "k", i64: "-9223372036854775808", "-9223372036854775808";
        String: "k", f64: "0.1", "0.1";
        String: "k", f64: "NaN", "\"NaN\"";
        String: "k", bool: "true", "true";
        String: "k", Bytes: "v", "\"v\"";
        String: "k", Vec<u8>: "hex:", "\"hex:6865783a\"";
        Bytes: "k", String: "5", "\"5\"";
        Bytes: "k", Bytes: "v", "\"v\"";
        u32: "1", u32: "2", "2";
        u64: "1", f64: "1e300", "1e300";
        i64: "-1", String: "v", "\"v\"";
    }
}

#[test]
fn what_a_typed_dictionary_does_not_hold_is_refused() {
    let shell = Shell::new();
    let counts = Dict::<String, u64>::options().namespace(&shell.namespace());
    let counts = counts.create("counts").unwrap();
    assert_eq!(shell.did(&["incr", "counts", "n", "3"]), "3\n");
    assert_eq!(counts.get(&"n".to_owned()).unwrap(), Some(3));
    let (code, message) = shell.refused(&["incr", "counts", "n", "-4"]);
    assert!(code == 1 && message.contains("out of range"), "{message}");
    let (code, message) = shell.refused(&["set", "counts", "n", "-1"]);
    assert!(code == 2 && message.contains("from 0 to"), "{message}");
    let loaded = shell.load("counts", "{\"m\": 1}\n{\"n\": \"1\"}\n");
    assert_eq!(loaded.status.code(), Some(1));
    assert!(text(&loaded.stderr).contains("line 2: the value is not a whole number"));
    assert_eq!(shell.did(&["dump", "counts"]), "{\"m\": 1}\n{\"n\": 3}\n");

    let flags = Dict::<u64, bool>::options().namespace(&shell.namespace());
    flags.create("flags").unwrap();
    assert_eq!(shell.refused(&["get", "flags", "x"]).0, 2);
    assert_eq!(shell.refused(&["incr", "flags", "1"]).0, 9);

    // Bytes that are no text, as keys and as values.
    let raw = Dict::<Bytes, Bytes>::options().namespace(&shell.namespace());
    let raw = raw.create("raw").unwrap();
    raw.set(&Bytes(vec![0xff]), &Bytes(vec![0, 0xfe])).unwrap();
    raw.set(&Bytes("hex:".into()), &Bytes("text".into()))
        .unwrap();
    let dumped = shell.did(&["dump", "raw"]);
    assert_eq!(
        dumped,
        "{\"hex:6865783a\": \"text\"}\n{\"hex:ff\": \"hex:00fe\"}\n"
    );
    raw.clear().unwrap();
    assert!(shell.load("raw", &dumped).status.success());
    assert_eq!(
        raw.get(&Bytes(vec![0xff])).unwrap(),
        Some(Bytes(vec![0, 0xfe]))
    );
    assert_eq!(
        shell.dict(&["items", "raw", "hex:", "-0"]).stdout,
        b"hex:\0text\0"
    );

    // Types that the command line does not know.
    let pairs = Dict::<String, (u32, String)>::options().namespace(&shell.namespace());
    let pairs = pairs.create("pairs").unwrap();
    pairs.set("k", &(7, "seven".into())).unwrap();
    for args in [
        &["get", "pairs", "k"][..],
        &["dump", "pairs"],
        &["set", "pairs", "k", "v"],
    ] {
        let (code, message) = shell.refused(args);
        assert_eq!(code, 9, "{message}");
        assert!(
            message.contains("(u32, alloc::string::String)"),
            "{message}"
        );
    }
    assert_eq!(shell.did(&["len", "pairs"]), "1\n");
    assert_eq!(pairs.get("k").unwrap(), Some((7, "seven".into())));
}

#[test]
fn the_tools_for_all_kinds_know_dictionaries() {
    let shell = Shell::with_dict("d");
    shell.did(&["set", "d", "k", "v"]);
    let table = shell.ok(&["ls"]);
    let row = table.lines().find(|line| line.starts_with("d ")).unwrap();
    assert!(row.contains("dict") && row.contains("1 pair in "), "{row}");
    let stat = shell.json(&["stat", "d", "--json"]);
    let figures = &stat["objects"][0]["dict"];
    assert_eq!(
        (&figures["len"], &figures["memory_limit"]),
        (&json!(1), &json!(64 << 20))
    );
    assert!(
        shell
            .ok(&["stat", "d"])
            .contains("to serde alloc::string::String")
    );
    let dict = Dict::<String, String>::options().namespace(&shell.namespace());
    let dict = dict.open("d").unwrap();
    assert_eq!(shell.who("d")[0]["pid"], std::process::id());
    assert_eq!(shell.code(&["rm", "d"]), 6, "it is in use");
    drop(dict);
    assert!(
        shell
            .ok(&["completions", "bash"])
            .contains("ipc__subcmd__dict")
    );
    let pages = shell.hidden("man");
    shell.ok(&["man", pages.to_str().unwrap()]);
    assert!(pages.join("ipc-dict-cas.1").is_file());
    shell.ok(&["rm", "d"]);
}

#[test]
fn who_watches_is_shown_each_change_of_what_it_wants() {
    let shell = Shell::with_dict("d");
    let watch = |args: &[&str]| {
        let mut watcher = shell.ipc(&[&["dict", "watch", "d"], args].concat());
        watcher.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut all = watch(&["--count", "4"]);
    let mut prefix = watch(&["net.", "--json", "--count", "2"]);
    let mut key = watch(&["--key", "rate", "-0", "--count", "1"]);
    until("three wait", || {
        let seen = shell.json(&["who", "d", "--json"]);
        seen["visits"].as_array().unwrap().len() == 3
    });
    shell.did(&["set", "d", "net.a", "1"]);
    shell.did(&["set", "d", "rate", "x y"]);
    shell.did(&["del", "d", "net.a"]);
    shell.did(&["set", "d", "other", "2"]);
    let mut told = String::new();
    all.stdout
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(
        told,
        "set\tnet.a\t1\nset\trate\tx y\nremoved\tnet.a\nset\tother\t2\n"
    );
    let mut told = String::new();
    prefix
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    let lines: Vec<Value> = told
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let expected = [
        json!({"schema": 1, "event": "set", "key": "net.a", "value": "1"}),
        json!({"schema": 1, "event": "removed", "key": "net.a"}),
    ];
    assert_eq!(lines, expected);
    let mut told = String::new();
    key.stdout
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(told, "set\0rate\0x y\0");
    for mut child in [all, prefix, key] {
        assert!(child.wait().unwrap().success());
    }
    let (code, said) = shell.refused(&["watch", "d", "--timeout", "10ms"]);
    assert_eq!(
        (code, said.contains("nothing was changed")),
        (5, true),
        "{said}"
    );
}
