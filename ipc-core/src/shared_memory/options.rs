//! How a block is made or opened.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Block, SharedMemory, place};
use crate::{
    error::{Error, Result},
    object::{
        lifetime::{self, Removal},
        making,
    },
    os::{
        file::{self, Inode},
        map, shm,
    },
    region::{OutOfBounds, Region, raw::RawBytes},
};

/// The C library and the kernel allow a few more.
const NAME_MAX: usize = 250;
/// How often others may remove what was just made.
const RACES: u32 = 100;
/// Who has just made a name gives the block its length within microseconds, unless it is stopped or dies.
const BEING_MADE: Duration = Duration::from_millis(100);

/// Settings for a [`SharedMemory`], from [`SharedMemory::options`].
///
/// ```
/// use ipc_core::SharedMemory;
///
/// let name = format!("ipc-doc-shm-options-{}", std::process::id());
/// let block = SharedMemory::options(4096).mode(0o660).create(&name)?;
/// assert_eq!(block.size(), 4096);
/// block.unlink()?;
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options make nothing until `create`, `open_or_create` or `create_unnamed`"]
pub struct SharedMemoryOptions {
    size: usize,
    mode: u32,
    group: Option<u32>,
}

impl SharedMemoryOptions {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            mode: 0o600,
            group: None,
        }
    }

    /// Permissions of the block, whatever the umask. Default: `0o600`, as Python's.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Group of the block, by number. Default: the creator's.
    pub fn group(mut self, gid: u32) -> Self {
        self.group = Some(gid);
        self
    }

    /// Makes a block.
    ///
    /// # Errors
    ///
    /// See [`SharedMemory::create`].
    pub fn create(&self, name: &str) -> Result<SharedMemory> {
        let (name, path) = path_of(name)?;
        let label = path.to_string_lossy();
        if self.size == 0 || isize::try_from(self.size).is_err() {
            return Err(Error::BadOption {
                option: "size",
                why: "a block has 1 byte to 8 EiB".into(),
            });
        }
        for _ in 0..RACES {
            let made = shm::create(name, self.size);
            if let Some(file) = made.map_err(|e| self.refusal(&label, "create", &e))? {
                return self.fill(name, path, file);
            }
        }
        Err(Error::BeingRemoved {
            object: label.into_owned(),
        })
    }

    /// Opens the block, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// See [`SharedMemory::open_or_create`].
    pub fn open_or_create(&self, name: &str) -> Result<SharedMemory> {
        making::open_or_create(|| SharedMemory::open(name), || self.create(name))
    }

    /// Makes a block under a name that nobody has, as Python does without a name. It stays until it is
    /// [unlinked](SharedMemory::unlink).
    ///
    /// # Errors
    ///
    /// See [`SharedMemory::create`].
    pub fn create_unnamed(&self) -> Result<SharedMemory> {
        self.create(&format!("ipc_{}", file::unique()))
    }

    /// Gives a new block all but its bytes; removes it if that fails.
    fn fill(&self, name: &str, path: PathBuf, file: File) -> Result<SharedMemory> {
        let label = path.to_string_lossy().into_owned();
        let inode = facts_of(&label, &file)?.inode;
        let unfinished = Unfinished { path: &path, inode };
        file::share(&file, self.mode, self.group).map_err(|e| self.refusal(&label, "share", &e))?;
        file::reserve(&file, 0, self.size as u64)
            .map_err(|e| self.refusal(&label, "allocate", &e))?;
        let block = over(name, path.clone(), file, true)?;
        core::mem::forget(unfinished);
        Ok(block)
    }

    fn refusal(&self, label: &str, operation: &'static str, e: &io::Error) -> Error {
        no_space(label, self.size as u64, operation, e)
    }
}

/// A block that is being made. Dropped, it is gone.
struct Unfinished<'a> {
    path: &'a Path,
    inode: Inode,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // If that fails, there is nothing else to do; the caller hears of why it was dropped.
        let _ = lifetime::remove_if(self.path, Removal::Forced, Some(self.inode));
    }
}

/// Opens the block `name`.
pub(super) fn open(name: &str, is_writable: bool) -> Result<SharedMemory> {
    let (name, path) = path_of(name)?;
    let label = path.to_string_lossy();
    let deadline = Instant::now() + BEING_MADE;
    loop {
        let file = shm::open(name, is_writable).map_err(|e| lifetime::open_error(&label, &e))?;
        let is_empty = facts_of(&label, &file)?.bytes == 0;
        if !is_empty || Instant::now() > deadline {
            return over(name, path, file, is_writable);
        }
        thread::yield_now();
    }
}

/// The block in `file`, all of it reserved if it is to be written.
pub(super) fn over(
    name: &str,
    path: PathBuf,
    file: File,
    is_writable: bool,
) -> Result<SharedMemory> {
    let label = path.to_string_lossy();
    let facts = facts_of(&label, &file)?;
    let object = || label.clone().into_owned();
    if !facts.is_regular {
        return Err(Error::NotAnObject {
            object: object(),
            why: "it is not a regular file",
        });
    }
    let size = usize::try_from(facts.bytes).unwrap_or(usize::MAX);
    if size == 0 {
        return Err(Error::Truncated {
            object: object(),
            found: 0,
            expected: 1,
        });
    }
    let map = if is_writable {
        reserve(&label, &file, facts.bytes)?;
        map::shared(&file, size)
    } else {
        map::read_only(&file, size)
    };
    let map = map.map_err(|e| Error::from_io(&label, "map", &e))?;
    let region = Region::mapped(map).map_err(|OutOfBounds| Error::NotAnObject {
        object: object(),
        why: "it cannot be mapped",
    })?;
    let block = Block {
        name: name.to_owned(),
        inode: facts.inode,
        file,
        bytes: RawBytes::new(region, is_writable),
        size,
        path: path.clone(),
    };
    Ok(SharedMemory {
        block: Arc::new(block),
    })
}

fn reserve(label: &str, file: &File, bytes: u64) -> Result<()> {
    match shm::reserve(file, bytes) {
        // Where nothing can be reserved, the guard against SIGBUS is all there is.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        done => done.map_err(|e| no_space(label, bytes, "reserve", &e)),
    }
}

fn no_space(label: &str, needed: u64, operation: &'static str, e: &io::Error) -> Error {
    match e.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG | libc::ENOMEM) => Error::NoSpace {
            object: label.to_owned(),
            needed,
            available: file::space(Path::new(shm::DIRECTORY)).map_or(0, |(_, available)| available),
        },
        _ => Error::from_io(label, operation, e),
    }
}

fn facts_of(label: &str, file: &File) -> Result<file::Facts> {
    file::facts(file).map_err(|e| Error::from_io(label, "examine", &e))
}

/// The name without its slash, and where the block is.
pub(super) fn path_of(name: &str) -> Result<(&str, PathBuf)> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let is_good = (1..=NAME_MAX).contains(&bare.len())
        && !bare.contains(['/', '\0'])
        && !matches!(bare, "." | "..");
    if is_good {
        Ok((bare, place(bare)))
    } else {
        Err(Error::BadOption {
            option: "name of a shared memory block",
            why: format!("{name:?} is none; use 1 to {NAME_MAX} bytes without a slash or NUL"),
        })
    }
}
