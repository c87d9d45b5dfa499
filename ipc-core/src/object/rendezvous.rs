//! Where a listener's socket is, and whether its listener lives.
//!
//! A listener is an object like others: its file says what it is and which messages its pipes carry, and the locks on that
//! file prove whether its process lives. Its socket stands in a directory of its own, under a name that nobody else ever
//! uses: a hash of the listener's name, and a number that the listener's file tells.
//!
//! The file has its name first, and then the socket is made; so a socket that no living listener's file tells of is, and will
//! be, nobody's.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::{kind::Kind, lifetime, namespace::Namespace, participant::EXISTENCE};
use crate::{
    error::{Error, Result},
    os::{
        file::{self, Inode},
        socket, token,
    },
    region::identity::{Facts, hash},
};

/// The directory of a namespace's sockets.
pub(crate) const SOCKETS: &str = ".listeners";

/// A listener's file, looked at.
#[derive(Debug)]
pub(crate) struct Sight {
    file: File,
    pub(crate) inode: Inode,
    pub(crate) facts: Facts,
}

impl Sight {
    /// Looks at the listener under `path`, without attaching to it.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let label = path.to_string_lossy();
        let failed = |e: io::Error| lifetime::open_error(&label, &e);
        let file = file::open_read_only(path).map_err(failed)?;
        let inode = file::facts(&file).map_err(failed)?.inode;
        let (_, facts) = lifetime::examine(&label, &file, false)?;
        if facts.kind != Kind::Listener.number() {
            return Err(Error::WrongKind {
                object: label.into_owned(),
                found: Kind::from(facts.kind).to_string(),
                expected: Kind::Listener.to_string(),
            });
        }
        Ok(Self { file, inode, facts })
    }

    /// Whether its process lives and has not closed it.
    pub(crate) fn is_alive(&self) -> io::Result<bool> {
        token::is_locked(self.file.as_fd(), EXISTENCE)
    }

    /// Which protocol it speaks.
    pub(crate) fn protocol(&self) -> u64 {
        self.facts.geometry[0]
    }

    /// The name of its socket, in the directory of sockets.
    pub(crate) fn socket(&self, name: &str) -> String {
        socket_name(name, self.facts.geometry[1])
    }
}

/// The name of the socket of the listener `name` whose file tells `number`.
pub(crate) fn socket_name(name: &str, number: u64) -> String {
    format!("{}-{number:016x}", stem(name))
}

fn stem(name: &str) -> String {
    format!("{:016x}", hash(name))
}

/// Makes the directory of sockets. Who may use the namespace may connect to its listeners.
pub(crate) fn make_directory(namespace: &Namespace) -> Result<PathBuf> {
    let dir = namespace.path().join(SOCKETS);
    let mode = file::facts_at(namespace.path()).map_or(0o700, |f| f.mode & 0o7770);
    file::make_dir(&dir, mode)
        .map_err(|e| Error::from_io(&dir.to_string_lossy(), "create directory", &e))?;
    Ok(dir)
}

/// The sockets of listeners that died.
pub(crate) fn abandoned(namespace: &Namespace) -> Result<Vec<PathBuf>> {
    let dir = namespace.path().join(SOCKETS);
    let sockets = match socket::sockets_in(&dir) {
        Ok(sockets) => sockets,
        // Not there, or not ours to collect.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(e) => {
            return Err(Error::from_io(&dir.to_string_lossy(), "read directory", &e));
        }
    };
    if sockets.is_empty() {
        return Ok(Vec::new());
    }
    let names = namespace.list()?;
    let is_abandoned = |socket: &String| !names.iter().any(|name| has(namespace, name, socket));
    let abandoned = sockets.into_iter().filter(is_abandoned);
    Ok(abandoned.map(|socket| dir.join(socket)).collect())
}

/// The files of listeners that died. Their names are nobody's: who binds takes them.
pub(crate) fn abandoned_files(namespace: &Namespace) -> Result<Vec<PathBuf>> {
    if !namespace.path().join(SOCKETS).is_dir() {
        return Ok(Vec::new()); // nobody ever listened here
    }
    let is_abandoned = |path: &PathBuf| {
        let seen = Sight::of(path);
        seen.is_ok_and(|seen| !seen.is_alive().unwrap_or(true))
    };
    let names = namespace.list()?.into_iter();
    let paths = names.filter_map(|name| namespace.file_of(&name).ok());
    Ok(paths.filter(is_abandoned).collect())
}

/// Whether the listener `name` has this socket, or may have it as far as can be seen.
fn has(namespace: &Namespace, name: &str, socket: &str) -> bool {
    if !socket.starts_with(&stem(name)) {
        return false;
    }
    match namespace.file_of(name).and_then(|path| Sight::of(&path)) {
        Ok(seen) => seen.socket(name) == socket && seen.is_alive().unwrap_or(true),
        Err(Error::NotFound { .. } | Error::WrongKind { .. } | Error::NotAnObject { .. }) => false,
        Err(_) => true,
    }
}

/// Whether a socket stands, or would stand, under this path.
pub(crate) fn is_socket(path: &Path) -> bool {
    path.parent()
        .and_then(Path::file_name)
        .is_some_and(|dir| dir == SOCKETS)
}

/// Removes a socket that is nobody's.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}
