//! `ipc pool run`: what it runs, what it prints, and what it ends with.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    process::Stdio,
};

use rustix::process::Signal;
use support::{Shell, end_of, signal, text, until};

/// So many lines, from 1 on.
fn lines(count: u64) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

impl Shell {
    /// What `ipc pool run` prints for this input, when all goes well.
    fn pool(&self, input: &str, args: &[&str]) -> String {
        let output = self.feed(&[&["pool", "run"], args].concat(), input.as_bytes());
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
        text(&output.stdout)
    }

    /// Its exit code, and what it says on standard error.
    fn pool_fails(&self, input: &str, args: &[&str]) -> (i32, String) {
        let output = self.feed(&[&["pool", "run"], args].concat(), input.as_bytes());
        (output.status.code().unwrap(), text(&output.stderr))
    }

    fn file(&self, name: &str) -> String {
        self.hidden(name).to_str().unwrap().to_owned()
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_command_is_run_for_each_line() {
    let shell = Shell::new();
    assert_eq!(
        sorted(&shell.pool("b\na\n", &["echo", "x"])),
        ["x a", "x b"]
    );
    let parts = [
        "-j1", "--", "echo", "{#}", "{%}", "{.}", "{/}", "{//}", "{/.}", "<{}>",
    ];
    assert_eq!(shell.pool("d/f.c\n", &parts), "1 1 d/f f.c d f <d/f.c>\n");
    assert_eq!(shell.pool("", &["false"]), "");
    assert_eq!(shell.pool("no newline", &["echo"]), "no newline\n");
    assert_eq!(shell.pool("a\n\nb", &["-k", "printf", "[%s]"]), "[a][][b]");
    assert_eq!(
        shell.pool("a\nb\0c\0", &["-0k", "printf", "[%s]"]),
        "[a\nb][c]"
    );
    assert_eq!(
        shell.pool("a\n", &["--shell", "cat; echo {}"]),
        "a\n",
        "a job has no input"
    );
    assert!(
        fs::read_dir(shell.dir())
            .unwrap()
            .flatten()
            .all(|e| e.file_name().to_string_lossy().starts_with('.'))
    );
}

#[test]
fn a_shell_reads_the_command_only_when_it_is_told_to() {
    let shell = Shell::new();
    assert_eq!(
        shell.pool("a b\n", &["echo", "$HOME;", "{}"]),
        "$HOME; a b\n"
    );
    assert_eq!(
        shell.pool("it's $x\n", &["--shell", "x=5; echo $x {}"]),
        "5 it's $x\n"
    );
    assert_eq!(shell.pool("echo $((6 * 7)) | tr 4 5\n", &[]), "52\n");
    let (code, said) = shell.pool_fails("a\n", &["echo {} | cat"]);
    assert!(code == 1 && said.contains("--shell"), "{code} {said}");
}

#[test]
fn what_jobs_print_is_not_mixed_and_can_keep_its_order() {
    let shell = Shell::new();
    let talk = "for i in 1 2 3 4 5; do echo {} $i; echo {} $i >&2; sleep 0.0$((RANDOM % 3)); done";
    let args = [
        "pool",
        "run",
        "-j4",
        "--shell",
        &format!("exec bash -c '{talk}'"),
    ];
    let output = shell.feed(&args, lines(12).as_bytes());
    for stream in [text(&output.stdout), text(&output.stderr)] {
        let all: Vec<&str> = stream.lines().collect();
        assert_eq!(all.len(), 60, "{stream}");
        for job in all.chunks(5) {
            let number = job[0].split(' ').next().unwrap();
            let whole: Vec<String> = (1..=5).map(|i| format!("{number} {i}")).collect();
            assert_eq!(job, whole, "{stream}");
        }
    }
    let late_first = ["-k", "-j3", "--shell", "sleep 0.$((5 - {})); echo {}"];
    assert_eq!(
        shell.pool(&lines(5).replace('5', "4"), &late_first),
        "1\n2\n3\n4\n4\n"
    );
}

#[test]
fn what_a_job_leaves_running_prints_into_no_other_job() {
    let shell = Shell::new();
    let (go, gone) = (shell.file("go"), shell.file("gone"));
    let late = format!("while [ ! -e {go} ]; do sleep 0.01; done; echo late; touch {gone}");
    let first = format!("setsid sh -c '{late}' & echo 1");
    let second = "echo 2";
    let third = format!("touch {go}; while [ ! -e {gone} ]; do sleep 0.01; done; echo 3");
    let jobs = format!("{first}\n{second}\n{third}\necho 4\n");
    assert_eq!(shell.pool(&jobs, &["-j1"]), "1\n2\n3\n4\n");
}

#[test]
fn the_exit_code_counts_the_jobs_that_failed() {
    let shell = Shell::new();
    assert_eq!(
        shell
            .pool_fails(&lines(5), &["--shell", "exit $(({} % 2))"])
            .0,
        3
    );
    assert_eq!(shell.pool_fails(&lines(102), &["false"]).0, 101);
    assert_eq!(shell.pool_fails("1\n", &["--shell", "kill -9 $$"]).0, 1);
    assert_eq!(
        shell.pool_fails("1\n", &["--halt", "nonsense", "true"]).0,
        2
    );
}

#[test]
fn a_command_that_is_not_there_is_not_tried_for_every_line() {
    let shell = Shell::new();
    let (code, said) = shell.pool_fails(&lines(1000), &["no-such-command"]);
    assert_eq!((code, said.lines().count()), (127, 1), "{said}");
    assert_eq!(shell.pool_fails("a\n", &["/etc/passwd"]).0, 126);
    // One that comes with the line is that job's.
    let (code, said) = shell.pool_fails("/nowhere/x\ntrue\n", &["{}"]);
    assert!(code == 1 && said.contains("/nowhere/x"), "{code} {said}");
    let log = shell.file("log");
    shell.pool_fails("no-such-command\n", &["--joblog", &log, "{}"]);
    let logged = fs::read_to_string(&log).unwrap();
    assert!(
        logged.lines().nth(1).unwrap().contains("\t127\t0\t"),
        "{logged}"
    );
}

#[test]
fn halt_stops_before_the_end_of_the_input() {
    let shell = Shell::new();
    let run = |halt: &str, command: &str| {
        let log = shell.file("halted");
        let args = ["-j2", "--joblog", &log, "--halt", halt, "--shell", command];
        let (code, _) = shell.pool_fails(&lines(1000), &args);
        (code, fs::read_to_string(&log).unwrap().lines().count() - 1)
    };
    // Others may have begun, and failed, before it is known.
    let (code, done) = run("soon,fail=1", "exit 7");
    assert!(code == 7 && done < 50, "{code} {done}");
    let (code, done) = run("soon,fail=3", "exit 1");
    assert!(
        code >= 3 && done == code as usize && done < 50,
        "{code} {done}"
    );
    // Those that run are ended, and do not count.
    let (code, done) = run("now,fail=1", "[ {} = 1 ] || exec sleep 1000; exit 9");
    assert_eq!((code, done), (9, 1));
    let (code, done) = run("now,success=1", "[ {} = 1 ] || exec sleep 1000");
    assert_eq!((code, done), (0, 1));
}

#[test]
fn a_job_that_fails_is_run_again_as_often_as_is_said_and_printed_once() {
    let shell = Shell::new();
    let mark = shell.file("mark");
    // Succeeds the third time.
    let command = format!("echo {{}}; echo x >> {mark}-{{}}; [ $(wc -l < {mark}-{{}}) -ge 3 ]");
    let said = shell.pool("a\nb\n", &["--retry", "2", "--shell", &command]);
    assert_eq!(sorted(&said), ["a", "b"]);
    fs::remove_file(format!("{mark}-a")).unwrap();
    assert_eq!(
        shell
            .pool_fails("a\n", &["--retry", "1", "--shell", &command])
            .0,
        1
    );
    assert_eq!(fs::read_to_string(format!("{mark}-a")).unwrap(), "x\nx\n");
}

#[test]
fn a_job_that_takes_too_long_is_ended_with_all_that_it_started() {
    let shell = Shell::new();
    let mark = shell.file("mark");
    let args = [
        "--timeout",
        "200ms",
        "--shell",
        &format!("trap 'echo bye; exit 0' TERM; sleep 1000 < {mark} & wait; : {{}}"),
    ];
    fs::write(&mark, "").unwrap();
    let output = shell.feed(&[&["pool", "run"], &args[..]].concat(), b"a\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "bye\n");
    assert!(
        text(&output.stderr).contains("took longer than 200ms"),
        "{output:?}"
    );
    assert_eq!(processes_with(&shell), BTreeSet::new());
    let stubborn = [
        "--timeout",
        "100ms",
        "--kill-after",
        "100ms",
        "--shell",
        &format!("trap '' TERM; : {mark}; while :; do sleep 0.01; done"),
    ];
    assert_eq!(shell.pool_fails("a\n", &stubborn).0, 1);
    until("nothing is left", || processes_with(&shell).is_empty());
}

#[test]
fn a_joblog_is_gnu_parallels_and_a_run_can_go_on_from_it() {
    let shell = Shell::new();
    let log = shell.file("log");
    let failing = ["--joblog", &log, "--shell", "echo {}; exit $(({} == 2))"];
    assert_eq!(shell.pool_fails(&lines(3), &failing).0, 1);
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.starts_with(
        "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
    ));
    let second = logged.lines().find(|line| line.starts_with("2\t")).unwrap();
    let fields: Vec<&str> = second.split('\t').collect();
    assert_eq!(
        [fields[1], fields[4], fields[5], fields[6], fields[7]],
        [":", "0", "2", "1", "0"]
    );
    assert_eq!(fields[8], "echo 2; exit $((2 == 2))");
    let goes_on = |how: &str| shell.pool(&lines(5), &["-k", "--joblog", &log, how, "echo"]);
    assert_eq!(goes_on("--resume"), "4\n5\n");
    assert_eq!(goes_on("--resume"), "");
    assert_eq!(goes_on("--resume-failed"), "2\n");
    assert_eq!(
        shell.pool("1\n", &["--joblog", &log, "echo"]),
        "1\n",
        "without --resume it begins anew"
    );
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[test]
fn dry_run_prints_what_would_be_run() {
    let shell = Shell::new();
    assert_eq!(
        shell.pool("a b\nc\n", &["--dry-run", "rm", "-r"]),
        "rm -r 'a b'\nrm -r c\n"
    );
    assert_eq!(
        shell.pool("a b\n", &["--dry-run", "--shell", "cat {} | wc"]),
        "cat 'a b' | wc\n"
    );
    let many = shell.sh("seq 1000000 | ipc pool run --dry-run echo | wc -l");
    assert_eq!(text(&many.stdout), "1000000\n");
}

#[test]
fn input_is_read_as_far_as_jobs_are_given_out() {
    let shell = Shell::new();
    let mut run = shell.ipc(&["pool", "run", "-j1", "sleep", "1000", "#{}"]);
    let mut run = run.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = run.stdin.take().unwrap();
    rustix::io::ioctl_fionbio(&stdin, true).unwrap();
    let piece = vec![b'\n'; 4096];
    let (mut written, mut idle) = (0, 0);
    // A million lines and more: the pipe fills up long before.
    while idle < 50 && written < 4 << 20 {
        match stdin.write(&piece) {
            Ok(count) => (written, idle) = (written + count, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
    assert!(written < 1 << 20, "{written} bytes were read");
    signal(&run, Signal::INT);
    assert_eq!(end_of(&mut run).code(), Some(130));
}

#[test]
fn a_hundred_megabytes_come_out_whole() {
    let shell = Shell::new();
    let mut run = shell.ipc(&[
        "pool",
        "run",
        "-j2",
        "--shell",
        "yes {} | head -c 104857600",
    ]);
    let mut run = run.stdin(Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    let mut stdout = run.stdout.take().unwrap();
    let (mut piece, mut runs, mut total, mut last) = (vec![0; 1 << 20], 0, 0, 0);
    loop {
        let count = stdout.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        total += count;
        for &byte in piece[..count].iter().filter(|&&byte| byte != b'\n') {
            runs += usize::from(byte != last);
            last = byte;
        }
    }
    assert_eq!((total, runs), (2 * 104_857_600, 2), "one after the other");
    let status = fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: Option<u64> = peak.and_then(|kb| kb.trim().strip_suffix(" kB")?.parse().ok());
    assert!(peak.is_none_or(|kb| kb < 64 << 10), "{peak:?} kB of memory");
    assert!(end_of(&mut run).success());
}

#[test]
fn a_reader_that_has_enough_and_a_full_disk_end_the_run() {
    let shell = Shell::new();
    let mark = shell.file("mark");
    let head =
        format!("set -o pipefail; seq 100000 | ipc pool run -k -- echo '{{}}' {mark} | head -n 2");
    let output = shell.sh(&head);
    assert_eq!(text(&output.stdout).lines().count(), 2);
    assert_eq!(text(&output.stderr), "", "a broken pipe is quiet");
    let full = shell.sh(&format!(
        "seq 100 | ipc pool run -- echo '{{}}' {mark} > /dev/full"
    ));
    assert_eq!(full.status.code(), Some(255), "{full:?}");
    assert!(
        text(&full.stderr).contains("could not write the output"),
        "{full:?}"
    );
    until("nothing is left", || processes_with(&shell).is_empty());
}

/// All processes that have the test's directory among their arguments or in their environment.
fn processes_with(shell: &Shell) -> BTreeSet<u32> {
    let mark = shell.hidden("mark").to_str().unwrap().as_bytes().to_vec();
    let has_mark = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.windows(mark.len()).any(|part| part == mark)
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has_mark).collect()
}
