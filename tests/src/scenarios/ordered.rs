//! The scenarios of the queues in another order than first in, first out.
//!
//! `subject` (both queues as one, and the order that each should have), `layout` (what the file holds, read without the library),
//! `trial` (a queue, who comes to it, and what must be true in the end), `case` (one act in one setting).

mod case;
mod layout;
mod subject;
mod trial;

use self::case::{Act, Case};
use self::subject::Kind;
use super::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::Entry;

/// Every scenario.
pub(super) fn all() -> Vec<Entry> {
    let kinds = [Kind::Lifo, Kind::Priority];
    kinds.into_iter().flat_map(cases).map(Entry::new).collect()
}

fn cases(kind: Kind) -> Vec<Case> {
    use Act::{Close, Get, Look, Peek, Put, Repair};
    let on = |name, contents, act, campaigns| Case::new(kind, name, contents, act, campaigns);
    vec![
        on("put-into-empty", "", Put('s'), ALL),
        on("put-into-middle", "ss", Put('s'), KILL_AND_STOP),
        on("put-into-last-cell", "sss", Put('s'), KILL_AND_STOP),
        on("put-into-full", "ssss", Put('s'), KILL_AND_STOP),
        on("put-into-closed", "s", Put('s'), KILL).closed(),
        on("put-large", "ls", Put('l'), ALL),
        on("put-large-without-blocks", "llsl", Put('l'), KILL).memory(9),
        on("put-large-into-closed", "l", Put('l'), KILL).closed(),
        on("put-after-torn-put", "ss", Put('s'), KILL).left_in_lock(Put('s')),
        on("get-from-empty", "", Get, KILL_AND_STOP),
        on("get-last", "s", Get, ALL),
        on("get-from-middle", "sss", Get, KILL_AND_STOP),
        on("get-from-full", "ssss", Get, KILL_AND_STOP),
        on("get-large", "slsl", Get, ALL),
        on("get-last-of-closed", "s", Get, KILL_AND_STOP).closed(),
        on("get-from-drained", "", Get, KILL).closed(),
        on("get-after-torn-get", "sss", Get, KILL).left_in_lock(Get),
        on("peek", "sss", Peek, KILL_AND_STOP),
        on("peek-large", "ll", Peek, KILL),
        on("close", "s", Close, KILL_AND_STOP),
        on("look", "ss", Look, KILL),
        on("repair-torn-put", "ss", Repair, ALL).left_in_lock(Put('l')),
        on("repair-torn-get", "ssl", Repair, ALL).left_in_lock(Get),
    ]
}
