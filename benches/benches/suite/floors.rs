//! The least that this machine takes.

use crate::suite::Suite;
use crate::{CAPACITY, OBJECT, STREAMS};
use criterion::Throughput;
use ipc_benches::crew::{Crew, Role, Rounds, Workers};
use ipc_benches::harness::{
    Item, Placement, one_to_one as one_to_one_crew, round_trip, solo, stream,
};
use ipc_benches::ring::{CopyTwice, Reader, Ring, Writer, cache_line};
use ipc_benches::{Shared, futex_wait, futex_wake, map_and_touch};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Above any core's own caches (1 to 2 MiB), within the last level.
const COLD_SPAN: usize = 8 << 20;

/// There and back: one word, one 64-byte message, one sleep.
pub(crate) fn round_trips(suite: &mut Suite) {
    let one = || Throughput::Elements(1);
    suite.figure(("round_trip", "floor_cache_line"), &[], one(), cache_line);
    suite.figure(
        ("round_trip", "floor_mailbox"),
        &["floor_cache_line"],
        one(),
        mailbox,
    );
    suite.figure(("round_trip", "floor_futex_two_cores"), &[], one(), || {
        futex(Placement::Apart)
    });
    suite.figure(("round_trip", "floor_futex_one_core"), &[], one(), || {
        futex(Placement::Together)
    });
}

/// One slot each way: 64 bytes and a flag.
fn mailbox() -> Crew {
    let ((ask, asked), (answer, answered)) = (Ring::new(1, 64).ends(), Ring::new(1, 64).ends());
    round_trip(
        Workers::Processes,
        Placement::Apart,
        || items(ask, answered),
        || items(answer, asked),
    )
}

/// Both ends of a side, as operations on items.
fn items(mut writer: Writer, reader: Reader) -> (impl FnMut(Item), impl FnMut() -> Item) {
    (move |item: Item| writer.put(&item), getter(reader))
}

fn getter(mut reader: Reader) -> impl FnMut() -> Item {
    move || {
        let mut item = [0; 64];
        reader.get(&mut item);
        item
    }
}

/// A word that says whose turn it is; one wake and one wait a hop.
fn futex(placement: Placement) -> Crew {
    let turn = Arc::new(Shared::<AtomicU32>::zeroed());
    let wait_while = |turn: &AtomicU32, value: u32| {
        while turn.load(Ordering::Acquire) == value {
            futex_wait(turn, value, None);
        }
    };
    let pass_to = |turn: &AtomicU32, value: u32| {
        turn.store(value, Ordering::Release);
        futex_wake(turn, 1);
    };
    let asking = Arc::clone(&turn);
    let ask = move |_| {
        pass_to(&asking, 1);
        wait_while(&asking, 1);
    };
    let answer = move |_| {
        wait_while(&turn, 0);
        pass_to(&turn, 0);
    };
    let (here, there) = placement.cores();
    Crew::start(
        Workers::Processes,
        vec![
            Role::new("ask", here, move |rounds: &mut Rounds| rounds.each(ask)),
            Role::new("answer", there, move |rounds: &mut Rounds| {
                rounds.each(answer)
            }),
        ],
    )
}

/// 64-byte messages through slots with a flag each, and no other shared state.
pub(crate) fn one_to_one(suite: &mut Suite) {
    let crew = || {
        let (mut writer, reader) = Ring::new(CAPACITY, 64).ends();
        one_to_one_crew(
            Workers::Processes,
            || move |item: Item| writer.put(&item),
            || getter(reader),
        )
    };
    suite.figure(
        ("one_to_one", "floor_slots"),
        &[],
        Throughput::Elements(1),
        crew,
    );
}

/// Bytes: `floor_copy_twice` copies private → shared → private in one process, over slots that went cold; `floor_slots`
/// does the two copies in two processes, side by side, with a flag a message.
pub(crate) fn streams(suite: &mut Suite) {
    for (size, group, on_the_way) in STREAMS {
        let copy_twice = move || {
            let mut copies = CopyTwice::new(size, COLD_SPAN);
            solo(move || move |_| copies.step())
        };
        let slots = move || {
            let (mut writer, mut reader) = Ring::new(on_the_way, size).ends();
            let get = move || {
                let mut message = vec![0; size];
                move || {
                    reader.get(&mut message);
                    message.len()
                }
            };
            stream(
                Workers::Processes,
                size,
                || move |message: &[u8]| writer.put(message),
                get,
            )
        };
        let bytes = || Throughput::Bytes(size as u64);
        suite.figure((group, "floor_copy_twice"), &[], bytes(), copy_twice);
        suite.figure(
            (group, "floor_slots"),
            &["floor_copy_twice"],
            bytes(),
            slots,
        );
    }
}

/// Files in shared memory as large as the object: opening and mapping one that is there, and making one.
pub(crate) fn attach(suite: &mut Suite) {
    let one = || Throughput::Elements(1);
    suite.figure(("attach", "floor_open"), &[], one(), || {
        solo(|| {
            let file = Floor::new();
            file.make();
            move |_| {
                let open = OpenOptions::new().read(true).write(true).open(&file.0);
                black_box(map_and_touch(&open.expect("open the file"), OBJECT));
            }
        })
    });
    suite.figure(("attach", "floor_create"), &[], one(), || {
        solo(|| {
            let file = Floor::new();
            move |_| {
                black_box(map_and_touch(&file.make(), OBJECT));
                file.remove();
            }
        })
    });
}

/// The path of a file in shared memory, which goes with it.
struct Floor(PathBuf);

impl Floor {
    fn new() -> Self {
        let name = format!("ipc-bench-floor-{}", std::process::id());
        Self(Path::new("/dev/shm").join(name))
    }

    fn make(&self) -> File {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true);
        let file = options.open(&self.0).expect("make a file");
        let length = OBJECT.try_into().expect("a small file");
        fallocate(&file, FallocateFlags::empty(), 0, length).expect("get memory for the file");
        file
    }

    fn remove(&self) {
        fs::remove_file(&self.0).expect("remove the file");
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
