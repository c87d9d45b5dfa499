//! Locks, semaphores, events, barriers and conditions from the shell: what they keep out, what they give back, who waits.

mod support;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::Barrier as Meeting,
    thread,
    time::{Duration, Instant},
};

use ipc_core::{BoundedSemaphore, Condition, Lock, Namespace, RLock, RwLock, Semaphore};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Shell, end_of, signal, text, until};

fn namespace(shell: &Shell) -> Namespace {
    Namespace::at(shell.dir()).unwrap()
}

fn stderr(output: &Output) -> String {
    text(&output.stderr)
}

/// A command that says that it runs, by making a file, and ends once another is there.
struct Job {
    runs: PathBuf,
    may_end: PathBuf,
}

impl Job {
    fn new(shell: &Shell, name: &str) -> Self {
        let path = |what: &str| shell.hidden(&format!("{name}-{what}"));
        Self {
            runs: path("runs"),
            may_end: path("may-end"),
        }
    }

    fn line(&self) -> String {
        let (runs, may_end) = (self.runs.display(), self.may_end.display());
        // Also once the test has failed and its directory is gone.
        format!("echo $$ > {runs}; until [ -e {may_end} ] || [ ! -e {runs} ]; do sleep 0.01; done")
    }

    fn until_it_runs(&self) {
        until("the command runs", || {
            fs::read_to_string(&self.runs).is_ok_and(|pid| pid.ends_with('\n'))
        });
    }

    fn runs(&self) -> bool {
        self.runs.exists()
    }

    fn end(&self) {
        fs::write(&self.may_end, "").unwrap();
    }

    /// Whether the process of the command is there.
    fn lives(&self) -> bool {
        let pid = fs::read_to_string(&self.runs).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = fs::write(&self.may_end, "");
    }
}

/// `ipc ARGS… -- sh -c JOB`, once the command runs.
fn holding(shell: &Shell, args: &[&str], job: &Job) -> Child {
    let child = started(shell, args, job);
    job.until_it_runs();
    child
}

fn started(shell: &Shell, args: &[&str], job: &Job) -> Child {
    shell
        .ipc(&[args, &["--", "sh", "-c", &job.line()]].concat())
        .spawn()
        .unwrap()
}

fn visits(shell: &Shell, name: &str) -> Vec<Value> {
    let json = shell.json(&["who", name, "--json"]);
    json["visits"].as_array().unwrap().clone()
}

fn count(shell: &Shell, name: &str, state: &str) -> usize {
    let visits = visits(shell, name);
    visits.iter().filter(|v| v["state"] == state).count()
}

fn until_one_waits(shell: &Shell, name: &str) {
    until("somebody waits", || count(shell, name, "waiting") == 1);
}

