//! The campaigns over the queue's own operations.

use super::act::Act;
use super::campaigns::{ALL, KILL, KILL_AND_STOP};
use super::conservation::Conservation;
use super::trial::Setting;
use crate::step::Campaign;

fn on(
    name: &'static str,
    contents: &'static str,
    act: Act,
    campaigns: &'static [Campaign],
) -> Conservation {
    Conservation {
        name,
        setting: Setting::with(contents),
        act,
        campaigns,
    }
}

impl Conservation {
    fn closed(mut self) -> Self {
        self.setting.is_closed = true;
        self
    }

    fn memory(mut self, blocks: usize) -> Self {
        self.setting.memory = blocks * 512;
        self
    }

    fn loans(mut self, count: usize) -> Self {
        self.setting.loans = count;
        self.memory(0)
    }

    fn capacity(mut self, capacity: usize) -> Self {
        self.setting.capacity = capacity;
        self
    }

    fn passed(mut self, messages: usize) -> Self {
        self.setting.passed = messages;
        self
    }

    fn left_by(mut self, act: Act, changes: u32) -> Self {
        self.setting.left_by = Some((act, changes));
        self
    }

    /// Nobody but the victim is attached while it works.
    fn alone(mut self) -> Self {
        self.setting.survivor_is_attached = false;
        self
    }
}

/// Puts.
pub(super) fn puts() -> Vec<Conservation> {
    use Act::{Put, PutMany};
    vec![
        on("put-into-empty", "", Put('s'), ALL),
        on("put-into-virgin", "", Put('s'), KILL).passed(0),
        on("put-into-middle", "ss", Put('s'), KILL_AND_STOP),
        on("put-alone", "ss", Put('s'), KILL).alone(),
        on("put-without-memory", "s", Put('s'), KILL).memory(0),
        on("put-of-three-cells", "s", Put('s'), KILL_AND_STOP)
            .capacity(3)
            .passed(5),
        on("put-of-one-cell", "", Put('s'), KILL_AND_STOP).capacity(1),
        on("put-into-last-cell", "sss", Put('s'), KILL_AND_STOP),
        on("put-into-full", "ssss", Put('s'), KILL_AND_STOP),
        on("put-into-closed", "s", Put('s'), KILL).closed(),
        on("put-three", "s", PutMany("sss"), ALL).capacity(8),
        on("put-three-with-large", "", PutMany("sls"), KILL),
        on("put-large-into-empty", "", Put('l'), ALL),
        on("put-large-into-virgin", "s", Put('l'), KILL).passed(0),
        on("put-large-into-middle", "ls", Put('l'), KILL_AND_STOP),
        on("put-large-alone", "ls", Put('l'), KILL).alone(),
        on("put-large-into-last-blocks", "xs", Put('l'), KILL_AND_STOP).memory(8),
        on("put-large-without-blocks", "xs", Put('l'), KILL_AND_STOP).memory(7),
        on("put-large-into-full", "slss", Put('l'), KILL),
        on("put-large-into-closed", "l", Put('l'), KILL).closed(),
        on("put-over-torn-put", "s", Put('s'), KILL).left_by(Put('s'), 2),
        on("put-large-over-torn-put", "s", Put('l'), KILL).left_by(Put('l'), 9),
    ]
}

