//! A namespace is a directory; an object is a file in it.
//!
//! Where it is: `$IPC_DIR` if set; else `/dev/shm/ipc-<uid>/<namespace>`, where the namespace is `$IPC_NAMESPACE` or
//! `default`. Directories are made on first use with mode 0700.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{family, lifetime, rendezvous};
use crate::{
    error::{Error, Result},
    os::{file, process},
};

/// Where memory file systems are mounted on Linux.
const SHARED_MEMORY: &str = "/dev/shm";
const DEFAULT: &str = "default";
/// Objects without a name live here, and go with their last living user.
const EPHEMERAL: &str = ".ephemeral";
const NAME_MAX: usize = 128;

/// A directory of objects.
///
/// Cheap to clone. It holds no lock and no descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    dir: PathBuf,
}

/// Bytes on the file system behind a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// All of them.
    pub total: u64,
    /// Those that this user may still take.
    pub available: u64,
}

/// Something that dead processes left in a namespace and that [`Namespace::collect`] removes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftover {
    /// The file, or the directory of a family.
    pub path: PathBuf,
    /// Its size in bytes, with all that is in it.
    pub bytes: u64,
}

/// What [`Namespace::collect`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// The files that are gone.
    pub removed: Vec<Leftover>,
}

impl Namespace {
    /// The namespace that the environment names: `IPC_DIR`, or `IPC_NAMESPACE` below the user's directory.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`] for a bad `IPC_NAMESPACE`; otherwise as [`Namespace::at`].
    pub fn current() -> Result<Self> {
        if let Some(dir) = env::var_os("IPC_DIR").filter(|d| !d.is_empty()) {
            return Self::at(PathBuf::from(dir));
        }
        match env::var("IPC_NAMESPACE") {
            Ok(name) if !name.is_empty() => Self::named(&name),
            _ => Self::named(DEFAULT),
        }
    }

    /// The namespace `name` of this user, in shared memory.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`]; [`Error::ForeignOwner`] or [`Error::Symlink`] when somebody else took the user's directory;
    /// otherwise as [`Namespace::at`].
    pub fn named(name: &str) -> Result<Self> {
        check_name(name)?;
        let root = Path::new(SHARED_MEMORY).join(format!("ipc-{}", process::user()));
        own_dir(&root)?;
        let dir = root.join(name);
        own_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The namespace in `dir`, which is made with mode 0700, parents included, when it is missing. A directory on a disk
    /// makes objects that outlive a reboot.
    ///
    /// # Errors
    ///
    /// [`Error::NetworkFileSystem`]; [`Error::NotADirectory`]; [`Error::PermissionDenied`]; [`Error::Io`].
    pub fn at(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = std::path::absolute(dir.as_ref())
            .map_err(|e| Error::from_io(&dir.as_ref().to_string_lossy(), "find", &e))?;
        let what = dir.to_string_lossy();
        if dir.exists() && !dir.is_dir() {
            return Err(Error::NotADirectory { path: dir });
        }
        if !dir.is_dir() {
            use std::os::unix::fs::DirBuilderExt;
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|e| Error::from_io(&what, "create directory", &e))?;
        }
        if file::is_network(&dir).map_err(|e| Error::from_io(&what, "examine", &e))? {
            return Err(Error::NetworkFileSystem { path: dir });
        }
        Ok(Self { dir })
    }

