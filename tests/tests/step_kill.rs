//! The step-kill campaigns, by state. They run in processes of their own, with one thread, because the engine forks.
//!
//! By default: every control, each kill and stop campaign over the queue and over the synchronisation objects, and nested
//! campaigns (a killed victim, then a killed repairer) over some operations. More, at leisure:
//!
//! * `IPC_STEP_KILL=all cargo test --release -p ipc-tests --test step_kill`: all nested campaigns too;
//! * `cargo run --release -p ipc-tests --bin step_kill -- --every-instruction --scenario queue/put`: a trial for each
//!   instruction instead of each distinct state. See `step_kill --help`.

use std::env;
use std::process::{Command, Output};

/// One line of `step_kill`, as far as the tests look at it.
#[derive(Debug)]
struct Line {
    campaign: String,
    trials: usize,
    failures: usize,
}

fn step_kill(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_step_kill"))
        .args(args)
        .output()
        .expect("step_kill can be run")
}

/// Runs one scenario, and asks that each campaign finds what the scenario says it should.
fn lines_of(scenario: &str, more: &[&str]) -> Vec<Line> {
    let output = step_kill(&[&["--verbose", "--scenario", scenario], more].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Line {
    let number = |key: &str| {
        let field = line
            .split_whitespace()
            .find_map(|field| field.strip_prefix(key));
        field
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no {key} in {line}"))
    };
    Line {
        campaign: line
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned(),
        trials: number("trials="),
        failures: number("failures="),
    }
}

#[test]
fn the_harness_finds_the_bug_in_a_naive_queue() {
    // A put has three stores: ticket, value, commit. It breaks after the first and after the second.
    let [put] = &lines_of("control/naive-queue-put", &[])[..] else {
        panic!("one campaign")
    };
    assert_eq!((put.failures, put.trials), (2, 5), "{put:?}");
    // A get has two: ticket, commit.
    let [get] = &lines_of("control/naive-queue-get", &[])[..] else {
        panic!("one campaign")
    };
    assert_eq!((get.failures, get.trials), (1, 4), "{get:?}");
}

#[test]
fn killing_at_every_instruction_finds_the_same_bug_more_often() {
    let [put] = &lines_of("control/naive-queue-put", &["--every-instruction"])[..] else {
        panic!("one campaign")
    };
    assert!(
        put.trials > 20 && put.failures > 2 && put.failures < put.trials / 2,
        "{put:?}"
    );
}

#[test]
fn the_harness_finds_no_bug_in_a_cell_that_names_its_owner() {
    for more in [&[][..], &["--leave-zombies"]] {
        let lines = lines_of("control/owned-cell-put", more);
        assert_eq!(lines.len(), 3, "kill, stop and nested: {lines:?}");
        assert!(
            lines
                .iter()
                .all(|line| line.failures == 0 && line.trials > 4),
            "{more:?}: {lines:?}"
        );
    }
    let [kill] = &lines_of(
        "control/owned-cell-put",
        &["--every-instruction", "--campaign", "kill"],
    )[..] else {
        panic!("one campaign")
    };
    assert!(kill.failures == 0 && kill.trials > 20, "{kill:?}");
}

#[test]
fn only_a_stopped_process_shows_a_repair_that_asks_nobody_whether_the_owner_died() {
    for line in lines_of("control/impatient-cell-put", &[]) {
        assert_eq!(line.failures > 0, line.campaign == "stop", "{line:?}");
    }
}

#[test]
fn only_a_killed_repairer_shows_a_repair_in_two_steps() {
    for line in lines_of("control/two-step-repair-cell-put", &[]) {
        assert_eq!(line.failures > 0, line.campaign == "nested", "{line:?}");
    }
}

#[test]
fn the_harness_finds_the_bugs_in_a_naive_lock() {
    // It acquires, changes two words and releases: stuck after the first store, torn after the second, stuck after the third.
    let [kill] = &lines_of("control/naive-lock", &[])[..] else {
        panic!("one campaign")
    };
    assert_eq!((kill.failures, kill.trials), (3, 6), "{kill:?}");
}

/// Runs a kind of campaign over all scenarios of this kind that have it. Returns how many trials that was.
fn trials_of(scenarios: &str, campaign: &str) -> usize {
    let lines = lines_of(scenarios, &["--campaign", campaign]);
    lines.iter().map(|line| line.trials).sum()
}

#[test]
fn pipes_survive_a_kill_and_a_stop_at_each_state_of_each_operation() {
    let (killed, stopped) = (trials_of("pipe/", "kill"), trials_of("pipe/", "stop"));
    assert!(
        killed > 100 && stopped > 80,
        "{killed} and {stopped} trials"
    );
}

#[test]
fn pipes_survive_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("pipe/", "nested");
        assert!(trials > 300, "{trials} trials");
        return;
    }
    for scenario in ["pipe/send-into-empty", "pipe/close-sender"] {
        let lines = lines_of(scenario, &["--campaign", "nested"]);
        assert!(lines.iter().all(|line| line.trials > 15), "{lines:?}");
    }
}

