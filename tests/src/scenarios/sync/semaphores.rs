//! Semaphores, whose permits belong to nobody, and bounded ones, whose permits come back.

use ipc_core::{BoundedSemaphore, ReleaseError, Semaphore};

use super::case::{
    Case, DONE, FAILED, LONG, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living,
    join, nobody,
};
use super::words::{HOLDING, LENT, PARTICIPANTS, WAITING};
use crate::scenarios::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::step::{Operation, Outcome};

const PERMITS: u32 = 3;
/// What a release adds.
const MORE: u32 = 2;
/// As many as there may be.
const MOST: u32 = i32::MAX as u32;

type Act<H> = fn(&Trial<H>, H) -> Operation<'static>;

pub(super) fn semaphores() -> Vec<Case<Semaphore>> {
    let case = |name, campaigns, act: Act<Semaphore>, verify| Case {
        name,
        campaigns,
        create: |namespace| {
            let options = Semaphore::options(PERMITS).participants(PARTICIPANTS);
            options
                .namespace(namespace)
                .create(NAME)
                .expect("a semaphore can be made")
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act,
        repair: |_, semaphore| Box::new(move || semaphore.sweep().map_or(FAILED, |_| DONE)),
        verify,
        while_stopped,
        verify_after_stop: verify,
    };
    vec![
        case(
            "semaphore-acquire-and-release",
            ALL,
            pass,
            |trial, outcome| verify(trial, outcome, &[PERMITS - 1, PERMITS], PERMITS),
        ),
        case(
            "semaphore-acquire-and-keep",
            KILL_AND_STOP,
            keep,
            |trial, outcome| verify(trial, outcome, &[PERMITS - 1, PERMITS], PERMITS - 1),
        ),
        case("semaphore-release", KILL_AND_STOP, add, |trial, outcome| {
            verify(trial, outcome, &[PERMITS, PERMITS + MORE], PERMITS + MORE)
        }),
        Case {
            create: |namespace| {
                let options = Semaphore::options(MOST).participants(PARTICIPANTS);
                options
                    .namespace(namespace)
                    .create(NAME)
                    .expect("a semaphore can be made")
            },
            verify: verify_full,
            while_stopped: |trial| check_sweep_of_the_living(trial, Semaphore::sweep),
            verify_after_stop: verify_full,
            ..case(
                "semaphore-release-beyond-limit",
                KILL_AND_STOP,
                add_too_many,
                verify_full,
            )
        },
    ]
}

fn add_too_many(_: &Trial<Semaphore>, semaphore: Semaphore) -> Operation<'static> {
    Box::new(move || match semaphore.release(MORE) {
        Err(ReleaseError::Overflow) => DONE,
        _ => FAILED,
    })
}

/// Nothing was added.
fn verify_full(trial: &Trial<Semaphore>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    check_sweep(trial, Semaphore::sweep)?;
    match trial.handle.value() {
        MOST => trial.is_quiet_alone(Semaphore::sweep),
        value => Err(format!("a refused release left {value} permits")),
    }
}

fn pass(_: &Trial<Semaphore>, semaphore: Semaphore) -> Operation<'static> {
    Box::new(move || semaphore.acquire_timeout(LONG).map_or(FAILED, |_| DONE))
}

fn keep(_: &Trial<Semaphore>, semaphore: Semaphore) -> Operation<'static> {
    Box::new(move || match semaphore.try_acquire() {
        Ok(permit) => {
            permit.forget();
            DONE
        }
        Err(_) => FAILED,
    })
}

fn add(_: &Trial<Semaphore>, semaphore: Semaphore) -> Operation<'static> {
    Box::new(move || semaphore.release(MORE).map_or(FAILED, |()| DONE))
}

/// `finished`: how many permits there are once the operation has ended; else one of `any`.
fn verify(
    trial: &Trial<Semaphore>,
    outcome: Outcome,
    any: &[u32],
    finished: u32,
) -> Result<(), String> {
    check_result(outcome, DONE)?;
    check_sweep(trial, Semaphore::sweep)?;
    let semaphore = &trial.handle;
    let value = semaphore.value();
    if u64::from(value) != trial.words().word {
        return Err(format!(
            "{value} permits, the word is {}",
            trial.words().word
        ));
    }
    if !any.contains(&value) || !outcome.is_killed() && value != finished {
        return Err(format!("{value} permits after {outcome:?}"));
    }
    take_all(semaphore, value)?;
    if semaphore.value() != value {
        return Err(format!("{value} permits became {}", semaphore.value()));
    }
    trial.is_quiet_alone(Semaphore::sweep)
}

/// So many are to be had, and no more.
fn take_all(semaphore: &Semaphore, count: u32) -> Result<(), String> {
    let all: Vec<_> = (0..count)
        .map_while(|_| semaphore.try_acquire().ok())
        .collect();
    if all.len() != count as usize || semaphore.try_acquire().is_ok() {
        return Err(format!("{count} permits, {} were to be had", all.len()));
    }
    Ok(())
}

fn while_stopped(trial: &Trial<Semaphore>) -> Result<(), String> {
    check_sweep_of_the_living(trial, Semaphore::sweep)?;
    for _ in 0..3 {
        take_all(&trial.handle, trial.words().word as u32)?;
    }
    Ok(())
}

