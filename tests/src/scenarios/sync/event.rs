//! Events.

use ipc_core::Event;

use super::case::{
    Case, DONE, FAILED, LONG, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living,
    join, nobody,
};
use super::words::PARTICIPANTS;
use crate::scenarios::campaigns::{ALL, KILL_AND_STOP};
use crate::scenarios::sleeper::asleep;
use crate::step::{Operation, Outcome, Victim};
use std::time::Duration;

type Act = fn(&Trial<Event>, Event) -> Operation<'static>;

pub(super) fn events() -> Vec<Case<Event>> {
    let case = |name, campaigns, act: Act| Case {
        name,
        campaigns,
        create: |namespace| {
            let options = Event::options().participants(PARTICIPANTS);
            options
                .namespace(namespace)
                .create(NAME)
                .expect("an event can be made")
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act,
        repair: |_, event| Box::new(move || event.sweep().map_or(FAILED, |_| DONE)),
        verify,
        while_stopped,
        verify_after_stop,
    };
    vec![
        case("event-set", ALL, set),
        case("event-set-and-clear", KILL_AND_STOP, set_and_clear),
        case("event-set-with-sleeper", ALL, set).others(a_sleeper),
    ]
}

fn set(_: &Trial<Event>, event: Event) -> Operation<'static> {
    Box::new(move || event.set().map_or(FAILED, |_| DONE))
}

fn set_and_clear(_: &Trial<Event>, event: Event) -> Operation<'static> {
    Box::new(move || match (event.set(), event.clear()) {
        (Ok(_), Ok(())) => DONE,
        _ => FAILED,
    })
}

/// A process asleep until the event is set.
fn a_sleeper(trial: &Trial<Event>) -> Vec<Victim> {
    let arm = || -> Operation<'_> {
        let event: Event = join!(&trial.handle);
        Box::new(move || event.wait_timeout(4 * LONG).map_or(FAILED, u64::from))
    };
    vec![asleep(arm)]
}

fn verify(trial: &Trial<Event>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    let event = &trial.handle;
    check_sweep(trial, Event::sweep)?;
    check_is_set(trial)?;
    let others = trial.others.borrow().len();
    let was_set = trial.words().is_set();
    if others > 0 && !outcome.is_killed() && !was_set {
        return Err("a finished set did not set it".to_owned());
    }
    if event.set().map_err(|e| e.to_string())? == was_set {
        return Err(format!("set: {was_set}, and set again says otherwise"));
    }
    for other in 0..others {
        // Within the bound of the watchdog, whoever set it.
        check_result(Outcome::Completed(trial.result_of(other)?), 1)?;
    }
    finish(trial)
}

fn check_is_set(trial: &Trial<Event>) -> Result<(), String> {
    let event = &trial.handle;
    let waited = event
        .wait_timeout(Duration::ZERO)
        .map_err(|e| e.to_string())?;
    match (trial.words().is_set(), event.is_set(), waited) {
        (true, true, true) | (false, false, false) => Ok(()),
        seen => Err(format!("the word, is_set and a wait say {seen:?}")),
    }
}

fn finish(trial: &Trial<Event>) -> Result<(), String> {
    let event = &trial.handle;
    check_is_set(trial)?;
    event.clear().map_err(|e| e.to_string())?;
    check_is_set(trial)?;
    if !event.set().map_err(|e| e.to_string())? || !event.is_set() {
        return Err("it cannot be set again".to_owned());
    }
    trial.is_quiet_alone(Event::sweep)
}

fn while_stopped(trial: &Trial<Event>) -> Result<(), String> {
    let event = &trial.handle;
    check_sweep_of_the_living(trial, Event::sweep)?;
    check_is_set(trial)?;
    for _ in 0..3 {
        event.set().map_err(|e| e.to_string())?;
        check_is_set(trial)?;
        event.clear().map_err(|e| e.to_string())?;
        check_is_set(trial)?;
    }
    // It was set meanwhile: also who slept through the clearing must have gone on.
    let others = trial.others.borrow().len();
    for other in 0..others {
        check_result(Outcome::Completed(trial.result_of(other)?), 1)?;
    }
    Ok(())
}

fn verify_after_stop(trial: &Trial<Event>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    trial.others.borrow_mut().clear(); // told while the victim was stopped
    check_sweep(trial, Event::sweep)?;
    finish(trial)
}
