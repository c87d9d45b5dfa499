//! Handles on their way to another process, and how a process knows the objects it has.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use super::{Build, Object, Species};
use crate::{
    error::{Error, Result},
    object::{family, participant::Repair},
    os::{
        file::{self, Inode},
        fork,
    },
};

thread_local! {
    /// How many tickets this thread has written.
    static TICKETS: Cell<u64> = const { Cell::new(0) };
}

/// Calls `write`, and says whether that has written any ticket: who redeems one needs that the object is still there.
pub(crate) fn noting_tickets<R>(write: impl FnOnce() -> R) -> (R, bool) {
    let before = TICKETS.get();
    let written = write();
    (written, TICKETS.get() != before)
}

/// A handle on its way to another process.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ticket {
    path: PathBuf,
    inode: Inode,
    pid: u32,
    descriptor: i32,
}

impl Object {
    /// What another process needs to come to this object.
    pub(crate) fn ticket(&self) -> Ticket {
        TICKETS.set(TICKETS.get().wrapping_add(1));
        Ticket {
            path: self.path.clone(),
            inode: self.inode,
            pid: std::process::id(),
            descriptor: self.file.as_raw_fd(),
        }
    }
}

impl Ticket {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// Comes to the object: by its path, or, once that is gone, through the sender while it lives.
    pub(crate) fn redeem<S: Repair + 'static>(
        &self,
        species: Species<'_>,
        build: Build<'_, S>,
    ) -> Result<(Arc<Object>, Arc<S>)> {
        let is_it = |file: &File| file::facts(file).is_ok_and(|f| f.inode == self.inode);
        // Of a family that is gone, only who still has the member can give it.
        let (keeper, is_gone) = match family::keeper_of(&self.path) {
            Ok(keeper) => (keeper, false),
            Err(Error::NotFound { .. }) => (None, true),
            Err(e) => return Err(e),
        };
        // Looked at first: the sender may have named a device.
        let is_file = file::facts_at(&self.path).is_ok_and(|f| f.is_regular);
        let by_path = if is_file && !is_gone {
            file::open(&self.path).ok().filter(is_it)
        } else {
            None
        };
        let file = by_path.or_else(|| {
            file::open_of_process(self.pid, self.descriptor)
                .ok()
                .filter(is_it)
        });
        let label = || self.path.to_string_lossy().into_owned();
        let file = file.ok_or_else(|| Error::NotFound { object: label() })?;
        Object::kept(&self.path, file, keeper, species, build)
    }
}

/// This process's objects, so that each is mapped once. Locked only while no fork can happen.
static OBJECTS: LazyLock<Mutex<HashMap<Inode, Weak<Object>>>> = LazyLock::new(Mutex::default);

pub(super) fn recall(inode: Inode) -> Option<Arc<Object>> {
    let _no_fork = fork::hold_forks();
    let objects = OBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    objects.get(&inode).and_then(Weak::upgrade)
}

/// Keeps `object` findable, or returns the one that another thread brought here first; and whether it is ours.
pub(super) fn remember(object: Object) -> (Arc<Object>, bool) {
    let object = Arc::new(object);
    let no_fork = fork::hold_forks();
    let mut objects = OBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    if objects.len() >= 64 && objects.len().is_power_of_two() {
        objects.retain(|_, known| known.strong_count() > 0);
    }
    if let Some(known) = objects.get(&object.inode).and_then(Weak::upgrade) {
        drop(objects);
        drop(no_fork);
        return (known, false);
    }
    objects.insert(object.inode, Arc::downgrade(&object));
    (object, true)
}
