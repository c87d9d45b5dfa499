//! How a raw block of shared memory comes to be, and how its name goes.

use std::cell::RefCell;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use ipc_core::{Error, SharedMemory};

use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

const SIZE: usize = 20_000;
const OTHER_SIZE: usize = 5_000;
const DONE: u64 = 1;
const REFUSED: u64 = 2;
const FAILED: u64 = u64::MAX;

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw {
    /// Makes a block.
    Create,
    /// Removes the name of the one that it has.
    Unlink,
}

/// A name, and who has a block under it.
#[derive(Debug)]
pub(super) struct Name {
    name: String,
    /// What others made under the name while the victim was stopped.
    successor: RefCell<Option<SharedMemory>>,
    maker: u32,
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.maker == std::process::id() {
            let _ = SharedMemory::remove(&self.name);
        }
    }
}

impl Name {
    /// A block of this size under the name, all of it reserved; or, of one that was never finished, an error that says so, and a
    /// name that can be removed.
    fn check(&self, must_be: Option<bool>) -> Result<(), String> {
        let found = SharedMemory::open(&self.name);
        let is_there = match &found {
            Ok(block) => {
                block.set(SIZE - 8, 7u64).map_err(|e| e.to_string())?;
                block.size() == SIZE
            }
            Err(Error::NotFound { .. }) => false,
            Err(Error::Truncated { found: 0, .. }) if must_be.is_none() => {
                SharedMemory::remove(&self.name).map_err(|e| e.to_string())?;
                false
            }
            Err(e) => return Err(e.to_string()),
        };
        if must_be.is_some_and(|must| must != is_there) {
            return Err(format!("it is there: {is_there}"));
        }
        if is_there {
            SharedMemory::remove(&self.name).map_err(|e| e.to_string())?;
        }
        let again = SharedMemory::create(&self.name, SIZE);
        again.map(drop).map_err(|e| e.to_string())
    }
}

impl Scenario for Raw {
    type State = Name;

    fn name(&self) -> String {
        let name = match self {
            Self::Create => "create",
            Self::Unlink => "unlink",
        };
        format!("shm/{name}")
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        [Campaign::Kill, Campaign::Stop]
            .map(|campaign| (campaign, Expectation::Holds))
            .into()
    }

    fn fresh(&self) -> Name {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let maker = std::process::id();
        // Relaxed: only the number has to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = Name {
            name: format!("ipc-trial-{maker}-{number}"),
            successor: RefCell::default(),
            maker,
        };
        if *self == Self::Unlink {
            SharedMemory::create(&name.name, SIZE).expect("a block can be made");
        }
        name
    }

    /// None: only system calls change anything.
    fn shared<'a>(&self, _: &'a Name) -> Vec<Shared<'a>> {
        Vec::new()
    }

    fn arm<'a>(&'a self, name: &'a Name) -> Operation<'a> {
        match self {
            Self::Create => Box::new(move || match SharedMemory::create(&name.name, SIZE) {
                Ok(block) => {
                    mem::forget(block);
                    DONE
                }
                Err(Error::Exists { .. }) => REFUSED,
                Err(_) => FAILED,
            }),
            Self::Unlink => {
                let block = SharedMemory::open(&name.name).expect("there is a block");
                Box::new(move || match block.unlink() {
                    Ok(()) => DONE,
                    Err(Error::NotFound { .. }) => REFUSED,
                    Err(_) => FAILED,
                })
            }
        }
    }

    fn verify(&self, name: &Name, outcome: Outcome) -> Result<(), String> {
        match (self, outcome) {
            (_, Outcome::Killed) => name.check(None),
            (Self::Create, Outcome::Completed(DONE)) => name.check(Some(true)),
            (Self::Unlink, Outcome::Completed(DONE)) => name.check(Some(false)),
            _ => Err(format!("the victim: {outcome:?}")),
        }
    }

    /// Others remove what is under the name, whatever the victim is about to do with it, and make a block of their own, unless the
    /// victim has the lock that keeps them from removing.
    fn while_stopped(&self, name: &Name) -> Result<(), String> {
        match SharedMemory::remove(&name.name) {
            Ok(()) | Err(Error::NotFound { .. } | Error::BeingRemoved { .. }) => {}
            Err(e) => return Err(e.to_string()),
        }
        *name.successor.borrow_mut() = match SharedMemory::create(&name.name, OTHER_SIZE) {
            Ok(successor) => Some(successor),
            Err(Error::Exists { .. }) => None,
            Err(e) => return Err(e.to_string()),
        };
        Ok(())
    }

    fn verify_after_stop(&self, name: &Name, outcome: Outcome) -> Result<(), String> {
        if !matches!(outcome, Outcome::Completed(DONE | REFUSED)) {
            return Err(format!("the resumed victim: {outcome:?}"));
        }
        let Some(successor) = name.successor.take() else {
            return name.check(None);
        };
        let found = SharedMemory::open(&name.name).map_err(|e| e.to_string())?;
        if found.size() != OTHER_SIZE {
            return Err("its successor's name was removed".to_owned());
        }
        successor.unlink().map_err(|e| e.to_string())
    }
}