/// What `ipc stat` says of the object's state.
fn state(shell: &Shell, name: &str) -> String {
    let json = shell.json(&["stat", name, "--json"]);
    json["objects"][0]["sync"]["state"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_command_runs_alone_and_its_exit_code_is_ours() {
    let shell = Shell::new();
    let run = |line: &str| shell.run(&["lock", "run", "l", "--", "sh", "-c", line]);
    let output = run("echo out; echo err >&2; exit 7");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        (text(&output.stdout), stderr(&output)),
        ("out\n".into(), "err\n".into())
    );
    assert_eq!(run("true").status.code(), Some(0));
    assert_eq!(run("kill -USR1 $$").status.code(), Some(138));
    let missing = shell.run(&["lock", "run", "l", "--", "no-such-command"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(stderr(&missing).contains("no-such-command"), "{missing:?}");
    assert_eq!(shell.code(&["lock", "run", "l", "--", "/etc/passwd"]), 126);
    assert_eq!(shell.code(&["lock", "run", "l"]), 2, "no command");
    let output = shell.ok(&["lock", "run", "l", "echo", "-n", "--", "-w"]);
    assert_eq!(output, "-- -w", "what follows the command is the command's");
    assert_eq!(state(&shell, "l"), "free");
    assert_eq!(shell.who("l").len(), 0);
}

#[test]
fn standard_input_is_the_commands() {
    let shell = Shell::new();
    let output = shell.feed(&["lock", "run", "l", "--", "cat"], b"through");
    assert_eq!(text(&output.stdout), "through");
}

#[test]
fn a_lock_keeps_others_out_until_the_command_ends() {
    let shell = Shell::new();
    let (first, second) = (Job::new(&shell, "first"), Job::new(&shell, "second"));
    let mut one = holding(&shell, &["lock", "run", "l"], &first);
    assert_eq!(state(&shell, "l"), "held");
    for (args, code) in [
        (&["-n"][..], 6),
        (&["--nonblock", "--shared"], 6),
        (&["-w", "20ms"], 5),
        (&["--timeout", "0.02"], 5),
        (&["-n", "-E", "99"], 99),
        (&["-w", "20ms", "--conflict-exit-code", "0"], 0),
    ] {
        let refused = shell.run(&[&["lock", "run"], args, &["l", "--", "echo", "ran"]].concat());
        assert_eq!(refused.status.code(), Some(code), "{args:?}");
        assert_eq!(text(&refused.stdout), "", "{args:?}");
    }
    assert_eq!(
        shell.code(&["lock", "run", "-n", "-w", "1s", "l", "--", "true"]),
        2
    );
    let mut two = started(&shell, &["lock", "run", "-w", "1m", "l"], &second);
    until_one_waits(&shell, "l");
    assert!(!second.runs());
    first.end();
    assert!(end_of(&mut one).success());
    second.until_it_runs();
    second.end();
    assert!(end_of(&mut two).success());
    // -E is not for what the command itself says.
    let own = shell.code(&[
        "lock", "run", "-n", "-E", "99", "l", "--", "sh", "-c", "exit 6",
    ]);
    assert_eq!(own, 6);
}

#[test]
fn shared_commands_run_beside_each_other_and_keep_an_exclusive_one_out() {
    let shell = Shell::new();
    let (first, second) = (Job::new(&shell, "first"), Job::new(&shell, "second"));
    let mut one = holding(&shell, &["lock", "run", "-s", "l"], &first);
    let mut two = holding(&shell, &["lock", "run", "--shared", "l"], &second);
    assert_eq!(state(&shell, "l"), "2 reading");
    assert_eq!(count(&shell, "l", "reading"), 2);
    assert_eq!(shell.code(&["lock", "run", "-n", "l", "--", "true"]), 6);
    // One that waits keeps new ones out, for as long as it waits.
    let third = Job::new(&shell, "third");
    let mut three = started(&shell, &["lock", "run", "l"], &third);
    until_one_waits(&shell, "l");
    assert_eq!(
        shell.code(&["lock", "run", "-s", "-w", "300ms", "l", "--", "true"]),
        5
    );
    assert!(!third.runs());
    for (job, child) in [(&first, &mut one), (&second, &mut two)] {
        job.end();
        assert!(end_of(child).success());
    }
    third.until_it_runs();
    third.end();
    assert!(end_of(&mut three).success());
}

#[test]
fn locks_that_a_program_made_are_held_too() {
    let shell = Shell::new();
    let place = namespace(&shell);
    let plain = Lock::options().namespace(&place).create("plain").unwrap();
    let recursive = RLock::options()
        .namespace(&place)
        .create("recursive")
        .unwrap();
    let read_write = RwLock::options()
        .namespace(&place)
        .create("read-write")
        .unwrap();
    let busy = |name: &str| shell.code(&["lock", "run", "-n", name, "--", "true"]);
    for name in ["plain", "recursive", "read-write"] {
        assert_eq!(busy(name), 0, "{name}");
    }
    let held = (
        plain.acquire().unwrap(),
        recursive.acquire().unwrap(),
        read_write.read().unwrap(),
    );
    for name in ["plain", "recursive", "read-write"] {
        assert_eq!(busy(name), 6, "{name}");
    }
    drop(held);
    let shared = shell.run(&["lock", "run", "-s", "plain", "--", "true"]);
    assert_eq!(shared.status.code(), Some(9));
    assert!(stderr(&shared).contains("--shared"), "{shared:?}");
    Lock::options_with(1u64)
        .namespace(&place)
        .create("valued")
        .unwrap();
    let valued = shell.run(&["lock", "run", "valued", "--", "true"]);
    assert_eq!(valued.status.code(), Some(9));
    assert!(stderr(&valued).contains("without a value"), "{valued:?}");
    shell.ok(&["event", "create", "e"]);
    assert_eq!(shell.code(&["lock", "run", "e", "--", "true"]), 9);
}

#[test]
fn a_killed_run_gives_the_lock_back_and_its_command_ends() {
    let shell = Shell::new();
    let job = Job::new(&shell, "job");
    let mut run = holding(&shell, &["lock", "run", "l"], &job);
    run.kill().unwrap();
    end_of(&mut run);
    until("the command is ended", || !job.lives());
    let next =
        |args: &[&str]| shell.run(&[&["lock", "run"], args, &["l", "--", "echo", "ran"]].concat());
    // Who shares it can only be warned.
    for args in [&["--keep-inconsistent"][..], &["-s"], &[]] {
        let output = next(args);
        assert_eq!(text(&output.stdout), "ran\n", "{output:?}");
        assert!(stderr(&output).contains("was killed"), "{output:?}");
    }
    assert_eq!(stderr(&next(&[])), "", "marked consistent");
}

#[test]
fn a_signal_reaches_the_command_and_the_lock_is_released_when_that_has_ended() {
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let shell = Shell::new();
        let job = Job::new(&shell, "job");
        let mut run = holding(&shell, &["lock", "run", "l"], &job);
        signal(&run, number);
        assert_eq!(end_of(&mut run).code(), Some(code));
        assert!(!job.lives());
        assert_eq!(state(&shell, "l"), "free", "and not marked inconsistent");
    }
    // A command that does not end at the first signal keeps the lock, and says itself how it ends.
    let shell = Shell::new();
    let job = Job::new(&shell, "stubborn");
    let line = format!("trap 'echo caught' TERM; {}; exit 5", job.line());
    let mut run = shell
        .ipc(&["lock", "run", "l", "--", "sh", "-c", &line])
        .spawn()
        .unwrap();
    job.until_it_runs();
    signal(&run, Signal::TERM);
    let mut said = [0; 7];
    run.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"caught\n");
    assert_eq!(state(&shell, "l"), "held");
    job.end();
    assert_eq!(end_of(&mut run).code(), Some(5));
}

#[test]
fn ctrl_c_in_a_terminal_reaches_the_command_once() {
    if !Path::new("/usr/bin/script").exists() {
        return; // no terminal to be had
    }
    let shell = Shell::new();
    let job = Job::new(&shell, "job");
    let heard = shell.hidden("heard");
    let trap = |name: &str| format!("trap 'echo {name} >> {}' {name}; ", heard.display());
    let line = trap("INT") + &trap("TERM") + &job.line().replace('$', "\\$");
    let program = env!("CARGO_BIN_EXE_ipc");
    // `script` gives it a terminal of its own, and passes on what we type. A child that is stopped would stop it too.
    let command = format!("trap : INT; {program} lock run l -- sh -c \"{line}\"; exit $?");
    let mut typed = shell
        .program("script", &["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    job.until_it_runs();
    let has_heard = |signals: &str| fs::read_to_string(&heard).is_ok_and(|text| text == signals);
    let run = i32::try_from(visits(&shell, "l")[0]["pid"].as_i64().unwrap()).unwrap();
    let to_run = |signal| kill_process(Pid::from_raw(run).unwrap(), signal).unwrap();
    // The command hears it first, so that a second one would be counted.
    to_run(Signal::STOP);
    until("it is stopped", || {
        visits(&shell, "l")[0]["process"] == "stopped"
    });
    std::io::Write::write_all(typed.stdin.as_mut().unwrap(), b"\x03").unwrap();
    until("the command heard it", || has_heard("INT\n"));
    to_run(Signal::CONT);
    until("the run heard it too", || {
        let status = fs::read_to_string(format!("/proc/{run}/status")).unwrap();
        status.contains("ShdPnd:\t0000000000000000") && status.contains("State:\tS")
    });
    to_run(Signal::TERM);
    until("the command heard that", || has_heard("INT\nTERM\n"));
    job.end();
    assert!(end_of(&mut typed).success());
}

#[test]
fn a_wait_that_is_stopped_by_a_signal_leaves_nothing() {
    let shell = Shell::new();
    let job = Job::new(&shell, "job");
    let mut holder = holding(&shell, &["lock", "run", "l"], &job);
    shell.ok(&["sem", "create", "s", "--permits", "1"]);
    shell.ok(&["sem", "acquire", "s"]);
    shell.ok(&["event", "create", "e"]);
    for args in [
        &["lock", "run", "l", "--", "true"][..],
        &["lock", "run", "-s", "l", "--", "true"],
        &["sem", "run", "s", "--", "true"],
        &["sem", "acquire", "s"],
        &["event", "wait", "e"],
    ] {
        let name = if args[0] == "lock" {
            "l"
        } else if args[0] == "sem" {
            "s"
        } else {
            "e"
        };
        let before = shell.who(name).len();
        let mut waiting = shell.ipc(args).spawn().unwrap();
        until_one_waits(&shell, name);
        signal(&waiting, Signal::INT);
        assert_eq!(end_of(&mut waiting).code(), Some(130), "{args:?}");
        assert_eq!(shell.who(name).len(), before, "{args:?}");
        assert_eq!(count(&shell, name, "waiting"), 0, "{args:?}");
    }
    job.end();
    assert!(end_of(&mut holder).success());
    assert_eq!(shell.code(&["doctor"]), 0);
}

#[test]
fn who_shows_holders_and_waiters_and_since_when() {
    let shell = Shell::new();
    let job = Job::new(&shell, "job");
    let mut holder = holding(&shell, &["lock", "run", "l"], &job);
    let alone = visits(&shell, "l")[0]["since_unix_ns"].as_u64().unwrap();
    let mut waiter = shell
        .ipc(&["lock", "run", "l", "--", "true"])
        .spawn()
        .unwrap();
    until_one_waits(&shell, "l");
    let seen = visits(&shell, "l");
    let of = |state: &str| seen.iter().find(|v| v["state"] == state).unwrap().clone();
    for (state, child) in [("holding", &holder), ("waiting", &waiter)] {
        let visit = of(state);
        assert_eq!(visit["pid"], child.id());
        assert_eq!(visit["name"], "ipc");
        assert_ne!(visit["thread"], 0);
        assert!(visit["since_unix_ns"].as_u64().unwrap() > 1_700_000_000_000_000_000);
    }
    // Whether anybody waits changes nothing; two readings of two clocks differ a little.
    let held = of("holding")["since_unix_ns"].as_u64().unwrap();
    assert!(held.abs_diff(alone) < 1_000_000_000);
    let since = of("waiting")["since_unix_ns"].as_u64().unwrap();
    let table = shell.ok(&["who", "l"]);
    let row = |child: &Child| {
        let pid = child.id().to_string();
        table
            .lines()
            .find(|l| l.starts_with(&pid))
            .unwrap()
            .to_owned()
    };
    assert!(row(&holder).contains("holding"), "{table}");
    assert!(row(&waiter).contains("waiting"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    // A wait is one wait, however long it takes.
    thread::sleep(Duration::from_millis(250));
    let seen = visits(&shell, "l");
    let still = seen.iter().find(|v| v["state"] == "waiting").unwrap();
    assert!(still["since_unix_ns"].as_u64().unwrap().abs_diff(since) < 100_000_000);
    holder.kill().unwrap();
    end_of(&mut holder);
    assert!(end_of(&mut waiter).success());
}

#[test]
fn who_shows_the_dead_and_the_lent() {
    let shell = Shell::new();
    shell.ok(&["sem", "create", "s", "--permits", "2"]);
    shell.ok(&["sem", "acquire", "s"]);
    let job = Job::new(&shell, "job");
    let mut run = holding(&shell, &["sem", "run", "s"], &job);
    run.kill().unwrap();
    end_of(&mut run);
    let seen = visits(&shell, "s");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        seen.iter()
            .any(|v| v["state"] == "lent" && v["pid"].is_null()),
        "{seen:?}"
    );
    let dead = seen.iter().find(|v| v["state"] == "dead").unwrap();
    assert_eq!(
        (&dead["pid"], &dead["activity"]),
        (&run.id().into(), &"holding".into())
    );
    assert!(shell.ok(&["who", "s"]).contains("dead (holding)"));
    assert!(shell.ok(&["stat", "s"]).contains("1 lent, 1 dead"));
}

#[test]
fn a_semaphore_counts_its_permits() {
    let shell = Shell::new();
    shell.ok(&["sem", "create", "s", "--permits", "2"]);
    assert_eq!(shell.code(&["sem", "create", "s", "--permits", "2"]), 4);
    shell.ok(&["sem", "create", "s", "--permits", "2", "--if-missing"]);
    assert_eq!(shell.code(&["sem", "create", "none", "--permits", "0"]), 2);
    assert_eq!(shell.ok(&["sem", "value", "s"]), "2\n");
    shell.ok(&["sem", "acquire", "s"]);
    shell.ok(&["sem", "acquire", "-n", "s"]);
    assert_eq!(shell.code(&["sem", "acquire", "-n", "s"]), 6);
    assert_eq!(shell.code(&["sem", "acquire", "-w", "20ms", "s"]), 5);
    let json = shell.json(&["sem", "value", "s", "--json"]);
    assert_eq!((&json["value"], &json["permits"]), (&0.into(), &2.into()));
    let mut waiting = shell.ipc(&["sem", "acquire", "s"]).spawn().unwrap();
    until_one_waits(&shell, "s");
    shell.ok(&["sem", "release", "s"]);
    assert!(end_of(&mut waiting).success());
    shell.ok(&["sem", "release", "s"]);
    shell.ok(&["sem", "release", "s"]);
    let over = shell.run(&["sem", "release", "s"]);
    assert_eq!(over.status.code(), Some(1));
    assert!(
        stderr(&over).contains("no permit of s was left taken"),
        "{over:?}"
    );
    assert_eq!(shell.ok(&["sem", "value", "s"]), "2\n");
    assert_eq!(shell.code(&["sem", "value", "nobody"]), 3);
}

#[test]
fn a_run_holds_a_permit_and_gives_it_back_also_when_it_is_killed() {
    let shell = Shell::new();
    shell.ok(&["sem", "create", "s", "--permits", "1"]);
    let job = Job::new(&shell, "job");
    let mut run = holding(&shell, &["sem", "run", "s"], &job);
    assert_eq!(shell.ok(&["sem", "value", "s"]), "0\n");
    assert_eq!(
        shell.code(&["sem", "run", "-n", "-E", "42", "s", "--", "true"]),
        42
    );
    assert_eq!(
        shell.code(&["sem", "release", "s"]),
        1,
        "it is the run's own"
    );
    run.kill().unwrap();
    end_of(&mut run);
    let next = ["sem", "run", "-w", "10s", "s", "--", "sh", "-c", "exit 3"];
    assert_eq!(shell.code(&next), 3);
    assert_eq!(shell.ok(&["sem", "value", "s"]), "1\n");
}

#[test]
fn a_counting_semaphore_is_taken_and_released_but_not_held() {
    let shell = Shell::new();
    let semaphore = Semaphore::options(1)
        .namespace(&namespace(&shell))
        .create("c")
        .unwrap();
    shell.ok(&["sem", "acquire", "c"]);
    assert_eq!(semaphore.value(), 0);
    assert_eq!(shell.code(&["sem", "acquire", "-n", "c"]), 6);
    assert_eq!(shell.code(&["sem", "acquire", "-w", "150ms", "c"]), 5);
    shell.ok(&["sem", "release", "c"]);
    shell.ok(&["sem", "release", "c"]);
    assert_eq!(shell.ok(&["sem", "value", "c"]), "2\n");
    let refused = shell.run(&["sem", "run", "c", "--", "true"]);
    assert_eq!(refused.status.code(), Some(9));
    assert!(
        stderr(&refused).contains("counting semaphore"),
        "{refused:?}"
    );
}

#[test]
fn an_event_lets_all_go_on() {
    let shell = Shell::new();
    shell.ok(&["event", "create", "e"]);
    assert_eq!(shell.code(&["event", "wait", "--timeout", "20ms", "e"]), 5);
    let mut waiting: Vec<Child> = (0..3)
        .map(|_| shell.ipc(&["event", "wait", "e"]).spawn().unwrap())
        .collect();
    until("all wait", || count(&shell, "e", "waiting") == 3);
    shell.ok(&["event", "set", "e"]);
    assert!(waiting.iter_mut().all(|child| end_of(child).success()));
    assert_eq!(state(&shell, "e"), "set");
    shell.ok(&["event", "wait", "e"]);
    shell.ok(&["event", "clear", "e"]);
    assert_eq!(shell.code(&["event", "wait", "-w", "0", "e"]), 5);
    assert_eq!(shell.code(&["event", "set", "nobody"]), 3);
}

#[test]
fn a_barrier_lets_all_pass_or_breaks_for_all() {
    let shell = Shell::new();
    shell.ok(&["barrier", "create", "b", "--parties", "2"]);
    let wait = || shell.ipc(&["barrier", "wait", "b"]).spawn().unwrap();
    let first = wait();
    until_one_waits(&shell, "b");
    assert_eq!(state(&shell, "b"), "1 of 2 waiting");
    let second = shell.json(&["barrier", "wait", "b", "--json"]);
    let first = first.wait_with_output().unwrap();
    let mut indexes = [text(&first.stdout), format!("{}\n", second["index"])];
    indexes.sort();
    assert_eq!(indexes, ["0\n", "1\n"]);
    // One that is tired breaks it.
    assert_eq!(
        shell.code(&["barrier", "wait", "--timeout", "20ms", "b"]),
        5
    );
    assert_eq!(shell.code(&["barrier", "wait", "b"]), 10);
    assert_eq!(state(&shell, "b"), "broken");
    shell.ok(&["barrier", "reset", "b"]);
    for breaking in ["abort", "reset"] {
        let mut waiting = wait();
        until_one_waits(&shell, "b");
        shell.ok(&["barrier", breaking, "b"]);
        assert_eq!(end_of(&mut waiting).code(), Some(10), "{breaking}");
        shell.ok(&["barrier", "reset", "b"]);
    }
    // So does one that is stopped.
    shell.ok(&["barrier", "create", "three", "--parties", "3"]);
    let wait = || shell.ipc(&["barrier", "wait", "three"]).spawn().unwrap();
    let (mut stopped, mut other) = (wait(), wait());
    until("both wait", || count(&shell, "three", "waiting") == 2);
    signal(&stopped, Signal::TERM);
    assert_eq!(end_of(&mut stopped).code(), Some(143));
    assert_eq!(end_of(&mut other).code(), Some(10));
}

#[test]
fn a_condition_wakes_as_many_as_it_is_told() {
    let shell = Shell::new();
    shell.ok(&["cond", "create", "c", "--waiters", "8"]);
    shell.ok(&["lock", "create", "l"]);
    assert_eq!(shell.ok(&["cond", "notify", "c"]), "0\n");
    let place = namespace(&shell);
    let lock = Lock::options().namespace(&place).create("guard").unwrap();
    let condition = Condition::opener().namespace(&place).open("c").unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| drop(condition.wait(lock.acquire().unwrap()).unwrap()));
        }
        until("all wait", || state(&shell, "c") == "3 waiting");
        let json = shell.json(&["cond", "notify", "c", "--count", "2", "--json"]);
        assert_eq!(json["notified"], 2);
        until("two went on", || count(&shell, "c", "waiting") == 1);
        assert_eq!(shell.ok(&["cond", "notify", "c", "--all"]), "1\n");
    });
}

