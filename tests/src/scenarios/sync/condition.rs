//! Conditions: notifiers that die, and waiters that die when they were notified.

use std::sync::atomic::{AtomicU64, Ordering};

use ipc_core::{Condition, Lock, Namespace, WaitStrategy};
use nix::sys::signal::kill;
use nix::unistd::{Pid, getpid};

use super::case::{
    Case, DONE, FAILED, LONG, NAME, Trial, check_result, check_sweep, check_sweep_of_the_living,
    join,
};
use super::words::PARTICIPANTS;
use crate::mapping::Mapping;
use crate::scenarios::campaigns::{ALL, KILL, KILL_AND_STOP};
use crate::scenarios::sleeper::{is_asleep, is_in_futex, running, wait_until};
use crate::step::{Operation, Outcome, Victim};

/// Behind the condition's name in the alphabet and in the list of files.
const LOCK: &str = "the-lock";
/// Nobody notified it.
const MISSED: u64 = 3;

/// A condition and its lock.
#[derive(Debug)]
pub(super) struct Pair {
    condition: Condition,
    lock: Lock<u64>,
}

type Act = fn(&Trial<Pair>, Pair) -> Operation<'static>;

pub(super) fn conditions() -> Vec<Case<Pair>> {
    let case = |name, campaigns, act: Act| Case {
        name,
        campaigns,
        create,
        join: joined,
        others: two_sleepers,
        left_by: None,
        act,
        repair: |_, pair| Box::new(move || sweep_both(&pair)),
        verify: verify_notifier,
        while_stopped,
        verify_after_stop: verify_notifier,
    };
    vec![
        case("condition-notify-one", ALL, notify_one),
        case("condition-notify-all", KILL_AND_STOP, notify_all),
        case("condition-sweep-waiter", ALL, sweep).left_by(give_up, 3),
        Case {
            join: sleeping,
            ..case("condition-wait-until-timeout", KILL, give_up)
        },
        Case {
            join: sleeping,
            others: a_notifier,
            verify: verify_waiter,
            while_stopped: |trial| check_sweep_of_the_living(trial, |pair| pair.condition.sweep()),
            verify_after_stop: verify_waiter,
            // Not nested: a repairer that comes before there is a next waiter has nobody to notify.
            ..case("condition-wait-and-be-notified", KILL_AND_STOP, wait)
        },
    ]
}

fn create(namespace: &Namespace) -> Pair {
    let condition = Condition::options().waiters(4).participants(PARTICIPANTS);
    let lock = Lock::options_with(0).participants(PARTICIPANTS);
    Pair {
        condition: condition
            .namespace(namespace)
            .create(NAME)
            .expect("a condition can be made"),
        lock: lock
            .namespace(namespace)
            .create(LOCK)
            .expect("a lock can be made"),
    }
}

/// A handle that sleeps at once.
fn sleeping(trial: &Trial<Pair>) -> Pair {
    let condition = Condition::opener().wait(WaitStrategy::Sleep);
    let lock = Lock::opener().wait(WaitStrategy::Sleep);
    Pair {
        condition: condition
            .namespace(&trial.namespace)
            .open(NAME)
            .expect("it is there"),
        lock: lock
            .namespace(&trial.namespace)
            .open(LOCK)
            .expect("it is there"),
    }
}

fn joined(trial: &Trial<Pair>) -> Pair {
    Pair {
        condition: join!(&trial.handle.condition),
        lock: join!(&trial.handle.lock),
    }
}

fn wait_for(pair: &Pair, timeout: std::time::Duration) -> u64 {
    let Ok(guard) = pair.lock.acquire_timeout(LONG) else {
        return FAILED;
    };
    match pair.condition.wait_timeout(guard, timeout) {
        Ok((_, true)) => DONE,
        Ok((_, false)) => MISSED,
        Err(_) => FAILED,
    }
}

fn wait(trial: &Trial<Pair>, pair: Pair) -> Operation<'static> {
    slate(&trial.slate).store(getpid().as_raw() as u64, Ordering::SeqCst);
    Box::new(move || wait_for(&pair, LONG))
}

fn give_up(_: &Trial<Pair>, pair: Pair) -> Operation<'static> {
    Box::new(move || wait_for(&pair, std::time::Duration::from_millis(1)))
}

fn notify_one(_: &Trial<Pair>, pair: Pair) -> Operation<'static> {
    Box::new(move || pair.condition.notify(1).map_or(FAILED, |n| n as u64))
}

fn notify_all(_: &Trial<Pair>, pair: Pair) -> Operation<'static> {
    Box::new(move || pair.condition.notify_all().map_or(FAILED, |n| n as u64))
}

fn sweep(_: &Trial<Pair>, pair: Pair) -> Operation<'static> {
    Box::new(move || sweep_both(&pair))
}

fn sweep_both(pair: &Pair) -> u64 {
    match (pair.condition.sweep(), pair.lock.sweep()) {
        (Ok(_), Ok(_)) => 0,
        _ => FAILED,
    }
}

fn slate(page: &Mapping) -> &AtomicU64 {
    // SAFETY: a page begins with room for a word, and all use it atomically.
    #[allow(unsafe_code)]
    unsafe {
        page.start().cast::<AtomicU64>().as_ref()
    }
}

