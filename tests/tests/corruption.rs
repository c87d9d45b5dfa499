//! Damaged queues: every operation returns, soon, whatever it returns.
//!
//! Each trial follows from its seed; `corruption_trial --directory /dev/shm/x --first SEED` runs one again.
//! `IPC_CORRUPTION_TRIALS=100000 cargo test -p ipc-tests --test corruption` runs more of them, from a seed that the clock
//! gives; the default is always the same ones.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_core::{Bytes, Error, GetTimeoutError, Namespace, ParticipantState, Queue, TryGetError};
use ipc_tests::corruption::layout::{self, Layout, State};
use ipc_tests::corruption::live;
use ipc_tests::corruption::snapshot::{Sample, Snapshot, Structured, snapshots};
use ipc_tests::corruption::sync;
use ipc_tests::corruption::trial::Bench;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};

/// Trials by default; some 10 s of them.
const TRIALS: u64 = 3000;
/// Trials a process.
const BATCH: u64 = 250;
/// Failures after which the rest is not tried.
const ENOUGH: usize = 10;

/// Processes that use one object at once while somebody lies in it.
const USERS: u64 = 3;
/// For how long, where there are [`TRIALS`]; longer where there are more.
const USE_MILLIS: u64 = 250;

/// Runs trials in processes of their own. A process that dies is one failure; its successor goes on behind it.
fn trials(first: u64, count: u64, more: &[&str]) {
    let mut failures: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut next = first;
    while next < first + count && failures.values().map(Vec::len).sum::<usize>() < ENOUGH {
        let batch = BATCH.min(first + count - next);
        match batch_of(next, batch, more) {
            Ok(report) => {
                println!("{report}");
                next += batch;
            }
            Err((seed, what)) => {
                failures.entry(what).or_default().push(seed);
                next = seed.max(next) + 1;
            }
        }
    }
    let lines: Vec<String> = failures
        .iter()
        .map(|(what, seeds)| format!("{what}\n  seeds {seeds:?}"))
        .collect();
    assert!(failures.is_empty(), "\n{}", lines.join("\n"));
}

/// The report of trials that went well, or the first seed that did not, and what happened.
fn batch_of(first: u64, count: u64, more: &[&str]) -> Result<String, (u64, String)> {
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    let output = Command::new(env!("CARGO_BIN_EXE_corruption_trial"))
        .arg("--directory")
        .arg(directory.path())
        .args(["--first", &first.to_string(), "--count", &count.to_string()])
        .args(more)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .expect("corruption_trial can be run");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let (seed, what) = failure(&output, &directory.path().join("progress"));
    Err((seed.unwrap_or(first), what))
}

/// The seed of the trial at which a process ended, and how it did; `progress` is the file in which it said what it was at.
fn failure(output: &Output, progress: &Path) -> (Option<u64>, String) {
    let progress = fs::read_to_string(progress).unwrap_or_default();
    let (seed, operation) = progress
        .trim()
        .strip_prefix("seed ")
        .and_then(|text| text.split_once(": "))
        .unwrap_or(("", "before the first trial"));
    let ending = match output.status.signal() {
        Some(libc::SIGALRM) => "does not return".to_owned(),
        Some(number) => format!("ends with {:?}", Signal::try_from(number)),
        None => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    };
    // Thread numbers would make each failure another one.
    let ending = ending
        .split_once(" panicked at")
        .map_or(ending.clone(), |(_, rest)| format!("panicked at{rest}"));
    (seed.parse().ok(), format!("{operation} {ending}"))
}

fn count_and_first_seed() -> (u64, u64) {
    match std::env::var("IPC_CORRUPTION_TRIALS") {
        Ok(count) => {
            let clock = SystemTime::now().duration_since(UNIX_EPOCH);
            let seed = clock.map_or(0, |d| d.as_secs() << 20);
            (count.parse().expect("a number of trials"), seed)
        }
        Err(_) => (TRIALS, 1),
    }
}

#[test]
fn every_operation_on_a_damaged_queue_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count, &[]);
}

#[test]
fn every_operation_on_a_damaged_lifo_or_priority_queue_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count / 4, &["--ordered"]);
}

#[test]
fn every_operation_on_a_damaged_broadcast_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count / 4, &["--broadcast"]);
}

#[test]
fn every_operation_on_a_damaged_dictionary_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count / 4, &["--dict"]);
}

#[test]
fn every_operation_in_place_on_a_damaged_queue_or_pipe_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count / 2, &["--loans"]);
}

