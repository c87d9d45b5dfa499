//! Locks, and locks that are acquired several times.

use ipc_core::{Lock, Namespace, RLock, TryAcquireError};

use super::case::{
    BLOCKED, Case, DONE, FAILED, LONG, NAME, Trial, check_result, check_sweep,
    check_sweep_of_the_living, join, nobody,
};
use super::words::PARTICIPANTS;
use crate::scenarios::campaigns::{ALL, KILL_AND_STOP};
use crate::step::{Operation, Outcome};

/// A value of many words, all alike; every change adds one to each.
pub(super) type Value = [u64; 8];
/// What the survivor writes in the end.
const LAST: u64 = 1000;

pub(super) fn locks() -> Vec<Case<Lock<Value>>> {
    let case = |name, campaigns, act| Case {
        name,
        campaigns,
        create,
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
        case("lock-change", ALL, change),
        Case {
            verify: |trial, outcome| verify_turns(trial, outcome, false),
            ..case("lock-look", KILL_AND_STOP, look)
        },
        case("lock-try-held-by-dead", KILL_AND_STOP, try_change).left_by(change, 3),
        case("lock-sweep-nothing", KILL_AND_STOP, sweep),
        case("lock-sweep-dead-holder", ALL, sweep).left_by(change, 3),
        case("lock-sweep-dead-writer", KILL_AND_STOP, sweep).left_by(change, 7),
    ]
}

fn create(namespace: &Namespace) -> Lock<Value> {
    let options = Lock::options_with([1; 8]).participants(PARTICIPANTS);
    let lock = options
        .namespace(namespace)
        .create(NAME)
        .expect("a lock can be made");
    // Its second turn: which of the two copies is valid should not matter.
    for word in &mut *lock.acquire().expect("nobody has it") {
        *word = 1;
    }
    lock
}

fn change(_: &Trial<Lock<Value>>, lock: Lock<Value>) -> Operation<'static> {
    Box::new(move || match lock.acquire_timeout(LONG) {
        Ok(mut value) => {
            value.iter_mut().for_each(|word| *word += 1);
            DONE
        }
        Err(_) => FAILED,
    })
}

/// Finds a dead one in its way.
fn try_change(_: &Trial<Lock<Value>>, lock: Lock<Value>) -> Operation<'static> {
    Box::new(move || match lock.try_acquire() {
        Ok(mut value) => {
            value.iter_mut().for_each(|word| *word += 1);
            DONE
        }
        // Somebody else was first, or is still at the sweep.
        Err(TryAcquireError::WouldBlock) => BLOCKED,
        Err(_) => FAILED,
    })
}

/// Acquires and releases without a change.
fn look(_: &Trial<Lock<Value>>, lock: Lock<Value>) -> Operation<'static> {
    Box::new(move || lock.acquire_timeout(LONG).map_or(FAILED, |_| DONE))
}

fn sweep(_: &Trial<Lock<Value>>, lock: Lock<Value>) -> Operation<'static> {
    Box::new(move || lock.sweep().map_or(FAILED, |_| DONE))
}

fn sweep_and_change(_: &Trial<Lock<Value>>, lock: Lock<Value>) -> Operation<'static> {
    Box::new(move || {
        let swept = lock.sweep();
        let Ok(mut value) = lock.acquire_timeout(LONG) else {
            return FAILED;
        };
        value.iter_mut().for_each(|word| *word += 1);
        swept.map_or(FAILED, |_| DONE)
    })
}

/// What all words of the value are.
fn whole(value: &Value) -> Result<u64, String> {
    match value {
        [first, ..] if *value == [*first; 8] => Ok(*first),
        torn => Err(format!("the value is torn: {torn:?}")),
    }
}

fn verify(trial: &Trial<Lock<Value>>, outcome: Outcome) -> Result<(), String> {
    verify_turns(trial, outcome, true)
}

