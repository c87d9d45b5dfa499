//! Lists: every operation is there as a whole, or was never there.

use ipc_core::{List, ListError, ListPutError};

use super::case::{
    Case, DONE, FAILED, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living, join,
    nobody,
};
use super::words::PARTICIPANTS;
use crate::scenarios::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::{Operation, Outcome};

/// Elements of it that is nearly empty, and of one that has nodes above its leaves.
const FEW: u64 = 3;
const MANY: u64 = 70;
/// One whose encoding is a long item.
const LONG_ELEMENT: u64 = 7;

type Numbers = List<Vec<u64>>;

/// An element; one of them is long.
fn element(number: u64) -> Vec<u64> {
    let words = if number == LONG_ELEMENT { 300 } else { 1 };
    vec![number << 40; words]
}

fn create(namespace: &ipc_core::Namespace, count: u64) -> Numbers {
    let list = List::options()
        .limit(64 << 10)
        .participants(PARTICIPANTS)
        .namespace(namespace)
        .create(NAME)
        .expect("a list can be made");
    list.extend((10..10 + count).map(element))
        .expect("it has room");
    list
}

/// What a victim does, in the words of the model.
fn apply(name: &str, model: &mut Vec<u64>) {
    match name {
        "list/push" | "list/push-many" => model.push(5),
        "list/push-long" => model.push(LONG_ELEMENT),
        "list/insert" => model.insert(1, 5),
        "list/set" => model[1] = 5,
        "list/pop" | "list/pop-many" => drop(model.pop()),
        "list/remove" => drop(model.remove(0)),
        "list/extend" => model.extend([5, 6]),
        "list/reverse" => model.reverse(),
        "list/sort" => model.sort_unstable_by(|a, b| b.cmp(a)),
        "list/clear" => model.clear(),
        _ => {}
    }
}

fn put<V>(result: Result<(), ListPutError<V>>) -> u64 {
    result.map_or(FAILED, |()| DONE)
}

fn took<V>(result: Result<V, ListError>) -> u64 {
    result.map_or(FAILED, |_| DONE)
}

/// A scenario: what the victim does, and that the list is then as the model was before or after it.
macro_rules! scenario {
    ($name:literal, $campaigns:expr, $count:expr, |$list:ident| $act:expr) => {
        Case {
            name: $name,
            campaigns: $campaigns,
            create: |namespace| create(namespace, $count),
            join: |trial| join!(&trial.handle),
            others: nobody,
            left_by: None,
            act: |_, $list| Box::new(move || $act),
            repair: sweep,
            verify: |trial, outcome| {
                check_result(outcome, DONE)?;
                check_sweep(trial, List::sweep)?;
                check($name, $count, trial, outcome)
            },
            while_stopped: |trial| {
                check_sweep_of_the_living(trial, List::sweep)?;
                // Who reads does not wait for a stopped writer.
                is_one_of(&models($name, $count), &contents(&trial.handle)?).map(|_| ())
            },
            verify_after_stop: |trial, outcome| {
                check_result(outcome, DONE)?;
                check($name, $count, trial, outcome)
            },
        }
    };
}

pub(super) fn lists() -> Vec<Case<Numbers>> {
    vec![
        scenario!("list/push", ALL, FEW, |list| put(list.push(element(5)))),
        scenario!("list/push-many", KILL, MANY, |list| put(
            list.push(element(5))
        )),
        scenario!("list/push-long", KILL, FEW, |list| put(
            list.push(element(LONG_ELEMENT))
        )),
        scenario!("list/insert", KILL_AND_STOP, FEW, |list| put(
            list.insert(1, element(5))
        )),
        scenario!("list/set", ALL, FEW, |list| put(list.set(1, element(5)))),
        scenario!("list/pop", ALL, FEW, |list| took(list.pop())),
        scenario!("list/pop-many", KILL, MANY, |list| took(list.pop())),
        scenario!("list/remove", KILL_AND_STOP, FEW, |list| took(
            list.remove(0)
        )),
        scenario!("list/extend", KILL, FEW, |list| put(
            list.extend([element(5), element(6)])
        )),
        scenario!("list/reverse", ALL, FEW, |list| list
            .reverse()
            .map_or(FAILED, |()| DONE)),
        scenario!("list/sort", KILL, FEW, |list| took(
            list.sort_by_key(|element| std::cmp::Reverse(element[0]))
        )),
        scenario!("list/clear", KILL_AND_STOP, FEW, |list| list
            .clear()
            .map_or(FAILED, |()| DONE)),
        scenario!("list/read", KILL, FEW, |list| took(
            list.get(1).and_then(|_| list.to_vec())
        )),
        Case {
            act: sweep,
            ..scenario!("list/sweep-dead-pop", ALL, FEW, |list| took(list.pop()))
        }
        .left_by(|_, list| Box::new(move || took(list.pop())), 6),
    ]
}

fn sweep(_: &Trial<Numbers>, list: Numbers) -> Operation<'static> {
    Box::new(move || list.sweep().map_or(FAILED, |_| DONE))
}

/// The list as it was at first, and as it is after the victim's operation.
fn models(name: &str, count: u64) -> Vec<Vec<u64>> {
    let before: Vec<u64> = (10..10 + count).collect();
    let mut after = before.clone();
    apply(name, &mut after);
    vec![before, after]
}

fn contents(list: &Numbers) -> Result<Vec<u64>, String> {
    let all = list.to_vec().map_err(|e| e.to_string())?;
    let number = |found: &Vec<u64>| {
        let number = found.first().map(|word| word >> 40);
        number.filter(|number| element(*number) == *found)
    };
    let numbers: Option<Vec<u64>> = all.iter().map(number).collect();
    numbers.ok_or_else(|| format!("an element is torn: {all:?}"))
}

fn is_one_of(models: &[Vec<u64>], found: &[u64]) -> Result<usize, String> {
    models
        .iter()
        .position(|model| model == found)
        .ok_or_else(|| format!("{found:?} is none of {models:?}"))
}

fn check(name: &str, count: u64, trial: &Trial<Numbers>, outcome: Outcome) -> Result<(), String> {
    let list = &trial.handle;
    let found = contents(list)?;
    let models = models(name, count);
    let which = is_one_of(&models, &found)?;
    if !outcome.is_killed() && models[which] != models[1] {
        return Err(format!("the operation was over, the list is {found:?}"));
    }
    // All of it can be used, and nothing is lost.
    list.insert(0, element(8)).map_err(|e| e.to_string())?;
    list.reverse().map_err(|e| e.to_string())?;
    let last = list.pop().map_err(|e| e.to_string())?;
    if last != Some(element(8)) {
        return Err(format!("8 went in, {last:?} came out"));
    }
    list.clear().map_err(|e| e.to_string())?;
    let seen = trial.namespace.inspect(NAME).map_err(|e| e.to_string())?;
    if !seen.state.starts_with("0 elements, 0 of ") {
        return Err(format!("memory is lost: an empty list has {}", seen.state));
    }
    trial.is_quiet_alone(List::sweep)
}