    /// In a directory that is known to be good.
    pub(crate) fn in_directory(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The names in this namespace, sorted. Objects without a name are not listed.
    ///
    /// # Errors
    ///
    /// [`Error::PermissionDenied`], [`Error::Io`].
    pub fn list(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = read_dir(&self.dir)?
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .filter(|name| check_name(name).is_ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes the name of an object. Who has the object open keeps it; its memory is freed with the last of them, and so are the
    /// members of a [`Manager`](crate::Manager).
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::PermissionDenied`], [`Error::BadName`], and what [`Namespace::at`] lists.
    pub fn unlink(&self, name: &str) -> Result<()> {
        self.remove(name, lifetime::Removal::Forced)
    }

    /// Removes an object unless a living process is attached to it.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if so; otherwise as [`Namespace::unlink`].
    pub fn unlink_unused(&self, name: &str) -> Result<()> {
        self.remove(name, lifetime::Removal::Unused)
    }

    fn remove(&self, name: &str, removal: lifetime::Removal) -> Result<()> {
        let path = self.file_of(name)?;
        let family = family::dir_of_name(self, &path);
        lifetime::remove(&path, removal)?;
        if let Some(dir) = family {
            // Who is attached keeps it; what cannot be removed now is left over.
            let _ = family::collect(&dir);
        }
        Ok(())
    }

    /// What dead processes left: objects without a name that nobody uses any more, directories of families that nobody uses any more and that
    /// have no name, files that were never finished, and what listeners had, their names included. (All other named objects stay until
    /// they are removed.)
    ///
    /// # Errors
    ///
    /// [`Error::PermissionDenied`], [`Error::Io`].
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut found = self.nameless_leftovers()?;
        found.extend(abandoned(rendezvous::abandoned_files(self)?));
        Ok(found)
    }

    /// The same without what has a name.
    fn nameless_leftovers(&self) -> Result<Vec<Leftover>> {
        let mut found: Vec<Leftover> = abandoned(self.collectable()?).collect();
        let sockets = rendezvous::abandoned(self)?.into_iter();
        found.extend(sockets.map(|path| Leftover { path, bytes: 0 }));
        let families = family::all(self)
            .map_err(|e| Error::from_io(&self.dir.to_string_lossy(), "read directory", &e))?;
        for path in families {
            if let Ok(Some(bytes)) = family::bytes_if_abandoned(&path) {
                found.push(Leftover { path, bytes });
            }
        }
        Ok(found)
    }

    /// Removes what [`Namespace::leftovers`] finds.
    ///
    /// # Errors
    ///
    /// As [`Namespace::leftovers`].
    pub fn collect(&self) -> Result<Collected> {
        self.leftovers().map(remove_all)
    }

    /// The same without what has a name: what is collected unasked.
    pub(crate) fn collect_nameless(&self) -> Result<Collected> {
        self.nameless_leftovers().map(remove_all)
    }

    /// How full the file system is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn space(&self) -> Result<Space> {
        let (total, available) = file::space(&self.dir)
            .map_err(|e| Error::from_io(&self.dir.to_string_lossy(), "examine", &e))?;
        Ok(Space { total, available })
    }

    /// The file that holds, or would hold, the object `name`.
    pub(crate) fn file_of(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.dir.join(name))
    }

    /// A new file name for an object without one.
    pub(crate) fn ephemeral_file(&self) -> Result<PathBuf> {
        if family::is_dir(&self.dir) {
            // It goes with its family.
            return Ok(self.dir.join(format!(".{}", file::unique())));
        }
        let dir = self.dir.join(EPHEMERAL);
        // Who may use the namespace may use its nameless objects.
        let mode = file::facts_at(&self.dir).map_or(0o700, |f| f.mode & 0o7770);
        file::make_dir(&dir, mode)
            .map_err(|e| Error::from_io(&dir.to_string_lossy(), "create directory", &e))?;
        Ok(dir.join(file::unique()))
    }

    /// Where an object without a name is that is called so among its like.
    pub(crate) fn nameless(&self, file_name: &str) -> PathBuf {
        self.dir.join(EPHEMERAL).join(file_name)
    }

    fn collectable(&self) -> Result<Vec<PathBuf>> {
        let is_half_made = |p: &PathBuf| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(file::HALF_MADE))
        };
        let mut found: Vec<PathBuf> = read_dir(&self.dir)?
            .into_iter()
            .filter(is_half_made)
            .collect();
        match read_dir(&self.dir.join(EPHEMERAL)) {
            Ok(nameless) => found.extend(nameless),
            // Not there, or not ours to collect.
            Err(Error::NotFound { .. } | Error::PermissionDenied { .. }) => {}
            Err(e) => return Err(e),
        }
        Ok(found)
    }
}

/// Those that nobody uses.
fn abandoned(paths: Vec<PathBuf>) -> impl Iterator<Item = Leftover> {
    paths.into_iter().filter_map(|path| {
        // What vanishes meanwhile was collected by somebody else.
        let bytes = lifetime::bytes_if_abandoned(&path).ok()??;
        Some(Leftover { path, bytes })
    })
}

/// Which of them could be removed.
fn remove_all(mut leftovers: Vec<Leftover>) -> Collected {
    leftovers.retain(|l| {
        if rendezvous::is_socket(&l.path) {
            rendezvous::remove(&l.path).is_ok()
        } else if family::is_dir(&l.path) {
            family::collect(&l.path).unwrap_or(false)
        } else {
            lifetime::remove(&l.path, lifetime::Removal::Unused).is_ok()
        }
    });
    Collected { removed: leftovers }
}

/// Whether this is where objects without a name live.
pub(crate) fn is_ephemeral_file(path: &Path) -> bool {
    path.parent()
        .and_then(Path::file_name)
        .is_some_and(|dir| dir == EPHEMERAL)
}

/// Whether an object may have this name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let why = match name.as_bytes() {
        [] => "it is empty",
        [b'.', ..] => "it starts with a dot",
        long if long.len() > NAME_MAX => "it is longer than 128 bytes",
        bytes
            if !bytes
                .iter()
                .all(|&b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) =>
        {
            "it has a character that is not allowed"
        }
        _ => return Ok(()),
    };
    Err(Error::BadName {
        name: name.to_owned(),
        why,
    })
}

/// Makes or checks a directory that must be this user's alone to give away.
fn own_dir(dir: &Path) -> Result<()> {
    let what = dir.to_string_lossy();
    file::make_dir(dir, 0o700).map_err(|e| Error::from_io(&what, "create directory", &e))?;
    let found = fs::symlink_metadata(dir).map_err(|e| Error::from_io(&what, "examine", &e))?;
    if found.is_symlink() {
        return Err(Error::Symlink {
            object: what.into_owned(),
        });
    }
    if !found.is_dir() {
        return Err(Error::NotADirectory {
            path: dir.to_owned(),
        });
    }
    let facts = file::Facts::from(found);
    if facts.uid != process::user() {
        return Err(Error::ForeignOwner {
            object: what.into_owned(),
            uid: facts.uid,
        });
    }
    Ok(())
}

fn read_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        Ok(files)
    };
    list().map_err(|e| Error::from_io(&dir.to_string_lossy(), "read directory", &e))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for good in ["a", "A-b_c.9", &"x".repeat(128)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".hidden",
            "..",
            "a/b",
            "a b",
            "ä",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(
                matches!(check_name(bad), Err(Error::BadName { .. })),
                "{bad:?}"
            );
        }
    }
}