/// `each_turn_changes`: each turn that is over is a change made.
fn verify_turns(
    trial: &Trial<Lock<Value>>,
    outcome: Outcome,
    each_turn_changes: bool,
) -> Result<(), String> {
    if !matches!(
        outcome,
        Outcome::Killed | Outcome::Completed(DONE | BLOCKED)
    ) {
        return Err(format!("the victim: {outcome:?}"));
    }
    let (before, left, now) = (trial.words_before(), trial.words_left(), trial.words());
    if !outcome.is_killed() && left.is_locked() {
        return Err("a finished operation left the lock held".to_owned());
    }
    let must_warn = before.warns() || left.warns() || now.warns();
    if left.is_locked() || now.is_locked() {
        // Who wants it finds out by itself that its holder is dead: at once, unless somebody has just looked for the dead.
        let is_had =
            trial.handle.try_acquire().is_ok() || trial.handle.acquire_timeout(LONG).is_ok();
        if !is_had {
            return Err("a survivor waits for a dead one".to_owned());
        }
    }
    check_sweep(trial, Lock::sweep)?;
    let mut value = trial.handle.try_acquire().map_err(|e| e.to_string())?;
    if value.owner_died() != must_warn {
        return Err(format!("owner_died {}, {left:?} left", value.owner_died()));
    }
    let found = whole(&value)?;
    // A turn that is over is a change made; one that died in the middle is none.
    let changes = found - 1;
    let turns = now.turns() - u64::from(now.is_locked()) - 1;
    let unmade = u64::from(before.warns()) + u64::from(left.warns() && trial.was_repaired());
    let least = if each_turn_changes {
        turns.saturating_sub(unmade)
    } else {
        0
    };
    let may_be = least..=turns;
    if !may_be.contains(&changes) {
        return Err(format!(
            "{changes} changes were made in {turns} turns: {before:?}, {now:?}"
        ));
    }
    value.mark_consistent();
    *value = [LAST; 8];
    drop(value);
    check_last(trial)
}

fn check_last(trial: &Trial<Lock<Value>>) -> Result<(), String> {
    let value = trial.handle.try_acquire().map_err(|e| e.to_string())?;
    if value.owner_died() || *value != [LAST; 8] {
        return Err(format!("the survivor's own change is {value:?}"));
    }
    drop(value);
    if trial.handle.is_held() {
        return Err("it is held in the end".to_owned());
    }
    trial.is_quiet_alone(Lock::sweep)
}

fn while_stopped(trial: &Trial<Lock<Value>>) -> Result<(), String> {
    let victim_holds = trial.words().is_locked() && trial.words().word != trial.words_before().word;
    check_sweep_of_the_living(trial, Lock::sweep)?;
    for _ in 0..3 {
        match (trial.handle.try_acquire(), victim_holds) {
            (Err(TryAcquireError::WouldBlock), true) => {}
            (Ok(mut value), false) => {
                whole(&value)?;
                value.iter_mut().for_each(|word| *word += 1);
                trial.meanwhile.set(trial.meanwhile.get() + 1);
            }
            (got, _) => return Err(format!("the victim holds it: {victim_holds}; {got:?}")),
        }
    }
    Ok(())
}

fn verify_after_stop(trial: &Trial<Lock<Value>>, outcome: Outcome) -> Result<(), String> {
    let Outcome::Completed(DONE | BLOCKED) = outcome else {
        return Err(format!("the victim: {outcome:?}"));
    };
    let (before, now) = (trial.words_before(), trial.words());
    check_sweep(trial, Lock::sweep)?;
    let mut value = trial.handle.try_acquire().map_err(|e| e.to_string())?;
    if value.owner_died() != before.warns() {
        return Err(format!("owner_died: {}", value.owner_died()));
    }
    let changes = whole(&value)? - 1;
    // Those who died, and a victim that only looked, changed nothing; the survivor did.
    let turns = now.turns() - 1;
    if !(trial.meanwhile.get()..=turns).contains(&changes) || turns - changes > 1 {
        return Err(format!(
            "{changes} changes in {turns} turns, {} by others",
            trial.meanwhile.get()
        ));
    }
    value.mark_consistent();
    *value = [LAST; 8];
    drop(value);
    check_last(trial)
}