pub(super) fn bounded_semaphores() -> Vec<Case<BoundedSemaphore>> {
    let case = |name, campaigns, act: Act<BoundedSemaphore>| Case {
        name,
        campaigns,
        create: |namespace| {
            let options = BoundedSemaphore::options(PERMITS as usize).participants(PARTICIPANTS);
            options
                .namespace(namespace)
                .create(NAME)
                .expect("a semaphore can be made")
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act,
        repair: |_, semaphore| {
            Box::new(move || match semaphore.sweep() {
                Ok(_) if semaphore.try_acquire().is_ok() => DONE,
                _ => FAILED,
            })
        },
        verify: verify_bounded,
        while_stopped: while_bounded_stopped,
        verify_after_stop: verify_bounded,
    };
    vec![
        case("bounded-acquire-and-release", ALL, pass_bounded),
        case("bounded-acquire-two", KILL_AND_STOP, pass_two),
        case("bounded-forget", ALL, lend),
        case(
            "bounded-forget-and-release",
            KILL_AND_STOP,
            lend_and_release,
        ),
        case("bounded-sweep-holder", ALL, sweep_bounded).left_by(pass_two, 4),
        case("bounded-sweep-lender", KILL_AND_STOP, sweep_bounded).left_by(lend_and_release, 4),
        case("bounded-sweep-nothing", KILL, sweep_bounded),
    ]
}

fn pass_bounded(_: &Trial<BoundedSemaphore>, semaphore: BoundedSemaphore) -> Operation<'static> {
    Box::new(move || semaphore.acquire_timeout(LONG).map_or(FAILED, |_| DONE))
}

fn pass_two(_: &Trial<BoundedSemaphore>, semaphore: BoundedSemaphore) -> Operation<'static> {
    Box::new(
        move || match (semaphore.try_acquire(), semaphore.try_acquire()) {
            (Ok(_), Ok(_)) => DONE,
            _ => FAILED,
        },
    )
}

fn lend(_: &Trial<BoundedSemaphore>, semaphore: BoundedSemaphore) -> Operation<'static> {
    Box::new(move || {
        semaphore.try_acquire().map_or(FAILED, |permit| {
            permit.forget();
            DONE
        })
    })
}

fn lend_and_release(
    _: &Trial<BoundedSemaphore>,
    semaphore: BoundedSemaphore,
) -> Operation<'static> {
    Box::new(move || {
        let Ok(permit) = semaphore.try_acquire() else {
            return FAILED;
        };
        permit.forget();
        semaphore.release().map_or(FAILED, |()| DONE)
    })
}

fn sweep_bounded(_: &Trial<BoundedSemaphore>, semaphore: BoundedSemaphore) -> Operation<'static> {
    Box::new(move || semaphore.sweep().map_or(FAILED, |_| DONE))
}

fn verify_bounded(trial: &Trial<BoundedSemaphore>, outcome: Outcome) -> Result<(), String> {
    // One whose lent permit somebody else released has nothing to release.
    let took_it = trial.meanwhile.get() > 0 && outcome == Outcome::Completed(FAILED);
    if !took_it {
        check_result(outcome, DONE)?;
    }
    let semaphore = &trial.handle;
    let permits = PERMITS as usize;
    let lent = trial.words().seated(permits, LENT);
    check_sweep(trial, BoundedSemaphore::sweep)?;
    let words = trial.words();
    if (words.seated(permits, LENT), words.seated(permits, HOLDING)) != (lent, 0) {
        return Err(format!(
            "{lent} were lent, after a sweep there is {words:?}"
        ));
    }
    let all: Vec<_> = (0..permits)
        .map_while(|_| semaphore.try_acquire().ok())
        .collect();
    if all.len() + lent != permits || semaphore.value() != 0 {
        return Err(format!(
            "{lent} of {permits} are lent, {} were to be had",
            all.len()
        ));
    }
    drop(all);
    for _ in 0..lent {
        semaphore.release().map_err(|e| e.to_string())?;
    }
    match semaphore.release() {
        Err(ReleaseError::OverReleased) => {}
        other => return Err(format!("with none lent, a release says {other:?}")),
    }
    if semaphore.value() != permits {
        return Err(format!(
            "{} of {permits} are there in the end",
            semaphore.value()
        ));
    }
    trial.is_quiet_alone(BoundedSemaphore::sweep)
}

fn while_bounded_stopped(trial: &Trial<BoundedSemaphore>) -> Result<(), String> {
    check_sweep_of_the_living(trial, BoundedSemaphore::sweep)?;
    let permits = PERMITS as usize;
    for _ in 0..3 {
        let words = trial.words();
        let taken = words.seated(permits, HOLDING) + words.seated(permits, LENT);
        assert_eq!(
            words.seated(permits, WAITING),
            0,
            "nobody waits on a permit's seat"
        );
        let all = (0..=permits).map_while(|_| trial.handle.try_acquire().ok());
        let all: Vec<_> = all.collect();
        if all.len() + taken != permits {
            return Err(format!(
                "{taken} of {permits} are taken, {} were to be had",
                all.len()
            ));
        }
    }
    // A lent permit is anybody's.
    if trial.words().seated(permits, LENT) > 0 {
        trial.handle.release().map_err(|e| e.to_string())?;
        trial.meanwhile.set(1);
    }
    Ok(())
}
