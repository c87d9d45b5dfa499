//! Where programs are.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use crate::output::human;

/// Where a program is, as a shell finds it.
pub(super) fn find(program: &OsStr) -> io::Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return is_program(Path::new(program)).map(|()| program.into());
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut failure = io::ErrorKind::NotFound;
    for place in env::split_paths(&path).map(|directory| directory.join(program)) {
        match is_program(&place) {
            Ok(()) => return Ok(place),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => failure = e.kind(),
            Err(_) => {} // elsewhere, perhaps
        }
    }
    Err(failure.into())
}

/// A program that was not found, with advice if it looks as if a shell had to read it.
pub(super) fn described(program: &OsStr) -> String {
    let name = human::printable(&program.to_string_lossy());
    match name.contains(|c: char| c.is_whitespace() || "|&;<>()$`".contains(c)) {
        true => format!("{name} (--shell has a shell read it)"),
        false => name,
    }
}

fn is_program(path: &Path) -> io::Result<()> {
    let facts = path.metadata()?;
    match facts.is_file() && facts.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let found = find(OsStr::new("sh")).unwrap();
        assert!(found.is_absolute() && found.ends_with("sh"), "{found:?}");
        assert_eq!(find(OsStr::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        for (name, kind) in [
            ("/etc/passwd", io::ErrorKind::PermissionDenied),
            ("/etc", io::ErrorKind::PermissionDenied),
            ("no-such-program-at-all", io::ErrorKind::NotFound),
            ("/nowhere/at/all", io::ErrorKind::NotFound),
        ] {
            assert_eq!(find(OsStr::new(name)).unwrap_err().kind(), kind, "{name}");
        }
    }
}
