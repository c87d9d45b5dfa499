//! The thread that hears of tasks being over, hands over the next ones, and calls callbacks.

use std::collections::HashMap;

use super::{
    batch::{Aftermath, Reply},
    codec::{REPLY_HEAD, ReplyHead, ReplyKind},
    control::PoolPhase,
    core::{Core, Report, State},
    errors::TaskError,
};
use crate::message::Bytes;

/// Replies that are dealt with before others may look at the pool.
const AT_A_TIME: usize = 256;

/// Parts of long replies that are not complete, by worker.
type Parts = HashMap<u32, Vec<u8>>;

/// Runs until the pool has ended.
pub(super) fn listen(core: &Core) {
    core.ties.listen();
    let mut parts = Parts::new();
    loop {
        let first = match core.replies.get() {
            Ok(first) => first,
            Err(e) => {
                break_down(core, &e.to_string());
                return;
            }
        };
        let mut after = Aftermath::default();
        let mut state = core.state();
        let mut has_ended = false;
        let mut next = Some(first);
        for _ in 0..AT_A_TIME {
            let Some(Bytes(bytes)) = next else {
                break;
            };
            has_ended |= receive(core, &mut state, &mut parts, bytes, &mut after);
            next = core.replies.try_get().ok();
        }
        if let Some(Bytes(bytes)) = next {
            has_ended |= receive(core, &mut state, &mut parts, bytes, &mut after);
        }
        core.go_on(&mut state);
        drop(state);
        after.run();
        if has_ended {
            return;
        }
    }
}

/// The queue of replies cannot be used.
fn break_down(core: &Core, why: &str) {
    let mut after = Aftermath::default();
    let mut state = core.state();
    state.broken = Some(why.to_owned());
    let error = TaskError::Broken {
        why: why.to_owned(),
    };
    core.fail_all(&mut state, &error, &mut after);
    drop(state);
    core.station.control.advance(PoolPhase::Terminated);
    core.watch.call();
    after.run();
}

/// Deals with one message. Whether it was the last.
fn receive(
    core: &Core,
    state: &mut State,
    parts: &mut Parts,
    mut bytes: Vec<u8>,
    after: &mut Aftermath,
) -> bool {
    let Some(head) = ReplyHead::read(&bytes) else {
        return false;
    };
    let task = (head.batch, head.index);
    match head.kind {
        ReplyKind::Call => return read_reports(core, state, parts, after),
        ReplyKind::Part => {
            let so_far = parts.entry(head.pid).or_default();
            so_far.extend_from_slice(&bytes[REPLY_HEAD..]);
        }
        ReplyKind::Refusal => {
            let why = String::from_utf8_lossy(&bytes[REPLY_HEAD..]).into_owned();
            core.settle(
                state,
                task,
                Err(Box::new(TaskError::Unreadable { why })),
                after,
            );
        }
        ReplyKind::Whole => {
            let mut start = REPLY_HEAD;
            if let Some(mut so_far) = take_parts(parts, head.pid) {
                so_far.extend_from_slice(&bytes[REPLY_HEAD..]);
                (bytes, start) = (so_far, 0);
            }
            let reply = Reply::new(bytes, start, head.pid);
            core.settle(state, task, Ok(reply), after);
        }
    }
    false
}

/// The common case asks no table.
#[inline]
fn take_parts(parts: &mut Parts, pid: u32) -> Option<Vec<u8>> {
    match parts.is_empty() {
        true => None,
        false => parts.remove(&pid),
    }
}

/// Reads what the other thread has reported. Whether the pool has ended.
fn read_reports(core: &Core, state: &mut State, parts: &mut Parts, after: &mut Aftermath) -> bool {
    while let Some(report) = state.reports.pop_front() {
        match report {
            Report::Lost(bytes, why) => core.lose(state, bytes, why, after),
            Report::Gone(pid) => drop(parts.remove(&pid)),
            Report::End(error) => core.fail_all(state, &error, after),
            Report::Ended => return true,
        }
    }
    false
}
