//! Which blocks there are.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::SharedMemory;
use crate::{
    error::{Error, Result},
    os::shm,
};

/// The C library keeps its named semaphores beside the blocks.
const SEMAPHORES: &str = "sem.";
/// What `st_blocks` counts in.
const BLOCK: u64 = 512;

/// What the kernel says about a block, whoever has made it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedMemoryStat {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many of them, in whole pages, are in memory now; the others would be found missing by who uses them first on a file system that is
    /// full.
    pub reserved_bytes: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
    /// When its length or, by system calls, its bytes last changed, in nanoseconds since 1970.
    pub modified_unix_ns: u64,
}

impl SharedMemory {
    /// All blocks of this machine, sorted by name. Those whose name is not UTF-8 and named semaphores are left out.
    ///
    /// # Errors
    ///
    /// [`Error::PermissionDenied`], [`Error::Io`].
    pub fn list() -> Result<Vec<SharedMemoryStat>> {
        let dir = Path::new(shm::DIRECTORY);
        let entries =
            fs::read_dir(dir).map_err(|e| Error::from_io(shm::DIRECTORY, "read directory", &e))?;
        let mut found: Vec<SharedMemoryStat> =
            entries.filter_map(|entry| stat(&entry.ok()?)).collect();
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

/// None for what is no block, or gone by now.
fn stat(entry: &fs::DirEntry) -> Option<SharedMemoryStat> {
    let name = entry.file_name().into_string().ok()?;
    let found = entry.metadata().ok()?;
    if !found.is_file() || name.starts_with(SEMAPHORES) {
        return None;
    }
    let seconds = u64::try_from(found.mtime()).ok()?;
    Some(SharedMemoryStat {
        name,
        size: found.len(),
        reserved_bytes: found.blocks() * BLOCK,
        uid: found.uid(),
        gid: found.gid(),
        mode: found.mode() & 0o7777,
        modified_unix_ns: seconds * 1_000_000_000 + found.mtime_nsec().cast_unsigned(),
    })
}
