//! What a puppet does with shared values, arrays and lists: it changes them until it is killed.

use std::error::Error;

use ipc_core::{Array, List, Namespace, Value};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::random::Random;

/// A large value: each word the same, so that half of one shows.
pub type Wide = [u64; 32];

/// What is in a list: who put it there, a number of its own, and so many words, all alike.
pub type Element = (u64, u64, Vec<u64>);

/// An element; each eighth is a long one.
pub fn element(who: u64, number: u64) -> Element {
    let words = if number % 8 == 7 { 300 } else { 2 };
    (who, number, vec![who << 32 | number; words])
}

/// Does as told: `hammer`, which of them, and who it is; or `get`, `hold`.
///
/// # Errors
///
/// When the object refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Result<String, Box<dyn Error>> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["hammer", "value", name, who] => hammer_value(namespace, name, who.parse()?),
        ["hammer", "array", name, who] => hammer_array(namespace, name, who.parse()?),
        ["hammer", "list", name, who] => hammer_list(namespace, name, who.parse()?),
        ["add", name, times] => {
            let value = Value::<u64>::opener().namespace(namespace).open(name)?;
            for _ in 0..times.parse::<u64>()? {
                value.fetch_add(1)?;
            }
            Ok(value.get()?.to_string())
        }
        ["redeem", ticket] => {
            let value: Value<u64> = serde_json::from_str(ticket)?;
            Ok(value.fetch_add(1)?.to_string())
        }
        ["fork", value, list] => {
            let value = Value::<u64>::opener().namespace(namespace).open(value)?;
            let list = List::<u64>::options().namespace(namespace).open(list)?;
            Ok(use_in_child(&value, &list)?.to_string())
        }
        ["hold", name] => {
            let value = Value::<u64>::opener().namespace(namespace).open(name)?;
            let section = value.lock()?;
            section.set(1)?;
            std::mem::forget(section); // until it is killed
            std::mem::forget(value);
            Ok(String::new())
        }
        _ => Err(format!("what is {line:?}?").into()),
    }
}

/// What a child says that uses its parent's handles, while the parent holds the lock: 0 if all is as it should be.
#[expect(unsafe_code, reason = "forks")]
fn use_in_child(value: &Value<u64>, list: &List<u64>) -> Result<i32, Box<dyn Error>> {
    let section = value.lock()?;
    // SAFETY: a puppet has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(section); // a copy, which holds nothing
            let is_fine = value.fetch_add(1).is_ok_and(|was| was == 5)
                && value.try_lock().is_err()
                && list.push(2).is_ok()
                && list.pop().is_ok_and(|last| last == Some(2))
                && list.push(3).is_ok();
            // SAFETY: it ends this process without running anything else.
            unsafe { libc::_exit(i32::from(!is_fine)) }
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, code) => Ok(code),
            other => Err(format!("the child: {other:?}").into()),
        },
    }
}

/// Replaces the value for ever, and finds it whole each time.
fn hammer_value(namespace: &Namespace, name: &str, who: u64) -> Result<String, Box<dyn Error>> {
    let value = Value::<Wide>::opener().namespace(namespace).open(name)?;
    for number in 0.. {
        value.set([who << 32 | number; 32])?;
        let found = value.get()?;
        if found != [found[0]; 32] {
            return Err(format!("torn: {found:?}").into());
        }
    }
    Ok(String::new())
}

/// The same with the elements of an array, all of which are counted up under the lock.
fn hammer_array(namespace: &Namespace, name: &str, who: u64) -> Result<String, Box<dyn Error>> {
    let array = Array::<u128>::opener().namespace(namespace).open(name)?;
    let mut random = Random::new(who);
    loop {
        let at = random.index(array.len());
        array.fetch_add(at, 1 << 64 | 1)?;
        let found = array.get(random.index(array.len()))?;
        if found >> 64 != found & u128::from(u64::MAX) {
            return Err(format!("torn: {found:#x}").into());
        }
    }
}

/// Puts elements in and takes others out for ever.
fn hammer_list(namespace: &Namespace, name: &str, who: u64) -> Result<String, Box<dyn Error>> {
    let list = List::<Element>::options().namespace(namespace).open(name)?;
    let mut random = Random::new(who);
    for number in 0.. {
        let len = list.len()?;
        let at = random.index(len.max(1));
        // Somebody else may have taken it meanwhile.
        match random.below(16) {
            0 => list.reverse()?,
            1 => list.sort_by_key(|element| element.1)?,
            2..=5 => drop(list.insert(at, element(who, number))),
            6 => drop(list.set(at, element(who, number))),
            7 => list.extend([element(who, number), element(who, number + (1 << 31))])?,
            8 | 9 => drop(list.pop()?),
            10 => drop(list.slice(at..at + 5)?),
            _ if len > 100 => drop(list.remove(at)),
            _ => list.push(element(who, number))?,
        }
    }
    Ok(String::new())
}
