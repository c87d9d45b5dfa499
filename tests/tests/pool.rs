//! Pools: what comes back, what becomes of tasks whose workers die, and that nothing is left of any of it.
//!
//! Each test runs a scenario of `ipc_tests::parent` in a process of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ipc_core::{ProcessExit, wait};
use ipc_tests::parent::survival::signed;

const PARENT: &str = env!("CARGO_BIN_EXE_parent");
/// No scenario takes so long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(100);

/// A directory of one test's own.
struct Place(PathBuf);

impl Place {
    fn new(scenario: &str) -> Self {
        let name = format!("ipc-{scenario}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("make a directory");
        Self(path)
    }

    fn start(&self, scenario: &str, settings: &[(&str, &str)]) -> Child {
        let errors = File::create(self.0.join("errors")).expect("make a file");
        let mut command = Command::new(PARENT);
        command.arg(scenario).arg(&self.0);
        command.stdin(Stdio::null()).stderr(errors);
        command.envs(settings.iter().copied());
        command.spawn().expect("the scenario can be run")
    }

    fn end(&self, mut child: Child, scenario: &str, limit: Duration) {
        let exit = wait(&[&child], Some(limit)).expect("it can be watched");
        if exit.is_empty() {
            child.kill().expect("it can be killed");
        }
        let status = child.wait().expect("it has ended");
        let said = fs::read_to_string(self.0.join("errors")).unwrap_or_default();
        let start = said.len().saturating_sub(10_000);
        let said = said.get(start..).unwrap_or(&said);
        assert!(!exit.is_empty(), "{scenario} does not end\n{said}");
        assert!(status.success(), "{scenario}: {status}\n{said}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("remove the directory");
    }
}

fn run(scenario: &str) {
    let place = Place::new(scenario);
    place.end(place.start(scenario, &[]), scenario, LIMIT);
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
    all_maps_return_what_the_function_does_in_their_order: "pool-family";
    errors_are_of_one_call_and_the_pool_goes_on: "pool-errors";
    long_values_and_handles_travel: "pool-matter";
    results_tell_how_far_they_are: "pool-results";
    callbacks_run_in_the_parent_and_harm_nothing: "pool-callbacks";
    an_executor_does_what_pythons_does: "pool-executor";
    workers_begin_with_the_initializer_and_end_after_their_tasks: "pool-lives";
    other_processes_look_at_a_pool_scale_it_and_drain_it: "pool-control";
    a_task_may_have_a_pool_and_a_forked_child_has_none: "pool-nested";
    workers_that_print_a_lot_keep_nobody_waiting: "pool-loud";
    workers_are_killed_at_random_and_each_task_is_over_once: "pool-kills";
    all_workers_are_killed_at_once_and_the_pool_goes_on: "pool-massacre";
    a_task_that_ends_its_worker_is_told_or_tried_again: "pool-exits";
    a_task_that_takes_too_long_is_ended_also_a_stopped_one: "pool-late";
    a_worker_that_leaks_is_replaced: "pool-leaks";
    a_pool_that_is_dropped_leaves_nothing: "pool-ends";
    workers_of_one_task_each_come_and_go: "pool-short";
    lies_in_the_pools_object_hang_nobody: "pool-lies";
}

#[test]
fn a_parent_that_is_killed_leaves_no_worker_and_its_name_is_taken_over() {
    for _ in 0..3 {
        let place = Place::new("pool-killed");
        let mut parent = place.start("pool-killed", &[]);
        signed(&place.0, "parent");
        let workers: Vec<ProcessExit> = fs::read_dir(&place.0)
            .expect("it is there")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_prefix("worker-")?.parse().ok())
            .map(|pid| ProcessExit::of(pid).expect("it lives"))
            .collect();
        assert_eq!(workers.len(), 2);
        parent.kill().expect("it lives");
        parent.wait().expect("it was killed");
        for worker in &workers {
            let ended = wait(&[worker], Some(LIMIT)).expect("it can be watched");
            assert!(!ended.is_empty(), "a worker outlives its parent");
        }
        let next = place.start("pool-successor", &[]);
        place.end(next, "pool-successor", LIMIT);
    }
}

#[test]
#[ignore = "some minutes; .ci/run --long runs it"]
fn ten_thousand_workers_of_one_task_each_come_and_go() {
    let place = Place::new("pool-short-many");
    let child = place.start("pool-short", &[("IPC_TEST_MANY", "10000")]);
    place.end(child, "pool-short", Duration::from_secs(900));
}

#[test]
#[ignore = "some minutes; .ci/run --long runs it"]
fn workers_are_killed_at_random_for_long() {
    let place = Place::new("pool-kills-long");
    let child = place.start("pool-kills", &[("IPC_TEST_MANY", "100")]);
    place.end(child, "pool-kills", Duration::from_secs(900));
}