#[test]
fn broadcasts_survive_a_kill_and_a_stop_at_each_state_of_each_operation() {
    if is_at_leisure() {
        let trials = trials_of("broadcast/", "kill") + trials_of("broadcast/", "stop");
        assert!(trials > 900, "{trials} trials");
        return;
    }
    for (scenarios, least) in [
        ("lossless/publish-in-a-moment", 10),
        ("lossy/publish-over-unread-large", 50),
        ("lossless/subscribe", 15),
        ("lossless/unsubscribe", 2),
        ("lossless/publish-over-large", 10),
        ("lossless/publish-with-sleeper", 8),
    ] {
        let trials = trials_of(&format!("broadcast/{scenarios}"), "kill");
        assert!(trials > least, "{scenarios}: {trials} trials");
    }
    for scenarios in [
        "lossy/publish-over-large",
        "lossless/subscribe",
        "lossless/recv",
    ] {
        let trials = trials_of(&format!("broadcast/{scenarios}"), "stop");
        assert!(trials > 2, "{scenarios}: {trials} trials");
    }
}

#[test]
fn broadcasts_survive_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("broadcast/", "nested");
        assert!(trials > 1000, "{trials} trials");
        return;
    }
    let lines = lines_of("broadcast/lossless/unsubscribe", &["--campaign", "nested"]);
    assert!(lines.iter().all(|line| line.trials > 15), "{lines:?}");
}

fn queue_holds(campaign: &str) -> usize {
    trials_of("queue/", campaign)
}

#[test]
fn locks_survive_a_kill_at_each_state_of_each_operation() {
    let trials = trials_of("sync/lock", "kill") + trials_of("sync/rlock", "kill");
    assert!(trials > 70, "{trials} trials");
}

#[test]
fn locks_survive_a_stop_at_each_state_of_each_operation() {
    let trials = trials_of("sync/lock", "stop") + trials_of("sync/rlock", "stop");
    assert!(trials > 70, "{trials} trials");
}

#[test]
fn read_write_locks_survive_a_kill_and_a_stop_at_each_state_of_each_operation() {
    let trials = trials_of("sync/rwlock", "kill") + trials_of("sync/rwlock", "stop");
    assert!(trials > 180, "{trials} trials");
}

#[test]
fn semaphores_survive_a_kill_and_a_stop_at_each_state_of_each_operation() {
    for scenarios in ["sync/semaphore", "sync/bounded"] {
        let trials = trials_of(scenarios, "kill") + trials_of(scenarios, "stop");
        assert!(trials > 20, "{scenarios}: {trials} trials");
    }
}

#[test]
fn events_conditions_and_barriers_survive_a_kill_and_a_stop_at_each_state_of_each_operation() {
    for (scenarios, least) in [
        ("sync/event", 20),
        ("sync/condition", 100),
        ("sync/barrier", 150),
    ] {
        let trials = trials_of(scenarios, "kill") + trials_of(scenarios, "stop");
        assert!(trials > least, "{scenarios}: {trials} trials");
    }
}

#[test]
fn nobody_misses_who_was_killed_or_stopped_while_it_waited_for_many_things() {
    for campaign in ["kill", "stop"] {
        let trials = trials_of("sync/wait-set", campaign);
        assert!(trials > 12, "{campaign}: {trials} trials");
    }
}

#[test]
fn synchronisation_objects_survive_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("sync/", "nested");
        assert!(trials > 3_000, "{trials} trials");
        return;
    }
    for scenario in [
        "sync/semaphore-acquire-and-release",
        "sync/event-set",
        "sync/bounded-forget",
        "sync/barrier-last-of-two",
    ] {
        let lines = lines_of(scenario, &["--campaign", "nested"]);
        assert!(lines.iter().all(|line| line.trials > 20), "{lines:?}");
    }
}

#[test]
fn lifo_and_priority_queues_survive_a_kill_at_each_state_of_each_operation() {
    let trials = trials_of("lifo/", "kill") + trials_of("priority/", "kill");
    assert!(trials > 500, "{trials} trials");
}

#[test]
fn lifo_and_priority_queues_survive_a_stop_at_each_state_of_each_operation() {
    let trials = trials_of("lifo/", "stop") + trials_of("priority/", "stop");
    assert!(trials > 400, "{trials} trials");
}

#[test]
fn lifo_and_priority_queues_survive_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("lifo/", "nested") + trials_of("priority/", "nested");
        assert!(trials > 3_000, "{trials} trials");
        return;
    }
    for scenario in ["lifo/get-last", "priority/put-into-empty"] {
        let lines = lines_of(scenario, &["--campaign", "nested"]);
        assert!(lines.iter().all(|line| line.trials > 30), "{lines:?}");
    }
}

#[test]
fn joinable_queues_survive_a_kill_and_a_stop_at_each_state_of_operations() {
    let killed = trials_of("joinable/", "kill");
    assert!(killed > 200, "{killed} trials");
    let scenarios = match is_at_leisure() {
        true => &["joinable/"][..],
        false => &["joinable/done", "joinable/give", "joinable/get-returned"],
    };
    let stopped: usize = scenarios.iter().map(|s| trials_of(s, "stop")).sum();
    assert!(stopped > 30, "{stopped} trials");
}

