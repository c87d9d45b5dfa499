//! `multiprocessing.Manager().dict()` of Python's. Each worker has an interpreter of its own that does the items (`manager.py`), and tells it
//! how many to do next.

use super::server::{Child, Place};
use super::{Mix, PAIRS, fresh_path};
use ipc_benches::crew::{Crew, Workers::Processes};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

/// Items a step: what telling the interpreter takes is nothing beside them.
pub(super) const ITEMS: u64 = 128;

const SCRIPT: &str = include_str!("manager.py");

pub(super) fn crew(mix: Mix) -> Crew {
    crew_beside(mix, ipc_benches::cores())
}

/// With the manager on the client's own core.
pub(super) fn crew_on_one_core(mix: Mix) -> Crew {
    crew_beside(mix, &ipc_benches::cores()[..1])
}

fn crew_beside(mix: Mix, cores: &'static [usize]) -> Crew {
    let ticket = fresh_path();
    mix.crew(Processes, move |worker| {
        let mut interpreter = Interpreter::start(ticket, worker, mix.gets, cores);
        move |_| interpreter.work()
    })
}

struct Interpreter {
    /// Nothing more to do, once it is closed.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    child: Child,
    ticket: PathBuf,
}

impl Interpreter {
    fn start(ticket: PathBuf, worker: usize, gets: u64, cores: &[usize]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT]).arg(&ticket);
        command.args([worker.to_string(), gets.to_string(), PAIRS.to_string()]);
        command.args(cores.iter().map(usize::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Child::start(command, Place::Here);
        let orders = child.0.stdin.take();
        let answers = BufReader::new(child.0.stdout.take().expect("it is piped"));
        let mut interpreter = Self {
            orders,
            answers,
            child,
            ticket,
        };
        interpreter.read_answer(); // ready
        interpreter
    }

    fn work(&mut self) {
        let orders = self.orders.as_mut().expect("open until this is dropped");
        writeln!(orders, "{ITEMS}").expect("tell the interpreter");
        self.read_answer();
    }

    fn read_answer(&mut self) {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        assert_eq!((read.ok(), &*line), (Some(5), "done\n"), "what it answers");
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.orders = None;
        // It stops its manager. A process or a file that stays is no reason to panic in a drop.
        let _ = self.child.0.wait();
        let _ = std::fs::remove_file(&self.ticket);
    }
}