#[test]
fn other_names_of_the_program_are_verbs() {
    let shell = Shell::new();
    let program = |path: &str, args: &[&str]| shell.program(path, args).output().unwrap();
    let ran = program(
        env!("CARGO_BIN_EXE_ipc-lock"),
        &["run", "l", "--", "sh", "-c", "exit 4"],
    );
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    assert!(
        program(env!("CARGO_BIN_EXE_ipc-event"), &["create", "e"])
            .status
            .success()
    );
    assert!(
        program(env!("CARGO_BIN_EXE_ipc-sem"), &["create", "s", "-p", "1"])
            .status
            .success()
    );
    // A wait that is stopped becomes another program of the same file.
    let mut waiting = shell
        .program(env!("CARGO_BIN_EXE_ipc-event"), &["wait", "e"])
        .spawn()
        .unwrap();
    until_one_waits(&shell, "e");
    signal(&waiting, Signal::TERM);
    assert_eq!(end_of(&mut waiting).code(), Some(143));
    assert!(shell.who("e").is_empty());
}

#[test]
fn all_kinds_are_listed_described_removed_and_healthy() {
    let shell = Shell::new();
    let place = namespace(&shell);
    shell.ok(&["queue", "create", "queue", "--capacity", "3"]);
    shell.ok(&["lock", "create", "rwlock"]);
    shell.ok(&["sem", "create", "bounded", "--permits", "3"]);
    shell.ok(&["event", "create", "event"]);
    shell.ok(&["barrier", "create", "barrier", "--parties", "3"]);
    shell.ok(&["cond", "create", "cond"]);
    drop(Lock::options().namespace(&place).create("lock").unwrap());
    drop(RLock::options().namespace(&place).create("rlock").unwrap());
    drop(
        Semaphore::options(5)
            .namespace(&place)
            .create("counting")
            .unwrap(),
    );
    let table = shell.ok(&["ls"]);
    for (name, kind, state) in [
        ("queue", "queue", "0/3"),
        ("rwlock", "read-write lock", "free"),
        ("lock", "lock", "free"),
        ("rlock", "recursive lock", "free"),
        ("bounded", "bounded semaphore", "3 of 3 available"),
        ("counting", "semaphore", "5 available"),
        ("event", "event", "clear"),
        ("barrier", "barrier", "0 of 3 waiting"),
        ("cond", "condition", "0 waiting"),
    ] {
        let row = table
            .lines()
            .find(|l| l.split(' ').next() == Some(name))
            .unwrap();
        assert!(row.contains(kind) && row.contains(state), "{row}");
        let told = shell.ok(&["stat", name]);
        assert!(told.contains(kind), "{told}");
        if name != "queue" {
            assert!(
                told.contains(&format!("state           {state}\n")),
                "{told}"
            );
        }
        assert!(shell.ok(&["who", name]).starts_with("PID"));
        assert_eq!(shell.code(&["doctor", "--fix"]), 0);
    }
    let held: Lock = Lock::opener().namespace(&place).open("lock").unwrap();
    assert_eq!(shell.code(&["rm", "lock"]), 6);
    drop(held);
    for name in table.lines().skip(1).map(|l| l.split(' ').next().unwrap()) {
        shell.ok(&["rm", name]);
    }
    assert_eq!(shell.ok(&["ls"]).lines().count(), 1);
}