#[test]
fn every_operation_on_a_damaged_joinable_queue_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count / 4, &["--joinable"]);
}

#[test]
fn every_operation_on_damaged_shared_data_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count / 4, &["--shared"]);
}

#[test]
fn every_operation_on_a_damaged_synchronisation_object_returns() {
    let (count, first) = count_and_first_seed();
    trials(first, count, &["--sync"]);
}

#[test]
fn every_operation_returns_while_somebody_damages_the_queue() {
    trials(1, 12, &["--live", "300"]);
}

#[test]
fn every_operation_returns_while_somebody_damages_the_synchronisation_object() {
    let (count, first) = count_and_first_seed();
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    let bench = Bench::new(directory.path()).expect("a namespace");
    let snapshots = sync::snapshots(bench.namespace()).expect("snapshots");
    for (seed, snapshot) in (first..).zip(&snapshots) {
        let failures = sync::run_live(&bench, snapshot, seed, |kind, name| {
            endured(&bench, &format!("sync endure {kind} {name}"), seed, count)
        });
        let failures = failures.expect("a file");
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    }
}

#[test]
fn every_operation_on_a_channel_returns_while_somebody_lies_at_the_speed_of_memory() {
    let (count, first) = count_and_first_seed();
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    let bench = Bench::new(directory.path()).expect("a namespace");
    for (seed, kind) in (first..).zip(live::KINDS) {
        let (failures, lies) = live::run(&bench, kind, seed, |name| {
            endured(&bench, &format!("endure {kind} {name}"), seed, count)
        })
        .expect("a file");
        println!("{kind}: {lies:?}");
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
        assert!(lies.count > 1000, "{lies:?}");
    }
}

/// Has [`USERS`] puppets do as told for as long as so many trials are to take. What went wrong.
fn endured(bench: &Bench, what: &str, seed: u64, count: u64) -> Vec<String> {
    let millis = USE_MILLIS * count / TRIALS;
    let users: Vec<_> = (seed * USERS..(seed + 1) * USERS)
        .map(|seed| (seed, user(bench, &format!("{what} {seed} {millis}"))))
        .collect();
    let ended = users.into_iter().map(|(seed, user)| {
        let output = user.wait_with_output().expect("its output");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{what}: {}", said.trim());
        let progress = bench
            .namespace()
            .path()
            .with_file_name(format!("progress-{seed}"));
        let is_fine = output.status.success() && said.starts_with("ok");
        (!is_fine).then(|| failure(&output, &progress).1 + &said)
    });
    ended.flatten().collect()
}

/// A process that uses an object for a while.
fn user(bench: &Bench, what: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_puppet"))
        .arg(bench.namespace().path())
        .args(["--once", what])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a puppet")
}

fn in_namespace(test: impl FnOnce(&Namespace)) {
    let directory = TrialDirectory::create().expect("a directory in /dev/shm");
    test(&Namespace::at(directory.path()).expect("a namespace"));
}

fn open(namespace: &Namespace, name: &str) -> Result<Queue<Bytes>, Error> {
    Queue::options(1).namespace(namespace).open(name)
}

fn create(namespace: &Namespace, name: &str) -> Queue<Bytes> {
    Queue::options(4)
        .memory(4096)
        .participants(4)
        .namespace(namespace)
        .create(name)
        .expect("a queue")
}

fn write(namespace: &Namespace, name: &str, bytes: &[u8]) {
    let path = namespace.path().join(name);
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
}

fn drained(queue: &Queue<Bytes>) -> usize {
    std::iter::from_fn(|| queue.try_get().ok()).count()
}

// ---- the trials' own foundations

