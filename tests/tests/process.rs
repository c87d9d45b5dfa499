//! Processes that start processes: what comes back, how they end, and who outlives whom.
//!
//! Each test runs a scenario of `ipc_tests::parent` in a process of its own, whose program its children are copies of.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ipc_core::{ProcessExit, WaitSet, wait};
use ipc_tests::parent::survival::{DAEMONS, signed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PARENT: &str = env!("CARGO_BIN_EXE_parent");
/// No scenario takes so long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory of one test's own.
struct Place(PathBuf);

impl Place {
    fn new(scenario: &str) -> Self {
        let name = format!("ipc-process-{scenario}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("make a directory");
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("remove the directory");
    }
}

/// Not a pipe: who outlives the scenario may have it, too.
fn errors(place: &Place) -> PathBuf {
    place.0.join("errors")
}

fn start(program: &Path, scenario: &str, place: &Place) -> Child {
    let mut command = Command::new(program);
    let errors = File::create(errors(place)).expect("make a file");
    command.arg(scenario).arg(&place.0).stderr(errors);
    command.stdin(Stdio::null());
    command.spawn().expect("the scenario can be run")
}

/// Waits until a process has ended, for so long.
fn has_ended(exit: &ProcessExit, limit: Duration) -> bool {
    !wait(&[exit], Some(limit))
        .expect("it can be watched")
        .is_empty()
}

fn end(mut child: Child, scenario: &str, place: &Place) {
    let exit = wait(&[&child], Some(LIMIT)).expect("it can be watched");
    if exit.is_empty() {
        child.kill().expect("it can be killed");
    }
    let status = child.wait().expect("it has ended");
    let said = fs::read_to_string(errors(place)).unwrap_or_default();
    assert!(!exit.is_empty(), "{scenario} does not end\n{said}");
    assert!(status.success(), "{scenario}: {status}\n{said}");
}

fn run(scenario: &str) {
    let place = Place::new(scenario);
    end(start(Path::new(PARENT), scenario, &place), scenario, &place);
}

macro_rules! scenarios {
    ($($test:ident: $scenario:literal;)*) => {$(
        #[test]
        fn $test() {
            run($scenario);
        }
    )*};
}

scenarios! {
    any_function_of_any_arguments_returns_its_value: "values";
    handles_travel_and_stay_open_until_they_have_arrived: "handles";
    ten_megabytes_go_and_come_back: "big";
    what_cannot_be_encoded_or_decoded_is_told: "bad_matter";
    workers_have_names_of_their_own: "workers";
    panics_come_back_with_message_and_place: "panics";
    signals_are_exit_codes_and_never_hit_a_stranger: "signals";
    a_stopped_child_is_alive: "stopped";
    a_function_that_does_not_return_is_told: "exits";
    a_child_that_closes_its_descriptors_still_returns: "closed";
    a_forked_copy_of_a_child_returns_nothing: "copies";
    any_text_is_a_name: "names";
    environment_directory_and_streams_are_as_they_are_set: "environment";
    children_hear_the_signals_that_their_parent_ignores: "dispositions";
    lines_of_logs_have_names_and_do_not_mix: "logs";
    other_programs_are_children_too: "commands";
    other_programs_are_started_by_their_files: "programs";
    a_program_that_does_not_call_init_is_told: "unborn";
    many_threads_start_and_join_at_once: "threads";
    short_lived_children_leave_nothing: "many";
    a_forked_child_leaves_its_parents_children_alone: "forks";
    children_forked_among_busy_threads_work: "forks-among-threads";
    ends_of_processes_can_be_waited_for_with_other_things: "sets";
    a_parent_that_ignores_sigchld_has_values: "unheard";
}

#[test]
fn a_program_whose_file_is_replaced_starts_itself_nevertheless() {
    let place = Place::new("replaced");
    let copy = place.0.join("copy of parent");
    fs::copy(PARENT, &copy).expect("copy the program");
    end(start(&copy, "replaced", &place), "replaced", &place);
}

#[test]
#[ignore = "some minutes; .ci/run --long runs it"]
fn ten_thousand_short_lived_children_leave_nothing() {
    let place = Place::new("ten-thousand");
    let mut command = Command::new(PARENT);
    command
        .arg("many")
        .arg(&place.0)
        .env("IPC_TEST_MANY", "10000");
    let status = command.status().expect("the scenario can be run");
    assert!(status.success(), "{status}");
}

#[test]
fn daemons_end_with_a_parent_that_is_killed() {
    for round in 0..3 {
        let place = Place::new(&format!("orphans-{round}"));
        let mut parent = start(Path::new(PARENT), "orphans", &place);
        signed(&place.0, "parent");
        let survivor = signed(&place.0, "survivor");
        let exits = DAEMONS.map(|name| {
            let pid = signed(&place.0, name);
            let exit = ProcessExit::of(pid).expect("it lives");
            assert!(!has_ended(&exit, Duration::ZERO), "{name} lives");
            exit
        });
        parent.kill().expect("it lives");
        parent.wait().expect("it was killed");
        for (name, exit) in DAEMONS.iter().zip(&exits) {
            assert!(has_ended(exit, LIMIT), "{name} outlives its parent");
        }
        let exit = ProcessExit::of(survivor).expect("it lives on");
        assert!(!has_ended(&exit, Duration::from_millis(20)));
        kill(Pid::from_raw(survivor.cast_signed()), Signal::SIGKILL).expect("it lives on");
        assert!(has_ended(&exit, LIMIT));
    }
}

#[test]
fn at_a_normal_exit_daemons_are_ended_and_others_are_waited_for() {
    let place = Place::new("leaves");
    let parent = start(Path::new(PARENT), "leaves", &place);
    let daemon = signed(&place.0, "daemon");
    let exit = ProcessExit::of(daemon);
    end(parent, "leaves", &place);
    assert!(
        place.0.join("last").exists(),
        "the other one was waited for"
    );
    let mut set = WaitSet::new();
    if let Ok(exit) = &exit {
        set.add((), exit).expect("it can be watched");
        assert_eq!(
            set.try_wait().expect("it can be watched"),
            [()],
            "the daemon has ended"
        );
    }
}

#[test]
fn a_daemon_that_hears_nothing_is_killed_at_the_exit_of_its_parent() {
    let place = Place::new("stubborn");
    let parent = start(Path::new(PARENT), "stubborn", &place);
    let exit = ProcessExit::of(signed(&place.0, "daemon"));
    end(parent, "stubborn", &place);
    assert!(exit.is_err() || has_ended(&exit.expect("it is watched"), Duration::ZERO));
}
