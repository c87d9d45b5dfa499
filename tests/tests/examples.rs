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
    let program = examples().join(name);
    let place = std::env::temp_dir().join(format!("ipc-examples-{name}-{}", std::process::id()));
    fs::create_dir(&place).expect("make a folder");
    let mut child = Command::new(program)
        .env("TMPDIR", &place)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example can be run");
    let mut output = child.stdout.take().expect("it was asked for");
    let reader = thread::spawn(move || std::io::read_to_string(&mut output));
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
    assert!(status.success(), "{name}: {status}\n{output}");
    fs::remove_dir(&place).expect("the example removes what it made");
    output.lines().map(str::to_owned).collect()
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
