//! The main job on real input, while processes are killed.

mod support;

use std::{fs, process::Stdio};

use rustix::process::Signal;
use support::{Shell, end_of, signal, text, until};

#[test]
fn the_demo_counts_real_files_exactly_while_workers_are_killed() {
    let shell = Shell::new();
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../ipc-core/src/error.rs");
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endings.rs");
    let report = shell.json(&[
        "demo",
        "--json",
        "--kill",
        "5",
        "--workers",
        "3",
        "--chunk",
        "4K",
        sources,
        here,
    ]);
    assert_eq!(report["is_exact"], true);
    assert_eq!(report["workers_killed_with_a_chunk"], 5);
    assert!(report["chunks_given_again"].as_u64().unwrap() >= 5);
    let bytes = fs::metadata(sources).unwrap().len() + fs::metadata(here).unwrap().len();
    assert_eq!(report["bytes"], bytes);
    assert!(
        fs::read_dir(shell.dir()).unwrap().next().is_none(),
        "something was left behind"
    );
}

#[test]
fn the_demo_counts_what_a_person_would() {
    let shell = Shell::new();
    let file = shell.hidden("text");
    fs::write(&file, "the cat and THE Hat\n").unwrap();
    let output = shell.ok(&["demo", file.to_str().unwrap()]);
    assert!(output.contains("2      the\n"), "{output}");
    assert!(output.contains("5 words, 4 distinct"), "{output}");
    assert!(
        output.contains("2 worker(s) killed with a chunk in hand"),
        "{output}"
    );
    assert!(output.contains("nothing lost"), "{output}");
}

#[test]
fn an_empty_file_has_no_words_and_nobody_to_kill() {
    let shell = Shell::new();
    let output = shell.run(&["demo", "/dev/null"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "a device cannot be read twice"
    );
    let file = shell.hidden("empty");
    fs::write(&file, "").unwrap();
    let output = shell.run(&["demo", file.to_str().unwrap()]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("0 words"), "{output:?}");
    assert!(text(&output.stderr).contains("0 of 2 kills"), "{output:?}");
}

#[test]
fn input_without_lines_or_text_is_counted_as_well() {
    let shell = Shell::new();
    let (line, noise) = (shell.hidden("line"), shell.hidden("noise"));
    fs::write(&line, "x".repeat(300_000)).unwrap();
    let bytes: Vec<u8> = (0..300_000_u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    fs::write(&noise, bytes).unwrap();
    let report = shell.json(&[
        "demo",
        "--json",
        line.to_str().unwrap(),
        noise.to_str().unwrap(),
    ]);
    assert_eq!(report["is_exact"], true);
    assert_eq!(report["workers_killed_with_a_chunk"], 2);
}

#[test]
fn the_demo_leaves_nothing_behind_however_it_ends() {
    let shell = Shell::new();
    let file = shell.hidden("text");
    fs::write(&file, "lorem ipsum dolor sit amet ".repeat(40_000)).unwrap();
    let directory = || {
        let mut names = fs::read_dir(shell.dir())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.starts_with(".demo-"))
    };
    for (number, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut demo = shell
            .ipc(&["demo", "--repeat", "1000000", file.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("it runs", directory);
        until("its queues are there", || {
            let arena = shell.dir().join(format!(".demo-{}", demo.id()));
            arena.join("reports").exists()
                && shell.code(&["--dir", arena.to_str().unwrap(), "who", "reports"]) == 0
        });
        signal(&demo, number);
        assert_eq!(end_of(&mut demo).code(), code);
        until("its directory is gone", || !directory());
    }
}

#[test]
fn the_demo_survives_the_death_of_any_of_its_processes() {
    let shell = Shell::new();
    let file = shell.hidden("text");
    fs::write(&file, "lorem ipsum dolor sit amet ".repeat(100_000)).unwrap();
    let demo = shell
        .ipc(&["demo", "--json", "--repeat", "5", file.to_str().unwrap()])
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", demo.id());
    let mut killed = 0;
    while killed < 6 {
        // A child may be gone before it is killed, and the demo may be done before all were.
        let Ok(pids) = fs::read_to_string(&children) else {
            break;
        };
        for pid in pids.split_ascii_whitespace().filter_map(|p| p.parse().ok()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            killed += u32::from(rustix::process::kill_process(pid, Signal::KILL).is_ok());
        }
    }
    let output = demo.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        text(&output.stdout).contains("\"is_exact\": true"),
        "{output:?}"
    );
}
