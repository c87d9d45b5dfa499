//! Objects that live and go together.
//!
//! # Layout
//!
//! ```text
//! <namespace>/.families/<id>/.family      the family's own file: header and slots, and nothing behind them
//!                            .<uuid>      a member without a name
//!                            <name>       a member with one
//! <namespace>/<name>                      a second name of `.family`, if the family has one
//! ```
//!
//! `<id>` is 32 hex digits; the geometry of `.family` has the same number.
//!
//! # Invariants
//!
//! * I1. Who is attached to a member, or makes one, is attached to `.family` from before until after.
//! * I2. `.family` appears once, before all members. It goes once, and only from who holds its existence byte in exclusive mode (so nobody is
//!   attached) and has seen that it has no second name; a second name comes only from its creator, who is attached.
//! * I3. So members in a directory without `.family` are nobody's and never will be anybody's: whoever finds them removes them, without a lock.
//!   Who looks for them lists the directory first and asks for `.family` then; the other way round the family could be born in between.
//!
//! The file goes first and the members after it: what a process that comes meanwhile finds is a family that is gone, not one of which
//! some is gone.
//!
//! # If a process dies
//!
//! In the making: an empty directory. Attached: its locks go, and who collects next ends the family if it was the last. Between the end of the
//! family and the last of its members: the directory without `.family` is collected by whoever comes (I3). A stopped collector holds
//! up those who come to the family that it is about to end (they get [`Error::BeingRemoved`]), and no others.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    kind::Kind,
    lifetime::{self, Object, Species, Ticket, open_error},
    making::{Blueprint, Making},
    namespace::Namespace,
    participant::{Dead, EXISTENCE, Repair},
};
use crate::{
    error::{Damage, Error, Result},
    os::{
        file::{self, Inode},
        fork,
        token::{self, Claim},
    },
    region::{Region, identity::Facts},
};

/// The directory of a namespace's families.
pub(crate) const FAMILIES: &str = ".families";
/// A family's own file, in its directory.
const FAMILY: &str = ".family";
/// How often others may remove what was just made, or what was just found.
const RACES: u32 = 100;
/// Younger empty directories are families in the making.
const BEING_MADE: Duration = Duration::from_secs(60);

/// Nothing in a family's file is ever left half done.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Repair for Nothing {
    fn repair(&self, _dead: &Dead<'_>) -> Result<(), Damage> {
        Ok(())
    }

    fn wake_all(&self) {}
}

pub(crate) fn build(_region: &Arc<Region>, _facts: &Facts) -> Result<Arc<Nothing>, Damage> {
    Ok(Arc::new(Nothing))
}

fn species() -> Species<'static> {
    Species {
        kind: Kind::Manager,
        type_name: Some(""),
    }
}

/// The directory of the family that what is, or would be, at `path` belongs to.
fn dir_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|dir| is_dir(dir))
}

/// Whether a family lives, or would live, in this directory.
pub(crate) fn is_dir(dir: &Path) -> bool {
    dir.parent()
        .and_then(Path::file_name)
        .is_some_and(|parent| parent == FAMILIES)
}

/// The directory whose family's own file this is.
pub(crate) fn dir_of_own_file(path: &Path) -> Option<&Path> {
    dir_of(path).filter(|_| path.file_name().is_some_and(|name| name == FAMILY))
}

/// Attaches to the family of the member at `path`; `None` if that is no member.
pub(crate) fn keeper_of(path: &Path) -> Result<Option<Arc<Object>>> {
    match dir_of(path) {
        Some(dir) if dir_of_own_file(path).is_none() => {
            let (family, _) = Object::open(&dir.join(FAMILY), species(), &build)?;
            Ok(Some(family))
        }
        _ => Ok(None),
    }
}

