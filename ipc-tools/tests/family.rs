//! What `ipc` says about families of objects, and how it removes and repairs them.

mod support;

use std::fs;

use ipc_core::{Bytes, Manager, Namespace, Queue};
use support::{Shell, text};

impl Shell {
    fn team(&self) -> Manager {
        let namespace = Namespace::at(self.dir()).unwrap();
        let team = Manager::options().namespace(&namespace).create("team");
        team.unwrap()
    }

    fn families(&self) -> usize {
        fs::read_dir(self.hidden("families")).map_or(0, Iterator::count)
    }
}

#[test]
fn a_family_is_shown_with_its_members_and_removed_with_them() {
    let shell = Shell::new();
    let team = shell.team();
    let jobs = Queue::<Bytes>::options(8).namespace(&team.members());
    let (jobs, lock) = (jobs.create("jobs").unwrap(), team.lock().unwrap());
    let listed = shell.json(&["ls", "--json"]);
    let object = &listed["objects"][0];
    assert_eq!(
        (&object["name"], &object["kind"]),
        (&"team".into(), &"manager".into())
    );
    let members = object["family"]["members"].as_array().unwrap();
    let kinds: Vec<_> = members
        .iter()
        .map(|m| (&m["name"], m["kind"].as_str()))
        .collect();
    assert_eq!(kinds.len(), 2);
    assert!(
        kinds.contains(&(&"jobs".into(), Some("queue"))),
        "{kinds:?}"
    );
    assert!(shell.ok(&["ls"]).contains("2 members"));
    let stat = shell.ok(&["stat", "team"]);
    assert!(
        stat.contains("jobs: queue of bytes") && stat.contains("-: lock"),
        "{stat}"
    );
    assert_eq!(shell.who("team").len(), 1);
    assert!(shell.run(&["doctor"]).status.success());
    assert_eq!(shell.code(&["rm", "team"]), 6, "it is in use");
    drop((team, jobs, lock));
    assert_eq!(shell.families(), 1);
    shell.ok(&["rm", "team"]);
    assert_eq!(
        (shell.families(), shell.ok(&["ls"]).lines().count()),
        (0, 1)
    );
}

#[test]
fn a_doctor_collects_the_family_of_the_dead_as_a_whole() {
    let shell = Shell::new();
    let team = shell.team();
    team.queue::<Bytes>(8).unwrap();
    drop(team);
    // As its users leave it when they are killed after its name was removed.
    fs::remove_file(shell.dir().join("team")).unwrap();
    let found = shell.run(&["doctor"]);
    assert_eq!(found.status.code(), Some(10), "{found:?}");
    assert!(
        text(&found.stdout).contains("1 nameless family"),
        "{found:?}"
    );
    assert!(shell.run(&["doctor", "--fix"]).status.success());
    assert_eq!(shell.families(), 0);
    assert!(shell.run(&["doctor"]).status.success());
}
