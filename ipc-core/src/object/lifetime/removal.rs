//! Names that go, and what nobody uses any more.

use core::sync::atomic::{AtomicU64, Ordering};
use std::{fs::File, io, os::fd::AsFd, path::Path, sync::Arc, time::Duration};

use super::{
    RETRIES,
    examine::{census_of, examine, open_error},
};
use crate::{
    error::{Error, Result},
    object::{
        namespace::Namespace,
        participant::{EXISTENCE, REMOVAL},
    },
    os::{
        clock,
        file::{self, HALF_MADE, Inode},
        fork,
        token::{self, Claim},
    },
};

/// Younger half-made files are left alone.
const HALF_MADE_AT_LEAST: Duration = Duration::from_secs(60);
/// At most so often does one process look for ephemeral objects of the dead.
const COLLECT_EVERY_NS: u64 = 1_000_000_000;

/// Under which condition a name may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// In any case.
    Forced,
    /// If nobody is attached.
    Unused,
}

/// Removes the name `path` of whatever object or half-made file has it.
pub(crate) fn remove(path: &Path, removal: Removal) -> Result<()> {
    remove_if(path, removal, None)
}

/// As [`remove`], provided that it still means `expected`.
pub(crate) fn remove_if(path: &Path, removal: Removal, expected: Option<Inode>) -> Result<()> {
    let label = path.to_string_lossy();
    let failed = |e: io::Error| open_error(&label, &e);
    for _ in 0..RETRIES {
        let file = file::open(path).map_err(failed)?;
        let inode = file::facts(&file).map_err(failed)?.inode;
        if expected.is_some_and(|expected| expected != inode) {
            return Err(Error::NotFound {
                object: label.into_owned(),
            });
        }
        let claim = Claim::new(&file, inode, fork::epoch(), fork::hold_forks()).map_err(failed)?;
        if removal == Removal::Unused && !claim.try_exclusive(EXISTENCE).map_err(failed)? {
            drop(claim);
            return Err(Error::InUse {
                object: label.into_owned(),
                participants: living(&file),
            });
        }
        // Without it, two who remove the same object could remove a successor's name.
        let is_ours = claim.try_exclusive(REMOVAL).map_err(failed)?;
        let named = file::facts_at(path).map_err(failed)?;
        if is_ours && named.inode == inode {
            return std::fs::remove_file(path).map_err(failed);
        }
        drop(claim);
        std::thread::yield_now();
    }
    Err(Error::BeingRemoved {
        object: label.into_owned(),
    })
}

fn living(file: &File) -> u32 {
    let count = || -> Option<u32> {
        let (region, facts) = examine("", file, false).ok()?;
        let inode = file::facts(file).ok()?.inode;
        let (participants, _) =
            census_of(&region, &facts, Arc::new(file.try_clone().ok()?), inode).ok()?;
        Some(participants.living())
    };
    count().unwrap_or(0)
}

/// The size of the nameless or half-made object at `path` if nobody is attached to it.
pub(crate) fn bytes_if_abandoned(path: &Path) -> io::Result<Option<u64>> {
    let file = file::open(path)?;
    let facts = file::facts(&file)?;
    let is_half_made = path
        .file_name()
        .is_some_and(|n| n.to_string_lossy().starts_with(HALF_MADE));
    // Its creator attaches only once it is filled in.
    let may_be_in_the_making = is_half_made && facts.age < HALF_MADE_AT_LEAST;
    let is_used = may_be_in_the_making || token::is_locked(file.as_fd(), EXISTENCE)?;
    Ok(if is_used { None } else { Some(facts.bytes) })
}

/// Collects ephemeral objects of the dead, now and then.
pub(crate) fn collect_sometimes(namespace: &Namespace) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = clock::monotonic_ns();
    let last = LAST.load(Ordering::Relaxed);
    let is_due = last == 0 || now.saturating_sub(last) > COLLECT_EVERY_NS;
    if is_due
        && LAST
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        // A namespace that cannot be read reports that to whoever lists it.
        let _ = namespace.collect_nameless();
    }
}
