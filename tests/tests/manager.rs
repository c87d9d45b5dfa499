//! Families of objects, whose users are real processes and get killed.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use ipc_core::{Manager, Namespace};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

struct Stage {
    namespace: Namespace,
    directory: TrialDirectory,
}

impl Stage {
    fn new() -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        Self {
            namespace: Namespace::at(directory.path()).expect("a namespace"),
            directory,
        }
    }

    fn puppet(&self) -> Puppet {
        Puppet::start(PUPPET, self.directory.path())
    }

    fn families(&self) -> Vec<PathBuf> {
        let dir = self.namespace.path().join(".families");
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    fn leftovers(&self) -> usize {
        self.namespace.leftovers().unwrap().len()
    }

    /// Waits until the kernel has freed what its users had, and collects the only family.
    fn collect_the_dead(&self) {
        wait_until("it is left over", || self.leftovers() == 1);
        let collected = self.namespace.collect().unwrap().removed;
        assert!(
            collected.len() == 1 && collected[0].bytes > 0,
            "{collected:?}"
        );
        assert_eq!(self.families(), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_family_stays_with_whoever_is_left_and_goes_as_a_whole_when_all_are_killed() {
    let stage = Stage::new();
    let (mut maker, mut user) = (stage.puppet(), stage.puppet());
    maker.must("family new");
    let (first, second) = (maker.must("family make"), maker.must("family make"));
    maker.must("family put from the maker");
    user.must(&format!("family take {first}"));
    maker.kill();
    // Nobody has the second one, and it is there.
    assert_eq!(stage.namespace.collect().unwrap().removed, []);
    user.must(&format!("family take {second}"));
    assert_eq!(user.must("family get"), "from the maker");
    user.must("family leave");
    assert_eq!(
        stage.families(),
        [] as [PathBuf; 0],
        "gone with its last user"
    );
    assert!(user.ask(&format!("family take {first}")).starts_with("err"));

    user.must("family new");
    let letter = user.must("family letter");
    user.must("family make");
    let mut other = stage.puppet();
    other.must(&format!("family come {letter}"));
    other.must("family make");
    let bytes = |dir: &PathBuf| fs::read_dir(dir).unwrap().count();
    assert_eq!(bytes(&stage.families()[0]), 3);
    user.kill();
    other.kill();
    stage.collect_the_dead();
}

#[test]
fn the_dead_are_collected_by_who_makes_the_next_family() {
    let stage = Stage::new();
    let mut maker = stage.puppet();
    maker.must("family new");
    maker.must("family make");
    maker.kill();
    wait_until("it is left over", || stage.leftovers() == 1);
    stage.puppet().must("family new");
    wait_until("its successor's users are gone", || {
        stage.namespace.collect().unwrap();
        stage.families().is_empty()
    });
}

#[test]
fn a_member_inside_another_is_the_same_for_all_and_keeps_the_family() {
    let stage = Stage::new();
    let (mut maker, mut one, mut two) = (stage.puppet(), stage.puppet(), stage.puppet());
    maker.must("family new");
    let outer = maker.must("family make-nested");
    one.must(&format!("family take-nested {outer}"));
    maker.kill();
    one.must("family put changed");
    two.must(&format!("family get-nested {outer}"));
    one.kill();
    wait_until("the dead are gone", || stage.namespace.collect().is_ok());
    assert_eq!(two.must("family get"), "changed", "by who is dead now");
    assert_eq!(stage.families().len(), 1, "the inner one keeps the family");
    two.kill();
    stage.collect_the_dead();
}

#[test]
fn a_forked_child_is_a_user_of_its_own() {
    let stage = Stage::new();
    let mut parent = stage.puppet();
    parent.must("family new");
    let letter = parent.must("family make");
    parent.must("fork-and family put from a child that ended");
    assert_eq!(parent.must("family get"), "from a child that ended");
    let child: i32 = parent
        .must("fork-hold family put from the child")
        .parse()
        .unwrap();
    parent.kill();
    let mut other = stage.puppet();
    wait_until("the parent is gone", || stage.namespace.collect().is_ok());
    other.must(&format!("family take {letter}"));
    assert_eq!(other.must("family get"), "from the child");
    other.kill();
    assert_eq!(
        stage.namespace.collect().unwrap().removed,
        [],
        "the child has it"
    );
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    stage.collect_the_dead();
}

#[test]
fn a_stopped_user_keeps_the_family() {
    let stage = Stage::new();
    let mut user = stage.puppet();
    user.must("family new");
    let letter = user.must("family make");
    user.must("family put kept");
    user.must("family forget-members");
    user.signal(Signal::SIGSTOP);
    assert_eq!(stage.namespace.collect().unwrap().removed, []);
    let mut other = stage.puppet();
    other.must(&format!("family take {letter}"));
    assert_eq!(other.must("family get"), "kept");
    user.signal(Signal::SIGCONT);
    user.kill();
    other.kill();
    stage.collect_the_dead();
}

#[test]
fn a_named_family_outlives_its_users_until_its_name_goes() {
    let stage = Stage::new();
    let mut maker = stage.puppet();
    maker.must("family create team");
    let letter = maker.must("family make");
    maker.must("family put waits");
    maker.kill();
    let mut user = stage.puppet();
    user.must("family open team");
    user.must(&format!("family take {letter}"));
    assert_eq!(user.must("family get"), "waits");
    user.must("family unlink");
    user.must("family put still there");
    let late = stage.puppet().ask("family open team");
    assert!(late.contains("not found"), "{late}");
    user.kill();
    stage.collect_the_dead();
}

#[test]
fn nothing_stays_of_families_whose_users_are_killed_all_the_time() {
    let stage = Stage::new();
    let mut random = Random::new(7);
    let mut crowd: Vec<Puppet> = Vec::new();
    for round in 0..60 {
        if crowd.len() == 4 {
            let mut victim = crowd.swap_remove(random.below(4) as usize);
            assert!(!victim.has_answer(Duration::ZERO), "{}", victim.answer());
            victim.kill();
        }
        let mut puppet = stage.puppet();
        puppet.tell(&format!("family churn {round}"));
        crowd.push(puppet);
        // How long they live is what is random here.
        thread::sleep(Duration::from_millis(random.below(20)));
    }
    for mut puppet in crowd {
        assert!(!puppet.has_answer(Duration::ZERO), "{}", puppet.answer());
        puppet.kill();
    }
    for name in stage.namespace.list().unwrap() {
        let team = Manager::options().namespace(&stage.namespace).open(&name);
        team.unwrap().event().unwrap();
        wait_until("its users are gone", || {
            stage.namespace.unlink_unused(&name).is_ok()
        });
    }
    wait_until("nothing is left", || {
        stage.namespace.collect().unwrap();
        // What was killed before it was anything stays for a minute, empty.
        stage
            .families()
            .iter()
            .all(|dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_none()))
    });
}
