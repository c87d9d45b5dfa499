//! Pools of two workers: ours, Python's where there is one, and rayon's threads, which need not send anything anywhere.
//!
//! Each is a program that does one step for each byte on its standard input: `pooler`, or a script.

use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::Crew;
use ipc_benches::harness::solo;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

const POOLER: &str = env!("CARGO_BIN_EXE_pooler");
const NUMBERS: u64 = 100_000;
const NAPS: u64 = 100;

const PYTHON: &str = "
import multiprocessing, os, sys, time
os.sched_setaffinity(0, range(os.cpu_count()))
def square(n):
    return n * n
def nap(n):
    start = time.perf_counter()
    while time.perf_counter() - start < 0.001:
        pass
    return n
with multiprocessing.Pool(2) as pool:
    while order := os.read(0, 1):
        if order == b'm':
            pool.map(square, range(100000), 1)
        elif order == b'd':
            pool.map(square, range(100000))
        elif order == b'w':
            pool.map(nap, range(100), 1)
        else:
            pool.apply(square, (4,))
        os.write(1, order)
";

/// Ends when its standard input does.
struct Driver(Child);

impl Driver {
    fn new(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("it can be started"))
    }

    fn tell(&mut self, order: u8) {
        let Self(child) = self;
        let (to, from) = (child.stdin.as_mut(), child.stdout.as_mut());
        to.expect("piped").write_all(&[order]).expect("it listens");
        let mut answer = [0];
        from.expect("piped")
            .read_exact(&mut answer)
            .expect("it answers");
        assert_eq!(answer, [order]);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait(); // it ends by itself
    }
}

fn of_pooler(order: u8) -> Crew {
    solo(move || {
        let mut driver = Driver::new(Command::new(POOLER));
        move |_| driver.tell(order)
    })
}

fn of_python(order: u8) -> Crew {
    solo(move || {
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON]);
        let mut driver = Driver::new(python);
        move |_| driver.tell(order)
    })
}

fn has_python() -> bool {
    let mut python = Command::new("python3");
    let run = python.args(["-c", "import multiprocessing"]).status();
    run.is_ok_and(|status| status.success())
}

/// Maps and single calls; and from the death of a worker to the end of its task in another.
pub(crate) fn pools(suite: &mut Suite) {
    let has_python = has_python();
    let figures = [
        ("pool_map_chunk_1", b'm', NUMBERS),
        ("pool_map_default_chunks", b'd', NUMBERS),
        ("pool_1ms_tasks", b'w', NAPS),
        ("pool_apply", b'a', 1),
    ];
    for (group, order, amount) in figures {
        let amount = || Throughput::Elements(amount);
        let mut bases = vec!["peer_rayon_threads"];
        let of_threads = order.to_ascii_uppercase();
        suite.figure((group, bases[0]), &[], amount(), move || {
            of_pooler(of_threads)
        });
        if has_python {
            let python = "peer_python_pool";
            suite.figure((group, python), &[], amount(), move || of_python(order));
            bases.push(python);
        }
        suite.figure((group, "ipc_pool"), &bases, amount(), move || {
            of_pooler(order)
        });
    }
    let one = Throughput::Elements(1);
    suite.figure(("pool_replace", "ipc_pool"), &[], one, || of_pooler(b'k'));
}
