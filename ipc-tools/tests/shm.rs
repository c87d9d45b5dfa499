//! `ipc shm`: raw blocks, which are not in a namespace.

mod support;

use std::fs;

use ipc_core::SharedMemory;
use support::{Shell, text};

/// A name of a test's own, gone with it.
struct Name(String);

impl Name {
    fn new(test: &str) -> Self {
        Self(format!("ipc-tools-{test}-{}", std::process::id()))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = SharedMemory::remove(&self.0);
    }
}

#[test]
fn a_block_is_made_filled_shown_and_removed() {
    let (shell, name) = (Shell::new(), Name::new("life"));
    let name = name.0.as_str();
    shell.ok(&["shm", "create", name, "--size", "4KiB", "--mode", "640"]);
    let loaded = shell.feed(&["shm", "load", name, "--offset", "16"], b"hello, world");
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(shell.run(&["shm", "dump", name]).stdout.len(), 4096);
    let dumped = shell.ok(&["shm", "dump", name, "--offset", "16", "--count", "5"]);
    assert_eq!(dumped, "hello");
    let shown = shell.ok(&[
        "shm", "dump", name, "--hex", "--offset", "16", "--count", "12",
    ]);
    assert!(
        shown.starts_with("00000010  68 65 6c 6c 6f 2c 20 77  6f 72 6c 64"),
        "{shown}"
    );
    assert!(shown.ends_with("|hello, world|\n"), "{shown}");
    let listed = shell.json(&["shm", "ls", "--json"]);
    let listed = listed["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["name"] == name);
    let block = listed.unwrap();
    assert_eq!(
        (block["size"].as_u64(), block["mode"].as_str()),
        (Some(4096), Some("0640"))
    );
    let table = shell.ok(&["shm", "ls"]);
    assert!(
        table.starts_with("NAME ") && table.contains(name),
        "{table}"
    );
    let dry = shell.ok(&["shm", "rm", "--dry-run", name]);
    assert_eq!(dry, format!("would remove {name}\n"));
    shell.ok(&["shm", "rm", name]);
    assert_eq!(shell.code(&["shm", "dump", name]), 3);
    assert_eq!(shell.code(&["shm", "rm", name]), 3);
    assert_eq!(shell.code(&["shm", "rm", "--dry-run", name]), 3);
}

#[test]
fn files_go_in_and_out_byte_by_byte() {
    let (shell, name) = (Shell::new(), Name::new("files"));
    let (file, all) = (shell.hidden("file"), (0..=255u8).cycle().take(200_001));
    let all: Vec<u8> = all.collect();
    fs::write(&file, &all).unwrap();
    shell.ok(&["shm", "create", &name.0, "--size", "200001"]);
    shell.ok(&["shm", "load", &name.0, file.to_str().unwrap()]);
    assert_eq!(shell.run(&["shm", "dump", &name.0]).stdout, all);
    let output = shell.sh(&format!("ipc shm dump {} | head -c 10 | wc -c", name.0));
    assert_eq!(text(&output.stdout).trim(), "10");
    assert_eq!(
        text(&output.stderr),
        "",
        "a reader that has enough is no error"
    );
    // What is too long: a file is not begun, of a stream what fits is there.
    let again = ["shm", "load", &name.0, "--offset", "1"];
    let refused = shell.run(&[&again[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(shell.run(&["shm", "dump", &name.0]).stdout, all);
    let refused = shell.feed(&again, &all);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("what fits"));
    assert_eq!(
        shell.run(&["shm", "dump", &name.0]).stdout[1..],
        all[..200_000]
    );
}

#[test]
fn what_cannot_be_is_said_with_its_own_exit_code() {
    let (shell, name) = (Shell::new(), Name::new("codes"));
    let create = ["shm", "create", &name.0, "--size"];
    let with = |size| [&create[..], &[size]].concat();
    assert_eq!(shell.code(&with("0")), 2);
    assert_eq!(shell.code(&with("100T")), 1, "no space");
    assert_eq!(
        shell.code(&["shm", "dump", &name.0]),
        3,
        "and nothing is left"
    );
    shell.ok(&with("100"));
    assert_eq!(shell.code(&with("100")), 4);
    shell.ok(&[&with("50")[..], &["--if-missing"]].concat());
    for dump in [["--offset", "101"], ["--count", "101"]] {
        assert_eq!(
            shell.code(&[&["shm", "dump", &name.0], &dump[..]].concat()),
            2
        );
    }
    assert_eq!(shell.code(&["shm", "load", &name.0, "--offset", "101"]), 2);
    assert_eq!(shell.code(&["shm", "create", "a/b", "--size", "1"]), 2);
    assert_eq!(shell.ok(&["shm", "dump", &name.0, "--offset", "100"]), "");
}
