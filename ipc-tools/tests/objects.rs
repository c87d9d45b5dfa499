//! Looking at objects, removing them, repairing them: live, dead, damaged and foreign ones.

mod support;

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;
use support::{Shell, end_of, signal, text, until};

/// One good queue, and all sorts of others.
fn zoo() -> Shell {
    let shell = Shell::with_queue("good", 10);
    for name in ["cut", "garbled"] {
        shell.ok(&["queue", "create", name, "--capacity", "10"]);
    }
    let cut = fs::File::options()
        .write(true)
        .open(shell.dir().join("cut"))
        .unwrap();
    cut.set_len(8192).unwrap();
    fs::write(
        shell.dir().join("foreign"),
        "somebody's notes\n".repeat(1000),
    )
    .unwrap();
    fs::write(shell.dir().join("bad name"), "").unwrap();
    fs::create_dir(shell.dir().join("directory")).unwrap();
    symlink("/etc/passwd", shell.dir().join("link")).unwrap();
    shell
}

#[test]
fn ls_shows_what_is_damaged_or_foreign_as_such() {
    let shell = zoo();
    let table = shell.ok(&["ls"]);
    let row = |name: &str| {
        table
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(table.starts_with("NAME"));
    assert!(!table.contains('\x1b'), "colours in a pipe");
    assert!(row("good").contains("0/10"));
    assert!(row("cut").contains("damaged"));
    for foreign in ["foreign", "bad name", "directory", "link"] {
        let rest = row(foreign).split_off(foreign.len());
        assert!(rest.contains("foreign"), "{rest}");
    }
    let json = shell.json(&["ls", "--json"]);
    assert_eq!(json["schema"], 1);
    let objects = json["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 7);
    assert!(
        objects
            .iter()
            .any(|o| o["name"] == "cut" && o["state"] == "damaged")
    );
    assert!(
        objects
            .iter()
            .any(|o| o["name"] == "good" && o["queue"]["capacity"] == 10)
    );
}

#[test]
fn stat_tells_why_a_file_cannot_be_used() {
    let shell = zoo();
    let all = shell.run(&["stat", "good", "cut", "foreign", "nobody"]);
    assert_eq!(all.status.code(), Some(9));
    assert!(
        text(&all.stdout).contains("messages        0 of 10"),
        "{all:?}"
    );
    for said in ["truncated", "not an ipc object", "not found"] {
        assert!(text(&all.stderr).contains(said), "{all:?}");
    }
    assert_eq!(shell.code(&["stat", "cut"]), 9);
    assert_eq!(shell.code(&["stat", "nobody"]), 3);
    assert_eq!(shell.code(&["stat", "link"]), 8);
}

#[test]
fn who_shows_living_stopped_and_dead_participants() {
    let shell = Shell::with_queue("q", 10);
    assert!(shell.who("q").is_empty());
    let mut get = shell.waiting_get("q");
    let who = shell.who("q");
    assert_eq!(who.len(), 1);
    assert_eq!(
        (&who[0]["state"], &who[0]["name"]),
        (&"alive".into(), &"ipc".into())
    );
    signal(&get, Signal::STOP);
    until("it is stopped", || {
        shell.who("q")[0]["process"] == "stopped"
    });
    assert_eq!(shell.who("q")[0]["state"], "alive");
    get.kill().unwrap();
    assert!(!end_of(&mut get).success());
    let who = shell.who("q");
    assert_eq!(
        (&who[0]["state"], &who[0]["process"]),
        (&"dead".into(), &"gone".into())
    );
    assert!(
        shell
            .ok(&["who", "q"])
            .lines()
            .nth(1)
            .unwrap()
            .contains("dead")
    );
    assert!(shell.ok(&["ls"]).contains("0+1 dead"));
    assert!(shell.ok(&["stat", "q"]).contains("1 dead and not swept"));
}

#[test]
fn doctor_finds_and_fixes_what_the_dead_left() {
    let shell = Shell::with_queue("q", 10);
    let healthy = shell.run(&["doctor"]);
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    let mut get = shell.waiting_get("q");
    get.kill().unwrap();
    end_of(&mut get);
    // A younger one may still be in the making.
    let half_made = fs::File::create(shell.hidden("new-half-made")).unwrap();
    half_made
        .set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    let sick = shell.run(&["doctor"]);
    assert_eq!(sick.status.code(), Some(10), "{sick:?}");
    assert!(
        text(&sick.stdout).contains("1 dead participant"),
        "{sick:?}"
    );
    assert!(text(&sick.stdout).contains("of dead processes"), "{sick:?}");
    assert_eq!(shell.who("q").len(), 1, "doctor repairs only when told to");
    let report = shell.json(&["doctor", "--fix", "--json"]);
    assert_eq!(report["problems"], 0);
    assert!(
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["repair"] == "fixed")
    );
    assert!(shell.who("q").is_empty());
    assert!(!shell.hidden("new-half-made").exists());
    assert_eq!(shell.code(&["doctor"]), 0);
}

#[test]
fn doctor_reports_damaged_and_foreign_files_and_leaves_them_alone() {
    let shell = zoo();
    let before = shell.ok(&["ls"]).lines().count();
    let output = shell.run(&["doctor", "--fix"]);
    assert_eq!(output.status.code(), Some(10));
    for name in ["cut", "foreign", "bad name", "directory", "link"] {
        assert!(text(&output.stdout).contains(name), "{name}: {output:?}");
    }
    assert!(!text(&output.stdout).contains("good"), "{output:?}");
    assert_eq!(shell.ok(&["ls"]).lines().count(), before);
}

#[test]
fn rm_refuses_what_is_in_use_unless_forced() {
    let shell = Shell::with_queue("q", 10);
    let mut get = shell.waiting_get("q");
    let refused = shell.run(&["rm", "q"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(
        text(&refused.stderr).contains("in use by 1 process"),
        "{refused:?}"
    );
    assert_eq!(shell.code(&["rm", "--dry-run", "q"]), 6);
    assert_eq!(
        shell.ok(&["rm", "--dry-run", "--force", "q"]),
        "would remove q\n"
    );
    assert_eq!(shell.who("q").len(), 1);
    shell.ok(&["rm", "--force", "q"]);
    assert_eq!(shell.code(&["stat", "q"]), 3);
    // Who has it open keeps it.
    assert!(get.try_wait().unwrap().is_none());
    signal(&get, Signal::INT);
    assert_eq!(end_of(&mut get).code(), Some(130));
}

#[test]
fn rm_removes_what_only_the_dead_used_and_what_is_damaged_but_no_foreign_file() {
    let shell = zoo();
    let mut get = shell.waiting_get("good");
    get.kill().unwrap();
    end_of(&mut get);
    assert_eq!(
        shell.ok(&["rm", "--dry-run", "good", "cut"]),
        "would remove good\nwould remove cut\n"
    );
    shell.ok(&["rm", "good", "cut"]);
    assert_eq!(shell.code(&["rm", "good"]), 3);
    assert_eq!(shell.code(&["rm", "foreign"]), 9);
    assert!(shell.dir().join("foreign").exists());
    shell.ok(&["rm", "--force", "foreign"]);
    assert!(!shell.dir().join("foreign").exists());
    // One failure does not keep the others.
    let output = shell.run(&["rm", "nobody", "garbled"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!shell.dir().join("garbled").exists());
}

#[test]
fn completions_and_manual_pages_can_be_made() {
    let shell = Shell::new();
    for shell_name in ["bash", "zsh", "fish"] {
        assert!(shell.ok(&["completions", shell_name]).contains("queue"));
    }
    let man = shell.hidden("man");
    shell.ok(&["man", man.to_str().unwrap()]);
    assert!(man.join("ipc.1").exists());
    assert!(man.join("ipc-queue-get.1").exists());
}

#[test]
fn every_verb_has_help_with_examples() {
    let shell = Shell::new();
    let verbs: [&[&str]; 20] = [
        &["ls"],
        &["stat"],
        &["who"],
        &["rm"],
        &["doctor"],
        &["demo"],
        &["completions"],
        &["man"],
        &["queue", "create"],
        &["queue", "put"],
        &["queue", "get"],
        &["queue", "peek"],
        &["queue", "close"],
        &["pool", "run"],
        &["pool", "status"],
        &["pool", "scale"],
        &["pool", "drain"],
        &["proc", "ls"],
        &["proc", "kill"],
        &["proc", "wait"],
    ];
    for verb in verbs {
        let help = shell.ok(&[verb, &["--help"]].concat());
        assert!(help.contains("Examples:"), "{verb:?}");
    }
    assert!(shell.ok(&["--help"]).contains("Exit codes:"));
}