/// A child that a failed test does not leave stuck.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        // Both fail for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `ipc lock run FIRST -- ipc lock run SECOND -- true`, which waits for a meeting in between.
fn nested(shell: &Shell, first: &str, second: &str, job: &Job) -> Mortal {
    shell.ok(&["lock", "create", first, "--if-missing"]);
    shell.ok(&["lock", "create", second, "--if-missing"]);
    let ipc = env!("CARGO_BIN_EXE_ipc");
    let line = format!("{}; {ipc} lock run {second} -- true; true", job.line());
    let mut command = shell.ipc(&["lock", "run", first, "--", "sh", "-c", &line]);
    Mortal(command.spawn().unwrap())
}

/// The findings of `ipc doctor` on deadlocks, each with whether it is a problem.
fn deadlocks(shell: &Shell) -> Vec<(bool, String)> {
    let output = shell.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let found: Vec<_> = findings
        .iter()
        .filter(|f| f["subject"] == "deadlock")
        .map(|f| {
            (
                f["is_problem"] == true,
                f["what"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let code = if found.iter().any(|f| f.0) { 10 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    found
}

#[test]
fn doctor_finds_two_runs_that_wait_for_each_other() {
    let shell = Shell::new();
    let (ab, ba) = (Job::new(&shell, "ab"), Job::new(&shell, "ba"));
    let mut first = nested(&shell, "a", "b", &ab);
    let mut second = nested(&shell, "b", "a", &ba);
    ab.until_it_runs();
    ba.until_it_runs();
    assert_eq!(deadlocks(&shell), []);
    ab.end();
    until_one_waits(&shell, "b");
    assert_eq!(deadlocks(&shell), [], "as yet, b is going to be released");
    ba.end();
    until_one_waits(&shell, "a");
    let found = deadlocks(&shell);
    let [(true, words)] = &found[..] else {
        panic!("{found:?}")
    };
    for part in [
        format!("pid {} (ipc)", first.0.id()),
        format!("pid {} (ipc)", second.0.id()),
        "holds a, and its child".to_owned(),
        "holds b, and its child".to_owned(),
        "waits for a".to_owned(),
        "waits for b".to_owned(),
    ] {
        assert!(words.contains(&part), "{part}: {words}");
    }
    let output = shell.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(10));
    assert!(text(&output.stdout).contains("deadlock"), "{output:?}");
    // One that gives up lets the other go on.
    let waiter = visits(&shell, "b")
        .iter()
        .find(|v| v["state"] == "waiting")
        .and_then(|v| v["pid"].as_i64())
        .unwrap();
    let waiter = Pid::from_raw(i32::try_from(waiter).unwrap()).unwrap();
    kill_process(waiter, Signal::TERM).unwrap();
    assert!(end_of(&mut first.0).success());
    assert!(end_of(&mut second.0).success());
    assert_eq!(deadlocks(&shell), []);
}

#[test]
fn doctor_finds_a_run_that_waits_for_itself() {
    let shell = Shell::new();
    let job = Job::new(&shell, "job");
    let mut run = nested(&shell, "a", "a", &job);
    job.end();
    until_one_waits(&shell, "a");
    let found = deadlocks(&shell);
    assert!(
        matches!(&found[..], [(true, words)] if words.contains("holds a, and its child")),
        "{found:?}"
    );
    signal(&run.0, Signal::TERM); // the shell between the two
    end_of(&mut run.0);
    until(
        "the inner one, which is nobody's child now, has got it",
        || state(&shell, "a") == "free",
    );
}

#[test]
fn doctor_finds_threads_that_wait_for_each_other_and_not_those_that_only_wait() {
    let shell = Shell::new();
    let place = namespace(&shell);
    let x = Lock::options().namespace(&place).create("x").unwrap();
    let y = BoundedSemaphore::options(1)
        .namespace(&place)
        .create("y")
        .unwrap();
    let both_hold = Meeting::new(2);
    let patience = Duration::from_secs(60);
    let give_up = Meeting::new(2);
    thread::scope(|scope| {
        let one = scope.spawn(|| {
            let held = x.acquire().unwrap();
            both_hold.wait();
            let got = y.acquire_timeout(patience).is_ok();
            drop(held);
            got
        });
        let other = scope.spawn(|| {
            let held = y.acquire().unwrap();
            both_hold.wait();
            give_up.wait(); // holds, and does something else
            let start = Instant::now();
            let got = x.acquire_timeout(Duration::from_secs(3)).is_ok();
            drop(held);
            got || start.elapsed() < Duration::from_secs(3)
        });
        until_one_waits(&shell, "y");
        assert_eq!(deadlocks(&shell), [], "it is only waiting");
        give_up.wait();
        until_one_waits(&shell, "x");
        let found = deadlocks(&shell);
        let [(true, words)] = &found[..] else {
            panic!("{found:?}")
        };
        for part in ["holds x and waits for y", "holds y and waits for x"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(!other.join().unwrap(), "it gave up");
        assert!(one.join().unwrap());
    });
}

#[test]
fn a_parent_that_may_not_wait_for_its_child_is_only_noted() {
    let shell = Shell::new();
    let place = namespace(&shell);
    let lock = RwLock::options().namespace(&place).create("l").unwrap();
    let held = lock.write().unwrap();
    let mut child = shell
        .ipc(&["lock", "run", "l", "--", "true"])
        .spawn()
        .unwrap();
    until_one_waits(&shell, "l");
    until(
        "it is held for a while",
        || matches!(&deadlocks(&shell)[..], [(false, words)] if words.contains("if those with a child")),
    );
    drop(held);
    assert!(end_of(&mut child).success());
}

#[test]
fn new_verbs_have_help_completions_and_manual_pages() {
    let shell = Shell::new();
    let verbs = [
        "lock run",
        "lock create",
        "sem create",
        "sem acquire",
        "sem release",
        "sem value",
        "sem run",
        "event create",
        "event set",
        "event clear",
        "event wait",
        "barrier create",
        "barrier wait",
        "barrier abort",
        "barrier reset",
        "cond create",
        "cond notify",
    ];
    let man = shell.hidden("man");
    shell.ok(&["man", man.to_str().unwrap()]);
    let completions = shell.ok(&["completions", "bash"]);
    for verb in verbs {
        let words: Vec<&str> = verb.split(' ').collect();
        let help = shell.ok(&[&words[..], &["--help"]].concat());
        assert!(help.contains("Examples:"), "{verb}");
        assert!(
            man.join(format!("ipc-{}.1", words.join("-"))).exists(),
            "{verb}"
        );
        assert!(completions.contains(&words.join("__subcmd__")), "{verb}");
    }
    assert!(
        !shell.ok(&["--help"]).contains("leave"),
        "what only we start is hidden"
    );
}
