//! The scenarios of the joinable queue: jobs are neither lost nor doubled, whoever dies where; and one that was reported as done
//! does not come back.
//!
//! `trial` (a queue, who comes to it, and what must be true in the end), `case` (one act in one setting).

mod case;
mod trial;

use self::case::{Act, Case};
use super::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::Entry;

/// Every scenario.
pub(super) fn all() -> Vec<Entry> {
    cases().into_iter().map(Entry::new).collect()
}

/// Jobs by letter: small are as long as `s`, capital ones as `l`; `r` was returned, `d` is a dead letter, `s` is in the ring.
fn cases() -> Vec<Case> {
    use Act::{Close, Done, Get, GiveBack, GiveUp, Join, Put, Repair, Requeue, TakeDead};
    let on = Case::new;
    vec![
        on("put", "s", Put('s'), KILL_AND_STOP),
        on("put-large", "s", Put('l'), KILL),
        on("get", "ss", Get, ALL),
        on("get-large", "Ss", Get, ALL),
        on("get-last-of-closed", "s", Get, KILL_AND_STOP).closed(),
        on("get-from-empty", "", Get, KILL),
        on("get-returned", "rs", Get, ALL),
        on("get-returned-large", "R", Get, ALL),
        on("get-late", "s", Get, KILL).late(),
        on("get-late-large", "S", Get, KILL).late(),
        on("done", "ss", Done, ALL),
        on("done-large", "Ss", Done, ALL),
        on("done-in-time", "s", Done, KILL_AND_STOP).timed(),
        on("done-last-of-closed", "s", Done, KILL_AND_STOP).closed(),
        on("give-back", "ss", GiveBack, ALL),
        on("give-back-large", "S", GiveBack, KILL_AND_STOP),
        on("give-back-last-attempt", "s", GiveBack, ALL).attempts(1),
        on("give-up", "s", GiveUp, KILL_AND_STOP),
        on("take-dead", "dDs", TakeDead, ALL),
        on("requeue-dead", "dD", Requeue, ALL),
        on("join", "", Join, KILL),
        on("close", "rs", Close, KILL_AND_STOP),
        on("repair-worker", "ss", Repair, ALL).left_by(Get),
        on("repair-worker-large", "SS", Repair, ALL).left_by(Get),
        on("repair-last-attempt", "Ss", Repair, ALL)
            .left_by(Get)
            .attempts(1),
        on("repair-torn-get", "sS", Repair, ALL).left_torn(),
    ]
}