#[test]
fn joinable_queues_survive_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("joinable/", "nested");
        assert!(trials > 1_000, "{trials} trials");
        return;
    }
    let lines = lines_of("joinable/give-back-last-attempt", &["--campaign", "nested"]);
    assert!(lines.iter().all(|line| line.trials > 10), "{lines:?}");
}

#[test]
fn listeners_and_clients_survive_a_kill_and_a_stop_at_each_step_of_their_meeting() {
    if is_at_leisure() {
        let trials = trials_of("listener/", "kill") + trials_of("listener/", "stop");
        assert!(trials > 500, "{trials} trials");
        // And whoever comes next is killed, too.
        let trials = trials_of("listener/", "nested");
        assert!(trials > 8_000, "{trials} trials");
        return;
    }
    for (scenario, campaign) in [
        ("listener/accept", "kill"),
        ("listener/connect", "kill"),
        ("listener/bind", "stop"),
    ] {
        let trials = trials_of(scenario, campaign);
        assert!(trials > 40, "{scenario}: {trials} trials");
    }
}

#[test]
fn families_are_there_or_gone_as_a_whole_whoever_is_killed_or_stopped() {
    let scenarios = match is_at_leisure() {
        true => &["family/"][..],
        false => &["family/leave", "family/collect"],
    };
    for campaign in ["kill", "stop"] {
        let trials: usize = scenarios.iter().map(|s| trials_of(s, campaign)).sum();
        assert!(trials > 70, "{campaign}: {trials} trials");
    }
}

/// Only at leisure: a collection is tens of thousands of instructions, and each of its system calls is a point.
#[test]
fn families_survive_a_collector_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("family/", "nested");
        assert!(trials > 500, "{trials} trials");
    }
}

#[test]
fn raw_blocks_are_made_or_can_be_removed_and_no_successor_is() {
    let scenarios = match is_at_leisure() {
        true => "shm/",
        false => "shm/unlink",
    };
    for campaign in ["kill", "stop"] {
        let trials = trials_of(scenarios, campaign);
        assert!(trials > 10, "{campaign}: {trials} trials");
    }
}

#[test]
fn values_survive_a_kill_a_stop_and_a_repairer_that_is_killed_too() {
    let trials = trials_of("value/", "kill") + trials_of("value/", "stop");
    assert!(trials > 80, "{trials} trials");
    let scenarios = match is_at_leisure() {
        true => "value/",
        false => "value/set",
    };
    let nested = trials_of(scenarios, "nested");
    assert!(nested > 100, "{nested} trials");
}

#[test]
fn lists_survive_a_kill_at_each_state_of_operations() {
    let scenarios = match is_at_leisure() {
        true => "list/",
        false => "list/reverse",
    };
    let trials = trials_of(scenarios, "kill");
    assert!(trials > 20, "{trials} trials");
}

#[test]
fn lists_survive_a_stop_and_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let (stopped, nested) = (trials_of("list/", "stop"), trials_of("list/", "nested"));
        assert!(
            stopped > 150 && nested > 500,
            "{stopped} and {nested} trials"
        );
    }
}

fn is_at_leisure() -> bool {
    env::var_os("IPC_STEP_KILL").is_some_and(|value| value == "all")
}

#[test]
fn the_queue_survives_a_kill_at_each_state_of_each_operation() {
    let trials = queue_holds("kill");
    assert!(trials > 600, "{trials} trials");
}

#[test]
fn the_queue_survives_a_stop_at_each_state_of_each_operation() {
    let trials = queue_holds("stop");
    assert!(trials > 600, "{trials} trials");
}

#[test]
fn the_queue_survives_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = queue_holds("nested");
        assert!(trials > 1_800, "{trials} trials");
        return;
    }
    for scenario in ["queue/close", "queue/get-last"] {
        let lines = lines_of(scenario, &["--campaign", "nested"]);
        assert!(lines.iter().all(|line| line.trials > 30), "{lines:?}");
    }
}

#[test]
fn dictionaries_survive_a_kill_and_a_stop_at_each_state_of_each_operation() {
    // All of them take two minutes.
    let (kill, stop) = if is_at_leisure() {
        (&["dict/"][..], &["dict/"][..])
    } else {
        let kill = &["dict/set-new", "dict/re", "dict/watched-re"][..];
        (kill, &["dict/remove", "dict/watched-remove"][..])
    };
    let all = |scenarios: &[&str], campaign| -> usize {
        let each = scenarios.iter();
        each.map(|scenario| trials_of(scenario, campaign)).sum()
    };
    let (killed, stopped) = (all(kill, "kill"), all(stop, "stop"));
    assert!(
        killed > 150 && stopped > 40,
        "{killed} and {stopped} trials"
    );
}

#[test]
fn dictionaries_survive_a_repairer_that_is_killed_too() {
    if is_at_leisure() {
        let trials = trials_of("dict/", "nested");
        assert!(trials > 300, "{trials} trials");
    }
}