/// Makes a family, under `name` if there is one.
pub(crate) fn create(
    making: &Making,
    namespace: &Namespace,
    name: Option<&str>,
) -> Result<Arc<Object>> {
    let name = name.map(|name| namespace.file_of(name)).transpose()?;
    for _ in 0..RACES {
        let (dir, id) = make_directory(namespace)?;
        let blueprint = Blueprint {
            species: species(),
            geometry: [id[0], id[1], 0, 0, 0, 0, 0, 0],
            bytes: lifetime::plan(making.participants).map_or(usize::MAX, |(plan, _)| plan.end()),
            place: &|_| Ok(()),
        };
        let own = dir.join(FAMILY);
        let family = match making.create_at(own.clone(), false, &blueprint, blueprint.bytes, &build)
        {
            // Somebody took the empty directory for a dead process's.
            Err(Error::NotFound { .. }) => continue,
            made => made?.0,
        };
        if let Some(name) = &name {
            // Dropped, the family goes.
            fs::hard_link(&own, name)
                .map_err(|e| Error::from_io(&name.to_string_lossy(), "publish", &e))?;
        }
        return Ok(family);
    }
    Err(Error::BeingRemoved {
        object: namespace.path().join(FAMILIES).display().to_string(),
    })
}

/// An empty directory for a new family, and its number.
fn make_directory(namespace: &Namespace) -> Result<(PathBuf, [u64; 2])> {
    let families = namespace.path().join(FAMILIES);
    let id = file::unique_number();
    let dir = families.join(name_of(id));
    // Who may use the namespace may use its families.
    let mode = file::facts_at(namespace.path()).map_or(0o700, |f| f.mode & 0o7770);
    file::make_dir(&families, mode)
        .and_then(|()| file::make_dir(&dir, mode))
        .map_err(|e| Error::from_io(&dir.to_string_lossy(), "create directory", &e))?;
    Ok((dir, id))
}

fn name_of(id: [u64; 2]) -> String {
    format!("{:016x}{:016x}", id[0], id[1])
}

/// Where the members of the family with these facts are.
pub(crate) fn dir_in(namespace: &Namespace, facts: &Facts) -> PathBuf {
    let id = [facts.geometry[0], facts.geometry[1]];
    namespace.path().join(FAMILIES).join(name_of(id))
}

/// Comes to the family `name`.
pub(crate) fn open(namespace: &Namespace, name: &str) -> Result<Arc<Object>> {
    let path = namespace.file_of(name)?;
    let label = path.to_string_lossy();
    for _ in 0..RACES {
        let (inode, dir) = look(namespace, &path)?;
        let is_still_named = || file::facts_at(&path).is_ok_and(|f| f.inode == inode);
        match Object::open(&dir.join(FAMILY), species(), &build) {
            Ok((family, _)) if family.inode() == inode && is_still_named() => {
                family.sweep()?;
                return Ok(family);
            }
            _ if !is_still_named() => {} // it went meanwhile
            Err(Error::NotFound { .. }) | Ok(_) => {
                return Err(Damage("its family is not where it says").of(&label));
            }
            Err(e) => return Err(e),
        }
    }
    Err(Error::BeingRemoved {
        object: label.into_owned(),
    })
}

/// Comes to the family that a manager was sent for.
pub(crate) fn redeem(ticket: &Ticket) -> Result<Arc<Object>> {
    let gone = || Error::NotFound {
        object: ticket.path().to_string_lossy().into_owned(),
    };
    dir_of_own_file(ticket.path()).ok_or_else(gone)?;
    let (family, _) = Object::open(ticket.path(), species(), &build)?;
    if family.inode() != ticket.inode() {
        return Err(gone());
    }
    family.sweep()?;
    Ok(family)
}

/// Which family has the name `path`: its own file, and its directory.
fn look(namespace: &Namespace, path: &Path) -> Result<(Inode, PathBuf)> {
    let label = path.to_string_lossy();
    let failed = |e: io::Error| open_error(&label, &e);
    let file = file::open_read_only(path).map_err(failed)?;
    let inode = file::facts(&file).map_err(failed)?.inode;
    let (_, facts) = lifetime::examine(&label, &file, false)?;
    if facts.kind != Kind::Manager.number() {
        return Err(Error::WrongKind {
            object: label.into_owned(),
            found: Kind::from(facts.kind).to_string(),
            expected: Kind::Manager.to_string(),
        });
    }
    Ok((inode, dir_in(namespace, &facts)))
}

