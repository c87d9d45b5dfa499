//! What `step_kill` runs.
//!
//! The queue's scenarios, from the ground up: `message` (messages that know whether they are whole), `oracle` (what the
//! file holds, read without the library), `act` (what a victim does), `trial` (a queue and who comes to it), `aftermath`
//! (what must be true in the end). Then the scenarios: `conservation` (one act in one setting) and their list, `queue`;
//! `birth` and `visit` (from create to unlink); `slot_reuse` (a sweeper that comes too late).
//!
//! Then those of the queues in another order: `ordered`; of the joinable queue: `joinable`; of the pipe: `pipe`; of the broadcast: `broadcast`; of the
//! listener and its clients: `listener`; of the synchronisation objects: `sync`, with
//! `sleeper` (processes asleep); of families: `family`; and of raw blocks: `shm`. `campaigns`: what is done to them.

mod act;
mod aftermath;
mod birth;
mod broadcast;
mod campaigns;
mod conservation;
mod dict;
mod family;
mod joinable;
mod listener;
mod message;
mod oracle;
mod ordered;
mod pipe;
mod queue;
mod shm;
mod sleeper;
mod slot_reuse;
mod sync;
mod trial;
mod visit;

use self::birth::Birth;
use crate::naive::NaiveOperation;
use crate::naive_lock::NaiveLock;
use crate::owned_cell::{CellFault, CellPut};
use crate::step::Entry;

/// Every scenario, the controls first.
pub fn all() -> Vec<Entry> {
    let controls = [
        Entry::new(NaiveOperation::Put),
        Entry::new(NaiveOperation::Get),
        Entry::new(NaiveLock),
        Entry::new(CellPut(CellFault::None)),
        Entry::new(CellPut(CellFault::Impatience)),
        Entry::new(CellPut(CellFault::RepairInTwoSteps)),
    ];
    let operations = [
        queue::puts(),
        queue::gets(),
        queue::loans(),
        queue::repairs(),
    ]
    .concat();
    let births = [Birth::Create, Birth::OpenOrCreate, Birth::AnonymousLife];
    controls
        .into_iter()
        .chain(operations.into_iter().map(Entry::new))
        .chain(births.map(Entry::new))
        .chain(visit::visits().into_iter().map(Entry::new))
        .chain(slot_reuse::newcomers().into_iter().map(Entry::new))
        .chain(ordered::all())
        .chain(dict::all())
        .chain(joinable::all())
        .chain(pipe::all())
        .chain(broadcast::all())
        .chain(listener::all().map(Entry::new))
        .chain(sync::all())
        .chain(family::all().map(Entry::new))
        .chain([shm::Raw::Create, shm::Raw::Unlink].map(Entry::new))
        .collect()
}
