//! Values of two sizes: one that the processor replaces, and one that is kept twice.

use ipc_core::Value;

use super::case::{
    Case, DONE, FAILED, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living, join,
    nobody,
};
use super::words::PARTICIPANTS;
use crate::scenarios::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::{Operation, Outcome};

/// Many words, all alike; every change adds one to each.
type Wide = [u64; 8];
/// What the survivor writes in the end.
const LAST: u64 = 1000;

pub(super) fn wide() -> Vec<Case<Value<Wide>>> {
    let case = |name, campaigns, act| Case {
        name,
        campaigns,
        create: |namespace| {
            let options = Value::options([0; 8]).participants(PARTICIPANTS);
            let value = options
                .namespace(namespace)
                .create(NAME)
                .expect("a value can be made");
            // Its second version: which of the two copies is valid should not matter.
            value.set([1; 8]).expect("it can be set");
            value
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act,
        repair: sweep_and_change,
        verify,
        while_stopped,
        verify_after_stop,
    };
    vec![
        case("value/set", ALL, set),
        case("value/compare-exchange", KILL_AND_STOP, change),
        Case {
            verify: |trial, outcome| verify_count(trial, outcome, 0..=0),
            ..case("value/get", KILL, get)
        },
        case("value/sweep-dead-claim", ALL, sweep).left_by(set, 1),
        case("value/sweep-dead-writer", ALL, sweep).left_by(set, 6),
        Case {
            verify: verify_locked,
            verify_after_stop: verify_locked,
            while_stopped: |_| Ok(()),
            ..case("value/locked", KILL_AND_STOP, change_locked)
        },
    ]
}

fn done<T, E>(result: Result<T, E>) -> u64 {
    result.map_or(FAILED, |_| DONE)
}

fn set(_: &Trial<Value<Wide>>, value: Value<Wide>) -> Operation<'static> {
    Box::new(move || done(value.set([2; 8])))
}

fn change(_: &Trial<Value<Wide>>, value: Value<Wide>) -> Operation<'static> {
    Box::new(move || done(value.compare_exchange([1; 8], [2; 8])))
}

fn get(_: &Trial<Value<Wide>>, value: Value<Wide>) -> Operation<'static> {
    Box::new(move || done(value.get()))
}

fn sweep(_: &Trial<Value<Wide>>, value: Value<Wide>) -> Operation<'static> {
    Box::new(move || done(value.sweep()))
}

fn sweep_and_change(_: &Trial<Value<Wide>>, value: Value<Wide>) -> Operation<'static> {
    Box::new(move || {
        let swept = value.sweep();
        let set = value.set([3; 8]);
        done(swept.and(set))
    })
}

fn change_locked(_: &Trial<Value<Wide>>, value: Value<Wide>) -> Operation<'static> {
    Box::new(move || {
        let change = || -> ipc_core::Result<()> {
            let section = value.lock()?;
            let next = section.get()?[0] + 1;
            section.set([next; 8])
        };
        done(change())
    })
}

/// What all words of the value are.
fn whole(trial: &Trial<Value<Wide>>) -> Result<u64, String> {
    let value = trial.handle.get().map_err(|e| e.to_string())?;
    match value {
        [first, ..] if value == [first; 8] => Ok(first),
        torn => Err(format!("the value is torn: {torn:?}")),
    }
}

fn verify(trial: &Trial<Value<Wide>>, outcome: Outcome) -> Result<(), String> {
    verify_count(trial, outcome, 0..=2)
}

fn verify_count(
    trial: &Trial<Value<Wide>>,
    outcome: Outcome,
    changes: std::ops::RangeInclusive<u64>,
) -> Result<(), String> {
    check_result(outcome, DONE)?;
    // A reader needs no sweep, and sees the same after it.
    let before = whole(trial)?;
    check_sweep(trial, Value::sweep)?;
    let found = whole(trial)?;
    if found != before || !changes.contains(&(found - 1)) {
        return Err(format!("{before} before the sweep, {found} after it"));
    }
    check_last(trial)
}

fn check_last(trial: &Trial<Value<Wide>>) -> Result<(), String> {
    let previous = trial.handle.swap([LAST; 8]).map_err(|e| e.to_string())?;
    let now = whole(trial)?;
    if previous != [previous[0]; 8] || now != LAST {
        return Err(format!(
            "the survivor's own change: {previous:?}, then {now}"
        ));
    }
    trial.is_quiet_alone(Value::sweep)
}

fn while_stopped(trial: &Trial<Value<Wide>>) -> Result<(), String> {
    let before = whole(trial)?;
    check_sweep_of_the_living(trial, Value::sweep)?;
    // Who reads does not wait for a stopped writer.
    match whole(trial)? {
        now if now == before => Ok(()),
        now => Err(format!("{before} became {now} by itself")),
    }
}

fn verify_after_stop(trial: &Trial<Value<Wide>>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    check_sweep(trial, Value::sweep)?;
    whole(trial)?;
    check_last(trial)
}

fn verify_locked(trial: &Trial<Value<Wide>>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    let must_warn = trial.words().is_locked();
    check_sweep(trial, Value::sweep)?;
    let mut section = trial.handle.try_lock().map_err(|e| e.to_string())?;
    if section.owner_died() != must_warn {
        return Err(format!("owner_died {}", section.owner_died()));
    }
    section.mark_consistent();
    drop(section);
    whole(trial)?;
    check_last(trial)
}

/// One that is as wide as a register.
pub(super) fn narrow() -> Vec<Case<Value<u64>>> {
    let add = |_: &Trial<Value<u64>>, value: Value<u64>| -> Operation<'static> {
        Box::new(move || done(value.fetch_add(1)))
    };
    let verify = |trial: &Trial<Value<u64>>, outcome: Outcome| {
        check_result(outcome, DONE)?;
        check_sweep(trial, Value::sweep)?;
        match trial.handle.fetch_add(10).map_err(|e| e.to_string())? {
            2 => {}
            1 if outcome.is_killed() => {}
            found => return Err(format!("{outcome:?}, and then {found}")),
        }
        trial.is_quiet_alone(Value::sweep)
    };
    vec![Case {
        name: "value/add",
        campaigns: KILL,
        create: |namespace| {
            let options = Value::options(1).participants(PARTICIPANTS);
            options
                .namespace(namespace)
                .create(NAME)
                .expect("a value can be made")
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act: add,
        repair: add,
        verify,
        while_stopped: |_| Ok(()),
        verify_after_stop: verify,
    }]
}
