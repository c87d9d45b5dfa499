//! Who has objects open: looking at these processes, signalling them, waiting for their end.

mod support;

use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Shell, end_of, text, until};

impl Shell {
    fn processes(&self) -> Vec<Value> {
        let listing = self.json(&["proc", "ls", "--json"]);
        assert_eq!(listing["schema"], 1);
        listing["processes"].as_array().unwrap().clone()
    }

    /// Somebody who holds a lock for as long as its command runs.
    fn holder(&self, lock: &str) -> Child {
        let sleeping = ["lock", "run", lock, "--", "sleep", "1000"];
        let holder = self.ipc(&sleeping).spawn().unwrap();
        until("the lock is held", || {
            self.processes()
                .iter()
                .any(|p| p["pid"] == holder.id() && p["objects"][0]["activity"] == "holding")
        });
        holder
    }
}

fn pid(child: &Child) -> String {
    child.id().to_string()
}

#[test]
fn ls_shows_each_process_once_with_all_that_it_has_open() {
    let shell = Shell::with_queue("q", 10);
    assert!(shell.processes().is_empty());
    assert_eq!(shell.ok(&["proc", "ls"]).lines().count(), 1, "headings");
    let (mut get, mut holder) = (shell.waiting_get("q"), shell.holder("deploy"));
    let found = shell.processes();
    assert_eq!(found.len(), 2);
    let one = |child: &Child| found.iter().find(|p| p["pid"] == child.id()).unwrap();
    let waiting = one(&get);
    assert_eq!(waiting["name"], "ipc");
    assert_eq!(
        (&waiting["state"], &waiting["process"]),
        (&"alive".into(), &"sleeping".into())
    );
    assert_eq!(waiting["parent"], std::process::id());
    assert_eq!(
        waiting["is_child"], false,
        "this test is no Process of the library's"
    );
    assert_eq!(waiting["objects"][0]["name"], "q");
    assert_eq!(waiting["objects"][0]["activity"], "attached");
    let table = shell.ok(&["proc", "ls"]);
    let row = table
        .lines()
        .find(|l| l.starts_with(&pid(&holder)))
        .unwrap();
    assert!(row.ends_with("deploy (holding)"), "{table}");
    holder.kill().unwrap();
    end_of(&mut holder);
    let dead = shell.processes();
    let dead = dead.iter().find(|p| p["pid"] == holder.id()).unwrap();
    assert_eq!(
        (&dead["state"], &dead["process"]),
        (&"dead".into(), &"gone".into())
    );
    get.kill().unwrap();
    end_of(&mut get);
}

#[test]
fn kill_says_whom_it_has_signalled_and_refuses_who_has_nothing_open() {
    let shell = Shell::with_queue("q", 10);
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let refused = shell.run(&["proc", "kill", "-s", "KILL", &pid(&stranger)]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(text(&refused.stderr).contains("no process"), "{refused:?}");
    let mut get = shell.waiting_get("q");
    let both = shell.run(&["proc", "kill", &pid(&get), &pid(&stranger)]);
    assert_eq!(
        both.status.code(),
        Some(3),
        "nobody is signalled if one word is wrong"
    );
    assert!(get.try_wait().unwrap().is_none());
    assert!(stranger.try_wait().unwrap().is_none());
    let said = shell.ok(&["proc", "kill", &pid(&get)]);
    assert_eq!(said, format!("sent SIGTERM to {} (ipc)\n", get.id()));
    assert_eq!(end_of(&mut get).code(), Some(143));
    assert_eq!(shell.code(&["proc", "kill", &pid(&get)]), 3);
    assert_eq!(shell.code(&["proc", "kill", "-s", "NONSENSE", "ipc"]), 2);
    stranger.kill().unwrap();
    end_of(&mut stranger);
}

#[test]
fn kill_by_name_means_all_of_that_name() {
    let shell = Shell::with_queue("q", 10);
    let (mut one, mut other) = (shell.waiting_get("q"), shell.waiting_get("q"));
    assert_eq!(shell.code(&["proc", "kill", "ip"]), 3);
    let said = shell.ok(&["proc", "kill", "--signal", "9", "ipc"]);
    assert_eq!(said.matches("sent SIGKILL to ").count(), 2, "{said}");
    for child in [&mut one, &mut other] {
        assert!(!end_of(child).success());
    }
    // They are dead and not swept, so known.
    assert_eq!(shell.code(&["proc", "wait", "ipc"]), 0);
    assert_eq!(shell.code(&["proc", "kill", "ipc"]), 3);
}

#[test]
fn wait_ends_with_the_processes_or_at_its_timeout() {
    let shell = Shell::with_queue("q", 10);
    assert_eq!(shell.code(&["proc", "wait", "ipc"]), 3);
    let mut get = shell.waiting_get("q");
    let late = shell.run(&["proc", "wait", &pid(&get), "--timeout", "50ms"]);
    assert_eq!(late.status.code(), Some(5), "{late:?}");
    let mut wait = shell.ipc(&["proc", "wait", "ipc"]).spawn().unwrap();
    let mut stopped = shell.ipc(&["proc", "wait", "ipc"]).spawn().unwrap();
    for waiting in [&wait, &stopped] {
        until("it watches", || has_a_pidfd(waiting.id()));
    }
    kill_process(Pid::from_child(&stopped), Signal::INT).unwrap();
    assert_eq!(end_of(&mut stopped).code(), Some(130));
    assert!(wait.try_wait().unwrap().is_none());
    get.kill().unwrap();
    end_of(&mut get);
    assert_eq!(end_of(&mut wait).code(), Some(0));
}

fn has_a_pidfd(pid: u32) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let mut links = descriptors.into_iter().flatten().flatten();
    links.any(|fd| {
        std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("[pidfd]"))
    })
}

#[test]
fn members_of_a_family_are_named_behind_their_manager() {
    use ipc_core::{Manager, Namespace, Queue};
    let shell = Shell::new();
    let namespace = Namespace::at(shell.dir()).unwrap();
    let team = Manager::options()
        .namespace(&namespace)
        .create("team")
        .unwrap();
    let jobs = Queue::<u32>::options(8).namespace(&team.members());
    let jobs = jobs.create("jobs").unwrap();
    let found = shell.processes();
    assert_eq!(found.len(), 1);
    let names: Vec<_> = found[0]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["name"])
        .collect();
    assert_eq!(names, ["team", "team/jobs"]);
    drop((jobs, team));
}
