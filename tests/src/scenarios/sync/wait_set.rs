//! Sets: who waits for any of two objects, killed and stopped, beside a process that takes what both wait for.

use std::time::Duration;

use ipc_core::{Event, Semaphore, WaitSet, WaitStrategy};

use super::case::{
    Case, DONE, FAILED, LONG, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living,
    join, nobody,
};
use super::words::PARTICIPANTS;
use crate::scenarios::campaigns::KILL_AND_STOP;
use crate::scenarios::sleeper::asleep;
use crate::step::{Operation, Outcome, Victim};

/// A semaphore without permits, and an event that is not set.
type Both = (Semaphore, Event);

/// Long enough to be stepped to its sleep, also on a busy machine.
const WAIT: Duration = Duration::from_millis(600);

pub(super) fn wait_sets() -> Vec<Case<Both>> {
    let case = Case {
        name: "wait-set",
        campaigns: KILL_AND_STOP,
        create: |namespace| {
            let semaphore = Semaphore::options(0).participants(PARTICIPANTS);
            let event = Event::options().participants(PARTICIPANTS);
            (
                semaphore
                    .namespace(namespace)
                    .create(NAME)
                    .expect("a semaphore can be made"),
                event
                    .namespace(namespace)
                    .create("other")
                    .expect("an event can be made"),
            )
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act: wait,
        repair: |_, both| Box::new(move || sweep(&both).map_or(FAILED, |_| DONE)),
        verify,
        while_stopped,
        verify_after_stop,
    };
    vec![case.others(|trial| vec![a_taker(trial)])]
}

fn sweep((semaphore, event): &Both) -> ipc_core::Result<u32> {
    event.sweep()?;
    semaphore.sweep()
}

/// Waits in vain: nothing is ready until the survivor acts.
fn wait(_: &Trial<Both>, (semaphore, event): Both) -> Operation<'static> {
    let mut set = WaitSet::new();
    set.set_wait_strategy(WaitStrategy::Sleep);
    set.add(1, &semaphore).expect("it needs nothing");
    set.add(2, &event).expect("it needs nothing");
    Box::new(move || match set.wait_timeout(WAIT) {
        Ok(_) => DONE,
        Err(_) => FAILED,
    })
}

/// A process asleep until there is a permit, which it keeps.
fn a_taker(trial: &Trial<Both>) -> Victim {
    let arm = || -> Operation<'_> {
        let (semaphore, _): Both = join!(&trial.handle);
        Box::new(move || {
            let taken = semaphore.acquire_timeout(4 * LONG);
            taken.map_or(FAILED, |permit| {
                permit.forget();
                DONE
            })
        })
    };
    asleep(arm)
}

/// One permit comes to who takes it, whoever else was woken for it.
fn check_that_one_takes(trial: &Trial<Both>) -> Result<(), String> {
    let (semaphore, event) = &trial.handle;
    if trial.others.borrow().is_empty() {
        let another = a_taker(trial);
        trial.others.borrow_mut().push(another);
    }
    semaphore.release(1).map_err(|e| e.to_string())?;
    check_result(Outcome::Completed(trial.result_of(0)?), DONE)?;
    if semaphore.value() > 0 {
        return Err("the permit is still there".to_owned());
    }
    trial.others.borrow_mut().clear();
    event.set().map(drop).map_err(|e| e.to_string()) // and a stopped victim need not wait any more
}

fn finish(trial: &Trial<Both>) -> Result<(), String> {
    check_that_one_takes(trial)?;
    trial.is_quiet_alone(sweep)
}

fn verify(trial: &Trial<Both>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    check_sweep(trial, sweep)?;
    finish(trial)
}

fn while_stopped(trial: &Trial<Both>) -> Result<(), String> {
    check_sweep_of_the_living(trial, sweep)?;
    check_that_one_takes(trial)
}

fn verify_after_stop(trial: &Trial<Both>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    check_sweep(trial, sweep)?;
    finish(trial)
}
