//! Read-write locks.

use ipc_core::{Namespace, RwLock, TryAcquireError};

use super::case::{
    BLOCKED, Case, DONE, FAILED, LONG, NAME, Trial, check_sweep, check_sweep_of_the_living, join,
    nobody,
};
use super::locks::Value;
use super::words::{PARTICIPANTS, READING, Words};
use crate::scenarios::campaigns::{ALL, KILL_AND_STOP};
use crate::step::{Operation, Outcome, Victim};

const READERS: usize = 4;
const LAST: u64 = 1000;

type Act = fn(&Trial<RwLock<Value>>, RwLock<Value>) -> Operation<'static>;

pub(super) fn rwlocks() -> Vec<Case<RwLock<Value>>> {
    let case = |name, campaigns, act: Act| Case {
        name,
        campaigns,
        create,
        join: |trial| join!(&trial.handle),
        others: nobody,
        left_by: None,
        act,
        repair: sweep_and_write,
        verify,
        while_stopped,
        verify_after_stop: verify,
    };
    vec![
        case("rwlock-read", ALL, read),
        case("rwlock-write", ALL, write),
        case("rwlock-read-beside-reader", KILL_AND_STOP, read).others(a_reader),
        case("rwlock-try-write-beside-reader", ALL, try_write).others(a_reader),
        case("rwlock-sweep-reader", ALL, sweep).left_by(read, 2),
        case("rwlock-sweep-writer", ALL, sweep).left_by(write, 4),
        case("rwlock-sweep-wanter", KILL_AND_STOP, sweep).left_by(write, 1),
        case("rwlock-try-read-past-dead-writer", KILL_AND_STOP, try_read).left_by(write, 4),
        case(
            "rwlock-try-write-past-dead-reader",
            KILL_AND_STOP,
            try_write,
        )
        .left_by(read, 2),
    ]
}

fn create(namespace: &Namespace) -> RwLock<Value> {
    let options = RwLock::options_with([1; 8]).readers(READERS);
    let options = options.participants(PARTICIPANTS).namespace(namespace);
    options.create(NAME).expect("a lock can be made")
}

/// A process that holds a share, stopped.
fn a_reader(trial: &Trial<RwLock<Value>>) -> Vec<Victim> {
    let arm = || -> Operation<'_> {
        let lock: RwLock<Value> = join!(&trial.handle);
        std::mem::forget(lock.try_read().expect("nobody writes"));
        Box::new(move || {
            let _keep = &lock;
            DONE
        })
    };
    vec![Victim::fork(arm).expect("a process can be made")]
}

fn read(_: &Trial<RwLock<Value>>, lock: RwLock<Value>) -> Operation<'static> {
    Box::new(move || match lock.read_timeout(LONG) {
        Ok(value) if *value == [value[0]; 8] => DONE,
        _ => FAILED,
    })
}

fn write(_: &Trial<RwLock<Value>>, lock: RwLock<Value>) -> Operation<'static> {
    Box::new(move || match lock.write_timeout(LONG) {
        Ok(mut value) => {
            value.iter_mut().for_each(|word| *word += 1);
            DONE
        }
        Err(_) => FAILED,
    })
}

fn try_read(_: &Trial<RwLock<Value>>, lock: RwLock<Value>) -> Operation<'static> {
    Box::new(move || match lock.try_read() {
        Ok(value) if *value == [value[0]; 8] => DONE,
        Err(TryAcquireError::WouldBlock) => BLOCKED,
        _ => FAILED,
    })
}

fn try_write(_: &Trial<RwLock<Value>>, lock: RwLock<Value>) -> Operation<'static> {
    Box::new(move || match lock.try_write() {
        Ok(_) => DONE,
        Err(TryAcquireError::WouldBlock) => BLOCKED,
        Err(_) => FAILED,
    })
}

fn sweep(_: &Trial<RwLock<Value>>, lock: RwLock<Value>) -> Operation<'static> {
    Box::new(move || lock.sweep().map_or(FAILED, |_| DONE))
}

/// Reads and writes after a sweep; beside a living reader, it only reads.
fn sweep_and_write(_: &Trial<RwLock<Value>>, lock: RwLock<Value>) -> Operation<'static> {
    Box::new(move || {
        if lock.sweep().is_err() || lock.try_read().is_err() {
            return FAILED;
        }
        if let Ok(mut value) = lock.try_write() {
            value.iter_mut().for_each(|word| *word += 1);
        }
        DONE
    })
}