/// A process asleep until it is notified.
fn a_sleeper(trial: &Trial<Pair>) -> Victim {
    let arm = || -> Operation<'_> {
        let pair = joined(trial);
        Box::new(move || wait_for(&pair, 4 * LONG))
    };
    let waiting = trial.handle.condition.waiters();
    let sleeper = running(arm);
    wait_until(|| trial.handle.condition.waiters() > waiting && is_asleep(&sleeper));
    sleeper
}

fn two_sleepers(trial: &Trial<Pair>) -> Vec<Victim> {
    // What an earlier victim left would keep them waiting for the lock.
    trial.handle.lock.sweep().expect("it can be swept");
    vec![a_sleeper(trial), a_sleeper(trial)]
}

/// A process that notifies one once the victim sleeps, or ends when there is no victim any more.
fn a_notifier(trial: &Trial<Pair>) -> Vec<Victim> {
    let arm = || -> Operation<'_> {
        let pair = joined(trial);
        Box::new(move || {
            loop {
                let pid = slate(&trial.slate).load(Ordering::SeqCst) as i32;
                if pid != 0 && kill(Pid::from_raw(pid), None).is_err() {
                    return 0;
                }
                if pid != 0 && pair.condition.waiters() > 0 && is_in_futex(pid) {
                    return pair.condition.notify(1).map_or(FAILED, |n| n as u64);
                }
                std::thread::yield_now();
            }
        })
    };
    vec![running(arm)]
}

fn sweep_all(trial: &Trial<Pair>) -> Result<(), String> {
    check_sweep(trial, |pair| pair.condition.sweep())?;
    trial.handle.lock.sweep().map_err(|e| e.to_string())?;
    Ok(())
}

/// Two sleep; the victim notifies one of them, or all, or only sweeps.
fn verify_notifier(trial: &Trial<Pair>, outcome: Outcome) -> Result<(), String> {
    let promised = match outcome {
        Outcome::Completed(FAILED) => return Err("the operation failed".to_owned()),
        // It gave up waiting, or was notified while the others were.
        Outcome::Completed(MISSED) | Outcome::Killed => 0,
        Outcome::Completed(count) => count as usize,
    };
    sweep_all(trial)?;
    // Whoever was notified before goes on by itself; the survivor notifies the others.
    let rest = trial
        .handle
        .condition
        .notify_all()
        .map_err(|e| e.to_string())?;
    let notified = 2_usize.checked_sub(rest);
    if notified.is_none_or(|notified| notified < promised) {
        return Err(format!(
            "{promised} were promised, {rest} of two still waited"
        ));
    }
    for sleeper in 0..2 {
        check_result(Outcome::Completed(trial.result_of(sleeper)?), DONE)?;
    }
    finish(trial)
}

fn finish(trial: &Trial<Pair>) -> Result<(), String> {
    let Pair { condition, lock } = &trial.handle;
    if condition.waiters() != 0 {
        return Err(format!("{} wait in the end", condition.waiters()));
    }
    trial.others.borrow_mut().clear();
    lock.sweep().map_err(|e| e.to_string())?;
    let guard = lock.try_acquire().map_err(|e| e.to_string())?;
    let timeout = std::time::Duration::from_micros(1);
    let waited = condition
        .wait_timeout(guard, timeout)
        .map_err(|e| e.to_string())?;
    if waited.1 {
        return Err("the survivor was notified by nobody".to_owned());
    }
    drop(waited);
    trial.is_quiet_alone(|pair| pair.condition.sweep())
}

fn while_stopped(trial: &Trial<Pair>) -> Result<(), String> {
    check_sweep_of_the_living(trial, |pair| pair.condition.sweep())?;
    if trial.words_of_other().is_locked() && trial.handle.lock.try_acquire().is_ok() {
        return Err("the lock of a stopped holder was taken".to_owned());
    }
    Ok(())
}

/// The victim was notified while it slept. If it died before it went on, the next waiter is notified in its place; if it
/// died after that, it had the lock, and its death while it has it is known to the next holder.
fn verify_waiter(trial: &Trial<Pair>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    let died_holding = trial.words_of_other().warns();
    let has_gone_on = trial.words_of_other().turns() == 2;
    trial.handle.lock.sweep().map_err(|e| e.to_string())?;
    let next = a_sleeper(trial);
    trial.others.borrow_mut().push(next);
    let given = trial.result_of(0)?;
    if given > 1 {
        return Err(format!("the notifier: {given:#x}"));
    }
    sweep_all(trial)?;
    let rest = trial
        .handle
        .condition
        .notify_all()
        .map_err(|e| e.to_string())?;
    let was_passed_on = rest == 0;
    let is_accounted_for = given == 0 || has_gone_on;
    if !outcome.is_killed() && !has_gone_on {
        return Err("a finished wait never had the lock again".to_owned());
    }
    if !was_passed_on && !is_accounted_for {
        return Err("a notification died with the one that it was for".to_owned());
    }
    check_result(Outcome::Completed(trial.result_of(1)?), DONE)?;
    trial.others.borrow_mut().clear();
    trial.handle.lock.sweep().map_err(|e| e.to_string())?;
    let mut guard = trial.handle.lock.try_acquire().map_err(|e| e.to_string())?;
    if guard.owner_died() != died_holding {
        return Err(format!("owner_died: {}", guard.owner_died()));
    }
    guard.mark_consistent();
    drop(guard);
    finish(trial)
}
