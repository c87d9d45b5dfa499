//! Blocks of shared memory that this library and Python's `multiprocessing.shared_memory` both have open.
//!
//! Needs `python3` (3.8 or later); where there is none, each test says so and passes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ipc_core::{Error, SharedMemory};
use ipc_tests::puppet::wait_until;

/// Does what each line says, as Python, and answers with a line of text.
const INTERPRETER: &str = "
import sys, struct
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
for line in sys.stdin:
    try:
        answer = eval(line)
    except Exception as e:
        answer = type(e).__name__
    print(answer, flush=True)
";

/// A Python program that does as it is told.
struct Python {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// None where there is no Python that can do this.
    fn start() -> Option<Self> {
        let works = Command::new("python3")
            .args(["-c", "import multiprocessing.shared_memory"])
            .stderr(Stdio::null())
            .status();
        if !works.is_ok_and(|status| status.success()) {
            eprintln!("skipped: there is no python3 with multiprocessing.shared_memory");
            return None;
        }
        let mut child = Command::new("python3")
            .args(["-c", INTERPRETER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the resource tracker warns
            .spawn()
            .expect("python3 can be started");
        let (commands, answers) = (child.stdin.take(), child.stdout.take());
        Some(Self {
            child,
            commands: commands.expect("piped"),
            answers: BufReader::new(answers.expect("piped")),
        })
    }

    fn eval(&mut self, expression: &str) -> String {
        writeln!(self.commands, "{expression}").expect("Python listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("Python answers");
        line.trim_end().to_owned()
    }

    /// Opens a block; `more` are further arguments.
    fn open(&mut self, name: &str, more: &str) -> String {
        self.eval(&format!(
            "globals().update(shm=SharedMemory(name='{name}'{more})) or shm.size"
        ))
    }

    /// What a Python program says that shall not remove the name when it ends.
    fn leave_alone(&mut self) {
        let said = self.eval("resource_tracker.unregister('/' + shm.name, 'shared_memory')");
        assert_eq!(said, "None");
    }

    fn end(mut self) {
        drop(self.commands);
        assert!(self.child.wait().expect("Python ends").success());
    }

    fn kill(mut self) {
        self.child.kill().expect("Python can be killed");
        self.child.wait().expect("Python can be waited for");
    }
}

/// A name of this test's own, gone with it.
struct Name(String);

impl Name {
    fn new(test: &str) -> Self {
        Self(format!("ipc-python-{test}-{}", std::process::id()))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = SharedMemory::remove(&self.0);
    }
}

fn is_there(name: &Name) -> bool {
    match SharedMemory::open_read_only(&name.0) {
        Ok(_) => true,
        Err(Error::NotFound { .. }) => false,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn python_opens_what_we_made_and_we_see_what_it_writes() {
    let Some(mut python) = Python::start() else {
        return;
    };
    let name = Name::new("ours");
    let block = SharedMemory::create(&name.0, 10_001).unwrap();
    block.write(9_994, b"the end").unwrap();
    block.set(16, 0x1122_3344_5566_7788u64).unwrap();
    assert_eq!(python.open(&name.0, ""), "10001");
    assert_eq!(python.eval("bytes(shm.buf[-7:])"), "b'the end'");
    let number = python.eval("hex(struct.unpack_from('=Q', shm.buf, 16)[0])");
    assert_eq!(number, "0x1122334455667788");
    assert_eq!(
        python.eval("struct.pack_into('=d', shm.buf, 3, 0.5)"),
        "None"
    );
    assert_eq!(block.get::<f64>(3).unwrap(), 0.5);
    // A name is one block's, on both sides.
    let refused = python.eval(&format!("SharedMemory('{}', True, 5)", name.0));
    assert_eq!(refused, "FileExistsError");
    python.leave_alone();
    python.end();
    assert_eq!(block.read_vec(9_994, 7).unwrap(), b"the end");
    assert!(
        is_there(&name),
        "a program that says so leaves the name alone"
    );
}

#[test]
fn we_open_what_python_made_and_it_sees_what_we_write() {
    let Some(mut python) = Python::start() else {
        return;
    };
    let name = Name::new("theirs");
    let size: usize = python
        .open(&name.0, ", create=True, size=5000")
        .parse()
        .unwrap();
    assert_eq!(
        python.eval("shm.buf.__setitem__(slice(0, 5), b'hello')"),
        "None"
    );
    let block = SharedMemory::open(&name.0).unwrap();
    assert!(block.size() == size && size >= 5000, "{size}");
    assert_eq!(block.read_vec(0, 5).unwrap(), b"hello");
    let stat = SharedMemory::list().unwrap();
    let stat = stat.iter().find(|stat| stat.name == name.0).unwrap();
    assert!(
        stat.reserved_bytes >= 5000,
        "Python reserves nothing: {stat:?}"
    );
    block.set(4992, -2i64).unwrap();
    assert_eq!(
        python.eval("struct.unpack_from('=q', shm.buf, 4992)[0]"),
        "-2"
    );
    assert!(matches!(
        SharedMemory::create(&name.0, 1),
        Err(Error::Exists { .. })
    ));
    assert_eq!(python.eval("shm.unlink()"), "None");
    assert!(!is_there(&name));
    block.set(0, b'j').unwrap();
    assert_eq!(
        python.eval("bytes(shm.buf[:5])"),
        "b'jello'",
        "who has it keeps it"
    );
    python.end();
    assert_eq!(block.get::<u8>(0).unwrap(), b'j');
    assert!(matches!(block.unlink(), Err(Error::NotFound { .. })));
}

#[test]
fn a_block_that_python_made_without_a_name_has_one() {
    let Some(mut python) = Python::start() else {
        return;
    };
    let name = python.eval("globals().update(shm=SharedMemory(create=True, size=8)) or shm.name");
    let block = SharedMemory::open(&name).unwrap();
    assert_eq!(block.name(), name);
    block.unlink().unwrap();
    assert!(matches!(
        SharedMemory::open(&name),
        Err(Error::NotFound { .. })
    ));
    let ours = SharedMemory::options(8).create_unnamed().unwrap();
    assert_eq!(python.open(ours.name(), ""), "8");
    ours.unlink().unwrap();
    python.leave_alone();
    python.end();
}

/// What users of Python 3.8 to 3.12 have to know: the resource tracker removes what a program has only opened, too.
#[test]
fn pythons_resource_tracker_takes_the_name_along_and_not_the_memory() {
    for is_killed in [false, true] {
        let Some(mut python) = Python::start() else {
            return;
        };
        let name = Name::new("tracked");
        let block = SharedMemory::create(&name.0, 64).unwrap();
        assert_eq!(python.open(&name.0, ""), "64");
        if is_killed {
            python.kill();
        } else {
            python.end();
        }
        wait_until("the tracker has removed the name", || !is_there(&name));
        block.set(0, 1u8).unwrap();
        assert_eq!(block.get::<u8>(0).unwrap(), 1);
        // Under the name there may be another block by now, which our handle leaves alone.
        let successor = SharedMemory::create(&name.0, 32).unwrap();
        assert!(matches!(block.unlink(), Err(Error::NotFound { .. })));
        drop(block);
        assert!(is_there(&name));
        successor.unlink().unwrap();
    }
}
