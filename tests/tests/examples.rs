//! What the examples of `ipc-core` show, each with processes of its own.
//!
//! They are built as cargo would build them now, and run where nothing else is: an example that leaves a file behind fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// No example takes so long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

/// The folder of the built examples: beside this program's own.
fn examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        // target/debug/deps/examples-…
        let own = std::env::current_exe().expect("this program has a path");
        let profile = own.ancestors().nth(2).expect("it is in a target folder");
        let target = profile.parent().expect("it is in a target folder");
        // Of the whole workspace, so that what its tests have built is used again; only ipc-core has any.
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--locked", "--workspace", "--examples"])
            .arg("--target-dir")
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.status().expect("cargo can be run");
        assert!(built.success(), "the examples cannot be built: {built}");
        profile.join("examples")
    })
}

/// What the example prints, line by line.
fn run(name: &str) -> Vec<String> {
    let (output, errors) = run_with_errors(name);
    errors.iter().for_each(|line| eprintln!("{line}"));
    output
}

/// What the example prints, and what it prints on standard error.
fn run_with_errors(name: &str) -> (Vec<String>, Vec<String>) {
    let program = examples().join(name);
    let place = std::env::temp_dir().join(format!("ipc-examples-{name}-{}", std::process::id()));
    fs::create_dir(&place).expect("make a folder");
    let mut child = Command::new(program)
        .env("TMPDIR", &place)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example can be run");
    let mut output = child.stdout.take().expect("it was asked for");
    let reader = thread::spawn(move || std::io::read_to_string(&mut output));
    let mut errors = child.stderr.take().expect("it was asked for");
    let second_reader = thread::spawn(move || std::io::read_to_string(&mut errors));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("its end can be seen") {
            Some(status) => break status,
            None if start.elapsed() > LIMIT => {
                child.kill().expect("it can be killed");
                panic!("{name} does not end");
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let output = reader.join().expect("no panic").expect("it prints text");
    let errors = second_reader.join().expect("no panic");
    let errors = errors.expect("it prints text");
    assert!(status.success(), "{name}: {status}\n{output}\n{errors}");
    fs::remove_dir(&place).expect("the example removes what it made");
    let lines = |text: String| text.lines().map(str::to_owned).collect();
    (lines(output), lines(errors))
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<u64> {
    line.split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[test]
fn who_waits_with_a_timeout_gives_up_and_who_waits_without_sees_the_event() {
    let lines = run("event");
    let [gives_up, set, sees] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert!(gives_up.starts_with("with a timeout: false"), "{lines:#?}");
    assert!(numbers(gives_up)[0] >= 200, "{lines:#?}");
    assert_eq!(set, "the event is set");
    assert!(sees.starts_with("without a timeout: true"), "{lines:#?}");
    assert!(numbers(sees)[0] > 200, "{lines:#?}");
}

#[test]
fn three_workers_drain_the_queue_under_the_lock_and_end_at_the_flag() {
    let lines = run("drain");
    let (mut items, mut lives) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    for line in &lines {
        match (&numbers(line)[..], line.split(' ').nth(2)) {
            (&[worker, item], Some("has")) => {
                assert_eq!(items.insert(item, worker), None, "twice: {line}");
                lives.entry(worker).or_default().push("has");
            }
            (&[worker], Some(what)) => lives.entry(worker).or_default().push(what),
            _ => assert_eq!(line, "the queue is empty"),
        }
    }
    assert!(items.keys().copied().eq(0..30), "{lines:#?}");
    assert!(lives.keys().copied().eq(1..=3), "{lines:#?}");
    for life in lives.values() {
        let [first, .., last] = life[..] else {
            panic!("{lines:#?}");
        };
        assert_eq!((first, last), ("starts", "ends"), "{lines:#?}");
    }
    assert_eq!(lines.last().map(String::as_str), Some("the queue is empty"));
}

#[test]
fn lines_under_the_lock_are_whole_and_four_are_admitted_at_a_time() {
    let lines = run("admission");
    let (written, rest) = lines.split_at(20);
    let expected: BTreeSet<String> = (1..=5)
        .flat_map(|writer| (1..=4).map(move |line| format!("writer {writer}, line {line}.")))
        .collect();
    assert_eq!(written.iter().cloned().collect::<BTreeSet<_>>(), expected);

    let (last, guests) = rest.split_last().expect("there are guests");
    let mut came = BTreeSet::new();
    for guest in guests {
        let [number, inside] = numbers(guest)[..] else {
            panic!("{lines:#?}");
        };
        assert!(came.insert(number), "{lines:#?}");
        assert!((1..=4).contains(&inside), "{lines:#?}");
    }
    assert!(came.into_iter().eq(1..=12), "{lines:#?}");
    assert_eq!(last, "4 were inside at most, 0 are now");
}

#[test]
fn notify_wakes_exactly_as_many_as_it_says() {
    let lines = run("condition");
    let at = |line: &str| lines.iter().position(|l| l == line).ok_or(&lines);
    let woken = |lines: &[String]| {
        let woken = lines.iter().filter(|l| l.ends_with("woke"));
        woken.flat_map(|l| numbers(l)).collect::<BTreeSet<_>>()
    };
    assert_eq!(at("notify(2) finds 2"), Ok(0));
    assert_eq!(at("2 woke, 3 wait"), Ok(3));
    assert_eq!(at("notify_all finds 3"), Ok(4));
    assert_eq!(at("5 woke, 0 wait"), Ok(8));
    assert_eq!(woken(&lines[..4]).len(), 2);
    assert!(woken(&lines).into_iter().eq(1..=5), "{lines:#?}");
}

#[test]
fn a_timer_fires_once_and_can_be_cancelled() {
    let lines = run("timer");
    let [cancelled, fires, first, second, too_late, called, calls] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(cancelled, "cancelled in time: true");
    assert!(fires.starts_with("the timer fires after"), "{lines:#?}");
    assert!(numbers(fires)[0] >= 100, "{lines:#?}");
    assert_eq!(first, "the first event came");
    assert_eq!(second, "the second event came: false");
    assert_eq!(too_late, "cancelled after it fired: false");
    assert_eq!(called, "called: true, false");
    assert_eq!(calls, "calls in all: 1");
}

#[test]
fn a_killed_worker_holds_up_nobody() {
    let lines = run("queue");
    assert_eq!(lines[0], "longest below 20000: 17647 with 278 steps");
    assert!(numbers(&lines[1])[0] <= 1, "{lines:#?}");
}

#[test]
fn a_listener_serves_each_client_on_its_own_pipe_and_outlives_a_bad_one() {
    let mut lines = run("listener");
    lines.sort();
    let refused = "a client is refused: it wants to send serde u64, not serde alloc::string::String; connect with the type of the listener";
    let expected = [
        "a client has gone",
        "a client has gone",
        "a client has gone",
        refused,
        "ada hears: hello from ada, too",
        "grace hears: hello from grace, too",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn mixed_values_arrive_equal() {
    let lines = run("mixed");
    let expected = [
        "the child has Number(42)",
        "the child has Nothing",
        "the child has Text(\"hello\")",
        "the child has List([Number(42), Nothing, Text(\"hello\")])",
        "equal: true",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn sizes_of_a_queue_are_exact() {
    let lines = run("sizes");
    let (first, rest) = lines.split_at(2);
    assert_eq!(
        first,
        ["at first: 0 of 5, empty: true", "full: 5 of 5, full: true"]
    );
    let (last, looks) = rest.split_last().expect("there is a last line");
    assert_eq!(last, "at last: 0 of 5, empty: true");
    assert_eq!(looks.len(), 20, "{lines:#?}");
    for (next, look) in (0..).zip(looks) {
        let [number, waiting] = numbers(look)[..] else {
            panic!("{lines:#?}");
        };
        assert_eq!(number, next, "{lines:#?}");
        assert!(
            (1..=5).contains(&waiting) && waiting <= 20 - number,
            "{lines:#?}"
        );
    }
    assert_eq!(looks[0], "number 0 was one of 5");
}

#[test]
fn pipes_end_after_the_last_message_and_have_their_direction() {
    let lines = run("pipe");
    let expected = [
        "duplex: hello, too",
        "send to nobody: true",
        "simplex: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
        "after that: true",
        "wrong direction: true",
        "closed early: true",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn ten_who_put_and_ten_who_get_have_ten_different_lines() {
    let lines = run("crowd");
    let (last, pairs) = lines.split_last().expect("there are lines");
    assert_eq!(last, "put after close: true");
    let (mut getters, mut messages) = (BTreeSet::new(), BTreeSet::new());
    for line in pairs {
        let [getter, message] = numbers(line)[..] else {
            panic!("{lines:#?}");
        };
        assert_eq!(*line, format!("getter {getter} has message {message}"));
        assert!(
            getters.insert(getter) && messages.insert(message),
            "{lines:#?}"
        );
    }
    assert!(getters.into_iter().eq(1..=10) && messages.into_iter().eq(1..=10));
}

#[test]
fn a_stack_and_a_priority_queue_keep_their_order() {
    let lines = run("orders");
    let expected = [
        "page three",
        "page two",
        "page one",
        "-1 put out the fire",
        " 5 sweep",
        " 5 dust",
        " 5 mop",
        "10 rest",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn all_who_subscribe_see_the_same_and_a_killed_one_holds_up_nobody() {
    let lines = run("broadcast");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0], lines[1]);
    assert!(
        lines[0].starts_with("10000 updates, checksum "),
        "{lines:#?}"
    );
}

/// What a process printed of one object, in order.
fn of<'a>(lines: &'a [String], object: &str) -> Vec<&'a str> {
    let prefix = format!("{object}: ");
    let rest = lines.iter().filter_map(|line| line.strip_prefix(&prefix));
    rest.collect()
}

const NUMBERS: [&str; 5] = ["1", "2", "3", "4", "5"];
const WORDS: [&str; 5] = ["word 1", "word 2", "word 3", "word 4", "word 5"];

#[test]
fn one_epoll_loop_sees_all_of_a_queue_a_pipe_and_an_event() {
    let lines = run("epoll");
    assert_eq!(of(&lines, "queue"), NUMBERS, "{lines:#?}");
    let words = of(&lines, "pipe");
    assert_eq!(words[..5], WORDS, "{lines:#?}");
    assert_eq!(words.len(), 6, "and the end of file: {lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("event: set"));
    assert_eq!(lines.len(), 12, "{lines:#?}");
}

#[test]
fn tasks_of_tokio_see_all_of_a_queue_and_a_pipe_while_its_clock_ticks() {
    let lines = run("tokio");
    let (numbers, words) = (of(&lines, "queue"), of(&lines, "pipe"));
    assert_eq!(numbers[..5], NUMBERS, "{lines:#?}");
    assert_eq!(numbers[5..], ["closed"], "{lines:#?}");
    assert_eq!(words[..5], WORDS, "{lines:#?}");
    assert_eq!(words.len(), 6, "and the end of file: {lines:#?}");
    let last = lines.last().map(String::as_str);
    assert_eq!(last, Some("the clock has ticked meanwhile: true"));
}

#[test]
fn frames_arrive_whole_from_cameras_that_are_killed_and_their_memory_comes_back() {
    assert_eq!(
        run("loan"),
        [
            "first camera: 4 frames, then killed",
            "second camera: 4 frames, then killed",
            "memory for 3 frames of 16 MiB is free",
        ]
    );
}

#[test]
fn every_job_is_done_though_a_worker_is_killed_over_one() {
    let lines = run("joinable");
    let results = lines.iter().filter_map(|l| l.strip_prefix("Result: "));
    let results: BTreeSet<&str> = results.collect();
    let attempt = |n: u64| if n == 0 { 2 } else { 1 };
    let expected = (0..10u64).map(|n| format!("{n} * {n} = {} (attempt {})", n * n, attempt(n)));
    let expected: Vec<String> = expected.collect();
    assert_eq!(results, expected.iter().map(String::as_str).collect());
    let announced = lines.iter().find(|l| l.starts_with("Creating"));
    let workers = numbers(announced.expect("it says how many"))[0] as usize;
    let exits = lines.iter().filter(|l| l.ends_with(": exiting")).count();
    assert_eq!(exits, workers, "one pill each: {lines:?}");
    assert!(lines.iter().any(|l| l == "all jobs are done"));
}

#[test]
fn a_change_of_the_configuration_is_seen_at_once_in_both_directions() {
    let seen = "rate 100, then 200 and mode None";
    let mut expected = vec!["rate: 200".to_owned()];
    expected.extend((1..=3).map(|reader| format!("reader {reader}: {seen}")));
    let lines = run("config");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let (found, expected): (BTreeSet<_>, BTreeSet<_>) =
        (lines.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(found, expected);
}

#[test]
fn processes_that_count_down_are_exact_under_a_lock_and_by_atomic_updates() {
    let lines = run("counts");
    let [locked, added, neither, rest @ ..] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(locked, "with a lock: 0 left");
    assert_eq!(added, "with add: 0 left");
    assert!(neither.starts_with("with neither: "), "{lines:#?}");
    assert!(numbers(neither)[0] <= 99, "{lines:#?}");
    let expected = [
        "Number(0.25): Nothing",
        "Number(1.0): Text(\"1\")",
        "Text(\"2\"): Number(2.0)",
        "[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]",
    ];
    assert_eq!(rest, expected);
}

#[test]
fn each_of_five_workers_prints_its_number_and_none_is_left() {
    let lines = run("workers");
    let (last, workers) = lines.split_last().expect("there are lines");
    let workers: BTreeSet<&str> = workers.iter().map(String::as_str).collect();
    let expected = (0..5).map(|n| format!("worker {n}"));
    let expected: Vec<String> = expected.collect();
    assert_eq!(workers, expected.iter().map(String::as_str).collect());
    assert_eq!(last, "0 are left");
}

#[test]
fn processes_have_the_names_they_are_given_or_numbers() {
    let lines = run("names");
    for name in ["service", "worker 1", "Process-3"] {
        let at = |what: &str| lines.iter().position(|l| *l == format!("{name} {what}"));
        assert!(
            at("starts").is_some() && at("starts") < at("exits"),
            "{lines:#?}"
        );
    }
    let last = lines.last().map(String::as_str);
    assert_eq!(last, Some("all of MainProcess have exited"));
    assert_eq!(lines.len(), 7, "{lines:#?}");
}

#[test]
fn a_daemon_is_not_waited_for_at_the_exit_and_another_child_is() {
    let lines = run("daemon");
    let at = |line: &str| lines.iter().position(|l| l == line);
    assert!(
        at("other starts").is_some() && at("daemon exits").is_none(),
        "{lines:#?}"
    );
    assert!(
        at("the daemon has ended in time: false").is_some(),
        "{lines:#?}"
    );
    assert!(
        at("the daemon is alive: true") < at("main ends"),
        "{lines:#?}"
    );
    assert_eq!(
        lines.last().map(String::as_str),
        Some("other exits"),
        "{lines:#?}"
    );
}

#[test]
fn a_terminated_worker_is_alive_until_it_is_not() {
    let expected = [
        "started: alive true",
        "terminated",
        "joined: signal 15",
        "joined: alive false, exit code Some(-15)",
    ];
    assert_eq!(run("terminate"), expected);
}

#[test]
fn exit_codes_are_those_of_python() {
    let (lines, errors) = run_with_errors("exits");
    let expected = [
        "it returned 42",
        "it panicked: there is no spoon",
        "exits: 1",
        "returns: 0",
        "panics: 1",
        "terminated: -15",
    ];
    assert_eq!(lines, expected);
    assert!(
        errors.iter().any(|l| l == "there is no spoon"),
        "{errors:#?}"
    );
}

#[test]
fn log_lines_have_the_names_of_processes() {
    let (lines, errors) = run_with_errors("log");
    assert_eq!(lines, ["at work", "at work"]);
    let expected = [
        "[INFO/Process-1] the process begins",
        "[INFO/Process-1] the process ends with exit code 0",
        "[INFO/Process-2] the process begins",
        "[INFO/Process-2] the process ends with exit code 0",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn values_of_a_type_with_run_are_workers() {
    let lines = run("run");
    let returned = lines.iter().filter(|l| l.contains("returned"));
    let expected = (0..5).map(|n| format!("Squarer-{} returned {}", n + 1, n * n));
    assert!(returned.cloned().eq(expected), "{lines:#?}");
    let names = lines.iter().filter_map(|l| l.strip_prefix("in "));
    let names: BTreeSet<&str> = names.collect();
    assert!(names.iter().all(|n| n.starts_with("Squarer-")) && names.len() == 5);
}

#[test]
fn an_object_that_came_through_a_queue_works_in_the_child() {
    let lines = run("object");
    assert_eq!(lines, ["doing something fancy in Process-1 for Fancy Dan"]);
}

#[test]
fn threads_have_one_process_number_and_processes_have_many() {
    let lines = run("pids");
    let expected = [
        "threads: 4 results, 1 process(es)",
        "processes: 4 results, 4 process(es)",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_pool_of_three_does_all_that_pythons_pool_does() {
    let lines = run("pool");
    let (begins, lines): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| *line == "a worker begins");
    assert_eq!(begins.len(), 3);
    assert_eq!(
        lines,
        [
            "apply: 49",
            "map: [0, 1, 4, 9, 16, 25, 36, 49]",
            "starmap: [32, 9]",
            "imap: [0, 1, 4, 9, 16, 25, 36, 49]",
            "imap_unordered: {0, 1, 4, 9, 16, 25, 36, 49}",
            "map_async: [0, 1, 4, 9, 16, 25, 36, 49]",
            "callback: 144, in the parent: true",
            "3 workers did ten tasks",
            "no worker is left: true",
            "terminated: the pool was terminated before the task was done",
        ]
    );
}

#[test]
fn a_result_tells_when_it_is_ready_and_what_went_wrong() {
    let (lines, errors) = run_with_errors("results");
    assert_eq!(
        lines,
        [
            "ready: false",
            "successful: the task is not done yet",
            "not there after 50 ms",
            "ready: true, successful: true",
            "get: 42",
            "a worker panicked: assertion `left != right` failed: cannot divide 1 by zero",
            "successful: false",
            "the pool goes on: 2",
        ]
    );
    assert!(errors.iter().any(|line| line.contains("divide 1 by zero")));
}

#[test]
fn an_executor_keeps_order_and_its_callback_gets_the_future() {
    let lines = run("executor");
    assert_eq!(
        lines[..4],
        [
            "map: [1, 8, 27, 64, 125]",
            "the callback got 216",
            "first completed: [1], open: [0]",
            "all completed: [0, 1], open: []",
        ]
    );
    let completed: BTreeSet<&str> = lines[4..6].iter().map(String::as_str).collect();
    assert_eq!(completed, BTreeSet::from(["completed: 0", "completed: 8"]));
    assert_eq!(lines[6..], ["after shutdown: true"]);
}

#[test]
fn three_processes_serve_four_clients_of_whom_one_waits() {
    let lines = run("echo");
    let [first, second, third, waits, fourth, count] = &lines[..] else {
        panic!("{lines:#?}");
    };
    for (number, line) in (1..).zip([first, second, third, fourth]) {
        assert_eq!(line, &format!("echo: hello from {number}"));
    }
    assert_eq!(waits, "the fourth waits: true");
    assert!(numbers(count)[0] <= 3, "{count}");
    assert!(count.ends_with("none of them this one: true"), "{count}");
}