/// The directory of the family that has the name `path`, if it is one's.
pub(crate) fn dir_of_name(namespace: &Namespace, path: &Path) -> Option<PathBuf> {
    look(namespace, path).ok().map(|(_, dir)| dir)
}

/// The files of the members in `dir`.
pub(crate) fn members(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_member = name != FAMILY && !name.to_string_lossy().starts_with(file::HALF_MADE);
        if is_member && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The directories of all families of a namespace.
pub(crate) fn all(namespace: &Namespace) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(namespace.path().join(FAMILIES)) {
        Ok(entries) => entries,
        // Not there, or not ours to collect.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// How many bytes the family in `dir` has, if it is nobody's.
pub(crate) fn bytes_if_abandoned(dir: &Path) -> io::Result<Option<u64>> {
    let own = dir.join(FAMILY);
    match file::open(&own) {
        Ok(own) if is_in_use(&own)? => return Ok(None),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let is_empty = fs::read_dir(dir)?.next().is_none();
            if is_empty && file::facts_at(dir)?.age < BEING_MADE {
                return Ok(None);
            }
        }
        Err(e) => return Err(e),
    }
    let files = members(dir)?;
    let bytes = files.iter().chain([&own]);
    let bytes = bytes.filter_map(|path| Some(file::facts_at(path).ok()?.bytes));
    Ok(Some(bytes.sum()))
}

/// Whether somebody is attached to a family, or can come to it by name.
fn is_in_use(own: &File) -> io::Result<bool> {
    use std::os::fd::AsFd;
    Ok(file::facts(own)?.links > 1 || token::is_locked(own.as_fd(), EXISTENCE)?)
}

/// Removes the family in `dir` if it is nobody's. Returns whether it did.
pub(crate) fn collect(dir: &Path) -> io::Result<bool> {
    let has_ended = end(&dir.join(FAMILY))?;
    if has_ended {
        clear(dir)?;
    }
    Ok(has_ended)
}

/// Removes the family's own file if nobody is attached and it has no other name. Returns whether there is none (I2).
fn end(own: &Path) -> io::Result<bool> {
    let is_gone = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Ok(true),
        _ => Err(e),
    };
    let file = match file::open(own) {
        Ok(file) => file,
        Err(e) => return is_gone(e),
    };
    // Asked first: a family that lives is never locked.
    if is_in_use(&file)? {
        return Ok(false);
    }
    let inode = file::facts(&file)?.inode;
    let claim = Claim::new(&file, inode, fork::epoch(), fork::hold_forks())?;
    if !claim.try_exclusive(EXISTENCE)? {
        return Ok(false);
    }
    match file::facts_at(own) {
        Ok(named) if named.inode == inode && named.links == 1 => {}
        Ok(_) => return Ok(false),
        Err(e) => return is_gone(e),
    }
    fs::remove_file(own).map(|()| true).or_else(is_gone)
}

/// Removes what is left of a family whose own file is gone.
fn clear(dir: &Path) -> io::Result<()> {
    // Held, so that nobody can put a link to another directory in its place.
    let pinned = match file::open_directory(dir) {
        Ok(pinned) => pinned,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let there = PathBuf::from(format!("/proc/self/fd/{}", pinned.as_raw_fd()));
    let mut files = Vec::new();
    for entry in fs::read_dir(&there)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(there.join(entry.file_name()));
        }
    }
    if file::facts_at(&there.join(FAMILY)).is_ok() {
        return Ok(()); // just born (I3)
    }
    for file in files {
        ignore_missing(fs::remove_file(file))?;
    }
    match fs::remove_dir(dir) {
        // Somebody just began a family here, or keeps something of his own.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => ignore_missing(other),
    }
}

/// Others collect, too.
fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
