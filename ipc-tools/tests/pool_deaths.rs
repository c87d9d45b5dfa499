//! `ipc pool`: what happens when workers are killed, when the run is, and when somebody stops it; and what other processes see of it and tell it.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    process::{Child, ChildStdin, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Shell, end_of, signal, text, until};

impl Shell {
    /// A run whose standard input stays open. Its jobs have `mark` among their arguments.
    fn run_pool(&self, args: &[&str]) -> (Child, ChildStdin) {
        let mut command = self.ipc(&[&["pool", "run", "--name", "pool"], args].concat());
        let mut run = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = run.stdin.take().unwrap();
        (run, stdin)
    }

    fn status(&self) -> Value {
        self.json(&["pool", "status", "pool", "--json"])
    }

    /// The workers, without those that begin or end.
    fn workers(&self) -> Vec<u32> {
        let status = self.run(&["pool", "status", "pool", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let is_at_work = |worker: &&Value| worker["state"] == "busy" || worker["state"] == "idle";
        let pids = workers
            .iter()
            .filter(is_at_work)
            .map(|worker| worker["pid"].as_u64());
        pids.map(|pid| u32::try_from(pid.unwrap()).unwrap())
            .collect()
    }

    fn mark(&self) -> String {
        self.hidden("mark").to_str().unwrap().to_owned()
    }

    /// All processes that have the mark among their arguments.
    fn marked(&self) -> BTreeSet<u32> {
        let mark = self.mark().into_bytes();
        let has_mark = |pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.windows(mark.len()).any(|part| part == mark)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(has_mark).collect()
    }

    /// Waits until the mark's file has so many lines, which jobs write when they have begun.
    fn await_begun(&self, count: usize) {
        until("the jobs have begun", || {
            fs::read_to_string(self.mark()).is_ok_and(|text| text.lines().count() >= count)
        });
    }
}

fn kill(pid: u32) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL); // it may be gone
}

#[test]
fn jobs_of_killed_workers_are_run_again_and_each_is_printed_once() {
    const JOBS: u64 = 500;
    let shell = Shell::new();
    let log = shell.hidden("log");
    let args = [
        "-j4",
        "--joblog",
        log.to_str().unwrap(),
        "--shell",
        "echo a {}; sleep 0.005; echo b {}",
    ];
    let (mut run, mut stdin) = shell.run_pool(&args);
    let input: String = (1..=JOBS).map(|n| format!("{n}\n")).collect();
    let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let mut stdout = run.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut said).map(|_| said)
    });
    let mut seed = 7_u64;
    let mut kills = 0;
    while run.try_wait().unwrap().is_none() {
        let workers = shell.workers();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if let Some(&worker) = workers.get((seed >> 33) as usize % workers.len().max(1)) {
            kill(worker);
            kills += 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(seed >> 60));
    }
    let _ = feeder.join().unwrap();
    let said = reader.join().unwrap().unwrap();
    assert_eq!(end_of(&mut run).code(), Some(0), "after {kills} kills");
    assert!(kills >= 10, "{kills} kills");
    let all: Vec<&str> = said.lines().collect();
    let mut jobs = BTreeSet::new();
    for job in all.chunks(2) {
        let number = job[0].strip_prefix("a ").unwrap();
        assert_eq!(job[1], format!("b {number}"));
        assert!(
            jobs.insert(number.parse::<u64>().unwrap()),
            "{number} twice"
        );
    }
    assert_eq!(jobs, (1..=JOBS).collect());
    assert_eq!(
        fs::read_to_string(&log).unwrap().lines().count() as u64,
        JOBS + 1
    );
}

#[test]
fn a_job_whose_workers_are_always_killed_fails_in_the_end() {
    let shell = Shell::new();
    // Its parent is the worker.
    let output = shell.feed(
        &[
            "pool",
            "run",
            "-j1",
            "--shell",
            "echo x; [ {} = 2 ] || kill -9 $PPID; sleep 0.2",
        ],
        b"1\n2\n",
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        text(&output.stdout).lines().count(),
        2,
        "the last attempt's is printed: {output:?}"
    );
    assert!(
        text(&output.stderr).contains("job 1 is given up: its worker was killed 4 times"),
        "{output:?}"
    );
}

#[test]
fn what_a_job_has_started_goes_with_its_killed_worker() {
    let shell = Shell::new();
    let mark = shell.mark();
    let command =
        format!("echo {{}} >> {mark}; sleep 1000 < {mark} | sleep 1000 < {mark}; : {mark}");
    let (mut run, mut stdin) = shell.run_pool(&["-j1", "--shell", &command]);
    stdin.write_all(b"1\n").unwrap();
    shell.await_begun(1);
    let before: BTreeSet<u32> = sleepers(&shell);
    kill(shell.workers()[0]);
    shell.await_begun(2);
    until("the first attempt is gone", || {
        sleepers(&shell).is_disjoint(&before)
    });
    signal(&run, Signal::INT);
    assert_eq!(end_of(&mut run).code(), Some(130));
    until("nothing is left", || {
        shell.marked().is_empty() && sleepers(&shell).is_empty()
    });
}

/// Processes that have the mark's file as their standard input.
fn sleepers(shell: &Shell) -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mark = shell.hidden("mark");
    pids.filter(|pid: &u32| fs::read_link(format!("/proc/{pid}/fd/0")).is_ok_and(|to| to == mark))
        .collect()
}