/// A lock acquired twice by one thread.
pub(super) fn rlocks() -> Vec<Case<RLock>> {
    let case = |name, campaigns, act| Case {
        name,
        campaigns,
        create: |namespace| {
            let options = RLock::options().participants(PARTICIPANTS);
            options
                .namespace(namespace)
                .create(NAME)
                .expect("a lock can be made")
        },
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act,
        repair: |_, lock| {
            Box::new(move || {
                let swept = lock.sweep().map_or(FAILED, |_| DONE);
                if nest(&lock) == DONE { swept } else { FAILED }
            })
        },
        verify: verify_rlock,
        while_stopped: while_rlock_stopped,
        verify_after_stop: verify_rlock,
    };
    let nested =
        |_: &Trial<RLock>, lock: RLock| -> Operation<'static> { Box::new(move || nest(&lock)) };
    let sweep = |_: &Trial<RLock>, lock: RLock| -> Operation<'static> {
        Box::new(move || lock.sweep().map_or(FAILED, |_| DONE))
    };
    vec![
        case("rlock-nested", ALL, nested),
        case("rlock-sweep-nested", ALL, sweep).left_by(nested, 4),
    ]
}

/// Acquires it twice, and releases it twice.
fn nest(lock: &RLock) -> u64 {
    let Ok(outer) = lock.acquire_timeout(LONG) else {
        return FAILED;
    };
    let Ok(inner) = lock.try_acquire() else {
        return FAILED;
    };
    let depth = inner.depth();
    drop(inner);
    if depth == 2 && outer.depth() == 1 {
        DONE
    } else {
        FAILED
    }
}

fn verify_rlock(trial: &Trial<RLock>, outcome: Outcome) -> Result<(), String> {
    check_result(outcome, DONE)?;
    let lock = &trial.handle;
    let (before, left, now) = (trial.words_before(), trial.words_left(), trial.words());
    if !outcome.is_killed() && left.is_locked() {
        return Err("a finished operation left the lock held".to_owned());
    }
    let must_warn = before.warns() || left.warns() || now.warns();
    check_sweep(trial, RLock::sweep)?;
    let outer = lock.try_acquire().map_err(|e| e.to_string())?;
    if outer.owner_died() != must_warn {
        return Err(format!("owner_died {}, {left:?} left", outer.owner_died()));
    }
    if outer.depth() != 1 {
        return Err(format!("acquired once, the depth is {}", outer.depth()));
    }
    outer.mark_consistent();
    let inner = lock.try_acquire().map_err(|e| e.to_string())?;
    if inner.owner_died() || inner.depth() != 2 {
        return Err(format!("acquired twice, the depth is {}", inner.depth()));
    }
    drop(outer);
    let others = || std::thread::scope(|s| s.spawn(|| lock.try_acquire().is_ok()).join());
    if !matches!(others(), Ok(false)) {
        return Err("another thread got it after one release of two".to_owned());
    }
    drop(inner);
    if !matches!(others(), Ok(true)) {
        return Err("another thread cannot get it after both releases".to_owned());
    }
    trial.is_quiet_alone(RLock::sweep)
}

fn while_rlock_stopped(trial: &Trial<RLock>) -> Result<(), String> {
    let victim_holds = trial.words().is_locked() && trial.words().word != trial.words_before().word;
    check_sweep_of_the_living(trial, RLock::sweep)?;
    match (trial.handle.try_acquire(), victim_holds) {
        (Err(TryAcquireError::WouldBlock), true) => Ok(()),
        (Ok(guard), false) if guard.depth() == 1 => Ok(()),
        (got, _) => Err(format!("the victim holds it: {victim_holds}; {got:?}")),
    }
}