/// Gets, and looks.
pub(super) fn gets() -> Vec<Conservation> {
    use Act::{Get, GetMany, Look, Peek, Put};
    vec![
        on("get-from-empty", "", Get, KILL),
        on("get-last", "s", Get, ALL),
        on("get-from-virgin", "s", Get, KILL).passed(0),
        on("get-from-middle", "ss", Get, KILL_AND_STOP),
        on("get-alone", "ss", Get, KILL).alone(),
        on("get-of-three-cells", "ss", Get, KILL_AND_STOP)
            .capacity(3)
            .passed(5),
        on("get-of-one-cell", "s", Get, KILL_AND_STOP).capacity(1),
        on("get-from-full", "ssss", Get, KILL_AND_STOP),
        on("get-last-of-closed", "s", Get, KILL_AND_STOP).closed(),
        on("get-from-closed-and-empty", "", Get, KILL).closed(),
        on("get-three", "ssss", GetMany(3), ALL),
        on("get-three-with-large", "sls", GetMany(3), KILL_AND_STOP),
        on("get-large", "ls", Get, ALL),
        on("get-large-alone", "ls", Get, KILL).alone(),
        on("get-large-from-full", "xlsl", Get, KILL_AND_STOP),
        on("get-orphan", "sss", Get, KILL_AND_STOP)
            .left_by(Get, 1)
            .alone(),
        on("get-large-orphan", "lss", Get, KILL_AND_STOP)
            .left_by(Get, 2)
            .alone(),
        on("get-past-torn-put-of-closed", "", Get, KILL)
            .left_by(Put('s'), 1)
            .closed(),
        on("get-past-torn-put", "", Get, KILL).left_by(Put('s'), 2),
        on("get-past-dead-get", "sss", Get, KILL_AND_STOP).left_by(Get, 1),
        on("peek", "ls", Peek, KILL),
        on("peek-orphan", "ss", Peek, KILL).left_by(Get, 1).alone(),
        on("look", "ss", Look, KILL),
    ]
}

/// Messages that are written and read in place.
pub(super) fn loans() -> Vec<Conservation> {
    use Act::{Get, GetRef, GiveUpLoan, Peek, PutInPlace, Sweep};
    let all = vec![
        on("loan-into-empty", "", PutInPlace, ALL),
        on("loan-into-virgin", "s", PutInPlace, KILL).passed(0),
        on("loan-into-middle", "ws", PutInPlace, KILL_AND_STOP),
        on("loan-without-memory", "ww", PutInPlace, KILL),
        on("loan-into-full", "sssw", PutInPlace, KILL_AND_STOP),
        on("loan-over-torn-loan", "s", PutInPlace, KILL).left_by(PutInPlace, 6),
        on("loan-given-up", "s", GiveUpLoan, ALL),
        on("ref-of-loan", "ws", GetRef, ALL),
        on("ref-of-plain", "sw", GetRef, KILL),
        on("ref-from-empty", "", GetRef, KILL),
        on("ref-from-full", "wssw", GetRef, KILL),
        on("ref-of-orphan", "wss", GetRef, KILL)
            .left_by(GetRef, 2)
            .alone(),
        on("ref-past-torn-loan", "", GetRef, KILL).left_by(PutInPlace, 5),
        on("get-of-loan", "ws", Get, KILL),
        on("peek-of-loan", "ws", Peek, KILL),
        on("sweep-torn-loan", "s", Sweep, ALL).left_by(PutInPlace, 2),
        on("sweep-loan-torn-in-its-cell", "w", Sweep, KILL).left_by(PutInPlace, 6),
        on("sweep-torn-ref", "ws", Sweep, ALL).left_by(GetRef, 2),
        on("sweep-kept-ref", "ws", Sweep, ALL).left_by(GetRef, 4),
    ];
    all.into_iter().map(|case| case.loans(2)).collect()
}

/// Closing, and repairing what one victim left.
pub(super) fn repairs() -> Vec<Conservation> {
    use Act::{Close, Get, GetMany, Put, Sweep};
    vec![
        on("close", "sl", Close, ALL),
        on("close-full", "ssss", Close, KILL),
        on("sweep-nothing", "s", Sweep, KILL),
        on("sweep-torn-put", "s", Sweep, ALL).left_by(Put('s'), 2),
        on("sweep-torn-large-put", "s", Sweep, ALL).left_by(Put('l'), 4),
        on("sweep-torn-get", "ss", Sweep, ALL).left_by(Get, 1),
        on("sweep-torn-large-get", "ls", Sweep, ALL).left_by(Get, 3),
        on("sweep-torn-get-of-many", "sls", Sweep, KILL_AND_STOP).left_by(GetMany(3), 4),
        on("sweep-torn-put-of-closed", "s", Sweep, KILL_AND_STOP)
            .left_by(Put('s'), 1)
            .closed(),
    ]
}