#[test]
fn a_killed_run_leaves_nothing() {
    let shell = Shell::new();
    let mark = shell.mark();
    let command =
        format!("echo {{}} >> {mark}; sleep 1000 < {mark} | sleep 1000 < {mark}; : {mark}");
    let (mut run, mut stdin) = shell.run_pool(&["-j3", "--shell", &command]);
    stdin.write_all(b"1\n2\n3\n4\n").unwrap();
    shell.await_begun(3);
    assert!(
        shell.marked().len() > 6,
        "the run, its workers, its guard, and its jobs"
    );
    run.kill().unwrap();
    end_of(&mut run);
    until("nothing is left", || {
        shell.marked().is_empty() && sleepers(&shell).is_empty()
    });
    // Nor does what it had in shared memory keep another run from its name.
    let again = shell.feed(&["pool", "run", "--name", "pool", "echo"], b"again\n");
    assert_eq!(text(&again.stdout), "again\n", "{again:?}");
    assert!(shell.run(&["doctor", "--fix"]).status.success());
    assert_eq!(shell.ok(&["ls"]).lines().count(), 1);
}

#[test]
fn a_signal_ends_the_jobs_in_order() {
    for (stop, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let shell = Shell::new();
        let mark = shell.mark();
        let command = format!(
            "trap 'echo bye >> {mark}; exit 1' TERM; echo {{}} >> {mark}; while :; do sleep 0.01; done"
        );
        let (mut run, mut stdin) = shell.run_pool(&["-j2", "--shell", &command]);
        stdin.write_all(b"1\n2\n3\n4\n5\n").unwrap();
        shell.await_begun(2);
        signal(&run, stop);
        assert_eq!(end_of(&mut run).code(), Some(code));
        let said = fs::read_to_string(&mark).unwrap();
        assert_eq!(said.matches("bye").count(), 2, "{said}");
        assert_eq!(
            said.lines().count(),
            4,
            "no further job was started: {said}"
        );
        until("nothing is left", || shell.marked().is_empty());
    }
}

#[test]
fn jobs_that_do_not_end_are_killed_and_a_second_signal_does_not_wait() {
    let shell = Shell::new();
    let mark = shell.mark();
    let stubborn = format!("trap '' TERM; echo {{}} >> {mark}; while :; do sleep 0.01; done");
    let (mut run, mut stdin) =
        shell.run_pool(&["-j1", "--kill-after", "50ms", "--shell", &stubborn]);
    stdin.write_all(b"1\n").unwrap();
    shell.await_begun(1);
    signal(&run, Signal::INT);
    assert_eq!(end_of(&mut run).code(), Some(130));
    until("nothing is left", || shell.marked().is_empty());
    fs::remove_file(&mark).unwrap();
    let (mut run, mut stdin) =
        shell.run_pool(&["-j1", "--kill-after", "1000s", "--shell", &stubborn]);
    stdin.write_all(b"1\n").unwrap();
    shell.await_begun(1);
    signal(&run, Signal::INT);
    until("it is told to end its jobs", || {
        let _ = kill_process(Pid::from_child(&run), Signal::INT);
        run.try_wait().unwrap().is_some()
    });
    assert_eq!(end_of(&mut run).code(), Some(130));
    until("nothing is left", || shell.marked().is_empty());
}

#[test]
fn a_pool_is_looked_at_scaled_and_drained_from_elsewhere() {
    let shell = Shell::new();
    let mark = shell.mark();
    assert_eq!(shell.code(&["pool", "status", "pool"]), 3);
    let command =
        format!("echo {{}} >> {mark}; while [ ! -e {mark}-{{}} ]; do sleep 0.01; done; echo {{}}");
    let (mut run, mut stdin) = shell.run_pool(&["-j1", "-k", "--shell", &command]);
    stdin.write_all(b"1\n2\n").unwrap();
    shell.await_begun(1);
    let status = shell.status();
    assert_eq!(
        (&status["schema"], &status["phase"], &status["is_alive"]),
        (&1.into(), &"running".into(), &true.into())
    );
    assert_eq!(
        (&status["parent"], &status["workers_wanted"]),
        (&run.id().into(), &1.into())
    );
    assert_eq!(status["workers"][0]["state"], "busy");
    assert!(shell.ok(&["pool", "status", "pool"]).contains("busy"));
    assert!(shell.ok(&["ls"]).contains("pool"));
    let relatives = shell.json(&["proc", "ls", "--json"]);
    let all = relatives["processes"].as_array().unwrap();
    let parent = all.iter().find(|one| one["pid"] == run.id()).unwrap();
    let children = parent["children"].as_array().unwrap();
    assert!(
        children.contains(&status["workers"][0]["pid"]),
        "{relatives}"
    );
    shell.ok(&["pool", "scale", "pool", "2"]);
    shell.await_begun(2);
    assert_eq!(shell.status()["workers_wanted"], 2);
    assert_eq!(shell.code(&["pool", "scale", "pool", "0"]), 2);
    shell.ok(&["pool", "drain", "pool"]);
    assert_eq!(
        shell.code(&["pool", "drain", "pool", "--wait", "--timeout", "50ms"]),
        5
    );
    stdin.write_all(b"3\n").unwrap();
    fs::write(format!("{mark}-1"), "").unwrap();
    fs::write(format!("{mark}-2"), "").unwrap();
    let mut said = String::new();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut run.stdout.take().unwrap(), &mut said).unwrap();
    std::io::Read::read_to_string(&mut run.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(end_of(&mut run).code(), Some(0), "{stderr}");
    assert_eq!(said, "1\n2\n");
    assert!(stderr.contains("drained"), "{stderr}");
    assert_eq!(
        shell.code(&["pool", "drain", "pool", "--wait"]),
        3,
        "it is gone with its name"
    );
}