#[test]
fn the_layout_in_these_tests_is_that_of_the_file() {
    in_namespace(|namespace| {
        let queue = create(namespace, "q");
        for n in 0..3 {
            queue.try_put(Bytes::from(vec![n; 9])).unwrap();
        }
        queue.try_put(Bytes::from(vec![7; 600])).unwrap();
        queue.try_get().unwrap();
        let file = fs::read(namespace.path().join("q")).unwrap();
        let l = Layout::of(&file);
        assert_eq!((l.participants, l.capacity, l.block_bytes), (4, 4, 512));
        assert_eq!(l.end, file.len(), "{l:?}");
        assert_eq!(
            layout::word(&file, l.slot(0)) & 1,
            1,
            "the creator is alive"
        );
        assert_eq!(layout::word(&file, l.tail), 4, "one lap of four");
        assert_eq!(layout::word(&file, l.head), 1);
        let state = |i| layout::word(&file, l.ctl(i)) & 7;
        assert_eq!(state(0), State::Free as u64);
        assert_eq!(state(1), State::Writing as u64);
        let word = |at| layout::word(&file, at);
        assert_eq!(word(l.ctl(1)), word(l.done(1)), "finished");
        assert_eq!(word(l.length(1)), 9);
        assert_eq!(word(l.length(3)), 1 << 63 | 600, "in blocks");
        assert_eq!(layout::word(&file, l.meta), layout::meta(0, 1, 1));
        assert_eq!(layout::word(&file, l.links), layout::link(0, 0, 1));
        assert_eq!(
            layout::word(&file, l.links + 8),
            layout::link(0, 0, 0xff_ffff)
        );
        assert_eq!(layout::word(&file, l.places), 3 + 1, "its position");
        assert_eq!(file[l.data..l.data + 600], [7; 600]);
    });
}

fn are_sound<T: Sample>(namespace: &Namespace) {
    let all: Vec<Snapshot> = snapshots::<T>(namespace).expect("snapshots");
    for snapshot in all {
        write(namespace, "copy", &snapshot.bytes);
        let queue: Queue<T> = Queue::options(1).namespace(namespace).open("copy").unwrap();
        let found = std::iter::from_fn(|| queue.try_get().ok()).count();
        assert_eq!(
            found,
            snapshot.messages,
            "{}: {:?}",
            snapshot.name,
            queue.try_get()
        );
        let stat = namespace.inspect("copy").unwrap().queue.unwrap();
        assert_eq!(
            (stat.len, stat.memory_used, stat.orphans),
            (0, 0, 0),
            "{}",
            snapshot.name
        );
        queue.unlink().unwrap();
    }
}

#[test]
fn what_the_dead_left_is_found_in_every_snapshot_that_nobody_damaged() {
    in_namespace(are_sound::<Bytes>);
    in_namespace(are_sound::<Structured>);
}

// ---- files that are no objects

