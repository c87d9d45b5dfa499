//! Barriers: a party that dies breaks it for all.

use std::thread;

use ipc_core::{Barrier, BarrierError, Namespace, WaitStrategy};

use super::case::{
    Case, DONE, FAILED, LONG, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living,
    join, nobody,
};
use super::words::PARTICIPANTS;
use crate::scenarios::campaigns::{ALL, KILL_AND_STOP};
use crate::scenarios::sleeper::{is_asleep, running, wait_until};
use crate::step::{Operation, Outcome, Victim};

/// The barrier is broken.
const BROKEN: u64 = 4;

type Act = fn(&Trial<Barrier>, Barrier) -> Operation<'static>;

pub(super) fn barriers() -> Vec<Case<Barrier>> {
    let case = |name, campaigns, create, act: Act| Case {
        name,
        campaigns,
        create,
        join: open,
        others: nobody,
        left_by: None,
        act,
        repair: sweep,
        verify,
        while_stopped,
        verify_after_stop: verify,
    };
    vec![
        case("barrier-alone", ALL, |namespace| create(namespace, 1), pass),
        case(
            "barrier-alone-with-action",
            KILL_AND_STOP,
            |namespace| create(namespace, 1),
            act,
        ),
        case(
            "barrier-last-of-two",
            ALL,
            |namespace| create(namespace, 2),
            pass,
        )
        .others(a_party),
        case(
            "barrier-action-of-last",
            KILL_AND_STOP,
            |namespace| create(namespace, 2),
            act,
        )
        .others(a_party),
        case(
            "barrier-abort",
            KILL_AND_STOP,
            |namespace| create(namespace, 2),
            abort,
        )
        .others(a_party),
        case(
            "barrier-reset",
            KILL_AND_STOP,
            |namespace| create(namespace, 2),
            reset,
        )
        .others(a_party),
        Case {
            join: |trial| join!(&trial.handle),
            ..case(
                "barrier-sweep-dead-party",
                ALL,
                |namespace| create(namespace, 1),
                sweep,
            )
        }
        .left_by(act, 4),
    ]
}

fn create(namespace: &Namespace, parties: usize) -> Barrier {
    let options = Barrier::options(parties).participants(PARTICIPANTS);
    options
        .namespace(namespace)
        .create(NAME)
        .expect("a barrier can be made")
}

/// Sleeps at once, so that it is noted as a waiter.
fn open(trial: &Trial<Barrier>) -> Barrier {
    let options = Barrier::opener().wait(WaitStrategy::Sleep);
    options
        .namespace(&trial.namespace)
        .open(NAME)
        .expect("the barrier can be opened")
}

fn result_of(waited: Result<usize, BarrierError>) -> u64 {
    match waited {
        Ok(_) => DONE,
        Err(BarrierError::Broken) => BROKEN,
        Err(_) => FAILED,
    }
}

fn pass(_: &Trial<Barrier>, barrier: Barrier) -> Operation<'static> {
    Box::new(move || result_of(barrier.wait_timeout(LONG)))
}

fn act(_: &Trial<Barrier>, barrier: Barrier) -> Operation<'static> {
    Box::new(move || result_of(barrier.wait_timeout_with(LONG, || {})))
}

fn abort(_: &Trial<Barrier>, barrier: Barrier) -> Operation<'static> {
    Box::new(move || barrier.abort().map_or(FAILED, |()| DONE))
}

fn reset(_: &Trial<Barrier>, barrier: Barrier) -> Operation<'static> {
    Box::new(move || barrier.reset().map_or(FAILED, |()| DONE))
}

fn sweep(_: &Trial<Barrier>, barrier: Barrier) -> Operation<'static> {
    Box::new(move || barrier.sweep().map_or(FAILED, |_| DONE))
}

/// A process that has come, and sleeps until the other one has.
fn a_party(trial: &Trial<Barrier>) -> Vec<Victim> {
    let arm = || -> Operation<'_> {
        let barrier: Barrier = join!(&trial.handle);
        Box::new(move || result_of(barrier.wait_timeout(4 * LONG)))
    };
    let party = running(arm);
    wait_until(|| trial.handle.waiting() == 1 && is_asleep(&party));
    vec![party]
}

fn verify(trial: &Trial<Barrier>, outcome: Outcome) -> Result<(), String> {
    let barrier = &trial.handle;
    // How the generation ended in which the victim came. The other party may have swept since, which breaks the next one.
    let passed = trial.words().ended_whole(trial.words_before().generation());
    if outcome == Outcome::Completed(FAILED) {
        return Err("the operation failed".to_owned());
    }
    let (_, dead) = trial.participants()?;
    check_sweep(trial, Barrier::sweep)?;
    if dead > 0 && !(barrier.is_broken() && trial.words().is_broken()) {
        return Err(format!("{dead} died, and the barrier is not broken"));
    }
    if dead > 0 && !matches!(barrier.wait_timeout(LONG), Err(BarrierError::Broken)) {
        return Err("somebody can wait at a broken barrier".to_owned());
    }
    if !trial.others.borrow().is_empty() {
        let told = trial.result_of(0)?;
        if told != if passed { DONE } else { BROKEN } {
            return Err(format!(
                "the generation ended whole: {passed}; the other party got {told}"
            ));
        }
        if passed && outcome == Outcome::Completed(BROKEN) {
            return Err("one passed, the other is told that it is broken".to_owned());
        }
        // It is gone too, without having left.
        check_sweep(trial, Barrier::sweep)?;
    } else if !outcome.is_killed() {
        check_result(outcome, DONE)?;
    }
    finish(trial)
}

/// After a reset, as many pass as there are parties, and twice.
fn finish(trial: &Trial<Barrier>) -> Result<(), String> {
    let barrier = &trial.handle;
    barrier.reset().map_err(|e| e.to_string())?;
    if barrier.is_broken() || barrier.waiting() != 0 {
        return Err(format!("after a reset {} wait", barrier.waiting()));
    }
    for _ in 0..2 {
        let passed: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = (0..barrier.parties())
                .map(|_| scope.spawn(|| barrier.wait_timeout(LONG)))
                .collect();
            all.into_iter().filter_map(|one| one.join().ok()).collect()
        });
        let mut indexes: Vec<_> = passed.iter().filter_map(|one| one.as_ref().ok()).collect();
        indexes.sort_unstable();
        if !indexes.into_iter().copied().eq(0..barrier.parties()) {
            return Err(format!("after a reset: {passed:?}"));
        }
    }
    trial.is_quiet_alone(Barrier::sweep)
}

fn while_stopped(trial: &Trial<Barrier>) -> Result<(), String> {
    let barrier = &trial.handle;
    let (_, dead) = trial.participants()?;
    let was_broken = barrier.is_broken();
    check_sweep_of_the_living(trial, Barrier::sweep)?;
    if dead == 0 && barrier.is_broken() != was_broken {
        return Err("a sweep broke the barrier of the living".to_owned());
    }
    Ok(())
}
