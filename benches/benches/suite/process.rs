//! Starting a process and joining it: the least that the machine takes for any program, what a small program of Rust takes that does nothing,
//! and what a function in it takes.
//!
//! The parent is the program `starter`, to whom each step is a byte there and a byte back. What such a program costs by itself (a dynamic linker
//! with one library more, a start of Rust's, more pages) is outside this library; only what is above it is ours.

use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::Crew;
use ipc_benches::harness::solo;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

const STARTER: &str = env!("CARGO_BIN_EXE_starter");

/// Ends when its standard input does.
struct Starter(Child);

impl Starter {
    fn new() -> Self {
        let mut command = Command::new(STARTER);
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

impl Drop for Starter {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait(); // it ends by itself
    }
}

/// One start and its join a step.
fn each(order: u8) -> Crew {
    solo(move || {
        let mut starter = Starter::new();
        move |_| starter.tell(order)
    })
}

/// One process after the other.
pub(crate) fn start_and_join(suite: &mut Suite) {
    let group = "process_start_join";
    let one = || Throughput::Elements(1);
    let floors = ["floor_posix_spawn_true", "floor_own_program"];
    suite.figure((group, floors[0]), &[], one(), || each(b't'));
    suite.figure((group, floors[1]), &floors[..1], one(), || each(b'o'));
    suite.figure((group, "ipc_spawn"), &floors, one(), || each(b's'));
    suite.figure((group, "ipc_spawn_daemon"), &floors, one(), || each(b'd'));
}