#[test]
fn a_foreign_file_under_the_name_is_refused_and_left_alone() {
    in_namespace(|namespace| {
        let at = |name: &str| namespace.path().join(name);
        write(namespace, "empty", b"");
        write(namespace, "text", b"hello");
        write(namespace, "long-text", &b"hello\n".repeat(4000));
        write(namespace, "zeros", &[0; 65_536]);
        fs::create_dir(at("directory")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for name in [
            "empty",
            "text",
            "long-text",
            "zeros",
            "directory",
            "fifo",
            "socket",
        ] {
            let begin = Instant::now();
            let refused = open(namespace, name);
            assert!(
                matches!(refused, Err(Error::NotAnObject { .. })),
                "{name}: {refused:?}"
            );
            let refused = Queue::<Bytes>::options(1)
                .namespace(namespace)
                .open_or_create(name);
            assert!(
                matches!(refused, Err(Error::NotAnObject { .. })),
                "{name}: {refused:?}"
            );
            let exists = Queue::<Bytes>::options(1).namespace(namespace).create(name);
            assert!(
                matches!(exists, Err(Error::Exists { .. })),
                "{name}: {exists:?}"
            );
            namespace.inspect(name).expect_err(name);
            namespace.sweep(name).expect_err(name);
            assert!(begin.elapsed() < Duration::from_secs(5), "{name}");
            assert!(at(name).exists(), "{name} was left alone");
        }
    });
}

#[test]
fn a_symbolic_link_under_the_name_is_refused() {
    in_namespace(|namespace| {
        let queue = create(namespace, "real");
        symlink(namespace.path().join("real"), namespace.path().join("link")).unwrap();
        symlink("/nowhere", namespace.path().join("dangling")).unwrap();
        for name in ["link", "dangling"] {
            for refused in [
                open(namespace, name),
                Queue::options(1).namespace(namespace).open_or_create(name),
            ] {
                assert!(
                    matches!(refused, Err(Error::Symlink { .. })),
                    "{name}: {refused:?}"
                );
            }
            let refused = namespace.inspect(name);
            assert!(
                matches!(refused, Err(Error::Symlink { .. })),
                "{name}: {refused:?}"
            );
        }
        assert!(queue.is_empty());
    });
}

#[test]
fn a_device_under_the_name_is_refused() {
    in_namespace(|namespace| {
        let path = namespace.path().join("null");
        let null = nix::sys::stat::makedev(1, 3);
        let made =
            nix::sys::stat::mknod(&path, nix::sys::stat::SFlag::S_IFCHR, Mode::S_IRUSR, null);
        if let Err(e) = made {
            println!("skipped: a device node cannot be made here: {e}");
            return;
        }
        // Where devices are not allowed at all, the kernel refuses first.
        let refused = open(namespace, "null");
        assert!(
            matches!(
                refused,
                Err(Error::NotAnObject { .. } | Error::PermissionDenied { .. })
            ),
            "{refused:?}"
        );
    });
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !Uid::effective().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    in_namespace(|namespace| {
        drop(create(namespace, "q"));
        let path = namespace.path().join("q");
        chown(
            &path,
            Some(Uid::from_raw(65_534)),
            Some(Gid::from_raw(65_534)),
        )
        .unwrap();
        let refused = open(namespace, "q");
        assert!(
            matches!(refused, Err(Error::ForeignOwner { uid: 65_534, .. })),
            "{refused:?}"
        );
        let refused = namespace.inspect("q");
        assert!(
            matches!(refused, Err(Error::ForeignOwner { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn another_kind_type_version_or_word_size_is_named() {
    in_namespace(|namespace| {
        drop(create(namespace, "q"));
        let healthy = fs::read(namespace.path().join("q")).unwrap();
        let with = |name: &str, at: usize, value: u32| {
            let mut bytes = healthy.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            write(namespace, name, &bytes);
            open(namespace, name).expect_err(name)
        };
        let e = with("version", 8, 99);
        assert!(matches!(e, Error::IncompatibleLayout { .. }), "{e:?}");
        assert!(e.to_string().contains("99"), "{e}");
        let e = with("kind", 12, 77);
        assert!(matches!(e, Error::WrongKind { .. }), "{e:?}");
        assert!(
            e.to_string().contains("77") && e.to_string().contains("queue"),
            "{e}"
        );
        let e = with("word", 24, 4);
        assert!(matches!(e, Error::IncompatibleLayout { .. }), "{e:?}");
        let e = with("magic", 0, 0);
        assert!(matches!(e, Error::NotAnObject { .. }), "{e:?}");
        let e = Queue::<u64>::options(1)
            .namespace(namespace)
            .open("q")
            .expect_err("another type");
        assert!(matches!(e, Error::WrongType { .. }), "{e:?}");
        assert!(
            e.to_string().contains("u64") && e.to_string().contains("bytes"),
            "{e}"
        );
    });
}

#[test]
fn a_queue_cut_short_before_it_is_opened_is_refused_at_every_length() {
    in_namespace(|namespace| {
        let queue = create(namespace, "q");
        queue.try_put(Bytes::from(vec![1; 1000])).unwrap();
        let healthy = fs::read(namespace.path().join("q")).unwrap();
        for length in (0..healthy.len()).step_by(8).chain([255, 257]) {
            write(namespace, "short", &healthy[..length]);
            let refused = open(namespace, "short");
            assert!(
                matches!(
                    refused,
                    Err(Error::Truncated { .. } | Error::NotAnObject { .. })
                ),
                "{length} bytes: {refused:?}"
            );
            let refused = namespace.inspect("short").map(drop);
            assert!(
                matches!(
                    refused,
                    Err(Error::Truncated { .. } | Error::NotAnObject { .. })
                ),
                "{length} bytes: {refused:?}"
            );
            fs::remove_file(namespace.path().join("short")).unwrap();
        }
        // More than there should be does no harm.
        write(namespace, "long", &[&healthy[..], &[7; 5000]].concat());
        assert_eq!(drained(&open(namespace, "long").unwrap()), 1);
    });
}

// ---- locks held by somebody who is not a participant

/// Holds bytes of a file as a participant would.
struct FalseLock(File);

impl FalseLock {
    fn on(namespace: &Namespace, name: &str, first: u64, count: u64) -> Self {
        let path = namespace.path().join(name);
        let file = File::options().read(true).write(true).open(path).unwrap();
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: first as libc::off_t,
            l_len: count as libc::off_t,
            l_pid: 0,
        };
        // SAFETY: the kernel only reads `lock`.
        let rc = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(rc, 0, "the bytes can be locked");
        Self(file)
    }
}

/// Byte of the first slot's lock.
const SLOT_LOCKS: u64 = 2;

#[test]
fn false_locks_on_all_slots_are_an_error_and_not_a_hang() {
    in_namespace(|namespace| {
        drop(create(namespace, "q"));
        let locks = FalseLock::on(namespace, "q", SLOT_LOCKS, 4);
        let refused = open(namespace, "q");
        assert!(
            matches!(refused, Err(Error::TooManyParticipants { max: 4, .. })),
            "{refused:?}"
        );
        drop(locks.0);
        assert!(open(namespace, "q").is_ok());
    });
}

#[test]
fn a_false_lock_on_a_dead_ones_slot_delays_its_repair_and_nothing_else() {
    in_namespace(|namespace| {
        let queue = create(namespace, "q");
        queue.try_put(Bytes::from("one")).unwrap();
        let mut bytes = fs::read(namespace.path().join("q")).unwrap();
        let layout = Layout::of(&bytes);
        layout::set_word(
            &mut bytes,
            layout.ctl(0),
            layout::ctl(0, 0, 1, State::Reading as u64),
        );
        write(namespace, "copy", &bytes);
        let lock = FalseLock::on(namespace, "copy", SLOT_LOCKS, 1);
        let queue = open(namespace, "copy").unwrap();
        let begin = Instant::now();
        let timeout = queue.get_timeout(Duration::from_millis(300));
        assert!(
            matches!(timeout, Err(GetTimeoutError::Timeout)),
            "{timeout:?}"
        );
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
        queue.try_put(Bytes::from("two")).unwrap();
        assert_eq!(queue.try_get().unwrap(), Bytes::from("two"), "others go on");
        let liar = &namespace.inspect("copy").unwrap().participants[0];
        assert_eq!(
            liar.state,
            ParticipantState::Alive,
            "a lock is the only proof there is"
        );
        drop(lock.0);
        assert_eq!(
            queue.get_timeout(Duration::from_secs(5)).unwrap(),
            Bytes::from("one")
        );
        assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    });
}

/// In a process of its own: a thread that hangs could not be ended.
fn ends_in_time(namespace: &Namespace, command: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_puppet"))
        .arg(namespace.path())
        .args(["--once", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a puppet");
    let begin = Instant::now();
    while child.try_wait().expect("its status").is_none() {
        if begin.elapsed() > Duration::from_secs(10) {
            child.kill().expect("it can be killed");
            child.wait().expect("it is dead");
            panic!("{command} does not return");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its output");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_false_lock_on_the_existence_byte_is_an_error_and_not_a_hang() {
    in_namespace(|namespace| {
        drop(create(namespace, "q"));
        let _lock = FalseLock::on(namespace, "q", 0, 1);
        for command in ["open q", "open-or-create q 4 4", "unlink-unused q"] {
            let said = ends_in_time(namespace, command);
            assert!(said.starts_with("err"), "{command}: {said}");
        }
    });
}

#[test]
fn a_false_lock_on_the_removal_byte_does_not_hang_a_removal() {
    in_namespace(|namespace| {
        drop(create(namespace, "q"));
        let _lock = FalseLock::on(namespace, "q", 1, 1);
        for command in ["unlink q", "unlink-unused q"] {
            let said = ends_in_time(namespace, command);
            assert!(said.starts_with("err"), "{command}: {said}");
        }
        assert_eq!(ends_in_time(namespace, "open q"), "ok");
    });
}

#[test]
fn a_queue_that_is_cut_short_under_its_users_is_reported_corrupt() {
    for length in [0, 4096, 8192, 12_288] {
        in_namespace(|namespace| {
            drop(create(namespace, "q"));
            let truncate = format!("truncate q {length}");
            let output = Command::new(env!("CARGO_BIN_EXE_puppet"))
                .arg(namespace.path())
                .args(["--once", "open q", "--once", &truncate])
                .args(["--once", "put x", "--once", "try-get", "--once", "len"])
                .stdin(Stdio::null())
                .output()
                .expect("a puppet");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.code().is_some(),
                "ended by a signal: {}",
                output.status
            );
            // What lies before the cut goes on working.
            assert!(length > 0 || said.contains("cut short"), "{said}");
        });
    }
}

#[test]
fn a_writer_that_reaches_the_file_but_not_the_mapping_is_seen_by_it() {
    // What the other tests rest on: pwrite and the mapping are one memory.
    in_namespace(|namespace| {
        let queue = create(namespace, "q");
        let path = namespace.path().join("q");
        let layout = Layout::of(&fs::read(&path).unwrap());
        let file = File::options().write(true).open(&path).unwrap();
        assert!(!queue.is_closed());
        file.write_all_at(&1u32.to_le_bytes(), layout.gate as u64)
            .unwrap();
        assert!(queue.is_closed());
    });
}
