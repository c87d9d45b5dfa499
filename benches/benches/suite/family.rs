//! What a raw block's copies cost against plain memory, and what a family costs its members.
//!
//! `shared_memory_64B` and `_4KiB` write and read so many bytes at an offset that is no multiple of 8. `member_lock` is a lock acquired and
//! released: the same lock, made beside a family and in one. `family` is an object made and dropped without a name: alone, as a
//! member, and with a family of its own.

use crate::suite::Suite;
use criterion::Throughput;
use ipc_benches::crew::Crew;
use ipc_benches::harness::solo;
use ipc_benches::queue::{fresh_name, namespace};
use ipc_core::{Event, Lock, Manager, SharedMemory};
use std::hint::black_box;

/// Bytes a copy, and the group.
const COPIES: [(usize, &str); 2] = [(64, "shared_memory_64B"), (4096, "shared_memory_4KiB")];
/// Where copies begin.
const OFFSET: usize = 13;

/// One thread's step.
fn alone<S: FnMut()>(step: impl FnOnce() -> S + Send + 'static) -> Crew {
    solo(move || {
        let mut step = step();
        move |_| step()
    })
}

/// Copies into memory and out of it.
pub(crate) fn raw_blocks(suite: &mut Suite) {
    for (bytes, group) in COPIES {
        let moved = || Throughput::Bytes(2 * bytes as u64);
        suite.figure((group, "floor_copy"), &[], moved(), move || {
            alone(move || {
                let mut block = vec![0u8; OFFSET + bytes];
                let mut own = vec![7u8; bytes];
                move || {
                    black_box(&mut block)[OFFSET..].copy_from_slice(black_box(&own));
                    black_box(&mut own).copy_from_slice(&black_box(&block)[OFFSET..]);
                }
            })
        });
        suite.figure((group, "ipc"), &["floor_copy"], moved(), move || {
            alone(move || {
                let name = format!("ipc-benches-{}", fresh_name());
                let block = SharedMemory::create(&name, OFFSET + bytes).expect("make a block");
                block.unlink().expect("its name is there");
                let mut own = vec![7u8; bytes];
                move || {
                    block.write(OFFSET, black_box(&own)).expect("write");
                    block.read(OFFSET, black_box(&mut own)).expect("read");
                }
            })
        });
    }
}

/// What being a member costs.
pub(crate) fn families(suite: &mut Suite) {
    let once = || Throughput::Elements(1);
    suite.figure(("member_lock", "ipc_lock"), &[], once(), || {
        alone(|| {
            let lock = Lock::options().namespace(&namespace()).anonymous();
            acquire(lock.expect("make a lock"))
        })
    });
    suite.figure(("member_lock", "ipc_member"), &["ipc_lock"], once(), || {
        alone(|| acquire(team().lock().expect("make a lock")))
    });
    suite.figure(("family", "ipc_event"), &[], once(), || {
        alone(|| {
            let options = Event::options().namespace(&namespace());
            move || drop(options.anonymous().expect("make an event"))
        })
    });
    suite.figure(("family", "ipc_member"), &["ipc_event"], once(), || {
        alone(|| {
            let team = team();
            move || {
                let event = team.event().expect("make an event");
                event.unlink().expect("remove it");
            }
        })
    });
    suite.figure(("family", "ipc_family"), &["ipc_event"], once(), || {
        alone(|| || drop(team().event().expect("make an event")))
    });
}

fn team() -> Manager {
    let team = Manager::options().namespace(&namespace()).anonymous();
    team.expect("make a family")
}

fn acquire(lock: Lock) -> impl FnMut() {
    move || drop(black_box(&lock).acquire().expect("acquire"))
}