fn whole(value: &Value) -> Result<u64, String> {
    match value {
        [first, ..] if *value == [*first; 8] => Ok(*first),
        torn => Err(format!("the value is torn: {torn:?}")),
    }
}

fn shares(words: &Words) -> usize {
    words.seated(READERS, READING)
}

fn verify(trial: &Trial<RwLock<Value>>, outcome: Outcome) -> Result<(), String> {
    let lock = &trial.handle;
    let others = trial.others.borrow().len();
    match outcome {
        Outcome::Killed => {}
        Outcome::Completed(DONE) if others == 0 => {}
        // A reader may come beside a reader, a writer may not; and one may still be at the sweep of the dead.
        Outcome::Completed(DONE | BLOCKED) if others > 0 || trial.words_before().is_taken() => {}
        other => return Err(format!("the victim: {other:?}")),
    }
    let (before, left, now) = (trial.words_before(), trial.words_left(), trial.words());
    let has_left = left.is_locked() || shares(&left) > shares(&before);
    if !outcome.is_killed() && has_left {
        return Err(format!("a finished operation left {left:?}"));
    }
    let must_warn = before.warns() || left.warns() || now.warns();
    check_sweep(trial, RwLock::sweep)?;
    if trial.words().is_locked() || shares(&trial.words()) != others {
        return Err(format!("after a sweep there is {:?}", trial.words()));
    }
    let found = {
        let value = lock.try_read().map_err(|e| e.to_string())?;
        if value.owner_died() != must_warn {
            return Err(format!("owner_died {}, {left:?} left", value.owner_died()));
        }
        whole(&value)?
    };
    // A turn that is over may be a change made; a turn of the dead is none.
    let turns = now.turns() - u64::from(now.is_locked());
    let changes = found - 1;
    if !(trial.meanwhile.get()..=turns).contains(&changes) {
        return Err(format!("{changes} changes in {turns} turns"));
    }
    if others > 0 {
        if !matches!(lock.try_write(), Err(TryAcquireError::WouldBlock)) {
            return Err("a writer came in beside a living reader".to_owned());
        }
        drop(
            lock.try_read()
                .map_err(|e| format!("a writer that gave up: {e}"))?,
        );
        trial.others.borrow_mut().clear();
        lock.sweep().map_err(|e| e.to_string())?;
    }
    let mut value = lock.try_write().map_err(|e| e.to_string())?;
    if value.owner_died() != must_warn || *value != [found; 8] {
        return Err(format!("a reader saw {found}, the next writer {value:?}"));
    }
    value.mark_consistent();
    *value = [LAST; 8];
    drop(value);
    let all: Result<Vec<_>, _> = (0..READERS).map(|_| lock.try_read()).collect();
    let all = all.map_err(|e| format!("not all shares are back: {e}"))?;
    if all
        .iter()
        .any(|value| value.owner_died() || **value != [LAST; 8])
    {
        return Err(format!("the survivor's own change is {:?}", all[0]));
    }
    if lock.try_read().is_ok() || lock.try_write().is_ok() {
        return Err("more came in than may".to_owned());
    }
    drop(all);
    trial.is_quiet_alone(RwLock::sweep)
}

fn while_stopped(trial: &Trial<RwLock<Value>>) -> Result<(), String> {
    let lock = &trial.handle;
    check_sweep_of_the_living(trial, RwLock::sweep)?;
    for _ in 0..3 {
        let words = trial.words();
        let (is_locked, readers) = (words.is_locked(), shares(&words));
        match (lock.try_read(), is_locked) {
            (Ok(value), false) => drop(whole(&value)?),
            (Err(TryAcquireError::WouldBlock), true) => {}
            (got, _) => return Err(format!("{words:?}: to read, {got:?}")),
        }
        match (lock.try_write(), is_locked || readers > 0) {
            (Ok(mut value), false) => {
                value.iter_mut().for_each(|word| *word += 1);
                trial.meanwhile.set(trial.meanwhile.get() + 1);
            }
            (Err(TryAcquireError::WouldBlock), true) => {}
            (got, _) => return Err(format!("{words:?}: to write, {got:?}")),
        }
        if trial.words().is_locked() != is_locked || shares(&trial.words()) != readers {
            return Err(format!("{words:?} became {:?}", trial.words()));
        }
    }
    Ok(())
}
